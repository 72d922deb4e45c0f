//! Correcting an event: with an editor, from a file, and what is refused.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::harness::{Daemon, Ended, Folder};
use crate::support::temp_dir;

const SCRIPT: &str = r#"
fn handle(event) {
    if event.traits?.plan == "Gold" { fail("there is no plan Gold"); }
    person::upsert(#{ "Segment User ID": event.userId }, #{ name: event.traits.name });
}
"#;

/// A daemon with one failed event, number 1.
async fn failed() -> (Folder, Daemon) {
    let folder = Folder::init().await;
    folder.write("scripts/person.rhai", SCRIPT);
    let daemon = Daemon::mocked(&folder).await;
    let event = json!({ "type": "identify", "messageId": "m-1", "userId": "ada", "traits": { "name": "Ada", "plan": "Gold" } });
    daemon.accept("/v1/identify", &event).await;
    assert_eq!(daemon.settled("ada", 1).await[0]["state"], "dead");
    (folder, daemon)
}

fn files(dir: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(dir).expect("a folder").map(|entry| entry.expect("an entry").path()).collect()
}

/// Edits event 1 with this editor; drafts go to a folder of their own.
async fn edit(folder: &Folder, drafts: &Path, editor: &str, more: &[&str]) -> Ended {
    let variables = [("VISUAL", ""), ("EDITOR", editor), ("TMPDIR", drafts.to_str().expect("a path in UTF-8"))];
    folder.run_with(&variables, &[&["events", "edit"], more, &["1"]].concat()).await
}

#[tokio::test]
async fn an_event_is_corrected_in_an_editor_and_delivered_again_beside_the_original() {
    let (folder, daemon) = failed().await;
    let drafts = temp_dir();
    let mode = folder.path().join("mode");
    let editor = format!("sh -c 'stat -c %a \"$0\" > {}; sed -i s/Gold/Pro/ \"$0\"'", mode.display());
    let said = edit(&folder, drafts.path(), &editor, &[]).await.ok();
    assert_eq!(said, "event 1 edited as 2, delivered as 2/person\n");
    assert_eq!(std::fs::read_to_string(mode).expect("written by the editor"), "600\n");
    assert!(files(drafts.path()).is_empty(), "the draft is gone");
    daemon.settled("ada", 2).await;
    assert_eq!(daemon.account().person("ada").await["name"], "Ada");

    let original = folder.run(&["events", "show", "1"]).await.ok();
    assert!(original.contains("edited as 2") && original.contains("\"plan\": \"Gold\""), "{original}");
    let edited = folder.run(&["events", "show", "2"]).await.ok();
    for part in ["edited from 1", "\"plan\": \"Pro\"", "repeats 1/person"] {
        assert!(edited.contains(part), "{part}: {edited}");
    }
    let shown = folder.json(&["events", "show", "1"]).await;
    assert_eq!((&shown["events"][0]["edited_as"], &shown["events"][0]["event"]["traits"]["plan"]), (&json!([2]), &json!("Gold")));
}

#[tokio::test]
async fn nothing_changed_is_nothing_done() {
    let (folder, _daemon) = failed().await;
    let drafts = temp_dir();
    for editor in ["true", "sh -c 'tr -d \" \\n\" < \"$0\" > \"$0\".new; mv \"$0\".new \"$0\"'"] {
        assert_eq!(edit(&folder, drafts.path(), editor, &[]).await.ok(), "nothing was changed, and nothing was done\n");
    }
    assert!(files(drafts.path()).is_empty());
    let list = folder.json(&["events", "list"]).await;
    assert_eq!(list["deliveries"].as_array().map(Vec::len), Some(1), "{list:#}");
}

#[tokio::test]
async fn what_the_door_would_refuse_is_shown_at_its_place_and_what_was_written_is_kept() {
    let (folder, _daemon) = failed().await;
    let drafts = temp_dir();
    let broken = edit(&folder, drafts.path(), "sed -i 's/\"Gold\"/Gold/'", &[]).await;
    let kept = files(drafts.path());
    assert_eq!((broken.code, kept.len()), (Some(1), 1), "{broken:?}");
    let name = kept[0].display().to_string();
    let text = std::fs::read_to_string(&kept[0]).expect("the draft");
    let line = text.lines().position(|line| line.contains("Gold")).expect("the line") + 1;
    for part in [&format!("{name}:{line}:"), "not JSON: line", "Gold", "^", &format!("events edit 1 --file {name}")] {
        assert!(broken.err.contains(part), "{part}: {}", broken.err);
    }
    // It goes on from there.
    std::fs::write(&kept[0], text.replace("Gold", "\"Pro\"")).expect("corrected");
    folder.run(&["events", "edit", "1", "--file", &name]).await.ok();

    folder.write("list.json", &json!({ "type": "identify", "messageId": "m-1", "userId": "ada", "traits": [1] }).to_string());
    let wrong = folder.run(&["events", "edit", "1", "--file", "list.json"]).await;
    assert_eq!(wrong.code, Some(1), "{wrong:?}");
    assert!(wrong.err.contains("`traits` must be an object") && wrong.err.contains("list.json:1:"), "{}", wrong.err);
    let wrong = folder.json(&["events", "edit", "1", "--file", "list.json"]).await;
    assert_eq!(wrong["diagnostics"][0]["place"]["file"], "list.json");
    let none = folder.run_with(&[("VISUAL", ""), ("EDITOR", "")], &["events", "edit", "1"]).await;
    assert!(none.code == Some(2) && none.err.contains("--file"), "{none:?}");
    let cancelled = edit(&folder, drafts.path(), "false", &[]).await;
    assert!(cancelled.code == Some(1) && cancelled.err.contains("nothing was done"), "{cancelled:?}");
}

#[tokio::test]
async fn an_edit_that_could_do_harm_is_refused_with_what_to_do() {
    let (folder, daemon) = failed().await;
    let base = folder.json(&["events", "show", "1"]).await["events"][0]["event"].clone();
    let with = |key: &str, value: Value| {
        let mut event = base.clone();
        event[key] = value;
        event.to_string()
    };
    for (text, says) in [
        (with("messageId", json!("m-2")), "`messageId` must stay"),
        (with("type", json!("page")), "no rule wants event 1 as it was edited"),
        (with("type", json!("delete")), "send a new event"),
        (with("traits", json!({ "name": "x".repeat(40_000) })), "server.max_event"),
    ] {
        folder.write("edited.json", &text);
        let refused = folder.run(&["events", "edit", "1", "--file", "edited.json"]).await;
        assert!(matches!(refused.code, Some(1 | 2)) && refused.err.contains(says), "{says}: {refused:?}");
    }
    folder.run(&["pause", "account", "main"]).await.ok();
    daemon.accept("/v1/identify", &json!({ "userId": "bob", "traits": { "name": "Bob" } })).await;
    let mut waiting = folder.json(&["events", "show", "2"]).await["events"][0]["event"].clone();
    waiting["traits"]["name"] = json!("Robert");
    folder.write("edited.json", &waiting.to_string());
    let refused = folder.run(&["events", "edit", "2", "--file", "edited.json"]).await;
    assert!(refused.code == Some(1) && refused.err.contains("delivery 2/person is not finished"), "{refused:?}");
    let list = folder.json(&["events", "list"]).await;
    assert_eq!(list["deliveries"].as_array().map(Vec::len), Some(2), "{list:#}");
}
