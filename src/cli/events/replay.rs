//! `pipewright events replay`

use clap::Args;

use super::super::Format;
use super::super::client::Daemon;
use super::super::exit::{Failure, Outcome};
use super::super::output::{complain, say, say_json};
use super::select::{Conditions, selection};
use crate::console::{ReplayAnswer, Selection};

/// Deliver again, with the rules and scripts of now, behind what waits already
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pipewright events replay 17/person
  pipewright events replay --rule person --state dead --since 2h
  pipewright events replay --unmatched --rule person

With conditions and without --state, what has failed is replayed.")]
pub(in crate::cli) struct Replay {
    /// Deliveries (17/person), or events (17, or a messageId) with all their deliveries
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    #[command(flatten)]
    conditions: Conditions,
    /// Events that no rule wanted when they came, to the rules that want them now; --rule and --limit go with it
    #[arg(long)]
    unmatched: bool,
    #[command(flatten)]
    daemon: Daemon,
    #[command(flatten)]
    format: Format,
}

pub(super) fn run(args: Replay) -> Outcome {
    let selection = match args.unmatched {
        true => unmatched(&args.ids, args.conditions)?,
        false => selection(&args.daemon, &args.ids, args.conditions)?,
    };
    let answer: ReplayAnswer = args.daemon.post("/api/events/replay", &selection)?.read()?;
    if args.format.json {
        return Ok(say_json(&answer)?);
    }
    if let Some(report) = answer.unmatched {
        let text = format!("{} deliveries of {} events made; {} looked at", report.deliveries, report.events, report.seen);
        return Ok(say(&text)?);
    }
    if answer.replayed.is_empty() {
        complain("no delivery fits");
        return Ok(());
    }
    let lines: String = answer.replayed.iter().map(|r| format!("{} again as {}\n", r.of, r.id)).collect();
    Ok(say(&lines)?)
}

fn unmatched(ids: &[String], conditions: Conditions) -> Result<Selection, Failure> {
    let mut query = conditions.query();
    let (rule, limit) = (query.rule.take(), query.limit);
    if !ids.is_empty() || query.has_conditions() {
        return Err(Failure::wrong("only --rule and --limit go with --unmatched; such events have no deliveries to choose by"));
    }
    Ok(Selection::Unmatched { rule, limit })
}
