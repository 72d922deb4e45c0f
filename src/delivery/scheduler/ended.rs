//! How a delivery's attempt ended, and what that means for its lane, its rule and its account.
//!
//! Invariant: whatever an attempt came to, a panic among it, its lane is told: none is held for ever.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::{Id as TaskId, JoinError};

use super::Scheduler;
use super::holds::{hold, probe_times, resumed};
use crate::delivery::Scope;
use crate::delivery::attempt::{Ended, Hold, Verdict};
use crate::delivery::lanes::{LaneId, Next};
use crate::delivery::policy::later;
use crate::delivery::wake::Want;
use crate::store::{Cause, DeliveryState, Finish, Pending, StoreError, Write};
use crate::telemetry::how_it_ended;

/// How long a delivery waits whose outcome could not be stored.
const STORE_RETRY: Duration = Duration::from_secs(2);

impl Scheduler {
    pub(super) async fn ended(&mut self, ended: Result<(TaskId, Ended), JoinError>) {
        let (task, Ended { verdict, reached, worn }) = match ended {
            Ok((task, verdict)) => (task, verdict),
            Err(error) => {
                let task = error.id();
                let Some((_, pending)) = self.under_way.get(&task) else { return };
                (task, Ended { verdict: self.panicked(&pending.clone(), &error).await, reached: None, worn: false })
            }
        };
        let Some((lane, pending)) = self.under_way.remove(&task) else { return };
        let now = Timestamp::now();
        let attempts = pending.attempts;
        if !self.wakes.is_empty() {
            self.wakes.forget(&pending.id);
        }
        self.held_plans.forget(&pending.id);
        let troubled = match &verdict {
            Verdict::Retry { account_trouble, .. } => *account_trouble,
            Verdict::Wait { hold, .. } => matches!(hold.scope, Scope::Account(_)),
            Verdict::StoreFailed { .. } => true,
            Verdict::Ended { .. }
            | Verdict::Park { .. }
            | Verdict::Withheld { .. }
            | Verdict::GiveWay { .. }
            | Verdict::Held { .. } => false,
        };
        if let Some(at) = reached.filter(|_| !troubled) {
            self.account_works(&pending.account, at, now);
        }
        let mut parked = None;
        let next = match verdict {
            Verdict::Ended { state, script_failed } => {
                if state == DeliveryState::Observed {
                    *self.observed.entry(pending.account.clone()).or_default() += 1;
                }
                self.rule_ran(&pending, state, script_failed, now);
                Next::Ended
            }
            Verdict::Retry { run_at, attempts, first_failed_at, pinned, account_trouble } => {
                if account_trouble {
                    self.account_trouble(&pending, lane, now);
                }
                Next::Again { run_at: Some(run_at), attempts, first_failed_at: Some(first_failed_at), pinned }
            }
            Verdict::Park { until, wants, pinned } => {
                self.wakes.wait(&pending.id, wants.iter().map(Want::name));
                self.runtime.wakes.set_waiting(self.wakes.len());
                parked = Some(wants);
                Next::Park { until, attempts, pinned }
            }
            Verdict::Wait { hold: Hold { scope, info }, pinned } => {
                self.auto_pause(scope, info, now);
                Next::Again { run_at: None, attempts, first_failed_at: pending.first_failed_at, pinned }
            }
            Verdict::Withheld { pinned } => {
                self.look_at_budgets(now);
                Next::Again { run_at: None, attempts, first_failed_at: pending.first_failed_at, pinned }
            }
            Verdict::GiveWay { run_at, pinned } => {
                Next::Again { run_at: Some(run_at), attempts, first_failed_at: pending.first_failed_at, pinned }
            }
            Verdict::Held { by } => {
                // The hold may have ended, and those that waited been let go, while this one was on its way.
                let holds = self.runtime.hold.is_for(&by);
                if holds {
                    self.held_plans.add(pending.id.clone(), lane);
                }
                let run_at = holds.then_some(Timestamp::MAX);
                Next::Again { run_at, attempts, first_failed_at: pending.first_failed_at, pinned: true }
            }
            // The store does not have it as pending: it has ended otherwise, and trying again would end the same.
            Verdict::StoreFailed { error: error @ StoreError::Refused { .. }, .. } => {
                tracing::error!(delivery = %pending.id, %error, "the store has no such pending delivery; it is left");
                self.runtime.locks.cleared(&pending.id);
                Next::Ended
            }
            Verdict::StoreFailed { error, pinned } => {
                self.runtime.fail(&error);
                let run_at = later(now, STORE_RETRY);
                Next::Again { run_at: Some(run_at), attempts, first_failed_at: pending.first_failed_at, pinned }
            }
        };
        if worn {
            self.lanes.wear(lane);
        }
        self.lanes.finish(lane, next, now);
        // What it waits for may have come before it was known to wait.
        for want in parked.into_iter().flatten() {
            let known = self.runtime.store.index_get(&want.account, &want.kind, &want.field, &want.value).await;
            if known.is_ok_and(|ids| !ids.is_empty()) {
                self.wake(&[want.name()]);
            }
        }
    }

