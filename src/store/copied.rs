//! Copies of a store: what a copy says of itself, and what a store says that was one.
//!
//! A copy is a moment of the past. Whoever goes on from it does not know what was done after that moment, so it says which moment it
//! was, whichever way it came to its place.

use serde::{Deserialize, Serialize};

use super::{Seq, StoreError};

/// The space of small values that holds [`CopyOf`], under [`COPY_OF`].
pub const COPIES: &str = "copies";

/// The key of [`CopyOf`].
pub const COPY_OF: &str = "copy_of";

/// The moment that a store was copied at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyOf {
    /// When. What happened later may have happened without this store's knowledge.
    pub at: jiff::Timestamp,
    /// The newest event then.
    pub newest: Seq,
    /// When a daemon first went on from the copy; none: none has yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<jiff::Timestamp>,
}

/// What a copy holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The moment that it was made at.
    pub at: jiff::Timestamp,
    /// Size of the file.
    pub bytes: u64,
    /// Number of its schema.
    pub schema: usize,
    /// The newest event that there was, kept or not.
    pub newest: Seq,
    /// Events that are kept, matched ones.
    pub events: u64,
    /// Events that no rule wanted.
    pub unmatched: u64,
    /// Deliveries that are not finished.
    pub pending: u64,
    /// Dead, partial and uncertain deliveries.
    pub failed: u64,
}

/// Why a store was not copied, or a copy not put in its place.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// Nothing is overwritten unless that is wanted.
    #[error("{0} is there already, and a backup replaces nothing by itself; name another file, or add --force")]
    Exists(std::path::PathBuf),
    /// It was not asked for any more.
    #[error("stopped; nothing was left behind")]
    Stopped,
    /// Somebody else is at it.
    #[error("another backup to {0} is under way; wait for it, or name another file")]
    UnderWay(std::path::PathBuf),
    /// The file to restore is none, or is damaged, or newer.
    #[error("{path} cannot be restored: {reason}; nothing was changed")]
    Unfit {
        /// The file.
        path: std::path::PathBuf,
        /// Why, and what to do.
        reason: String,
    },
    /// The system refused.
    #[error("{what} {path}: {source}")]
    Io {
        /// What could not be done.
        what: &'static str,
        /// With which file.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The store that is copied or replaced.
    #[error(transparent)]
    Store(#[from] StoreError),
}
