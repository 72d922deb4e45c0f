//! Each folder of `cases/`: an export, the script that a person wrote for it, and events; both ways end in the same account.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use pipewright::ingest::decode_event;
use pipewright::mock::{ClockStart, Mock, MockOptions};
use pipewright::rules::{BuildOptions, ScriptSet, SetFiles};
use pipewright::testing::{Door, Room, Sandbox};
use serde_json::{Value, json};

use crate::support::binary::{code, err, in_dir, out, parsed};
use crate::support::{temp_dir, write};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/segment/cases")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn cases() -> Vec<PathBuf> {
    let mut cases: Vec<PathBuf> = std::fs::read_dir(root()).expect("cases").map(|e| e.expect("an entry").path()).collect();
    cases.sort();
    cases
}

/// The account after the events: all entities of all kinds. Its clock stands still, so that two runs give the same times.
async fn account_after(dir: &Path, events: &[Value]) -> Value {
    let options = BuildOptions { dir: dir.to_owned(), mock: true, metadata: None };
    let built = SetFiles::read(dir)
        .and_then(|files| ScriptSet::build(files, &options))
        .unwrap_or_else(|d| panic!("{}", pipewright::diagnostic::render_all(&d)));
    let clock = ClockStart::Manual("2026-03-01T12:00:00Z".parse().expect("a time"));
    let mock = Mock::new(MockOptions { clock, ..MockOptions::unlimited() });
    let room = Arc::new(Room::open().expect("a room"));
    let door = Door::Mock { mock: mock.clone(), metadata: None };
    let sandbox = Sandbox::new(room, Arc::new(built.set), &door).await.expect("a sandbox");
    let mut ends = Vec::new();
    for (i, event) in events.iter().enumerate() {
        let mut event = event.clone();
        event["messageId"] = json!(format!("m{i}"));
        let event = decode_event("segment", Timestamp::UNIX_EPOCH, event).expect("an event");
        for delivered in sandbox.deliver(event).await.expect("delivered") {
            ends.push(json!([i, delivered.state, delivered.reason.filter(|_| delivered.state.as_str() != "done")]));
        }
    }
    let mut kinds = json!({});
    for kind in ["persons", "organizations", "deals", "leads", "activities", "notes"] {
        kinds[kind] = json!(mock.entities(kind));
    }
    json!({ "account": kinds, "states": ends })
}

/// Imports a case's export into a folder, and gives the report.
fn imported(case: &Path, dir: &Path) -> Value {
    let mut files: Vec<String> = std::fs::read_dir(case)
        .expect("a case")
        .map(|e| e.expect("an entry").path())
        .filter(|p| {
            p.extension().is_some_and(|e| e == "tf") || p.file_name().is_some_and(|n| n.to_string_lossy().starts_with("export"))
        })
        .map(|p| p.display().to_string())
        .collect();
    files.sort();
    let expected: Value = serde_json::from_str(&read(&case.join("expected.json"))).expect("JSON");
    let mut args = vec!["import-segment", "--json", "--out", "."];
    args.extend(files.iter().map(String::as_str));
    let more: Vec<String> =
        expected["args"].as_array().map_or_else(Vec::new, |a| a.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect());
    args.extend(more.iter().map(String::as_str));
    let output = in_dir(dir, &args);
    let report = parsed(&output);
    assert_eq!(code(&output), i32::from(report["ok"] == false), "{}: {}", case.display(), err(&output));
    for key in ["warnings", "mended", "refused"] {
        for said in expected[key].as_array().into_iter().flatten() {
            let said = said.as_str().expect("a text");
            let there = report["report"]["subscriptions"].as_array().into_iter().flatten().any(|s| {
                s[key].as_array().into_iter().flatten().any(|line| line.as_str().is_some_and(|line| line.contains(said)))
            });
            assert!(there, "{}: {key} lacks {said:?}: {report:#}", case.display());
        }
    }
    report
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_does_what_was_written_by_hand() {
    let cases = cases();
    assert!(cases.len() >= 20, "{} cases", cases.len());
    for case in cases {
        let events: Vec<Value> = serde_json::from_str(&read(&case.join("events.json"))).expect("JSON");
        let by_import = temp_dir();
        imported(&case, by_import.path());
        let by_hand = temp_dir();
        write(by_hand.path(), "rules.toml", &read(&case.join("by_hand.toml")));
        write(by_hand.path(), "scripts/by_hand.rhai", &read(&case.join("by_hand.rhai")));
        let (imported, written) = tokio::join!(account_after(by_import.path(), &events), account_after(by_hand.path(), &events));
        assert_same(&case, &imported, &written);
        let nothing = account_after(by_hand.path(), &[]).await;
        assert_ne!(nothing["account"], written["account"], "{}: the events change nothing", case.display());
    }
}

/// Shows the entities in which two accounts differ.
fn assert_same(case: &Path, left: &Value, right: &Value) {
    if left["account"] == right["account"] {
        return;
    }
    let mut text = format!("{}\nstates: {} / {}\n", case.display(), left["states"], right["states"]);
    for (kind, entities) in left["account"].as_object().into_iter().flatten() {
        if entities != &right["account"][kind] {
            let fresh = |all: &Value| {
                all.as_array().into_iter().flatten().rev().take(3).map(ToString::to_string).collect::<Vec<_>>().join("\n  ")
            };
            text.push_str(&format!(
                "{kind} imported:\n  {}\n{kind} by hand:\n  {}\n",
                fresh(entities),
                fresh(&right["account"][kind])
            ));
        }
    }
    panic!("{text}");
}

#[test]
fn what_is_imported_passes_check_and_its_own_tests() {
    for case in cases() {
        let dir = temp_dir();
        let report = imported(&case, dir.path());
        let checked = in_dir(dir.path(), &["check", "--mock"]);
        assert_eq!(code(&checked), 0, "{}: {}{}", case.display(), out(&checked), err(&checked));
        let tests = report["report"]["subscriptions"].as_array().into_iter().flatten().filter(|s| s["test"].is_string()).count();
        let tested = in_dir(dir.path(), &["test"]);
        assert_eq!(code(&tested), 0, "{}: {}{}", case.display(), out(&tested), err(&tested));
        assert!(out(&tested).contains(&format!("{tests} passed, 0 failed")), "{}: {}", case.display(), out(&tested));
    }
}
