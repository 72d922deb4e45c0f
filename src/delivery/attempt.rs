//! One attempt at a delivery: run the script, make its plan ready, pin it, carry it out, record how it went.
//!
//! Invariants: an attempt uses one script set from start to end; before the pin a changed set or a memo older than a minute
//! starts it afresh; a pinned plan is resumed at its first unfinished step whatever was reloaded since; what it came to is
//! committed before it returns.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value as Json;

use super::decide::{self, Decided};
use super::execute::Executor;
use super::locks::Held;
use super::pinned::PinnedPlan;
use super::policy::{Decision, decide as retry_policy, later};
use super::record::{self, Record, Replaced};
use super::replay::Replay;
use super::restored::Unknown;
use super::runtime::Runtime;
use super::shadow::Shadowed;
use super::trouble::{Trouble, Whose};
use super::wake::{self, Want};
use super::{PauseInfo, Scope};
use crate::config::Writes;
use crate::crm::{Account, Lookup};
use crate::event::Event;
use crate::failure::FailureClass;
use crate::pipedrive::{Caller, Kind, Session, Trace};
use crate::rules::{Rule, ScriptSet, Version};
use crate::script::{LogLine, Read};
use crate::store::{DeliveryState, Finish, Pending, Seq, StoreError, Write};

/// How an attempt ended, for the scheduler.
#[derive(Debug)]
pub(super) enum Verdict {
    /// The delivery has ended.
    Ended {
        state: DeliveryState,
        /// The rule's script failed.
        script_failed: bool,
    },
    /// It is tried again; the lane waits.
    Retry { run_at: Timestamp, attempts: u32, first_failed_at: Timestamp, pinned: bool, account_trouble: bool },
    /// It waits outside its lane.
    Park { until: Timestamp, wants: Vec<Want>, pinned: bool },
    /// Its rule or account is held; nothing was charged.
    Wait { hold: Hold, pinned: bool },
    /// Its account's budget had no tokens for it; nothing was charged.
    Withheld { pinned: bool },
    /// Another delivery is to find out first whether what it sent arrived; nothing was charged.
    GiveWay { run_at: Timestamp, pinned: bool },
    /// Its plan is held, since this set was rolled back to; the lane waits until the hold ends, uncharged.
    Held { by: Arc<Version> },
    /// Its outcome could not be stored.
    StoreFailed { error: StoreError, pinned: bool },
}

/// A verdict, and when the last request was sent on which Pipedrive let the account in.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) verdict: Verdict,
    pub(super) reached: Option<Timestamp>,
}

/// What to hold, and why.
#[derive(Debug)]
pub(super) struct Hold {
    pub(super) scope: Scope,
    pub(super) info: PauseInfo,
}

/// How an attempt came out before it is recorded.
#[derive(Debug)]
pub(super) enum End {
    /// The delivery ends.
    State(DeliveryState, Option<String>),
    /// A linked entity is not there yet.
    Park { until: Timestamp, reason: String, wants: Vec<Want> },
}

/// How often a set that was swapped, or a memo that grew old, may start an attempt afresh.
const FRESH_STARTS: u32 = 5;

/// How long an account or a rule that is set up wrongly is held before one delivery looks whether it was mended; at most
/// `delivery.retry_max`.
const MISCONFIGURED_PROBE: Duration = Duration::from_secs(60);

/// An attempt under way.
pub(super) struct Attempt {
    pub(super) runtime: Arc<Runtime>,
    pub(super) pending: Pending,
    pub(super) set: Arc<ScriptSet>,
    /// Number of its decision record.
    number: u32,
    /// `messageId` of its event, once that is read.
    pub(super) message_id: String,
    pub(super) trace: Trace,
    pub(super) reads: Vec<(Read, Json)>,
    /// Look-ups that found nothing, for reads and links: asked again they are looked for in the index only.
    pub(super) absent: Vec<(Kind, Lookup)>,
    pub(super) logs: Vec<LogLine>,
    /// What its rule's shadow is to be compared with, until that has begun.
    pub(super) shadowed: Option<Shadowed>,
    /// What it repeats.
    pub(super) replay: Option<Replay>,
    pub(super) plan: Option<PinnedPlan>,
    /// The plan is pinned in the store.
    pub(super) pinned: bool,
    /// What may have happened to it unknown to us.
    pub(super) unknown: Unknown,
    /// What was learned and goes into the next commit.
    pub(super) outbox: Vec<Write>,
    /// Locks that are held until that commit.
    pub(super) held: Vec<Held>,
    /// Deliveries of its lane that waited behind it when it went out, in order.
    pub(super) following: Vec<Pending>,
    /// Whether it may park for a link that is not there yet.
    pub(super) patient: bool,
    /// What is left of the record that this attempt's replaces.
    replaced: Option<Replaced>,
    resumed: bool,
    probing: bool,
    started_at: Timestamp,
    /// On whose behalf it sends.
    caller: Caller,
}

