//! The limits of a run: what they say when they are met. Scripts that try to get around them are in `e2e::hostile`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pipewright::config::{ScriptConfig, Span};
use pipewright::script::{Memo, Outcome, Pool, Program, RunRequest, ScriptErrorKind};

use super::support::sources;

/// The deadline of a run; generous, because the machine may be busy.
const DEADLINE: Duration = Duration::from_millis(400);

fn limits() -> ScriptConfig {
    ScriptConfig { deadline: Span(DEADLINE), ..ScriptConfig::default() }
}

fn request() -> RunRequest {
    RunRequest {
        rule: Arc::from("hostile"),
        script: Arc::from("a.rhai"),
        payload: Bytes::from(super::support::event().to_string()),
        message_id: "m-1".to_owned(),
        memo: Memo::default(),
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
}

fn program(text: &str) -> Result<Program, Vec<pipewright::diagnostic::Diagnostic>> {
    Program::compile(&sources(&[("a.rhai", text)]), &limits())
}

#[test]
fn limits_are_named_with_the_key_that_sets_them() {
    for (body, kind, words) in [
        ("loop {}", ScriptErrorKind::Limit, &["1000000 operations", "max_operations", "fn handle(event)", "a.rhai:1:22"][..]),
        ("let s = \"x\"; loop { s += s; }", ScriptErrorKind::Limit, &["a text is too large", "max_string"]),
        ("let a = [1]; loop { a += a; }", ScriptErrorKind::Limit, &["an array is too large", "max_array"]),
        (
            "let m = #{}; let i = 0; loop { let n = #{}; n[`k${i}`] = 1; m += n; i += 1; }",
            ScriptErrorKind::Limit,
            &["a map is too large", "max_map"],
        ),
        ("let x = 0;\nloop { x += 1; }", ScriptErrorKind::Limit, &["1000000 operations", "a.rhai:"]),
        ("r(1)", ScriptErrorKind::Limit, &["calls are nested deeper than 64"]),
        ("loop { person::find(#{ email: \"a\" }); }", ScriptErrorKind::Limit, &["read more than", "max_reads"]),
    ] {
        let limits = ScriptConfig { deadline: Span::secs(60), max_reads: 0, ..ScriptConfig::default() };
        let text = format!("fn r(n) {{ r(n + 1) }} fn handle(event) {{\n{body} }}");
        let program = Program::compile(&sources(&[("a.rhai", &text)]), &limits).expect("compiles");
        match block_on(Pool::start(1).run(Arc::new(program), request())).outcome {
            Outcome::Error(error) => {
                let shown = error.diagnostic.render();
                assert_eq!(error.kind, kind, "{shown}");
                for word in words {
                    assert!(shown.contains(word), "{word} in {shown}");
                }
            }
            other => panic!("{body}: {other:?}"),
        }
    }
}

#[test]
fn operations_of_callbacks_count() {
    let body = "let a = []; for i in 0..1000 { a.push(i) } a.map(|x| { let s = 0; for j in 0..1000 { s += j } s })";
    let limits = ScriptConfig { deadline: Span::secs(60), max_operations: 100_000, ..ScriptConfig::default() };
    let program =
        Program::compile(&sources(&[("a.rhai", &format!("fn handle(event) {{ {body} }}"))]), &limits).expect("compiles");
    let report = block_on(Pool::start(1).run(Arc::new(program), request()));
    assert!(matches!(&report.outcome, Outcome::Error(e) if e.kind == ScriptErrorKind::Limit), "{:?}", report.outcome);
    assert!((100_000..101_000).contains(&report.operations), "{}", report.operations);
}

#[test]
fn the_deadline_is_an_error_of_its_own() {
    let limits = ScriptConfig { deadline: Span::millis(50), max_operations: u64::MAX, ..ScriptConfig::default() };
    let program = Program::compile(
        &sources(&[(
            "a.rhai",
            "fn handle(event) {\n  loop { try { [1].map(|x| { let y = 0; loop { y += x; } }) } catch {} }\n}",
        )]),
        &limits,
    )
    .expect("compiles");
    match block_on(Pool::start(1).run(Arc::new(program), request())).outcome {
        Outcome::Error(error) => {
            assert_eq!(error.kind, ScriptErrorKind::Deadline);
            let shown = error.diagnostic.render();
            assert!(shown.contains("longer than 50ms") && shown.contains("`deadline`") && shown.contains("a.rhai:1"), "{shown}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn hostile_texts_are_refused_when_compiled() {
    let deep =
        |open: &str, close: &str, n: usize| format!("fn handle(event) {{ let x = {}1{}; }}", open.repeat(n), close.repeat(n));
    for text in [
        deep("(", ")", 100_000),
        deep("[", "]", 100_000),
        deep("#{a:", "}", 50_000),
        deep("`${", "}`", 50_000),
        deep("|| ", "", 50_000),
        format!("fn handle(event) {{ {} }}", "if true {} else ".repeat(15_000) + "{}"),
        format!("fn handle(event) {{ {} }}", "{".repeat(100_000)),
        format!("fn handle(event) {{ let x = 1{}; }}", "+1".repeat(50_000)),
        (0..1000).map(|i| format!("fn f{i}() {{}}")).collect(),
        "x".repeat(300 * 1024),
        "fn handle(event) { eval(\"1\") }".to_owned(),
        "\"".to_owned() + &"a".repeat(262_000),
    ] {
        let problems = program(&text).map(|_| ()).expect_err(&text[..text.len().min(60)]);
        assert_eq!(problems.len(), 1);
    }
}

#[test]
fn a_script_of_20_000_variables_is_refused_or_ends_by_the_limit() {
    let text = format!("fn handle(event) {{ {} }}", (0..20_000).map(|i| format!("let v{i}=1;")).collect::<String>());
    // How far the parser gets within its time depends on the machine.
    match program(&text) {
        Err(problems) => assert!(problems[0].message.contains("too long to read"), "{}", problems[0].message),
        Ok(program) => match block_on(Pool::start(1).run(Arc::new(program), request())).outcome {
            Outcome::Error(error) => assert_eq!(error.kind, ScriptErrorKind::Limit, "{}", error.diagnostic.message),
            other => panic!("{other:?}"),
        },
    }
}
