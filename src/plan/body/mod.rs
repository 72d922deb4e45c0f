//! From a step to the body of its request.
//!
//! Invariants: a body holds only what has to be sent; a list or a value with parts is never replaced blindly (without its present value
//! the outcome says `needs_present` and is not to be sent); an edit that a person made in Pipedrive stands unless the
//! policy says otherwise.
//!
//! Known values ([`crate::crm::Known`]) hold per field key what was last sent and what was last seen. `sent` is what the source said, not
//! what a merge made of it; [`BodyOutcome::sent`] is what to note there. `seen` stands in for the present entity where a single value is
//! compared; for a list or a value with parts only while it is marked as `fresh`.

mod entity;
mod lists;
mod same;
mod shown;
mod stage;
mod wire;

pub(super) use entity::value as entity_value;
pub(super) use same::is_empty;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};

use super::field::{self, FieldRef};
use super::prepare::{may_be_unlinked, missing_field, missing_link, problem};
use super::refusal::Refusal;
use super::shape;
use super::{PlanProblem, Step, WireField};
use crate::config::WritePolicy;
use crate::crm::Writable;
use crate::crm::{Address, ListOp, Metadata, WireTarget, WireValue};
use crate::pipedrive::{Id, Kind};

/// What the body is for.
#[derive(Debug, Clone, Copy)]
pub enum BodyFor<'a> {
    /// A create.
    Create,
    /// An update.
    Update {
        /// The entity as Pipedrive answered it, when it is at hand.
        present: Option<&'a Map<String, Json>>,
        /// Known values: `{field key: {"sent": .., "seen": ..}}`.
        known: Option<&'a Map<String, Json>>,
    },
}

/// A changed field, for the decision record. It is pinned with its plan: fields are only ever added, with a default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Its name in the script.
    pub field: String,
    /// The value before, as far as it is known; null when it is empty or not known.
    pub before: Json,
    /// The value that is sent; null empties.
    pub after: Json,
    /// What people know the ids of `before` by: options, labels, stages, pipelines, users.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before_name: Option<String>,
    /// The same of `after`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_name: Option<String>,
}

/// A body, or the news that it needs the present entity.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct BodyOutcome {
    /// The body. Empty: nothing to send.
    pub body: Map<String, Json>,
    /// What it changes.
    pub changes: Vec<Change>,
    /// The body cannot be told without the present entity: read it and ask again. The body is not to be sent.
    pub needs_present: bool,
    /// What is now known as last sent, by field key: to be merged into the known values once the request, if any, succeeded.
    pub sent: Map<String, Json>,
    /// What was decided on the way, for the decision record.
    pub notes: Vec<String>,
}

/// Builds the body of a step's request.
///
/// `links` answers which entity a target has come to; `None` leaves the field alone.
///
/// # Errors
/// When a create lacks a field or link that its kind needs, or a field has gone from the account since the plan was made.
pub fn body(
    step: &Step,
    purpose: BodyFor<'_>,
    links: &dyn Fn(&WireTarget) -> Option<Id>,
    metadata: &Metadata,
) -> Result<BodyOutcome, PlanProblem> {
    let refused = |refusal| problem(&step.at, step.ordinal, refusal);
    let Some(kind) = step.operation.kind() else { return Ok(BodyOutcome::default()) };
    // A conversion carries the deal's stage and pipeline.
    let fields_kind = if matches!(step.operation, super::Operation::Convert { .. }) { Kind::Deal } else { kind };
    let builder = Builder { kind: fields_kind, links, metadata };
    let fields = builder.resolve(&step.fields).map_err(refused)?;
    let if_empty = builder.resolve(&step.if_empty).map_err(refused)?;
    match purpose {
        BodyFor::Create => {
            let on_create = builder.resolve(&step.on_create).map_err(refused)?;
            let mut outcome = create(fields, if_empty, on_create, metadata);
            if fields_kind == kind {
                if kind == Kind::Note {
                    unpin(&mut outcome);
                }
                complete(step, kind, &outcome.body).map_err(refused)?;
            }
            Ok(outcome)
        }
        BodyFor::Update { present, known } => {
            let update = Update { policy: step.write, present, known, metadata, outcome: BodyOutcome::default() };
            Ok(update.build(&fields, &if_empty))
        }
    }
}

