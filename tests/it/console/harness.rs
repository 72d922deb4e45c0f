//! An admin API on a real store, whose scheduler and reloader are answered by the test.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use bytes::Bytes;
use parking_lot::Mutex;
use pipewright::config::Secret;
use pipewright::console::{self, State};
use pipewright::crm::Accounts;
use pipewright::crm::budget::Ledger;
use pipewright::delivery::{
    AccountStatus, Command, ControlError, DeliveryStatus, Edited, Handle, IdImport, Locks, PauseInfo, Replayed, Revert,
    RuleStatus, Scope, Wakeup,
};
use pipewright::diagnostic::Diagnostic;
use pipewright::failure::FailureClass;
use pipewright::reload::{self, ReloadOutcome, ReloadStatus};
use pipewright::rules::{BuildOptions, ScriptSet, SetFiles, Version};
use pipewright::store::sqlite::{Fault, OpenOptions, SqliteStore};
use pipewright::store::{Dedupe, DeliveryId, DeliveryState, Feed, Finish, NewDelivery, NewEvent, Seq, Store, Write};
use pipewright::telemetry::Metrics;
use serde_json::json;
use tokio::sync::watch;

use crate::support::{loopback, temp_dir, write};

const RULES: &str = r#"
[sources.website]
write_keys = ["env:PIPEWRIGHT_TEST_UNSET"]

[pipedrive.main]
domain = "acme"
api_token = "env:PIPEWRIGHT_TEST_UNSET"

[[rules]]
name = "person"
when = 'type = "identify"'
script = "person.rhai"

[[rules]]
name = "other"
when = 'type = "group"'
script = "person.rhai"
enabled = false
"#;

/// The commands that reached the scheduler, as text.
type Seen = Arc<Mutex<Vec<String>>>;

pub(crate) struct Admin {
    pub(crate) state: State,
    pub(crate) store: Arc<dyn Store>,
    /// Whether the disk is full for new events.
    pub(crate) full: Arc<AtomicBool>,
    seen: Seen,
    pub(crate) reload: watch::Sender<ReloadStatus>,
    pub(crate) stop: watch::Sender<bool>,
    _feed: Feed,
    pub(crate) dir: tempfile::TempDir,
}

impl Admin {
    pub(crate) async fn start() -> Self {
        Self::with("").await
    }

    /// With more lines in rules.toml.
    pub(crate) async fn with(more: &str) -> Self {
        let dir = temp_dir();
        write(dir.path(), "rules.toml", &format!("{RULES}\n{more}"));
        write(dir.path(), "scripts/person.rhai", "fn handle(event) { skip(\"nothing to do\"); }");
        let files = SetFiles::read(dir.path()).expect("files");
        let options = BuildOptions { dir: dir.path().to_owned(), mock: true, metadata: None };
        let set = ScriptSet::build(files, &options).unwrap_or_else(|d| panic!("{}", pipewright::diagnostic::render_all(&d))).set;

        let full = Arc::new(AtomicBool::new(false));
        let disk = Arc::clone(&full);
        let open = OpenOptions {
            dir: dir.path().join("data"),
            reserve_bytes: 64 * 1024,
            fault: Some(Arc::new(move |intake| (intake && disk.load(Ordering::SeqCst)).then_some(Fault::DiskFull))),
            ..OpenOptions::default()
        };
        let (store, feed) = SqliteStore::open(open).expect("a store");
        let store: Arc<dyn Store> = Arc::new(store);

        let (delivery, mut commands) = Handle::channel();
        let seen = Seen::default();
        let note = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Some(command) = commands.recv().await {
                answer(&note, command);
            }
        });
        let (handle, reload::HandleEnd { mut requests, status }) = reload::Handle::channel(settled());
        tokio::spawn(async move {
            while let Some(request) = requests.recv().await {
                match request {
                    reload::Request::Reload(reply) => drop(reply.send(refusal())),
                    reload::Request::Rollback(_, reply) => drop(reply.send(Err(reload::VersionError::Stopped))),
                    reload::Request::Unpin(reply) => drop(reply.send(Err(reload::VersionError::NotPinned))),
                }
            }
        });
        let (stop, _) = watch::channel(false);
        let clock = Arc::new(jiff::Timestamp::now);
        let ledger = Ledger::open(Arc::clone(&store), Metrics::default(), clock).await.expect("a ledger");
        let state = State {
            ledger,
            store: Arc::clone(&store),
            live: Arc::new(ArcSwap::from_pointee(set)),
            delivery,
            revert: Revert::new(Arc::clone(&store), Accounts::default(), Locks::default()),
            accounts: Accounts::default(),
            ids: IdImport::new(Accounts::default(), Locks::default(), Wakeup::channel().0),
            reload: handle,
            metrics: Metrics::default(),
            started_at: jiff::Timestamp::now(),
            version: "0.0.0-test",
            replaying: Arc::default(),
        };
        Self { state, store, full, seen, reload: status, stop, _feed: feed, dir }
    }

    /// Serves it on a loopback listener.
    pub(crate) async fn listen(&self, token: Option<&str>) -> SocketAddr {
        let (listener, addr) = loopback().await;
        let serving = console::serve(listener, self.state.clone(), token.map(Secret::new), self.stop.subscribe());
        tokio::spawn(serving.expect("loopback needs no token"));
        addr
    }

    /// Stores an identify of `user` for the rule `person`.
    pub(crate) async fn event(&self, message_id: &str, user: &str) -> DeliveryId {
        let deliveries = vec![NewDelivery {
            rule: "person".into(),
            account: "main".into(),
            key: format!("u:{user}"),
            after: Vec::new(),
            behind: Vec::new(),
        }];
        DeliveryId { seq: self.append(message_id, user, deliveries).await, rule: "person".into() }
    }

    pub(crate) async fn append(&self, message_id: &str, user: &str, deliveries: Vec<NewDelivery>) -> Seq {
        let body = json!({
            "type": "identify", "messageId": message_id, "userId": user, "traits": { "name": "Ada" },
            "timestamp": "2026-07-01T12:00:00Z", "receivedAt": "2026-07-01T12:00:00Z",
        });
        let event = NewEvent {
            source: "website".to_owned(),
            message_id: message_id.to_owned(),
            kind: "identify",
            name: None,
            user: Some(user.to_owned()),
            received_at: jiff::Timestamp::now(),
            payload: Bytes::from(body.to_string()),
            deliveries,
            dedupe: Dedupe::Window,
            repeats: None,
            kept: true,
            alias: None,
            forget: false,
        };
        match self.store.append(vec![event]).await.expect("stored")[0] {
            pipewright::store::Appended::Fresh(seq) => seq,
            other => panic!("not fresh: {other:?}"),
        }
    }

    pub(crate) async fn finish(&self, id: &DeliveryId, state: DeliveryState, reason: Option<&str>) {
        let record = json!({ "attempt": 1, "outcome": state.as_str(), "tokens": 5 }).to_string().into_bytes();
        let finish = Finish {
            id: id.clone(),
            state,
            at: jiff::Timestamp::now(),
            version: Some("abc".to_owned()),
            reason: reason.map(str::to_owned),
            cause: None,
        };
        let writes = vec![Write::Record { id: id.clone(), attempt: 1, record }, Write::Finish(finish)];
        self.store.commit(writes).await.expect("committed");
    }

    pub(crate) fn commands(&self) -> Vec<String> {
        std::mem::take(&mut *self.seen.lock())
    }
}

