//! Scripts and tables as compiled together.
//!
//! Invariants: a `Program` that exists parses whole, all its imports are resolved and free of cycles, and nothing is compiled
//! or read when it runs. It is shared by all script threads.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rhai::module_resolvers::StaticModuleResolver;
use rhai::{AST, Engine, Module, Scope};

use super::coverage::{Recorder, ScriptCoverage};
use super::host::{helpers, table};
use super::sources::Sources;
use super::{closures, engine, errors, functions, imports, state};
use crate::config::ScriptConfig;
use crate::diagnostic::{Code, Diagnostic, did_you_mean};

/// Time that reading one script may take.
const PARSE_ALLOWANCE: Duration = Duration::from_secs(2);
/// Operations of an imported script's body. Low: it defines functions and constants, and what it makes outlives the thread.
const MODULE_OPERATIONS: u64 = 10_000;
/// Time of an imported script's body.
const MODULE_DEADLINE: Duration = Duration::from_secs(1);
/// Stack of the threads that compile and run scripts; only what is touched counts.
pub const STACK: usize = 64 * 1024 * 1024;
/// The function that a rule's script defines.
pub(super) const ENTRY: &str = "handle";

/// One script.
#[derive(Debug)]
pub(super) struct Script {
    /// Path relative to `scripts/`.
    pub file: Arc<str>,
    /// Its text.
    pub text: Arc<str>,
    /// What it parsed to.
    pub ast: AST,
    /// Files that it imports, by the path as written.
    pub imports: Vec<imports::Import>,
}

/// Scripts and tables as compiled together; shared by all script threads.
pub struct Program {
    pub(super) engine: Engine,
    pub(super) scripts: BTreeMap<String, Script>,
    pub(super) tables: Arc<BTreeMap<String, Arc<table::Table>>>,
    pub(super) limits: ScriptConfig,
    /// Counts what is run, where that is wanted.
    pub(super) recorder: Option<Recorder>,
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").field("scripts", &self.scripts.keys()).finish_non_exhaustive()
    }
}

impl Program {
    /// Compiles every script and reads every table.
    ///
    /// # Errors
    /// All that is wrong: per script its first syntax error or undefined variable, closures that would be kept,
    /// missing and cyclic imports, tables that cannot be read.
    pub fn compile(sources: &Sources, limits: &ScriptConfig) -> Result<Self, Vec<Diagnostic>> {
        on_big_stack(|| compile(sources, limits, None)).unwrap_or_else(|problem| Err(vec![problem.code(Code::Syntax)]))
    }

    /// The same, so that [`Program::coverage`] tells what was run. Such a program is slower.
    ///
    /// # Errors
    /// As [`Program::compile`].
    pub fn compile_counting(sources: &Sources, limits: &ScriptConfig) -> Result<Self, Vec<Diagnostic>> {
        let recorder = Some(Recorder::default());
        on_big_stack(|| compile(sources, limits, recorder)).unwrap_or_else(|problem| Err(vec![problem.code(Code::Syntax)]))
    }

    /// What was run of the scripts so far, by file; empty unless it was compiled for that.
    #[must_use]
    pub fn coverage(&self) -> BTreeMap<Arc<str>, ScriptCoverage> {
        self.recorder.as_ref().map(Recorder::counted).unwrap_or_default()
    }

    /// Counts what is run of its scripts, if that is wanted.
    pub(super) fn count_from_now(&self) {
        if let Some(recorder) = &self.recorder {
            recorder.look_at(self.scripts.values());
        }
    }

    /// What keeps a script from being a rule's script: it does not exist, or defines no `fn handle(event)`.
    #[must_use]
    pub fn entry_errors(&self, script: &str) -> Vec<Diagnostic> {
        let Some(found) = self.scripts.get(script) else {
            let mut problem = Diagnostic::error(format!("there is no script {script}"));
            problem.help = did_you_mean(script, self.scripts.keys().map(String::as_str))
                .map(|near| format!("did you mean \"{near}\"?"))
                .or_else(|| Some("scripts are named by their path within scripts/, as in \"person.rhai\"".to_owned()));
            return vec![problem.code(Code::Entry)];
        };
        let mut handlers = found.ast.iter_functions().filter(|f| f.name == ENTRY).peekable();
        if handlers.peek().is_none() {
            let near = did_you_mean(ENTRY, found.ast.iter_functions().map(|f| f.name));
            let help = near.map_or_else(
                || "define `fn handle(event) { .. }`".to_owned(),
                |near| format!("rename `{near}` to `handle`, or define `fn handle(event) {{ .. }}`"),
            );
            return vec![
                Diagnostic::error("the script of a rule defines `fn handle(event)`; this one does not")
                    .code(Code::Entry)
                    .in_file(script)
                    .help(help),
            ];
        }
        let takes: Vec<usize> = handlers.map(|f| f.params.len()).collect();
        if takes.contains(&1) {
            return Vec::new();
        }
        let problem =
            Diagnostic::error(format!("`fn handle(event)` takes one parameter; this one takes {}", takes[0])).code(Code::Entry);
        vec![match found.text.find("fn handle") {
            Some(at) => problem.at_span(script, &found.text, at..at + "fn handle".len()),
            None => problem.in_file(script),
        }]
    }

