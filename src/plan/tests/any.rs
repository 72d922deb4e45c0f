//! Any plan gives steps or problems, and any step gives a body or a problem: never a panic.

use proptest::prelude::*;
use serde_json::{Map, Value as Json, json};

use crate::config::WritePolicy;
use crate::pipedrive::{Id, Kind, Method};
use crate::plan::fixture::*;
use crate::plan::{
    BodyFor, Criteria, Criterion, FieldEntry, Link, ListOp, OnUnknown, Options, Target, Value, Verb, WireTarget, body, present,
};

fn name() -> impl Strategy<Value = String> {
    let known: Vec<String> = metadata().fields.values().flatten().map(|f| f.name.clone()).collect();
    let standard: Vec<String> = Kind::ALL.into_iter().flat_map(crate::crm::standard::names).map(str::to_owned).collect();
    prop_oneof![3 => prop::sample::select(known), 4 => prop::sample::select(standard), 1 => ".{0,12}", 1 => Just("html".to_owned()), 1 => (1u32..24).prop_map(key)]
}

fn text() -> impl Strategy<Value = String> {
    let words = [
        "",
        " ",
        "Pro",
        "Sales",
        "Done",
        "ada@acme.com",
        "EUR",
        "2026-01-02",
        "2026-13-02",
        "09:30",
        "1e400",
        "-0",
        "9223372036854775808",
        "won",
        LEAD,
        "1",
        "ä2026-01",
        "日本語日本語日本語",
    ];
    prop_oneof![prop::sample::select(words.to_vec()).prop_map(str::to_owned), ".{0,14}"]
}

fn any_json() -> impl Strategy<Value = Json> {
    let keys = ["value", "amount", "currency", "from", "until", "street", "label", "primary", "person_id", "email", "id", "x"];
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<u64>().prop_map(Json::from),
        any::<f64>().prop_map(Json::from),
        (0i64..60).prop_map(Json::from),
        text().prop_map(Json::from),
    ];
    leaf.prop_recursive(3, 12, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            prop::collection::vec((prop::sample::select(keys.to_vec()), inner), 0..4).prop_map(|pairs| pairs
                .into_iter()
                .map(|(k, v)| (k.to_owned(), v))
                .collect::<Map<_, _>>()
                .into()),
        ]
    })
}

fn id() -> impl Strategy<Value = Id> {
    prop_oneof![(1u64..9).prop_map(Id::Number), Just(LEAD.parse::<Id>().expect("a uuid"))]
}

fn op() -> impl Strategy<Value = ListOp> {
    prop::sample::select(vec![ListOp::Add, ListOp::Remove, ListOp::Replace, ListOp::Primary])
}

fn plain() -> impl Strategy<Value = Value> {
    prop_oneof![
        1 => Just(Value::Leave),
        1 => Just(Value::Clear),
        6 => any_json().prop_map(Value::Json),
        1 => (any::<i64>(), prop::option::of(text())).prop_map(|(n, currency)| Value::Money { amount: n.into(), currency }),
        1 => (0u32..4).prop_map(|n| Value::Link(Link::Reference(n))),
        1 => id().prop_map(|id| Value::Link(Link::Id(id))),
        2 => (op(), prop::collection::vec(any_json(), 0..3)).prop_map(|(op, items)| Value::List { op, items }),
    ]
}

fn criteria_of() -> impl Strategy<Value = Criteria> {
    let term = (prop_oneof![name(), Just(FieldEntry::MATCH_FIELD.to_owned())], any::<bool>(), plain());
    let criterion = prop::collection::vec(term.prop_map(|(name, custom, value)| FieldEntry { name, custom, value }), 0..3);
    prop::collection::vec(criterion.prop_map(Criterion), 0..3).prop_map(Criteria)
}

fn fields() -> impl Strategy<Value = Vec<FieldEntry>> {
    let value = prop_oneof![5 => plain(), 1 => criteria_of().prop_map(|criteria| Value::Link(Link::By { criteria, wait: None }))];
    prop::collection::vec(
        (name(), prop::bool::weighted(0.2), value).prop_map(|(name, custom, value)| FieldEntry { name, custom, value }),
        0..5,
    )
}

fn options() -> impl Strategy<Value = Options> {
    let unknown = prop::option::of(prop::sample::select(vec![OnUnknown::Drop, OnUnknown::Fail, OnUnknown::Create]));
    let write = prop::option::of(prop::sample::select(vec![WritePolicy::Changed, WritePolicy::Differs, WritePolicy::Always]));
    (fields(), fields(), unknown, write, any::<bool>()).prop_map(|(on_create, if_empty, on_unknown, write, unlinked)| Options {
        on_create,
        if_empty,
        on_unknown,
        write,
        unlinked,
        ..Options::default()
    })
}

