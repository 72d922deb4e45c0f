//! How much of what there is in the lanes, for people.

use std::sync::Arc;

use super::Lanes;

/// How many of what there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counts {
    /// Lanes with something in them.
    pub(crate) lanes: u64,
    /// Deliveries that have not ended.
    pub(crate) pending: u64,
    /// Under way.
    pub(crate) running: u64,
    /// Lanes whose next delivery may run.
    pub(crate) ready: u64,
    /// Deliveries that wait for a retry.
    pub(crate) waiting: u64,
    /// Deliveries that wait outside their lane for a link.
    pub(crate) parked: u64,
    /// Deliveries of held rules.
    pub(crate) held: u64,
}

impl Lanes {
    /// How many of what there is.
    pub(crate) fn counts(&self) -> Counts {
        Counts {
            lanes: self.by_key.len() as u64,
            pending: self.accounts.values().map(|a| a.pending).sum(),
            running: self.accounts.values().map(|a| a.running).sum(),
            ready: self.accounts.values().map(|a| a.ready.len() as u64).sum(),
            waiting: self.waiting - self.parked.len() as u64,
            parked: self.parked.len() as u64,
            held: self.held_rules.iter().filter_map(|rule| self.rule_pending.get(rule)).sum(),
        }
    }

    /// (pending, running) by account.
    pub(crate) fn by_account(&self) -> impl Iterator<Item = (&Arc<str>, u64, u64)> {
        self.accounts.iter().map(|(name, a)| (name, a.pending, a.running))
    }

    /// Pending by rule.
    pub(crate) fn by_rule(&self) -> impl Iterator<Item = (&Arc<str>, u64)> {
        self.rule_pending.iter().map(|(name, n)| (name, *n))
    }
}
