//! Every kind of problem: its message, its place, what it suggests, and its class.

use serde_json::{Value as Json, json};

use crate::config::MatchFields;
use crate::failure::FailureClass;
use crate::pipedrive::{Id, Kind, Method};
use crate::plan::fixture::*;
use crate::plan::{
    Criteria, Criterion, FieldEntry, Link, ListOp, NewOption, OnUnknown, Options, PlanProblem, ProblemKind, Target, Value, Verb,
};

fn person(fields: Json) -> Verb {
    create(Kind::Person, [entries(json!({"name": "Ada"})), entries(fields)].concat())
}

/// Message and help of a person's one problem.
fn refused(fields: Json) -> (String, String) {
    said(problem(person(fields)))
}

fn said(problem: PlanProblem) -> (String, String) {
    (problem.message, problem.help.unwrap_or_default())
}

fn find(by: Json) -> PlanProblem {
    problem(upsert(Kind::Person, criteria([by]), vec![], Options::default()))
}

#[track_caller]
fn is(said: (String, String), message: &str, help: &str) {
    assert_eq!((said.0.as_str(), said.1.as_str()), (message, help));
}

#[test]
fn a_problem_stands_at_its_action_and_has_its_class() {
    let plan = plan([person(json!({})), person(json!({"emial": "x"})), create(Kind::Person, vec![])]);
    let problems = prepared_with(&plan, &MatchFields::default()).expect_err("two problems");
    let places: Vec<_> = problems.iter().map(|p| (p.at.file.as_ref(), p.at.line, p.at.column, p.ordinal, p.kind)).collect();
    assert_eq!(places, [("person.rhai", 11, 5, 1, ProblemKind::Name), ("person.rhai", 12, 5, 2, ProblemKind::Required)]);
    assert_eq!(problems[0].to_string(), "scripts/person.rhai:11:5: persons have no field `emial`");
    assert_eq!(problems[0].class(), FailureClass::Misconfigured, "every event of the rule will meet it");
    assert_eq!(problems[1].class(), FailureClass::Permanent);
}

#[test]
fn names_that_do_not_exist_are_refused_with_what_is_near() {
    is(refused(json!({"emial": "x"})), "persons have no field `emial`", "did you mean `email`?");
    is(refused(json!({"Lifetime Valeu": 1})), "persons have no field `Lifetime Valeu`", "did you mean `Lifetime Value`?");
    is(refused(json!({"stage_id": 1})), "persons have no field `stage_id`", "deals have a field of this name");
    is(
        refused(json!({"Zzzzzzzzzz": 1})),
        "persons have no field `Zzzzzzzzzz`",
        "`pipewright fields list` shows the names, and a new field is declared in rules.toml under [pipedrive.NAME.fields]",
    );
    // Also where the value is empty: the first event tells, not the first with a value.
    is(refused(json!({"emial": ""})), "persons have no field `emial`", "did you mean `email`?");
}

#[test]
fn a_name_in_any_case_is_taken_and_an_ambiguous_one_asks_for_the_key() {
    assert!(prepared([person(json!({"PLAN": "pro", " story ": "x"}))]).is_ok());
    let (message, help) = refused(json!({"Twin": 1}));
    assert_eq!(message, "persons have 2 custom fields named `Twin`");
    assert_eq!(help, format!("name the one you mean by its key: `{}` (varchar), `{}` (double)", key(20), key(21)));
    assert!(prepared([person(json!({ key(21): 1 }))]).is_ok());
}

#[test]
fn a_custom_field_named_as_an_api_field_goes_under_custom() {
    let custom = FieldEntry { name: "name".into(), custom: true, value: value(json!("x")) };
    let step = step(create(Kind::Person, [entries(json!({"name": "Ada"})), vec![custom]].concat()));
    assert_eq!(step.fields.iter().map(|f| f.address.key().to_owned()).collect::<Vec<_>>(), ["name".to_owned(), key(22)]);
    let unknown = FieldEntry { name: "email".into(), custom: true, value: value(json!("x")) };
    let found = problem(create(Kind::Person, [entries(json!({"name": "Ada"})), vec![unknown]].concat()));
    assert_eq!(found.message, "persons have no custom field `email`");
    let note = FieldEntry { name: "x".into(), custom: true, value: value(json!("x")) };
    let found = problem(create(Kind::Note, [entries(json!({"content": "x", "person_id": 1})), vec![note]].concat()));
    assert_eq!(found.message, "notes have no custom fields in Pipedrive's API");
}

