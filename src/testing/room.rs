//! A place to run sandboxes in, one after the other: a store that is thrown away, and a thread for scripts.

use std::path::PathBuf;
use std::sync::Arc;

use crate::script::Pool;
use crate::store::sqlite::{OpenOptions, SqliteStore};
use crate::store::{Feed, Pending, Store, StoreError};
use crate::telemetry::Metrics;

/// A place to run sandboxes in, one after the other. Dropping it deletes its store.
pub struct Room {
    pub(super) store: Arc<SqliteStore>,
    pub(super) pool: Arc<Pool>,
    pub(super) metrics: Metrics,
    feed: tokio::sync::Mutex<Feed>,
    // Deleted after the store is closed: fields are dropped in order.
    _folder: Folder,
}

impl std::fmt::Debug for Room {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Room").finish_non_exhaustive()
    }
}

impl Room {
    /// Opens a fresh store in the system's folder for temporary files. Blocks for some milliseconds.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn open() -> Result<Self, StoreError> {
        let name = format!("pipewright-{}-{}", std::process::id(), uuid::Uuid::new_v4().simple());
        let folder = Folder(std::env::temp_dir().join(name));
        let (store, feed) = SqliteStore::open(OpenOptions::volatile(folder.0.clone()))?;
        Ok(Self {
            store: Arc::new(store),
            pool: Arc::new(Pool::start(1)),
            metrics: Metrics::default(),
            feed: tokio::sync::Mutex::new(feed),
            _folder: folder,
        })
    }

    pub(super) fn store(&self) -> Arc<dyn Store> {
        self.store.clone()
    }

    /// The deliveries that were just appended.
    pub(super) async fn announced(&self) -> Result<Vec<Pending>, StoreError> {
        self.feed.lock().await.recv().await.ok_or(StoreError::Closed)
    }
}

struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left in the folder for temporary files is the system's to clean.
        drop(std::fs::remove_dir_all(&self.0));
    }
}
