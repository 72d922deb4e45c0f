//! Failed deliveries by what they have in common.

use axum::Json;
use axum::extract::State as Extract;
use serde::{Deserialize, Serialize};

use super::State;
use super::problem::Failed;
use crate::store::CauseCount;

/// `GET /api/causes`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CauseList {
    /// The most frequent first.
    pub causes: Vec<CauseCount>,
}

pub(super) async fn list(Extract(state): Extract<State>) -> Result<Json<CauseList>, Failed> {
    Ok(Json(CauseList { causes: state.store.causes().await? }))
}
