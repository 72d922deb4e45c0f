//! Editing rules and scripts under a running daemon.

use pipewright::mock::{Fault, FaultMatch, Hold, MockOptions};
use serde_json::{Value, json};

use super::harness::{Daemon, Folder, Process};
use crate::support::account::Served;
use crate::support::{get, in_time, wait_until};

const SCRIPT: &str = "scripts/person.rhai";
/// The line of the shipped script that names persons, and one that calls what does not exist.
const NAME: &str = "                name: person_name(t),";
const BROKEN: &str = "            name: person_nam(t),";

fn identify(user: &str) -> Value {
    json!({ "type": "identify", "userId": user, "traits": { "name": user, "email": format!("{user}@e2e.example") } })
}

/// Waits until `/readyz` says so.
async fn until(daemon: &Daemon, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    wait_until(what, || async {
        let state = get(daemon.admin, "/readyz").await.json();
        holds(&state).then_some(state)
    })
    .await
}

async fn name_of(daemon: &Daemon, user: &str) -> Value {
    daemon.accept("/v1/identify", &identify(user)).await;
    daemon.done(user, 1).await;
    daemon.account().person(user).await["name"].take()
}

/// The line of a text in a script, from one on.
fn line_of(script: &str, text: &str) -> usize {
    1 + script.lines().position(|line| line == text).expect("the line")
}

#[tokio::test]
async fn a_saved_edit_changes_the_next_event_without_a_restart() {
    let folder = Folder::init().await;
    let daemon = Daemon::mocked(&folder).await;
    assert_eq!(name_of(&daemon, "before").await, "before");
    let first = get(daemon.admin, "/readyz").await.json()["version"].clone();

    folder.edit(SCRIPT, NAME, "                name: `VIP ${person_name(t)}`,");
    until(&daemon, "the edit is live", |state| state["version"] != first).await;
    assert_eq!(name_of(&daemon, "after").await, "VIP after");

    // Settings are live as quickly as scripts.
    let second = get(daemon.admin, "/readyz").await.json()["version"].clone();
    folder.edit(
        "rules.toml",
        "when = 'type = \"identify\"'\nscript = \"person.rhai\"",
        "when = 'type = \"identify\" and userId = \"x\"'\nscript = \"person.rhai\"",
    );
    until(&daemon, "the trigger is live", |state| state["version"] != second).await;
    daemon.accept("/v1/identify", &identify("unwanted")).await;
    let unmatched = folder.json(&["events", "list", "--unmatched"]).await;
    assert_eq!(unmatched["unmatched"].as_array().map(Vec::len), Some(1), "{unmatched:#}");
}

/// With a process of its own: a hangup reaches all that one does.
#[tokio::test]
async fn without_watching_a_hangup_brings_an_edit_in() {
    let folder = Folder::init().await;
    folder.edit("rules.toml", "watch = true", "watch = false");
    let daemon = Daemon::mocked(&folder).await;
    let first = get(daemon.admin, "/readyz").await.json()["version"].clone();
    folder.edit(SCRIPT, NAME, "                name: `VIP ${person_name(t)}`,");
    daemon.process.signal("HUP").await;
    until(&daemon, "the edit is live", |state| state["version"] != first).await;
    assert_eq!(name_of(&daemon, "after").await, "VIP after");
}

