//! `write`: which fields an update sends, with an edit by hand in between.

use pipewright::pipedrive::Method;
use pipewright::store::Write;
use serde_json::{Value, json};

use super::harness::{PERSON, Rig, Setup};

/// A rule with this `write`, and a person that it created as Ada and somebody renamed since.
async fn renamed(more: &str) -> Rig {
    let rig = Setup::new().rule_with("person", "type = \"identify\"", PERSON, more).start().await;
    rig.run("u1", json!({ "name": "Ada" })).await;
    rig.by_hand("persons", &rig.person("u1")["id"], json!({ "name": "By hand" }));
    rig.mock.clear_log();
    rig
}

/// Sends the name; answers the name that stands then, the reads and writes that it took, and what was decided.
async fn sent(rig: &Rig, name: &str) -> (Value, usize, usize, Vec<String>) {
    rig.mock.clear_log();
    let row = rig.run("u1", json!({ "name": name })).await;
    let (reads, writes) = (rig.calls(Method::Get, "/persons/").len(), rig.calls(Method::Patch, "/persons/").len());
    (rig.person("u1")["name"].clone(), reads, writes, rig.decisions(&row.id).await)
}

fn said(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}

#[tokio::test]
async fn changed_leaves_an_edit_alone_until_the_event_says_something_new() {
    let rig = renamed("write = \"changed\"").await;
    let left = said(&["write: changed: the event says what was last sent, left alone: `name`"]);
    assert_eq!(sent(&rig, "Ada").await, (json!("By hand"), 0, 0, left));
    assert_eq!(sent(&rig, "Grace").await, (json!("Grace"), 0, 1, vec![]));
}

#[tokio::test]
async fn differs_sets_an_edit_back_and_sends_nothing_where_pipedrive_has_the_value() {
    let rig = renamed("write = \"differs\"").await;
    let back = said(&["write: differs: changed in Pipedrive since it was last sent, set back: `name`"]);
    assert_eq!(sent(&rig, "Ada").await, (json!("Ada"), 1, 1, back));
    let left = said(&["write: differs: Pipedrive has this value, left alone: `name`"]);
    assert_eq!(sent(&rig, "Ada").await, (json!("Ada"), 1, 0, left));
}

#[tokio::test]
async fn always_sends_without_looking() {
    let rig = renamed("write = \"always\"").await;
    let again = said(&["write: always: sent although nothing new: `name`"]);
    assert_eq!(sent(&rig, "Ada").await, (json!("Ada"), 0, 1, again.clone()));
    assert_eq!(sent(&rig, "Ada").await, (json!("Ada"), 0, 1, again));
}

/// Makes what was last seen of the person so old.
pub(super) async fn age(rig: &Rig, seconds: i64) {
    let id = rig.person("u1")["id"].to_string();
    let known = rig.store().known_get("main", "person", &id).await.expect("the store reads").expect("known values");
    let mut known: Value = serde_json::from_slice(&known.values).expect("JSON");
    for field in known.as_object_mut().expect("a map").values_mut().filter(|field| field.is_object()) {
        field["at"] = json!(jiff::Timestamp::now().as_second() - seconds);
    }
    let values = known.to_string().into_bytes();
    let put = Write::KnownPut { account: "main".to_owned(), kind: "person".to_owned(), id, values };
    rig.store().commit(vec![put]).await.expect("the store writes");
}

#[tokio::test]
async fn differs_trusts_what_was_seen_within_reread_after_and_reads_what_is_older() {
    let rig = renamed("write = \"differs\"\nreread_after = \"1h\"").await;
    let trusted = said(&[
        "reread_after: what was last seen is trusted: `name`",
        "write: differs: Pipedrive has this value, left alone: `name`",
    ]);
    age(&rig, 3000).await;
    assert_eq!(sent(&rig, "Ada").await, (json!("By hand"), 0, 0, trusted));
    age(&rig, 3601).await;
    let back = said(&["write: differs: changed in Pipedrive since it was last sent, set back: `name`"]);
    assert_eq!(sent(&rig, "Ada").await, (json!("Ada"), 1, 1, back));
}
