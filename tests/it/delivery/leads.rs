//! Leads and deals in the archive.

use pipewright::pipedrive::Method;
use pipewright::store::DeliveryState;
use serde_json::{Value, json};

use super::harness::{Rig, Setup};

fn script(kind: &str, options: &str) -> String {
    format!(
        "fn handle(event) {{ {kind}::update(#{{ title: event.properties.title }}, #{{ expected_close_date: event.properties.on }}, #{{ {options} }}); }}"
    )
}

/// An archived lead or deal called so.
fn archived(rig: &Rig, path: &str, title: &str) -> Value {
    let person = rig.aside("/api/v2/persons", json!({ "name": "Ada" }))["id"].clone();
    let made = rig.aside(path, json!({ "title": title, "person_id": person }));
    let kind = path.rsplit('/').next().expect("a kind");
    let put_away = json!({ "is_archived": true }).as_object().expect("a map").clone();
    assert_eq!(
        rig.mock.edit(kind, made["id"].as_str().map_or_else(|| made["id"].to_string(), str::to_owned), put_away).status,
        200
    );
    made["id"].clone()
}

fn of(rig: &Rig, kind: &str, id: &Value) -> Value {
    rig.mock.entities(kind).into_iter().find(|entity| entity["id"] == *id).expect("it is there")
}

async fn updated(kind: &str, path: &str, options: &str) -> (Rig, Value, DeliveryState, Value) {
    let rig = Setup::new().rule("it", "type = \"track\"", &script(kind, options)).start().await;
    let id = archived(&rig, path, "Chance");
    let message = rig.track("u1", "Changed", json!({ "title": "Chance", "on": "2026-12-01" })).await;
    rig.settled().await;
    let row = rig.row(&message).await;
    let record = rig.record(&row.id).await;
    (rig, id, row.state, record)
}

#[tokio::test]
async fn an_archived_lead_or_deal_is_changed_only_when_the_script_takes_it_out() {
    for (kind, plural, path) in [("lead", "leads", "/api/v1/leads"), ("deal", "deals", "/api/v2/deals")] {
        let (rig, id, state, record) = updated(kind, path, "").await;
        assert_eq!(state, DeliveryState::Dead, "{record:#}");
        assert!(record["reason"].as_str().expect("a reason").contains("is archived"), "{record:#}");
        assert!(of(&rig, plural, &id)["expected_close_date"].is_null());

        let (rig, id, state, record) = updated(kind, path, "on_archived: \"skip\"").await;
        assert_eq!(state, DeliveryState::Skipped, "{record:#}");
        assert_eq!(of(&rig, plural, &id)["is_archived"], true);

        let (rig, id, state, record) = updated(kind, path, "on_archived: \"unarchive\"").await;
        assert_eq!(state, DeliveryState::Done, "{record:#}");
        let entity = of(&rig, plural, &id);
        assert_eq!((&entity["is_archived"], &entity["expected_close_date"]), (&json!(false), &json!("2026-12-01")));
        assert!(record["steps"][0]["warnings"].to_string().contains("taken out of the archive"), "{record:#}");
        // One that is not archived costs nothing more.
        rig.mock.clear_log();
        rig.track("u1", "Changed", json!({ "title": "Chance", "on": "2026-12-02" })).await;
        rig.settled().await;
        assert_eq!(rig.calls(Method::Patch, plural).len(), 1);
    }
}

#[tokio::test]
async fn an_entity_that_the_index_knows_is_found_archived_when_the_update_is_refused() {
    let script = "fn handle(event) { deal::upsert(#{ \"Segment Deal ID\": \"d1\" }, #{ title: event.properties.title }, #{ unlinked: true, on_archived: \"unarchive\" }); }";
    let rig = Setup::new().rule("it", "type = \"track\"", script).start().await;
    rig.track("u1", "Made", json!({ "title": "One" })).await;
    rig.settled().await;
    let id = rig.mock.entities("deals")[0]["id"].clone();
    rig.mock.edit("deals", &id, json!({ "is_archived": true }).as_object().expect("a map").clone());
    rig.track("u1", "Made", json!({ "title": "Two" })).await;
    rig.settled().await;
    let deal = rig.mock.entity("deals", &id).expect("it");
    assert_eq!((&deal["title"], &deal["is_archived"]), (&json!("Two"), &json!(false)));
}
