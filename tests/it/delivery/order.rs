//! Order within a lane, across retries, restarts, pauses and crashes; the stop.

use pipewright::mock::{Fault, FaultMatch, Hold};
use pipewright::pipedrive::Method;
use pipewright::store::DeliveryState;
use serde_json::json;

use super::harness::{PERSON, Rig, Setup};
use crate::support::{Logs, wait_until};

/// The names that were written and carried out, in order.
fn names(rig: &Rig) -> Vec<String> {
    let log = rig.mock.log();
    let done = log.iter().filter(|e| e.method != Method::Get && e.carried_out);
    done.filter_map(|e| e.body.as_ref()?.get("name")?.as_str().map(str::to_owned)).collect()
}

#[tokio::test]
async fn a_failing_delivery_holds_its_lane_and_the_others_go_on() {
    let rig = Setup::person(PERSON).start().await;
    rig.run("u1", json!({ "name": "a0" })).await;
    let held = FaultMatch { path: Some(format!("/api/v2/persons/{}", rig.person("u1")["id"])), ..FaultMatch::default() };
    rig.mock.fail_matching(held, Fault::NoConnection);
    let first = rig.identify("u1", json!({ "name": "a1" })).await;
    for n in 2..5 {
        rig.identify("u1", json!({ "name": format!("a{n}") })).await;
    }
    rig.outcome(&first, "retry").await;
    let other = rig.identify("u2", json!({ "name": "b1" })).await;
    rig.outcome(&other, "done").await;
    assert_eq!(rig.count(DeliveryState::Pending).await, 4);
    rig.mock.clear_faults();
    rig.settled().await;
    assert_eq!(names(&rig), ["a0", "b1", "a1", "a2", "a3", "a4"]);
}

#[tokio::test]
async fn order_and_retries_stand_over_a_restart() {
    let mut rig = Setup::person(PERSON).delivery("retry_first = \"1h\"\nretry_max = \"1h\"").start().await;
    rig.run("u1", json!({ "name": "a0" })).await;
    rig.mock.fail_matching(FaultMatch::next(Method::Patch, "/api/v2/persons"), Fault::Status { status: 503, body: json!({}) });
    let first = rig.identify("u1", json!({ "name": "a1" })).await;
    rig.outcome(&first, "retry").await;
    let second = rig.identify("u1", json!({ "name": "a2" })).await;
    rig.restart().await;
    // It still waits for its hour, and the lane with it.
    wait_until("it is back in its lane", async || (rig.status().await.waiting == 1).then_some(())).await;
    let status = rig.status().await;
    assert_eq!((status.pending, status.running, status.waiting), (2, 0, 1));
    assert_eq!(rig.row(&first).await.attempts, 1);
    rig.daemon().delivery().discard(vec![rig.row(&first).await.id]).await.expect("discarded");
    rig.outcome(&second, "done").await;
    assert_eq!(names(&rig).last().expect("a name"), "a2");
}

#[tokio::test]
async fn after_a_crash_lanes_go_on_in_order() {
    let mut rig = Setup::person(PERSON).start_apart().await;
    rig.run("u1", json!({ "name": "a0" })).await;
    let hold = Hold::new();
    rig.mock.fail_matching(FaultMatch::next(Method::Patch, "/api/v2/persons"), Fault::Hold(hold.clone()));
    for n in 1..4 {
        rig.identify("u1", json!({ "name": format!("a{n}") })).await;
    }
    hold.reached().await;
    rig.crash().await;
    rig.settled().await;
    assert_eq!(names(&rig), ["a0", "a1", "a2", "a3"]);
    assert_eq!(rig.person("u1")["name"], "a3");
}

#[tokio::test]
async fn a_stop_finishes_what_is_under_way_and_leaves_the_rest() {
    let logs = Logs::capture();
    let mut rig = Setup::person(PERSON).start().await;
    let hold = Hold::new();
    rig.mock.fail_matching(FaultMatch::next(Method::Post, "/api/v2/persons"), Fault::Hold(hold.clone()));
    let first = rig.identify("u1", json!({ "name": "a1" })).await;
    let second = rig.identify("u1", json!({ "name": "a2" })).await;
    hold.reached().await;
    let begun = wait_until("delivery is stopping", async || logs.text().contains("waiting for what is under way").then_some(()));
    tokio::join!(rig.stop(), async {
        begun.await;
        hold.release();
    });
    assert_eq!(names(&rig), ["a1"]);
    rig.start_again().await;
    rig.settled().await;
    assert_eq!(names(&rig), ["a1", "a2"]);
    // The stop was no failed attempt, and nothing was done twice.
    assert_eq!((rig.row(&first).await.attempts, rig.row(&second).await.attempts), (0, 0));
    assert_eq!(rig.records(&rig.row(&first).await.id).await.len(), 1);
}

#[tokio::test]
async fn a_stop_does_not_wait_for_ever() {
    let mut rig = Setup::person(PERSON).server("shutdown_grace = \"50ms\"").start().await;
    let hold = Hold::new();
    rig.mock.fail_matching(FaultMatch::next(Method::Post, "/api/v2/persons"), Fault::Hold(hold.clone()));
    let id = rig.identify("u1", json!({ "name": "a1" })).await;
    hold.reached().await;
    rig.restart().await;
    rig.settled().await;
    assert_eq!(rig.row(&id).await.state, DeliveryState::Done);
    assert_eq!(rig.persons("u1"), 1);
}
