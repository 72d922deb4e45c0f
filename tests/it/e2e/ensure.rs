//! `fields ensure`: what rules.toml declares beside what the account has, and what is made of it.

use std::sync::Arc;

use pipewright::mock::{Fault, FaultMatch, Hold, MockOptions};
use pipewright::pipedrive::{Method, Request};
use serde_json::{Value, json};

use super::harness::{Ended, Folder, Process};
use crate::support::account::Served;

const PERSON: &str = "person = [{ name = \"Segment User ID\", type = \"varchar\" }]";

/// An account with standard fields and nothing else.
fn bare() -> Arc<Value> {
    let me = json!({ "company_id": 42, "company_domain": "bare", "default_currency": "EUR", "timezone": "UTC" });
    let account = json!({
        "fields": {}, "pipelines": [], "stages": [], "users": [], "lead_labels": [], "activity_types": [], "me": me,
    });
    Arc::new(json!({ "schema": 1, "account": account }))
}

/// A folder whose rules.toml declares these person fields, for an account that is served by the test.
async fn declared(person: &str, schema: Option<Arc<Value>>) -> (Folder, Served) {
    let account = Served::start(MockOptions { schema, ..MockOptions::unlimited() }).await;
    let folder = Folder::init().await;
    folder.use_address(account.at);
    assert!(folder.read("rules.toml").contains("writes = \"off\""), "as on the first day; it is about events");
    folder.edit("rules.toml", PERSON, &format!("person = [\n{person}\n]"));
    (folder, account)
}

/// The custom fields of a kind, as Pipedrive lists them.
fn custom(account: &Served, kind: &str) -> Vec<Value> {
    let answer = account.mock.aside(&Request::get(format!("/api/v2/{kind}Fields?limit=500")));
    let pipewright::pipedrive::Body::Json(mut body) = answer.body else { panic!("JSON") };
    let fields = match body["data"].take() {
        Value::Array(fields) => fields,
        other => panic!("no list: {other}"),
    };
    fields.into_iter().filter(|field| field["is_custom_field"] == true).collect()
}

fn labels(field: &Value) -> Vec<&str> {
    field["options"].as_array().into_iter().flatten().filter_map(|option| option["label"].as_str()).collect()
}

fn found(ended: &Ended) -> &Ended {
    assert_eq!(ended.code, Some(1), "{ended:?}");
    ended
}

#[tokio::test]
async fn fields_of_every_type_are_made_in_a_new_account_and_a_second_run_makes_nothing() {
    let plain = [
        "varchar",
        "varchar_auto",
        "text",
        "double",
        "monetary",
        "date",
        "daterange",
        "time",
        "timerange",
        "phone",
        "address",
        "user",
        "org",
        "people",
    ];
    let mut lines: Vec<String> = plain.iter().map(|word| format!("  {{ name = \"A {word}\", type = \"{word}\" }},")).collect();
    lines.push("  { name = \"Segment User ID\", type = \"varchar\" },".to_owned());
    lines.push("  { name = \"Plan\", type = \"enum\", options = [\"Free\", \"Pro\"] },".to_owned());
    lines.push("  { name = \"Topics\", type = \"set\", options = [\"Go\", \"Shogi\", \"Hex\"] },".to_owned());
    let (folder, account) = declared(&lines.join("\n"), Some(bare())).await;

    let listed = folder.run(&["fields", "ensure"]).await;
    found(&listed);
    assert!(listed.out.contains("person        Plan              enum          missing\n"), "{}", listed.out);
    assert!(
        listed.out.contains("19 missing: ") && listed.out.contains(" for 95 of the account's daily tokens"),
        "{}",
        listed.out
    );
    assert!(account.mock.writes().is_empty(), "nothing is made without --apply");
    assert_eq!(account.mock.tokens_spent(), 32, "as its help says");

    let made = folder.run(&["fields", "ensure", "--apply"]).await;
    assert!(made.err.contains("made the person field `Plan`, key "), "progress: {}", made.err);
    let out = made.ok();
    assert!(out.contains("19 things were made") && !out.contains("missing"), "{out}");
    assert_eq!(account.mock.tokens_spent(), 32 + 32 + 95, "as was said");
    let fields = custom(&account, "person");
    let types: Vec<_> = fields.iter().filter_map(|field| field["field_type"].as_str()).collect();
    assert_eq!(types, [&plain[..], &["varchar", "enum", "set"]].concat());
    assert_eq!(labels(&fields[15]), ["Free", "Pro"]);
    assert_eq!(labels(&fields[16]), ["Go", "Shogi", "Hex"]);
    assert_eq!(custom(&account, "organization")[0]["field_name"], "Segment Group ID");
    assert_eq!(custom(&account, "deal")[0]["field_name"], "Segment Deal ID");

    account.mock.clear_log();
    for args in [&["fields", "ensure", "--apply"][..], &["fields", "ensure"]] {
        folder.run(args).await.ok();
    }
    assert!(account.mock.writes().is_empty(), "a second run makes nothing");
}

