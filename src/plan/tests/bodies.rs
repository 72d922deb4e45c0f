//! Bodies of creates and updates.

use serde_json::{Map, Value as Json, json};

use crate::config::WritePolicy;
use crate::crm::Metadata;
use crate::failure::FailureClass;
use crate::pipedrive::{Id, Kind};
use crate::plan::fixture::*;
use crate::plan::{
    BodyFor, BodyOutcome, FieldEntry, Link, ListOp, Operation, Options, ProblemKind, Step, Target, Value, Verb, WireTarget, body,
};

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

/// Field, before and after of each change, as people know them.
fn named(outcome: &BodyOutcome) -> Vec<(&str, Option<&str>, Option<&str>)> {
    outcome.changes.iter().map(|c| (c.field.as_str(), c.before_name.as_deref(), c.after_name.as_deref())).collect()
}

#[test]
fn changes_have_names_beside_ids() {
    let fields =
        json!({"Plan": "pro", "Interests": ["Support", "2024"], "labels": ["hot"], "owner": "ada@acme.com", "name": "12"});
    let change = update_of(entries(fields), WritePolicy::Changed);
    let present = json!({
        "name": "11", "owner_id": 8, "label_ids": [31], "custom_fields": { key(6): {"id": 11, "label": "Free"}, key(7): [21, 99] },
    });
    assert_eq!(
        named(&updated(&change, Some(present), None)),
        [
            ("Interests", Some("Sales, 99"), Some("Support, 2024")),
            ("Plan", Some("Free"), Some("Pro")),
            ("labels", Some("Customer"), Some("Customer, Hot")),
            ("name", None, None),
            ("owner", Some("Grace Hopper"), Some("Ada Lovelace")),
        ]
    );
    // Options that the account no longer has stay ids.
    let gone = json!({ "label_ids": [], "custom_fields": { key(6): 77, key(7): [78] } });
    let outcome = updated(&change, Some(gone), None);
    assert_eq!(
        named(&outcome)[..3],
        [("Interests", None, Some("Support, 2024")), ("Plan", None, Some("Pro")), ("labels", None, Some("Hot")),]
    );
    assert_eq!((&outcome.changes[1].before, &outcome.changes[1].after), (&json!(77), &json!(12)));

    let fields = json!({"title": "Big", "pipeline": "Sales", "stage": "Qualified", "person_id": 12});
    let deal = created(&step(create(Kind::Deal, entries(fields))));
    let names: Vec<_> = named(&deal).into_iter().filter(|(_, _, after)| after.is_some()).collect();
    assert_eq!(names, [("pipeline", None, Some("Sales")), ("stage", None, Some("Qualified"))]);
    let lead = created(&step(create(Kind::Lead, entries(json!({"title": "Big", "labels": ["warm"], "person_id": 12})))));
    assert!(named(&lead).contains(&("labels", None, Some("Warm"))), "{lead:?}");
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
    assert_eq!(problem.to_string(), "scripts/person.rhai:10:5: a new person needs `name`, and the event gave none");
}

fn update_of(fields: Vec<FieldEntry>, write: WritePolicy) -> Step {
    let options = Options { write: Some(write), ..Options::default() };
    step(Verb::Update { kind: Kind::Person, target: Target::Id(Id::Number(1)), fields, options })
}

fn update_with(options: Options) -> Step {
    step(Verb::Update { kind: Kind::Person, target: Target::Id(Id::Number(1)), fields: vec![], options })
}

fn email_change(op: ListOp, items: Json) -> Vec<FieldEntry> {
    let Json::Array(items) = items else { panic!("an array") };
    vec![entry("emails", Value::List { op, items })]
}

