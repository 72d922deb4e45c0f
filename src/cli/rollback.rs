//! `pipewright rollback`

use clap::Args;

use super::Format;
use super::client::Daemon;
use super::exit::{FOUND, Failure, Outcome};
use super::output::{complain, say, say_json};
use crate::console::RollbackRefused;
use crate::diagnostic::render_all;
use crate::reload::{RollbackRequest, RolledBack};

/// Go back to a script set that was live, and stay there until `unpin`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pipewright rollback                   to what the files were before
  pipewright rollback 3f2a9c --reason \"wrong owner\"
  pipewright rollback --hold-pinned     deliveries half-way through a plan of another set wait, too

The version is live when the command returns: scripts, tables, schema files and settings. Saved files are still looked at and told by \
`status`, and wait until `pipewright unpin`. A plan that was begun is carried out by the rules of the set that made it, unless \
--hold-pinned stops it; it then waits at the head of its lane, so that the events behind it wait, too.")]
pub(super) struct Rollback {
    /// The beginning of its hash, as `versions list` shows it; what the files were before, unless told
    #[arg(id = "to", value_name = "VERSION")]
    version: Option<String>,
    /// Stop plans that other sets have begun, until `unpin`
    #[arg(long)]
    hold_pinned: bool,
    /// Why; `status` shows it
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    daemon: Daemon,
    #[command(flatten)]
    format: Format,
}

pub(super) fn run(args: &Rollback) -> Outcome {
    let request = RollbackRequest { version: args.version.clone(), hold_pinned: args.hold_pinned, reason: args.reason.clone() };
    let answer = args.daemon.post("/api/rollback", &request)?;
    if answer.status == 422 {
        if args.format.json {
            say_json(&answer.body)?;
        }
        let refused: RollbackRefused = answer.parse()?;
        complain(&render_all(&refused.diagnostics));
        complain(&format!("\n{}", refused.error));
        return Err(Failure::Code(FOUND));
    }
    let body = answer.body.clone();
    let done: RolledBack = answer.read()?;
    if args.format.json {
        return Ok(say_json(&body)?);
    }
    let was = if done.from == done.version { "it was live already".to_owned() } else { format!("{} was", done.from) };
    let held = if done.hold_pinned { "; plans of other sets are held" } else { "" };
    Ok(say(&format!(
        "live and pinned: script set {} ({was}){held}\n`pipewright unpin` takes the files on disk again",
        done.version
    ))?)
}
