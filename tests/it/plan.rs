//! Plans against the embedded Pipedrive, which is as strict as the real one: what `prepare` and `body` make is accepted, stays what
//! it was, and is not sent twice.

use std::sync::Arc;

use pipewright::config::{MatchFields, ScriptConfig, WritePolicy};
use pipewright::crm::WireValue;
use pipewright::crm::{Metadata, fetch_metadata};
use pipewright::mock::{Mock, MockOptions};
use pipewright::pipedrive::{Client, ClientOptions, Id, Kind, Purpose, Session, Trace};
use pipewright::plan::{
    self, Action, At, BodyFor, BodyOutcome, FieldEntry, Options, Plan, PrepareContext, Step, Value, Verb, WireTarget,
};
use pipewright::script::{Memo, Outcome, Pool, Program, RunRequest, Sources};
use serde_json::{Map, Value as Json, json};

const LEAD_LABELS: [&str; 2] = ["Hot", "warm"];

struct Account {
    mock: Arc<Mock>,
    session: Session,
    metadata: Metadata,
}

async fn account() -> Account {
    let mock = Mock::new(MockOptions { seed: true, ..MockOptions::unlimited() });
    let options = ClientOptions { burst: u32::MAX, search_burst: u32::MAX, ..ClientOptions::default() };
    let session = Client::new(mock.clone(), options).session(Trace::default());
    let metadata = fetch_metadata(&session).await.expect("metadata");
    Account { mock, session, metadata }
}

impl Account {
    fn steps(&self, verb: Verb, write: WritePolicy) -> Vec<Step> {
        let plan = Plan { actions: vec![Action { ordinal: 0, at: At::default(), verb }] };
        let context =
            PrepareContext { metadata: &self.metadata, match_fields: &MatchFields::default(), rule: "r", message_id: "m", write };
        plan::prepare(&plan, &context).unwrap_or_else(|problems| panic!("{problems:#?}"))
    }

    fn create_step(&self, kind: Kind, fields: Json) -> Step {
        self.steps(Verb::Create { kind, fields: entries(fields), options: Options::default() }, WritePolicy::Differs).remove(0)
    }

    fn body(&self, step: &Step, purpose: BodyFor<'_>) -> BodyOutcome {
        plan::body(step, purpose, &by_id, &self.metadata).unwrap_or_else(|problem| panic!("{problem:?}"))
    }

    async fn read(&self, kind: Kind, id: &Id) -> Map<String, Json> {
        self.session.get(kind, id, Purpose::Lookup).await.expect("an answer").expect("the entity")
    }

    /// Creates, then asks what an update with the same fields would send.
    async fn round_trip(&self, kind: Kind, fields: Json) -> (Map<String, Json>, BodyOutcome) {
        let step = self.create_step(kind, fields);
        let body = self.body(&step, BodyFor::Create).body;
        let sent = Json::Object(body.clone());
        let (id, _) = self.session.create(kind, body).await.unwrap_or_else(|e| panic!("{e}: {sent:#}"));
        let entity = self.read(kind, &id).await;
        let again = self.body(&step, BodyFor::Update { present: Some(&entity), known: None });
        (entity, again)
    }
}

/// The steps of a script's text.
async fn scripted(account: &Account, text: &str, event: Json) -> Vec<Step> {
    let sources = Sources { scripts: [("a.rhai".to_owned(), text.into())].into(), ..Sources::default() };
    let program = Program::compile(&sources, &ScriptConfig::default()).expect("compiles");
    let request = RunRequest {
        rule: "r".into(),
        script: "a.rhai".into(),
        payload: event.to_string().into(),
        message_id: "m".into(),
        memo: Memo::default(),
    };
    match Pool::start(1).run(Arc::new(program), request).await.outcome {
        Outcome::Plan(mut plan) => account.steps(plan.actions.remove(0).verb, WritePolicy::Changed),
        other => panic!("{other:?}"),
    }
}

fn by_id(target: &WireTarget) -> Option<Id> {
    match target {
        WireTarget::Id(id) => Some(id.clone()),
        WireTarget::Reference(_) => None,
        WireTarget::Lookups(_) => Some(Id::Number(1)),
    }
}

fn entries(json: Json) -> Vec<FieldEntry> {
    let Json::Object(map) = json else { panic!("a map") };
    map.into_iter().map(|(name, value)| FieldEntry { name, custom: false, value: Value::Json(value) }).collect()
}

fn with(base: Json, more: Json) -> Json {
    let (Json::Object(base), Json::Object(more)) = (base, more) else { panic!("maps") };
    base.into_iter().chain(more).collect::<Map<_, _>>().into()
}

