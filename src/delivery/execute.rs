//! Carrying out a plan, step by step.
//!
//! Invariants:
//! - All matches that do not hang on a reference are resolved before the first write; a failed look-up stops everything.
//! - The plan is pinned before the first request that is not a GET; a create is recorded as sending before it is sent.
//! - A step holds the locks of its criteria, then of its entity, until its outcome is committed; its outcome, the index and the
//!   known values go into one commit.
//! - When it only observes, nothing is pinned and nothing is learned: the session answers writes by itself.

mod found;
mod resolve;

use std::sync::Arc;

pub(super) use self::found::{Via, described};
pub(super) use self::resolve::{Linked, linked};
use super::apply::Making;
use super::attempt::{Attempt, End};
use super::creates::Place;
use super::links::Links;
use super::locks::{self, Held};
use super::pinned::PinnedPlan;
use super::record::{Effect, Resolution, StepState};
use super::trouble::{Trouble, Whose};
use crate::crm::{self, Account, Found, Lookup, Metadata, Term};
use crate::failure::FailureClass;
use crate::pipedrive::{Id, Kind, Session};
use crate::plan::{OnEmpty, Operation, Step};
use crate::store::{DeliveryState, StoredEvent, Write};

/// Carries out the plan of one attempt.
pub(super) struct Executor<'a> {
    pub(super) attempt: &'a mut Attempt,
    pub(super) account: &'a Arc<Account>,
    pub(super) session: Session,
    pub(super) stored: &'a StoredEvent,
    pub(super) metadata: Arc<Metadata>,
    pub(super) observe: bool,
    /// When it only observes: links that it would wait for. They stand open under made-up ids.
    awaited: Vec<(Kind, Vec<Lookup>)>,
    /// The step whose lost create this attempt has looked for in vain.
    pub(super) looked_for: Option<usize>,
    /// A request that took others' values along was refused: no other one does.
    pub(super) alone: bool,
    /// A place for a create that was to be had before it was looked for.
    pub(super) place: Option<Place>,
}

/// How many of the first waits an unknown outcome is left to land, before it is looked for again.
const LANDING: u32 = 5;

impl<'a> Executor<'a> {
    pub(super) fn new(attempt: &'a mut Attempt, account: &'a Arc<Account>, stored: &'a StoredEvent, observe: bool) -> Self {
        let session = attempt.session(account);
        let session = if observe { session.observing() } else { session };
        Self {
            attempt,
            account,
            session,
            stored,
            metadata: account.metadata(),
            observe,
            awaited: Vec::new(),
            looked_for: None,
            alone: false,
            place: None,
        }
    }

    /// Runs what is left of the plan; one that is not pinned is resolved before.
    pub(super) async fn run(mut self) -> Result<End, Trouble> {
        self.metadata = self.account.ready_metadata(&self.session).await?;
        while let Some(at) = self.plan().unfinished() {
            self.attempt.may_go_on()?;
            self.settle().await?;
            self.step(at).await?;
        }
        Ok(self.end())
    }

    fn end(&self) -> End {
        let effects: Vec<Effect> = self
            .plan()
            .steps
            .iter()
            .filter_map(|s| match s.state {
                StepState::Done { effect, .. } => Some(effect),
                _ => None,
            })
            .collect();
        if self.observe {
            let mut reason = self.attempt.why_observed().to_owned();
            if let Some((kind, _)) = self.awaited.first() {
                reason.push_str(&format!("; it would wait for the {kind} it links to"));
            }
            return End::State(DeliveryState::Observed, Some(reason));
        }
        if effects.iter().all(|e| *e == Effect::Skipped) {
            let reason = self.plan().steps.iter().find_map(|s| s.decisions.last().or(s.warnings.last())).cloned();
            return End::State(DeliveryState::Skipped, reason);
        }
        End::State(DeliveryState::Done, None)
    }

    pub(super) fn plan(&self) -> &PinnedPlan {
        self.attempt.plan.as_ref().expect("an executor is made when the plan is there")
    }

