//! Deliveries that wait for tokens of their account's budget.
//!
//! Invariants: they stay where they are, as those of a held rule do, so after the wait they run before newer ones of their rule and key;
//! what has begun (its plan is pinned) goes on, unless nothing at all is left, or it has had its tries from the reserve.

use std::sync::Arc;

use jiff::Timestamp;

use super::{DEFAULT_PRIORITY, Entry, LaneId, Lanes};

/// Whose deliveries wait for tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tokenless {
    /// Those of rules of this priority and of lower ones (higher numbers).
    pub(crate) from: u8,
    /// Also those whose plan is pinned.
    pub(crate) begun_too: bool,
}

impl Lanes {
    /// Lets these deliveries of an account wait for tokens, or none any more.
    pub(crate) fn wait_for_tokens(&mut self, account: &Arc<str>, who: Option<Tokenless>, now: Timestamp) {
        match who {
            Some(who) => drop(self.tokenless.insert(account.clone(), who)),
            None => drop(self.tokenless.remove(account)),
        }
        let ids: Vec<LaneId> = self.by_key.iter().filter(|((of, _), _)| of == account).map(|(_, id)| *id).collect();
        for id in ids {
            // Those that stand behind this lane go on without those that wait, or wait for them again. It may have gone with one of them.
            if self.lanes[id.0].is_some() {
                self.moved_on(id, now);
            }
        }
    }

    /// The plan of the delivery under way has had its tries from the reserve: it waits for tokens as what has not begun does.
    pub(crate) fn wear(&mut self, lane: LaneId) {
        if let Some((_, entry)) = &mut self.lane_mut(lane).running {
            entry.worn = true;
        }
    }

    /// Whether a delivery is held: with its rule, or for want of tokens.
    pub(super) fn is_held(&self, account: &Arc<str>, rule: &Arc<str>, entry: &Entry) -> bool {
        self.held_rules.contains(rule) || (!self.tokenless.is_empty() && self.lacks_tokens(account, rule, entry))
    }

    fn lacks_tokens(&self, account: &Arc<str>, rule: &Arc<str>, entry: &Entry) -> bool {
        let priority = self.priorities.get(rule).copied().unwrap_or(DEFAULT_PRIORITY);
        let lacks = |who: &Tokenless| priority >= who.from && (who.begun_too || !entry.pinned || entry.worn);
        self.tokenless.get(account).is_some_and(lacks)
    }
}