/// What a field is to become, links resolved.
#[derive(Debug, Clone)]
enum Wanted {
    /// This value; null empties.
    Value(Json),
    List {
        op: ListOp,
        items: Vec<Json>,
    },
}

impl Wanted {
    /// The form in which it is compared with known values.
    fn source(&self) -> Json {
        match self {
            Self::Value(value) => value.clone(),
            Self::List { op: ListOp::Replace, items } => Json::Array(items.clone()),
            Self::List { op, items } => json!({ "op": op, "items": items }),
        }
    }
}

struct Ready<'a> {
    field: FieldRef<'a>,
    name: String,
    wanted: Wanted,
}

struct Builder<'a> {
    kind: Kind,
    links: &'a dyn Fn(&WireTarget) -> Option<Id>,
    metadata: &'a Metadata,
}

impl<'a> Builder<'a> {
    /// The fields with links resolved; those whose link leads nowhere are left out.
    fn resolve(&self, fields: &[WireField]) -> Result<Vec<Ready<'a>>, Refusal> {
        let mut ready: Vec<Ready<'a>> = Vec::with_capacity(fields.len());
        for wire in fields {
            let wanted = match &wire.value {
                WireValue::Json(json) => Wanted::Value(json.clone()),
                WireValue::Clear => Wanted::Value(Json::Null),
                WireValue::List { op, items } => Wanted::List { op: *op, items: items.clone() },
                WireValue::Link { target, .. } => match (self.links)(target) {
                    Some(id) => Wanted::Value(id.to_json()),
                    None => continue,
                },
            };
            let (address, wanted) = self.through_participants(&wire.address, wanted);
            let field = field::at(self.kind, &address, self.metadata).ok_or_else(|| gone(self.kind, wire))?;
            match ready.iter_mut().find(|r| r.field.address == address) {
                Some(first) => both_participants(first, wanted),
                None => ready.push(Ready { field, name: wire.name.clone(), wanted }),
            }
        }
        Ok(ready)
    }

    /// `person_id` of an activity is read-only on the wire: the person is the primary participant.
    fn through_participants(&self, address: &Address, wanted: Wanted) -> (Address, Wanted) {
        match (self.kind, address, wanted) {
            (Kind::Activity, Address::Standard(key), Wanted::Value(id)) if key == "person_id" && !id.is_null() => {
                let items = vec![json!({ "person_id": id, "primary": true })];
                (Address::Standard("participants".to_owned()), Wanted::List { op: ListOp::Primary, items })
            }
            (_, address, wanted) => (address.clone(), wanted),
        }
    }
}

/// `person_id` and `participants` of one activity are one list, with the person first.
fn both_participants(first: &mut Ready<'_>, second: Wanted) {
    if let (Wanted::List { op, items }, Wanted::List { op: other, items: more }) = (&mut first.wanted, second) {
        let (head, tail) = if other == ListOp::Primary { (more, std::mem::take(items)) } else { (std::mem::take(items), more) };
        let new = |item: &Json| !head.iter().any(|h| h.get("person_id") == item.get("person_id"));
        let tail: Vec<Json> = tail.into_iter().filter(new).collect();
        *items = head.into_iter().chain(tail).collect();
        *op = ListOp::Primary;
    }
}

fn gone(kind: Kind, wire: &WireField) -> Refusal {
    Refusal::name(format!("{} no longer have the field `{}`", field::plural(kind), wire.name))
        .help("correct the script, or restore the field in Pipedrive")
}

