//! How webhooks are delivered: order, authorization, what counts as taken, retries, the ban, the removal.

use std::time::Duration;

use pipewright::mock::WebhookEnd;
use serde_json::{Value, json};

use super::Rig;
use crate::support::receiver::{Received, Reply};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

impl Rig {
    /// Has the person named.
    fn name(&self, name: &str) {
        self.edit("persons", &json!(1), &json!({ "name": name }));
    }

    /// Time passes; gives the names that came, with the attempt.
    async fn after(&self, time: Duration) -> Vec<(String, u64)> {
        self.mock().advance(time);
        self.names().await
    }

    async fn names(&self) -> Vec<(String, u64)> {
        self.received().await.iter().map(name_and_attempt).collect()
    }

    /// How the log says that the webhooks since the last look ended.
    async fn ends(&self) -> Vec<WebhookEnd> {
        self.settled().await;
        let ends = self.mock().webhook_log().iter().map(|w| w.end).collect();
        self.mock().clear_webhook_log();
        ends
    }
}

fn name_and_attempt(received: &Received) -> (String, u64) {
    let name = received.body["data"]["name"].as_str().expect("a name").to_owned();
    (name, received.body["meta"]["attempt"].as_u64().expect("a number"))
}

fn came(name: &str, attempt: u64) -> Vec<(String, u64)> {
    vec![(name.to_owned(), attempt)]
}

#[tokio::test]
async fn events_come_in_the_order_in_which_they_happened() {
    let rig = Rig::start(["change.person"]).await;
    let expected: Vec<(String, u64)> = (0..60).map(|i| (format!("N{i}"), 1)).collect();
    for (name, _) in &expected {
        rig.name(name);
    }
    assert_eq!(rig.names().await, expected);
    let log = rig.mock().webhook_log();
    assert_eq!(log.len(), 60);
    let first = &log[0];
    assert_eq!((first.name().as_str(), first.id.as_str(), first.subscription), ("change.person", "1", 1));
    assert_eq!((first.status, first.end, first.attempt, first.is_taken()), (Some(200), WebhookEnd::Answered, 1, true));
    assert_eq!(first.body["data"]["name"], "N0");
}

#[tokio::test]
async fn a_user_and_password_travel_as_basic_authorization() {
    let rig = Rig::silent().await;
    for (event, more) in [
        ("change.person", json!({})),
        ("*.person", json!({ "http_auth_user": "in", "http_auth_password": "s3cret" })),
        ("change.*", json!({ "http_auth_user": "in" })),
    ] {
        rig.subscribe(event, more).await;
    }
    rig.name("A");
    let mut all = rig.received().await;
    all.sort_by(|a, b| a.path.cmp(&b.path));
    let header = |i: usize, name: &str| all[i].headers.get(name).map(|v| v.to_str().expect("text").to_owned());
    assert_eq!(all.iter().map(|r| r.path.as_str()).collect::<Vec<_>>(), ["/*.person", "/change.*", "/change.person"]);
    assert_eq!(header(0, "authorization").as_deref(), Some("Basic aW46czNjcmV0"));
    assert_eq!(header(1, "authorization").as_deref(), Some("Basic aW46"));
    assert_eq!(header(2, "authorization"), None);
    assert_eq!(header(0, "content-type").as_deref(), Some("application/json"));
    let (one, other) = (&all[0].body["meta"], &all[2].body["meta"]);
    assert_eq!(one["id"], other["id"], "one event, whoever is told");
    assert!(one["webhook_id"] != other["webhook_id"]);
}

#[tokio::test]
async fn what_is_not_taken_comes_again_after_3_30_and_150_seconds() {
    let rig = Rig::start(["change.person"]).await;
    rig.receiver.always(Reply::Status(503));
    rig.name("A");
    let first = rig.received().await.remove(0);
    let shown = &rig.subscriptions()[0];
    assert_eq!((&shown["last_http_status"], &shown["last_delivery_time"]), (&json!(503), &json!("2026-03-01T12:00:00.000Z")));
    for (wait, attempt) in [(3, 2), (30, 3), (150, 4)] {
        assert_eq!(rig.after(SECOND * (wait - 1)).await, [], "not before its time");
        rig.mock().advance(SECOND);
        let again = rig.received().await.remove(0);
        assert_eq!(name_and_attempt(&again), ("A".to_owned(), attempt));
        assert_eq!(again.body["meta"]["id"], first.body["meta"]["id"]);
        assert_eq!(again.body["meta"]["timestamp"], first.body["meta"]["timestamp"]);
    }
    assert_eq!(rig.after(MINUTE * 10).await, [], "four attempts and no more");
    assert_eq!(rig.mock().webhooks_waiting(), 0);
    assert_eq!(rig.subscriptions()[0]["last_delivery_time"], "2026-03-01T12:03:03.000Z");
}

#[tokio::test]
async fn what_is_tried_again_does_not_hold_up_what_came_later() {
    let rig = Rig::start(["change.person"]).await;
    rig.receiver.next([Reply::Status(500)]);
    rig.name("A");
    rig.name("B");
    assert_eq!(rig.names().await, [("A".to_owned(), 1), ("B".to_owned(), 1)]);
    assert_eq!(rig.mock().webhooks_waiting(), 1);
    assert_eq!(rig.after(SECOND * 3).await, came("A", 2));
    assert_eq!(rig.after(MINUTE).await, []);
}

