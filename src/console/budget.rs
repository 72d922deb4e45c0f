//! The tokens of the accounts.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State as Extract};
use serde::{Deserialize, Serialize};

use super::State;
use super::problem::Failed;
use crate::crm::budget::BudgetReport;

/// Earlier days that are told unless asked otherwise.
const DAYS: usize = 7;

/// `?account=NAME&days=N`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BudgetQuery {
    /// Only this account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Earlier days of each; 7 unless told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub days: Option<usize>,
}

/// `GET /api/budget`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BudgetList {
    /// By account, in the order of their names.
    pub accounts: Vec<BudgetReport>,
}

pub(super) async fn list(
    Extract(state): Extract<State>,
    query: Result<Query<BudgetQuery>, QueryRejection>,
) -> Result<Json<BudgetList>, Failed> {
    let Query(query) = query.map_err(|e| Failed::bad_request(e.body_text()))?;
    let set = state.live.load();
    if let Some(account) = &query.account {
        set.has_account(account).map_err(Failed::not_found)?;
    }
    let wanted = |name: &&String| query.account.as_ref().is_none_or(|account| account == *name);
    let report = |name: &String| state.ledger.report(name, query.days.unwrap_or(DAYS));
    Ok(Json(BudgetList { accounts: set.config.pipedrive.keys().filter(wanted).map(report).collect() }))
}