/// Everything that a create can carry. The script's fields come first; lists are put together.
fn create(fields: Vec<Ready<'_>>, if_empty: Vec<Ready<'_>>, on_create: Vec<Ready<'_>>, metadata: &Metadata) -> BodyOutcome {
    let mut outcome = BodyOutcome::default();
    let mut all: Vec<(Ready<'_>, Json)> = Vec::new();
    for ready in fields.into_iter().chain(if_empty).chain(on_create) {
        if ready.field.write == Writable::Update {
            continue;
        }
        match all.iter_mut().find(|(first, _)| first.field.address == ready.field.address) {
            Some((first, _)) => {
                if let (Wanted::List { items, op }, Wanted::List { items: more, op: other }) = (&mut first.wanted, ready.wanted)
                    && *op != ListOp::Remove
                    && other != ListOp::Remove
                {
                    let keys: Vec<String> = items.iter().map(|i| lists::key(&first.field, i)).collect();
                    items.extend(more.into_iter().filter(|i| !keys.contains(&lists::key(&first.field, i))));
                }
            }
            None => {
                let source = ready.wanted.source();
                all.push((ready, source));
            }
        }
    }
    let staged = all.iter().any(|(ready, _)| ready.field.address.key() == "stage_id");
    for (mut ready, source) in all {
        if stage::is_at_least(&ready.field) {
            outcome.sent.insert(ready.field.address.key().to_owned(), source.clone());
            if staged {
                continue;
            }
            ready.field = stage::written(&ready.field);
        }
        let value = match &ready.wanted {
            Wanted::Value(value) => value.clone(),
            Wanted::List { op, items } => Json::Array(lists::merge(&ready.field, &Json::Null, *op, items)),
        };
        if is_empty(&value) {
            continue;
        }
        outcome.sent.insert(ready.field.address.key().to_owned(), source);
        outcome.changes.push(shown::change(&ready.field, ready.name, Json::Null, value.clone(), metadata));
        wire::put(&mut outcome.body, &ready.field, value);
    }
    outcome
}

/// The pins of a note, with the link that each needs.
const PINS: [(&str, &str); 6] = [
    ("pinned_to_lead_flag", "lead_id"),
    ("pinned_to_deal_flag", "deal_id"),
    ("pinned_to_person_flag", "person_id"),
    ("pinned_to_organization_flag", "org_id"),
    ("pinned_to_project_flag", "project_id"),
    ("pinned_to_task_flag", "task_id"),
];

/// Pipedrive refuses a new note that is pinned to what it does not link to: a link that came to nothing takes its pin along.
fn unpin(outcome: &mut BodyOutcome) {
    for (pin, link) in PINS {
        let unlinked = outcome.body.get(pin) == Some(&json!(1)) && !outcome.body.contains_key(link);
        if unlinked && outcome.body.remove(pin).is_some() {
            outcome.notes.push(format!("left out: `{pin}`, since the note has no `{link}`"));
        }
    }
}

/// Refuses a create that Pipedrive would refuse.
fn complete(step: &Step, kind: Kind, body: &Map<String, Json>) -> Result<(), Refusal> {
    let has = |key: &str| body.get(key).is_some_and(|v| !is_empty(v));
    if let Some(key) = shape::required(kind)
        && !has(key)
    {
        return Err(missing_field(kind, key));
    }
    let links = shape::links(kind);
    if !links.is_empty() && !links.iter().any(|key| has(key)) && !may_be_unlinked(step, kind) {
        return Err(missing_link(kind));
    }
    Ok(())
}

struct Update<'a> {
    policy: WritePolicy,
    metadata: &'a Metadata,
    present: Option<&'a Map<String, Json>>,
    known: Option<&'a Map<String, Json>>,
    outcome: BodyOutcome,
}

