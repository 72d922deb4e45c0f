//! What is refused, and what it says: the place, the kind of the value, and what to do. Nothing is sent for it.

use pipewright::diagnostic::Diagnostic;
use pipewright::store::DeliveryState;
use serde_json::{Value, json};

use super::harness::{Rig, Setup};
use crate::support::wait_until;

const UUID: &str = "adf21080-0e10-11eb-879b-05d71fb426ec";
/// No reason holds it: reasons go to logs.
const PERSONAL: &str = "zoe@x.io";

/// A delivery of a script with this body, whose event holds `v`, in an account with one person of this address and of the user.
async fn deliver(body: &str, v: &Value) -> (Rig, Value) {
    let script = format!("fn handle(event) {{\n    let v = event.traits.v;\n    {body}\n}}\n");
    let rig = Setup::person(&script).start().await;
    let key = rig.key("persons", "Segment User ID");
    let there = json!({ "name": "There", "emails": [{ "value": PERSONAL }], "custom_fields": { key: "u1" } });
    assert_eq!(rig.aside("/api/v2/persons", there)["id"], 1);
    let id = rig.identify("u1", json!({ "v": v })).await;
    let record = wait_until("it has a record", async || {
        let row = rig.rows(&id).await.into_iter().next()?;
        rig.records(&row.id).await.pop()
    });
    let record = record.await;
    (rig, record)
}

/// The message with its place; the word that the caret points to; the value, for the record alone; what to do.
type Said<'a> = (&'a str, &'a str, &'a str, &'a str);

async fn refused(body: &str, v: Value, said: Said<'_>) {
    let (rig, record) = deliver(body, &v).await;
    let all: Vec<Diagnostic> = serde_json::from_value(record["diagnostics"].clone()).unwrap_or_default();
    assert_eq!(all.len(), 1, "{body}: {record:#}");
    let (problem, place) = (&all[0], all[0].place.as_ref().expect("a place"));
    let rest: String = place.text.chars().skip(place.column - 1).collect();
    let word: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    let value = problem.notes.iter().find_map(|note| note.strip_prefix("the value is ")).unwrap_or_default();
    assert_eq!((problem.one_line().as_str(), word.as_str(), value, problem.help.as_deref().unwrap_or_default()), said, "{body}");
    // The reason, which is logged, is that line and no more.
    assert_eq!(record["reason"], said.0, "{body}");
    assert!(!said.0.contains(PERSONAL), "{body}");
    assert!(rig.writes().is_empty(), "{body}: {:?}", rig.writes());
    let expected = if record["class"] == "misconfigured" { "wait" } else { "dead" };
    assert_eq!(record["outcome"], expected, "{body}: {record:#}");
}

#[tokio::test]
async fn the_whole_message_as_it_is_shown() {
    let (_, record) = deliver("person::create(#{ name: \"Ada\", Score: v });", &json!(PERSONAL)).await;
    let shown: Diagnostic = serde_json::from_value(record["diagnostics"][0].clone()).expect("a diagnostic");
    let text = [
        "error: `Score` takes a number, and this string is none",
        " --> scripts/person.rhai:3:13",
        "  |",
        "3 |     person::create(#{ name: \"Ada\", Score: v });",
        "  |             ^",
        "  |",
        "  = note: the value is zoe@x.io",
        "  = help: `number::parse` reads numbers as people write them",
    ];
    assert_eq!(shown.render(), text.join("\n"));
}

#[tokio::test]
async fn a_match_on_a_field_that_cannot_be_searched_or_is_not_there() {
    let at = |kind: &str, message: &str| format!("scripts/person.rhai:3:{}: {message}", kind.len() + 7);
    for (kind, matched, message, help) in [
        (
            "person",
            "Plan: v",
            "nothing can be found by `Plan`: Pipedrive does not search fields of type enum",
            "match by a field of type text, number, money, phone or address, or add one of these to the match",
        ),
        (
            "activity",
            "subject: v",
            "nothing can be found by `subject`: Pipedrive does not search activities",
            "match by `id`, or create with a `key` so that it is created once",
        ),
        (
            "person",
            "job_title: v",
            "nothing can be found by `job_title`: Pipedrive does not search persons by it",
            "match by `id`, `name`, `emails`, `phones`, `org_id`, or by a custom field of text",
        ),
        ("person", "\"Segmnt User ID\": v", "persons have no field `Segmnt User ID`", "did you mean `Segment User ID`?"),
        (
            "person",
            "Zzzzzzzz: v",
            "persons have no field `Zzzzzzzz`",
            "`pipewright fields list` shows the names, and a new field is declared in rules.toml under [pipedrive.NAME.fields]",
        ),
    ] {
        let body = format!("{kind}::upsert(#{{ {matched} }}, #{{}});");
        refused(&body, json!(PERSONAL), (&at(kind, message), "upsert", "", help)).await;
    }
    // Also where it is only read.
    let message = "scripts/person.rhai:3:13: persons have no field `emial`";
    refused("person::find(#{ emial: v });", json!(PERSONAL), (message, "find", "", "did you mean `email`?")).await;
}

