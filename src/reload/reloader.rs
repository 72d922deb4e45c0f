//! The loop that waits for a reason to look, looks, tries and swaps.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, oneshot, watch};
use tokio::time::{Instant, timeout};

use super::gate::{Gate, Verdict};
use super::hangup::Hangup;
use super::look::{Look, Seen, TestsHash};
use super::watch::Watch;
use super::{HandleEnd, MetadataSource, ReloadOutcome, Request, RollbackRequest, RolledBack, VersionError};
use crate::config::Config;
use crate::delivery::PlanHold;
use crate::diagnostic::Diagnostic;
use crate::rules::{BuildOptions, Built, Live, ScriptSet, Version};
use crate::store::Store;
use crate::telemetry::{Metrics, how_it_ended};
use crate::testing::TestFolder;

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
    /// Told which plans have to wait.
    pub(super) hold: PlanHold,
    pub(super) swapped: watch::Sender<Version>,
    /// The set that those who follow the swaps have taken up.
    pub(super) followed: watch::Receiver<Version>,
}

/// Brings changed files in. [`Reloader::run`] it beside the rest of the daemon.
pub struct Reloader {
    pub(super) parts: Parts,
    pub(super) end: HandleEnd,
    changes: Arc<Notify>,
    watch: Option<Watch>,
    /// The configuration of the start: what needs a restart is told by comparing with it.
    pub(super) at_start: Arc<Config>,
    /// What was refused last, so that the poll does not refuse it again and again.
    pub(super) refused: Option<Refusal>,
    /// The tests by which the live set was judged last.
    pub(super) judged: Option<TestsHash>,
    /// The files that would be live but for the pin.
    pub(super) waiting: Option<Seen>,
    /// The files as they were seen last, whatever came of them.
    pub(super) on_disk: Option<Seen>,
    /// Somebody has unpinned: held plans go on after the next look.
    pub(super) hold_ends: bool,
    /// Who waits for the outcome of the next look.
    asked: Vec<Asked>,
    /// What is to be done before it.
    commands: VecDeque<Command>,
}

/// Who waits for the outcome of a look.
enum Asked {
    Reload(oneshot::Sender<ReloadOutcome>),
    Unpin(oneshot::Sender<Result<ReloadOutcome, VersionError>>),
}

/// What somebody asks besides a look.
enum Command {
    Rollback(RollbackRequest, oneshot::Sender<Result<RolledBack, VersionError>>),
    Unpin(oneshot::Sender<Result<ReloadOutcome, VersionError>>),
}

/// What is refused: files as they were seen, or why they could not be read.
pub(super) type Refusal = Result<Seen, Vec<Diagnostic>>;

impl std::fmt::Debug for Reloader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reloader").field("dir", &self.parts.dir).finish_non_exhaustive()
    }
}

/// Why something happens next.
enum Reason {
    /// The watcher saw something, the poll's time has come, or somebody asks.
    Look { asked: bool },
    /// There are commands, and nothing else.
    Commands,
    /// The daemon stops.
    Stop,
}

/// A set that was built and is to pass the gate.
pub(super) struct Candidate {
    pub(super) seen: Seen,
    pub(super) tests: Arc<TestFolder>,
    pub(super) set: Arc<ScriptSet>,
    pub(super) warnings: Vec<Diagnostic>,
    /// When its files began to be read.
    pub(super) began: Instant,
}

/// What a look at the files comes to.
enum Looked {
    Ended(ReloadOutcome),
    /// It is live, and its tests have judged it.
    Known(Candidate),
    /// It is to be tried.
    Candidate(Candidate),
}

/// How a trial comes out.
enum Tried {
    Judged(Verdict),
    /// The files are others by now, or a command goes first.
    Outdated,
    Stop,
}

impl Reloader {
    pub(super) fn new(parts: Parts, end: HandleEnd, refused: Option<Refusal>, judged: Option<TestsHash>) -> Self {
        let at_start = parts.live.load().config.clone();
        Self {
            parts,
            end,
            changes: Arc::new(Notify::new()),
            watch: None,
            at_start,
            refused,
            judged,
            waiting: None,
            on_disk: None,
            hold_ends: false,
            asked: Vec::new(),
            commands: VecDeque::new(),
        }
    }

    /// Runs until `stopping` turns true or its sender is gone.
    pub async fn run(mut self, mut stopping: watch::Receiver<bool>) {
        let mut hangup = Hangup::new();
        // Between the first reading and the first watch something may have changed.
        self.changes.notify_one();
        loop {
            let asked = match self.next(&mut hangup, &mut stopping).await {
                Reason::Look { asked } => asked,
                Reason::Commands => {
                    self.carry_out().await;
                    if self.asked.is_empty() {
                        continue;
                    }
                    true
                }
                Reason::Stop => return,
            };
            let Some(outcome) = self.reload(asked, &mut hangup, &mut stopping).await else { return };
            self.end_hold();
            for asked in self.asked.drain(..) {
                // Who asked may have gone.
                match asked {
                    Asked::Reload(reply) => drop(reply.send(outcome.clone())),
                    Asked::Unpin(reply) => drop(reply.send(Ok(outcome.clone()))),
                }
            }
        }
    }

    fn take(&mut self, request: Request) {
        match request {
            Request::Reload(reply) => self.asked.push(Asked::Reload(reply)),
            Request::Rollback(request, reply) => self.commands.push_back(Command::Rollback(request, reply)),
            Request::Unpin(reply) => self.commands.push_back(Command::Unpin(reply)),
        }
    }

