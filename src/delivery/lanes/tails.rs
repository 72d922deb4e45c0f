//! Deliveries that come after the tails of other lanes: a user's first event after what the same visitor did anonymously, and events of one of
//! a user's ids behind those of the others.
//!
//! Invariants:
//! - It waits only for deliveries of its own account with lower sequence numbers, so no two can wait for each other. `after` means those of
//!   its own rule, `behind` those of any rule, as if both lanes were one.
//! - It does not wait for what is parked: that waits for a link, which may be what this one brings. Nor can a hold keep it alone:
//!   what it waits for is of the same rule, or of one that is not held. A retry is waited for, as within a lane, and so for as long as
//!   `delivery.max_retry_time` at most.
//! - What is to go first was pushed first, so what has none when it is pushed never gets any.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;

use super::{Entry, Lane, LaneId, Lanes};
use crate::store::{Pending, Seq};

/// By lane (account, key): the lanes that hold somebody who waits for its tail. An id may have been given to another lane since, which
/// then is looked at once in vain.
#[derive(Debug, Default)]
pub(super) struct Tails(HashMap<(Arc<str>, Arc<str>), BTreeSet<LaneId>>);

/// Which deliveries of another lane go first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose<'r> {
    /// Those of a rule.
    Rule(&'r Arc<str>),
    /// Those of rules that are not held, and what is under way.
    Open,
    /// All.
    Any,
}

impl Lanes {
    #[cfg(test)]
    pub(super) fn tails_are_empty(&self) -> bool {
        self.tails.0.is_empty()
    }

    /// Of the lanes that a new delivery comes after, those that hold something which goes first.
    pub(super) fn tails_before(&self, pending: &Pending, keys: &[String], whose: Whose<'_>) -> Vec<Arc<str>> {
        let keys = keys.iter().filter(|key| **key != pending.key).map(|key| Arc::from(key.as_str()));
        keys.filter(|key| self.has_earlier(&pending.account, key, whose, pending.id.seq)).collect()
    }

    /// Whether something of another lane goes first.
    pub(super) fn has_before(&self, lane: &Lane, rule: &Arc<str>, entry: &Entry) -> bool {
        self.before(lane, rule, entry).next().is_some()
    }

    /// The lanes of which something goes first.
    fn before<'a>(&'a self, lane: &'a Lane, rule: &'a Arc<str>, entry: &'a Entry) -> impl Iterator<Item = &'a Arc<str>> {
        let after = entry.after.iter().map(|key| (key, Whose::Rule(rule)));
        let behind = entry.behind.iter().map(|key| (key, Whose::Open));
        let first = |(key, whose): &(&Arc<str>, Whose<'_>)| self.has_earlier(&lane.account, key, *whose, entry.seq);
        after.chain(behind).filter(first).map(|(key, _)| key)
    }

    /// Whether the lane holds such a delivery from before `seq` that is waiting or under way.
    fn has_earlier(&self, account: &Arc<str>, key: &Arc<str>, whose: Whose<'_>, seq: Seq) -> bool {
        let Some(id) = self.by_key.get(&(account.clone(), key.clone())) else { return false };
        let lane = self.lane_ref(*id);
        let waits = |name: &Arc<str>, first: &Entry| match whose {
            Whose::Rule(rule) => name == rule,
            Whose::Open => !self.is_held(account, name, first),
            Whose::Any => true,
        };
        let running = lane.running.iter().any(|(name, entry)| entry.seq < seq && (waits(name, entry) || whose == Whose::Open));
        let queued = |(name, queue): &(Arc<str>, VecDeque<Entry>)| {
            queue.front().is_some_and(|first| first.seq < seq && waits(name, first))
        };
        running || lane.rules.iter().any(queued)
    }

    /// Notes what the lane's next deliveries wait for.
    pub(super) fn wait_for_tails(&mut self, id: LaneId) {
        let lane = self.lane_ref(id);
        let next = lane.rules.iter().filter_map(|(rule, queue)| Some((rule, queue.front()?)));
        let keys = next.flat_map(|(rule, entry)| self.before(lane, rule, entry));
        let keys: Vec<_> = keys.map(|key| (lane.account.clone(), key.clone())).collect();
        for key in keys {
            self.tails.0.entry(key).or_default().insert(id);
        }
    }

    /// A lane has one delivery less to run: it is placed anew, and so are those that may have waited for it.
    pub(super) fn moved_on(&mut self, id: LaneId, now: Timestamp) {
        let lane = self.lane_ref(id);
        let waiting = match self.tails.0.is_empty() {
            true => None,
            false => self.tails.0.remove(&(lane.account.clone(), lane.key.clone())),
        };
        self.place(id, now);
        for waiting in waiting.into_iter().flatten() {
            if self.lanes[waiting.0].is_some() {
                self.place(waiting, now);
            }
        }
    }
}
