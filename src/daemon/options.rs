//! How to start a daemon.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use crate::mock::Mock;
use crate::store::sqlite::FaultHook;

/// How to start a daemon.
pub struct DaemonOptions {
    /// Folder of `rules.toml` and `scripts/`.
    pub dir: PathBuf,
    /// An embedded Pipedrive in place of all accounts.
    pub mock: Option<MockSetup>,
    /// In place of `server.listen`.
    pub listen: Option<SocketAddr>,
    /// In place of `admin.listen`.
    pub admin_listen: Option<SocketAddr>,
    /// What was rolled back to is let go: the files go live.
    pub unpin: bool,
    /// Puts faults in place of the store's commits; for tests.
    pub store_fault: Option<FaultHook>,
}

impl std::fmt::Debug for DaemonOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DaemonOptions").field("dir", &self.dir).field("mock", &self.mock).finish_non_exhaustive()
    }
}

/// An embedded Pipedrive and how it is reached.
pub struct MockSetup {
    /// It.
    pub mock: Arc<Mock>,
    /// How it is reached.
    pub door: MockDoor,
    /// It has no limits, so none are kept.
    pub unlimited: bool,
    /// `writes` of the accounts counts as "on": what is written is embedded.
    pub writes_on: bool,
}

impl std::fmt::Debug for MockSetup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MockSetup").field("door", &self.door).finish_non_exhaustive()
    }
}

/// How an embedded Pipedrive is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MockDoor {
    /// Without a network.
    InProcess,
    /// Over real HTTP on this address.
    Http(SocketAddr),
}
