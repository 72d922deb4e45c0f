//! Finding the entity: the index, several criteria, races, policies.

use std::time::Duration;

use pipewright::mock::{Fault, FaultMatch, Hold};
use pipewright::pipedrive::Method;
use pipewright::store::DeliveryState;
use serde_json::{Value, json};

use super::harness::{PERSON, Rig, Setup};

/// A day: search sees nothing of what a test writes.
const BLIND: Duration = Duration::from_secs(86_400);

fn two_criteria(options: &str) -> String {
    format!(
        "fn handle(event) {{ let t = event.traits; person::upsert([#{{ \"Segment User ID\": event.userId }}, #{{ email: t?.email }}], \
         #{{ name: t?.name, emails: t?.email, phones: t?.phone }}, #{{ {options} }}); }}"
    )
}

fn log(rig: &Rig) -> Vec<String> {
    rig.mock.log().iter().map(pipewright::mock::MockExchange::call).collect()
}

#[tokio::test]
async fn what_is_known_costs_no_look_up_and_what_is_unchanged_no_request() {
    let rig = Setup::person(PERSON).start().await;
    rig.run("u1", json!({ "name": "Ada" })).await;
    let id = rig.person("u1")["id"].clone();
    rig.mock.clear_log();
    let row = rig.run("u1", json!({ "name": "Ada" })).await;
    assert_eq!((row.state, log(&rig).len()), (DeliveryState::Done, 0));
    assert_eq!(rig.record(&row.id).await["steps"][0]["state"]["effect"], "unchanged");
    rig.run("u1", json!({ "name": "Ada L" })).await;
    assert_eq!(log(&rig), [format!("PATCH /api/v2/persons/{id}")]);
    // What a person changed since stands while the source says the same.
    rig.mock.edit("persons", &id, json!({ "name": "Countess" }).as_object().expect("a map").clone());
    rig.run("u1", json!({ "name": "Ada L" })).await;
    assert_eq!(rig.person("u1")["name"], "Countess");
}

#[tokio::test]
async fn the_searchs_lag_makes_no_duplicates_whichever_criterion_an_event_brings() {
    let rig = Setup::person(&two_criteria("on_create: #{ name: \"Somebody\" }"))
        .rule(
            "tracked",
            "type = \"track\"",
            "fn handle(event) { person::upsert(#{ email: event.properties.email }, #{ name: \"Seen\" }); }",
        )
        .start()
        .await;
    rig.mock.set_search_lag(BLIND);
    rig.run("u1", json!({ "email": "Ada@acme.com" })).await;
    rig.track("x", "Seen", json!({ "email": "ada@ACME.com " })).await;
    rig.settled().await;
    rig.run("u1", json!({ "name": "Ada", "email": "ada@new.org" })).await;
    // Also an address that was written, not matched by.
    rig.track("y", "Seen", json!({ "email": "ada@new.org" })).await;
    rig.settled().await;
    assert_eq!(rig.mock.count("persons"), 1);
    assert_eq!(rig.count(DeliveryState::Done).await, 4);
}

#[tokio::test]
async fn two_lanes_that_create_the_same_organization_make_one() {
    let script =
        "fn handle(event) { organization::upsert(#{ \"Segment Group ID\": event.context.groupId }, #{ name: \"Acme\" }); }";
    let rig = Setup::person(script).start().await;
    rig.mock.set_search_lag(BLIND);
    // All of them miss before the first one creates.
    let holds = [Hold::new(), Hold::new(), Hold::new()];
    for (user, hold) in ["u1", "u2", "u3"].into_iter().zip(&holds) {
        rig.mock.fail_matching(FaultMatch::next(Method::Get, "/itemSearch"), Fault::Hold(hold.clone()));
        rig.send(json!({ "type": "identify", "userId": user, "context": { "groupId": "g1" } })).await;
        hold.reached().await;
    }
    holds.iter().for_each(Hold::release);
    rig.settled().await;
    assert_eq!(rig.calls(Method::Get, "/itemSearch").len(), 3);
    assert_eq!(rig.mock.count("organizations"), 1);
    assert_eq!(rig.calls(Method::Post, "/api/v2/organizations").len(), 1);
}

