//! From valid events to durable ones: triggers, deliveries, one append.

use std::borrow::Cow;

use bytes::Bytes;
use jiff::Timestamp;

use super::Ingest;
use super::integrations;
use super::ordering::delivery;
use super::rejection::Rejection;
use super::timestamps::Origin;
use crate::event::{Event, EventType};
use crate::rules::ScriptSet;
use crate::store::{Appended, Dedupe, NewDelivery, NewEvent, Rejected, StoreError, Write};

/// The store's space of users whose `delete` event was taken, with the time of it.
pub const TO_FORGET: &str = "forget";

/// A refused event, with what could be read of it.
#[derive(Debug)]
pub(super) struct Bad<'a> {
    pub(super) index: usize,
    pub(super) why: Rejection,
    pub(super) message_id: Option<String>,
    pub(super) kind: Option<String>,
    pub(super) raw: &'a [u8],
}

/// Stores the events; returns after they are durable. Those that their sender switched off or that nobody keeps are counted only.
pub(super) async fn accept(ingest: &Ingest, set: &ScriptSet, events: Vec<Event>, origin: Origin) -> Result<(), StoreError> {
    let mut rows = Vec::with_capacity(events.len());
    let mut forget = Vec::new();
    for event in events {
        let kind = event.kind.as_str();
        if integrations::switched_off(&event.body, origin) {
            ingest.metrics.event_switched_off(&event.source, kind);
            continue;
        }
        if event.kind == EventType::Delete
            && let Some(user) = event.user_id()
        {
            forget.push(to_forget(user, event.received_at));
        }
        let deliveries = deliveries(set, &event);
        if deliveries.is_empty() && set.config.sources.get(&event.source).is_some_and(|s| s.keep_unmatched.get().is_zero()) {
            ingest.metrics.event_accepted(&event.source, kind);
            ingest.metrics.event_unmatched(&event.source, kind);
            continue;
        }
        rows.push(row(event, deliveries, Dedupe::Window));
    }
    if !rows.is_empty() {
        append(ingest, rows).await?;
    }
    if !forget.is_empty() {
        // After the events: an erasure waits for the deliveries of its `delete` event, so it must find them. Should this fail, the
        // event is not acknowledged; it is sent again, and being a duplicate then does not keep its user from being erased.
        ingest.store.commit(forget).await?;
    }
    Ok(())
}

/// Appends the events, and counts them.
async fn append(ingest: &Ingest, rows: Vec<NewEvent>) -> Result<(), StoreError> {
    // What is counted afterwards; the rows themselves go to the store.
    let counted: Vec<(String, &'static str, bool)> =
        rows.iter().map(|row| (row.source.clone(), row.kind, row.deliveries.is_empty())).collect();
    let appended = ingest.store.append(rows).await?;
    for ((source, kind, unmatched), appended) in counted.iter().zip(appended) {
        match appended {
            Appended::Duplicate(_) => ingest.metrics.event_duplicate(source, kind),
            Appended::Fresh(_) => {
                ingest.metrics.event_accepted(source, kind);
                if *unmatched {
                    ingest.metrics.event_unmatched(source, kind);
                }
            }
        }
    }
    Ok(())
}

/// The wish of a `delete` event that its user be erased.
fn to_forget(user: String, at: Timestamp) -> Write {
    let value = serde_json::to_vec(&at).expect("a time serialises");
    Write::KvPut { space: TO_FORGET.to_owned(), key: user, value }
}

/// One delivery a rule that wants the event, in rule order.
pub(super) fn deliveries(set: &ScriptSet, event: &Event) -> Vec<NewDelivery> {
    set.wanted(event).into_iter().map(|rule| delivery(event, rule)).collect()
}

/// The event as the store takes it.
pub(super) fn row(event: Event, deliveries: Vec<NewDelivery>, dedupe: Dedupe) -> NewEvent {
    NewEvent {
        kind: event.kind.as_str(),
        name: event.name().map(str::to_owned),
        user: event.user_id().or_else(|| event.anonymous_id()),
        received_at: event.received_at,
        payload: Bytes::from(event.payload()),
        deliveries,
        dedupe,
        replay_of: None,
        source: event.source,
        message_id: event.message_id,
    }
}

/// Keeps refused events for `events list --rejected`. The sender has its answer either way, so a store that cannot take them
/// does not change it.
pub(super) async fn reject(ingest: &Ingest, set: &ScriptSet, source: &str, at: Timestamp, bad: &[Bad<'_>]) {
    if bad.is_empty() {
        return;
    }
    let longest = usize::try_from(set.config.server.max_event.get()).unwrap_or(usize::MAX);
    let rows = bad
        .iter()
        .map(|bad| {
            ingest.metrics.event_rejected(source, bad.kind.as_deref().unwrap_or(""), bad.why.code(), bad.why.events());
            Rejected {
                source: source.to_owned(),
                message_id: bad.message_id.clone(),
                kind: bad.kind.clone(),
                at,
                reason: bad.why.to_string(),
                payload: Bytes::from(without_keys(set, &bad.raw[..bad.raw.len().min(longest)]).into_owned()),
            }
        })
        .collect();
    if let Err(error) = ingest.store.reject(rows).await {
        tracing::warn!(source, count = bad.len(), %error, "refused events could not be kept");
    }
}

/// The text with every known write key blotted out: a body may carry one.
fn without_keys<'a>(set: &ScriptSet, raw: &'a [u8]) -> Cow<'a, [u8]> {
    let text = String::from_utf8_lossy(raw);
    let keys = set.sources.values().flat_map(|source| &source.write_keys).map(|key| key.expose());
    let blotted = keys
        .filter(|key| !key.is_empty() && text.contains(key))
        .fold(None, |blotted: Option<String>, key| Some(blotted.as_deref().unwrap_or(&text).replace(key, "[redacted]")));
    blotted.map_or(Cow::Borrowed(raw), |text| Cow::Owned(text.into_bytes()))
}
