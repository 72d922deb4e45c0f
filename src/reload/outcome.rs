//! What follows from a look at the files: a swap, a refusal, or nothing; each is told in status, log and metrics before it is answered.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::gate::{TestCounts, Verdict};
use super::reloader::{Candidate, Refusal, Reloader};
use super::{Refused, ReloadOutcome, stored};
use crate::config::Config;
use crate::diagnostic::Diagnostic;
use crate::rules::Version;

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
        if refusal.is_empty() {
            self.swap(candidate, tests).await
        } else {
            self.refuse(Ok(candidate.seen), refusal, tests, candidate.began)
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
        let refused = Refused { at: Timestamp::now(), diagnostics: diagnostics.clone() };
        self.end.status.send_modify(|status| status.refused = Some(refused));
        ReloadOutcome::Refused { version: self.parts.live.load().version.clone(), diagnostics, tests }
    }

    /// The files are those that were refused before.
    pub(super) fn still_refused(&self) -> ReloadOutcome {
        let diagnostics = self.end.status.borrow().refused.as_ref().map(|r| r.diagnostics.clone()).unwrap_or_default();
        ReloadOutcome::Refused { version: self.parts.live.load().version.clone(), diagnostics, tests: None }
    }

    /// The set goes live.
    async fn swap(&mut self, candidate: Candidate, tests: Option<TestCounts>) -> ReloadOutcome {
        let Candidate { seen, set, warnings, began } = candidate;
        let restart_needed = restart_needed(&self.at_start, &set.config);
        self.parts.live.store(set.clone());
        self.refused = None;
        self.judged = Some(seen.tests);
        self.parts.metrics.set_swapped(&set.version, set.rules.len(), began.elapsed());
        for setting in &restart_needed {
            tracing::warn!(setting, "the changed setting needs a restart to take effect");
        }
        self.end.status.send_modify(|status| {
            status.live_since = Timestamp::now();
            status.warnings.clone_from(&warnings);
            status.tests.clone_from(&tests);
            status.refused = None;
            status.failing = None;
            status.from_store = false;
            status.restart_needed.clone_from(&restart_needed);
        });
        self.parts.swapped.send_replace(set.version.clone());
        if let Err(error) = stored::save(&*self.parts.store, &set.files, &set.version).await {
            tracing::warn!(%error, "the live script set could not be stored; a restart would fall back to an older one");
        }
        // Who is told that it is live may count on it. Without a follower there is nothing to wait for.
        drop(self.parts.followed.wait_for(|version| *version == set.version).await);
        let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        ReloadOutcome::Swapped { version: set.version.clone(), warnings, restart_needed, tests, took_ms }
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