#[test]
fn what_is_done_to_a_list() {
    let present = json!({"emails": [
        {"value": "one@x.io", "primary": true, "label": "work"},
        {"value": "Two@x.io", "primary": false, "label": "home"},
    ]});
    let two = |primary: bool| json!({"value": "Two@x.io", "primary": primary, "label": "home"});
    let cases = [
        (ListOp::Add, json!(["two@X.io"]), None),
        (
            ListOp::Add,
            json!([{"value": "two@x.io", "primary": true}]),
            Some(json!([{"value": "one@x.io", "primary": false, "label": "work"}, two(true)])),
        ),
        (ListOp::Remove, json!(["ONE@x.io"]), Some(json!([two(true)]))),
        (ListOp::Remove, json!(["three@x.io"]), None),
        (
            ListOp::Primary,
            json!(["two@x.io"]),
            Some(json!([{"value": "one@x.io", "primary": false, "label": "work"}, two(true)])),
        ),
        (
            ListOp::Replace,
            json!(["two@x.io", "three@x.io"]),
            Some(json!([
                {"value": "two@x.io", "primary": true, "label": "home"},
                {"value": "three@x.io", "primary": false},
            ])),
        ),
        (ListOp::Replace, json!(["one@x.io", "two@x.io"]), None),
    ];
    for (op, items, expected) in cases {
        let outcome = updated(&update_of(email_change(op, items.clone()), WritePolicy::Changed), Some(present.clone()), None);
        let sent = outcome.body.get("emails").cloned();
        assert_eq!(sent, expected, "{op:?} {items}");
    }
    // Nothing to keep: the list becomes empty.
    let emptied = updated(
        &update_of(email_change(ListOp::Remove, json!(["one@x.io", "two@x.io"])), WritePolicy::Changed),
        Some(present),
        None,
    );
    assert_eq!(emptied.body["emails"], json!([]));
}

#[test]
fn the_same_phone_number_in_another_spelling_is_not_added() {
    let present = json!({"phones": [{"value": "+372 5555-1234", "primary": true}]});
    let step = update_of(entries(json!({"phone": "+37255551234"})), WritePolicy::Changed);
    assert!(updated(&step, Some(present), None).body.is_empty());
}

#[test]
fn the_three_write_policies() {
    let fields = || entries(json!({"name": "Ada"}));
    let edited = json!({"name": "Edited by hand"});
    let sent = |name: &str| json!({"name": {"sent": name}});
    let seen = |name: &str| json!({"name": {"sent": "Ada", "seen": name, "fresh": true}});
    let old = json!({"name": {"sent": "Ada", "seen": "Ada"}});
    let body = |write, present: Option<&Json>, known: Option<Json>| {
        let outcome = updated(&update_of(fields(), write), present.cloned(), known);
        (outcome.needs_present, outcome.body.contains_key("name"))
    };
    // changed: the source says what it said, so the edit stands; it says something new, so it goes through.
    assert_eq!(body(WritePolicy::Changed, Some(&edited), Some(sent("Ada"))), (false, false));
    assert_eq!(body(WritePolicy::Changed, Some(&edited), Some(sent("Ida"))), (false, true));
    assert_eq!(body(WritePolicy::Changed, None, None), (false, true));
    assert_eq!(body(WritePolicy::Changed, Some(&json!({"name": "Ada"})), None), (false, false));
    // differs: what counts is what is in Pipedrive.
    assert_eq!(body(WritePolicy::Differs, Some(&edited), Some(sent("Ada"))), (false, true));
    assert_eq!(body(WritePolicy::Differs, None, Some(seen("Ada"))), (false, false));
    assert_eq!(body(WritePolicy::Differs, None, Some(seen("Edited"))), (false, true));
    assert!(body(WritePolicy::Differs, None, Some(sent("Ada"))).0, "it has to be read");
    assert!(body(WritePolicy::Differs, None, Some(old)).0, "and so has what was seen too long ago");
    // always.
    assert_eq!(body(WritePolicy::Always, Some(&json!({"name": "Ada"})), Some(sent("Ada"))), (false, true));
}

#[test]
fn if_empty_is_for_what_is_empty() {
    let options = Options { if_empty: entries(json!({"Nickname": "A", "phone": "1"})), ..Options::default() };
    let step = step(Verb::Update { kind: Kind::Person, target: Target::Id(Id::Number(1)), fields: vec![], options });
    assert!(updated(&step, None, None).needs_present);
    let outcome =
        updated(&step, Some(json!({"custom_fields": {key(2): null}, "phones": [{"value": "9", "primary": true}]})), None);
    assert_eq!(Json::Object(outcome.body.clone()), json!({"custom_fields": {key(2): "A"}}));
    // Once seen, full or filled, it is not read again; a person who empties it later is not overruled.
    let again = updated(&step, None, Some(known(&outcome)));
    assert!(!again.needs_present && again.body.is_empty(), "{again:?}");
}

