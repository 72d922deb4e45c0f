//! A small account for the tests of this module, with a custom field of every type.

use serde_json::{Map, Value as Json};

use super::{
    Action, At, Criteria, Criterion, FieldEntry, Options, Plan, PlanProblem, PrepareContext, Step, Value, Verb, prepare,
};
use crate::config::{MatchFields, WritePolicy};
use crate::crm::{Field, FieldOption, FieldType, LeadLabel, Me, Metadata, Pipeline, Stage, User};
use crate::pipedrive::Kind;

/// The 40-character key of a custom field of the fixture: its number, padded.
pub(super) fn key(n: u32) -> String {
    format!("{n:040x}")
}

fn custom(n: u32, name: &str, field_type: FieldType, options: &[(i64, &str)]) -> Field {
    Field { key: key(n), name: name.into(), field_type, options: self::options(options), custom: true }
}

fn options(of: &[(i64, &str)]) -> Vec<FieldOption> {
    of.iter().map(|(id, label)| FieldOption { id: *id, label: (*label).into() }).collect()
}

fn standard(key: &str, field_type: FieldType, of: &[(i64, &str)]) -> Field {
    Field { key: key.into(), name: key.into(), field_type, options: options(of), custom: false }
}

/// Keys 1 to 18: one field of every type, the same for persons and deals; 20 and 21: two of one name; 22: named as an API field.
pub(super) fn metadata() -> Metadata {
    let every = || {
        vec![
            custom(1, "Segment User ID", FieldType::Varchar, &[]),
            custom(2, "Nickname", FieldType::VarcharAuto, &[]),
            custom(3, "Story", FieldType::Text, &[]),
            custom(4, "Score", FieldType::Double, &[]),
            custom(5, "Lifetime Value", FieldType::Monetary, &[]),
            custom(6, "Plan", FieldType::Enum, &[(11, "Free"), (12, "Pro"), (13, "Enterprise")]),
            custom(7, "Interests", FieldType::Set, &[(21, "Sales"), (22, "Support"), (23, "2024")]),
            custom(8, "Account Manager", FieldType::User, &[]),
            custom(9, "Parent Company", FieldType::Org, &[]),
            custom(10, "Referrer", FieldType::People, &[]),
            custom(11, "Mobile", FieldType::Phone, &[]),
            custom(12, "Signup Date", FieldType::Date, &[]),
            custom(13, "Trial", FieldType::Daterange, &[]),
            custom(14, "Call At", FieldType::Time, &[]),
            custom(15, "Office Hours", FieldType::Timerange, &[]),
            custom(16, "Billing Address", FieldType::Address, &[]),
            custom(20, "Twin", FieldType::Varchar, &[]),
            custom(21, "Twin", FieldType::Double, &[]),
            custom(22, "name", FieldType::Varchar, &[]),
            custom(23, "Weird", FieldType::Other("json".into()), &[]),
            standard("label_ids", FieldType::Set, &[(31, "Customer"), (32, "Hot")]),
        ]
    };
    let mut deal = every();
    deal[0].name = "Segment Deal ID".into();
    let organization = vec![
        custom(1, "Segment Group ID", FieldType::Varchar, &[]),
        custom(2, "Domain", FieldType::Varchar, &[]),
        standard("label_ids", FieldType::Set, &[(41, "Partner")]),
        standard("industry", FieldType::Enum, &[(51, "Technology")]),
    ];
    let activity = vec![standard("priority", FieldType::Enum, &[(61, "High")])];
    Metadata {
        fields: [(Kind::Person, every()), (Kind::Organization, organization), (Kind::Deal, deal), (Kind::Activity, activity)]
            .into(),
        pipelines: vec![Pipeline { id: 1, name: "Sales".into() }, Pipeline { id: 2, name: "Onboarding".into() }],
        stages: vec![
            Stage { id: 1, name: "Qualified".into(), pipeline_id: 1, order: 0 },
            Stage { id: 2, name: "Done".into(), pipeline_id: 1, order: 1 },
            Stage { id: 3, name: "Done".into(), pipeline_id: 2, order: 0 },
        ],
        users: vec![
            User { id: 7, name: "Ada Lovelace".into(), email: "ada@acme.com".into(), active: true },
            User { id: 8, name: "Grace Hopper".into(), email: "grace@acme.com".into(), active: true },
            User { id: 9, name: "Old Timer".into(), email: "old@acme.com".into(), active: false },
        ],
        lead_labels: vec![LeadLabel { id: LABEL.into(), name: "Warm".into() }],
        activity_types: vec![("call".into(), "Call".into()), ("lunch_date".into(), "Lunch".into())],
        me: Me {
            user_id: 7,
            company_id: 1,
            company_domain: "acme".into(),
            default_currency: "EUR".into(),
            timezone: "UTC".into(),
        },
    }
}

