//! The handle that the admin API and signals hold on the reloader.

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot, watch};

use crate::diagnostic::Diagnostic;
use crate::rules::Version;

/// What became of a reload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum ReloadOutcome {
    /// The files are live now.
    Swapped {
        /// Their version.
        version: Version,
        /// What was let pass with a warning.
        #[serde(default)]
        warnings: Vec<Diagnostic>,
        /// Changed settings that only a restart brings in (`server.listen`).
        #[serde(default)]
        restart_needed: Vec<String>,
    },
    /// The files were live already.
    Unchanged {
        /// Their version.
        version: Version,
    },
    /// The files were refused; the set that was live goes on.
    Refused {
        /// The set that goes on.
        version: Version,
        /// Why.
        diagnostics: Vec<Diagnostic>,
    },
    /// The daemon is shutting down.
    Stopped,
}

/// How reloading stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadStatus {
    /// When the live set went live.
    pub live_since: jiff::Timestamp,
    /// Warnings of the live set.
    #[serde(default)]
    pub warnings: Vec<Diagnostic>,
    /// Set while the files on disk are refused and an older set is live.
    #[serde(default)]
    pub refused: Option<Refused>,
    /// The live set came from the store, for the files were refused at the start.
    #[serde(default)]
    pub from_store: bool,
    /// Changed settings that only a restart brings in.
    #[serde(default)]
    pub restart_needed: Vec<String>,
}

/// Files that were refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// When they were read.
    pub at: jiff::Timestamp,
    /// Why.
    pub diagnostics: Vec<Diagnostic>,
}

/// Talks to the reloader.
#[derive(Debug, Clone)]
pub struct Handle {
    requests: mpsc::Sender<oneshot::Sender<ReloadOutcome>>,
    status: watch::Receiver<ReloadStatus>,
}

/// The reloader's end of a [`Handle`].
#[derive(Debug)]
pub struct HandleEnd {
    /// Who waits for a reload.
    pub requests: mpsc::Receiver<oneshot::Sender<ReloadOutcome>>,
    /// Kept up to date by the reloader.
    pub status: watch::Sender<ReloadStatus>,
}

impl Handle {
    /// A handle and the reloader's end of it.
    #[must_use]
    pub fn channel(status: ReloadStatus) -> (Self, HandleEnd) {
        let (requests, receiver) = mpsc::channel(16);
        let (sender, status) = watch::channel(status);
        (Self { requests, status }, HandleEnd { requests: receiver, status: sender })
    }

    /// Reads the files now, and waits for what becomes of them.
    pub async fn reload(&self) -> ReloadOutcome {
        let (sender, receiver) = oneshot::channel();
        if self.requests.send(sender).await.is_err() {
            return ReloadOutcome::Stopped;
        }
        receiver.await.unwrap_or(ReloadOutcome::Stopped)
    }

    /// How reloading stands.
    #[must_use]
    pub fn status(&self) -> ReloadStatus {
        self.status.borrow().clone()
    }
}
