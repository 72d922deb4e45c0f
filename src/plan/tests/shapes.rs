//! Every field type: what a script gives, what stands on the wire in v2, what in v1 (leads).

use serde_json::{Map, Value as Json, json};

use crate::pipedrive::{Id, Kind};
use crate::plan::fixture::*;
use crate::plan::{BodyFor, FieldEntry, Link, ListOp, Value, WireTarget, body};

fn links(target: &WireTarget) -> Option<Id> {
    match target {
        WireTarget::Id(id) => Some(id.clone()),
        _ => Some(Id::Number(500)),
    }
}

fn created(kind: Kind, fields: Vec<FieldEntry>) -> Map<String, Json> {
    body(&step(create(kind, fields)), BodyFor::Create, &links, &metadata()).expect("a body").body
}

/// What a custom field's value becomes for persons (v2) and for leads (v1, every key that starts with the field's).
fn custom(n: u32, name: &str, given: Value) -> (Json, Json) {
    let v2 = created(Kind::Person, [entries(json!({"name": "x"})), vec![entry(name, given.clone())]].concat());
    let v1 = created(Kind::Lead, [entries(json!({"title": "x", "person_id": 1})), vec![entry(name, given)]].concat());
    let short = |k: &str| k.strip_prefix(&key(n)).map(str::to_owned);
    let v1 = v1.into_iter().filter_map(|(k, v)| short(&k).map(|k| (k, v))).collect::<Map<_, _>>();
    (v2["custom_fields"][key(n)].clone(), v1.into())
}

#[test]
fn custom_fields_of_every_type() {
    let cases = [
        (2, "Nickname", json!(5), json!("5"), json!({"": "5"})),
        (2, "Nickname", json!("x"), json!("x"), json!({"": "x"})),
        (3, "Story", json!("long\ntext"), json!("long\ntext"), json!({"": "long\ntext"})),
        (11, "Mobile", json!("+372 5"), json!("+372 5"), json!({"": "+372 5"})),
        (4, "Score", json!(" 12 "), json!(12), json!({"": 12})),
        (4, "Score", json!("-1.5"), json!(-1.5), json!({"": -1.5})),
        (5, "Lifetime Value", json!("9.5"), json!({"value": 9.5, "currency": "EUR"}), json!({"": 9.5, "_currency": "EUR"})),
        (
            5,
            "Lifetime Value",
            json!({"value": 0, "currency": "usd"}),
            json!({"value": 0, "currency": "USD"}),
            json!({"": 0, "_currency": "USD"}),
        ),
        (6, "Plan", json!(" PRO "), json!(12), json!({"": "12"})),
        (6, "Plan", json!("13"), json!(13), json!({"": "13"})),
        (6, "Plan", json!(11), json!(11), json!({"": "11"})),
        (7, "Interests", json!(["support", 21]), json!([22, 21]), json!({"": "22,21"})),
        // A label of digits goes before an id.
        (7, "Interests", json!("2024"), json!([23]), json!({"": "23"})),
        (8, "Account Manager", json!("GRACE@acme.com"), json!(8), json!({"": 8})),
        (8, "Account Manager", json!("ada lovelace"), json!(7), json!({"": 7})),
        (9, "Parent Company", json!(3), json!(3), json!({"": 3})),
        (9, "Parent Company", json!("Acme"), json!(500), json!({"": 500})),
        (10, "Referrer", json!("a@x.io"), json!(500), json!({"": 500})),
        (12, "Signup Date", json!("2026-03-04T23:30:00Z"), json!("2026-03-04"), json!({"": "2026-03-04"})),
        (
            13,
            "Trial",
            json!(["2026-01-01", "2026-02-01"]),
            json!({"value": "2026-01-01", "until": "2026-02-01"}),
            json!({"": "2026-01-01", "_until": "2026-02-01"}),
        ),
        (14, "Call At", json!("9:30"), json!({"value": "09:30:00"}), json!({"": "09:30:00"})),
        (
            14,
            "Call At",
            json!({"value": "09:30", "timezone": "Europe/Tallinn"}),
            json!({"value": "09:30:00", "timezone_name": "Europe/Tallinn"}),
            json!({"": "09:30:00"}),
        ),
        (
            15,
            "Office Hours",
            json!({"from": "09:00", "to": "17:00"}),
            json!({"value": "09:00:00", "until": "17:00:00"}),
            json!({"": "09:00:00", "_until": "17:00:00"}),
        ),
        (16, "Billing Address", json!("Main St 1"), json!({"value": "Main St 1"}), json!({"": "Main St 1"})),
        (
            16,
            "Billing Address",
            json!({"street": "Main St 1", "city": "Tallinn", "state": null, "zip": 10111}),
            json!({"value": "Main St 1, Tallinn, 10111", "route": "Main St 1", "locality": "Tallinn", "postal_code": "10111"}),
            json!({"": "Main St 1, Tallinn, 10111"}),
        ),
    ];
    for (n, name, given, v2, v1) in cases {
        assert_eq!(custom(n, name, Value::Json(given.clone())), (v2, v1), "{name}: {given}");
    }
    let money = Value::Money { amount: 5.into(), currency: Some("gbp".into()) };
    assert_eq!(custom(5, "Lifetime Value", money), (json!({"value": 5, "currency": "GBP"}), json!({"": 5, "_currency": "GBP"})));
    let by = Value::Link(Link::By { criteria: criteria([json!({"Segment Group ID": "g1"})]), wait: None });
    assert_eq!(custom(9, "Parent Company", by), (json!(500), json!({"": 500})));
}