pub(super) const LABEL: &str = "f08b42a0-4e75-11ea-9643-03698ef1cfd6";
pub(super) const LEAD: &str = "adf21080-0e10-11eb-879b-05d71fb426ec";

/// JSON as a script's value: null and blank strings leave alone, as the script layer has it.
pub(super) fn value(json: Json) -> Value {
    match json {
        Json::Null => Value::Leave,
        Json::String(s) if s.is_empty() => Value::Leave,
        other => Value::Json(other),
    }
}

/// Entries from a JSON map; null and blank leave alone.
pub(super) fn entries(json: Json) -> Vec<FieldEntry> {
    let Json::Object(map) = json else { panic!("a map") };
    map.into_iter().map(|(name, json)| FieldEntry { name, custom: false, value: value(json) }).collect()
}

pub(super) fn entry(name: &str, value: Value) -> FieldEntry {
    FieldEntry { name: name.into(), custom: false, value }
}

/// Criteria from maps.
pub(super) fn criteria(maps: impl IntoIterator<Item = Json>) -> Criteria {
    Criteria(maps.into_iter().map(|m| Criterion(entries(m))).collect())
}

pub(super) fn upsert(kind: Kind, criteria: Criteria, fields: Vec<FieldEntry>, options: Options) -> Verb {
    Verb::Upsert { kind, criteria, fields, options }
}

pub(super) fn create(kind: Kind, fields: Vec<FieldEntry>) -> Verb {
    Verb::Create { kind, fields, options: Options::default() }
}

/// A plan of these actions, each at its own line.
pub(super) fn plan(verbs: impl IntoIterator<Item = Verb>) -> Plan {
    let at = |n: u32| At { file: "person.rhai".into(), line: 10 + n, column: 5 };
    Plan { actions: verbs.into_iter().zip(0..).map(|(verb, ordinal)| Action { ordinal, at: at(ordinal), verb }).collect() }
}

pub(super) fn prepared_with(plan: &Plan, match_fields: &MatchFields) -> Result<Vec<Step>, Vec<PlanProblem>> {
    let metadata = metadata();
    prepare(
        plan,
        &PrepareContext { metadata: &metadata, match_fields, rule: "rule", message_id: "m1", write: WritePolicy::Changed },
    )
}

pub(super) fn prepared(verbs: impl IntoIterator<Item = Verb>) -> Result<Vec<Step>, Vec<PlanProblem>> {
    prepared_with(&plan(verbs), &MatchFields::default())
}

/// The one step of a plan that is in order.
pub(super) fn step(verb: Verb) -> Step {
    match prepared([verb]) {
        Ok(mut steps) => steps.remove(0),
        Err(problems) => panic!("{problems:#?}"),
    }
}

/// The one problem of a plan.
pub(super) fn problem(verb: Verb) -> PlanProblem {
    match prepared([verb]) {
        Ok(steps) => panic!("no problem: {steps:#?}"),
        Err(mut problems) => {
            assert_eq!(problems.len(), 1, "{problems:#?}");
            problems.remove(0)
        }
    }
}

pub(super) fn map(json: Json) -> Map<String, Json> {
    let Json::Object(map) = json else { panic!("a map") };
    map
}
