//! What a changed set must pass before it goes live.

use std::path::Path;

use pipewright::diagnostic::Diagnostic;
use pipewright::reload::{ReloadOutcome, TestCounts};

use super::{Running, rules};
use crate::support::{in_time, temp_dir, wait_until, write};

const TEST: &str = "scripts/tests/a_test.rhai";

/// A script that skips every event and says this word.
fn says(word: &str) -> String {
    format!("fn handle(event) {{ skip(\"{word}\"); }}\n")
}

/// A test that wants to hear this word.
fn wants(word: &str) -> String {
    format!("fn test_the_word() {{\n    assert_eq(track(\"x\", #{{ userId: \"u1\" }}).reason, \"{word}\");\n}}\n")
}

fn seed(dir: &Path, word: &str) {
    write(dir, "rules.toml", &rules(""));
    write(dir, "scripts/a.rhai", &says(word));
    write(dir, TEST, &wants(word));
}

fn place(d: &Diagnostic) -> (&str, usize) {
    d.place.as_ref().map(|p| (p.file.as_str(), p.line)).expect("a place")
}

#[tokio::test]
async fn an_edit_that_breaks_a_test_is_refused_with_its_place_and_what_was_live_goes_on() {
    let dir = temp_dir();
    seed(dir.path(), "one");
    let mut running = Running::start(dir.path()).await;
    let before = running.live.load().version.clone();
    assert_eq!(running.handle.status().tests.map(|t| (t.passed, t.failed)), Some((1, 0)), "the first set passes, too");

    write(dir.path(), "scripts/a.rhai", &says("two"));
    let problems = running.until_refused().await;
    assert_eq!(place(&problems[0]), (TEST, 2), "{problems:?}");
    assert!(problems[0].message.starts_with("a test failed: "), "{problems:?}");
    assert!(problems[0].notes.iter().any(|n| n.contains("`test_the_word` (scripts/tests/a_test.rhai:1)")), "{problems:?}");
    assert_eq!(running.live.load().version, before);
    assert!(running.metrics.render().contains("reload_tests_duration_seconds_count{result=\"failed\"} 1"));
    let ReloadOutcome::Refused { tests, .. } = running.handle.reload().await else { panic!("asked again, it is refused again") };
    assert_eq!(tests.map(|t| (t.passed, t.failed)), Some((0, 1)));

    // The set is the same as the refused one; its mended test alone lets it in.
    write(dir.path(), TEST, &wants("two"));
    running.until_live("a.rhai", &says("two")).await;
    let status = running.handle.status();
    assert_eq!((status.refused, status.tests.map(|t| t.passed)), (None, Some(1)));
    running.stop().await;
}

#[tokio::test]
async fn a_test_that_is_broken_alone_is_said_and_takes_nothing_down() {
    let dir = temp_dir();
    seed(dir.path(), "one");
    let running = Running::start(dir.path()).await;
    let live = running.live.load().version.clone();
    write(dir.path(), TEST, &wants("two"));
    let failing = wait_until("the live set to fail", || async { running.handle.status().failing }).await;
    assert_eq!(place(&failing.diagnostics[0]), (TEST, 2));
    let ReloadOutcome::Unchanged { version, failing } = running.handle.reload().await else { panic!("it is live") };
    assert_eq!((version, failing.len()), (live.clone(), 1));
    assert_eq!((running.live.load().version.clone(), running.handle.status().refused), (live, None));
    assert!(running.metrics.render().contains("pipewright_script_set_failing 1"));

    write(dir.path(), TEST, "fn test_a( {");
    wait_until("the file that does not compile to be told", || async {
        let failing = running.handle.status().failing?;
        failing.diagnostics[0].notes.iter().any(|n| n.contains("does not compile")).then_some(())
    })
    .await;
    write(dir.path(), TEST, &wants("one"));
    wait_until("the live set to pass again", || async { running.handle.status().failing.is_none().then_some(()) }).await;
    assert!(running.metrics.render().contains("pipewright_script_set_failing 0"));
    running.stop().await;
}

#[tokio::test]
async fn a_fixture_is_a_part_of_what_is_looked_at() {
    let dir = temp_dir();
    seed(dir.path(), "one");
    let fixture = "scripts/tests/fixtures/word.json";
    write(dir.path(), fixture, "\"one\"");
    write(dir.path(), TEST, "fn test_a() { assert_eq(track(\"x\", #{ userId: \"u1\" }).reason, fixture(\"word.json\")); }\n");
    let mut running = Running::start(dir.path()).await;
    write(dir.path(), "scripts/a.rhai", &says("two"));
    running.until_refused().await;
    write(dir.path(), fixture, "\"two\"");
    running.until_live("a.rhai", &says("two")).await;
    running.stop().await;
}

