//! `by(..)`: links to what may not be there yet.

use pipewright::mock::{Fault, FaultMatch};
use pipewright::pipedrive::Method;
use pipewright::store::DeliveryState;
use serde_json::json;

use super::harness::{PERSON, Rig, Setup};
use crate::support::{get, wait_until};

fn deal(options: &str) -> String {
    format!(
        "fn handle(event) {{ deal::create(#{{ title: \"Big\", person_id: by(#{{ \"Segment User ID\": event.userId }}) }}, #{{ {options} }}); }}"
    )
}

#[tokio::test]
async fn a_missing_link_parks_outside_the_lane_and_the_person_wakes_it() {
    let rig = Setup::person(PERSON).rule("deal", "type = \"track\"", &deal("")).start().await;
    let waiting = rig.track("u1", "Bought", json!({})).await;
    let record = rig.outcome(&waiting, "parked").await;
    assert!(record["reason"].as_str().expect("a reason").contains("person"));
    assert!(rig.writes().is_empty());
    // The lane goes on, and what it does wakes the parked one.
    rig.identify("u1", json!({ "name": "Ada" })).await;
    rig.settled().await;
    let row = rig.row(&waiting).await;
    assert_eq!((row.state, row.attempts), (DeliveryState::Done, 0));
    assert_eq!(rig.mock.entities("deals")[0]["person_id"], rig.person("u1")["id"]);
}

#[tokio::test]
async fn lists_say_what_a_pending_delivery_waits_for() {
    let setup = Setup::person(PERSON).rule("deal", "type = \"track\"", &deal(""));
    let rig = setup.delivery("retry_first = \"1h\"\nretry_max = \"1h\"\n").start().await;
    let parked = rig.track("u1", "Bought", json!({})).await;
    rig.mock.fail_matching(FaultMatch::always("/api/v2/persons"), Fault::Cut { committed: false });
    let again = rig.identify("u2", json!({ "name": "Ada" })).await;
    for (id, outcome) in [(&parked, "parked"), (&again, "retry")] {
        let record = rig.outcome(id, outcome).await;
        let path = format!("/api/events?state=pending&message_id={id}");
        let listed = get(rig.daemon().admin_addr(), &path).await.json()["deliveries"].clone();
        assert_eq!(listed.as_array().map(Vec::len), Some(1), "{listed}");
        assert!(listed[0]["reason"].is_string(), "{listed}");
        assert_eq!(listed[0]["reason"], record["reason"], "{outcome}");
    }
    // What it waited for came: the list does not go on about it.
    rig.mock.clear_faults();
    rig.identify("u1", json!({ "name": "Grace" })).await;
    let done = wait_until("the deal is done", async || {
        let row = rig.row(&parked).await;
        (row.state == DeliveryState::Done).then_some(row)
    });
    assert_eq!(done.await.reason, None);
}

#[tokio::test]
async fn what_came_while_the_delivery_was_on_its_way_to_park_wakes_it_too() {
    let rig = Setup::person(PERSON).rule_with("deal", "type = \"track\"", &deal(""), "order_by = \"messageId\"").start().await;
    for n in 0..15 {
        let user = format!("u{n}");
        rig.track(&user, "Bought", json!({})).await;
        rig.identify(&user, json!({ "name": "Ada" })).await;
    }
    rig.settled().await;
    assert_eq!((rig.mock.count("deals"), rig.mock.count("persons")), (15, 15));
    assert_eq!(rig.count(DeliveryState::Done).await, 30);
}

#[tokio::test]
async fn after_link_wait_on_missing_decides() {
    for (options, state, deals) in [
        ("", DeliveryState::Dead, 0),
        ("on_missing: \"omit\", unlinked: true", DeliveryState::Done, 1),
        ("on_missing: \"omit\"", DeliveryState::Dead, 0),
    ] {
        let rig = Setup::new().rule_with("deal", "type = \"track\"", &deal(options), "link_wait = \"100ms\"").start().await;
        let id = rig.track("u1", "Bought", json!({})).await;
        rig.settled().await;
        let row = rig.row(&id).await;
        assert_eq!((row.state, rig.mock.count("deals")), (state, deals), "{options}: {:?}", row.reason);
        if state == DeliveryState::Done {
            let said = [
                "on_missing: omit: not found in time, left out: `person_id` (person, within 100ms)",
                "unlinked: created without a link to another entity",
            ];
            assert_eq!(rig.decisions(&row.id).await, said);
        }
    }
}

