//! The script sets that were live, and going back to one of them.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State as Extract};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};

use super::State;
use super::control;
use super::problem::Failed;
use crate::diagnostic::Diagnostic;
use crate::reload::{KeptVersion, Pin, ReloadOutcome, RollbackRequest, RolledBack, VersionError, Versions};
use crate::rules::Version;
use crate::store::OutcomeCount;

/// The word for the live set where a version is asked for.
pub const LIVE_WORD: &str = "live";

/// `GET /api/versions`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionList {
    /// The live one.
    pub live: Version,
    /// Set while it stays live until `unpin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<Pin>,
    /// All that are kept, those that were live last first.
    pub versions: Vec<VersionDetail>,
}

/// `GET /api/versions/VERSION`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionDetail {
    /// What is kept of it.
    #[serde(flatten)]
    pub kept: KeptVersion,
    /// Whether it is live.
    pub live: bool,
    /// Whether it stays live until `unpin`.
    pub pinned: bool,
    /// The deliveries that it has ended, by rule and state.
    pub outcomes: Vec<OutcomeCount>,
}

/// `POST /api/rollback`, when the version cannot be built any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RollbackRefused {
    /// In one line.
    pub error: String,
    /// Why, with the places.
    pub diagnostics: Vec<Diagnostic>,
}

/// `GET /api/versions/VERSION/files`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionFiles {
    /// Which.
    pub version: Version,
    /// Texts by their path in the folder.
    pub files: BTreeMap<String, String>,
}

pub(super) async fn list(Extract(state): Extract<State>) -> Result<Json<VersionList>, Failed> {
    let versions = details(&state).await?;
    Ok(Json(VersionList { live: state.live.load().version.clone(), pin: state.reload.status().pin, versions }))
}

pub(super) async fn show(Extract(state): Extract<State>, Path(asked): Path<String>) -> Result<Json<VersionDetail>, Failed> {
    let version = found(&state, &asked).await?.version;
    let detail = details(&state).await?.into_iter().find(|detail| detail.kept.version == version);
    detail.map(Json).ok_or_else(|| Failed::not_found(format!("version {version} was dropped just now")))
}

pub(super) async fn files(Extract(state): Extract<State>, Path(asked): Path<String>) -> Result<Json<VersionFiles>, Failed> {
    let kept = found(&state, &asked).await?;
    let files = Versions::new(&*state.store).texts(&kept).await?;
    Ok(Json(VersionFiles { version: kept.version, files }))
}

pub(super) async fn rollback(
    Extract(state): Extract<State>,
    body: Result<Json<RollbackRequest>, JsonRejection>,
) -> Result<Json<RolledBack>, Response> {
    let Json(request) = body.map_err(|rejection| Failed::from(rejection).into_response())?;
    state.reload.rollback(request).await.map(Json).map_err(|error| {
        let text = error.to_string();
        match error {
            // What is wrong with the set comes with its places.
            VersionError::Refused { diagnostics, .. } => {
                let body = RollbackRefused { error: text, diagnostics };
                (StatusCode::UNPROCESSABLE_ENTITY, Json(body)).into_response()
            }
            error => Failed::from(error).into_response(),
        }
    })
}

/// Answers with what becomes of the files, as `/api/reload` does.
pub(super) async fn unpin(Extract(state): Extract<State>) -> Result<(StatusCode, Json<ReloadOutcome>), Failed> {
    Ok(control::answered(state.reload.unpin().await?))
}

async fn details(state: &State) -> Result<Vec<VersionDetail>, Failed> {
    let (all, outcomes) = (Versions::new(&*state.store).list().await?, state.store.outcomes().await?);
    let (live, pin) = (state.live.load().version.clone(), state.reload.status().pin);
    let detail = |kept: KeptVersion| {
        let of = |count: &&OutcomeCount| kept.version.0.starts_with(&count.version);
        let outcomes = outcomes.iter().filter(of).cloned().collect();
        let (is_live, pinned) = (kept.version == live, pin.as_ref().is_some_and(|pin| pin.version == kept.version));
        VersionDetail { kept, live: is_live, pinned, outcomes }
    };
    Ok(all.into_iter().map(detail).collect())
}

async fn found(state: &State, asked: &str) -> Result<KeptVersion, Failed> {
    let live = state.live.load().version.clone();
    let asked = if asked == LIVE_WORD { &live.0 } else { asked };
    Ok(Versions::new(&*state.store).find(asked).await?)
}
