//! The first set: from the files, else from the store.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;

use super::reloader::Parts;
use super::{Handle, Refused, ReloadStatus, Reloader, stored};
use crate::config::Config;
use crate::crm::Metadata;
use crate::diagnostic::Diagnostic;
use crate::rules::{BuildOptions, Built, Live, ScriptSet, SetFiles, Version};
use crate::store::Store;
use crate::telemetry::Metrics;

/// What is known of the accounts at the moment, by name.
pub type MetadataSource = Arc<dyn Fn() -> BTreeMap<String, Arc<Metadata>> + Send + Sync>;

/// The files as found at the start, built or refused.
#[derive(Debug)]
pub struct Prepared {
    dir: PathBuf,
    mock: bool,
    /// Where the store is when the files are refused.
    data_dir_hint: PathBuf,
    /// None when they cannot be read.
    version: Option<Version>,
    built: Result<Built, Vec<Diagnostic>>,
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
    let built = files.and_then(|files| ScriptSet::build(files, &options));
    Prepared { dir: dir.to_owned(), mock, data_dir_hint, version, built }
}

impl Prepared {
    /// The folder of the store.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        let data_dir = self.built.as_ref().map_or(&self.data_dir_hint, |built| &built.set.config.server.data_dir);
        self.dir.join(data_dir)
    }

    /// The configuration; none when the files are refused.
    #[must_use]
    pub fn config(&self) -> Option<&Config> {
        self.built.as_ref().ok().map(|built| &*built.set.config)
    }

    /// What is wrong with the files; empty when nothing is.
    #[must_use]
    pub fn problems(&self) -> &[Diagnostic] {
        self.built.as_ref().err().map_or(&[], Vec::as_slice)
    }

    /// Goes live with the files, else with the last good set of the store. `metadata` is asked at each reload.
    ///
    /// # Errors
    /// When the files are refused and the store has no set that builds: what is wrong with them.
    pub async fn start(
        self,
        store: Arc<dyn Store>,
        metrics: Metrics,
        metadata: MetadataSource,
    ) -> Result<Started, Vec<Diagnostic>> {
        let started = Instant::now();
        let (built, refused) = match self.built {
            Ok(built) => {
                if let Err(error) = stored::save(&*store, &built.set.files, &built.set.version).await {
                    tracing::warn!(%error, "the live script set could not be stored; a restart has no last good set");
                }
                (built, None)
            }
            Err(diagnostics) => {
                let options = BuildOptions { dir: self.dir.clone(), mock: self.mock, metadata: None };
                match last_good(&*store, options).await {
                    Ok(built) => {
                        let version = &built.set.version;
                        tracing::error!(%version, "the files on disk are refused; running the last good script set from the store");
                        (built, Some(Refused { at: Timestamp::now(), diagnostics }))
                    }
                    Err(more) => return Err(diagnostics.into_iter().chain(more).collect()),
                }
            }
        };
        metrics.set_swapped(&built.set.version, built.set.rules.len(), started.elapsed());
        let seen = refused.as_ref().map(|refused| {
            // Told after the swap, which would say that all is well.
            metrics.set_refused(&refused.diagnostics, started.elapsed());
            self.version.ok_or_else(|| refused.diagnostics.clone())
        });
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
            dir: self.dir,
            mock: self.mock,
            live: live.clone(),
            store,
            metrics,
            metadata,
            swapped: swapped_sender,
            followed: followed_receiver,
        };
        Ok(Started { live, handle, swapped, followed, reloader: Reloader::new(parts, end, seen) })
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
