//! One delivery from start to end without the scheduler: for dry runs and script tests, where nothing else runs.
//!
//! Invariants: it is the same attempt that the daemon makes; nothing sleeps: a retry follows at once, links that are not there
//! count as waited for (where nothing is sent they stay open, as in any delivery that only observes), and what would hold a rule or
//! an account ends as pending.

use std::sync::Arc;

use serde_json::Value as Json;

use super::attempt::{self, Verdict};
use super::runtime::Runtime;
use crate::store::{DeliveryState, Pending, StoreError};

/// How a delivery came out.
#[derive(Debug, Clone)]
pub struct Finished {
    /// Its state; pending when it would be tried again later.
    pub state: DeliveryState,
    /// Why, in one line.
    pub reason: Option<String>,
    /// The decision record of each attempt, oldest first.
    pub records: Vec<Json>,
}

/// Runs a delivery until it ends, at most so many attempts.
///
/// # Errors
/// When the store fails.
pub async fn run_to_end(runtime: &Arc<Runtime>, mut pending: Pending, attempts: u32) -> Result<Finished, StoreError> {
    let mut state = DeliveryState::Pending;
    for _ in 0..attempts.max(1) {
        match attempt::run_at_once(runtime.clone(), pending.clone()).await.verdict {
            Verdict::Ended { state: ended, .. } => {
                state = ended;
                break;
            }
            Verdict::Retry { attempts, first_failed_at, pinned, .. } => {
                pending.attempts = attempts;
                pending.first_failed_at = Some(first_failed_at);
                pending.pinned = pinned;
            }
            Verdict::Wait { .. }
            | Verdict::Withheld { .. }
            | Verdict::Park { .. }
            | Verdict::GiveWay { .. }
            | Verdict::Held { .. } => break,
            Verdict::StoreFailed { error, .. } => return Err(error),
        }
    }
    let mut records = Vec::new();
    for bytes in runtime.store.records(&pending.id).await? {
        records.push(serde_json::from_slice(&bytes).map_err(|e| StoreError::Failed(format!("a decision record: {e}")))?);
    }
    let reason = records.last().and_then(|record: &Json| record.get("reason")).and_then(Json::as_str).map(str::to_owned);
    Ok(Finished { state, reason, records })
}
