//! What people ask of delivery: pause, resume, replay, release, discard.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::oneshot;

use super::PauseInfo;
use super::handle::{ControlError, Dropped, Replayed, Scope};
use super::pauses::Pauses;
use super::runtime::Runtime;
use super::scheduler::{Scheduler, hold, paused, resumed};
use crate::config::Writes;
use crate::event::Event;
use crate::ingest;
use crate::rules::{Rule, ScriptSet};
use crate::store::{
    Appended, Dedupe, DeliveryFilter, DeliveryId, DeliveryRow, DeliveryState, Finish, Joined, NewDelivery, NewEvent, Pending,
    Repeated, Repeats, ReplayOptions, StoredEvent, Write,
};

/// Answers a command; a caller that went away needs no answer.
pub(super) fn answer<T>(reply: oneshot::Sender<Result<T, ControlError>>, result: Result<T, ControlError>) {
    drop(reply.send(result));
}

pub(super) async fn pause(scheduler: &mut Scheduler, scope: Scope, reason: String, now: Timestamp) -> Result<(), ControlError> {
    known(&scheduler.runtime, &scope)?;
    let info = PauseInfo { reason, class: None, since: now, until: None };
    scheduler.runtime.store.commit(vec![Pauses::stored(&scope, &info)]).await?;
    hold(&mut scheduler.lanes, &scope, true, now);
    paused(&scheduler.runtime.metrics, &scope, None);
    scheduler.pauses.set(scope, info);
    Ok(())
}

pub(super) async fn resume(scheduler: &mut Scheduler, scope: Scope, now: Timestamp) -> Result<(), ControlError> {
    if scheduler.pauses.get(&scope).is_none() {
        known(&scheduler.runtime, &scope)?;
        let (what, name) = words(&scope);
        if let Some(waits) = scheduler.budgets.of_scope(&scope, &scheduler.runtime.live.load()) {
            return Err(ControlError::Refused(format!("{what} `{name}` is paused by nobody: {}", waits.reason)));
        }
        return Err(ControlError::Refused(format!("{what} `{name}` is not paused")));
    }
    scheduler.runtime.store.commit(vec![Pauses::unstored(&scope)]).await?;
    scheduler.pauses.clear(&scope);
    resumed(&scheduler.runtime.metrics, &scope);
    hold(&mut scheduler.lanes, &scope, false, now);
    match &scope {
        Scope::Account(name) => {
            if let Some(account) = scheduler.runtime.accounts.read().get(name.as_str()) {
                account.client.lift_pause();
            }
            scheduler.lanes.hurry_account(name, now);
        }
        // Somebody has looked: what it created before is no reason to hold it again.
        Scope::Rule(name) => scheduler.runtime.creates.forget(name),
    }
    Ok(())
}

/// An event that repeats an earlier one. It joins no ids and erases nobody: that was done when the first one was accepted.
pub(super) fn anew(
    event: &Event,
    source: String,
    payload: Bytes,
    deliveries: Vec<NewDelivery>,
    repeats: Repeats,
    now: Timestamp,
) -> NewEvent {
    NewEvent {
        source,
        message_id: event.message_id.clone(),
        kind: event.kind.as_str(),
        name: event.name().map(str::to_owned),
        user: event.user_id().or_else(|| event.anonymous_id()),
        received_at: now,
        payload,
        deliveries,
        dedupe: Dedupe::Never,
        repeats: Some(repeats),
        kept: true,
        alias: None,
        forget: false,
    }
}

