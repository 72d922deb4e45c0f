//! Backup while events come in, and going on from it: nothing acknowledged before is missing, nothing is created twice.

use std::collections::BTreeMap;

use pipewright::mock::{Mock, MockOptions};
use pipewright::pipedrive::{Method, Request};
use serde_json::{Value, json};

use super::harness::{Daemon, Ended, Folder};
use crate::support::account::Served;
use crate::support::{get, wait_until};

/// A record an event, by a create without criteria; and by a request of the script's own.
const SCRIPT: &str = "fn handle(event) {\n    \
    if event.properties?.raw == true {\n        \
        pipedrive::request(\"POST\", \"/api/v2/organizations\", #{ name: event.userId });\n    \
    } else {\n        \
        organization::create(#{ name: event.userId });\n    \
    }\n}\n";

const RULE: &str = "\n[[rules]]\nname = \"step\"\nwhen = 'type = \"track\" and event = \"Step\"'\nscript = \"step.rhai\"\n";

async fn folder(account: &Served) -> Folder {
    let folder = Folder::init().await;
    folder.use_address(account.at);
    folder.edit("rules.toml", "writes = \"off\"", "writes = \"on\"");
    folder.write("rules.toml", &(folder.read("rules.toml") + RULE));
    folder.write("scripts/step.rhai", SCRIPT);
    folder
}

async fn begin() -> (Served, Folder, Daemon) {
    let account = Served::start(MockOptions { seed: false, ..MockOptions::unlimited() }).await;
    let folder = folder(&account).await;
    let daemon = Daemon::serve(&folder, &[]).await;
    (account, folder, daemon)
}

fn step(user: &str, raw: bool, at: jiff::Timestamp) -> Value {
    json!({
        "type": "track", "messageId": format!("m-{user}"), "userId": user, "event": "Step", "timestamp": at.to_string(),
        "properties": { "raw": raw },
    })
}

/// How often each name stands among the organizations.
fn made(mock: &Mock) -> BTreeMap<String, usize> {
    let mut names = BTreeMap::new();
    for record in mock.entities("organizations") {
        *names.entry(record["name"].as_str().expect("a name").to_owned()).or_default() += 1;
    }
    names
}

fn each_once(users: &[String]) -> BTreeMap<String, usize> {
    users.iter().map(|user| (user.clone(), 1)).collect()
}

