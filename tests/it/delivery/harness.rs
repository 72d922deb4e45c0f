//! A daemon on a folder of its own, over an embedded Pipedrive that the test holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use parking_lot::Mutex;
use pipewright::daemon::{Daemon, DaemonOptions, MockDoor, MockSetup};
use pipewright::delivery::{AccountStatus, DeliveryStatus, RuleStatus};
use pipewright::mock::{Mock, MockExchange, MockOptions};
use pipewright::pipedrive::Method;
use pipewright::store::sqlite::{Fault as StoreFault, FaultHook};
use pipewright::store::{DeliveryFilter, DeliveryId, DeliveryRow, DeliveryState, Store};
use serde_json::{Value, json};

use crate::support::binary::command_async;
use crate::support::days::Days;
use crate::support::{request, temp_dir, wait_or, wait_until, write};

/// A person by user id, named by the event.
pub(super) const PERSON: &str = r#"
fn handle(event) {
    person::upsert(#{ "Segment User ID": event.userId }, #{ name: event.traits?.name });
}
"#;

/// A command to the daemon under test, ready to be started.
pub(super) fn pipewright(rig: &Rig, args: &[&str]) -> tokio::process::Command {
    let mut command = command_async(args);
    command.arg("--socket").arg(pipewright::console::socket_path(rig.daemon().data_dir()));
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    command
}

/// What a daemon is made of, before it starts.
pub(super) struct Setup {
    delivery: String,
    account: String,
    mirror: &'static str,
    squash: bool,
    server: String,
    source: String,
    scripts: String,
    rules: Vec<(String, String, String, String)>,
}

impl Setup {
    /// Quick retries, no limits, an account without records, no mirror, no squashing.
    pub(super) fn new() -> Self {
        Self {
            delivery: "retry_first = \"10ms\"\nretry_max = \"50ms\"\n".to_owned(),
            account: String::new(),
            mirror: "mirror = \"off\"",
            squash: false,
            server: String::new(),
            source: String::new(),
            scripts: "deadline = \"5s\"".to_owned(),
            rules: Vec::new(),
        }
    }

    /// One rule `person` on identify calls.
    pub(super) fn person(script: &str) -> Self {
        Self::new().rule("person", "type = \"identify\"", script)
    }

    pub(super) fn rule(self, name: &str, when: &str, script: &str) -> Self {
        self.rule_with(name, when, script, "")
    }

    /// A rule with further keys.
    pub(super) fn rule_with(mut self, name: &str, when: &str, script: &str, more: &str) -> Self {
        self.rules.push((name.to_owned(), when.to_owned(), script.to_owned(), more.to_owned()));
        self
    }

    /// Further keys of `[delivery]`; those of the default are replaced.
    pub(super) fn delivery(mut self, keys: &str) -> Self {
        keys.clone_into(&mut self.delivery);
        self
    }

    /// Further keys of `[server]`.
    pub(super) fn server(mut self, keys: &str) -> Self {
        keys.clone_into(&mut self.server);
        self
    }

    /// Further keys of the source.
    pub(super) fn source(mut self, keys: &str) -> Self {
        keys.clone_into(&mut self.source);
        self
    }

    /// Lists are kept, as by default. Without this a miss is asked of the search.
    pub(super) fn mirrored(self) -> Self {
        self.own_mirror()
    }

    /// Requests take along what later deliveries say, as by default. Without this each one sends its own.
    pub(super) fn squashing(mut self) -> Self {
        self.squash = true;
        self
    }

    /// The account's own keys say what is mirrored.
    pub(super) fn own_mirror(mut self) -> Self {
        self.mirror = "";
        self
    }

    /// Keys of `[scripts]` in place of the default's.
    pub(super) fn scripts(mut self, keys: &str) -> Self {
        keys.clone_into(&mut self.scripts);
        self
    }

    /// Further keys of the account.
    pub(super) fn account(mut self, keys: &str) -> Self {
        keys.clone_into(&mut self.account);
        self
    }

    /// Writes the files and starts the daemon on the test's own runtime.
    pub(super) async fn start(self) -> Rig {
        self.begin(false, false).await
    }

    /// Starts it with Pipedrive behind real HTTP.
    pub(super) async fn start_over_http(self) -> Rig {
        self.begin(false, true).await
    }

    /// Starts it on a runtime of its own, so that it can be cut off.
    pub(super) async fn start_apart(self) -> Rig {
        self.begin(true, false).await
    }

    async fn begin(self, apart: bool, http: bool) -> Rig {
        let dir = temp_dir();
        let mut rules = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\n{}\n[admin]\nlisten = \"127.0.0.1:0\"\n[reload]\nwatch = false\n\
             [scripts]\n{}\n[delivery]\nsquash = {}\n{}\n[sources.website]\nwrite_keys = [\"env:PIPEWRIGHT_TEST_UNSET\"]\n{}\n\
             [pipedrive.main]\ndomain = \"acme\"\napi_token = \"env:PIPEWRIGHT_TEST_UNSET\"\nplan = \"ultimate\"\n{}\n{}\n",
            self.server, self.scripts, self.squash, self.delivery, self.source, self.mirror, self.account
        );
        for (name, when, script, more) in &self.rules {
            rules.push_str(&format!("[[rules]]\nname = \"{name}\"\nwhen = '{when}'\nscript = \"{name}.rhai\"\n{more}\n"));
            write(dir.path(), &format!("scripts/{name}.rhai"), script);
        }
        write(dir.path(), "rules.toml", &rules);
        let mut rig = Rig {
            dir,
            mock: Mock::new(MockOptions { seed: false, ..MockOptions::unlimited() }),
            days: Days::at("2026-03-02T08:00:00Z"),
            daemon: None,
            apart: None,
            separate: apart,
            http,
            spoiled: Arc::default(),
            intake: Arc::default(),
        };
        rig.boot().await;
        rig
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        // A runtime must not be dropped within another one by waiting for it.
        if let Some(runtime) = self.apart.take() {
            runtime.shutdown_background();
        }
    }
}

