//! Each failure class, by what Pipedrive answers.

use std::time::Duration;

use pipewright::failure::FailureClass;
use pipewright::mock::{Fault, FaultMatch, Hold};
use pipewright::pipedrive::Method;
use pipewright::store::DeliveryState;
use serde_json::json;

use super::harness::{PERSON, Rig, Setup};
use crate::support::wait_until;

fn status(status: u16) -> Fault {
    Fault::Status { status, body: json!({ "success": false, "error": "because" }) }
}

fn creates(rig: &Rig) -> usize {
    rig.calls(Method::Post, "/api/v2/persons").len()
}

#[tokio::test]
async fn a_400_is_a_dead_letter_at_once_and_the_lane_goes_on() {
    let rig = Setup::person(PERSON).start().await;
    rig.mock.fail_matching(FaultMatch::next(Method::Post, "/api/v2/persons"), status(400));
    let first = rig.identify("u1", json!({ "name": "Ada" })).await;
    let second = rig.identify("u1", json!({ "name": "Ada L" })).await;
    rig.settled().await;
    let row = rig.row(&first).await;
    assert_eq!((row.state, row.attempts), (DeliveryState::Dead, 0));
    assert!(row.reason.expect("a reason").contains("because"));
    assert_eq!(rig.row(&second).await.state, DeliveryState::Done);
    assert_eq!(rig.person("u1")["name"], "Ada L");
}

#[tokio::test]
async fn what_the_account_may_not_do_pauses_it_uncharged_until_it_is_mended() {
    for code in [401, 402, 403] {
        let rig = Setup::person(PERSON).start().await;
        rig.mock.fail_matching(FaultMatch::always("/api/v2/persons"), status(code));
        let id = rig.identify("u1", json!({ "name": "Ada" })).await;
        rig.outcome(&id, "wait").await;
        let paused = wait_until("the account is paused", async || rig.account_status().await.paused).await;
        assert_eq!(paused.class, Some(FailureClass::Misconfigured), "{code}");
        // It looks again by itself, and never charges.
        wait_until("it is tried again", async || (creates(&rig) > 3).then_some(())).await;
        rig.mock.clear_faults();
        rig.settled().await;
        let row = rig.row(&id).await;
        assert_eq!((row.state, row.attempts), (DeliveryState::Done, 0), "{code}");
        assert_eq!(rig.persons("u1"), 1);
        wait_until("the pause is over", async || rig.account_status().await.paused.is_none().then_some(())).await;
    }
}

#[tokio::test]
async fn a_burst_429_waits_its_time_uncharged() {
    let rig = Setup::person(PERSON).start().await;
    let fault = Fault::TooMany { remaining: 0, reset: 1, retry_after: None };
    rig.mock.fail_matching(FaultMatch::next(Method::Post, "/api/v2/persons"), fault);
    let id = rig.identify("u1", json!({ "name": "Ada" })).await;
    assert_eq!(rig.outcome(&id, "wait").await["class"], "throttled");
    rig.settled().await;
    let row = rig.row(&id).await;
    assert_eq!((row.state, row.attempts, creates(&rig)), (DeliveryState::Done, 0, 2));
    let log = rig.calls(Method::Post, "/api/v2/persons");
    assert!(log[1].at.duration_since(log[0].at).as_millis() >= 900, "it did not wait");
}

#[tokio::test]
async fn what_uncharged_attempts_spent_is_told_by_the_record_that_replaces_theirs() {
    let rig = Setup::person(PERSON).start().await;
    rig.mock.clear_log();
    let search = FaultMatch { method: Some(Method::Get), path: Some("/itemSearch".into()), skip: 0, times: 2, between: 0 };
    rig.mock.fail_matching(search, Fault::TooMany { remaining: 0, reset: 1, retry_after: None });
    let row = rig.run("u1", json!({ "name": "Ada" })).await;
    let records = rig.records(&row.id).await;
    assert_eq!(records.len(), 1, "{records:#?}");
    let replaced = &records[0]["replaced"];
    let here = records[0]["exchanges"].as_array().expect("requests").len() as u64;
    assert_eq!(replaced["requests"].as_u64().map(|before| before + here), Some(rig.mock.log().len() as u64), "{:#}", records[0]);
    assert_eq!((&replaced["attempts"], &replaced["tokens"]), (&json!(2), &json!(40)));
}

