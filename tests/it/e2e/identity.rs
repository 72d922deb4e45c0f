//! Erasing a user: what the store keeps of them is gone, to the last byte, and nothing else is.

use std::path::Path;

use serde_json::{Value, json};

use super::harness::{Daemon, Folder, Process};
use crate::support::{get, request, wait_until};

/// Texts that only the erased user's events hold.
const MARKS: [&str; 6] = ["gone-user", "gone-visitor", "gone-before", "gone@example.com", "Gone Girl", "gone-secret"];

/// Which marks the store's files hold.
fn marks(folder: &Folder) -> Vec<&'static str> {
    let files = ["pipewright.db", "pipewright.db-wal", "pipewright.db-shm"].map(|name| folder.path().join("data").join(name));
    let bytes: Vec<Vec<u8>> =
        files.iter().filter(|file| Path::new(file).exists()).map(|f| std::fs::read(f).expect("read")).collect();
    let held = |mark: &&str| bytes.iter().any(|b| b.windows(mark.len()).any(|window| window == mark.as_bytes()));
    MARKS.into_iter().filter(held).collect()
}

/// Everything that a user can leave behind, and another user beside them who shares the browser.
async fn history(daemon: &Daemon) {
    let identify = |ids: Value, traits: Value| {
        let mut event = ids;
        event["traits"] = traits;
        event
    };
    let ada = json!({ "name": "Gone Girl", "email": "gone@example.com", "company": "gone-secret" });
    let theirs = [
        ("gone-user", json!({ "userId": "gone-user", "anonymousId": "gone-visitor" })),
        ("gone-visitor", json!({ "anonymousId": "gone-visitor" })),
        ("gone-before", json!({ "userId": "gone-before" })),
    ];
    for (user, ids) in theirs {
        daemon.accept("/v1/identify", &identify(ids, ada.clone())).await;
        // One after the other: they have an address in common, and who comes first gets the person.
        daemon.settled(user, 1).await;
    }
    daemon.accept("/v1/alias", &json!({ "userId": "gone-user", "previousId": "gone-before" })).await;
    // Unmatched, and refused.
    daemon.accept("/v1/page", &json!({ "userId": "gone-user", "name": "gone-secret" })).await;
    let bad = json!({ "batch": [{ "type": "track", "userId": "gone-user", "properties": { "x": "gone-secret" } }] });
    assert_eq!(daemon.send("/v1/batch", &bad).await.status, 200);
    let bob = json!({ "name": "Bob", "email": "bob@example.com" });
    daemon.accept("/v1/identify", &identify(json!({ "userId": "bob", "anonymousId": "browser" }), bob)).await;
    daemon.settled("bob", 1).await;
}

#[tokio::test]
async fn forget_erases_a_user_to_the_last_byte_and_nobody_else() {
    let (folder, account) = (Folder::init().await, Process::account(&[]).await);
    folder.use_account(&account);
    let daemon = Daemon::serve(&folder, &[]).await;
    history(&daemon).await;
    // Held, so that something waits.
    folder.run(&["pause", "rule", "person"]).await.ok();
    daemon.accept("/v1/identify", &json!({ "userId": "gone-user", "traits": { "name": "Gone Girl" } })).await;
    assert_eq!(marks(&folder), MARKS, "all of it is in the files");

    let found = folder.json(&["forget", "gone-user"]).await;
    assert_eq!(found["counts"]["events"], 4);
    assert_eq!(found["counts"]["unmatched"], 2, "a page and the alias");
    assert_eq!(found["counts"]["discarded"], 1);
    assert_eq!(marks(&folder), MARKS, "only counted");

    let gone = folder.json(&["forget", "gone-user", "--yes"]).await;
    assert_eq!(
        gone["counts"],
        json!({ "events": 4, "unmatched": 2, "rejected": 1, "deliveries": 4, "discarded": 1, "entities": 1 })
    );
    assert!(gone["tombstone"]["scrubbed"].as_bool().expect("told"));
    assert_eq!(marks(&folder), [""; 0], "no byte is left");

    // Others' events, decisions and what is known of them stand.
    let bob = folder.json(&["events", "list", "--user", "bob"]).await;
    assert_eq!(bob["deliveries"].as_array().expect("a list").len(), 1);
    folder.run(&["resume", "rule", "person"]).await.ok();
    daemon.accept("/v1/identify", &json!({ "userId": "bob", "traits": { "name": "Robert" } })).await;
    daemon.done("bob", 2).await;
    let status = folder.json(&["status"]).await;
    assert_eq!((status["store"]["events"].as_u64(), status["store"]["pending"].as_u64()), (Some(2), Some(0)));
    assert_eq!((status["store"]["unmatched"].as_u64(), status["store"]["rejected"].as_u64()), (Some(0), Some(0)));
    let again = folder.run(&["forget", "gone-user", "--yes"]).await.ok();
    assert!(again.contains("erased: 0 events") && again.contains("backups"), "{again}");
    assert!(!daemon.process.said().contains("gone"), "nothing of it in the log:\n{}", daemon.process.said());
}

