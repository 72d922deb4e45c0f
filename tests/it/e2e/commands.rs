//! The commands that speak to a live daemon, and what it does on their word.

use serde_json::{Value, json};

use super::harness::{Account, Daemon, Folder, Process};
use crate::support::wait_until;

fn identify(user: &str, traits: Value) -> Value {
    json!({ "type": "identify", "userId": user, "traits": traits })
}

#[tokio::test]
async fn a_failed_delivery_is_found_understood_mended_and_replayed() {
    let folder = Folder::init().await;
    let daemon = Daemon::mocked(&folder).await;
    let script = folder.read("scripts/person.rhai");
    folder.write("scripts/person.rhai", "fn handle(event) {\n    fail(\"not for now\");\n}\n");
    folder.run(&["reload"]).await.ok();
    for user in ["ada", "bob", "cleo"] {
        daemon.accept("/v1/identify", &identify(user, json!({ "name": user }))).await;
        assert_eq!(daemon.settled(user, 1).await[0]["state"], "dead");
    }

    let table = folder.run(&["events", "list", "--state", "failed"]).await.ok();
    assert!(table.contains("1/person") && table.contains("dead") && table.contains("not for now"), "{table}");
    let list = folder.json(&["events", "list", "--user", "ada"]).await;
    assert_eq!(list["deliveries"].as_array().map(Vec::len), Some(1), "{list:#}");
    let shown = folder.run(&["events", "show", "1"]).await.ok();
    assert!(shown.contains("info fail: not for now  (scripts/person.rhai:2)"), "{shown}");

    folder.write("scripts/person.rhai", &script);
    let reloaded = folder.run(&["reload"]).await;
    assert_eq!(reloaded.code, Some(0), "{reloaded:?}");
    assert_eq!(folder.run(&["events", "replay", "1/person"]).await.ok().lines().count(), 1);
    daemon.settled("ada", 2).await;
    assert_eq!(daemon.account().person("ada").await["name"], "ada");

    assert_eq!(folder.run(&["events", "discard", "2/person"]).await.ok(), "discarded: 1\n");
    let again = folder.run(&["events", "replay", "--rule", "person", "--state", "dead"]).await.ok();
    assert!(again.contains("3/person again as") && !again.contains("2/person"), "the discarded one is not replayed: {again}");
    daemon.settled("cleo", 2).await;
    daemon.account().person("cleo").await;
    assert_eq!(daemon.account().with("persons", "Segment User ID", "bob").await, Vec::<Value>::new());
    let unknown = folder.run(&["events", "show", "999"]).await;
    assert_eq!(unknown.code, Some(1), "{unknown:?}");
}

#[tokio::test]
async fn what_was_refused_at_the_door_is_listed_with_its_reason() {
    let folder = Folder::init().await;
    let daemon = Daemon::mocked(&folder).await;
    let batch = json!({ "batch": [
        identify("ada", json!({ "name": "Ada" })),
        { "type": "identify", "messageId": "nobody", "traits": { "name": "No id" } },
        { "type": "trakc", "messageId": "mistyped", "userId": "ada", "event": "Deal Upserted" },
    ] });
    let reply = daemon.send("/v1/batch", &batch).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let answer = reply.text();
    assert!(answer.contains("nobody") && answer.contains("mistyped"), "{answer}");
    daemon.done("ada", 1).await;

    let list = wait_until("both are kept", || async {
        let list = folder.json(&["events", "list", "--rejected"]).await;
        (list["rejected"].as_array().map(Vec::len) == Some(2)).then_some(list)
    })
    .await;
    let table = folder.run(&["events", "list", "--rejected"]).await.ok();
    for row in list["rejected"].as_array().expect("a list") {
        let reason = row["reason"].as_str().expect("a reason");
        assert!(table.contains(reason) && answer.contains(reason), "{reason} is not in {table} and {answer}");
    }
    assert!(table.contains("nobody") && table.contains("trakc"), "{table}");
}

