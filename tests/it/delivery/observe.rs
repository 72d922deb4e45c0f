//! Writes that are off, what is released afterwards, and the brake on creates.

use bytes::Bytes;
use pipewright::delivery::{ControlError, Scope};
use pipewright::pipedrive::Method;
use pipewright::store::{Appended, Dedupe, DeliveryId, DeliveryState, NewDelivery, NewEvent};
use serde_json::json;

use super::harness::{PERSON, Rig, Setup};
use crate::support::write;

/// Turns writes on, as a person does in rules.toml.
async fn writes_on(rig: &Rig) {
    let path = rig.dir.path().join("rules.toml");
    let text = std::fs::read_to_string(&path).expect("it is there");
    write(rig.dir.path(), "rules.toml", &text.replace("writes = \"off\"", "writes = \"on\""));
    let outcome = rig.daemon().reload().reload().await;
    assert!(matches!(outcome, pipewright::reload::ReloadOutcome::Swapped { .. }), "{outcome:?}");
}

async fn observed(rig: &Rig, user: &str, name: &str) -> DeliveryId {
    let row = rig.run(user, json!({ "name": name })).await;
    assert_eq!(row.state, DeliveryState::Observed);
    row.id
}

#[tokio::test]
async fn what_was_observed_is_released_once_in_its_order_with_the_script_of_now() {
    let mut rig = Setup::person(PERSON).account("writes = \"off\"").start().await;
    let first = observed(&rig, "u1", "a").await;
    let second = observed(&rig, "u1", "b").await;
    let other = observed(&rig, "u2", "x").await;
    let release = |ids: Vec<DeliveryId>| rig.daemon().delivery().release(ids);
    let refused = release(vec![first.clone()]).await;
    assert!(matches!(&refused, Err(ControlError::Refused(why)) if why.contains("writes = \"on\"")), "{refused:?}");

    let account = || Scope::Account("main".to_owned());
    rig.daemon().delivery().pause(account(), "release".to_owned()).await.expect("paused");
    writes_on(&rig).await;
    rig.edit("person", &PERSON.replace("event.traits?.name", "event.traits?.name + \"!\"")).await;
    let newer = rig.identify("u1", json!({ "name": "c" })).await;
    assert!(release(vec![second.clone(), other.clone(), first.clone()]).await.is_ok_and(|n| n == 3));
    let again = release(vec![first.clone()]).await;
    assert!(matches!(&again, Err(ControlError::Refused(why)) if why.contains("is pending")), "{again:?}");

    // A restart in between changes nothing about their order.
    rig.restart().await;
    rig.daemon().delivery().resume(account()).await.expect("resumed");
    rig.settled().await;
    let log = rig.mock.log();
    let names = |user: &str| {
        let id = rig.person(user)["id"].clone();
        let mine = |path: &str| path.ends_with(&format!("/persons/{id}")) || path.ends_with("/persons");
        log.iter()
            .filter(|e| e.method != Method::Get && mine(&e.path))
            .filter_map(|e| e.body.as_ref()?["name"].as_str().map(str::to_owned))
            .filter(|name| (name == "x!") == (user == "u2"))
            .collect::<Vec<_>>()
    };
    assert_eq!(names("u1"), ["a!", "b!", "c!"]);
    assert_eq!(names("u2"), ["x!"]);
    assert_eq!(rig.row(&newer).await.state, DeliveryState::Done);
    let records = rig.records(&first).await;
    let outcomes: Vec<_> = records.iter().map(|r| (r["attempt"].clone(), r["outcome"].clone())).collect();
    assert_eq!(outcomes, [(json!(1), json!("observed")), (json!(2), json!("done"))], "what was observed is kept: {records:#?}");
    assert_eq!(records[0]["exchanges"].as_array().expect("a list").iter().filter(|e| e["method"] == "POST").count(), 1);
    let done = rig.daemon().delivery().release(vec![first]).await;
    assert!(matches!(&done, Err(ControlError::Refused(why)) if why.contains("is done")), "{done:?}");
}

#[tokio::test]
async fn a_release_of_several_is_refused_whole_when_one_cannot_be() {
    let rig = Setup::person(PERSON).account("writes = \"off\"").start().await;
    let first = observed(&rig, "u1", "a").await;
    writes_on(&rig).await;
    let done = rig.run("u2", json!({ "name": "b" })).await;
    assert_eq!(done.state, DeliveryState::Done);
    assert!(rig.daemon().delivery().release(vec![first.clone(), done.id]).await.is_err());
    assert!(
        rig.daemon().delivery().release(vec![first.clone(), DeliveryId { rule: "no".into(), ..first.clone() }]).await.is_err()
    );
    assert_eq!((rig.persons("u1"), rig.count(DeliveryState::Observed).await), (0, 1));
}

#[tokio::test]
async fn what_is_released_long_after_it_came_still_waits_for_what_it_links_to() {
    let deal = "fn handle(event) { deal::create(#{ title: \"Big\", person_id: by(#{ \"Segment User ID\": event.userId }) }); }";
    let rig = Setup::person(PERSON).rule("deal", "type = \"track\"", deal).account("writes = \"off\"").start().await;
    let long_ago = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(48);
    let at = long_ago.to_string();
    let body =
        json!({ "type": "track", "event": "Bought", "messageId": "m-old", "userId": "u1", "timestamp": at, "receivedAt": at });
    let event = NewEvent {
        source: "website".to_owned(),
        message_id: "m-old".to_owned(),
        kind: "track",
        name: Some("Bought".to_owned()),
        user: Some("u1".to_owned()),
        received_at: long_ago,
        payload: Bytes::from(body.to_string()),
        deliveries: vec![NewDelivery {
            rule: "deal".into(),
            account: "main".into(),
            key: "u:u1".to_owned(),
            after: Vec::new(),
            behind: Vec::new(),
        }],
        dedupe: Dedupe::Window,
        replay_of: None,
        alias: None,
    };
    let Appended::Fresh(seq) = rig.store().append(vec![event]).await.expect("stored")[0] else { panic!("fresh") };
    rig.settled().await;
    writes_on(&rig).await;
    let id = DeliveryId { seq, rule: "deal".into() };
    rig.daemon().delivery().release(vec![id.clone()]).await.expect("released");
    rig.outcome("m-old", "parked").await;
    rig.identify("u1", json!({ "name": "Ada" })).await;
    rig.settled().await;
    assert_eq!(rig.row("m-old").await.state, DeliveryState::Done);
}
