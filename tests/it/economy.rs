//! The workload of the economy bench, small: what is there in the end, whatever fails meanwhile, and that it costs little more than it must.

#[path = "../../benches/economy/account.rs"]
mod account;
#[path = "../../benches/economy/omniscient.rs"]
mod omniscient;
#[path = "../../benches/economy/ours.rs"]
mod ours;
#[path = "../../benches/economy/policy.rs"]
mod policy;
#[path = "../../benches/economy/state.rs"]
mod state;
#[path = "../../benches/economy/workload.rs"]
mod workload;

use std::time::Duration;

use pipewright::mock::{Fault, FaultMatch, Mock};
use pipewright::pipedrive::Method;

use ours::Setting;
use policy::Policy;
use workload::Workload;

const NO_LIMITS: (u32, u32) = (u32::MAX, u32::MAX);

fn setting(policy: Policy) -> Setting {
    let delivery = "retry_first = \"10ms\"\nretry_max = \"100ms\"";
    Setting {
        policy,
        squash: true,
        limits: NO_LIMITS,
        latency: Duration::ZERO,
        search_lag: Duration::from_secs(30),
        delivery,
        spoil: |_| {},
    }
}

/// One request of twenty fails; writes often after they were carried out.
fn spoil(mock: &Mock) {
    let one_of = |between, method| FaultMatch { method, skip: between, between, ..FaultMatch::default() };
    mock.fail_matching(one_of(59, Some(Method::Get)), Fault::FailedAfter { status: 502 });
    mock.fail_matching(one_of(59, Some(Method::Post)), Fault::Cut { committed: true });
    mock.fail_matching(one_of(59, Some(Method::Patch)), Fault::Cut { committed: true });
    mock.fail_matching(one_of(29, None), Fault::NoConnection);
}

/// Runs the workload both ways, and holds one to the other; answers the tokens of both.
async fn run(events: usize, setting: Setting) -> (u64, u64) {
    // Who sends the events wants one even for plain HTTP; another test may have been first.
    drop(rustls::crypto::ring::default_provider().install_default());
    let workload = Workload::new(7, events, 3);
    let best = omniscient::run(&workload, setting.policy).await;
    let run = ours::run(&workload, setting).await;
    let (ours, theirs) = (state::of(&run.mock), state::of(&best));
    let told = format!("{:?}, {:?}", run.by_purpose, run.drained);
    assert_eq!((state::duplicates(&ours), run.failed), (0, 0), "{told}");
    assert_eq!(state::differences(&ours, &theirs), Vec::<String>::new());
    (run.mock.tokens_spent(), best.tokens_spent())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_cost_little_more_than_for_a_writer_who_knows_everything() {
    let (ours, best) = run(1_500, Setting { squash: false, ..setting(Policy::Changed) }).await;
    // The account's fields, and pages that fewer share than in a long run, weigh more here.
    assert!(ours * 2 < best * 3, "{ours} tokens, at best {best}");
    let (squashed, best) = run(1_500, setting(Policy::Changed)).await;
    assert!(squashed < ours, "{squashed} tokens with requests that take others along, {ours} without, at best {best}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_a_search_that_lags_nor_requests_that_fail_make_duplicates() {
    run(800, Setting { spoil, ..setting(Policy::Changed) }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_is_the_same_when_every_difference_is_written() {
    run(800, Setting { spoil, ..setting(Policy::Differs) }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_is_the_same_when_everything_is_written() {
    run(800, Setting { spoil, ..setting(Policy::Always) }).await;
}
