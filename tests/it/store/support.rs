//! What the tests of the store share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use pipewright::store::sqlite::{OpenOptions, SqliteStore};
use pipewright::store::{
    Appended, Dedupe, DeliveryId, DeliveryState, Feed, Finish, NewDelivery, NewEvent, Pending, Repeated, Repeats, ReplayOptions,
    Seq, Store, Write,
};
use tempfile::TempDir;

/// How long unmatched events are kept.
pub(crate) const WEEK: Duration = Duration::from_secs(7 * 24 * 3_600);

/// The schema that this version has.
pub(crate) const SCHEMA: i64 = 11;

/// What takes a schema back to the one before it, newest first.
const UNDO: &[(i64, &str)] = &[
    (
        10,
        "ALTER TABLE known DROP COLUMN seen; ALTER TABLE known DROP COLUMN seen_version; ALTER TABLE match_index DROP COLUMN merged;",
    ),
    (9, "DROP TABLE causes; ALTER TABLE runs DROP COLUMN cause;"),
    (
        8,
        "DROP INDEX events_replays; ALTER TABLE events DROP COLUMN replay_options; ALTER TABLE unmatched DROP COLUMN replay_options;",
    ),
    (7, "DROP TABLE shadow_counts; DROP TABLE shadow_differences;"),
    (6, "DROP TABLE outcomes;"),
    (5, "DROP TABLE joined;"),
    (
        4,
        "DROP TABLE aliases; ALTER TABLE pending DROP COLUMN behind; ALTER TABLE events DROP COLUMN note;
         ALTER TABLE unmatched DROP COLUMN note;",
    ),
];

/// Leaves a file as an earlier version would have.
pub(crate) fn take_back_to(schema: i64, file: &rusqlite::Connection) {
    let steps = UNDO.iter().filter(|(to, _)| *to >= schema).map(|(_, step)| *step).collect::<String>();
    file.execute_batch(&format!("{steps} PRAGMA user_version = {schema};")).expect("writes");
}

/// A store in a directory of its own.
pub(crate) struct Opened {
    pub(crate) store: SqliteStore,
    pub(crate) feed: Feed,
    pub(crate) dir: TempDir,
}

pub(crate) fn options(dir: &TempDir) -> OpenOptions {
    OpenOptions { dir: dir.path().to_owned(), reserve_bytes: 64 * 1024, ..OpenOptions::default() }
}

pub(crate) fn open() -> Opened {
    open_with(|_| {})
}

pub(crate) fn open_with(change: impl FnOnce(&mut OpenOptions)) -> Opened {
    let dir = TempDir::new().expect("a directory");
    let mut options = options(&dir);
    change(&mut options);
    let (store, feed) = SqliteStore::open(options).expect("opens");
    Opened { store, feed, dir }
}

/// A store with a dedupe window of so many seconds, and what lets seconds pass for it.
pub(crate) fn timed(window: u64) -> (Opened, impl Fn(u64)) {
    let now = Arc::new(AtomicU64::new(0));
    let read = Arc::clone(&now);
    let opened = open_with(|o| {
        o.dedupe_window = Duration::from_secs(window);
        o.elapsed = Some(Arc::new(move || Duration::from_secs(read.load(Ordering::SeqCst))));
    });
    (opened, move |seconds| {
        now.fetch_add(seconds, Ordering::SeqCst);
    })
}

impl Opened {
    /// Drops the store without closing it and opens it again.
    pub(crate) fn reopen(self) -> Self {
        let Self { store, feed, dir } = self;
        drop((store, feed));
        let (store, feed) = SqliteStore::open(options(&dir)).expect("opens again");
        Self { store, feed, dir }
    }
}

/// Seconds after this process began: the dedupe window looks at the clock when a store is opened.
pub(crate) fn at(seconds: i64) -> jiff::Timestamp {
    static BEGAN: OnceLock<jiff::Timestamp> = OnceLock::new();
    *BEGAN.get_or_init(jiff::Timestamp::now) + jiff::SignedDuration::from_secs(seconds)
}

pub(crate) fn event(message_id: &str, rules: &[&str]) -> NewEvent {
    NewEvent {
        source: "website".to_owned(),
        message_id: message_id.to_owned(),
        kind: "track",
        name: None,
        user: None,
        received_at: at(0),
        payload: format!(r#"{{"messageId":"{message_id}"}}"#).into(),
        deliveries: rules.iter().map(|rule| delivery(rule, "u:1")).collect(),
        dedupe: Dedupe::Window,
        repeats: None,
        kept: true,
        alias: None,
        forget: false,
    }
}

pub(crate) fn delivery(rule: &str, key: &str) -> NewDelivery {
    NewDelivery { rule: Arc::from(rule), account: Arc::from("main"), key: key.to_owned(), after: Vec::new(), behind: Vec::new() }
}

pub(crate) fn id(seq: Seq, rule: &str) -> DeliveryId {
    DeliveryId { seq, rule: Arc::from(rule) }
}

/// An event that repeats this delivery.
pub(crate) fn repeats(seq: Seq, rule: &str) -> Repeats {
    Repeats { of: Repeated::Delivery(id(seq, rule)), how: ReplayOptions::default() }
}

pub(crate) fn finish(id: DeliveryId, state: DeliveryState, at: jiff::Timestamp) -> Write {
    Write::Finish(Finish { id, state, at, version: Some("v1".to_owned()), reason: None, cause: None })
}

/// Appends one fresh event.
pub(crate) async fn add(store: &SqliteStore, event: NewEvent) -> Seq {
    match store.append(vec![event]).await.expect("appends")[..] {
        [Appended::Fresh(seq)] => seq,
        ref other => panic!("not fresh: {other:?}"),
    }
}

/// All unfinished deliveries, read page by page.
pub(crate) async fn all_pending(store: &SqliteStore, page: usize) -> Vec<Pending> {
    let mut all: Vec<Pending> = Vec::new();
    loop {
        let next = store.pending(all.last().map(|p| p.id.clone()), page).await.expect("reads");
        if next.is_empty() {
            return all;
        }
        all.extend(next);
    }
}

/// A bound for what must happen.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future).await.expect("happens in time")
}