    pub(super) fn plan_mut(&mut self) -> &mut PinnedPlan {
        self.attempt.plan.as_mut().expect("an executor is made when the plan is there")
    }

    /// Commits what the steps before came to, and lets go of their locks.
    pub(super) async fn settle(&mut self) -> Result<(), Trouble> {
        if !self.attempt.outbox.is_empty() {
            let writes = self.attempt.pin_write().into_iter().collect();
            self.attempt.commit(writes).await?;
        }
        self.attempt.held.clear();
        Ok(())
    }

    /// Pins the plan, with the step's state as it is now.
    pub(super) async fn pin(&mut self) -> Result<(), Trouble> {
        if self.observe {
            return Ok(());
        }
        self.attempt.pin().await?;
        // What has begun must end.
        self.session = self.session.clone().on_behalf_of(self.attempt.caller().clone());
        Ok(())
    }

    /// Pins the plan unless it is pinned.
    pub(super) async fn ensure_pinned(&mut self) -> Result<(), Trouble> {
        if self.attempt.pinned { Ok(()) } else { self.pin().await }
    }

    /// Adds writes to the next commit.
    pub(super) fn learn(&mut self, writes: impl IntoIterator<Item = Write>) {
        if !self.observe {
            self.attempt.outbox.extend(writes);
        }
    }

    async fn step(&mut self, at: usize) -> Result<(), Trouble> {
        let step = self.plan().steps[at].step.clone();
        let links = Links::resolve(self, at, &step).await?;
        let followed = self.follow_leads(at, &step, &links).await?;
        match self.carry_out(at, &followed, &links).await {
            Err(refusal) if refusal.refused => {
                self.plan_mut().steps[at].forget_found();
                let (step, links) = match self.leads_anew(at, &step, &links).await? {
                    Some(followed) => (followed, links),
                    None => match self.relink(at, &followed, &links).await? {
                        Some(links) => (followed, links),
                        None => return Err(refusal),
                    },
                };
                self.attempt.held.clear();
                self.carry_out(at, &step, &links).await
            }
            done => done,
        }
    }

    async fn carry_out(&mut self, at: usize, step: &Step, links: &Links) -> Result<(), Trouble> {
        self.plan_mut().begin(at);
        match &step.operation {
            Operation::Upsert { kind, lookups } => self.upsert(at, step, *kind, lookups, links).await,
            Operation::Create { kind } => self.create(Making { at, step, kind: *kind, lookups: &[], links }).await,
            Operation::Update { kind, target } => match self.target(at, step, *kind, target).await? {
                Some((id, via)) => self.update(at, step, *kind, id, via, links).await,
                None => self.missed(at, step, *kind, target),
            },
            Operation::Delete { kind, target } => match self.target(at, step, *kind, target).await? {
                Some((id, _)) => self.delete(at, *kind, id).await,
                None => self.missed(at, step, *kind, target),
            },
            Operation::Merge { kind, keep, drop } => self.merge(at, step, *kind, keep, drop).await,
            Operation::Convert { target } => match self.target(at, step, Kind::Lead, target).await? {
                Some((id, via)) => self.convert(at, step, id, via, links).await,
                None => self.missed(at, step, Kind::Lead, target),
            },
            Operation::Request { method, path, body } => self.request(at, *method, path, body.as_ref()).await,
        }
    }

