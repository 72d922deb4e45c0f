//! What one script test works on: a sandbox, a look at its mock, and the test's files.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::{Timestamp, ToSpan};
use parking_lot::Mutex;
use serde_json::{Value as Json, json};
use tokio::runtime::Handle;

use super::files::TestFiles;
use super::room::Room;
use super::sandbox::{Delivered, Door, Sandbox, SandboxError};
use super::snapshots::Snapshots;
use super::view::View;
use crate::config::MatchFields;
use crate::crm::Metadata;
use crate::diagnostic::did_you_mean;
use crate::ingest::decode_event;
use crate::mock::{Fault, FaultMatch, Mock, MockOptions};
use crate::pipedrive::{Id, Kind, Method};
use crate::plan::{Criteria, FieldEntry};
use crate::rules::{Rule, ScriptSet};
use crate::script::{TestFault, TestHost, TestName, Unlike};
use crate::store::DeliveryState;

/// When the first event of every test is received; each later one a second later.
const FIRST_EVENT: Timestamp = Timestamp::constant(1_768_478_400, 0);

/// What one script test works on.
pub(super) struct Bench {
    sandbox: Sandbox,
    mock: Arc<Mock>,
    view: View,
    test: TestName,
    files: Arc<TestFiles>,
    snapshots: Arc<Snapshots>,
    handle: Handle,
    state: Mutex<State>,
}

struct State {
    source: String,
    events: i64,
    /// Rules whose scripts ran.
    rules: BTreeSet<Arc<str>>,
    /// Rules that the test turned on.
    enabled: BTreeSet<Arc<str>>,
}

impl Bench {
    /// A fresh one: an account with fields and users, and no records.
    pub(super) fn new(
        room: &Arc<Room>,
        set: &Arc<ScriptSet>,
        metadata: &Arc<Metadata>,
        (files, snapshots): (&Arc<TestFiles>, &Arc<Snapshots>),
        handle: &Handle,
        test: &TestName,
    ) -> Result<Self, SandboxError> {
        let mock = empty_mock(set);
        let door = Door::Mock { mock: mock.clone(), metadata: Some(metadata.clone()) };
        let sandbox = handle.block_on(Sandbox::new(room.clone(), set.clone(), &door))?;
        let match_fields: MatchFields = set.config.pipedrive.values().next().map(|a| a.match_fields.clone()).unwrap_or_default();
        let view = View::new(room, &mock, metadata, match_fields);
        let source = set.config.sources.keys().next().cloned().unwrap_or_else(|| "test".to_owned());
        let state = Mutex::new(State { source, events: 0, rules: BTreeSet::new(), enabled: BTreeSet::new() });
        let (files, snapshots) = (files.clone(), snapshots.clone());
        Ok(Self { sandbox, mock, view, test: test.clone(), files, snapshots, handle: handle.clone(), state })
    }

    /// The rules that its events ran.
    pub(super) fn rules(&self) -> BTreeSet<Arc<str>> {
        self.state.lock().rules.clone()
    }
}

/// The account that every test starts with.
pub(super) fn empty_mock(set: &ScriptSet) -> Arc<Mock> {
    Mock::new(MockOptions { seed: false, conversion_polls: 0, ..set.mock_options() })
}

impl TestHost for Bench {
    fn deliver(&self, event: Json) -> Result<Json, String> {
        let (source, received_at) = {
            let mut state = self.state.lock();
            state.events += 1;
            (state.source.clone(), FIRST_EVENT + (state.events - 1).seconds())
        };
        let event = decode_event(&source, received_at, event).map_err(|why| format!("the event would be refused: {why}"))?;
        let enabled = self.state.lock().enabled.clone();
        let wants = |rule: &&Rule| {
            (rule.config.enabled || enabled.contains(&rule.name))
                && rule.listens_to(&event.source)
                && rule.trigger.matches(&event)
        };
        let wanted: Vec<&Rule> = self.sandbox.set().rules.iter().filter(wants).collect();
        let delivered = self.handle.block_on(self.sandbox.deliver_to(&wanted, event)).map_err(|e| e.to_string())?;
        self.state.lock().rules.extend(delivered.iter().map(|d| d.rule.clone()));
        Ok(answer(&delivered))
    }

    fn source(&self, name: &str) -> Result<(), String> {
        let sources = &self.sandbox.set().config.sources;
        if !sources.contains_key(name) {
            let near = did_you_mean(name, sources.keys().map(String::as_str)).map(|n| format!("; did you mean \"{n}\"?"));
            return Err(format!("rules.toml has no [sources.{name}]{}", near.unwrap_or_default()));
        }
        name.clone_into(&mut self.state.lock().source);
        Ok(())
    }

    fn given(&self, kind: Kind, fields: Vec<FieldEntry>) -> Result<Json, String> {
        self.handle.block_on(self.view.given(kind, fields))
    }

