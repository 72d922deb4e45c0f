//! The schema file: pulled once, worked from offline, and what holds when Pipedrive is changed behind it.

use serde_json::{Value, json};

use super::harness::{Account, Daemon, Folder, Process, run};
use crate::support::{request, wait_until};

const HEADERS: [(&str, &str); 2] = [("x-api-token", "mock"), ("content-type", "application/json")];

/// A folder whose rules.toml names a running account, with its schema file pulled, and a script that sets the field Plan.
async fn pulled() -> (Folder, Process, Account) {
    let account = Process::account(&[]).await;
    let folder = Folder::init().await;
    folder.use_account(&account);
    folder.edit("scripts/person.rhai", "phones: t?.phone,", "phones: t?.phone, \"Plan\": t?.tariff,");
    let said = folder.run(&["fields", "pull"]).await.ok();
    assert!(said.contains("schema.json written: ") && said.contains("no records"), "{said}");
    let at = Account(account.address("embedded Pipedrive on "));
    (folder, account, at)
}

async fn key(at: Account, name: &str) -> String {
    let fields = at.list("/api/v2/personFields?limit=500").await;
    let field = fields.into_iter().find(|f| f["field_name"] == name).expect(name);
    field["field_code"].as_str().expect("a key").to_owned()
}

async fn rename(at: Account, key: &str, name: &str) {
    let path = format!("/api/v2/personFields/{key}");
    let reply = request(at.0, "PATCH", &path, &HEADERS, json!({ "field_name": name }).to_string()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}

#[tokio::test]
async fn the_pulled_file_is_stable_and_takes_the_accounts_place_offline() {
    let (folder, account, at) = pulled().await;
    let text = folder.read("schema.json");
    assert!(!text.contains("hank@globex.example") && !text.contains("Globex"), "it holds no records");
    let again = folder.run(&["fields", "pull"]).await.ok();
    assert!(again.contains("is up to date"), "{again}");
    let plan = key(at, "Plan").await;
    account.kill().await;

    let checked = folder.run(&["check"]).await.ok();
    assert!(checked.contains("names checked against main, by the schema file"), "{checked}");
    folder.edit("scripts/person.rhai", "\"Plan\": t?.tariff", "\"Paln\": t?.tariff");
    let refused = folder.run(&["check"]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.err.contains("scripts/person.rhai:") && refused.err.contains("did you mean `Plan`?"), "{}", refused.err);
    assert!(refused.err.contains("`pipewright fields pull`"), "{}", refused.err);
    folder.edit("scripts/person.rhai", "\"Paln\": t?.tariff", "\"Plan\": t?.tariff");

    // Another key and name than the account that mocks start with: what answers is the file's account.
    let other = "0123456789abcdef0123456789abcdef01234567";
    folder.write("schema.json", &text.replace(&plan, other).replace("\"name\": \"Plan\"", "\"name\": \"Tariff\""));
    folder.edit("scripts/person.rhai", "\"Plan\": t?.tariff", "\"Tariff\": t?.tariff");
    folder.write("event.json", &json!({ "type": "identify", "userId": "u1", "traits": { "tariff": "Pro" } }).to_string());
    let tried = folder.run(&["try", "event.json", "--mock"]).await.ok();
    assert!(tried.contains(other), "{tried}");
    let daemon = Daemon::mocked(&folder).await;
    let event = json!({ "type": "identify", "userId": "u1", "traits": { "name": "Ada", "tariff": "Pro" } });
    daemon.accept("/v1/identify", &event).await;
    daemon.done("u1", 1).await;
    assert!(daemon.account().person("u1").await["custom_fields"][other].is_number());
    let test = "fn test_plan() {\n    deliver(#{ type: \"identify\", userId: \"u1\", traits: #{ tariff: \"Pro\" } });\n    \
                assert_eq(person::find(#{ \"Segment User ID\": \"u1\" })[\"Tariff\"], \"Pro\");\n}\n";
    folder.write("scripts/tests/tariff_test.rhai", test);
    folder.run(&["test", "--filter", "tariff_test"]).await.ok();
}

#[tokio::test]
async fn a_field_renamed_in_pipedrive_warns_and_goes_on_and_a_deleted_one_is_an_error() {
    let (folder, _account, at) = pulled().await;
    let plan = key(at, "Plan").await;
    rename(at, &plan, "Tariff").await;
    let checked = folder.run(&["check", "--live"]).await;
    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert!(checked.err.contains("person field `Plan` is called `Tariff` in Pipedrive now"), "{}", checked.err);

    let daemon = Daemon::serve(&folder, &[]).await;
    let event = json!({ "type": "identify", "userId": "u1", "traits": { "name": "Ada", "tariff": "Pro" } });
    daemon.accept("/v1/identify", &event).await;
    daemon.done("u1", 1).await;
    assert!(at.person("u1").await["custom_fields"][&plan].is_number(), "the old name still means its key");
    let status: Value = folder.json(&["status"]).await;
    let said = status["delivery"]["accounts"][0]["schema"][0].as_str().unwrap_or_default();
    assert!(said.contains("`Plan` is called `Tariff`") && said.contains("fields pull"), "{status:#}");
    let logged = daemon.process.said();
    assert_eq!(logged.matches("`Plan` is called `Tariff`").count(), 1, "said once:\n{logged}");

    // The new name works too, and after a pull it is the only one.
    folder.edit("scripts/person.rhai", "\"Plan\": t?.tariff", "\"Tariff\": t?.tariff");
    folder.run(&["check", "--live"]).await.ok();
    let pulled = folder.run(&["fields", "pull"]).await.ok();
    assert!(pulled.contains("renamed: person field `Plan` to `Tariff`"), "{pulled}");
    wait_until("the daemon has the new file", || async {
        let status: Value = folder.json(&["status"]).await;
        status["delivery"]["accounts"][0]["schema"].is_null().then_some(())
    })
    .await;

    let path = format!("/api/v2/personFields/{plan}");
    assert_eq!(request(at.0, "DELETE", &path, &HEADERS, "").await.status, 200);
    let checked = folder.run(&["check", "--live"]).await;
    assert_eq!(checked.code, Some(1), "{checked:?}");
    assert!(checked.err.contains("scripts/person.rhai:"), "{}", checked.err);
    assert!(checked.err.contains("person field `Tariff` is no longer in Pipedrive"), "{}", checked.err);
}

#[tokio::test]
async fn a_schema_file_that_cannot_be_used_is_refused_with_its_place() {
    let folder = Folder::init().await;
    folder.write("schema.json", "{\n  \"schema\": 1,\n  \"account\": {,\n}\n");
    let refused = folder.run(&["check"]).await;
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.err.contains("--> schema.json:3:15") && refused.err.contains('^'), "{}", refused.err);
    let path = folder.path().join("schema.json");
    let refused = run(&["mock", "--schema", path.to_str().expect("UTF-8"), "--listen", "127.0.0.1:0"]).await;
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.err.contains("schema.json:3:15"), "{}", refused.err);

    std::fs::remove_file(&path).expect("there");
    folder.write("schema.mian.json", "{}");
    let refused = folder.run(&["check"]).await;
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.err.contains("did you mean `schema.main.json`?"), "{}", refused.err);
}
