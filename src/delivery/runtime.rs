//! What every attempt works with; one for the whole daemon.

use std::sync::Arc;

use tokio::sync::watch;

use super::PlanHold;
use super::creates::Creates;
use super::locks::Locks;
use super::restored::RestoredFrom;
use super::shadow::Shadows;
use super::wake::Wakeup;
use crate::crm::Accounts;
use crate::rules::Live;
use crate::script::Pool;
use crate::store::{Store, StoreError};
use crate::telemetry::Metrics;

/// What every attempt works with.
pub struct Runtime {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The live script set.
    pub live: Live,
    /// The script threads.
    pub pool: Arc<Pool>,
    /// The accounts.
    pub accounts: Accounts,
    /// One writer per entity.
    pub locks: Locks,
    /// Creates of the last hour, by rule.
    pub creates: Creates,
    /// Which plans have to wait.
    pub hold: PlanHold,
    /// The copy that the store was, if it was one.
    pub restored: Option<RestoredFrom>,
    /// Runs shadow scripts; none where nothing is live.
    pub shadows: Option<Shadows>,
    /// Metrics.
    pub metrics: Metrics,
    /// Where the names of learned index entries go while deliveries are parked.
    pub wakes: Wakeup,
    /// Set when the daemon must stop and recover from disk.
    pub fatal: watch::Sender<Option<String>>,
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime").field("accounts", &self.accounts).finish_non_exhaustive()
    }
}

impl Runtime {
    /// The store failed for good: asks the daemon to stop.
    pub(super) fn fail(&self, error: &StoreError) {
        match error {
            StoreError::Closed => {}
            error => {
                tracing::error!(%error, "outcomes of deliveries cannot be stored");
                if matches!(error, StoreError::Failed(_) | StoreError::Unusable { .. }) {
                    self.fatal.send_replace(Some(error.to_string()));
                }
            }
        }
    }
}