#[tokio::test]
async fn user_id_and_email_beside_email_alone_make_one_person() {
    for first in ["identify", "track"] {
        let rig = Setup::person(&two_criteria(""))
            .rule(
                "tracked",
                "type = \"track\"",
                "fn handle(event) { person::upsert(#{ email: event.properties.email }, #{ name: \"Ada\" }); }",
            )
            .start()
            .await;
        rig.mock.set_search_lag(BLIND);
        let hold = Hold::new();
        rig.mock.fail_matching(FaultMatch::next(Method::Post, "/api/v2/persons"), Fault::Hold(hold.clone()));
        let of_user = json!({ "type": "identify", "userId": "u1", "traits": { "name": "Ada", "email": "ada@acme.com" } });
        let of_email = json!({ "type": "track", "userId": "x", "event": "Seen", "properties": { "email": "ada@acme.com" } });
        let events = if first == "identify" { [of_user, of_email] } else { [of_email, of_user] };
        for event in events {
            rig.send(event).await;
        }
        hold.reached().await;
        hold.release();
        rig.settled().await;
        assert_eq!(rig.mock.count("persons"), 1, "{first} first");
        // The weaker hit got the user id.
        assert_eq!(rig.person("u1")["emails"][0]["value"], "ada@acme.com");
        assert_eq!(rig.count(DeliveryState::Done).await, 2);
    }
}

#[tokio::test]
async fn a_hit_by_a_weaker_criterion_back_fills_the_stronger_and_is_known_by_it_then() {
    let rig = Setup::person(&two_criteria("")).start().await;
    let there = rig.aside("/api/v2/persons", json!({ "name": "Ada", "emails": [{ "value": "ada@acme.com" }] }));
    let row = rig.run("u1", json!({ "email": "ADA@acme.com" })).await;
    assert_eq!(row.state, DeliveryState::Done);
    assert_eq!(rig.person("u1")["id"], there["id"]);
    let line = "back-fill: found by emails = ada@acme.com; the stronger criterion is written, too: `Segment User ID`";
    let said = rig.decisions(&row.id).await;
    assert!(said.iter().any(|l| l == line), "{said:?}");
    rig.mock.clear_log();
    rig.run("u1", json!({ "name": "Ada L" })).await;
    assert_eq!(log(&rig), [format!("PATCH /api/v2/persons/{}", there["id"])]);
}

#[tokio::test]
async fn when_the_stronger_criterion_holds_another_value_on_conflict_decides() {
    for (options, state, persons) in [
        ("", DeliveryState::Dead, 1),
        ("on_conflict: \"take\"", DeliveryState::Done, 1),
        ("on_conflict: \"create\"", DeliveryState::Done, 2),
    ] {
        let rig = Setup::person(&two_criteria(options)).start().await;
        let key = rig.key("persons", "Segment User ID");
        let body = json!({ "name": "Ada", "emails": [{ "value": "ada@acme.com" }], "custom_fields": { key: "other" } });
        let there = rig.aside("/api/v2/persons", body);
        let row = rig.run("u1", json!({ "name": "Grace", "email": "ada@acme.com" })).await;
        assert_eq!((row.state, rig.mock.count("persons")), (state, persons), "{options}: {:?}", row.reason);
        match options {
            "" => {
                assert!(row.reason.expect("a reason").contains("on_conflict"));
                assert!(rig.writes().is_empty());
            }
            "on_conflict: \"take\"" => {
                assert_eq!(rig.person("u1")["id"], there["id"]);
                let line = "on_conflict: take: found by emails = ada@acme.com; `Segment User ID` holds another value, which is overwritten";
                assert_eq!(rig.decisions(&row.id).await[0], line);
            }
            _ => {
                let line = format!(
                    "on_conflict: create: the person {}, found by emails = ada@acme.com, is left alone, since its `Segment User ID` holds \
                     another value; another person is created",
                    there["id"]
                );
                assert_eq!(rig.decisions(&row.id).await, [line]);
                assert_ne!(rig.person("u1")["id"], there["id"]);
                assert_eq!(rig.person("other")["name"], "Ada");
            }
        }
    }
}

