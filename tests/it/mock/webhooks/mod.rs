//! The webhooks that the mock sends, as somebody who listens on loopback gets them.

mod changes;
mod control;
mod delivery;
mod shapes;

use pipewright::mock::{ClockStart, Mock, MockOptions};
use pipewright::pipedrive::{Method, Request};
use serde_json::{Map, Value, json};

use super::done;
use crate::support::account::Served;
use crate::support::in_time;
use crate::support::receiver::{Received, Receiver};

/// A served mock whose clock stands still, and somebody who is sent its webhooks.
struct Rig {
    served: Served,
    receiver: Receiver,
}

impl Rig {
    /// Nobody is subscribed.
    async fn silent() -> Self {
        let start = ClockStart::Manual("2026-03-01T12:00:00Z".parse().expect("a time"));
        let served = Served::start(MockOptions { clock: start, ..MockOptions::unlimited() }).await;
        Self { served, receiver: Receiver::start().await }
    }

    /// Somebody is subscribed to these, each `action.object`.
    async fn start<const N: usize>(events: [&str; N]) -> Self {
        let rig = Self::silent().await;
        for event in events {
            rig.subscribe(event, json!({})).await;
        }
        rig
    }

    /// Subscribes to `action.object`; the URL's path is the same text. Gives the subscription.
    async fn subscribe(&self, event: &str, more: Value) -> Value {
        let (action, object) = event.split_once('.').expect("action.object");
        let mut body = json!({
            "subscription_url": self.receiver.url(&format!("/{event}")), "event_action": action, "event_object": object,
            "name": event,
        });
        body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        done(self.mock(), Method::Post, "/v1/webhooks", body).await
    }

    fn mock(&self) -> &Mock {
        &self.served.mock
    }

    /// A write of the token's user; gives `data`.
    async fn done(&self, method: Method, path: &str, body: Value) -> Value {
        done(self.mock(), method, path, body).await
    }

    /// A record that the token's user makes; gives it.
    async fn made(&self, path: &str, body: Value) -> Value {
        self.done(Method::Post, path, body).await
    }

    /// A change that one of the account's people makes.
    fn edit(&self, kind: &str, id: &Value, body: &Value) {
        let id = id.as_str().map_or_else(|| id.to_string(), str::to_owned);
        let answer = self.mock().edit(kind, id, object(body));
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// Waits until all is sent.
    async fn settled(&self) {
        in_time("the webhooks are answered", self.mock().webhooks_settled()).await;
    }

    /// What came, when all is sent.
    async fn received(&self) -> Vec<Received> {
        self.settled().await;
        self.receiver.take()
    }

    /// The same, as `change person 7`.
    async fn told(&self) -> Vec<String> {
        self.settled().await;
        self.receiver.told()
    }

    /// The only one that came.
    async fn body(&self) -> Value {
        let mut all = self.received().await;
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0).body
    }

    /// The subscriptions, as the API lists them.
    fn subscriptions(&self) -> Vec<Value> {
        let answer = self.mock().aside(&Request::new(Method::Get, "/v1/webhooks"));
        let (status, body) = super::json(answer);
        assert_eq!(status, 200);
        body["data"].as_array().expect("a list").clone()
    }
}

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().expect("an object").clone()
}
