//! `on_unknown: "create"`: options that the account does not have are added to it.

use pipewright::mock::{Fault, FaultMatch};
use pipewright::pipedrive::Method;
use pipewright::store::DeliveryState;
use serde_json::{Value, json};

use super::harness::{Rig, Setup};

const PLAN: &str = r#"
fn handle(event) {
    person::upsert(#{ "Segment User ID": event.userId },
                   #{ name: "Ada", "Plan": event.traits?.plan, "Interests": event.traits?.interests, labels: event.traits?.labels },
                   #{ on_unknown: "create" });
}
"#;

/// The labels of a field's options, as Pipedrive has them now.
fn options(rig: &Rig, path: &str) -> Vec<(Value, String)> {
    let answer = rig.mock.aside(&pipewright::pipedrive::Request::get(path));
    let pipewright::pipedrive::Body::Json(body) = answer.body else { panic!("JSON") };
    let all = if body["data"].is_array() { &body["data"] } else { &body["data"]["options"] };
    let name = |o: &Value| o["label"].as_str().or_else(|| o["name"].as_str()).expect("a name").to_owned();
    all.as_array().expect("a list").iter().map(|o| (o["id"].clone(), name(o))).collect()
}

fn id_of(all: &[(Value, String)], label: &str) -> Value {
    let ids: Vec<&Value> = all.iter().filter(|(_, l)| l == label).map(|(id, _)| id).collect();
    assert_eq!(ids.len(), 1, "{label} in {all:?}");
    ids[0].clone()
}

fn plan_path(rig: &Rig) -> String {
    format!("/api/v2/personFields/{}", rig.key("persons", "Plan"))
}

#[tokio::test]
async fn options_and_labels_that_are_missing_are_added_once_and_the_record_says_so() {
    let rig = Setup::person(PLAN).start().await;
    let traits = json!({ "plan": "Gold", "interests": ["Go", "Shogi"], "labels": "Whale" });
    let row = rig.run("u1", traits.clone()).await;
    assert_eq!(row.state, DeliveryState::Done, "{:?}", row.reason);
    let interests = rig.key("persons", "Interests");
    let person = rig.person("u1");
    assert_eq!(person["custom_fields"][&rig.key("persons", "Plan")], id_of(&options(&rig, &plan_path(&rig)), "Gold"));
    let all = options(&rig, &format!("/api/v2/personFields/{interests}"));
    assert_eq!(person["custom_fields"][&interests], json!([id_of(&all, "Go"), id_of(&all, "Shogi")]));
    let labels = options(&rig, "/api/v2/personFields/label_ids");
    assert_eq!(person["label_ids"], json!([id_of(&labels, "Whale")]));
    let record = rig.record(&row.id).await;
    let warnings = record["steps"][0]["warnings"].to_string();
    for (label, field) in [("Gold", "Plan"), ("Go", "Interests"), ("Shogi", "Interests"), ("Whale", "labels")] {
        let says = format!("added the option `{label}` to `{field}` in Pipedrive (on_unknown: create)");
        assert!(warnings.contains(&says), "{says}: {warnings}");
    }
    let changes = record["steps"][0]["changes"].as_array().expect("a list");
    let plan = changes.iter().find(|c| c["field"] == "Plan").expect("the plan");
    let gold = id_of(&options(&rig, &plan_path(&rig)), "Gold");
    let address = json!({ "custom": rig.key("persons", "Plan") });
    assert_eq!(plan, &json!({ "field": "Plan", "before": null, "after": gold, "after_name": "Gold", "address": address }));
    assert!(changes.iter().any(|c| c["field"] == "Interests" && c["after_name"] == "Go, Shogi"), "{changes:?}");
    let added = rig.calls(Method::Post, "/options");
    assert_eq!(added.len(), 4);
    assert!(record["exchanges"].as_array().expect("a list").iter().any(|e| e["tokens"] == 5 && e["path"] == added[0].path));
    // Known from then on, also in another spelling.
    rig.mock.clear_log();
    rig.run("u2", json!({ "plan": " gold " })).await;
    assert!(rig.calls(Method::Post, "/options").is_empty());
    assert!(rig.calls(Method::Get, "Fields").is_empty());
}

#[tokio::test]
async fn an_option_is_added_once_however_many_want_it_and_whatever_became_of_the_answer() {
    let rig = Setup::person(PLAN).start().await;
    rig.mock.fail_matching(FaultMatch::next(Method::Post, "/options"), Fault::Cut { committed: true });
    for n in 0..6 {
        rig.identify(&format!("u{n}"), json!({ "plan": "Gold" })).await;
    }
    rig.settled().await;
    assert_eq!(rig.count(DeliveryState::Done).await, 6);
    id_of(&options(&rig, &plan_path(&rig)), "Gold");
    assert_eq!(rig.calls(Method::Post, "/options").len(), 1);
    // One that a person added since the fields were fetched is taken, not added beside it.
    let by_hand = pipewright::pipedrive::Request::new(Method::Post, format!("{}/options", plan_path(&rig)));
    assert_eq!(rig.mock.aside(&by_hand.body(json!([{ "label": "Silver" }]))).status, 200);
    rig.run("u9", json!({ "plan": "Silver" })).await;
    let silver = id_of(&options(&rig, &plan_path(&rig)), "Silver");
    assert_eq!(rig.person("u9")["custom_fields"][&rig.key("persons", "Plan")], silver);
}

#[tokio::test]
async fn a_lead_label_is_added_to_the_leads_own() {
    let script = r#"
        fn handle(event) {
            let who = person::upsert(#{ "Segment User ID": event.userId }, #{ name: "Ada" });
            lead::create(#{ title: "x", person_id: who, labels: ["Icy"] }, #{ on_unknown: "create" });
        }"#;
    let rig = Setup::person(script).start().await;
    let row = rig.run("u1", json!({})).await;
    assert_eq!(row.state, DeliveryState::Done, "{:?}", row.reason);
    rig.run("u2", json!({})).await;
    let icy = id_of(&options(&rig, "/api/v1/leadLabels"), "Icy");
    assert!(rig.mock.entities("leads").iter().all(|lead| lead["label_ids"] == json!([icy])));
    assert_eq!(rig.mock.count("leads"), 2);
}

#[tokio::test]
async fn nothing_is_added_for_a_plan_that_is_refused_nor_where_nothing_may_be_written() {
    let refused = PLAN.replace("name: \"Ada\"", "name: [1]");
    let rig = Setup::person(&refused).start().await;
    let row = rig.run("u1", json!({ "plan": "Gold" })).await;
    assert_eq!(row.state, DeliveryState::Dead);
    let reason = row.reason.expect("a reason");
    assert!(reason.contains("`name` takes text") && !reason.contains("more)"), "{reason}");
    assert!(rig.writes().is_empty(), "{:?}", rig.writes());
    let off = Setup::person(PLAN).account("writes = \"off\"").start().await;
    let row = off.run("u1", json!({ "plan": "Gold" })).await;
    assert_eq!(row.state, DeliveryState::Observed, "{:?}", row.reason);
    assert!(off.record(&row.id).await["steps"][0]["warnings"].to_string().contains("would add the option `Gold` to `Plan`"));
    assert!(off.writes().is_empty(), "{:?}", off.writes());
    // A list that free text runs into is no list.
    let many: Vec<String> = (0..21).map(|n| format!("i{n}")).collect();
    let rig = Setup::person(PLAN).start().await;
    let row = rig.run("u1", json!({ "interests": many })).await;
    assert_eq!(row.state, DeliveryState::Dead);
    assert!(row.reason.expect("a reason").contains("more than 20 options"));
    assert!(rig.writes().is_empty(), "{:?}", rig.writes());
}

#[tokio::test]
async fn what_cannot_be_added_is_refused_with_the_reason() {
    for (field, value, says) in [
        ("owner", "\"eve@acme.com\"", "users are invited"),
        ("\"Plan\"", "424242", "the id of an option"),
        ("\"Account manager\"", "\"nobody\"", "users are invited"),
    ] {
        let script = format!(
            "fn handle(event) {{ person::create(#{{ name: \"x\", {field}: {value} }}, #{{ on_unknown: \"create\" }}); }}"
        );
        let rig = Setup::person(&script).start().await;
        let row = rig.run("u1", json!({})).await;
        assert_eq!(row.state, DeliveryState::Dead, "{field}: {:?}", row.reason);
        let record = rig.record(&row.id).await.to_string();
        assert!(record.contains(says), "{field}: {record}");
        assert!(rig.writes().is_empty());
    }
}
