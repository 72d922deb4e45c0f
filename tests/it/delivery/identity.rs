//! Who an event is about: numeric ids, visitors who become users.

use pipewright::mock::{Fault, FaultMatch};
use pipewright::pipedrive::Method;
use pipewright::store::{DeliveryFilter, DeliveryState};
use serde_json::json;

use super::harness::{PERSON, Rig, Setup};
use crate::support::request;

/// Hands in a call as text, so that a number is what the test wrote.
async fn post(rig: &Rig, path: &str, body: &str) {
    let headers = [("content-type", "application/json"), ("authorization", "Basic bW9jazo=")];
    let reply = request(rig.daemon().ingest_addr(), "POST", path, &headers, body.to_owned()).await;
    assert_eq!(reply.status, 200, "{body}: {}", reply.text());
}

#[tokio::test]
async fn a_numeric_id_is_one_user_however_it_is_written() {
    let rig = Setup::person(PERSON).start().await;
    for (n, id) in ["1000", "\"1000\"", "1e3", "1000.0", "\" 1000 \"", "10.0e2"].iter().enumerate() {
        post(&rig, "/v1/identify", &format!(r#"{{"userId": {id}, "messageId": "m{n}", "traits": {{"name": "n{n}"}}}}"#)).await;
    }
    rig.settled().await;
    assert_eq!(rig.persons("1000"), 1);
    assert_eq!(rig.person("1000")["name"], "n5", "one lane, in order");
    let of_user = DeliveryFilter { user: Some("1000".to_owned()), ..DeliveryFilter::default() };
    assert_eq!(rig.store().deliveries(&of_user).await.expect("the store lists").len(), 6, "and one user in lists");
}

#[tokio::test]
async fn ids_beyond_a_floats_digits_stay_apart() {
    let rig = Setup::person(PERSON).start().await;
    let ids = ["9007199254740992", "9007199254740993", "18446744073709551615", "123456789012345678901", "123456789012345678902"];
    for id in ids {
        post(&rig, "/v1/identify", &format!(r#"{{"userId": {id}, "traits": {{"name": "of {id}"}}}}"#)).await;
    }
    // In a batch the items are cut out of its text.
    let batch = format!(r#"{{"batch": [{{"type": "identify", "userId": {}.0, "traits": {{"name": "again"}}}}]}}"#, ids[4]);
    post(&rig, "/v1/batch", &batch).await;
    rig.settled().await;
    for id in &ids[..4] {
        assert_eq!(rig.person(id)["name"], format!("of {id}"));
    }
    assert_eq!(rig.person(ids[4])["name"], "again");
}

#[tokio::test]
async fn a_numeric_message_id_is_taken_once() {
    let rig = Setup::person(PERSON).start().await;
    for id in ["12345678901234567890123", "\"12345678901234567890123\"", "12345678901234567890123.0", "12345678901234567890124"] {
        post(&rig, "/v1/identify", &format!(r#"{{"userId": "u", "messageId": {id}, "traits": {{"name": "n"}}}}"#)).await;
    }
    assert_eq!(rig.store().stats().await.expect("counts").events, 2);
}

#[tokio::test]
async fn a_number_field_does_not_match_what_it_cannot_tell_apart() {
    let script = r#"fn handle(event) { person::upsert(#{ "Score": event.traits.code }, #{ name: "n" }); }"#;
    let rig = Setup::person(script).start().await;
    let row = rig.run("u", json!({ "code": "9007199254740993" })).await;
    assert_eq!(row.state, DeliveryState::Dead);
    assert!(row.reason.expect("why").contains("tells whole numbers apart only up to 2^53"));
}

/// Writes the trait `step` to whoever the event is about.
const STEPS: &str = r#"
fn handle(event) {
    person::upsert(#{ "Segment User ID": event.userId ?? event.anonymousId }, #{ name: event.traits.step });
}
"#;

/// The `step`s in the order in which they were written.
fn steps(rig: &Rig) -> Vec<String> {
    let log = rig.mock.log();
    let done = log.iter().filter(|e| e.method != Method::Get && e.carried_out);
    done.filter_map(|e| e.body.as_ref()?.get("name")?.as_str().map(str::to_owned)).collect()
}

async fn step(rig: &Rig, ids: serde_json::Value, step: &str) -> String {
    let mut event = ids;
    event["type"] = json!("identify");
    event["traits"] = json!({ "step": step });
    rig.send(event).await
}

#[tokio::test]
async fn a_user_comes_after_what_the_visitor_did_before_also_over_a_restart() {
    let mut rig = Setup::person(STEPS).delivery("retry_first = \"1h\"\nretry_max = \"1h\"").start().await;
    rig.mock.fail_matching(FaultMatch::next(Method::Post, "/api/v2/persons"), Fault::NoConnection);
    let first = step(&rig, json!({ "anonymousId": "x" }), "visitor 1").await;
    rig.outcome(&first, "retry").await;
    step(&rig, json!({ "anonymousId": "x" }), "visitor 2").await;
    step(&rig, json!({ "anonymousId": "x", "userId": "ada" }), "user 1").await;
    step(&rig, json!({ "userId": "ada" }), "user 2").await;
    let other = step(&rig, json!({ "anonymousId": "y", "userId": "bob" }), "other").await;
    rig.outcome(&other, "done").await;
    rig.restart().await;
    // Whatever runs now was not kept by the visitor's lane.
    let other = step(&rig, json!({ "userId": "bob" }), "other 2").await;
    rig.outcome(&other, "done").await;
    assert_eq!(rig.count(DeliveryState::Pending).await, 4);
    rig.daemon().delivery().discard(vec![rig.row(&first).await.id]).await.expect("discarded");
    rig.settled().await;
    assert_eq!(steps(&rig), ["other", "other 2", "visitor 2", "user 1", "user 2"]);
}

#[tokio::test]
async fn a_visitor_that_waits_for_a_link_does_not_keep_the_user() {
    let script = r#"
        fn handle(event) {
            if event.userId == () {
                note::create(#{ content: event.traits.step, person_id: by(#{ "Segment User ID": event.traits.of }) });
            } else {
                person::upsert(#{ "Segment User ID": event.userId }, #{ name: event.traits.step });
            }
        }
    "#;
    let rig = Setup::person(script).start().await;
    let body = json!({ "type": "identify", "anonymousId": "x", "traits": { "step": "note", "of": "ada" } });
    let note = rig.send(body).await;
    rig.outcome(&note, "parked").await;
    step(&rig, json!({ "anonymousId": "x", "userId": "ada" }), "Ada").await;
    rig.settled().await;
    assert_eq!(rig.row(&note).await.state, DeliveryState::Done);
    assert_eq!(rig.persons("ada"), 1);
}

/// The shipped rule on alias events, beside one on identify calls.
async fn with_alias() -> Rig {
    let alias = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/alias.rhai"));
    Setup::person(PERSON).rule("alias", "type = \"alias\"", alias).start().await
}

#[tokio::test]
async fn the_alias_rule_joins_two_persons_into_that_of_the_user() {
    let rig = with_alias().await;
    rig.run("before", json!({ "name": "Before" })).await;
    rig.run("ada", json!({ "name": "Ada" })).await;
    let keep = rig.person("ada")["id"].clone();
    let alias = rig.send(json!({ "type": "alias", "userId": "ada", "previousId": "before" })).await;
    rig.settled().await;
    assert_eq!(rig.row(&alias).await.state, DeliveryState::Done, "{:#}", rig.record(&rig.row(&alias).await.id).await);
    assert_eq!((rig.person("ada")["id"].clone(), rig.persons("before")), (keep, 0));
}

#[tokio::test]
async fn the_alias_rule_does_nothing_where_there_are_no_two_persons() {
    let rig = with_alias().await;
    rig.run("ada", json!({ "name": "Ada" })).await;
    for previous in ["nobody", "ada"] {
        let alias = rig.send(json!({ "type": "alias", "userId": "ada", "previousId": previous })).await;
        rig.settled().await;
        assert_eq!(rig.row(&alias).await.state, DeliveryState::Skipped, "{previous}");
    }
    assert_eq!(rig.persons("ada"), 1);
}