/// A daemon under test.
pub(super) struct Rig {
    pub(super) dir: tempfile::TempDir,
    pub(super) mock: Arc<Mock>,
    /// The clock of the token budgets.
    pub(super) days: Days,
    daemon: Option<Daemon>,
    apart: Option<tokio::runtime::Runtime>,
    separate: bool,
    http: bool,
    /// How many commits of outcomes are refused, as on a full disk, from the moment on at which the mock holds a person.
    spoiled: Arc<AtomicUsize>,
    /// What goes wrong with commits that hold new events.
    intake: Arc<Mutex<Option<StoreFault>>>,
}

impl Rig {
    async fn boot(&mut self) {
        let door = if self.http { MockDoor::Http(([127, 0, 0, 1], 0).into()) } else { MockDoor::InProcess };
        let setup = || DaemonOptions {
            dir: self.dir.path().to_owned(),
            mock: Some(MockSetup { mock: self.mock.clone(), door, unlimited: true, writes_on: false }),
            listen: None,
            admin_listen: None,
            unpin: false,
            store_fault: Some(self.store_fault()),
        };
        let daemon = if self.separate {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
            let daemon = wait_until("the store is free again", async || {
                match runtime.spawn(Daemon::start_at(setup(), self.days.clock())).await.expect("no panic") {
                    Ok(daemon) => Some(daemon),
                    Err(pipewright::daemon::StartError::Store(_)) => None,
                    Err(error) => panic!("{error}"),
                }
            })
            .await;
            self.apart = Some(runtime);
            daemon
        } else {
            Daemon::start_at(setup(), self.days.clock()).await.unwrap_or_else(|e| panic!("{e}"))
        };
        self.daemon = Some(daemon);
        wait_until("the account's fields are there", async || {
            self.store().kv_get("metadata", "main").await.expect("the store reads").map(drop)
        })
        .await;
    }

    fn store_fault(&self) -> FaultHook {
        let (mock, left, of_intake) = (self.mock.clone(), self.spoiled.clone(), self.intake.clone());
        Arc::new(move |intake| {
            if intake {
                return *of_intake.lock();
            }
            let due = left.load(Ordering::SeqCst) > 0 && mock.count("persons") > 0;
            (due && left.fetch_sub(1, Ordering::SeqCst) > 0).then_some(StoreFault::DiskFull)
        })
    }

    /// From now on this goes wrong with commits that hold new events, or nothing.
    pub(super) fn fail_intake(&self, fault: Option<StoreFault>) {
        *self.intake.lock() = fault;
    }

