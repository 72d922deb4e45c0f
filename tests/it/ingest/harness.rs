//! A listener on a real socket before a store that can be looked into, held back and made to fail.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use base64::Engine as _;
use parking_lot::Mutex;
use pipewright::config::RetentionConfig;
use pipewright::crm::Accounts;
use pipewright::ingest::{Ingest, serve};
use pipewright::rules::{BuildOptions, Live, ScriptSet, SetFiles};
use pipewright::script::Sources;
use pipewright::store::{
    Aliases, Appended, Dedupe, DeliveryFilter, DeliveryId, DeliveryRow, Erase, Erased, EventRow, IndexedEntity, KnownRow,
    NewEvent, OutcomeCount, Pending, Rejected, RejectedRow, RejectedText, ReplayOptions, Seq, ShadowCount, ShadowRow, Store,
    StoreError, StoreStats, StoredEvent, UnmatchedCount, UnmatchedFilter, Write,
};
use pipewright::telemetry::Metrics;
use serde_json::Value;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use crate::support::{Connection, Reply, loopback, temp_dir, write};

/// The keys of the sources below.
pub(super) const KEY: &str = "wk-website-5d1f";
pub(super) const OTHER_KEY: &str = "wk-app-93ba";
pub(super) const WEBHOOK_SECRET: &str = "shared-secret-71c0";
pub(super) const WEBHOOK_TOKEN: &str = "second-proof-0b6e";

const SOURCES: &str = r#"
[sources.website]
write_keys = ["file:website.key", "file:website-old.key"]

[sources.app]
write_keys = ["file:app.key"]
keep_unmatched = "0s"

[sources.segment]
webhook_secret = "file:segment.secret"
webhook_token = "file:segment.token"

[sources.plain]
webhook_secret = "file:segment.secret"

[pipedrive.main]
domain = "acme"
api_token = "file:token"

[[rules]]
name = "person"
when = 'type = "identify"'
script = "person.rhai"

[[rules]]
name = "deal"
when = 'type = "track" and event = "Deal Upserted"'
script = "deal.rhai"
order_by = "properties.deal_id"

[[rules]]
name = "everyone"
when = 'type = "identify" or type = "delete"'
script = "person.rhai"
order_by = "anonymousId"
"#;

/// A script set with the sources and rules above; `server` is the content of `[server]`.
pub(super) fn set(server: &str) -> Arc<ScriptSet> {
    set_with(server, str::to_owned)
}

/// The same, edited.
pub(super) fn set_with(server: &str, edit: impl FnOnce(&str) -> String) -> Arc<ScriptSet> {
    let dir = temp_dir();
    for (name, secret) in [
        ("website.key", KEY),
        ("website-old.key", "wk-website-old"),
        ("app.key", OTHER_KEY),
        ("segment.secret", WEBHOOK_SECRET),
        ("segment.token", WEBHOOK_TOKEN),
        ("token", "pipedrive-token"),
    ] {
        write(dir.path(), name, secret);
    }
    build(dir.path(), &format!("[server]\n{server}\n{}", edit(SOURCES)))
}

fn build(dir: &Path, rules_toml: &str) -> Arc<ScriptSet> {
    let script = |name: &str| (name.to_owned(), Arc::from("fn handle(event) {}"));
    let sources = Sources { scripts: [script("person.rhai"), script("deal.rhai")].into(), ..Sources::default() };
    let files = SetFiles { rules_toml: rules_toml.into(), sources, ..SetFiles::default() };
    let options = BuildOptions { dir: dir.to_owned(), ..BuildOptions::default() };
    match ScriptSet::build(files, &options) {
        Ok(built) => Arc::new(built.set),
        Err(problems) => panic!("{}", pipewright::diagnostic::render_all(&problems)),
    }
}

/// A listener under test.
pub(super) struct Door<S = Kept> {
    pub(super) addr: SocketAddr,
    pub(super) store: Arc<S>,
    pub(super) live: Live,
    pub(super) metrics: Metrics,
    pub(super) stopping: watch::Sender<bool>,
    pub(super) shutdown: watch::Sender<bool>,
    pub(super) served: JoinHandle<()>,
}

impl Door {
    /// With the default limits.
    pub(super) async fn open() -> Self {
        Self::with("").await
    }

    /// With this content of `[server]`.
    pub(super) async fn with(server: &str) -> Self {
        Self::before(Arc::new(Kept::default()), server).await
    }
}

impl<S: Store> Door<S> {
    /// Before this store.
    pub(super) async fn before(store: Arc<S>, server: &str) -> Self {
        let (listener, addr) = loopback().await;
        let live: Live = Arc::new(ArcSwap::new(set(server)));
        let metrics = Metrics::default();
        let (stopping, stopping_rx) = watch::channel(false);
        let (shutdown, shutdown_rx) = watch::channel(false);
        let ingest = Ingest {
            store: store.clone(),
            live: live.clone(),
            accounts: Accounts::default(),
            metrics: metrics.clone(),
            stopping: stopping_rx,
        };
        let served = tokio::spawn(serve(listener, ingest, shutdown_rx));
        Self { addr, store, live, metrics, stopping, shutdown, served }
    }

