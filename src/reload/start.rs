//! The first set: from the files, else from the store.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;

use super::gate::{Gate, TestCounts, Verdict};
use super::look::{Look, Seen, TestsHash};
use super::reloader::{Parts, Refusal, failed};
use super::stored::StoredError;
use super::versions::{LiveBy, Versions};
use super::{Handle, Pin, Refused, ReloadStatus, Reloader, VersionError, pin, stored};
use crate::config::Config;
use crate::crm::Metadata;
use crate::delivery::PlanHold;
use crate::diagnostic::Diagnostic;
use crate::rules::{BuildOptions, Built, Live, ScriptSet, SetFiles, Version};
use crate::store::Store;
use crate::telemetry::Metrics;
use crate::testing::TestFolder;

/// What is known of the accounts at the moment, by name.
pub type MetadataSource = Arc<dyn Fn() -> BTreeMap<String, Arc<Metadata>> + Send + Sync>;

/// The files as found at the start. They say where the store is, even when they are refused.
#[derive(Debug)]
pub struct Prepared {
    dir: PathBuf,
    mock: bool,
    data_dir: PathBuf,
    found: Found,
}

#[derive(Debug)]
enum Found {
    /// They build.
    Good(Box<Built>, Arc<TestFolder>, Seen),
    /// They do not.
    Refused(Refusal, Vec<Diagnostic>),
}

/// The set to start with.
#[derive(Debug)]
pub struct Chosen {
    dir: PathBuf,
    mock: bool,
    set: Arc<ScriptSet>,
    warnings: Vec<Diagnostic>,
    /// The tests that it passed now.
    tests: Option<TestCounts>,
    /// The tests as they lay beside it; none when it is of the store.
    judged: Option<TestsHash>,
    /// What was seen on disk and refused, when the set is of the store.
    refused: Option<(Refusal, Refused)>,
    /// The set is that of the pin, whatever lies on disk.
    pin: Option<Pin>,
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
    /// Which plans have to wait.
    pub hold: PlanHold,
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
    let options = BuildOptions { dir: dir.to_owned(), mock, metadata: None };
    let (dir, look) = (dir.to_owned(), Look::read(dir));
    let data_dir = look.as_ref().map_or_else(
        // Something else than `rules.toml` may be what cannot be read.
        |_| {
            std::fs::read_to_string(dir.join("rules.toml"))
                .map_or_else(|_| Config::data_dir_hint(""), |t| Config::data_dir_hint(&t))
        },
        |look| Config::data_dir_hint(&look.files.rules_toml),
    );
    let found = match look {
        Ok(Look { files, tests, seen }) => match ScriptSet::build_as_required(files, &options) {
            Ok(built) => Found::Good(Box::new(built), tests, seen),
            Err(diagnostics) => Found::Refused(Ok(seen), diagnostics),
        },
        Err(diagnostics) => Found::Refused(Err(diagnostics.clone()), diagnostics),
    };
    Prepared { dir, mock, data_dir, found }
}

impl Prepared {
    /// The folder of the store.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        match &self.found {
            Found::Good(built, ..) => self.dir.join(&built.set.config.server.data_dir),
            Found::Refused(..) => self.dir.join(&self.data_dir),
        }
    }

    /// How long the store is to remember events, as far as the files say: it may be opened so to choose the set by it.
    #[must_use]
    pub fn dedupe_window(&self) -> Duration {
        match &self.found {
            Found::Good(built, ..) => built.set.config.server.dedupe_window.get(),
            Found::Refused(..) => Duration::MAX,
        }
    }

    /// The set to start with: the pinned one; else the files when they were live before or pass what they require; else the last good set of
    /// the store. With `unpin`, what is pinned is let go first.
    ///
    /// # Errors
    /// When the pinned set does not build any more, or the store has no set that does: what is wrong with the files, and with it.
    pub async fn choose(self, store: &dyn Store, unpin: bool) -> Result<Chosen, Vec<Diagnostic>> {
        let failed = |error: StoredError| vec![Diagnostic::error(format!("what is pinned cannot be told: {error}"))];
        match pin::load(store).await.map_err(failed)? {
            Some(pin) if unpin => {
                store.commit(vec![pin::unwrite()]).await.map_err(|e| failed(e.into()))?;
                tracing::info!(version = %pin.version, "unpinned at the start");
            }
            Some(pin) => return self.pinned(pin, store).await,
            None => {}
        }
        let Self { dir, mock, found, .. } = self;
        let (refusal, diagnostics) = match found {
            Found::Refused(refusal, diagnostics) => (refusal, diagnostics),
            Found::Good(built, tests, seen) => {
                let Built { set, warnings } = *built;
                let set = Arc::new(set);
                match passes(&set, tests, &dir, store).await {
                    Ok(tests) => {
                        // A set that was live last starts at once; its tests are run beside it by the first look.
                        let judged = tests.as_ref().map(|_| seen.tests);
                        return Ok(Chosen { dir, mock, set, warnings, tests, judged, refused: None, pin: None });
                    }
                    Err(diagnostics) => (Ok(seen), diagnostics),
                }
            }
        };
        let options = BuildOptions { dir: dir.clone(), mock, metadata: None };
        match last_good(store, options).await {
            Ok(Built { set, warnings }) => {
                let refused = Some((refusal, Refused { at: Timestamp::now(), diagnostics }));
                Ok(Chosen { dir, mock, set: Arc::new(set), warnings, tests: None, judged: None, refused, pin: None })
            }
            Err(more) => Err(diagnostics.into_iter().chain(more).collect()),
        }
    }
}

