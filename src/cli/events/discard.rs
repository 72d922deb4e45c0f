//! `pipewright events discard`

use clap::Args;

use super::super::Format;
use super::super::client::Daemon;
use super::super::exit::Outcome;
use super::super::output::{say, say_json};
use super::select::{Conditions, counted, selection};
use crate::console::{DiscardAnswer, Selection};

/// Drop unfinished or failed deliveries for good
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pipewright events discard 17/person
  pipewright events discard --rule person --state dead --yes

With conditions and without --state, what has failed is dropped. Without --yes it is only counted.")]
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
        let answer: DiscardAnswer = args.daemon.post("/api/events/discard?dry=1", &selection)?.read()?;
        return counted(&answer, &answer.fits, ("discard", "discarded"), args.format);
    }
    let answer: DiscardAnswer = args.daemon.post("/api/events/discard", &selection)?.read()?;
    if args.format.json {
        return Ok(say_json(&answer)?);
    }
    Ok(say(&format!("discarded: {}", answer.discarded))?)
}