    /// The index learned something that parked deliveries wait for.
    pub(super) fn wake(&mut self, names: &[String]) {
        let now = Timestamp::now();
        for name in names {
            for id in self.wakes.learned(name) {
                self.lanes.unpark(&id, now);
            }
        }
        self.runtime.wakes.set_waiting(self.wakes.len());
    }

    /// A worker panicked: a fault of ours. The delivery must not hold its lane for ever, so it becomes a dead letter.
    async fn panicked(&self, pending: &Pending, error: &JoinError) -> Verdict {
        tracing::error!(delivery = %pending.id, error = how_it_ended(error), "a worker failed inside; this is a fault of Pipewright");
        // It waits for no answer any more.
        self.runtime.locks.claims.lost(&pending.id);
        let reason = "internal error while it was processed; see the daemon's log".to_owned();
        let pinned = self.runtime.store.pinned(&pending.id).await.ok().flatten();
        let finish = Finish {
            id: pending.id.clone(),
            // What was pinned may have been sent in part.
            state: if pinned.is_some() { DeliveryState::Uncertain } else { DeliveryState::Dead },
            at: Timestamp::now(),
            version: None,
            cause: Some(Cause { class: "internal".to_owned(), what: reason.clone() }),
            reason: Some(reason),
        };
        match self.runtime.store.commit(vec![Write::Finish(finish.clone())]).await {
            Ok(()) => {
                self.runtime.locks.cleared(&pending.id);
                Verdict::Ended { state: finish.state, script_failed: false }
            }
            Err(error) => Verdict::StoreFailed { error, pinned: pinned.is_some() },
        }
    }

    fn account_works(&mut self, account: &Arc<str>, at: Timestamp, now: Timestamp) {
        if self.pauses.works(account, at) {
            resumed(&self.runtime.metrics, &Scope::Account(account.to_string()));
            hold(&mut self.lanes, &Scope::Account(account.to_string()), false, now);
            self.lanes.hurry_account(account, now);
        }
    }

    fn account_trouble(&mut self, pending: &Pending, lane: LaneId, now: Timestamp) {
        let lanes = self.runtime.live.load().config.delivery.pause_after_lanes;
        let probe = probe_times(&self.runtime.live.load().config.delivery);
        if let Some(info) = self.pauses.trouble(&pending.account, lane, lanes, probe, now) {
            self.auto_pause(Scope::Account(pending.account.to_string()), info, now);
        }
    }

    fn rule_ran(&mut self, pending: &Pending, state: DeliveryState, script_failed: bool, now: Timestamp) {
        let limit = self.runtime.live.load().config.delivery.pause_rule_after;
        if let Some(info) = self.pauses.rule_ran(&pending.id.rule, script_failed, limit, now) {
            tracing::warn!(rule = %pending.id.rule, %state, "the rule keeps failing");
            self.auto_pause(Scope::Rule(pending.id.rule.to_string()), info, now);
        }
    }
}
