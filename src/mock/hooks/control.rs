//! What tests have done to webhooks, and what they can ask of them.

use std::time::Duration;

use serde_json::{Map, Value};

use super::lane::Message;
use super::{Author, Hooks, MockWebhook, Subject, WebhookEnd};
use crate::mock::world::ME;
use crate::mock::{Mock, directory, engine, hooks};
use crate::pipedrive::{Answer, Request};

/// The order in which webhooks that were held back are let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookOrder {
    /// As it happened.
    Kept,
    /// The newest of every subscription first.
    Reversed,
    /// Mixed, the same way for the same number.
    Mixed(u64),
}

/// What tests have set.
#[derive(Debug)]
pub(super) struct Control {
    drop: usize,
    repeat: usize,
    held: bool,
    patience: Duration,
}

impl Default for Control {
    fn default() -> Self {
        Self { drop: 0, repeat: 0, held: false, patience: Duration::from_secs(10) }
    }
}

impl Control {
    /// What becomes of the next webhook instead of being sent.
    pub(super) fn fate(&mut self) -> Option<WebhookEnd> {
        let dropped = self.drop > 0;
        self.drop = self.drop.saturating_sub(1);
        dropped.then_some(WebhookEnd::Dropped)
    }

    /// How often the next webhook is sent.
    pub(super) fn copies(&mut self) -> usize {
        let repeated = self.repeat > 0;
        self.repeat = self.repeat.saturating_sub(1);
        1 + usize::from(repeated)
    }

    pub(super) const fn is_held(&self) -> bool {
        self.held
    }
}

fn arrange(messages: &mut [Message], order: WebhookOrder) {
    match order {
        WebhookOrder::Kept => {}
        WebhookOrder::Reversed => messages.reverse(),
        WebhookOrder::Mixed(seed) => {
            messages.sort_by_cached_key(|m| uuid::Uuid::new_v5(&m.event.id, &seed.to_be_bytes()));
        }
    }
}

impl Mock {
    fn with_hooks<T>(&self, f: impl FnOnce(&mut Hooks) -> T) -> T {
        let out = f(&mut self.inner.lock().world.hooks);
        self.stir();
        out
    }

    /// Tells whoever sends webhooks, or waits for them, that there may be something new.
    pub(in crate::mock) fn stir(&self) {
        self.stirred.send_replace(());
    }

    /// Has the next webhooks dropped; each subscription's counts by itself.
    pub fn drop_webhooks(&self, next: usize) {
        self.with_hooks(|hooks| hooks.control.drop = next);
    }

    /// Has the next webhooks sent twice.
    pub fn repeat_webhooks(&self, next: usize) {
        self.with_hooks(|hooks| hooks.control.repeat = next);
    }

    /// Holds all webhooks back until [`Mock::release_webhooks`]; what is on its way already arrives.
    pub fn hold_webhooks(&self) {
        self.with_hooks(|hooks| hooks.control.held = true);
    }

    /// Lets the webhooks go that were held back.
    pub fn release_webhooks(&self, order: WebhookOrder) {
        self.with_hooks(|hooks| {
            hooks.control.held = false;
            for subscription in hooks.subscriptions.values_mut() {
                arrange(subscription.lane.first_attempts(), order);
            }
        });
    }

    /// Sets how long an answer may take, in the machine's time: a request that is under way knows nothing of [`Mock::advance`].
    pub fn set_webhook_patience(&self, patience: Duration) {
        self.with_hooks(|hooks| hooks.control.patience = patience);
    }

    pub(super) fn webhook_patience(&self) -> Duration {
        self.inner.lock().world.hooks.control.patience
    }

    /// Webhooks that wait to be sent: held back, to be tried again, or not yet reached.
    #[must_use]
    pub fn webhooks_waiting(&self) -> usize {
        self.inner.lock().world.hooks.subscriptions.values().map(|s| s.lane.waiting()).sum()
    }

    /// Waits until every webhook that could be sent by now was answered or given up. What is held back, and what is to be tried
    /// again later, is not waited for. Only a mock that is served sends webhooks. To be called before [`Mock::advance`]: how long a
    /// retry waits is counted from the answer.
    pub async fn webhooks_settled(&self) {
        let mut stirred = self.stirred.subscribe();
        loop {
            let now = self.clock.now_ms();
            if self.inner.lock().world.hooks.is_settled(now) {
                return;
            }
            // The sender is the mock's own, which is borrowed.
            let _alive = stirred.changed().await;
        }
    }

    /// The webhooks so far, every attempt, oldest first.
    #[must_use]
    pub fn webhook_log(&self) -> Vec<MockWebhook> {
        self.inner.lock().world.hooks.log.all()
    }

    /// Empties the log of webhooks.
    pub fn clear_webhook_log(&self) {
        self.with_hooks(|hooks| hooks.log.clear());
    }

    /// Adds or changes a user as an administrator does in Pipedrive's pages: `name`, `email`, `active_flag`, `is_admin`.
    pub fn set_user(&self, id: u64, fields: &Map<String, Value>) {
        let now = self.clock.now_ms();
        let mut inner = self.inner.lock();
        let world = &mut inner.world;
        hooks::touch(world, Subject::User(id));
        directory::set_user(world, id, fields);
        let told = hooks::commit(world, Author::person(ME), now, self.keep_log);
        drop(inner);
        if told {
            self.stir();
        }
    }

    /// Carries a request out as this user: no limits, no tokens, no faults, not in the log.
    #[must_use]
    pub fn aside_as(&self, author: Author, request: &Request) -> Answer {
        engine::aside(self, request, Some(author))
    }
}