#[test]
fn composite_values_compare_by_what_they_mean() {
    let fields = json!({
        "Lifetime Value": {"amount": 5, "currency": "EUR"}, "Interests": ["Support", "Sales"], "Call At": "09:30", "Trial": ["2026-01-01", "2026-02-01"],
        "Billing Address": "Main St 1",
    });
    let step = update_of(entries(fields), WritePolicy::Changed);
    let same = json!({"custom_fields": {
        key(5): {"value": 5.0, "currency": "EUR"}, key(7): [21, 22], key(14): {"value": "09:30:00", "timezone_id": 1, "timezone_name": "UTC"},
        key(13): {"value": "2026-01-01", "until": "2026-02-01"}, key(16): {"value": "Main St 1", "country": "Estonia"},
    }});
    assert_eq!(Json::Object(updated(&step, Some(same), None).body), json!({}));
    let other = json!({"custom_fields": {
        key(5): {"value": 5, "currency": "USD"}, key(7): [21], key(14): {"value": "10:30:00"}, key(13): {"value": "2026-01-01", "until": "2026-02-02"},
        key(16): {"value": "Side St 1"},
    }});
    assert_eq!(updated(&step, Some(other), None).changes.len(), 5);
}

#[test]
fn clearing_sends_null_or_the_empty_list_once() {
    let step = update_of(
        vec![entry("emails", Value::Clear), entry("Interests", Value::Clear), entry("Nickname", Value::Clear)],
        WritePolicy::Changed,
    );
    let full = json!({"emails": [{"value": "a@x.io"}], "custom_fields": {key(7): [21], key(2): "x"}});
    let outcome = updated(&step, Some(full), None);
    assert_eq!(Json::Object(outcome.body.clone()), json!({"emails": [], "custom_fields": {key(7): null, key(2): null}}));
    assert!(updated(&step, None, Some(known(&outcome))).body.is_empty());
}

#[test]
fn a_link_that_leads_nowhere_is_left_out() {
    let by = Value::Link(Link::By { criteria: criteria([json!({"Segment Group ID": "g1"})]), wait: None });
    let step = step(create(Kind::Person, vec![entry("name", value(json!("x"))), entry("org_id", by)]));
    let outcome = body(&step, BodyFor::Create, &no_links, &metadata()).expect("a body");
    assert_eq!(Json::Object(outcome.body), json!({"name": "x"}));
    // A bare `by` without a value is no link at all.
    let by = Value::Link(Link::By { criteria: criteria([json!({"Segment User ID": ""})]), wait: None });
    let lead = create(Kind::Lead, vec![entry("title", value(json!("x"))), entry("person_id", by)]);
    assert_eq!(problem(lead).kind, ProblemKind::Link);
}

#[test]
fn a_field_that_is_gone_is_a_problem_not_a_refused_request() {
    let step = update_of(entries(json!({"Plan": "Pro"})), WritePolicy::Changed);
    let problem = body(&step, BodyFor::Update { present: None, known: None }, &ids, &Metadata::default()).expect_err("gone");
    assert_eq!(problem.message, "persons no longer have the field `Plan`");
    assert_eq!(problem.class(), FailureClass::Misconfigured);
}

#[test]
fn notes_and_activities_have_a_key() {
    let key_of = |kind, fields, key: Option<&str>| {
        let options = Options { key: key.map(str::to_owned), unlinked: true, ..Options::default() };
        step(Verb::Create { kind, fields: entries(fields), options }).key
    };
    assert_eq!(key_of(Kind::Note, json!({"content": "x", "person_id": 1}), None).as_deref(), Some("m1/rule/0"));
    assert_eq!(key_of(Kind::Activity, json!({}), Some("mine")).as_deref(), Some("mine"));
    assert_eq!(key_of(Kind::Person, json!({"name": "x"}), None), None);
}

#[test]
fn steps_survive_the_store() {
    let step = step(upsert(
        Kind::Person,
        criteria([json!({"Segment User ID": "u42"}), json!({"email": ["a@x.io", "b@x.io"]})]),
        entries(json!({"name": "Ada", "Interests": ["Sales"], "org_id": 3})),
        Options::default(),
    ));
    let text = serde_json::to_string(&step).expect("JSON");
    assert_eq!(serde_json::from_str::<Step>(&text).expect("a step"), step);
}

