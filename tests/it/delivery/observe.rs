//! Writes that are off, what is released afterwards, and the brake on creates.

use bytes::Bytes;
use pipewright::config::Writes;
use pipewright::delivery::{ControlError, Scope};
use pipewright::pipedrive::Method;
use pipewright::store::{Appended, Dedupe, DeliveryId, DeliveryState, NewDelivery, NewEvent};
use serde_json::json;

use super::harness::{PERSON, Rig, Setup, pipewright};
use crate::support::{Logs, get, wait_until, write};

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
async fn on_a_first_day_the_requests_are_shown_with_links_left_open() {
    let by = "by(#{ \"Segment User ID\": event.userId })";
    let kinds = [
        ("deal", "deals", "person_id", format!("deal::create(#{{ title: \"Big\", person_id: {by} }});")),
        ("lead", "leads", "person_id", format!("lead::create(#{{ title: \"Big\", person_id: {by} }});")),
        ("note", "notes", "person_id", format!("note::create(#{{ content: \"Hi\", person_id: {by} }});")),
        ("activity", "activities", "participants", format!("activity::create(#{{ subject: \"Call\", person_id: {by} }});")),
        // What comes after in the plan is shown, too, and a list of what would have been created is known to be empty.
        (
            "both",
            "persons",
            "emails",
            format!(
                "let d = deal::create(#{{ title: \"Big\", person_id: {by} }}); let p = person::create(#{{ name: \"B\" }}); \
             person::update(p, #{{ emails: \"b@acme.com\" }});"
            ),
        ),
    ];
    let mut setup = Setup::person(PERSON).account("writes = \"off\"");
    for (name, _, _, script) in &kinds {
        setup =
            setup.rule(name, &format!("type = \"track\" and event = \"{name}\""), &format!("fn handle(event) {{ {script} }}"));
    }
    let rig = setup.start().await;
    for (name, path, field, _) in kinds {
        let id = rig.track("u1", name, json!({})).await;
        rig.settled().await;
        let row = rig.row(&id).await;
        let record = rig.record(&row.id).await;
        assert_eq!(row.state, DeliveryState::Observed, "{name}: {record:#}");
        let reason = row.reason.expect("a reason");
        assert_eq!(reason, "writes are off for this account: nothing was sent; it would wait for the person it links to");
        let wait = "link_wait: it would wait for what it links to: `person_id` (person, at most 15m)";
        assert_eq!(record["steps"][0]["decisions"], json!([wait]), "{record:#}");
        for step in record["steps"].as_array().expect("steps") {
            assert_eq!(step["state"]["state"], "done", "{name}: {record:#}");
        }
        let mut sent = record["exchanges"].as_array().expect("a list").iter();
        let sent = sent.rfind(|e| e["method"] != "GET" && e["path"].as_str().is_some_and(|p| p.contains(path)));
        assert!(sent.is_some_and(|e| !e["body"][field].is_null()), "{name}: {record:#}");
    }
    assert_eq!(rig.writes(), Vec::<String>::new());
}

#[tokio::test]
async fn a_link_to_what_the_same_plan_would_create_is_observed_too() {
    let by = "#{ \"Segment User ID\": event.userId }";
    let script = format!(
        "fn handle(event) {{ person::upsert({by}, #{{ name: \"Ada\" }}); lead::create(#{{ title: \"Big\", person_id: by({by}) }}); }}"
    );
    let rig = Setup::person(&script).account("writes = \"off\"").start().await;
    let row = rig.run("u1", json!({})).await;
    let record = rig.record(&row.id).await;
    assert_eq!(
        (row.state, row.reason.as_deref()),
        (DeliveryState::Observed, Some("writes are off for this account: nothing was sent"))
    );
    let sent: Vec<_> = record["exchanges"].as_array().expect("a list").iter().filter(|e| e["method"] == "POST").collect();
    assert_eq!(sent.last().map(|e| &e["body"]["person_id"]), Some(&record["steps"][0]["state"]["id"]), "{record:#}");
}

#[tokio::test]
async fn status_metrics_and_log_say_that_writes_are_off_and_how_much_was_observed() {
    let logs = Logs::capture();
    let rig = Setup::person(PERSON).account("writes = \"off\"").start().await;
    for user in ["u1", "u2"] {
        observed(&rig, user, "a").await;
    }
    let standing = async || {
        let account = rig.account_status().await;
        let metrics = get(rig.daemon().admin_addr(), "/metrics").await.text();
        let line = metrics.lines().find(|line| line.starts_with("pipewright_account_writes{")).map(str::to_owned);
        (account.writes, account.observed, line.unwrap_or_default())
    };
    let line = |n| format!("pipewright_account_writes{{account=\"main\"}} {n}");
    wait_until("both are counted", async || (standing().await == (Some(Writes::Off), 2, line(0))).then_some(())).await;
    assert!(logs.text().contains("writes are off"), "{}", logs.text());
    let status = pipewright(&rig, &["status"]).output().await.expect("the binary starts");
    let said = String::from_utf8_lossy(&status.stdout).into_owned();
    let row = said.lines().skip_while(|l| !l.starts_with("ACCOUNT")).nth(1).expect("a row");
    assert_eq!(row.split_whitespace().collect::<Vec<_>>(), ["main", "off", "0", "0", "2"], "{said}");

    writes_on(&rig).await;
    wait_until("writes are on", async || (standing().await == (Some(Writes::On), 2, line(1))).then_some(())).await;
    assert!(logs.text().contains("writes are on"), "{}", logs.text());
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
        repeats: None,
        kept: true,
        alias: None,
        forget: false,
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
