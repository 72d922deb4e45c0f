//! Reads that are made together.

use pipewright::mock::{Fault, FaultMatch, Hold};
use pipewright::pipedrive::Method;
use pipewright::store::DeliveryState;
use serde_json::{Value, json};

use super::harness::{Rig, Setup};
use crate::support::wait_until;

/// An address is added to what is there, which must be read.
const ADDS: &str = r#"
fn handle(event) {
    person::upsert(#{ "Segment User ID": event.userId }, #{ emails: event.traits?.email }, #{ on_create: #{ name: event.userId } });
}
"#;

/// `n` persons, then as many events that need to read one each, held until all of them wait.
async fn many(n: usize) -> (Rig, Vec<Value>) {
    let rig = Setup::person(ADDS).start().await;
    for user in 0..n {
        rig.run(&format!("u{user}"), json!({})).await;
    }
    let ids = (0..n).map(|user| rig.person(&format!("u{user}"))["id"].clone()).collect();
    rig.mock.clear_log();
    (rig, ids)
}

async fn send_all(rig: &Rig, n: usize) {
    // The first one's read is held; the others come together behind it.
    let hold = Hold::new();
    rig.mock.fail_matching(FaultMatch::next(Method::Get, "/api/v2/persons/"), Fault::Hold(hold.clone()));
    rig.identify("u0", json!({ "email": "u0@acme.com" })).await;
    hold.reached().await;
    for user in 1..n {
        rig.identify(&format!("u{user}"), json!({ "email": format!("u{user}@acme.com") })).await;
    }
    wait_until("all are under way", async || (rig.status().await.running as usize == n).then_some(())).await;
    hold.release();
    rig.settled().await;
}

#[tokio::test]
async fn many_reads_are_one_list() {
    let (rig, ids) = many(21).await;
    send_all(&rig, 21).await;
    let lists = rig.queries("/api/v2/persons");
    let all = ids[1..].iter().map(Value::to_string).collect::<Vec<_>>().join(",");
    assert!(lists.len() == 1 && lists[0].contains(&format!("ids={all}")), "{lists:?}");
    assert_eq!(rig.calls(Method::Get, "/api/v2/persons/").len(), 1);
    for user in 0..21 {
        assert_eq!(rig.person(&format!("u{user}"))["emails"][0]["value"], format!("u{user}@acme.com"));
    }
}

#[tokio::test]
async fn what_the_list_does_not_have_is_read_by_itself() {
    let (rig, ids) = many(21).await;
    let gone = &ids[7];
    rig.delete_aside(&format!("/api/v2/persons/{gone}"));
    send_all(&rig, 21).await;
    assert!(!rig.calls(Method::Get, &format!("/api/v2/persons/{gone}")).is_empty());
    // It is gone, so another one was made.
    assert_eq!((rig.persons("u7"), rig.count(DeliveryState::Done).await), (1, 42));
}

#[tokio::test]
async fn when_the_list_fails_each_tries_again() {
    let (rig, _) = many(21).await;
    rig.mock.fail_matching(
        FaultMatch { times: 1, method: Some(Method::Get), ..FaultMatch::always("/api/v2/persons?") },
        Fault::NoConnection,
    );
    send_all(&rig, 21).await;
    assert_eq!(rig.count(DeliveryState::Done).await, 42);
    for user in 0..21 {
        assert_eq!(rig.person(&format!("u{user}"))["emails"].as_array().map(Vec::len), Some(1));
    }
}