    /// The next person is created in Pipedrive, but what became of it cannot be stored, once.
    pub(super) fn spoil_first_outcome(&self) {
        // The store tries again from its reserve: both go wrong.
        self.spoiled.store(2, Ordering::SeqCst);
    }

    pub(super) fn daemon(&self) -> &Daemon {
        self.daemon.as_ref().expect("it runs")
    }

    pub(super) fn store(&self) -> &Arc<dyn Store> {
        self.daemon().store()
    }

    pub(super) async fn stop(&mut self) {
        self.daemon.take().expect("it runs").stop().await;
    }

    pub(super) async fn start_again(&mut self) {
        self.boot().await;
    }

    pub(super) async fn restart(&mut self) {
        self.stop().await;
        self.boot().await;
    }

    /// Cuts the daemon off in the middle of whatever it does, and starts another on the same folder.
    pub(super) async fn crash(&mut self) {
        let (runtime, daemon) = (self.apart.take().expect("started apart"), self.daemon.take());
        let ending = tokio::task::spawn_blocking(move || {
            // The tasks go first: a dropped daemon would let them end in order.
            runtime.shutdown_timeout(std::time::Duration::from_secs(10));
            drop(daemon);
        });
        ending.await.expect("it ends");
        self.boot().await;
    }

    /// Writes a rule's script and makes it live.
    pub(super) async fn edit(&self, rule: &str, script: &str) {
        write(self.dir.path(), &format!("scripts/{rule}.rhai"), script);
        let outcome = self.daemon().reload().reload().await;
        assert!(matches!(outcome, pipewright::reload::ReloadOutcome::Swapped { .. }), "{outcome:?}");
    }

    /// Hands in an event; answers its messageId when it is durable.
    pub(super) async fn send(&self, event: Value) -> String {
        let mut event = event;
        let id = event["messageId"].as_str().map_or_else(|| uuid::Uuid::new_v4().to_string(), str::to_owned);
        event["messageId"] = json!(id);
        let path = format!("/v1/{}", event["type"].as_str().expect("a type"));
        let reply = self.post(&path, &event).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        id
    }

