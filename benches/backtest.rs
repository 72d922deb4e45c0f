//! 100,000 recorded events through two script sets.
//!
//! `cargo bench --bench backtest`. The floor is to read the same events and parse them, on one thread. The goal: 10 s on two cores.

#![allow(clippy::print_stdout, reason = "a bench prints what it measured")]
#![allow(clippy::disallowed_methods, reason = "a bench measures real time")]

#[path = "support/events.rs"]
mod events;

use std::path::Path;
use std::time::Instant;

use pipewright::event::Event;
use pipewright::rules::{BuildOptions, ScriptSet, SetFiles};
use pipewright::store::sqlite::{History, OpenOptions, SqliteStore};
use pipewright::store::{Seq, Store as _};
use pipewright::testing::backtest::{Options, Range, Report, Sides, run};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const EVENTS: u64 = 100_000;
/// Every tenth is one that no rule wants.
const UNWANTED: u64 = 10;
const BATCH: u64 = 500;
const GOAL: f64 = 10.0;

fn main() {
    // `cargo test --benches` runs it as well, and does not measure.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    fill(folder.path());
    let live = set(|_, text| text);
    let same = set(|_, text| format!("// the same\n{text}"));
    let changed = set(|file, text| match file {
        "person.rhai" => text.replace(
            "fn handle(event) {",
            "fn handle(event) {\n    note::create(#{ content: \"seen\", person_id: by(event.userId) });",
        ),
        _ => text,
    });

    println!("{EVENTS} events of 1.5 KB, shipped rules, every {UNWANTED}th wanted by none, {} threads", threads());
    let began = Instant::now();
    let parsed = read_and_parse(folder.path());
    let floor = began.elapsed().as_secs_f64();
    println!("{:<44} {floor:>6.2} s   ({parsed} events)", "floor: read and parse them, one thread");
    for (name, after) in [("every script edited, none differs", &same), ("one script edited, all of its events differ", &changed)]
    {
        let began = Instant::now();
        let report = run(
            folder.path(),
            Sides { before: &live, after },
            Options { range: Range::Last(EVENTS), details: usize::MAX },
            &|_, _| (),
        );
        let took = began.elapsed().as_secs_f64();
        let Report { same, differences, unknown, .. } = report.expect("a report");
        let holds = if took <= GOAL { "holds" } else { "MISSED" };
        println!(
            "{name:<44} {took:>6.2} s   ({same} the same, {} differ, {} unknown; goal {GOAL} s: {holds})",
            differences.len(),
            unknown.len()
        );
    }
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The shipped rules, with their scripts edited.
fn set(edit: impl Fn(&str, String) -> String) -> ScriptSet {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = SetFiles::read(root).expect("the shipped rules");
    for (file, text) in &mut files.sources.scripts {
        *text = edit(file, text.to_string()).into();
    }
    let options = BuildOptions { dir: root.to_owned(), mock: true, metadata: None };
    ScriptSet::build(files, &options).expect("a set").set
}

fn fill(folder: &Path) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let (store, mut feed) = SqliteStore::open(OpenOptions::volatile(folder.to_owned())).expect("a store");
        for batch in 0..EVENTS / BATCH {
            let event = |number| {
                let mut event = events::new_event(number);
                if number % UNWANTED == 0 {
                    event.deliveries.clear();
                    event.kind = "track";
                    let text = String::from_utf8(event.payload.to_vec()).expect("text");
                    event.payload = text.replace("\"type\":\"identify\"", "\"type\":\"track\",\"event\":\"Seen\"").into();
                }
                event
            };
            store.append((batch * BATCH..(batch + 1) * BATCH).map(event).collect()).await.expect("appended");
            while feed.try_recv().is_ok() {}
        }
        store.close().await;
    });
}

fn read_and_parse(folder: &Path) -> usize {
    let history = History::open(folder).expect("the store");
    let mut parsed = 0;
    for from in (1..=EVENTS).step_by(256) {
        for stored in history.events(Seq(from), Seq(from + 256)).expect("events") {
            parsed += usize::from(Event::from_payload(&stored.source, stored.received_at, &stored.payload).is_ok());
        }
    }
    parsed
}
