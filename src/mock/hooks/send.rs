//! Sends webhooks while the mock is served, or while a daemon has it in its own process.
//!
//! Invariants: one request at a time for each subscription; no redirect is followed, nothing is repeated but by the lane's own
//! rules; a send that is broken off counts as never begun.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::lane::{Message, Verdict};
use super::{Hooks, MockWebhook, WebhookEnd};
use crate::mock::{Mock, clock};
use crate::pipedrive::plain_client;

/// What a subscription sees as the sender.
const AGENT: &str = "Pipedrive Webhooks";
/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(10);

/// Sends a mock's webhooks until `stop` turns true or its sender is gone. [`serve`](crate::mock::serve) does it by itself.
pub async fn run(mock: Arc<Mock>, mut stop: watch::Receiver<bool>) {
    let mut stirred = mock.stirred.subscribe();
    let mut clients = HashMap::new();
    let mut posts = JoinSet::new();
    loop {
        let (posts_now, due) = {
            let mut inner = mock.inner.lock();
            let now = mock.clock.now_ms();
            (inner.world.hooks.take(now), inner.world.hooks.next_retry())
        };
        for post in posts_now {
            let client = clients.entry(post.id).or_insert_with(|| client(&post.url)).clone();
            posts.spawn(carry(Sending { mock: Arc::clone(&mock), post: Some(post) }, client));
        }
        tokio::select! {
            // An error means that the sender is gone, which ends the mock as well.
            _ended = stop.wait_for(|s| *s) => return,
            _alive = stirred.changed() => {}
            Some(_ended) = posts.join_next() => {}
            () = mock.clock.reach(due) => {}
        }
    }
}

/// A client for a subscription; `None` when its URL is of no use.
fn client(url: &str) -> Option<reqwest::Client> {
    let url = reqwest::Url::parse(url).ok()?;
    plain_client(&url, CONNECT).user_agent(AGENT).build().ok()
}

/// A message with all that sending it needs.
struct Post {
    id: u64,
    message: Message,
    url: String,
    auth: Option<(String, Option<String>)>,
    body: Value,
}

/// A message on its way: given back to its lane when it is broken off.
struct Sending {
    mock: Arc<Mock>,
    post: Option<Post>,
}

impl Sending {
    fn answered(mut self, status: Option<u16>) {
        let Some(post) = self.post.take() else { return };
        let now = self.mock.clock.now_ms();
        self.mock.inner.lock().world.hooks.answered(post, status, now, self.mock.keep_log);
        self.mock.stir();
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        if let Some(post) = self.post.take() {
            self.mock.inner.lock().world.hooks.broken_off(post);
        }
    }
}

async fn carry(sending: Sending, client: Option<reqwest::Client>) {
    let answered = match (&sending.post, client) {
        (Some(post), Some(client)) => {
            let patience = sending.mock.webhook_patience();
            tokio::time::timeout(patience, status(&client, post)).await.ok().flatten()
        }
        _ => None,
    };
    sending.answered(answered);
}

/// The status of the answer; `None` when there is none.
async fn status(client: &reqwest::Client, post: &Post) -> Option<u16> {
    let mut request = client.post(&post.url).json(&post.body);
    if let Some((user, password)) = &post.auth {
        request = request.basic_auth(user, password.as_deref());
    }
    let mut response = request.send().await.ok()?;
    let status = response.status().as_u16();
    // Read to its end, so that the connection can be used again.
    while let Ok(Some(_)) = response.chunk().await {}
    Some(status)
}

impl Hooks {
    /// What can be sent now, at most one message of each subscription.
    fn take(&mut self, now: i64) -> Vec<Post> {
        if self.control.is_held() {
            return Vec::new();
        }
        let mut posts = Vec::new();
        for (id, subscription) in &mut self.subscriptions {
            let Some(message) = subscription.lane.take(now) else { continue };
            let text = |key: &str| subscription.text(key).map(str::to_owned);
            posts.push(Post {
                id: *id,
                url: text("subscription_url").unwrap_or_default(),
                auth: text("http_auth_user").map(|user| (user, text("http_auth_password"))),
                body: message.event.body(*id, subscription, message.attempt),
                message,
            });
        }
        posts
    }

    /// When the next attempt after a failure is due.
    fn next_retry(&self) -> Option<i64> {
        if self.control.is_held() {
            return None;
        }
        self.subscriptions.values().filter(|s| !s.lane.is_busy()).filter_map(|s| s.lane.next_retry()).min()
    }

    fn broken_off(&mut self, post: Post) {
        if let Some(subscription) = self.subscriptions.get_mut(&post.id) {
            subscription.lane.give_back(post.message);
        }
    }

    fn answered(&mut self, post: Post, status: Option<u16>, now: i64, keep: usize) {
        let Post { id, message, body, .. } = post;
        let event = Arc::clone(&message.event);
        let attempt = message.attempt;
        let sent = MockWebhook {
            attempt,
            status,
            end: if status.is_some() { WebhookEnd::Answered } else { WebhookEnd::NoAnswer },
            body,
            ..MockWebhook::unsent(id, &event, WebhookEnd::Answered, now)
        };
        let taken = sent.is_taken();
        self.log.push(sent, keep);
        // It may have been deleted meanwhile.
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
        let time = Value::from(clock::lead_time(now));
        subscription.shown.insert("last_delivery_time".to_owned(), time.clone());
        subscription.shown.insert("last_http_status".to_owned(), status.into());
        if taken {
            subscription.lane.succeeded();
            return;
        }
        let lost = match subscription.lane.failed(message, now) {
            Verdict::GoesOn => return,
            Verdict::Banned => subscription.lane.clear(),
            Verdict::Removed => {
                subscription.shown.insert("is_active".to_owned(), 0.into());
                subscription.shown.insert("remove_time".to_owned(), time);
                subscription.shown.insert("remove_reason".to_owned(), "No successful deliveries on 3 consecutive days".into());
                subscription.lane.clear()
            }
        };
        for message in lost {
            self.log.push(MockWebhook::unsent(id, &message.event, WebhookEnd::Lost, now), keep);
        }
    }
}
