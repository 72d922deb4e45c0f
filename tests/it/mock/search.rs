//! Search: the index lags and holds ghosts; what matches what, and what a hit looks like.

use std::time::Duration;

use pipewright::mock::{Mock, MockOptions};
use pipewright::pipedrive::{Method, Request};
use serde_json::{Value, json};

use super::{data, done, manual, plain, send};

async fn hits(mock: &Mock, kind: &str, query: &[(&str, &str)]) -> Vec<Value> {
    let mut request = Request::get(format!("/api/v2/{kind}/search"));
    for (name, value) in query {
        request = request.query(name, *value);
    }
    let (status, answer) = send(mock, request).await;
    assert_eq!(status, 200, "{answer}");
    answer["data"]["items"].as_array().expect("items").iter().map(|i| i["item"].clone()).collect()
}

async fn in_field(mock: &Mock, entity: &str, field: &str, term: &str, how: &str) -> Vec<Value> {
    let request = Request::get("/api/v2/itemSearch/field")
        .query("entity_type", entity)
        .query("field", field)
        .query("term", term)
        .query("match", how);
    let (status, answer) = send(mock, request).await;
    assert_eq!(status, 200, "{answer}");
    answer["data"].as_array().expect("a list").clone()
}

fn lagging() -> std::sync::Arc<Mock> {
    manual(MockOptions { search_lag: Duration::from_secs(5), ..MockOptions::unlimited() })
}

#[tokio::test]
async fn a_write_is_found_only_after_the_lag_while_lists_see_it_at_once() {
    let mock = lagging();
    let body = json!({ "name": "New", "org_id": 1, "emails": [{ "value": "new@x.example" }] });
    let made = done(&mock, Method::Post, "/api/v2/persons", body).await;
    let query = [("term", "new@x.example"), ("fields", "email"), ("exact_match", "true")];
    assert!(hits(&mock, "persons", &query).await.is_empty());
    assert_eq!(data(&mock, "/api/v2/persons?org_id=1&sort_by=id&sort_direction=desc").await[0]["id"], made["id"]);
    mock.advance(Duration::from_millis(4_999));
    assert!(hits(&mock, "persons", &query).await.is_empty());
    mock.advance(Duration::from_millis(1));
    assert_eq!(hits(&mock, "persons", &query).await[0]["id"], made["id"]);

    let path = format!("/api/v2/persons/{}", made["id"]);
    done(&mock, Method::Patch, &path, json!({ "emails": [{ "value": "other@x.example" }] })).await;
    let stale = hits(&mock, "persons", &query).await;
    assert_eq!(stale[0]["emails"], json!(["new@x.example"]), "the index shows what it knows");
    mock.advance(Duration::from_secs(5));
    assert!(hits(&mock, "persons", &query).await.is_empty());
}

#[tokio::test]
async fn deleted_records_stay_as_ghosts_by_kind() {
    let mock = lagging();
    for (kind, id) in [("persons", 1), ("organizations", 1), ("deals", 1)] {
        done(&mock, Method::Delete, &format!("/api/v2/{kind}/{id}"), json!({})).await;
    }
    mock.advance(Duration::from_secs(6));
    assert_eq!(hits(&mock, "persons", &[("term", "Hank Scorpio")]).await.len(), 1, "a person for a while");
    assert_eq!(hits(&mock, "organizations", &[("term", "Globex Corporation")]).await.len(), 1);
    assert!(hits(&mock, "deals", &[("term", "Globex platform rollout")]).await.is_empty(), "a deal is dropped");
    mock.advance(Duration::from_secs(3_700));
    assert!(hits(&mock, "persons", &[("term", "Hank Scorpio")]).await.is_empty());
    mock.advance(Duration::from_secs(86_400 * 400));
    assert_eq!(hits(&mock, "organizations", &[("term", "Globex Corporation")]).await.len(), 1, "an organization for good");
}

#[tokio::test]
async fn exact_match_minds_no_case_and_the_field_search_does() {
    let mock = plain();
    assert_eq!(hits(&mock, "persons", &[("term", "HANK SCORPIO"), ("exact_match", "true")]).await.len(), 1);
    assert!(hits(&mock, "persons", &[("term", "HANK"), ("exact_match", "true")]).await.is_empty());
    assert_eq!(hits(&mock, "persons", &[("term", "scorp")]).await.len(), 1);
    assert!(hits(&mock, "persons", &[("term", "hank"), ("fields", "phone")]).await.is_empty());
    assert_eq!(hits(&mock, "persons", &[("term", "initech"), ("organization_id", "2")]).await.len(), 2);

    let domain = mock.custom_key("organizations", "Domain").expect("the field");
    assert_eq!(
        in_field(&mock, "organization", &domain, "globex.example", "exact").await,
        [json!({ "id": 1, "name": "Globex Corporation" })]
    );
    assert!(in_field(&mock, "organization", &domain, "Globex.example", "exact").await.is_empty());
    assert_eq!(in_field(&mock, "organization", &domain, "glo", "beginning").await.len(), 1);
    assert_eq!(in_field(&mock, "organization", &domain, ".example", "middle").await.len(), 3);
    assert_eq!(in_field(&mock, "deal", "title", "Umbrella pilot", "exact").await[0]["title"], "Umbrella pilot");
}

