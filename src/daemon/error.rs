//! Why the daemon did not start.

use std::net::SocketAddr;

use crate::console::ConsoleError;
use crate::diagnostic::{Diagnostic, render_all};
use crate::store::StoreError;

/// Why the daemon did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The files are refused and there is no last good set.
    #[error("{}", render_all(.0))]
    Refused(Vec<Diagnostic>),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An address is taken or not ours.
    #[error("cannot listen on {addr} for {what}: {source}; stop what uses it, or choose another address")]
    Listen {
        /// What for.
        what: &'static str,
        /// Where.
        addr: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The admin API cannot be served.
    #[error(transparent)]
    Console(#[from] ConsoleError),
    /// A secret cannot be resolved.
    #[error("{0}")]
    Secret(String),
    /// An account cannot be reached as it is configured.
    #[error("[pipedrive.{account}]: {reason}")]
    Account {
        /// Account.
        account: String,
        /// Why.
        reason: String,
    },
    /// A fault of ours.
    #[error("internal error: {0}")]
    Internal(String),
}

impl StartError {
    /// Whether the user's files or arguments are to be mended, rather than the machine.
    #[must_use]
    pub const fn is_usage(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::Secret(_) | Self::Account { .. } | Self::Console(ConsoleError::Open(_)))
    }
}
