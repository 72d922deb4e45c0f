//! The account tells by itself what happens in it, over real sockets: learned as it happens, whoever did it.

use pipewright::mock::MockExchange;
use pipewright::pipedrive::Method;
use serde_json::{Value, json};

use super::harness::{PERSON, Rig, Setup, pipewright};
use crate::support::receiver::Receiver;
use crate::support::{in_time, write};

const SCRIPT: &str = r#"
fn handle(event) {
    let t = event.traits;
    person::upsert([#{ "Segment User ID": event.userId }, #{ email: t?.email }], #{ name: t?.name, emails: t?.email, labels: t?.label });
}
"#;

/// A daemon whose account tells it of all changes. Nothing is listed, and the search sees nothing of what a test writes.
async fn told() -> Rig {
    let more = "write = \"differs\"\nreread_after = \"1h\"";
    let rig = Setup::new().rule_with("person", "type = \"identify\"", SCRIPT, more).start_over_http().await;
    rig.mock.set_search_lag(std::time::Duration::from_secs(86_400));
    let url = format!("http://{}", rig.daemon().ingest_addr());
    let hooks = format!("webhooks = {{ url = \"{url}\", password = \"env:PIPEWRIGHT_TEST_UNSET\" }}");
    let rules = std::fs::read_to_string(rig.dir.path().join("rules.toml")).expect("reads");
    write(rig.dir.path(), "rules.toml", &rules.replacen("[pipedrive.main]", &format!("[pipedrive.main]\n{hooks}"), 1));
    let outcome = rig.daemon().reload().reload().await;
    assert!(matches!(outcome, pipewright::reload::ReloadOutcome::Swapped { .. }), "{outcome:?}");
    let output = pipewright(&rig, &["webhooks", "register"]).output().await.expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    rig
}

fn calls(rig: &Rig) -> Vec<String> {
    rig.mock.log().iter().map(MockExchange::call).collect()
}

async fn learned(rig: &Rig) -> u64 {
    rig.mock.webhooks_settled().await;
    rig.account_status().await.webhooks.expect("webhooks").notices.get("learned").copied().unwrap_or_default()
}

#[tokio::test]
async fn what_people_do_is_known_when_the_next_event_comes() {
    let rig = told().await;
    let bob = rig.aside("/api/v2/persons", json!({ "name": "Bob", "emails": [{ "value": "bob@acme.com" }] }))["id"].clone();
    assert_eq!(learned(&rig).await, 1);
    rig.mock.clear_log();
    rig.run("u1", json!({ "name": "Bob", "email": "bob@acme.com" })).await;
    assert!(rig.calls(Method::Get, "/persons/search").is_empty(), "{:?}", calls(&rig));
    assert_eq!(rig.person("u1")["id"], bob);

    // His address changes by hand: the new one finds him, the old one does not.
    learned(&rig).await;
    rig.mock.advance(std::time::Duration::from_secs(5));
    rig.by_hand("person", &bob, json!({ "emails": [{ "value": "bob@globex.com", "primary": true }] }));
    learned(&rig).await;
    rig.mock.clear_log();
    rig.run("u2", json!({ "name": "Other", "email": "bob@acme.com" })).await;
    assert_ne!(rig.person("u2")["id"], bob, "{:?}", calls(&rig));

    // And when it is taken away, it finds him no more.
    rig.mock.advance(std::time::Duration::from_secs(5));
    rig.by_hand("person", &bob, json!({ "emails": [] }));
    learned(&rig).await;
    rig.run("u3", json!({ "name": "Third", "email": "bob@globex.com" })).await;
    assert_ne!(rig.person("u3")["id"], bob);

    // Two that are one are told as one.
    let twin = rig.aside("/api/v2/persons", json!({ "name": "Twin" }))["id"].clone();
    let merge = pipewright::pipedrive::Request::new(Method::Put, format!("/api/v1/persons/{bob}/merge"));
    assert_eq!(rig.mock.aside(&merge.body(json!({ "merge_with_id": twin }))).status, 200);
    learned(&rig).await;
    rig.mock.clear_log();
    rig.run("u1", json!({ "name": "Bob and his twin" })).await;
    let gone = calls(&rig).iter().filter(|call| call.ends_with(&format!("/{bob}"))).count();
    assert_eq!((gone, rig.person("u1")["id"].clone()), (0, twin), "{:?}", calls(&rig));
}

#[tokio::test]
async fn our_own_changes_come_back_and_take_nothing_away() {
    let rig = told().await;
    let traits = |n: u32| json!({ "name": format!("Person {n}"), "email": format!("p{n}@acme.com"), "label": "Customer" });
    for _ in 0..2 {
        for n in 0..20 {
            rig.identify(&format!("u{n}"), traits(n)).await;
        }
    }
    rig.settled().await;
    rig.mock.webhooks_settled().await;
    rig.mock.clear_log();
    for n in 0..20 {
        rig.identify(&format!("u{n}"), traits(n)).await;
    }
    rig.settled().await;
    assert_eq!((calls(&rig), rig.mock.count("persons")), (Vec::<String>::new(), 20), "all that was seen is known still");
    let heard: Value = json!(rig.account_status().await.webhooks.expect("webhooks").notices);
    assert_eq!(heard.get("other"), None, "{heard}");
}

#[tokio::test]
async fn what_the_daemon_writes_is_told_as_the_tokens_and_what_people_edit_as_theirs() {
    let rig = Setup::person(PERSON).start().await;
    let receiver = Receiver::start().await;
    let body = json!({ "subscription_url": receiver.url("/"), "event_action": "*", "event_object": "person", "name": "us" });
    rig.aside("/v1/webhooks", body);
    rig.run("u1", json!({ "name": "Ada" })).await;
    let person = rig.person("u1")["id"].clone();
    rig.by_hand("persons", &person, json!({ "name": "Countess" }));
    in_time("the webhooks are answered", rig.mock.webhooks_settled()).await;
    let all = receiver.take();
    let by = |i: usize| (all[i].told(), all[i].body["meta"]["user_id"].clone(), all[i].body["meta"]["change_source"].clone());
    assert_eq!(by(0), (format!("create person {person}"), json!("1"), json!("api")));
    assert_eq!(by(1), (format!("change person {person}"), json!("2"), json!("app")));
    assert_eq!(rig.calls(Method::Post, "/webhooks").len(), 0);
}
