//! What the same events cost of Pipedrive's daily budget, each way from a cold start with everything counted: Segment's own destination at
//! the costs of both versions of the API, Pipewright, and a writer who knows the account by heart and sends nothing but changes.
//!
//! `cargo bench --bench economy [-- EVENTS [changed|differs|always] [SPEED]]`: 20,000 events and `changed` unless told otherwise. Pipewright keeps
//! the limits of 40 requests and 10 searches in 2 s at a round trip of 50 ms, so a run takes minutes; SPEED raises the limits and shortens
//! round trips by that factor.

#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a program that prints what it measured in real time")]

mod account;
mod omniscient;
mod ours;
mod policy;
mod segment;
mod state;
mod workload;

use std::time::Duration;

use policy::Policy;
use workload::Workload;

/// The workload is the same in every run.
const SEED: u64 = 6;
/// Events come in so many parts; people act between two.
const PARTS: usize = 10;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    // The load generator's client wants one even for plain HTTP.
    rustls::crypto::ring::default_provider().install_default().expect("it is the first");
    let words: Vec<String> = std::env::args().skip(1).collect();
    let mut numbers = words.iter().filter_map(|word| word.parse::<u32>().ok());
    let events = numbers.next().map_or(20_000, |events| events as usize);
    let speed = numbers.next().unwrap_or(1).max(1);
    let policy = [Policy::Differs, Policy::Always].into_iter().find(|policy| words.iter().any(|word| word == policy.as_str()));
    let policy = policy.unwrap_or(Policy::Changed);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(run(events, policy, speed));
}

async fn run(events: usize, policy: Policy, speed: u32) {
    let workload = Workload::new(SEED, events, PARTS);
    let limits = (40 * speed, 10 * speed);
    let latency = Duration::from_millis(50) / speed;
    println!(
        "{events} events (seed {SEED}), write = \"{}\", {} requests and {} searches in 2 s, round trip {latency:?}",
        policy.as_str(),
        limits.0,
        limits.1
    );
    println!(
        "{:<34}{:>10}{:>12}{:>14}{:>12}{:>9}{:>12}",
        "", "requests", "tokens", "tokens/event", "duplicates", "state", "drained"
    );
    let floor = omniscient::run(&workload, policy).await;
    let best = state::of(&floor);
    let row = |name: &str, requests: u64, tokens: u64, ours: &state::State, drained: &str| {
        let differences = state::differences(ours, &best);
        let equal = if differences.is_empty() { "equal".to_owned() } else { format!("{} off", differences.len()) };
        let per_event = tokens as f64 / events as f64;
        let duplicates = state::duplicates(ours);
        println!("{name:<34}{requests:>10}{tokens:>12}{per_event:>14.2}{duplicates:>12}{equal:>9}{drained:>12}");
        differences
    };

    let theirs = segment::run(&workload).await;
    let after = state::of(&theirs.mock);
    row("Segment's destination, v1 costs", theirs.requests, theirs.v1.0 + theirs.v1.1, &after, "");
    row("the same at v2 costs", theirs.requests, theirs.v2.0 + theirs.v2.1, &after, "");

    let mut runs = Vec::new();
    for (name, squash) in [("Pipewright, squash off", false), ("Pipewright", true)] {
        let setting =
            ours::Setting { policy, squash, limits, latency, search_lag: segment::SEARCH_LAG, delivery: "", spoil: |_| {} };
        let run = ours::run(&workload, setting).await;
        let drained = format!("{:.1} s", run.drained.as_secs_f64());
        let differences = row(name, run.mock.requests(), run.mock.tokens_spent(), &state::of(&run.mock), &drained);
        runs.push((name, run, differences));
    }
    row("omniscient writer", floor.requests(), floor.tokens_spent(), &best, "");

    for (name, run, differences) in &runs {
        println!(
            "\n{name}: {:.3} times the omniscient writer's tokens, {} refused by limits, {} deliveries failed",
            run.mock.tokens_spent() as f64 / floor.tokens_spent() as f64,
            run.mock.throttled(),
            run.failed
        );
        for (purpose, (requests, tokens)) in &run.by_purpose {
            println!("  {purpose:<20}{requests:>8} requests{tokens:>10} tokens");
        }
        for difference in differences.iter().take(5) {
            println!("  differs: {difference}");
        }
    }
    println!("Segment's destination, v1: {} tokens for searches, {} for writes", theirs.v1.0, theirs.v1.1);
}
