//! `pipewright events discard`

use clap::Args;

use super::super::Format;
use super::super::client::Daemon;
use super::super::exit::{Failure, Outcome};
use super::super::output::{say, say_json};
use super::select::{Conditions, selection};
use crate::console::{DiscardAnswer, Selection};

/// Drop unfinished or failed deliveries for good
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pipewright events discard 17/person
  pipewright events discard --rule person --state dead --yes

With conditions and without --state, what has failed is dropped.")]
pub(in crate::cli) struct Discard {
    /// Deliveries (17/person), or events (17, or a messageId) with all their deliveries
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    #[command(flatten)]
    conditions: Conditions,
    /// Do drop all that the conditions find
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    daemon: Daemon,
    #[command(flatten)]
    format: Format,
}

pub(super) fn run(args: Discard) -> Outcome {
    let selection = selection(&args.daemon, &args.ids, args.conditions)?;
    if matches!(selection, Selection::Filter(_)) && !args.yes {
        return Err(Failure::wrong(
            "with conditions, add --yes to drop what they find; `events list` with the same ones shows it",
        ));
    }
    let answer: DiscardAnswer = args.daemon.post("/api/events/discard", &selection)?.read()?;
    if args.format.json {
        return Ok(say_json(&answer)?);
    }
    Ok(say(&format!("discarded: {}", answer.discarded))?)
}
