//! Deletes, merges, raw requests: what they do, and what a lost answer means for them.

use pipewright::mock::{Fault, FaultMatch};
use pipewright::pipedrive::Method;
use pipewright::store::DeliveryState;
use serde_json::{Value, json};

use super::harness::{PERSON, Rig, Setup};
use crate::support::wait_until;

/// A person with this user id whom the index does not know.
fn stranger(rig: &Rig, user: &str) -> Value {
    let key = rig.key("persons", "Segment User ID");
    rig.aside("/api/v2/persons", json!({ "name": user, "custom_fields": { key: user } }))["id"].clone()
}

#[tokio::test]
async fn a_delete_is_done_once_also_when_its_answer_is_lost_and_is_forgotten() {
    for fault in [None, Some(Fault::Cut { committed: true }), Some(Fault::Cut { committed: false })] {
        let delete = "fn handle(event) { person::delete(#{ \"Segment User ID\": event.userId }); }";
        let rig = Setup::person(PERSON).rule("gone", "type = \"track\"", delete).start().await;
        let id = stranger(&rig, "u1");
        if let Some(fault) = &fault {
            rig.mock.fail_matching(FaultMatch::next(Method::Delete, "/api/v2/persons"), fault.clone());
        }
        let message = rig.track("u1", "Gone", json!({})).await;
        rig.settled().await;
        let row = rig.row(&message).await;
        assert_eq!(row.state, DeliveryState::Done, "{fault:?} {:?}", row.reason);
        assert_eq!(rig.mock.entity("persons", &id).expect("it")["is_deleted"], true);
        assert_eq!(rig.record(&row.id).await["steps"][0]["state"]["effect"], "deleted");
        // The next event finds nobody and makes a new one.
        rig.run("u1", json!({ "name": "Ada" })).await;
        assert_ne!(rig.person("u1")["id"], id);
    }
}

#[tokio::test]
async fn a_delete_of_what_is_gone_is_done() {
    let delete = "fn handle(event) { person::delete(#{ \"Segment User ID\": event.userId }); }";
    let rig = Setup::person(PERSON).rule("gone", "type = \"track\"", delete).start().await;
    rig.run("u1", json!({ "name": "Ada" })).await;
    rig.delete_aside(&format!("/api/v2/persons/{}", rig.person("u1")["id"]));
    let message = rig.track("u1", "Gone", json!({})).await;
    rig.settled().await;
    assert_eq!(rig.row(&message).await.state, DeliveryState::Done);
}

#[tokio::test]
async fn a_merge_is_done_once_also_when_its_answer_is_lost() {
    let merge = "fn handle(event) { person::merge(#{ \"Segment User ID\": event.userId }, #{ \"Segment User ID\": event.properties.old }); }";
    for fault in [None, Some(Fault::Cut { committed: true }), Some(Fault::Cut { committed: false })] {
        let rig = Setup::new().rule("merge", "type = \"track\"", merge).start().await;
        let (keep, drop) = (stranger(&rig, "u1"), stranger(&rig, "u0"));
        if let Some(fault) = &fault {
            rig.mock.fail_matching(FaultMatch::next(Method::Put, "/merge"), fault.clone());
        }
        let message = rig.track("u1", "Merged", json!({ "old": "u0" })).await;
        rig.settled().await;
        let row = rig.row(&message).await;
        assert_eq!(row.state, DeliveryState::Done, "{fault:?} {:?}", row.reason);
        assert_eq!((rig.mock.count("persons"), &rig.mock.entities("persons")[0]["id"]), (1, &keep), "{fault:?}");
        assert_ne!(keep, drop);
        let sent = rig.calls(Method::Put, "/merge").len();
        assert_eq!(sent, if matches!(fault, Some(Fault::Cut { committed: false })) { 2 } else { 1 });
    }
    // Nothing to merge with is no success, and neither is a merge with itself.
    let rig = Setup::new().rule("merge", "type = \"track\"", merge).start().await;
    stranger(&rig, "u1");
    for old in ["nobody", "u1"] {
        let message = rig.track("u1", "Merged", json!({ "old": old })).await;
        rig.settled().await;
        assert_eq!(rig.row(&message).await.state, DeliveryState::Dead);
    }
    assert!(rig.writes().is_empty());
}