    fn edit(&self, kind: Kind, id: &Id, fields: Vec<FieldEntry>) -> Result<Json, String> {
        self.handle.block_on(self.view.edit(kind, id, fields))
    }

    fn find(&self, kind: Kind, criteria: Criteria) -> Result<Json, String> {
        self.handle.block_on(self.view.find(kind, &criteria))
    }

    fn get(&self, kind: Kind, id: &Id) -> Result<Json, String> {
        self.handle.block_on(self.view.get(kind, id))
    }

    fn all(&self, kind: Kind) -> Result<Json, String> {
        self.handle.block_on(self.view.all(kind))
    }

    fn enable(&self, rule: &str) -> Result<(), String> {
        let set = self.sandbox.set();
        let Some(found) = set.rule(rule) else {
            let near = did_you_mean(rule, set.rules.iter().map(|r| &*r.name)).map(|n| format!("; did you mean \"{n}\"?"));
            return Err(format!("rules.toml has no rule `{rule}`{}", near.unwrap_or_default()));
        };
        self.state.lock().enabled.insert(found.name.clone());
        Ok(())
    }

    fn fault(&self, fault: TestFault, method: Option<Method>) -> Result<(), String> {
        let fault = match fault {
            TestFault::TooMany(seconds) => Fault::TooMany { remaining: 0, reset: seconds, retry_after: Some(seconds) },
            TestFault::Cut { carried_out } => Fault::Cut { committed: carried_out },
            TestFault::Status(status) => {
                let body = json!({ "success": false, "error": "the test asked for this failure", "code": "ERR_TEST" });
                Fault::Status { status, body }
            }
        };
        self.mock.fail_matching(FaultMatch { method, times: 1, ..FaultMatch::default() }, fault);
        Ok(())
    }

    fn search_lag(&self, lag: Duration) -> Result<(), String> {
        self.mock.set_search_lag(lag);
        Ok(())
    }

    fn pass_time(&self, time: Duration) -> Result<(), String> {
        self.mock.advance(time);
        Ok(())
    }

    fn snapshot(&self, name: Option<&str>, value: &Json) -> Result<(), Unlike> {
        self.snapshots.check(&self.test, name, value)
    }

    fn fixture(&self, name: &str) -> Result<Json, String> {
        self.files.fixture(name)
    }
}

/// What came of an event, for the script.
fn answer(delivered: &[Delivered]) -> Json {
    let deliveries: Vec<Json> = delivered.iter().map(one).collect();
    let gathered =
        |key: &str| -> Vec<Json> { deliveries.iter().filter_map(|d| d.get(key)?.as_array()).flatten().cloned().collect() };
    let (plan, requests) = (gathered("plan"), gathered("requests"));
    // The first of the worst speaks for all.
    let decisive = delivered.iter().enumerate().max_by_key(|(at, d)| (weight(d.state), usize::MAX - at)).map(|(_, d)| d);
    let (state, reason) =
        decisive.map_or(("unmatched", Some("no rule wants this event")), |d| (d.state.as_str(), d.reason.as_deref()));
    json!({ "state": state, "reason": reason, "deliveries": deliveries, "plan": plan, "requests": requests })
}

const fn weight(state: DeliveryState) -> u8 {
    match state {
        DeliveryState::Skipped | DeliveryState::Observed | DeliveryState::Discarded => 0,
        DeliveryState::Done => 1,
        DeliveryState::Pending => 2,
        DeliveryState::Dead | DeliveryState::Uncertain => 3,
        DeliveryState::Partial => 4,
    }
}

fn one(delivered: &Delivered) -> Json {
    json!({
        "rule": delivered.rule,
        "state": delivered.state.as_str(),
        "reason": delivered.reason,
        "plan": delivered.plan().iter().map(step).collect::<Vec<_>>(),
        "requests": delivered.requests().iter().map(request).collect::<Vec<_>>(),
        "logs": delivered.logs(),
    })
}

fn step(step: &Json) -> Json {
    let at = |pointer: &str| step.pointer(pointer).cloned().unwrap_or(Json::Null);
    let effect = if at("/state/effect").is_null() { at("/state/state") } else { at("/state/effect") };
    json!({
        "verb": at("/verb"), "kind": at("/kind"), "effect": effect, "id": at("/state/id"), "found_by": at("/resolution/by"),
        "changes": step.get("changes").cloned().unwrap_or_else(|| json!([])),
        "decisions": step.get("decisions").cloned().unwrap_or_else(|| json!([])),
        "warnings": step.get("warnings").cloned().unwrap_or_else(|| json!([])),
    })
}

fn request(exchange: &Json) -> Json {
    let at = |key: &str| exchange.get(key).cloned().unwrap_or(Json::Null);
    json!({ "method": at("method"), "path": at("path"), "body": at("body"), "status": at("status"), "error": at("error") })
}