/// Runs one attempt and commits what it came to.
pub(super) async fn run(runtime: Arc<Runtime>, pending: Pending, probing: bool, following: Vec<Pending>) -> Ended {
    run_as(runtime, pending, probing, true, following).await
}

/// Runs one attempt for which the time to wait for links is over.
pub(super) async fn run_at_once(runtime: Arc<Runtime>, pending: Pending) -> Ended {
    run_as(runtime, pending, false, false, Vec::new()).await
}

async fn run_as(runtime: Arc<Runtime>, pending: Pending, probing: bool, patient: bool, following: Vec<Pending>) -> Ended {
    let set = runtime.live.load_full();
    runtime.metrics.delivery_attempted(&pending.id.rule, &pending.account);
    let caller =
        Caller::rule(pending.id.rule.clone(), set.rule(&pending.id.rule).map_or(Caller::ORDINARY, |rule| rule.config.priority));
    // What has begun must end.
    let caller = if pending.pinned { caller.ending() } else { caller };
    let mut attempt = Attempt {
        pinned: pending.pinned,
        resumed: pending.pinned,
        number: pending.attempts + 1,
        runtime,
        pending,
        set,
        message_id: String::new(),
        trace: Trace::default(),
        reads: Vec::new(),
        absent: Vec::new(),
        logs: Vec::new(),
        shadowed: None,
        replay: None,
        plan: None,
        unknown: Unknown::Nothing,
        outbox: Vec::new(),
        held: Vec::new(),
        replaced: None,
        patient,
        following,
        probing,
        started_at: Timestamp::now(),
        caller,
    };
    let result = attempt.go().await;
    let verdict = attempt.conclude(result).await;
    let verdict = verdict.unwrap_or_else(|error| Verdict::StoreFailed { error, pinned: attempt.pinned });
    attempt.held.clear();
    // A page of the firewall is no answer of Pipedrive's either; it ends in a pause, which is not lifted by what came before it.
    let let_in = |status: u16| status < 500 && !(401..=403).contains(&status) && status != 429;
    let reached = attempt.trace.exchanges().iter().rev().find(|e| e.status.is_some_and(let_in)).map(|e| e.at);
    Ended { verdict, reached }
}

impl Attempt {
    async fn go(&mut self) -> Result<End, Trouble> {
        let runtime = self.runtime.clone();
        let stored = runtime.store.event(self.pending.id.seq).await?;
        let stored = stored.ok_or_else(|| Trouble::permanent("its event is no longer in the store"))?;
        self.message_id.clone_from(&stored.message_id);
        self.replay = Replay::load(&*runtime.store, &stored, &self.pending).await?;
        if let Some(copy) = runtime.restored {
            self.unknown = copy.unknown(&self.pending, &stored);
        }
        let account = self.account()?;
        let observe = account.config.writes == Writes::Off;
        if self.pending.released_at.is_some() {
            self.number = self.next_number().await?;
        }
        if self.pending.pinned {
            self.resume().await?;
            return Executor::new(self, &account, &stored, observe).run().await;
        }
        for start in 0.. {
            {
                self.set = runtime.live.load_full();
                self.reads.clear();
                self.absent.clear();
                let event = Event::from_payload(&stored.source, stored.received_at, &stored.payload)
                    .map_err(|e| Trouble::permanent(e.to_string()))?;
                // What a person replays is wanted, however old it is.
                if self.replay.is_none()
                    && let Some(end) = self.too_old(&event)?
                {
                    return Ok(end);
                }
                let began = Timestamp::now();
                match decide::decide(self, &account, &stored, &event).await? {
                    Decided::Steps(steps) => {
                        let now = Timestamp::now();
                        let mut plan = PinnedPlan::new(
                            self.set.version.clone(),
                            now,
                            steps,
                            self.reads.clone(),
                            std::mem::take(&mut self.logs),
                        );
                        if let Some(replay) = &self.replay {
                            replay.take_over(&mut plan);
                        }
                        self.plan = Some(plan);
                        let mut executor = Executor::new(self, &account, &stored, observe);
                        if let Some(park) = executor.resolve().await? {
                            return Ok(park);
                        }
                        let live = runtime.live.load().version.clone();
                        if live == executor.attempt.set.version && Timestamp::now() <= later(began, decide::MEMO_AGE) {
                            return executor.run().await;
                        }
                        self.plan = None;
                    }
                    Decided::End(end) => return Ok(end),
                    Decided::Afresh => {}
                }
                if start >= FRESH_STARTS {
                    break;
                }
            }
        }
        let reason = "the scripts were changed, or its reads grew old, again and again before it could send anything";
        Err(Trouble::new(FailureClass::Transient, Whose::Delivery, reason))
    }