#[test]
fn what_pipedrive_sets_itself_is_not_written() {
    is(refused(json!({"update_time": "2026-01-01"})), "`update_time` of persons cannot be written: Pipedrive sets it", "");
    let (message, help) = refused(json!({"id": 5}));
    assert_eq!(message, "`id` of persons cannot be written: Pipedrive sets it");
    assert!(help.contains("match by `id`"), "{help}");
    assert_eq!(refused(json!({"Weird": 1})).0, "`Weird` is a field of type json, which cannot be written");
}

#[test]
fn one_field_under_two_names_is_refused() {
    is(
        refused(json!({"email": "a@x.io", "emails": ["b@x.io"]})),
        "`email` and `emails` are the same field of persons",
        "give it once",
    );
}

#[test]
fn values_of_the_wrong_type_are_refused_by_kind_not_by_content() {
    let cases = [
        (json!({"Nickname": true}), "`Nickname` takes text, not a boolean"),
        (json!({"Nickname": ["secret"]}), "`Nickname` takes text, not an array"),
        (json!({"Score": "secret"}), "`Score` takes a number, and this string is none"),
        (json!({"Score": "1e999"}), "`Score` takes a number, and this string is none"),
        (json!({"Score": {}}), "`Score` takes a number, not a map"),
        (json!({"Lifetime Value": "secret"}), "`Lifetime Value` takes an amount of money, and this string is none"),
        (json!({"Lifetime Value": {"currency": "EUR"}}), "the money for `Lifetime Value` has no amount"),
        (
            json!({"Lifetime Value": {"amount": 1, "curency": "EUR"}}),
            "the map for `Lifetime Value` has a key that means nothing there",
        ),
        (
            json!({"Lifetime Value": {"amount": 1, "currency": "euro"}}),
            "`Lifetime Value` takes a currency code of three letters (ISO 4217), and this string is none",
        ),
        (json!({"Signup Date": "soon"}), "`Signup Date` takes a date (`YYYY-MM-DD`, or an ISO time), and this string is none"),
        (
            json!({"Signup Date": "2026-02-30"}),
            "`Signup Date` takes a date (`YYYY-MM-DD`, or an ISO time), and this string is none",
        ),
        (
            json!({"Signup Date": "2026-01-01x"}),
            "`Signup Date` takes a date (`YYYY-MM-DD`, or an ISO time), and this string is none",
        ),
        (json!({"Signup Date": 5}), "`Signup Date` takes a date (`YYYY-MM-DD`, or an ISO time), not a number"),
        (json!({"Trial": "2026-01-01"}), "`Trial` takes a range (`#{ from: .., until: .. }` or `[from, until]`), not a string"),
        (json!({"Trial": ["2026-01-01"]}), "`Trial` takes a range (`#{ from: .., until: .. }` or `[from, until]`), not an array"),
        (json!({"Trial": {"from": "2026-01-01"}}), "`Trial` takes both ends of a range"),
        (json!({"Call At": "25:00"}), "`Call At` takes a time (`HH:MM` or `HH:MM:SS`), and this string is none"),
        (json!({"Call At": {"value": "10:00", "timezone": "Mars/Base"}}), "the time zone for `Call At` is not an IANA name"),
        (
            json!({"Billing Address": 7}),
            "`Billing Address` takes an address (one line of text, or a map of its parts), not a number",
        ),
        (json!({"Billing Address": {"stret": "x"}}), "the map for `Billing Address` has a key that means nothing there"),
        (json!({"emails": [true]}), "`emails` takes text, a map with `value`, or an array of those, not a boolean"),
        (json!({"owner": true}), "`owner` takes a user of the account by name or id, not a boolean"),
        (json!({"visible_to": 2}), "`visible_to` takes `owner` (1), `group` (3), `subgroup` (5) or `everyone` (7)"),
        (
            json!({"marketing_status": "x"}),
            "`marketing_status` takes one of `no_consent`, `unsubscribed`, `subscribed`, `archived`",
        ),
        (json!({"add_time": "secret"}), "`add_time` takes a point in time (ISO 8601, or Unix seconds), not a string"),
        (json!({"org_id": "acme"}), "`org_id` takes the organization as id, reference or `by(..)`, not a string"),
        (json!({"Referrer": {}}), "`Referrer` takes the person as id, reference or `by(..)`, not a map"),
    ];
    for (fields, message) in cases {
        let found = problem(person(fields.clone()));
        assert_eq!(found.message, message);
        let shown = format!("{found} {:?}", found.help);
        assert!(!shown.contains("secret"), "{shown}");
    }
    let whole = problem(create(Kind::Organization, entries(json!({"name": "x", "employee_count": 1.5}))));
    assert_eq!(whole.message, "`employee_count` takes a whole number, and this one has a fraction");
    let activity = |fields| {
        problem(Verb::Create {
            kind: Kind::Activity,
            fields: entries(fields),
            options: Options { unlinked: true, ..Options::default() },
        })
    };
    assert_eq!(activity(json!({"done": "maybe"})).message, "`done` takes true or false, not a string");
    assert_eq!(
        activity(json!({"duration": 30})).message,
        "`duration` takes a length of time (`HH:MM` or `HH:MM:SS`), not a number"
    );
    assert_eq!(
        activity(json!({"participants": ["x"]})).message,
        "`participants` takes person ids, or maps with `person_id`, not a string"
    );
    assert_eq!(activity(json!({"attendees": [{"name": "x"}]})).message, "an attendee in `attendees` has no `email`");
}

