//! The embedded account tells of what a daemon writes there, and of what people edit.

use pipewright::pipedrive::Method;
use serde_json::json;

use super::harness::{PERSON, Setup};
use crate::support::in_time;
use crate::support::receiver::Receiver;

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
