//! Policies of creates and matches, from the event to the account, with the line that each leaves in the decision record.

use pipewright::pipedrive::Method;
use pipewright::store::DeliveryState;
use serde_json::json;

use super::harness::Setup;

/// A person by user id, with these fields and options.
fn person(fields: &str, options: &str) -> Setup {
    Setup::person(&format!(
        "fn handle(event) {{ let t = event.traits; person::upsert(#{{ \"Segment User ID\": event.userId }}, #{{ {fields} }}, #{{ {options} }}); }}"
    ))
}

#[tokio::test]
async fn unlinked_lets_deals_and_activities_stand_alone_and_nothing_else() {
    for (kind, plural, fields, may) in [
        ("deal", "deals", "title: \"Seats\"", true),
        ("activity", "activities", "subject: \"Call\"", true),
        ("lead", "leads", "title: \"Seats\"", false),
        ("note", "notes", "content: \"Asked\"", false),
    ] {
        for unlinked in [true, false] {
            let script = format!("fn handle(event) {{ {kind}::create(#{{ {fields} }}, #{{ unlinked: {unlinked} }}); }}");
            let rig = Setup::person(&script).start().await;
            let row = rig.run("u1", json!({})).await;
            if may && unlinked {
                assert_eq!((row.state, rig.mock.count(plural)), (DeliveryState::Done, 1), "{kind}: {:?}", row.reason);
                assert_eq!(rig.decisions(&row.id).await, ["unlinked: created without a link to another entity"], "{kind}");
            } else {
                assert_eq!((row.state, rig.mock.count(plural)), (DeliveryState::Dead, 0), "{kind}");
                let needs = format!("a new {kind} needs a link to another entity, and none was found");
                assert!(row.reason.expect("a reason").ends_with(&needs), "{kind}");
                assert!(rig.writes().is_empty());
            }
        }
    }
}

#[tokio::test]
async fn on_create_is_for_new_entities_and_left_out_for_others() {
    let rig = person("name: t?.name", "on_create: #{ owner: \"grace@acme.com\", labels: [\"Customer\"] }").start().await;
    let row = rig.run("u1", json!({ "name": "Ada" })).await;
    let label = |name: &str| json!([rig.mock.option_id("persons", "label_ids", name).expect("a label")]);
    let made = rig.person("u1");
    assert_eq!((&made["owner_id"], &made["label_ids"]), (&json!(2), &label("Customer")));
    assert_eq!(rig.decisions(&row.id).await, Vec::<String>::new());
    rig.by_hand("persons", &made["id"], json!({ "owner_id": 1, "label_ids": label("Hot lead") }));
    let row = rig.run("u1", json!({ "name": "Grace" })).await;
    let now = rig.person("u1");
    assert_eq!((&now["name"], &now["owner_id"], &now["label_ids"]), (&json!("Grace"), &json!(1), &label("Hot lead")));
    assert_eq!(rig.decisions(&row.id).await, ["on_create: not new, left out: `labels`, `owner`"]);
}

#[tokio::test]
async fn if_empty_fills_what_is_empty_and_leaves_alone_what_holds_or_held_something() {
    let rig = person("name: \"Ada\"", "if_empty: #{ phones: t?.phone, \"Source tag\": t?.tag }").start().await;
    let (user, tag) = (rig.key("persons", "Segment User ID"), rig.key("persons", "Source tag"));
    let body = json!({ "name": "Ada", "phones": [{ "value": "+3725550001" }], "custom_fields": { user: "u1" } });
    let id = rig.aside("/api/v2/persons", body)["id"].clone();
    let row = rig.run("u1", json!({ "phone": "+3725550002", "tag": "Fair" })).await;
    let now = rig.person("u1");
    assert_eq!((&now["phones"][0]["value"], &now["custom_fields"][&tag]), (&json!("+3725550001"), &json!("Fair")));
    assert_eq!(now["phones"].as_array().map(Vec::len), Some(1));
    let said = rig.decisions(&row.id).await;
    assert!(said.contains(&"if_empty: empty, written: `Source tag`; holds a value, left alone: `phones`".to_owned()), "{said:?}");
    // A person emptied it: that stands.
    rig.by_hand("persons", &id, json!({ "custom_fields": { &tag: null } }));
    let row = rig.run("u1", json!({ "phone": "+3725550002", "tag": "Web" })).await;
    assert!(rig.person("u1")["custom_fields"][&tag].is_null());
    let said = rig.decisions(&row.id).await;
    assert!(said.contains(&"if_empty: had a value before, left alone: `Source tag`, `phones`".to_owned()), "{said:?}");
}

