//! From a step to the body of its request.
//!
//! Invariants: a body holds only what has to be sent; a list or a value with parts is never replaced blindly (without its present value
//! the outcome says `needs_present` and is not to be sent); an edit that a person made in Pipedrive stands unless the
//! policy says otherwise.
//!
//! Known values ([`crate::crm::Known`]) hold per field key what was last sent and what was last seen. `sent` is what the source said, not
//! what a merge made of it; [`BodyOutcome::sent`] is what to note there. `seen` stands in for the present entity while it is marked as
//! `fresh`.

mod decided;
mod entity;
mod lists;
mod same;
mod shown;
mod stage;
mod undo;
mod update;
mod wire;

pub(super) use entity::value as entity_value;
pub(super) use same::is_empty;
pub use undo::{KnownBy, Left, LeftAlone, PutBack, Undo, Written, standing, undo};

use decided::Decided;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};

use super::field::{self, FieldRef};
use super::prepare::{may_be_unlinked, missing_field, missing_link, problem};
use super::refusal::Refusal;
use super::shape;
use super::{PlanProblem, Step, WireField};
use crate::crm::Writable;
use crate::crm::{Address, ListOp, Metadata, WireTarget, WireValue};
use crate::pipedrive::{Id, Kind};
use update::Update;

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
    /// Which field it is. Records of earlier versions do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Address>,
    /// Where `before` is from; none: it is not known, or nothing was before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before_is: Option<Before>,
}

/// Where the value before a change is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Before {
    /// It was read in Pipedrive.
    Read,
    /// It is what was last sent; a person may have written another one since.
    Sent,
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
    /// What is worth a look, for the decision record.
    pub notes: Vec<String>,
    /// What the policies decided, a line each, for the decision record.
    pub decisions: Vec<String>,
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
    let unless_edited = builder.resolve(&step.unless_edited).map_err(refused)?;
    match purpose {
        BodyFor::Create => {
            let on_create = builder.resolve(&step.on_create).map_err(refused)?;
            let all = fields.into_iter().chain(unless_edited).chain(if_empty).chain(on_create);
            let mut outcome = create(all, metadata);
            if fields_kind == kind {
                if kind == Kind::Note {
                    unpin(&mut outcome);
                }
                complete(step, kind, &mut outcome).map_err(refused)?;
            }
            Ok(outcome)
        }
        BodyFor::Update { present, known } => {
            Ok(Update::new(step, present, known, metadata).build(&fields, &unless_edited, &if_empty, &on_create_only(step)))
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

/// The names of the fields that the script wants in new entities only. The match values among them say nothing new.
fn on_create_only(step: &Step) -> Vec<&str> {
    let super::Operation::Upsert { lookups, .. } = &step.operation else { return Vec::new() };
    let matched = |field: &WireField| lookups.iter().flat_map(|lookup| &lookup.0).any(|term| term.address == field.address);
    let sent = |field: &WireField| step.fields.iter().chain(&step.if_empty).any(|f| f.address == field.address);
    step.on_create.iter().filter(|field| !matched(field) && !sent(field)).map(|field| field.name.as_str()).collect()
}

fn gone(kind: Kind, wire: &WireField) -> Refusal {
    Refusal::name(format!("{} no longer have the field `{}`", field::plural(kind), wire.name))
        .help("correct the script, or restore the field in Pipedrive")
}

/// Everything that a create can carry. The script's fields come first; lists are put together.
fn create<'r>(fields: impl Iterator<Item = Ready<'r>>, metadata: &Metadata) -> BodyOutcome {
    let mut outcome = BodyOutcome::default();
    let mut all: Vec<(Ready<'_>, Json)> = Vec::new();
    for ready in fields {
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
        outcome.changes.push(shown::change(&ready.field, ready.name, (Json::Null, None), value.clone(), metadata));
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
fn complete(step: &Step, kind: Kind, outcome: &mut BodyOutcome) -> Result<(), Refusal> {
    let has = |key: &str| outcome.body.get(key).is_some_and(|v| !is_empty(v));
    if let Some(key) = shape::required(kind)
        && !has(key)
    {
        return Err(missing_field(kind, key));
    }
    let links = shape::links(kind);
    if !links.is_empty() && !links.iter().any(|key| has(key)) {
        if !may_be_unlinked(step, kind) {
            return Err(missing_link(kind));
        }
        let mut decided = Decided::default();
        decided.whole("unlinked", "created without a link to another entity");
        outcome.decisions.extend(decided.lines());
    }
    Ok(())
}
