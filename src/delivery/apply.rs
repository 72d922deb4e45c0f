//! Creates and updates.
//!
//! Invariants: a create is recorded as sending before it is sent, with its time and body, so that it can be looked for after
//! an unknown outcome; an update goes to an entity that is known to be there, or is found anew once.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value as Json};

use super::ahead::{self, About, Ahead};
use super::archived;
use super::backfill::{Stronger, vacant};
use super::creates::{Braked, Place};
use super::execute::{Executor, Via, entity_name};
use super::links::Links;
use super::locks;
use super::record::{Effect, StepState};
use super::trouble::{Trouble, Whose};
use crate::crm::{self, Address, Carried, Found, Known, Lookup, WireTarget, index};
use crate::failure::FailureClass;
use crate::pipedrive::{ApiError, Entity, ErrorKind, Id, Kind, Method, Purpose, Request, Saving, tokens};
use crate::plan::{self, BodyFor, BodyOutcome, Operation, PlanProblem, Step};
use crate::store::Write;

/// A body that was answered with 500 this often is itself the cause.
const SAME_500: u32 = 3;

/// A create: for which step, by which criteria, with which links.
#[derive(Clone, Copy)]
pub(super) struct Making<'m> {
    pub(super) at: usize,
    pub(super) step: &'m Step,
    pub(super) kind: Kind,
    /// What the next event is to find it by.
    pub(super) lookups: &'m [Lookup],
    pub(super) links: &'m Links,
}