    /// Hands in a body as a source would.
    pub(super) async fn post(&self, path: &str, body: &Value) -> crate::support::Reply {
        let auth = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode("mock:"));
        let headers = [("content-type", "application/json"), ("authorization", auth.as_str())];
        request(self.daemon().ingest_addr(), "POST", path, &headers, body.to_string()).await
    }

    /// An identify call.
    pub(super) async fn identify(&self, user: &str, traits: Value) -> String {
        self.send(json!({ "type": "identify", "userId": user, "traits": traits })).await
    }

    /// A track call.
    pub(super) async fn track(&self, user: &str, name: &str, properties: Value) -> String {
        self.send(json!({ "type": "track", "userId": user, "event": name, "properties": properties })).await
    }

    /// Waits until no delivery is pending.
    pub(super) async fn settled(&self) {
        wait_or(
            || async { (self.store().stats().await.expect("the store counts").pending == 0).then_some(()) },
            || async {
                let filter = DeliveryFilter { states: vec![DeliveryState::Pending], ..DeliveryFilter::default() };
                let rows = self.store().deliveries(&filter).await.expect("the store lists");
                let record = self.record(&rows[0].id).await;
                format!("not ended: {rows:#?}\nthe first one's last record: {record:#}\n{:#?}", self.status().await)
            },
        )
        .await;
    }

    /// Hands in an identify call, waits for all to end, answers its only delivery.
    pub(super) async fn run(&self, user: &str, traits: Value) -> DeliveryRow {
        let id = self.identify(user, traits).await;
        self.settled().await;
        self.row(&id).await
    }

    /// The only delivery of an event.
    pub(super) async fn row(&self, message_id: &str) -> DeliveryRow {
        let mut rows = self.rows(message_id).await;
        assert_eq!(rows.len(), 1, "{rows:?}");
        rows.remove(0)
    }

    pub(super) async fn rows(&self, message_id: &str) -> Vec<DeliveryRow> {
        let filter = DeliveryFilter { message_id: Some(message_id.to_owned()), ..DeliveryFilter::default() };
        self.store().deliveries(&filter).await.expect("the store lists")
    }

    /// A delivery by its name.
    pub(super) async fn delivery(&self, id: &DeliveryId) -> DeliveryRow {
        let filter = DeliveryFilter { seq: Some(id.seq), rule: Some(id.rule.to_string()), ..DeliveryFilter::default() };
        self.store().deliveries(&filter).await.expect("the store lists").remove(0)
    }

    /// How many deliveries stand so.
    pub(super) async fn count(&self, state: DeliveryState) -> usize {
        let filter = DeliveryFilter { states: vec![state], limit: 1000, ..DeliveryFilter::default() };
        self.store().deliveries(&filter).await.expect("the store lists").len()
    }

    /// The decision records of a delivery, oldest first.
    pub(super) async fn records(&self, id: &DeliveryId) -> Vec<Value> {
        let records = self.store().records(id).await.expect("the store reads");
        records.iter().map(|r| serde_json::from_slice(r).expect("JSON")).collect()
    }

    /// The newest decision record.
    pub(super) async fn record(&self, id: &DeliveryId) -> Value {
        self.records(id).await.pop().unwrap_or(Value::Null)
    }

    /// What the policies of a delivery's first action decided.
    pub(super) async fn decisions(&self, id: &DeliveryId) -> Vec<String> {
        serde_json::from_value(self.record(id).await["steps"][0]["decisions"].clone()).unwrap_or_default()
    }

    /// Waits until the newest record of an event's only delivery has this outcome.
    pub(super) async fn outcome(&self, message_id: &str, outcome: &str) -> Value {
        wait_until(&format!("{message_id} is recorded as {outcome}"), async || {
            let row = self.rows(message_id).await.into_iter().next()?;
            self.records(&row.id).await.pop().filter(|r| r["outcome"] == outcome)
        })
        .await
    }

    pub(super) async fn status(&self) -> DeliveryStatus {
        self.daemon().delivery().status().await.expect("it runs")
    }

    pub(super) async fn account_status(&self) -> AccountStatus {
        self.status().await.accounts.remove(0)
    }

    pub(super) async fn rule_status(&self, rule: &str) -> RuleStatus {
        self.status().await.rules.into_iter().find(|r| r.name == rule).expect("the rule")
    }

    /// Requests of this method whose path holds this text, in order.
    pub(super) fn calls(&self, method: Method, path: &str) -> Vec<MockExchange> {
        self.mock.log().into_iter().filter(|e| e.method == method && e.path.contains(path)).collect()
    }

    /// The queries of the GETs of this path, in order: `limit=500&sort_by=id`.
    pub(super) fn queries(&self, path: &str) -> Vec<String> {
        let query =
            |call: &MockExchange| call.query.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&");
        self.mock.log().iter().filter(|e| e.method == Method::Get && e.path == path).map(query).collect()
    }

    /// Requests that ask for changes, carried out or not.
    pub(super) fn writes(&self) -> Vec<String> {
        self.mock.log().iter().filter(|e| e.method != Method::Get).map(MockExchange::call).collect()
    }

    /// The only person with this user id.
    pub(super) fn person(&self, user: &str) -> Value {
        let mut found = self.mock.find("persons", "Segment User ID", &json!(user));
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    }

    /// How many persons have this user id.
    pub(super) fn persons(&self, user: &str) -> usize {
        self.mock.find("persons", "Segment User ID", &json!(user)).len()
    }

    /// Creates an entity as another user of the account would.
    pub(super) fn aside(&self, path: &str, body: Value) -> Value {
        let answer = self.mock.aside(&pipewright::pipedrive::Request::new(Method::Post, path).body(body));
        match answer.body {
            pipewright::pipedrive::Body::Json(mut body) if answer.status < 300 => body["data"].take(),
            other => panic!("{} {other:?}", answer.status),
        }
    }

    /// Changes an entity as another user would.
    pub(super) fn by_hand(&self, kind: &str, id: &Value, fields: Value) {
        let id = id.as_str().map_or_else(|| id.to_string(), str::to_owned);
        let answer = self.mock.edit(kind, id, fields.as_object().expect("a map").clone());
        assert_eq!(answer.status, 200, "{fields}: {:?}", answer.body);
    }

    /// Deletes an entity as another user would.
    pub(super) fn delete_aside(&self, path: &str) {
        let answer = self.mock.aside(&pipewright::pipedrive::Request::new(Method::Delete, path));
        assert_eq!(answer.status, 200);
    }

    /// The key of a custom field.
    pub(super) fn key(&self, kind: &str, name: &str) -> String {
        self.mock.custom_key(kind, name).expect("the field")
    }
}