#[test]
fn a_criterion_with_an_empty_value_is_dropped_whole() {
    let lookups = |by: Vec<Json>| match step(upsert(Kind::Person, criteria(by), vec![], Options::default())).operation {
        Operation::Upsert { lookups, .. } => {
            lookups.iter().map(|l| l.0.iter().map(|t| t.value.clone()).collect::<Vec<_>>()).collect::<Vec<_>>()
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(
        lookups(vec![json!({"Segment User ID": " "}), json!({"email": "A@x.io", "name": ""}), json!({"email": "A@x.io"})]),
        [["a@x.io"]]
    );
    assert_eq!(lookups(vec![json!({"email": ["a@x.io", "", "b@x.io"]})]), [["a@x.io"], ["b@x.io"]], "an array means any of them");
    assert_eq!(lookups(vec![json!({"Segment User ID": ""})]), Vec::<Vec<String>>::new());
    assert_eq!(lookups(vec![json!({"Segment User ID": 42})]), [["42"]]);
}

#[test]
fn unless_edited_follows_the_event_until_somebody_else_writes() {
    let named = |name: &str| {
        let options = Options { unless_edited: entries(json!({ "name": name })), ..Options::default() };
        step(upsert(Kind::Person, criteria([json!({ "Segment User ID": "u1" })]), vec![], options))
    };
    let name = |outcome: &BodyOutcome| outcome.body.get("name").cloned();
    let ada = created(&named("Ada"));
    assert_eq!(name(&ada), Some(json!("Ada")));
    // What was last sent is there still: it follows. Without a look nothing can be told, unless the event says the same.
    let known_ada = Some(json!({ "name": { "sent": "Ada" } }));
    assert!(updated(&named("Ada King"), None, known_ada.clone()).needs_present);
    assert_eq!(name(&updated(&named("Ada King"), Some(json!({ "name": "Ada" })), known_ada.clone())), Some(json!("Ada King")));
    let same = updated(&named("Ada"), None, known_ada.clone());
    assert!(!same.needs_present && same.body.is_empty());
    // Somebody wrote another one, or emptied it: that stands, for every name that comes.
    for present in ["Countess Lovelace", ""] {
        let mut known = known_ada.clone();
        for event in ["Ada King", "Ada Lovelace"] {
            let outcome = updated(&named(event), Some(json!({ "name": present })), known);
            assert_eq!(name(&outcome), None, "{present}");
            known = Some(self::known(&outcome));
        }
    }
    // Nothing was sent before: what is there is somebody's; nothing there is nobody's.
    let first = updated(&named("Ada"), Some(json!({ "name": "Countess Lovelace" })), None);
    assert_eq!(name(&first), None);
    assert!(
        first.decisions.iter().any(|line| line == "unless_edited: written by somebody else, left alone: `name`"),
        "{first:?}"
    );
    assert_eq!(name(&updated(&named("Ada King"), Some(json!({ "name": "Countess Lovelace" })), Some(known(&first)))), None);
    assert_eq!(name(&updated(&named("Ada"), Some(json!({ "name": "" })), None)), Some(json!("Ada")));
}

#[test]
fn unless_edited_follows_a_list_that_pipedrive_has_added_to() {
    let with = |address: &str| {
        let emails = email_change(ListOp::Replace, json!([address]));
        update_with(Options { unless_edited: emails, ..Options::default() })
    };
    let there = |address: &str| json!({ "emails": [{ "value": address, "label": "work", "primary": true }] });
    let known = Some(known(&updated(&with("ada@acme.com"), Some(json!({ "emails": [] })), None)));
    let outcome = updated(&with("ada@new.org"), Some(there("ada@acme.com")), known.clone());
    assert_eq!(outcome.body["emails"][0]["value"], "ada@new.org", "{outcome:?}");
    assert_eq!(Json::Object(updated(&with("ada@new.org"), Some(there("hers@home.org")), known).body), json!({}));
}

#[test]
fn what_if_empty_left_alone_is_somebody_elses_whatever_the_script_says_next() {
    let present = || Some(json!({ "name": "Countess" }));
    let held = update_with(Options { if_empty: entries(json!({ "name": "Ada" })), ..Options::default() });
    let known = Some(known(&updated(&held, present(), None)));
    let again = updated(&held, None, known.clone());
    assert!(!again.needs_present && again.body.is_empty(), "it is not read again: {again:?}");
    let next = update_with(Options { unless_edited: entries(json!({ "name": "Ada King" })), ..Options::default() });
    assert_eq!(Json::Object(updated(&next, present(), known.clone()).body), json!({}));
    // A plain field is the event's to say.
    let plain = update_of(entries(json!({ "name": "Ada King" })), WritePolicy::Changed);
    let outcome = updated(&plain, None, known);
    assert_eq!((&outcome.body["name"], &outcome.changes[0].before), (&json!("Ada King"), &json!("Countess")));
}
