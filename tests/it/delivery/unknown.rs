//! Writes whose answer is lost: looked for, never doubled.

use pipewright::mock::{Fault, FaultMatch, Hold};
use pipewright::pipedrive::Method;
use pipewright::store::DeliveryState;
use serde_json::json;

use super::harness::{PERSON, Setup};
use crate::support::wait_until;

/// Faults that leave a write's outcome open: carried out or not.
fn lost(committed: bool) -> Vec<Fault> {
    let mut faults = vec![Fault::Cut { committed }, Fault::Hang { committed }];
    if committed {
        faults.extend([
            Fault::FailedAfter { status: 502 },
            Fault::Truncated,
            Fault::WrongJson(json!({ "success": true, "data": {} })),
        ]);
    }
    faults
}

#[tokio::test]
async fn a_create_whose_answer_is_lost_makes_one_entity() {
    for committed in [true, false] {
        for fault in lost(committed) {
            let rig = Setup::person(PERSON).start().await;
            rig.mock.set_search_lag(std::time::Duration::from_secs(3600));
            rig.mock.fail_matching(FaultMatch::next(Method::Post, "/api/v2/persons"), fault.clone());
            let row = rig.run("u1", json!({ "name": "Ada" })).await;
            assert_eq!(row.state, DeliveryState::Done, "{fault:?} {:?}", row.reason);
            assert_eq!(rig.persons("u1"), 1, "{fault:?}");
            let sent = rig.calls(Method::Post, "/api/v2/persons").len();
            assert_eq!(sent, if committed { 1 } else { 2 }, "{fault:?}");
            // It is ours now: the next event changes it.
            rig.run("u1", json!({ "name": "Ada L" })).await;
            assert_eq!(rig.person("u1")["name"], "Ada L");
        }
    }
}

