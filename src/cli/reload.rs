//! `pipewright reload`

use clap::Args;
use serde_json::json;

use super::Format;
use super::client::{Answer, Daemon};
use super::exit::{FOUND, Failure, Outcome};
use super::output::{complain, say, say_json};
use crate::diagnostic::render_all;
use crate::reload::{ReloadOutcome, TestCounts};

/// Have the running daemon read its files now, and wait for what becomes of them
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  pipewright reload && echo live

The answer comes when they are live or refused; the script tests that they must pass ([reload] require) are a part of that time. \
Exits with 1 when the files are refused, wait for `unpin`, or when the live set fails its changed tests; the set that was live goes on.")]
pub(super) struct Reload {
    #[command(flatten)]
    daemon: Daemon,
    #[command(flatten)]
    format: Format,
}

pub(super) fn run(args: &Reload) -> Outcome {
    let answer = args.daemon.post("/api/reload", &json!({}))?;
    tell(answer, args.format)
}

/// Says what became of the files.
pub(super) fn tell(answer: Answer, format: Format) -> Outcome {
    let body = answer.body.clone();
    let outcome: ReloadOutcome = answer.parse()?;
    let say = |text: &str| if format.json { Ok(()) } else { say(text) };
    if format.json {
        say_json(&body)?;
    }
    match outcome {
        ReloadOutcome::Swapped { version, warnings, restart_needed, tests, took_ms } => {
            let passed =
                tests.map(|t| format!("{} tests passed in {}{}, ", t.passed, seconds(t.ms), covered(&t))).unwrap_or_default();
            say(&format!("live: script set {version} ({passed}{} in all)", seconds(took_ms)))?;
            if !warnings.is_empty() {
                complain(&render_all(&warnings));
            }
            for setting in restart_needed {
                complain(&format!("a restart is needed for {setting}"));
            }
            Ok(())
        }
        ReloadOutcome::Unchanged { version, failing } => {
            say(&format!("unchanged: script set {version} was live already"))?;
            if failing.is_empty() {
                return Ok(());
            }
            complain(&render_all(&failing));
            complain("\nits changed tests fail; it stays live");
            Err(Failure::Code(FOUND))
        }
        ReloadOutcome::Refused { version, diagnostics, tests } => {
            complain(&render_all(&diagnostics));
            let failed = |t: TestCounts| format!(": {} of {} tests failed{}", t.failed, t.passed + t.failed, covered(&t));
            let failed = tests.map(failed).unwrap_or_default();
            complain(&format!("\nrefused{failed}; script set {version} goes on"));
            Err(Failure::Code(FOUND))
        }
        ReloadOutcome::Pinned { version, files, .. } => {
            complain(&format!(
                "the files ({files}) would be live but for the pin: {version} was rolled back to and stays live until `pipewright unpin`"
            ));
            Err(Failure::Code(FOUND))
        }
        ReloadOutcome::Stopped => Err(Failure::found("the daemon is shutting down")),
    }
}

fn covered(tests: &TestCounts) -> String {
    tests.covered.map(|covered| format!(", {:.1} % covered", covered.percent())).unwrap_or_default()
}

fn seconds(ms: u64) -> String {
    format!("{}.{:02} s", ms / 1000, ms % 1000 / 10)
}