/// One custom field of every type, by the names that every kind of the account has.
fn every_type(metadata: &Metadata, kind: Kind) -> Json {
    use pipewright::crm::FieldType as T;
    let fields = metadata.fields_of(kind).iter().filter(|f| f.custom);
    fields
        .map(|field| {
            let value = match field.field_type {
                T::Varchar | T::VarcharAuto | T::Text => json!("some text"),
                T::Phone => json!("+372 5555 1234"),
                T::Double => json!("12.5"),
                T::Monetary => json!({"amount": "99.90", "currency": "usd"}),
                T::Enum => json!(field.options[1].label.to_uppercase()),
                T::Set => json!([field.options[0].label, field.options[2].id]),
                T::User => json!("grace@acme.com"),
                T::Org | T::People => json!("2"),
                T::Date => json!("2026-03-04T23:30:00+02:00"),
                T::Daterange => json!({"from": "2026-01-01", "until": "2026-12-31"}),
                T::Time => json!("9:30"),
                T::Timerange => json!(["09:00", "17:30"]),
                T::Address => json!({"street": "Main St 1", "city": "Tallinn", "country": "Estonia"}),
                T::Int | T::Boolean | T::Other(_) => panic!("no custom field has this type: {field:?}"),
            };
            (field.name.clone(), value)
        })
        .collect::<Map<_, _>>()
        .into()
}

#[tokio::test]
async fn every_custom_field_type_is_taken_and_found_unchanged() {
    let account = account().await;
    let kinds = [
        (Kind::Person, json!({"name": "Ada"})),
        (Kind::Organization, json!({"name": "Acme"})),
        (Kind::Deal, json!({"title": "Seats", "person_id": 1})),
        (Kind::Lead, json!({"title": "Demo", "person_id": 1})),
    ];
    for (kind, needed) in kinds {
        let (_, again) = account.round_trip(kind, with(needed, every_type(&account.metadata, kind))).await;
        assert_eq!(Json::Object(again.body), json!({}), "{kind}: the values that were written are the values that are there");
        assert!(!again.needs_present);
    }
}

#[tokio::test]
async fn every_custom_field_type_is_emptied() {
    let account = account().await;
    for (kind, needed) in [
        (Kind::Person, json!({"name": "Ada"})),
        (Kind::Organization, json!({"name": "Acme"})),
        (Kind::Deal, json!({"title": "Seats", "person_id": 1})),
        (Kind::Lead, json!({"title": "Demo", "person_id": 1})),
    ] {
        let all = every_type(&account.metadata, kind);
        let (entity, _) = account.round_trip(kind, with(needed, all.clone())).await;
        let Json::Object(all) = all else { panic!("a map") };
        let fields = all.keys().map(|name| FieldEntry { name: name.clone(), custom: true, value: Value::Clear }).collect();
        let id = Id::from_json(&entity["id"]).expect("an id");
        let verb = Verb::Update { kind, target: plan::Target::Id(id.clone()), fields, options: Options::default() };
        let step = account.steps(verb, WritePolicy::Changed).remove(0);
        let outcome = account.body(&step, BodyFor::Update { present: Some(&entity), known: None });
        assert_eq!(outcome.changes.len(), all.len(), "{kind}");
        account.session.update(kind, &id, outcome.body).await.expect("accepted");
        let entity = account.read(kind, &id).await;
        let again = account.body(&step, BodyFor::Update { present: Some(&entity), known: None });
        assert_eq!(Json::Object(again.body), json!({}), "{kind}: what was emptied is empty");
    }
}

#[tokio::test]
async fn standard_fields_of_every_kind_are_taken_and_found_unchanged() {
    let account = account().await;
    let kinds = [
        (
            Kind::Person,
            json!({"name": "Ada", "emails": ["a@x.io", {"value": "b@x.io", "label": "home"}], "phone": 37255512, "owner": "GRACE@acme.com",
                "org_id": "2", "labels": ["Customer"], "visible_to": "everyone", "add_time": "2024-01-02T03:04:05.678Z"}),
        ),
        (
            Kind::Organization,
            json!({"name": "Acme", "owner_id": 2, "labels": "Customer", "website": "https://acme.io", "linkedin": "https://l.in/acme",
                "address": "Main St 1, Tallinn", "annual_revenue": "1000", "employee_count": 12.0, "add_time": "2024-01-02"}),
        ),
        (
            Kind::Deal,
            json!({"title": "Seats", "value": {"amount": 10, "currency": "usd"}, "org": 1, "person": 1, "stage": "contacted", "pipeline": "onboarding",
                "status": "LOST", "lost_reason": "price", "probability": "40", "expected_close_date": "2026-12-01T00:00:00Z", "visible_to": 3}),
        ),
        (
            Kind::Lead,
            json!({"title": "Demo", "amount": "900", "currency": "usd", "person": 6, "org_id": 1, "owner": "Ada Lovelace", "labels": LEAD_LABELS,
                "expected_close_date": "2026-12-01", "visible_to": "3", "was_seen": true}),
        ),
        (
            Kind::Activity,
            json!({"subject": "Call", "type": "Lunch", "person_id": 1, "participants": [2], "org_id": 1, "deal_id": 1, "owner": 2, "due_date": "2026-12-01",
                "due_time": "10:30", "duration": "1:00", "busy": 1, "done": "no", "note": "a < b", "public_description": "d", "location": "Main St 1"}),
        ),
        (
            Kind::Note,
            json!({"content": "hi\nthere", "person_id": 1, "deal_id": 1, "pinned_to_person_flag": true, "pinned_to_deal_flag": 0, "owner": 2,
                "add_time": "2024-01-02T03:04:05Z"}),
        ),
    ];
    for (kind, fields) in kinds {
        let (entity, again) = account.round_trip(kind, fields).await;
        assert_eq!(Json::Object(again.body), json!({}), "{kind}: {:#}", Json::Object(entity));
    }
}

