//! `by(..)`: links to what may not be there yet.

use pipewright::store::DeliveryState;
use serde_json::json;

use super::harness::{PERSON, Setup};
use crate::support::wait_until;

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
