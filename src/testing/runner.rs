//! Running script tests: each in a sandbox of its own, on threads with deep stacks, reported in the order of the files.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tracing::subscriber::NoSubscriber;

use super::bench::{Bench, empty_mock};
use super::files::TestFiles;
use super::room::Room;
use crate::crm::{Metadata, fetch_metadata};
use crate::diagnostic::Diagnostic;
use crate::pipedrive::{Client, ClientOptions, Trace};
use crate::rules::ScriptSet;
use crate::script::{LogLine, STACK, TestName, TestReport, TestSuite, Uncompiled};

/// Most tests at once.
const MAX_THREADS: usize = 8;

/// One test that ran.
#[derive(Debug)]
pub struct TestResult {
    /// Which.
    pub test: TestName,
    /// Why it failed; none when it passed.
    pub failure: Option<Diagnostic>,
    /// What it logged or printed.
    pub logs: Vec<LogLine>,
    /// How long it took.
    pub took: Duration,
    /// The rules that its events ran.
    pub rules: BTreeSet<Arc<str>>,
}

/// All tests of a folder.
#[derive(Debug)]
pub struct TestRun {
    /// The tests that ran, by file and place.
    pub results: Vec<TestResult>,
    /// Files that do not compile; those that the filter leaves out are not among them.
    pub uncompiled: Vec<Uncompiled>,
    /// Tests that the filter left out.
    pub left_out: usize,
    /// The rules that the events of these tests ran, whether the tests passed or not.
    pub exercised: BTreeSet<Arc<str>>,
    /// The enabled rules that no test ran, in their order. None is named when the filter left tests out or a file does not
    /// compile: what is missing might run them.
    pub untested: Vec<Arc<str>>,
    /// How long it took.
    pub took: Duration,
}

impl TestRun {
    /// How many tests passed.
    #[must_use]
    pub fn passed(&self) -> usize {
        self.results.iter().filter(|r| r.failure.is_none()).count()
    }

    /// How many tests failed; a file that does not compile counts as one.
    #[must_use]
    pub fn failed(&self) -> usize {
        self.results.len() - self.passed() + self.uncompiled.len()
    }
}

/// How tests are run beside other work.
#[derive(Debug, Clone, Default)]
pub struct Pace {
    /// Tests at once; none: as many as the machine has room for.
    pub threads: Option<usize>,
    /// Turns true when nobody wants the results any more: no further test is begun.
    pub stop: Arc<AtomicBool>,
}

/// Runs the tests in `scripts/tests/` whose `FILE::NAME` contains the filter. Blocks; call it outside of any runtime.
///
/// # Errors
/// When the files cannot be read or there is nothing to run them on. A test that fails is a result.
pub fn run(set: &Arc<ScriptSet>, dir: &Path, filter: Option<&str>) -> Result<TestRun, Vec<Diagnostic>> {
    run_paced(set, dir, filter, &Pace::default())
}

/// The same, beside other work.
///
/// # Errors
/// As [`run`].
pub fn run_paced(set: &Arc<ScriptSet>, dir: &Path, filter: Option<&str>, pace: &Pace) -> Result<TestRun, Vec<Diagnostic>> {
    let began = Instant::now();
    let files = Arc::new(TestFiles::read(dir)?);
    let suite = TestSuite::compile(&set.files.sources, &files.tests, &set.config.scripts)?;
    let fits = |test: &TestName| filter.is_none_or(|f| format!("{}::{}", test.file, test.name).contains(f));
    let chosen: Vec<&TestName> = suite.tests().iter().filter(|test| fits(test)).collect();
    let uncompiled =
        suite.uncompiled().iter().filter(|u| filter.is_none_or(|f| u.file.contains(f) || chosen.is_empty())).cloned().collect();
    let left_out = suite.tests().len() - chosen.len();
    let results = if chosen.is_empty() { Vec::new() } else { run_all(set, &files, &suite, &chosen, pace)? };
    let exercised: BTreeSet<Arc<str>> = results.iter().flat_map(|r| r.rules.iter().cloned()).collect();
    let whole = left_out == 0 && suite.uncompiled().is_empty();
    let lacking = set.rules.iter().filter(|rule| whole && rule.config.enabled && !exercised.contains(&rule.name));
    let untested = lacking.map(|rule| rule.name.clone()).collect();
    Ok(TestRun { results, uncompiled, left_out, exercised, untested, took: began.elapsed() })
}