#[tokio::test]
async fn a_spent_budget_and_the_firewall_hold_the_account_and_nothing_hammers() {
    let spent = Fault::TooMany { remaining: 50, reset: 1, retry_after: None };
    for fault in [spent, Fault::Firewall] {
        let rig = Setup::person(PERSON).start().await;
        rig.mock.fail_matching(FaultMatch::always("/api/"), fault);
        let first = rig.identify("u1", json!({ "name": "Ada" })).await;
        assert_eq!(rig.outcome(&first, "wait").await["class"], "throttled");
        let paused = wait_until("the account is paused", async || rig.account_status().await.paused).await;
        assert_eq!(paused.class, Some(FailureClass::Throttled));
        let until = paused.until.expect("an end");
        assert!(until.duration_since(paused.since).as_secs() >= 299, "{until}");
        let requests = rig.mock.requests();
        rig.identify("u2", json!({ "name": "Grace" })).await;
        wait_until("the next event is in its lane", async || (rig.status().await.pending == 2).then_some(())).await;
        assert_eq!(rig.mock.requests(), requests);
        assert_eq!(rig.row(&first).await.attempts, 0);
        // When a person lets it go on, a request looks whether the way is open.
        rig.daemon().delivery().resume(pipewright::delivery::Scope::Account("main".into())).await.expect("resumed");
        let again = wait_until("it is paused again", async || rig.account_status().await.paused).await;
        wait_until("nothing runs", async || (rig.account_status().await.running == 0).then_some(())).await;
        assert_eq!(rig.mock.requests(), requests + 1);
        let longer = again.until.expect("an end").duration_since(again.since);
        assert!(longer.as_secs() >= 599, "pauses in a row double: {longer}");
        rig.mock.clear_faults();
        rig.daemon().delivery().resume(pipewright::delivery::Scope::Account("main".into())).await.expect("resumed");
        rig.settled().await;
        assert_eq!(rig.count(DeliveryState::Done).await, 2);
    }
}

#[tokio::test]
async fn what_was_sent_before_the_pause_does_not_end_it() {
    let rig = Setup::person(PERSON).start().await;
    let hold = Hold::new();
    rig.mock.fail_matching(FaultMatch::next(Method::Post, "/api/v2/persons"), Fault::HoldAnswer(hold.clone()));
    let first = rig.identify("u1", json!({ "name": "Ada" })).await;
    hold.reached().await;
    let spent = Fault::TooMany { remaining: 50, reset: 1, retry_after: None };
    rig.mock.fail_matching(FaultMatch::next(Method::Post, "/api/v2/persons"), spent);
    let second = rig.identify("u2", json!({ "name": "Grace" })).await;
    rig.outcome(&second, "wait").await;
    wait_until("the account is paused", async || rig.account_status().await.paused).await;
    hold.release();
    wait_until("nothing runs", async || (rig.account_status().await.running == 0).then_some(())).await;
    assert_eq!(rig.row(&first).await.state, DeliveryState::Done);
    assert!(rig.account_status().await.paused.is_some(), "its answer says nothing of what came after it was sent");
}

#[tokio::test]
async fn a_failing_read_is_tried_again_and_is_never_a_miss() {
    let faults = [
        status(500),
        status(503),
        Fault::Truncated,
        Fault::WrongJson(json!({ "success": true, "data": "surprise" })),
        Fault::Hang { committed: false },
        Fault::Cut { committed: false },
        Fault::NoConnection,
    ];
    for fault in faults {
        let rig = Setup::person(PERSON).start().await;
        let key = rig.key("persons", "Segment User ID");
        rig.aside("/api/v2/persons", json!({ "name": "Ada", "custom_fields": { key: "u1" } }));
        let which = FaultMatch { path: Some("/itemSearch".into()), times: 2, ..FaultMatch::default() };
        rig.mock.fail_matching(which, fault.clone());
        let row = rig.run("u1", json!({ "name": "Ada L" })).await;
        assert_eq!((row.state, row.attempts), (DeliveryState::Done, 2), "{fault:?}");
        assert_eq!(creates(&rig), 0, "{fault:?}");
        assert_eq!(rig.person("u1")["name"], "Ada L", "{fault:?}");
        let records = rig.records(&row.id).await;
        let outcomes: Vec<_> = records.iter().map(|r| r["outcome"].as_str().expect("text")).collect();
        assert_eq!(outcomes, ["retry", "retry", "done"], "{fault:?}");
        assert_eq!(records[0]["class"], "transient");
    }
}

