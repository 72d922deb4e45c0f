//! `pipewright test`

use std::sync::Arc;

use clap::Args;
use serde_json::{Value, json};

use super::exit::{FOUND, Failure, Outcome};
use super::output::{complain, printable, say, say_json};
use super::{Folder, Format};
use crate::diagnostic::{Diagnostic, render_all};
use crate::rules::{BuildOptions, ScriptSet, SetFiles};
use crate::script::{LogLevel, LogLine};
use crate::testing::{self, TestResult, TestRun};

/// Run the script tests in scripts/tests/
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pipewright test
  pipewright test --filter person
  pipewright test --filter deal_test.rhai::test_a_stage --json

Each test runs the rules against an empty Pipedrive of its own; nothing leaves this machine. \
Enabled rules that no test sends an event to are named. \
Exits with 1 when a test fails or does not compile, with 2 when rules.toml is wrong.")]
pub(super) struct Test {
    #[command(flatten)]
    pub(super) folder: Folder,
    /// Only tests whose FILE::NAME contains this
    #[arg(long, value_name = "TEXT")]
    pub(super) filter: Option<String>,
    #[command(flatten)]
    pub(super) format: Format,
}

pub(super) fn run(args: Test) -> Outcome {
    let dir = &args.folder.dir;
    // Nothing is sent anywhere, so secrets need not be set.
    let options = BuildOptions { dir: dir.clone(), mock: true, metadata: None };
    let built = SetFiles::read(dir)
        .and_then(|files| ScriptSet::build(files, &options))
        .map_err(|problems| Failure::refused_as(args.format, problems))?;
    let filter = args.filter.as_deref();
    let run = testing::run(&Arc::new(built.set), dir, filter).map_err(|problems| Failure::refused_as(args.format, problems))?;
    if args.format.json {
        say_json(&document(&run))?;
    } else {
        show(&run)?;
    }
    if let Some(filter) = filter
        && run.results.is_empty()
        && run.uncompiled.is_empty()
    {
        return Err(Failure::found(format!("no test's FILE::NAME contains `{filter}`; {} were left out", run.left_out)));
    }
    if run.failed() > 0 { Err(Failure::Code(FOUND)) } else { Ok(()) }
}

fn show(run: &TestRun) -> std::io::Result<()> {
    let mut file = "";
    for result in &run.results {
        if file != &*result.test.file {
            file = &result.test.file;
            say(&printable(file))?;
        }
        let mark = if result.failure.is_none() { "ok    " } else { "FAILED" };
        say(&format!("  {mark}  {}", spoken(&result.test.name)))?;
    }
    for broken in &run.uncompiled {
        say(&format!("{}\n  FAILED  does not compile", printable(&broken.file)))?;
    }
    for result in run.results.iter().filter(|r| r.failure.is_some()) {
        say(&failure(result))?;
    }
    for broken in &run.uncompiled {
        say(&format!("\n{}: does not compile\n{}", printable(&broken.file), clean(&render_all(&broken.diagnostics))))?;
    }
    let left_out = if run.left_out > 0 { format!(", {} left out", run.left_out) } else { String::new() };
    say(&format!("\n{} passed, {} failed{left_out} ({:.2} s)", run.passed(), run.failed(), run.took.as_secs_f64()))?;
    if !run.results.is_empty() && !run.untested.is_empty() {
        let names = run.untested.iter().map(|name| printable(name)).collect::<Vec<_>>().join(", ");
        say(&format!("no test sends an event to: {names}"))?;
    }
    if run.results.is_empty() && run.uncompiled.is_empty() && run.left_out == 0 {
        complain("there are no tests: write `fn test_..()` into scripts/tests/NAME.rhai");
    }
    Ok(())
}

fn failure(result: &TestResult) -> String {
    let place = format!("{}:{}", result.test.file, result.test.line);
    let mut text = format!("\n{} ({})\n", result.test.name, printable(&place));
    text.push_str(&clean(&result.failure.as_ref().map(Diagnostic::render).unwrap_or_default()));
    for line in &result.logs {
        text.push_str(&format!("\n  {}", printable(&logged(line))));
    }
    text
}

fn logged(line: &LogLine) -> String {
    let level = match line.level {
        LogLevel::Debug => "debug",
        LogLevel::Info => "info",
        LogLevel::Warn => "warn",
        LogLevel::Error => "error",
    };
    let at = if line.line > 0 { format!("  ({}:{})", line.file, line.line) } else { String::new() };
    format!("{level} {}{at}", line.text)
}

/// Lines stay lines; what a value within them holds cannot steer the terminal.
fn clean(text: &str) -> String {
    text.lines().map(printable).collect::<Vec<_>>().join("\n")
}

/// `test_an_identify_makes_a_person` as words.
fn spoken(name: &str) -> String {
    name.strip_prefix("test_").unwrap_or(name).replace('_', " ")
}

fn document(run: &TestRun) -> Value {
    let one = |result: &TestResult| {
        json!({
            "file": format!("scripts/tests/{}", result.test.file), "name": result.test.name, "line": result.test.line,
            "ok": result.failure.is_none(), "failure": result.failure, "logs": result.logs,
            "ms": u64::try_from(result.took.as_millis()).unwrap_or(u64::MAX), "rules": result.rules,
        })
    };
    let broken: Vec<Value> = run
        .uncompiled
        .iter()
        .map(|u| json!({ "file": format!("scripts/tests/{}", u.file), "diagnostics": u.diagnostics }))
        .collect();
    json!({
        "ok": run.failed() == 0, "passed": run.passed(), "failed": run.failed(), "left_out": run.left_out,
        "ms": u64::try_from(run.took.as_millis()).unwrap_or(u64::MAX),
        "tests": run.results.iter().map(one).collect::<Vec<_>>(), "uncompiled": broken,
        "exercised": run.exercised, "untested": run.untested,
    })
}
