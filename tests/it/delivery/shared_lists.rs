//! Lists by a parent's id that deliveries of different lanes ask for at the same time.

use pipewright::mock::{Fault, FaultMatch, Hold};
use pipewright::pipedrive::Method;
use pipewright::store::DeliveryState;
use serde_json::{Value, json};

use super::harness::{Rig, Setup};
use crate::support::wait_until;

/// The open deal of an organization, whoever of it acts.
const OPEN_DEAL: &str = r#"
fn handle(event) {
    deal::upsert(#{ org_id: event.properties.org, status: "open" }, #{ "Segment Deal ID": event.userId }, #{ on_create: #{ title: "New" } });
}
"#;

async fn rig() -> (Rig, Value) {
    let rig = Setup::new()
        .rule("deal", "type = \"track\"", OPEN_DEAL)
        .rule("beside", "type = \"page\"", "fn handle(event) { skip(\"it had a place\"); }")
        .delivery("concurrency = 2\nretry_first = \"10ms\"\nretry_max = \"50ms\"\n")
        .start()
        .await;
    let org = rig.aside("/api/v2/organizations", json!({ "name": "Acme" }))["id"].clone();
    (rig, org)
}

/// The first one's list is held; answers when it has been asked for.
async fn first_of_all(rig: &Rig, org: &Value) -> (Hold, String) {
    let hold = Hold::new();
    rig.mock.fail_matching(FaultMatch::next(Method::Get, "/api/v2/deals"), Fault::Hold(hold.clone()));
    let first = rig.track("u0", "Seen", json!({ "org": org })).await;
    hold.reached().await;
    (hold, first)
}

/// The lists of the organization's deals that were sent.
fn lists(rig: &Rig) -> usize {
    rig.queries("/api/v2/deals").iter().filter(|query| query.contains("org_id=")).count()
}

/// So many are under way, and all of them but the first wait for a list: the place beside it is free.
async fn under_way(rig: &Rig, n: u64) {
    wait_until("all are under way", async || (rig.status().await.running == n).then_some(())).await;
    let beside = rig.send(json!({ "type": "page", "userId": "beside", "name": "Home" })).await;
    wait_until("there is a place", async || (rig.row(&beside).await.state == DeliveryState::Skipped).then_some(())).await;
}

#[tokio::test]
async fn one_list_answers_all_whose_work_began_before_it_was_asked_for() {
    let (rig, org) = rig().await;
    rig.aside("/api/v2/deals", json!({ "title": "Old", "org_id": org }));
    let (hold, first) = first_of_all(&rig, &org).await;
    let mut others = Vec::new();
    // More than may be under way at once: who waits for another's list takes no place.
    for user in 1..=12 {
        others.push(rig.track(&format!("u{user}"), "Seen", json!({ "org": org })).await);
    }
    under_way(&rig, 13).await;
    hold.release();
    rig.settled().await;
    // The first one's list was asked for before they began, so they share another one.
    assert_eq!(lists(&rig), 2);
    assert_eq!((rig.count(DeliveryState::Done).await, rig.mock.count("deals")), (13, 1));
    let saved = rig.daemon().ledger().report("main", 1).today.saved;
    let batch = saved.get("batch").expect("shared lists are booked");
    assert!(batch.tokens >= 110 && batch.times >= 11, "{batch:?}");

    let mut shared = 0;
    for message in others.iter().chain([&first]) {
        let record = rig.record(&rig.row(message).await.id).await;
        let lists: Vec<&Value> = record["exchanges"]
            .as_array()
            .expect("exchanges")
            .iter()
            .filter(|e| e["path"].as_str().is_some_and(|path| path.contains("org_id=")))
            .collect();
        assert_eq!(lists.len(), 1, "{record:#}");
        let is_shared = lists[0]["shared"] == true;
        assert_eq!(lists[0]["tokens"], if is_shared { 0 } else { 10 }, "{record:#}");
        shared += usize::from(is_shared);
    }
    assert_eq!(shared, 11);
}

#[tokio::test]
async fn a_list_that_fails_fails_for_all_who_share_it_and_each_tries_again() {
    let (rig, org) = rig().await;
    rig.aside("/api/v2/deals", json!({ "title": "Old", "org_id": org }));
    let (hold, _) = first_of_all(&rig, &org).await;
    for user in 1..=4 {
        rig.track(&format!("u{user}"), "Seen", json!({ "org": org })).await;
    }
    under_way(&rig, 5).await;
    rig.mock.fail_matching(FaultMatch::next(Method::Get, "/api/v2/deals"), Fault::NoConnection);
    hold.release();
    rig.settled().await;
    assert_eq!((rig.count(DeliveryState::Done).await, rig.mock.count("deals")), (5, 1));
}

#[tokio::test]
async fn two_lanes_that_create_by_a_link_make_one() {
    let (rig, org) = rig().await;
    let (hold, _) = first_of_all(&rig, &org).await;
    let create = Hold::new();
    rig.mock.fail_matching(FaultMatch::next(Method::Post, "/api/v2/deals"), Fault::Hold(create.clone()));
    rig.track("u1", "Seen", json!({ "org": org })).await;
    under_way(&rig, 2).await;
    hold.release();
    create.reached().await;
    // The other one has looked before there was any.
    wait_until("both have looked", async || (lists(&rig) == 2).then_some(())).await;
    create.release();
    rig.settled().await;
    assert_eq!((rig.mock.count("deals"), rig.calls(Method::Post, "/api/v2/deals").len()), (1, 1));
    assert_eq!(lists(&rig), 3);
}