    /// A keep-alive connection.
    pub(super) async fn connect(&self) -> Connection {
        Connection::open(self.addr).await
    }

    /// One POST with the website's key.
    pub(super) async fn post(&self, path: &str, body: &Value) -> Reply {
        self.connect().await.send("POST", path, &[("authorization", &basic(KEY))], body.to_string()).await
    }
}

/// The value of `Authorization` as SDKs send it.
pub(super) fn basic(key: &str) -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{key}:")))
}

/// A store in memory.
#[derive(Default)]
pub(super) struct Kept {
    events: Mutex<Vec<NewEvent>>,
    rejected: Mutex<Vec<Rejected>>,
    failures: Mutex<VecDeque<StoreError>>,
    gate: Mutex<Option<Arc<Semaphore>>>,
    appends: Mutex<usize>,
    writes: Mutex<Vec<Write>>,
    aliases: Aliases,
}

impl Kept {
    /// What was appended, in order.
    pub(super) fn events(&self) -> Vec<NewEvent> {
        self.events.lock().clone()
    }

    /// The only event.
    pub(super) fn only(&self) -> (NewEvent, Value) {
        let events = self.events();
        assert_eq!(events.len(), 1, "{events:?}");
        let body = serde_json::from_slice(&events[0].payload).expect("JSON");
        (events[0].clone(), body)
    }

    pub(super) fn rejects(&self) -> Vec<Rejected> {
        self.rejected.lock().clone()
    }

    /// What was written beside events.
    pub(super) fn writes(&self) -> Vec<Write> {
        self.writes.lock().clone()
    }

    /// How many appends were asked for, failed ones included.
    pub(super) fn appends(&self) -> usize {
        *self.appends.lock()
    }

    /// The next appends fail so.
    pub(super) fn fail(&self, error: StoreError) {
        self.failures.lock().push_back(error);
    }

    /// Appends wait until the semaphore lets them.
    pub(super) fn hold(&self) -> Arc<Semaphore> {
        let gate = Arc::new(Semaphore::new(0));
        *self.gate.lock() = Some(gate.clone());
        gate
    }
}

#[async_trait]
impl Store for Kept {
    async fn append(&self, events: Vec<NewEvent>) -> Result<Vec<Appended>, StoreError> {
        *self.appends.lock() += 1;
        if let Some(error) = self.failures.lock().pop_front() {
            return Err(error);
        }
        let gate = self.gate.lock().clone();
        if let Some(gate) = gate {
            gate.acquire().await.expect("open").forget();
        }
        let mut kept = self.events.lock();
        let mut answers = Vec::new();
        for event in events {
            let same = |old: &NewEvent| old.source == event.source && old.message_id == event.message_id;
            match kept.iter().position(same) {
                Some(at) if event.dedupe == Dedupe::Window => answers.push(Appended::Duplicate(Seq(at as u64 + 1))),
                _ => {
                    kept.push(event);
                    answers.push(Appended::Fresh(Seq(kept.len() as u64)));
                }
            }
        }
        Ok(answers)
    }

    fn backlog(&self) -> u64 {
        self.events.lock().iter().map(|event| event.deliveries.len() as u64).sum()
    }

    fn aliases(&self) -> &Aliases {
        &self.aliases
    }

    async fn reject(&self, rejected: Vec<Rejected>) -> Result<(), StoreError> {
        self.rejected.lock().extend(rejected);
        Ok(())
    }

    async fn event(&self, seq: Seq) -> Result<Option<StoredEvent>, StoreError> {
        Ok(self.events.lock().get(seq.0 as usize - 1).map(|e| StoredEvent {
            seq,
            source: e.source.clone(),
            message_id: e.message_id.clone(),
            received_at: e.received_at,
            payload: e.payload.clone(),
            repeats: None,
            note: None,
        }))
    }

    async fn unmatched(&self, filter: &UnmatchedFilter) -> Result<Vec<EventRow>, StoreError> {
        let events = self.events.lock();
        let unmatched = events.iter().zip(1..).filter(|(e, _)| e.deliveries.is_empty());
        let row = |(e, seq): (&NewEvent, u64)| EventRow {
            seq: Seq(seq),
            message_id: e.message_id.clone(),
            kind: e.kind.to_owned(),
            name: e.name.clone(),
            source: e.source.clone(),
            received_at: e.received_at,
            note: None,
        };
        // As it is asked by replays: oldest first.
        let after = filter.after.expect("a replay goes on after a place");
        Ok(unmatched.map(row).filter(|row| row.seq > after).take(filter.limit).collect())
    }

