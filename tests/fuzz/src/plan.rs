//! Plans. An input is a JSON list of actions, which `plan.rhai` carries out: so values come the way they come from scripts. An input
//! that is a plan as the store keeps it (`{"actions": [..]}`) is taken as it is.

use std::sync::LazyLock;

use pipewright::config::{MatchFields, ScriptConfig, Span, WritePolicy};
use pipewright::crm::{Metadata, fetch_metadata};
use pipewright::mock::{Mock, MockOptions};
use pipewright::pipedrive::{Client, ClientOptions, Id, Trace};
use pipewright::plan::{self, BodyFor, Operation, Plan, PrepareContext, Step, WireTarget};
use pipewright::script::{Memo, Outcome, Program, RunRequest, STACK, ScriptErrorKind, Sources, run_blocking};
use serde_json::{Map, Value, json};

const SCRIPT: &str = "plan.rhai";

/// The account of the embedded Pipedrive, which has a custom field of every type.
static ACCOUNT: LazyLock<Metadata> = LazyLock::new(|| {
    let mock = Mock::new(MockOptions { seed: true, ..MockOptions::unlimited() });
    let options = ClientOptions { burst: u32::MAX, search_burst: u32::MAX, ..ClientOptions::default() };
    let session = Client::new(mock, options).session(Trace::default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(fetch_metadata(&session)).expect("metadata")
});

/// No deadline that a busy machine could miss: operations bound a run.
static PROGRAM: LazyLock<Program> = LazyLock::new(|| {
    let sources = Sources { scripts: [(SCRIPT.to_owned(), include_str!("plan.rhai").into())].into(), ..Sources::default() };
    let limits = ScriptConfig { deadline: Span::secs(600), max_operations: 200_000, ..ScriptConfig::default() };
    Program::compile(&sources, &limits).expect("the script compiles")
});

/// Tries one list of actions.
pub fn run(data: &[u8]) {
    if serde_json::from_slice::<Value>(data).is_err() {
        return;
    }
    if let Ok(stored) = serde_json::from_slice::<Plan>(data) {
        check(&stored);
        return;
    }
    if let Some(plan) = scripted(data) {
        assert!(plan.actions.len() <= ScriptConfig::default().max_actions, "more actions than a plan may have");
        assert!(plan.actions.iter().zip(0..).all(|(action, n)| action.ordinal == n), "an ordinal is not the place in the plan");
        check(&plan);
    }
}

/// How many of its actions could be sent, each by itself: whether an input says anything at all.
pub fn ready(data: &[u8]) -> usize {
    let plan = serde_json::from_slice(data).ok().or_else(|| scripted(data)).unwrap_or_default();
    plan.actions.iter().filter(|action| prepare(&Plan { actions: vec![(*action).clone()] }).is_ok()).count()
}

/// What the script makes of it, on a thread with the stack that scripts have.
fn scripted(data: &[u8]) -> Option<Plan> {
    let request = RunRequest {
        rule: "rule".into(),
        script: SCRIPT.into(),
        payload: data.to_vec().into(),
        message_id: "m1".into(),
        memo: Memo::default(),
    };
    let thread = std::thread::Builder::new().stack_size(STACK);
    let outcome = std::thread::scope(|scope| {
        let running = thread.spawn_scoped(scope, || run_blocking(&PROGRAM, request).outcome).expect("a thread");
        running.join().expect("a run ends")
    });
    match outcome {
        Outcome::Plan(plan) => Some(plan),
        Outcome::Error(error) => {
            let known = matches!(error.kind, ScriptErrorKind::Runtime | ScriptErrorKind::Limit);
            assert!(known, "{:?}: {}", error.kind, error.diagnostic.render());
            None
        }
        // A raw GET is a read.
        Outcome::Read { so_far, .. } => Some(so_far),
        other => panic!("the script cannot ask for this: {other:?}"),
    }
}

fn prepare(plan: &Plan) -> Result<Vec<Step>, Vec<plan::PlanProblem>> {
    let context = PrepareContext {
        metadata: &ACCOUNT,
        match_fields: &MatchFields::default(),
        rule: "rule",
        message_id: "m1",
        write: WritePolicy::Changed,
    };
    plan::prepare(plan, &context)
}

fn check(whole: &Plan) {
    let text = serde_json::to_string(whole).expect("a plan is JSON");
    let stored: Plan = serde_json::from_str(&text).expect("a stored plan is a plan");
    assert_eq!(serde_json::to_string(&stored).expect("JSON"), text, "the stored plan is another");
    assert!(plan::compare(whole, &stored).is_empty(), "a plan differs from itself");
    match prepare(whole) {
        Ok(steps) => {
            assert_eq!(steps.len(), whole.actions.len(), "an action was lost");
            assert_eq!(prepare(&stored).ok().as_ref(), Some(&steps), "the stored plan asks for something else");
            steps.iter().for_each(check_step);
        }
        Err(problems) => {
            assert!(!problems.is_empty(), "refused without a reason");
            for problem in &problems {
                assert!(!problem.message.is_empty());
                assert!((problem.ordinal as usize) < whole.actions.len(), "a problem of no action");
            }
        }
    }
    // One bad action does not hide the others.
    if whole.actions.len() > 1 {
        whole.actions.iter().for_each(|action| {
            if let Ok(steps) = prepare(&Plan { actions: vec![action.clone()] }) {
                steps.iter().for_each(check_step);
            }
        });
    }
}

fn by_id(target: &WireTarget) -> Option<Id> {
    match target {
        WireTarget::Id(id) => Some(id.clone()),
        _ => Some(Id::Number(5)),
    }
}

/// Its bodies; and what was sent is not sent again.
fn check_step(step: &Step) {
    let text = serde_json::to_string(step).expect("a step is JSON");
    let stored: Step = serde_json::from_str(&text).expect("a pinned step is a step");
    assert_eq!(serde_json::to_string(&stored).expect("JSON"), text, "the pinned step is another");
    let body = |purpose| plan::body(step, purpose, &by_id, &ACCOUNT);
    let empty = Map::new();
    for purpose in [
        BodyFor::Create,
        BodyFor::Update { present: None, known: None },
        BodyFor::Update { present: Some(&empty), known: None },
        BodyFor::Update { present: Some(&empty), known: Some(&empty) },
    ] {
        if let Ok(made) = body(purpose) {
            let custom = made.body.get("custom_fields").and_then(Value::as_object).map_or(0, Map::len);
            assert_eq!(
                made.changes.is_empty(),
                made.body.len() + custom == 0,
                "sent and not told of, or the other way: {made:?}"
            );
        }
    }
    let simple = step.if_empty.is_empty() && step.unless_edited.is_empty() && step.write == WritePolicy::Changed;
    if simple && matches!(step.operation, Operation::Update { .. }) {
        let Ok(first) = body(BodyFor::Update { present: Some(&empty), known: None }) else { return };
        let known: Map<String, Value> = first.sent.into_iter().map(|(key, sent)| (key, json!({ "sent": sent }))).collect();
        let Ok(again) = body(BodyFor::Update { present: None, known: Some(&known) }) else { return };
        assert!(again.body.is_empty() && !again.needs_present, "sent twice: {again:?}");
    }
}
