//! `skip`, `fail`, `retry`, and the log.

use std::time::Duration;

use pipewright::script::{LogLevel, Outcome};

use super::support::{run_body, shown};

#[test]
fn skip_ends_the_run_wherever_it_is_called_and_cannot_be_caught() {
    for body in [
        r#"skip("no");"#,
        r#"try { skip("no"); } catch { person::create(#{ name: "x" }); }"#,
        r#"try { [1].map(|x| skip("no")); } catch { person::create(#{ name: "x" }); }"#,
        r#"let a = [2, 1]; a.sort(|x, y| { skip("no"); 0 }); person::create(#{ name: "x" });"#,
        r#"let a = [2, 1]; a.dedup(|x, y| { skip("no"); true }); person::create(#{ name: "x" });"#,
        r#"[1].filter(|x| { try { skip("no"); } catch { } true }); person::create(#{ name: "x" });"#,
    ] {
        match run_body(body).outcome {
            Outcome::Skip(reason) => assert_eq!(reason, "no"),
            other => panic!("{body}: {other:?}"),
        }
    }
}

#[test]
fn fail_and_retry_carry_their_reason() {
    assert!(matches!(run_body(r#"fail("why")"#).outcome, Outcome::Fail(r) if r == "why"));
    assert!(
        matches!(run_body(r#"retry("later", 90)"#).outcome, Outcome::Retry(r, d) if r == "later" && d == Duration::from_secs(90))
    );
    assert!(shown(r#"retry("later", -1)"#).contains("between 0 and 604800"));
}

#[test]
fn the_log_is_kept_with_its_places_and_capped() {
    let report = run_body("log::info(\"one\");\nlog::warn(#{ a: 1 });\nprint(\"three\");");
    let lines: Vec<_> = report.logs.iter().map(|l| (l.level, l.text.as_str(), l.line)).collect();
    assert_eq!(lines, [(LogLevel::Info, "one", 2), (LogLevel::Warn, "{\"a\":1}", 3), (LogLevel::Debug, "three", 0)]);

    let report = run_body("for i in 0..1000 { log::info(\"x\"); } print(\"y\");");
    assert_eq!(report.logs.len(), 101);
    assert_eq!(report.logs[100].text, "901 further log lines were left out");
}