fn run_all(
    set: &Arc<ScriptSet>,
    files: &Arc<TestFiles>,
    suite: &TestSuite,
    chosen: &[&TestName],
    pace: &Pace,
) -> Result<Vec<TestResult>, Vec<Diagnostic>> {
    let cannot = |what: &str, error: &dyn std::fmt::Display| vec![Diagnostic::error(format!("{what}: {error}"))];
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|e| cannot("the tests cannot be run", &e))?;
    let metadata = runtime.block_on(metadata(set)).map_err(|e| cannot("the embedded Pipedrive", &e))?;
    let room = || thread::available_parallelism().map_or(1, usize::from);
    let threads = pace.threads.unwrap_or_else(room).clamp(1, MAX_THREADS).min(chosen.len());
    let slots: Vec<Mutex<Option<TestResult>>> = chosen.iter().map(|_| Mutex::new(None)).collect();
    let next = AtomicUsize::new(0);
    let failure: Mutex<Option<Vec<Diagnostic>>> = Mutex::new(None);
    let work = || {
        let room = match Room::open() {
            Ok(room) => Arc::new(room),
            Err(error) => {
                failure.lock().get_or_insert(cannot("no store to run tests in", &error));
                return;
            }
        };
        loop {
            if pace.stop.load(Ordering::Relaxed) {
                return;
            }
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(test) = chosen.get(at) else { return };
            let began = Instant::now();
            let (report, rules) = one(&room, set, &metadata, files, runtime.handle(), suite, test);
            let TestReport { failure, logs } = report;
            *slots[at].lock() = Some(TestResult { test: (*test).clone(), failure, logs, took: began.elapsed(), rules });
        }
    };
    // What fails in a test fails there; the daemon's log is about the daemon.
    let quietly = || tracing::subscriber::with_default(NoSubscriber::default(), work);
    thread::scope(|scope| {
        for number in 0..threads {
            let builder = thread::Builder::new().name(format!("test-{number}")).stack_size(STACK);
            if let Err(error) = builder.spawn_scoped(scope, quietly) {
                failure.lock().get_or_insert(cannot("no thread to run tests on", &error));
            }
        }
    });
    let results: Vec<TestResult> = slots.into_iter().filter_map(Mutex::into_inner).collect();
    // One thread less is no failure as long as another did its work.
    match failure.into_inner() {
        Some(why) if results.len() < chosen.len() => Err(why),
        _ => Ok(results),
    }
}

fn one(
    room: &Arc<Room>,
    set: &Arc<ScriptSet>,
    metadata: &Arc<Metadata>,
    files: &Arc<TestFiles>,
    handle: &Handle,
    suite: &TestSuite,
    test: &TestName,
) -> (TestReport, BTreeSet<Arc<str>>) {
    match Bench::new(room, set, metadata, files, handle).map(Arc::new) {
        Ok(bench) => (suite.run(test, bench.clone()), bench.rules()),
        Err(error) => (TestReport { failure: Some(Diagnostic::error(error.to_string())), logs: Vec::new() }, BTreeSet::new()),
    }
}

/// What the mock's account knows of its fields; the same in every fresh one.
async fn metadata(set: &ScriptSet) -> Result<Arc<Metadata>, crate::pipedrive::ApiError> {
    let options = ClientOptions { burst: u32::MAX, search_burst: u32::MAX, ..ClientOptions::default() };
    let client = Client::new(empty_mock(set), options);
    fetch_metadata(&client.session(Trace::default())).await.map(Arc::new)
}
