//! Pipedrive's webhooks: what people change there is known here a moment later, for no tokens.
//!
//! Invariants:
//! - A notice is answered once what it tells is in the store; what cannot be stored is answered so that Pipedrive sends it again.
//! - Older news never takes the place of newer: by `update_time`, where known values are; by what was told in the last minutes, elsewhere.
//! - They are a help, not a proof: Pipedrive loses some when nobody answers. So nothing is said not to be there because no webhook told of
//!   it; and after a gap (the daemon was down, the subscription was gone, Pipedrive was refused) a sweep asks for what was missed.
//! - Our own changes come back as notices, too, and change nothing.

mod hear;
mod notice;
mod shape;
mod upkeep;

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::Account;
use crate::pipedrive::{Id, Kind};
use crate::store::StoreError;

pub use hear::Heard;
pub use notice::{NotANotice, Notice};
pub use upkeep::{Checked, Registered, WebhooksError, keep};

use upkeep::Kept;

/// The webhooks of one account.
#[derive(Debug, Default)]
pub struct Webhooks {
    state: Mutex<State>,
    /// Held by whoever changes the subscription.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    /// What is kept of the subscription.
    kept: Option<Kept>,
    /// When the last notice came.
    heard: Option<Timestamp>,
    /// What became of the notices since the start.
    counts: BTreeMap<&'static str, u64>,
    /// Changes since then may have been missed.
    missed_since: Option<Timestamp>,
    /// What is wrong with the subscription.
    problem: Option<String>,
    /// What went into what, of late: merges may be told in another order than that in which they were made.
    merged: HashMap<(Kind, Id), Id>,
}

/// Merges that are remembered.
const MERGES: usize = 10_000;

/// How the webhooks of an account stand.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhooksStatus {
    /// Where Pipedrive is to send.
    pub url: String,
    /// The number of the subscription; none: it was not made yet.
    pub subscription: Option<u64>,
    /// When Pipedrive was last asked whether it has it still.
    pub checked_at: Option<Timestamp>,
    /// When the last notice came, since the start.
    pub heard_at: Option<Timestamp>,
    /// What became of the notices since the start: `learned`, `own`, `old`, `other`, `foreign`.
    pub notices: BTreeMap<String, u64>,
    /// What is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl Webhooks {
    /// Changes since then may have been missed: a sweep is to ask for them, at most one in a minute.
    fn missed_since(&self, since: Timestamp) {
        let mut state = self.state.lock();
        let earliest = state.missed_since.map_or(since, |before| before.min(since));
        state.missed_since = Some(earliest);
    }

    /// Notes that one went into another; answers where that is now.
    fn merged(&self, kind: Kind, id: &Id, into: &Id) -> Id {
        let mut state = self.state.lock();
        let (mut last, mut steps) = (into.clone(), 0);
        while let Some(next) = state.merged.get(&(kind, last.clone())).filter(|next| *next != id && steps < MERGES) {
            (last, steps) = (next.clone(), steps + 1);
        }
        if state.merged.len() >= MERGES {
            state.merged.clear();
        }
        state.merged.insert((kind, id.clone()), last.clone());
        last
    }

    /// Takes in what Pipedrive tells of an account.
    ///
    /// # Errors
    /// When it cannot be stored.
    pub async fn hear(&self, account: &Account, notice: &Notice) -> Result<Heard, StoreError> {
        let heard = hear::hear(account, notice).await?;
        account.metrics.webhook_heard(&account.name, heard.as_str());
        let mut state = self.state.lock();
        if !matches!(heard, Heard::Foreign { .. }) {
            state.heard = Some(Timestamp::now());
            // Whatever it was, they arrive.
            state.problem = None;
        }
        *state.counts.entry(heard.as_str()).or_default() += 1;
        Ok(heard)
    }

    /// How they stand; none where `rules.toml` has none.
    #[must_use]
    pub fn status(&self, account: &Account) -> Option<WebhooksStatus> {
        let url = account.config.webhooks.as_ref()?.address(&account.name);
        let state = self.state.lock();
        let kept = state.kept.as_ref().filter(|kept| kept.url == url);
        Some(WebhooksStatus {
            subscription: kept.map(|kept| kept.id),
            checked_at: kept.map(|kept| kept.checked_at),
            heard_at: state.heard,
            notices: state.counts.iter().map(|(what, times)| ((*what).to_owned(), *times)).collect(),
            problem: state.problem.clone(),
            url,
        })
    }
}
