//! Rolling back with `hold_pinned`: plans that other sets have begun.

use pipewright::mock::{Fault, FaultMatch};
use pipewright::pipedrive::Method;
use pipewright::reload::{ReloadOutcome, RollbackRequest};
use pipewright::store::{DeliveryRow, DeliveryState};
use serde_json::json;

use super::harness::{Rig, Setup};
use crate::support::wait_until;

fn script(title: &str) -> String {
    format!(
        "fn handle(event) {{\n    let who = person::upsert(#{{ \"Segment User ID\": event.userId }}, #{{ name: event.traits?.name }});\n    \
         deal::create(#{{ title: \"{title}\", person_id: who }});\n}}\n"
    )
}

/// The daemon after an edit, and a delivery that stands half-way through its plan.
async fn half_way() -> (Rig, String) {
    let patient = "retry_first = \"50ms\"\nretry_max = \"100ms\"\nmax_attempts = 1000\n";
    let rig = Setup::person(&script("First")).delivery(patient).start_apart().await;
    rig.edit("person", &script("Second")).await;
    let deals = FaultMatch { method: Some(Method::Post), ..FaultMatch::always("/api/v2/deals") };
    rig.mock.fail_matching(deals, Fault::NoConnection);
    let id = rig.identify("u1", json!({ "name": "Ada" })).await;
    rig.outcome(&id, "retry").await;
    (rig, id)
}

async fn held(rig: &Rig, id: &str) -> DeliveryRow {
    wait_until("the delivery to be held", || async {
        let status = rig.daemon().delivery().status().await.expect("a status");
        (status.plans_held == 1 && status.waiting == 0).then_some(())
    })
    .await;
    let row = rig.row(id).await;
    assert_eq!(row.state, DeliveryState::Pending);
    let reason = row.reason.clone().expect("a reason");
    assert!(reason.starts_with("held: ") && reason.contains("unpin") && reason.contains("discard"), "{reason}");
    row
}

async fn roll_back(rig: &Rig, hold_pinned: bool) {
    let request = RollbackRequest { hold_pinned, ..RollbackRequest::default() };
    rig.daemon().reload().rollback(request).await.expect("there is a set before");
}

#[tokio::test]
async fn a_held_plan_waits_at_the_head_of_its_lane_across_a_restart_and_goes_on_where_it_stopped() {
    let (mut rig, id) = half_way().await;
    roll_back(&rig, true).await;
    // What was being sent when it was rolled back still fails.
    held(&rig, &id).await;
    rig.mock.clear_faults();
    assert!(rig.mock.entities("deals").is_empty(), "nothing more is sent");
    // What comes behind it in its lane waits; others go on, with the set that was rolled back to.
    let behind = rig.identify("u1", json!({ "name": "Ada King" })).await;
    let other = rig.identify("u2", json!({ "name": "Bea" })).await;
    wait_until("another lane to go on", || async { (rig.row(&other).await.state == DeliveryState::Done).then_some(()) }).await;
    assert_eq!(rig.mock.entities("deals")[0]["title"], "First");

    rig.crash().await;
    held(&rig, &id).await;
    assert_eq!(rig.row(&behind).await.state, DeliveryState::Pending);
    assert_eq!(rig.person("u1")["name"], "Ada");

    let outcome = rig.daemon().reload().unpin().await.expect("it is pinned");
    assert!(matches!(outcome, ReloadOutcome::Swapped { .. }), "{outcome:?}");
    rig.settled().await;
    assert_eq!(rig.row(&id).await.state, DeliveryState::Done);
    assert_eq!(rig.calls(Method::Post, "/api/v2/persons").len(), 2, "one each of u1 and u2");
    let titles: Vec<_> = rig.mock.entities("deals").iter().map(|deal| deal["title"].clone()).collect();
    assert_eq!(titles, ["First", "Second", "Second"], "the plan goes on as it was made");
    assert_eq!(rig.person("u1")["name"], "Ada King");
    assert_eq!(rig.daemon().delivery().status().await.expect("a status").plans_held, 0);
}

#[tokio::test]
async fn a_held_plan_can_be_discarded_and_its_lane_goes_on() {
    let (rig, id) = half_way().await;
    roll_back(&rig, true).await;
    let row = held(&rig, &id).await;
    rig.mock.clear_faults();
    let behind = rig.identify("u1", json!({ "name": "Ada King" })).await;
    assert_eq!(rig.daemon().delivery().discard(vec![row.id]).await.expect("it waits"), 1);
    rig.settled().await;
    assert_eq!((rig.row(&id).await.state, rig.row(&behind).await.state), (DeliveryState::Discarded, DeliveryState::Done));
    assert_eq!(rig.mock.entities("deals")[0]["title"], "First");
    assert_eq!(rig.daemon().delivery().status().await.expect("a status").plans_held, 0);
}

#[tokio::test]
async fn without_the_hold_a_plan_that_was_begun_is_carried_out_as_it_was_made() {
    let (rig, id) = half_way().await;
    roll_back(&rig, false).await;
    rig.mock.clear_faults();
    rig.settled().await;
    assert_eq!(rig.row(&id).await.state, DeliveryState::Done);
    assert_eq!(rig.mock.entities("deals")[0]["title"], "Second");
}
