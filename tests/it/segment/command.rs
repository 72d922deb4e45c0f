//! `pipewright import-segment` as a command: exit codes, refusals, files that are there.

use serde_json::{Value, json};

use crate::support::binary::{code, err, in_dir, out, parsed};
use crate::support::{temp_dir, write};

fn export(subscriptions: &Value) -> String {
    json!({ "data": { "subscriptions": subscriptions } }).to_string()
}

fn person(name: &str, mapping: &Value) -> Value {
    json!({ "name": name, "actionSlug": "createUpdatePerson", "enabled": true, "trigger": "type = \"identify\"", "settings": mapping })
}

#[test]
fn one_refused_subscription_leaves_the_others() {
    let dir = temp_dir();
    let user = json!({ "@path": "$.userId" });
    let subscriptions = json!([
        person("good", &json!({ "match_field": "email", "match_value": { "@path": "$.traits.email" } })),
        person("liquid", &json!({ "match_value": user, "custom_fields": { "a": { "@liquid": "{{ x | upcase }}" } } })),
        person("later", &json!({ "match_value": user, "name": { "@later": 1 } })),
        person("without", &json!({ "name": "x" })),
        { "name": "silent", "actionSlug": "createUpdateNote", "trigger": "", "settings": { "content": "x" } },
        { "name": "other", "actionSlug": "upsertRow", "trigger": "type = \"track\"", "settings": {} },
    ]);
    write(dir.path(), "subs.json", &export(&subscriptions));
    let output = in_dir(dir.path(), &["import-segment", "subs.json", "--out", "rules"]);
    let text = out(&output);
    assert_eq!(code(&output), 1, "{text}{}", err(&output));
    for said in [
        "\"good\" (subs.json, data.subscriptions[0]): rule good, scripts/good.rhai",
        "settings.custom_fields.a.@liquid: `@liquid` is a templating language of its own",
        "settings.name.@later: the directive `@later` is not known",
        "settings.match_value: the action does not run without it",
        "trigger: Segment runs nothing for a trigger that it cannot read",
        "the action `upsertRow` is none of Segment's Pipedrive destination",
        "look at: the domain of the destination is in none of the files",
    ] {
        assert!(text.contains(said), "{said:?} is missing in:\n{text}");
    }
    assert_eq!(text.matches(": refused, nothing was made of it").count(), 5, "{text}");
    let again = in_dir(dir.path(), &["import-segment", "subs.json", "--out", "rules"]);
    assert_eq!(code(&again), 2);
    assert!(err(&again).contains("nothing was written") && err(&again).contains("--force"), "{}", err(&again));
    let forced = in_dir(dir.path(), &["import-segment", "subs.json", "--out", "rules", "--force", "--json"]);
    assert_eq!((code(&forced), &parsed(&forced)["ok"]), (1, &json!(false)));
    assert!(!dir.path().join("rules/scripts/liquid.rhai").exists());
}

#[test]
fn without_out_nothing_is_written_and_secrets_are_not_shown() {
    let dir = temp_dir();
    let destination = json!({ "data": { "destination": { "id": "d1", "name": "CRM", "enabled": true, "metadata": { "slug": "actions-pipedrive" },
        "settings": { "domain": "https://acme.pipedrive.com", "apiToken": "s3cret-token", "personField": "Segment User ID" } } } });
    write(dir.path(), "d.json", &destination.to_string());
    let mut subscription = person("Users", &json!({ "match_value": { "@path": "$.userId" } }));
    subscription["destinationId"] = json!("d1");
    write(dir.path(), "s.json", &export(&json!([subscription])));
    let output = in_dir(dir.path(), &["import-segment", "d.json", "s.json"]);
    let text = out(&output);
    assert_eq!(code(&output), 0, "{text}{}", err(&output));
    assert!(
        text.contains("--- rules.toml") && text.contains("domain = \"acme\"") && text.contains("person = \"Segment User ID\""),
        "{text}"
    );
    assert!(text.contains("makes it): a person field \"Segment User ID\" of type varchar, unless it is there"), "{text}");
    assert!(!text.contains("s3cret") && !err(&output).contains("s3cret"));
    assert_eq!(std::fs::read_dir(dir.path()).expect("a folder").count(), 2);
}