#[test]
fn values_that_the_account_does_not_know_are_dropped_with_a_warning() {
    let fields =
        json!({"name": "Ada", "Plan": "prro", "owner": "eve@acme.com", "labels": ["Customer", "Cold"], "Interests": ["nope"]});
    let step = step(create(Kind::Person, entries(fields)));
    assert_eq!(step.fields.iter().map(|f| f.name.as_str()).collect::<Vec<_>>(), ["labels", "name"]);
    let warned = step.warnings.join("\n");
    assert!(warned.contains("left out: `Plan` has no such option (`prro`); did you mean `Pro`?"), "{warned}");
    assert!(warned.contains("left out: `labels` has no such option (`Cold`); known here: `Customer`, `Hot`"), "{warned}");
    assert!(warned.contains("left out: `owner`: the account has no such user (`eve@acme.com`); did you mean"), "{warned}");
    assert_eq!(step.warnings.len(), 4, "{warned}");
}

#[test]
fn unknown_values_fail_where_the_script_says_so() {
    let with = |kind, on_unknown, fields| {
        let options = Options { on_unknown: Some(on_unknown), unlinked: true, ..Options::default() };
        problem(Verb::Create { kind, fields: entries(fields), options })
    };
    let found = with(Kind::Person, OnUnknown::Fail, json!({"name": "Ada", "Plan": "Gold"}));
    is(said(found.clone()), "`Plan` has no such option", "known here: `Free`, `Pro`, `Enterprise`");
    assert_eq!((found.value.as_deref(), found.kind), (Some("Gold"), ProblemKind::Value));
    let cases = [
        (Kind::Person, json!({"name": "x", "owner": "old@acme.com"}), "`owner`: this user is deactivated"),
        (Kind::Deal, json!({"title": "x", "stage": "Nope"}), "`stage`: the account has no such stage"),
        (
            Kind::Deal,
            json!({"title": "x", "stage": "Qualified", "pipeline": "Onboarding"}),
            "`stage`: the pipeline `Onboarding` has no such stage",
        ),
        (Kind::Deal, json!({"title": "x", "pipeline": "Nope"}), "`pipeline`: the account has no such pipeline"),
        (Kind::Activity, json!({"type": "party"}), "`type`: the account has no such activity type"),
        (Kind::Activity, json!({"priority": "Low"}), "`priority` has no such option"),
    ];
    for (kind, fields, message) in cases {
        assert_eq!(with(kind, OnUnknown::Fail, fields).message, message);
    }
    let found = with(Kind::Person, OnUnknown::Create, json!({"name": "Ada", "Plan": "Gold"}));
    let key = found.adds.as_ref().and_then(|adds| adds.field.clone()).expect("a field");
    assert_eq!(found.adds, Some(NewOption { kind: Kind::Person, field: Some(key), label: "Gold".into() }));
    let found = with(Kind::Activity, OnUnknown::Create, json!({"priority": "Low"}));
    assert_eq!(found.adds, None);
    is(
        said(found),
        "`priority` has no such option, and `on_unknown: \"create\"` cannot add it",
        "Pipedrive takes no further options for its own fields; add it in Pipedrive, or use `on_unknown: \"drop\"`",
    );
    // Wrong whatever the policy: a stage of two pipelines is a question, not an unknown value.
    let found = with(Kind::Deal, OnUnknown::Drop, json!({"title": "x", "stage": "Done"}));
    is(said(found), "`stage`: several pipelines have a stage of this name", "give `pipeline` beside it: `Sales`, `Onboarding`");
    let found = with(Kind::Deal, OnUnknown::Drop, json!({"title": "x", "stage": 3, "pipeline": "Sales"}));
    assert_eq!(found.message, "`stage`: this stage is in another pipeline than the one given");
    let found = with(Kind::Lead, OnUnknown::Fail, json!({"title": "x", "person_id": 1, "labels": "Worm"}));
    is(said(found), "`labels`: leads have no such label", "did you mean `Warm`?");
}

