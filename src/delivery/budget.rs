//! Deliveries that wait until their account has tokens again.
//!
//! Invariants: who waits is what the ledger says, applied before anything else is sent out after a request was withheld; nothing is charged
//! for it, and order stays what it is. A hold ends at the reset, when the forecast suffices again, or with another budget.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::watch;

use super::lanes::Tokenless;
use super::scheduler::{Scheduler, paused, resumed};
use super::{PauseInfo, Scope};
use crate::crm::budget::{Hold, Ledger};
use crate::failure::FailureClass;
use crate::rules::ScriptSet;

/// What waits for tokens, as the lanes have it.
#[derive(Debug)]
pub(super) struct Budgets {
    ledger: Ledger,
    pub(super) changes: watch::Receiver<()>,
    /// By account: who waits, and since when.
    applied: BTreeMap<Arc<str>, (Tokenless, Timestamp)>,
}

impl Budgets {
    pub(super) fn new(ledger: Ledger) -> Self {
        Self { changes: ledger.changes(), ledger, applied: BTreeMap::new() }
    }

    /// What a person should know of the account's budget beforehand.
    pub(super) fn outlook(&self, account: &str) -> Option<String> {
        self.ledger.outlook(account)
    }

    /// Why an account or a rule waits for tokens, if it does.
    pub(super) fn of_scope(&self, scope: &Scope, set: &ScriptSet) -> Option<PauseInfo> {
        match scope {
            Scope::Account(name) => self.of_account(name),
            Scope::Rule(name) => set.rule(name).and_then(|rule| self.of_rule(&rule.account, rule.config.priority)),
        }
    }

    /// Why all new deliveries of the account wait, if they do.
    pub(super) fn of_account(&self, account: &str) -> Option<PauseInfo> {
        self.info(account, 0).filter(|_| self.applied.get(account).is_some_and(|(who, _)| who.from == 0))
    }

    /// Why the deliveries of a rule wait, if they do so for those of a higher priority.
    pub(super) fn of_rule(&self, account: &str, priority: u8) -> Option<PauseInfo> {
        self.info(account, priority).filter(|_| self.applied.get(account).is_some_and(|(who, _)| who.from > 0))
    }

    fn info(&self, account: &str, priority: u8) -> Option<PauseInfo> {
        let (who, since) = self.applied.get(account)?;
        let Hold { reason, until, .. } = self.ledger.hold(account).filter(|_| priority >= who.from)?;
        Some(PauseInfo { reason, class: Some(FailureClass::Throttled), since: *since, until: Some(until) })
    }
}

impl Scheduler {
    /// Holds in the lanes who has to wait for tokens, and lets go who has not.
    pub(super) fn look_at_budgets(&mut self, now: Timestamp) {
        let accounts: Vec<Arc<str>> = self.runtime.accounts.read().keys().cloned().collect();
        for account in accounts {
            let hold = self.budgets.ledger.hold(&account);
            let who = hold.as_ref().map(|hold| Tokenless { from: hold.from, begun_too: hold.begun_too });
            let before = self.budgets.applied.get(&account).copied();
            if who == before.map(|(who, _)| who) {
                continue;
            }
            self.lanes.wait_for_tokens(&account, who, now);
            match (who, &hold) {
                (Some(who), Some(hold)) => {
                    tracing::warn!(%account, from_priority = who.from, until = %hold.until, reason = hold.reason, "deliveries wait for tokens");
                    self.budgets.applied.insert(account.clone(), (who, before.map_or(now, |(_, since)| since)));
                }
                _ => {
                    tracing::info!(%account, "no delivery waits for tokens any more");
                    self.budgets.applied.remove(&account);
                }
            }
            self.tell_pause(&account, before.is_some_and(|(who, _)| who.from == 0), who.is_some_and(|who| who.from == 0));
        }
    }

    /// The rules' priorities may be others now.
    pub(super) fn look_at_budgets_anew(&mut self, now: Timestamp) {
        for (account, (who, _)) in self.budgets.applied.clone() {
            self.lanes.wait_for_tokens(&account, Some(who), now);
        }
        self.look_at_budgets(now);
    }

    /// Counts the pause of an account whose budget is spent, unless it is paused anyway.
    fn tell_pause(&self, account: &str, was: bool, is: bool) {
        let scope = Scope::Account(account.to_owned());
        if was == is || self.pauses.get(&scope).is_some() {
            return;
        }
        if is {
            paused(&self.runtime.metrics, &scope, Some(FailureClass::Throttled));
        } else {
            resumed(&self.runtime.metrics, &scope);
        }
    }
}