#[tokio::test]
async fn missing_options_are_added_and_a_field_of_another_type_is_said_and_left() {
    let fields = "  { name = \"Segment User ID\", type = \"varchar\" },\n  \
                  { name = \"plan\", type = \"enum\", options = [\"free\", \"Galaxy\", \"Comet\"] },\n  \
                  { name = \"Score\", type = \"monetary\" },";
    let (folder, account) = declared(fields, None).await;
    let before = custom(&account, "person");
    let listed = folder.run(&["fields", "ensure"]).await;
    found(&listed);
    assert!(listed.out.contains("options missing: Galaxy, Comet"), "names are compared as in scripts: {}", listed.out);
    assert!(listed.out.contains("2 missing: ") && listed.out.contains(" for 14 of"), "{}", listed.out);
    assert!(listed.err.contains("`Score` is declared as monetary, and is double in Pipedrive"), "{}", listed.err);
    assert!(listed.err.contains("a type is never changed") && listed.err.contains("^^^^^^^^^^"), "{}", listed.err);

    let made: Value = folder.json(&["fields", "ensure", "--apply"]).await;
    assert_eq!((made["ok"].clone(), made["missing"].clone()), (json!(false), json!(0)), "{made:#}");
    let options: Vec<_> = made["made"].as_array().expect("a list").iter().map(|made| made["option"].clone()).collect();
    assert_eq!(options, [json!("Galaxy"), json!("Comet")]);
    let score = made["fields"].as_array().expect("a list").iter().find(|field| field["name"] == "Score").expect("Score");
    assert_eq!((score["state"].clone(), score["found"].clone()), (json!("other_type"), json!("double")), "{score}");
    let after = custom(&account, "person");
    assert_eq!(after.len(), before.len(), "no field was made");
    let plan = |fields: &[Value]| fields.iter().find(|field| field["field_name"] == "Plan").cloned().expect("Plan");
    let (before, after) = (plan(&before), plan(&after));
    assert_eq!(labels(&after), [labels(&before), vec!["Galaxy", "Comet"]].concat(), "those that are not declared stay");
}

#[tokio::test]
async fn two_fields_of_one_name_are_an_error_with_both_keys() {
    let (folder, account) =
        declared("  { name = \"Twin\", type = \"text\" },\n  { name = \"Segment User ID\", type = \"varchar\" },", Some(bare()))
            .await;
    let twin = |kind: &str| {
        let body = json!({ "field_name": "Twin", "field_type": kind });
        let answer = account.mock.aside(&Request::new(Method::Post, "/api/v2/personFields").body(body));
        let pipewright::pipedrive::Body::Json(body) = answer.body else { panic!("JSON") };
        body["data"]["field_code"].as_str().expect("a key").to_owned()
    };
    let keys = [twin("text"), twin("double")];
    let refused = folder.run(&["fields", "ensure", "--apply"]).await;
    found(&refused);
    assert!(refused.err.contains("persons have 2 custom fields named `Twin`"), "{}", refused.err);
    for key in keys {
        assert!(refused.err.contains(&key), "{key}: {}", refused.err);
    }
    assert_eq!(custom(&account, "person").len(), 3, "only the other declared field was made");
}

