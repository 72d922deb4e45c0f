//! The loop that waits for a reason to look, looks, and swaps.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::{Instant, timeout};

use super::watch::Watch;
use super::{HandleEnd, MetadataSource, Refused, ReloadOutcome, stored};
use crate::config::Config;
use crate::diagnostic::Diagnostic;
use crate::rules::{BuildOptions, Built, Live, ScriptSet, SetFiles, Version};
use crate::store::Store;
use crate::telemetry::Metrics;

/// Quiet time after a change before the files are read. The trailing edge: an editor writes in several steps.
const QUIET: Duration = Duration::from_millis(20);

/// Without a quiet time within this, the files are read all the same.
const LONGEST_NOISE: Duration = Duration::from_millis(250);

/// What the reloader works with.
pub(super) struct Parts {
    pub(super) dir: PathBuf,
    pub(super) mock: bool,
    pub(super) live: Live,
    pub(super) store: Arc<dyn Store>,
    pub(super) metrics: Metrics,
    pub(super) metadata: MetadataSource,
    pub(super) swapped: watch::Sender<Version>,
    /// The set that those who follow the swaps have taken up.
    pub(super) followed: watch::Receiver<Version>,
}

/// Brings changed files in. [`Reloader::run`] it beside the rest of the daemon.
pub struct Reloader {
    parts: Parts,
    end: HandleEnd,
    changes: Arc<Notify>,
    watch: Option<Watch>,
    /// The configuration of the start: what needs a restart is told by comparing with it.
    at_start: Arc<Config>,
    /// What was refused last, so that the poll does not refuse it again and again.
    refused: Option<Seen>,
}

/// Files as they were seen: their version, or why they could not be read.
pub(super) type Seen = Result<Version, Vec<Diagnostic>>;

impl std::fmt::Debug for Reloader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reloader").field("dir", &self.parts.dir).finish_non_exhaustive()
    }
}

/// Why the files are looked at.
enum Reason {
    /// The watcher saw something, or the poll's time has come.
    Look,
    /// Somebody asks and waits for the outcome.
    Asked,
}

impl Reloader {
    pub(super) fn new(parts: Parts, end: HandleEnd, refused: Option<Seen>) -> Self {
        let at_start = parts.live.load().config.clone();
        Self { parts, end, changes: Arc::new(Notify::new()), watch: None, at_start, refused }
    }

    /// Runs until `stopping` turns true or its sender is gone.
    pub async fn run(mut self, mut stopping: watch::Receiver<bool>) {
        let mut hangup = Hangup::new();
        let mut asked = Vec::new();
        // Between the first reading and the first watch something may have changed.
        self.changes.notify_one();
        loop {
            let config = self.parts.live.load().config.clone();
            if config.reload.watch {
                self.renew_watch(&config).await;
            } else {
                self.watch = None;
            }
            let reason = tokio::select! {
                () = stopped(&mut stopping) => return,
                Some(reply) = self.end.requests.recv() => {
                    asked.push(reply);
                    Reason::Asked
                }
                () = hangup.received() => Reason::Asked,
                () = self.changes.notified(), if config.reload.watch => {
                    self.quiet().await;
                    Reason::Look
                }
                () = tokio::time::sleep(config.reload.poll.get()), if config.reload.watch => Reason::Look,
            };
            // One reading answers everybody who asked before it.
            while let Ok(reply) = self.end.requests.try_recv() {
                asked.push(reply);
            }
            let reason = if asked.is_empty() { reason } else { Reason::Asked };
            let outcome = self.reload(&reason).await;
            for reply in asked.drain(..) {
                // Who asked may have gone.
                drop(oneshot::Sender::send(reply, outcome.clone()));
            }
        }
    }

    /// Waits until nothing has changed for a while.
    async fn quiet(&self) {
        let noise_ends = Instant::now() + LONGEST_NOISE;
        while Instant::now() < noise_ends && timeout(QUIET, self.changes.notified()).await.is_ok() {}
    }

    async fn renew_watch(&mut self, config: &Arc<Config>) {
        let (watch, dir, changes, config) = (self.watch.take(), self.parts.dir.clone(), self.changes.clone(), config.clone());
        let renewed = tokio::task::spawn_blocking(move || Watch::renew(watch, &dir, &config.server.data_dir, &changes)).await;
        if let Ok((watch, is_new)) = renewed {
            self.watch = Some(watch);
            if is_new {
                self.changes.notify_one();
            }
        }
    }