#[tokio::test]
async fn a_broken_edit_is_refused_everywhere_with_its_place_and_the_old_script_goes_on() {
    let folder = Folder::init().await;
    let daemon = Daemon::mocked(&folder).await;
    let line = line_of(&folder.read(SCRIPT), NAME);
    folder.edit(SCRIPT, NAME, BROKEN);
    let state = until(&daemon, "the edit is refused", |state| !state["refused"].is_null()).await;
    assert_eq!(state["ready"], true, "what is refused does not stop the daemon: {state:#}");
    let place = &state["refused"]["diagnostics"][0]["place"];
    assert_eq!((&place["file"], &place["line"]), (&json!(SCRIPT), &json!(line)), "{state:#}");

    let shown = format!("{SCRIPT}:{line}:");
    let status = folder.run(&["status"]).await;
    assert_eq!(status.code, Some(1), "{status:?}");
    let reload = folder.run(&["reload"]).await;
    assert_eq!(reload.code, Some(1), "{reload:?}");
    let checked = folder.run(&["check"]).await;
    assert_eq!(checked.code, Some(1), "{checked:?}");
    for (name, text) in
        [("status", &status.out), ("reload", &reload.err), ("check", &checked.err), ("log", &daemon.process.said())]
    {
        assert!(text.contains(&shown), "{name} does not show {shown}:\n{text}");
    }
    for (name, text) in [("status", &status.out), ("reload", &reload.err), ("check", &checked.err)] {
        for part in ["person_nam", "^^^", "did you mean `person_name`?"] {
            assert!(text.contains(part), "{name} does not show {part:?}:\n{text}");
        }
    }
    let metrics = get(daemon.admin, "/metrics").await.text();
    assert!(metrics.lines().any(|l| l.contains("reload") && l.contains("refused") && !l.ends_with(" 0")), "{metrics}");
    assert_eq!(name_of(&daemon, "still").await, "still");

    folder.edit(SCRIPT, BROKEN, NAME);
    let reload = folder.run(&["reload"]).await.ok();
    assert!(reload.contains("unchanged"), "what is live is what is on disk: {reload}");
    let status = folder.run(&["status"]).await.ok();
    assert!(status.contains("person            yes") && status.contains("erase             no"), "{status}");
    let said = daemon.process.said();
    assert!(said.contains("the files on disk are the live script set again"), "{said}");
    assert!(said.contains("a new store was made") && !said.contains("schema up to date"), "{said}");
}

#[tokio::test]
async fn a_typo_in_the_settings_of_a_running_daemon_is_shown_and_the_old_ones_go_on() {
    let folder = Folder::init().await;
    let daemon = Daemon::mocked(&folder).await;
    folder.edit("rules.toml", "max_attempts = 20", "max_atempts = 20");
    let line = line_of(&folder.read("rules.toml"), "max_atempts = 20");
    until(&daemon, "the edit is refused", |state| !state["refused"].is_null()).await;
    let (status, reload, checked) = (folder.run(&["status"]).await, folder.run(&["reload"]).await, folder.run(&["check"]).await);
    assert_eq!((status.code, reload.code, checked.code), (Some(1), Some(1), Some(2)), "{status:?}{reload:?}{checked:?}");
    for (name, text) in [("status", &status.out), ("reload", &reload.err), ("check", &checked.err)] {
        for part in [&format!("rules.toml:{line}:1"), "max_atempts", "^^^^^^^^^^^", "did you mean `max_attempts`?"] {
            assert!(text.contains(part), "{name} does not show {part:?}:\n{text}");
        }
    }
    assert!(daemon.process.said().contains(&format!("rules.toml:{line}:1")), "{}", daemon.process.said());
    assert_eq!(name_of(&daemon, "still").await, "still");
}

#[tokio::test]
async fn a_restart_with_a_broken_file_goes_on_with_the_last_good_set_loudly() {
    let account = Process::account(&[]).await;
    let folder = Folder::init().await;
    folder.use_account(&account);
    let mut daemon = Daemon::serve(&folder, &[]).await;
    daemon.process.signal("TERM").await;
    assert_eq!(daemon.process.ended().await, Some(0), "{}", daemon.process.said());

    let line = line_of(&folder.read(SCRIPT), NAME);
    folder.edit(SCRIPT, NAME, BROKEN);
    let daemon = Daemon::serve(&folder, &[]).await;
    let said = daemon.process.said();
    assert!(said.contains("ERROR") && said.contains("last good script set"), "{said}");
    assert!(said.contains(&format!("{SCRIPT}:{line}:")), "{said}");
    let state = get(daemon.admin, "/readyz").await.json();
    assert_eq!((&state["from_store"], &state["refused"]["diagnostics"][0]["place"]["line"]), (&json!(true), &json!(line)));
    let status = folder.run(&["status"]).await;
    assert!(status.code == Some(1) && status.out.contains("from the store"), "{status:?}");

    daemon.accept("/v1/identify", &identify("later")).await;
    daemon.done("later", 1).await;

    // The same with settings that cannot be read at all: the store is found all the same.
    daemon.process.kill().await;
    folder.edit("rules.toml", "[retention]", "[retention");
    let daemon = Daemon::serve(&folder, &[]).await;
    let said = daemon.process.said();
    assert!(said.contains("last good script set") && said.contains("rules.toml:"), "{said}");
    daemon.accept("/v1/identify", &identify("latest")).await;
    daemon.done("latest", 1).await;
}