#[tokio::test]
async fn a_match_field_that_is_neither_declared_nor_there_is_named() {
    let (folder, _account) = declared("  { name = \"Segment User ID\", type = \"varchar\" },", Some(bare())).await;
    folder.edit("rules.toml", "person = \"Segment User ID\", organization", "person = \"Segment Usr ID\", organization");
    folder.edit("rules.toml", "deal = \"Segment Deal ID\" }", "deal = \"Contract\" }");
    folder.edit("rules.toml", "organization = \"Segment Group ID\"", "organization = \"name\"");
    let ended = folder.run(&["fields", "ensure", "--apply"]).await;
    found(&ended);
    assert!(
        ended.err.contains("`Segment Usr ID`, by which persons are matched, is neither declared nor in the account"),
        "{}",
        ended.err
    );
    assert!(ended.err.contains("did you mean `Segment User ID`?"), "{}", ended.err);
    assert!(
        ended.err.contains("`Contract`, by which deals are matched") && ended.err.contains("--> rules.toml:"),
        "{}",
        ended.err
    );
    assert!(!ended.err.contains("organizations are matched"), "a standard field is there: {}", ended.err);
}

#[tokio::test]
async fn a_failure_half_way_says_what_was_made_and_the_next_run_goes_on() {
    let fields = "  { name = \"One\", type = \"text\" },\n  { name = \"Two\", type = \"text\" },\n  { name = \"Segment User ID\", type = \"varchar\" },";
    let (folder, account) = declared(fields, Some(bare())).await;
    let second = FaultMatch { method: Some(Method::Post), skip: 1, times: 1, ..FaultMatch::default() };
    let body = json!({ "success": false, "error": "Custom fields limit reached", "code": "feature_capping_custom_fields_limit" });
    account.mock.fail_matching(second, Fault::Status { status: 403, body });
    let stopped = folder.run(&["fields", "ensure", "--apply"]).await;
    found(&stopped);
    assert!(stopped.err.contains("the person field `Two` could not be made: "), "{}", stopped.err);
    assert!(stopped.err.contains("Custom fields limit reached") && stopped.err.contains("admin users"), "{}", stopped.err);
    assert!(stopped.err.contains("made so far: person field `One`"), "{}", stopped.err);
    assert!(stopped.out.contains("missing"), "the table shows what is left: {}", stopped.out);

    // A lost answer: the field is there, and nobody knows.
    let next = FaultMatch { method: Some(Method::Post), times: 1, ..FaultMatch::default() };
    account.mock.fail_matching(next, Fault::Cut { committed: true });
    let stopped = folder.run(&["fields", "ensure", "--apply"]).await;
    found(&stopped);
    assert!(stopped.err.contains("whether it was made is not known"), "{}", stopped.err);
    folder.run(&["fields", "ensure", "--apply"]).await.ok();
    let names: Vec<_> = custom(&account, "person").iter().map(|field| field["field_name"].clone()).collect();
    assert_eq!(names, ["One", "Two", "Segment User ID"], "each once");
}

const TWO: &str = "  { name = \"One\", type = \"text\" },\n  { name = \"Two\", type = \"text\" },\n  \
                   { name = \"Segment User ID\", type = \"varchar\" },";

/// The first command has made the second of those fields, and does not hear of it.
async fn held(folder: &Folder, account: &Served) -> (Hold, Process) {
    let hold = Hold::new();
    let second = FaultMatch { method: Some(Method::Post), skip: 1, times: 1, ..FaultMatch::default() };
    account.mock.fail_matching(second, Fault::HoldAnswer(hold.clone()));
    let first = folder.start(&["fields", "ensure", "--apply"], "made the person field `One`").await;
    hold.reached().await;
    (hold, first)
}

fn names(account: &Served) -> Vec<Value> {
    custom(account, "person").iter().map(|field| field["field_name"].clone()).collect()
}