    async fn upsert(&mut self, at: usize, step: &Step, kind: Kind, lookups: &[Lookup], links: &Links) -> Result<(), Trouble> {
        let making = Making { at, step, kind, lookups, links };
        if lookups.is_empty() {
            let reason = format!("no match criterion of the {kind} holds a value");
            return match step.on_empty {
                OnEmpty::Skip => {
                    self.skip(at, format!("on_empty: skip: {reason}"));
                    Ok(())
                }
                OnEmpty::Fail => Err(Trouble::permanent(format!("{reason} (on_empty: fail)"))),
                OnEmpty::Create => {
                    self.plan_mut().decided(at, format!("on_empty: create: {reason}, so one is created"));
                    self.create(making).await
                }
            };
        }
        self.lock_criteria(kind, lookups).await?;
        if let StepState::Sending { target: None, .. } = self.plan().steps[at].state
            && self.reconcile(making).await?
        {
            return Ok(());
        }
        match self.found_now(at, kind, lookups, step.on_many).await? {
            (Found::Hit { id, lookup, entity, alias, .. }, when) => {
                let via = Via { lookups, hit: lookup, entity, when, aliased: alias.is_some() };
                self.update(at, step, kind, id, Some(via), links).await
            }
            (Found::Miss, _) => match self.made_before(at).await? {
                Some(id) => self.update(at, step, kind, id, None, links).await,
                None => self.create_missing(making).await,
            },
        }
    }

    /// Creates what an upsert has not found. Ids of Pipedrive's own cannot be chosen: what was sought by one is never created.
    pub(super) async fn create_missing(&mut self, making: Making<'_>) -> Result<(), Trouble> {
        let Making { at, kind, lookups, .. } = making;
        if let Some(gone) = self.made_and_gone(at, kind) {
            return Err(gone);
        }
        let id = lookups.iter().flat_map(|lookup| &lookup.0).find(|term| term.address.key() == "id");
        let Some(Term { value: id, .. }) = id else { return self.create(making).await };
        Err(Trouble::permanent(format!(
            "Pipedrive has no {kind} with the id {id}, and an id of its own is never made; match by a field that holds an id of yours \
             to create what is missing"
        )))
    }

    /// Takes the locks of all criteria. Entity locks come after, so none may be held now.
    async fn lock_criteria(&mut self, kind: Kind, lookups: &[Lookup]) -> Result<(), Trouble> {
        // Those of the user's other ids, too: who creates the person of one creates that of all.
        let lookups = crm::with_aliases(self.account, kind, lookups, &self.metadata);
        self.lock_or_give_way(locks::criteria_names(&self.account.name, kind, &lookups).collect()).await
    }

    /// Takes locks, unless another delivery is to find out first what became of a create by one of these names.
    pub(super) async fn lock_or_give_way(&mut self, names: Vec<String>) -> Result<(), Trouble> {
        if self.observe {
            return Ok(());
        }
        let locks = &self.attempt.runtime.locks;
        let held = locks.acquire(names).await;
        if locks.is_doubtful(&held, &self.attempt.pending.id) {
            return Err(Trouble::gives_way());
        }
        self.attempt.held.push(held);
        Ok(())
    }

    /// Takes the lock of entities, after the criteria's.
    pub(super) async fn lock_entities(&mut self, kind: Kind, ids: &[&Id]) {
        if self.observe {
            return;
        }
        let names = ids.iter().map(|id| entity_name(&self.account.name, kind, id)).collect();
        let held: Held = self.attempt.runtime.locks.acquire(names).await;
        self.attempt.held.push(held);
    }

    /// A policy skips the step: `POLICY: why`.
    pub(super) fn skip(&mut self, at: usize, why: String) {
        self.plan_mut().decided(at, why);
        self.plan_mut().done(at, Effect::Skipped, None);
    }

    pub(super) fn note(&mut self, at: usize, resolution: Resolution) {
        self.plan_mut().steps[at].resolution = Some(resolution);
    }

    /// A write that went wrong, as trouble; a first unknown outcome leaves some time for it to land.
    pub(super) fn write_failed(&self, error: crate::pipedrive::ApiError) -> Trouble {
        let mut trouble = Trouble::from(error);
        if trouble.class == FailureClass::UnknownOutcome {
            trouble.whose = Whose::Account;
            trouble.wait = Some(self.attempt.set.config.delivery.retry_first.get().saturating_mul(LANDING));
        }
        trouble
    }
}

/// The name of an entity's lock.
pub(super) fn entity_name(account: &str, kind: Kind, id: &Id) -> String {
    format!("{account}/{kind}/{id}")
}