fn target() -> impl Strategy<Value = Target> {
    prop_oneof![criteria_of().prop_map(Target::Match), (0u32..4).prop_map(Target::Reference), id().prop_map(Target::Id)]
}

fn kind() -> impl Strategy<Value = Kind> {
    prop::sample::select(Kind::ALL.to_vec())
}

fn verb() -> impl Strategy<Value = Verb> {
    prop_oneof![
        (kind(), criteria_of(), fields(), options()).prop_map(|(kind, criteria, fields, options)| Verb::Upsert {
            kind,
            criteria,
            fields,
            options
        }),
        (kind(), fields(), options()).prop_map(|(kind, fields, options)| Verb::Create { kind, fields, options }),
        (kind(), target(), fields(), options()).prop_map(|(kind, target, fields, options)| Verb::Update {
            kind,
            target,
            fields,
            options
        }),
        (kind(), target(), options()).prop_map(|(kind, target, options)| Verb::Delete { kind, target, options }),
        (kind(), target(), target(), options()).prop_map(|(kind, keep, drop, options)| Verb::Merge { kind, keep, drop, options }),
        (target(), fields(), options()).prop_map(|(target, fields, options)| Verb::Convert { target, fields, options }),
        text().prop_map(|path| Verb::Request { method: Method::Post, path, body: None }),
    ]
}

fn entity() -> impl Strategy<Value = Map<String, Json>> {
    let keys: Vec<String> =
        Kind::ALL.into_iter().flat_map(crate::crm::standard::fields).map(|f| f.key.to_owned()).chain((1..24).map(key)).collect();
    let pairs = || prop::collection::vec((prop::sample::select(keys.clone()), any_json()), 0..8);
    (pairs(), pairs()).prop_map(|(root, custom)| {
        let mut map: Map<String, Json> = root.into_iter().collect();
        map.insert("custom_fields".into(), custom.into_iter().collect::<Map<_, _>>().into());
        map
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_plan_is_prepared_or_refused(verbs in prop::collection::vec(verb(), 1..4), entity in entity(), known in entity()) {
        let known: Map<String, Json> = known.into_iter().map(|(k, v)| (k, json!({"sent": v, "seen": v}))).collect();
        let account = metadata();
        // One at a time, so that one bad action does not hide the others.
        for verb in verbs {
            let Ok(steps) = prepared([verb]) else { continue };
            let text = serde_json::to_string(&steps).expect("JSON");
            prop_assert_eq!(serde_json::from_str::<Vec<crate::plan::Step>>(&text).map(|s| s.len()).ok(), Some(1));
            let links = |target: &WireTarget| match target { WireTarget::Id(id) => Some(id.clone()), _ => Some(Id::Number(5)) };
            for purpose in [
                BodyFor::Create,
                BodyFor::Update { present: None, known: None },
                BodyFor::Update { present: Some(&entity), known: None },
                BodyFor::Update { present: None, known: Some(&known) },
                BodyFor::Update { present: Some(&entity), known: Some(&known) },
            ] {
                if let Ok(outcome) = body(&steps[0], purpose, &links, &account) {
                    let named = outcome.body.len() + outcome.body.get("custom_fields").and_then(Json::as_object).map_or(0, Map::len);
                    prop_assert!(outcome.changes.is_empty() == (named == 0), "{outcome:?}");
                    prop_assert!(outcome.sent.len() >= outcome.changes.len());
                }
            }
        }
    }

    /// What was sent is known, and the same event again sends nothing and reads nothing.
    #[test]
    fn the_same_again_is_nothing(fields in fields(), entity in entity(), kind in kind()) {
        let verb = Verb::Update { kind, target: Target::Id(if kind == Kind::Lead { LEAD.parse().expect("a uuid") } else { Id::Number(1) }), fields, options: Options::default() };
        let Ok(steps) = prepared([verb]) else { return Ok(()) };
        let account = metadata();
        let links = |_: &WireTarget| Some(Id::Number(5));
        let first = body(&steps[0], BodyFor::Update { present: Some(&entity), known: None }, &links, &account).expect("a body");
        let known: Map<String, Json> = first.sent.into_iter().map(|(k, v)| (k, json!({"sent": v}))).collect();
        let again = body(&steps[0], BodyFor::Update { present: None, known: Some(&known) }, &links, &account).expect("a body");
        prop_assert!(again.body.is_empty() && !again.needs_present, "{again:?}");
    }

    #[test]
    fn any_entity_is_shown(entity in entity(), kind in kind()) {
        prop_assert!(present(&entity, kind, &metadata()).is_object());
    }
}
