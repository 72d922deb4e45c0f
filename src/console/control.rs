//! What changes something: replay, release, discard, reload, pause, resume.

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Query, State as Extract};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::State;
use super::problem::Failed;
use super::query::{EventsQuery, failed_states};
use super::types::{DiscardAnswer, ReleaseAnswer, ReplayAnswer, ReplayRequest, ScopeRequest, Selection, UnmatchedReplay};
use crate::delivery::ControlError;
use crate::ingest::replay_unmatched;
use crate::reload::ReloadOutcome;
use crate::store::{DeliveryFilter, DeliveryId, DeliveryState};

/// Most deliveries that one filter may take.
const MOST_AT_ONCE: usize = 10_000;
/// Most observed deliveries that one filter may take: weeks of observing.
const MOST_RELEASED: usize = 1_000_000;
/// Deliveries in one command to the scheduler: bounds what one append holds, and lets it run others in between.
const CHUNK: usize = 200;
/// Unmatched events looked at at once.
const UNMATCHED_PAGE: usize = 500;

type Body<T> = Result<Json<T>, JsonRejection>;

pub(super) async fn replay(Extract(state): Extract<State>, body: Body<ReplayRequest>) -> Result<Json<ReplayAnswer>, Failed> {
    let mut replayed = Vec::new();
    let ReplayRequest { selection, how } = body?.0;
    if let Selection::Unmatched { rule, limit, after, filter } = selection {
        if !how.is_plain() {
            return Err(Failed::bad_request(
                "`again` and `overwrite` are about what was done before; for unmatched events nothing was done, so leave them out",
            ));
        }
        let mut filter = filter.unwrap_or_default().unmatched(jiff::Timestamp::now())?;
        state.rule(rule.as_deref())?;
        // Whether a rule has had an event is looked up before it is given it: two at once would both give it.
        let _one = state.replaying.lock().await;
        filter.after = after;
        let mut unmatched = UnmatchedReplay::default();
        loop {
            filter.limit = limit.map_or(UNMATCHED_PAGE, |limit| limit.saturating_sub(unmatched.seen).min(UNMATCHED_PAGE));
            // Each page meets the triggers of its moment.
            let set = state.live.load_full();
            unmatched.add(replay_unmatched(&*state.store, &set, rule.as_deref(), &filter).await?.into());
            filter.after = unmatched.next;
            if unmatched.next.is_none() || limit.is_some_and(|limit| unmatched.seen >= limit) {
                break;
            }
        }
        tracing::info!(events = unmatched.events, deliveries = unmatched.deliveries, "unmatched events replayed on request");
        return Ok(Json(ReplayAnswer { replayed, unmatched: Some(unmatched) }));
    }
    // What was repeated since is not repeated once more: its repetition fits as well, or has mended it.
    let selection = match selection {
        Selection::Filter(query) => Selection::Filter(Box::new(EventsQuery { open: Some(1), ..*query })),
        selection => selection,
    };
    for ids in chosen(&state, selection, &failed_states(), MOST_AT_ONCE).await?.chunks(CHUNK) {
        let done = state.delivery.replay(ids.to_vec(), how).await.map_err(|e| after(replayed.len(), "replayed", e))?;
        replayed.extend(done);
    }
    tracing::info!(deliveries = replayed.len(), "deliveries replayed on request");
    Ok(Json(ReplayAnswer { replayed, unmatched: None }))
}

/// `?dry=1` only says what fits.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct DryQuery {
    dry: u8,
}

pub(super) async fn release(
    Extract(state): Extract<State>,
    query: Result<Query<DryQuery>, QueryRejection>,
    body: Body<Selection>,
) -> Result<Json<ReleaseAnswer>, Failed> {
    let Query(query) = query.map_err(|e| Failed::bad_request(e.body_text()))?;
    let ids = chosen(&state, body?.0, &[DeliveryState::Observed], MOST_RELEASED).await?;
    if query.dry != 0 {
        return Ok(Json(ReleaseAnswer { released: 0, fits: ids }));
    }
    let mut released = 0;
    for ids in ids.chunks(CHUNK) {
        let done = state.delivery.release(ids.to_vec()).await;
        released += done.map_err(|e| after(usize::try_from(released).unwrap_or(usize::MAX), "released", e))?;
    }
    tracing::info!(deliveries = released, "observed deliveries released on request");
    Ok(Json(ReleaseAnswer { released, ..ReleaseAnswer::default() }))
}

