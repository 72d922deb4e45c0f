//! Shadow scripts on live traffic.

use std::collections::BTreeMap;

use pipewright::mock::{Fault, FaultMatch};
use pipewright::pipedrive::Method;
use pipewright::reload::ReloadOutcome;
use pipewright::store::DeliveryState;
use serde_json::{Value, json};

use super::harness::{PERSON, Rig, Setup};
use crate::support::{wait_until, write};

const SHADOW: &str = "scripts/next/person.rhai";

/// A daemon whose rule `person` has a shadow.
async fn with_shadow(setup: Setup, shadow: &str) -> Rig {
    let rig = setup.start().await;
    write(rig.dir.path(), SHADOW, shadow);
    let path = rig.dir.path().join("rules.toml");
    let rules = std::fs::read_to_string(&path).expect("readable") + "shadow = \"next/person.rhai\"\n";
    std::fs::write(&path, rules).expect("writable");
    let outcome = rig.daemon().reload().reload().await;
    assert!(matches!(outcome, ReloadOutcome::Swapped { .. }), "{outcome:?}");
    rig
}

/// `same 1, different 2`, once so many runs were counted.
async fn counted(rig: &Rig, runs: u64) -> String {
    let counts = wait_until(&format!("{runs} runs of the shadow"), || async {
        let counts = rig.store().shadow_counts().await.expect("reads");
        let all: BTreeMap<_, _> = counts.iter().map(|count| (count.verdict, count.runs)).collect();
        (all.values().sum::<u64>() >= runs).then_some(all)
    })
    .await;
    counts.iter().map(|(verdict, runs)| format!("{verdict} {runs}")).collect::<Vec<_>>().join(", ")
}

async fn differences(rig: &Rig) -> Vec<Value> {
    let rows = rig.store().shadow_differences("person", 10).await.expect("reads");
    rows.iter().map(|row| serde_json::from_slice(&row.difference).expect("JSON")).collect()
}

