//! What tests can have done to webhooks, and that they end with the server.

use std::sync::Arc;

use pipewright::mock::{WebhookEnd, WebhookOrder, send_webhooks, serve};
use pipewright::pipedrive::Method;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::Rig;
use crate::support::receiver::Reply;
use crate::support::{get, in_time, loopback, wait_until};

impl Rig {
    /// Has persons 1 to `n` edited, each time to something else.
    fn edit_persons(&self, n: u64) {
        let times = self.mock().webhook_log().len();
        for id in 1..=n {
            self.edit("persons", &json!(id), &json!({ "job_title": format!("{id} {times}") }));
        }
    }

    /// The persons that were told of.
    async fn ids(&self) -> Vec<u64> {
        let all = self.received().await;
        all.iter().map(|r| r.body["data"]["id"].as_u64().expect("an id")).collect()
    }
}

#[tokio::test]
async fn the_next_can_be_dropped_or_sent_twice() {
    let rig = Rig::start(["change.person"]).await;
    rig.mock().drop_webhooks(2);
    rig.edit_persons(3);
    assert_eq!(rig.ids().await, [3]);
    let log = rig.mock().webhook_log();
    let ends: Vec<WebhookEnd> = log.iter().map(|w| w.end).collect();
    assert_eq!(ends, [WebhookEnd::Dropped, WebhookEnd::Dropped, WebhookEnd::Answered]);
    assert_eq!((log[0].id.as_str(), log[0].status, &log[0].body), ("1", None, &Value::Null));

    rig.mock().repeat_webhooks(1);
    rig.edit_persons(2);
    let all = rig.received().await;
    let ids: Vec<&Value> = all.iter().map(|r| &r.body["meta"]["id"]).collect();
    assert_eq!(ids.len(), 3);
    assert!(ids[0] == ids[1] && ids[1] != ids[2], "{ids:?}");
}

#[tokio::test]
async fn what_is_held_back_goes_in_the_order_that_is_asked_for() {
    let rig = Rig::start(["change.person"]).await;
    for (order, expected) in [(WebhookOrder::Kept, [1, 2, 3, 4, 5, 6]), (WebhookOrder::Reversed, [6, 5, 4, 3, 2, 1])] {
        rig.mock().hold_webhooks();
        rig.edit_persons(6);
        assert_eq!(rig.ids().await, [0; 0], "what is held is not waited for");
        assert_eq!(rig.mock().webhooks_waiting(), 6);
        rig.mock().release_webhooks(order);
        assert_eq!(rig.ids().await, expected);
    }
    let mixed = async |seed| {
        let rig = Rig::start(["change.person"]).await;
        rig.mock().hold_webhooks();
        rig.edit_persons(6);
        rig.mock().release_webhooks(WebhookOrder::Mixed(seed));
        rig.ids().await
    };
    let mut one = mixed(1).await;
    assert_eq!(one, mixed(1).await);
    assert!(one != mixed(2).await && one != [1, 2, 3, 4, 5, 6], "{one:?}");
    one.sort_unstable();
    assert_eq!(one, [1, 2, 3, 4, 5, 6]);
}

#[tokio::test]
async fn what_waits_for_a_subscription_ends_with_it() {
    let rig = Rig::start(["change.person"]).await;
    let id = rig.subscriptions()[0]["id"].clone();
    rig.mock().hold_webhooks();
    rig.edit_persons(2);
    rig.done(Method::Delete, &format!("/v1/webhooks/{id}"), json!({})).await;
    rig.mock().release_webhooks(WebhookOrder::Kept);
    assert_eq!(rig.ids().await, [0; 0]);
}

#[tokio::test]
async fn sending_ends_with_the_server_and_begins_with_the_next_one() {
    let rig = Rig::start(["change.person"]).await;
    rig.receiver.next([Reply::Silence]);
    rig.edit_persons(1);
    let receiver = &rig.receiver;
    wait_until("it is on its way", async || (receiver.count() == 1).then_some(())).await;
    let mock = Arc::clone(&rig.served.mock);
    let Rig { served, receiver } = rig;
    in_time("the server ends", served.stop()).await;
    assert_eq!(mock.webhook_log(), [], "broken off, so it does not count");
    assert_eq!(mock.edit("persons", 2, super::object(&json!({ "job_title": "2" }))).status, 200);
    assert_eq!(receiver.take().len(), 1);

    let (listener, _) = loopback().await;
    let (stop, stopped) = watch::channel(false);
    let serving = tokio::spawn(serve(listener, Arc::clone(&mock), stopped));
    in_time("the webhooks are answered", mock.webhooks_settled()).await;
    assert_eq!(receiver.told(), ["change person 1", "change person 2"]);
    stop.send_replace(true);
    in_time("the server ends", serving).await.expect("no panic");
}

#[tokio::test]
async fn a_mock_in_the_same_process_sends_without_a_server() {
    let Rig { served, receiver } = Rig::start(["change.person"]).await;
    let mock = Arc::clone(&served.mock);
    served.stop().await;
    assert_eq!(mock.edit("persons", 1, super::object(&json!({ "job_title": "1" }))).status, 200);
    let (stop, stopped) = watch::channel(false);
    let sending = tokio::spawn(send_webhooks(Arc::clone(&mock), stopped));
    in_time("the webhooks are answered", mock.webhooks_settled()).await;
    assert_eq!(receiver.told(), ["change person 1"]);
    drop(stop);
    in_time("it ends with who may stop it", sending).await.expect("no panic");
}

#[tokio::test]
async fn people_can_read_the_log_of_webhooks() {
    let rig = Rig::start(["change.person"]).await;
    rig.edit_persons(1);
    rig.settled().await;
    let log = get(rig.served.at, "/mock/webhooks").await.json();
    assert_eq!((&log[0]["action"], &log[0]["entity"], &log[0]["id"]), (&json!("change"), &json!("person"), &json!("1")));
    assert_eq!((&log[0]["status"], &log[0]["end"]), (&json!(200), &json!("answered")));
}
