//! The language's every form, the mended defects, and what holds for any trigger at all.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;

fn event(body: Value) -> Event {
    let Value::Object(body) = body else { panic!("an event is a map") };
    let kind = body.get("type").and_then(Value::as_str).and_then(EventType::parse).expect("a type");
    Event { kind, message_id: "m".into(), source: "website".into(), received_at: Timestamp::UNIX_EPOCH, body: body.into() }
}

fn track() -> Event {
    event(json!({
        "type": "track", "event": "Deal Upserted", "userId": "u1", "anonymousId": null, "messageId": "m-1", "groupId": 42,
        "properties": {
            "value": 5, "half": 0.5, "title": "Big Deal", "won": true, "lost": false, "none": null, "zero": 0, "empty": "",
            "prod 1": "spaced", "a.b": "dotted", "list": ["a", 2, true, null], "items": [{"sku": "x1"}], "big": "ÄRGER",
        },
        "context": {"page": {"url": "https://www.acme.com/pricing?plan=pro"}, "groupId": "acme"},
        "traits": {"email": "ada@acme.com"},
    }))
}

fn meets(trigger: &str) -> bool {
    let parsed = Trigger::parse(trigger).unwrap_or_else(|e| panic!("{trigger}: {e}"));
    let printed = parsed.to_string();
    assert_eq!(Trigger::parse(&printed).as_ref(), Ok(&parsed), "{trigger} prints as {printed}");
    parsed.matches(&track())
}

#[track_caller]
fn yes(triggers: &[&str]) {
    for trigger in triggers {
        assert!(meets(trigger), "{trigger} should be met");
    }
}

#[track_caller]
fn no(triggers: &[&str]) {
    for trigger in triggers {
        assert!(!meets(trigger), "{trigger} should not be met");
    }
}

#[test]
fn only_track_calls_have_an_event() {
    let page = event(json!({ "type": "page", "userId": "u1", "event": "Viewed", "name": "Pricing" }));
    for (trigger, met) in [("event = \"Viewed\"", false), ("event = null", true), ("event", false), ("name = \"Pricing\"", true)]
    {
        assert_eq!(Trigger::parse(trigger).expect(trigger).matches(&page), met, "{trigger}");
    }
}

#[test]
fn equality_is_strict_about_types() {
    yes(&[
        "type = \"track\"",
        "event = \"Deal Upserted\"",
        "type != \"identify\"",
        "properties.value = 5",
        "properties.value = 5.0",
    ]);
    yes(&["properties.won = true", "properties.lost = false", "userId = \"u1\"", "properties.half = 0.5"]);
    no(&[
        "event = \"deal upserted\"",
        "properties.value = \"5\"",
        "properties.title = 5",
        "properties.won = \"true\"",
        "properties.zero = false",
    ]);
    no(&["properties.value != 5", "properties.won = false", "properties.empty = null"]);
}

#[test]
fn a_missing_value_meets_unequal_texts_but_not_unequal_numbers() {
    yes(&[
        "properties.gone != \"s\"",
        "properties.gone = null",
        "properties.none = null",
        "properties.zero != null",
        "properties.empty != null",
    ]);
    no(&[
        "properties.gone != 5",
        "properties.none != 5",
        "properties.title != 5",
        "properties.gone != null",
        "properties.gone = \"\"",
    ]);
    // A number is another text than any.
    yes(&["properties.value != \"5\""]);
}

#[test]
fn ordering_wants_numbers() {
    yes(&[
        "properties.value > 4",
        "properties.value >= 5",
        "properties.value < 5.5",
        "properties.value <= 5",
        "properties.half > -1e3",
    ]);
    yes(&["properties.value > \"4\""]);
    no(&["properties.title > 1", "properties.gone < 1", "properties.none <= 0", "properties.value > 5"]);
}

#[test]
fn contains_and_match_want_texts_even_when_negated() {
    yes(&[
        "contains(properties.title, \"Big\")",
        "!contains(properties.title, \"big\")",
        "match(event, \"Deal*\")",
        "!match(event, \"*x\")",
    ]);
    no(&[
        "contains(properties.gone, \"\")",
        "!contains(properties.gone, \"x\")",
        "!match(properties.value, \"x*\")",
        "not match(properties.gone, \"x\")",
    ]);
    yes(&["not (contains(properties.gone, \"x\"))", "contains(userId, 1)"]);
}

#[test]
fn paths_take_backslashes_and_list_places() {
    yes(&[
        "properties.prod\\ 1 = \"spaced\"",
        "properties.a\\.b = \"dotted\"",
        "context.page.url != null",
        "traits.email = \"ada@acme.com\"",
    ]);
    yes(&["properties.items.0.sku = \"x1\"", "context.groupId = 'acme'"]);
    no(&["properties.a.b = \"dotted\"", "properties.items.1.sku = \"x1\"", "properties.items.sku = \"x1\""]);
}