#[tokio::test]
async fn turning_writes_off_waits_for_no_account_that_does_not_answer() {
    let account = Served::start(MockOptions::unlimited()).await;
    let hold = Hold::new();
    account.mock.fail_matching(FaultMatch::always("/"), Fault::Hold(hold.clone()));
    let folder = Folder::init().await;
    folder.use_address(account.at);
    folder.edit("rules.toml", "writes = \"off\"", "writes = \"on\"");
    folder.edit("rules.toml", "timeout = \"20s\"", "timeout = \"5m\"");
    let daemon = Daemon::serve(&folder, &[]).await;
    // The fields are being asked for, and no answer comes.
    hold.reached().await;
    folder.edit("rules.toml", "writes = \"on\"", "writes = \"off\"");
    in_time("the reload is answered", folder.run(&["reload"])).await.ok();
    account.mock.clear_faults();
    (0..100).for_each(|_| hold.release());
    daemon.accept("/v1/identify", &identify("ada")).await;
    assert_eq!(daemon.settled("ada", 1).await[0]["state"], "observed");
    assert_eq!(account.mock.writes(), []);
}

/// A track event that no rule of the shipped set wants.
fn unwanted(message: &str) -> Value {
    json!({ "type": "track", "userId": "u1", "messageId": message, "event": "Nobody Wants This" })
}

/// Once the next round of retention is through, which sizes are measured after.
async fn housekept(daemon: &Daemon) {
    wait_until("retention has run", || async {
        let metrics = get(daemon.admin, "/metrics").await.text();
        metrics.lines().any(|l| l.starts_with("pipewright_store_bytes") && !l.ends_with(" 0")).then_some(())
    })
    .await;
}

async fn unmatched(daemon: &Daemon) -> Value {
    get(daemon.admin, "/api/status").await.json()["store"]["unmatched"].take()
}

#[tokio::test]
async fn a_restart_with_a_broken_file_keeps_and_remembers_for_as_long_as_the_last_good_set_says() {
    let account = Process::account(&[]).await;
    let folder = Folder::init().await;
    folder.use_account(&account);
    // Not the default: what was processed once may come again at once.
    folder.edit("rules.toml", "dedupe_window = \"24h\"", "dedupe_window = \"0s\"");
    let daemon = Daemon::serve(&folder, &[]).await;
    daemon.accept("/v1/track", &unwanted("m1")).await;
    let twice = json!({ "userId": "twice", "messageId": "m2", "traits": { "name": "Twice" } });
    daemon.accept("/v1/identify", &twice).await;
    daemon.done("twice", 1).await;
    daemon.process.kill().await;

    for broken in [("[[rules]]\nname = \"person\"", "[[rules]]\nnam = \"person\""), ("[retention]", "[retention")] {
        folder.edit("rules.toml", broken.0, broken.1);
        let daemon = Daemon::serve(&folder, &[]).await;
        assert!(daemon.process.said().contains("last good script set"), "{}", daemon.process.said());
        housekept(&daemon).await;
        assert_eq!(unmatched(&daemon).await, 1, "kept for 7d, as the last good set says");
        daemon.process.kill().await;
    }
    let daemon = Daemon::serve(&folder, &[]).await;
    daemon.accept("/v1/identify", &twice).await;
    daemon.done("twice", 2).await;
}

#[tokio::test]
async fn how_long_unmatched_events_are_kept_changes_without_a_restart() {
    let folder = Folder::init().await;
    folder.edit("rules.toml", "keep_unmatched = \"7d\"", "keep_unmatched = \"0s\"");
    let daemon = Daemon::mocked(&folder).await;
    daemon.accept("/v1/track", &unwanted("m1")).await;
    assert_eq!(unmatched(&daemon).await, 0);

    folder.edit("rules.toml", "keep_unmatched = \"0s\"", "keep_unmatched = \"7d\"");
    folder.run(&["reload"]).await.ok();
    daemon.accept("/v1/track", &unwanted("m2")).await;
    assert_eq!(unmatched(&daemon).await, 1);

    folder.edit("rules.toml", "keep_unmatched = \"7d\"", "keep_unmatched = \"0s\"");
    folder.run(&["reload"]).await.ok();
    wait_until("what was kept is dropped", || async { (unmatched(&daemon).await == 0).then_some(()) }).await;
}
