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
    let tried = folder.run(&["try", "event.json"]).await.ok();
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

/// The page of the code shows exactly this.
fn held_to_its_page(said: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/errors/PW303.md");
    let page = std::fs::read_to_string(&path).expect("the page");
    let block = page.split("```console\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    let said: String = said.lines().map(|line| format!("{}\n", line.trim_end())).collect();
    let now = format!("$ pipewright check --live\n{said}");
    if std::env::var_os("PIPEWRIGHT_WRITE_DOCS").is_some() {
        std::fs::write(&path, page.replacen(block, &now, 1)).expect("written");
    } else {
        assert_eq!(block, now, "set PIPEWRIGHT_WRITE_DOCS=1 to write it");
    }
}

#[tokio::test]
async fn a_field_renamed_in_pipedrive_warns_and_goes_on_and_a_deleted_one_is_an_error() {
    let (folder, _account, at) = pulled().await;
    let plan = key(at, "Plan").await;
    rename(at, &plan, "Tariff").await;
    let checked = folder.run(&["check", "--live"]).await;
    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert!(checked.err.contains("person field `Plan` is called `Tariff` in Pipedrive now"), "{}", checked.err);
    held_to_its_page(&checked.err);

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

#[tokio::test]
async fn what_the_account_has_beyond_its_file_is_counted_at_the_file_with_what_to_do() {
    let (folder, _account, at) = pulled().await;
    let body = json!({ "field_name": "Newer", "field_type": "text" }).to_string();
    assert_eq!(request(at.0, "POST", "/api/v2/personFields", &HEADERS, body).await.status, 200);
    let plan = key(at, "Plan").await;
    let path = format!("/api/v2/personFields/{plan}/options");
    assert_eq!(request(at.0, "POST", &path, &HEADERS, json!([{ "label": "Galaxy" }]).to_string()).await.status, 200);
    let checked = folder.run(&["check", "--live"]).await;
    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert!(
        checked.err.contains("warning[PW303]: schema.json is older than the account, which has 2 things more"),
        "{}",
        checked.err
    );
    assert!(checked.err.contains("--> schema.json:") && checked.err.contains("run `pipewright fields pull`"), "{}", checked.err);
    assert!(checked.err.contains("option of the person field Plan `Galaxy`"), "{}", checked.err);
    assert!(checked.err.contains("person field `Newer`"), "{}", checked.err);

    // Without the account the file is all there is, and the message says that it may be behind.
    folder.edit("scripts/person.rhai", "\"Plan\": t?.tariff,", "\"Plan\": t?.tariff, \"Newer\": \"x\",");
    let refused = folder.run(&["check"]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(
        refused.err.contains("scripts/person.rhai:") && refused.err.contains("persons have no field `Newer`"),
        "{}",
        refused.err
    );
    assert!(refused.err.contains("names were checked against schema.json; `pipewright fields pull`"), "{}", refused.err);
    let refused: Value = folder.json(&["check"]).await;
    assert!(refused.to_string().contains("names were checked against schema.json"), "{refused:#}");
    folder.run(&["check", "--live"]).await.ok();
}

#[tokio::test]
async fn what_the_file_has_and_the_account_has_not_is_said_at_its_line() {
    let (folder, _account, at) = pulled().await;
    let plan = key(at, "Plan").await;
    let field = at.data(&format!("/api/v2/personFields/{plan}")).await;
    let id = &field["options"][0]["id"];
    let gone = json!([{ "id": id }]).to_string();
    assert_eq!(request(at.0, "DELETE", &format!("/api/v2/personFields/{plan}/options"), &HEADERS, gone).await.status, 200);
    let hotline = key(at, "Hotline").await;
    assert_eq!(request(at.0, "DELETE", &format!("/api/v2/personFields/{hotline}"), &HEADERS, "").await.status, 200);
    let checked = folder.run(&["check", "--live"]).await;
    assert_eq!(checked.code, Some(0), "no script names them: {checked:?}");
    let schema = folder.read("schema.json");
    for (says, line) in [
        ("the option of the person field Plan `Free` is no longer in Pipedrive", "\"label\": \"Free\""),
        ("the person field `Hotline` is no longer in Pipedrive", "\"name\": \"Hotline\""),
    ] {
        let rest = checked.err.split_once(says).unwrap_or_else(|| panic!("{says}: {}", checked.err)).1;
        let number = rest.split_once("--> schema.json:").expect("a place").1.split(':').next().expect("a line");
        let number: usize = number.parse().expect("a number");
        assert_eq!(schema.lines().nth(number - 1).map(|l| l.trim().trim_end_matches(',')), Some(line), "{}", checked.err);
    }
    assert!(checked.err.contains("make it there again or take it out of the scripts"), "{}", checked.err);
}

#[tokio::test]
async fn a_schema_file_of_another_form_says_which_version_wrote_it_and_what_to_do() {
    let folder = Folder::init().await;
    // Its keys are not those of this form: the form is what the message is about.
    folder.write("schema.json", "{\n  \"schema\": 0,\n  \"fields\": []\n}\n");
    let refused = folder.run(&["check"]).await;
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.err.contains("schema.json has the form 0, and this version reads 1: an earlier version"), "{}", refused.err);
    assert!(refused.err.contains("--> schema.json:2:3") && refused.err.contains("`pipewright fields pull`"), "{}", refused.err);
    folder.write("schema.json", "{\n  \"schema\": 2,\n  \"account\": { \"planets\": [] }\n}\n");
    let refused = folder.run(&["check"]).await;
    assert!(
        refused.err.contains("this version reads 1: a later version") && refused.err.contains("use that version"),
        "{}",
        refused.err
    );
}

#[tokio::test]
async fn the_schema_file_of_another_account_pins_nothing_and_is_named_everywhere() {
    let (folder, account, at) = pulled().await;
    let text = folder.read("schema.json");
    let foreign = text.replace("\"company_id\": 7011026", "\"company_id\": 17").replace("\"acme\"", "\"globex\"");
    // Its numbers are another company's: what they were called there must not be looked up here.
    let foreign = foreign.replace("\"Kickoff\"", "\"Qualified lead\"").replace("\"name\": \"Plan\"", "\"name\": \"Tariff\"");
    folder.write("schema.json", &foreign);
    let says = "the schema file is of the company `globex` (17), and this account is of `acme` (7011026): the file is not used";
    let checked = folder.run(&["check", "--live"]).await;
    assert_eq!(checked.code, Some(2), "{checked:?}");
    assert!(checked.err.contains(says) && checked.err.contains("--> schema.json:"), "{}", checked.err);
    assert!(checked.err.contains("\"company_id\": 17") && checked.err.contains("pipewright fields pull"), "{}", checked.err);

    let daemon = Daemon::serve(&folder, &[]).await;
    let event = json!({ "type": "identify", "userId": "u1", "traits": { "name": "Ada", "tariff": "Pro" } });
    daemon.accept("/v1/identify", &event).await;
    daemon.done("u1", 1).await;
    let plan = key(at, "Plan").await;
    assert!(at.person("u1").await["custom_fields"][&plan].is_number(), "the account's own name holds");
    assert_eq!(daemon.process.said().matches(says).count(), 1, "{}", daemon.process.said());
    let status: Value = folder.json(&["status"]).await;
    assert!(status["delivery"]["accounts"][0]["schema"][0].as_str().is_some_and(|said| said.contains(says)), "{status:#}");

    let pulled = folder.run(&["fields", "pull"]).await.ok();
    assert!(
        pulled.contains("another account: the file was of the company `globex` (17), and is of `acme` (7011026) now"),
        "{pulled}"
    );
    folder.run(&["check", "--live"]).await.ok();

    // Offline the domain tells.
    drop(daemon);
    account.kill().await;
    folder.write("schema.json", &text);
    folder.edit("rules.toml", &format!("base_url = \"http://{}\"", at.0), "domain = \"initech\"");
    let checked = folder.run(&["check"]).await;
    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert!(checked.err.contains("schema.json is of the company `acme`, and [pipedrive.main] is `initech`"), "{}", checked.err);
    assert!(checked.err.contains("--> schema.json:") && checked.err.contains("company_domain"), "{}", checked.err);
}

#[tokio::test]
async fn fields_are_listed_from_the_schema_file_where_the_account_cannot_be_asked() {
    let (folder, account, _) = pulled().await;
    let missing = Folder::init().await;
    let refused = missing.run(&["fields", "list", "--offline"]).await;
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.err.contains("there is no schema.json; `pipewright fields pull` writes it"), "{}", refused.err);

    // Told apart from the account by a name that only the file has.
    folder.edit("schema.json", "\"name\": \"Plan\"", "\"name\": \"Tariff\"");
    let asked = folder.run(&["fields", "list", "--kind", "person"]).await;
    assert!(asked.err.contains("read from the account main") && asked.out.contains("Plan"), "{asked:?}");
    let offline = folder.run(&["fields", "list", "--offline", "--kind", "person"]).await;
    assert!(offline.err.contains("read from schema.json") && offline.out.contains("Tariff"), "{offline:?}");
    let listed: Value = folder.json(&["fields", "list", "--offline"]).await;
    assert_eq!((listed["source"].as_str(), listed["account"].as_str()), (Some("schema.json"), Some("main")));

    // A token that is refused is no account that cannot be reached.
    folder.write("token", "wrong");
    folder.edit("rules.toml", "api_token = \"env:PIPEDRIVE_API_TOKEN\"", "api_token = \"file:token\"");
    let refused = folder.run(&["fields", "list"]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.err.contains("401") && refused.out.is_empty(), "{refused:?}");
    folder.edit("rules.toml", "api_token = \"file:token\"", "api_token = \"env:NOT_SET_ANYWHERE\"");
    let unset = folder.run(&["fields", "list", "--custom"]).await;
    assert!(unset.err.contains("NOT_SET_ANYWHERE is not set") && unset.err.contains("read from schema.json"), "{unset:?}");
    assert!(unset.ok().contains("Tariff"));
    folder.edit("rules.toml", "\"env:NOT_SET_ANYWHERE\"", "\"env:PIPEDRIVE_API_TOKEN\"");
    account.kill().await;
    let down = folder.run(&["fields", "list"]).await;
    assert!(
        down.err.contains("warning: the account main could not be asked") && down.err.contains("read from schema.json"),
        "{down:?}"
    );
    assert!(down.ok().contains("Tariff"));
    std::fs::remove_file(folder.path().join("schema.json")).expect("there");
    assert_eq!(folder.run(&["fields", "list"]).await.code, Some(1), "and without a file it cannot be listed");
}
