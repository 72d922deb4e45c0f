//! What an attempt came to: its record, and what happens next.
//!
//! Invariants: record and state go into one commit; what the account or the rule has to wait for is charged to no delivery.

use std::time::Duration;

use jiff::Timestamp;

use super::{Attempt, End, Hold, Verdict};
use crate::delivery::pinned::PinnedPlan;
use crate::delivery::policy::{Decision, decide as retry_policy, later};
use crate::delivery::record::{self, Record, Replaced};
use crate::delivery::trouble::{Trouble, Whose};
use crate::delivery::{PauseInfo, Scope};
use crate::failure::FailureClass;
use crate::rules::Version;
use crate::store::{DeliveryState, Finish, StoreError, Write};

/// How long an account or a rule that is set up wrongly is held before one delivery looks whether it was mended; at most
/// `delivery.retry_max`.
const MISCONFIGURED_PROBE: Duration = Duration::from_secs(60);

impl Attempt {
    /// Commits what the attempt came to.
    pub(super) async fn conclude(&mut self, result: Result<End, Trouble>) -> Result<Verdict, StoreError> {
        if self.pending.tried {
            self.replaced = Replaced::by(self.number, &self.runtime.store.records(&self.pending.id).await?);
        }
        if let Some(plan) = self.plan.as_mut().filter(|_| self.pinned && !self.trace.exchanges().is_empty()) {
            plan.tries += 1;
        }
        let now = Timestamp::now();
        match result {
            Ok(End::State(state, reason)) => {
                self.finish(state, reason, None, now).await?;
                Ok(Verdict::Ended { state, script_failed: false })
            }
            Ok(End::Park { until, reason, wants }) => {
                let writes = self.waits("parked", reason, None, now);
                self.commit(writes.into()).await?;
                Ok(Verdict::Park { until, wants, pinned: self.pinned })
            }
            Err(ref trouble @ Trouble { held: Some(ref by), .. }) => {
                let mut writes = self.waits("wait", trouble.reason.clone(), Some(trouble), now).to_vec();
                writes.extend(self.pin_write());
                self.commit(writes).await?;
                tracing::info!(delivery = %self.pending.id, "its plan is held until `pipewright unpin`");
                Ok(Verdict::Held { by: by.clone() })
            }
            Err(trouble) if trouble.give_way => {
                let run_at = later(now, self.set.config.delivery.retry_first.get());
                let mut writes = self.waits("wait", trouble.reason.clone(), Some(&trouble), now).to_vec();
                writes.extend(self.pin_write());
                self.commit(writes).await?;
                Ok(Verdict::GiveWay { run_at, pinned: self.pinned })
            }
            Err(trouble) => self.trouble(trouble, now).await,
        }
    }

    async fn trouble(&mut self, mut trouble: Trouble, now: Timestamp) -> Result<Verdict, StoreError> {
        if let Some(error @ (StoreError::Failed(_) | StoreError::Closed | StoreError::Unusable { .. })) = trouble.store {
            return Err(error);
        }
        if trouble.deadline && self.ended_at_deadline_before().await? {
            trouble = trouble.too_slow_again();
        }
        let script_failed = trouble.whose == Whose::Rule && trouble.class != FailureClass::Misconfigured;
        match trouble.class {
            FailureClass::Throttled => self.wait(trouble, now).await,
            FailureClass::Misconfigured => self.wait(trouble, now).await,
            FailureClass::Transient | FailureClass::UnknownOutcome => {
                let set = self.set.clone();
                let policy = &set.config.delivery;
                let mut first = self.pending.first_failed_at.unwrap_or(now);
                let decide = |attempts| retry_policy(policy, &self.pending.id, attempts, first, now, trouble.wait);
                let (mut attempts, mut decision) = (self.pending.attempts + 1, decide(self.pending.attempts + 1));
                // Looked at where something hangs on it.
                if (self.probing || decision == Decision::GiveUp) && self.is_outage(&mut trouble).await {
                    // Nor is what came before: its end may fail a request and answer the next, and that is the delivery's first failure.
                    (attempts, first) = (0, now);
                    if decision == Decision::GiveUp {
                        decision = Decision::Again(later(now, policy.retry_max.get()));
                    }
                }
                match decision {
                    Decision::Again(run_at) => {
                        self.runtime.metrics.delivery_retried(&self.pending.id.rule, trouble.class.as_str());
                        tracing::info!(delivery = %self.pending.id, class = %trouble.class, error = trouble.brief, %run_at, "will be tried again");
                        let account_trouble = trouble.whose == Whose::Account;
                        let mut writes = self.waits("retry", trouble.reason.clone(), Some(&trouble), now).to_vec();
                        writes.extend(self.pin_write());
                        writes.push(self.retry_write(run_at, attempts, first));
                        self.commit(writes).await?;
                        Ok(Verdict::Retry { run_at, attempts, first_failed_at: first, pinned: self.pinned, account_trouble })
                    }
                    Decision::GiveUp => {
                        let reason = format!("given up after {attempts} attempts: {}", trouble.reason);
                        trouble.uncertain |= trouble.class == FailureClass::UnknownOutcome;
                        let state = self.failed_state(&trouble);
                        self.finish(state, Some(reason), Some(&trouble), now).await?;
                        Ok(Verdict::Ended { state, script_failed })
                    }
                }
            }
            FailureClass::Permanent => {
                let state = self.failed_state(&trouble);
                self.finish(state, Some(trouble.reason.clone()), Some(&trouble), now).await?;
                Ok(Verdict::Ended { state, script_failed })
            }
        }
    }