#[tokio::test]
async fn of_several_hits_on_many_chooses() {
    for (options, chosen) in [("", Some(0)), ("on_many: \"newest\"", Some(2)), ("on_many: \"fail\"", None)] {
        let script = format!(
            "fn handle(event) {{ person::upsert(#{{ email: event.traits.email }}, #{{ name: \"Hit\" }}, #{{ {options} }}); }}"
        );
        let rig = Setup::person(&script).start().await;
        let mut there = Vec::new();
        for name in ["a", "b", "c"] {
            there.push(rig.aside("/api/v2/persons", json!({ "name": name, "emails": [{ "value": "x@acme.com" }] })));
            rig.mock.advance(Duration::from_secs(5));
        }
        let row = rig.run("u1", json!({ "email": "x@acme.com" })).await;
        match chosen {
            Some(n) => {
                assert_eq!(row.state, DeliveryState::Done, "{options}");
                assert_eq!(rig.mock.entity("persons", &there[n]["id"]).expect("it")["name"], "Hit", "{options}");
                let step = &rig.record(&row.id).await["steps"][0];
                assert_eq!(step["resolution"]["others"].as_array().map(Vec::len), Some(2));
                let which = if n == 0 { "oldest" } else { "newest" };
                assert_eq!(step["warnings"], json!([format!("3 fit, and the {which} was taken (on_many)")]));
            }
            None => {
                assert_eq!(row.state, DeliveryState::Dead);
                assert!(rig.writes().is_empty());
            }
        }
    }
}

#[tokio::test]
async fn an_empty_match_skips_fails_or_creates_and_what_refers_to_the_skipped_leaves_its_field_alone() {
    for (options, state, organizations) in [
        ("", DeliveryState::Done, 0),
        (", #{ on_empty: \"fail\" }", DeliveryState::Dead, 0),
        (", #{ on_empty: \"create\" }", DeliveryState::Done, 1),
    ] {
        let script = format!(
            "fn handle(event) {{ let org = organization::upsert(#{{ \"Segment Group ID\": event.context?.groupId }}, #{{ name: \"Acme\" }}{options}); \
             person::upsert(#{{ \"Segment User ID\": event.userId }}, #{{ name: \"Ada\", org_id: org }}); }}"
        );
        let rig = Setup::person(&script).start().await;
        let row = rig.run("u1", json!({})).await;
        assert_eq!((row.state, rig.mock.count("organizations")), (state, organizations), "{options} {:?}", row.reason);
        if state == DeliveryState::Done {
            assert_eq!(rig.person("u1")["org_id"].is_null(), organizations == 0);
            let step = &rig.record(&row.id).await["steps"][0];
            let line = match organizations {
                0 => "on_empty: skip: no match criterion of the organization holds a value",
                _ => "on_empty: create: no match criterion of the organization holds a value, so one is created",
            };
            assert_eq!(step["decisions"], json!([line]));
            assert_eq!(step["warnings"], json!(null), "a policy that does as it is told is nothing to warn of");
        } else {
            assert!(rig.writes().is_empty(), "{:?}", rig.writes());
        }
    }
}