    async fn unmatched_counts(&self, _: &UnmatchedFilter) -> Result<Vec<UnmatchedCount>, StoreError> {
        unreachable!("not asked here")
    }

    async fn deliveries(&self, filter: &DeliveryFilter) -> Result<Vec<DeliveryRow>, StoreError> {
        let events = self.events.lock();
        let mut rows = Vec::new();
        for (event, seq) in events.iter().zip(1..) {
            for delivery in &event.deliveries {
                if filter.message_id.as_ref().is_none_or(|id| *id == event.message_id)
                    && filter.rule.as_ref().is_none_or(|rule| **rule == *delivery.rule)
                {
                    rows.push(DeliveryRow {
                        id: DeliveryId { seq: Seq(seq), rule: delivery.rule.clone() },
                        state: pipewright::store::DeliveryState::Pending,
                        account: delivery.account.clone(),
                        message_id: event.message_id.clone(),
                        kind: event.kind.to_owned(),
                        name: event.name.clone(),
                        source: event.source.clone(),
                        received_at: event.received_at,
                        attempts: 0,
                        run_at: None,
                        finished_at: None,
                        version: None,
                        reason: None,
                        replay_of: None,
                        replay: ReplayOptions::default(),
                    });
                }
            }
        }
        Ok(rows)
    }

    async fn commit(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        self.writes.lock().extend(writes);
        Ok(())
    }

    // What the door does not ask for.
    async fn newest(&self) -> Result<Seq, StoreError> {
        Err(StoreError::Closed)
    }
    async fn events_of(&self, _: &str, _: Option<Seq>, _: usize) -> Result<Vec<StoredEvent>, StoreError> {
        Err(StoreError::Closed)
    }
    async fn rejected_texts(&self, _: i64, _: usize) -> Result<Vec<RejectedText>, StoreError> {
        Err(StoreError::Closed)
    }
    async fn indexed(&self, _: &str, _: &str) -> Result<Vec<IndexedEntity>, StoreError> {
        Err(StoreError::Closed)
    }
    async fn erase(&self, _: Erase) -> Result<Erased, StoreError> {
        Err(StoreError::Closed)
    }
    async fn scrub(&self) -> Result<bool, StoreError> {
        Err(StoreError::Closed)
    }
    async fn pending(&self, _: Option<DeliveryId>, _: usize) -> Result<Vec<Pending>, StoreError> {
        Err(StoreError::Closed)
    }
    async fn pinned(&self, _: &DeliveryId) -> Result<Option<Vec<u8>>, StoreError> {
        Err(StoreError::Closed)
    }
    async fn index_get(&self, _: &str, _: &str, _: &str, _: &str) -> Result<Vec<String>, StoreError> {
        Err(StoreError::Closed)
    }
    async fn known_get(&self, _: &str, _: &str, _: &str) -> Result<Option<KnownRow>, StoreError> {
        Err(StoreError::Closed)
    }
    async fn kv_get(&self, _: &str, _: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Err(StoreError::Closed)
    }
    async fn kv_list(&self, _: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        Err(StoreError::Closed)
    }
    async fn causes(&self) -> Result<Vec<pipewright::store::CauseCount>, StoreError> {
        Err(StoreError::Closed)
    }
    async fn relatives(&self, _: Seq) -> Result<Vec<Seq>, StoreError> {
        Err(StoreError::Closed)
    }
    async fn records(&self, _: &DeliveryId) -> Result<Vec<Vec<u8>>, StoreError> {
        Err(StoreError::Closed)
    }
    async fn events_by_message(&self, _: &str) -> Result<Vec<EventRow>, StoreError> {
        Err(StoreError::Closed)
    }
    async fn rejected(&self, _: usize) -> Result<Vec<RejectedRow>, StoreError> {
        Err(StoreError::Closed)
    }
    async fn outcomes(&self) -> Result<Vec<OutcomeCount>, StoreError> {
        Err(StoreError::Closed)
    }
    async fn shadow_counts(&self) -> Result<Vec<ShadowCount>, StoreError> {
        Err(StoreError::Closed)
    }
    async fn shadow_differences(&self, _: &str, _: usize) -> Result<Vec<ShadowRow>, StoreError> {
        Err(StoreError::Closed)
    }
    async fn planned_by(&self) -> Result<Vec<String>, StoreError> {
        Err(StoreError::Closed)
    }
    async fn stats(&self) -> Result<StoreStats, StoreError> {
        Err(StoreError::Closed)
    }
    async fn prune(&self, _: &RetentionConfig, _: Duration, _: jiff::Timestamp) -> Result<u64, StoreError> {
        Err(StoreError::Closed)
    }
    async fn close(&self) {}
}