#[test]
fn fields_that_rules_match_by_are_declared_and_what_to_do_next_holds_for_any_account() {
    let dir = temp_dir();
    let user = json!({ "@path": "$.userId" });
    let own = json!({ "match_field": "Our \"Key\"", "match_value": user, "custom_fields": { "Shoe Size": { "@path": "$.traits.shoe" } } });
    let mut company = person("Companies", &json!({ "match_field": "Domain", "match_value": { "@path": "$.groupId" } }));
    company["actionSlug"] = json!("createUpdateOrganization");
    company["trigger"] = json!("type = \"group\"");
    let by_email = person("Mail", &json!({ "match_field": "email", "match_value": { "@path": "$.traits.email" } }));
    write(dir.path(), "s.json", &export(&json!([person("Users", &own), person("Again", &own), company, by_email])));
    let output = in_dir(dir.path(), &["import-segment", "s.json", "--out", "rules"]);
    let text = out(&output);
    assert_eq!(code(&output), 0, "{text}{}", err(&output));
    let rules = std::fs::read_to_string(dir.path().join("rules/rules.toml")).expect("written");
    let declared = "[pipedrive.main.fields]\n\
                    person = [{ name = 'Our \"Key\"', type = \"varchar\" }]\n\
                    organization = [{ name = \"Domain\", type = \"varchar\" }]\n";
    assert!(rules.contains(declared), "{rules}");
    assert!(text.contains("pipewright fields ensure --dir rules ") && !text.contains("--mock"), "{text}");
    let checked = in_dir(dir.path(), &["check", "--dir", "rules"]);
    assert_eq!(code(&checked), 0, "{}{}", out(&checked), err(&checked));
    let tested = in_dir(dir.path(), &["test", "--dir", "rules"]);
    assert_eq!(code(&tested), 0, "{}{}", out(&tested), err(&tested));
}

#[test]
fn what_cannot_be_read_is_wrong_use() {
    let dir = temp_dir();
    write(dir.path(), "a.json", "{");
    write(dir.path(), "b.json", "{\"data\": {}}");
    write(dir.path(), "c.tf", "resource \"x\" {");
    write(
        dir.path(),
        "d.json",
        &export(&json!([{ "name": "People", "trigger": "type = \"identify\"", "enabled": true,
        "settings": { "match_value": { "@path": "$.userId" } } }])),
    );
    write(
        dir.path(),
        "e.json",
        &export(&json!([{ "name": "Sync", "trigger": "type = \"identify\"", "enabled": true,
        "settings": { "match_value": { "@path": "$.userId" } } }])),
    );
    for (args, status, said) in [
        (&["a.json"][..], 2, "a.json is no JSON"),
        (&["b.json"], 2, "b.json holds neither subscriptions nor a destination"),
        (&["c.tf"], 2, "c.tf is neither JSON nor Terraform"),
        (&["nothing.json"], 2, "nothing.json cannot be read"),
        (&["d.json"], 0, ""),
        (&["e.json"], 1, ""),
        (&["e.json", "--kind", "Sync=organization"], 0, ""),
        (&["e.json", "--kind", "Snyc=organization"], 2, "no subscription is called \"Snyc\""),
        (&["e.json", "--kind", "Sync=company"], 2, "is none of person, organization"),
        (&["e.json", "--match", "lead=x"], 2, "the kind is person, organization or deal"),
    ] {
        let output = in_dir(dir.path(), &[&["import-segment"], args].concat());
        assert_eq!(code(&output), status, "{args:?}: {}{}", out(&output), err(&output));
        assert!(err(&output).contains(said), "{args:?}: {}", err(&output));
    }
    let output = in_dir(dir.path(), &["import-segment", "e.json"]);
    assert!(out(&output).contains("person or organization. Say it with --kind \"Sync=person\""), "{}", out(&output));
}
