//! The log of webhooks, for tests and for people.

use std::collections::VecDeque;

use serde::Serialize;
use serde_json::Value;

use super::body::Event;
use crate::mock::clock;

/// How an attempt to send a webhook ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WebhookEnd {
    /// It was answered; 2xx means that it was taken.
    Answered,
    /// No answer came.
    NoAnswer,
    /// Not sent, and never will be: the subscription was banned or removed.
    Lost,
    /// Not sent: a test has it dropped.
    Dropped,
}

/// One attempt to send one event to one subscription.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MockWebhook {
    /// When it ended, by the mock's clock.
    pub at: jiff::Timestamp,
    /// The subscription's id.
    pub subscription: u64,
    /// `meta.action`.
    pub action: &'static str,
    /// `meta.entity`.
    pub entity: &'static str,
    /// `meta.entity_id`.
    pub id: String,
    /// `meta.id`: the same for every attempt and subscription.
    pub event: uuid::Uuid,
    /// `meta.attempt`; 0 when it was not sent.
    pub attempt: u32,
    /// The answer's status.
    pub status: Option<u16>,
    /// How it ended.
    pub end: WebhookEnd,
    /// What was sent; null when nothing was.
    pub body: Value,
}

impl MockWebhook {
    /// `change.person`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}.{}", self.action, self.entity)
    }

    /// Whether it was taken.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        self.status.is_some_and(|s| (200..300).contains(&s))
    }

    pub(super) fn unsent(subscription: u64, event: &Event, end: WebhookEnd, now: i64) -> Self {
        Self {
            at: clock::timestamp(now),
            subscription,
            action: event.action,
            entity: event.entity,
            id: event.entity_id.clone(),
            event: event.id,
            attempt: 0,
            status: None,
            end,
            body: Value::Null,
        }
    }
}

/// The attempts that are kept.
#[derive(Debug, Default)]
pub(super) struct WebhookLog(VecDeque<MockWebhook>);

impl WebhookLog {
    pub(super) fn push(&mut self, sent: MockWebhook, keep: usize) {
        if keep == 0 {
            return;
        }
        while self.0.len() >= keep {
            self.0.pop_front();
        }
        self.0.push_back(sent);
    }

    pub(super) fn all(&self) -> Vec<MockWebhook> {
        self.0.iter().cloned().collect()
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
