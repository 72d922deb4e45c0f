//! Matching by Pipedrive's own id, in a script or as `match_fields = { person = "id" }` has it.

use pipewright::store::{DeliveryRow, DeliveryState};
use serde_json::{Value, json};

use super::harness::{Rig, Setup};

/// Somebody of the account, whose persons bare values name by Pipedrive's id.
async fn rig(script: &str) -> (Rig, Value) {
    let rig = Setup::person(script).account("match_fields = { person = \"id\" }").start().await;
    let ada = rig.aside("/api/v2/persons", json!({ "name": "Ada", "emails": [{ "value": "ada@acme.com" }] }))["id"].clone();
    (rig, ada)
}

const ID: &str = "#{ id: event.traits.id }";

fn upsert(matched: &str, options: &str) -> String {
    format!("fn handle(event) {{ person::upsert({matched}, #{{ name: event.traits.name }}, #{{ {options} }}); }}")
}

async fn named(rig: &Rig, id: Value, name: &str) -> DeliveryRow {
    let event = json!({ "type": "identify", "userId": "u1", "traits": { "id": id, "name": name } });
    let message_id = rig.send(event).await;
    rig.settled().await;
    rig.row(&message_id).await
}

#[tokio::test]
async fn a_number_and_digits_in_a_text_are_the_same_id() {
    let (rig, ada) = rig(&upsert(ID, "")).await;
    for (id, name) in [(ada.clone(), "A"), (json!(ada.to_string()), "B"), (json!(format!(" {ada} ")), "C")] {
        assert_eq!(named(&rig, id, name).await.state, DeliveryState::Done);
        assert_eq!(rig.mock.entity("persons", &ada).expect("Ada")["name"], name);
    }
    assert_eq!(rig.mock.count("persons"), 1);
}

#[tokio::test]
async fn what_is_no_id_is_refused_and_creates_nothing() {
    let (rig, _) = rig(&upsert(ID, "")).await;
    for id in [json!("u-1"), json!("12a"), json!("0"), json!(-3), json!(1.5), json!("ad2b3c00-0000-11ee-a000-000000000000")] {
        let row = named(&rig, id.clone(), "X").await;
        let reason = row.reason.expect("a reason");
        assert_eq!(row.state, DeliveryState::Dead, "{id}: {reason}");
        assert!(reason.contains("`id` in a match takes the person's id in Pipedrive, a positive whole number"), "{id}: {reason}");
    }
    assert_eq!((rig.mock.count("persons"), rig.writes()), (1, vec![]));
}

#[tokio::test]
async fn an_id_that_is_not_there_never_creates() {
    for options in ["", "on_conflict: \"create\"", "on_empty: \"create\""] {
        for matched in [ID.to_owned(), format!("[{ID}, #{{ email: \"nobody@acme.com\" }}]")] {
            let (rig, _) = rig(&upsert(&matched, options)).await;
            let row = named(&rig, json!("999"), "X").await;
            let reason = row.reason.expect("a reason");
            assert_eq!(row.state, DeliveryState::Dead, "{matched} {options}: {reason}");
            assert!(
                reason.starts_with("Pipedrive has no person with the id 999, and an id of its own is never made"),
                "{reason}"
            );
            assert_eq!((rig.mock.count("persons"), rig.writes()), (1, vec![]), "{matched} {options}");
        }
    }
}

#[tokio::test]
async fn a_record_that_was_deleted_since_is_not_made_again() {
    let (rig, ada) = rig(&upsert(ID, "")).await;
    assert_eq!(named(&rig, ada.clone(), "A").await.state, DeliveryState::Done);
    rig.delete_aside(&format!("/api/v2/persons/{ada}"));
    let row = named(&rig, ada.clone(), "B").await;
    assert_eq!(row.state, DeliveryState::Dead, "{:?}", row.reason);
    assert_eq!(rig.writes().iter().filter(|call| call.starts_with("POST")).count(), 0, "{:?}", rig.writes());
}

/// Links to a person of that id.
fn linked() -> String {
    "fn handle(event) { activity::create(#{ subject: event.traits.name, person_id: by(event.traits.id, #{ wait: 0 }) }, \
     #{ on_missing: \"fail\" }); }"
        .to_owned()
}

#[tokio::test]
async fn a_bare_value_is_the_id_where_match_fields_says_so() {
    let (rig, ada) = rig(&linked()).await;
    assert_eq!(named(&rig, json!(ada.to_string()), "Call").await.state, DeliveryState::Done);
    assert_eq!(rig.mock.entities("activities")[0]["participants"][0]["person_id"], ada);
    for (id, said) in [
        (json!("u-1"), "`id` in a match takes the person's id in Pipedrive, a positive whole number"),
        (json!("999"), "Person with id 999 was not found"),
    ] {
        let row = named(&rig, id, "Call").await;
        let reason = row.reason.expect("a reason");
        assert!(row.state == DeliveryState::Dead && reason.contains(said), "{reason}");
    }
    assert_eq!((rig.mock.count("persons"), rig.mock.count("activities")), (1, 1));
}