#[tokio::test]
async fn what_is_not_required_refuses_nothing() {
    let dir = temp_dir();
    seed(dir.path(), "one");
    let require = |words: &str| rules("").replace("[reload]", &format!("[reload]\nrequire = [{words}]"));
    write(dir.path(), "rules.toml", &require("\"check\""));
    let mut running = Running::start(dir.path()).await;
    write(dir.path(), "scripts/a.rhai", &says("two"));
    running.until_live("a.rhai", &says("two")).await;
    assert_eq!(running.handle.status().tests, None);

    // What the check finds, and only that, passes without the check.
    let typo = "fn handle(event) { skp(\"two\"); }\n";
    write(dir.path(), "scripts/a.rhai", typo);
    running.until_refused().await;
    write(dir.path(), "rules.toml", &require(""));
    running.until_live("a.rhai", typo).await;
    let warnings = running.handle.status().warnings;
    assert!(
        warnings.iter().any(|d| d.message.contains("skp") && !d.is_error() && d.notes[0].contains("require")),
        "{warnings:?}"
    );
    write(dir.path(), "scripts/a.rhai", "fn handle(event) { skip(; }\n");
    running.until_refused().await;
    write(dir.path(), "scripts/a.rhai", "fn handel(event) { skip(\"two\"); }\n");
    wait_until("a script without an entry point to be refused", || async {
        running.handle.status().refused.filter(|r| r.diagnostics[0].message.contains("handle")).map(drop)
    })
    .await;
    running.stop().await;
}

#[tokio::test]
async fn a_start_with_a_set_that_fails_goes_on_with_the_last_good_one_or_says_why_there_is_none() {
    let dir = temp_dir();
    seed(dir.path(), "one");
    write(dir.path(), TEST, &wants("two"));
    let problems = Running::try_start(dir.path()).await.map(|_| ()).expect_err("nothing that passes");
    assert_eq!(place(&problems[0]), (TEST, 2));

    write(dir.path(), TEST, &wants("one"));
    Running::start(dir.path()).await.stop().await;
    // It was live: whatever its tests say now, a restart does not try it again.
    write(dir.path(), TEST, &wants("two"));
    let running = Running::try_start(dir.path()).await.expect("it was live before");
    assert!(!running.handle.status().from_store);
    running.stop().await;

    write(dir.path(), "scripts/a.rhai", &says("three"));
    let running = Running::try_start(dir.path()).await.expect("the last good set");
    let status = running.handle.status();
    assert!(status.from_store && place(&status.refused.expect("a reason").diagnostics[0]) == (TEST, 2));
    assert_eq!(&*running.live.load().files.sources.scripts["a.rhai"], says("one"));
    running.stop().await;
}

/// Tests that pass and take minutes together: each works until close to its limit of operations.
pub(super) fn endless() -> String {
    let one = |number: u32| format!("fn test_{number}() {{ for i in 0..150000 {{ i + i; }} }}\n");
    (0..2_000).map(one).collect()
}

#[tokio::test]
async fn of_files_that_change_while_they_are_tried_the_newest_win_and_a_stop_waits_for_no_trial() {
    let dir = temp_dir();
    seed(dir.path(), "one");
    let mut running = Running::start(dir.path()).await;
    write(dir.path(), "scripts/tests/slow_test.rhai", &endless());
    write(dir.path(), "scripts/a.rhai", &says("slow"));
    let slow = wait_until("the slow set to be tried", || async { running.handle.status().trying }).await;
    // Who asks meanwhile is answered with what became of the files of then.
    let asked = tokio::spawn({
        let handle = running.handle.clone();
        async move { handle.reload().await }
    });
    std::fs::remove_file(dir.path().join("scripts/tests/slow_test.rhai")).expect("deleted");
    write(dir.path(), TEST, &wants("two"));
    write(dir.path(), "scripts/a.rhai", &says("two"));
    running.until_live("a.rhai", &says("two")).await;
    let outcome = in_time("who asked is answered", asked).await.expect("no panic");
    assert!(!matches!(&outcome, ReloadOutcome::Swapped { version, .. } if *version == slow), "{outcome:?}");
    assert_eq!(running.handle.status().trying, None);

    write(dir.path(), "scripts/tests/slow_test.rhai", &endless());
    write(dir.path(), "scripts/a.rhai", &says("slower"));
    wait_until("the slow set to be tried", || async { running.handle.status().trying }).await;
    in_time("the stop", running.stop()).await;
}

#[tokio::test]
async fn a_folder_without_tests_goes_live_without_any() {
    let dir = temp_dir();
    super::seed(dir.path());
    let running = Running::start(dir.path()).await;
    write(dir.path(), "scripts/a.rhai", &super::script(1));
    match running.handle.reload().await {
        ReloadOutcome::Swapped { tests, .. } => assert_eq!(tests, None::<TestCounts>),
        // The watcher was faster.
        ReloadOutcome::Unchanged { failing, .. } => assert_eq!(failing, []),
        other => panic!("{other:?}"),
    }
    running.stop().await;
}