#[test]
fn keywords_may_be_in_any_case_and_values_without_quotes() {
    yes(&[
        "type = \"track\" AND properties.won = TRUE",
        "type = track Or false in properties.list",
        "NOT type = identify",
        "properties.gone = Null",
    ]);
}

// The defects that are mended, in the order of the module's documentation.

#[test]
fn mended_and_binds_before_or() {
    yes(&["type = \"track\" or type = \"x\" and type = \"y\"", "type = \"x\" and type = \"y\" or type = \"track\""]);
    no(&["(type = \"track\" or type = \"x\") and type = \"y\""]);
}

#[test]
fn mended_parentheses_nest() {
    yes(&["((type = \"x\" or (type = \"track\" and (event = \"Deal Upserted\"))))"]);
}

#[test]
fn mended_negation_negates() {
    yes(&["!(type = \"identify\")", "not (type = \"x\" or not type = \"track\")", "!!(type = \"track\")", "not properties.lost"]);
    no(&["!(type = \"track\")", "not (properties.gone = null)"]);
}

#[test]
fn mended_every_top_level_field_is_read() {
    yes(&["messageId = \"m-1\"", "anonymousId = null", "groupId != null"]);
    no(&["messageId = \"x\" and type = \"track\"", "anonymousId != null"]);
    // Ids are texts, however they were sent.
    yes(&["groupId = \"42\"", "groupId = 42", "groupId in [41, 42]"]);
}

#[test]
fn mended_lists() {
    yes(&[
        "type in [\"track\", \"identify\"]",
        "properties.value in [1, 5]",
        "properties.gone in [null, 1]",
        "type not in ['page',]",
    ]);
    yes(&[
        "\"a\" in properties.list",
        "2 in properties.list",
        "null in properties.list",
        "\"b\" not in properties.list",
        "!( type in ['page', 'group'] )",
    ]);
    no(&[
        "type in [\"x\"]",
        "properties.gone not in [5]",
        "\"2\" in properties.list",
        "\"a\" in properties.title",
        "\"a\" not in properties.list",
    ]);
    // `not in` is `!=` for each.
    yes(&["properties.gone not in [\"a\", \"b\"]"]);
}

#[test]
fn mended_functions() {
    yes(&[
        "length(properties.title) = 8",
        "length(properties.list) > 3",
        "length(properties.gone) = 0",
        "length(properties.big) = 6",
    ]);
    yes(&["lowercase(properties.big) = \"ärger\"", "contains(lowercase(event), \"deal\")", "length(lowercase(userId)) = 2"]);
    yes(&[
        "typeof(properties.list) = 'list'",
        "typeof(properties.gone) = 'null'",
        "typeof(userId) = 'string'",
        "typeof(properties) = 'object'",
    ]);
    no(&["lowercase(properties.value) = \"5\"", "length(properties.value) = 1"]);
}

#[test]
fn mended_patterns() {
    yes(&[
        "match(event, \"*eal*\")",
        "match(event, \"D?al *d\")",
        "match(event, \"*\")",
        "match(event, 'Deal Upserted')",
        "match(properties.empty, '*')",
    ]);
    no(&["match(event, \"eal\")", "match(event, \"Upserted\")", "match(event, \"D?al\")", "match(properties.empty, '?')"]);
    yes(&["match(context.page.url, \"*pricing\\?plan=*\")", "match(context.page.url, 'https://*.com/*?plan=*')"]);
    no(&["match(event, \"Deal\\*\")"]);
}

#[test]
fn mended_single_quotes() {
    yes(&["event = 'Deal Upserted'", "properties.title != 'Big \\'Deal\\''"]);
}

#[test]
fn mended_null_and_true() {
    no(&["event = null", "type = null", "properties.won != true"]);
    yes(&["event != null", "properties.lost != true", "properties.gone != true", "properties.won"]);
}