const CONVERT: &str = "convert it in the script, or leave the field out with `()`";

/// A person with this field.
async fn field(name: &str, v: Value, message: &str, shown: &str, help: &str) {
    let body = format!("person::create(#{{ name: \"Ada\", \"{name}\": v }});");
    refused(&body, v, (&format!("scripts/person.rhai:3:13: {message}"), "create", shown, help)).await;
}

#[tokio::test]
async fn a_value_of_the_wrong_type() {
    let number = "`number::parse` reads numbers as people write them";
    field("Score", json!(PERSONAL), "`Score` takes a number, and this string is none", PERSONAL, number).await;
    field("Score", json!(["zoe"]), "`Score` takes a number, not an array", "[\"zoe\"]", CONVERT).await;
    field("Source tag", json!({ "a": "zoe" }), "`Source tag` takes text, not a map", "{\"a\":\"zoe\"}", CONVERT).await;
    let date = "`Signup Date` takes a date (`YYYY-MM-DD`, or an ISO time), not a number";
    field("Signup Date", json!(5), date, "5", CONVERT).await;
    let emails = "`emails` takes text, a map with `value`, or an array of those, not a boolean";
    field("emails", json!([true]), emails, "true", CONVERT).await;
}

#[tokio::test]
async fn an_address_that_cannot_be_read() {
    let wanted = "`Billing address` takes an address (one line of text, or a map of its parts), not";
    field("Billing address", json!(7), &format!("{wanted} a number"), "7", CONVERT).await;
    field("Billing address", json!(["zoe"]), &format!("{wanted} an array"), "[\"zoe\"]", CONVERT).await;
    let part = "`Billing address.route` takes text, not an array";
    field("Billing address", json!({ "street": ["zoe"] }), part, "[\"zoe\"]", CONVERT).await;
    let key = "the map for `Billing address` has a key that means nothing there";
    field("Billing address", json!({ "stret": "zoe" }), key, "stret", "did you mean `street`?").await;
}

#[tokio::test]
async fn money_that_cannot_be_read() {
    let help = "a number, a numeric string, or `money(amount, \"EUR\")`";
    let wanted = "`Lifetime Value` takes an amount of money";
    field("Lifetime Value", json!(PERSONAL), &format!("{wanted}, and this string is none"), PERSONAL, help).await;
    field("Lifetime Value", json!(true), &format!("{wanted}, not a boolean"), "true", help).await;
    let none = "the money for `Lifetime Value` has no amount";
    field("Lifetime Value", json!({ "currency": "EUR" }), none, "", "give `amount` and `currency`").await;
    let code = "`Lifetime Value` takes a currency code of three letters (ISO 4217)";
    let (euro, three) = (json!({ "amount": 1, "currency": "euro" }), json!({ "amount": 1, "currency": 3 }));
    field("Lifetime Value", euro, &format!("{code}, and this string is none"), "euro", "such as `EUR` or `USD`").await;
    field("Lifetime Value", three, &format!("{code}, not a number"), "3", "such as `EUR` or `USD`").await;
    for (call, message, help) in [
        (
            "money(v, \"EUR\")",
            "the amount of `money` is a number or a text like \"12.50\", not another text",
            "read formatted amounts with `number::parse`",
        ),
        (
            "money(1, [v])",
            "the currency of `money` is a code like \"EUR\", not an array",
            "write `money(12.5, \"EUR\")`, or leave it out for the account's own",
        ),
    ] {
        let body = format!("deal::create(#{{ title: \"x\", value: {call} }}, #{{ unlinked: true }});");
        refused(&body, json!(PERSONAL), (&format!("scripts/person.rhai:3:40: {message}"), "money", "", help)).await;
    }
}