    /// Carries out what is asked besides looks.
    async fn carry_out(&mut self) {
        while let Some(command) = self.commands.pop_front() {
            match command {
                // Who asked may have gone.
                Command::Rollback(request, reply) => drop(reply.send(self.rollback(request).await)),
                Command::Unpin(reply) => match self.unpin().await {
                    // Answered with what becomes of the files.
                    Ok(()) => self.asked.push(Asked::Unpin(reply)),
                    Err(error) => drop(reply.send(Err(error))),
                },
            }
        }
    }

    /// Waits for something to do.
    async fn next(&mut self, hangup: &mut Hangup, stopping: &mut watch::Receiver<bool>) -> Reason {
        let config = self.parts.live.load().config.clone();
        if config.reload.watch {
            self.renew_watch(&config).await;
        } else {
            self.watch = None;
        }
        let asked = tokio::select! {
            biased;
            () = stopped(stopping) => return Reason::Stop,
            Some(request) = self.end.requests.recv() => {
                self.take(request);
                false
            }
            () = hangup.received() => true,
            () = self.changes.notified(), if config.reload.watch => {
                self.quiet().await;
                false
            }
            () = tokio::time::sleep(config.reload.poll.get()), if config.reload.watch => false,
        };
        // One reading answers everybody who asked before it.
        while let Ok(request) = self.end.requests.try_recv() {
            self.take(request);
        }
        if self.commands.is_empty() { Reason::Look { asked: asked || !self.asked.is_empty() } } else { Reason::Commands }
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

    /// Looks at the files and does what is to be done with them; none: the daemon stops.
    async fn reload(
        &mut self,
        mut asked: bool,
        hangup: &mut Hangup,
        stopping: &mut watch::Receiver<bool>,
    ) -> Option<ReloadOutcome> {
        loop {
            let candidate = match self.look(asked).await {
                Looked::Ended(outcome) => return Some(outcome),
                Looked::Known(candidate) => return Some(self.known(candidate).await),
                Looked::Candidate(candidate) => candidate,
            };
            self.end.status.send_modify(|status| status.trying = Some(candidate.seen.version.clone()));
            let tried = self.attempt(&candidate, hangup, stopping).await;
            self.end.status.send_modify(|status| status.trying = None);
            match tried {
                Tried::Judged(verdict) => return Some(self.conclude(candidate, verdict).await),
                Tried::Outdated => {
                    self.carry_out().await;
                    asked |= !self.asked.is_empty();
                }
                Tried::Stop => return None,
            }
        }
    }

    /// Reads the files, and builds them when they are to be tried.
    async fn look(&mut self, asked: bool) -> Looked {
        let began = Instant::now();
        let live = self.parts.live.load_full();
        let Look { files, tests, seen } = match self.read().await {
            Ok(look) => look,
            Err(diagnostics) => return Looked::Ended(self.refuse(Err(diagnostics.clone()), diagnostics, None, began)),
        };
        self.on_disk = Some(seen.clone());
        let known = seen.version == live.version && self.judged.as_ref() == Some(&seen.tests);
        if !asked {
            if known {
                return Looked::Ended(self.unchanged(seen.version, began));
            }
            if self.refused.as_ref().is_some_and(|refused| refused.as_ref() == Ok(&seen)) {
                return Looked::Ended(self.still_refused());
            }
            if self.waiting.as_ref() == Some(&seen) {
                return Looked::Ended(self.still_waiting(seen.version));
            }
        }
        let options =
            BuildOptions { dir: self.parts.dir.clone(), mock: self.parts.mock, metadata: Some((self.parts.metadata)()) };
        let built = tokio::task::spawn_blocking(move || ScriptSet::build_as_required(files, &options)).await;
        match built.unwrap_or_else(|error| Err(vec![failed(&error)])) {
            Ok(Built { set, warnings }) => {
                let candidate = Candidate { seen, tests, set: Arc::new(set), warnings, began };
                if known { Looked::Known(candidate) } else { Looked::Candidate(candidate) }
            }
            Err(diagnostics) => Looked::Ended(self.refuse(Ok(seen), diagnostics, None, began)),
        }
    }

    async fn read(&self) -> Result<Look, Vec<Diagnostic>> {
        let dir = self.parts.dir.clone();
        let read = tokio::task::spawn_blocking(move || Look::read(&dir)).await;
        read.unwrap_or_else(|error| Err(vec![failed(&error)]))
    }

    /// Lets the gate judge a set, unless the files change meanwhile.
    async fn attempt(&mut self, candidate: &Candidate, hangup: &mut Hangup, stopping: &mut watch::Receiver<bool>) -> Tried {
        let config = self.parts.live.load().config.clone();
        let mut gate = Gate::begin(candidate.set.clone(), candidate.tests.clone(), self.parts.dir.clone());
        loop {
            tokio::select! {
                biased;
                () = stopped(stopping) => return Tried::Stop,
                verdict = gate.verdict() => return Tried::Judged(verdict),
                Some(request) = self.end.requests.recv() => self.take(request),
                () = hangup.received() => {}
                () = self.changes.notified(), if config.reload.watch => self.quiet().await,
                () = tokio::time::sleep(config.reload.poll.get()), if config.reload.watch => {}
            }
            if !self.commands.is_empty() {
                return Tried::Outdated;
            }
            // What cannot be read now is told by the next look.
            if self.read().await.map(|look| look.seen).as_ref() != Ok(&candidate.seen) {
                return Tried::Outdated;
            }
        }
    }
}

/// Waits until it turns true or its sender is gone.
async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // Either way there is nothing left to do.
    drop(stopping.wait_for(|stop| *stop).await);
}

pub(super) fn failed(error: &tokio::task::JoinError) -> Diagnostic {
    Diagnostic::error(format!("reading or building the files failed: {}", how_it_ended(error)))
}
