//! The first set: from the files, else from the store.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;

use super::reloader::{Parts, Seen};
use super::{Handle, Refused, ReloadStatus, Reloader, stored};
use crate::config::Config;
use crate::crm::Metadata;
use crate::diagnostic::Diagnostic;
use crate::rules::{BuildOptions, Built, Live, ScriptSet, SetFiles, Version};
use crate::store::Store;
use crate::telemetry::Metrics;

/// What is known of the accounts at the moment, by name.
pub type MetadataSource = Arc<dyn Fn() -> BTreeMap<String, Arc<Metadata>> + Send + Sync>;

/// The files as found at the start. They say where the store is, even when they are refused.
#[derive(Debug)]
pub enum Prepared {
    /// They build.
    Good(Box<Chosen>),
    /// They are refused; the store may have a last good set.
    Refused(RefusedFiles),
}

/// The set to start with.
#[derive(Debug)]
pub struct Chosen {
    dir: PathBuf,
    mock: bool,
    built: Built,
    /// What was seen on disk and refused, when the set is of the store.
    refused: Option<(Seen, Refused)>,
}

/// Files that were refused at the start.
#[derive(Debug)]
pub struct RefusedFiles {
    dir: PathBuf,
    mock: bool,
    /// From this folder on.
    data_dir: PathBuf,
    seen: Seen,
    diagnostics: Vec<Diagnostic>,
}

/// A running start: what the daemon is wired with.
pub struct Started {
    /// The live set.
    pub live: Live,
    /// Talks to the reloader.
    pub handle: Handle,
    /// The live version; changes after each swap.
    pub swapped: watch::Receiver<Version>,
    /// Whoever follows the swaps tells here how far it has come; a reload is answered after that. Dropped: nobody follows.
    pub followed: watch::Sender<Version>,
    /// To be run until the daemon stops.
    pub reloader: Reloader,
}

impl std::fmt::Debug for Started {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Started").field("live", &self.live.load().version).finish_non_exhaustive()
    }
}

/// Reads and builds the files in `dir`. Blocks; the store is opened next, in [`Prepared::data_dir`].
#[must_use]
pub fn prepare(dir: &Path, mock: bool) -> Prepared {
    let files = SetFiles::read(dir);
    let data_dir_hint = files.as_ref().map_or_else(
        // Something else than `rules.toml` may be what cannot be read.
        |_| {
            std::fs::read_to_string(dir.join("rules.toml"))
                .map_or_else(|_| Config::data_dir_hint(""), |t| Config::data_dir_hint(&t))
        },
        |files| Config::data_dir_hint(&files.rules_toml),
    );
    let options = BuildOptions { dir: dir.to_owned(), mock, metadata: None };
    let version = files.as_ref().ok().map(SetFiles::version);
    let dir = dir.to_owned();
    match files.and_then(|files| ScriptSet::build(files, &options)) {
        Ok(built) => Prepared::Good(Box::new(Chosen { dir, mock, built, refused: None })),
        Err(diagnostics) => {
            let seen = version.ok_or_else(|| diagnostics.clone());
            Prepared::Refused(RefusedFiles { dir, mock, data_dir: data_dir_hint, seen, diagnostics })
        }
    }
}

impl Prepared {
    /// The folder of the store.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        match self {
            Self::Good(chosen) => chosen.dir.join(&chosen.config().server.data_dir),
            Self::Refused(refused) => refused.dir.join(&refused.data_dir),
        }
    }
}

impl RefusedFiles {
    /// The last good set of the store, in their place.
    ///
    /// # Errors
    /// When the store has no set that builds: what is wrong with the files, and with it.
    pub async fn last_good(self, store: &dyn Store) -> Result<Chosen, Vec<Diagnostic>> {
        let Self { dir, mock, seen, diagnostics, .. } = self;
        let options = BuildOptions { dir: dir.clone(), mock, metadata: None };
        match last_good(store, options).await {
            Ok(built) => Ok(Chosen { dir, mock, built, refused: Some((seen, Refused { at: Timestamp::now(), diagnostics })) }),
            Err(more) => Err(diagnostics.into_iter().chain(more).collect()),
        }
    }
}

impl Chosen {
    /// Its configuration: what the daemon starts with, whatever is on disk.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.built.set.config
    }

    /// Goes live with it. `metadata` is asked at each reload.
    pub async fn start(self, store: Arc<dyn Store>, metrics: Metrics, metadata: MetadataSource) -> Started {
        let started = Instant::now();
        let Self { dir, mock, built, refused } = self;
        let version = &built.set.version;
        metrics.set_swapped(version, built.set.rules.len(), started.elapsed());
        if let Some((_, refused)) = &refused {
            tracing::error!(%version, "the files on disk are refused; running the last good script set from the store");
            // Told after the swap, which would say that all is well.
            metrics.set_refused(&refused.diagnostics, started.elapsed());
        } else if let Err(error) = stored::save(&*store, &built.set.files, version).await {
            tracing::warn!(%error, "the live script set could not be stored; a restart has no last good set");
        }
        let (seen, refused) = refused.unzip();
        let status = ReloadStatus {
            live_since: Timestamp::now(),
            warnings: built.warnings,
            from_store: refused.is_some(),
            refused,
            restart_needed: Vec::new(),
        };
        let (handle, end) = Handle::channel(status);
        let (swapped_sender, swapped) = watch::channel(built.set.version.clone());
        let (followed, followed_receiver) = watch::channel(built.set.version.clone());
        let live: Live = Arc::new(ArcSwap::from_pointee(built.set));
        let parts = Parts {
            dir,
            mock,
            live: live.clone(),
            store,
            metrics,
            metadata,
            swapped: swapped_sender,
            followed: followed_receiver,
        };
        Started { live, handle, swapped, followed, reloader: Reloader::new(parts, end, seen) }
    }
}

/// The last good set, built; an empty list when there is none, else why it cannot be used.
async fn last_good(store: &dyn Store, options: BuildOptions) -> Result<Built, Vec<Diagnostic>> {
    let files = match stored::load(store).await {
        Ok(Some(files)) => files,
        Ok(None) => return Err(Vec::new()),
        Err(error) => return Err(vec![Diagnostic::error(format!("the last good script set cannot be used: {error}"))]),
    };
    let build = tokio::task::spawn_blocking(move || ScriptSet::build(files, &options));
    build
        .await
        .unwrap_or_else(|error| Err(vec![Diagnostic::error(format!("building the last good script set failed: {error}"))]))
        .map_err(|problems| {
            let note = |p: Diagnostic| p.note("in the last good script set, from the store");
            problems.into_iter().map(note).collect()
        })
}