#[test]
fn a_match_by_what_cannot_be_searched_says_why() {
    let found = find(json!({"Plan": "Pro"}));
    assert_eq!(found.message, "nothing can be found by `Plan`: Pipedrive does not search fields of type enum");
    assert_eq!(found.class(), FailureClass::Misconfigured);
    for (name, given) in
        [("Interests", "Sales"), ("Signup Date", "2026-01-01"), ("Account Manager", "ada@acme.com"), ("Parent Company", "1")]
    {
        assert!(find(json!({ name: given })).message.starts_with(&format!("nothing can be found by `{name}`")), "{name}");
    }
    let found = problem(upsert(Kind::Activity, criteria([json!({"subject": "x"})]), vec![], Options::default()));
    assert_eq!(found.message, "nothing can be found by `subject`: Pipedrive does not search activities");
    assert_eq!(
        find(json!({"owner": "ada@acme.com"})).message,
        "nothing can be found by `owner`: Pipedrive does not search persons by it"
    );
    // Beside a field that is searched, it narrows.
    let narrowed = step(upsert(Kind::Person, criteria([json!({"email": "a@x.io", "Plan": "Pro"})]), vec![], Options::default()));
    assert!(matches!(narrowed.operation, crate::plan::Operation::Upsert { ref lookups, .. } if lookups[0].0.len() == 2));
}

