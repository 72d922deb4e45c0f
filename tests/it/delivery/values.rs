//! `CLEAR`: every kind of field that can be emptied, and what cannot.

use pipewright::store::DeliveryState;
use serde_json::{Value, json};

use super::harness::{Rig, Setup};

/// An entity by its key, with a field that is set, and emptied where the event says so.
fn script(kind: &str, key: &str, more: &str) -> String {
    format!(
        "fn handle(event) {{ let v = event.traits.v; {kind}::upsert(#{{ \"{key}\": event.userId }}, \
         #{{ \"FIELD\": if v == () {{ CLEAR }} else {{ v }} }}, #{{ on_create: #{{ {more} }} }}); }}"
    )
}

/// The field's value as it stands in an entity.
fn value(rig: &Rig, plural: &str, entity: &Value, field: &str) -> Value {
    let of_deals = if plural == "leads" { "deals" } else { plural };
    let key = rig.mock.custom_key(of_deals, field);
    match &key {
        Some(key) if plural == "leads" => entity[key].clone(),
        Some(key) => entity["custom_fields"][key].clone(),
        None => entity[if field == "labels" { "label_ids" } else { field }].clone(),
    }
}

fn is_empty(value: &Value) -> bool {
    value.is_null() || value.as_array().is_some_and(Vec::is_empty)
}

async fn cleared(kind: &str, plural: &str, key: &str, more: &str, fields: &[(&str, Value)]) {
    for (field, given) in fields {
        let rig = Setup::person(&script(kind, key, more).replace("FIELD", field)).start().await;
        assert_eq!(rig.aside("/api/v2/persons", json!({ "name": "Ada" }))["id"], 1);
        assert_eq!(rig.aside("/api/v2/organizations", json!({ "name": "Acme" }))["id"], 1);
        let before: Vec<Value> = rig.mock.entities(plural).iter().map(|e| e["id"].clone()).collect();
        let made = |rig: &Rig| rig.mock.entities(plural).into_iter().find(|e| !before.contains(&e["id"])).expect("it");
        let row = rig.run("k1", json!({ "v": given })).await;
        assert_eq!(row.state, DeliveryState::Done, "{kind} {field}: {:?}", row.reason);
        let full = value(&rig, plural, &made(&rig), field);
        assert!(!is_empty(&full), "{kind} {field}: {full}");
        let row = rig.run("k1", json!({})).await;
        assert_eq!(row.state, DeliveryState::Done, "{kind} {field}: {:?}", row.reason);
        let now = value(&rig, plural, &made(&rig), field);
        assert!(is_empty(&now), "{kind} {field}: {now}");
        let said = rig.decisions(&row.id).await;
        assert!(said.contains(&format!("CLEAR: emptied: `{field}`")), "{kind} {field}: {said:?}");
        let step = rig.record(&row.id).await["steps"][0].clone();
        assert!(is_empty(&step["changes"][0]["after"]), "{step:#}");
    }
}

#[tokio::test]
async fn clear_empties_custom_fields_of_every_type_and_lists() {
    let fields = [
        ("Source tag", json!("Fair")),
        ("Description", json!("Long")),
        ("Score", json!(1.5)),
        ("Hotline", json!("+37255551234")),
        ("Plan", json!("Pro")),
        ("Interests", json!(["Analytics"])),
        ("Lifetime Value", json!(12)),
        ("Billing address", json!("Main St 1")),
        ("Signup Date", json!("2026-01-02")),
        ("Contract term", json!(["2026-01-02", "2026-02-02"])),
        ("Best time to call", json!("10:30")),
        ("Office hours", json!(["09:00", "17:00"])),
        ("Account manager", json!("grace@acme.com")),
        ("Partner organization", json!(1)),
        ("Referred by", json!(1)),
        ("emails", json!("a@x.io")),
        ("phones", json!("+37255551234")),
        ("labels", json!("Customer")),
    ];
    cleared("person", "persons", "Segment User ID", "name: \"Grace\"", &fields).await;
}

#[tokio::test]
async fn clear_empties_the_fields_of_other_kinds_that_pipedrive_lets_go() {
    let organization = [("website", json!("https://acme.com")), ("employee_count", json!(12)), ("industry", json!("Software"))];
    cleared("organization", "organizations", "Segment Group ID", "name: \"Other\"", &organization).await;
    cleared("deal", "deals", "Segment Deal ID", "title: \"Seats\", person_id: 1", &[("probability", json!(40))]).await;
    let lead =
        [("value", json!(12)), ("expected_close_date", json!("2026-12-01")), ("Score", json!(2)), ("labels", json!("Hot"))];
    cleared("lead", "leads", "Segment Deal ID", "title: \"Seats\", person_id: 1", &lead).await;
}

#[tokio::test]
async fn what_pipedrive_cannot_empty_is_refused_before_anything_is_sent() {
    for (kind, key, field) in [
        ("person", "Segment User ID", "name"),
        ("person", "Segment User ID", "owner"),
        ("person", "Segment User ID", "org_id"),
        ("organization", "Segment Group ID", "address"),
        ("deal", "Segment Deal ID", "value"),
    ] {
        let rig = Setup::person(&script(kind, key, "").replace("FIELD", field)).start().await;
        let row = rig.run("k1", json!({})).await;
        let of =
            format!("scripts/person.rhai:1:{}: `{field}` of {kind}s cannot be emptied: Pipedrive has no way to", 46 + kind.len());
        assert_eq!((row.state, row.reason), (DeliveryState::Dead, Some(of)));
        assert_eq!(rig.record(&row.id).await["diagnostics"][0]["help"], "leave it out, or write another value");
        assert!(rig.writes().is_empty());
    }
}

#[tokio::test]
async fn clear_where_nothing_is_says_so_and_sends_nothing() {
    let rig = Setup::person(&script("person", "Segment User ID", "").replace("FIELD", "Source tag")).start().await;
    let user = rig.key("persons", "Segment User ID");
    rig.aside("/api/v2/persons", json!({ "name": "Ada", "custom_fields": { user: "u1" } }));
    let row = rig.run("u1", json!({})).await;
    assert_eq!(rig.decisions(&row.id).await, ["CLEAR: empty already: `Source tag`"]);
    assert!(rig.writes().is_empty());
}
