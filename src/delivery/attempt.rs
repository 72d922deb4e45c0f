//! One attempt at a delivery: run the script, make its plan ready, pin it, carry it out, record how it went.
//!
//! Invariants: an attempt uses one script set from start to end; before the pin a changed set or a memo older than a minute
//! starts it afresh; a pinned plan is resumed at its first unfinished step whatever was reloaded since; what it came to is
//! committed before it returns.

mod commit;
mod conclude;

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value as Json;

use super::decide::{self, Decided};
use super::execute::Executor;
use super::locks::Held;
use super::pinned::PinnedPlan;
use super::policy::later;
use super::record::Replaced;
use super::replay::Replay;
use super::restored::Unknown;
use super::runtime::Runtime;
use super::shadow::Shadowed;
use super::trouble::{Trouble, Whose};
use super::wake::Want;
use super::{PauseInfo, Scope};
use crate::config::Writes;
use crate::crm::earlier;
use crate::crm::{Account, Lookup};
use crate::event::Event;
use crate::failure::FailureClass;
use crate::pipedrive::{Caller, Kind, Session, Trace};
use crate::rules::{Rule, ScriptSet, Version};
use crate::script::{LogLine, Read};
use crate::store::{DeliveryState, Pending, Seq, StoreError, Write};

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
    /// Its plan has had its tries from the reserve of the budget: from now on it waits for tokens as what has not begun does.
    pub(super) worn: bool,
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
    let worn = attempt.plan.as_ref().is_some_and(PinnedPlan::is_worn);
    Ended { verdict, reached, worn }
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

    /// On whose behalf it sends.
    pub(super) const fn caller(&self) -> &Caller {
        &self.caller
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
        let mut plan: PinnedPlan = serde_json::from_slice(&bytes)
            .map_err(|e| Trouble::permanent(format!("its pinned plan cannot be read ({e}); replay it to plan it anew")))?;
        let now = Timestamp::now();
        plan.forget_found_before(earlier(now, decide::MEMO_AGE), now);
        if plan.is_worn() {
            self.caller = self.caller.clone().worn();
        }
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

    /// Why nothing was sent by an attempt that only observed.
    pub(super) const fn why_observed(&self) -> &'static str {
        // Only what has no daemon around it cannot wait.
        if self.patient { "writes are off for this account: nothing was sent" } else { "a dry run: nothing was sent" }
    }
}
