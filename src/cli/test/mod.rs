//! `pipewright test`

mod json;
mod junit;
mod show;
mod watch;

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::exit::{FOUND, Failure, Outcome};
use super::output::{complain, say_json};
use super::{Folder, Format};
use crate::diagnostic::Diagnostic;
use crate::rules::{BuildOptions, ScriptSet, SetFiles};
use crate::testing::{self, Options, TestRun};

/// Time between two words about how far a long run is.
const PROGRESS_EVERY: Duration = Duration::from_secs(2);

/// Run the script tests in scripts/tests/
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pipewright test
  pipewright test --filter person
  pipewright test --filter deal_test.rhai::test_a_stage --json
  pipewright test --watch                           what a saved file touches, until Ctrl-C
  pipewright test --coverage --fail-under 90
  pipewright test --update                          keep the results that assert_snapshot compares
  pipewright test --junit results.xml --lcov coverage.info

Each test runs the rules against an empty Pipedrive of its own; nothing leaves this machine. \
Enabled rules that no test sends an event to are named. \
Exits with 1 when a test fails or does not compile or too little is covered, with 2 when rules.toml is wrong.")]
pub(super) struct Test {
    #[command(flatten)]
    pub(super) folder: Folder,
    /// Only tests whose FILE::NAME contains this
    #[arg(long, value_name = "TEXT")]
    pub(super) filter: Option<String>,
    /// Keep the results that `assert_snapshot` compares, as they are now
    #[arg(long)]
    pub(super) update: bool,
    /// Run again what a saved file touches
    #[arg(long, conflicts_with_all = ["json", "junit", "lcov", "coverage", "fail_under", "update"])]
    pub(super) watch: bool,
    /// Show which lines and branches of the rules' scripts no test runs
    #[arg(long)]
    pub(super) coverage: bool,
    /// Exit with 1 when less than this percentage of lines and branches is covered
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    pub(super) fail_under: Option<f64>,
    /// Write the coverage in lcov's format
    #[arg(long, value_name = "FILE")]
    pub(super) lcov: Option<PathBuf>,
    /// Write the results as JUnit XML
    #[arg(long, value_name = "FILE")]
    pub(super) junit: Option<PathBuf>,
    #[command(flatten)]
    pub(super) format: Format,
}

fn percent(text: &str) -> Result<f64, String> {
    let number: f64 = text.trim_end_matches('%').parse().map_err(|_| "a number between 0 and 100".to_owned())?;
    if (0.0..=100.0).contains(&number) { Ok(number) } else { Err("a number between 0 and 100".to_owned()) }
}

pub(super) fn run(args: Test) -> Outcome {
    if args.watch {
        return watch::run(&args);
    }
    // Before the tests run: whoever asked for a file that cannot be written need not wait to hear it.
    let junit = args.junit.as_deref().map(open).transpose()?;
    let lcov = args.lcov.as_deref().map(open).transpose()?;
    let options = Options {
        filter: args.filter.clone(),
        coverage: args.coverage || args.fail_under.is_some() || args.lcov.is_some(),
        update: args.update,
        ..Options::default()
    };
    let set = build(&args.folder.dir).map_err(|problems| Failure::refused_as(args.format, problems))?;
    let progress = Progress::default();
    let run = testing::run_with(&set, &args.folder.dir, &options, &|done, all| progress.tell(done, all));
    let run = run.map_err(|problems| Failure::refused_as(args.format, problems))?;
    if args.format.json {
        say_json(&json::document(&run))?;
    } else {
        show::run(&run)?;
    }
    if let Some(mut file) = junit {
        file.write_all(junit::document(&run).as_bytes())?;
    }
    if let (Some(mut file), Some(coverage)) = (lcov, &run.coverage) {
        file.write_all(coverage.lcov().as_bytes())?;
    }
    if let Some(filter) = &args.filter
        && run.results.is_empty()
        && run.uncompiled.is_empty()
    {
        return Err(Failure::found(format!("no test's FILE::NAME contains `{filter}`; {} were left out", run.left_out)));
    }
    if run.failed() > 0 {
        return Err(Failure::Code(FOUND));
    }
    enough(&run, args.fail_under)
}

/// Whether as much is covered as is wanted.
fn enough(run: &TestRun, least: Option<f64>) -> Outcome {
    match (&run.coverage, least) {
        (Some(coverage), Some(least)) if coverage.percent() < least => {
            let percent = coverage.percent();
            Err(Failure::found(format!("{percent:.1} % of lines and branches are covered, less than {least} %")))
        }
        _ => Ok(()),
    }
}

/// The set in a folder. Nothing is sent anywhere, so secrets need not be set.
fn build(dir: &Path) -> Result<Arc<ScriptSet>, Vec<Diagnostic>> {
    let options = BuildOptions { dir: dir.to_owned(), mock: true, metadata: None };
    SetFiles::read(dir).and_then(|files| ScriptSet::build_as_required(files, &options)).map(|built| Arc::new(built.set))
}

fn open(path: &Path) -> Result<File, Failure> {
    File::create(path).map_err(|e| Failure::wrong(format!("{} cannot be written: {e}", path.display())))
}

/// Says now and then how far a long run is.
#[derive(Debug)]
struct Progress(Mutex<Instant>);

impl Default for Progress {
    fn default() -> Self {
        Self(Mutex::new(Instant::now()))
    }
}

impl Progress {
    fn tell(&self, done: usize, all: usize) {
        let mut last = self.0.lock();
        if done < all && last.elapsed() >= PROGRESS_EVERY {
            *last = Instant::now();
            complain(&format!("{done} of {all} tests"));
        }
    }
}
