//! Pauses, replays and discards by people; pauses of rules by themselves.

use pipewright::delivery::{ControlError, Scope};
use pipewright::failure::FailureClass;
use pipewright::mock::{Fault, FaultMatch, Hold};
use pipewright::pipedrive::Method;
use pipewright::store::{DeliveryState, ReplayOptions};
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::harness::{PERSON, Rig, Setup, pipewright};
use crate::support::binary::{code, err, out};
use crate::support::wait_until;

const NOTE: &str = r#"
fn handle(event) {
    let who = person::upsert(#{ "Segment User ID": event.userId }, #{ name: event.traits?.name ?? "Somebody" });
    note::create(#{ content: "Hello", person_id: who });
}
"#;

fn refuse(method: Method, path: &str) -> (FaultMatch, Fault) {
    (FaultMatch::next(method, path), Fault::Status { status: 400, body: json!({ "success": false, "error": "no" }) })
}

fn rule(name: &str) -> Scope {
    Scope::Rule(name.to_owned())
}

async fn resume(rig: &Rig, scope: Scope) {
    rig.daemon().delivery().resume(scope).await.expect("resumed");
}

#[tokio::test]
async fn a_paused_rules_deliveries_are_set_aside_run_first_later_and_stay_paused_over_a_restart() {
    let mut rig = Setup::new()
        .rule("person", "type = \"identify\"", PERSON)
        .rule("tracked", "type = \"track\"", &PERSON.replace("traits?.name", "properties.name"))
        .start()
        .await;
    rig.daemon().delivery().pause(rule("person"), "maintenance".to_owned()).await.expect("paused");
    let a = rig.identify("u1", json!({ "name": "a" })).await;
    let b = rig.track("u1", "Seen", json!({ "name": "b" })).await;
    rig.outcome(&b, "done").await;
    rig.restart().await;
    let paused = rig.rule_status("person").await.paused.expect("still paused");
    assert_eq!((paused.reason.as_str(), paused.class), ("maintenance", None));
    let c = rig.identify("u1", json!({ "name": "c" })).await;
    let d = rig.track("u1", "Seen", json!({ "name": "d" })).await;
    rig.outcome(&d, "done").await;
    assert_eq!(rig.row(&a).await.state, DeliveryState::Pending);
    resume(&rig, rule("person")).await;
    rig.settled().await;
    let log = rig.mock.log();
    let names: Vec<_> =
        log.iter().filter(|e| e.method != Method::Get).map(|e| e.body.as_ref().expect("a body")["name"].clone()).collect();
    assert_eq!(names, ["b", "d", "a", "c"]);
    assert_eq!(rig.row(&c).await.state, DeliveryState::Done);
    rig.restart().await;
    assert_eq!(rig.rule_status("person").await.paused, None);
    assert!(matches!(rig.daemon().delivery().resume(rule("person")).await, Err(ControlError::Refused(_))));
    assert!(matches!(rig.daemon().delivery().pause(rule("nope"), String::new()).await, Err(ControlError::Unknown(_))));
}

#[tokio::test]
async fn a_paused_account_sends_nothing_until_it_is_resumed() {
    let mut rig = Setup::person(PERSON).start().await;
    let account = || Scope::Account("main".to_owned());
    rig.daemon().delivery().pause(account(), "migration".to_owned()).await.expect("paused");
    rig.mock.clear_log();
    rig.identify("u1", json!({ "name": "a" })).await;
    rig.restart().await;
    wait_until("it is back in its lane", async || (rig.account_status().await.pending == 1).then_some(())).await;
    assert!(rig.writes().is_empty());
    assert_eq!(rig.account_status().await.paused.expect("paused").reason, "migration");
    resume(&rig, account()).await;
    rig.settled().await;
    assert_eq!(rig.persons("u1"), 1);
}

#[tokio::test]
async fn an_unknown_name_pauses_the_rule_and_a_reload_lets_it_go_on() {
    let rig = Setup::new()
        .rule("person", "type = \"identify\"", "fn handle(event) { let f = #{ name: \"Ada\" }; f[event.traits.field] = \"x\"; person::upsert(#{ \"Segment User ID\": event.userId }, f); }")
        .rule("other", "type = \"track\"", &PERSON.replace("traits?.name", "properties.name"))
        .delivery("retry_first = \"10ms\"")
        .start()
        .await;
    let id = rig.identify("u1", json!({ "field": "Segment Usr ID" })).await;
    let record = rig.outcome(&id, "wait").await;
    assert_eq!(record["class"], "misconfigured");
    let text = record["diagnostics"].to_string();
    assert!(text.contains("person.rhai") && text.contains("Segment User ID"), "{text}");
    let paused = wait_until("the rule is paused", async || rig.rule_status("person").await.paused).await;
    assert_eq!(paused.class, Some(FailureClass::Misconfigured));
    // Only that rule.
    let other = rig.track("u2", "Seen", json!({ "name": "b" })).await;
    rig.outcome(&other, "done").await;
    assert_eq!(rig.persons("u1"), 0);
    rig.edit("person", PERSON.replace("event.traits?.name", "\"Mended\"").as_str()).await;
    rig.settled().await;
    let row = rig.row(&id).await;
    assert_eq!((row.state, row.attempts), (DeliveryState::Done, 0));
    assert_eq!(rig.person("u1")["name"], "Mended");
    assert_eq!(rig.rule_status("person").await.paused, None);
}

#[tokio::test]
async fn a_rule_whose_script_keeps_failing_pauses_and_a_reload_lets_it_go_on() {
    let rig = Setup::person("fn handle(event) { throw \"no\"; }").delivery("pause_rule_after = 3").start().await;
    let mut ids = Vec::new();
    for n in 0..3 {
        ids.push(rig.identify(&format!("u{n}"), json!({})).await);
    }
    let paused = wait_until("the rule is paused", async || rig.rule_status("person").await.paused).await;
    assert!(paused.reason.contains("3 times"), "{}", paused.reason);
    let late = rig.identify("u9", json!({ "name": "Ada" })).await;
    wait_until("it waits", async || (rig.rule_status("person").await.pending == 1).then_some(())).await;
    assert_eq!(rig.count(DeliveryState::Dead).await, 3);
    rig.edit("person", PERSON).await;
    rig.settled().await;
    assert_eq!(rig.row(&late).await.state, DeliveryState::Done);
}

#[tokio::test]
async fn a_dead_letter_is_replayed_with_the_script_of_now_at_its_lanes_tail() {
    let rig = Setup::person("fn handle(event) { throw \"broken\"; }").start().await;
    let id = rig.identify("u1", json!({ "name": "Ada" })).await;
    rig.settled().await;
    let dead = rig.row(&id).await;
    assert_eq!(dead.state, DeliveryState::Dead);
    assert!(dead.reason.clone().expect("a reason").contains("broken"));
    rig.edit("person", PERSON).await;
    let replayed = rig.daemon().delivery().replay(vec![dead.id.clone()], ReplayOptions::default()).await.expect("replayed");
    assert_eq!(replayed[0].of, dead.id);
    rig.settled().await;
    assert_eq!(rig.person("u1")["name"], "Ada");
    let rows = rig.rows(&id).await;
    assert_eq!(
        rows.iter().map(|r| (r.id.clone(), r.state)).collect::<Vec<_>>(),
        [(replayed[0].id.clone(), DeliveryState::Done), (dead.id.clone(), DeliveryState::Dead)]
    );
    assert_eq!(rows[0].replay_of, Some(dead.id));
    let unknown = "999/person".parse().expect("an id");
    assert!(matches!(
        rig.daemon().delivery().replay(vec![unknown], ReplayOptions::default()).await,
        Err(ControlError::Unknown(_))
    ));
}

#[tokio::test]
async fn what_is_pending_is_not_replayed_and_what_is_under_way_is_not_discarded() {
    let rig = Setup::person(PERSON).start().await;
    let hold = Hold::new();
    rig.mock.fail_matching(FaultMatch::next(Method::Post, "/api/v2/persons"), Fault::Hold(hold.clone()));
    let first = rig.identify("u1", json!({ "name": "a" })).await;
    let second = rig.identify("u1", json!({ "name": "b" })).await;
    hold.reached().await;
    let (first, second) = (rig.row(&first).await.id, rig.row(&second).await.id);
    assert!(matches!(
        rig.daemon().delivery().replay(vec![first.clone()], ReplayOptions::default()).await,
        Err(ControlError::Refused(_))
    ));
    assert!(matches!(rig.daemon().delivery().discard(vec![second.clone(), first.clone()]).await, Err(ControlError::Refused(_))));
    assert_eq!(rig.count(DeliveryState::Pending).await, 2);
    assert_eq!(rig.daemon().delivery().discard(vec![second]).await.expect("discarded"), 1);
    hold.release();
    rig.settled().await;
    assert_eq!((rig.count(DeliveryState::Discarded).await, rig.count(DeliveryState::Done).await), (1, 1));
    assert_eq!(rig.person("u1")["name"], "a");
    assert!(matches!(rig.daemon().delivery().discard(vec![first]).await, Err(ControlError::Refused(_))));
}

#[tokio::test]
async fn a_note_is_created_once_also_after_a_replay() {
    let rig = Setup::person(NOTE).start().await;
    let row = rig.run("u1", json!({})).await;
    assert_eq!(rig.mock.count("notes"), 1);
    rig.mock.clear_log();
    let replayed = rig.daemon().delivery().replay(vec![row.id], ReplayOptions::default()).await.expect("replayed");
    rig.settled().await;
    assert_eq!(rig.mock.count("notes"), 1);
    let record = rig.record(&replayed[0].id).await;
    assert_eq!(record["steps"][1]["state"]["effect"], "exists");
    // The person is the same as before, the note is there: nothing at all is sent.
    assert_eq!(rig.mock.log(), []);
    // Another event, another note.
    rig.run("u1", json!({})).await;
    assert_eq!(rig.mock.count("notes"), 2);
}

#[tokio::test]
async fn a_refusal_after_the_first_action_is_partial_and_a_replay_goes_on_there() {
    let script = r#"
        fn handle(event) {
            let who = person::create(#{ name: "Ada" });
            deal::create(#{ title: event.traits.title, person_id: who });
        }"#;
    let rig = Setup::person(script).start().await;
    let (which, fault) = refuse(Method::Post, "/api/v2/deals");
    rig.mock.fail_matching(which, fault);
    let row = rig.run("u1", json!({ "title": "Big" })).await;
    assert_eq!(row.state, DeliveryState::Partial);
    let record = rig.record(&row.id).await;
    assert_eq!(record["steps"][0]["state"]["effect"], "created");
    assert_eq!(record["steps"][1]["state"]["state"], "todo");
    assert!(record["reason"].as_str().expect("a reason").contains("400"));
    let replayed = rig.daemon().delivery().replay(vec![row.id], ReplayOptions::default()).await.expect("replayed");
    rig.settled().await;
    assert_eq!((rig.mock.count("persons"), rig.mock.count("deals")), (1, 1));
    assert_eq!(rig.record(&replayed[0].id).await["steps"][0]["state"]["effect"], "exists");
    assert_eq!(rig.mock.entities("deals")[0]["person_id"], rig.mock.entities("persons")[0]["id"]);
}

#[tokio::test]
async fn an_event_that_is_too_old_is_recorded_and_not_executed_unless_it_is_replayed() {
    let rig = Setup::new().rule_with("person", "type = \"identify\"", PERSON, "max_event_age = \"1h\"").start().await;
    let event = |at: &str| json!({ "type": "identify", "userId": "u1", "traits": { "name": "Ada" }, "timestamp": at });
    let id = rig.send(event("2020-01-01T00:00:00Z")).await;
    rig.settled().await;
    let row = rig.row(&id).await;
    assert_eq!(row.state, DeliveryState::Skipped);
    assert!(row.reason.expect("a reason").contains("max_event_age"));
    assert_eq!(rig.persons("u1"), 0);
    rig.daemon().delivery().replay(vec![row.id], ReplayOptions::default()).await.expect("replayed");
    rig.settled().await;
    assert_eq!(rig.persons("u1"), 1);
}

#[tokio::test]
async fn a_backfill_through_import_is_held_to_the_age_of_its_events() {
    let rig = Setup::new().rule_with("person", "type = \"identify\"", PERSON, "max_event_age = \"30d\"").start().await;
    let now = jiff::Timestamp::now();
    let at = |days: i64| (now - jiff::SignedDuration::from_hours(24 * days)).to_string();
    let event = |user: &str, days: i64| json!({ "type": "identify", "messageId": user, "userId": user, "traits": { "name": user }, "timestamp": at(days) });
    let batch = json!({ "batch": [event("old", 400), event("recent", 3)] });
    let reply = rig.post("/v1/import", &batch).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    rig.settled().await;
    let (old, recent) = (rig.row("old").await, rig.row("recent").await);
    assert_eq!((old.state, recent.state), (DeliveryState::Skipped, DeliveryState::Done));
    assert_eq!((rig.persons("old"), rig.persons("recent")), (0, 1));
    assert!(rig.calls(pipewright::pipedrive::Method::Post, "/persons").len() == 1, "nothing was sent for the old one");
    assert!(rig.record(&old.id).await["reason"].as_str().expect("a reason").contains("max_event_age"));
}

#[tokio::test]
async fn a_pause_returns_when_what_was_under_way_has_ended() {
    for (word, name) in [("account", "main"), ("rule", "person")] {
        let rig = Setup::person(PERSON).start().await;
        let hold = Hold::new();
        rig.mock.fail_matching(FaultMatch::next(Method::Post, "/api/v2/persons"), Fault::Hold(hold.clone()));
        let first = rig.identify("u1", json!({ "name": "a" })).await;
        hold.reached().await;
        let at_once = pipewright(&rig, &["pause", word, name, "--no-wait"]).output().await.expect("the binary starts");
        assert_eq!((code(&at_once), out(&at_once)), (0, format!("paused: {word} {name}; 1 under way go on to their end\n")));

        let mut waiting = pipewright(&rig, &["pause", word, name]).spawn().expect("the binary starts");
        let mut lines = BufReader::new(waiting.stderr.take().expect("its errors")).lines();
        let said = lines.next_line().await.expect("readable").expect("a line");
        assert!(said.contains("waiting for 1 under way to end"), "{said}");
        assert_eq!(waiting.try_wait().expect("its state"), None);
        let second = rig.identify("u1", json!({ "name": "b" })).await;
        hold.release();
        let ended = waiting.wait_with_output().await.expect("it ends");
        assert_eq!((code(&ended), out(&ended)), (0, format!("paused: {word} {name}\n")));
        assert_eq!((rig.row(&first).await.state, rig.row(&second).await.state), (DeliveryState::Done, DeliveryState::Pending));
    }
}

#[tokio::test]
async fn a_pause_that_somebody_else_ends_is_waited_for_no_longer() {
    let rig = Setup::person(PERSON).start().await;
    let hold = Hold::new();
    rig.mock.fail_matching(FaultMatch::next(Method::Post, "/api/v2/persons"), Fault::Hold(hold.clone()));
    rig.identify("u1", json!({ "name": "a" })).await;
    hold.reached().await;
    let mut waiting = pipewright(&rig, &["pause", "rule", "person"]).spawn().expect("the binary starts");
    let mut lines = BufReader::new(waiting.stderr.take().expect("its errors")).lines();
    lines.next_line().await.expect("readable").expect("a line");
    resume(&rig, rule("person")).await;
    let said = lines.next_line().await.expect("readable").expect("a line");
    assert!(said.contains("person was resumed by somebody else meanwhile"), "{said}");
    assert_eq!(code(&waiting.wait_with_output().await.expect("it ends")), 1);
    hold.release();
}

#[tokio::test]
async fn status_says_where_the_unfinished_stand() {
    let deal = "fn handle(event) { deal::create(#{ title: \"Big\", person_id: by(#{ \"Segment User ID\": event.userId }) }); }";
    let rig = Setup::person(PERSON).rule("deal", "type = \"track\"", deal).start().await;
    let parked = rig.track("u1", "Bought", json!({})).await;
    rig.outcome(&parked, "parked").await;
    wait_until("it has left its lane", async || (rig.status().await.running == 0).then_some(())).await;
    let said = async || {
        let output = pipewright(&rig, &["status"]).output().await.expect("the binary starts");
        out(&output).lines().find(|line| line.starts_with("deliveries")).unwrap_or_else(|| panic!("{}", err(&output))).to_owned()
    };
    let line = said().await;
    assert!(line.contains("1 unfinished (0 running, 0 waiting for a retry, 1 for what they link to, in 1 lanes)"), "{line}");

    rig.daemon().delivery().pause(rule("person"), "lunch".to_owned()).await.expect("paused");
    for user in ["u2", "u3"] {
        rig.identify(user, json!({ "name": "a" })).await;
    }
    let line = said().await;
    assert!(line.contains("3 unfinished (0 running, 0 waiting for a retry, 1 for what they link to, 2 behind a pause"), "{line}");
    // Nothing is counted twice when its account is paused, too.
    rig.daemon().delivery().pause(Scope::Account("main".to_owned()), "lunch".to_owned()).await.expect("paused");
    assert_eq!(rig.status().await.held, 3);
}

#[tokio::test]
async fn events_that_a_rule_wants_are_refused_while_too_many_wait() {
    let rig = Setup::person(PERSON).server("max_backlog = 2").start().await;
    rig.daemon().delivery().pause(Scope::Account("main".to_owned()), "a test".to_owned()).await.expect("it pauses");
    rig.identify("u1", json!({ "name": "Ada" })).await;
    rig.identify("u2", json!({ "name": "Bob" })).await;
    let third = json!({ "type": "identify", "userId": "u3", "traits": { "name": "Cy" } });
    let reply = rig.post("/v1/identify", &third).await;
    assert_eq!((reply.status, reply.json()["error"]["code"].as_str()), (429, Some("backlog_full")), "{}", reply.text());
    // What no rule wants waits for nothing.
    rig.track("u3", "Seen", json!({})).await;
    rig.daemon().delivery().resume(Scope::Account("main".to_owned())).await.expect("it goes on");
    rig.settled().await;
    assert_eq!(rig.post("/v1/identify", &third).await.status, 200);
}
