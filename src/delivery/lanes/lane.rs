//! One lane: what waits in it, by rule, and what is under way.
//!
//! Invariant: the deliveries of a rule stand in the order of their sequence numbers.

use std::collections::VecDeque;
use std::sync::Arc;

use jiff::Timestamp;

use crate::store::{DeliveryId, Pending, Seq};

/// A waiting delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) seq: Seq,
    pub(super) position: u32,
    /// Lanes whose earlier deliveries of the rule go first.
    pub(super) after: Vec<Arc<str>>,
    /// Lanes of which whatever is earlier goes first.
    pub(super) behind: Vec<Arc<str>>,
    pub(super) attempts: u32,
    pub(super) run_at: Option<Timestamp>,
    pub(super) first_failed_at: Option<Timestamp>,
    pub(super) pinned: bool,
    pub(super) tried: bool,
    /// Its plan has had its tries from the reserve.
    pub(super) worn: bool,
    pub(super) released_at: Option<Timestamp>,
}

#[derive(Debug)]
pub(super) struct Lane {
    pub(super) account: Arc<str>,
    pub(super) key: Arc<str>,
    /// Waiting deliveries by rule, oldest first.
    pub(super) rules: Vec<(Arc<str>, VecDeque<Entry>)>,
    /// Parked deliveries: (rule, entry). Few.
    pub(super) parked: Vec<(Arc<str>, Entry)>,
    /// The delivery under way.
    pub(super) running: Option<(Arc<str>, Entry)>,
    pub(super) place: Place,
}

impl Lane {
    pub(super) const fn new(account: Arc<str>, key: Arc<str>) -> Self {
        Self { account, key, rules: Vec::new(), parked: Vec::new(), running: None, place: Place::Idle }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.running.is_none() && self.parked.is_empty() && self.rules.iter().all(|(_, queue)| queue.is_empty())
    }

    pub(super) fn pending(&self, rule: &Arc<str>, entry: &Entry) -> Pending {
        Pending {
            id: DeliveryId { seq: entry.seq, rule: rule.clone() },
            position: entry.position,
            account: self.account.clone(),
            key: self.key.to_string(),
            after: entry.after.iter().map(|key| key.to_string()).collect(),
            behind: entry.behind.iter().map(|key| key.to_string()).collect(),
            attempts: entry.attempts,
            run_at: entry.run_at,
            first_failed_at: entry.first_failed_at,
            pinned: entry.pinned,
            tried: entry.tried,
            released_at: entry.released_at,
        }
    }
}

/// Where a lane stands between two turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Nothing to run now: empty, running, or all of its rules held.
    Idle,
    /// In its account's queue.
    Ready,
    /// In the timers, until then.
    Timer(Timestamp),
}

/// Puts an entry where its number belongs: nearly always at an end.
pub(super) fn enter(queue: &mut VecDeque<Entry>, entry: Entry) {
    let at = match (queue.front(), queue.back()) {
        (_, None) => 0,
        (_, Some(last)) if last.seq < entry.seq => queue.len(),
        (Some(first), _) if entry.seq < first.seq => 0,
        _ => queue.partition_point(|waiting| waiting.seq < entry.seq),
    };
    queue.insert(at, entry);
}

pub(super) fn queue_of<'a>(rules: &'a mut Vec<(Arc<str>, VecDeque<Entry>)>, rule: &Arc<str>) -> &'a mut VecDeque<Entry> {
    let at = match rules.iter().position(|(name, _)| name == rule) {
        Some(at) => at,
        None => {
            rules.push((rule.clone(), VecDeque::new()));
            rules.len() - 1
        }
    };
    &mut rules[at].1
}