#[tokio::test]
async fn attempts_are_bounded() {
    let rig = Setup::person(PERSON).delivery("retry_first = \"5ms\"\nretry_max = \"10ms\"\nmax_attempts = 3").start().await;
    rig.mock.fail_matching(FaultMatch::always("/itemSearch"), status(500));
    let row = rig.run("u1", json!({ "name": "Ada" })).await;
    assert_eq!(row.state, DeliveryState::Dead);
    assert!(row.reason.expect("a reason").starts_with("given up after 3 attempts"));
    assert_eq!(rig.calls(Method::Get, "/itemSearch").len(), 3);
    assert!(rig.writes().is_empty());
}

#[tokio::test]
async fn an_index_hit_that_is_gone_is_forgotten_and_looked_for_anew() {
    for gone in [404, 410] {
        let rig = Setup::person(PERSON).start().await;
        rig.run("u1", json!({ "name": "Ada" })).await;
        let old = rig.person("u1")["id"].clone();
        rig.delete_aside(&format!("/api/v2/persons/{old}"));
        rig.mock.fail_matching(FaultMatch::next(Method::Patch, "/api/v2/persons"), status(gone));
        let row = rig.run("u1", json!({ "name": "Ada L" })).await;
        assert_eq!(row.state, DeliveryState::Done, "{:?}", row.reason);
        let new = rig.person("u1");
        assert_ne!(new["id"], old);
        assert_eq!(new["name"], "Ada L");
        // The index knows the new one now.
        rig.mock.clear_log();
        rig.run("u1", json!({ "name": "Ada M" })).await;
        assert_eq!(rig.mock.log().iter().map(|e| e.call()).collect::<Vec<_>>(), [format!("PATCH /api/v2/persons/{}", new["id"])]);
    }
}

#[tokio::test]
async fn an_update_of_what_is_gone_never_creates() {
    let script = "fn handle(event) { person::update(#{ \"Segment User ID\": event.userId }, #{ name: event.traits.name }); }";
    let rig =
        Setup::person(PERSON).rule("update", "type = \"track\"", &script.replace("traits.name", "properties.name")).start().await;
    rig.run("u1", json!({ "name": "Ada" })).await;
    rig.delete_aside(&format!("/api/v2/persons/{}", rig.person("u1")["id"]));
    let id = rig.track("u1", "Renamed", json!({ "name": "Ada L" })).await;
    rig.settled().await;
    let row = rig.row(&id).await;
    assert_eq!(row.state, DeliveryState::Dead);
    assert!(row.reason.expect("a reason").contains("on_miss"));
    assert_eq!(creates(&rig), 1);
}

#[tokio::test]
async fn the_same_body_answered_with_500_again_and_again_is_the_cause() {
    let rig = Setup::person(PERSON).start().await;
    rig.mock.fail_matching(FaultMatch { method: Some(Method::Post), ..FaultMatch::always("/api/v2/persons") }, status(500));
    let row = rig.run("u1", json!({ "name": "Ada" })).await;
    assert_eq!(row.state, DeliveryState::Dead, "{:?}", row.reason);
    assert!(row.reason.expect("a reason").contains("3 times for the same body"));
    assert_eq!(creates(&rig), 3);

    rig.mock.clear_faults();
    rig.run("u1", json!({ "name": "Ada" })).await;
    rig.mock.fail_matching(FaultMatch { method: Some(Method::Patch), ..FaultMatch::always("/api/v2/persons") }, status(500));
    let row = rig.run("u1", json!({ "name": "Ada L" })).await;
    assert_eq!(row.state, DeliveryState::Dead, "{:?}", row.reason);
    assert_eq!(rig.calls(Method::Patch, "/api/v2/persons").len(), 3);
}