#[tokio::test]
async fn hits_have_plain_texts_and_custom_values_without_keys() {
    let mock = plain();
    let person =
        hits(&mock, "persons", &[("term", "u-1001"), ("fields", "custom_fields"), ("exact_match", "true")]).await.remove(0);
    assert_eq!(person["emails"], json!(["hank@globex.example"]));
    assert_eq!(person["custom_fields"], json!(["u-1001"]));
    assert_eq!(person["organization"]["name"], "Globex Corporation");
    assert_eq!(person["owner"], json!({ "id": 1 }));
    let deal = hits(&mock, "deals", &[("term", "Globex platform"), ("status", "open")]).await.remove(0);
    assert_eq!((&deal["stage"]["name"], &deal["is_archived"]), (&json!("Proposal"), &json!(false)));
    let lead = hits(&mock, "leads", &[("term", "demo"), ("person_id", "6")]).await.remove(0);
    assert_eq!((&lead["emails"], &lead["value"]), (&json!(["noor@example.com"]), &json!(900)));
    let by_note = hits(&mock, "deals", &[("term", "trade fair"), ("fields", "notes")]).await;
    assert_eq!(by_note[0]["id"], 1);
}

#[tokio::test]
async fn the_search_over_kinds_filters_and_pages() {
    let mock = plain();
    let request = |more: &[(&str, &str)]| {
        more.iter().fold(Request::get("/api/v2/itemSearch").query("term", "globex"), |r, (n, v)| r.query(n, *v))
    };
    let all = send(&mock, request(&[])).await.1;
    let types: Vec<&str> =
        all["data"]["items"].as_array().expect("items").iter().filter_map(|i| i["item"]["type"].as_str()).collect();
    assert!(types.contains(&"deal") && types.contains(&"organization") && types.contains(&"person"), "{types:?}");
    let page = send(&mock, request(&[("item_types", "person"), ("limit", "1")])).await.1;
    let cursor = page["additional_data"]["next_cursor"].as_str().expect("more").to_owned();
    let next = send(&mock, request(&[("item_types", "person"), ("limit", "1"), ("cursor", &cursor)])).await.1;
    assert_ne!(page["data"]["items"][0]["item"]["id"], next["data"]["items"][0]["item"]["id"]);
    assert_eq!(next["additional_data"]["next_cursor"], Value::Null);
    assert_eq!(send(&mock, request(&[("limit", "101")])).await.0, 400, "a hundred at most");
    let related = send(&mock, request(&[("item_types", "organization"), ("search_for_related_items", "true")])).await.1;
    assert_eq!(related["data"]["related_items"][0]["item"]["type"], "deal");
}

#[tokio::test]
async fn what_cannot_be_searched_is_refused() {
    let mock = plain();
    let plan = mock.custom_key("persons", "Plan").expect("the field");
    let interests = mock.custom_key("persons", "Interests").expect("the field");
    for (path, query) in [
        ("persons/search", vec![("term", "x")]),
        ("persons/search", vec![("term", ""), ("exact_match", "true")]),
        ("persons/search", vec![]),
        ("persons/search", vec![("term", "xx"), ("fields", plan.as_str())]),
        ("organizations/search", vec![("term", "xx"), ("fields", "email")]),
        ("itemSearch/field", vec![("term", "1"), ("entity_type", "person"), ("field", plan.as_str())]),
        ("itemSearch/field", vec![("term", "1"), ("entity_type", "person"), ("field", interests.as_str())]),
        ("itemSearch/field", vec![("term", "1"), ("entity_type", "activity"), ("field", "subject")]),
        ("itemSearch/field", vec![("term", "1"), ("entity_type", "person"), ("field", "owner_id")]),
        ("itemSearch/field", vec![("term", "1"), ("entity_type", "person")]),
    ] {
        let request = query.iter().fold(Request::get(format!("/api/v2/{path}")), |r, (n, v)| r.query(n, *v));
        let (status, answer) = send(&mock, request).await;
        assert_eq!(status, 400, "{path} {query:?}: {answer}");
    }
    let long = "x".repeat(300);
    assert_eq!(send(&mock, Request::get("/api/v2/persons/search").query("term", long)).await.0, 400);
}
