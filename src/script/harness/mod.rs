//! Script tests: `fn test_*` functions that send events through the rules and look at what is there afterwards.
//!
//! Invariants: a test has the limits of a rule's script, but for time; what it calls goes to the [`TestHost`] that it was given
//! and nowhere else; a file that does not compile takes no other file with it; a failed assertion cannot be caught.

mod assertions;
mod compare;
mod diff;
mod faults;
mod host;
mod plan;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use rhai::{CallFnOptions, Dynamic, Engine, Scope};
use serde_json::Value as Json;

use super::coverage::{Recorder, ScriptCoverage};
use super::execute::Raised;
use super::host::{helpers, table};
use super::program::{self, Program};
use super::run::{LogLine, Memo, ScriptErrorKind};
use super::sources::Sources;
use super::state::{self, Bounds, Stop};
use super::{closures, engine, errors, imports};
use crate::config::ScriptConfig;
use crate::diagnostic::Diagnostic;
use crate::pipedrive::{Id, Kind, Method};
use crate::plan::{Criteria, FieldEntry};

/// Where test files are, within `scripts/`.
const FOLDER: &str = "tests/";
/// What the functions of tests begin with.
const PREFIX: &str = "test_";
/// Wall-clock time of one test, its deliveries included.
const DEADLINE: Duration = Duration::from_secs(10);

/// What the functions of a test work on. Errors are texts for the author of the test.
pub trait TestHost: Send + Sync {
    /// Sends an event through the rules; answers what came of it.
    fn deliver(&self, event: Json) -> Result<Json, String>;
    /// Sets the source that later events are from.
    fn source(&self, name: &str) -> Result<(), String>;
    /// Makes an entity beside the rules.
    fn given(&self, kind: Kind, fields: Vec<FieldEntry>) -> Result<Json, String>;
    /// Changes an entity as a person would.
    fn edit(&self, kind: Kind, id: &Id, fields: Vec<FieldEntry>) -> Result<Json, String>;
    /// The entity that a match finds; null when there is none.
    fn find(&self, kind: Kind, criteria: Criteria) -> Result<Json, String>;
    /// The entity with an id; null when there is none.
    fn get(&self, kind: Kind, id: &Id) -> Result<Json, String>;
    /// All entities of a kind, in the order of their creation.
    fn all(&self, kind: Kind) -> Result<Json, String>;
    /// Turns a rule on for later events.
    fn enable(&self, rule: &str) -> Result<(), String>;
    /// Has something go wrong with the next request, or with the next one of a method.
    fn fault(&self, fault: TestFault, method: Option<Method>) -> Result<(), String>;
    /// Sets how long search does not see a change.
    fn search_lag(&self, lag: Duration) -> Result<(), String>;
    /// Moves the clock of the embedded Pipedrive forward.
    fn pass_time(&self, time: Duration) -> Result<(), String>;
    /// Compares a value with the snapshot of this name, or writes it.
    fn snapshot(&self, name: Option<&str>, value: &Json) -> Result<(), Unlike>;
    /// The content of a file of `scripts/tests/fixtures/`.
    fn fixture(&self, name: &str) -> Result<Json, String>;
}

/// What goes wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TestFault {
    /// It is refused with this status.
    Status(u16),
    /// It is refused with 429 for so many seconds.
    TooMany(u32),
    /// No answer comes.
    Cut {
        /// Whether it was carried out.
        carried_out: bool,
    },
}

/// Why a value does not pass for its snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unlike {
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
    /// What is kept, and what is there now.
    pub texts: Option<(String, String)>,
}

/// One test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestName {
    /// File, relative to `scripts/tests/`.
    pub file: Arc<str>,
    /// Function.
    pub name: String,
    /// Line of the function, from 1.
    pub line: usize,
}

/// A test file that does not compile.
#[derive(Debug, Clone, PartialEq)]
pub struct Uncompiled {
    /// File, relative to `scripts/tests/`.
    pub file: Arc<str>,
    /// Why.
    pub diagnostics: Vec<Diagnostic>,
}

/// How a test came out.
#[derive(Debug)]
pub struct TestReport {
    /// Why it failed; none when it passed.
    pub failure: Option<Diagnostic>,
    /// What it logged or printed.
    pub logs: Vec<LogLine>,
}

/// The tests of a folder, compiled beside the scripts of its rules.
#[derive(Debug)]
pub struct TestSuite {
    program: Program,
    tests: Vec<TestName>,
    uncompiled: Vec<Uncompiled>,
}

/// Whether an engine is for tests.
pub(super) fn is_for_tests(engine: &Engine) -> bool {
    engine.default_tag().as_bool() == Ok(true)
}

/// The engine with the functions of tests.
pub(super) fn engine_for_tests(limits: &ScriptConfig, tables: &Arc<BTreeMap<String, Arc<table::Table>>>) -> Engine {
    let mut engine = engine::build(limits, tables);
    engine.set_default_tag(true);
    host::register(&mut engine);
    engine
}