#[test]
fn a_match_takes_plain_values() {
    assert_eq!(find(json!({"emial": "x"})).help.as_deref(), Some("did you mean `email`?"));
    let by = |value| Criteria(vec![Criterion(vec![entry("email", value)])]);
    let found = problem(upsert(Kind::Person, by(Value::Clear), vec![], Options::default()));
    assert_eq!(found.message, "`email` in a match cannot be `CLEAR`");
    let found = problem(upsert(Kind::Person, by(Value::List { op: ListOp::Add, items: vec![] }), vec![], Options::default()));
    assert!(found.message.contains("takes the value itself"), "{}", found.message);
    let linked = |link| Criteria(vec![Criterion(vec![entry("person_id", Value::Link(link))])]);
    assert!(prepared([upsert(Kind::Lead, linked(Link::Id(Id::Number(1))), vec![], Options::default())]).is_ok());
    let found = problem(upsert(
        Kind::Lead,
        linked(Link::By { criteria: criteria([json!({"email": "a@x.io"})]), wait: None }),
        vec![],
        Options::default(),
    ));
    assert_eq!(found.message, "`person_id` in a match takes an id: what a reference or `by(..)` comes to is not known yet");
    let many: Vec<String> = (0..11).map(|n| format!("{n}@x.io")).collect();
    assert_eq!(find(json!({ "email": many })).message, "the match gives more than 10 alternatives");
    let found = find(json!({"id": "u42"}));
    is(
        said(found),
        "`id` in a match takes the person's id in Pipedrive, a positive whole number, and this string is none",
        "to match by an id of yours, use a custom field",
    );
}

#[test]
fn a_bare_value_is_the_accounts_match_field() {
    let verb = || upsert(Kind::Person, Criteria(vec![Criterion::bare(value(json!("u42")))]), vec![], Options::default());
    assert!(prepared([verb()]).is_ok());
    let gone = MatchFields { person: "Segment Usr ID".into(), ..MatchFields::default() };
    let problems = prepared_with(&plan([verb()]), &gone).expect_err("a problem");
    assert_eq!(
        problems[0].message,
        "a bare value stands for the match field `Segment Usr ID` of rules.toml: persons have no field `Segment Usr ID`"
    );
    assert!(problems[0].help.as_deref().is_some_and(|h| h.contains("did you mean `Segment User ID`?")), "{:?}", problems[0].help);
    let id = MatchFields { person: "id".into(), ..MatchFields::default() };
    let problems = prepared_with(&plan([verb()]), &id).expect_err("no id");
    assert_eq!(problems[0].kind, ProblemKind::Link);
}

#[test]
fn links_lead_to_the_right_kind() {
    let link = |kind, field: &str, link| create(kind, vec![entry("title", value(json!("x"))), entry(field, Value::Link(link))]);
    let found = problem(link(Kind::Deal, "person_id", Link::Id(LEAD.parse().expect("a uuid"))));
    assert_eq!(found.message, "person_id: this uuid is not the id of a person, which is a positive whole number");
    let found = problem(create(Kind::Note, vec![entry("content", value(json!("x"))), entry("lead_id", value(json!(5)))]));
    assert_eq!(found.message, "lead_id: this number is not the id of a lead, which is a uuid");
    let found = problem(link(Kind::Deal, "title", Link::Id(Id::Number(1))));
    assert_eq!(found.message, "`title` does not link to another entity");
    let found = problem(link(Kind::Deal, "person_id", Link::Reference(0)));
    assert_eq!(found.message, "person_id: the reference does not name an earlier action of this run");
    let organization = create(Kind::Organization, entries(json!({"name": "Acme"})));
    let problems = prepared([organization, link(Kind::Deal, "person_id", Link::Reference(0))]).expect_err("a wrong kind");
    assert_eq!(problems[0].message, "person_id takes a person, and this reference is an organization");
    let delete = Verb::Delete { kind: Kind::Person, target: Target::Id(Id::Number(1)), options: Options::default() };
    let problems = prepared([delete, link(Kind::Deal, "person_id", Link::Reference(0))]).expect_err("nothing there");
    assert_eq!(problems[0].message, "person_id: the action referred to leaves no person behind");
}