#[tokio::test]
async fn an_id_of_another_kind() {
    let own = "to find by an id of yours, write a match: a map with the field that holds it";
    let (number, uuid) = (json!(7), json!(UUID));
    for (body, v, said) in [
        (
            "deal::update(v, #{ title: \"x\" });",
            &uuid,
            ("a Pipedrive id of a deal is a positive whole number, and this text is none", "update", "", own),
        ),
        (
            "lead::update(v, #{ title: \"x\" });",
            &number,
            ("a Pipedrive id of a lead is a uuid, and this number is none", "update", "", own),
        ),
        ("deal::get(v);", &uuid, ("a Pipedrive id of a deal is a positive whole number, and this text is none", "get", "", own)),
        ("lead::delete(v);", &number, ("a Pipedrive id of a lead is a uuid, and this number is none", "delete", "", own)),
    ] {
        let (message, function, value, help) = said;
        let message = format!("scripts/person.rhai:3:11: `{}::{function}`: {message}", &body[..4]);
        refused(body, v.clone(), (&message, function, value, help)).await;
    }
    let person = "give the id of a person, its reference, or `by(..)` with a match";
    let message = "scripts/person.rhai:3:11: person_id: this uuid is not the id of a person, which is a positive whole number";
    refused("deal::create(#{ title: \"x\", person_id: v });", uuid.clone(), (message, "create", UUID, person)).await;
    let message = "scripts/person.rhai:3:11: lead_id: this number is not the id of a lead, which is a uuid";
    let lead = "give the id of a lead, its reference, or `by(..)` with a match";
    refused("note::create(#{ content: \"x\", lead_id: v });", number.clone(), (message, "create", "7", lead)).await;
    let custom = "to match by an id of yours, use a custom field";
    let message = "scripts/person.rhai:3:11: `id` in a match takes the deal's id in Pipedrive, a positive whole number, and this string is none";
    for function in ["find(#{ id: v })", "upsert(#{ id: v }, #{ title: \"x\" })"] {
        let word = function.split('(').next().expect("a name");
        refused(&format!("deal::{function};"), uuid.clone(), (message, word, "", custom)).await;
    }
    let message = "scripts/person.rhai:3:11: `id` in a match takes the lead's id in Pipedrive, a uuid, not a number";
    refused("lead::find(#{ id: v });", number, (message, "find", "", custom)).await;
}

#[tokio::test]
async fn a_reference_of_another_kind() {
    let made = "let p = person::create(#{ name: \"x\" });";
    let message = "scripts/person.rhai:3:51: org_id takes an organization, and this reference is a person";
    let help = "give the reference of an organization, its id, or `by(..)` with a match";
    refused(&format!("{made} deal::create(#{{ title: \"x\", org_id: p }});"), json!(1), (message, "create", "", help)).await;
    let message = "scripts/person.rhai:3:59: `organization::update`: the reference is to a person, not to an organization";
    let help = "give the reference of an organization, its id, or a match";
    refused(&format!("{made} organization::update(p, #{{ name: \"y\" }});"), json!(1), (message, "update", "", help)).await;
}

#[tokio::test]
async fn a_merge_of_an_entity_with_itself() {
    let found = "both targets of the merge are the person 1, which cannot be merged with itself";
    let skip = "where they are one already, nothing is left to merge: discard the delivery, or let the script skip such events";
    let same = "a person cannot be merged with itself";
    let two = "give two that differ; skip the event where they are one";
    for (targets, message, help) in [
        ("#{ \"Segment User ID\": event.userId }, #{ email: v }", found, skip),
        ("1, #{ email: v }", found, skip),
        ("#{ email: v }, #{ email: v }", same, two),
        ("1, 1", same, two),
    ] {
        let message = format!("scripts/person.rhai:3:13: {message}");
        refused(&format!("person::merge({targets});"), json!(PERSONAL), (&message, "merge", "", help)).await;
    }
}

