//! The shipped scripts: from an event in Segment's format to request bodies.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use pipewright::config::{MatchFields, ScriptConfig, WritePolicy};
use pipewright::crm::{Field, FieldOption, FieldType, Me, Metadata, Pipeline, Stage, User};
use pipewright::pipedrive::{Id, Kind};
use pipewright::plan::{self, BodyFor, Operation, PlanProblem, PrepareContext, Step, WireTarget, WireValue};
use pipewright::script::{Memo, Outcome, Pool, Program, RunRequest, Sources};
use serde_json::{Map, Value, json};

const SCRIPTS: [&str; 6] = ["person.rhai", "organization.rhai", "deal.rhai", "lead.rhai", "activity.rhai", "note.rhai"];
const USER_ID: &str = "1111111111111111111111111111111111111111";
const GROUP_ID: &str = "2222222222222222222222222222222222222222";
const DEAL_ID: &str = "3333333333333333333333333333333333333333";
const LEAD: &str = "adf21080-0e10-11eb-879b-05d71fb426ec";

/// The account that the scripts expect: the three id fields, and what the events below name.
fn metadata() -> Metadata {
    let text = |key: &str, name: &str| Field {
        key: key.into(),
        name: name.into(),
        field_type: FieldType::Varchar,
        options: vec![],
        custom: true,
    };
    let option = FieldOption { id: 1, label: "Customer".into() };
    let labels = Field {
        key: "label_ids".into(),
        name: "Labels".into(),
        field_type: FieldType::Set,
        options: vec![option],
        custom: false,
    };
    Metadata {
        fields: BTreeMap::from([
            (Kind::Person, vec![text(USER_ID, "Segment User ID"), labels]),
            (Kind::Organization, vec![text(GROUP_ID, "Segment Group ID")]),
            (Kind::Deal, vec![text(DEAL_ID, "Segment Deal ID")]),
        ]),
        pipelines: vec![Pipeline { id: 1, name: "Sales".into() }, Pipeline { id: 2, name: "Onboarding".into() }],
        stages: [(1, "Qualified", 1), (2, "Done", 1), (3, "Done", 2)]
            .map(|(id, name, pipeline_id)| Stage { id, name: name.into(), pipeline_id, order: id })
            .into(),
        users: vec![User { id: 7, name: "Ada".into(), email: "ada@acme.com".into(), active: true }],
        lead_labels: vec![],
        activity_types: vec![("call".into(), "Call".into())],
        me: Me {
            user_id: 7,
            company_id: 1,
            company_domain: "acme".into(),
            default_currency: "EUR".into(),
            timezone: "UTC".into(),
        },
    }
}

fn program() -> Program {
    let read =
        |name: &str| std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join(name)).expect(name);
    let scripts = SCRIPTS.into_iter().chain(["lib/company.rhai"]).map(|name| (name.to_owned(), Arc::from(read(name)))).collect();
    let sources = Sources { scripts, tables: BTreeMap::new() };
    Program::compile(&sources, &ScriptConfig::default()).unwrap_or_else(|d| panic!("{}", pipewright::diagnostic::render_all(&d)))
}

async fn outcome(script: &str, event: Value) -> Outcome {
    let pool = Pool::start(1);
    let mut memo = Memo::default();
    loop {
        let request = RunRequest {
            rule: "rule".into(),
            script: script.into(),
            payload: event.to_string().into(),
            message_id: "m1".into(),
            memo: memo.clone(),
        };
        match pool.run(Arc::new(program()), request).await.outcome {
            // Whoever is read is person 420 at organization 520.
            Outcome::Read { read, .. } => memo.0.push((read, json!({"id": 420, "org_id": 520}))),
            outcome => return outcome,
        }
    }
}

async fn try_prepare(script: &str, event: Value) -> Result<Vec<Step>, Vec<PlanProblem>> {
    let plan = match outcome(script, event).await {
        Outcome::Plan(plan) => plan,
        other => panic!("{other:?}"),
    };
    let context = PrepareContext {
        metadata: &metadata(),
        match_fields: &MatchFields::default(),
        rule: "rule",
        message_id: "m1",
        write: WritePolicy::Changed,
    };
    plan::prepare(&plan, &context)
}

async fn prepare(script: &str, event: Value) -> Vec<Step> {
    try_prepare(script, event).await.unwrap_or_else(|problems| panic!("{problems:#?}"))
}

/// References come to 100 and their ordinal, persons found by a match to 420, others to 520.
fn found(target: &WireTarget) -> Option<Id> {
    match target {
        WireTarget::Id(id) => Some(id.clone()),
        WireTarget::Reference(ordinal) => Some(Id::Number(u64::from(*ordinal) + 100)),
        WireTarget::Lookups(lookups) => match lookups.first()?.0.first()?.address.key() {
            USER_ID => Some(Id::Number(420)),
            _ => Some(Id::Number(520)),
        },
    }
}

