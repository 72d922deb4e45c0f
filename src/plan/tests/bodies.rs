//! Bodies of creates and updates.

use serde_json::{Map, Value as Json, json};

use crate::pipedrive::{Id, Kind};
use crate::plan::fixture::*;
use crate::plan::{BodyFor, BodyOutcome, Options, Step, WireTarget, body};

fn no_links(_: &WireTarget) -> Option<Id> {
    None
}

fn ids(target: &WireTarget) -> Option<Id> {
    match target {
        WireTarget::Id(id) => Some(id.clone()),
        WireTarget::Reference(n) => Some(Id::Number(u64::from(*n) + 100)),
        WireTarget::Lookups(_) => Some(Id::Number(500)),
    }
}

fn created(step: &Step) -> BodyOutcome {
    body(step, BodyFor::Create, &ids, &metadata()).expect("a body")
}

fn updated(step: &Step, present: Option<Json>, known: Option<Json>) -> BodyOutcome {
    let (present, known): (Option<Map<_, _>>, Option<Map<_, _>>) = (present.map(map), known.map(map));
    body(step, BodyFor::Update { present: present.as_ref(), known: known.as_ref() }, &ids, &metadata()).expect("a body")
}

/// The known values after an outcome.
fn known(outcome: &BodyOutcome) -> Json {
    outcome.sent.iter().map(|(field, sent)| (field.clone(), json!({ "sent": sent }))).collect::<Map<_, _>>().into()
}

#[test]
fn a_person_is_created_with_fields_match_values_and_on_create() {
    let options = Options { on_create: entries(json!({"owner": "Ada@acme.com", "labels": ["customer"]})), ..Options::default() };
    let by = criteria([json!({"Segment User ID": "u42"}), json!({"email": "ada@x.io"})]);
    let fields = entries(
        json!({"name": "Ada", "emails": ["ada@work.io"], "Plan": "pro", "phone": "", "Lifetime Value": {"value": "12.50", "currency": "usd"}}),
    );
    let step = step(upsert(Kind::Person, by, fields, options));
    assert_eq!(
        Json::Object(created(&step).body),
        json!({
            "name": "Ada",
            "emails": [{"value": "ada@work.io", "primary": true}, {"value": "ada@x.io", "primary": false}],
            "owner_id": 7,
            "label_ids": [31],
            "custom_fields": { key(1): "u42", key(5): {"value": 12.5, "currency": "USD"}, key(6): 12 },
        })
    );
}

#[test]
fn an_update_needs_the_present_list_and_then_sends_what_is_new() {
    let step = step(upsert(
        Kind::Person,
        criteria([json!({"email": "ada@x.io"})]),
        entries(json!({"name": "Ada", "email": "NEW@x.io"})),
        Options::default(),
    ));
    assert!(updated(&step, None, None).needs_present);
    let present =
        json!({"id": 5, "name": "Ada", "emails": [{"value": "ada@x.io", "primary": true, "label": "home"}], "custom_fields": {}});
    let outcome = updated(&step, Some(present), None);
    assert!(!outcome.needs_present);
    assert_eq!(
        Json::Object(outcome.body.clone()),
        json!({"emails": [{"value": "ada@x.io", "primary": true, "label": "home"}, {"value": "NEW@x.io", "primary": false}]})
    );
    // Next time nothing is sent, and nothing needs to be read.
    let again = updated(&step, None, Some(known(&outcome)));
    assert!(!again.needs_present && again.body.is_empty() && again.changes.is_empty());
}

#[test]
fn an_organization_links_and_compares() {
    let step = step(upsert(
        Kind::Organization,
        criteria([json!({"Segment Group ID": "g1"})]),
        entries(json!({"name": "Acme", "address": {"street": "Main St 1", "city": "Tallinn"}, "industry": "technology"})),
        Options::default(),
    ));
    let body = Json::Object(created(&step).body);
    assert_eq!(
        body,
        json!({
            "name": "Acme",
            "address": {"value": "Main St 1, Tallinn", "route": "Main St 1", "locality": "Tallinn"},
            "industry": 51,
            "custom_fields": { key(1): "g1" },
        })
    );
    let present = json!({"name": "Acme", "address": {"value": "Main St 1, Tallinn", "country": "Estonia"}, "industry": 51, "custom_fields": {}});
    assert!(updated(&step, Some(present), None).body.is_empty());
}

#[test]
fn a_create_without_name_is_refused_when_the_body_is_built() {
    let step = step(upsert(Kind::Person, criteria([json!({"Segment User ID": "u42"})]), vec![], Options::default()));
    let problem = body(&step, BodyFor::Create, &no_links, &metadata()).expect_err("refused");
    assert_eq!(problem.to_string(), "person.rhai:10:5: a new person needs `name`, and the event gave none");
}
