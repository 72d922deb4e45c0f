//! What a replay knows of what was done before it: by the delivery that it repeats, by what that one repeated, and by whatever else repeats
//! the same.
//!
//! Invariants:
//! - An action is the same as an earlier one when it has the same verb and kind, and the same key; without a key, when it stands at the same
//!   place among those of its verb and kind. Upserts and creates count as one verb, since both make a record; raw requests have their method
//!   and path for a key. So neither lines nor actions of other kinds that a mended script puts in between make it another one.
//! - The newest repetition speaks first. What was only observed, or went to another account, says nothing.
//! - A replay is as old as the first event of its family: what another event, accepted later, has said of a field stands.

use serde::Deserialize;
use serde_json::Value as Json;

use super::execute::Executor;
use super::pinned::{PinnedPlan, PinnedStep, told_apart_by};
use super::record::{Effect, StepRecord, StepState};
use super::trouble::Trouble;
use crate::pipedrive::{Id, Kind, NOT_SENT, Purpose, is_made_up};
use crate::plan::{Change, Operation, Step};
use crate::script::Read;
use crate::store::{DeliveryId, DeliveryState, Pending, ReplayOptions, Seq, Store, StoredEvent};

/// What a delivery repeats.
#[derive(Debug)]
pub(super) struct Replay {
    /// How it goes about what was done before.
    pub(super) how: ReplayOptions,
    /// The first event of its family.
    pub(super) origin: Seq,
    /// What others of the family did, newest first.
    before: Vec<Earlier>,
}

/// What an earlier delivery did.
#[derive(Debug)]
struct Earlier {
    id: DeliveryId,
    steps: Vec<(Same, StepRecord)>,
    reads: Vec<(Read, Json)>,
}

/// What makes an action the same as another one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Same {
    verb: &'static str,
    kind: Option<Kind>,
    place: Place,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Key(String),
    /// Among those of its verb and kind without a key.
    Nth(usize),
}

/// A delivery's newest record, as far as it is of use here.
#[derive(Deserialize)]
struct Record {
    #[serde(default)]
    account: String,
    #[serde(default)]
    outcome: String,
    #[serde(default)]
    steps: Vec<StepRecord>,
    #[serde(default)]
    exchanges: Vec<Exchange>,
    #[serde(default)]
    reads: Vec<(Read, Json)>,
}

#[derive(Deserialize)]
struct Exchange {
    #[serde(default)]
    error: Option<String>,
}

impl Record {
    /// Nothing that writes was sent.
    fn only_observed(&self) -> bool {
        self.outcome == DeliveryState::Observed.as_str() || self.exchanges.iter().any(|e| e.error.as_deref() == Some(NOT_SENT))
    }
}

impl Replay {
    /// What the delivery repeats; none: nothing.
    pub(super) async fn load(store: &dyn Store, stored: &StoredEvent, pending: &Pending) -> Result<Option<Self>, Trouble> {
        let Some(repeats) = &stored.repeats else { return Ok(None) };
        let family = store.relatives(stored.seq).await?;
        let mut before = Vec::new();
        for seq in family.iter().rev().filter(|seq| **seq < stored.seq) {
            let id = DeliveryId { seq: *seq, rule: pending.id.rule.clone() };
            // A later attempt's record holds the steps of those before it.
            let newest = store.records(&id).await?.pop();
            let record: Option<Record> = newest.map(|bytes| readable(&bytes, &id)).transpose()?;
            if record.as_ref().is_some_and(|record| record.account != *pending.account || record.only_observed()) {
                continue;
            }
            // Of one that a crash cut off, or whose worker failed, only the plan tells what was sent.
            let pinned: Option<PinnedPlan> = store.pinned(&id).await?.map(|bytes| readable(&bytes, &id)).transpose()?;
            let (told, reads) = record.map(|record| (record.steps, record.reads)).unwrap_or_default();
            let steps = pinned.map_or(told, |plan| plan.step_records());
            let sames = sames(steps.iter().map(|step| (verb_of(&step.verb), step.kind, step.key.clone())));
            before.push(Earlier { id, steps: sames.into_iter().zip(steps).collect(), reads });
        }
        let origin = family.first().copied().unwrap_or_else(|| repeats.seq());
        Ok(Some(Self { how: repeats.how, origin, before }))
    }

    /// What became of the same action the last time that it was begun, and by whom.
    fn earlier(&self, same: &Same) -> Option<(&StepState, &DeliveryId)> {
        self.before.iter().find_map(|earlier| {
            let mut steps = earlier.steps.iter().filter(|(theirs, _)| theirs == same);
            steps.find_map(|(_, step)| begun(&step.state)).map(|state| (state, &earlier.id))
        })
    }