pub(crate) fn settled() -> ReloadStatus {
    ReloadStatus { live_since: jiff::Timestamp::now(), ..ReloadStatus::default() }
}

pub(crate) fn bad_script() -> Diagnostic {
    Diagnostic::error("unknown function `fobar`").at("scripts/person.rhai", "fobar()", 1, 1, 5)
}

pub(crate) fn refusal() -> ReloadOutcome {
    ReloadOutcome::Refused { version: Version("abc".into()), diagnostics: vec![bad_script()], tests: None }
}

fn answer(seen: &Seen, command: Command) {
    match command {
        Command::Status(reply) => {
            let since = jiff::Timestamp::now();
            let held = seen.lock().iter().any(|said| said.starts_with("pause Rule(\"person\")"));
            let by_person = held.then(|| PauseInfo { reason: "by a person".to_owned(), class: None, since, until: None });
            let pause = PauseInfo { reason: "401".to_owned(), class: Some(FailureClass::Misconfigured), since, until: None };
            let status = DeliveryStatus {
                pending: 3,
                accounts: vec![AccountStatus {
                    name: "main".to_owned(),
                    pending: 3,
                    running: 0,
                    writes: None,
                    observed: 0,
                    paused: Some(pause),
                    budget: None,
                    schema: Vec::new(),
                    mirror: Vec::new(),
                    webhooks: None,
                }],
                rules: vec![RuleStatus { name: "person".to_owned(), pending: 3, running: 0, paused: by_person }],
                ..DeliveryStatus::default()
            };
            drop(reply.send(Ok(status)));
        }
        Command::Pause(scope, reason, reply) => {
            seen.lock().push(format!("pause {scope:?} {reason}"));
            drop(reply.send(match scope {
                Scope::Rule(name) if name == "nobody" => Err(ControlError::Unknown("there is no rule `nobody`".to_owned())),
                _ => Ok(()),
            }));
        }
        Command::Resume(scope, reply) => {
            seen.lock().push(format!("resume {scope:?}"));
            drop(reply.send(Err(ControlError::Refused("it is not paused".to_owned()))));
        }
        Command::Replay(ids, how, reply) => {
            let flags = [(how.again, " again"), (how.overwrite, " overwrite")];
            let flags: String = flags.into_iter().filter(|(given, _)| *given).map(|(_, flag)| flag).collect();
            seen.lock().push(format!("replay {}{flags}", words(&ids)));
            let anew = |of: DeliveryId| Replayed { id: DeliveryId { seq: Seq(of.seq.0 + 100), rule: of.rule.clone() }, of };
            drop(reply.send(Ok(ids.into_iter().map(anew).collect())));
        }
        Command::Edit(seq, event, _, reply) => {
            seen.lock().push(format!("edit {seq} {}", event.kind));
            let edited = Edited { event: Seq(seq.0 + 100), deliveries: Vec::new(), left: Vec::new() };
            drop(reply.send(Ok(edited)));
        }
        Command::Release(ids, reply) => {
            seen.lock().push(format!("release {}", words(&ids)));
            drop(reply.send(Ok(ids.len() as u64)));
        }
        Command::Discard(ids, reply) => {
            seen.lock().push(format!("discard {}", words(&ids)));
            drop(reply.send(Ok(ids.len() as u64)));
        }
        Command::DropForErasure(ids, reply) => {
            drop(reply.send(Ok(pipewright::delivery::Dropped { dropped: ids.len() as u64, under_way: Vec::new() })));
        }
        Command::UnderWay(_, reply) => drop(reply.send(Ok(Vec::new()))),
        Command::Reloaded => {}
    }
}

fn words(ids: &[DeliveryId]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}
