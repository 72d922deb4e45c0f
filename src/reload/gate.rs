//! What a changed set must pass before it goes live, beyond what its build finds: the tests, and how much of the scripts they run.
//!
//! Invariants:
//! - It runs on a thread of its own and on at most half of the machine's cores; script threads, store and mock of the tests are their own,
//!   so that the live set goes on as fast as the machine lets it.
//! - It ends: every script run in a test has the limits of `[scripts]`, and so has every test. Whoever drops it ends it after the tests
//!   that are under way.
//! - It reads and writes nothing of the daemon's.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::config::Requirement;
use crate::diagnostic::Diagnostic;
use crate::rules::ScriptSet;
use crate::testing::coverage::{Coverage, Missed, Totals, missed};
use crate::testing::{self, Options, Pace, TestFolder, TestResult, TestRun};

/// Failed tests that are told one by one.
const TOLD: usize = 10;

/// What a set has passed, or how far it came.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestCounts {
    /// Tests that passed.
    pub passed: usize,
    /// Tests that failed, with files that do not compile.
    pub failed: usize,
    /// How long they took.
    pub ms: u64,
    /// How much of the rules' scripts they ran, where `[reload] require` asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub covered: Option<Totals>,
}

/// How the gate came out.
#[derive(Debug)]
pub(super) struct Verdict {
    /// None: no tests are required, or there are none.
    pub(super) tests: Option<TestCounts>,
    /// Why the set does not pass; empty: it does.
    pub(super) refusal: Vec<Diagnostic>,
}

/// A set at the gate.
#[derive(Debug)]
pub(super) struct Gate {
    stop: Arc<AtomicBool>,
    verdict: oneshot::Receiver<Verdict>,
}

impl Gate {
    /// Begins to try a set, with these tests.
    pub(super) fn begin(set: Arc<ScriptSet>, tests: Arc<TestFolder>, dir: PathBuf) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let pace = Pace { threads: Some((cores() / 2).max(1)), stop: stop.clone() };
        let (sender, verdict) = oneshot::channel();
        // Not one of the runtime's threads: its end would wait for them.
        let spawned = thread::Builder::new().name("gate".to_owned()).spawn(move || {
            // Nobody may want to know any more.
            drop(sender.send(judge(&set, tests, &dir, pace)));
        });
        if let Err(error) = spawned {
            tracing::error!(%error, "the thread that tries changed sets could not be started");
        }
        Self { stop, verdict }
    }

    /// Waits for how it comes out. May be dropped and asked again.
    pub(super) async fn verdict(&mut self) -> Verdict {
        let failed = |_| {
            let d = Diagnostic::error("the tests could not be run: their thread failed inside or could not be started");
            Verdict { tests: None, refusal: vec![d.help("see the daemon's log; `pipewright test` runs them, too")] }
        };
        (&mut self.verdict).await.unwrap_or_else(failed)
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

fn judge(set: &Arc<ScriptSet>, tests: Arc<TestFolder>, dir: &Path, pace: Pace) -> Verdict {
    let must_pass = set.config.reload.requires(Requirement::Tests);
    let least = set.config.reload.least_coverage();
    if !must_pass && least.is_none() {
        return Verdict { tests: None, refusal: Vec::new() };
    }
    let options = Options { coverage: least.is_some(), pace, folder: Some(tests), ..Options::default() };
    let run = match testing::run_with(set, dir, &options, &|_, _| {}) {
        Ok(run) => run,
        Err(refusal) => return Verdict { tests: None, refusal },
    };
    let counts = TestCounts {
        passed: run.passed(),
        failed: run.failed(),
        ms: u64::try_from(run.took.as_millis()).unwrap_or(u64::MAX),
        covered: run.coverage.as_ref().map(Coverage::totals),
    };
    let tests = (counts.passed + counts.failed > 0).then_some(counts);
    let mut refusal = if must_pass { failed(&run) } else { Vec::new() };
    if let (Some(coverage), Some(least)) = (&run.coverage, least) {
        refusal.extend(uncovered(set, coverage, least));
    }
    Verdict { tests, refusal }
}

/// That the tests run too little of the scripts, and where the most is missing.
fn uncovered(set: &ScriptSet, coverage: &Coverage, least: u8) -> Option<Diagnostic> {
    let percent = coverage.percent();
    if percent >= f64::from(least) {
        return None;
    }
    let message =
        format!("the tests run {percent:.1} % of the lines and branches of the rules' scripts, and {least} % are required");
    let mut d = Diagnostic::error(message).help("`pipewright test --coverage` shows what no test runs");
    let mut lacking: Vec<(Vec<Missed>, &str)> = coverage.scripts.iter().map(|script| (missed(script), &*script.file)).collect();
    lacking.retain(|(missed, _)| !missed.is_empty());
    lacking.sort_by_key(|(missed, _)| std::cmp::Reverse(missed.len()));
    for (missed, file) in lacking.iter().take(TOLD) {
        let mut lines: Vec<String> = missed.iter().map(|missed| missed.line.to_string()).collect();
        lines.dedup();
        let more = lines.len().saturating_sub(TOLD);
        lines.truncate(TOLD);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        d = d.note(format!("scripts/{file}: line {}{more}", lines.join(", ")));
    }
    Some(set.at_setting(d, &["reload", "require"]))
}

/// The tests that failed.
fn failed(run: &TestRun) -> Vec<Diagnostic> {
    let failed = run.results.iter().filter_map(told);
    let broken = run.uncompiled.iter().flat_map(|file| {
        let note = format!("scripts/tests/{} does not compile, so that none of its tests can pass", file.file);
        file.diagnostics.iter().map(move |d| d.clone().note(note.clone()))
    });
    let all: Vec<Diagnostic> = broken.chain(failed).collect();
    let more = all.len().saturating_sub(TOLD);
    let mut told: Vec<Diagnostic> = all.into_iter().take(TOLD).collect();
    if more > 0 {
        told.push(Diagnostic::error(format!("{more} more tests failed")).help("`pipewright test` shows all of them"));
    }
    told
}

/// A failed test: what failed, where, and in which test.
fn told(result: &TestResult) -> Option<Diagnostic> {
    let failure = result.failure.clone()?;
    let (name, file, line) = (&result.test.name, &result.test.file, result.test.line);
    let note = format!("in the test `{name}` (scripts/tests/{file}:{line}); `pipewright test` runs it, too");
    let message = format!("a test failed: {}", failure.message);
    let d = Diagnostic { message, ..failure };
    Some(if d.place.is_some() { d.note(note) } else { d.in_file(&format!("scripts/tests/{file}")).note(note) })
}