fn created(step: &Step) -> Value {
    Value::Object(plan::body(step, BodyFor::Create, &found, &metadata()).expect("a body").body)
}

fn updated(step: &Step, present: &Value) -> Value {
    let Value::Object(present) = present else { panic!("a map") };
    let outcome = plan::body(step, BodyFor::Update { present: Some(present), known: None }, &found, &metadata()).expect("a body");
    assert!(!outcome.needs_present);
    Value::Object(outcome.body)
}

fn lookups(step: &Step) -> Vec<Vec<(&str, &str)>> {
    let Operation::Upsert { lookups, .. } = &step.operation else { panic!("{:?}", step.operation) };
    lookups.iter().map(|l| l.0.iter().map(|t| (t.address.key(), t.value.as_str())).collect()).collect()
}

fn identify(extra: Value) -> Value {
    merged(json!({"type": "identify", "messageId": "m1", "userId": "u42", "traits": {}}), extra)
}

fn track(name: &str, properties: Value) -> Value {
    json!({"type": "track", "messageId": "m1", "userId": "u42", "event": name, "properties": properties, "context": {"groupId": "g1"}})
}

fn merged(base: Value, extra: Value) -> Value {
    let (Value::Object(base), Value::Object(extra)) = (base, extra) else { panic!("maps") };
    base.into_iter().chain(extra).collect::<Map<_, _>>().into()
}

#[tokio::test]
async fn an_identify_makes_a_person_whom_the_next_one_finds() {
    let event = identify(json!({"traits": {"name": "Ada", "email": "ada@x.io", "phone": "+372 555"}}));
    let steps = prepare("person.rhai", event).await;
    assert_eq!(lookups(&steps[1]), [vec![(USER_ID, "u42")], vec![("emails", "ada@x.io")]]);
    assert_eq!(
        created(&steps[1]),
        json!({
            "name": "Ada",
            "emails": [{"value": "ada@x.io", "primary": true}],
            "phones": [{"value": "+372 555", "primary": true}],
            "org_id": 100,
            "custom_fields": {USER_ID: "u42"},
        })
    );
    // No group: the organization's action is skipped for want of a criterion, and its reference is absent.
    assert_eq!(lookups(&steps[0]), Vec::<Vec<(&str, &str)>>::new());
}

#[tokio::test]
async fn a_person_without_a_name_is_called_by_what_is_known() {
    let cases = [
        (json!({"email": "ada@x.io"}), "ada@x.io"),
        (json!({"firstName": "Ada", "lastName": "King"}), "Ada King"),
        (json!({"first_name": "Ada"}), "Ada"),
        (json!({"name": "", "email": ""}), "u42"),
        (json!({}), "u42"),
    ];
    for (traits, name) in cases {
        let steps = prepare("person.rhai", identify(json!({ "traits": traits }))).await;
        assert_eq!(created(&steps[1])["name"], name);
    }
    let steps = prepare("person.rhai", json!({"type": "identify", "messageId": "m1", "userId": 42})).await;
    assert_eq!(created(&steps[1]), json!({"name": "42", "org_id": 100, "custom_fields": {USER_ID: "42"}}));
}

#[tokio::test]
async fn an_address_is_added_and_an_edited_link_stands() {
    let event = identify(json!({"traits": {"email": "new@x.io"}, "context": {"groupId": "g1"}}));
    let steps = prepare("person.rhai", event).await;
    let present = json!({"id": 1, "name": "Edited", "emails": [{"value": "old@x.io", "primary": true, "label": "work"}], "org_id": 9, "custom_fields": {}});
    assert_eq!(
        updated(&steps[1], &present),
        json!({"emails": [{"value": "old@x.io", "primary": true, "label": "work"}, {"value": "new@x.io", "primary": false}]})
    );
}

#[tokio::test]
async fn the_company_of_an_identify_is_named_by_trait_or_id() {
    for (company, name) in
        [(json!("Acme"), "Acme"), (json!({"name": "Acme"}), "Acme"), (json!(null), "g1"), (json!({"id": 5}), "g1")]
    {
        let event = identify(json!({"traits": {"company": company}, "context": {"groupId": "g1"}}));
        let steps = prepare("person.rhai", event).await;
        assert_eq!(created(&steps[0]), json!({"name": name, "custom_fields": {GROUP_ID: "g1"}}));
        assert_eq!(
            updated(&steps[0], &json!({"id": 9, "name": "Edited"})),
            json!({}),
            "an organization that exists is not touched"
        );
    }
}