    /// The event that its delivery speaks for: of a replay the first one that is repeated.
    pub(super) fn origin(&self) -> Seq {
        self.replay.as_ref().map_or(self.pending.id.seq, |replay| replay.origin)
    }

    /// What later events have said is written over: anything else than a replay, and one that is to.
    pub(super) fn overwrites(&self) -> bool {
        self.replay.as_ref().is_none_or(|replay| replay.how.overwrite)
    }

    /// The rule as the attempt's set has it.
    pub(super) fn rule(&self) -> Result<&Rule, Trouble> {
        let name = &self.pending.id.rule;
        self.set.rule(name).ok_or_else(|| {
            let reason = format!("there is no rule `{name}` in rules.toml any more; put it back, or discard its deliveries");
            Trouble::new(FailureClass::Misconfigured, Whose::Rule, reason).plain()
        })
    }

    /// Calls to an account on behalf of its rule, recorded in its trace.
    pub(super) fn session(&self, account: &Account) -> Session {
        account.client.session(self.trace.clone()).on_behalf_of(self.caller.clone())
    }

    pub(super) fn account(&self) -> Result<Arc<Account>, Trouble> {
        let name = &self.pending.account;
        self.runtime.accounts.read().get(name).cloned().ok_or_else(|| {
            let reason = format!("there is no [pipedrive.{name}] in rules.toml any more; put it back, or discard its deliveries");
            Trouble::new(FailureClass::Misconfigured, Whose::Account, reason).plain()
        })
    }

    async fn resume(&mut self) -> Result<(), Trouble> {
        self.number = self.next_number().await?;
        let bytes = self.runtime.store.pinned(&self.pending.id).await?;
        let bytes = bytes.ok_or_else(|| Trouble::permanent("its pinned plan is missing from the store"))?;
        let plan: PinnedPlan = serde_json::from_slice(&bytes)
            .map_err(|e| Trouble::permanent(format!("its pinned plan cannot be read ({e}); replay it to plan it anew")))?;
        self.reads = plan.reads.clone();
        self.logs = plan.logs.clone();
        self.plan = Some(plan);
        Ok(())
    }

    /// The number of the next record. Attempts that were not charged replace each other's, but never one that tells of a write, sent
    /// or observed.
    async fn next_number(&self) -> Result<u32, StoreError> {
        let charged = self.pending.attempts + 1;
        let records = self.runtime.store.records(&self.pending.id).await?;
        let Some(last) = records.last().and_then(|bytes| serde_json::from_slice::<Json>(bytes).ok()) else { return Ok(charged) };
        let number = last.get("attempt").and_then(Json::as_u64).and_then(|n| u32::try_from(n).ok()).unwrap_or(charged);
        let wrote = |exchange: &Json| exchange.get("method").and_then(Json::as_str) != Some("GET");
        let tells = last.get("exchanges").and_then(Json::as_array).is_some_and(|all| all.iter().any(wrote));
        let observed = last.get("outcome").and_then(Json::as_str) == Some(DeliveryState::Observed.as_str());
        Ok(charged.max(if tells || observed { number + 1 } else { number }))
    }