impl TestSuite {
    /// Compiles test files (by name within `scripts/tests/`) beside the scripts of the rules, which tests may import.
    ///
    /// # Errors
    /// When the scripts of the rules cannot be loaded.
    pub fn compile(
        sources: &Sources,
        files: &BTreeMap<String, Arc<str>>,
        limits: &ScriptConfig,
    ) -> Result<Self, Vec<Diagnostic>> {
        Self::compile_with(sources, files, limits, None)
    }

    /// The same, so that [`TestSuite::coverage`] tells what the tests run of the rules' scripts by themselves.
    ///
    /// # Errors
    /// When the scripts of the rules cannot be loaded.
    pub fn compile_counting(
        sources: &Sources,
        files: &BTreeMap<String, Arc<str>>,
        limits: &ScriptConfig,
    ) -> Result<Self, Vec<Diagnostic>> {
        Self::compile_with(sources, files, limits, Some(Recorder::default()))
    }

    fn compile_with(
        sources: &Sources,
        files: &BTreeMap<String, Arc<str>>,
        limits: &ScriptConfig,
        recorder: Option<Recorder>,
    ) -> Result<Self, Vec<Diagnostic>> {
        program::on_big_stack(|| compile(sources, files, limits, recorder)).unwrap_or_else(|problem| Err(vec![*problem]))
    }

    /// The tests, by file and place within it.
    #[must_use]
    pub fn tests(&self) -> &[TestName] {
        &self.tests
    }

    /// The files that do not compile.
    #[must_use]
    pub fn uncompiled(&self) -> &[Uncompiled] {
        &self.uncompiled
    }

    /// The files of scripts that a test file imports, directly or through others.
    #[must_use]
    pub fn imports_of(&self, file: &str) -> BTreeSet<Arc<str>> {
        let file = format!("{FOLDER}{file}");
        let mut found = self.program.with_imports(&file);
        found.remove(&*file);
        found
    }

    /// What was run of the scripts so far, by file; empty unless it was compiled for that.
    #[must_use]
    pub fn coverage(&self) -> BTreeMap<Arc<str>, ScriptCoverage> {
        self.program.coverage()
    }

    /// Runs one test on this thread, which needs a stack of [`STACK`](super::STACK) bytes and must not be one of an async
    /// runtime's workers.
    #[must_use]
    pub fn run(&self, test: &TestName, host: Arc<dyn TestHost>) -> TestReport {
        let file = format!("{FOLDER}{}", test.file);
        let limits = &self.program.limits;
        let bounds = Bounds {
            operations: limits.max_operations,
            deadline: DEADLINE,
            actions: limits.max_actions,
            reads: limits.max_reads,
        };
        state::begin(Arc::from(file.as_str()), Memo::default(), bounds);
        host::enter(host);
        let result = catch_unwind(AssertUnwindSafe(|| self.call(&file, &test.name)));
        let notes = host::leave();
        let about = errors::About { program: &self.program, script: &file, message_id: "" };
        let Some(ended) = state::end() else {
            let failure = Diagnostic::error("the test's state is gone; this is a defect of Pipewright");
            return TestReport { failure: Some(failure), logs: Vec::new() };
        };
        let problem = match (ended.stop, result) {
            (_, Err(_)) => Some(Diagnostic::error("the interpreter failed; the failure was contained").in_file(&file)),
            (Some(stop), Ok(result)) => {
                let (message, help, at) = stopped(stop);
                Some(about.stopped(message, help, at.as_ref(), result.err()))
            }
            (None, Ok(Err(raised))) => Some(about.raised(&raised).1),
            (None, Ok(Ok(()))) => None,
        };
        let failure = problem.map(|mut problem| {
            problem.notes.splice(0..0, notes);
            below_scripts(self.at_least_the_function(problem, &file, &test.name))
        });
        TestReport { failure, logs: ended.logs }
    }

    fn call(&self, file: &str, name: &str) -> Result<(), Raised> {
        let Some(script) = self.program.scripts.get(file) else { return Err(Raised::NoScript) };
        let options = CallFnOptions::new().rewind_scope(false);
        let called = self.program.engine.call_fn_with_options::<Dynamic>(options, &mut Scope::new(), &script.ast, name, ());
        called.map(drop).map_err(Raised::Script)
    }

    /// An empty loop has no position of its own: the test is pointed at.
    fn at_least_the_function(&self, problem: Diagnostic, file: &str, name: &str) -> Diagnostic {
        let text = self.program.scripts.get(file).map_or("", |script| &*script.text);
        match place_of(text, name) {
            Some(at) if problem.place.as_ref().is_none_or(|p| p.text.is_empty()) => problem.at_span(file, text, at),
            _ => problem,
        }
    }
}

