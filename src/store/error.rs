//! Why the store refused.

use crate::failure::FailureClass;

/// A store failure. What it means for an HTTP sender is ingest's business.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The queue to the writer is full; try again soon.
    #[error("the store has more work than it can take; try again soon")]
    Overloaded,
    /// More deliveries wait than may.
    #[error(
        "{waiting} deliveries wait to be carried out, and {limit} may (server.max_backlog); `pipewright status` says what they wait for"
    )]
    Behind {
        /// How many wait.
        waiting: u64,
        /// How many may.
        limit: u64,
    },
    /// No room: new events are refused, outcomes go on from the reserve.
    #[error("the disk is full ({0}); free some space, the daemon goes on by itself")]
    Full(String),
    /// A write or fsync failed. The process must stop and recover from disk.
    #[error("the store failed and must be reopened: {0}")]
    Failed(String),
    /// A write names a delivery that does not stand as the write needs it. Nothing of its call was carried out.
    #[error("delivery {id} {reason}")]
    Refused {
        /// Which.
        id: super::DeliveryId,
        /// How it stands.
        reason: &'static str,
    },
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// The file is damaged or not ours.
    #[error("the store at {path} cannot be used: {reason}")]
    Unusable {
        /// The file.
        path: String,
        /// Why, and what to do.
        reason: String,
    },
}

impl StoreError {
    /// The failure class: the store's troubles are never the delivery's fault, a refused write is.
    #[must_use]
    pub const fn class(&self) -> FailureClass {
        match self {
            Self::Refused { .. } => FailureClass::Permanent,
            _ => FailureClass::Transient,
        }
    }
}
