//! Going back to a set that was live, and letting the files go live again.
//!
//! Invariants: what is rolled back to is in the store before it is live, so that a restart goes on with it; it is built anew, with the
//! secrets of now, and need not pass the gate again; a pin ends with `unpin` and with nothing else.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::reloader::{Candidate, Reloader, failed};
use super::stored::StoredError;
use super::versions::{self, LiveBy, Versions};
use super::{Pin, ReloadOutcome, TestCounts, pin};
use crate::diagnostic::Diagnostic;
use crate::rules::{BuildOptions, Built, ScriptSet, Version};

/// What to roll back to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RollbackRequest {
    /// The beginning of a version's hash; none: what the files were before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Plans that other sets have pinned wait.
    pub hold_pinned: bool,
    /// Why, for `status`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What a rollback did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolledBack {
    /// The set that is live and pinned now.
    pub version: Version,
    /// The one that was live.
    pub from: Version,
    /// Plans of other sets wait.
    pub hold_pinned: bool,
}

/// Why there is no such version, or it cannot go live.
#[derive(Debug, thiserror::Error)]
pub enum VersionError {
    /// None begins so.
    #[error("no version that was live begins with `{asked}`; there is {}", listed(.known))]
    Unknown {
        /// What was asked for.
        asked: String,
        /// The newest, as they are shown.
        known: Vec<String>,
    },
    /// Several begin so.
    #[error("`{asked}` is the beginning of several versions: {}", .fits.join(", "))]
    Ambiguous {
        /// What was asked for.
        asked: String,
        /// Which, whole.
        fits: Vec<String>,
    },
    /// Nothing was live before.
    #[error("there was no other version before {0}; `pipewright versions list` shows what there is")]
    NoneBefore(Version),
    /// It cannot be built any more.
    #[error("version {version} cannot be built any more; what is live goes on")]
    Refused {
        /// Which.
        version: Version,
        /// Why.
        diagnostics: Vec<Diagnostic>,
    },
    /// There is no pin.
    #[error("nothing is pinned: what is saved goes live")]
    NotPinned,
    /// The store failed, or holds what cannot be used.
    #[error(transparent)]
    Stored(#[from] StoredError),
    /// The reloader has stopped.
    #[error("the daemon is shutting down")]
    Stopped,
}

fn listed(known: &[String]) -> String {
    if known.is_empty() { "none".to_owned() } else { known.join(", ") }
}

impl Reloader {
    /// Goes back to a set that was live, and stays there.
    pub(super) async fn rollback(&mut self, request: RollbackRequest) -> Result<RolledBack, VersionError> {
        let began = Instant::now();
        let store = self.parts.store.clone();
        let versions = Versions::new(&*store);
        let from = self.parts.live.load_full();
        let all = versions.list().await?;
        let kept = match &request.version {
            Some(asked) => versions::find(&all, asked)?,
            None => versions::before(&all, &from.version)?,
        };
        let RollbackRequest { hold_pinned, reason, .. } = request;
        let pin = Pin { version: kept.version.clone(), since: Timestamp::now(), hold_pinned, reason, waiting: None };
        if kept.version == from.version {
            store.commit(vec![pin::write(&pin)?]).await.map_err(StoredError::from)?;
            self.pin(pin);
            self.parts.swapped.send_replace(from.version.clone());
        } else {
            // What the account lacks by now pauses a rule at most: no reason to stay with what somebody wants to leave.
            let options = BuildOptions { dir: self.parts.dir.clone(), mock: self.parts.mock, metadata: None };
            let files = versions.files(kept).await?;
            let built = tokio::task::spawn_blocking(move || ScriptSet::build_as_required(files, &options)).await;
            let refused = |diagnostics| VersionError::Refused { version: kept.version.clone(), diagnostics };
            let built = built.unwrap_or_else(|error| Err(vec![failed(&error)]));
            let Built { set, warnings } = built.map_err(refused)?;
            versions.went_live(&set, LiveBy::Rollback, vec![pin::write(&pin)?]).await?;
            self.pin(pin);
            // The tests beside the files are not its own.
            self.judged = None;
            self.go_live(&Arc::new(set), &warnings, None, began);
            // What was live is what lies on disk, unless that was refused.
            let on_disk = self.on_disk.clone().filter(|seen| seen.version == from.version);
            self.set_waiting(on_disk);
            self.followed(&kept.version).await;
        }
        tracing::warn!(version = %kept.version, from = %from.version, hold_pinned, "rolled back; saved files wait until `pipewright unpin`");
        Ok(RolledBack { version: kept.version.clone(), from: from.version.clone(), hold_pinned })
    }

    fn pin(&mut self, pin: Pin) {
        self.hold_ends = false;
        self.parts.hold.set(pin.hold_pinned.then(|| pin.version.clone()));
        self.parts.metrics.set_pinned(true);
        self.end.status.send_modify(|status| status.pin = Some(pin));
    }

    /// Lets the files go live again; the next look brings them in.
    pub(super) async fn unpin(&mut self) -> Result<(), VersionError> {
        if self.end.status.borrow().pin.is_none() {
            return Err(VersionError::NotPinned);
        }
        self.parts.store.commit(vec![pin::unwrite()]).await.map_err(StoredError::from)?;
        self.parts.metrics.set_pinned(false);
        self.set_waiting(None);
        self.end.status.send_modify(|status| status.pin = None);
        self.hold_ends = true;
        tracing::info!("unpinned: what is saved goes live again");
        Ok(())
    }

    /// After an unpin, once it is known which set is live: held plans go on, and what stands behind them meets that set.
    pub(super) fn end_hold(&mut self) {
        if std::mem::take(&mut self.hold_ends) {
            self.parts.hold.set(None);
            self.parts.swapped.send_replace(self.parts.live.load().version.clone());
        }
    }

    /// The files would go live but for the pin.
    pub(super) fn hold_back(&mut self, candidate: Candidate, tests: Option<TestCounts>) -> ReloadOutcome {
        let files = candidate.seen.version.clone();
        self.parts.metrics.set_held_back(&files, candidate.began.elapsed());
        self.refused = None;
        self.end.status.send_modify(|status| status.refused = None);
        self.set_waiting(Some(candidate.seen));
        ReloadOutcome::Pinned { version: self.parts.live.load().version.clone(), files, tests }
    }
}