pub(super) async fn discard(
    Extract(state): Extract<State>,
    query: Result<Query<DryQuery>, QueryRejection>,
    body: Body<Selection>,
) -> Result<Json<DiscardAnswer>, Failed> {
    let Query(query) = query.map_err(|e| Failed::bad_request(e.body_text()))?;
    let ids = chosen(&state, body?.0, &failed_states(), MOST_AT_ONCE).await?;
    if query.dry != 0 {
        return Ok(Json(DiscardAnswer { discarded: 0, fits: ids }));
    }
    let mut discarded = 0;
    for ids in ids.chunks(CHUNK) {
        let done = state.delivery.discard(ids.to_vec()).await;
        discarded += done.map_err(|e| after(usize::try_from(discarded).unwrap_or(usize::MAX), "discarded", e))?;
    }
    tracing::info!(deliveries = discarded, "deliveries discarded on request");
    Ok(Json(DiscardAnswer { discarded, ..DiscardAnswer::default() }))
}

/// An error that leaves something done says how much.
fn after(done: usize, what: &str, error: ControlError) -> Failed {
    if done == 0 { error.into() } else { Failed::from(error).but(&format!("{done} deliveries were {what}, then: ")) }
}

/// The deliveries that a selection names, oldest first, so that what is replayed keeps its order. A filter without states means
/// `states`, and may fit `most` deliveries.
async fn chosen(state: &State, selection: Selection, states: &[DeliveryState], most: usize) -> Result<Vec<DeliveryId>, Failed> {
    match selection {
        Selection::Ids(mut ids) => {
            ids.sort();
            ids.dedup();
            Ok(ids)
        }
        Selection::Filter(query) => {
            if !query.has_conditions() {
                return Err(Failed::bad_request("the filter is empty; name a state, a rule, a time or another condition"));
            }
            if query.rejected.is_some() || query.unmatched.is_some() {
                return Err(Failed::bad_request("`rejected` and `unmatched` list events without deliveries"));
            }
            let mut filter = query.filter(jiff::Timestamp::now())?;
            if filter.states.is_empty() {
                filter.states = states.to_vec();
            }
            let ids = found_by(state, filter, query.limit, most).await?;
            // A rule that is gone may have left some.
            if ids.is_empty() {
                state.rule(query.rule.as_deref())?;
            }
            Ok(ids)
        }
        Selection::Unmatched { .. } => {
            Err(Failed::bad_request("unmatched events have no deliveries; they can be replayed, and go by themselves"))
        }
    }
}

/// Page after page; the deliveries of one event are always on one page.
async fn found_by(
    state: &State,
    mut filter: DeliveryFilter,
    limit: Option<usize>,
    bound: usize,
) -> Result<Vec<DeliveryId>, Failed> {
    let most = limit.unwrap_or(bound).min(bound);
    filter.limit = MOST_AT_ONCE;
    let mut ids: Vec<DeliveryId> = Vec::new();
    loop {
        let page = state.store.deliveries(&filter).await?;
        let Some(last) = page.last() else { break };
        filter.before = Some(last.id.seq);
        ids.extend(page.into_iter().map(|row| row.id));
        if ids.len() > most {
            if limit.is_none() {
                return Err(Failed::bad_request(format!("the filter fits more than {bound} deliveries; narrow it")));
            }
            ids.truncate(most);
            break;
        }
    }
    ids.sort();
    Ok(ids)
}

/// Waits for the outcome. A refused set is 422, with its diagnostics; one that waits for `unpin` is 409.
pub(super) async fn reload(Extract(state): Extract<State>) -> (StatusCode, Json<ReloadOutcome>) {
    answered(state.reload.reload().await)
}

pub(super) fn answered(outcome: ReloadOutcome) -> (StatusCode, Json<ReloadOutcome>) {
    let status = match &outcome {
        ReloadOutcome::Swapped { .. } | ReloadOutcome::Unchanged { .. } => StatusCode::OK,
        ReloadOutcome::Pinned { .. } => StatusCode::CONFLICT,
        ReloadOutcome::Refused { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        ReloadOutcome::Stopped => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, Json(outcome))
}

pub(super) async fn pause(Extract(state): Extract<State>, body: Body<ScopeRequest>) -> Result<Json<Value>, Failed> {
    let Json(ScopeRequest { scope, reason }) = body?;
    let reason = reason.filter(|r| !r.trim().is_empty()).unwrap_or_else(|| "paused by a person".to_owned());
    state.delivery.pause(scope, reason).await?;
    Ok(Json(json!({ "paused": true })))
}

pub(super) async fn resume(Extract(state): Extract<State>, body: Body<ScopeRequest>) -> Result<Json<Value>, Failed> {
    state.delivery.resume(body?.0.scope).await?;
    Ok(Json(json!({ "paused": false })))
}