#[test]
fn what_a_create_needs() {
    let cases = [
        (Kind::Person, json!({}), "a new person needs `name`, and the event gave none", ProblemKind::Required),
        (
            Kind::Organization,
            json!({"name": ""}),
            "a new organization needs `name`, and the event gave none",
            ProblemKind::Required,
        ),
        (Kind::Deal, json!({"person_id": 1}), "a new deal needs `title`, and the event gave none", ProblemKind::Required),
        (Kind::Note, json!({"person_id": 1}), "a new note needs `content`, and the event gave none", ProblemKind::Required),
        (Kind::Deal, json!({"title": "x"}), "a new deal needs a link to another entity, and none was found", ProblemKind::Link),
        (Kind::Lead, json!({"title": "x"}), "a new lead needs a link to another entity, and none was found", ProblemKind::Link),
        (
            Kind::Activity,
            json!({"subject": "x"}),
            "a new activity needs a link to another entity, and none was found",
            ProblemKind::Link,
        ),
        (
            Kind::Note,
            json!({"content": "x", "person_id": ""}),
            "a new note needs a link to another entity, and none was found",
            ProblemKind::Link,
        ),
    ];
    for (kind, fields, message, problem_kind) in cases {
        let found = problem(create(kind, entries(fields)));
        assert_eq!((found.message.as_str(), found.kind), (message, problem_kind));
    }
    let unlinked =
        |kind, fields| Verb::Create { kind, fields: entries(fields), options: Options { unlinked: true, ..Options::default() } };
    assert!(prepared([unlinked(Kind::Deal, json!({"title": "x"})), unlinked(Kind::Activity, json!({}))]).is_ok());
    assert!(prepared([unlinked(Kind::Lead, json!({"title": "x"}))]).is_err(), "Pipedrive takes no lead without");
}

#[test]
fn what_cannot_be_emptied_is_not_cleared() {
    let cleared = |field: &str| create(Kind::Person, [entries(json!({"name": "x"})), vec![entry(field, Value::Clear)]].concat());
    for field in ["name", "owner", "org_id", "visible_to", "postal_address"] {
        let verb = Verb::Update {
            kind: Kind::Person,
            target: Target::Id(Id::Number(1)),
            fields: vec![entry(field, Value::Clear)],
            options: Options::default(),
        };
        assert_eq!(problem(verb).message, format!("`{field}` of persons cannot be emptied: Pipedrive has no way to"));
    }
    for field in ["emails", "phones", "labels", "Plan", "Interests", "Billing Address"] {
        assert!(prepared([cleared(field)]).is_ok(), "{field}");
    }
}

#[test]
fn list_changes_are_for_lists() {
    let change = |field: &str, op| {
        problem(create(
            Kind::Person,
            vec![entry("name", value(json!("x"))), entry(field, Value::List { op, items: vec![json!("Pro")] })],
        ))
    };
    assert_eq!(change("Plan", ListOp::Add).message, "`Plan` holds one value: add, remove, replace and primary are for lists");
    assert_eq!(change("labels", ListOp::Primary).message, "`labels` has no primary item");
}

#[test]
fn merges_conversions_and_requests() {
    let merge = |kind, keep, drop| {
        problem(Verb::Merge { kind, keep: Target::Id(keep), drop: Target::Id(drop), options: Options::default() })
    };
    assert_eq!(merge(Kind::Person, Id::Number(1), Id::Number(1)).message, "a person cannot be merged with itself");
    assert_eq!(merge(Kind::Note, Id::Number(1), Id::Number(2)).message, "Pipedrive cannot merge notes");
    let convert = Verb::Convert {
        target: Target::Id(LEAD.parse().expect("a uuid")),
        fields: entries(json!({"title": "x"})),
        options: Options::default(),
    };
    assert_eq!(problem(convert).message, "a conversion takes `stage` and `pipeline`, not `title`");
    for path in ["http://evil/api/v2/x", "/v1/persons", "/api/v2/../x", "/api/v2/a b"] {
        let request = Verb::Request { method: Method::Post, path: path.into(), body: None };
        assert_eq!(problem(request).kind, ProblemKind::Value, "{path}");
    }
}

#[test]
fn all_problems_of_an_action_are_told_at_once() {
    let verb =
        upsert(Kind::Person, criteria([json!({"Plan": "Pro"})]), entries(json!({"emial": 1, "Score": "x"})), Options::default());
    let problems = prepared([verb]).expect_err("three problems");
    assert_eq!(problems.len(), 3, "{problems:#?}");
}