#[tokio::test]
async fn a_group_call_makes_an_organization_and_links_the_person() {
    let event = json!({"type": "group", "messageId": "m1", "userId": "u42", "groupId": "g1", "traits": {
        "name": "Acme", "website": "https://acme.io", "address": {"street": "Main 1", "city": "Tallinn", "postalCode": "10111"}}});
    let steps = prepare("organization.rhai", event).await;
    assert_eq!(
        created(&steps[0]),
        json!({
            "name": "Acme",
            "website": "https://acme.io",
            "address": {"value": "Main 1, Tallinn, 10111", "route": "Main 1", "locality": "Tallinn", "postal_code": "10111"},
            "custom_fields": {GROUP_ID: "g1"},
        })
    );
    assert!(matches!(&steps[1].operation, Operation::Update { kind: Kind::Person, .. }));
    assert_eq!(updated(&steps[1], &json!({"id": 1, "org_id": null})), json!({"org_id": 100}));
    assert_eq!(updated(&steps[1], &json!({"id": 1, "org_id": 9})), json!({}), "a person who is elsewhere stays there");
}

#[tokio::test]
async fn a_deal_is_linked_valued_in_numbers_and_found_again() {
    let properties = json!({"deal_id": "d7", "title": "20 seats", "value": "100.5", "currency": "usd", "stage_id": 1, "success_probability": "40",
        "expected_close_date": "2026-12-01T10:00:00.000Z", "lost_reason": "none"});
    let steps = prepare("deal.rhai", track("Deal Upserted", properties)).await;
    assert_eq!(lookups(&steps[0]), [vec![(DEAL_ID, "d7")]]);
    assert_eq!(
        created(&steps[0]),
        json!({
            "title": "20 seats", "value": 100.5, "currency": "USD", "stage_id": 1, "probability": 40,
            "expected_close_date": "2026-12-01", "person_id": 420, "org_id": 520, "custom_fields": {DEAL_ID: "d7"},
        })
    );
}

#[tokio::test]
async fn a_deals_zero_is_a_value_and_its_status_is_checked() {
    let steps = prepare(
        "deal.rhai",
        track("Deal Upserted", json!({"deal_id": "d7", "value": 0, "status": "lost", "lost_reason": "price"})),
    )
    .await;
    let body = created(&steps[0]);
    assert_eq!(
        (&body["value"], &body["status"], &body["lost_reason"], &body["title"]),
        (&json!(0), &json!("lost"), &json!("price"), &json!("Deal d7"))
    );
    let problems = try_prepare("deal.rhai", track("Deal Upserted", json!({"deal_id": "d7", "status": "deleted"})))
        .await
        .expect_err("refused");
    assert_eq!(problems[0].message, "`status` takes one of `open`, `won`, `lost`");
}

#[tokio::test]
async fn a_deal_without_contact_is_refused_and_without_id_is_new() {
    let event =
        json!({"type": "track", "messageId": "m1", "event": "Deal Upserted", "properties": {"title": "x"}, "anonymousId": "a"});
    let steps = prepare("deal.rhai", event).await;
    assert_eq!(steps[0].on_empty, plan::OnEmpty::Create);
    let problem = plan::body(&steps[0], BodyFor::Create, &found, &metadata()).expect_err("refused");
    assert_eq!(problem.message, "a new deal needs a link to another entity, and none was found");
}

#[tokio::test]
async fn a_lead_is_made_from_traits_or_properties() {
    let given = json!({"title": "Wants a demo", "amount": 0, "expected_close_date": "2026-12-01"});
    for event in [track("Lead Upserted", given.clone()), identify(json!({"traits": given, "context": {"groupId": "g1"}}))] {
        let steps = prepare("lead.rhai", event).await;
        assert_eq!(
            created(&steps[0]),
            json!({"title": "Wants a demo", "value": {"amount": 0, "currency": "EUR"}, "expected_close_date": "2026-12-01", "person_id": 420, "organization_id": 520})
        );
    }
    let steps =
        prepare("lead.rhai", track("Lead Upserted", json!({"lead_id": LEAD, "amount": "3256.41", "currency": "EUR"}))).await;
    let Operation::Update { target: WireTarget::Id(Id::Uuid(id)), .. } = &steps[0].operation else { panic!("{:?}", steps[0]) };
    assert_eq!(id.to_string(), LEAD);
    let value = json!({"amount": 3256.41, "currency": "EUR"});
    assert_eq!(updated(&steps[0], &json!({"id": LEAD})), json!({"value": value, "person_id": 420}));
    assert_eq!(updated(&steps[0], &json!({"id": LEAD, "person_id": 9})), json!({"value": value}), "its person stays");
    assert!(
        matches!(outcome("lead.rhai", identify(json!({}))).await, Outcome::Skip(_)),
        "an identify without a title is no lead"
    );
}