#[tokio::test]
async fn a_custom_field_named_as_a_field_of_the_api_is_meant_under_custom_only() {
    let mut rig = person("name: \"Ada\", custom: #{ name: t?.alias }", "").start().await;
    rig.aside("/api/v2/personFields", json!({ "field_name": "name", "field_type": "varchar" }));
    rig.restart().await;
    let row = rig.run("u1", json!({ "alias": "Countess" })).await;
    assert_eq!(row.state, DeliveryState::Done, "{:?}", row.reason);
    let now = rig.person("u1");
    assert_eq!((&now["name"], &now["custom_fields"][rig.key("persons", "name")]), (&json!("Ada"), &json!("Countess")));
    assert_eq!(rig.decisions(&row.id).await, ["custom: the custom field is meant, not that of the API: `name`"]);
    // Nothing given, nothing decided.
    let row = rig.run("u2", json!({})).await;
    assert_eq!(rig.decisions(&row.id).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_note_and_an_activity_are_created_once_under_their_key() {
    for (kind, plural, fields) in
        [("note", "notes", "content: \"Asked\", person_id: who"), ("activity", "activities", "subject: \"Call\", person_id: who")]
    {
        let script = format!(
            "fn handle(event) {{ let who = person::upsert(#{{ \"Segment User ID\": event.userId }}, #{{ name: \"Ada\" }}); \
             {kind}::create(#{{ {fields} }}, #{{ key: event.traits.key }}); }}"
        );
        let rig = Setup::person(&script).start().await;
        rig.run("u1", json!({ "key": "demo-1" })).await;
        let id = rig.mock.entities(plural)[0]["id"].clone();
        let row = rig.run("u1", json!({ "key": "demo-1" })).await;
        assert_eq!((row.state, rig.mock.count(plural)), (DeliveryState::Done, 1));
        let step = &rig.record(&row.id).await["steps"][1];
        assert_eq!((&step["state"]["effect"], &step["state"]["id"]), (&json!("exists"), &id));
        let line = format!("key: the {kind} {id} was created under `demo-1` before, and is not created again");
        assert_eq!(step["decisions"], json!([line]));
        rig.run("u1", json!({ "key": "demo-2" })).await;
        assert_eq!(rig.mock.count(plural), 2);
    }
}

#[tokio::test]
async fn a_value_that_the_account_does_not_know_is_dropped_or_fails_the_delivery() {
    let left_out = "left out: `Plan` has no such option (`Gold`); known here: `Free`, `Pro`, `Enterprise` (on_unknown: drop)";
    for (options, state) in [("", DeliveryState::Done), ("on_unknown: \"fail\"", DeliveryState::Dead)] {
        let rig = person("name: \"Ada\", Plan: t?.plan", options).start().await;
        let row = rig.run("u1", json!({ "plan": "Gold" })).await;
        assert_eq!(row.state, state, "{:?}", row.reason);
        let record = rig.record(&row.id).await;
        if state == DeliveryState::Done {
            assert!(rig.person("u1")["custom_fields"][rig.key("persons", "Plan")].is_null());
            assert_eq!(record["steps"][0]["warnings"], json!([left_out]));
        } else {
            assert!(rig.writes().is_empty(), "{:?}", rig.writes());
            assert_eq!(row.reason.as_deref(), Some("scripts/person.rhai:1:50: `Plan` has no such option"));
            assert_eq!(record["diagnostics"][0]["help"], "known here: `Free`, `Pro`, `Enterprise`");
        }
    }
}

#[tokio::test]
async fn an_option_that_a_person_just_added_is_known_and_a_stream_of_unknown_ones_is_not_looked_for_each_time() {
    for options in ["", "on_unknown: \"fail\""] {
        let rig = person("name: \"Ada\", Plan: t?.plan", options).start().await;
        let path = format!("/api/v2/personFields/{}/options", rig.key("persons", "Plan"));
        let by_hand = pipewright::pipedrive::Request::new(Method::Post, path).body(json!([{ "label": "Gold" }]));
        assert_eq!(rig.mock.aside(&by_hand).status, 200);
        rig.mock.clear_log();
        let fetches = || rig.calls(Method::Get, "/api/v2/personFields").len();
        let row = rig.run("u1", json!({ "plan": "Gold" })).await;
        assert_eq!(row.state, DeliveryState::Done, "{:?}", row.reason);
        let gold = rig.mock.option_id("persons", "Plan", "Gold").expect("an option");
        assert_eq!(rig.person("u1")["custom_fields"][rig.key("persons", "Plan")], gold);
        assert!(rig.record(&row.id).await["steps"][0].get("warnings").is_none());
        assert_eq!(fetches(), 1);
        for n in 0..5 {
            rig.identify(&format!("v{n}"), json!({ "plan": format!("Unknown {n}") })).await;
        }
        rig.settled().await;
        assert_eq!(fetches(), 1);
    }
}