impl Executor<'_> {
    pub(super) async fn create(&mut self, making: Making<'_>) -> Result<(), Trouble> {
        while !self.create_once(making).await? {}
        Ok(())
    }

    /// Whether that was it: what was refused with what it took along is sent again by itself.
    async fn create_once(&mut self, making: Making<'_>) -> Result<bool, Trouble> {
        let Making { at, step, kind, lookups, links } = making;
        if let Some(key) = &step.key {
            self.lock_or_give_way(vec![locks::key_name(&self.account.name, kind, key)]).await?;
            let known = self.attempt.runtime.store.index_get(&self.account.name, kind.as_str(), locks::KEY_FIELD, key).await?;
            let again = self.attempt.replay.as_ref().is_some_and(|replay| replay.how.again);
            if let Some(id) = known.first().and_then(|id| id.parse::<Id>().ok()).filter(|_| !again) {
                let line = format!("key: the {kind} {id} was created under `{key}` before, and is not created again");
                self.plan_mut().decided(at, line);
                self.plan_mut().done(at, Effect::Exists, Some(id));
                return Ok(true);
            }
        }
        if let StepState::Sending { target: None, .. } = self.plan().steps[at].state
            && self.looked_for != Some(at)
            && self.reconcile(making).await?
        {
            return Ok(true);
        }
        let outcome = self.body(step, BodyFor::Create, links)?;
        if self.made_unknown(making, &outcome.body).await? {
            return Ok(true);
        }
        let mut known = Known::default();
        for (field, value) in &outcome.sent {
            known.note_sent(field, value.clone());
        }
        let ahead = self.look_ahead(step, About::Made(lookups), &outcome.body, &known, None).await;
        let place = self.brake()?;
        let tries = match self.plan().steps[at].state {
            StepState::Sending { tries, target: None, .. } => tries,
            _ => 0,
        };
        let sent = ahead.body().unwrap_or(&outcome.body).clone();
        let body = Json::Object(sent.clone());
        self.plan_mut().steps[at].changes = outcome.changes;
        self.remark(at, outcome.notes, outcome.decisions);
        self.plan_mut().steps[at].state = StepState::Sending { since: Timestamp::now(), body, tries: tries + 1, target: None };
        self.squashed(at, &ahead);
        self.pin().await?;
        let (claims, by) = (&self.attempt.runtime.locks.claims, &self.attempt.pending.id);
        if !self.observe {
            claims.sending(&self.account.name, kind, by, &sent);
        }
        let answer = self.session.create(kind, sent).await;
        if answer.is_err() {
            claims.lost(by);
        }
        match answer {
            Ok((id, entity)) => {
                if let Some(place) = place {
                    place.made(Timestamp::now());
                }
                self.created(making, id, &entity, &ahead).await?;
                Ok(true)
            }
            Err(error) if error.class() == FailureClass::UnknownOutcome => {
                if self.reconcile(making).await? {
                    return Ok(true);
                }
                Err(self.write_in_doubt(at, error, tries + 1))
            }
            Err(error) => {
                // It was refused or never left: nothing is to be reconciled.
                self.plan_mut().steps[at].state = StepState::Todo;
                if self.is_sent_alone(at, &ahead, &error) { Ok(false) } else { Err(error.into()) }
            }
        }
    }

    /// In a store that was restored: looks for what this step may have created before. True: it had, and the step is done.
    async fn made_unknown(&mut self, making: Making<'_>, body: &Map<String, Json>) -> Result<bool, Trouble> {
        let at = making.at;
        let Some(since) = self.attempt.unknown.creates_since() else { return Ok(false) };
        if self.observe || self.plan().steps[at].state != StepState::Todo {
            return Ok(false);
        }
        let body = Json::Object(body.clone());
        self.plan_mut().steps[at].state = StepState::Sending { since, body, tries: 0, target: None };
        let found = self.reconcile(making).await;
        if !matches!(found, Ok(true)) {
            // Nothing was sent by this one yet.
            self.plan_mut().steps[at].state = StepState::Todo;
        }
        found
    }

    /// The rule's limit of creates, unless nothing is sent.
    pub(super) fn create_limit(&self) -> Option<u32> {
        self.attempt.rule().ok().and_then(|rule| rule.config.max_creates_per_hour).filter(|_| !self.observe)
    }

    /// Holds the rule when it has created in the last hour what it may.
    pub(super) fn brake(&mut self) -> Result<Option<Place>, Trouble> {
        if let Some(place) = self.place.take() {
            return Ok(Some(place));
        }
        let Some(limit) = self.create_limit() else { return Ok(None) };
        let (rule, now) = (&self.attempt.pending.id.rule, Timestamp::now());
        match self.attempt.runtime.creates.begin(rule, limit, now) {
            Ok(place) => Ok(Some(place)),
            Err(Braked::UnderWay) => Err(Trouble::gives_way_for(
                "creates of the rule are under way that may fill its max_creates_per_hour; it waits for what becomes of them",
            )),
            Err(Braked::Made { count, until }) => {
                let records = if count == 1 { "1 record".to_owned() } else { format!("{count} records") };
                let reason = format!(
                    "the rule has created {records} within an hour (max_creates_per_hour = {limit}); look whether it should. It goes \
                     on by itself at {}; when all is well, `pipewright resume rule {rule}` lets it create {limit} more now, and a higher \
                     max_creates_per_hour in rules.toml counts once it is live",
                    until.strftime("%Y-%m-%d %H:%M:%SZ")
                );
                // Nothing is set up wrongly: it is slowed down, and nothing is charged.
                let wait = Some(until.duration_since(now).unsigned_abs());
                Err(Trouble { wait, ..Trouble::new(FailureClass::Throttled, Whose::Rule, reason).plain() })
            }
        }
    }

    /// Looks for a create whose outcome is not known. True: it had been carried out, and the step is done.
    pub(super) async fn reconcile(&mut self, making: Making<'_>) -> Result<bool, Trouble> {
        let Making { at, kind, .. } = making;
        let StepState::Sending { since, body, tries, target: None } = self.plan().steps[at].state.clone() else {
            return Ok(false);
        };
        // Two that look for the same content must not take the same entity: the first one's is claimed by its commit.
        let name = format!("{}/{kind}#reconcile", self.account.name);
        let held = self.attempt.runtime.locks.acquire(vec![name]).await;
        self.attempt.held.push(held);
        let Json::Object(body) = body else { return Ok(false) };
        let (claims, by) = (&self.attempt.runtime.locks.claims, &self.attempt.pending.id);
        match crm::find_unclaimed_create(self.account, &self.session, kind, since, &body, claims, by).await? {
            Some((id, entity)) => {
                let lost = if tries == 0 {
                    "it was made after the backup that the store was restored from"
                } else {
                    "its answer was lost"
                };
                self.plan_mut().steps[at]
                    .warnings
                    .push(format!("{lost}; it was found in the list of what changed since, and taken"));
                if self.create_limit().is_some() {
                    self.attempt.runtime.creates.made(&self.attempt.pending.id.rule, Timestamp::now());
                }
                // What it took along is not known any more: the later deliveries say it again.
                self.created(making, id, &entity, &Ahead::default()).await?;
                Ok(true)
            }
            None => {
                self.attempt.held.pop();
                self.looked_for = Some(at);
                Ok(false)
            }
        }
    }

    async fn created(&mut self, making: Making<'_>, id: Id, entity: &Entity, ahead: &Ahead) -> Result<(), Trouble> {
        let Making { at, step, kind, lookups, links } = making;
        let account = &self.account.name;
        if !self.observe {
            self.attempt.runtime.locks.claims.answered(account, kind, &self.attempt.pending.id, &id);
        }
        let mut writes = self.index_puts(kind, &id, lookups);
        // Who looked by what the index does not hold, before it was there, looks again.
        let unknown =
            lookups.iter().filter(|lookup| !self.observe && self.index_puts(kind, &id, std::slice::from_ref(*lookup)).is_empty());
        for lookup in unknown {
            locks::criteria_names(account, kind, std::slice::from_ref(lookup))
                .for_each(|name| self.attempt.runtime.locks.written(name));
        }
        writes.extend(self.follow_emails(kind, &id, None, entity));
        if let Some(key) = &step.key {
            writes.push(index::put(account, kind, &id, locks::KEY_FIELD, key));
        }
        let sent = self.body(step, BodyFor::Create, links)?.sent;
        let mut known = Known::default();
        for (field, value) in sent {
            known.note_sent(&field, value);
            known.note_by(&field, self.attempt.origin());
        }
        ahead.note(&mut known, &self.attempt.pending.id);
        known.note_seen(kind, entity, Timestamp::now());
        writes.push(known.write(account, kind, &id));
        self.learn(writes);
        self.attempt.runtime.locks.written(entity_name(&self.account.name, kind, &id));
        self.account.mirror.wrote(kind, &id);
        self.plan_mut().done(at, Effect::Created, Some(id));
        Ok(())
    }

    /// Other rules may match by the e-mail that this one wrote, before Pipedrive's search has it.
    fn follow_emails(&self, kind: Kind, id: &Id, before: Option<&Entity>, now: &Entity) -> Vec<Write> {
        if kind != Kind::Person {
            return Vec::new();
        }
        let emails = [Address::Standard("emails".to_owned())];
        index::follow(&self.account.name, kind, id, &emails, before, now, &self.metadata)
    }

    fn index_puts(&self, kind: Kind, id: &Id, lookups: &[Lookup]) -> Vec<Write> {
        lookups.iter().flat_map(|lookup| index::put_lookup(&self.account.name, kind, id, lookup, &self.metadata)).collect()
    }

    pub(super) async fn update(
        &mut self,
        at: usize,
        step: &Step,
        kind: Kind,
        id: Id,
        via: Option<Via<'_>>,
        links: &Links,
    ) -> Result<(), Trouble> {
        let (mut id, mut via) = (id, via);
        self.lock_entities(kind, &[&id]).await;
        self.drop_old(kind, &id, via.as_mut());
        for fresh in [true, false] {
            match self.update_where_it_is(at, step, kind, &id, via.as_ref(), links).await? {
                Sent::Done => return Ok(()),
                Sent::Conflict => {
                    // The weaker criterion's entity is somebody else's: the stronger one gets an entity of its own.
                    let lookups = via.map(|v| &v.lookups[..v.hit]).unwrap_or_default();
                    return self.create_missing(Making { at, step, kind, lookups, links }).await;
                }
                Sent::Archived => return Err(Trouble::permanent(format!("the {kind} {id} is archived"))),
                Sent::Gone => {
                    // True also when only observing; and the index must have forgotten it before it is asked again.
                    self.attempt.outbox.push(index::forget(&self.account.name, kind, &id));
                    self.plan_mut().steps[at].forget_found();
                    self.attempt.commit(Vec::new()).await?;
                    if matches!(step.operation, Operation::Update { target: WireTarget::Id(_), .. }) {
                        return self.missed(at, step, kind, &WireTarget::Id(id));
                    }
                    let Some(Via { lookups, .. }) = via.filter(|_| fresh) else {
                        return Err(Trouble::permanent(format!("the {kind} {id} is not in Pipedrive any more")));
                    };
                    let warning = format!("the {kind} {id} is not in Pipedrive any more; it was looked for anew");
                    self.plan_mut().steps[at].warnings.push(warning);
                    let (found, when) = self.find_dated(kind, lookups, step.on_many).await?;
                    match found {
                        Found::Hit { id: found, lookup, entity, alias, .. } => {
                            // One entity lock at a time: the gone one's is let go first.
                            self.attempt.held.pop();
                            self.lock_entities(kind, &[&found]).await;
                            id = found;
                            via = Some(Via { lookups, hit: lookup, entity, when, aliased: alias.is_some() });
                            self.drop_old(kind, &id, via.as_mut());
                        }
                        Found::Miss if !matches!(step.operation, Operation::Upsert { .. }) => {
                            return self.missed(at, step, kind, &WireTarget::Lookups(lookups.to_vec()));
                        }
                        Found::Miss => {
                            return self.create_missing(Making { at, step, kind, lookups, links }).await;
                        }
                    }
                }
            }
        }
        Err(Trouble::permanent(format!("the {kind} it found is gone, and so is the next one")))
    }

    pub(super) async fn update_once(
        &mut self,
        at: usize,
        step: &Step,
        kind: Kind,
        id: &Id,
        via: Option<&Via<'_>>,
        links: &Links,
    ) -> Result<Sent, Trouble> {
        let mut known = Known::load(&*self.attempt.runtime.store, &self.account.name, kind, id).await?;
        if let Some(carried) = self.carried(step, &mut known) {
            self.learn([known.write(&self.account.name, kind, id)]);
            let (changes, line) = ahead::carried(carried);
            self.spares_write(kind, if changes.is_empty() { Saving::KnownValues } else { Saving::Squash });
            if changes.is_empty() {
                self.plan_mut().done(at, Effect::Unchanged, Some(id.clone()));
            } else {
                self.plan_mut().steps[at].changes = changes;
                self.plan_mut().decided(at, line);
                self.plan_mut().done(at, Effect::Updated, Some(id.clone()));
            }
            return Ok(Sent::Done);
        }
        // Without an age limit nothing counts but what is read now.
        let trusted = self.attempt.rule().map_or(Duration::ZERO, |rule| rule.config.reread_after.get());
        let since = self.account.seen_counts_since(kind, trusted);
        let origin = self.attempt.origin();
        let recent = if self.attempt.overwrites() { known.as_map_since(since) } else { known.as_map_of(since, origin) };
        let mut present = via.and_then(|v| v.entity.clone());
        let mut step = step.clone();
        let mut holds_all = false;
        if let Some(via) = via {
            step.if_empty.extend(vacant(&via.lookups[via.hit], &known, kind, &self.metadata));
        }
        if let Some(via) = via.filter(|v| v.hit > 0) {
            match self.back_fill(at, &mut step, kind, id, via, &mut present).await? {
                Stronger::Held => holds_all = true,
                Stronger::Filled => {}
                Stronger::Conflict => return Ok(Sent::Conflict),
                Stronger::Gone => return Ok(Sent::Gone),
            }
        }
        let mut outcome = self.body(&step, BodyFor::Update { present: present.as_ref(), known: Some(&recent) }, links)?;
        if outcome.needs_present && present.is_none() {
            match self.account.read(&self.session, kind, id, Purpose::ReadBeforeWrite).await? {
                Some(entity) => present = Some(entity),
                None => return Ok(Sent::Gone),
            }
            outcome = self.body(&step, BodyFor::Update { present: present.as_ref(), known: Some(&recent) }, links)?;
        }
        let known_by = |v: &Via<'_>| if holds_all { 0..=v.hit } else { v.hit..=v.hit };
        let mut writes = via.map(|v| self.index_puts(kind, id, &v.lookups[known_by(v)])).unwrap_or_default();
        self.plan_mut().steps[at].changes = outcome.changes;
        self.remark(at, outcome.notes, outcome.decisions);
        let is_new = |(field, value): (&String, &Json)| known.sent(field) != Some(value) || known.by(field) != Some(origin);
        let learned = outcome.sent.iter().any(is_new);
        for (field, value) in outcome.sent {
            known.note_sent(&field, value);
            known.note_by(&field, origin);
        }
        if outcome.body.is_empty() {
            self.spares_write(kind, Saving::KnownValues);
            // What the index knew needs no writing down again.
            if via.is_some_and(|v| v.entity.is_some() || v.aliased) || learned || holds_all {
                writes.push(known.write(&self.account.name, kind, id));
                self.learn(writes);
            }
            self.plan_mut().done(at, Effect::Unchanged, Some(id.clone()));
            return Ok(Sent::Done);
        }
        let body = outcome.body;
        if archived::goes_to_archive(kind, present.as_ref(), &body) {
            return Ok(Sent::Archived);
        }
        let mut ahead = self.look_ahead(&step, About::Id(id), &body, &known, present.as_ref()).await;
        self.squashed(at, &ahead);
        self.ensure_pinned().await?;
        // Before it is sent and after: what others read until the answer is old, whatever the answer.
        self.attempt.runtime.locks.written(entity_name(&self.account.name, kind, id));
        self.account.mirror.wrote(kind, id);
        let mut answer = self.session.update(kind, id, ahead.body().unwrap_or(&body).clone()).await;
        if let Err(error) = &answer
            && self.is_sent_alone(at, &ahead, error)
        {
            ahead = Ahead::default();
            answer = self.session.update(kind, id, body.clone()).await;
        }
        self.attempt.runtime.locks.written(entity_name(&self.account.name, kind, id));
        self.account.mirror.wrote(kind, id);
        match answer {
            Ok(entity) => {
                let body = ahead.body().unwrap_or(&body);
                if body.contains_key("emails") {
                    self.learn(self.follow_emails(kind, id, present.as_ref(), &entity));
                }
                known.forget_carried();
                ahead.note(&mut known, &self.attempt.pending.id);
                known.note_seen(kind, &entity, Timestamp::now());
                if let Some(via) = via {
                    writes = self.index_puts(kind, id, &via.lookups[..=via.hit]);
                }
                writes.push(known.write(&self.account.name, kind, id));
                self.learn(writes);
                self.plan_mut().done(at, Effect::Updated, Some(id.clone()));
                Ok(Sent::Done)
            }
            Err(error) if error.is_gone() => {
                // It may be what it links to that is not there.
                if links.none_found() || self.session.get(kind, id, Purpose::ReadBeforeWrite).await?.is_none() {
                    return Ok(Sent::Gone);
                }
                self.plan_mut().steps[at].state = StepState::Todo;
                Err(error.into())
            }
            Err(error) if error.class() == FailureClass::UnknownOutcome => {
                let tries = match self.plan().steps[at].state {
                    StepState::Sending { tries, .. } => tries + 1,
                    _ => 1,
                };
                let target = Some(id.clone());
                let state = StepState::Sending { since: Timestamp::now(), body: Json::Object(body), tries, target };
                self.plan_mut().steps[at].state = state;
                Err(self.write_in_doubt(at, error, tries))
            }
            Err(error) => {
                self.plan_mut().steps[at].state = StepState::Todo;
                if self.refused_as_archived(kind, id, &error).await? {
                    return Ok(Sent::Archived);
                }
                Err(error.into())
            }
        }
    }

    /// What an earlier request has taken along of this step.
    fn carried(&self, step: &Step, known: &mut Known) -> Option<Carried> {
        if self.observe || self.attempt.replay.is_some() {
            return None;
        }
        known.take_carried(&self.attempt.pending.id, ahead::digest(step))
    }

    /// Says in the record what a request takes along.
    fn squashed(&mut self, at: usize, ahead: &Ahead) {
        if ahead.body().is_some() {
            self.plan_mut().decided(at, ahead.line());
        }
    }

    /// Whether a request that took something along was refused, so that it is to be sent by itself.
    fn is_sent_alone(&mut self, at: usize, ahead: &Ahead, error: &ApiError) -> bool {
        let again = ahead.body().is_some() && ahead::is_refused(error);
        if again {
            self.alone = true;
            self.plan_mut()
                .decided(at, "squash: Pipedrive refused what later events say with it; it was sent by itself".to_owned());
        }
        again
    }

    /// Notes that an update need not be sent. Where nothing is sent anyway, nothing is spared.
    fn spares_write(&self, kind: Kind, by: Saving) {
        if !self.observe {
            self.session.saved(by, tokens(&Request::new(Method::Patch, kind.path())));
        }
    }

    /// Adds to a step's warnings what is not among them, and notes what its policies decided.
    pub(super) fn remark(&mut self, at: usize, notes: Vec<String>, decisions: Vec<String>) {
        let plan = self.plan_mut();
        let warnings = &mut plan.steps[at].warnings;
        for note in notes {
            if !warnings.contains(&note) {
                warnings.push(note);
            }
        }
        for line in decisions {
            plan.decided(at, line);
        }
    }

    /// An entity that was read before somebody else wrote it is not what is there now.
    fn drop_old(&self, kind: Kind, id: &Id, via: Option<&mut Via<'_>>) {
        if let Some(via) = via
            && self.attempt.runtime.locks.written_since(&entity_name(&self.account.name, kind, id), via.when)
        {
            via.entity = None;
        }
    }

    /// A write whose outcome is not known, and which reconciliation has not found: tried again, unless the body is the cause.
    fn write_in_doubt(&mut self, at: usize, error: ApiError, tries: u32) -> Trouble {
        match repeated_500(&error, tries) {
            Some(trouble) => {
                self.plan_mut().steps[at].state = StepState::Todo;
                trouble
            }
            None => self.write_failed(error),
        }
    }

    fn body(&self, step: &Step, purpose: BodyFor<'_>, links: &Links) -> Result<BodyOutcome, Trouble> {
        plan::body(step, purpose, &|target| links.id(target), &self.metadata)
            .map_err(|problem: PlanProblem| Trouble::plan(&self.attempt.set, std::slice::from_ref(&problem)))
    }
}

/// How an update went.
pub(super) enum Sent {
    Done,
    /// It is archived, and nothing was changed.
    Archived,
    /// 404 or 410.
    Gone,
    /// The stronger criterion's field holds another value, and the policy is to create.
    Conflict,
}

/// The same body was answered with 500 again and again: it is the cause.
fn repeated_500(error: &ApiError, tries: u32) -> Option<Trouble> {
    let suspect = matches!(error.kind, ErrorKind::Server { suspect_body: true, .. });
    (suspect && tries >= SAME_500)
        .then(|| Trouble::permanent(format!("{error}, {tries} times for the same body: the body itself is likely the cause")))
}
