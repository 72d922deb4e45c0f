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

use super::affected::Only;
use super::bench::{Bench, empty_mock};
use super::coverage::Coverage;
use super::files::TestFiles;
use super::folder::TestFolder;
use super::room::Room;
use super::snapshots::{Snapshots, Updated};
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
    /// The scripts that its file imports, directly or through others.
    pub imports: BTreeSet<Arc<str>>,
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
    /// What was run of the scripts, when that was wished.
    pub coverage: Option<Coverage>,
    /// The snapshots that were written and removed.
    pub updated: Updated,
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

/// Which tests are run, and how.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Only those whose `FILE::NAME` contains this.
    pub filter: Option<String>,
    /// Only these, of those.
    pub only: Option<Only>,
    /// Tells in [`TestRun::coverage`] what was run of the scripts. Tests are slower with it.
    pub coverage: bool,
    /// Keeps what snapshots compare, in place of comparing it.
    pub update: bool,
    /// Beside other work.
    pub pace: Pace,
    /// What lies in `scripts/tests/`, when it was read before; else it is read now.
    pub folder: Option<Arc<TestFolder>>,
}

impl Options {
    fn wants(&self, test: &TestName) -> bool {
        // As it is written, or as it is told: `the deal moves` of `test_the_deal_moves`.
        let name = format!("{}::{}", test.file, test.name);
        let fits = |filter: &String| name.contains(filter.as_str()) || name.contains(&filter.replace(' ', "_"));
        self.filter.as_ref().is_none_or(fits) && self.only.as_ref().is_none_or(|only| only.has(&test.file, &test.name))
    }

    fn wants_file(&self, file: &str) -> bool {
        let fits = |filter: &String| file.contains(filter.as_str());
        self.filter.as_ref().is_none_or(fits) && self.only.as_ref().is_none_or(|only| only.files.contains(file))
    }
}

/// Runs the tests in `scripts/tests/` whose `FILE::NAME` contains the filter. Blocks; call it outside of any runtime.
///
/// # Errors
/// When the files cannot be read or there is nothing to run them on. A test that fails is a result.
pub fn run(set: &Arc<ScriptSet>, dir: &Path, filter: Option<&str>) -> Result<TestRun, Vec<Diagnostic>> {
    let options = Options { filter: filter.map(str::to_owned), ..Options::default() };
    run_with(set, dir, &options, &|_, _| {})
}

/// The same, as wished. After each test `progress` is told how many have run, and of how many.
///
/// # Errors
/// As [`run`], and when a snapshot that is not used any more cannot be removed.
pub fn run_with(
    set: &Arc<ScriptSet>,
    dir: &Path,
    options: &Options,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<TestRun, Vec<Diagnostic>> {
    let began = Instant::now();
    let covered = if options.coverage { Some(Arc::new(set.covered()?)) } else { None };
    let set = covered.as_ref().unwrap_or(set);
    let folder = options.folder.clone().unwrap_or_else(|| Arc::new(TestFolder::read(dir)));
    let files = Arc::new(TestFiles::of(folder.clone())?);
    let (sources, limits) = (&set.files.sources, &set.config.scripts);
    let suite = match options.coverage {
        true => TestSuite::compile_counting(sources, &files.tests, limits)?,
        false => TestSuite::compile(sources, &files.tests, limits)?,
    };
    let chosen: Vec<&TestName> = suite.tests().iter().filter(|test| options.wants(test)).collect();
    let uncompiled: Vec<Uncompiled> = suite
        .uncompiled()
        .iter()
        .filter(|u| options.wants_file(&u.file) || (options.only.is_none() && chosen.is_empty()))
        .cloned()
        .collect();
    let left_out = suite.tests().len() - chosen.len();
    let snapshots = Arc::new(Snapshots::new(dir, folder, options.update));
    let all = All { set, files: &files, snapshots: &snapshots, suite: &suite, chosen: &chosen, pace: &options.pace, progress };
    let results = if chosen.is_empty() { Vec::new() } else { all.run()? };
    let whole = left_out == 0 && suite.uncompiled().is_empty();
    // Without any test nothing says that snapshots are not needed any more.
    let passed = whole && !chosen.is_empty() && results.len() == chosen.len() && results.iter().all(|r| r.failure.is_none());
    let updated = snapshots.finish(passed).map_err(|e| vec![Diagnostic::error(e)])?;
    let exercised: BTreeSet<Arc<str>> = results.iter().flat_map(|r| r.rules.iter().cloned()).collect();
    let lacking = set.rules.iter().filter(|rule| whole && rule.config.enabled && !exercised.contains(&rule.name));
    let untested = lacking.map(|rule| rule.name.clone()).collect();
    let coverage = covered.as_ref().map(|set| Coverage::of(set, &suite));
    Ok(TestRun { results, uncompiled, left_out, exercised, untested, coverage, updated, took: began.elapsed() })
}

/// The tests of one run, and what they need.
struct All<'a> {
    set: &'a Arc<ScriptSet>,
    files: &'a Arc<TestFiles>,
    snapshots: &'a Arc<Snapshots>,
    suite: &'a TestSuite,
    chosen: &'a [&'a TestName],
    pace: &'a Pace,
    progress: &'a (dyn Fn(usize, usize) + Sync),
}