    /// The record that an earlier delivery made for this action of a plan.
    pub(super) fn made(&self, plan: &PinnedPlan, at: usize) -> Option<(&Id, &DeliveryId)> {
        if self.how.again {
            return None;
        }
        match self.earlier(sames_of(plan).get(at)?)? {
            (StepState::Done { effect: Effect::Created | Effect::Exists, id: Some(id) }, by) => Some((id, by)),
            _ => None,
        }
    }

    /// Whether an earlier delivery created the entity that a read finds, where it had found nothing by the same question.
    pub(super) fn was_not_there(&self, read: &Read, kind: Kind, id: &Id) -> bool {
        let created = |step: &StepRecord| {
            step.kind == Some(kind)
                && matches!(&step.state, StepState::Done { effect: Effect::Created, id: Some(made) } if made == id)
        };
        let asked =
            |earlier: &Earlier| earlier.reads.iter().find(|(question, _)| question == read).is_some_and(|(_, a)| a.is_null());
        !self.how.again && self.before.iter().any(|earlier| earlier.steps.iter().any(|(_, step)| created(step)) && asked(earlier))
    }

    /// What the newest of the earlier deliveries that changed an entity has changed, and the entity as its script had read it before.
    pub(super) fn read_then(&self, kind: Kind, id: &Id) -> Option<(Vec<Change>, &Json)> {
        if self.how.again {
            return None;
        }
        self.before.iter().find_map(|earlier| {
            let changed = earlier.steps.iter().filter(|(_, step)| {
                step.kind == Some(kind)
                    && matches!(&step.state, StepState::Done { effect: Effect::Updated, id: Some(theirs) } if theirs == id)
            });
            let changes: Vec<Change> = changed.flat_map(|(_, step)| step.changes.iter().cloned()).collect();
            let read = |(_, answer): &&(Read, Json)| answer.get("id").and_then(Id::from_json).as_ref() == Some(id);
            let then = earlier.reads.iter().find(read).map(|(_, answer)| answer)?;
            (!changes.is_empty()).then_some((changes, then))
        })
    }

    /// Takes over what must not be done twice: what was created, deleted, merged, converted or requested is done; a create whose answer was
    /// lost is looked for before it is sent. Upserts and updates find out by themselves.
    pub(super) fn take_over(&self, plan: &mut PinnedPlan) {
        if self.how.again {
            return;
        }
        let sames = sames_of(plan);
        for (at, same) in sames.iter().enumerate() {
            let Some((state, by)) = self.earlier(same) else { continue };
            match taken(&plan.steps[at].step.operation, state, by) {
                Some(Taken::Done(effect, id, line)) => {
                    plan.done(at, effect, id);
                    plan.decided(at, line);
                }
                Some(Taken::InDoubt(state, line)) => {
                    plan.steps[at].state = state;
                    plan.steps[at].warnings.push(line);
                }
                None => {}
            }
        }
    }
}

/// What was stored of an earlier delivery. What cannot be read is not taken for nothing: it may tell of a create.
fn readable<T: serde::de::DeserializeOwned>(bytes: &[u8], of: &DeliveryId) -> Result<T, Trouble> {
    serde_json::from_slice(bytes).map_err(|error| {
        Trouble::permanent(format!(
            "what delivery {of} did cannot be read ({error}), so nobody knows what must not be done twice; look at it in Pipedrive, and \
             send a new event for what is missing"
        ))
    })
}

/// What is taken over of an earlier action.
enum Taken {
    Done(Effect, Option<Id>, String),
    InDoubt(StepState, String),
}

fn taken(operation: &Operation, earlier: &StepState, by: &DeliveryId) -> Option<Taken> {
    let kind = operation.kind().map_or("record", Kind::as_str);
    let done = |effect, id: &Option<Id>, what: &str| {
        let line = format!("replay: {what} by delivery {by}, and not again (--again)");
        Some(Taken::Done(effect, id.clone(), line))
    };
    match (operation, earlier) {
        (Operation::Create { .. }, StepState::Done { effect: Effect::Created | Effect::Exists, id: id @ Some(made) }) => {
            done(Effect::Exists, id, &format!("the {kind} {made} was created"))
        }
        (Operation::Create { .. } | Operation::Upsert { .. }, StepState::Sending { since, body, target: None, .. }) => {
            let state = StepState::Sending { since: *since, body: body.clone(), tries: 0, target: None };
            let line = format!("delivery {by} sent it and got no answer; it is looked for before it is sent again");
            Some(Taken::InDoubt(state, line))
        }
        (Operation::Delete { .. }, StepState::Done { effect: Effect::Deleted, id }) => {
            done(Effect::Unchanged, id, &format!("the {kind} was deleted"))
        }
        (Operation::Merge { .. }, StepState::Done { effect: Effect::Merged, id }) => {
            done(Effect::Unchanged, id, &format!("the two were merged to one {kind}"))
        }
        (Operation::Convert { .. }, StepState::Done { effect: Effect::Converted, id }) => {
            done(Effect::Unchanged, id, "the lead was converted")
        }
        (Operation::Request { .. }, StepState::Done { effect: Effect::Requested, id }) => {
            done(Effect::Unchanged, id, "the request was sent")
        }
        _ => None,
    }
}

