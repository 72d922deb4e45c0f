//! Ids of existing records, told to the match index.

use axum::Json;
use axum::extract::State as Extract;
use axum::extract::rejection::JsonRejection;
use serde::{Deserialize, Serialize};

use super::State;
use super::problem::Failed;
use crate::delivery::{IdPair, Imported};
use crate::pipedrive::Kind;

/// Most rows of one request: they are looked up by as few requests to Pipedrive as can be, and deliveries to them wait meanwhile.
const MOST_ROWS: usize = 1_000;

/// `POST /api/ids`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdsRequest {
    /// Whose records.
    pub account: String,
    /// Their kind.
    pub kind: Kind,
    /// The field that stands for your ids; none: that of `match_fields`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Look whether the records are there, and what they hold.
    pub verify: bool,
    /// Only say which rows cannot be taken whatever the records hold; nothing is taken, and no record is looked at.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// Which id of yours is which record.
    pub rows: Vec<IdPair>,
}

pub(super) async fn import(
    Extract(state): Extract<State>,
    body: Result<Json<IdsRequest>, JsonRejection>,
) -> Result<Json<Imported>, Failed> {
    let Json(IdsRequest { account, kind, field, verify, dry_run, rows }) = body?;
    if rows.len() > MOST_ROWS {
        return Err(Failed::bad_request(format!("{} rows are too many for one request; send {MOST_ROWS} at a time", rows.len())));
    }
    state.account(&account)?;
    if dry_run {
        return Ok(Json(state.ids.read(&account, kind, field.as_deref(), &rows).await?));
    }
    let done = state.ids.import(&account, kind, field.as_deref(), &rows, verify).await?;
    tracing::info!(account, %kind, imported = done.imported, refused = done.refused.len(), tokens = done.tokens, "ids imported on request");
    Ok(Json(done))
}