#[test]
fn errors_name_the_column_and_what_was_expected() {
    let table = [
        ("", 1, "the trigger is empty", "a condition, such as type = \"track\""),
        ("type =", 7, "unexpected the end", "a value: a quoted text, a number, true, false or null"),
        ("type = \"track", 8, "this text does not end", "a closing \""),
        ("type \"track\"", 6, "unexpected a text", "one of = != < <= > >=, `in` or `not in`"),
        ("typ = \"track\"", 1, "unknown field `typ`", "`type`"),
        ("userid = \"x\"", 1, "unknown field `userid`", "`userId`"),
        ("type.x = 1", 1, "`type` has nothing below it", "`type` alone, or a path such as properties.x"),
        ("(type = \"a\"", 12, "unexpected the end", "`and`, `or` or `)`"),
        ("type = \"a\")", 11, "unexpected `)`", "`and`, `or` or the end; this parenthesis was not opened"),
        ("type = \"a\" && event = \"b\"", 12, "`&` is not used in triggers", "`and`"),
        ("type == \"a\"", 7, "unexpected `=`", "a value; equality is written with one `=`"),
        ("type in [\"a\"", 13, "unexpected the end", "`,` or `]`"),
        ("type in []", 10, "unexpected `]`", "a value: a quoted text, a number, true, false or null"),
        ("contain(event, \"a\")", 1, "unknown function contain()", "contains()"),
        ("contains(event \"a\")", 16, "unexpected a text", "`,` and a quoted text"),
        ("properties.a > \"x\"", 16, "`>` compares numbers only", "a number"),
        ("properties. = 1", 12, "a name is missing", "a name after the dot"),
        ("type = “track”", 8, "`“` is a typographic quote", "a straight quote: \" or '"),
        ("\"track\" = type", 9, "unexpected `=`", "`in`; in other conditions the field comes first, as in type = \"track\""),
        ("properties.a = 5x", 16, "`5x` is no number", "a number such as 5, -1.5 or 1e3, or a quoted text"),
        ("type = \"a\" and", 15, "unexpected the end", "a condition, such as type = \"track\""),
    ];
    for (text, column, message, expected) in table {
        let error = Trigger::parse(text).expect_err(text);
        assert_eq!((error.column, error.message.as_str(), error.expected.as_str()), (column, message, expected), "{text}");
    }
    let deep = format!("{}type = \"a\"{}", "(".repeat(100_000), ")".repeat(100_000));
    assert!(Trigger::parse(&deep).is_err());
    assert_eq!(Trigger::parse(&"(".repeat(70)).expect_err("deep").message, "nested too deeply");
}

#[test]
fn an_explanation_names_the_conditions_that_failed_and_the_values() {
    let trigger = Trigger::parse("type = \"track\" and event = \"Note Upserted\" and not properties.won").expect("valid");
    let explanation = trigger.explain(&track());
    assert!(!explanation.matched);
    let lines: Vec<String> = explanation.failed.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        ["event = \"Note Upserted\" is false: event is \"Deal Upserted\"", "properties.won is true: properties.won is true"]
    );
    assert_eq!(explanation.failed[0].column, 20);
    let met = Trigger::parse("type = \"x\" or type = \"track\"").expect("valid").explain(&track());
    assert_eq!(met, TriggerExplanation { matched: true, failed: vec![] });
}

mod properties {
    use proptest::prelude::*;

    use super::super::ast::{Condition, Expr, Literal, Operand, Order, Path, Pattern, Test};
    use super::super::parser::TEXT_FIELDS;
    use super::*;

    /// Few values, so that triggers and events meet.
    const TEXTS: [&str; 7] = ["track", "identify", "Deal Upserted", "Signup", "a\\\"b*", "5", ""];

    fn literal() -> impl Strategy<Value = Literal> {
        prop_oneof![
            Just(Literal::Null),
            any::<bool>().prop_map(Literal::Bool),
            prop_oneof![Just(5.0), Just(-0.25), any::<i32>().prop_map(f64::from), -1e300..1e300].prop_map(Literal::Number),
            prop::sample::select(&TEXTS[..]).prop_map(|t| Literal::Text(t.to_owned())),
            any::<String>().prop_map(Literal::Text),
        ]
    }

    fn operand() -> impl Strategy<Value = Operand> {
        let below = prop_oneof![Just("a".to_owned()), Just("0".to_owned()), Just("in".to_owned()), "\\PC{1,4}"];
        let deep = (prop::sample::select(&["properties", "traits", "context"][..]), prop::collection::vec(below, 0..3)).prop_map(
            |(root, below)| Path(std::iter::once(root.into()).chain(below.into_iter().map(String::into_boxed_str)).collect()),
        );
        let top = prop::sample::select(&TEXT_FIELDS[..]).prop_map(|f| Path(vec![f.into()]));
        let field = prop_oneof![3 => top, 2 => deep].prop_map(Operand::Field);
        field.prop_recursive(2, 3, 1, |inner| {
            prop_oneof![
                inner.clone().prop_map(|i| Operand::Lowercase(Box::new(i))),
                inner.clone().prop_map(|i| Operand::Length(Box::new(i))),
                inner.prop_map(|i| Operand::TypeOf(Box::new(i))),
            ]
        })
    }