/// An action that was begun: what it came to, or that this is not known. One that found everything as it should be began nothing: what an
/// older one has done stands.
fn begun(state: &StepState) -> Option<&StepState> {
    match state {
        StepState::Todo | StepState::Done { effect: Effect::Unchanged | Effect::Skipped | Effect::Updated, .. } => None,
        StepState::Done { id: Some(id), .. } if is_made_up(id).is_some() => None,
        state => Some(state),
    }
}

fn verb_of(verb: &str) -> &'static str {
    match verb {
        "create" | "upsert" => "make",
        "update" => "update",
        "delete" => "delete",
        "merge" => "merge",
        "convert" => "convert",
        _ => "request",
    }
}

fn sames_of(plan: &PinnedPlan) -> Vec<Same> {
    let named = |step: &Step| (verb_of(step.operation.verb()), step.operation.kind(), told_apart_by(step));
    sames(plan.steps.iter().map(|s| named(&s.step)))
}

fn sames(steps: impl Iterator<Item = (&'static str, Option<Kind>, Option<String>)>) -> Vec<Same> {
    let mut all: Vec<Same> = Vec::new();
    for (verb, kind, key) in steps {
        let place = match key {
            Some(key) => Place::Key(key),
            None => {
                let alike = |s: &&Same| s.verb == verb && s.kind == kind && matches!(s.place, Place::Nth(_));
                Place::Nth(all.iter().filter(alike).count())
            }
        };
        all.push(Same { verb, kind, place });
    }
    all
}

impl Executor<'_> {
    /// Looks whether the records that were made before are still there, where a later action refers to one. Of the others nothing is asked:
    /// who deleted them had a reason.
    pub(super) async fn look_at_taken(&mut self) -> Result<(), Trouble> {
        let Some(replay) = &self.attempt.replay else { return Ok(()) };
        let plan = self.plan();
        let mut needed = Vec::new();
        for (at, taken) in plan.steps.iter().enumerate() {
            let StepState::Done { effect: Effect::Exists, id: Some(id) } = &taken.state else { continue };
            let needs = |other: &PinnedStep| other.state == StepState::Todo && other.step.refers_to(taken.step.ordinal);
            if let (Some(other), Some(kind), Some((_, by))) =
                (plan.steps.iter().find(|other| needs(other)), taken.step.operation.kind(), replay.made(plan, at))
            {
                needed.push((kind, id.clone(), other.step.ordinal + 1, by.clone()));
            }
        }
        for (kind, id, action, by) in needed {
            if self.session.get(kind, &id, Purpose::ReadBeforeWrite).await?.is_none() {
                return Err(Trouble::permanent(format!(
                    "action {action} refers to the {kind} {id}, which delivery {by} created and which is not in Pipedrive any more; restore \
                     it there and replay, or replay with --again to have it created anew"
                )));
            }
        }
        Ok(())
    }

    /// The record that was made for an upsert before, whatever its match finds now, while it is there.
    pub(super) async fn made_before(&mut self, at: usize) -> Result<Option<Id>, Trouble> {
        let made = self.attempt.replay.as_ref().and_then(|replay| replay.made(self.plan(), at));
        let Some((id, by)) = made.map(|(id, by)| (id.clone(), by.clone())) else { return Ok(None) };
        let Some(kind) = self.plan().steps[at].step.operation.kind() else { return Ok(None) };
        if self.session.get(kind, &id, Purpose::ReadBeforeWrite).await?.is_none() {
            return Ok(None);
        }
        let line = format!(
            "replay: the {kind} {id} was created by delivery {by}; its match does not find it, and it is taken all the same"
        );
        self.plan_mut().decided(at, line);
        Ok(Some(id))
    }

    /// Why nothing is created for an upsert: that was done before, and somebody has taken it away since.
    pub(super) fn made_and_gone(&self, at: usize, kind: Kind) -> Option<Trouble> {
        let (id, by) = self.attempt.replay.as_ref()?.made(self.plan(), at)?;
        Some(Trouble::permanent(format!(
            "its match no longer finds the {kind} {id} that delivery {by} created for this action: it was deleted, merged or changed in \
             Pipedrive. Mend it there and replay, or replay with --again to have another one created"
        )))
    }
}
