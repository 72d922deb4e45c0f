//! The last good set in the store.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::rules::{SetFiles, Version};
use crate::script::Sources;
use crate::store::sqlite::History;
use crate::store::{Store, StoreError, Write};

pub(super) const SPACE: &str = "script_sets";
const LIVE: &str = "live";

/// The files of a set, as the store keeps them.
#[derive(Serialize, Deserialize)]
struct StoredSet {
    version: Version,
    rules_toml: Arc<str>,
    scripts: BTreeMap<String, Arc<str>>,
    tables: BTreeMap<String, Arc<str>>,
    /// Sets of earlier versions have none.
    #[serde(default)]
    schemas: BTreeMap<String, Arc<str>>,
}

/// Why the stored set cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum StoredError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Written by something else, or damaged.
    #[error("the stored set cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    /// Its content is not what its version says.
    #[error("the stored set is damaged: its content does not have the hash {0}")]
    Hash(Version),
    /// A part of it is gone.
    #[error("the stored version {version} is damaged: {file} is missing or no text")]
    Missing {
        /// Which.
        version: Version,
        /// The file that is missing.
        file: String,
    },
}

/// The write that keeps a set as the last good one.
pub(super) fn write(files: &SetFiles, version: &Version) -> Result<Write, StoredError> {
    let set = StoredSet {
        version: version.clone(),
        rules_toml: files.rules_toml.clone(),
        scripts: files.sources.scripts.clone(),
        tables: files.sources.tables.clone(),
        schemas: files.schemas.clone(),
    };
    let value = serde_json::to_vec(&set)?;
    Ok(Write::KvPut { space: SPACE.to_owned(), key: LIVE.to_owned(), value })
}

/// The last good set; none when there was none.
pub(super) async fn load(store: &dyn Store) -> Result<Option<SetFiles>, StoredError> {
    store.kv_get(SPACE, LIVE).await?.map(|value| read(&value)).transpose()
}

/// The set that was live last on a data directory; none when none was.
///
/// # Errors
/// When the store or the stored set cannot be read.
pub fn last_live(history: &History) -> Result<Option<SetFiles>, StoredError> {
    history.kv(SPACE, LIVE)?.map(|value| read(&value)).transpose()
}

fn read(value: &[u8]) -> Result<SetFiles, StoredError> {
    let set: StoredSet = serde_json::from_slice(value)?;
    let sources = Sources { scripts: set.scripts, tables: set.tables };
    let files = SetFiles { rules_toml: set.rules_toml, sources, schemas: set.schemas };
    if files.version() == set.version { Ok(files) } else { Err(StoredError::Hash(set.version)) }
}
