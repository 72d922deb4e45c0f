//! Who an event is about: numeric ids.

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
