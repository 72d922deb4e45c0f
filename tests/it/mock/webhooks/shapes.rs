//! How it is told: `meta`, the records, and every type of custom field.

use pipewright::pipedrive::Method;
use serde_json::{Value, json};

use super::{Rig, object};

#[tokio::test]
async fn meta_names_the_event_as_texts() {
    let rig = Rig::start(["*.*"]).await;
    let webhook = &rig.subscriptions()[0];
    let made = rig.made("/api/v2/persons", json!({ "name": "A" })).await;
    let body = rig.body().await;
    let mut meta = object(&body["meta"]);
    for key in ["id", "correlation_id"] {
        let id = meta.remove(key).expect("an id");
        assert!(uuid::Uuid::try_parse(id.as_str().expect("text")).is_ok(), "{key}: {id}");
    }
    let company = rig.mock().aside(&pipewright::pipedrive::Request::get("/v1/users/me"));
    let company = super::super::json(company).1["data"]["company_id"].to_string();
    assert_eq!(
        Value::Object(meta),
        json!({
            "action": "create", "entity": "person", "entity_id": made["id"].to_string(), "company_id": company, "user_id": "1",
            "webhook_id": webhook["id"].to_string(), "webhook_owner_id": "1", "timestamp": "2026-03-01T12:00:00.000Z",
            "version": "2.0", "type": "general", "change_source": "api", "attempt": 1, "is_bulk_edit": false,
            "host": "acme.pipedrive.com", "permitted_user_ids": ["1", "2"],
        })
    );
}

#[tokio::test]
async fn every_type_of_custom_field_is_an_object_that_names_it() {
    let rig = Rig::start(["*.person"]).await;
    let key = |name: &str| rig.mock().custom_key("persons", name).expect("a field");
    let option = |field: &str, label: &str| rig.mock().option_id("persons", field, label).expect("an option");
    let (pro, one, two) = (option("Plan", "Pro"), option("Interests", "Analytics"), option("Interests", "Reporting"));
    let address = json!({ "value": "Lai 7, Tallinn", "locality": "Tallinn" });
    let mut given = serde_json::Map::new();
    let mut expected = serde_json::Map::new();
    for (name, value, shown) in [
        ("Segment User ID", json!("u-1"), json!({ "type": "varchar", "value": "u-1" })),
        ("Source tag", json!("t"), json!({ "type": "varchar_auto", "value": "t" })),
        ("Description", json!("long"), json!({ "type": "text", "value": "long" })),
        ("Hotline", json!("+1 5"), json!({ "type": "phone", "value": "+1 5" })),
        ("Score", json!(7.5), json!({ "type": "double", "value": 7.5 })),
        (
            "Lifetime Value",
            json!({ "value": 12, "currency": "USD" }),
            json!({ "type": "monetary", "value": 12, "currency": "USD" }),
        ),
        ("Plan", json!(pro), json!({ "type": "enum", "id": pro })),
        ("Interests", json!([one, two]), json!({ "type": "set", "values": [{ "id": one }, { "id": two }] })),
        ("Account manager", json!(2), json!({ "type": "user", "id": 2 })),
        ("Partner organization", json!(1), json!({ "type": "org", "id": 1 })),
        ("Referred by", json!(3), json!({ "type": "people", "id": 3 })),
        ("Signup Date", json!("2026-01-02"), json!({ "type": "date", "value": "2026-01-02" })),
        (
            "Contract term",
            json!({ "value": "2026-01-01", "until": "2026-12-31" }),
            json!({ "type": "daterange", "from": "2026-01-01", "until": "2026-12-31" }),
        ),
        (
            "Best time to call",
            json!({ "value": "09:30", "timezone_id": 12 }),
            json!({ "type": "time", "value": "09:30:00", "timezone_id": 12 }),
        ),
        (
            "Office hours",
            json!({ "value": "09:00", "until": "17:00" }),
            json!({ "type": "timerange", "from": "09:00:00", "until": "17:00:00", "timezone_id": null }),
        ),
        (
            "Billing address",
            address.clone(),
            json!({
                "type": "address", "value": "Lai 7, Tallinn", "locality": "Tallinn", "country": null, "admin_area_level_1": null,
                "admin_area_level_2": null, "sublocality": null, "route": null, "street_number": null, "subpremise": null,
                "postal_code": null,
            }),
        ),
    ] {
        given.insert(key(name), value);
        expected.insert(key(name), shown);
    }
    let made = rig.made("/api/v2/persons", json!({ "name": "A", "custom_fields": given })).await;
    let told = rig.body().await;
    assert_eq!(object(&told["data"]["custom_fields"]), expected, "the seed's persons have all types, and no field beside them");

    let path = format!("/api/v2/persons/{}", made["id"]);
    let (plan, score) = (key("Plan"), key("Score"));
    rig.done(Method::Patch, &path, json!({ "custom_fields": { &plan: null, &score: 8 } })).await;
    let told = rig.body().await;
    assert_eq!(told["data"]["custom_fields"][&plan], Value::Null, "what is not set is null");
    assert_eq!(
        told["previous"],
        json!({ "custom_fields": { &plan: { "type": "enum", "id": pro }, &score: { "type": "double", "value": 7.5 } } }),
        "only what is different now"
    );
}

