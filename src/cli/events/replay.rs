//! `pipewright events replay`

use clap::Args;

use super::super::Format;
use super::super::client::Daemon;
use super::super::exit::Outcome;
use super::super::output::{complain, say, say_json};
use super::select::{Conditions, selection};
use crate::console::ReplayAnswer;

/// Deliver again, with the rules and scripts of now, behind what waits already
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pipewright events replay 17/person
  pipewright events replay --rule person --state dead --since 2h

With conditions and without --state, what has failed is replayed.")]
pub(in crate::cli) struct Replay {
    /// Deliveries (17/person), or events (17, or a messageId) with all their deliveries
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    #[command(flatten)]
    conditions: Conditions,
    #[command(flatten)]
    daemon: Daemon,
    #[command(flatten)]
    format: Format,
}

pub(super) fn run(args: Replay) -> Outcome {
    let selection = selection(&args.daemon, &args.ids, args.conditions)?;
    let answer: ReplayAnswer = args.daemon.post("/api/events/replay", &selection)?.read()?;
    if args.format.json {
        return Ok(say_json(&answer)?);
    }
    if answer.replayed.is_empty() {
        complain("no delivery fits");
        return Ok(());
    }
    let lines: String = answer.replayed.iter().map(|r| format!("{} again as {}\n", r.of, r.id)).collect();
    Ok(say(&lines)?)
}
