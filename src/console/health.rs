//! Health, metrics, status.

use std::time::Duration;

use axum::extract::State as Extract;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::{Extension, Json};
use serde_json::{Value, json};

use super::State;
use super::guard::Trusted;
use super::problem::Failed;
use super::types::{Paused, SetStatus, Status};
use crate::delivery::{DeliveryStatus, Scope};
use crate::store::CauseCount;
use crate::telemetry::OPENMETRICS;

/// How long a probe waits for the store and the scheduler before it calls them stuck.
const PATIENCE: Duration = Duration::from_secs(5);

/// The process answers.
pub(super) async fn healthz() -> Json<Value> {
    Json(json!({ "ok": true }))
}

/// Events can be taken and delivered. A refused script set and pauses are details: the daemon goes on with what it has.
pub(super) async fn readyz(Extract(state): Extract<State>, Extension(Trusted(trusted)): Extension<Trusted>) -> impl IntoResponse {
    let (store, delivery) = tokio::join!(patiently(state.store.stats()), patiently(state.delivery.status()));
    // What was accepted goes on; but who sends events had better send them elsewhere.
    let store = store.and_then(|stats| match stats.refusing {
        Some(why) => Err(format!("new events are refused: {why}")),
        None => Ok(()),
    });
    let ready = store.is_ok() && delivery.is_ok();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut body = json!({ "ready": ready });
    if trusted {
        let reload = state.reload.status();
        let paused = delivery.as_ref().map(paused).unwrap_or_default();
        body["store"] = said(&store);
        body["delivery"] = said(&delivery);
        body["version"] = json!(state.live.load().version);
        body["live_since"] = json!(reload.live_since);
        body["from_store"] = json!(reload.from_store);
        body["refused"] = json!(reload.refused);
        body["failing"] = json!(reload.failing);
        body["pin"] = json!(reload.pin);
        body["trying"] = json!(reload.trying);
        body["restart_needed"] = json!(reload.restart_needed);
        body["paused"] = json!(paused);
    }
    (status, Json(body))
}

async fn patiently<T, E: std::fmt::Display>(asked: impl Future<Output = Result<T, E>>) -> Result<T, String> {
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(answer) => answer.map_err(|e| e.to_string()),
        Err(_) => Err(format!("no answer within {PATIENCE:?}")),
    }
}

fn said<T>(answer: &Result<T, String>) -> Value {
    match answer {
        Ok(_) => json!({ "ok": true }),
        Err(error) => json!({ "ok": false, "error": error }),
    }
}

fn paused(status: &DeliveryStatus) -> Vec<Paused> {
    let accounts =
        status.accounts.iter().filter_map(|a| Some(Paused { scope: Scope::Account(a.name.clone()), pause: a.paused.clone()? }));
    let rules = status.rules.iter().filter_map(|r| Some(Paused { scope: Scope::Rule(r.name.clone()), pause: r.paused.clone()? }));
    accounts.chain(rules).collect()
}

pub(super) async fn metrics(Extract(state): Extract<State>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, OPENMETRICS)], state.metrics.render())
}

pub(super) async fn status(Extract(state): Extract<State>) -> Result<Json<Status>, Failed> {
    let (store, causes, delivery) = tokio::try_join!(
        async { state.store.stats().await.map_err(Failed::from) },
        async { state.store.causes().await.map_err(Failed::from) },
        async { state.delivery.status().await.map_err(Failed::from) },
    )?;
    let set = state.live.load();
    Ok(Json(Status {
        pipewright: state.version.to_owned(),
        started_at: state.started_at,
        set: SetStatus {
            version: set.version.0.to_string(),
            rules: set.rules.len(),
            enabled: set.rules.iter().filter(|r| r.config.enabled).count(),
            disabled: set.rules.iter().filter(|r| !r.config.enabled).map(|r| r.name.to_string()).collect(),
        },
        reload: state.reload.status(),
        delivery,
        store,
        // Reasons may hold values of events: they are told by `GET /api/causes`.
        causes: causes.into_iter().map(|count| CauseCount { reason: None, ..count }).collect(),
        accepted: state.metrics.accepted_total(),
        finished: state.metrics.finished_total(),
    }))
}
