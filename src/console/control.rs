//! What changes something: replay, discard, reload, pause, resume.

use axum::Json;
use axum::extract::State as Extract;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::State;
use super::problem::Failed;
use super::query::failed_states;
use super::types::{DiscardAnswer, ReplayAnswer, ScopeRequest, Selection};
use crate::reload::ReloadOutcome;
use crate::store::DeliveryId;

/// Most deliveries that one filter may take.
const MOST_AT_ONCE: usize = 10_000;

type Body<T> = Result<Json<T>, JsonRejection>;

pub(super) async fn replay(Extract(state): Extract<State>, body: Body<Selection>) -> Result<Json<ReplayAnswer>, Failed> {
    let ids = chosen(&state, body?.0).await?;
    let replayed = if ids.is_empty() { Vec::new() } else { state.delivery.replay(ids).await? };
    tracing::info!(deliveries = replayed.len(), "deliveries replayed on request");
    Ok(Json(ReplayAnswer { replayed }))
}

pub(super) async fn discard(Extract(state): Extract<State>, body: Body<Selection>) -> Result<Json<DiscardAnswer>, Failed> {
    let ids = chosen(&state, body?.0).await?;
    let discarded = if ids.is_empty() { 0 } else { state.delivery.discard(ids).await? };
    tracing::info!(deliveries = discarded, "deliveries discarded on request");
    Ok(Json(DiscardAnswer { discarded }))
}

/// The deliveries that a selection names, oldest first, so that what is replayed keeps its order.
async fn chosen(state: &State, selection: Selection) -> Result<Vec<DeliveryId>, Failed> {
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
                return Err(Failed::bad_request(
                    "`rejected` and `unmatched` list events without deliveries; there is nothing to take",
                ));
            }
            let mut filter = query.filter(jiff::Timestamp::now())?;
            if filter.states.is_empty() {
                filter.states = failed_states();
            }
            let wanted = query.limit.unwrap_or(MOST_AT_ONCE).min(MOST_AT_ONCE);
            filter.limit = wanted + 1;
            let rows = state.store.deliveries(&filter).await?;
            if rows.len() > wanted && query.limit.is_none() {
                return Err(Failed::bad_request(format!("the filter fits more than {MOST_AT_ONCE} deliveries; narrow it")));
            }
            let mut ids: Vec<_> = rows.into_iter().take(wanted).map(|row| row.id).collect();
            ids.reverse();
            Ok(ids)
        }
    }
}

/// Waits for the outcome. A refused set is 422, with its diagnostics.
pub(super) async fn reload(Extract(state): Extract<State>) -> (StatusCode, Json<ReloadOutcome>) {
    let outcome = state.reload.reload().await;
    let status = match &outcome {
        ReloadOutcome::Swapped { .. } | ReloadOutcome::Unchanged { .. } => StatusCode::OK,
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