#[tokio::test]
async fn a_parked_delivery_parks_again_after_a_restart() {
    let mut rig = Setup::person(PERSON).rule("deal", "type = \"track\"", &deal("")).start().await;
    let waiting = rig.track("u1", "Bought", json!({})).await;
    rig.outcome(&waiting, "parked").await;
    rig.restart().await;
    let later = rig.track("u1", "Bought", json!({})).await;
    rig.outcome(&later, "parked").await;
    rig.identify("u1", json!({ "name": "Ada" })).await;
    rig.settled().await;
    assert_eq!(rig.mock.count("deals"), 2);
}

#[tokio::test]
async fn a_parked_delivery_can_be_discarded() {
    let rig = Setup::new().rule("deal", "type = \"track\"", &deal("")).start().await;
    let waiting = rig.track("u1", "Bought", json!({})).await;
    rig.outcome(&waiting, "parked").await;
    wait_until("it has left its lane", async || (rig.status().await.running == 0).then_some(())).await;
    let id = rig.row(&waiting).await.id;
    assert_eq!(rig.daemon().delivery().discard(vec![id]).await.expect("discarded"), 1);
    wait_until("nothing is left", async || (rig.status().await.lanes == 0).then_some(())).await;
}

#[tokio::test]
async fn a_link_to_what_the_same_plan_creates_does_not_wait() {
    let script = r#"
        fn handle(event) {
            person::upsert(#{ "Segment User ID": event.userId }, #{ name: "Ada" });
            deal::create(#{ title: "Big", person_id: by(#{ "Segment User ID": event.userId }) });
        }"#;
    let rig = Setup::person(script).start().await;
    rig.mock.set_search_lag(std::time::Duration::from_secs(3600));
    let row = rig.run("u1", json!({})).await;
    assert_eq!(row.state, DeliveryState::Done, "{:?}", row.reason);
    assert_eq!(rig.mock.entities("deals")[0]["person_id"], rig.person("u1")["id"]);
}

/// The person that the index knows was deleted in Pipedrive, and perhaps another one made.
async fn person_replaced(rig: &Rig, again: bool) -> serde_json::Value {
    rig.run("u1", json!({ "name": "Ada" })).await;
    rig.delete_aside(&format!("/api/v2/persons/{}", rig.person("u1")["id"]));
    if !again {
        return json!(null);
    }
    let custom = json!({ rig.key("person", "Segment User ID"): "u1" });
    rig.aside("/api/v2/persons", json!({ "name": "Ada", "custom_fields": custom }))["id"].clone()
}

#[tokio::test]
async fn a_link_to_what_was_deleted_is_looked_for_anew() {
    let rig = Setup::person(PERSON).rule("deal", "type = \"track\"", &deal("")).start().await;
    let other = person_replaced(&rig, true).await;
    let id = rig.track("u1", "Bought", json!({})).await;
    rig.settled().await;
    let row = rig.row(&id).await;
    assert_eq!((row.state, row.attempts), (DeliveryState::Done, 0), "{:?}", row.reason);
    assert_eq!(rig.mock.entities("deals")[0]["person_id"], other);
    let warnings = &rig.record(&row.id).await["steps"][0]["warnings"];
    assert!(warnings.to_string().contains("found anew"), "{warnings}");
    // The index has forgotten the old one: nothing is refused again.
    rig.track("u1", "Bought", json!({})).await;
    rig.settled().await;
    assert_eq!(rig.calls(Method::Post, "/api/v2/deals").len(), 3);
}

#[tokio::test]
async fn a_link_to_what_was_deleted_fails_for_good_when_no_other_is_found() {
    for (options, state) in [("", DeliveryState::Dead), ("on_missing: \"omit\", unlinked: true", DeliveryState::Done)] {
        let rig = Setup::person(PERSON).rule("deal", "type = \"track\"", &deal(options)).start().await;
        person_replaced(&rig, false).await;
        let id = rig.track("u1", "Bought", json!({})).await;
        rig.settled().await;
        let row = rig.row(&id).await;
        assert_eq!(row.state, state, "{:?}", row.reason);
        if state == DeliveryState::Dead {
            let reason = row.reason.expect("a reason");
            assert!(reason.contains("not in Pipedrive any more"), "{reason}");
        }
    }
}

#[tokio::test]
async fn a_404_for_a_link_is_not_taken_for_the_entity_itself() {
    let script = r#"
        fn handle(event) {
            deal::upsert(#{ "Segment Deal ID": "d1" }, #{ title: event.event, person_id: by(#{ "Segment User ID": event.userId }) });
        }"#;
    let rig = Setup::person(PERSON).rule("deal", "type = \"track\"", script).start().await;
    rig.run("u1", json!({ "name": "Ada" })).await;
    rig.track("u1", "Bought", json!({})).await;
    rig.settled().await;
    let other = person_replaced(&rig, true).await;
    let fault = Fault::Status { status: 404, body: json!({ "success": false, "error": "Person not found" }) };
    rig.mock.fail_matching(FaultMatch::next(Method::Patch, "/api/v2/deals"), fault);
    let id = rig.track("u1", "Renewed", json!({})).await;
    rig.settled().await;
    assert_eq!(rig.row(&id).await.state, DeliveryState::Done);
    let deals = rig.mock.entities("deals");
    assert_eq!(deals.len(), 1);
    assert_eq!((&deals[0]["title"], &deals[0]["person_id"]), (&json!("Renewed"), &other));
}

/// A deal whose person is waited for, and whose organization for this many seconds.
fn two_links(wait: &str) -> String {
    format!(
        "fn handle(event) {{ deal::create(#{{ title: \"Big\", person_id: by(#{{ \"Segment User ID\": event.userId }}), \
         org_id: by(#{{ \"Segment Group ID\": \"g1\" }}, #{{ wait: {wait} }}) }}, #{{ on_missing: \"omit\" }}); }}"
    )
}

#[tokio::test]
async fn a_link_with_a_wait_of_its_own_holds_nothing_up() {
    let rig = Setup::person(PERSON).rule("deal", "type = \"track\"", &two_links("0")).start().await;
    // The person is unknown still, so the deal waits, whatever the organization's time is.
    let first = rig.track("u1", "Bought", json!({})).await;
    let record = rig.outcome(&first, "parked").await;
    assert!(record["reason"].as_str().expect("a reason").contains("person"), "{record}");
    rig.identify("u1", json!({ "name": "Ada" })).await;
    rig.settled().await;
    // Now it is known, and nothing is waited for.
    let second = rig.track("u1", "Bought", json!({})).await;
    rig.settled().await;
    for id in [first, second] {
        assert_eq!(rig.row(&id).await.state, DeliveryState::Done);
    }
    for deal in rig.mock.entities("deals") {
        assert_eq!((&deal["person_id"], &deal["org_id"]), (&rig.person("u1")["id"], &json!(null)));
    }
}

#[tokio::test]
async fn a_link_with_a_wait_of_its_own_is_waited_for_and_wakes_the_delivery() {
    let group = r#"fn handle(event) { organization::upsert(#{ "Segment Group ID": event.groupId }, #{ name: "Acme" }); }"#;
    // Longer than the rule's.
    let rig = Setup::person(PERSON)
        .rule("group", "type = \"group\"", group)
        .rule_with("deal", "type = \"track\"", &two_links("600"), "link_wait = \"0s\"")
        .start()
        .await;
    rig.run("u1", json!({ "name": "Ada" })).await;
    let id = rig.track("u1", "Bought", json!({})).await;
    let record = rig.outcome(&id, "parked").await;
    assert!(record["reason"].as_str().expect("a reason").contains("organization"), "{record}");
    rig.send(json!({ "type": "group", "userId": "u2", "groupId": "g1" })).await;
    rig.settled().await;
    assert_eq!(rig.mock.entities("deals")[0]["org_id"], rig.mock.entities("organizations")[0]["id"]);
}

#[tokio::test]
async fn a_wait_that_is_no_time_is_refused_where_it_stands() {
    for (wait, said) in [("-1", "whole number of seconds"), ("\"5m\"", "whole number of seconds")] {
        let rig = Setup::new().rule("deal", "type = \"track\"", &two_links(wait)).start().await;
        let id = rig.track("u1", "Bought", json!({})).await;
        rig.settled().await;
        let reason = rig.row(&id).await.reason.expect("a reason");
        assert!(reason.contains(said) && reason.contains("deal.rhai"), "{reason}");
    }
}