#[tokio::test]
async fn a_shadow_sends_nothing_and_what_it_makes_otherwise_is_counted_and_told_field_by_field() {
    let shadow = r#"
fn handle(event) {
    if event.userId == "u3" { skip("not this one"); }
    let name = if event.userId == "u2" { "BEA" } else { event.traits?.name };
    person::upsert(#{ "Segment User ID": event.userId }, #{ name: name });
}
"#;
    let rig = with_shadow(Setup::person(PERSON), shadow).await;
    for (user, name) in [("u1", "Ada"), ("u2", "Bea"), ("u3", "Cyd")] {
        assert_eq!(rig.run(user, json!({ "name": name })).await.state, DeliveryState::Done);
    }
    assert_eq!(counted(&rig, 3).await, "same 1, different 2");
    assert_eq!(rig.person("u2")["name"], "Bea");
    assert_eq!(rig.calls(Method::Post, "/api/v2/persons").len(), 3, "one each, of the rule's own script");
    let told = differences(&rig).await;
    assert_eq!(told[0]["shadow"], json!({ "outcome": "skip", "reason": "not this one" }), "the newest first: {told:#?}");
    assert_eq!(told[0]["actions"][0]["change"], "removed");
    let field = &told[1]["actions"][0]["fields"][0];
    assert_eq!(*field, json!({ "field": "name", "before": "\"Bea\"", "after": "\"BEA\"" }), "{told:#?}");
    assert!(rig.daemon().metrics().render().contains("shadow_runs_total{rule=\"person\",verdict=\"different\"} 2"));
}

#[tokio::test]
async fn a_shadow_is_told_what_the_own_run_read_and_other_reads_are_not_guessed() {
    let own = r#"
fn handle(event) {
    let there = person::find(#{ email: event.traits.email });
    person::upsert(#{ "Segment User ID": event.userId }, #{ name: if there == () { "new" } else { there.name } });
}
"#;
    let shadow = r#"
fn handle(event) {
    if event.userId == "late" { person::upsert(#{ "Segment User ID": event.userId }, #{ name: "first" }); }
    if event.userId == "more" { person::find(#{ "Segment User ID": "somebody" }); }
    let there = person::find(#{ email: event.traits.email });
    person::upsert(#{ "Segment User ID": event.userId }, #{ name: there?.name ?? "new" });
}
"#;
    let rig = with_shadow(Setup::person(own), shadow).await;
    for user in ["plain", "more", "late"] {
        let row = rig.run(user, json!({ "email": format!("{user}@shadow.example") })).await;
        assert_eq!(row.state, DeliveryState::Done, "{:?}", row.reason);
    }
    assert_eq!(counted(&rig, 3).await, "same 1, unknown 2");
    let why: Vec<_> = differences(&rig).await.iter().map(|d| d["why"].as_str().expect("a reason").to_owned()).collect();
    assert!(why[0].starts_with("scripts/next/person.rhai:5 reads after it wrote something else"), "{why:?}");
    assert!(why[1].starts_with("scripts/next/person.rhai:4 reads what the rule's own script did not read"), "{why:?}");
    // Of the one that only the shadow would look for, nobody asked Pipedrive.
    let asked = format!("{:?}", rig.mock.log());
    assert!(asked.contains("plain@shadow.example") && !asked.contains("somebody"), "{asked}");
}

#[tokio::test]
async fn a_shadow_that_fails_or_never_ends_harms_no_delivery() {
    let shadow = r#"
fn handle(event) {
    if event.userId == "u1" { throw "broken"; }
    loop { }
}
"#;
    let rig = with_shadow(Setup::person(PERSON), shadow).await;
    for user in ["u1", "u2"] {
        assert_eq!(rig.run(user, json!({ "name": "Ada" })).await.state, DeliveryState::Done);
    }
    assert_eq!(counted(&rig, 2).await, "failed 2");
    let told = differences(&rig).await;
    assert!(told.iter().any(|d| d["shadow"]["reason"].as_str().is_some_and(|r| r.contains("broken"))), "{told:#?}");
    let status = rig.daemon().delivery().status().await.expect("a status");
    assert!(status.rules.iter().all(|rule| rule.paused.is_none()), "its failures are not the rule's: {status:?}");
}

#[tokio::test]
async fn a_delivery_is_compared_once_however_often_it_is_tried() {
    let rig = with_shadow(Setup::person(PERSON), PERSON).await;
    let persons = FaultMatch { method: Some(Method::Post), ..FaultMatch::always("/api/v2/persons") };
    rig.mock.fail_matching(persons, Fault::NoConnection);
    let id = rig.identify("u1", json!({ "name": "Ada" })).await;
    rig.outcome(&id, "retry").await;
    rig.mock.clear_faults();
    rig.settled().await;
    assert_eq!(rig.run("u2", json!({ "name": "Bea" })).await.state, DeliveryState::Done);
    assert_eq!(counted(&rig, 2).await, "same 2");
    // With another script the count begins anew.
    write(rig.dir.path(), SHADOW, &PERSON.replace("event.traits?.name", "\"Z\""));
    assert!(matches!(rig.daemon().reload().reload().await, ReloadOutcome::Swapped { .. }));
    rig.run("u3", json!({ "name": "Cyd" })).await;
    wait_until("the new count", || async {
        let counts = rig.store().shadow_counts().await.expect("reads");
        (counts.len() == 1 && counts[0].runs == 1 && counts[0].verdict.as_str() == "different").then_some(())
    })
    .await;
}

#[tokio::test]
async fn when_shadows_are_slow_they_are_dropped_and_no_delivery_waits() {
    let slow = "fn handle(event) { for i in 0..10000000 { i + i; } }\n";
    let rig = with_shadow(Setup::person("fn handle(event) { skip(\"quick\"); }\n"), slow).await;
    for number in 0..100 {
        rig.identify(&format!("u{number}"), json!({})).await;
    }
    rig.settled().await;
    wait_until("some of them to be dropped", || async {
        let counts = rig.store().shadow_counts().await.expect("reads");
        counts.iter().any(|count| count.verdict.as_str() == "dropped" && count.runs > 10).then_some(())
    })
    .await;
}