/// Makes finished deliveries anew: a new event row with the same payload at the lane's tail, linked to the old delivery.
pub(super) async fn replay(
    runtime: &Arc<Runtime>,
    ids: Vec<DeliveryId>,
    how: ReplayOptions,
    now: Timestamp,
) -> Result<Vec<Replayed>, ControlError> {
    let set = runtime.live.load_full();
    let joined = Joined::new(runtime.store.aliases());
    let mut events = Vec::with_capacity(ids.len());
    for id in &ids {
        let row = row(runtime, id).await?;
        if row.state == DeliveryState::Pending {
            return Err(ControlError::Refused(format!("delivery {id} is not finished; it can be replayed when it is")));
        }
        let rule = rule_of(&set, id)?;
        let (stored, event) = event_of(runtime, id).await?;
        let deliveries = vec![ingest::delivery(&event, rule, &joined)];
        let repeats = Repeats { of: Repeated::Delivery(id.clone()), how };
        events.push(anew(&event, stored.source, stored.payload, deliveries, repeats, now));
    }
    let appended = runtime.store.append(events).await?;
    Ok(ids
        .into_iter()
        .zip(appended)
        .map(|(of, appended)| {
            let (Appended::Fresh(seq) | Appended::Duplicate(seq)) = appended;
            Replayed { id: DeliveryId { seq, rule: of.rule.clone() }, of }
        })
        .collect())
}

/// Makes observed deliveries pending again, with the rule's account and ordering key of now. They keep their numbers, so that they run
/// before newer ones of their rule and key that still wait; what the commit has taken from `observed` is never taken again.
pub(super) async fn release(scheduler: &mut Scheduler, ids: Vec<DeliveryId>, now: Timestamp) -> Result<u64, ControlError> {
    let runtime = scheduler.runtime.clone();
    let set = runtime.live.load_full();
    let joined = Joined::new(runtime.store.aliases());
    let mut released = Vec::with_capacity(ids.len());
    for id in &ids {
        let filter = DeliveryFilter { seq: Some(id.seq), limit: usize::MAX, ..DeliveryFilter::default() };
        let rows = runtime.store.deliveries(&filter).await?;
        let row = (0..).zip(&rows).find(|(_, row)| row.id == *id);
        let (position, row) = row.ok_or_else(|| ControlError::Unknown(format!("there is no delivery {id}")))?;
        if row.state != DeliveryState::Observed {
            return Err(ControlError::Refused(format!(
                "delivery {id} is {}; only what was observed can be released, and only once",
                row.state
            )));
        }
        let rule = rule_of(&set, id)?;
        // What the account does counts as well as what rules.toml says: it follows an edit a moment later.
        let observes = runtime.accounts.read().get(&*rule.account).is_some_and(|account| account.config.writes == Writes::Off);
        if observes || set.config.pipedrive.get(&*rule.account).is_none_or(|account| account.writes == Writes::Off) {
            return Err(ControlError::Refused(format!(
                "delivery {id} would only be observed again: set `writes = \"on\"` under [pipedrive.{}] in rules.toml first",
                rule.account
            )));
        }
        let (_, event) = event_of(&runtime, id).await?;
        released.push((id.clone(), position, ingest::delivery(&event, rule, &joined)));
    }
    // What others come after is put in first.
    released.sort_by(|a, b| a.0.cmp(&b.0));
    let write = |(id, _, delivery): &(DeliveryId, u32, NewDelivery)| Write::Release {
        id: id.clone(),
        delivery: delivery.clone(),
        at: now,
    };
    runtime.store.commit(released.iter().map(write).collect()).await?;
    for (id, position, delivery) in released {
        let NewDelivery { account, key, after, behind, .. } = delivery;
        let pending = Pending {
            id,
            position,
            account,
            key,
            after,
            behind,
            attempts: 0,
            run_at: None,
            first_failed_at: None,
            pinned: false,
            tried: false,
            released_at: Some(now),
        };
        scheduler.lanes.push(pending, now);
    }
    Ok(ids.len() as u64)
}