#[test]
fn what_is_empty_leaves_alone() {
    let empty = json!({"name": "x", "email": "", "phones": [null, " "], "Plan": " ", "Interests": [], "org_id": null, "Billing Address": {"city": ""}});
    assert_eq!(Json::Object(created(Kind::Person, entries(empty))), json!({"name": "x"}));
}

#[test]
fn leads_have_shapes_of_their_own() {
    let fields = json!({"title": "x", "org": 2, "amount": "5", "currency": "usd", "labels": "warm", "visible_to": 3, "owner": "ada@acme.com"});
    assert_eq!(
        Json::Object(created(Kind::Lead, entries(fields))),
        json!({"title": "x", "organization_id": 2, "value": {"amount": 5, "currency": "USD"}, "label_ids": [LABEL], "visible_to": "3", "owner_id": 7})
    );
    let archived = json!({"title": "x", "person_id": 1, "is_archived": true});
    assert_eq!(
        Json::Object(created(Kind::Lead, entries(archived))),
        json!({"title": "x", "person_id": 1}),
        "a lead is archived by an update"
    );
}

#[test]
fn a_deals_value_and_currency_are_two_fields() {
    let deal = |more: Vec<FieldEntry>| {
        Json::Object(created(Kind::Deal, [entries(json!({"title": "x", "person_id": 1})), more].concat()))
    };
    let money = |currency: Option<&str>| entry("value", Value::Money { amount: 5.into(), currency: currency.map(str::to_owned) });
    assert_eq!(deal(vec![money(Some("usd"))]), json!({"title": "x", "person_id": 1, "value": 5, "currency": "USD"}));
    assert_eq!(deal(vec![money(None)]), json!({"title": "x", "person_id": 1, "value": 5}), "a deal keeps its currency");
    for both in [
        vec![money(Some("usd")), entry("currency", value(json!("eur")))],
        vec![entry("currency", value(json!("eur"))), money(Some("usd"))],
    ] {
        assert_eq!(deal(both)["currency"], "EUR", "the one that stands by itself");
    }
    assert_eq!(deal(entries(json!({"stage": "done", "pipeline": "onboarding"})))["stage_id"], 3);
}

#[test]
fn persons_of_activities_are_participants() {
    let activity = |fields| Json::Object(created(Kind::Activity, entries(fields)));
    assert_eq!(
        activity(json!({"person_id": 1, "participants": [2, 1], "lead_id": LEAD, "type": "lunch"})),
        json!({"participants": [{"person_id": 1, "primary": true}, {"person_id": 2, "primary": false}], "lead_id": LEAD, "type": "lunch_date"})
    );
    assert_eq!(activity(json!({"deal_id": 1, "note": "<i>", "html": true, "done": 1}))["note"], "<i>");
}

#[test]
fn notes_are_escaped_and_their_flags_are_numbers() {
    let note = |fields| Json::Object(created(Kind::Note, entries(fields)));
    assert_eq!(
        note(json!({"content": "a & <b>\r\n\"c\"", "deal_id": 1, "pinned_to_deal_flag": true, "add_time": 1_700_000_000})),
        json!({"content": "a &amp; &lt;b&gt;<br>&quot;c&quot;", "deal_id": 1, "pinned_to_deal_flag": 1, "add_time": "2023-11-14 22:13:20"})
    );
    assert_eq!(note(json!({"content": "<b>", "html": "yes", "deal_id": 1}))["content"], "<b>");
}

#[test]
fn times_are_told_in_whole_seconds_of_utc() {
    let person = created(Kind::Person, entries(json!({"name": "x", "add_time": "2026-01-02T03:04:05.678+02:00"})));
    assert_eq!(person["add_time"], "2026-01-02T01:04:05Z");
    let deal = created(Kind::Deal, entries(json!({"title": "x", "person_id": 1, "archive_time": "2026-01-02"})));
    assert_eq!(deal["archive_time"], "2026-01-02 00:00:00");
}

#[test]
fn lists_of_maps_and_replacements_on_create() {
    let emails = json!(["a@x.io", {"value": "b@x.io", "label": "home", "primary": true}, "A@x.io"]);
    let person = created(Kind::Person, entries(json!({"name": "x", "emails": emails})));
    assert_eq!(
        person["emails"],
        json!([{"value": "a@x.io", "primary": false}, {"value": "b@x.io", "label": "home", "primary": true}]),
        "one of two spellings, and the primary one that was asked for"
    );
    let changed = |op| {
        created(
            Kind::Person,
            vec![entry("name", value(json!("x"))), entry("labels", Value::List { op, items: vec![json!("hot")] })],
        )
    };
    assert_eq!(changed(ListOp::Replace)["label_ids"], json!([32]));
    assert_eq!(changed(ListOp::Remove).get("label_ids"), None);
}
