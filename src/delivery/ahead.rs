//! Squashing: a request takes along what later deliveries of the lane say of the same entity.
//!
//! The later ones still run in their own turns, in order, whole. By then it is known that what their step says went out, so nothing is left to
//! send, and their records name the request that carried it. Where their step is another one by then (the scripts were changed), or anything
//! was sent to the entity since, they send it themselves. So whatever happens in between, each delivery still sees to it that what it says
//! was there: squashing spares requests and decides nothing.
//!
//! Invariants: later deliveries are planned in their order, each against the state that those before it leave; looking ahead sends no
//! request and ends at the first delivery of which anything is not certain: a script that reads or fails, an entity or a link that the
//! index does not know, a value that has to be read first, a delete, a merge, a conversion, a raw request. Status, stage and
//! pipeline, and what goes with them, are never taken along nor joined; notes and activities are none of its business.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use serde_json::{Map, Value as Json};

use super::decide;
use super::execute::Executor;
use super::reads::put_on;
use crate::config::WritePolicy;
use crate::crm::{Address, Carried, Known, Lookup, WireTarget, WireValue, index};
use crate::event::Event;
use crate::pipedrive::{ApiError, ErrorKind, Id, Kind};
use crate::plan::{self, BodyFor, Change, Operation, Step};
use crate::script::{Memo, Outcome, RunRequest};
use crate::store::{DeliveryId, Pending, Seq};

/// What is sent by itself: others act on each change of it.
const ALONE: &[&str] = &[
    "status",
    "stage_id",
    "pipeline_id",
    "probability",
    "lost_reason",
    "close_time",
    "won_time",
    "lost_time",
    "is_archived",
    "archive_time",
    "is_deleted",
];

/// What a request takes along.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// The whole body: the request's own, with what later deliveries say over it.
    body: Map<String, Json>,
    /// What each of them says, in order.
    said: Vec<Said>,
    /// What they have said last of each field, and which event that was.
    sent: Map<String, Json>,
    by: HashMap<String, Seq>,
}

#[derive(Debug)]
struct Said {
    of: DeliveryId,
    step: u64,
    changes: Vec<Change>,
}