    /// Whether the attempt before this one ended at the script's deadline.
    async fn ended_at_deadline_before(&self) -> Result<bool, StoreError> {
        let records = self.runtime.store.records(&self.pending.id).await?;
        Ok(records.last().is_some_and(|record| record::is_deadline(record)))
    }

    /// Uncharged: the account or the rule is held, and the delivery stays where it is.
    async fn wait(&mut self, trouble: Trouble, now: Timestamp) -> Result<Verdict, StoreError> {
        let mut writes = self.waits("wait", trouble.reason.clone(), Some(&trouble), now).to_vec();
        writes.extend(self.pin_write());
        self.commit(writes).await?;
        if trouble.withheld {
            return Ok(Verdict::Withheld { pinned: self.pinned });
        }
        let wait = trouble.wait.unwrap_or(match trouble.class {
            FailureClass::Throttled => Duration::from_secs(2),
            _ => MISCONFIGURED_PROBE.min(self.set.config.delivery.retry_max.get()),
        });
        let scope = match trouble.whose {
            Whose::Rule => Scope::Rule(self.pending.id.rule.to_string()),
            Whose::Account | Whose::Delivery => Scope::Account(self.pending.account.to_string()),
        };
        let info = PauseInfo { reason: trouble.brief, class: Some(trouble.class), since: now, until: Some(later(now, wait)) };
        Ok(Verdict::Wait { hold: Hold { scope, info }, pinned: self.pinned })
    }

    fn failed_state(&self, trouble: &Trouble) -> DeliveryState {
        match &self.plan {
            _ if trouble.uncertain => DeliveryState::Uncertain,
            Some(plan) if self.pinned && plan.wrote() => DeliveryState::Partial,
            _ => DeliveryState::Dead,
        }
    }

    async fn finish(
        &mut self,
        state: DeliveryState,
        reason: Option<String>,
        trouble: Option<&Trouble>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let version = self.version().to_string();
        let mut writes = vec![self.record(state.as_str(), reason.clone(), trouble, now)];
        // A plan that is kept says how far it came: what was refused is not in doubt.
        writes.extend(self.pin_write().filter(|_| state.is_failure()));
        let cause = trouble.map(|trouble| trouble.cause(state));
        writes.push(Write::Finish(Finish { id: self.pending.id.clone(), state, at: now, version: Some(version), reason, cause }));
        self.commit(writes).await?;
        self.shadow();
        self.runtime.metrics.delivery_finished(
            &self.pending.id.rule,
            state.as_str(),
            (now.duration_since(self.started_at)).unsigned_abs(),
        );
        if let Some(trouble) = trouble {
            self.runtime.metrics.delivery_failed(&self.pending.id, &self.message_id, state.as_str(), trouble.class);
        }
        Ok(())
    }

    /// What the rule's own script made of the event stands: its shadow may run.
    pub(super) fn shadow(&mut self) {
        if let (Some(shadows), Some(shadowed)) = (&self.runtime.shadows, self.shadowed.take()) {
            shadows.run(shadowed);
        }
    }

    fn version(&self) -> &Version {
        self.plan.as_ref().map_or(&self.set.version, |plan| &plan.version)
    }

    fn retry_write(&self, run_at: Timestamp, attempts: u32, first_failed_at: Timestamp) -> Write {
        Write::Retry { id: self.pending.id.clone(), run_at, attempts, first_failed_at }
    }

    /// The record of an attempt that did not end the delivery, and its reason for lists, which read no records.
    fn waits(&self, outcome: &str, reason: String, trouble: Option<&Trouble>, now: Timestamp) -> [Write; 2] {
        let waiting = Write::Waiting { id: self.pending.id.clone(), reason: reason.clone() };
        [self.record(outcome, Some(reason), trouble, now), waiting]
    }

    fn record(&self, outcome: &str, reason: Option<String>, trouble: Option<&Trouble>, now: Timestamp) -> Write {
        let exchanges = self.trace.exchanges();
        let attempt = self.number;
        let record = Record {
            version: self.version().clone(),
            account: self.pending.account.clone(),
            attempt,
            started_at: self.started_at,
            finished_at: now,
            outcome: outcome.to_owned(),
            reason,
            class: trouble.map(|t| t.class),
            diagnostics: trouble.map(|t| t.diagnostics.clone()).unwrap_or_default(),
            deadline: trouble.is_some_and(|t| t.deadline),
            resumed: self.resumed,
            reads: self.reads.clone(),
            steps: self.plan.as_ref().map(PinnedPlan::step_records).unwrap_or_default(),
            tokens: exchanges.iter().map(|e| e.tokens).sum(),
            replaced: self.replaced,
            exchanges,
            logs: self
                .plan
                .as_ref()
                .map_or_else(|| self.logs.clone(), |p| if p.logs.is_empty() { self.logs.clone() } else { p.logs.clone() }),
        };
        let record = serde_json::to_vec(&record).expect("a record serialises: its maps have string keys");
        Write::Record { id: self.pending.id.clone(), attempt, record }
    }
}