    /// A script with all that it imports, directly or through others.
    #[must_use]
    pub fn with_imports(&self, script: &str) -> BTreeSet<Arc<str>> {
        let mut found = BTreeSet::new();
        let mut next = vec![script.to_owned()];
        while let Some(script) = next.pop() {
            if let Some(script) = self.scripts.get(&script)
                && found.insert(script.file.clone())
            {
                next.extend(script.imports.iter().map(|import| import.file.clone()));
            }
        }
        found
    }

    /// The files of the program's scripts.
    pub fn scripts(&self) -> impl Iterator<Item = &str> {
        self.scripts.keys().map(String::as_str)
    }
}

/// Runs it on a thread with a stack that the deepest script cannot exhaust.
pub(super) fn on_big_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, Box<Diagnostic>> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("script-compile".to_owned())
            .stack_size(STACK)
            .spawn_scoped(scope, work)
            .map_err(|e| Box::new(Diagnostic::error(format!("no thread to compile scripts on: {e}"))))?;
        thread
            .join()
            .map_err(|_| Box::new(Diagnostic::error("the interpreter failed while compiling; this is a defect of Pipewright")))
    })
}

fn compile(sources: &Sources, limits: &ScriptConfig, recorder: Option<Recorder>) -> Result<Program, Vec<Diagnostic>> {
    let mut problems = Vec::new();
    let tables = Arc::new(table::read_all(sources, &mut problems));
    let mut engine = engine::build(limits, &tables);
    if let Some(recorder) = &recorder {
        recorder.listen(&mut engine);
    }
    if sources.scripts.values().any(|text| text.contains("phone::")) {
        helpers::phone::warm_up();
    }
    let mut scripts = BTreeMap::new();
    for (file, text) in &sources.scripts {
        match parse(&engine, file, text) {
            Ok(script) => {
                problems.extend(imports::problems(&script, sources));
                problems.extend(closures::problems(&script));
                scripts.insert(file.clone(), script);
            }
            Err(problem) => problems.push(*problem),
        }
    }
    // Functions go from script to script where one imports the other.
    let joined = |script: &Script| {
        !script.imports.is_empty() || scripts.values().any(|s: &Script| s.imports.iter().any(|i| i.file == *script.file))
    };
    let between = scripts.values().any(|script| joined(script) && functions::hands_around(script));
    for script in scripts.values() {
        let handed_around = if joined(script) { between } else { functions::hands_around(script) };
        problems.extend(functions::problems(script, handed_around));
    }
    if problems.is_empty() {
        match imports::order(&scripts) {
            Ok(order) => problems.extend(load(&mut engine, &scripts, &order)),
            Err(cycles) => problems.extend(cycles),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let program = Program { engine, scripts, tables, limits: limits.clone(), recorder };
    program.count_from_now();
    Ok(program)
}

pub(super) fn parse(engine: &Engine, file: &str, text: &Arc<str>) -> Result<Script, Box<Diagnostic>> {
    if text.len() > engine::MAX_SOURCE {
        let problem = Diagnostic::error(format!("the script has {} bytes; {} are the most", text.len(), engine::MAX_SOURCE));
        return Err(Box::new(
            problem.in_file(file).code(Code::TooMuch).help("put parts of it into files of their own and import them"),
        ));
    }
    state::set_parse_deadline(Some(PARSE_ALLOWANCE));
    let parsed = engine.compile_with_scope(&engine::constants(), &**text);
    state::set_parse_deadline(None);
    let mut ast = parsed.map_err(|e| Box::new(errors::of_parse(file, text, &e, engine)))?;
    ast.set_source(file);
    let imports = imports::of(&ast);
    Ok(Script { file: Arc::from(file), text: text.clone(), ast, imports })
}

/// Evaluates the imported scripts, those first that others need, and gives them to the engine.
pub(super) fn load(engine: &mut Engine, scripts: &BTreeMap<String, Script>, order: &[String]) -> Vec<Diagnostic> {
    let imported: BTreeSet<&str> = scripts.values().flat_map(|s| s.imports.iter().map(|i| i.file.as_str())).collect();
    let mut resolver = StaticModuleResolver::new();
    let mut problems = Vec::new();
    for file in order.iter().filter(|f| imported.contains(f.as_str())) {
        let script = &scripts[file];
        state::meter(MODULE_OPERATIONS, MODULE_DEADLINE);
        match Module::eval_ast_as_new(Scope::new(), &script.ast, engine) {
            Ok(module) => {
                let module = Arc::new(module);
                // Both spellings of the path find it: with and without the extension.
                for path in [Some(file.as_str()), file.strip_suffix(imports::EXTENSION)].into_iter().flatten() {
                    resolver.insert(path, (*module).clone());
                }
                engine.set_module_resolver(resolver.clone());
            }
            Err(error) => problems.push(errors::of_loading(script, &error, scripts)),
        }
    }
    engine.set_module_resolver(resolver);
    problems
}
