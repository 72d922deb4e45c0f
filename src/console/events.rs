//! Lists of events and deliveries, and one event with everything known about it.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State as Extract};
use serde_json::Value;

use super::State;
use super::problem::Failed;
use super::query::EventsQuery;
use super::types::{DeliveryDetail, EventDetail, EventDetails, EventList};
use crate::store::{DeliveryFilter, DeliveryId, EventRow, Repeated, Seq, StoredEvent};

/// Most events that one messageId shows.
const MOST_OF_ONE_MESSAGE: usize = 20;
/// Most deliveries that one event shows; there is one a rule.
const MOST_DELIVERIES: usize = 1000;
/// Most repetitions of one event that are looked at.
const MOST_RELATIVES: usize = 100;

pub(super) async fn list(
    Extract(state): Extract<State>,
    query: Result<Query<EventsQuery>, QueryRejection>,
) -> Result<Json<EventList>, Failed> {
    let Query(query) = query.map_err(|e| Failed::bad_request(e.body_text()))?;
    let on = |flag: Option<u8>| flag.is_some_and(|f| f != 0);
    let list = match (on(query.rejected), on(query.unmatched)) {
        (true, true) => return Err(Failed::bad_request("ask for `rejected` or for `unmatched`, not for both")),
        (true, false) => EventList { rejected: Some(state.store.rejected(query.limit()).await?), ..EventList::default() },
        (false, true) => {
            let filter = query.unmatched(jiff::Timestamp::now())?;
            let unmatched = Some(state.store.unmatched(&filter).await?);
            EventList { unmatched, counts: Some(state.store.unmatched_counts(&filter).await?), ..EventList::default() }
        }
        (false, false) => {
            let filter = query.filter(jiff::Timestamp::now())?;
            let deliveries = state.store.deliveries(&filter).await?;
            // A rule that is gone may have left some.
            if deliveries.is_empty() {
                state.rule(filter.rule.as_deref())?;
            }
            EventList { deliveries: Some(deliveries), ..EventList::default() }
        }
    };
    Ok(Json(list))
}

/// `/api/events/ID`: a number is an event's place, anything else (or a number that is no place) a messageId.
pub(super) async fn show(Extract(state): Extract<State>, Path(id): Path<String>) -> Result<Json<EventDetails>, Failed> {
    if let Ok(seq) = id.parse().map(Seq)
        && let Some(event) = of_seq(&state, seq, None).await?
    {
        return Ok(Json(EventDetails { events: vec![event] }));
    }
    let rows = state.store.events_by_message(&id).await?;
    let mut events = Vec::new();
    for row in rows.into_iter().take(MOST_OF_ONE_MESSAGE) {
        let stored = state.store.event(row.seq).await?;
        events.push(detail(&state, row, stored, None).await?);
    }
    if events.is_empty() {
        return Err(Failed::not_found(format!("no event has the number or messageId `{id}`; `events list` shows what there is")));
    }
    Ok(Json(EventDetails { events }))
}

/// `/api/events/SEQ/RULE`.
pub(super) async fn show_delivery(
    Extract(state): Extract<State>,
    Path((seq, rule)): Path<(String, String)>,
) -> Result<Json<EventDetails>, Failed> {
    let id: DeliveryId = format!("{seq}/{rule}").parse().map_err(|e| Failed::bad_request(format!("{e}")))?;
    match of_seq(&state, id.seq, Some(&id.rule)).await? {
        Some(event) if !event.deliveries.is_empty() => Ok(Json(EventDetails { events: vec![event] })),
        _ => Err(Failed::not_found(format!("there is no delivery {id}; `events show {}` shows the event", id.seq))),
    }
}

async fn of_seq(state: &State, seq: Seq, rule: Option<&str>) -> Result<Option<EventDetail>, Failed> {
    let Some(stored) = state.store.event(seq).await? else { return Ok(None) };
    let text = |key: &str| body(&stored).get(key).and_then(Value::as_str).map(str::to_owned);
    let row = EventRow {
        seq,
        message_id: stored.message_id.clone(),
        kind: text("type").unwrap_or_default(),
        name: text("event"),
        source: stored.source.clone(),
        received_at: stored.received_at,
        note: stored.note.clone(),
    };
    detail(state, row, Some(stored), rule).await.map(Some)
}

async fn detail(state: &State, row: EventRow, stored: Option<StoredEvent>, rule: Option<&str>) -> Result<EventDetail, Failed> {
    let filter =
        DeliveryFilter { seq: Some(row.seq), rule: rule.map(str::to_owned), limit: MOST_DELIVERIES, ..DeliveryFilter::default() };
    let mut deliveries = Vec::new();
    for delivery in state.store.deliveries(&filter).await? {
        let records = state.store.records(&delivery.id).await?;
        let records = records.iter().map(|bytes| readable(bytes)).collect();
        deliveries.push(DeliveryDetail { row: delivery, records });
    }
    let (replay_of, edited_from) = match stored.as_ref().and_then(|stored| stored.repeats.clone()).map(|repeats| repeats.of) {
        Some(Repeated::Delivery(id)) => (Some(id), None),
        Some(Repeated::Edited(seq)) => (None, Some(seq)),
        None => (None, None),
    };
    let (mut edited_as, mut replayed_as) = (Vec::new(), Vec::new());
    for seq in state.store.relatives(row.seq).await?.into_iter().filter(|seq| *seq > row.seq).take(MOST_RELATIVES) {
        let repeats = state.store.event(seq).await?.and_then(|relative| relative.repeats);
        match repeats.filter(|repeats| repeats.seq() == row.seq).map(|repeats| repeats.of) {
            Some(Repeated::Edited(_)) => edited_as.push(seq),
            Some(Repeated::Delivery(id)) => replayed_as.push(DeliveryId { seq, rule: id.rule }),
            None => {}
        }
    }
    let event = stored.as_ref().map(body);
    Ok(EventDetail { row, replay_of, edited_from, edited_as, replayed_as, event, deliveries })
}

fn body(stored: &StoredEvent) -> Value {
    readable(&stored.payload)
}

/// JSON as it was stored; what is no JSON (a damaged store) is shown as the text that it is.
fn readable(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_else(|_| Value::String(String::from_utf8_lossy(bytes).into_owned()))
}
