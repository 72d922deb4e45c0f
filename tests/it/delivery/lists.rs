//! What `add`, `remove`, `replace` and `primary` do to lists that people edit, too.

use pipewright::store::DeliveryState;
use serde_json::{Value, json};

use super::harness::{Rig, Setup};

/// A case: what is there, what an event brings, what is there then, and what the record says was decided.
struct Case {
    op: &'static str,
    there: Value,
    given: Value,
    then: Value,
    said: &'static str,
}

const fn case(op: &'static str, there: Value, given: Value, then: Value, said: &'static str) -> Case {
    Case { op, there, given, then, said }
}

/// Sets the field as people would, lets an event change it, and compares.
async fn check(field: &str, cases: Vec<Case>, write: impl Fn(&Rig, &Value) -> Value, read: impl Fn(&Rig, &Value) -> Value) {
    for Case { op, there, given, then, said } in cases {
        let script = format!(
            "fn handle(event) {{ person::upsert(#{{ \"Segment User ID\": event.userId }}, #{{ \"{field}\": {op}(event.traits.v) }}); }}"
        );
        let rig = Setup::person(&script).start().await;
        let mut body = write(&rig, &there);
        body["name"] = json!("Ada");
        body["custom_fields"][rig.key("persons", "Segment User ID")] = json!("u1");
        rig.aside("/api/v2/persons", body);
        let row = rig.run("u1", json!({ "v": given })).await;
        assert_eq!(row.state, DeliveryState::Done, "{op} {given}: {:?}", row.reason);
        assert_eq!(read(&rig, &rig.person("u1")), then, "{op} {given} to {there}");
        let lines = rig.decisions(&row.id).await;
        assert_eq!(lines.join("\n"), said, "{op} {given} to {there}");
    }
}

/// `a*` is the primary one.
fn contacts(list: &Value) -> Value {
    let all = list.as_array().expect("a list").iter();
    all.map(|item| {
        let item = item.as_str().expect("a text");
        json!({ "value": item.trim_end_matches('*'), "primary": item.ends_with('*') })
    })
    .collect()
}

fn starred(list: &Value) -> Value {
    let star = |item: &Value| if item["primary"] == true { "*" } else { "" };
    let all = list.as_array().map_or(&[][..], Vec::as_slice).iter();
    all.map(|item| format!("{}{}", item["value"].as_str().expect("a text"), star(item))).collect::<Vec<_>>().into()
}

#[tokio::test]
async fn of_emails() {
    let cases = vec![
        case("", json!(["a@x.io*"]), json!("b@x.io"), json!(["a@x.io*", "b@x.io"]), ""),
        case(
            "add",
            json!(["a@x.io*"]),
            json!(["A@x.io", "b@x.io"]),
            json!(["a@x.io*", "b@x.io"]),
            "add: there already: `emails` A@x.io",
        ),
        case(
            "remove",
            json!(["a@x.io*", "b@x.io"]),
            json!(["A@x.io", "c@x.io"]),
            json!(["b@x.io*"]),
            "remove: not there: `emails` c@x.io",
        ),
        case(
            "replace",
            json!(["a@x.io*", "b@x.io"]),
            json!(["b@x.io", "c@x.io"]),
            json!(["b@x.io*", "c@x.io"]),
            "replace: kept: `emails` b@x.io; taken out: `emails` a@x.io",
        ),
        case(
            "primary",
            json!(["a@x.io*", "b@x.io"]),
            json!("b@x.io"),
            json!(["a@x.io", "b@x.io*"]),
            "primary: there already: `emails` b@x.io",
        ),
        case("primary", json!(["a@x.io*"]), json!("c@x.io"), json!(["a@x.io", "c@x.io*"]), ""),
    ];
    check("emails", cases, |_, list| json!({ "emails": contacts(list) }), |_, person| starred(&person["emails"])).await;
}

#[tokio::test]
async fn of_phones() {
    let (a, spelt, b) = ("+37255551234", "+372 5555 1234", "+37255551235");
    let cases = vec![
        case(
            "add",
            json!([format!("{a}*")]),
            json!([spelt, b]),
            json!([format!("{a}*"), b]),
            "add: there already: `phones` +372 5555 1234",
        ),
        case("remove", json!([format!("{a}*"), b]), json!(spelt), json!([format!("{b}*")]), ""),
        case(
            "replace",
            json!([format!("{a}*")]),
            json!(b),
            json!([format!("{b}*")]),
            "replace: taken out: `phones` +37255551234",
        ),
        case(
            "primary",
            json!([format!("{a}*"), b]),
            json!(b),
            json!([a, format!("{b}*")]),
            "primary: there already: `phones` +37255551235",
        ),
    ];
    check("phones", cases, |_, list| json!({ "phones": contacts(list) }), |_, person| starred(&person["phones"])).await;
}