/// Hands in a `delete` as Segment's webhook does.
async fn delete(daemon: &Daemon, user: &str) {
    let body = json!({ "type": "delete", "userId": user, "messageId": "d1" }).to_string();
    let signature = hmac(&body);
    let headers = [("content-type", "application/json"), ("x-signature", signature.as_str())];
    let reply = request(daemon.events, "POST", "/webhooks/website", &headers, body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}

fn hmac(body: &str) -> String {
    use hmac::Mac as _;
    let mut mac = hmac::Hmac::<sha1::Sha1>::new_from_slice(b"mock").expect("a key");
    mac.update(body.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

/// A folder that takes `delete` events, with the rule for them on.
async fn erasing() -> (Folder, Process) {
    let (folder, account) = (Folder::init().await, Process::account(&[]).await);
    folder.use_account(&account);
    folder.edit(
        "rules.toml",
        "# webhook_secret = \"env:PIPEWRIGHT_WEBHOOK_SECRET\"",
        "webhook_secret = \"env:PIPEWRIGHT_WRITE_KEY\"",
    );
    folder.edit("rules.toml", "name = \"erase\"\nenabled = false", "name = \"erase\"\nenabled = true");
    (folder, account)
}

#[tokio::test]
async fn a_delete_event_reaches_its_rule_and_then_erases() {
    let (folder, account) = erasing().await;
    let daemon = Daemon::serve(&folder, &[]).await;
    history(&daemon).await;
    let pipedrive = super::harness::Account(account.address("embedded Pipedrive on "));
    assert_eq!(pipedrive.with("persons", "Segment User ID", "gone-user").await.len(), 1);
    delete(&daemon, "gone-user").await;
    wait_until("no byte is left", || async { marks(&folder).is_empty().then_some(()) }).await;
    assert_eq!(pipedrive.with("persons", "Segment User ID", "gone-user").await.len(), 0, "the rule ran before");
    let list = get(daemon.admin, "/api/events?limit=100").await.json();
    let users: Vec<_> = list["deliveries"].as_array().expect("a list").iter().map(|d| d["kind"].clone()).collect();
    assert_eq!(users, ["identify"], "bob's");
}

#[tokio::test]
async fn what_comes_after_a_delete_event_is_carried_out_over_a_kill_and_what_came_before_is_gone_to_the_last_byte() {
    let (folder, account) = erasing().await;
    let pipedrive = super::harness::Account(account.address("embedded Pipedrive on "));
    let daemon = Daemon::serve(&folder, &[]).await;
    history(&daemon).await;
    for rule in ["erase", "person"] {
        folder.run(&["pause", "rule", rule]).await.ok();
    }
    daemon.accept("/v1/identify", &json!({ "userId": "gone-user", "traits": { "name": "Gone Girl" } })).await;
    delete(&daemon, "gone-user").await;
    daemon.accept("/v1/identify", &json!({ "userId": "gone-user", "traits": { "name": "Later" } })).await;
    daemon.accept("/v1/alias", &json!({ "userId": "gone-user", "previousId": "bob" })).await;
    daemon.process.kill().await;

    let daemon = Daemon::serve(&folder, &[]).await;
    folder.run(&["resume", "rule", "erase"]).await.ok();
    // The later delivery stands behind what its user did as `gone-before`: that id goes with it.
    let later = ["gone-user", "gone-before"];
    wait_until("only what came later is left", || async { (marks(&folder) == later).then_some(()) }).await;
    folder.run(&["resume", "rule", "person"]).await.ok();
    daemon.done("gone-user", 1).await;
    assert_eq!(pipedrive.person("bob").await["name"], "Later", "who they are one with by now");
    let bob = folder.json(&["events", "list", "--user", "bob"]).await;
    assert_eq!(bob["deliveries"].as_array().expect("a list").len(), 1, "another user's until the alias");
    assert!(later.starts_with(&marks(&folder)), "{:?}", marks(&folder));
}

#[tokio::test]
async fn an_alias_stands_over_a_kill_is_told_in_records_and_goes_with_its_user() {
    let (folder, account) = (Folder::init().await, Process::account(&[]).await);
    folder.use_account(&account);
    let pipedrive = super::harness::Account(account.address("embedded Pipedrive on "));
    let daemon = Daemon::serve(&folder, &[]).await;
    let identify = |user: &str, name: &str| json!({ "userId": user, "traits": { "name": name } });
    daemon.accept("/v1/identify", &identify("gone-before", "Before")).await;
    daemon.done("gone-before", 1).await;
    daemon.accept("/v1/alias", &json!({ "userId": "gone-user", "previousId": "gone-before" })).await;
    daemon.process.kill().await;

    let daemon = Daemon::serve(&folder, &[]).await;
    daemon.accept("/v1/identify", &identify("gone-user", "Gone Girl")).await;
    daemon.done("gone-user", 1).await;
    assert_eq!(pipedrive.person("gone-before").await["name"], "Gone Girl");
    assert_eq!(pipedrive.with("persons", "Segment User ID", "gone-user").await.len(), 0);
    let shown = folder.run(&["events", "show", "3/person"]).await.ok();
    assert!(shown.contains("found by \"gone-before\", an alias of \"gone-user\""), "{shown}");

    // What is beyond the bound of a class is said where somebody looks.
    for n in 0..15 {
        daemon.accept("/v1/alias", &json!({ "userId": "gone-user", "previousId": format!("gone-secret-{n}") })).await;
    }
    let shown = folder.run(&["events", "show", "18"]).await.ok();
    assert!(shown.contains("joined nothing: together they would be more than 16 ids of one user"), "{shown}");
    let said = daemon.process.said();
    assert!(said.contains("an alias joined nothing") && !said.contains("gone-"), "{said}");

    let found = folder.run(&["forget", "gone-before"]).await.ok();
    assert!(found.contains("under 16 ids, which alias events have made one user: gone-before, gone-secret-0,"), "{found}");
    folder.run(&["forget", "gone-before", "--yes"]).await.ok();
    assert_eq!(marks(&folder), [""; 0], "no byte is left, of what joined them neither");
    let again = folder.run(&["forget", "gone-user"]).await.ok();
    assert!(again.contains("found: 0 events") && !again.contains("one user"), "{again}");
}