#[tokio::test]
async fn an_activity_has_participants_and_may_stand_alone() {
    let properties = json!({"activity_id": 0, "subject": "Call back", "type": "Call", "description": "d", "note": "a < b", "due_date": "2026-12-01",
        "due_time": "10:30", "duration": "00:30", "done": "false", "deal_id": "d7"});
    let steps = prepare("activity.rhai", track("Activity Upserted", properties)).await;
    assert_eq!(steps[0].key.as_deref(), Some("m1/rule/0"), "created once");
    assert_eq!(
        created(&steps[0]),
        json!({
            "subject": "Call back", "type": "call", "public_description": "d", "note": "a &lt; b", "due_date": "2026-12-01", "due_time": "10:30:00",
            "duration": "00:30:00", "done": false, "participants": [{"person_id": 420, "primary": true}], "org_id": 520, "deal_id": 520,
        })
    );
    let alone = json!({"type": "track", "messageId": "m1", "event": "Activity Upserted", "anonymousId": "a", "properties": {"subject": "x"}});
    assert_eq!(created(&prepare("activity.rhai", alone).await[0]), json!({"subject": "x"}));
    let steps = prepare("activity.rhai", track("Activity Upserted", json!({"activity_id": "65536", "subject": "New"}))).await;
    assert!(matches!(&steps[0].operation, Operation::Update { target: WireTarget::Id(Id::Number(65536)), .. }));
}

#[tokio::test]
async fn a_note_is_escaped_and_about_something() {
    let steps =
        prepare("note.rhai", track("Note Upserted", json!({"content": "<b>hi</b>\nthere", "note_id": 0, "lead_id": LEAD}))).await;
    assert_eq!(
        created(&steps[0]),
        json!({"content": "&lt;b&gt;hi&lt;/b&gt;<br>there", "lead_id": LEAD, "person_id": 420, "org_id": 520})
    );
    let steps = prepare("note.rhai", track("Note Upserted", json!({"content": "x", "note_id": 31338}))).await;
    assert!(matches!(&steps[0].operation, Operation::Update { target: WireTarget::Id(Id::Number(31338)), .. }));
    let event =
        json!({"type": "track", "messageId": "m1", "event": "Note Upserted", "anonymousId": "a", "properties": {"content": "x"}});
    let problems = try_prepare("note.rhai", event).await.expect_err("refused");
    assert_eq!(problems[0].message, "a new note needs a link to another entity, and none was found");
}

#[tokio::test]
async fn every_reference_to_another_entity_is_looked_up_not_guessed() {
    // The three links of the track scripts wait for their entity; none is made from the event's id as such.
    for (script, name) in [("deal.rhai", "Deal Upserted"), ("activity.rhai", "Activity Upserted"), ("note.rhai", "Note Upserted")]
    {
        let steps = prepare(script, track(name, json!({"title": "t", "content": "c", "deal_id": "1", "subject": "s"}))).await;
        let fields = steps[0].all_fields();
        let links = fields.filter_map(|f| match &f.value {
            WireValue::Link { target, .. } => Some(target),
            _ => None,
        });
        for target in links {
            assert!(matches!(target, WireTarget::Lookups(_)), "{script}: {target:?}");
        }
    }
}

/// How long the step's organization is waited for, when it is looked for.
fn org_wait(step: &Step) -> Option<u32> {
    step.all_fields().find_map(|field| match &field.value {
        WireValue::Link { kind: Kind::Organization, target: WireTarget::Lookups(_), wait } => Some(*wait),
        _ => None,
    })?
}

#[tokio::test]
async fn beside_a_user_the_group_is_waited_for_half_a_minute_and_alone_for_link_wait() {
    for (script, name) in [("deal.rhai", "Deal Upserted"), ("activity.rhai", "Activity Upserted"), ("note.rhai", "Note Upserted")]
    {
        let mut event = track(name, json!({"deal_id": "d1", "title": "t", "content": "c", "subject": "s"}));
        assert_eq!(org_wait(&prepare(script, event.clone()).await[0]), Some(30), "{script}");
        event.as_object_mut().expect("a map").remove("userId");
        let steps = prepare(script, event).await;
        assert_eq!(org_wait(&steps[0]), None, "{script}");
        let looked_for = steps[0].all_fields().any(|f| matches!(&f.value, WireValue::Link { kind: Kind::Organization, .. }));
        assert!(looked_for, "{script}: it is linked all the same");
    }
}

#[test]
fn the_shipped_tests_parse() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/tests");
    let mut engine = rhai::Engine::new();
    // Those of a build without optimisations are lower than the product's own.
    engine.set_max_expr_depths(64, 32);
    for name in SCRIPTS {
        let file = folder.join(name.replace(".rhai", "_test.rhai"));
        let text = std::fs::read_to_string(&file).expect("each script has its tests");
        let ast = engine.compile(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        assert!(ast.iter_functions().any(|f| f.name.starts_with("test_")), "{}", file.display());
    }
}
