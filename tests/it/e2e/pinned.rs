//! Names of the schema file that are other names in Pipedrive by now: scripts go on, and the warning says both.

use pipewright::mock::MockOptions;
use pipewright::pipedrive::{Body, Method, Request};
use serde_json::{Value, json};

use super::harness::{Daemon, Folder};
use crate::support::account::Served;

/// Names an option, labels of three kinds, a pipeline, a stage, an activity type, and users by e-mail and by name.
const SCRIPT: &str = r#"fn handle(event) {
    let id = #{ "Segment User ID": event.userId };
    person::upsert(id, #{ name: "Ada", "Plan": "Pro", labels: ["Customer"], owner: "grace.murray@acme.com" });
    deal::create(#{ title: "D", person_id: by(id), pipeline: "Onboarding", stage: "Kickoff", labels: ["Hot"], owner: "Grace Murray" });
    lead::create(#{ title: "L", person_id: by(id), labels: ["Warm"] });
    activity::create(#{ subject: "A", type: "Meal", person_id: by(id) });
}
"#;

async fn call(at: &Served, method: Method, path: &str, body: Option<Value>) -> Value {
    let mut request = Request::new(method, path);
    request.body = body;
    let answer = at.mock.aside(&request);
    let Body::Json(mut body) = answer.body else { panic!("JSON") };
    assert!(answer.status < 300, "{path}: {body}");
    body["data"].take()
}

/// The item of a list whose `key` is `value`.
async fn item(at: &Served, path: &str, key: &str, value: &str) -> Value {
    let all = call(at, Method::Get, path, None).await;
    all.as_array().expect("a list").iter().find(|item| item[key] == value).unwrap_or_else(|| panic!("no {value}: {all}")).clone()
}

/// Gives an option another label; its id.
async fn relabel(at: &Served, field: &str, from: &str, to: &str) -> Value {
    let options = call(at, Method::Get, field, None).await["options"].take();
    let option = options.as_array().expect("a list").iter().find(|option| option["label"] == from).expect(from).clone();
    call(at, Method::Patch, &format!("{field}/options"), Some(json!([{ "id": option["id"], "label": to }]))).await;
    option["id"].clone()
}

/// A folder with the script and a schema file, whose account is renamed all over since.
async fn renamed() -> (Folder, Served, Value) {
    let at = Served::start(MockOptions::unlimited()).await;
    let folder = Folder::init().await;
    folder.use_address(at.at);
    folder.edit("rules.toml", "writes = \"off\"", "writes = \"on\"");
    folder.run(&["fields", "pull"]).await.ok();
    folder.write("scripts/person.rhai", SCRIPT);
    // No call renames users and activity types: the file is as if it had been pulled before they were renamed.
    folder.edit("schema.json", "\"grace@acme.com\"", "\"grace.murray@acme.com\"");
    folder.edit("schema.json", "\"Grace Hopper\"", "\"Grace Murray\"");
    folder.edit("schema.json", "\"Lunch\"", "\"Meal\"");
    let plan = at.mock.custom_key("persons", "Plan").expect("Plan");
    let plan_id = relabel(&at, &format!("/api/v2/personFields/{plan}"), "Pro", "Professional").await;
    let person_label = relabel(&at, "/api/v2/personFields/label_ids", "Customer", "Client").await;
    let deal_label = relabel(&at, "/api/v2/dealFields/label_ids", "Hot", "Burning").await;
    let lead_label = item(&at, "/api/v1/leadLabels", "name", "Warm").await["id"].take();
    let path = format!("/api/v1/leadLabels/{}", lead_label.as_str().expect("a uuid"));
    call(&at, Method::Patch, &path, Some(json!({ "name": "Tepid" }))).await;
    let pipeline = item(&at, "/api/v2/pipelines", "name", "Onboarding").await["id"].take();
    call(&at, Method::Patch, &format!("/api/v2/pipelines/{pipeline}"), Some(json!({ "name": "Boarding" }))).await;
    let stage = item(&at, "/api/v2/stages", "name", "Kickoff").await["id"].take();
    call(&at, Method::Patch, &format!("/api/v2/stages/{stage}"), Some(json!({ "name": "Start" }))).await;
    let ids = json!({
        "plan": plan, "plan_id": plan_id, "person_label": person_label, "deal_label": deal_label, "lead_label": lead_label,
        "pipeline": pipeline, "stage": stage,
    });
    (folder, at, ids)
}

/// What was renamed, as warnings name it: the old name, then the new.
const RENAMED: [(&str, &str, &str); 9] = [
    ("option of the person field Plan", "Pro", "Professional"),
    ("option of the person field Labels", "Customer", "Client"),
    ("option of the deal field Labels", "Hot", "Burning"),
    ("lead label", "Warm", "Tepid"),
    ("pipeline", "Onboarding", "Boarding"),
    ("stage of the pipeline Onboarding", "Kickoff", "Start"),
    ("activity type", "Meal", "Lunch"),
    ("user", "Grace Murray", "Grace Hopper"),
    ("e-mail address of the user", "grace.murray@acme.com", "grace@acme.com"),
];

/// Everything that the script names was written, by its id.
fn written(at: &Served, ids: &Value) {
    let newest = |kind: &str| at.mock.entities(kind).pop().expect(kind);
    let person = newest("persons");
    assert_eq!(person["custom_fields"][ids["plan"].as_str().expect("a key")], ids["plan_id"]);
    assert_eq!((&person["label_ids"], &person["owner_id"]), (&json!([ids["person_label"]]), &json!(2)));
    let deal = newest("deals");
    assert_eq!((&deal["pipeline_id"], &deal["stage_id"]), (&ids["pipeline"], &ids["stage"]));
    assert_eq!((&deal["label_ids"], &deal["owner_id"]), (&json!([ids["deal_label"]]), &json!(2)));
    assert_eq!(newest("leads")["label_ids"], json!([ids["lead_label"]]));
    assert_eq!(newest("activities")["type"], "lunch");
}

#[tokio::test]
async fn everything_that_scripts_name_goes_on_under_its_old_name_after_a_rename() {
    let (folder, at, ids) = renamed().await;
    let checked = folder.run(&["check", "--live"]).await;
    assert_eq!(checked.code, Some(0), "{checked:?}");
    let schema = folder.read("schema.json");
    for (what, old, new) in RENAMED {
        let says = format!("the {what} `{old}` is called `{new}` in Pipedrive now");
        let rest = checked.err.split_once(&says).unwrap_or_else(|| panic!("{says}:\n{}", checked.err)).1;
        // With its place: the line of the schema file that has the old name.
        let place = rest.split_once("--> schema.json:").expect("a place").1;
        let line: usize = place.split(':').next().and_then(|n| n.parse().ok()).expect("a line");
        let line = schema.lines().nth(line - 1).expect("that line");
        assert!(line.contains(&format!("\"{old}\"")), "{says}: {line}");
    }

    let daemon = Daemon::serve(&folder, &[]).await;
    daemon.accept("/v1/identify", &json!({ "type": "identify", "userId": "u1", "traits": {} })).await;
    daemon.done("u1", 1).await;
    let logged = daemon.process.said();
    let status: Value = folder.json(&["status"]).await;
    let status = status["delivery"]["accounts"][0]["schema"].to_string();
    for (what, old, new) in RENAMED {
        let says = format!("the {what} `{old}` is called `{new}` in Pipedrive now");
        assert!(status.contains(&says), "{status}");
        // The log names no people.
        let logs = if what.ends_with("user") { format!("the {what} that the schema file names has changed") } else { says };
        let said = logged.lines().filter(|line| line.contains(&logs) && line.contains("e-mail") == what.contains("e-mail"));
        assert_eq!(said.count(), 1, "said once: {logs}\n{logged}");
    }
    assert!(!logged.contains("@acme.com") && !logged.contains("Grace"), "{logged}");
    written(&at, &ids);
}

#[tokio::test]
async fn the_new_names_work_beside_the_old_ones_and_after_a_pull_alone() {
    let (folder, at, ids) = renamed().await;
    let mut new = SCRIPT.to_owned();
    for (_, old, now) in RENAMED {
        new = new.replacen(&format!("\"{old}\""), &format!("\"{now}\""), 1);
    }
    folder.write("scripts/person.rhai", &new);
    folder.run(&["check", "--live"]).await.ok();
    let daemon = Daemon::serve(&folder, &[]).await;
    daemon.accept("/v1/identify", &json!({ "type": "identify", "userId": "u1", "traits": {} })).await;
    daemon.done("u1", 1).await;
    written(&at, &ids);

    let pulled = folder.run(&["fields", "pull"]).await.ok();
    for (what, old, now) in RENAMED {
        assert!(pulled.contains(&format!("renamed: {what} `{old}` to `{now}`; change scripts that say `{old}`")), "{pulled}");
    }
    folder.run(&["check", "--live"]).await.ok();
    // Literals of owners, stages and options are left out with a warning, or are an error where the script says so.
    folder.write("scripts/person.rhai", SCRIPT);
    let checked = folder.run(&["check"]).await;
    assert!(checked.err.contains("scripts/person.rhai:"), "the old names are unknown now: {checked:?}");
}
