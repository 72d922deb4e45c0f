//! `max_creates_per_hour`: the brake for a rule gone wild.

use pipewright::delivery::{PauseInfo, Scope};
use pipewright::failure::FailureClass;
use pipewright::mock::{Fault, FaultMatch};
use pipewright::pipedrive::Method;
use pipewright::store::DeliveryState;
use serde_json::json;

use super::harness::{PERSON, Rig, Setup};
use crate::support::{wait_until, write};

async fn limited(limit: u32) -> Rig {
    Setup::new().rule_with("person", "type = \"identify\"", PERSON, &format!("max_creates_per_hour = {limit}")).start().await
}

async fn paused(rig: &Rig) -> PauseInfo {
    wait_until("the rule is paused", async || rig.rule_status("person").await.paused).await
}

#[tokio::test]
async fn a_rule_that_creates_too_much_is_held_for_the_hour_and_says_what_to_do() {
    let rig = limited(2).await;
    // What Pipedrive refuses is not created, and an update is no create.
    let refusal = Fault::Status { status: 400, body: json!({ "success": false, "error": "no" }) };
    rig.mock.fail_matching(FaultMatch::next(Method::Post, "/api/v2/persons"), refusal);
    assert_eq!(rig.run("u0", json!({ "name": "a" })).await.state, DeliveryState::Dead);
    for user in ["u1", "u2", "u1"] {
        assert_eq!(rig.run(user, json!({ "name": user })).await.state, DeliveryState::Done);
    }
    let third = rig.identify("u3", json!({ "name": "c" })).await;
    let record = rig.outcome(&third, "wait").await;
    let pause = paused(&rig).await;
    let until = pause.until.expect("an end");
    let left = until.duration_since(jiff::Timestamp::now());
    assert!(left > jiff::SignedDuration::from_mins(58), "for the rest of the hour: {left}");
    for said in [
        "has created 2 records within an hour (max_creates_per_hour = 2)".to_owned(),
        format!("goes on by itself at {}", until.strftime("%Y-%m-%d %H:%M")),
        "`pipewright resume rule person` lets it create 2 more now".to_owned(),
    ] {
        assert!(pause.reason.contains(&said), "{said:?} is missing in {}", pause.reason);
    }
    assert_eq!(record["reason"], json!(pause.reason));
    assert_eq!(pause.class, Some(FailureClass::Throttled), "nothing is set up wrongly");
    assert_eq!((rig.persons("u3"), rig.row(&third).await.state), (0, DeliveryState::Pending));
}

#[tokio::test]
async fn a_persons_resume_begins_a_new_hour_and_a_higher_limit_counts_at_once() {
    let rig = limited(1).await;
    assert_eq!(rig.run("u1", json!({ "name": "a" })).await.state, DeliveryState::Done);
    let second = rig.identify("u2", json!({ "name": "b" })).await;
    paused(&rig).await;
    rig.daemon().delivery().resume(Scope::Rule("person".into())).await.expect("resumed");
    rig.settled().await;
    assert_eq!(rig.row(&second).await.state, DeliveryState::Done);

    let third = rig.identify("u3", json!({ "name": "c" })).await;
    assert!(paused(&rig).await.reason.contains("has created 1 record "), "the hour of the resume");
    let path = rig.dir.path().join("rules.toml");
    let text = std::fs::read_to_string(&path).expect("it is there");
    write(rig.dir.path(), "rules.toml", &text.replace("max_creates_per_hour = 1", "max_creates_per_hour = 2"));
    let outcome = rig.daemon().reload().reload().await;
    assert!(matches!(outcome, pipewright::reload::ReloadOutcome::Swapped { .. }), "{outcome:?}");
    rig.settled().await;
    assert_eq!(rig.row(&third).await.state, DeliveryState::Done);
}
