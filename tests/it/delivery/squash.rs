//! Requests that take along what later deliveries of the lane say.

use pipewright::mock::{Fault, FaultMatch, Hold};
use pipewright::pipedrive::Method;
use pipewright::store::{DeliveryRow, DeliveryState};
use serde_json::{Value, json};

use super::harness::{Rig, Setup};

/// A person by user id, with a plan.
const PERSON: &str = r#"
fn handle(event) {
    let t = event.traits;
    if t?.reads != () { person::find(#{ "Segment User ID": event.userId }); }
    person::upsert(#{ "Segment User ID": event.userId }, #{ name: t?.name, "Plan": t?.plan, phones: t?.phone });
}
"#;

const DEAL: &str = r#"
fn handle(event) {
    let p = event.properties;
    deal::upsert(#{ "Segment Deal ID": p.id }, #{ title: p?.title, value: p?.value, status: p?.status, person_id: by(#{ "Segment User ID": event.userId }) });
}
"#;

async fn rig() -> Rig {
    Setup::person(PERSON).rule("deal", "type = \"track\"", DEAL).squashing().start().await
}

/// Hands in events while the lane's first one is held at its script's read of the account, so that all of them wait in the lane.
async fn backlog(rig: &Rig, first: Value, rest: &[Value]) -> Vec<DeliveryRow> {
    let pause = rig.daemon().delivery().pause(pipewright::delivery::Scope::Account("main".to_owned()), "a test".to_owned());
    pause.await.expect("it pauses");
    let mut ids = vec![rig.send(first).await];
    for event in rest {
        ids.push(rig.send(event.clone()).await);
    }
    rig.daemon().delivery().resume(pipewright::delivery::Scope::Account("main".to_owned())).await.expect("it goes on");
    rig.settled().await;
    let mut rows = Vec::new();
    for id in ids {
        rows.extend(rig.rows(&id).await);
    }
    rows
}

fn identify(traits: Value) -> Value {
    json!({ "type": "identify", "userId": "u1", "traits": traits })
}

fn track(properties: Value) -> Value {
    json!({ "type": "track", "userId": "u1", "event": "Deal", "properties": properties })
}

async fn effects(rig: &Rig, rows: &[DeliveryRow]) -> Vec<String> {
    let mut effects = Vec::new();
    for row in rows {
        effects.push(rig.record(&row.id).await["steps"][0]["state"]["effect"].as_str().unwrap_or_default().to_owned());
    }
    effects
}

#[tokio::test]
async fn updates_that_wait_go_out_as_one_and_each_has_its_own_record() {
    let rig = rig().await;
    rig.run("u1", json!({ "name": "Ada", "plan": "Free" })).await;
    let id = rig.person("u1")["id"].clone();
    rig.mock.clear_log();
    let rest =
        [identify(json!({ "name": "Ada L" })), identify(json!({ "plan": "Pro" })), identify(json!({ "name": "Ada Lovelace" }))];
    let rows = backlog(&rig, identify(json!({ "name": "A" })), &rest).await;
    assert_eq!(rig.writes(), [format!("PATCH /api/v2/persons/{id}")]);
    let person = rig.person("u1");
    assert_eq!(
        (&person["name"], &person["custom_fields"][rig.key("persons", "Plan")]),
        (&json!("Ada Lovelace"), &json!(rig.mock.option_id("persons", "Plan", "Pro")))
    );
    assert_eq!(effects(&rig, &rows).await, ["updated"; 4]);
    let first = &rows[0].id;
    assert_eq!(
        rig.decisions(first).await.last().map(String::as_str),
        Some(&*format!("squash: the request also carries what later events say: {}, {}, {}", rows[1].id, rows[2].id, rows[3].id))
    );
    for (row, (before, after)) in
        rows[1..].iter().zip([(json!("A"), json!("Ada L")), (json!(null), json!(null)), (json!("Ada L"), json!("Ada Lovelace"))])
    {
        let record = rig.record(&row.id).await;
        assert!(
            rig.decisions(&row.id).await.contains(&format!("squash: what it says went out with the request of {first}")),
            "{record:#}"
        );
        assert_eq!((record["tokens"].as_u64(), record["exchanges"].as_array().map_or(0, Vec::len)), (Some(0), 0));
        if !after.is_null() {
            let change = &record["steps"][0]["changes"][0];
            assert_eq!((&change["before"], &change["after"]), (&before, &after), "{record:#}");
        }
    }
}

#[tokio::test]
async fn a_create_takes_along_what_is_said_of_the_new_record() {
    let rig = rig().await;
    let rest = [
        identify(json!({ "plan": "Pro" })),
        track(json!({ "id": "d1", "title": "Big" })),
        identify(json!({ "name": "Ada L" })),
        track(json!({ "id": "d1", "value": 7 })),
    ];
    let rows = backlog(&rig, identify(json!({ "name": "Ada" })), &rest).await;
    let writes = rig.writes();
    assert_eq!(writes, ["POST /api/v2/persons", "POST /api/v2/deals"]);
    assert_eq!(effects(&rig, &rows).await, ["created", "updated", "created", "updated", "updated"]);
    let deal = &rig.mock.entities("deals")[0];
    assert_eq!(
        (rig.person("u1")["name"].as_str(), deal["value"].as_f64(), &deal["person_id"]),
        (Some("Ada L"), Some(7.0), &rig.person("u1")["id"])
    );
}

#[tokio::test]
async fn what_pipedrive_refuses_is_sent_by_itself_and_fails_alone() {
    let rig = rig().await;
    rig.run("u1", json!({ "name": "Ada" })).await;
    rig.mock.clear_log();
    let refusal =
        Fault::Status { status: 400, body: json!({ "success": false, "error": "no", "code": "ERR_SCHEMA_VALIDATION_FAILED" }) };
    // The joined request, and the second one's own.
    rig.mock.fail_matching(
        FaultMatch { method: Some(Method::Patch), times: 1, ..FaultMatch::always("/api/v2/persons/") },
        refusal.clone(),
    );
    rig.mock.fail_matching(
        FaultMatch { method: Some(Method::Patch), skip: 1, times: 1, ..FaultMatch::always("/api/v2/persons/") },
        refusal,
    );
    let rows = backlog(
        &rig,
        identify(json!({ "name": "Ada L" })),
        &[identify(json!({ "plan": "Pro" })), identify(json!({ "phone": "+49 30 1234567" }))],
    )
    .await;
    assert_eq!(
        rows.iter().map(|row| row.state).collect::<Vec<_>>(),
        [DeliveryState::Done, DeliveryState::Dead, DeliveryState::Done]
    );
    assert_eq!(rig.writes().len(), 4);
    assert_eq!(
        (rig.person("u1")["name"].as_str(), rig.person("u1")["phones"].as_array().map(Vec::len)),
        (Some("Ada L"), Some(1))
    );
}

#[tokio::test]
async fn changes_of_status_are_sent_one_by_one() {
    let rig = rig().await;
    rig.run("u1", json!({ "name": "Ada" })).await;
    rig.send(track(json!({ "id": "d1", "title": "Big" }))).await;
    rig.settled().await;
    rig.mock.clear_log();
    let rest = [
        track(json!({ "id": "d1", "status": "won" })),
        track(json!({ "id": "d1", "value": 2 })),
        track(json!({ "id": "d1", "status": "open" })),
    ];
    backlog(&rig, track(json!({ "id": "d1", "value": 1 })), &rest).await;
    let bodies: Vec<String> =
        rig.calls(Method::Patch, "deals").iter().map(|call| call.body.clone().unwrap_or_default().to_string()).collect();
    assert_eq!(bodies, [r#"{"value":1}"#, r#"{"status":"won"}"#, r#"{"value":2}"#, r#"{"status":"open"}"#]);
}

#[tokio::test]
async fn a_delivery_that_reads_sees_nothing_of_those_behind_it() {
    let rig = rig().await;
    rig.run("u1", json!({ "name": "Ada" })).await;
    rig.mock.clear_log();
    let rest = [identify(json!({ "reads": true, "plan": "Pro" })), identify(json!({ "name": "Third" }))];
    let rows = backlog(&rig, identify(json!({ "name": "First" })), &rest).await;
    let record = rig.record(&rows[1].id).await;
    assert_eq!(record["reads"][0][1]["name"], "First", "{record:#}");
    assert_eq!((rig.calls(Method::Patch, "persons").len(), rig.person("u1")["name"].as_str()), (2, Some("Third")));
}

#[tokio::test]
async fn a_crash_after_a_joined_request_leaves_each_delivery_to_see_to_what_it_says() {
    let mut rig = Setup::person(PERSON).squashing().start_apart().await;
    rig.run("u1", json!({ "name": "Ada" })).await;
    let hold = Hold::new();
    rig.mock.fail_matching(FaultMatch::next(Method::Patch, "/api/v2/persons/"), Fault::HoldAnswer(hold.clone()));
    let pause = rig.daemon().delivery().pause(pipewright::delivery::Scope::Account("main".to_owned()), "a test".to_owned());
    pause.await.expect("it pauses");
    for traits in [json!({ "name": "Second" }), json!({ "plan": "Pro" }), json!({ "name": "Fourth" })] {
        rig.identify("u1", traits).await;
    }
    rig.daemon().delivery().resume(pipewright::delivery::Scope::Account("main".to_owned())).await.expect("it goes on");
    hold.reached().await;
    rig.crash().await;
    rig.settled().await;
    assert_eq!((rig.person("u1")["name"].as_str(), rig.count(DeliveryState::Done).await), (Some("Fourth"), 4));
}

#[tokio::test]
async fn it_can_be_switched_off() {
    let rig = Setup::person(PERSON).start().await;
    rig.run("u1", json!({ "name": "Ada" })).await;
    rig.mock.clear_log();
    backlog(&rig, identify(json!({ "name": "Ada L" })), &[identify(json!({ "plan": "Pro" }))]).await;
    assert_eq!(rig.calls(Method::Patch, "persons").len(), 2);
}
