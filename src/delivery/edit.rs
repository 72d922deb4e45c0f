//! An event that a person has edited, made anew.
//!
//! Invariants: the original stays as it was accepted; what is made of it is a new event at the lanes' tails, whose deliveries repeat the
//! original's, so that nothing is done twice. Nothing is made while a delivery of the original is unfinished, nor of events that did
//! something by being accepted.

use std::sync::Arc;

use jiff::Timestamp;

use super::control::anew;
use super::handle::{ControlError, Edited};
use super::runtime::Runtime;
use crate::event::{Event, EventType};
use crate::ingest;
use crate::store::{Appended, DeliveryFilter, DeliveryId, DeliveryState, Joined, Repeated, Repeats, ReplayOptions, Seq};

/// Makes the event anew as it was edited, for the rules that want it now.
pub(super) async fn edit(
    runtime: &Arc<Runtime>,
    seq: Seq,
    event: Event,
    how: ReplayOptions,
    now: Timestamp,
) -> Result<Edited, ControlError> {
    let stored = runtime.store.event(seq).await?;
    let stored = stored.ok_or_else(|| ControlError::Unknown(format!("event {seq} is not kept; `events list` shows what is")))?;
    let original = Event::from_payload(&stored.source, stored.received_at, &stored.payload)
        .map_err(|error| ControlError::Refused(format!("event {seq}: {error}")))?;
    allowed(seq, &original, &event)?;
    let filter = DeliveryFilter { seq: Some(seq), limit: usize::MAX, ..DeliveryFilter::default() };
    let before = runtime.store.deliveries(&filter).await?;
    if let Some(row) = before.iter().find(|row| row.state == DeliveryState::Pending) {
        return Err(ControlError::Refused(format!(
            "delivery {} is not finished: the event can be edited when it is, or when it was discarded (`events discard {}`)",
            row.id, row.id
        )));
    }
    let set = runtime.live.load_full();
    let joined = Joined::new(runtime.store.aliases());
    let deliveries: Vec<_> = set.wanted(&event).into_iter().map(|rule| ingest::delivery(&event, rule, &joined)).collect();
    if deliveries.is_empty() {
        return Err(ControlError::Refused(format!(
            "no rule wants event {seq} as it was edited, so nothing was made; `pipewright try` shows which triggers an event meets"
        )));
    }
    let rules: Vec<Arc<str>> = deliveries.iter().map(|delivery| delivery.rule.clone()).collect();
    let row = anew(&event, stored.source, event.payload().into(), deliveries, Repeats { of: Repeated::Edited(seq), how }, now);
    let appended = runtime.store.append(vec![row]).await?;
    let Some(Appended::Fresh(new) | Appended::Duplicate(new)) = appended.first().copied() else {
        return Err(ControlError::Refused(format!("event {seq} as edited was not stored; look at the daemon's log")));
    };
    let left = before.into_iter().map(|row| row.id.rule).filter(|rule| !rules.contains(rule)).collect();
    Ok(Edited { event: new, deliveries: rules.into_iter().map(|rule| DeliveryId { seq: new, rule }).collect(), left })
}

fn allowed(seq: Seq, original: &Event, edited: &Event) -> Result<(), ControlError> {
    if let Some(kind) = [original.kind, edited.kind].into_iter().find(|kind| matches!(kind, EventType::Alias | EventType::Delete))
    {
        let what = if kind == EventType::Alias { "joins ids" } else { "has its user erased" };
        return Err(ControlError::Refused(format!(
            "event {seq}: an event of type {kind} {what} when it is accepted, which an edit does not undo or do again; send a new event"
        )));
    }
    if original.message_id != edited.message_id {
        return Err(ControlError::Refused(format!(
            "event {seq}: `messageId` must stay as it is, since notes and activities are known by it; put it back, or send a new event"
        )));
    }
    Ok(())
}
