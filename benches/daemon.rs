//! The whole daemon with the shipped rules: HTTP in, SQLite, scripts, plans, and the embedded Pipedrive at 0 ms, in one process.
//!
//! Prints events a second to the last delivery, CPU time per event and peak memory (the load generator and the embedded Pipedrive are in
//! both), beside the floor of the same run: the same events posted with no rule that wants them.
//!
//! `cargo bench --bench daemon [-- EVENTS]`

#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a program that prints what it measured in real time")]

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use pipewright::daemon::{Daemon, DaemonOptions, MockDoor, MockSetup};
use pipewright::mock::{Mock, MockOptions};
use serde_json::{Value, json};

/// Events of one batch.
const BATCH: usize = 100;
/// Senders, each waiting for its answer.
const SENDERS: usize = 8;
/// A run that has not drained by then has failed.
const CAP: Duration = Duration::from_secs(300);

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    // The load generator's client wants one even for plain HTTP.
    rustls::crypto::ring::default_provider().install_default().expect("it is the first");
    let events = std::env::args().skip(1).find_map(|a| a.parse().ok()).unwrap_or(5_000_usize);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let wanted = runtime.block_on(run(events, true));
    let unwanted = runtime.block_on(run(events, false));
    println!(
        "{events} events in batches of {BATCH}, {SENDERS} senders, shipped rules, embedded Pipedrive without limits at 0 ms"
    );
    println!("{:<34}{:>12}{:>14}{:>14}", "", "events/s", "CPU ms/event", "peak MB");
    for (name, figures) in [("through to Pipedrive", wanted), ("floor: accepted, no rule wants it", unwanted)] {
        println!("{name:<34}{:>12.0}{:>14.3}{:>14.0}", figures.rate, figures.cpu_ms, figures.peak_mb);
    }
}

struct Figures {
    rate: f64,
    cpu_ms: f64,
    peak_mb: f64,
}

async fn run(events: usize, wanted: bool) -> Figures {
    let dir = tempfile::tempdir().expect("a folder");
    copy(Path::new(env!("CARGO_MANIFEST_DIR")), dir.path());
    let mock = Mock::new(MockOptions { keep_log: 0, ..MockOptions::unlimited() });
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let setup = MockSetup { mock: mock.clone(), door: MockDoor::InProcess, unlimited: true, writes_on: true };
    let options = DaemonOptions {
        dir: dir.path().to_owned(),
        mock: Some(setup),
        listen: Some(loopback),
        admin_listen: Some(loopback),
        unpin: false,
        store_fault: None,
    };
    let daemon = Daemon::start(options).await.expect("it starts");
    let url = format!("http://{}/v1/batch", daemon.ingest_addr());
    let (cpu, started) = (cpu_time(), Instant::now());
    let sends = (0..SENDERS).map(|sender| {
        let url = url.clone();
        tokio::spawn(async move {
            let client = reqwest::Client::builder().no_proxy().build().expect("a client");
            for batch in (sender..events / BATCH).step_by(SENDERS) {
                let batch: Vec<Value> = (0..BATCH).map(|n| event(batch * BATCH + n, wanted)).collect();
                let send = client.post(&url).basic_auth("mock", Some("")).json(&json!({ "batch": batch }));
                let answer = send.send().await.expect("an answer");
                assert!(answer.status().is_success(), "{}", answer.status());
            }
        })
    });
    for send in sends.collect::<Vec<_>>() {
        send.await.expect("a sender ends well");
    }
    while daemon.delivery().status().await.expect("it runs").pending > 0 {
        assert!(started.elapsed() < CAP, "not drained within {CAP:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (elapsed, cpu) = (started.elapsed(), cpu_time() - cpu);
    if wanted {
        assert!(mock.count("persons") >= events / 10, "the events became people");
    }
    daemon.stop().await;
    Figures {
        rate: events as f64 / elapsed.as_secs_f64(),
        cpu_ms: cpu.as_secs_f64() * 1000.0 / events as f64,
        peak_mb: peak_mb(),
    }
}

/// Of ten events: five identifies (of which most change nothing), a group, and four tracks, two of which no rule wants.
fn event(n: usize, wanted: bool) -> Value {
    let user = format!("user-{}", n / 10);
    let context = json!({ "groupId": format!("group-{}", n / 100), "library": { "name": "bench", "version": "1" } });
    let mut event = match n % 10 {
        0..=4 => json!({ "type": "identify", "traits": {
            "name": format!("User {}", n / 10), "email": format!("{user}@example.com"), "company": { "name": format!("Group {}", n / 100) } } }),
        5 => {
            json!({ "type": "group", "groupId": format!("group-{}", n / 100), "traits": { "name": format!("Group {}", n / 100) } })
        }
        6 => json!({ "type": "track", "event": "Activity Upserted", "properties": { "subject": "Call", "type": "call" } }),
        7 => json!({ "type": "track", "event": "Deal Upserted", "properties": {
            "deal_id": format!("deal-{}", n / 10), "title": "Deal", "value": 100 + n % 7, "currency": "EUR" } }),
        _ => json!({ "type": "track", "event": "Button Clicked", "properties": { "button": "buy" } }),
    };
    if !wanted {
        event["type"] = "page".into();
    }
    event["userId"] = user.into();
    event["context"] = context;
    event["messageId"] = format!("bench-{n}").into();
    event
}

fn copy(from: &Path, to: &Path) {
    std::fs::copy(from.join("rules.toml"), to.join("rules.toml")).expect("rules.toml");
    std::fs::create_dir(to.join("scripts")).expect("a folder");
    for entry in std::fs::read_dir(from.join("scripts")).expect("scripts").flatten() {
        if entry.path().extension().is_some_and(|e| e == "rhai") {
            std::fs::copy(entry.path(), to.join("scripts").join(entry.file_name())).expect("a script");
        }
    }
}

/// User and system time of this process so far.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let after = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = after.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<u64>().ok()).sum();
    // The kernel counts in hundredths of a second everywhere.
    Duration::from_millis(ticks * 10)
}

/// Peak resident memory of this process so far.
fn peak_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<f64>().ok()).unwrap_or_default() / 1024.0
}
