//! What a rule has written, put back.

use axum::Json;
use axum::extract::State as Extract;
use axum::extract::rejection::JsonRejection;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::State;
use super::problem::Failed;
use crate::delivery::{Place, RevertPage, RevertWish};

/// `POST /api/revert`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevertRequest {
    /// Whose writes.
    pub rule: String,
    /// Of events received at this time or later.
    pub since: Timestamp,
    /// Of events received before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Write; else only say what would be.
    #[serde(default)]
    pub apply: bool,
    /// Ask for Pipedrive's changelog where records do not say what was there before: 20 tokens a record.
    #[serde(default)]
    pub changelog: bool,
    /// Where an earlier answer ended (`next`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Place>,
}

pub(super) async fn revert(
    Extract(state): Extract<State>,
    body: Result<Json<RevertRequest>, JsonRejection>,
) -> Result<Json<RevertPage>, Failed> {
    let Json(RevertRequest { rule, since, until, apply, changelog, after }) = body?;
    let page = state.revert.run(&RevertWish { rule: rule.clone(), since, until, apply, changelog, after }).await?;
    if page.deliveries == 0 {
        // A rule that is not there any more may have written all the same.
        state.rule(Some(&rule))?;
    }
    if apply {
        let back = page.records.iter().filter(|record| !record.back.is_empty()).count();
        tracing::info!(
            rule,
            records = page.records.len(),
            back,
            tokens = page.tokens,
            "what the rule wrote is put back on request"
        );
    }
    Ok(Json(page))
}
