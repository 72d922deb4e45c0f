//! What scripts read while they decide.

use pipewright::mock::{Fault, FaultMatch, Hold};
use pipewright::pipedrive::Method;
use pipewright::store::DeliveryState;
use serde_json::json;

use super::harness::{PERSON, Setup};

#[tokio::test]
async fn a_read_sees_the_writes_that_the_plan_asked_for_before_it() {
    let script = r#"
        fn handle(event) {
            let id = #{ "Segment User ID": event.userId };
            let nobody = person::find(id);
            person::upsert(id, #{ name: "Ada", "Plan": "Pro" });
            let there = person::find(id);
            note::create(#{ content: `${nobody == ()} ${there.name} ${there["Plan"]}`, person_id: by(id) });
        }"#;
    let rig = Setup::person(script).start().await;
    let row = rig.run("u1", json!({})).await;
    assert_eq!(row.state, DeliveryState::Done, "{:?}", row.reason);
    assert_eq!(rig.mock.entities("notes")[0]["content"], "true Ada Pro");
}

#[tokio::test]
async fn the_memo_answers_the_runs_that_follow() {
    let script = r#"
        fn handle(event) {
            let a = person::find(#{ email: "a@acme.com" });
            let b = person::find(#{ email: "b@acme.com" });
            let me = pipedrive::request("GET", "/api/v1/users/me");
            person::upsert(#{ "Segment User ID": event.userId }, #{ name: `${a.name} ${b.name} ${me.data.name}` });
        }"#;
    let rig = Setup::person(script).start().await;
    for name in ["a", "b"] {
        rig.aside("/api/v2/persons", json!({ "name": name, "emails": [{ "value": format!("{name}@acme.com") }] }));
    }
    rig.mock.clear_log();
    let row = rig.run("u1", json!({})).await;
    assert_eq!(row.state, DeliveryState::Done, "{:?}", row.reason);
    assert_eq!(rig.person("u1")["name"], "a b Ada Lovelace");
    assert_eq!(rig.calls(Method::Get, "/persons/search").len(), 2);
    assert_eq!(rig.calls(Method::Get, "/users/me").len(), 1);
    assert_eq!(rig.record(&row.id).await["reads"].as_array().map(Vec::len), Some(3));
}

#[tokio::test]
async fn a_failed_read_is_tried_again_and_nothing_was_decided_by_it() {
    let script = r#"
        fn handle(event) {
            if person::find(#{ email: "a@acme.com" }) == () { person::create(#{ name: "Double" }); }
        }"#;
    let rig = Setup::person(script).start().await;
    rig.aside("/api/v2/persons", json!({ "name": "a", "emails": [{ "value": "a@acme.com" }] }));
    rig.mock
        .fail_matching(FaultMatch { path: Some("/persons/search".into()), times: 2, ..FaultMatch::default() }, Fault::Truncated);
    let row = rig.run("u1", json!({})).await;
    assert_eq!((row.state, row.attempts), (DeliveryState::Skipped, 2));
    assert_eq!(rig.mock.count("persons"), 1);
}

#[tokio::test]
async fn a_set_that_is_swapped_between_two_runs_starts_afresh() {
    let reading = |mark: &str| {
        format!(
            "fn handle(event) {{ let a = person::find(#{{ email: \"a@acme.com\" }}); \
             person::upsert(#{{ \"Segment User ID\": event.userId }}, #{{ name: \"{mark}\" }}); }}"
        )
    };
    let rig = Setup::person(&reading("first")).start().await;
    let hold = Hold::new();
    rig.mock.fail_matching(FaultMatch::next(Method::Get, "/persons/search"), Fault::Hold(hold.clone()));
    let id = rig.identify("u1", json!({})).await;
    hold.reached().await;
    rig.edit("person", &reading("second")).await;
    hold.release();
    rig.settled().await;
    assert_eq!(rig.person("u1")["name"], "second");
    let row = rig.row(&id).await;
    assert_eq!((row.state, row.attempts), (DeliveryState::Done, 0));
    assert_eq!(rig.record(&row.id).await["reads"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_read_sees_what_earlier_deliveries_of_the_lane_have_written() {
    let counting = r#"
        fn handle(event) {
            let there = person::find(#{ "Segment User ID": event.userId });
            person::update(#{ "Segment User ID": event.userId }, #{ name: there.name + "!" });
        }"#;
    let rig = Setup::person(PERSON).rule("counting", "type = \"track\"", counting).start().await;
    rig.mock.set_search_lag(std::time::Duration::from_secs(3600));
    rig.identify("u1", json!({ "name": "Ada" })).await;
    for _ in 0..3 {
        rig.track("u1", "Seen", json!({})).await;
    }
    rig.settled().await;
    assert_eq!(rig.person("u1")["name"], "Ada!!!");
}

#[tokio::test]
async fn what_a_read_did_not_find_is_not_searched_again_for_a_link() {
    let script = r#"
        fn handle(event) {
            let id = #{ "Segment User ID": event.userId };
            let there = person::find(id) != ();
            note::create(#{ content: `${there}`, person_id: by(id) });
        }"#;
    let rig = Setup::person(script).start().await;
    let waits = rig.identify("u1", json!({})).await;
    rig.outcome(&waits, "parked").await;
    assert_eq!(rig.calls(Method::Get, "/itemSearch/field").len(), 1);

    // Nor under another id of the user.
    rig.send(json!({ "type": "alias", "userId": "u2", "previousId": "p2" })).await;
    let waits = rig.identify("u2", json!({})).await;
    rig.outcome(&waits, "parked").await;
    assert_eq!(rig.calls(Method::Get, "/itemSearch/field").len(), 1 + 2);
}
