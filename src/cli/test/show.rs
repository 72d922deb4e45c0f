//! Results for people.

use std::io;

use crate::cli::output::{complain, printable, say};
use crate::diagnostic::{Diagnostic, render_all};
use crate::script::{LogLevel, LogLine};
use crate::testing::coverage::{Coverage, Totals, missed, totals};
use crate::testing::{TestResult, TestRun};

/// Most characters of a missed line.
const WIDEST: usize = 80;

pub(super) fn run(run: &TestRun) -> io::Result<()> {
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
    if let Some(covered) = &run.coverage {
        say(&coverage(covered))?;
    }
    for (files, what) in [(&run.updated.written, "written"), (&run.updated.removed, "removed, no test uses it any more")] {
        for file in files {
            say(&format!("{}: {what}", printable(file)))?;
        }
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

pub(super) fn logged(line: &LogLine) -> String {
    let level = match line.level {
        LogLevel::Debug => "debug",
        LogLevel::Info => "info",
        LogLevel::Warn => "warn",
        LogLevel::Error => "error",
    };
    let at = if line.line > 0 { format!("  ({}:{})", line.file, line.line) } else { String::new() };
    format!("{level} {}{at}", line.text)
}

fn coverage(coverage: &Coverage) -> String {
    let all = coverage.totals();
    let Totals { lines, branches } = all;
    let mut text = format!(
        "\ncoverage: {:.1} % ({} of {} lines, {} of {} branches)\n",
        all.percent(),
        lines.hit,
        lines.all,
        branches.hit,
        branches.all
    );
    for script in &coverage.scripts {
        text.push_str(&format!("  {:5.1} %  scripts/{}\n", totals(script).percent(), printable(&script.file)));
        for missed in missed(script) {
            let line: String = printable(&missed.text).chars().take(WIDEST).collect();
            text.push_str(&format!("           {:>4}  {line}    <- {}\n", missed.line, missed.what));
        }
    }
    text.truncate(text.trim_end().len());
    text
}

/// Lines stay lines; what a value within them holds cannot steer the terminal.
fn clean(text: &str) -> String {
    text.lines().map(printable).collect::<Vec<_>>().join("\n")
}

/// `test_an_identify_makes_a_person` as words.
fn spoken(name: &str) -> String {
    name.strip_prefix("test_").unwrap_or(name).replace('_', " ")
}
