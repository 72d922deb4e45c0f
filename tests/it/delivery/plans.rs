//! Plans: refused whole, pinned before the first write, resumed as they were made.

use pipewright::mock::{Fault, FaultMatch, Hold};
use pipewright::pipedrive::Method;
use pipewright::store::DeliveryState;
use serde_json::json;

use super::harness::Setup;

const TWO: &str = r#"
fn handle(event) {
    let who = person::upsert(#{ "Segment User ID": event.userId }, #{ name: "First script" });
    deal::create(#{ title: "First script", person_id: who });
}
"#;

fn second() -> String {
    TWO.replace("First script", "Second script")
}

#[tokio::test]
async fn a_script_error_or_a_plan_problem_has_sent_no_write() {
    let before = "person::upsert(#{ \"Segment User ID\": event.userId }, #{ name: \"Ada\" });";
    for (after, says) in [
        ("throw \"halt\";", "halt"),
        ("let none = 0; let x = 5 / none;", "ivision"),
        ("let i = 0; loop { i += 1; }", "operations"),
        ("deal::create(#{ title: \"x\", person_id: 1, value: \"lots\" });", "value"),
        ("deal::create(#{ title: \"x\" });", "link"),
        ("person::create(#{ emails: \"a@b.example\" });", "name"),
        ("fail(\"no thanks\");", "no thanks"),
    ] {
        let rig = Setup::person(&format!("fn handle(event) {{ {before} {after} }}")).start().await;
        let row = rig.run("u1", json!({})).await;
        assert_eq!(row.state, DeliveryState::Dead, "{after}");
        assert!(row.reason.clone().expect("a reason").contains(says), "{after}: {:?}", row.reason);
        assert!(rig.writes().is_empty(), "{after}: {:?}", rig.writes());
    }
}

#[tokio::test]
async fn a_pinned_plan_is_resumed_at_its_first_unfinished_step_whatever_was_reloaded() {
    for crash in [false, true] {
        let mut rig = Setup::person(TWO).start_apart().await;
        let deals = FaultMatch { method: Some(Method::Post), ..FaultMatch::always("/api/v2/deals") };
        rig.mock.fail_matching(deals, Fault::NoConnection);
        let id = rig.identify("u1", json!({})).await;
        rig.outcome(&id, "retry").await;
        rig.edit("person", &second()).await;
        if crash {
            rig.crash().await;
        }
        rig.mock.clear_faults();
        rig.settled().await;
        let row = rig.row(&id).await;
        assert_eq!(row.state, DeliveryState::Done, "{:?}", row.reason);
        assert_eq!(rig.mock.entities("deals")[0]["title"], "First script");
        assert_eq!(rig.calls(Method::Post, "/api/v2/persons").len(), 1);
        assert_eq!(rig.person("u1")["name"], "First script");
        let record = rig.record(&row.id).await;
        assert_eq!((&record["resumed"], &record["steps"][0]["state"]["effect"]), (&json!(true), &json!("created")));
        assert_ne!(record["version"], json!(rig.daemon().live().load().version));
        assert_eq!(rig.run("u2", json!({})).await.state, DeliveryState::Done);
        assert_eq!(rig.person("u2")["name"], "Second script");
    }
}

#[tokio::test]
async fn before_the_pin_the_script_of_now_is_used() {
    let rig = Setup::person(TWO).start().await;
    // While its match is looked up, the script is edited.
    let hold = Hold::new();
    rig.mock.fail_matching(FaultMatch::next(Method::Get, "/itemSearch"), Fault::Hold(hold.clone()));
    let id = rig.identify("u1", json!({})).await;
    hold.reached().await;
    rig.edit("person", &second()).await;
    hold.release();
    rig.settled().await;
    assert_eq!(rig.person("u1")["name"], "Second script");
    // And while it waits for a retry.
    rig.mock.fail_matching(FaultMatch::always("/itemSearch"), Fault::NoConnection);
    let waiting = rig.identify("u2", json!({})).await;
    rig.outcome(&waiting, "retry").await;
    rig.edit("person", TWO).await;
    rig.mock.clear_faults();
    rig.settled().await;
    assert_eq!(rig.person("u2")["name"], "First script");
    let row = rig.row(&id).await;
    assert_eq!((row.state, row.attempts), (DeliveryState::Done, 0));
}

#[tokio::test]
async fn a_script_that_asks_to_wait_is_run_again_then() {
    let script = "fn handle(event) { if event.traits?.ready != true { retry(\"not yet\", 3600); } person::upsert(#{ \"Segment User ID\": event.userId }, #{ name: \"Ada\" }); }";
    let rig = Setup::person(script).start().await;
    let id = rig.identify("u1", json!({})).await;
    let record = rig.outcome(&id, "retry").await;
    assert!(record["reason"].as_str().expect("a reason").contains("not yet"));
    let row = rig.row(&id).await;
    let wait = row.run_at.expect("a time").duration_since(row.received_at).as_secs();
    assert!((3590..3660).contains(&wait), "{wait}");
    assert!(rig.writes().is_empty());
}

#[tokio::test]
async fn nothing_to_do_is_skipped_with_the_reason() {
    for (script, says) in [("fn handle(event) { }", "asked for nothing"), ("fn handle(event) { skip(\"robots\"); }", "robots")] {
        let rig = Setup::person(script).start().await;
        let row = rig.run("u1", json!({})).await;
        assert_eq!(row.state, DeliveryState::Skipped);
        assert!(row.reason.expect("a reason").contains(says));
    }
}

#[tokio::test]
async fn no_attempt_that_wrote_is_lost_from_the_records() {
    let script = r#"
        fn handle(event) {
            let org = organization::create(#{ name: "Acme" });
            person::create(#{ name: event.traits.name, org_id: org });
        }"#;
    let rig = Setup::person(script).start().await;
    // Uncharged: the attempt waits and does not count, but it has created the organization.
    rig.mock.fail_matching(
        FaultMatch::next(Method::Post, "/api/v2/persons"),
        Fault::TooMany { remaining: 0, reset: 1, retry_after: None },
    );
    let row = rig.run("u1", json!({ "name": "Ada" })).await;
    assert_eq!(row.state, DeliveryState::Done, "{:?}", row.reason);
    let records = rig.records(&row.id).await;
    let sent: Vec<String> = records
        .iter()
        .flat_map(|record| record["exchanges"].as_array().cloned().unwrap_or_default())
        .filter(|exchange| exchange["method"] == "POST")
        .map(|exchange| format!("{} {}", exchange["path"].as_str().unwrap_or_default(), exchange["status"]))
        .collect();
    assert_eq!(sent, ["/api/v2/organizations 200", "/api/v2/persons 429", "/api/v2/persons 200"], "{records:?}");
}
