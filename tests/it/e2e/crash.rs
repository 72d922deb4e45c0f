//! kill -9 and a start: what was accepted is finished, once.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::harness::{Account, Daemon, Folder, Process};
use crate::support::wait_until;

/// The events of one user: a person and a note about them.
fn of(user: &str) -> Value {
    json!({ "batch": [
        { "type": "identify", "userId": user, "traits": { "name": format!("Name of {user}"), "email": format!("{user}@e2e.example") } },
        { "type": "track", "userId": user, "event": "Note Upserted", "properties": { "content": format!("about {user}") } },
    ] })
}

/// How often each content stands among the account's notes.
async fn notes(account: Account) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for note in account.list("/api/v1/notes?limit=500").await {
        *counts.entry(note["content"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
    }
    counts
}

async fn assert_once(account: Account, users: &[String]) {
    let notes = notes(account).await;
    for user in users {
        assert_eq!(account.person(user).await["name"], format!("Name of {user}"));
        assert_eq!(notes.get(&format!("about {user}")), Some(&1), "notes about {user}: {notes:?}");
    }
}

#[tokio::test]
async fn what_waited_behind_a_paused_account_is_delivered_after_a_kill() {
    let account = Process::account(&["--unlimited"]).await;
    let at = Account(account.address("embedded Pipedrive on "));
    let folder = Folder::init().await;
    folder.use_account(&account);
    let daemon = Daemon::serve(&folder, &[]).await;
    folder.run(&["pause", "account", "main", "--reason", "a planned kill"]).await.ok();
    let users: Vec<_> = (0..10).map(|n| format!("u{n}")).collect();
    for user in &users {
        daemon.accept("/v1/batch", &of(user)).await;
    }
    assert_eq!(at.with("persons", "Segment User ID", "u0").await, Vec::<Value>::new(), "paused means that nothing is sent");
    daemon.process.kill().await;

    let daemon = Daemon::serve(&folder, &[]).await;
    let status = folder.json(&["status"]).await;
    assert_eq!(status["delivery"]["pending"], 20, "{status:#}");
    let shown = folder.run(&["status"]).await.out;
    assert!(shown.contains("a planned kill"), "a person's pause outlives a restart:\n{shown}");
    folder.run(&["resume", "account", "main"]).await.ok();
    daemon.all_ended().await;
    assert_once(at, &users).await;
}

#[tokio::test]
async fn kills_in_the_middle_of_deliveries_leave_nothing_out_and_nothing_twice() {
    let account = Process::account(&["--unlimited", "--latency", "30ms"]).await;
    let at = Account(account.address("embedded Pipedrive on "));
    let folder = Folder::init().await;
    folder.use_account(&account);
    let users: Vec<_> = (0..24).map(|n| format!("u{n}")).collect();

    let mut daemon = Daemon::serve(&folder, &[]).await;
    for user in &users {
        daemon.accept("/v1/batch", &of(user)).await;
    }
    for made in [3, 9, 15] {
        wait_until("the next kill's time has come", || async { (notes(at).await.len() >= made).then_some(()) }).await;
        daemon.process.kill().await;
        daemon = Daemon::serve(&folder, &[]).await;
    }
    daemon.all_ended().await;
    assert_once(at, &users).await;

    // What was acknowledged before the kills is known as a duplicate after them.
    let again = json!({ "messageId": "m1", "type": "identify", "userId": "u0", "traits": { "name": "Once" } });
    daemon.accept("/v1/identify", &again).await;
    daemon.process.kill().await;
    let daemon = Daemon::serve(&folder, &[]).await;
    daemon.accept("/v1/identify", &again).await;
    daemon.all_ended().await;
    let list = folder.json(&["events", "list", "--message-id", "m1"]).await;
    assert_eq!(list["deliveries"].as_array().map(Vec::len), Some(1), "{list:#}");
}
