//! What delivery does not say or do: personal data in logs, writes while they are off.

use pipewright::mock::{Fault, FaultMatch};
use pipewright::pipedrive::Method;
use pipewright::store::DeliveryState;
use serde_json::json;

use super::harness::Setup;
use crate::support::{Logs, get};

#[tokio::test]
async fn neither_secrets_nor_personal_data_reach_the_log_or_the_metrics() {
    let logs = Logs::capture();
    let script = r#"
        fn handle(event) {
            let t = event.traits;
            if t?.how == "throw" { throw `cannot take ${t.email}`; }
            if t?.how == "fail" { fail(`cannot take ${t.email}`); }
            if t?.how == "retry" { retry(`cannot take ${t.email} yet`, 1); }
            log::warn(`looking at ${t.email}`);
            person::upsert([#{ "Segment User ID": event.userId }, #{ email: t.email }], #{ name: t.name, emails: t.email, "Plan": t?.plan });
        }"#;
    let rig = Setup::person(script).delivery("retry_first = \"5ms\"\nretry_max = \"5ms\"\nmax_attempts = 2").start().await;
    let traits = |more: serde_json::Value| {
        let mut traits = json!({ "name": "Quintessa Secretname", "email": "quintessa@private.example" });
        traits.as_object_mut().expect("a map").extend(more.as_object().expect("a map").clone());
        traits
    };
    for how in ["throw", "fail", "retry"] {
        rig.run("user-4711", traits(json!({ "how": how }))).await;
    }
    let refusal = json!({ "success": false, "error": "quintessa@private.example is no good" });
    for status in [400, 401, 500] {
        rig.mock
            .fail_matching(FaultMatch::next(Method::Post, "/api/v2/persons"), Fault::Status { status, body: refusal.clone() });
    }
    for _ in 0..3 {
        rig.run("user-4711", traits(json!({}))).await;
    }
    rig.run("user-4711", traits(json!({ "plan": "Quintessas own plan" }))).await;
    assert!(rig.count(DeliveryState::Dead).await >= 4);
    let metrics = get(rig.daemon().admin_addr(), "/metrics").await.text();
    let text = logs.text();
    assert!(text.contains("delivery failed") && text.contains("will be tried again") && text.contains("paused"), "{text}");
    for private in ["uintessa", "Secretname", "user-4711", "private.example"] {
        let line = text.lines().find(|line| line.contains(private));
        assert_eq!(line, None, "{private} is in the log");
        assert!(!metrics.contains(private), "{private} is in the metrics");
    }
}

#[tokio::test]
async fn with_writes_off_nothing_is_sent_or_learned_and_deliveries_end_as_observed() {
    let script = r#"
        fn handle(event) {
            let org = organization::upsert(#{ "Segment Group ID": "g1" }, #{ name: "Acme" });
            let who = person::upsert(#{ "Segment User ID": event.userId }, #{ name: event.traits.name, org_id: org });
            note::create(#{ content: "Hello", person_id: who });
            pipedrive::request("POST", "/api/v2/persons", #{ name: "Raw" });
        }"#;
    let linked = "fn handle(event) { deal::create(#{ title: \"Big\", person_id: by(#{ \"Segment User ID\": event.userId }) }); }";
    let rig = Setup::person(script).rule("deal", "type = \"track\"", linked).account("writes = \"off\"").start().await;
    for _ in 0..2 {
        let row = rig.run("u1", json!({ "name": "Ada" })).await;
        assert_eq!(row.state, DeliveryState::Observed, "{:?}", row.reason);
        let record = rig.record(&row.id).await;
        let sent: Vec<_> = record["exchanges"].as_array().expect("a list").iter().filter(|e| e["method"] != "GET").collect();
        assert_eq!(sent.len(), 4, "{record:#}");
        assert!(sent.iter().all(|e| e["tokens"] == 0 && e["status"].is_null()));
        assert_eq!(record["steps"][1]["changes"][0]["after"], "Ada");
    }
    let id = rig.track("u1", "Bought", json!({})).await;
    rig.settled().await;
    assert_eq!(rig.row(&id).await.state, DeliveryState::Observed);
    assert!(rig.writes().is_empty(), "{:?}", rig.writes());
}

#[tokio::test]
async fn the_record_explains_the_delivery() {
    let script = r#"
        fn handle(event) {
            let before = person::find(#{ "Segment User ID": event.userId });
            log::info(`before: ${before == ()}`);
            person::upsert(#{ "Segment User ID": event.userId }, #{ name: event.traits.name });
        }"#;
    let rig = Setup::person(script).start().await;
    rig.run("u1", json!({ "name": "Ada" })).await;
    let row = rig.run("u1", json!({ "name": "Ada L" })).await;
    let record = rig.record(&row.id).await;
    assert_eq!(record["version"], json!(rig.daemon().live().load().version));
    assert!(record["version"].as_str().expect("text").starts_with(&row.version.expect("a version")));
    assert_eq!(record["reads"][0][1]["name"], "Ada");
    assert_eq!(record["logs"][0]["text"], "before: false", "{record:#}");
    let step = &record["steps"][0];
    assert_eq!((&step["verb"], &step["kind"], &step["at"]["line"]), (&json!("upsert"), &json!("person"), &json!(5)));
    assert_eq!(step["resolution"]["how"], "index");
    assert!(step["resolution"]["by"].as_str().expect("text").contains("u1"));
    let address = json!({ "standard": "name" });
    assert_eq!(
        step["changes"],
        json!([{ "field": "name", "before": "Ada", "after": "Ada L", "address": address, "before_is": "sent" }])
    );
    let exchanges = record["exchanges"].as_array().expect("a list");
    assert_eq!(
        exchanges.iter().map(|e| e["tokens"].as_u64().expect("a number")).sum::<u64>(),
        record["tokens"].as_u64().expect("a number")
    );
    let patch = exchanges.iter().find(|e| e["method"] == "PATCH").expect("the write");
    assert_eq!((&patch["status"], &patch["body"]), (&json!(200), &json!({ "name": "Ada L" })));
}
