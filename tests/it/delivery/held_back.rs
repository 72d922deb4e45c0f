//! Deliveries that are held back between their look-ups and their first write: what they looked up is not paid for again.

use pipewright::delivery::Scope;
use pipewright::mock::{Fault, FaultMatch, Hold};
use pipewright::pipedrive::Method;
use pipewright::store::DeliveryState;
use serde_json::json;

use super::harness::{PERSON, Rig, Setup};
use crate::support::wait_until;

/// Searches that were sent.
fn searches(rig: &Rig) -> usize {
    rig.calls(Method::Get, "earch").len()
}

#[tokio::test]
async fn what_was_found_before_the_first_write_counts_on_the_next_try() {
    let rig = Setup::person(PERSON).start().await;
    // 429 and no connection: nothing was carried out, and the plan is pinned.
    let busy = Fault::TooMany { remaining: 0, reset: 1, retry_after: Some(1) };
    rig.mock.fail_matching(FaultMatch::next(Method::Post, "/api/v2/persons"), busy);
    rig.mock.fail_matching(FaultMatch { times: 2, ..FaultMatch::next(Method::Post, "/api/v2/persons") }, Fault::NoConnection);
    let row = rig.run("u1", json!({ "name": "Ada" })).await;
    assert_eq!((row.state, row.attempts), (DeliveryState::Done, 2), "the 429 is charged to nobody");
    assert_eq!((searches(&rig), rig.calls(Method::Post, "/api/v2/persons").len()), (1, 4));
    assert_eq!(rig.persons("u1"), 1);
}

#[tokio::test]
async fn a_person_that_was_found_is_not_searched_again_either() {
    let rig = Setup::person(PERSON).start().await;
    let key = rig.key("persons", "Segment User ID");
    rig.aside("/api/v2/persons", json!({ "name": "Old", "custom_fields": { key: "u1" } }));
    rig.mock.fail_matching(FaultMatch { times: 2, ..FaultMatch::next(Method::Patch, "/api/v2/persons") }, Fault::NoConnection);
    assert_eq!(rig.run("u1", json!({ "name": "Ada" })).await.state, DeliveryState::Done);
    assert_eq!((searches(&rig), rig.calls(Method::Patch, "/api/v2/persons").len()), (1, 3));
    assert_eq!(rig.person("u1")["name"], "Ada");
}

#[tokio::test]
async fn a_link_is_looked_up_once() {
    let deal = r#"fn handle(event) {
        deal::create(#{ title: "Big", person_id: by(#{ "Segment User ID": event.userId }) });
    }"#;
    let rig = Setup::new().rule("deal", "type = \"track\"", deal).start().await;
    let key = rig.key("persons", "Segment User ID");
    let person = rig.aside("/api/v2/persons", json!({ "name": "Ada", "custom_fields": { key: "u1" } }));
    rig.mock.fail_matching(FaultMatch::next(Method::Post, "/api/v2/deals"), Fault::NoConnection);
    rig.track("u1", "Bought", json!({})).await;
    rig.settled().await;
    assert_eq!(rig.mock.entities("deals")[0]["person_id"], person["id"]);
    assert_eq!(searches(&rig), 1);
}

#[tokio::test]
async fn a_link_that_is_not_there_yet_is_waited_for_before_anything_else_is_looked_up() {
    let deal = r#"fn handle(event) {
        deal::upsert(#{ "Segment Deal ID": event.properties.id },
            #{ title: "Big", person_id: by(#{ "Segment User ID": event.userId }) });
    }"#;
    let rig = Setup::person(PERSON).rule("deal", "type = \"track\"", deal).start().await;
    let waiting = rig.track("u1", "Bought", json!({ "id": "d1" })).await;
    let record = rig.outcome(&waiting, "parked").await;
    assert_eq!((record["tokens"].as_u64(), searches(&rig)), (Some(20), 1), "the person, and not the deal");
    rig.identify("u1", json!({ "name": "Ada" })).await;
    rig.settled().await;
    assert_eq!(rig.mock.entities("deals")[0]["person_id"], rig.person("u1")["id"]);
    assert_eq!(searches(&rig), 3, "the person for each of the two, and the deal");
}

#[tokio::test]
async fn where_creates_are_scarce_only_who_has_a_place_looks_up() {
    let rig = Setup::new().rule_with("person", "type = \"identify\"", PERSON, "max_creates_per_hour = 1").start().await;
    for n in 0..12 {
        rig.identify(&format!("u{n}"), json!({ "name": "Ada" })).await;
    }
    let held = async |persons: usize| {
        wait_until("the rule is held", async || {
            let paused = rig.rule_status("person").await.paused.is_some() && rig.account_status().await.running == 0;
            (paused && rig.mock.count("persons") == persons).then_some(())
        })
        .await;
    };
    held(1).await;
    let first = searches(&rig);
    assert!(first <= 9, "each that was under way, once: {first}");
    for more in 1..=3 {
        rig.daemon().delivery().resume(Scope::Rule("person".into())).await.expect("resumed");
        held(1 + more).await;
        assert_eq!(searches(&rig), first + more, "one look-up for each that is created");
    }
}

#[tokio::test]
async fn who_has_to_wait_for_what_another_delivery_finds_out_looks_up_nothing() {
    let patient = "retry_first = \"1h\"\nretry_max = \"1h\"\n";
    let rig = Setup::person(PERSON)
        .rule_with("other", "type = \"track\"", PERSON, "order_by = \"messageId\"")
        .delivery(patient)
        .start()
        .await;
    // Created, and neither the answer nor the list of changes tells.
    rig.mock.fail_matching(FaultMatch::next(Method::Post, "/api/v2/persons"), Fault::Cut { committed: true });
    rig.mock.fail_matching(FaultMatch::always("updated_since"), Fault::NoConnection);
    let first = rig.identify("u1", json!({ "name": "Ada" })).await;
    rig.outcome(&first, "retry").await;
    let before = searches(&rig);
    let second = rig.track("u1", "Bought", json!({})).await;
    let record = rig.outcome(&second, "wait").await;
    assert!(record["reason"].as_str().expect("a reason").contains("finds out first"), "{record:#}");
    assert_eq!((record["tokens"].as_u64(), searches(&rig)), (Some(0), before));
}

#[tokio::test]
async fn who_comes_while_another_lane_creates_it_waits_for_that_and_looks_up_nothing() {
    let rig = Setup::person(PERSON).rule_with("other", "type = \"track\"", PERSON, "order_by = \"messageId\"").start().await;
    let hold = Hold::new();
    rig.mock.fail_matching(FaultMatch::next(Method::Post, "/api/v2/persons"), Fault::Hold(hold.clone()));
    rig.identify("u1", json!({ "name": "Ada" })).await;
    hold.reached().await;
    let other = rig.track("u1", "Bought", json!({})).await;
    wait_until("both are under way", async || (rig.status().await.running == 2).then_some(())).await;
    hold.release();
    rig.settled().await;
    let row = rig.row(&other).await;
    assert_eq!((row.state, rig.records(&row.id).await.len()), (DeliveryState::Done, 1), "it did not even give way");
    assert_eq!((searches(&rig), rig.persons("u1")), (1, 1));
}
