//! What Pipedrive refuses, the mock refuses: kind by kind, with the shape of each refusal.

use pipewright::pipedrive::{Method, Request};
use serde_json::{Value, json};

use super::{call, done, get, plain, refused, send};

const SCHEMA: &str = "ERR_SCHEMA_VALIDATION_FAILED";
const RULE: &str = "ERR_BAD_REQUEST";

#[tokio::test]
async fn bodies_of_v2_are_held_to_their_types_and_references() {
    let mock = plain();
    let before = mock.count("persons") + mock.count("organizations") + mock.count("deals") + mock.count("activities");
    let cases: &[(&str, Value, &str)] = &[
        // Types.
        ("persons", json!({ "name": 1 }), SCHEMA),
        ("persons", json!({ "name": "A", "owner_id": "1" }), SCHEMA),
        ("persons", json!({ "name": "A", "org_id": 1.5 }), SCHEMA),
        ("persons", json!({ "name": "A", "emails": "a@b.example" }), SCHEMA),
        ("persons", json!({ "name": "A", "emails": [{ "value": "a@b.example", "primary": 1 }] }), SCHEMA),
        ("persons", json!({ "name": "A", "emails": [{ "primary": true }] }), SCHEMA),
        ("persons", json!({ "name": "A", "emails": [{ "value": "a@b.example", "kind": "x" }] }), SCHEMA),
        ("persons", json!({ "name": null }), SCHEMA),
        ("persons", json!({ "name": "A", "org_id": null }), SCHEMA),
        ("persons", json!({ "name": "A", "marketing_status": "maybe" }), SCHEMA),
        ("deals", json!({ "title": "A", "status": "closed" }), SCHEMA),
        ("deals", json!({ "title": "A", "expected_close_date": "24.12.2026" }), SCHEMA),
        ("activities", json!({ "subject": "A", "busy": 1 }), SCHEMA),
        ("activities", json!({ "subject": "A", "due_time": "9 o'clock" }), SCHEMA),
        ("organizations", json!({ "name": "A", "employee_count": "5" }), SCHEMA),
        ("organizations", json!({ "name": "A", "address": { "country": "EE" } }), SCHEMA),
        ("organizations", json!([{ "name": "A" }]), SCHEMA),
        // Keys.
        ("persons", json!({ "name": "A", "email": "a@b.example" }), SCHEMA),
        ("deals", json!({ "title": "A", "user_id": 1 }), SCHEMA),
        ("deals", json!({ "title": "A", "add_time": "2026-01-01T00:00:00Z" }), SCHEMA),
        ("activities", json!({ "subject": "A", "custom_fields": {} }), SCHEMA),
        ("organizations", json!({ "name": "A", "label": 1 }), SCHEMA),
        // Required.
        ("persons", json!({ "emails": [{ "value": "a@b.example" }] }), SCHEMA),
        ("organizations", json!({}), SCHEMA),
        ("deals", json!({ "value": 5 }), SCHEMA),
        // References and rules.
        ("persons", json!({ "name": "A", "owner_id": 99 }), RULE),
        ("persons", json!({ "name": "A", "owner_id": 3 }), RULE),
        ("persons", json!({ "name": "A", "org_id": 99 }), RULE),
        ("persons", json!({ "name": "A", "visible_to": 2 }), RULE),
        ("persons", json!({ "name": "A", "label_ids": [9999] }), RULE),
        ("persons", json!({ "name": " " }), RULE),
        (
            "persons",
            json!({ "name": "A", "emails": [{ "value": "a@b.example", "primary": true }, { "value": "c@d.example", "primary": true }] }),
            RULE,
        ),
        ("organizations", json!({ "name": "A", "industry": 9999 }), RULE),
        ("deals", json!({ "title": "A", "person_id": 99 }), RULE),
        ("deals", json!({ "title": "A", "stage_id": 99 }), RULE),
        ("deals", json!({ "title": "A", "pipeline_id": 99 }), RULE),
        ("deals", json!({ "title": "A", "pipeline_id": 1, "stage_id": 5 }), RULE),
        ("deals", json!({ "title": "A", "currency": "QQQ" }), RULE),
        ("deals", json!({ "title": "A", "lost_reason": "price" }), RULE),
        ("deals", json!({ "title": "A", "won_time": "2026-01-01T00:00:00Z" }), RULE),
        ("deals", json!({ "title": "A", "probability": 101 }), RULE),
        ("activities", json!({ "subject": "A", "person_id": 1 }), RULE),
        ("activities", json!({ "subject": "A", "type": "Call" }), RULE),
        ("activities", json!({ "subject": "A", "deal_id": 99 }), RULE),
        ("activities", json!({ "subject": "A", "lead_id": "b08f8a3c-3b3f-4a3c-9a55-0d6f3bb0a001" }), RULE),
        ("activities", json!({ "subject": "A", "participants": [{ "person_id": 99, "primary": true }] }), RULE),
        ("activities", json!({ "subject": "A", "priority": 9999 }), RULE),
        ("activities", json!({ "subject": "A", "project_id": 1 }), RULE),
    ];
    for (kind, body, code) in cases {
        let (status, answer) = call(&mock, Method::Post, &format!("/api/v2/{kind}"), body.clone()).await;
        assert_eq!((status, &answer["code"]), (400, &json!(code)), "{kind} {body}: {answer}");
        assert_eq!(answer["success"], false);
    }
    let after = mock.count("persons") + mock.count("organizations") + mock.count("deals") + mock.count("activities");
    assert_eq!(before, after, "a refused body leaves nothing behind");
}

