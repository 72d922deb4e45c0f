//! What write functions put into the plan.

use serde_json::json;

use super::support::{actions, plan_of, run_all, shown};
use pipewright::script::Outcome;

#[test]
fn an_upsert_keeps_matches_in_order_fields_and_options() {
    let verbs = actions(
        r##"
        person::upsert(
            [#{ "Segment User ID": event.userId }, #{ email: event.traits?.email }],
            #{ name: event.traits.name, phones: (), custom: #{ "Plan": CLEAR }, ltv: money("12.50", "eur") },
            #{ on_create: #{ labels: ["Customer", ()] }, if_empty: #{ job: "x" }, on_many: "newest", write: "always", key: 7 });
        "##,
    );
    assert_eq!(
        verbs,
        [json!({ "upsert": {
            "kind": "person",
            "criteria": [
                [{ "name": "Segment User ID", "value": { "json": "u-1" } }],
                [{ "name": "email", "value": { "json": "ada@acme.com" } }]
            ],
            "fields": [
                { "name": "Plan", "custom": true, "value": "clear" },
                { "name": "ltv", "value": { "money": { "amount": 12.5, "currency": "EUR" } } },
                { "name": "name", "value": { "json": "Ada King" } },
                { "name": "phones", "value": "leave" }
            ],
            "options": {
                "on_create": [{ "name": "labels", "value": { "json": ["Customer"] } }],
                "if_empty": [{ "name": "job", "value": { "json": "x" } }],
                "unless_edited": [],
                "on_empty": null, "on_many": "newest", "on_archived": null, "on_conflict": null, "on_miss": null, "on_missing": null,
                "on_unknown": null, "unlinked": false, "write": "always", "key": "7"
            }
        } })]
    );
}

#[test]
fn references_link_later_actions_and_positions_point_at_the_calls() {
    let plan = plan_of(
        "let org = organization::upsert(#{ name: \"Acme\" }, #{});\n  person::create(#{ name: \"x\", org_id: org });\nperson::update(12, #{ name: \"y\" });",
    );
    let verbs = serde_json::to_value(&plan).expect("serialises");
    assert_eq!(verbs["actions"][1]["verb"]["create"]["fields"][1]["value"], json!({ "link": { "reference": 0 } }));
    assert_eq!(verbs["actions"][2]["verb"]["update"]["target"], json!({ "id": 12 }));
    let places: Vec<_> = plan.actions.iter().map(|a| (&*a.at.file, a.at.line)).collect();
    assert_eq!(places, [("a.rhai", 2), ("a.rhai", 3), ("a.rhai", 4)]);
    assert_eq!(plan.actions[1].at.column, 11, "the column of the function's name");
}

#[test]
fn actions_of_imported_functions_have_the_imported_file_as_their_place() {
    let report = run_all(&[
        ("a.rhai", "import \"lib/b\" as b;\nfn handle(event) { b::save(event.userId); }"),
        ("lib/b.rhai", "\n\nfn save(id) { person::create(#{ name: id }); }"),
    ]);
    let Outcome::Plan(plan) = report.outcome else { panic!("{:?}", report.outcome) };
    assert_eq!((&*plan.actions[0].at.file, plan.actions[0].at.line), ("lib/b.rhai", 3));
}

#[test]
fn looking_into_a_reference_says_why_it_cannot() {
    for body in [
        "p.id",
        "p == 3",
        "p == ()",
        "3 != p",
        "\"x\" == p",
        "p == p",
        "\"a\" + p",
        "p + 1",
        "`${p}`",
        "print(p)",
        "log::info(p)",
        "to_string(p)",
        "try { `${p}` } catch { }",
        "person::get(p)",
        "#{ a: p }.a.b",
        "p.x = 3",
        "p[\"id\"]",
        "let s = \"a\"; s += p; s",
        "p in [1]",
        "[p].contains(1)",
    ] {
        let report = super::support::run_body(&format!("let p = person::create(#{{ name: \"x\" }}); {body}"));
        match report.outcome {
            Outcome::Error(error) => {
                assert!(error.diagnostic.message.contains("reference"), "{body}: {}", error.diagnostic.message)
            }
            other => panic!("{body}: {other:?}"),
        }
    }
}

#[test]
fn bad_arguments_are_refused_with_a_suggestion() {
    for (body, message, help) in [
        ("person::upsert(3, #{})", "a match is a map or an array of maps, not a number", "write `#{ email: .. }`"),
        ("person::create(\"x\")", "fields are a map", ""),
        ("person::create(#{ name: |x| x })", "field `name`: a function cannot stand inside a value", ""),
        ("person::create(#{ name: 0.0 / 0.0 })", "not finite", ""),
        ("person::upsert(#{ a: 1 }, #{}, #{ on_creat: #{} })", "unknown option `on_creat`", "did you mean `on_create`?"),
        (
            "person::upsert(#{ a: 1 }, #{}, #{ on_miss: \"skip\" })",
            "option `on_miss` has no meaning here",
            "it takes `on_create`",
        ),
        ("person::upsert(#{ a: 1 }, #{}, #{ on_many: \"oldst\" })", "no value \"oldst\"", "did you mean \"oldest\"?"),
        ("person::update(\"x7\", #{})", "a Pipedrive id of a person is a positive whole number", "write a match"),
        ("lead::update(7, #{})", "a Pipedrive id of a lead is a uuid", ""),
        ("deal::update(person::create(#{}), #{})", "the reference is to a person, not to a deal", ""),
        ("money(\"abc\", \"EUR\")", "the amount of `money` is a number", "number::parse"),
        ("pipedrive::request(\"PUT\", \"https://evil.test/\")", "starts with /api/v1/", ""),
        ("pipedrive::request(\"PUT\", \"/api/v2/../x\")", "`..`", ""),
        ("pipedrive::request(\"GET\", \"/api/v2/x?api_token=1\")", "token", ""),
    ] {
        let text = shown(body);
        assert!(text.contains(message), "{body}: {text}");
        assert!(text.contains(help), "{body}: {text}");
    }
}

#[test]
fn a_plan_has_a_bound() {
    let text = shown("loop { try { person::create(#{ name: \"x\" }); } catch { } }");
    assert!(text.contains("more than 100 actions") && text.contains("max_actions"), "{text}");
}