#[tokio::test]
async fn records_are_shown_without_what_is_derived() {
    let rig = Rig::start(["create.*"]).await;
    let keys = |body: &Value| object(&body["data"]).keys().cloned().collect::<Vec<_>>().join(" ");
    rig.made("/api/v2/deals", json!({ "title": "D", "value": 5, "person_id": 1, "visible_to": 5 })).await;
    let deal = rig.body().await;
    assert_eq!(
        keys(&deal),
        "add_time archive_time channel channel_id close_time creator_user_id currency custom_fields expected_close_date id \
         is_archived label_ids lost_reason lost_time org_id origin origin_id owner_id person_id pipeline_id probability \
         stage_change_time stage_id status title update_time value visible_to won_time"
    );
    assert_eq!((&deal["data"]["visible_to"], &deal["data"]["value"]), (&json!("5"), &json!(5)));
    assert_eq!(deal["data"]["add_time"], "2026-03-01T12:00:00Z");

    let hot = super::super::data(rig.mock(), "/v1/leadLabels").await[0]["id"].clone();
    let fee = rig.mock().custom_key("leads", "Setup fee").expect("a field");
    let lead = json!({
        "title": "L", "person_id": 1, "label_ids": [hot], "value": { "amount": 1, "currency": "EUR" },
        &fee: 2, format!("{fee}_currency"): "GBP",
    });
    rig.made("/v1/leads", lead).await;
    let lead = rig.body().await;
    assert_eq!(
        keys(&lead),
        "add_time channel channel_id creator_id custom_fields expected_close_date id is_archived label_ids next_activity_id \
         organization_id origin origin_id owner_id person_id source_name title update_time value was_seen"
    );
    assert_eq!(lead["data"]["custom_fields"][&fee], json!({ "type": "monetary", "value": 2, "currency": "GBP" }));
    assert_eq!(
        (&lead["data"]["label_ids"], &lead["data"]["value"], &lead["data"]["add_time"]),
        (&json!([hot]), &json!({ "amount": 1, "currency": "EUR" }), &json!("2026-03-01T12:00:00.000Z"))
    );

    rig.made("/v1/notes", json!({ "content": "N", "person_id": 1 })).await;
    let note = rig.body().await;
    assert!(["person", "user", "custom_fields"].iter().all(|key| note["data"].get(key).is_none()), "{note}");
    assert_eq!((&note["data"]["person_id"], &note["data"]["add_time"]), (&json!(1), &json!("2026-03-01T12:00:00Z")));

    rig.made("/api/v2/activities", json!({ "subject": "A", "participants": [{ "person_id": 1 }] })).await;
    let activity = rig.body().await;
    assert_eq!(activity["data"]["participants"], json!([{ "person_id": 1, "primary": true }]));
    assert_eq!(activity["data"]["person_id"], 1);

    rig.made("/api/v2/persons", json!({ "name": "P", "emails": [{ "value": "p@x.example" }] })).await;
    let person = rig.body().await;
    assert_eq!(person["data"]["emails"], json!([{ "value": "p@x.example", "primary": true, "label": "work" }]));
    assert_eq!(person["data"]["visible_to"], "3");
    assert!(person["data"].get("is_deleted").is_none());
}
