//! Leads, notes and what else only v1 has; conversions between leads and deals.

use pipewright::pipedrive::{Method, Request};
use serde_json::{Value, json};

use super::{call, data, done, get, plain, refused, send};

#[tokio::test]
async fn a_lead_keeps_the_shapes_of_v1() {
    let mock = plain();
    let hot = data(&mock, "/v1/leadLabels").await[0]["id"].clone();
    let key = |name: &str| mock.custom_key("leads", name).expect("a field of deals");
    let (fee, modules, source, term) = (key("Setup fee"), key("Modules"), key("Deal source"), key("Contract term"));
    let inbound = mock.option_id("deals", "Deal source", "Inbound").expect("the option");
    let api = mock.option_id("deals", "Modules", "API").expect("the option");
    let basic = mock.option_id("deals", "Modules", "Basic").expect("the option");
    let body = json!({
        "title": "L", "organization_id": 1, "label_ids": [hot], "value": { "amount": 10, "currency": "USD" }, "visible_to": "5",
        &fee: 99.5, format!("{fee}_currency"): "GBP", &modules: format!("{basic},{api}"), &source: inbound.to_string(),
        &term: "2026-01-01", format!("{term}_until"): "2026-12-31",
    });
    let (status, answer) = call(&mock, Method::Post, "/api/v1/leads", body).await;
    assert_eq!(status, 201, "{answer}");
    let lead = &answer["data"];
    assert_eq!(lead["add_time"], "2026-03-01T12:00:00.000Z");
    assert_eq!((&lead[&fee], &lead[format!("{fee}_currency")]), (&json!(99.5), &json!("GBP")));
    assert_eq!(lead[&modules], format!("{basic},{api}"));
    assert_eq!(lead[&source], inbound.to_string());
    assert_eq!(lead[format!("{term}_until")], "2026-12-31");
    assert!(lead.get(key("Score")).is_none(), "only what is set appears");

    let path = format!("/v1/leads/{}", lead["id"].as_str().expect("a uuid"));
    let changed = done(&mock, Method::Patch, &path, json!({ "value": null, &fee: null, "title": "M" })).await;
    assert_eq!(changed["value"], Value::Null);
    assert!(changed.get(&fee).is_none());
    assert_eq!(changed["title"], "M");

    done(&mock, Method::Patch, &path, json!({ "is_archived": true })).await;
    refused(&mock, Method::Patch, &path, json!({ "title": "N" })).await;
    let listed = |answer: &Value| answer.as_array().expect("a list").iter().any(|l| l["title"] == "M");
    assert!(!listed(&data(&mock, "/v1/leads").await));
    assert!(listed(&data(&mock, "/v1/leads/archived").await));

    done(&mock, Method::Delete, &path, json!({})).await;
    let (status, answer) = get(&mock, &path).await;
    assert_eq!((status, &answer["error"]), (404, &json!("requested lead not found")));
}

#[tokio::test]
async fn bodies_of_v1_are_held_to_their_types_and_references() {
    let mock = plain();
    let uuid = "b08f8a3c-3b3f-4a3c-9a55-0d6f3bb0a001";
    let fee = mock.custom_key("deals", "Setup fee").expect("the field");
    for (path, body) in [
        ("leads", json!({ "title": "A" })),
        ("leads", json!({ "person_id": 1 })),
        ("leads", json!({ "title": "A", "person_id": 99 })),
        ("leads", json!({ "title": "A", "org_id": 1 })),
        ("leads", json!({ "title": "A", "person_id": 1, "visible_to": 3 })),
        ("leads", json!({ "title": "A", "person_id": 1, "label_ids": [1] })),
        ("leads", json!({ "title": "A", "person_id": 1, "label_ids": [uuid] })),
        ("leads", json!({ "title": "A", "person_id": 1, "value": 5 })),
        ("leads", json!({ "title": "A", "person_id": 1, "value": { "amount": 5 } })),
        ("leads", json!({ "title": "A", "person_id": 1, "value": { "amount": 5, "currency": "ZZZ" } })),
        ("leads", json!({ "title": "A", "person_id": 1, "custom_fields": {} })),
        ("leads", json!({ "title": "A", "person_id": 1, &fee: { "value": 5, "currency": "EUR" } })),
        ("leads", json!({ "title": "A", "person_id": 1, format!("{fee}_until"): "x" })),
        ("leads", json!({ "title": "A", "person_id": 1, "0".repeat(40): 1 })),
        ("notes", json!({ "content": "A" })),
        ("notes", json!({ "deal_id": 1 })),
        ("notes", json!({ "content": " ", "deal_id": 1 })),
        ("notes", json!({ "content": "A", "deal_id": 99 })),
        ("notes", json!({ "content": "A", "deal_id": "1" })),
        ("notes", json!({ "content": "A", "deal_id": 1, "pinned_to_person_flag": 1 })),
        ("notes", json!({ "content": "A", "deal_id": 1, "pinned_to_deal_flag": true })),
        ("notes", json!({ "content": "A", "deal_id": 1, "colour": "red" })),
        ("notes", json!({ "content": "x".repeat(100 * 1024 + 1), "deal_id": 1 })),
        ("notes", json!({ "content": "A", "lead_id": uuid })),
    ] {
        let (status, answer) = call(&mock, Method::Post, &format!("/api/v1/{path}"), body.clone()).await;
        assert_eq!(status, 400, "{path} {body}: {answer}");
        assert!(answer["error"].is_string() && answer["error_info"].is_string(), "the envelope of v1: {answer}");
        assert_eq!(answer["data"], Value::Null);
    }
    let lead = mock.entities("leads")[0]["id"].as_str().expect("a uuid").to_owned();
    refused(&mock, Method::Patch, &format!("/v1/leads/{lead}"), json!({ "person_id": null })).await;
}

