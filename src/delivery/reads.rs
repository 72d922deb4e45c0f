//! The answers to a script's reads.
//!
//! Invariants: a read sees the writes that this plan has asked for before it; a failed look-up is a failure, never "not there". A replay
//! reads a record without what the delivery that it repeats has done to it, as far as that still stands: a script that adds to what it reads
//! must not add twice.

use std::sync::Arc;

use serde_json::{Map, Value as Json};

use super::attempt::Attempt;
use super::decide;
use super::new_options::Aim;
use super::trouble::Trouble;
use crate::crm::{self, Account, Found, Lookup, Metadata, OnMany, WireTarget};
use crate::event::Event;
use crate::pipedrive::{Id, Kind, Method, Purpose};
use crate::plan::{self, At, BodyFor, Operation, Plan, Step};
use crate::script::Read;

/// Answers one read; null when there is no such entity.
pub(super) async fn answer(
    attempt: &mut Attempt,
    account: &Arc<Account>,
    read: &Read,
    at: &At,
    so_far: &Plan,
    event: &Event,
) -> Result<Json, Trouble> {
    let session = attempt.session(account);
    match read {
        Read::Request { path } => Ok(session.raw(Method::Get, path, None, Purpose::Lookup).await?),
        Read::Get { kind, id } => {
            let entity = account.read(&session, *kind, id, Purpose::Lookup).await?;
            let metadata = account.ready_metadata(&session).await?;
            let own = own_writes(attempt, account, *kind, so_far, event, |step| targets_id(step, id)).await?;
            Ok(seen(attempt, read, entity, *kind, &own, &metadata))
        }
        Read::Find { kind, criteria } => {
            let metadata = account.ready_metadata(&session).await?;
            let context = decide::context(attempt, account, &metadata, event)?;
            let lookups =
                plan::lookups(*kind, criteria, at, &context).map_err(|problem| Trouble::plan(&attempt.set, &[problem]))?;
            if lookups.is_empty() {
                return Ok(Json::Null);
            }
            let entity = match crm::find(account, &session, *kind, &lookups, OnMany::Oldest).await? {
                Found::Hit { entity: Some(entity), .. } => Some(entity),
                Found::Hit { id, entity: None, .. } => account.read(&session, *kind, &id, Purpose::Lookup).await?,
                Found::Miss => {
                    attempt.absent.extend(lookups.iter().map(|lookup| (*kind, lookup.clone())));
                    None
                }
            };
            let id = entity.as_ref().and_then(|e| e.get("id")).and_then(Id::from_json);
            let same = |step: &Step| id.as_ref().is_some_and(|id| targets_id(step, id)) || targets_lookups(step, &lookups);
            let own = own_writes(attempt, account, *kind, so_far, event, same).await?;
            Ok(seen(attempt, read, entity, *kind, &own, &metadata))
        }
    }
}

/// The entity as the script is to see it: of a replay, as it was before what it repeats.
fn seen(
    attempt: &Attempt,
    read: &Read,
    entity: Option<Map<String, Json>>,
    kind: Kind,
    own: &[(bool, Step)],
    metadata: &Metadata,
) -> Json {
    let id = entity.as_ref().and_then(|entity| entity.get("id")).and_then(Id::from_json);
    let (Some(replay), Some(now), Some(id)) = (&attempt.replay, &entity, id) else { return shown(entity, kind, own, metadata) };
    if replay.was_not_there(read, kind, &id) {
        return shown(None, kind, own, metadata);
    }
    let Some((changes, then)) = replay.read_then(kind, &id) else { return shown(entity, kind, own, metadata) };
    let mut without = now.clone();
    put_on(&mut without, plan::standing(kind, now, &changes, metadata));
    let (now, without) = (plan::present(now, kind, metadata), plan::present(&without, kind, metadata));
    let mut answer = shown(entity, kind, own, metadata);
    put_back(&mut answer, &now, &without, then);
    answer
}

