//! The handle that the admin API and signals hold on the reloader.

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot, watch};

use super::{Pin, RollbackRequest, RolledBack, TestCounts, VersionError};
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
        /// The tests that they passed; none: none are required, or there are none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tests: Option<TestCounts>,
        /// From reading the files to the swap, tests included.
        #[serde(default)]
        took_ms: u64,
    },
    /// The files were live already.
    Unchanged {
        /// Their version.
        version: Version,
        /// What they do not pass of `[reload] require` all the same, since a test was changed; they stay live.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        failing: Vec<Diagnostic>,
    },
    /// The files were refused; the set that was live goes on.
    Refused {
        /// The set that goes on.
        version: Version,
        /// Why.
        diagnostics: Vec<Diagnostic>,
        /// How the tests went, when it came to them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tests: Option<TestCounts>,
    },
    /// The files would be live but for the pin.
    Pinned {
        /// The set that stays live until `unpin`.
        version: Version,
        /// The files.
        files: Version,
        /// The tests that they passed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tests: Option<TestCounts>,
    },
    /// The daemon is shutting down.
    Stopped,
}

/// How reloading stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadStatus {
    /// When the live set went live.
    pub live_since: jiff::Timestamp,
    /// Warnings of the live set.
    #[serde(default)]
    pub warnings: Vec<Diagnostic>,
    /// The tests that the live set passed before it went live; none: none were required, there are none, or it was live before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tests: Option<TestCounts>,
    /// Set while the files on disk are refused and an older set is live.
    #[serde(default)]
    pub refused: Option<Refused>,
    /// Set while the live set does not pass what `[reload] require` asks: a test was changed. It goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing: Option<Refused>,
    /// Set while changed files are tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trying: Option<Version>,
    /// Set while the live set stays live until `unpin`, whatever is saved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<Pin>,
    /// The live set came from the store, for the files were refused at the start.
    #[serde(default)]
    pub from_store: bool,
    /// Changed settings that only a restart brings in.
    #[serde(default)]
    pub restart_needed: Vec<String>,
}

/// Files that were refused, or do not pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// When they were read.
    pub at: jiff::Timestamp,
    /// Why.
    pub diagnostics: Vec<Diagnostic>,
}

/// What the handle asks the reloader.
#[derive(Debug)]
pub enum Request {
    /// Read the files now.
    Reload(oneshot::Sender<ReloadOutcome>),
    /// Go back to a set that was live.
    Rollback(RollbackRequest, oneshot::Sender<Result<RolledBack, VersionError>>),
    /// Let the files go live again.
    Unpin(oneshot::Sender<Result<ReloadOutcome, VersionError>>),
}

/// Talks to the reloader.
#[derive(Debug, Clone)]
pub struct Handle {
    requests: mpsc::Sender<Request>,
    status: watch::Receiver<ReloadStatus>,
}

/// The reloader's end of a [`Handle`].
#[derive(Debug)]
pub struct HandleEnd {
    /// What is asked.
    pub requests: mpsc::Receiver<Request>,
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

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Option<T> {
        let (sender, receiver) = oneshot::channel();
        self.requests.send(request(sender)).await.ok()?;
        receiver.await.ok()
    }

    /// Reads the files now, and waits for what becomes of them.
    pub async fn reload(&self) -> ReloadOutcome {
        self.ask(Request::Reload).await.unwrap_or(ReloadOutcome::Stopped)
    }

    /// Goes back to a set that was live, which stays live until [`Handle::unpin`].
    ///
    /// # Errors
    /// When there is no such version, or it cannot be built any more.
    pub async fn rollback(&self, request: RollbackRequest) -> Result<RolledBack, VersionError> {
        self.ask(|reply| Request::Rollback(request, reply)).await.unwrap_or(Err(VersionError::Stopped))
    }

    /// Lets the files go live again, and waits for what becomes of them.
    ///
    /// # Errors
    /// When nothing is pinned.
    pub async fn unpin(&self) -> Result<ReloadOutcome, VersionError> {
        self.ask(Request::Unpin).await.unwrap_or(Err(VersionError::Stopped))
    }

    /// How reloading stands.
    #[must_use]
    pub fn status(&self) -> ReloadStatus {
        self.status.borrow().clone()
    }
}