#[tokio::test]
async fn an_update_that_finds_nothing_fails_or_is_skipped() {
    for (options, state) in [("", DeliveryState::Dead), (", #{ on_miss: \"skip\" }", DeliveryState::Skipped)] {
        let script = format!(
            "fn handle(event) {{ person::update(#{{ \"Segment User ID\": event.userId }}, #{{ name: \"x\" }}{options}); }}"
        );
        let rig = Setup::person(&script).start().await;
        let row = rig.run("u1", json!({})).await;
        assert_eq!(row.state, state);
        assert!(row.reason.expect("a reason").contains("on_miss"));
        assert!(rig.writes().is_empty());
    }
}

#[tokio::test]
async fn lanes_that_add_to_the_same_list_lose_nothing() {
    let script = "fn handle(event) { person::upsert(#{ email: \"shared@acme.com\" }, #{ name: \"Shared\", phones: event.traits.phone }); }";
    let by_id = "fn handle(event) { person::upsert(#{ \"Segment User ID\": \"u0\" }, #{ phones: event.properties.phone }); }";
    let rig = Setup::person(script).rule("tracked", "type = \"track\"", by_id).start().await;
    let key = rig.key("persons", "Segment User ID");
    rig.aside(
        "/api/v2/persons",
        json!({ "name": "Shared", "emails": [{ "value": "shared@acme.com" }], "custom_fields": { key: "u0" } }),
    );
    rig.mock.set_latency(Duration::from_millis(5));
    for n in 0..4 {
        rig.identify(&format!("u{n}"), json!({ "phone": format!("+4930123450{n}") })).await;
        rig.track(&format!("t{n}"), "Seen", json!({ "phone": format!("+4940123450{n}") })).await;
    }
    rig.settled().await;
    let phones: Vec<Value> = rig.person("u0")["phones"].as_array().expect("a list").iter().map(|p| p["value"].clone()).collect();
    assert_eq!(phones.len(), 8, "{phones:?}");
}

/// A field of each type that Pipedrive searches: what stands there, what an event brings for the same, and for another.
#[tokio::test]
async fn each_searchable_type_matches_by_its_own_rules_of_case_and_blanks() {
    let cases = [
        ("Segment User ID", json!("User-42"), json!(" User-42 "), json!("user-42")),
        ("Segment User ID", json!("42"), json!(42), json!("042")),
        ("Description", json!("Long text"), json!("Long text "), json!("long text")),
        ("Source tag", json!("Fair"), json!(" Fair"), json!("FAIR")),
        ("Score", json!(12.5), json!(" 12.50 "), json!(12.51)),
        ("Lifetime Value", json!({ "value": 99, "currency": "EUR" }), json!("99.0"), json!(98)),
        ("Hotline", json!("+37255551234"), json!("+37255551234 "), json!("+37255551235")),
        ("Billing address", json!({ "value": "Main St 1" }), json!(" Main St 1"), json!("Main St 2")),
    ];
    for (field, there, same, other) in cases {
        let script = format!(
            "fn handle(event) {{ person::upsert(#{{ \"{field}\": event.traits.v }}, #{{}}, #{{ on_create: #{{ name: \"New\" }} }}); }}"
        );
        let rig = Setup::person(&script).start().await;
        let mut custom = serde_json::Map::new();
        custom.insert(rig.key("persons", field), there.clone());
        rig.aside("/api/v2/persons", json!({ "name": "There", "custom_fields": custom }));
        // Twice: by Pipedrive's search, then by the index.
        for _ in 0..2 {
            let row = rig.run("u1", json!({ "v": same })).await;
            assert_eq!((row.state, rig.mock.count("persons")), (DeliveryState::Done, 1), "{field} {same}: {:?}", row.reason);
        }
        let row = rig.run("u1", json!({ "v": other })).await;
        assert_eq!((row.state, rig.mock.count("persons")), (DeliveryState::Done, 2), "{field} {other}: {:?}", row.reason);
        // What it was created by is what finds it.
        rig.run("u1", json!({ "v": other })).await;
        assert_eq!(rig.mock.count("persons"), 2, "{field} {other}");
    }
}
