//! Deliveries that come after the tails of other lanes: a user's first event after what the same visitor did anonymously.
//!
//! Invariants:
//! - It waits only for deliveries of its own rule and account with lower sequence numbers, so no two can wait for each other.
//! - It does not wait for what is parked: that waits for a link, which may be what this one brings. Nor can a hold keep it alone:
//!   what it waits for is of the same rule and account. A retry is waited for, as within a lane, and so for as long as
//!   `delivery.max_retry_time` at most.
//! - What is to go first was pushed first, so what has none when it is pushed never gets any.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;

use super::{Entry, Lane, LaneId, Lanes};
use crate::store::{Pending, Seq};

/// By lane (account, key): the lanes that hold somebody who waits for its tail. An id may have been given to another lane since, which
/// then is looked at once in vain.
#[derive(Debug, Default)]
pub(super) struct Tails(HashMap<(Arc<str>, Arc<str>), BTreeSet<LaneId>>);

impl Lanes {
    #[cfg(test)]
    pub(super) fn tails_are_empty(&self) -> bool {
        self.tails.0.is_empty()
    }

    /// Of the lanes that a new delivery comes after, those that hold something which goes first.
    pub(super) fn tails_before(&self, pending: &Pending) -> Vec<Arc<str>> {
        let keys = pending.after.iter().filter(|key| **key != pending.key).map(|key| Arc::from(key.as_str()));
        keys.filter(|key| self.has_earlier(&pending.account, key, &pending.id.rule, pending.id.seq)).collect()
    }

    /// Whether something of another lane goes first.
    pub(super) fn has_before(&self, lane: &Lane, rule: &Arc<str>, entry: &Entry) -> bool {
        entry.after.iter().any(|key| self.has_earlier(&lane.account, key, rule, entry.seq))
    }

    /// Whether the lane holds a delivery of the rule from before `seq` that is waiting or under way.
    fn has_earlier(&self, account: &Arc<str>, key: &Arc<str>, rule: &Arc<str>, seq: Seq) -> bool {
        let Some(id) = self.by_key.get(&(account.clone(), key.clone())) else { return false };
        let lane = self.lane_ref(*id);
        let running = lane.running.iter().map(|(name, entry)| (name, entry.seq));
        let queued = lane.rules.iter().filter_map(|(name, queue)| Some((name, queue.front()?.seq)));
        running.chain(queued).any(|(name, first)| name == rule && first < seq)
    }

    /// Notes what the lane's next deliveries wait for.
    pub(super) fn wait_for_tails(&mut self, id: LaneId) {
        let lane = self.lane_ref(id);
        let next = lane.rules.iter().filter_map(|(rule, queue)| Some((rule, queue.front()?)));
        let keys = next.flat_map(|(rule, entry)| {
            entry.after.iter().filter(|key| self.has_earlier(&lane.account, key, rule, entry.seq)).cloned()
        });
        let keys: Vec<_> = keys.map(|key| (lane.account.clone(), key)).collect();
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