#[tokio::test]
async fn a_set_of_which_the_tests_run_too_little_is_refused_with_the_lines_that_no_test_runs() {
    let dir = temp_dir();
    seed(dir.path(), "one");
    let require = |words: &str| rules("").replace("[reload]", &format!("[reload]\nrequire = [{words}]"));
    write(dir.path(), "rules.toml", &require("\"tests\", \"coverage>=80\""));
    let mut running = Running::start(dir.path()).await;
    let covered = |tests: Option<TestCounts>| tests.and_then(|t| t.covered).map(|totals| totals.percent());
    assert_eq!(covered(running.handle.status().tests), Some(100.0));

    let longer = "fn handle(event) {\n    if event.userId == \"u2\" {\n        let x = 1;\n        fail(`${x}`);\n    }\n    skip(\"one\");\n}\n";
    write(dir.path(), "scripts/a.rhai", longer);
    let problems = running.until_refused().await;
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(place(&problems[0]).0, "rules.toml");
    assert!(problems[0].place.as_ref().is_some_and(|p| p.text.contains("coverage>=80")), "{problems:?}");
    assert_eq!(
        problems[0].message,
        "the tests run 50.0 % of the lines and branches of the rules' scripts, and 80 % are required"
    );
    assert_eq!(problems[0].notes, ["scripts/a.rhai: line 3, 4"]);
    let ReloadOutcome::Refused { tests, .. } = running.handle.reload().await else { panic!("asked again, it is refused again") };
    assert_eq!(tests.clone().map(|t| (t.passed, t.failed)), Some((1, 0)));
    assert_eq!(covered(tests), Some(50.0));

    // A test that runs the rest lets it in.
    let both = "fn test_both() {\n    track(\"x\", #{}, #{ userId: \"u2\" });\n    assert_eq(track(\"x\", #{ userId: \"u1\" }).reason, \"one\");\n}\n";
    write(dir.path(), TEST, both);
    running.until_live("a.rhai", longer).await;
    assert_eq!(covered(running.handle.status().tests), Some(100.0));

    // Without "tests" they need not pass: what they run counts.
    write(dir.path(), "rules.toml", &require("\"coverage>=80\""));
    let last = longer.replace("\"one\"", "\"two\"");
    write(dir.path(), "scripts/a.rhai", &last);
    running.until_live("a.rhai", &last).await;
    assert_eq!(running.handle.status().tests.map(|t| (t.passed, t.failed)), Some((0, 1)));
    running.stop().await;
}

#[tokio::test]
async fn a_set_is_judged_by_the_tests_and_fixtures_that_were_looked_at_whatever_is_saved_meanwhile() {
    let dir = temp_dir();
    seed(dir.path(), "one");
    write(dir.path(), "rules.toml", &rules("").replace("[reload]", "[reload]\nwatch = false"));
    let fixture = "scripts/tests/fixtures/word.json";
    write(dir.path(), fixture, "\"one\"");
    let slow: String = (0..20).map(|n| format!("fn test_{n}() {{ for i in 0..150000 {{ i + i; }} }}\n")).collect();
    write(dir.path(), TEST, &slow);
    let last = "fn test_a() { assert_eq(track(\"x\", #{}, #{ userId: \"u1\" }).reason, fixture(\"word.json\")); }\n";
    write(dir.path(), "scripts/tests/z_test.rhai", last);
    let running = Running::start(dir.path()).await;

    write(dir.path(), "scripts/a.rhai", &says("two"));
    let asked = tokio::spawn({
        let handle = running.handle.clone();
        async move { handle.reload().await }
    });
    wait_until("the set to be tried", || async { running.handle.status().trying }).await;
    // What would let it in now was not there when its files were read.
    write(dir.path(), fixture, "\"two\"");
    let outcome = in_time("it is judged", asked).await.expect("no panic");
    assert!(matches!(&outcome, ReloadOutcome::Refused { .. }), "{outcome:?}");
    assert!(matches!(running.handle.reload().await, ReloadOutcome::Swapped { .. }), "looked at anew, it passes");
    running.stop().await;
}

#[tokio::test]
async fn a_restart_tries_what_was_live_earlier_and_tells_when_what_was_live_last_fails_its_tests_by_now() {
    let dir = temp_dir();
    seed(dir.path(), "one");
    let mut running = Running::start(dir.path()).await;
    write(dir.path(), TEST, &wants("two"));
    write(dir.path(), "scripts/a.rhai", &says("two"));
    running.until_live("a.rhai", &says("two")).await;
    // Live before, and refused by the tests of now.
    write(dir.path(), "scripts/a.rhai", &says("one"));
    running.until_refused().await;
    running.stop().await;
    let running = Running::try_start(dir.path()).await.expect("the set that was live last");
    assert_eq!(&*running.live.load().files.sources.scripts["a.rhai"], says("two"));
    assert!(running.handle.status().refused.is_some());
    running.stop().await;

    // The set that was live last starts at once, and is judged by what its tests say now.
    write(dir.path(), "scripts/a.rhai", &says("two"));
    write(dir.path(), TEST, &wants("three"));
    let running = Running::try_start(dir.path()).await.expect("it was live last");
    let failing = wait_until("the live set to fail", || async { running.handle.status().failing }).await;
    assert_eq!(place(&failing.diagnostics[0]), (TEST, 2));
    assert_eq!(&*running.live.load().files.sources.scripts["a.rhai"], says("two"));
    running.stop().await;
}