#[tokio::test]
async fn every_problem_of_a_body_is_named_at_its_place() {
    let mock = plain();
    let text =
        refused(&mock, Method::Post, "/api/v2/persons", json!({ "name": 1, "colour": "red", "phones": [{ "value": 5 }] })).await;
    assert!(text.starts_with("Validation failed: "), "{text}");
    for part in ["name: Expected string, received number", "Parameter 'colour' is not allowed for this request", "phones.0.value"]
    {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
}

#[tokio::test]
async fn custom_fields_are_held_to_the_shape_of_their_type() {
    let mock = plain();
    let key = |name: &str| mock.custom_key("persons", name).expect("the field");
    let good = [
        ("Segment User ID", json!("u-1")),
        ("Description", json!("long")),
        ("Score", json!(1.5)),
        ("Hotline", json!("+372 555")),
        ("Source tag", json!("x")),
        ("Plan", json!(mock.option_id("persons", "Plan", "Pro"))),
        ("Interests", json!([mock.option_id("persons", "Interests", "Reporting")])),
        ("Lifetime Value", json!({ "value": 5, "currency": "USD" })),
        ("Signup Date", json!("2026-02-28")),
        ("Contract term", json!({ "value": "2026-01-01", "until": "2026-02-01" })),
        ("Best time to call", json!({ "value": "09:00" })),
        ("Office hours", json!({ "value": "09:00", "until": "17:00:00" })),
        ("Billing address", json!({ "value": "1 Main Street", "country": "EE" })),
        ("Account manager", json!(2)),
        ("Partner organization", json!(1)),
        ("Referred by", json!(1)),
    ];
    for (name, value) in good {
        let body = json!({ "name": "A", "custom_fields": { key(name): value } });
        done(&mock, Method::Post, "/api/v2/persons", body).await;
    }
    let bad = [
        ("Segment User ID", json!(1)),
        ("Segment User ID", json!("x".repeat(256))),
        ("Score", json!("1.5")),
        ("Plan", json!("Pro")),
        ("Plan", json!(9999)),
        ("Interests", json!([])),
        ("Interests", json!("1,2")),
        ("Interests", json!([9999])),
        ("Lifetime Value", json!(5)),
        ("Lifetime Value", json!({ "value": "5", "currency": "USD" })),
        ("Lifetime Value", json!({ "value": 5, "currency": "ZZZ" })),
        ("Signup Date", json!("2026-02-30")),
        ("Signup Date", json!("2026-02-28T00:00:00Z")),
        ("Contract term", json!({ "value": "2026-01-01" })),
        ("Best time to call", json!("09:00")),
        ("Office hours", json!({ "value": "09:00", "until": "25:00" })),
        ("Billing address", json!("1 Main Street")),
        ("Billing address", json!({ "country": "EE" })),
        ("Account manager", json!(99)),
        ("Partner organization", json!({ "id": 1 })),
        ("Referred by", json!(99)),
    ];
    for (name, value) in bad {
        let body = json!({ "name": "A", "custom_fields": { key(name): value.clone() } });
        let (status, answer) = call(&mock, Method::Post, "/api/v2/persons", body).await;
        assert_eq!((status, &answer["code"]), (400, &json!(SCHEMA)), "{name} {value}: {answer}");
    }
    // A key that the account does not have, inside and at the root, fails the whole request.
    let foreign = mock.custom_key("organizations", "Tier").expect("the field");
    for body in [
        json!({ "name": "A", "custom_fields": { &foreign: 1 } }),
        json!({ "name": "A", key("Score"): 1 }),
        json!({ "name": "A", "custom_fields": { "Score": 1 } }),
    ] {
        assert!(refused(&mock, Method::Post, "/api/v2/persons", body).await.contains("is not allowed for this request"));
    }
    // The trap of an empty date, kept as it is.
    let made =
        done(&mock, Method::Post, "/api/v2/persons", json!({ "name": "A", "custom_fields": { key("Signup Date"): "" } })).await;
    assert_eq!(made["custom_fields"][key("Signup Date")], "0000-00-00");
}

#[tokio::test]
async fn a_deleted_field_is_unknown_from_then_on() {
    let mock = plain();
    let key = mock.custom_key("deals", "Score").expect("the field");
    done(&mock, Method::Patch, "/api/v2/deals/1", json!({ "custom_fields": { &key: 5 } })).await;
    done(&mock, Method::Delete, &format!("/api/v2/dealFields/{key}"), json!({})).await;
    refused(&mock, Method::Patch, "/api/v2/deals/1", json!({ "custom_fields": { &key: 6 } })).await;
    assert!(mock.entity("deals", 1).expect("the deal")["custom_fields"].get(&key).is_none());
    assert_eq!(call(&mock, Method::Delete, "/api/v2/dealFields/title", json!({})).await.0, 403, "a standard field stays");
}

#[tokio::test]
async fn queries_are_held_to_their_declaration() {
    let mock = plain();
    for (path, name, value) in [
        ("/api/v2/persons", "email", "a@b.example"),
        ("/api/v2/persons", "limit", "501"),
        ("/api/v2/persons", "limit", "0"),
        ("/api/v2/persons", "sort_by", "name"),
        ("/api/v2/persons", "ids", "1,x"),
        ("/api/v2/persons", "start", "0"),
        ("/api/v2/deals", "status", "closed"),
        ("/api/v2/deals", "include_fields", "next_activity_id,everything"),
        ("/api/v2/activities", "done", "1"),
        ("/api/v2/activities", "type", "call"),
        ("/api/v2/persons", "cursor", "not a cursor"),
        ("/api/v1/leads", "cursor", "x"),
        ("/api/v1/leads", "sort", "colour"),
    ] {
        let (status, answer) = send(&mock, Request::get(path).query(name, value)).await;
        assert_eq!(status, 400, "{path} {name}={value}: {answer}");
    }
    let many: Vec<String> = (1..=101).map(|n| n.to_string()).collect();
    assert_eq!(send(&mock, Request::get("/api/v2/persons").query("ids", many.join(","))).await.0, 400);
    let keys = vec!["k"; 16].join(",");
    assert_eq!(send(&mock, Request::get("/api/v2/persons").query("custom_fields", keys)).await.0, 400);
}

#[tokio::test]
async fn withdrawn_and_unknown_endpoints_are_noticed() {
    let mock = plain();
    for path in ["/v1/persons", "/api/v1/deals", "/v1/itemSearch", "/v1/personFields", "/v1/activities/1", "/v1/stages"] {
        assert_eq!(get(&mock, path).await.0, 410, "{path}");
    }
    for path in ["/api/v2/leads", "/api/v2/notes", "/api/v2/users", "/api/v3/persons", "/persons", "/v2/persons"] {
        assert_eq!(get(&mock, path).await.0, 404, "{path}");
    }
    assert_eq!(call(&mock, Method::Put, "/api/v2/persons/1", json!({ "name": "A" })).await.0, 405);
    let (status, answer) = get(&mock, "/api/v2/persons/9999").await;
    assert_eq!((status, &answer["success"]), (404, &json!(false)));
}
