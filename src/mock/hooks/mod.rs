//! The webhooks that the account sends: what was changed, to whom it is told, and how often that is tried.
//!
//! Invariants: without a subscription that wants a kind nothing is computed for a change of it; one request makes at most one
//! event of a record, whatever it did to it in between; a subscription gets its events in the order in which they happened and
//! one at a time (what is tried again comes in between); outgoing webhooks cost no tokens.

mod body;
mod change;
mod control;
mod lane;
mod log;
mod send;
mod shape;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

pub use change::{Author, ChangeSource};
pub(super) use change::{Subject, commit, merging, touch};
pub use control::WebhookOrder;
pub use log::{MockWebhook, WebhookEnd};
pub use send::run;

use super::table::Object;
use body::Event;
use control::Control;
use lane::Lane;
use log::WebhookLog;

/// A subscription, and what waits to be sent to it.
#[derive(Debug)]
pub(super) struct Subscription {
    /// As the API shows it.
    pub(super) shown: Object,
    lane: Lane,
}

impl Subscription {
    fn text(&self, key: &str) -> Option<&str> {
        self.shown.get(key).and_then(Value::as_str)
    }

    /// Whether it has not been removed. The old format is not sent, so those who ask for it get nothing.
    pub(super) fn is_active(&self) -> bool {
        self.shown.get("is_active") == Some(&Value::from(1))
    }

    fn wants(&self, key: &str, word: &str) -> bool {
        self.text(key).is_some_and(|wanted| wanted == "*" || wanted == word)
    }

    fn wants_kind(&self, entity: &str) -> bool {
        self.is_active() && self.text("version") == Some("2.0") && self.wants("event_object", entity)
    }

    fn wants_event(&self, event: &Event) -> bool {
        self.wants_kind(event.entity) && self.wants("event_action", event.action)
    }
}

/// All subscriptions, and the changes on their way to them.
#[derive(Debug, Default)]
pub(super) struct Hooks {
    pub(super) subscriptions: BTreeMap<u64, Subscription>,
    last_id: u64,
    /// What the request that is being carried out has changed, as it was before.
    touched: Vec<(Subject, Option<Object>)>,
    /// The merge that it carries out: what is dropped, and what is kept.
    merged: Option<(Subject, Subject)>,
    /// Events so far: seeds their ids, which are the same in every run.
    events: u64,
    control: Control,
    log: WebhookLog,
}

impl Hooks {
    /// The id of the next subscription.
    pub(super) const fn take_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    pub(super) fn subscribe(&mut self, id: u64, shown: Object) {
        self.subscriptions.insert(id, Subscription { shown, lane: Lane::default() });
    }

    /// Ends a subscription; what waited for it is never sent.
    pub(super) fn unsubscribe(&mut self, id: u64) -> bool {
        self.subscriptions.remove(&id).is_some()
    }

    fn wants_kind(&self, entity: &str) -> bool {
        self.subscriptions.values().any(|s| s.wants_kind(entity))
    }

    /// Queues an event for everyone who wants it; says whether anyone does.
    fn queue(&mut self, event: Event, now: i64, keep: usize) -> bool {
        let event = Arc::new(event);
        let mut queued = false;
        for (id, subscription) in self.subscriptions.iter_mut().filter(|(_, s)| s.wants_event(&event)) {
            let fate = if subscription.lane.is_banned(now) { Some(WebhookEnd::Lost) } else { self.control.fate() };
            if let Some(end) = fate {
                self.log.push(MockWebhook::unsent(*id, &event, end, now), keep);
                continue;
            }
            let copies = self.control.copies();
            subscription.lane.push(&event, copies);
            queued = true;
        }
        queued
    }

    /// Whether nothing is on its way and nothing could be sent now.
    fn is_settled(&self, now: i64) -> bool {
        let held = self.control.is_held();
        self.subscriptions.values().all(|s| !s.lane.is_busy() && (held || !s.lane.is_due(now)))
    }
}
