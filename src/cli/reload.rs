//! `pipewright reload`

use clap::Args;
use serde_json::json;

use super::Format;
use super::client::Daemon;
use super::exit::{FOUND, Failure, Outcome};
use super::output::{complain, say, say_json};
use crate::diagnostic::render_all;
use crate::reload::ReloadOutcome;

/// Have the running daemon read its files now, and wait for what becomes of them
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  pipewright reload && echo live

Exits with 1 when the files are refused; the set that was live goes on.")]
pub(super) struct Reload {
    #[command(flatten)]
    daemon: Daemon,
    #[command(flatten)]
    format: Format,
}

pub(super) fn run(args: &Reload) -> Outcome {
    let answer = args.daemon.post("/api/reload", &json!({}))?;
    let body = answer.body.clone();
    let outcome: ReloadOutcome = answer.parse()?;
    if args.format.json {
        say_json(&body)?;
    }
    match outcome {
        ReloadOutcome::Swapped { version, warnings, restart_needed } => {
            if !args.format.json {
                say(&format!("live: script set {version}"))?;
            }
            if !warnings.is_empty() {
                complain(&render_all(&warnings));
            }
            for setting in restart_needed {
                complain(&format!("a restart is needed for {setting}"));
            }
            Ok(())
        }
        ReloadOutcome::Unchanged { version } => {
            if !args.format.json {
                say(&format!("unchanged: script set {version} was live already"))?;
            }
            Ok(())
        }
        ReloadOutcome::Refused { version, diagnostics } => {
            complain(&render_all(&diagnostics));
            complain(&format!("\nrefused; script set {version} goes on"));
            Err(Failure::Code(FOUND))
        }
        ReloadOutcome::Stopped => Err(Failure::found("the daemon is shutting down")),
    }
}