#[tokio::test]
async fn several_lanes_that_fail_pause_the_account_which_probes_and_goes_on_by_itself() {
    let rig = Setup::person(PERSON)
        .delivery("retry_first = \"10ms\"\nretry_max = \"40ms\"\npause_after_lanes = 3\nmax_attempts = 4")
        .start()
        .await;
    rig.mock.fail_matching(FaultMatch::default(), Fault::NoConnection);
    let mut ids = Vec::new();
    for user in 0..5 {
        ids.push(rig.identify(&format!("u{user}"), json!({ "name": "Ada" })).await);
    }
    let paused = wait_until("the account is paused", async || rig.account_status().await.paused).await;
    assert_eq!(paused.class, Some(FailureClass::Transient));
    // Far more probes than a delivery has attempts, one at a time.
    let before = rig.mock.requests();
    wait_until("it has probed often", async || (rig.mock.requests() > before + 12).then_some(())).await;
    assert_eq!(rig.store().stats().await.expect("counts").pending, 5);
    rig.mock.clear_faults();
    rig.settled().await;
    for id in &ids {
        assert_eq!(rig.row(id).await.state, DeliveryState::Done);
    }
    wait_until("the pause is over", async || rig.account_status().await.paused.is_none().then_some(())).await;
}

#[tokio::test]
async fn a_probe_that_gets_through_ends_the_pause_whatever_its_delivery_comes_to() {
    let script = "fn handle(event) { person::find(#{ \"Segment User ID\": event.userId }); retry(\"not yet\", 3600); }";
    let rig = Setup::person(script).delivery("retry_first = \"10ms\"\nretry_max = \"40ms\"\npause_after_lanes = 2").start().await;
    rig.mock.fail_matching(FaultMatch::default(), Fault::NoConnection);
    for user in ["u1", "u2", "u3"] {
        rig.identify(user, json!({})).await;
    }
    wait_until("the account is paused", async || rig.account_status().await.paused).await;
    rig.mock.clear_faults();
    wait_until("all have run", async || {
        (rig.status().await.waiting == 3 && rig.account_status().await.paused.is_none()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn over_http_a_silent_pipedrive_is_a_time_out() {
    let rig = Setup::person(PERSON).account("timeout = \"150ms\"").start_over_http().await;
    rig.mock.fail_matching(
        FaultMatch { path: Some("/itemSearch".into()), times: 1, ..FaultMatch::default() },
        Fault::Hang { committed: false },
    );
    let begun = tokio::time::Instant::now();
    let row = rig.run("u1", json!({ "name": "Ada" })).await;
    assert_eq!((row.state, row.attempts), (DeliveryState::Done, 1));
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert_eq!(rig.persons("u1"), 1);
    // A create that hangs after it was carried out is found, not repeated.
    rig.mock.fail_matching(FaultMatch::next(Method::Post, "/api/v2/persons"), Fault::Hang { committed: true });
    let row = rig.run("u2", json!({ "name": "Grace" })).await;
    assert_eq!(row.state, DeliveryState::Done);
    assert_eq!((rig.persons("u2"), creates(&rig)), (1, 2));
}

#[tokio::test]
async fn a_script_that_runs_into_its_deadline_twice_in_a_row_is_a_dead_letter() {
    let script = r#"
        fn handle(event) {
            person::find(#{ "Segment User ID": event.userId });
            skip("found");
        }"#;
    let rig = Setup::person(script).scripts("deadline = \"100ms\"\nmax_operations = 1000000000").start().await;
    // Failures of another kind before it count for nothing.
    rig.mock.fail_matching(FaultMatch { method: Some(Method::Get), ..FaultMatch::always("itemSearch") }, status(500));
    let id = rig.identify("u1", json!({})).await;
    rig.outcome(&id, "retry").await;
    rig.edit("person", "fn handle(event) { loop { } }").await;
    rig.settled().await;
    let row = rig.row(&id).await;
    assert_eq!(row.state, DeliveryState::Dead);
    let reason = row.reason.expect("a reason");
    assert!(reason.contains("twice in a row"), "{reason}");
    let records = rig.records(&row.id).await;
    let at_deadline = records.iter().filter(|r| r["deadline"] == true).count();
    assert_eq!(at_deadline, 2, "{records:#?}");
    assert!(records.len() > 2, "{records:#?}");
}

/// Looks for an organization where the event is poison, and never gets an answer.
const POISON: &str = r#"
fn handle(event) {
    if event.traits?.throws == true { throw "poison"; }
    if event.traits?.poison == true { organization::find(#{ name: "Nowhere" }); }
    person::upsert(#{ "Segment User ID": event.userId }, #{ name: event.traits?.name });
}
"#;

#[tokio::test]
async fn a_poison_event_holds_its_lane_no_longer_than_the_policy_allows() {
    let policies = ["max_attempts = 3", "max_attempts = 10000\nmax_retry_time = \"1s\""];
    // Also where every failing lane pauses the account, so that all are tried as probes.
    for (policy, lanes) in policies.into_iter().flat_map(|policy| [(policy, 4), (policy, 1)]) {
        let keys = format!("retry_first = \"5ms\"\nretry_max = \"10ms\"\npause_after_lanes = {lanes}\n{policy}");
        let rig = Setup::person(POISON).delivery(&keys).start().await;
        rig.mock.fail_matching(FaultMatch::always("/organizations/search"), status(500));
        let transient = rig.identify("u1", json!({ "name": "Ada", "poison": true })).await;
        let behind = rig.identify("u1", json!({ "name": "Ada L" })).await;
        let permanent = rig.identify("u2", json!({ "name": "Grace", "throws": true })).await;
        let beside = rig.identify("u2", json!({ "name": "Grace H" })).await;
        rig.settled().await;
        for (id, state) in [
            (&transient, DeliveryState::Dead),
            (&permanent, DeliveryState::Dead),
            (&behind, DeliveryState::Done),
            (&beside, DeliveryState::Done),
        ] {
            let row = rig.row(id).await;
            assert_eq!(row.state, state, "{keys}: {row:?}");
        }
        assert!(rig.row(&transient).await.reason.expect("a reason").starts_with("given up after"));
        assert_eq!(rig.account_status().await.paused, None, "{keys}");
    }
}

/// The usual policy at a pace of its own: what takes ten minutes there takes 25 ms here, so six hours are over in 900 ms. The longest time to
/// retry is cut to that, so that the outage goes beyond it.
const SIX_HOURS: &str = "retry_first = \"1ms\"\nretry_max = \"25ms\"\nmax_attempts = 20\nmax_retry_time = \"1s\"";

#[tokio::test]
async fn an_outage_of_hours_ends_with_everything_delivered_and_nothing_charged_for_it() {
    // One lane alone never pauses the account; several do.
    for (users, fault) in [(1, Fault::NoConnection), (1, status(503)), (6, status(503)), (6, Fault::NoConnection)] {
        let mut rig = Setup::person(PERSON).delivery(SIX_HOURS).start().await;
        rig.mock.fail_matching(FaultMatch::default(), fault.clone());
        let began = tokio::time::Instant::now();
        let mut ids = Vec::new();
        for user in 0..users {
            ids.push(rig.identify(&format!("u{user}"), json!({ "name": "Ada" })).await);
        }
        let over = |rig: &Rig, requests| {
            // Past every bound of the policy, in time and in attempts.
            began.elapsed() > Duration::from_millis(1200) && rig.mock.requests() > requests
        };
        wait_until("it has lasted for hours", async || over(&rig, 60).then_some(())).await;
        rig.restart().await;
        let so_far = rig.mock.requests();
        wait_until("a restart changes nothing", async || over(&rig, so_far + 40).then_some(())).await;
        assert_eq!(rig.store().stats().await.expect("counts").pending, users, "{fault:?}");
        rig.mock.clear_faults();
        rig.settled().await;
        for id in &ids {
            let row = rig.row(id).await;
            assert_eq!(row.state, DeliveryState::Done, "{fault:?}: {row:?}");
            assert!(row.attempts < 20, "{row:?}");
        }
        assert_eq!(rig.store().stats().await.expect("counts").failed, 0);
        assert_eq!(rig.store().causes().await.expect("counts"), []);
        wait_until("the pause is over", async || rig.account_status().await.paused.is_none().then_some(())).await;
    }
}
