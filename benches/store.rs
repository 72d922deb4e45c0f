//! Events a second into the store, and how long the acknowledgement takes, beside the floor of the same disk in the same
//! minute: the same payloads appended to a plain file with one fdatasync for all who wait.
//!
//! `cargo bench --bench store [-- SECONDS [BACKLOG]]`: seconds a row (default 1), and events to store beforehand.

#![allow(clippy::print_stdout, reason = "a bench's table is its output")]

#[path = "support/events.rs"]
mod events;
#[path = "support/floor.rs"]
mod floor;
#[path = "support/load.rs"]
mod load;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pipewright::store::sqlite::{OpenOptions, SqliteStore};
use pipewright::store::{DeliveryState, Feed, Finish, Store, Write};

use self::events::{new_event, payload};
use self::floor::Floor;
use self::load::{Measured, closed_loop};

const PRODUCERS: usize = 64;

/// Numbers for events, never used twice.
static NEXT: AtomicU64 = AtomicU64::new(1);

fn numbers(count: u64) -> std::ops::Range<u64> {
    let first = NEXT.fetch_add(count, Ordering::Relaxed);
    first..first + count
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|a| !a.starts_with("--"));
    let seconds = arguments.next().and_then(|a| a.parse().ok()).unwrap_or(1.0);
    let backlog = arguments.next().and_then(|a| a.parse().ok()).unwrap_or(0);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(run(Duration::from_secs_f64(seconds), backlog));
}

async fn run(time: Duration, backlog: u64) {
    // Beside the build, not in /tmp, which may be memory.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let options = OpenOptions { dir: dir.path().join("data"), ..OpenOptions::default() };
    let (store, feed) = SqliteStore::open(options).expect("opens");
    let store = Arc::new(store);
    for batch in numbers(backlog).collect::<Vec<_>>().chunks(1_000) {
        store.append(batch.iter().copied().map(new_event).collect()).await.expect("appends");
    }
    println!("{PRODUCERS} producers in a closed loop, 1.5 KB events, {time:?} a row, {backlog} events stored before");
    for batch in [1, 100] {
        let floor = floor_row(&dir.path().join("floor"), batch, time).await;
        println!("batches of {batch:>3}, floor   {floor}");
        let rated = store_row(&store, batch, time).await;
        println!("batches of {batch:>3}, store   {rated}   {:>3.0} % of the floor", 100.0 * rated.rate() / floor.rate());
    }
    let mixed = mixed_row(&store, feed, time).await;
    println!("in and out,     store   {mixed}");
    store.close().await;
}

async fn floor_row(path: &std::path::Path, batch: u64, time: Duration) -> Measured {
    let (floor, thread) = Floor::start(path);
    let measured = closed_loop(PRODUCERS, time, move |_, _| {
        let floor = floor.clone();
        async move {
            floor.append(numbers(batch).map(|n| payload(&n.to_string(), n % 100_000)).collect()).await;
            batch
        }
    })
    .await;
    thread.join().expect("the floor's writer does not panic");
    measured
}

async fn store_row(store: &Arc<SqliteStore>, batch: u64, time: Duration) -> Measured {
    let store = Arc::clone(store);
    closed_loop(PRODUCERS, time, move |_, _| {
        let store = Arc::clone(&store);
        async move { store.append(numbers(batch).map(new_event).collect()).await.expect("appends").len() as u64 }
    })
    .await
}

/// Single events go in while as many deliveries are finished, each with a record and an index entry; counts the events.
async fn mixed_row(store: &Arc<SqliteStore>, mut feed: Feed, time: Duration) -> Measured {
    // What the other rows left behind stays pending.
    while feed.try_recv().is_ok() {}
    let finisher = tokio::spawn({
        let store = Arc::clone(store);
        async move {
            while let Some(fresh) = feed.recv().await {
                let calls = fresh.into_iter().map(|pending| {
                    let (store, value) = (Arc::clone(&store), pending.key);
                    async move {
                        let text = str::to_owned;
                        let put = Write::IndexPut {
                            account: text("main"),
                            kind: text("person"),
                            field: text("user"),
                            id: value.clone(),
                            value,
                        };
                        let record = Write::Record { id: pending.id.clone(), attempt: 1, record: vec![b'r'; 500] };
                        let at = jiff::Timestamp::now();
                        let finish =
                            Finish { id: pending.id, state: DeliveryState::Done, at, version: None, reason: None, cause: None };
                        store.commit(vec![put, record, Write::Finish(finish)]).await.expect("commits");
                    }
                });
                futures_util::future::join_all(calls).await;
            }
        }
    });
    let measured = store_row(store, 1, time).await;
    finisher.abort();
    measured
}