/// Drops deliveries for good.
pub(super) async fn discard(scheduler: &mut Scheduler, ids: Vec<DeliveryId>, now: Timestamp) -> Result<u64, ControlError> {
    let mut rows = Vec::with_capacity(ids.len());
    for id in &ids {
        let row = row(&scheduler.runtime, id).await?;
        match row.state {
            DeliveryState::Pending if scheduler.is_under_way(id) => {
                return Err(ControlError::Refused(format!("delivery {id} is under way; try again when it waits or has ended")));
            }
            DeliveryState::Pending | DeliveryState::Dead | DeliveryState::Partial | DeliveryState::Uncertain => rows.push(row),
            state => return Err(ControlError::Refused(format!("delivery {id} is {state}; there is nothing to discard"))),
        }
    }
    end(scheduler, &rows, "discarded by a person", now).await?;
    Ok(ids.len() as u64)
}

/// Drops those that wait; an erasure asks again for what is under way.
pub(super) async fn drop_for_erasure(
    scheduler: &mut Scheduler,
    ids: Vec<DeliveryId>,
    now: Timestamp,
) -> Result<Dropped, ControlError> {
    let (under_way, waiting): (Vec<_>, Vec<_>) = ids.into_iter().partition(|id| scheduler.is_under_way(id));
    let mut rows = Vec::with_capacity(waiting.len());
    for id in &waiting {
        let row = row(&scheduler.runtime, id).await?;
        // It may have ended since it was looked for.
        rows.extend(Some(row).filter(|row| row.state == DeliveryState::Pending));
    }
    end(scheduler, &rows, "its user was erased", now).await?;
    Ok(Dropped { dropped: rows.len() as u64, under_way })
}

/// Ends deliveries that are not under way as discarded.
async fn end(scheduler: &mut Scheduler, rows: &[DeliveryRow], reason: &str, now: Timestamp) -> Result<(), ControlError> {
    let finish = |row: &DeliveryRow| {
        Write::Finish(Finish {
            id: row.id.clone(),
            state: DeliveryState::Discarded,
            at: now,
            version: None,
            reason: Some(reason.to_owned()),
            cause: None,
        })
    };
    scheduler.runtime.store.commit(rows.iter().map(finish).collect()).await?;
    for row in rows.iter().filter(|r| r.state == DeliveryState::Pending) {
        scheduler.lanes.remove(&row.id, now);
        scheduler.held_plans.forget(&row.id);
        scheduler.runtime.locks.cleared(&row.id);
    }
    Ok(())
}

/// The event of a delivery, as stored and as read.
async fn event_of(runtime: &Runtime, id: &DeliveryId) -> Result<(StoredEvent, Event), ControlError> {
    let stored = runtime.store.event(id.seq).await?;
    let stored = stored.ok_or_else(|| ControlError::Unknown(format!("the event of delivery {id} is no longer kept")))?;
    let event = Event::from_payload(&stored.source, stored.received_at, &stored.payload)
        .map_err(|e| ControlError::Refused(format!("delivery {id}: {e}")))?;
    Ok((stored, event))
}

fn rule_of<'a>(set: &'a ScriptSet, id: &DeliveryId) -> Result<&'a Rule, ControlError> {
    set.rule(&id.rule)
        .ok_or_else(|| ControlError::Refused(format!("delivery {id}: there is no rule `{}` in rules.toml any more", id.rule)))
}

async fn row(runtime: &Arc<Runtime>, id: &DeliveryId) -> Result<DeliveryRow, ControlError> {
    let filter = DeliveryFilter { seq: Some(id.seq), rule: Some(id.rule.to_string()), limit: 1, ..DeliveryFilter::default() };
    let rows = runtime.store.deliveries(&filter).await?;
    rows.into_iter().next().ok_or_else(|| ControlError::Unknown(format!("there is no delivery {id}")))
}

fn known(runtime: &Arc<Runtime>, scope: &Scope) -> Result<(), ControlError> {
    let set = runtime.live.load();
    let known = match scope {
        Scope::Account(name) => set.has_account(name),
        Scope::Rule(name) => set.has_rule(name),
    };
    known.map_err(ControlError::Unknown)
}

fn words(scope: &Scope) -> (&'static str, &str) {
    match scope {
        Scope::Account(name) => ("account", name),
        Scope::Rule(name) => ("rule", name),
    }
}
