//! Activities and notes: when they are due, who takes part, what they are pinned to.

use pipewright::store::DeliveryState;
use serde_json::{Value, json};

use super::harness::{Rig, Setup};

/// Creates one of a kind with these fields; answers it as it stands, and the delivery's record.
async fn created(kind: &str, plural: &str, fields: Value) -> (Rig, Option<Value>, Value) {
    let script = format!("fn handle(event) {{ {kind}::create(event.properties, #{{ on_missing: \"omit\" }}); }}");
    let script = if kind == "activity" { script.replace("\"omit\" }", "\"omit\", unlinked: true }") } else { script };
    let rig = Setup::new().rule("it", "type = \"track\"", &script).start().await;
    let first = rig.aside("/api/v2/persons", json!({ "name": "Ada" }));
    assert_eq!(first["id"], 1);
    rig.aside("/api/v2/persons", json!({ "name": "Grace" }));
    let message = rig.track("u1", "It", fields).await;
    rig.settled().await;
    let row = rig.row(&message).await;
    let record = rig.record(&row.id).await;
    let made = rig.mock.entities(plural).first().cloned();
    assert_eq!(made.is_some(), row.state == DeliveryState::Done, "{record:#}");
    (rig, made, record)
}

#[tokio::test]
async fn a_time_with_a_zone_is_kept_in_utc_with_its_day() {
    let cases = [
        // No zone: as it stands.
        (json!({ "due_date": "2026-12-01", "due_time": "10:30" }), "2026-12-01", "10:30:00"),
        (json!({ "due_date": "2026-12-01", "due_time": "2026-12-01T10:30:00" }), "2026-12-01", "10:30:00"),
        (json!({ "due_date": "2026-12-01T23:00:00-05:00" }), "2026-12-01", ""),
        // A whole time: its day goes along, over midnight too.
        (json!({ "due_time": "2026-12-01T00:30:00+02:00" }), "2026-11-30", "22:30:00"),
        (json!({ "due_date": "2026-12-01", "due_time": "2026-12-01T00:30:00+02:00" }), "2026-11-30", "22:30:00"),
        (json!({ "due_date": "2026-12-01T00:30:00+02:00", "due_time": "2026-12-01T00:30:00+02:00" }), "2026-11-30", "22:30:00"),
        (json!({ "due_time": "2026-12-01T10:30:00Z" }), "2026-12-01", "10:30:00"),
        // An offset, or a named zone beside it, in summer and in winter.
        (json!({ "due_date": "2026-12-01", "due_time": "20:30-05:00" }), "2026-12-02", "01:30:00"),
        (json!({ "due_date": "2026-12-01", "due_time": "10:30", "timezone": "Europe/Tallinn" }), "2026-12-01", "08:30:00"),
        (json!({ "due_date": "2026-07-01", "due_time": "10:30", "timezone": "Europe/Tallinn" }), "2026-07-01", "07:30:00"),
        (json!({ "due_date": "2026-12-01", "timezone": "Europe/Tallinn" }), "2026-12-01", ""),
    ];
    for (fields, day, time) in cases {
        let (_, made, record) = created("activity", "activities", fields.clone()).await;
        let made = made.unwrap_or_else(|| panic!("{fields}: {record:#}"));
        assert_eq!((made["due_date"].as_str(), made["due_time"].as_str().unwrap_or("")), (Some(day), time), "{fields}");
    }
}

#[tokio::test]
async fn a_time_that_could_mean_two_things_is_refused_with_what_to_do() {
    let cases = [
        (json!({ "due_time": "20:30-05:00" }), "needs `due_date` beside it"),
        (json!({ "due_date": "2026-12-05", "due_time": "2026-12-01T00:30:00+02:00" }), "name different days"),
        (json!({ "due_date": "2026-12-01", "due_time": "10:30", "timezone": "Tallinn" }), "not an IANA name"),
        (json!({ "due_date": "2026-12-01", "due_time": "half past ten" }), "`due_time` takes a time"),
    ];
    for (fields, why) in cases {
        let (rig, made, record) = created("activity", "activities", fields.clone()).await;
        assert!(made.is_none() && rig.writes().is_empty(), "{fields}");
        assert!(record["reason"].as_str().expect("a reason").contains(why), "{fields}: {record:#}");
    }
}

#[tokio::test]
async fn the_person_is_the_first_participant_and_a_type_goes_by_name() {
    let fields = json!({ "subject": "Meet", "type": "Meeting", "person_id": 1, "participants": [2] });
    let (_, made, _) = created("activity", "activities", fields).await;
    let made = made.expect("it is made");
    let taking_part: Vec<(Option<u64>, Option<bool>)> = made["participants"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|p| (p["person_id"].as_u64(), p["primary"].as_bool()))
        .collect();
    assert_eq!(taking_part, [(Some(1), Some(true)), (Some(2), Some(false))]);
    assert_eq!(made["type"], "meeting");
}

#[tokio::test]
async fn a_note_is_pinned_to_what_it_links_to() {
    let fields = json!({ "content": "a < b", "person_id": 1, "pinned_to_person_flag": true });
    let (_, made, _) = created("note", "notes", fields).await;
    let made = made.expect("it is made");
    assert_eq!((&made["pinned_to_person_flag"], &made["content"]), (&json!(true), &json!("a &lt; b")));
    // A pin to what was not linked goes the way of the link, and the record says so.
    let fields = json!({ "content": "<b>x</b>", "html": true, "person_id": 1, "pinned_to_deal_flag": true });
    let (_, made, record) = created("note", "notes", fields).await;
    let made = made.unwrap_or_else(|| panic!("{record:#}"));
    assert_eq!((&made["pinned_to_deal_flag"], &made["content"]), (&json!(false), &json!("<b>x</b>")));
    assert!(record["steps"][0]["warnings"].to_string().contains("pinned_to_deal_flag"), "{record:#}");
}