#[tokio::test]
async fn while_a_create_is_in_doubt_no_other_lane_creates_by_the_same_criteria() {
    let script = r#"
        fn handle(event) {
            organization::upsert(#{ "Segment Group ID": event.context.groupId }, #{ name: "Acme" });
        }"#;
    let rig =
        Setup::person(script).delivery("retry_first = \"30ms\"\nretry_max = \"60ms\"\npause_after_lanes = 50").start().await;
    rig.mock.set_search_lag(std::time::Duration::from_secs(3600));
    rig.mock.fail_matching(FaultMatch::next(Method::Post, "/api/v2/organizations"), Fault::Cut { committed: true });
    // It cannot be looked for either, for a while.
    let list = FaultMatch { method: Some(Method::Get), path: Some("/api/v2/organizations".into()), ..FaultMatch::default() };
    rig.mock.fail_matching(list, Fault::NoConnection);
    let event = |user: &str| json!({ "type": "identify", "userId": user, "context": { "groupId": "g1" } });
    let first = rig.send(event("u1")).await;
    rig.outcome(&first, "retry").await;
    let mut others = Vec::new();
    for user in 2..14 {
        others.push(rig.send(event(&format!("u{user}"))).await);
    }
    // More of them than may run at once: they give way instead of taking up the places.
    for id in &others[..8] {
        rig.outcome(id, "wait").await;
    }
    assert_eq!(rig.calls(Method::Post, "/api/v2/organizations").len(), 1);
    rig.mock.clear_faults();
    rig.settled().await;
    assert_eq!(rig.mock.count("organizations"), 1);
    assert_eq!(rig.count(DeliveryState::Done).await, 13);
    assert_eq!(rig.row(&others[0]).await.attempts, 0);
}

/// A create of the same content by another delivery is carried out, but not answered, while the lost one is looked for.
#[tokio::test]
async fn a_lost_create_is_not_taken_for_another_one_under_way() {
    let rig = Setup::person(r#"fn handle(event) { person::create(#{ name: "Ada" }); }"#).start().await;
    let hold = Hold::new();
    rig.mock.fail_matching(FaultMatch::next(Method::Post, "/api/v2/persons"), Fault::HoldAnswer(hold.clone()));
    let first = rig.identify("u1", json!({})).await;
    hold.reached().await;
    rig.mock.fail_matching(FaultMatch::next(Method::Post, "/api/v2/persons"), Fault::Cut { committed: false });
    let second = rig.identify("u2", json!({})).await;
    wait_until("the lost one is looked for", async || (!rig.calls(Method::Get, "/api/v2/persons").is_empty()).then_some(()))
        .await;
    hold.release();
    rig.settled().await;
    for id in [&first, &second] {
        assert_eq!(rig.row(id).await.state, DeliveryState::Done);
    }
    assert_eq!(rig.mock.count("persons"), 2);
}

#[tokio::test]
async fn a_create_in_doubt_stays_so_over_a_crash() {
    let mut rig = Setup::person(PERSON).start_apart().await;
    rig.mock.set_search_lag(std::time::Duration::from_secs(3600));
    rig.mock.fail_matching(FaultMatch::next(Method::Post, "/api/v2/persons"), Fault::Cut { committed: true });
    let list = FaultMatch { method: Some(Method::Get), path: Some("/api/v2/persons".into()), ..FaultMatch::default() };
    rig.mock.fail_matching(list, Fault::NoConnection);
    let id = rig.identify("u1", json!({ "name": "Ada" })).await;
    rig.outcome(&id, "retry").await;
    rig.crash().await;
    rig.mock.clear_faults();
    rig.settled().await;
    assert_eq!(rig.row(&id).await.state, DeliveryState::Done);
    assert_eq!(rig.persons("u1"), 1);
    assert_eq!(rig.calls(Method::Post, "/api/v2/persons").len(), 1);
}

/// Two lanes create by the same criterion; what became of the first one's create cannot be stored at once.
#[tokio::test]
async fn a_create_whose_outcome_is_not_stored_keeps_others_from_creating() {
    let script = r#"fn handle(event) { person::upsert(#{ email: event.traits?.email }, #{ name: event.traits?.name }); }"#;
    let rig = Setup::person(script).start().await;
    rig.mock.set_search_lag(std::time::Duration::from_secs(3600));
    let hold = Hold::new();
    rig.mock.fail_matching(FaultMatch::next(Method::Post, "/api/v2/persons"), Fault::Hold(hold.clone()));
    rig.spoil_first_outcome();
    let traits = json!({ "email": "ada@acme.com", "name": "Ada" });
    let mut ids = vec![rig.identify("u1", traits.clone()).await];
    hold.reached().await;
    ids.push(rig.identify("u2", traits).await);
    hold.release();
    rig.settled().await;
    for id in &ids {
        assert_eq!(rig.row(id).await.state, DeliveryState::Done);
    }
    assert_eq!(rig.mock.count("persons"), 1);
    assert_eq!(rig.calls(Method::Post, "/api/v2/persons").len(), 1);
}

#[tokio::test]
async fn a_crash_before_the_create_arrived_sends_it_again() {
    let mut rig = Setup::person(PERSON).start_apart().await;
    let hold = Hold::new();
    rig.mock.fail_matching(FaultMatch::next(Method::Post, "/api/v2/persons"), Fault::Hold(hold.clone()));
    let id = rig.identify("u1", json!({ "name": "Ada" })).await;
    hold.reached().await;
    rig.crash().await;
    rig.settled().await;
    let row = rig.row(&id).await;
    assert_eq!(row.state, DeliveryState::Done, "{:?}", row.reason);
    assert_eq!(rig.persons("u1"), 1);
    assert_eq!(rig.record(&row.id).await["resumed"], true);
}

#[tokio::test]
async fn a_patch_whose_answer_is_lost_is_sent_again_and_takes_no_strangers() {
    for committed in [true, false] {
        let rig = Setup::person(PERSON).start().await;
        rig.run("u1", json!({ "name": "Ada" })).await;
        rig.mock.fail_matching(FaultMatch::next(Method::Patch, "/api/v2/persons"), Fault::Cut { committed });
        // A person of somebody else's with the very content of the change is not ours.
        let stranger = rig.aside("/api/v2/persons", json!({ "name": "Ada L" }));
        let row = rig.run("u1", json!({ "name": "Ada L" })).await;
        assert_eq!(row.state, DeliveryState::Done);
        assert_eq!(rig.person("u1")["name"], "Ada L");
        assert_eq!(rig.calls(Method::Patch, "/api/v2/persons").len(), 2);
        let step = &rig.record(&row.id).await["steps"][0];
        assert_eq!(step["state"]["effect"], "updated");
        assert_ne!(step["state"]["id"], stranger["id"]);
    }
}

#[tokio::test]
async fn what_stays_in_doubt_to_the_end_is_uncertain() {
    let rig = Setup::person(PERSON).delivery("retry_first = \"5ms\"\nretry_max = \"10ms\"\nmax_attempts = 2").start().await;
    let post = FaultMatch { method: Some(Method::Post), ..FaultMatch::always("/api/v2/persons") };
    rig.mock.fail_matching(post, Fault::Cut { committed: false });
    let row = rig.run("u1", json!({ "name": "Ada" })).await;
    assert_eq!(row.state, DeliveryState::Uncertain, "{:?}", row.reason);
    // It is over: another delivery need not wait for it.
    rig.mock.clear_faults();
    assert_eq!(rig.run("u1", json!({ "name": "Ada" })).await.state, DeliveryState::Done);
}

#[tokio::test]
async fn a_raw_request_whose_answer_is_lost_is_uncertain_and_not_repeated() {
    let script = r#"fn handle(event) { pipedrive::request("POST", "/api/v2/persons", #{ name: "Raw" }); }"#;
    let rig = Setup::person(script).start().await;
    rig.mock.fail_matching(FaultMatch::next(Method::Post, "/api/v2/persons"), Fault::Cut { committed: true });
    let row = rig.run("u1", json!({})).await;
    assert_eq!(row.state, DeliveryState::Uncertain);
    assert_eq!(rig.writes().len(), 1);
    // A refusal is none: nothing was carried out.
    let fault = Fault::TooMany { remaining: 0, reset: 1, retry_after: None };
    rig.mock.fail_matching(FaultMatch::next(Method::Post, "/api/v2/persons"), fault);
    let row = rig.run("u2", json!({})).await;
    assert_eq!(row.state, DeliveryState::Done, "{:?}", row.reason);
}

#[tokio::test]
async fn a_raw_request_cut_by_a_crash_is_uncertain() {
    let script = r#"fn handle(event) { pipedrive::request("POST", "/api/v2/persons", #{ name: "Raw" }); }"#;
    let mut rig = Setup::person(script).start_apart().await;
    let hold = Hold::new();
    rig.mock.fail_matching(FaultMatch::next(Method::Post, "/api/v2/persons"), Fault::Hold(hold.clone()));
    let id = rig.identify("u1", json!({})).await;
    hold.reached().await;
    rig.crash().await;
    rig.settled().await;
    assert_eq!(rig.row(&id).await.state, DeliveryState::Uncertain);
    assert_eq!(rig.mock.count("persons"), 0);
}

#[tokio::test]
async fn lost_notes_and_activities_are_found_by_their_content() {
    let script = r#"
        fn handle(event) {
            let who = person::upsert(#{ "Segment User ID": event.userId }, #{ name: "Ada" });
            note::create(#{ content: `<p>Hello &amp; <b>welcome</b></p>`, person_id: who });
            activity::create(#{ subject: "Call back", type: "call", person_id: who });
        }"#;
    let rig = Setup::person(script).start().await;
    for path in ["/notes", "/activities"] {
        rig.mock.fail_matching(FaultMatch::next(Method::Post, path), Fault::Cut { committed: true });
    }
    let row = rig.run("u1", json!({})).await;
    assert_eq!(row.state, DeliveryState::Done, "{:?}", row.reason);
    assert_eq!((rig.mock.count("notes"), rig.mock.count("activities")), (1, 1));
    wait_until("nothing is left", async || (rig.status().await.pending == 0).then_some(())).await;
}