/// What a stop means in a test.
fn stopped(stop: Stop) -> (String, Option<String>, Option<crate::plan::At>) {
    let not_here = |word: &str| {
        let help = "call it in the script of a rule; a test fails by `assert(..)`".to_owned();
        (format!("`{word}` ends the run of a rule; a test has none"), Some(help), None)
    };
    match stop {
        Stop::Error { kind: ScriptErrorKind::Deadline, at, .. } => {
            let message = format!("the test ran longer than {}", humantime::format_duration(DEADLINE));
            (message, Some("look for a loop that does not end, or make several tests of it".to_owned()), at)
        }
        Stop::Error { message, help, at, .. } => (message, help, at),
        Stop::Skip(_) => not_here("skip"),
        Stop::Fail(_) => not_here("fail"),
        Stop::Retry(..) => not_here("retry"),
        Stop::Read(..) => ("reads of a rule's script are not for tests".to_owned(), None, None),
    }
}

fn compile(
    sources: &Sources,
    files: &BTreeMap<String, Arc<str>>,
    limits: &ScriptConfig,
    recorder: Option<Recorder>,
) -> Result<TestSuite, Vec<Diagnostic>> {
    let mut problems = Vec::new();
    let tables = Arc::new(table::read_all(sources, &mut problems));
    let mut engine = engine_for_tests(limits, &tables);
    if let Some(recorder) = &recorder {
        recorder.listen(&mut engine);
    }
    if files.values().any(|text| text.contains("phone::")) {
        helpers::phone::warm_up();
    }
    let mut scripts = BTreeMap::new();
    for (file, text) in &sources.scripts {
        match program::parse(&engine, file, text) {
            Ok(script) => drop(scripts.insert(file.clone(), script)),
            Err(problem) => problems.push(*problem),
        }
    }
    let mut broken: BTreeMap<String, Vec<Diagnostic>> = BTreeMap::new();
    for (name, text) in files {
        let file = format!("{FOLDER}{name}");
        match program::parse(&engine, &file, text) {
            Ok(script) => {
                let mut found = imports::problems(&script, sources);
                found.extend(closures::problems(&script));
                if found.is_empty() {
                    scripts.insert(file, script);
                } else {
                    broken.insert(file, found);
                }
            }
            Err(problem) => drop(broken.insert(file, vec![*problem])),
        }
    }
    if problems.is_empty() {
        match imports::order(&scripts) {
            Ok(order) => problems.extend(program::load(&mut engine, &scripts, &order)),
            Err(cycles) => problems.extend(cycles),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut program = Program { engine, scripts, tables, limits: limits.clone(), recorder };
    // The scripts of the rules are written for another engine; only what the tests call is looked at.
    for problem in program.lint().into_iter().filter(Diagnostic::is_error) {
        let file = problem.place.as_ref().map(|p| p.file.clone()).filter(|f| f.starts_with(FOLDER));
        if let Some(file) = file {
            broken.entry(file).or_default().push(problem);
        }
    }
    program.scripts.retain(|file, _| !broken.contains_key(file));
    let tests = tests(&program, &mut broken);
    program.count_from_now();
    let short = |file: &str| Arc::from(file.strip_prefix(FOLDER).unwrap_or(file));
    let uncompiled = broken
        .into_iter()
        .map(|(file, found)| Uncompiled { file: short(&file), diagnostics: found.into_iter().map(below_scripts).collect() })
        .collect();
    Ok(TestSuite { program, tests, uncompiled })
}

/// The functions that are tests, by file and place.
fn tests(program: &Program, broken: &mut BTreeMap<String, Vec<Diagnostic>>) -> Vec<TestName> {
    let mut tests = Vec::new();
    for (file, script) in program.scripts.iter().filter(|(file, _)| file.starts_with(FOLDER)) {
        for function in script.ast.iter_functions().filter(|f| f.name.starts_with(PREFIX)) {
            let at = place_of(&script.text, function.name);
            if !function.params.is_empty() {
                let problem = Diagnostic::error(format!("`{}` is a test, and tests take no parameters", function.name));
                let problem = problem.help(format!("rename it so that it does not begin with `{PREFIX}`"));
                broken.entry(file.clone()).or_default().push(match at {
                    Some(at) => problem.at_span(file, &script.text, at),
                    None => problem.in_file(file),
                });
                continue;
            }
            let line = at.map_or(1, |at| script.text[..at.start].matches('\n').count() + 1);
            let short = file.strip_prefix(FOLDER).unwrap_or(file);
            tests.push(TestName { file: Arc::from(short), name: function.name.to_owned(), line });
        }
    }
    tests.retain(|test| !broken.contains_key(&format!("{FOLDER}{}", test.file)));
    tests.sort_by(|a, b| (&a.file, a.line, &a.name).cmp(&(&b.file, b.line, &b.name)));
    tests
}

/// Where a function is defined.
fn place_of(text: &str, name: &str) -> Option<std::ops::Range<usize>> {
    let header = format!("fn {name}");
    let ends = |at: usize| !text[at + header.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_');
    let at = text.match_indices(&header).map(|(at, _)| at).find(|at| ends(*at))?;
    Some(at..at + header.len())
}

/// Paths as the user knows them.
fn below_scripts(mut problem: Diagnostic) -> Diagnostic {
    if let Some(place) = &mut problem.place {
        place.file = format!("scripts/{}", place.file);
    }
    problem
}
