//! What waits for one subscription, and how it fares: retries, the ban, the end after three days.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::body::Event;

/// How long after a failure the next attempt comes.
const WAITS_MS: [i64; 3] = [3_000, 30_000, 150_000];
/// First attempts that fail until the ban.
const FAILURES: u32 = 10;
const BAN_MS: i64 = 30 * 60_000;
/// How long a subscription may fail before it is removed.
const PATIENCE_MS: i64 = 3 * 86_400_000;

/// One event on its way to one subscription.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) event: Arc<Event>,
    pub(super) attempt: u32,
}

/// What a failed attempt leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It goes on, with or without another attempt.
    GoesOn,
    /// The subscription gets nothing for a while.
    Banned,
    /// The subscription is removed.
    Removed,
}

/// The queue of one subscription.
#[derive(Debug, Default)]
pub(super) struct Lane {
    first: VecDeque<Message>,
    /// By when they are due, and in the order of their failures.
    again: BTreeMap<(i64, u64), Message>,
    failed: u64,
    busy: bool,
    /// First attempts that failed since the last ban.
    failures: u32,
    banned_until: Option<i64>,
    /// When the first attempt failed after the last success.
    failing_since: Option<i64>,
}

impl Lane {
    pub(super) fn push(&mut self, event: &Arc<Event>, copies: usize) {
        self.first.extend(std::iter::repeat_n(Message { event: Arc::clone(event), attempt: 1 }, copies));
    }

    pub(super) const fn is_busy(&self) -> bool {
        self.busy
    }

    pub(super) fn is_banned(&self, now: i64) -> bool {
        self.banned_until.is_some_and(|until| now < until)
    }

    pub(super) fn is_due(&self, now: i64) -> bool {
        !self.first.is_empty() || self.next_retry().is_some_and(|due| due <= now)
    }

    /// When the next retry is due.
    pub(super) fn next_retry(&self) -> Option<i64> {
        self.again.first_key_value().map(|((due, _), _)| *due)
    }

    /// Messages that wait.
    pub(super) fn waiting(&self) -> usize {
        self.first.len() + self.again.len()
    }

    /// The first attempts that wait, to be put in another order.
    pub(super) fn first_attempts(&mut self) -> &mut [Message] {
        self.first.make_contiguous()
    }

    /// The message to send now; the lane is busy until it is answered or given back.
    pub(super) fn take(&mut self, now: i64) -> Option<Message> {
        if self.busy {
            return None;
        }
        let retry = self.again.first_entry().filter(|entry| entry.key().0 <= now).map(|entry| entry.remove());
        let message = retry.or_else(|| self.first.pop_front())?;
        self.busy = true;
        Some(message)
    }

    /// Takes back what was not sent to its end.
    pub(super) fn give_back(&mut self, message: Message) {
        self.busy = false;
        self.first.push_front(message);
    }

    pub(super) const fn succeeded(&mut self) {
        self.busy = false;
        self.failing_since = None;
    }

    pub(super) fn failed(&mut self, message: Message, now: i64) -> Verdict {
        self.busy = false;
        let since = *self.failing_since.get_or_insert(now);
        if now - since >= PATIENCE_MS {
            return Verdict::Removed;
        }
        if message.attempt == 1 {
            self.failures += 1;
        }
        let wait = WAITS_MS.get(message.attempt as usize - 1);
        if let Some(wait) = wait {
            self.failed += 1;
            self.again.insert((now + wait, self.failed), Message { attempt: message.attempt + 1, ..message });
        }
        if self.failures >= FAILURES {
            self.failures = 0;
            self.banned_until = Some(now + BAN_MS);
            return Verdict::Banned;
        }
        Verdict::GoesOn
    }

    /// Empties the lane and gives what was in it.
    pub(super) fn clear(&mut self) -> Vec<Message> {
        let again = std::mem::take(&mut self.again);
        again.into_values().chain(self.first.drain(..)).collect()
    }
}