async fn back_up(folder: &Folder, to: &str) -> Value {
    let ended = folder.run(&["backup", to, "--json"]).await;
    serde_json::from_str(&ended.out).unwrap_or_else(|e| panic!("{e}: {ended:?}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_before_a_backup_is_carried_out_after_it_and_once() {
    let (account, old, daemon) = begin().await;
    let now = jiff::Timestamp::now;
    old.run(&["pause", "account", "main"]).await.ok();
    let before: Vec<String> = (0..12).map(|n| format!("before-{n}")).collect();
    for user in &before {
        daemon.accept("/v1/track", &step(user, false, now())).await;
    }
    daemon.accept("/v1/track", &step("raw", true, now())).await;
    let sent_meanwhile = async {
        for n in 0..12 {
            daemon.accept("/v1/track", &step(&format!("during-{n}"), false, now())).await;
        }
    };
    let file = old.path().join("copy.db");
    let to = file.to_str().expect("a path");
    let (held, ()) = tokio::join!(back_up(&old, to), sent_meanwhile);
    let newest = held["newest"].as_u64().expect("a number");
    assert!(newest >= 13 && held["pending"] == newest && held["restore"].as_str().is_some_and(|r| r.ends_with(to)), "{held:#}");
    let during: Vec<String> = (0..12).map(|n| format!("during-{n}")).collect();

    // Life goes on: half of it is carried out, and more comes that the backup knows nothing of.
    old.run(&["resume", "account", "main"]).await.ok();
    daemon.accept("/v1/track", &step("after", false, now())).await;
    daemon.all_ended().await;
    let all = [&before[..], &during[..], &["after".to_owned(), "raw".to_owned()]].concat();
    assert_eq!(made(&account.mock), each_once(&all));
    // What was not carried out before the loss is carried out after it.
    let entities = account.mock.entities("organizations");
    let gone = entities.iter().find(|record| record["name"] == "before-0").expect("is there");
    let gone = Request::new(Method::Delete, format!("/api/v2/organizations/{}", gone["id"]));
    assert_eq!(account.mock.aside(&gone).status, 200);
    let lost = [&before[1..], &during[..], &["after".to_owned(), "raw".to_owned()]].concat();
    assert_eq!(made(&account.mock), each_once(&lost));
    daemon.process.kill().await;

    let new = folder(&account).await;
    let said = new.run(&["restore", to]).await.ok();
    assert!(said.contains("every account is paused") && said.contains("pipewright resume account"), "{said}");
    let daemon = Daemon::serve(&new, &[]).await;
    let status = new.run(&["status"]).await;
    assert!(status.code == Some(1) && status.out.contains("restored from a backup of"), "{status:?}");
    assert!(daemon.process.said().contains("docs/backup.md"), "{}", daemon.process.said());
    // The senders send again what they know to be missing, and more comes.
    for user in during.iter().chain([&"after".to_owned()]) {
        daemon.accept("/v1/track", &step(user, false, now() - jiff::SignedDuration::from_secs(1))).await;
    }
    assert_eq!(made(&account.mock), each_once(&lost), "nothing is sent while it is paused");
    new.run(&["resume", "account", "main"]).await.ok();
    wait_until("all is delivered", || async {
        (get(daemon.admin, "/api/status").await.json()["store"]["pending"] == 0).then_some(())
    })
    .await;
    assert_eq!(made(&account.mock), each_once(&all));
    let failed = get(daemon.admin, "/api/events?state=failed").await.json();
    let failed = failed["deliveries"].as_array().expect("a list");
    assert_eq!(failed.len(), 1, "{failed:#?}");
    assert!(
        failed[0]["state"] == "uncertain" && failed[0]["reason"].as_str().is_some_and(|r| r.contains("restored")),
        "{failed:#?}"
    );
    let shown = new.run(&["events", "show", "2/step"]).await.ok();
    assert!(shown.contains("made after the backup"), "{shown}");
    // The pause is over for good.
    daemon.process.kill().await;
    let daemon = Daemon::serve(&new, &[]).await;
    assert_eq!(get(daemon.admin, "/readyz").await.json()["paused"], json!([]));
}

async fn crashing(folder: &Folder, point: &str, args: &[&str]) -> Ended {
    let ended = folder.run_with(&[("PIPEWRIGHT_CRASH_AT", point)], args).await;
    assert_eq!(ended.code, None, "it died: {ended:?}");
    ended
}

#[tokio::test]
async fn killed_in_the_middle_neither_backup_nor_restore_leaves_anything_half() {
    let (_account, folder, daemon) = begin().await;
    daemon.accept("/v1/track", &step("one", false, jiff::Timestamp::now())).await;
    daemon.all_ended().await;
    crashing(&folder, "copied:1", &["backup", "copy.db"]).await;
    assert!(!folder.path().join("copy.db").exists(), "no name before it is whole and synced");
    folder.run(&["backup", "copy.db"]).await.ok();
    assert!(!folder.path().join(".copy.db.unfinished").exists());

    let running = folder.run(&["restore", "copy.db"]).await;
    assert!(running.code == Some(1) && running.err.contains("another Pipewright daemon is running"), "{running:?}");
    assert!(running.err.contains("stop it"), "{running:?}");
    daemon.process.kill().await;
    crashing(&folder, "copied:1", &["backup", "other.db"]).await;
    crashing(&folder, "set_aside:1", &["restore", "copy.db"]).await;
    // Neither the old store nor the new one is in place: better no start than one with nothing in it.
    let start = folder.run(&["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]).await;
    assert!(start.code == Some(1) && start.err.contains("a restore was cut off; run `pipewright restore` again"), "{start:?}");
    folder.run(&["restore", "copy.db"]).await.ok();
    let daemon = Daemon::serve(&folder, &[]).await;
    assert_eq!(get(daemon.admin, "/api/status").await.json()["store"]["events"], 1);
}

#[tokio::test]
async fn what_cannot_be_backed_up_or_restored_says_what_to_do() {
    let (_account, folder, daemon) = begin().await;
    folder.run(&["backup", "copy.db"]).await.ok();
    let there = folder.run(&["backup", "copy.db"]).await;
    assert!(there.code == Some(2) && there.err.contains("add --force"), "{there:?}");
    let said = folder.run(&["backup", "copy.db", "--force"]).await.ok();
    assert!(said.contains("pending") && said.contains("schema") && said.contains("pipewright restore "), "{said}");
    std::fs::create_dir(folder.path().join("kept")).expect("a folder");
    let said = folder.run(&["backup", "kept"]).await.ok();
    assert!(said.contains("kept/pipewright-20"), "the name has the time: {said}");
    daemon.process.kill().await;
    folder.run(&["backup", "stopped.db"]).await.ok();

    folder.write("text.db", "no database\n");
    for (file, parts) in [("text.db", ["no backup of Pipewright", "nothing was changed"]), ("no.db", ["no.db", "check the path"])]
    {
        let refused = folder.run(&["restore", file]).await;
        assert!(refused.code == Some(1) && parts.iter().all(|part| refused.err.contains(part)), "{refused:?}");
    }
    let empty = Folder::init().await;
    let none = empty.run(&["backup", "copy.db"]).await;
    assert!(none.code == Some(1) && none.err.contains("no daemon has run"), "{none:?}");
}