#[tokio::test]
async fn a_note_hangs_on_its_parent_and_pages_by_start() {
    let mock = plain();
    for i in 0..5 {
        let body = json!({ "content": format!("<b>{i}</b>"), "person_id": 2, "pinned_to_person_flag": i % 2 });
        done(&mock, Method::Post, "/v1/notes", body).await;
    }
    let first = send(&mock, Request::get("/v1/notes").query("person_id", "2").query("limit", "2")).await.1;
    assert_eq!(first["data"][0]["person"], json!({ "name": "Mona Harper" }));
    assert_eq!(first["data"][1]["pinned_to_person_flag"], true);
    assert_eq!(
        first["additional_data"],
        json!({ "pagination": { "start": 0, "limit": 2, "more_items_in_collection": true, "next_start": 2 } })
    );
    let last = send(&mock, Request::get("/v1/notes").query("person_id", "2").query("start", "4")).await.1;
    assert_eq!(last["additional_data"]["pagination"]["more_items_in_collection"], false);

    let path = format!("/v1/notes/{}", first["data"][0]["id"]);
    let changed = done(&mock, Method::Put, &path, json!({ "content": "x<script>y</script>" })).await;
    assert_eq!((&changed["content"], &changed["person_id"]), (&json!("x"), &json!(2)));
    assert_eq!(done(&mock, Method::Delete, &path, json!({})).await, json!(true));
    assert_eq!(data(&mock, &path).await["active_flag"], false, "a deleted note can still be read");
    let left = data(&mock, "/v1/notes?person_id=2").await;
    assert_eq!(left.as_array().map(Vec::len), Some(4));
}

#[tokio::test]
async fn leads_page_without_a_next_start() {
    let mock = plain();
    for i in 0..4 {
        done(&mock, Method::Post, "/v1/leads", json!({ "title": format!("L{i}"), "person_id": 1 })).await;
    }
    let page = send(&mock, Request::get("/v1/leads").query("person_id", "1").query("limit", "3")).await.1;
    assert_eq!(page["additional_data"], json!({ "start": 0, "limit": 3, "more_items_in_collection": true }));
    let rest = send(&mock, Request::get("/v1/leads").query("person_id", "1").query("start", "3").query("sort", "title")).await.1;
    assert_eq!(rest["data"][0]["title"], "L3");
}

#[tokio::test]
async fn a_lead_becomes_a_deal_and_leaves_nothing_behind() {
    let mock = plain();
    let lead = mock.entities("leads")[0].clone();
    let id = lead["id"].as_str().expect("a uuid").to_owned();
    let score = mock.custom_key("deals", "Score").expect("the field");
    done(&mock, Method::Patch, &format!("/v1/leads/{id}"), json!({ &score: 7 })).await;
    let note = done(&mock, Method::Post, "/v1/notes", json!({ "content": "N", "lead_id": id })).await;
    let activity = done(&mock, Method::Post, "/api/v2/activities", json!({ "subject": "A", "lead_id": id })).await;

    let started = done(&mock, Method::Post, &format!("/api/v2/leads/{id}/convert/deal"), json!({ "stage_id": 5 })).await;
    let status = format!("/api/v2/leads/{id}/convert/status/{}", started["conversion_id"].as_str().expect("a uuid"));
    assert_eq!(data(&mock, &status).await["status"], "running");
    let ended = data(&mock, &status).await;
    assert_eq!(ended["status"], "completed");

    let deal = mock.entity("deals", &ended["deal_id"]).expect("the deal");
    assert_eq!(
        (&deal["title"], &deal["value"], &deal["person_id"]),
        (&lead["title"], &lead["value"]["amount"], &lead["person_id"])
    );
    assert_eq!((&deal["stage_id"], &deal["pipeline_id"]), (&json!(5), &json!(2)));
    assert_eq!(deal["custom_fields"][&score], 7);
    assert_eq!(get(&mock, &format!("/v1/leads/{id}")).await.0, 404);
    assert_eq!(mock.entity("notes", &note["id"]).expect("the note")["deal_id"], ended["deal_id"]);
    assert_eq!(mock.entity("activities", &activity["id"]).expect("the activity")["deal_id"], ended["deal_id"]);

    let back = format!("/api/v2/deals/{}/convert/lead", ended["deal_id"]);
    let again = done(&mock, Method::Post, &back, json!({})).await;
    assert!(again["conversion_id"].is_string());
    assert_eq!(mock.entities("leads")[0]["source_deal_id"], ended["deal_id"]);
}

#[tokio::test]
async fn the_directory_tells_users_types_and_the_company() {
    let mock = plain();
    let me = data(&mock, "/v1/users/me").await;
    assert_eq!((&me["email"], &me["company_domain"]), (&json!("ada@acme.com"), &json!("acme")));
    let users = data(&mock, "/api/v1/users").await;
    let active: Vec<bool> = users.as_array().expect("a list").iter().map(|u| u["active_flag"] == true).collect();
    assert_eq!(active, [true, true, false]);
    assert_eq!(data(&mock, "/v1/users/find?term=grace@&search_by_email=1").await[0]["id"], 2);
    let types = data(&mock, "/v1/activityTypes").await;
    let keys: Vec<&str> = types.as_array().expect("a list").iter().filter_map(|t| t["key_string"].as_str()).collect();
    assert_eq!(keys, ["call", "meeting", "task", "deadline", "email", "lunch"]);
    let fields = data(&mock, "/v1/leadFields").await;
    assert!(fields.as_array().expect("a list").iter().any(|f| f["name"] == "Segment Deal ID"), "leads inherit the deals' fields");
}