#[tokio::test]
async fn an_update_sends_the_difference_and_nothing_else() {
    let account = account().await;
    let present = Json::Object(account.read(Kind::Person, &Id::Number(2)).await);
    let Json::Object(entity) = &present else { panic!("a map") };
    let fields = json!({"name": "Mona Harper", "Plan": "enterprise", "Lifetime Value": 890, "email": "MONA@globex.example", "phone": "+44117496-0102"});
    let verb = Verb::Update {
        kind: Kind::Person,
        target: plan::Target::Id(Id::Number(2)),
        fields: entries(fields),
        options: Options::default(),
    };
    let step = account.steps(verb, WritePolicy::Changed).remove(0);
    let outcome = account.body(&step, BodyFor::Update { present: Some(entity), known: None });
    assert_eq!(outcome.changes.iter().map(|c| c.field.as_str()).collect::<Vec<_>>(), ["Plan"]);
    account.session.update(Kind::Person, &Id::Number(2), outcome.body).await.expect("accepted");
    let plan = account.mock.custom_key("persons", "Plan").expect("the field");
    let option = account.mock.option_id("persons", "Plan", "Enterprise").expect("the option");
    assert_eq!(account.mock.entity("persons", 2).expect("Mona")["custom_fields"][plan], json!(option));
}

#[tokio::test]
async fn a_script_sees_names_and_labels() {
    let account = account().await;
    let entity = account.read(Kind::Person, &Id::Number(1)).await;
    let seen = plan::present(&entity, Kind::Person, &account.metadata);
    assert_eq!(seen["Segment User ID"], "u-1001");
    assert_eq!(seen["Plan"], "Enterprise");
    assert_eq!(seen["Lifetime Value"], json!({"value": 12500, "currency": "EUR"}));
    assert_eq!(
        (&seen["email"], &seen["phone"], &seen["org_id"]),
        (&json!("hank@globex.example"), &json!("+44 117 496 0101"), &json!(1))
    );
    assert_eq!(seen["owner"], "ada@acme.com");
    assert_eq!(seen["custom"]["Plan"], "Enterprise");
    assert_eq!(seen.get("custom_fields"), None);
    let deal = account.read(Kind::Deal, &Id::Number(2)).await;
    let seen = plan::present(&deal, Kind::Deal, &account.metadata);
    assert_eq!((&seen["stage"], &seen["pipeline"]), (&json!("Qualified"), &json!("Sales")));
}

#[tokio::test]
async fn a_bare_value_in_by_is_the_accounts_match_field() {
    let account = account().await;
    let text = r#"fn handle(event) { note::create(#{ content: "x", person_id: by(event.userId), org_id: by(event.groupId) }) }"#;
    let key = account.mock.custom_key("persons", "Segment User ID").expect("the field");
    for (user_id, value) in [(json!("u-1001"), "u-1001"), (json!(42), "42")] {
        let steps = scripted(&account, text, json!({"type": "track", "messageId": "m", "userId": user_id})).await;
        let links: Vec<_> = steps[0].fields.iter().filter(|f| f.name.ends_with("_id")).collect();
        let [plan::WireField { value: WireValue::Link { target: WireTarget::Lookups(lookups), .. }, .. }] = links.as_slice()
        else {
            panic!("{links:?}")
        };
        assert_eq!((lookups[0].0[0].address.key(), lookups[0].0[0].value.as_str()), (key.as_str(), value));
    }
}

#[tokio::test]
async fn a_read_has_the_look_ups_of_a_match() {
    let account = account().await;
    let context = PrepareContext {
        metadata: &account.metadata,
        match_fields: &MatchFields::default(),
        rule: "r",
        message_id: "m",
        write: WritePolicy::Changed,
    };
    let by = |json| plan::Criteria(vec![plan::Criterion(entries(json))]);
    let found =
        plan::lookups(Kind::Person, &by(json!({"email": "Hank@globex.example"})), &At::default(), &context).expect("look-ups");
    assert_eq!(found[0].0[0].value, "hank@globex.example");
    let refused = plan::lookups(Kind::Person, &by(json!({"emial": "x"})), &At::default(), &context).expect_err("refused");
    assert_eq!(refused.help.as_deref(), Some("did you mean `email`?"));
}