#[tokio::test]
async fn a_second_command_in_the_folder_waits_for_the_first_and_makes_nothing_again() {
    let (folder, account) = declared(TWO, Some(bare())).await;
    let (hold, mut first) = held(&folder, &account).await;
    let mut second = folder.start(&["fields", "ensure", "--apply"], "is under way in this folder; waiting for its end").await;
    hold.release();
    assert_eq!((first.ended().await, second.ended().await), (Some(0), Some(0)), "{}\n{}", first.said(), second.said());
    assert_eq!(names(&account), ["One", "Two", "Segment User ID"], "each once");
}

#[tokio::test]
async fn after_a_kill_the_schema_file_has_what_was_made_and_the_next_run_adds_the_rest() {
    let (folder, account) = declared(TWO, Some(bare())).await;
    folder.run(&["fields", "pull"]).await.ok();
    let (hold, first) = held(&folder, &account).await;
    first.kill().await;
    hold.release();
    let kept = |name: &str| folder.read("schema.json").contains(&format!("\"name\": \"{name}\""));
    assert!(kept("One") && !kept("Two"), "{}", folder.read("schema.json"));
    folder.run(&["fields", "ensure", "--apply"]).await.ok();
    assert!(kept("Two") && kept("Segment User ID"), "{}", folder.read("schema.json"));
    assert_eq!(names(&account), ["One", "Two", "Segment User ID"], "each once");
}

#[tokio::test]
async fn a_renamed_field_is_not_made_again_and_the_schema_file_gets_only_what_was_made() {
    let fields = "  { name = \"Segment User ID\", type = \"varchar\" },\n  { name = \"Plan\", type = \"enum\", options = [\"Galaxy\"] },\n  \
                  { name = \"New\", type = \"set\", options = [\"A\"] },";
    let (folder, account) = declared(fields, None).await;
    folder.run(&["fields", "pull"]).await.ok();
    let plan = account.mock.custom_key("persons", "Plan").expect("Plan");
    let rename = Request::new(Method::Patch, format!("/api/v2/personFields/{plan}")).body(json!({ "field_name": "Tariff" }));
    assert_eq!(account.mock.aside(&rename).status, 200);
    let listed = folder.run(&["fields", "ensure"]).await;
    found(&listed);
    assert!(listed.out.contains("called Tariff in Pipedrive now; options missing: Galaxy"), "{}", listed.out);

    let made = folder.run(&["fields", "ensure", "--apply"]).await.ok();
    assert!(made.contains("2 things were made, and schema.json has it: commit it"), "{made}");
    assert_eq!(account.mock.custom_key("persons", "Plan"), None, "it was not made again");
    let schema: Value = serde_json::from_str(&folder.read("schema.json")).expect("JSON");
    let of_file = |name: &str| {
        let all = schema["account"]["fields"]["person"].as_array().expect("a list");
        all.iter().find(|field| field["name"] == name).unwrap_or_else(|| panic!("no {name}")).clone()
    };
    assert_eq!(of_file("Plan")["key"], json!(plan), "the name stays pinned");
    assert!(labels(&of_file("Plan")).contains(&"Galaxy"), "{schema:#}");
    assert_eq!(labels(&of_file("New")), ["A"]);
    folder.edit("scripts/person.rhai", "phones: t?.phone,", "phones: t?.phone, \"Plan\": \"Galaxy\", \"New\": [\"A\"],");
    folder.run(&["check"]).await.ok();
    folder.run(&["check", "--live"]).await.ok();
}

#[tokio::test]
async fn a_field_that_was_deleted_in_pipedrive_gives_its_name_in_the_schema_file_to_the_new_one() {
    let (folder, account) = declared(TWO, None).await;
    folder.run(&["fields", "ensure", "--apply"]).await.ok();
    folder.run(&["fields", "pull"]).await.ok();
    // As it is when somebody has deleted the field, and made it again.
    let (key, former) = (account.mock.custom_key("persons", "One").expect("One"), "0".repeat(40));
    folder.write("schema.json", &folder.read("schema.json").replace(&key, &former));
    let done = folder.run(&["fields", "ensure", "--apply"]).await.ok();
    assert!(done.contains("schema.json lacked what the account has of it, and has it now: commit it"), "{done}");
    let file = folder.read("schema.json");
    assert!(file.contains(&key) && !file.contains(&former), "{file}");
    folder.edit("scripts/person.rhai", "phones: t?.phone,", "phones: t?.phone, \"One\": \"x\",");
    folder.run(&["check"]).await.ok();
}