/// The entity that a request is about.
pub(super) enum About<'a> {
    /// It is there.
    Id(&'a Id),
    /// It is made by these criteria; whoever means it begins with the first of them.
    Made(&'a [Lookup]),
}

impl Ahead {
    /// The body to send in place of the request's own; none: nothing is taken along.
    pub(super) fn body(&self) -> Option<&Map<String, Json>> {
        self.said.iter().any(|said| !said.changes.is_empty()).then_some(&self.body)
    }

    /// Notes what of the later deliveries was sent.
    pub(super) fn note(&self, known: &mut Known, me: &DeliveryId) {
        if self.body().is_none() {
            return;
        }
        for (field, value) in &self.sent {
            known.note_sent(field, value.clone());
        }
        for (field, by) in &self.by {
            known.note_by(field, *by);
        }
        for said in &self.said {
            let changes = said.changes.iter().filter_map(|change| serde_json::to_value(change).ok()).collect();
            known.note_carried(&Carried { of: said.of.to_string(), step: said.step, carrier: me.to_string(), changes });
        }
    }

    /// For the record.
    pub(super) fn line(&self) -> String {
        let names = self.said.iter().filter(|said| !said.changes.is_empty()).map(|said| said.of.to_string());
        format!("squash: the request also carries what later events say: {}", names.collect::<Vec<_>>().join(", "))
    }
}

/// The changes of what an earlier request has carried of a delivery, and for its record where it went out.
pub(super) fn carried(carried: Carried) -> (Vec<Change>, String) {
    let changes = carried.changes.into_iter().filter_map(|change| serde_json::from_value(change).ok()).collect();
    (changes, format!("squash: what it says went out with the request of {}", carried.carrier))
}

/// Tells a step from every other one.
pub(super) fn digest(step: &Step) -> u64 {
    let mut hasher = DefaultHasher::new();
    serde_json::to_string(step).unwrap_or_default().hash(&mut hasher);
    hasher.finish()
}

/// Whether Pipedrive refuses what was sent, which may be for something that was taken along.
pub(super) fn is_refused(error: &ApiError) -> bool {
    matches!(error.kind, ErrorKind::Refused { status: 400 | 422, .. })
}

/// The state that the deliveries before leave.
struct State {
    kind: Kind,
    present: Option<Map<String, Json>>,
    known: Known,
    ahead: Ahead,
}

impl Executor<'_> {
    /// What later deliveries of the lane say of the entity that this step is about to write.
    pub(super) async fn look_ahead(
        &self,
        step: &Step,
        about: About<'_>,
        body: &Map<String, Json>,
        known: &Known,
        present: Option<&Map<String, Json>>,
    ) -> Ahead {
        let Some(kind) = self.may_look_ahead(step, body, &about) else { return Ahead::default() };
        let mut present = present.cloned();
        if let Some(present) = &mut present {
            put_on(present, body.clone());
        }
        let ahead = Ahead { body: body.clone(), ..Ahead::default() };
        let mut state = State { kind, present, known: known.clone(), ahead };
        for pending in &self.attempt.following {
            if self.take_along(pending, &about, &mut state).await.is_none() {
                break;
            }
        }
        state.ahead
    }

    /// The kind, when anything may be taken along.
    fn may_look_ahead(&self, step: &Step, body: &Map<String, Json>, about: &About<'_>) -> Option<Kind> {
        let kind = step.operation.kind().filter(|kind| !matches!(kind, Kind::Note | Kind::Activity))?;
        let updates = matches!(about, About::Id(_));
        let plan = self.plan();
        // Nothing that this plan still does may come after what later ones say.
        let last = plan.steps.iter().filter(|s| s.step.ordinal > step.ordinal).all(|s| {
            !matches!(s.step.operation, Operation::Request { .. } | Operation::Convert { .. } | Operation::Merge { .. })
                && s.step.operation.kind() != Some(kind)
        });
        let alone = self.observe
            || self.alone
            || self.attempt.replay.is_some()
            || self.attempt.following.is_empty()
            || (updates && ALONE.iter().any(|key| body.contains_key(*key)));
        (last && !alone).then_some(kind)
    }

    /// Takes along what one delivery says; none: nothing behind it may be taken along.
    async fn take_along(&self, pending: &Pending, about: &About<'_>, state: &mut State) -> Option<()> {
        let runtime = &self.attempt.runtime;
        let stored = runtime.store.event(pending.id.seq).await.ok()??;
        if stored.repeats.is_some() {
            return None;
        }
        let rule = self.attempt.set.rule(&pending.id.rule)?;
        let event = Event::from_payload(&stored.source, stored.received_at, &stored.payload).ok()?;
        if rule.config.max_event_age.is_some() {
            return None;
        }
        let request = RunRequest {
            rule: pending.id.rule.clone(),
            script: Arc::from(rule.config.script.as_str()),
            payload: stored.payload.clone(),
            message_id: event.message_id.clone(),
            memo: Memo(Vec::new()),
        };
        let plan = match runtime.pool.run(self.attempt.set.program.clone(), request).await.outcome {
            Outcome::Plan(plan) => plan,
            // They write nothing.
            Outcome::Skip(_) | Outcome::Fail(_) => return Some(()),
            Outcome::Read { .. } | Outcome::Retry(..) | Outcome::Error(_) => return None,
        };
        let context = decide::context_of(rule, self.account, &self.metadata, &event);
        let steps = plan::prepare(&plan, &context).ok()?;
        // Fresh metadata may know what was dropped.
        if steps.iter().any(|step| step.dropped) {
            return None;
        }
        for step in &steps {
            self.take_step(pending, step, &steps, about, state).await?;
        }
        Some(())
    }

    async fn take_step(
        &self,
        pending: &Pending,
        step: &Step,
        steps: &[Step],
        about: &About<'_>,
        state: &mut State,
    ) -> Option<()> {
        let lookups = match &step.operation {
            Operation::Upsert { kind, lookups } if *kind == state.kind => lookups,
            Operation::Update { kind, target: WireTarget::Lookups(lookups) } if *kind == state.kind => lookups,
            // Of another kind; or one more of its own.
            Operation::Upsert { .. } | Operation::Create { .. } => return Some(()),
            Operation::Update { kind, .. } if *kind != state.kind => return Some(()),
            _ => return None,
        };
        if !self.is_about(lookups, about, state.kind).await {
            return Some(());
        }
        // It is sent in any case.
        if step.write == WritePolicy::Always {
            return None;
        }
        let links = self.links_ahead(step, steps).await?;
        let made = matches!(about, About::Made(_));
        let blank = |address: &Address| {
            let held = state.ahead.body.contains_key(address.key());
            held || matches!(address, Address::Custom(_))
        };
        // What Pipedrive itself puts into a new entity is not known before.
        if made && step.if_empty.iter().chain(&step.unless_edited).any(|field| !blank(&field.address)) {
            return None;
        }
        let trusted = self.attempt.set.rule(&pending.id.rule)?.config.reread_after.get();
        let known = state.known.as_map_since(self.account.seen_counts_since(state.kind, trusted));
        let present = if made { Some(&state.ahead.body) } else { state.present.as_ref() };
        let purpose = BodyFor::Update { present, known: Some(&known) };
        let outcome = plan::body(step, purpose, &|target| links.get(&key_of(target)).cloned(), &self.metadata).ok()?;
        if outcome.needs_present || ALONE.iter().any(|key| outcome.body.contains_key(*key)) {
            return None;
        }
        put_on(&mut state.ahead.body, outcome.body.clone());
        if let Some(present) = &mut state.present {
            put_on(present, outcome.body);
        }
        for (field, value) in outcome.sent {
            state.known.note_sent(&field, value.clone());
            state.ahead.by.insert(field.clone(), pending.id.seq);
            state.ahead.sent.insert(field, value);
        }
        state.ahead.said.push(Said { of: pending.id.clone(), step: digest(step), changes: outcome.changes });
        Some(())
    }

    /// Whether the criteria lead to the entity, as far as the index knows. What it does not know of is found in the delivery's own turn.
    async fn is_about(&self, lookups: &[Lookup], about: &About<'_>, kind: Kind) -> bool {
        match (lookups.first(), about) {
            (Some(first), About::Made(made)) => made.first() == Some(first),
            (Some(_), About::Id(id)) => self.indexed(kind, lookups).await.as_ref() == Some(*id),
            (None, _) => false,
        }
    }

    /// What the links of a step lead to, as far as the index knows; none: one of them is not certain.
    async fn links_ahead(&self, step: &Step, steps: &[Step]) -> Option<HashMap<String, Id>> {
        let mut found = HashMap::new();
        for field in step.fields.iter().chain(&step.unless_edited).chain(&step.if_empty) {
            let WireValue::Link { kind, target, .. } = &field.value else { continue };
            let id = match target {
                WireTarget::Id(id) => id.clone(),
                // No criterion is left: the field is left alone.
                WireTarget::Lookups(lookups) if lookups.is_empty() => continue,
                WireTarget::Lookups(lookups) => self.indexed(*kind, lookups).await?,
                WireTarget::Reference(ordinal) => match &steps.iter().find(|step| step.ordinal == *ordinal)?.operation {
                    // Skipped: there is nothing to link to.
                    Operation::Upsert { lookups, .. } if lookups.is_empty() => continue,
                    Operation::Upsert { kind, lookups } => self.indexed(*kind, lookups).await?,
                    _ => return None,
                },
            };
            found.insert(key_of(target), id);
        }
        Some(found)
    }

    /// The only entity that the index has for the first criterion.
    async fn indexed(&self, kind: Kind, lookups: &[Lookup]) -> Option<Id> {
        let first = lookups.first()?;
        let whole = first.0.iter().all(|term| index::is_indexed(kind, &term.address, self.metadata.type_of(kind, &term.address)));
        let ids =
            index::candidates(&*self.attempt.runtime.store, &self.account.name, kind, first, &self.metadata).await.ok()??;
        let mut ids = ids.into_iter();
        ids.next().filter(|_| whole && ids.next().is_none())
    }
}

fn key_of(target: &WireTarget) -> String {
    serde_json::to_string(target).unwrap_or_default()
}
