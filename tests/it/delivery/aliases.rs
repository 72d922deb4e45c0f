//! Alias events: several ids of one user, in order and in matching.

use pipewright::mock::{Fault, FaultMatch, Hold};
use pipewright::pipedrive::Method;
use pipewright::store::{DeliveryState, Write};
use serde_json::{Value, json};

use super::harness::{PERSON, Rig, Setup};
use crate::support::post_json;

/// Writes the trait `step` to whoever the event is about.
const STEPS: &str = r#"
fn handle(event) {
    person::upsert(#{ "Segment User ID": event.userId ?? event.anonymousId }, #{ name: event.traits.step });
}
"#;

/// Longer than any test takes.
const HOUR: &str = "retry_first = \"1h\"\nretry_max = \"1h\"";
const BLIND: std::time::Duration = std::time::Duration::from_secs(3600);

async fn alias(rig: &Rig, user: &str, previous: &str) -> String {
    rig.send(json!({ "type": "alias", "userId": user, "previousId": previous })).await
}

async fn step(rig: &Rig, ids: Value, step: &str) -> String {
    let mut event = ids;
    event["type"] = json!("identify");
    event["traits"] = json!({ "step": step });
    rig.send(event).await
}

async fn user(rig: &Rig, user: &str, name: &str) -> String {
    step(rig, json!({ "userId": user }), name).await
}

/// The names in the order in which they were written.
fn steps(rig: &Rig) -> Vec<String> {
    let log = rig.mock.log();
    let done = log.iter().filter(|e| e.method != Method::Get && e.carried_out);
    done.filter_map(|e| e.body.as_ref()?.get("name")?.as_str().map(str::to_owned)).collect()
}

fn searches(rig: &Rig) -> usize {
    rig.calls(Method::Get, "/api/v2/itemSearch").len()
}

/// How the entity of the last attempt's first action was found.
async fn found_by(rig: &Rig, message_id: &str) -> (String, String) {
    let resolution = rig.record(&rig.row(message_id).await.id).await["steps"][0]["resolution"].clone();
    let text = |key: &str| resolution[key].as_str().unwrap_or_default().to_owned();
    (text("how"), text("by"))
}

async fn drop_first(rig: &Rig, message_id: &str) {
    rig.daemon().delivery().discard(vec![rig.row(message_id).await.id]).await.expect("discarded");
}

#[tokio::test]
async fn events_of_both_ids_are_in_order_across_an_alias_that_no_rule_wants_also_over_a_crash() {
    let mut rig = Setup::person(STEPS).delivery(HOUR).start_apart().await;
    rig.mock.fail_matching(FaultMatch::next(Method::Post, "/api/v2/persons"), Fault::NoConnection);
    let first = user(&rig, "p", "p 1").await;
    rig.outcome(&first, "retry").await;
    user(&rig, "p", "p 2").await;
    alias(&rig, "u", "p").await;
    user(&rig, "u", "u 1").await;
    user(&rig, "p", "p 3").await;
    let other = user(&rig, "z", "other").await;
    rig.outcome(&other, "done").await;
    rig.crash().await;
    // Whatever runs now was not kept by the failing one.
    user(&rig, "u", "u 2").await;
    let other = user(&rig, "z", "other 2").await;
    rig.outcome(&other, "done").await;
    assert_eq!(rig.count(DeliveryState::Pending).await, 5);
    drop_first(&rig, &first).await;
    rig.settled().await;
    assert_eq!(steps(&rig), ["other", "other 2", "p 2", "u 1", "p 3", "u 2"]);
    assert_eq!((rig.persons("p"), rig.persons("u")), (1, 0), "one person, found under either id");
}

#[tokio::test]
async fn chains_and_cycles_of_aliases_keep_one_order_and_one_person() {
    let rig = Setup::person(STEPS).delivery(HOUR).start().await;
    rig.mock.fail_matching(FaultMatch::next(Method::Post, "/api/v2/persons"), Fault::NoConnection);
    let first = user(&rig, "a", "failing").await;
    rig.outcome(&first, "retry").await;
    let mut expected = Vec::new();
    for (n, (new, previous)) in [("b", "a"), ("c", "b"), ("a", "c"), ("a", "a"), ("b", "c")].into_iter().enumerate() {
        alias(&rig, new, previous).await;
        for id in ["a", "b", "c"] {
            // Not known yet, so another user.
            if n > 0 || id != "c" {
                expected.push(format!("{n} {id}"));
                user(&rig, id, &format!("{n} {id}")).await;
            }
        }
    }
    drop_first(&rig, &first).await;
    rig.settled().await;
    assert_eq!(steps(&rig), expected);
    assert_eq!(rig.mock.count("persons"), 1);
}

#[tokio::test]
async fn a_visitor_that_an_alias_makes_a_user_goes_first_and_is_found() {
    let rig = Setup::person(STEPS).delivery(HOUR).start().await;
    rig.mock.fail_matching(FaultMatch::next(Method::Post, "/api/v2/persons"), Fault::NoConnection);
    let first = step(&rig, json!({ "anonymousId": "x" }), "failing").await;
    rig.outcome(&first, "retry").await;
    step(&rig, json!({ "anonymousId": "x" }), "visitor 1").await;
    alias(&rig, "u", "x").await;
    user(&rig, "u", "user").await;
    step(&rig, json!({ "anonymousId": "x" }), "visitor 2").await;
    drop_first(&rig, &first).await;
    rig.settled().await;
    assert_eq!(steps(&rig), ["visitor 1", "user", "visitor 2"]);
    assert_eq!(rig.persons("x"), 1);
}

#[tokio::test]
async fn another_user_of_the_browser_comes_after_what_the_visitor_did_under_every_former_first_id() {
    let rig = Setup::person(STEPS).delivery(HOUR).start().await;
    alias(&rig, "v", "x").await;
    rig.mock.fail_matching(FaultMatch::next(Method::Post, "/api/v2/persons"), Fault::NoConnection);
    let first = step(&rig, json!({ "anonymousId": "x" }), "failing").await;
    rig.outcome(&first, "retry").await;
    step(&rig, json!({ "anonymousId": "x" }), "visitor").await;
    for newer in ["w", "y"] {
        alias(&rig, newer, "v").await;
    }
    let shares = step(&rig, json!({ "userId": "q", "anonymousId": "x" }), "shares the browser").await;
    let other = step(&rig, json!({ "userId": "z", "anonymousId": "elsewhere" }), "other").await;
    rig.outcome(&other, "done").await;
    let row = rig.row(&shares).await;
    assert_eq!((row.state, rig.records(&row.id).await.len()), (DeliveryState::Pending, 0));
    drop_first(&rig, &first).await;
    rig.settled().await;
    assert_eq!(steps(&rig), ["other", "visitor", "shares the browser"]);
}

#[tokio::test]
async fn the_alias_rule_waits_for_what_other_rules_do_under_the_former_id_and_then_both_ids_find_the_person_that_stays() {
    let merge = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/alias.rhai"));
    let seen = "fn handle(event) { person::update(#{ \"Segment User ID\": event.userId }, #{ name: \"Seen\" }); }";
    let rig = Setup::person(PERSON).rule("alias", "type = \"alias\"", merge).rule("seen", "type = \"track\"", seen).start().await;
    rig.run("u", json!({ "name": "U" })).await;
    let kept = rig.person("u")["id"].clone();
    let hold = Hold::new();
    rig.mock.fail_matching(FaultMatch::next(Method::Post, "/api/v2/persons"), Fault::Hold(hold.clone()));
    rig.identify("p", json!({ "name": "P" })).await;
    hold.reached().await;
    let merging = alias(&rig, "u", "p").await;
    // Stands behind the alias, though no rule of it has anything to do under the former id.
    let behind = rig.track("p", "Seen", json!({})).await;
    let other = rig.identify("z", json!({ "name": "Z" })).await;
    rig.outcome(&other, "done").await;
    for waits in [&merging, &behind] {
        let row = rig.row(waits).await;
        assert_eq!((row.state, rig.records(&row.id).await.len()), (DeliveryState::Pending, 0));
    }
    hold.release();
    rig.settled().await;
    assert_eq!(rig.row(&merging).await.state, DeliveryState::Done, "{:#}", rig.record(&rig.row(&merging).await.id).await);
    assert_eq!((rig.person("u")["id"].clone(), rig.persons("p")), (kept.clone(), 0));
    assert_eq!(rig.person("u")["name"], "Seen");
    rig.mock.clear_log();
    for id in ["p", "u"] {
        rig.run(id, json!({ "name": format!("by {id}") })).await;
        assert_eq!((rig.person("u")["id"].clone(), rig.person("u")["name"].clone()), (kept.clone(), json!(format!("by {id}"))));
    }
    assert_eq!(searches(&rig), 0, "the index has both");
    // And without the index, by the alias.
    rig.store().commit(vec![Write::ForgetAccount { account: "main".to_owned() }]).await.expect("forgotten");
    rig.run("p", json!({ "name": "found anew" })).await;
    assert_eq!((rig.person("u")["id"].clone(), rig.person("u")["name"].clone()), (kept, json!("found anew")));
    assert_eq!(rig.mock.count("persons"), 2, "that and the other one");
}

#[tokio::test]
async fn a_person_is_found_under_the_other_id_at_the_cost_of_a_look_up_and_then_for_nothing() {
    let rig = Setup::person(PERSON).start().await;
    rig.run("p", json!({ "name": "P" })).await;
    let person = rig.person("p")["id"].clone();
    alias(&rig, "u", "p").await;
    rig.mock.clear_log();
    let first = rig.identify("u", json!({ "name": "P" })).await;
    rig.settled().await;
    assert_eq!(
        found_by(&rig, &first).await,
        ("index".to_owned(), "Segment User ID = u, found by \"p\", an alias of \"u\"".to_owned())
    );
    assert_eq!(searches(&rig), 1, "by its own value, as without an alias");
    assert_eq!(rig.writes(), [""; 0], "nothing to change");
    // The index has learned all the same, and what the field holds stays.
    let second = rig.identify("u", json!({ "name": "U 2" })).await;
    rig.settled().await;
    assert_eq!((rig.person("p")["id"].clone(), rig.person("p")["name"].clone()), (person.clone(), json!("U 2")));
    assert_eq!(found_by(&rig, &second).await, ("index".to_owned(), "Segment User ID = u".to_owned()));
    assert_eq!((searches(&rig), rig.persons("u"), rig.mock.count("persons")), (1, 0, 1));

    // Without the index: one look-up each, those that missed and the one that hit.
    alias(&rig, "v", "u").await;
    rig.store().commit(vec![Write::ForgetAccount { account: "main".to_owned() }]).await.expect("forgotten");
    rig.mock.clear_log();
    let third = rig.identify("v", json!({ "name": "U 2" })).await;
    rig.settled().await;
    assert_eq!(
        found_by(&rig, &third).await,
        ("lookup".to_owned(), "Segment User ID = v, found by \"p\", an alias of \"v\"".to_owned())
    );
    assert_eq!((searches(&rig), rig.writes()), (3, vec![]), "v, u, p");
    rig.run("v", json!({ "name": "V" })).await;
    assert_eq!((searches(&rig), rig.person("p")["id"].clone()), (3, person), "also after an attempt that changed nothing");
}

#[tokio::test]
async fn a_create_has_the_value_that_the_script_gave_and_a_miss_costs_a_look_up_an_id() {
    let rig = Setup::person(PERSON).start().await;
    alias(&rig, "u", "p").await;
    rig.run("p", json!({ "name": "P" })).await;
    assert_eq!((searches(&rig), rig.persons("p"), rig.persons("u")), (2, 1, 0));
}

#[tokio::test]
async fn a_failed_look_up_under_the_other_id_is_a_failure_and_no_miss() {
    let rig = Setup::person(PERSON).start().await;
    rig.run("p", json!({ "name": "P" })).await;
    alias(&rig, "u", "p").await;
    rig.store().commit(vec![Write::ForgetAccount { account: "main".to_owned() }]).await.expect("forgotten");
    rig.mock.fail_matching(FaultMatch { skip: 1, ..FaultMatch::next(Method::Get, "earch") }, Fault::NoConnection);
    let event = rig.identify("u", json!({ "name": "U" })).await;
    rig.settled().await;
    assert_eq!(rig.records(&rig.row(&event).await.id).await[0]["outcome"], "retry");
    assert_eq!((rig.mock.count("persons"), rig.person("p")["name"].clone()), (1, json!("U")));
}

#[tokio::test]
async fn an_alias_does_not_move_persons_that_are_found_exactly() {
    let rig = Setup::person(PERSON).start().await;
    for id in ["p", "u"] {
        rig.run(id, json!({ "name": id })).await;
    }
    alias(&rig, "u", "p").await;
    for id in ["u", "p"] {
        rig.run(id, json!({ "name": format!("{id} 2") })).await;
    }
    // Nor by a look-up.
    rig.store().commit(vec![Write::ForgetAccount { account: "main".to_owned() }]).await.expect("forgotten");
    for id in ["u", "p"] {
        rig.run(id, json!({ "name": format!("{id} 3") })).await;
        assert_eq!(rig.person(id)["name"], format!("{id} 3"));
    }
    assert_eq!(rig.mock.count("persons"), 2);
}

#[tokio::test]
async fn another_id_of_the_user_in_the_field_is_no_conflict_and_is_not_overwritten() {
    let script = r#"
        fn handle(event) {
            person::upsert([#{ "Segment User ID": event.userId }, #{ email: event.traits.email }],
                #{ name: event.traits.name, email: event.traits.email }, #{ on_conflict: "fail" });
        }
    "#;
    let rig = Setup::person(script).start().await;
    let traits = |name: &str| json!({ "name": name, "email": "ada@acme.example" });
    rig.run("p", traits("P")).await;
    // The first criterion misses in every way, the second one hits.
    let field = rig.key("persons", "Segment User ID");
    let id = rig.person("p")["id"].to_string();
    let forget = Write::IndexRemove { account: "main".to_owned(), kind: "person".to_owned(), field, value: "p".to_owned(), id };
    rig.store().commit(vec![forget.clone()]).await.expect("forgotten");
    rig.mock.set_search_lag(BLIND);
    let stranger = rig.run("u", traits("U")).await;
    assert!(stranger.reason.expect("a reason").contains("on_conflict"), "without an alias it is one");
    alias(&rig, "u", "p").await;
    let row = rig.run("u", traits("U")).await;
    assert_eq!(row.state, DeliveryState::Done, "{:#}", rig.record(&row.id).await);
    assert_eq!((rig.person("p")["name"].clone(), rig.mock.count("persons")), (json!("U"), 1));
    rig.store().commit(vec![forget]).await.expect("forgotten");
    assert_eq!(rig.run("u", traits("U 2")).await.state, DeliveryState::Done);
    assert_eq!(rig.calls(Method::Patch, "/api/v2/persons").len(), 2);
}

#[tokio::test]
async fn rules_that_do_not_share_a_lane_make_one_person_of_both_ids() {
    let aside = "fn handle(event) { person::upsert(#{ \"Segment User ID\": event.userId }, #{ name: \"T\" }); }";
    let rig = Setup::person(PERSON).rule_with("tracked", "type = \"track\"", aside, "order_by = \"messageId\"").start().await;
    alias(&rig, "u", "p").await;
    rig.mock.set_search_lag(BLIND);
    // Two look-ups each: both miss before the first one creates.
    let second_search = || {
        let hold = Hold::new();
        let second = FaultMatch { skip: 1, ..FaultMatch::next(Method::Get, "/itemSearch") };
        rig.mock.fail_matching(second, Fault::Hold(hold.clone()));
        hold
    };
    let first = second_search();
    rig.identify("p", json!({ "name": "P" })).await;
    first.reached().await;
    let other = second_search();
    rig.track("u", "Seen", json!({})).await;
    other.reached().await;
    first.release();
    other.release();
    rig.settled().await;
    assert_eq!(searches(&rig), 4);
    assert_eq!((rig.mock.count("persons"), rig.person("p")["name"].clone()), (1, json!("T")));
}

#[tokio::test]
async fn what_waits_for_a_person_by_one_id_goes_on_when_it_comes_by_another() {
    let note =
        "fn handle(event) { note::create(#{ content: \"hi\", person_id: by(#{ \"Segment User ID\": event.properties.of }) }); }";
    let rig = Setup::person(PERSON).rule("note", "type = \"track\"", note).start().await;
    alias(&rig, "u", "p").await;
    let parked = rig.track("z", "Noted", json!({ "of": "p" })).await;
    rig.outcome(&parked, "parked").await;
    rig.identify("u", json!({ "name": "U" })).await;
    rig.settled().await;
    assert_eq!(rig.row(&parked).await.state, DeliveryState::Done);
    let notes = rig.calls(Method::Post, "notes");
    assert_eq!(notes[0].body.as_ref().expect("a body")["person_id"], rig.person("u")["id"]);
}

#[tokio::test]
async fn aliases_of_a_source_that_is_not_trusted_with_them_join_nothing() {
    let rig = Setup::person(PERSON).source("aliases = \"ignore\"").start().await;
    rig.run("p", json!({ "name": "P" })).await;
    alias(&rig, "u", "p").await;
    rig.run("u", json!({ "name": "U" })).await;
    assert_eq!((rig.person("p")["name"].clone(), rig.person("u")["name"].clone()), (json!("P"), json!("U")));
    assert!(rig.store().aliases().is_empty());
}

async fn forget(rig: &Rig, user: &str) -> Value {
    let reply = post_json(rig.daemon().admin_addr(), "/api/forget", &json!({ "user": user, "erase": true })).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

#[tokio::test]
async fn an_erasure_takes_all_ids_of_a_user_and_what_joined_them() {
    // By either id, and also when the alias itself is not kept any more.
    for id in ["u", "p"] {
        let rig = Setup::person(PERSON).source("keep_unmatched = \"0s\"").start().await;
        for user in ["p", "u", "z"] {
            rig.run(user, json!({ "name": user })).await;
        }
        let again = json!({ "type": "alias", "userId": "u", "previousId": "p", "messageId": "alias" });
        rig.send(again.clone()).await;
        let gone = forget(&rig, id).await;
        assert_eq!((&gone["users"], &gone["counts"]["events"]), (&json!(["p", "u"]), &json!(2)), "{id}");
        assert!(rig.store().aliases().is_empty());
        rig.mock.clear_log();
        rig.run("u", json!({ "name": "U" })).await;
        assert_eq!((searches(&rig), rig.person("p")["name"].clone()), (1, json!("p")), "no look-up under the other id");
        assert_eq!(rig.store().stats().await.expect("counts").events, 2, "another user's, and the new one");
    }
}

#[tokio::test]
async fn a_forgotten_alias_that_is_sent_again_joins_nothing() {
    let rig = Setup::person(PERSON).start().await;
    let event = json!({ "type": "alias", "userId": "u", "previousId": "p", "messageId": "alias" });
    rig.send(event.clone()).await;
    assert_eq!(rig.store().aliases().len(), 2);
    forget(&rig, "u").await;
    rig.send(event).await;
    assert!(rig.store().aliases().is_empty(), "a duplicate");
}

#[tokio::test]
async fn an_alias_beyond_the_bound_is_said_to_join_nothing() {
    let rig = Setup::person(PERSON).start().await;
    for n in 0..15 {
        alias(&rig, "id-user", &format!("id-{n}")).await;
    }
    let beyond = alias(&rig, "id-user", "id-beyond").await;
    let shown = crate::support::get(rig.daemon().admin_addr(), &format!("/api/events/{beyond}")).await.json();
    let note = shown["events"][0]["note"].as_str().expect("a note").to_owned();
    assert!(note.contains("joined nothing: together they would be more than 16 ids of one user"), "{shown:#}");
    assert_eq!(rig.store().aliases().class_of("id-beyond"), None);
    let first = rig.identify("id-beyond", json!({ "name": "B" })).await;
    rig.settled().await;
    assert_eq!(found_by(&rig, &first).await.0, "miss");
    assert_eq!(searches(&rig), 1);
}