    fn too_old(&self, event: &Event) -> Result<Option<End>, Trouble> {
        let Some(limit) = self.rule()?.config.max_event_age else { return Ok(None) };
        let at = event.body.get("timestamp").and_then(Json::as_str).and_then(|t| t.parse::<Timestamp>().ok());
        let age = event.received_at.duration_since(at.unwrap_or(event.received_at));
        if age.is_positive() && age.unsigned_abs() > limit.get() {
            let reason = format!("older than the rule's max_event_age of {limit} when it was received");
            return Ok(Some(End::State(DeliveryState::Skipped, Some(reason))));
        }
        Ok(None)
    }

    /// Commits writes together with what was learned, and tells those who wait for it.
    pub(super) async fn commit(&mut self, mut writes: Vec<Write>) -> Result<(), StoreError> {
        let learned = wake::learned(&self.outbox);
        writes.splice(0..0, self.outbox.iter().cloned());
        let tells = writes.iter().any(|w| matches!(w, Write::Pin { .. } | Write::Finish(_)));
        let ends = writes.iter().any(|w| matches!(w, Write::Finish(_)));
        // What was learned stays until it is stored: the next commit takes it along when this one fails.
        self.runtime.store.commit(writes).await?;
        self.outbox.clear();
        if tells {
            self.suspect(ends);
        }
        // Asked after the commit: who began to wait before sees it told, who begins later finds it in the index.
        if self.runtime.wakes.awaited() {
            self.runtime.wakes.tell(learned);
        }
        Ok(())
    }

    /// Nobody else may create by the criteria of a create that the store has as being sent.
    ///
    /// It follows the store, not the plan in memory: an answer whose outcome could not be stored is not known to others, who
    /// would find nothing in the index and nothing in Pipedrive's search yet.
    fn suspect(&self, ended: bool) {
        let names = self.plan.as_ref().filter(|_| !ended).and_then(|plan| plan.suspects(&self.pending.account));
        match names {
            Some(names) => self.runtime.locks.suspect(names, &self.pending.id),
            None => self.runtime.locks.cleared(&self.pending.id),
        }
    }

    /// Commits what the attempt came to.
    async fn conclude(&mut self, result: Result<End, Trouble>) -> Result<Verdict, StoreError> {
        if self.pending.tried {
            self.replaced = Replaced::by(self.number, &self.runtime.store.records(&self.pending.id).await?);
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
                let writes = self.waits("wait", trouble.reason.clone(), Some(&trouble), now);
                self.commit(writes.into()).await?;
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
                let first = self.pending.first_failed_at.unwrap_or(now);
                let decide = |attempts| retry_policy(policy, &self.pending.id, attempts, first, now, trouble.wait);
                let (mut attempts, mut decision) = (self.pending.attempts + 1, decide(self.pending.attempts + 1));
                // Looked at where something hangs on it.
                if (self.probing || decision == Decision::GiveUp) && self.is_outage(&mut trouble).await {
                    attempts = self.pending.attempts;
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
    fn shadow(&mut self) {
        if let (Some(shadows), Some(shadowed)) = (&self.runtime.shadows, self.shadowed.take()) {
            shadows.run(shadowed);
        }
    }

    /// Why nothing was sent by an attempt that only observed.
    pub(super) const fn why_observed(&self) -> &'static str {
        // Only what has no daemon around it cannot wait.
        if self.patient { "writes are off for this account: nothing was sent" } else { "a dry run: nothing was sent" }
    }

    fn version(&self) -> &Version {
        self.plan.as_ref().map_or(&self.set.version, |plan| &plan.version)
    }

    fn retry_write(&self, run_at: Timestamp, attempts: u32, first_failed_at: Timestamp) -> Write {
        Write::Retry { id: self.pending.id.clone(), run_at, attempts, first_failed_at }
    }

    /// The pinned plan as it stands, when it is pinned.
    pub(super) fn pin_write(&self) -> Option<Write> {
        self.plan.as_ref().filter(|_| self.pinned).map(|plan| self.pin_of(plan))
    }

    /// Pins the plan as it stands.
    pub(super) async fn pin(&mut self) -> Result<(), StoreError> {
        let writes = self.plan.iter().map(|plan| self.pin_of(plan)).collect();
        self.commit(writes).await?;
        // Not before: an attempt that follows would look for a plan that the store has not got.
        self.pinned = true;
        self.shadow();
        Ok(())
    }

    fn pin_of(&self, plan: &PinnedPlan) -> Write {
        Write::Pin { id: self.pending.id.clone(), plan: plan.to_bytes() }
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