#[tokio::test]
async fn any_2xx_is_taken_and_nothing_else() {
    let rig = Rig::start(["change.person"]).await;
    let elsewhere = rig.receiver.url("/elsewhere");
    for (reply, taken) in [
        (Reply::Status(201), true),
        (Reply::Status(204), true),
        (Reply::Status(299), true),
        (Reply::Redirect(elsewhere), false),
        (Reply::Status(304), false),
        (Reply::Status(410), false),
    ] {
        rig.receiver.next([reply.clone()]);
        rig.name(&format!("{reply:?}"));
        let all = rig.received().await;
        assert_eq!(all.len(), 1, "no redirect is followed: {all:?}");
        assert_eq!(rig.after(SECOND * 3).await.len(), usize::from(!taken), "{reply:?}");
    }
}

#[tokio::test]
async fn who_does_not_answer_in_time_or_at_all_is_tried_again_and_delays_nobody_else() {
    let rig = Rig::start(["change.person"]).await;
    rig.mock().set_webhook_patience(Duration::from_millis(50));
    let (closed, at) = crate::support::loopback().await;
    drop(closed);
    let nobody = json!({ "subscription_url": format!("http://{at}/") });
    rig.subscribe("*.person", nobody).await;
    rig.receiver.next([Reply::Silence]);
    rig.name("A");
    assert_eq!(rig.names().await, came("A", 1));
    assert_eq!(rig.ends().await, [WebhookEnd::NoAnswer, WebhookEnd::NoAnswer]);
    assert!(rig.subscriptions().iter().all(|s| s["last_http_status"].is_null() && s["last_delivery_time"].is_string()));
    assert_eq!(rig.after(SECOND * 3).await, came("A", 2));
    assert_eq!(rig.mock().webhooks_waiting(), 1, "the one that nobody hears");
}

#[tokio::test]
async fn ten_first_attempts_that_fail_are_a_ban_in_which_events_are_lost() {
    let rig = Rig::start(["change.person", "*.note"]).await;
    rig.receiver.always(Reply::Status(500));
    for i in 1..=9 {
        rig.name(&format!("N{i}"));
    }
    assert_eq!(rig.names().await.len(), 9);
    assert_eq!(rig.after(SECOND * 3).await.len(), 9, "retries do not count");
    rig.receiver.next([Reply::Status(200)]);
    rig.name("taken");
    assert_eq!(rig.names().await, came("taken", 1));
    rig.mock().clear_webhook_log();
    rig.name("N10");
    rig.name("lost");
    assert_eq!(rig.names().await, came("N10", 1), "the counter goes back by a ban only");
    let ends = rig.ends().await;
    assert_eq!(ends[0], WebhookEnd::Answered);
    assert_eq!(ends[1..], [WebhookEnd::Lost; 11], "nothing is kept for after the ban");

    rig.mock().advance(MINUTE * 29);
    rig.name("lost too");
    assert_eq!(rig.names().await, []);
    assert_eq!(rig.ends().await, [WebhookEnd::Lost]);
    rig.receiver.always(Reply::Status(200));
    assert_eq!(rig.after(MINUTE).await, []);
    rig.name("heard");
    assert_eq!(rig.names().await, came("heard", 1));
    assert_eq!(rig.subscriptions()[0]["is_active"], 1, "a ban is no end");
}

#[tokio::test]
async fn three_days_without_success_end_a_subscription() {
    let rig = Rig::start(["change.person"]).await;
    rig.receiver.next([Reply::Status(500)]);
    rig.name("A");
    rig.settled().await;
    assert_eq!(rig.after(SECOND * 3).await.len(), 2, "taken at last");
    rig.mock().advance(DAY * 4);
    rig.receiver.always(Reply::Status(500));
    rig.name("B");
    rig.received().await;
    assert_eq!(rig.subscriptions()[0]["is_active"], 1, "the days of silence do not count");
    assert_eq!(rig.after(DAY * 3 - SECOND).await, came("B", 2));
    assert_eq!(rig.subscriptions()[0]["is_active"], 1);
    rig.name("C");
    rig.received().await;
    rig.mock().clear_webhook_log();
    rig.mock().advance(SECOND);
    rig.name("D");
    assert_eq!(rig.names().await, came("D", 1));
    let shown = &rig.subscriptions()[0];
    assert_eq!((&shown["is_active"], &shown["last_http_status"]), (&json!(0), &json!(500)));
    assert_eq!(shown["remove_time"], shown["last_delivery_time"]);
    assert!(shown["remove_reason"].is_string() && shown["remove_time"] != Value::Null, "{shown}");
    assert_eq!(rig.ends().await, [WebhookEnd::Answered, WebhookEnd::Lost, WebhookEnd::Lost]);

    rig.receiver.always(Reply::Status(200));
    rig.name("E");
    assert_eq!(rig.after(DAY).await, []);
    assert_eq!(rig.mock().webhooks_waiting(), 0);
}