#[tokio::test]
async fn after_a_merge_the_keys_of_both_find_the_one_that_stays() {
    let merge = "fn handle(event) { person::merge(#{ \"Segment User ID\": event.userId }, #{ \"Segment User ID\": event.properties.old }); }";
    let both = "fn handle(event) { person::upsert([#{ \"Segment User ID\": event.userId }, #{ email: event.traits?.email }], #{ name: event.traits?.name }); }";
    let rig = Setup::person(both).rule("merge", "type = \"track\"", merge).start().await;
    rig.run("u1", json!({ "name": "Ada" })).await;
    rig.run("u0", json!({ "name": "Old Ada", "email": "ada@acme.com" })).await;
    // One that only Pipedrive knows goes too: it was found by its user id, and so it is afterwards.
    stranger(&rig, "u9");
    let keep = rig.person("u1")["id"].clone();
    for old in ["u0", "u9"] {
        rig.track("u1", "Merged", json!({ "old": old })).await;
        rig.settled().await;
    }
    assert_eq!(rig.mock.count("persons"), 1);
    for (user, name) in [("u0", "By the old id"), ("u9", "By the stranger's"), ("u1", "By the new one")] {
        let row = rig.run(user, json!({ "name": name })).await;
        assert_eq!(row.state, DeliveryState::Done, "{user}: {:?}", row.reason);
        assert_eq!(rig.mock.entity("persons", &keep).expect("it stays")["name"], name);
    }
    assert_eq!(rig.mock.count("persons"), 1, "no key makes another person");
}

#[tokio::test]
async fn a_refused_merge_has_written_nothing() {
    let merge = "fn handle(event) { person::merge(#{ \"Segment User ID\": event.userId }, #{ \"Segment User ID\": \"u0\" }); }";
    let rig = Setup::new().rule("merge", "type = \"track\"", merge).start().await;
    stranger(&rig, "u1");
    stranger(&rig, "u0");
    let no = Fault::Status { status: 400, body: json!({ "success": false, "error": "no" }) };
    rig.mock.fail_matching(FaultMatch::next(Method::Put, "/merge"), no);
    let message = rig.track("u1", "Merged", json!({})).await;
    rig.settled().await;
    assert_eq!(rig.row(&message).await.state, DeliveryState::Dead);
}

#[tokio::test]
async fn a_raw_request_is_sent_once() {
    let script = r#"fn handle(event) { pipedrive::request("POST", "/api/v2/persons", #{ name: "Raw" }); }"#;
    let rig = Setup::person(script).start().await;
    let row = rig.run("u1", json!({})).await;
    assert_eq!((row.state, rig.mock.count("persons")), (DeliveryState::Done, 1));
    let bad = r#"fn handle(event) { pipedrive::request("POST", "/api/v2/persons", #{ nam: "Raw" }); }"#;
    rig.edit("person", bad).await;
    assert_eq!(rig.run("u1", json!({})).await.state, DeliveryState::Dead);
}

#[tokio::test]
async fn a_link_or_a_reference_as_a_match_value_is_refused_with_what_to_write() {
    for (script, said, help) in [
        (
            r#"activity::upsert(#{ deal_id: by(#{ "Segment Deal ID": "d1" }), subject: "Call" }, #{ done: true });"#,
            "nothing can be found by `deal_id`: Pipedrive does not search activities",
            "match by `id`, or create with a `key`",
        ),
        (
            r#"let ada = person::upsert(#{ email: "ada@acme.com" }, #{ name: "Ada" }); lead::update(#{ person_id: ada }, #{ title: "x" });"#,
            "`person_id` in a match takes an id: what a reference or `by(..)` comes to is not known yet",
            "read it first, as in `person::find(#{ .. })?.id`",
        ),
        (
            r#"deal::update(#{ org_id: by(#{ name: "Acme" }) }, #{ title: "x" });"#,
            "`org_id` in a match takes an id: what a reference or `by(..)` comes to is not known yet",
            "read it first, as in `organization::find(#{ .. })?.id`",
        ),
    ] {
        let rig = Setup::person(&format!("fn handle(event) {{ {script} }}")).start().await;
        let id = rig.identify("u1", json!({})).await;
        let record = wait_until("it is recorded", async || {
            let row = rig.rows(&id).await.into_iter().next()?;
            rig.records(&row.id).await.pop()
        })
        .await;
        let text = record.to_string();
        assert!(text.contains(said), "{record:#}");
        assert!(text.contains(help), "{record:#}");
        assert!(rig.writes().is_empty());
    }
}
