//! Which deliveries of an account go out first when many wait.

use pipewright::mock::{Fault, FaultMatch, Hold};
use pipewright::pipedrive::Method;
use serde_json::json;

use super::harness::{PERSON, Rig, Setup};
use crate::support::wait_until;

const ORGANIZATION: &str = r#"
fn handle(event) {
    organization::upsert(#{ "Segment Group ID": event.groupId }, #{ name: event.traits?.name });
}
"#;

/// Persons that wait when the organization comes in.
const BACKLOG: usize = 300;

/// A backlog of one rule's, and an event of another's behind it; how many persons were created before the organization.
async fn created_before_the_other_rule(organization: &str) -> usize {
    let rig = Setup::person(PERSON)
        .rule_with("group", "type = \"group\"", ORGANIZATION, organization)
        .account("concurrency = 2")
        .start()
        .await;
    // What goes out first stays away until the others wait.
    let holds = [Hold::new(), Hold::new()];
    for hold in &holds {
        rig.mock.fail_matching(FaultMatch::next(Method::Post, "/api/v2/persons"), Fault::Hold(hold.clone()));
    }
    for some in (0..BACKLOG).collect::<Vec<_>>().chunks(100) {
        let event = |n: &usize| json!({ "type": "identify", "userId": format!("u{n}"), "traits": { "name": format!("P{n}") } });
        let reply = rig.post("/v1/batch", &json!({ "batch": some.iter().map(event).collect::<Vec<_>>() })).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    for hold in &holds {
        hold.reached().await;
    }
    rig.send(json!({ "type": "group", "userId": "other", "groupId": "g1", "traits": { "name": "Acme" } })).await;
    let all = BACKLOG as u64 + 1;
    wait_until("all of them wait", async || (pending(&rig).await == all).then_some(())).await;
    holds.iter().for_each(Hold::release);
    rig.settled().await;
    let log = rig.writes();
    assert_eq!(log.iter().filter(|call| call.contains("/persons")).count(), BACKLOG, "{log:?}");
    log.iter().position(|call| call.contains("/organizations")).expect("it was created")
}

async fn pending(rig: &Rig) -> u64 {
    rig.account_status().await.pending
}

#[tokio::test]
async fn one_rules_backlog_does_not_keep_another_rules_event_waiting() {
    // Two were under way, and each of the two places may take one more before the other rule's turn comes.
    let before = created_before_the_other_rule("").await;
    assert!(before <= 4, "{before} of {BACKLOG} were created first");
}

#[tokio::test]
async fn a_rule_of_a_lower_priority_takes_no_turns_while_others_wait() {
    let before = created_before_the_other_rule("priority = 6").await;
    // The last ones may still be under way.
    assert!(before >= BACKLOG - 2, "{before} of {BACKLOG} were created first");
}