/// What is done with `p`, a reference: where and how it is refused, with what to do.
#[tokio::test]
async fn a_reference_that_is_looked_into() {
    let opaque = "the id of this person is known only when the plan is carried out";
    let give = "give the reference itself to a later action, or read the person first with `person::find(..)`";
    let later = "the id of what a reference stands for is known only when the plan is carried out: give the reference itself to a later action";
    let whole = "give a reference as the whole value of a link field: `person_id: person`";
    for (used, column, message, help) in [
        // Printed and interpolated, also inside other values.
        ("print(p);", 5, format!("cannot print a reference: {opaque}"), give),
        ("debug([p]);", 5, format!("cannot print a reference: {opaque}"), give),
        ("`id ${p}`;", 10, format!("cannot print a reference: {opaque}"), give),
        ("`${#{ a: p }}`;", 7, format!("cannot print a reference: {opaque}"), give),
        ("\"id \" + p;", 11, format!("cannot print a reference: {opaque}"), give),
        ("p.to_string();", 7, format!("cannot print a reference: {opaque}"), give),
        ("log::info(p);", 10, format!("cannot log a reference: {opaque}"), give),
        ("log::info([p]);", 10, "cannot log this value: a reference cannot stand inside a value".to_owned(), ""),
        ("skip(p);", 5, format!("cannot make a reason of a reference: {opaque}"), give),
        // Compared.
        ("p == 1;", 7, format!("cannot compare a reference: {opaque}"), give),
        ("() != p;", 8, format!("cannot compare a reference: {opaque}"), give),
        ("p in [1];", 7, format!("cannot compare a reference: {opaque}"), give),
        ("if p { }", 8, "expected a boolean, found a reference".to_owned(), later),
        ("!p;", 5, "`!` cannot take a reference".to_owned(), later),
        // As a key.
        ("#{ a: 1 }[p];", 15, "expected a text, found a reference".to_owned(), later),
        ("let m = #{}; m[p] = 1;", 20, "expected a text, found a reference".to_owned(), later),
        // Read, as if it were the entity.
        ("p.id;", 6, format!("cannot read from a reference: {opaque}"), give),
        ("p.name = 1;", 6, format!("cannot write into a reference: {opaque}"), give),
        // Put into JSON.
        ("#{ a: p }.to_json();", 15, "`to_json`: a reference cannot stand inside a value".to_owned(), whole),
        (
            "pipedrive::request(\"POST\", \"/api/v1/filters\", #{ a: p });",
            16,
            "`pipedrive::request`: a reference cannot stand inside a value".to_owned(),
            whole,
        ),
        (
            "person::create(#{ name: \"x\", Interests: [p] });",
            13,
            "`person::create`: field `Interests`: a reference cannot stand inside a value".to_owned(),
            whole,
        ),
        // In a match, whose entity is looked for before anything is written.
        (
            "deal::find(#{ person_id: p });",
            11,
            "`person_id` in a match takes an id: what a reference or `by(..)` comes to is not known yet".to_owned(),
            "read it first, as in `person::find(#{ .. })?.id`",
        ),
    ] {
        let body = format!("let p = person::create(#{{ name: \"x\" }});\n    {used}");
        let line = format!("    {used}");
        let rest: String = line.chars().skip(column - 1).collect();
        let word: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        refused(&body, json!(PERSONAL), (&format!("scripts/person.rhai:4:{column}: {message}"), &word, "", help)).await;
    }
}

/// The interpreter would take the default arm without a word: the set is refused before any event comes.
#[tokio::test]
async fn a_switch_over_a_reference_is_refused_when_the_script_is_read() {
    let rig = Setup::person("fn handle(event) { person::create(#{ name: \"x\" }); }").start().await;
    let said = "cannot switch on a reference: the id of what it stands for is known only when the plan is carried out";
    for (body, column) in [
        ("let p = person::create(#{ name: \"x\" }); switch p { 1 => 2, _ => 3 }", 60),
        ("switch lead::convert(event.v) { 1 => 2, _ => 3 }", 20),
    ] {
        crate::support::write(rig.dir.path(), "scripts/person.rhai", &format!("fn handle(event) {{ {body} }}"));
        let pipewright::reload::ReloadOutcome::Refused { diagnostics: problems, .. } = rig.daemon().reload().reload().await
        else {
            panic!("{body} was taken")
        };
        assert_eq!(problems[0].one_line(), format!("scripts/person.rhai:1:{column}: {said} [PW210]"));
        let help = "give the reference itself to a later action, or read the entity first with `find(..)`";
        assert_eq!((problems.len(), problems[0].help.as_deref()), (1, Some(help)));
    }
    // A variable that is also something else is left to run time.
    let fine =
        "fn handle(event) { let p = person::create(#{ name: \"x\" }); p = event.type; switch p { \"identify\" => 1, _ => 2 } }";
    rig.edit("person", fine).await;
    assert_eq!(rig.run("u1", json!({})).await.state, DeliveryState::Done);
}
