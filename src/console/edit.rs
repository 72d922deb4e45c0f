//! An event as a person edited it.

use axum::Json;
use axum::extract::State as Extract;
use axum::extract::rejection::JsonRejection;
use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::State;
use super::problem::Failed;
use crate::delivery::Edited;
use crate::ingest::{Rejection, decode_text};
use crate::store::{ReplayOptions, Seq};

/// `POST /api/events/edit`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EditRequest {
    /// The event.
    pub seq: Seq,
    /// Its text as edited: one JSON object.
    pub event: String,
    /// Create again what was created before, and delete, merge, convert and request again.
    #[serde(default)]
    pub again: bool,
    /// Write over fields that later events have written.
    #[serde(default)]
    pub overwrite: bool,
}

pub(super) async fn edit(
    Extract(state): Extract<State>,
    body: Result<Json<EditRequest>, JsonRejection>,
) -> Result<Json<Edited>, Failed> {
    let Json(EditRequest { seq, event, again, overwrite }) = body?;
    let stored = state.store.event(seq).await?;
    let stored = stored.ok_or_else(|| Failed::not_found(format!("event {seq} is not kept; `events list` shows what is")))?;
    let refused = |why: Rejection| Failed::bad_request(format!("the event as edited: {why}"));
    let limit = state.live.load().config.server.max_event.get();
    if event.len() as u64 > limit {
        return Err(refused(Rejection::TooLarge { bytes: event.len(), limit }));
    }
    let event = decode_text(&stored.source, Timestamp::now(), &Bytes::from(event)).map_err(refused)?;
    let edited = state.delivery.edit(seq, event, ReplayOptions { again, overwrite }).await?;
    tracing::info!(seq = seq.0, as_seq = edited.event.0, "an event was edited on request");
    Ok(Json(edited))
}