impl Prepared {
    /// The set that somebody rolled back to.
    async fn pinned(self, pin: Pin, store: &dyn Store) -> Result<Chosen, Vec<Diagnostic>> {
        let Self { dir, mock, .. } = self;
        let versions = Versions::new(store);
        let files = async { Ok::<_, VersionError>(versions.files(&versions.find(&pin.version.0).await?).await?) };
        let built = match files.await {
            Ok(files) => build(files, BuildOptions { dir: dir.clone(), mock, metadata: None }).await,
            Err(error) => Err(vec![Diagnostic::error(error.to_string())]),
        };
        let said = |d: Diagnostic| {
            d.note(format!("in version {}, which was rolled back to and is pinned", pin.version))
                .note("mend it, or start with `pipewright serve --unpin`, which takes what lies on disk")
        };
        let Built { set, warnings } = built.map_err(|problems| problems.into_iter().map(said).collect::<Vec<_>>())?;
        let (set, pin) = (Arc::new(set), Some(pin));
        Ok(Chosen { dir, mock, set, warnings, tests: None, judged: None, refused: None, pin })
    }
}

/// Builds a set that was live before.
async fn build(files: SetFiles, options: BuildOptions) -> Result<Built, Vec<Diagnostic>> {
    let build = tokio::task::spawn_blocking(move || ScriptSet::build_as_required(files, &options));
    build.await.unwrap_or_else(|error| Err(vec![failed(&error)]))
}

/// Whether this version was live last. What cannot be told is no: the set is tried then.
async fn was_live_last(store: &dyn Store, version: &Version) -> bool {
    let last = stored::load(store).await.map(|files| files.is_some_and(|files| files.version() == *version));
    last.unwrap_or_else(|error| {
        tracing::warn!(%error, "whether the files were live last cannot be told; they are tried");
        false
    })
}

/// That a set of the files was live last, or passes what it requires: the tests that it passed now; else why it does not.
async fn passes(
    set: &Arc<ScriptSet>,
    tests: Arc<TestFolder>,
    dir: &Path,
    store: &dyn Store,
) -> Result<Option<TestCounts>, Vec<Diagnostic>> {
    if was_live_last(store, &set.version).await {
        return Ok(None);
    }
    let Verdict { tests, refusal } = Gate::begin(set.clone(), tests, dir.to_owned()).verdict().await;
    if refusal.is_empty() { Ok(tests) } else { Err(refusal) }
}

impl Chosen {
    /// Its configuration: what the daemon starts with, whatever is on disk.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.set.config
    }

    /// Goes live with it. `metadata` is asked at each reload.
    pub async fn start(self, store: Arc<dyn Store>, metrics: Metrics, metadata: MetadataSource) -> Started {
        let started = Instant::now();
        let Self { dir, mock, set, warnings, tests, judged, refused, pin } = self;
        let version = &set.version;
        metrics.set_swapped(version, set.rules.len(), started.elapsed());
        metrics.set_leaves_open(&warnings);
        if let Some(tests) = &tests {
            metrics.set_tested(tests.passed, tests.failed, Duration::from_millis(tests.ms));
        }
        if let Some((_, refused)) = &refused {
            tracing::error!(%version, "the files on disk are refused; running the last good script set from the store");
            // Told after the swap, which would say that all is well.
            metrics.set_refused(&refused.diagnostics, started.elapsed());
        } else if let Err(error) = Versions::new(&*store).went_live(&set, LiveBy::Files, Vec::new()).await {
            tracing::warn!(%error, "the live script set could not be stored; a restart has no last good set");
        }
        let hold = PlanHold::default();
        if let Some(pin) = &pin {
            hold.set(pin.hold_pinned.then(|| pin.version.clone()));
            metrics.set_pinned(true);
            tracing::warn!(%version, since = %pin.since, "the script set is pinned; saved files wait until `pipewright unpin`");
        }
        let (seen, refused) = refused.unzip();
        let status = ReloadStatus {
            live_since: Timestamp::now(),
            warnings,
            tests,
            from_store: refused.is_some(),
            refused,
            pin,
            ..ReloadStatus::default()
        };
        let (handle, end) = Handle::channel(status);
        let (swapped_sender, swapped) = watch::channel(set.version.clone());
        let (followed, followed_receiver) = watch::channel(set.version.clone());
        let live: Live = Arc::new(ArcSwap::new(set));
        let parts = Parts {
            dir,
            mock,
            live: live.clone(),
            store,
            metrics,
            metadata,
            hold: hold.clone(),
            swapped: swapped_sender,
            followed: followed_receiver,
        };
        Started { live, handle, swapped, followed, hold, reloader: Reloader::new(parts, end, seen, judged) }
    }
}

/// The last good set, built; an empty list when there is none, else why it cannot be used.
async fn last_good(store: &dyn Store, options: BuildOptions) -> Result<Built, Vec<Diagnostic>> {
    let files = match stored::load(store).await {
        Ok(Some(files)) => files,
        Ok(None) => return Err(Vec::new()),
        Err(error) => return Err(vec![Diagnostic::error(format!("the last good script set cannot be used: {error}"))]),
    };
    let note = |p: Diagnostic| p.note("in the last good script set, from the store");
    build(files, options).await.map_err(|problems| problems.into_iter().map(note).collect())
}
