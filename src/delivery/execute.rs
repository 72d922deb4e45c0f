//! Carrying out a plan, step by step.
//!
//! Invariants:
//! - All matches that do not hang on a reference are resolved before the first write; a failed look-up stops everything.
//! - The plan is pinned before the first request that is not a GET; a create is recorded as sending before it is sent.
//! - A step holds the locks of its criteria, then of its entity, until its outcome is committed; its outcome, the index and the
//!   known values go into one commit.
//! - When it only observes, nothing is pinned and nothing is learned: the session answers writes by itself.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::apply::Making;
use super::attempt::{Attempt, End};
use super::links::Links;
use super::locks::{self, Held};
use super::pinned::PinnedPlan;
use super::policy::later;
use super::record::{Effect, Resolution, StepState};
use super::trouble::{Trouble, Whose};
use super::wake::Want;
use crate::crm::{self, Account, Found, Lookup, Metadata, OnMany, Term, WireTarget, WireValue};
use crate::failure::FailureClass;
use crate::pipedrive::{Id, Kind, Session, awaited_id};
use crate::plan::{OnEmpty, OnMiss, OnMissing, Operation, Step};
use crate::store::{DeliveryState, StoredEvent, Write};

/// Carries out the plan of one attempt.
pub(super) struct Executor<'a> {
    pub(super) attempt: &'a mut Attempt,
    pub(super) account: &'a Arc<Account>,
    pub(super) session: Session,
    pub(super) stored: &'a StoredEvent,
    pub(super) metadata: Arc<Metadata>,
    pub(super) observe: bool,
    /// What the matches came to before the first write, by step.
    found: Vec<Option<(Found, Timestamp)>>,
    /// When it only observes: links that it would wait for. They stand open under made-up ids.
    awaited: Vec<(Kind, Vec<Lookup>)>,
    /// The step whose lost create this attempt has looked for in vain.
    pub(super) looked_for: Option<usize>,
    /// A request that took others' values along was refused: no other one does.
    pub(super) alone: bool,
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
            found: Vec::new(),
            awaited: Vec::new(),
            looked_for: None,
            alone: false,
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

    /// Resolves the matches and links of all steps that hang on no reference.
    pub(super) async fn resolve(&mut self) -> Result<Option<End>, Trouble> {
        self.metadata = self.account.ready_metadata(&self.session).await?;
        self.look_at_taken().await?;
        let steps: Vec<Step> = self.plan().steps.iter().map(|s| s.step.clone()).collect();
        self.found = Vec::with_capacity(steps.len());
        for (at, step) in steps.iter().enumerate() {
            let found = match &step.operation {
                Operation::Upsert { kind, lookups } => Some((*kind, lookups)),
                Operation::Update { kind, target: WireTarget::Lookups(lookups) }
                | Operation::Delete { kind, target: WireTarget::Lookups(lookups) } => Some((*kind, lookups)),
                _ => None,
            };
            let found = match found {
                Some((kind, lookups)) if !lookups.is_empty() => {
                    // Before it is read: a write that another delivery begins meanwhile may not be in the answer.
                    let when = Timestamp::now();
                    Some((self.find(kind, lookups, step.on_many).await?, when))
                }
                _ => None,
            };
            if let Some((found, _)) = &found {
                self.note_found(at, found, &step.operation);
            }
            self.found.push(found);
            if let Some(park) = self.check_links(step, &steps[..at]).await? {
                return Ok(Some(park));
            }
        }
        Ok(None)
    }

    /// Parks the delivery when a linked entity is not there yet and there is time left to wait for it. One that only observes goes on with
    /// the link left open.
    async fn check_links(&mut self, step: &Step, before: &[Step]) -> Result<Option<End>, Trouble> {
        let link_wait = self.attempt.rule()?.config.link_wait.get();
        let since = self.attempt.pending.released_at.unwrap_or(self.stored.received_at);
        let now = Timestamp::now();
        let mut until: Option<(Timestamp, Kind)> = None;
        let mut wanted = Vec::new();
        let mut omitted = Vec::new();
        let mut open = Vec::new();
        for Linked { field, kind, lookups, wait } in linked(step) {
            // What an earlier action makes sure of will be there.
            if lookups.is_empty() || before.iter().any(|earlier| makes(earlier, kind, lookups)) {
                continue;
            }
            if !matches!(self.find_link(kind, lookups).await?, Found::Miss) {
                continue;
            }
            self.attempt.absent.extend(lookups.iter().map(|lookup| (kind, lookup.clone())));
            let wait = wait.map_or(link_wait, |seconds| Duration::from_secs(seconds.into()));
            let deadline = later(since, wait);
            // When it only observes, its time begins anew with its release.
            if self.observe && !wait.is_zero() {
                self.awaited.push((kind, lookups.to_vec()));
                open.push(format!("`{field}` ({kind}, at most {})", humantime::format_duration(wait)));
                continue;
            }
            if now < deadline && self.attempt.patient {
                let lookups = crm::with_aliases(self.account, kind, lookups, &self.metadata);
                wanted.extend(wants(&self.account.name, kind, &lookups));
                until = until.max(Some((deadline, kind)));
                continue;
            }
            if step.on_missing == OnMissing::Fail {
                let reason = format!("the {kind} that action {} links to was not found within {wait:?}", step.ordinal + 1);
                return Err(Trouble::permanent(reason));
            }
            omitted.push(format!("`{field}` ({kind}, within {wait:?})"));
        }
        if !open.is_empty() {
            let line = format!("link_wait: it would wait for what it links to: {}", open.join(", "));
            self.plan_mut().steps[before.len()].step.decisions.push(line);
        }
        let Some((until, kind)) = until else {
            if !omitted.is_empty() {
                let line = format!("on_missing: omit: not found in time, left out: {}", omitted.join(", "));
                self.plan_mut().steps[before.len()].step.decisions.push(line);
            }
            return Ok(None);
        };
        let reason = format!("waits for the {kind} it links to, at most until {}", until.strftime("%Y-%m-%d %H:%M:%SZ"));
        Ok(Some(End::Park { until, reason, wants: wanted }))
    }

    /// The entity that a link leads to. One that was looked for in vain is looked for in the index only.
    pub(super) async fn find_link(&self, kind: Kind, lookups: &[Lookup]) -> Result<Found, Trouble> {
        let absent = &self.attempt.absent;
        if lookups.iter().all(|lookup| absent.iter().any(|(of, known)| *of == kind && known == lookup)) {
            return Ok(crm::find_known(self.account, &self.session, kind, lookups, OnMany::Oldest).await?);
        }
        self.find(kind, lookups, OnMany::Oldest).await
    }

    /// When it only observes: the made-up id of what a link would be waited for, or of what an earlier action would have created. Nothing
    /// comes into being, so neither is to be looked for.
    pub(super) fn made_up(&self, kind: Kind, lookups: &[Lookup]) -> Option<Id> {
        if !self.observe {
            return None;
        }
        let awaited = self.awaited.iter().position(|(of, awaited)| *of == kind && awaited == lookups);
        let made = || {
            self.plan().steps.iter().filter(|s| makes(&s.step, kind, lookups)).find_map(|s| self.plan().reference(s.step.ordinal))
        };
        awaited.map(|n| awaited_id(kind, n)).or_else(made)
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
        Ok(self.attempt.pin().await?)
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
        let links = Links::resolve(self, &step).await?;
        let followed = self.follow_leads(at, &step, &links).await?;
        match self.carry_out(at, &followed, &links).await {
            Err(refusal) if refusal.refused => {
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

    /// What the criteria find, under their locks: the index is asked again, since another lane may have created it meanwhile.
    async fn found_now(
        &mut self,
        at: usize,
        kind: Kind,
        lookups: &[Lookup],
        on_many: OnMany,
    ) -> Result<(Found, Timestamp), Trouble> {
        let earlier = self.found.get_mut(at).and_then(Option::take);
        let when = earlier.as_ref().map_or_else(Timestamp::now, |(_, when)| *when);
        let found = match earlier {
            None => self.find(kind, lookups, on_many).await?,
            Some((earlier, _)) => match (crm::find_known(self.account, &self.session, kind, lookups, on_many).await?, earlier) {
                // What the index knows now by a criterion at least as strong is newer than what was found before.
                (known @ Found::Hit { .. }, Found::Miss) => known,
                (known @ Found::Hit { .. }, earlier) if known.strength() <= earlier.strength() && known.id() != earlier.id() => {
                    known
                }
                (_, earlier) => earlier,
            },
        };
        let operation = self.plan().steps[at].step.operation.clone();
        self.note_found(at, &found, &operation);
        Ok((found, when))
    }

    pub(super) async fn find(&self, kind: Kind, lookups: &[Lookup], on_many: OnMany) -> Result<Found, Trouble> {
        Ok(crm::find(self.account, &self.session, kind, lookups, on_many).await?)
    }

    /// The entity that a target names; none when it is not there.
    pub(super) async fn target<'t>(
        &mut self,
        at: usize,
        step: &Step,
        kind: Kind,
        target: &'t WireTarget,
    ) -> Result<Option<(Id, Option<Via<'t>>)>, Trouble> {
        // What an earlier attempt sent and got no answer to may have made it unfindable.
        if let StepState::Sending { target: Some(id), .. } = &self.plan().steps[at].state
            && !matches!(step.operation, Operation::Update { .. } | Operation::Merge { .. })
        {
            return Ok(Some((id.clone(), None)));
        }
        match target {
            WireTarget::Id(id) => {
                self.note(at, Resolution { how: "id".to_owned(), by: String::new(), id: Some(id.clone()), others: Vec::new() });
                Ok(Some((id.clone(), None)))
            }
            WireTarget::Reference(ordinal) => {
                let id = self.plan().reference(*ordinal);
                let by = format!("action {}", ordinal + 1);
                self.note(at, Resolution { how: "reference".to_owned(), by, id: id.clone(), others: Vec::new() });
                Ok(id.map(|id| (id, None)))
            }
            WireTarget::Lookups(lookups) if lookups.is_empty() => Ok(None),
            WireTarget::Lookups(lookups) => {
                self.lock_criteria(kind, lookups).await?;
                match self.found_now(at, kind, lookups, step.on_many).await? {
                    (Found::Hit { id, lookup, entity, alias, .. }, when) => {
                        Ok(Some((id, Some(Via { lookups, hit: lookup, entity, when, aliased: alias.is_some() }))))
                    }
                    (Found::Miss, _) => Ok(None),
                }
            }
        }
    }

    /// An update, delete or convert found nothing.
    pub(super) fn missed(&mut self, at: usize, step: &Step, kind: Kind, target: &WireTarget) -> Result<(), Trouble> {
        let verb = step.operation.verb();
        match target {
            // What it refers to was skipped: so is this.
            WireTarget::Reference(ordinal) => {
                self.skip(at, format!("reference: action {} was skipped, and so is this {verb}", ordinal + 1));
                Ok(())
            }
            WireTarget::Lookups(lookups) if lookups.is_empty() && step.on_empty == OnEmpty::Skip => {
                self.skip(at, format!("on_empty: skip: no match criterion of the {kind} holds a value"));
                Ok(())
            }
            _ if step.on_miss == OnMiss::Skip => {
                self.skip(at, format!("on_miss: skip: no {kind} was found to {verb}"));
                Ok(())
            }
            _ => Err(Trouble::permanent(format!("no {kind} was found to {verb} (on_miss: fail)"))),
        }
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

    fn note_found(&mut self, at: usize, found: &Found, operation: &Operation) {
        let lookups: &[Lookup] = match operation {
            Operation::Upsert { lookups, .. }
            | Operation::Update { target: WireTarget::Lookups(lookups), .. }
            | Operation::Delete { target: WireTarget::Lookups(lookups), .. } => lookups,
            _ => &[],
        };
        let described = |lookup: &Lookup| match operation.kind() {
            Some(kind) => described(lookup, kind, &self.metadata),
            None => String::new(),
        };
        let resolution = match found {
            Found::Hit { id, entity, lookup, others, alias } => {
                let how = if entity.is_some() { "lookup" } else { "index" };
                let mut by = lookups.get(*lookup).map(&described).unwrap_or_default();
                if let Some(alias) = alias {
                    by = format!("{by}, {alias}");
                }
                if !others.is_empty() {
                    self.note_many(at, operation.kind(), others.len() + 1);
                }
                Resolution { how: how.to_owned(), by, id: Some(id.clone()), others: others.clone() }
            }
            Found::Miss => {
                let by = lookups.iter().map(described).collect::<Vec<_>>().join(", else ");
                Resolution { how: "miss".to_owned(), by, id: None, others: Vec::new() }
            }
        };
        // The look-up before the first write says more than the index that learned from it.
        let earlier = self.plan().steps[at].resolution.as_ref().is_some_and(|r| r.how == "lookup" && r.id == resolution.id);
        if !earlier {
            self.note(at, resolution);
        }
    }

    /// Several fitted, and the policy took one.
    fn note_many(&mut self, at: usize, kind: Option<Kind>, count: usize) {
        let step = &mut self.plan_mut().steps[at];
        let which = if step.step.on_many == OnMany::Newest { "newest" } else { "oldest" };
        let first = match kind {
            Some(Kind::Deal) => ", open deals first and archived ones last",
            Some(Kind::Lead) => ", archived leads last",
            _ => "",
        };
        let warning = format!("{count} fit, and the {which} was taken{first} (on_many)");
        if !step.warnings.contains(&warning) {
            step.warnings.push(warning);
        }
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

/// How an entity was found by criteria.
pub(super) struct Via<'l> {
    /// The criteria, in order of preference.
    pub(super) lookups: &'l [Lookup],
    /// Which of them hit.
    pub(super) hit: usize,
    /// The entity as the look-up gave it.
    pub(super) entity: Option<serde_json::Map<String, serde_json::Value>>,
    /// Not before which it was so.
    pub(super) when: Timestamp,
    /// Whether another id of the same user was found.
    pub(super) aliased: bool,
}

/// The name of an entity's lock.
pub(super) fn entity_name(account: &str, kind: Kind, id: &Id) -> String {
    format!("{account}/{kind}/{id}")
}

/// A criterion for a person: `field = value and field = value`.
pub(super) fn described(lookup: &Lookup, kind: Kind, metadata: &Metadata) -> String {
    let terms: Vec<String> = lookup.0.iter().map(|t| format!("{} = {}", metadata.name_of(kind, &t.address), t.value)).collect();
    terms.join(" and ")
}

/// A `by(..)` link of a step.
pub(super) struct Linked<'s> {
    /// The link field, as the script has it.
    field: &'s str,
    pub(super) kind: Kind,
    pub(super) lookups: &'s [Lookup],
    /// Seconds, when the rule's `link_wait` does not count.
    wait: Option<u32>,
}

/// The `by(..)` links of a step.
pub(super) fn linked(step: &Step) -> impl Iterator<Item = Linked<'_>> {
    step.all_fields().filter_map(|field| match &field.value {
        WireValue::Link { kind, target: WireTarget::Lookups(lookups), wait } => {
            Some(Linked { field: &field.name, kind: *kind, lookups, wait: *wait })
        }
        _ => None,
    })
}

/// The index keys that would end the wait for these look-ups.
fn wants(account: &str, kind: Kind, lookups: &[Lookup]) -> Vec<Want> {
    let want = |term: &Term| Want {
        account: account.to_owned(),
        kind: kind.as_str().to_owned(),
        field: term.address.key().to_owned(),
        value: term.value.clone(),
    };
    lookups.iter().flat_map(|l| &l.0).map(want).collect()
}

/// Whether after this step an entity stands that the look-ups find.
fn makes(step: &Step, kind: Kind, lookups: &[Lookup]) -> bool {
    let Operation::Upsert { kind: made, lookups: theirs } = &step.operation else { return false };
    let same = |a: &Lookup, b: &Lookup| {
        a.0.len() == b.0.len() && a.0.iter().all(|x| b.0.iter().any(|y| x.address == y.address && x.value == y.value))
    };
    *made == kind && theirs.iter().any(|a| lookups.iter().any(|b| same(a, b)))
}