#[tokio::test]
async fn the_schema_file_of_another_account_stops_it() {
    let (folder, account) = declared("  { name = \"Segment User ID\", type = \"varchar\" },", None).await;
    folder.run(&["fields", "pull"]).await.ok();
    folder.edit("schema.json", "\"company_domain\": \"acme\"", "\"company_domain\": \"globex\"");
    folder.edit("schema.json", "\"company_id\": 7011026", "\"company_id\": 17");
    let refused = folder.run(&["fields", "ensure", "--apply"]).await;
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.err.contains("is of the company `globex` (17), and this account is of `acme` (7011026)"), "{}", refused.err);
    assert!(refused.err.contains("--> schema.json:") && refused.err.contains("\"company_id\": 17"), "{}", refused.err);
    assert!(account.mock.writes().is_empty());
}

#[tokio::test]
async fn a_command_waits_at_the_burst_limit_and_says_so_and_ends_when_it_never_ends() {
    let (folder, account) = declared("  { name = \"Segment User ID\", type = \"varchar\" },", Some(bare())).await;
    let burst = Fault::TooMany { remaining: 0, reset: 1, retry_after: None };
    for method in [Method::Get, Method::Post] {
        account.mock.fail_matching(FaultMatch::next(method, "/api/v2/personFields"), burst.clone());
    }
    let made = folder.run(&["fields", "ensure", "--apply"]).await;
    assert_eq!(made.err.matches("too many requests (429); going on in 1s").count(), 2, "{}", made.err);
    made.ok();
    assert_eq!(custom(&account, "person").len(), 1, "made once");

    account.mock.fail_matching(FaultMatch::always("/api/v2/"), Fault::TooMany { remaining: 50, reset: 1, retry_after: None });
    for command in [&["fields", "list"][..], &["check", "--live"]] {
        let ended = folder.run(command).await;
        found(&ended);
        assert!(ended.err.contains("run the command again later") && !ended.err.contains("going on"), "{}", ended.err);
    }
}

#[tokio::test]
async fn check_says_that_what_is_declared_and_missing_is_to_be_made() {
    let person =
        "  { name = \"Segment User ID\", type = \"varchar\" },\n  { name = \"Plan\", type = \"enum\", options = [\"Free\"] },";
    let (folder, account) = declared(person, Some(bare())).await;
    folder.write(
        "scripts/person.rhai",
        "fn handle(event) {\n    person::upsert(#{ \"Segment User ID\": event.userId }, \
         #{ \"Plan\": \"Free\", \"Shoe Size\": 1 });\n}\n",
    );
    let checked = folder.run(&["check", "--live"]).await;
    found(&checked);
    let of = |name: &str| {
        let at = checked.err.find(&format!("`{name}`")).unwrap_or_else(|| panic!("{name}: {}", checked.err));
        checked.err[at..].split("\n\n").next().unwrap_or_default().to_owned()
    };
    for name in ["Segment User ID", "Plan"] {
        assert!(of(name).contains("rules.toml declares it: `pipewright fields ensure --apply` makes it"), "{}", checked.err);
    }
    assert!(
        of("Shoe Size").contains(
            "`pipewright fields list` shows the names, and a new field is declared in rules.toml under [pipedrive.NAME.fields]"
        ),
        "{}",
        checked.err
    );
    let ensured = folder.run(&["fields", "ensure"]).await;
    assert!(ensured.out.contains("4 missing: `pipewright fields ensure --apply` makes them, for 20 of"), "{}", ensured.out);
    drop(account);
}
