//! Compiling and running scripts in a line.

use std::sync::Arc;

use bytes::Bytes;
use pipewright::config::ScriptConfig;
use pipewright::diagnostic::Diagnostic;
use pipewright::script::{Memo, Outcome, Plan, Pool, Program, RunReport, RunRequest, ScriptError, Sources};
use serde_json::{Value, json};

/// Scripts by file, and the table `countries.csv`.
pub(super) fn sources(scripts: &[(&str, &str)]) -> Sources {
    Sources {
        scripts: scripts.iter().map(|(file, text)| ((*file).to_owned(), Arc::from(*text))).collect(),
        tables: [("tables/countries.csv".to_owned(), Arc::from("code,name\nDE,Germany\nFR,France\nIT,Italy\n"))].into(),
    }
}

/// The scripts as compiled, or what is wrong with them.
pub(super) fn compile(scripts: &[(&str, &str)]) -> Result<Program, Vec<Diagnostic>> {
    Program::compile(&sources(scripts), &ScriptConfig::default())
}

/// What is wrong with one script, as shown.
pub(super) fn compile_error(text: &str) -> String {
    let problems = compile(&[("a.rhai", text)]).expect_err("the script is wrong");
    pipewright::diagnostic::render_all(&problems)
}

/// An identify event as scripts see it.
pub(super) fn event() -> Value {
    json!({
        "type": "identify", "messageId": "m-1", "userId": "u-1", "timestamp": "2026-03-04T05:06:07.000Z",
        "receivedAt": "2026-03-04T05:06:08.000Z", "previousId": "anon-1",
        "traits": { "email": "ada@acme.com", "name": "Ada King", "age": 36, "plan": null, "company": { "name": "Acme" } },
        "context": { "groupId": "g-1", "ip": "10.0.0.1" }
    })
}

/// A run of `a.rhai` with the event.
pub(super) fn request(event: &Value) -> RunRequest {
    RunRequest {
        rule: Arc::from("rule"),
        script: Arc::from("a.rhai"),
        payload: Bytes::from(event.to_string()),
        message_id: "m-1".to_owned(),
        memo: Memo::default(),
    }
}

/// Runs on a pool of one thread.
pub(super) fn run_program(program: Program, request: RunRequest) -> RunReport {
    let pool = Pool::start(1);
    let run = pool.run(Arc::new(program), request);
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(run)
}

/// Runs `a.rhai` among these scripts with [`event`].
pub(super) fn run_all(scripts: &[(&str, &str)]) -> RunReport {
    let program = compile(scripts).unwrap_or_else(|p| panic!("{}", pipewright::diagnostic::render_all(&p)));
    run_program(program, request(&event()))
}

/// Runs a script whose `handle` has this body.
pub(super) fn run_body(body: &str) -> RunReport {
    run_all(&[("a.rhai", &format!("fn handle(event) {{\n{body}\n}}"))])
}

/// The plan of such a run.
pub(super) fn plan_of(body: &str) -> Plan {
    match run_body(body).outcome {
        Outcome::Plan(plan) => plan,
        Outcome::Error(error) => panic!("{}", error.diagnostic.render()),
        other => panic!("{other:?}"),
    }
}

/// The plan's actions as JSON, without their places.
pub(super) fn actions(body: &str) -> Vec<Value> {
    plan_of(body).actions.iter().map(|a| serde_json::to_value(&a.verb).expect("serialises")).collect()
}

/// The error of such a run.
pub(super) fn error_of(body: &str) -> Box<ScriptError> {
    match run_body(body).outcome {
        Outcome::Error(error) => error,
        other => panic!("no error: {other:?}"),
    }
}

/// The error, as shown.
pub(super) fn shown(body: &str) -> String {
    error_of(body).diagnostic.render()
}