/// Labels as ids.
fn ids(rig: &Rig, field: &str, labels: &Value) -> Value {
    let id = |label: &Value| rig.mock.option_id("persons", field, label.as_str().expect("a label")).expect("an option");
    labels.as_array().expect("a list").iter().map(id).collect::<Vec<_>>().into()
}

/// Ids as labels.
fn labels(rig: &Rig, field: &str, known: &[&str], ids: &Value) -> Value {
    let label = |id: &Value| known.iter().find(|l| rig.mock.option_id("persons", field, l) == id.as_u64()).expect("known");
    ids.as_array().map_or(&[][..], Vec::as_slice).iter().map(label).collect::<Vec<_>>().into_iter().copied().collect::<Value>()
}

#[tokio::test]
async fn of_labels() {
    let cases = vec![
        case("", json!(["Customer"]), json!("Hot lead"), json!(["Customer", "Hot lead"]), ""),
        case(
            "add",
            json!(["Customer"]),
            json!(["customer", "Hot lead"]),
            json!(["Customer", "Hot lead"]),
            "add: there already: `labels` Customer",
        ),
        case(
            "remove",
            json!(["Customer", "Hot lead"]),
            json!(["Customer", "Cold lead"]),
            json!(["Hot lead"]),
            "remove: not there: `labels` Cold lead",
        ),
        case(
            "replace",
            json!(["Customer", "Hot lead"]),
            json!(["Hot lead", "Cold lead"]),
            json!(["Hot lead", "Cold lead"]),
            "replace: kept: `labels` Hot lead; taken out: `labels` Customer",
        ),
    ];
    let known = ["Customer", "Hot lead", "Cold lead"];
    let write = |rig: &Rig, list: &Value| json!({ "label_ids": ids(rig, "label_ids", list) });
    check("labels", cases, write, |rig, person| labels(rig, "label_ids", &known, &person["label_ids"])).await;
}

#[tokio::test]
async fn of_the_options_of_a_set() {
    let cases = vec![
        case(
            "",
            json!(["Analytics", "Reporting"]),
            json!("Automation"),
            json!(["Automation"]),
            "replace: taken out: `Interests` Analytics, Reporting",
        ),
        case(
            "add",
            json!(["Analytics"]),
            json!(["Analytics", "Reporting"]),
            json!(["Analytics", "Reporting"]),
            "add: there already: `Interests` Analytics",
        ),
        case(
            "remove",
            json!(["Analytics", "Reporting"]),
            json!(["Analytics", "Automation"]),
            json!(["Reporting"]),
            "remove: not there: `Interests` Automation",
        ),
        case(
            "replace",
            json!(["Analytics", "Reporting"]),
            json!(["Reporting", "Analytics"]),
            json!(["Analytics", "Reporting"]),
            "replace: kept: `Interests` Analytics, Reporting",
        ),
    ];
    let known = ["Analytics", "Reporting", "Automation"];
    let write =
        |rig: &Rig, list: &Value| json!({ "custom_fields": { rig.key("persons", "Interests"): ids(rig, "Interests", list) } });
    let read =
        |rig: &Rig, person: &Value| labels(rig, "Interests", &known, &person["custom_fields"][rig.key("persons", "Interests")]);
    check("Interests", cases, write, read).await;
}

#[tokio::test]
async fn labels_have_no_primary_one_and_single_values_are_no_lists() {
    for (field, op, message) in [
        ("labels", "primary", "`labels` has no primary item"),
        ("Plan", "add", "`Plan` holds one value: add, remove, replace and primary are for lists"),
    ] {
        let script = format!("fn handle(event) {{ person::create(#{{ name: \"Ada\", {field}: {op}(\"Pro\") }}); }}");
        let rig = Setup::person(&script).start().await;
        let row = rig.run("u1", json!({})).await;
        assert_eq!((row.state, row.reason), (DeliveryState::Dead, Some(format!("scripts/person.rhai:1:28: {message}"))));
        assert!(rig.writes().is_empty());
    }
}

/// Each reads the list, adds to it and writes it: those who meet would lose what the other one added.
#[tokio::test]
async fn lanes_that_add_to_a_list_of_one_entity_lose_nothing() {
    let script = "fn handle(event) { person::update(event.traits.person, #{ phones: event.traits.phone }); }";
    let rig = Setup::person(script).start().await;
    let shared = rig.aside("/api/v2/persons", json!({ "name": "Ada" }))["id"].clone();
    rig.mock.set_latency(std::time::Duration::from_millis(5));
    for n in 10..22 {
        rig.identify(&format!("u{n}"), json!({ "person": shared, "phone": format!("+3249512345{n}") })).await;
    }
    rig.settled().await;
    let person = rig.mock.entity("persons", &shared).expect("it is there");
    let mut phones: Vec<&str> =
        person["phones"].as_array().expect("a list").iter().filter_map(|phone| phone["value"].as_str()).collect();
    phones.sort_unstable();
    let expected: Vec<String> = (10..22).map(|n| format!("+3249512345{n}")).collect();
    assert_eq!(phones, expected);
}