#[tokio::test]
async fn paused_things_wait_and_go_on_when_resumed() {
    let folder = Folder::init().await;
    let daemon = Daemon::mocked(&folder).await;
    for (word, name, user) in [("account", "main", "ada"), ("rule", "person", "bob")] {
        assert_eq!(folder.run(&["pause", word, name, "--reason", "lunch"]).await.ok(), format!("paused: {word} {name}\n"));
        daemon.accept("/v1/identify", &identify(user, json!({ "name": user }))).await;
        let status = folder.run(&["status"]).await;
        assert!(status.code == Some(1) && status.out.contains("lunch"), "{status:?}");
        let list = folder.json(&["events", "list", "--user", user, "--state", "pending"]).await;
        assert_eq!(list["deliveries"].as_array().map(Vec::len), Some(1), "{list:#}");
        assert_eq!(folder.run(&["resume", word, name]).await.ok(), format!("resumed: {word} {name}\n"));
        daemon.done(user, 1).await;
        folder.run(&["status"]).await.ok();
    }
    let wrong = folder.run(&["pause", "rule", "persn"]).await;
    assert!(wrong.code == Some(1) && wrong.err.contains("persn"), "{wrong:?}");
}

#[tokio::test]
async fn a_paused_delivery_can_be_discarded() {
    let folder = Folder::init().await;
    let daemon = Daemon::mocked(&folder).await;
    folder.run(&["pause", "account", "main"]).await.ok();
    for user in ["ada", "bob"] {
        daemon.accept("/v1/identify", &identify(user, json!({ "name": user }))).await;
    }
    assert_eq!(folder.run(&["events", "discard", "1/person"]).await.ok(), "discarded: 1\n");
    folder.run(&["resume", "account", "main"]).await.ok();
    daemon.done("bob", 1).await;
    assert_eq!(daemon.settled("ada", 1).await[0]["state"], "discarded");
    assert_eq!(daemon.account().with("persons", "Segment User ID", "ada").await, Vec::<Value>::new());
}

#[tokio::test]
async fn unmatched_events_are_replayed_over_a_mended_trigger() {
    let folder = Folder::init().await;
    let trigger = "when = 'type = \"track\" and event = \"Note Upserted\"'";
    folder.edit("rules.toml", trigger, "when = 'type = \"track\" and event = \"Note Upsertd\"'");
    let daemon = Daemon::mocked(&folder).await;
    daemon.accept("/v1/identify", &identify("ada", json!({ "name": "Ada" }))).await;
    let note = json!({ "userId": "ada", "event": "Note Upserted", "properties": { "content": "late" } });
    daemon.accept("/v1/track", &note).await;
    daemon.done("ada", 1).await;

    folder.edit("rules.toml", "Note Upsertd", "Note Upserted");
    folder.run(&["reload"]).await.ok();
    let replayed = folder.run(&["events", "replay", "--unmatched", "--rule", "note"]).await.ok();
    assert!(replayed.starts_with("1 deliver"), "{replayed}");
    daemon.done("ada", 2).await;
    let notes = daemon.account().list("/api/v1/notes?limit=500").await;
    assert_eq!(notes.iter().filter(|n| n["content"] == "late").count(), 1);
}

#[tokio::test]
async fn the_fields_of_an_account_are_read_over_http() {
    let account = Process::account(&[]).await;
    let folder = Folder::init().await;
    folder.use_account(&account);
    let table = folder.run(&["fields", "list", "--kind", "person", "--custom"]).await.ok();
    assert!(table.contains("Segment User ID") && table.contains("varchar, custom"), "{table}");
    let checked = folder.run(&["check", "--live"]).await.ok();
    assert!(checked.contains("names checked against main"), "{checked}");

    // What the account does not have is said before anything is served.
    folder.edit("scripts/person.rhai", "phones: t?.phone,", "phones: t?.phone, \"Lifetime Valeu\": 1,");
    let checked = folder.run(&["check", "--live"]).await;
    assert_eq!(checked.code, Some(1), "{checked:?}");
    assert!(checked.err.contains("Lifetime Valeu") && checked.err.contains("`Lifetime Value`"), "{}", checked.err);
    let at = Account(account.address("embedded Pipedrive on "));
    assert_eq!(at.list("/api/v2/persons?limit=500").await.len(), 6, "checking writes nothing");
}