impl Update<'_> {
    fn build(mut self, fields: &[Ready<'_>], if_empty: &[Ready<'_>]) -> BodyOutcome {
        for ready in fields {
            self.field(ready);
        }
        for ready in if_empty {
            if !fields.iter().any(|f| f.field.address == ready.field.address) {
                self.only_if_empty(ready);
            }
        }
        self.outcome
    }

    fn field(&mut self, ready: &Ready<'_>) {
        if ready.field.write == Writable::Create {
            return;
        }
        let source = ready.wanted.source();
        if self.policy == WritePolicy::Changed
            && self.last_sent(ready).is_some_and(|sent| same_source(&ready.field, sent, &source))
        {
            return;
        }
        if stage::is_at_least(&ready.field) {
            return self.forward(ready, source);
        }
        let present = self.present(ready);
        let target = match (&ready.wanted, &present) {
            (_, None) if ready.field.shape.is_replaced_whole() => return self.outcome.needs_present = true,
            (Wanted::List { op, items }, present) => {
                Json::Array(lists::merge(&ready.field, present.as_ref().unwrap_or(&Json::Null), *op, items))
            }
            (Wanted::Value(value), _) => value.clone(),
        };
        match &present {
            None if self.policy == WritePolicy::Differs => match self.seen(ready) {
                None => return self.outcome.needs_present = true,
                Some(seen) if same::same(&ready.field, &seen, &target) => {
                    self.outcome.sent.insert(ready.field.address.key().to_owned(), source);
                    return;
                }
                Some(_) => {}
            },
            Some(present) if self.policy != WritePolicy::Always && same::same(&ready.field, present, &target) => {
                self.outcome.sent.insert(ready.field.address.key().to_owned(), source);
                return;
            }
            _ => {}
        }
        self.send(ready, source, present, target);
    }

    /// Moves a deal forward to a stage, whatever the policy says of other fields.
    fn forward(&mut self, ready: &Ready<'_>, source: Json) {
        let Some(deal) = self.present else { return self.outcome.needs_present = true };
        match stage::movement(deal, &source, self.metadata) {
            stage::Move::Forward => {
                let moved = Ready { field: stage::written(&ready.field), name: ready.name.clone(), wanted: ready.wanted.clone() };
                let present = self.present(&moved);
                self.send(&moved, source.clone(), present, source.clone());
            }
            stage::Move::Reached => {}
            stage::Move::Stays(why) => self.outcome.notes.push(why),
        }
        self.outcome.sent.insert(ready.field.address.key().to_owned(), source);
    }

    fn only_if_empty(&mut self, ready: &Ready<'_>) {
        // A deal always has a stage.
        let never = ready.field.write == Writable::Create || stage::is_at_least(&ready.field);
        if never || matches!(ready.wanted, Wanted::List { op: ListOp::Remove, .. }) {
            return;
        }
        // It had a value once, sent or seen. Should a person have emptied it since, that stands.
        if self.policy == WritePolicy::Changed && self.last_sent(ready).is_some_and(|sent| !is_empty(sent)) {
            return;
        }
        let Some(present) = self.present(ready) else { return self.outcome.needs_present = true };
        if !is_empty(&present) {
            self.outcome.sent.insert(ready.field.address.key().to_owned(), present);
            return;
        }
        let target = match &ready.wanted {
            Wanted::Value(value) => value.clone(),
            Wanted::List { op, items } => Json::Array(lists::merge(&ready.field, &Json::Null, *op, items)),
        };
        if !is_empty(&target) {
            self.send(ready, ready.wanted.source(), Some(present), target);
        }
    }

    fn send(&mut self, ready: &Ready<'_>, source: Json, present: Option<Json>, target: Json) {
        let before = present.or_else(|| self.last_sent(ready).cloned()).unwrap_or(Json::Null);
        self.outcome.sent.insert(ready.field.address.key().to_owned(), source);
        let change = shown::change(&ready.field, ready.name.clone(), before, target.clone(), self.metadata);
        self.outcome.changes.push(change);
        wire::put(&mut self.outcome.body, &ready.field, target);
    }

    fn last_sent(&self, ready: &Ready<'_>) -> Option<&Json> {
        self.known?.get(ready.field.address.key())?.get("sent")
    }

    /// What Pipedrive last answered. Of a lead's composite fields the known values hold only the first part, which says too little.
    fn seen(&self, ready: &Ready<'_>) -> Option<Json> {
        let seen = self.known?.get(ready.field.address.key())?.get("seen")?;
        let whole =
            ready.field.kind.is_v2() || matches!(ready.field.address, Address::Standard(_)) || !ready.field.shape.is_composite();
        whole.then(|| entity::plain(seen, ready.field.shape))
    }

    fn present(&self, ready: &Ready<'_>) -> Option<Json> {
        let fresh = || self.known?.get(ready.field.address.key())?.get("fresh").and(self.seen(ready));
        self.present.map(|entity| entity::value(entity, &ready.field)).or_else(fresh)
    }
}

/// Whether the source says what it said last time: the same operation with the same items, or the same value.
fn same_source(field: &FieldRef<'_>, sent: &Json, source: &Json) -> bool {
    let operation = |v: &Json| v.get("op").cloned();
    if operation(sent) != operation(source) {
        return false;
    }
    match (sent.get("items").and_then(Json::as_array), source.get("items").and_then(Json::as_array)) {
        (Some(sent), Some(source)) => {
            sent.len() == source.len() && sent.iter().zip(source).all(|(a, b)| lists::key(field, a) == lists::key(field, b))
        }
        _ => same::same(field, sent, source),
    }
}