/// What was read then stands in for what is there now, where the two differ by what was written in between and this plan writes nothing.
fn put_back(answer: &mut Json, now: &Json, without: &Json, then: &Json) {
    let (Json::Object(answer), Some(now), Some(without)) = (answer, now.as_object(), without.as_object()) else { return };
    for (key, value) in now {
        let (Some(bare), Some(shown)) = (without.get(key), answer.get_mut(key)) else { continue };
        match then.get(key) {
            // Custom fields by name, once more.
            Some(then @ Json::Object(_)) if key == "custom" => put_back(shown, value, bare, then),
            Some(then) if value != bare && shown == value => shown.clone_from(then),
            _ => {}
        }
    }
}

/// The bodies that earlier actions of this plan would send to the same entity, oldest first.
async fn own_writes(
    attempt: &Attempt,
    account: &Arc<Account>,
    kind: Kind,
    so_far: &Plan,
    event: &Event,
    same: impl Fn(&Step) -> bool,
) -> Result<Vec<(bool, Step)>, Trouble> {
    if so_far.actions.is_empty() {
        return Ok(Vec::new());
    }
    let steps = decide::prepare(attempt, account, so_far, event, Aim::Show).await?;
    Ok(steps
        .into_iter()
        .filter(|step| step.operation.kind() == Some(kind) && same(step))
        .map(|step| (matches!(step.operation, Operation::Delete { .. }), step))
        .collect())
}

fn targets_id(step: &Step, id: &Id) -> bool {
    match &step.operation {
        Operation::Update { target, .. } | Operation::Delete { target, .. } => *target == WireTarget::Id(id.clone()),
        _ => false,
    }
}

fn targets_lookups(step: &Step, lookups: &[Lookup]) -> bool {
    let theirs: &[Lookup] = match &step.operation {
        Operation::Upsert { lookups, .. }
        | Operation::Update { target: WireTarget::Lookups(lookups), .. }
        | Operation::Delete { target: WireTarget::Lookups(lookups), .. } => lookups,
        _ => return false,
    };
    theirs.iter().any(|a| lookups.iter().any(|b| same_terms(a, b)))
}

fn same_terms(a: &Lookup, b: &Lookup) -> bool {
    a.0.len() == b.0.len() && a.0.iter().all(|x| b.0.iter().any(|y| x.address == y.address && x.value == y.value))
}

/// Lays the body that a step would send over an entity. Links to entities of this plan are not there yet and are left out.
fn lay_over(entity: &mut Map<String, Json>, step: &Step, created: bool, metadata: &Metadata) {
    let present = entity.clone();
    let purpose = if created { BodyFor::Create } else { BodyFor::Update { present: Some(&present), known: None } };
    // A create that lacks something is refused when the plan is made ready; until then it shows nothing.
    let Ok(outcome) = plan::body(step, purpose, &|_| None, metadata) else { return };
    put_on(entity, outcome.body);
}

/// Lays a body over an entity.
pub(super) fn put_on(entity: &mut Map<String, Json>, body: Map<String, Json>) {
    for (key, value) in body {
        match (entity.get_mut(&key), value) {
            (Some(Json::Object(present)), Json::Object(fields)) if key == "custom_fields" => present.extend(fields),
            (_, value) => {
                entity.insert(key, value);
            }
        }
    }
}

/// The entity as scripts see it, with this plan's own writes laid over it.
fn shown(entity: Option<Map<String, Json>>, kind: Kind, own: &[(bool, Step)], metadata: &Metadata) -> Json {
    let mut entity = entity;
    for (deleted, step) in own {
        if *deleted {
            entity = None;
            continue;
        }
        let created = entity.is_none();
        if created && !matches!(step.operation, Operation::Upsert { .. } | Operation::Create { .. }) {
            continue;
        }
        lay_over(entity.get_or_insert_default(), step, created, metadata);
    }
    entity.map_or(Json::Null, |entity| plan::present(&entity, kind, metadata))
}
