//! What follows from a look at the files: a swap, a refusal, or nothing; each is told in status, log and metrics before it is answered.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::gate::{TestCounts, Verdict};
use super::look::Seen;
use super::reloader::{Candidate, Refusal, Reloader};
use super::versions::{LiveBy, Versions};
use super::{Refused, ReloadOutcome};
use crate::config::Config;
use crate::diagnostic::Diagnostic;
use crate::rules::{ScriptSet, Version};

impl Reloader {
    /// The gate has judged a set.
    pub(super) async fn conclude(&mut self, candidate: Candidate, verdict: Verdict) -> ReloadOutcome {
        let Verdict { tests, refusal } = verdict;
        if let Some(tests) = &tests {
            self.parts.metrics.set_tested(tests.passed, tests.failed, Duration::from_millis(tests.ms));
        }
        if candidate.seen.version == self.parts.live.load().version {
            self.live_set_judged(&candidate, refusal);
            return self.known(candidate).await;
        }
        if !refusal.is_empty() {
            self.refuse(Ok(candidate.seen), refusal, tests, candidate.began)
        } else if self.end.status.borrow().pin.is_some() {
            self.hold_back(candidate, tests)
        } else {
            self.swap(candidate, tests).await
        }
    }

    /// The set is live, whatever its tests say of it by now.
    fn live_set_judged(&mut self, candidate: &Candidate, refusal: Vec<Diagnostic>) {
        self.judged = Some(candidate.seen.tests.clone());
        let before = self.failing();
        if before != refusal {
            self.parts.metrics.live_set_judged(&refusal);
        }
        let failing = (!refusal.is_empty()).then(|| Refused { at: Timestamp::now(), diagnostics: refusal });
        self.end.status.send_modify(|status| status.failing = failing);
    }

    /// The set is live and was judged: only its secrets may be others.
    pub(super) async fn known(&mut self, candidate: Candidate) -> ReloadOutcome {
        if candidate.set.same_secrets(&self.parts.live.load()) {
            return self.unchanged(candidate.seen.version, candidate.began);
        }
        let (failing, tests) = {
            let status = self.end.status.borrow();
            (status.failing.clone(), status.tests.clone())
        };
        let outcome = self.swap(candidate, tests).await;
        self.end.status.send_modify(|status| status.failing = failing);
        outcome
    }

    /// What the live set does not pass.
    fn failing(&self) -> Vec<Diagnostic> {
        self.end.status.borrow().failing.as_ref().map(|failing| failing.diagnostics.clone()).unwrap_or_default()
    }

    /// The files are what is live.
    pub(super) fn unchanged(&mut self, version: Version, began: Instant) -> ReloadOutcome {
        self.set_waiting(None);
        // Quiet at each poll: only the end of a refusal is news.
        if self.refused.take().is_some() || self.end.status.borrow().refused.is_some() {
            self.parts.metrics.set_unchanged(began.elapsed());
            self.end.status.send_modify(|status| {
                status.refused = None;
                status.from_store = false;
            });
        }
        ReloadOutcome::Unchanged { version, failing: self.failing() }
    }

    /// The files are not to go live.
    pub(super) fn refuse(
        &mut self,
        what: Refusal,
        diagnostics: Vec<Diagnostic>,
        tests: Option<TestCounts>,
        began: Instant,
    ) -> ReloadOutcome {
        if self.refused.as_ref() != Some(&what) {
            self.parts.metrics.set_refused(&diagnostics, began.elapsed());
        }
        self.refused = Some(what);
        self.set_waiting(None);
        let refused = Refused { at: Timestamp::now(), diagnostics: diagnostics.clone() };
        self.end.status.send_modify(|status| status.refused = Some(refused));
        ReloadOutcome::Refused { version: self.parts.live.load().version.clone(), diagnostics, tests }
    }

    /// The files are those that were refused before.
    pub(super) fn still_refused(&self) -> ReloadOutcome {
        let diagnostics = self.end.status.borrow().refused.as_ref().map(|r| r.diagnostics.clone()).unwrap_or_default();
        ReloadOutcome::Refused { version: self.parts.live.load().version.clone(), diagnostics, tests: None }
    }

    /// The files are those that would be live but for the pin.
    pub(super) fn still_waiting(&self, files: Version) -> ReloadOutcome {
        ReloadOutcome::Pinned { version: self.parts.live.load().version.clone(), files, tests: None }
    }

    /// The files that would be live but for the pin.
    pub(super) fn set_waiting(&mut self, seen: Option<Seen>) {
        let version = seen.as_ref().map(|seen| seen.version.clone());
        self.waiting = seen;
        self.end.status.send_if_modified(|status| match &mut status.pin {
            Some(pin) if pin.waiting != version => {
                pin.waiting = version;
                true
            }
            _ => false,
        });
    }

    /// The set of the files goes live.
    async fn swap(&mut self, candidate: Candidate, tests: Option<TestCounts>) -> ReloadOutcome {
        let Candidate { seen, set, warnings, began, .. } = candidate;
        self.judged = Some(seen.tests);
        let version = set.version.clone();
        let restart_needed = self.go_live(&set, &warnings, tests.clone(), began);
        if let Err(error) = Versions::new(&*self.parts.store).went_live(&set, LiveBy::Files, Vec::new()).await {
            tracing::warn!(%error, "the live script set could not be stored; a restart would fall back to an older one");
        }
        self.followed(&version).await;
        let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        ReloadOutcome::Swapped { version, warnings, restart_needed, tests, took_ms }
    }

    /// Swaps a set in; answers which of its settings need a restart.
    pub(super) fn go_live(
        &mut self,
        set: &Arc<ScriptSet>,
        warnings: &[Diagnostic],
        tests: Option<TestCounts>,
        began: Instant,
    ) -> Vec<String> {
        let restart_needed = restart_needed(&self.at_start, &set.config);
        self.parts.live.store(set.clone());
        self.refused = None;
        self.parts.metrics.set_swapped(&set.version, set.rules.len(), began.elapsed());
        self.parts.metrics.set_leaves_open(warnings);
        for setting in &restart_needed {
            tracing::warn!(setting, "the changed setting needs a restart to take effect");
        }
        self.end.status.send_modify(|status| {
            status.live_since = Timestamp::now();
            status.warnings = warnings.to_vec();
            status.tests = tests;
            status.refused = None;
            status.failing = None;
            status.from_store = false;
            status.restart_needed.clone_from(&restart_needed);
        });
        self.parts.swapped.send_replace(set.version.clone());
        restart_needed
    }

    /// Who is told that it is live may count on it. Without a follower there is nothing to wait for.
    pub(super) async fn followed(&mut self, version: &Version) {
        drop(self.parts.followed.wait_for(|followed| followed == version).await);
    }
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
