//! `pipewright events list`

use clap::Args;

use super::super::Format;
use super::super::client::{Daemon, query};
use super::super::exit::{Failure, Outcome};
use super::super::output::{Table, complain, cut, say, say_json, time};
use super::select::Conditions;
use crate::console::{EventList, EventsQuery};
use crate::store::{DeliveryRow, EventRow, RejectedRow, UnmatchedCount};

/// Longest reason in a table; `events show` and `--json` have more of it.
const LONGEST_REASON: usize = 120;

/// List deliveries, newest first; or what was refused at the door, or what no rule wanted
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pipewright events list --state failed --since 24h
  pipewright events list --rejected
  pipewright events list --unmatched --type track --since 2d")]
pub(in crate::cli) struct List {
    #[command(flatten)]
    conditions: Conditions,
    /// What was refused at the door, with the reason
    #[arg(long, conflicts_with = "unmatched")]
    rejected: bool,
    /// Events that no rule wanted, with counts by type and name; all conditions but --state and --rule go with it
    #[arg(long)]
    unmatched: bool,
    #[command(flatten)]
    daemon: Daemon,
    #[command(flatten)]
    format: Format,
}

pub(super) fn run(args: List) -> Outcome {
    let conditions = args.conditions.query();
    if args.rejected && conditions.has_conditions() {
        return Err(Failure::wrong("only --limit goes with --rejected; the other conditions are about events that were taken"));
    }
    let asked = EventsQuery { rejected: args.rejected.then_some(1), unmatched: args.unmatched.then_some(1), ..conditions };
    let answer = args.daemon.get(&format!("/api/events{}", query(&asked)))?;
    let body = answer.body.clone();
    let list: EventList = answer.read()?;
    if args.format.json {
        return Ok(say_json(&body)?);
    }
    if let Some(counts) = list.counts.as_deref().filter(|counts| !counts.is_empty()) {
        say(&of_counts(counts).render())?;
        say("")?;
    }
    let (table, nothing) = match (list.deliveries, list.rejected, list.unmatched) {
        (_, Some(rejected), _) => (of_rejected(&rejected), "nothing was refused"),
        (_, _, Some(unmatched)) => (of_unmatched(&unmatched), "there are no unmatched events"),
        (deliveries, _, _) => (of_deliveries(&deliveries.unwrap_or_default()), "no delivery fits"),
    };
    if table.is_empty() {
        complain(nothing);
        return Ok(());
    }
    Ok(say(&table.render())?)
}

fn of_deliveries(rows: &[DeliveryRow]) -> Table {
    let mut table = Table::new(["DELIVERY", "STATE", "RECEIVED", "EVENT", "SOURCE", "RETRIES", "NEXT TRY", "REASON"]);
    for row in rows {
        let again = row.replay_of.as_ref().map(|of| format!(" (again {of})")).unwrap_or_default();
        table.row([
            row.id.to_string(),
            row.state.to_string(),
            time(row.received_at),
            format!("{}{again}", event(&row.kind, row.name.as_deref())),
            row.source.clone(),
            row.attempts.to_string(),
            row.run_at.map(time).unwrap_or_default(),
            row.reason.as_deref().map(|reason| cut(reason, LONGEST_REASON)).unwrap_or_default(),
        ]);
    }
    table
}

fn of_unmatched(rows: &[EventRow]) -> Table {
    let mut table = Table::new(["EVENT", "RECEIVED", "WHAT", "SOURCE", "MESSAGE ID"]);
    for row in rows {
        let what = event(&row.kind, row.name.as_deref());
        table.row([row.seq.to_string(), time(row.received_at), what, row.source.clone(), row.message_id.clone()]);
    }
    table
}

fn of_counts(counts: &[UnmatchedCount]) -> Table {
    let mut table = Table::new(["EVENTS", "WHAT", "NEWEST"]);
    for count in counts {
        table.row([count.events.to_string(), event(&count.kind, count.name.as_deref()), time(count.newest)]);
    }
    table
}

fn of_rejected(rows: &[RejectedRow]) -> Table {
    let mut table = Table::new(["AT", "SOURCE", "TYPE", "MESSAGE ID", "REASON"]);
    for row in rows {
        table.row([
            time(row.at),
            row.source.clone(),
            row.kind.clone().unwrap_or_default(),
            row.message_id.clone().unwrap_or_default(),
            cut(&row.reason, LONGEST_REASON),
        ]);
    }
    table
}

/// `track "Order Completed"`, or the bare type.
pub(super) fn event(kind: &str, name: Option<&str>) -> String {
    name.map_or_else(|| kind.to_owned(), |name| format!("{kind} \"{name}\""))
}
