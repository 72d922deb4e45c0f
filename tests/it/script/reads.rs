//! Suspension: reads answered from the memo.

use pipewright::pipedrive::Kind;
use pipewright::script::{Outcome, Read, RunRequest, ScriptErrorKind};
use serde_json::{Value, json};

use super::support::{compile, event, request, run_body, run_program};

fn run_with(body: &str, answers: Vec<(Read, Value)>) -> Outcome {
    let program = compile(&[("a.rhai", &format!("fn handle(event) {{ {body} }}"))]).expect("compiles");
    let mut request: RunRequest = request(&event());
    request.memo.0 = answers;
    run_program(program, request).outcome
}

fn read_of(outcome: Outcome) -> (Read, usize) {
    match outcome {
        Outcome::Read { read, so_far, .. } => (read, so_far.actions.len()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_read_suspends_and_its_answer_lets_the_run_go_on() {
    let body = r##"
        person::create(#{ name: "first" });
        let p = person::find(#{ email: "ada@acme.com" });
        let d = deal::get(7);
        if p?.name == "Ada" && d == () { note::create(#{ content: "both", person_id: p.id }); }
    "##;
    let (first, before) = read_of(run_with(body, vec![]));
    assert!(matches!(&first, Read::Find { kind: Kind::Person, .. }), "{first:?}");
    assert_eq!(before, 1, "the actions before the read are handed over");
    let answers = vec![(first, json!({ "id": 3, "name": "Ada" }))];
    let (second, _) = read_of(run_with(body, answers.clone()));
    assert!(matches!(&second, Read::Get { kind: Kind::Deal, .. }), "{second:?}");
    let answers = [answers, vec![(second, Value::Null)]].concat();
    match run_with(body, answers) {
        Outcome::Plan(plan) => assert_eq!(plan.actions.len(), 2),
        other => panic!("{other:?}"),
    }
}

#[test]
fn nothing_happens_after_a_suspension_however_the_script_swallows_errors() {
    for body in [
        r#"try { person::find(#{ email: "a" }); } catch { } person::create(#{ name: "x" });"#,
        r#"try { [1].map(|x| person::find(#{ email: "a" })); } catch { } person::create(#{ name: "x" });"#,
        r#"try { [1].filter(|x| person::find(#{ email: "a" }) == ()); } catch { } person::create(#{ name: "x" });"#,
        r#"let a = [2, 1]; a.sort(|x, y| { person::find(#{ email: "a" }); x - y }); person::create(#{ name: "x" });"#,
        r#"let a = [2, 1]; a.dedup(|x, y| { person::find(#{ email: "a" }); true }); person::create(#{ name: "x" });"#,
        r#"let a = [2, 1]; a.sort(|x, y| { person::find(#{ email: "a" }); 0 }); skip("other");"#,
        r#"loop { try { person::find(#{ email: "a" }); } catch { person::create(#{ name: "x" }); } }"#,
        r#"let f = |x| { try { person::find(#{ email: "a" }) } catch { 1 } }; f.call(1); fail("other");"#,
    ] {
        let (read, actions) = read_of(run_with(body, vec![]));
        assert!(matches!(read, Read::Find { .. }), "{body}");
        assert_eq!(actions, 0, "{body}");
    }
}

#[test]
fn a_read_without_any_value_is_not_asked() {
    match run_with(
        r#"if person::find([#{ email: event.traits.phone }, #{ name: "" }]) == () && deal::get(()) == () { skip("none") }"#,
        vec![],
    ) {
        Outcome::Skip(reason) => assert_eq!(reason, "none"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn another_read_than_before_is_a_divergence() {
    let (read, _) = read_of(run_with(r#"person::find(#{ email: "a" });"#, vec![]));
    for body in [r#"person::find(#{ email: "b" });"#, "let x = 1;"] {
        match run_with(body, vec![(read.clone(), Value::Null)]) {
            Outcome::Error(error) => assert_eq!(error.kind, ScriptErrorKind::Divergence, "{body}"),
            other => panic!("{body}: {other:?}"),
        }
    }
}

#[test]
fn raw_gets_are_reads_and_other_methods_are_actions() {
    let (read, _) = read_of(run_with(r#"pipedrive::request("get", "/api/v2/products/7")"#, vec![]));
    assert_eq!(read, Read::Request { path: "/api/v2/products/7".to_owned() });
    let verbs = super::support::actions(r#"pipedrive::request("POST", "/api/v1/filters", #{ name: "x" });"#);
    assert_eq!(verbs, [json!({ "request": { "method": "POST", "path": "/api/v1/filters", "body": { "name": "x" } } })]);
}

#[test]
fn missing_keys_are_nothing_and_safe_navigation_works() {
    match run_body(r#"skip(`${event.traits.nope == ()} ${event.nope?.deep?.er ?? "dflt"} ${event.traits.plan ?? "null"}`)"#)
        .outcome
    {
        Outcome::Skip(reason) => assert_eq!(reason, "true dflt null"),
        other => panic!("{other:?}"),
    }
}
