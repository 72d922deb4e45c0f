//! `pipewright events causes`

use clap::Args;
use serde::Serialize;

use super::super::Format;
use super::super::client::Daemon;
use super::super::exit::Outcome;
use super::super::output::{complain, cut, printable, say, say_json, time};
use crate::console::CauseList;
use crate::store::CauseCount;

/// Longest reason of one delivery that is shown.
const LONGEST_REASON: usize = 160;

/// Count what has failed by cause, rule and script set, with the commands that show and repeat it
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pipewright events causes
  pipewright events list --cause 3f2a1b9c --open
  pipewright events replay --cause 3f2a1b9c

What was repeated since is left out: its repetition counts, if that failed as well. A cause is what deliveries that fail alike have in \
common, without a value of any of them: an error at a line of a script, a refusal of one kind of request.")]
pub(in crate::cli) struct Causes {
    #[command(flatten)]
    daemon: Daemon,
    #[command(flatten)]
    format: Format,
}

/// A group with what to do about it.
#[derive(Serialize)]
struct Told {
    #[serde(flatten)]
    count: CauseCount,
    show: String,
    replay: String,
}

pub(super) fn run(args: &Causes) -> Outcome {
    let list: CauseList = args.daemon.get("/api/causes")?.read()?;
    let told: Vec<Told> = list.causes.into_iter().map(told).collect();
    if args.format.json {
        return Ok(say_json(&serde_json::json!({ "causes": told }))?);
    }
    if told.is_empty() {
        complain("nothing has failed that was not repeated since");
        return Ok(());
    }
    Ok(say(&told.iter().map(shown).collect::<Vec<_>>().join("\n"))?)
}

fn told(count: CauseCount) -> Told {
    let scripts = count.version.as_ref().map(|v| format!(" --script-set {}", short(v))).unwrap_or_default();
    let cause = count.id.as_ref().map(|id| format!(" --cause {id}")).unwrap_or_default();
    let which = format!("{cause} --rule {} --state {}{scripts}", count.rule, count.state);
    Told { show: format!("pipewright events list{which} --open"), replay: format!("pipewright events replay{which}"), count }
}

fn short(version: &str) -> String {
    version.chars().take(12).collect()
}

fn shown(told: &Told) -> String {
    let count = &told.count;
    let scripts = count.version.as_ref().map(|v| format!(", script set {}", short(v))).unwrap_or_default();
    let mut text = format!("{} {}: rule {}{scripts}\n", count.deliveries, count.state, count.rule);
    match (&count.id, &count.cause) {
        (Some(id), Some(cause)) => text.push_str(&format!("  cause {id}: {}, {}\n", cause.class, printable(&cause.what))),
        _ => text.push_str("  of an earlier version of Pipewright, which kept no causes\n"),
    }
    let from = format!("{} ({})", count.oldest, time(count.oldest_at));
    text.push_str(&format!("  from {from} to {} ({})\n", count.newest, time(count.newest_at)));
    if let Some(reason) = &count.reason {
        text.push_str(&format!("  the newest: {}\n", cut(&printable(reason), LONGEST_REASON)));
    }
    text.push_str(&format!("  {}\n  {}\n", told.show, told.replay));
    text
}
