//! Scripts that loop, recurse, allocate, swallow or sleep: each ends by its limit, and the same thread serves the next run.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use pipewright::config::{ScriptConfig, Span};
use pipewright::script::{Memo, Outcome, Pool, Program, RunReport, RunRequest, ScriptErrorKind};

use super::support::sources;

/// The deadline of a run; generous, because the machine may be busy.
const DEADLINE: Duration = Duration::from_millis(400);
/// What a run may take beyond its deadline: the clock is looked at between operations, and one operation may be large.
const OVERSHOOT: Duration = Duration::from_secs(10);

const RUNTIME: &[&str] = &[
    "loop {}",
    "let x = 0; loop { x += 1; }",
    "while true { let a = [1, 2, 3]; }",
    "for i in 0..9223372036854775807 {}",
    "loop { try { loop {} } catch {} }",
    "loop { try { [1].map(|x| { loop {} }) } catch {} }",
    "[1].map(|x| { loop {} })",
    "let a = []; for i in 0..1000 { a.push(i) } a.map(|x| { let s = 0; for j in 0..100000 { s += j } s })",
    "let a = []; for i in 0..1000 { a.push(i) } a.sort(|x, y| { loop {} })",
    "let a = [3, 1, 2]; loop { a.sort(|x, y| { throw 1; }); }",
    "fn_rec(1)",
    "let s = \"x\"; loop { s += s; }",
    "let s = \"x\"; loop { s = `${s}${s}`; }",
    "let s = \"\"; s.pad(100000000, 'x');",
    "let s = \"aaaaaaaaaa\"; loop { s.replace(\"a\", \"aaaaaaaaaa\"); }",
    "let a = [1]; loop { a += a; }",
    "let a = []; loop { a.push(a); }",
    "let a = []; loop { a = [a]; }",
    "let a = []; loop { a = [a, a]; }",
    "let m = #{}; let i = 0; loop { m[`k${i}`] = i; i += 1; }",
    "let m = #{}; loop { m = #{ a: m, b: m }; }",
    "let b = blob(100000000);",
    "let b = blob(10); loop { b += b; }",
    "let s = \"a\"; s.pad(200000, 'a'); loop { s.contains(\"b\"); }",
    "let s = \"a\"; s.pad(200000, 'a'); loop { s.index_of(\"ab\"); }",
    "let s = \"a,\"; s.pad(200000, ','); loop { s.split(\",\"); }",
    "let p = || 1; loop { let q = p; p = || q; }",
    "let f = |x| x; loop { f = f.curry(1); }",
    "let f = |f| f.call(f); f.call(f)",
    "sleep(30)",
    "sleep(1e300)",
    "try { sleep(30) } catch { loop {} }",
    "Fn(\"sleep\").call(30)",
    "timestamp()",
    "Fn(\"timestamp\").call()",
    "Fn(\"eval\").call(\"1\")",
    "let x = 9223372036854775807; x + 1",
    "let x = -9223372036854775807 - 1; x / -1",
    "1 << 9999999999",
    "let a = [1, 2, 3]; a.extract(-99999999999, 99999999999); throw \"done\";",
    "let a = [1]; a.pad(100000000, 1);",
    "throw [[[[1]]]]",
    "let x = event; loop { x = #{ e: x }; }",
    "loop { person::create(#{ name: \"x\" }); }",
    "loop { log::info(\"x\"); }",
    "loop { print(\"x\"); }",
    "nested(12)",
    "let v = #{}; for i in 0..100 { v = #{ v: v }; } person::create(v);",
    "(0..1000000000).map(|x| x)",
    "[1].reduce(|sum, x| { loop {} }, 0)",
    "#{ a: 1 }.filter(|k, v| { loop {} })",
    "import \"nowhere\" as n;",
    "import \"../../etc/passwd\" as n;",
];

/// Functions that some of them call.
const FUNCTIONS: &str = "fn fn_rec(n) { fn_rec(n + 1) }\nfn id(x) { x }\n\
    fn nested(n) { id(id(id(id(id(id(id(id(id(id(id(id(nested(n + 1))))))))))))) }";

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

#[test]
#[expect(clippy::disallowed_methods, reason = "measures the wall clock of script threads")]
fn every_hostile_script_ends_and_the_thread_serves_the_next() {
    let pool = Pool::start(1);
    let good = program("fn handle(event) { person::create(#{ name: event.traits.name }); }").expect("compiles");
    let good = Arc::new(good);
    for body in RUNTIME {
        let text = format!("{FUNCTIONS}\nfn handle(event) {{\n{body}\n}}");
        let program = match program(&text) {
            Ok(program) => Arc::new(program),
            // Refused earlier still: as good.
            Err(_) => continue,
        };
        let started = Instant::now();
        let report = block_on(pool.run(program, request()));
        let took = started.elapsed();
        assert!(took < DEADLINE + OVERSHOOT, "{body}: took {took:?}");
        match &report.outcome {
            Outcome::Error(error) => {
                assert_ne!(error.kind, ScriptErrorKind::Panic, "{body}");
                assert!(!error.diagnostic.message.is_empty(), "{body}");
            }
            Outcome::Plan(_) => assert!(took < DEADLINE, "{body} ended by itself"),
            other => panic!("{body}: {other:?}"),
        }
        let next: RunReport = block_on(pool.run(good.clone(), request()));
        assert!(matches!(next.outcome, Outcome::Plan(plan) if plan.actions.len() == 1), "after {body}");
    }
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
