//! `pipewright events show`

use clap::Args;

use super::super::Format;
use super::super::client::{Daemon, segment};
use super::super::exit::Outcome;
use super::super::output::{printable, say, say_json, time};
use super::list::event;
use super::record;
use crate::console::{DeliveryDetail, EventDetail, EventDetails};
use crate::store::{DeliveryId, ReplayOptions};

/// Show an event, its deliveries, and why each did what it did
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pipewright events show 17/person
  pipewright events show 17
  pipewright events show ajs-next-5f0c9d --json")]
pub(in crate::cli) struct Show {
    /// A delivery (17/person), an event's number, or a messageId
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    daemon: Daemon,
    #[command(flatten)]
    format: Format,
}

pub(super) fn run(args: &Show) -> Outcome {
    let path = match args.id.parse::<DeliveryId>() {
        Ok(id) => format!("/api/events/{}/{}", id.seq, segment(&id.rule)),
        Err(_) => format!("/api/events/{}", segment(&args.id)),
    };
    let answer = args.daemon.get(&path)?;
    let body = answer.body.clone();
    let details: EventDetails = answer.read()?;
    if args.format.json {
        return Ok(say_json(&body)?);
    }
    let shown: Vec<String> = details.events.iter().map(of_event).collect();
    Ok(say(&shown.join("\n"))?)
}

fn of_event(detail: &EventDetail) -> String {
    let row = &detail.row;
    let mut text = format!(
        "event {}  {}  from {}, received {}\n  messageId {}\n",
        row.seq,
        printable(&event(&row.kind, row.name.as_deref())),
        row.source,
        time(row.received_at),
        printable(&row.message_id),
    );
    if let Some(of) = &detail.replay_of {
        text.push_str(&format!("  repeats {of}\n"));
    }
    if let Some(from) = detail.edited_from {
        text.push_str(&format!("  edited from {from}\n"));
    }
    for seq in &detail.edited_as {
        text.push_str(&format!("  edited as {seq}\n"));
    }
    for id in &detail.replayed_as {
        text.push_str(&format!("  repeated as {id}\n"));
    }
    if let Some(note) = &row.note {
        text.push_str(&format!("  {}\n", printable(note)));
    }
    match &detail.event {
        Some(event) => text.push_str(&record::indented(&record::pretty(event), 2)),
        None => text.push_str("  (the event itself is no longer kept)\n"),
    }
    if detail.deliveries.is_empty() {
        text.push_str("\nNo rule wanted it.\n");
    }
    for delivery in &detail.deliveries {
        text.push('\n');
        text.push_str(&of_delivery(delivery));
    }
    text
}

/// ` with --again --overwrite`, or nothing.
fn how(options: ReplayOptions) -> String {
    let given = [(options.again, "--again"), (options.overwrite, "--overwrite")];
    let given: Vec<&str> = given.into_iter().filter(|(given, _)| *given).map(|(_, flag)| flag).collect();
    if given.is_empty() { String::new() } else { format!(" with {}", given.join(" ")) }
}

fn retries(attempts: u32) -> String {
    match attempts {
        0 => "no retries".to_owned(),
        1 => "1 retry".to_owned(),
        n => format!("{n} retries"),
    }
}

fn of_delivery(detail: &DeliveryDetail) -> String {
    let row = &detail.row;
    let mut text = format!("{}  {}  account {}, {}", row.id, row.state, row.account, retries(row.attempts));
    if let Some(at) = row.finished_at {
        text.push_str(&format!(", ended {}", time(at)));
    }
    if let Some(at) = row.run_at {
        text.push_str(&format!(", next try {}", time(at)));
    }
    text.push('\n');
    if let Some(reason) = &row.reason {
        text.push_str(&format!("  because {}\n", printable(reason)));
    }
    if let Some(of) = &row.replay_of {
        text.push_str(&format!("  repeats {of}{}\n", how(row.replay)));
    }
    for record in &detail.records {
        text.push_str(&record::indented(&record::render(record), 2));
    }
    text
}