impl All<'_> {
    fn run(&self) -> Result<Vec<TestResult>, Vec<Diagnostic>> {
        let cannot = |what: &str, error: &dyn std::fmt::Display| vec![Diagnostic::error(format!("{what}: {error}"))];
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(|e| cannot("the tests cannot be run", &e))?;
        let metadata = runtime.block_on(metadata(self.set)).map_err(|e| cannot("the embedded Pipedrive", &e))?;
        let room = || thread::available_parallelism().map_or(1, usize::from);
        let threads = self.pace.threads.unwrap_or_else(room).clamp(1, MAX_THREADS).min(self.chosen.len());
        let slots: Vec<Mutex<Option<TestResult>>> = self.chosen.iter().map(|_| Mutex::new(None)).collect();
        let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let failure: Mutex<Option<Vec<Diagnostic>>> = Mutex::new(None);
        let work = || {
            let room = match Room::open() {
                Ok(room) => Arc::new(room),
                Err(error) => {
                    failure.lock().get_or_insert(cannot("no store to run tests in", &error));
                    return;
                }
            };
            while !self.pace.stop.load(Ordering::Relaxed) {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(test) = self.chosen.get(at) else { return };
                *slots[at].lock() = Some(self.one(&room, &metadata, runtime.handle(), test));
                (self.progress)(done.fetch_add(1, Ordering::Relaxed) + 1, self.chosen.len());
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
            Some(why) if results.len() < self.chosen.len() => Err(why),
            _ => Ok(results),
        }
    }

    fn one(&self, room: &Arc<Room>, metadata: &Arc<Metadata>, handle: &Handle, test: &TestName) -> TestResult {
        let began = Instant::now();
        let bench = Bench::new(room, self.set, metadata, (self.files, self.snapshots), handle, test).map(Arc::new);
        let (report, rules) = match bench {
            Ok(bench) => (self.suite.run(test, bench.clone()), bench.rules()),
            Err(error) => (TestReport { failure: Some(Diagnostic::error(error.to_string())), logs: Vec::new() }, BTreeSet::new()),
        };
        let TestReport { failure, logs } = report;
        let imports = self.suite.imports_of(&test.file);
        TestResult { test: test.clone(), failure, logs, took: began.elapsed(), rules, imports }
    }
}

/// What the mock's account knows of its fields; the same in every fresh one.
async fn metadata(set: &ScriptSet) -> Result<Arc<Metadata>, crate::pipedrive::ApiError> {
    let options = ClientOptions { burst: u32::MAX, search_burst: u32::MAX, ..ClientOptions::default() };
    let client = Client::new(empty_mock(set), options);
    fetch_metadata(&client.session(Trace::default())).await.map(Arc::new)
}
