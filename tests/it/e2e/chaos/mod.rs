//! Crashes and faults at random: whatever happens, what was acknowledged is delivered once and in order.
//!
//! A round starts an account and the real program, sends a story of events from several clients, and meanwhile makes requests fail, edits
//! scripts, and lets the program die: by SIGKILL when the account has seen some number of requests, or by itself at a named point
//! (`pipewright::crash`). Then it lets the program finish, and judges by what the account holds and what the records say.
//!
//! All choices come from the round's seed; only the machine's timing does not. `PIPEWRIGHT_CHAOS_ROUNDS` and `PIPEWRIGHT_CHAOS_SEED` give
//! the number of rounds and the first seed (docs/reliability.md).

#![expect(clippy::print_stdout, reason = "what a round was is shown when it fails, and counted when it is asked for")]

mod clients;
mod dice;
mod faults;
mod oracle;
mod story;
mod told;

use std::time::Duration;

use pipewright::crash;
use pipewright::mock::MockOptions;

use self::clients::Clients;
pub(super) use self::clients::try_request;
pub(super) use self::dice::Dice;
use self::story::Story;
use self::told::Told;
use super::harness::{Daemon, Folder};
use crate::support::account::Served;
use crate::support::{get, wait_or};

/// Rounds in the suite.
const ROUNDS: u64 = 4;
/// The first round's seed there.
const SEED: u64 = 1;

/// Of so many rounds one is without a death.
const CALM: u64 = 4;

/// In the others of so many the account tells of changes by itself.
const UNTOLD: u64 = 2;

/// How a program comes to its end before it is done.
#[derive(Debug, Clone)]
enum Death {
    /// SIGKILL when the account has seen so many more requests.
    Killed { after: u64 },
    /// By itself, when this point is reached for the nth time.
    AtPoint { point: &'static str, count: u64 },
}

/// What was seen, over all rounds.
#[derive(Debug, Default)]
struct Seen {
    events: usize,
    requests: u64,
    killed: u32,
    points: std::collections::BTreeMap<&'static str, u32>,
    faults: usize,
    /// Webhooks that were taken, and that were not.
    told: (usize, usize),
}

fn wished(variable: &str, default: u64) -> u64 {
    let Ok(text) = std::env::var(variable) else { return default };
    text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crashes_and_faults_lose_double_and_reorder_nothing() {
    let (rounds, first) = (wished("PIPEWRIGHT_CHAOS_ROUNDS", ROUNDS), wished("PIPEWRIGHT_CHAOS_SEED", SEED));
    let mut seen = Seen::default();
    for seed in first..first + rounds {
        println!("round with seed {seed}: PIPEWRIGHT_CHAOS_SEED={seed} PIPEWRIGHT_CHAOS_ROUNDS=1 runs it alone");
        round(seed, &mut seen).await;
    }
    println!("{rounds} rounds: {seen:?}");
}

async fn round(seed: u64, seen: &mut Seen) {
    let mut dice = Dice::new(seed);
    let lag = Duration::from_secs(dice.below(31));
    let account = Served::start(MockOptions { seed: false, search_lag: lag, ..MockOptions::unlimited() }).await;
    let shared = story::share(&account.mock);
    let story = Story::write(&shared, &mut dice);
    account.mock.set_latency(Duration::from_millis(dice.below(6)));
    let folder = Folder::init().await;
    let clients = Clients::start(&story);
    let told = if seed.is_multiple_of(UNTOLD) { None } else { Some(Told::start(&account.mock, clients.where_to()).await) };
    story::furnish(&folder, account.at, told.as_ref().map(|told| told.at));
    let faults = faults::set(&account.mock, &mut dice);
    // A process that lives through a round has told of every request; one that dies takes some along.
    let calm = seed.is_multiple_of(CALM);
    let deaths: Vec<Death> = (0..if calm { 0 } else { 1 + dice.below(4) }).map(|_| death(&mut dice)).collect();
    println!("lag {lag:?}, deaths {deaths:?}, faults {faults:?}, told {}", told.is_some());

    for death in &deaths {
        let at_point = match death {
            Death::AtPoint { point, count } => Some(format!("{point}:{count}")),
            Death::Killed { .. } => None,
        };
        let wish: Vec<(&str, &str)> = at_point.iter().map(|wish| (crash::VARIABLE, wish.as_str())).collect();
        let Some(mut daemon) = Daemon::try_serve(&folder, &wish).await else {
            note(death, seen);
            continue;
        };
        clients.go_to(Some(daemon.events));
        let until = account.mock.requests() + if let Death::Killed { after } = death { *after } else { u64::MAX / 2 };
        let said = daemon.process.saying();
        let died = wait_or(
            || {
                let ended = daemon.process.has_ended();
                let (due, clients, admin) = (account.mock.requests() >= until, &clients, daemon.admin);
                async move {
                    if ended || due {
                        return Some(true);
                    }
                    // There may be less to do than was wished for.
                    (clients.done() && idle(admin).await).then_some(false)
                }
            },
            || async { format!("nothing goes on:\n{}", said.lock()) },
        )
        .await;
        clients.go_to(None);
        if died {
            note(death, seen);
        }
        daemon.process.kill().await;
        story::edit(&folder, &mut dice);
    }

    if !calm {
        account.mock.clear_faults();
    }
    let daemon = Daemon::try_serve(&folder, &[]).await.expect("it starts");
    clients.go_to(Some(daemon.events));
    clients.finish().await;
    wait_or(
        || async { idle(daemon.admin).await.then_some(()) },
        || async {
            let status = get(daemon.admin, "/api/status").await.text();
            format!("it does not come to an end\n{status}\n{}", daemon.process.said())
        },
    )
    .await;
    oracle::judge(&story, &account.mock, &daemon, calm).await;
    seen.events += story.events();
    seen.requests += account.mock.requests();
    seen.faults += faults.len();
    if let Some((taken, lost)) = told.map(|told| told.end(&account.mock)) {
        seen.told = (seen.told.0 + taken, seen.told.1 + lost);
    }
    daemon.process.kill().await;
    account.stop().await;
}

fn death(dice: &mut Dice) -> Death {
    if dice.below(2) == 0 {
        return Death::Killed { after: 1 + dice.below(80) };
    }
    let point = crash::POINTS[usize::try_from(dice.below(crash::POINTS.len() as u64)).expect("an index")];
    Death::AtPoint { point, count: 1 + dice.below(40) }
}

fn note(death: &Death, seen: &mut Seen) {
    match death {
        Death::Killed { .. } => seen.killed += 1,
        Death::AtPoint { point, .. } => *seen.points.entry(point).or_default() += 1,
    }
}

/// Whether nothing is left to deliver. False while nobody answers. An account that the firewall shuts out for minutes is let go on.
async fn idle(admin: std::net::SocketAddr) -> bool {
    let Some(reply) = clients::try_request(admin, "GET", "/api/status", "").await else { return false };
    let status = reply.json();
    let until = status["delivery"]["accounts"][0]["paused"]["until"].as_str().and_then(|at| at.parse::<jiff::Timestamp>().ok());
    if until.is_some_and(|until| until.duration_since(jiff::Timestamp::now()).as_secs() > 60) {
        clients::try_request(admin, "POST", "/api/resume", r#"{"account":"main"}"#).await;
        return false;
    }
    status["delivery"]["pending"] == 0 && status["store"]["pending"] == 0
}
