//! `pipewright unpin`

use clap::Args;
use serde_json::json;

use super::client::Daemon;
use super::exit::Outcome;
use super::{Format, reload};

/// End a rollback: take the files on disk again, and let held plans go on
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  pipewright unpin

The files are read, tried and swapped in at once, and the answer says what became of them; from then on what is saved goes live. \
Exits with 1 when nothing is pinned, or when the files are refused: then the set that was rolled back to goes on, unpinned.")]
pub(super) struct Unpin {
    #[command(flatten)]
    daemon: Daemon,
    #[command(flatten)]
    format: Format,
}

pub(super) fn run(args: &Unpin) -> Outcome {
    let answer = args.daemon.post("/api/unpin", &json!({}))?;
    match answer.status {
        // What became of the files; anything else is a reason why nothing was unpinned.
        200 | 422 => reload::tell(answer, args.format),
        _ => answer.read::<serde_json::Value>().map(drop),
    }
}
