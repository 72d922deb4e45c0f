//! The set that somebody rolled back to: it stays live until `unpin`, whatever is saved, across restarts.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::stored::{SPACE, StoredError};
use crate::rules::Version;
use crate::store::{Store, Write};

const KEY: &str = "pin";

/// A set that stays live until `unpin`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// Which.
    pub version: Version,
    /// Since when.
    pub since: Timestamp,
    /// Plans that other sets had pinned wait.
    #[serde(default)]
    pub hold_pinned: bool,
    /// Why, in the words of who did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The files on disk, which would be live but for it; none while they are what is live, or are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Version>,
}

/// The pin; none when nothing is pinned.
pub(super) async fn load(store: &dyn Store) -> Result<Option<Pin>, StoredError> {
    match store.kv_get(SPACE, KEY).await? {
        Some(value) => Ok(Some(serde_json::from_slice(&value)?)),
        None => Ok(None),
    }
}

/// The write that keeps it.
pub(super) fn write(pin: &Pin) -> Result<Write, StoredError> {
    let value = serde_json::to_vec(&Pin { waiting: None, ..pin.clone() })?;
    Ok(Write::KvPut { space: SPACE.to_owned(), key: KEY.to_owned(), value })
}

/// The write that takes it away.
pub(super) fn unwrite() -> Write {
    Write::KvDelete { space: SPACE.to_owned(), key: KEY.to_owned() }
}
