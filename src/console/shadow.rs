//! What shadow scripts would have done otherwise.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State as Extract};
use serde::{Deserialize, Serialize};

use super::State;
use super::problem::Failed;
use crate::delivery::ShadowDifference;
use crate::rules::Rule;
use crate::store::{DeliveryId, ShadowCount, ShadowRow, ShadowVerdict};

/// Differences that an answer lists of one rule, unless told.
const LISTED: usize = 20;

/// `?rule=NAME&limit=N`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShadowQuery {
    /// Only this rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Differences of each rule; 20 unless told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

/// `GET /api/shadow`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShadowList {
    /// The rules that have a shadow, in order.
    pub rules: Vec<ShadowOfRule>,
}

/// A rule's shadow, and what its runs came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShadowOfRule {
    /// Rule.
    pub rule: String,
    /// Its script.
    pub script: String,
    /// The shadow.
    pub shadow: String,
    /// When the first of the runs was; none: there was none with these scripts.
    pub since: Option<jiff::Timestamp>,
    /// The same as the rule's own script.
    pub same: u64,
    /// Something else.
    pub different: u64,
    /// It reads what the own script did not read.
    pub unknown: u64,
    /// It fails.
    pub failed: u64,
    /// Not run: too many waited.
    pub dropped: u64,
    /// The newest that are not the same, newest first.
    pub newest: Vec<ShadowListed>,
}

/// One delivery of which the shadow makes something else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShadowListed {
    /// Which.
    pub id: DeliveryId,
    /// When the shadow ran.
    pub at: jiff::Timestamp,
    /// How it differs.
    #[serde(flatten)]
    pub difference: ShadowDifference,
}

pub(super) async fn list(
    Extract(state): Extract<State>,
    query: Result<Query<ShadowQuery>, QueryRejection>,
) -> Result<Json<ShadowList>, Failed> {
    let Query(query) = query.map_err(|e| Failed::bad_request(e.body_text()))?;
    state.rule(query.rule.as_deref())?;
    let set = state.live.load_full();
    let counts = state.store.shadow_counts().await?;
    let mut rules = Vec::new();
    for rule in set.rules.iter().filter(|rule| query.rule.as_deref().is_none_or(|name| *rule.name == *name)) {
        let (Some(shadow), Some(scripts)) = (&rule.config.shadow, &rule.compared) else { continue };
        let counts: Vec<&ShadowCount> = counts.iter().filter(|c| c.rule == rule.name && *c.scripts == **scripts).collect();
        // Of other scripts nothing is listed, either.
        let limit = if counts.is_empty() { 0 } else { query.limit.unwrap_or(LISTED) };
        let rows = if limit == 0 { Vec::new() } else { state.store.shadow_differences(&rule.name, limit).await? };
        rules.push(of_rule(rule, shadow, &counts, rows));
    }
    if rules.is_empty()
        && let Some(name) = &query.rule
    {
        return Err(Failed::not_found(format!(
            "rule `{name}` has no shadow: add `shadow = \"next/NAME.rhai\"` to it in rules.toml"
        )));
    }
    Ok(Json(ShadowList { rules }))
}

fn of_rule(rule: &Rule, shadow: &str, counts: &[&ShadowCount], rows: Vec<ShadowRow>) -> ShadowOfRule {
    let runs = |verdict| counts.iter().filter(|c| c.verdict == verdict).map(|c| c.runs).sum();
    // What cannot be read is of another version of the program.
    let listed = |row: ShadowRow| {
        let difference = serde_json::from_slice(&row.difference).ok()?;
        Some(ShadowListed { id: row.id, at: row.at, difference })
    };
    ShadowOfRule {
        rule: rule.name.to_string(),
        script: rule.config.script.clone(),
        shadow: shadow.to_owned(),
        since: counts.iter().map(|c| c.since).min(),
        same: runs(ShadowVerdict::Same),
        different: runs(ShadowVerdict::Different),
        unknown: runs(ShadowVerdict::Unknown),
        failed: runs(ShadowVerdict::Failed),
        dropped: runs(ShadowVerdict::Dropped),
        newest: rows.into_iter().filter_map(listed).collect(),
    }
}