    fn test() -> impl Strategy<Value = Test> {
        let order = prop::sample::select(&[Order::Less, Order::LessOrEqual, Order::Greater, Order::GreaterOrEqual][..]);
        let text = || prop_oneof![prop::sample::select(&TEXTS[..]).prop_map(str::to_owned), any::<String>()];
        prop_oneof![
            4 => (operand(), any::<bool>(), literal()).prop_map(|(left, negated, right)| {
                let right = as_parsed(&left, right);
                Test::Equal { left, negated, right }
            }),
            1 => (operand(), order, any::<i16>()).prop_map(|(left, order, n)| Test::Order { left, order, right: f64::from(n) / 4.0 }),
            3 => (operand(), any::<bool>(), prop::collection::vec(literal(), 1..4)).prop_map(|(left, negated, list)| {
                let list = list.into_iter().map(|l| as_parsed(&left, l)).collect();
                Test::In { left, negated, list }
            }),
            1 => (literal(), any::<bool>(), operand()).prop_map(|(item, negated, list)| Test::Member { item, negated, list }),
            1 => (operand(), any::<bool>(), text()).prop_map(|(left, negated, part)| Test::Contains { left, negated, part }),
            1 => (operand(), any::<bool>(), text())
                .prop_map(|(left, negated, text)| Test::Match { left, negated, pattern: Pattern::new(&text) }),
            1 => operand().prop_map(|left| Test::True { left }),
        ]
    }

    /// The parser reads a number that is compared with a text field as text.
    fn as_parsed(left: &Operand, literal: Literal) -> Literal {
        match literal {
            Literal::Number(n) if left.plain().is_some_and(|p| TEXT_FIELDS.iter().any(|f| p.is(f))) => {
                Literal::Text(n.to_string())
            }
            literal => literal,
        }
    }

    pub(crate) fn trigger() -> impl Strategy<Value = Trigger> {
        let leaf = test().prop_map(|test| Expr::Condition(Condition { column: 1, test }));
        let expr = leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 2..4).prop_map(Expr::All),
                prop::collection::vec(inner.clone(), 2..4).prop_map(Expr::Any),
                inner.prop_map(|i| Expr::Not(Box::new(i))),
            ]
        });
        expr.prop_map(|expr| Trigger { expr })
    }

    pub(crate) fn events() -> impl Strategy<Value = Event> {
        let value = || {
            prop_oneof![
                Just(json!(null)),
                Just(json!(true)),
                Just(json!(5)),
                Just(json!([5, "5", null])),
                Just(json!({"a": 5})),
                prop::sample::select(&TEXTS[..]).prop_map(|t| json!(t)),
            ]
        };
        (prop::sample::select(&EventType::ALL[..]), value(), value(), value(), value()).prop_map(|(kind, name, user, a, b)| {
            event(
                json!({"type": kind.as_str(), "event": name, "userId": user, "properties": {"a": a, "in": b}, "messageId": "m"}),
            )
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_parser_never_panics(text in any::<String>()) {
            drop(Trigger::parse(&text));
        }

        #[test]
        fn the_parser_never_panics_on_what_looks_like_a_trigger(
            parts in prop::collection::vec(prop::sample::select(&[
                "type", "event", "properties.a", "=", "!=", "<", "in", "not", "!", "and", "or", "(", ")", "[", "]", ",", "\"a\"", "'b", "5",
                "-", ".", "\\", "null", "match", "contains", "lowercase", "ü", "\n",
            ][..]), 0..20),
            space in any::<bool>(),
        ) {
            let text = parts.join(if space { " " } else { "" });
            if let Ok(trigger) = Trigger::parse(&text) {
                prop_assert_eq!(Trigger::parse(&trigger.to_string()), Ok(trigger));
            }
        }

        #[test]
        fn the_printed_form_parses_to_the_same(trigger in trigger()) {
            let printed = trigger.to_string();
            prop_assert_eq!(Trigger::parse(&printed), Ok(trigger), "{}", printed);
        }

        #[test]
        fn an_event_that_meets_a_trigger_is_within_its_reach(trigger in trigger(), event in events()) {
            let reached = match &trigger.reach().0[event.kind as usize] {
                Names::Any => true,
                Names::Only(names) => event.name().is_some_and(|n| names.contains(n)),
            };
            prop_assert!(reached || !trigger.matches(&event));
        }

        #[test]
        fn an_explanation_agrees_with_the_outcome(trigger in trigger(), event in events()) {
            let explanation = trigger.explain(&event);
            prop_assert_eq!(explanation.matched, trigger.matches(&event));
            prop_assert_eq!(explanation.matched, explanation.failed.is_empty());
        }
    }
}