    async fn reload(&mut self, reason: &Reason) -> ReloadOutcome {
        let started = Instant::now();
        let dir = self.parts.dir.clone();
        let read = tokio::task::spawn_blocking(move || SetFiles::read(&dir).map(|files| (files.version(), files))).await;
        let live = self.parts.live.load_full();
        let (version, files) = match read.unwrap_or_else(|error| Err(vec![failed(&error)])) {
            Ok(read) => read,
            Err(diagnostics) => return self.refuse(&live, Err(diagnostics.clone()), diagnostics, started),
        };
        let asked = matches!(reason, Reason::Asked);
        if !asked {
            if version == live.version {
                return self.unchanged(version, started);
            }
            if self.refused.as_ref().is_some_and(|refused| refused.as_ref() == Ok(&version)) {
                let diagnostics = self.end.status.borrow().refused.as_ref().map(|r| r.diagnostics.clone()).unwrap_or_default();
                return ReloadOutcome::Refused { version: live.version.clone(), diagnostics };
            }
        }
        let options =
            BuildOptions { dir: self.parts.dir.clone(), mock: self.parts.mock, metadata: Some((self.parts.metadata)()) };
        let built = tokio::task::spawn_blocking(move || ScriptSet::build(files, &options)).await;
        match built.unwrap_or_else(|error| Err(vec![failed(&error)])) {
            Ok(built) if version == live.version && built.set.same_secrets(&live) => self.unchanged(version, started),
            Ok(built) => self.swap(built, started).await,
            Err(diagnostics) => self.refuse(&live, Ok(version), diagnostics, started),
        }
    }

    fn unchanged(&mut self, version: Version, started: Instant) -> ReloadOutcome {
        // Quiet at each poll: only the end of a refusal is news.
        if self.refused.take().is_some() || self.end.status.borrow().refused.is_some() {
            self.parts.metrics.set_unchanged(started.elapsed());
            self.end.status.send_modify(|status| {
                status.refused = None;
                status.from_store = false;
            });
        }
        ReloadOutcome::Unchanged { version }
    }

    fn refuse(&mut self, live: &ScriptSet, what: Seen, diagnostics: Vec<Diagnostic>, started: Instant) -> ReloadOutcome {
        if self.refused.as_ref() != Some(&what) {
            self.parts.metrics.set_refused(&diagnostics, started.elapsed());
        }
        self.refused = Some(what);
        let refused = Refused { at: Timestamp::now(), diagnostics: diagnostics.clone() };
        self.end.status.send_modify(|status| status.refused = Some(refused));
        ReloadOutcome::Refused { version: live.version.clone(), diagnostics }
    }

    async fn swap(&mut self, built: Built, started: Instant) -> ReloadOutcome {
        let set = Arc::new(built.set);
        let restart_needed = restart_needed(&self.at_start, &set.config);
        self.parts.live.store(set.clone());
        self.refused = None;
        self.parts.metrics.set_swapped(&set.version, set.rules.len(), started.elapsed());
        for setting in &restart_needed {
            tracing::warn!(setting, "the changed setting needs a restart to take effect");
        }
        self.end.status.send_modify(|status| {
            status.live_since = Timestamp::now();
            status.warnings.clone_from(&built.warnings);
            status.refused = None;
            status.from_store = false;
            status.restart_needed.clone_from(&restart_needed);
        });
        self.parts.swapped.send_replace(set.version.clone());
        if let Err(error) = stored::save(&*self.parts.store, &set.files, &set.version).await {
            tracing::warn!(%error, "the live script set could not be stored; a restart would fall back to an older one");
        }
        // Who is told that it is live may count on it. Without a follower there is nothing to wait for.
        drop(self.parts.followed.wait_for(|version| *version == set.version).await);
        ReloadOutcome::Swapped { version: set.version.clone(), warnings: built.warnings, restart_needed }
    }
}

/// Waits until it turns true or its sender is gone.
async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // Either way there is nothing left to do.
    drop(stopping.wait_for(|stop| *stop).await);
}

/// The settings that differ and are read at the start only.
fn restart_needed(at_start: &Config, now: &Config) -> Vec<String> {
    let (a, b) = (at_start, now);
    let differs = [
        ("server.listen", a.server.listen != b.server.listen),
        ("server.data_dir", a.server.data_dir != b.server.data_dir),
        ("server.max_connections", a.server.max_connections != b.server.max_connections),
        ("server.dedupe_window", a.server.dedupe_window != b.server.dedupe_window),
        ("admin.listen", a.admin.listen != b.admin.listen),
        ("admin.token", a.admin.token != b.admin.token),
        ("scripts.threads", a.scripts.threads != b.scripts.threads),
    ];
    differs.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name.to_owned()).collect()
}

fn failed(error: &tokio::task::JoinError) -> Diagnostic {
    Diagnostic::error(format!("reading or building the files failed: {error}"))
}

/// SIGHUP, where there is one.
struct Hangup(#[cfg(unix)] Option<tokio::signal::unix::Signal>);

impl Hangup {
    #[cfg(unix)]
    fn new() -> Self {
        let signal = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup());
        Self(signal.inspect_err(|error| tracing::warn!(%error, "SIGHUP cannot be heard")).ok())
    }

    #[cfg(not(unix))]
    const fn new() -> Self {
        Self()
    }

    async fn received(&mut self) {
        #[cfg(unix)]
        if let Some(signal) = &mut self.0
            && signal.recv().await.is_some()
        {
            return;
        }
        std::future::pending().await
    }
}
