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

/// The example of docs/scripting.md: by id, else by key, else the person's open lead, else a new one.
const MATCHED: &str = r#"
fn handle(event) {
    let p = event.properties;
    let who = person::find(#{ "Segment User ID": event.userId });
    lead::upsert(
        [#{ id: p?.lead_id }, #{ "Segment Deal ID": p?.deal_id }, #{ person_id: who?.id }],
        #{ value: money(p?.amount, "EUR") },
        #{ on_create: #{ title: p?.title ?? "A lead", person_id: by(event.userId) } });
}
"#;

#[tokio::test]
async fn a_lead_is_matched_by_id_then_by_key_then_as_the_persons_open_one() {
    let rig = Setup::new().rule("it", "type = \"track\"", MATCHED).start().await;
    let (user, deal) = (rig.key("persons", "Segment User ID"), rig.key("deals", "Segment Deal ID"));
    let ada = rig.aside("/api/v2/persons", json!({ "name": "Ada", "custom_fields": { user: "u1" } }))["id"].clone();
    let lead = |title: &str| json!({ "title": title, "person_id": ada });
    let mut keyed = lead("By key");
    keyed[deal] = json!("d1");
    let (open, keyed) = (rig.aside("/api/v1/leads", lead("Open"))["id"].clone(), rig.aside("/api/v1/leads", keyed)["id"].clone());
    let put_away = rig.aside("/api/v1/leads", lead("Archived"))["id"].clone();
    let body = json!({ "is_archived": true }).as_object().expect("a map").clone();
    assert_eq!(rig.mock.edit("leads", put_away.as_str().expect("a uuid"), body).status, 200);

    let track = async |properties: Value| {
        let message = rig.track("u1", "Lead", properties.clone()).await;
        rig.settled().await;
        let row = rig.row(&message).await;
        assert_eq!(row.state, DeliveryState::Done, "{properties}: {:?}", row.reason);
        rig.record(&row.id).await["steps"][0].clone()
    };
    let amount = |id: &Value| of(&rig, "leads", id)["value"]["amount"].clone();
    track(json!({ "lead_id": open, "deal_id": "d1", "amount": 1 })).await;
    track(json!({ "deal_id": "d1", "amount": 2 })).await;
    assert_eq!((amount(&open), amount(&keyed)), (json!(1), json!(2)));
    // Two are open: the older one, with a warning; what is archived does not count.
    let step = track(json!({ "amount": 3 })).await;
    assert_eq!((amount(&open), amount(&keyed), amount(&put_away)), (json!(3), json!(2), Value::Null));
    assert!(step["warnings"].to_string().contains("(on_many)"), "{step:#}");
    // With none open it is a new one.
    for id in [&open, &keyed] {
        rig.delete_aside(&format!("/api/v1/leads/{}", id.as_str().expect("a uuid")));
    }
    track(json!({ "amount": 4, "title": "New" })).await;
    let new = rig.mock.entities("leads").into_iter().find(|l| l["title"] == "New").expect("a new lead");
    assert_eq!((&new["person_id"], &new["value"]["amount"]), (&ada, &json!(4)));
}

#[tokio::test]
async fn a_lead_of_another_person_is_not_taken_for_one_of_the_same_title() {
    let script = r#"
        fn handle(event) {
            let who = person::find(#{ "Segment User ID": event.userId });
            lead::upsert(#{ title: "Chance", person_id: who?.id }, #{ value: money(event.properties.amount, "EUR") });
        }"#;
    let rig = Setup::new().rule("it", "type = \"track\"", script).start().await;
    let key = rig.key("persons", "Segment User ID");
    let person =
        |user: &str| rig.aside("/api/v2/persons", json!({ "name": user, "custom_fields": { key.as_str(): user } }))["id"].clone();
    let people = [("u1", person("u1"), 1), ("u2", person("u2"), 2)];
    // Twice: made, then found by what the index and the lead itself say.
    for more in [0, 10] {
        for (user, _, amount) in &people {
            rig.track(user, "Lead", json!({ "amount": amount + more })).await;
            rig.settled().await;
        }
        for (_, person, amount) in &people {
            let leads = rig.mock.entities("leads");
            assert_eq!(leads.len(), 2, "{leads:#?}");
            let theirs = leads.iter().find(|lead| lead["person_id"] == *person).expect("a lead of theirs");
            assert_eq!(theirs["value"]["amount"], json!(amount + more));
        }
    }
}
