//! Lists and values with parts: Pipedrive replaces them whole, so what is there is looked at before.

use pipewright::pipedrive::Method;
use serde_json::{Value, json};

use super::harness::{Rig, Setup};

const SCRIPT: &str = r#"
fn handle(event) {
    let t = event.traits;
    person::upsert(#{ "Segment User ID": event.userId },
                   #{ name: "Ada", emails: t?.email, "Billing address": t?.address, "Interests": add(t?.interest) });
}
"#;

async fn start(more: &str) -> Rig {
    let rig = Setup::new().rule_with("person", "type = \"identify\"", SCRIPT, more).start().await;
    rig.run("u1", json!({ "email": "a@x.io", "address": "Main St 1", "interest": "Reporting" })).await;
    let id = &rig.person("u1")["id"];
    let there = json!({ "emails": [{ "value": "a@x.io", "primary": true }, { "value": "by@hand.io", "primary": false }] });
    rig.mock.edit("persons", id, there.as_object().expect("a map").clone());
    rig.mock.clear_log();
    rig
}

fn emails(rig: &Rig) -> Vec<Value> {
    rig.person("u1")["emails"].as_array().expect("a list").iter().map(|e| e["value"].clone()).collect()
}

#[tokio::test]
async fn what_is_there_is_read_before_a_list_or_a_value_with_parts_is_replaced() {
    let rig = start("").await;
    rig.run("u1", json!({ "email": "b@x.io" })).await;
    assert_eq!(emails(&rig), ["a@x.io", "by@hand.io", "b@x.io"]);
    assert_eq!(rig.calls(Method::Get, "/persons/").len(), 1);
    let row = rig.run("u1", json!({ "address": "Side St 2" })).await;
    assert_eq!(rig.calls(Method::Get, "/persons/").len(), 2);
    // So the record can say what it replaced.
    let change = &rig.record(&row.id).await["steps"][0]["changes"][0];
    assert_eq!((&change["before"]["value"], &change["after"]["value"]), (&json!("Main St 1"), &json!("Side St 2")));
    // A single value needs no look.
    rig.run("u1", json!({ "interest": "Analytics" })).await;
    let reads = rig.calls(Method::Get, "/persons/").len();
    rig.edit("person", &SCRIPT.replace("\"Ada\"", "\"Grace\"")).await;
    rig.run("u1", json!({})).await;
    assert_eq!((rig.calls(Method::Get, "/persons/").len(), reads), (3, 3));
    assert_eq!(rig.person("u1")["name"], "Grace");
}

#[tokio::test]
async fn within_reread_after_what_was_written_last_is_trusted() {
    let rig = start("reread_after = \"1h\"").await;
    rig.run("u1", json!({ "email": "b@x.io" })).await;
    rig.run("u1", json!({ "address": "Side St 2" })).await;
    assert!(rig.calls(Method::Get, "/persons/").is_empty());
    // The price, which rules.toml names: what a person added within the hour is gone.
    assert_eq!(emails(&rig), ["a@x.io", "b@x.io"]);
}
