//! `pipewright events replay`

use clap::Args;

use super::super::Format;
use super::super::client::Daemon;
use super::super::exit::{Failure, Outcome};
use super::super::output::{complain, say, say_json};
use super::select::{Conditions, How, selection};
use crate::console::{ReplayAnswer, ReplayRequest, Selection, UnmatchedReplay};
use crate::store::ReplayOptions;

/// Unmatched events in one request.
const AT_ONCE: usize = 1_000;

/// Deliver again, with the rules and scripts of now, behind what waits already
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pipewright events replay 17/person
  pipewright events replay --rule person --state dead --since 2h
  pipewright events replay --unmatched --type track --since 2d

  pipewright events replay 17/person --again --overwrite

The script of now runs again. What the delivery that is repeated, or another repetition of it, has created, deleted, merged, converted or \
requested is not asked for again, so that one that ended half done goes on where it stopped; --again does all anew. A field that a later \
event has written is left as it is; --overwrite writes it. `events show` says what was left out and why.

With conditions and without --state, what has failed is replayed.")]
pub(in crate::cli) struct Replay {
    /// Deliveries (17/person), or events (17, or a messageId) with all their deliveries
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    #[command(flatten)]
    conditions: Conditions,
    /// Events that no rule wanted when they came, oldest first, to the rules that want them now and have not had them; all conditions but
    /// --state go with it, and --rule means only to this rule
    #[arg(long)]
    unmatched: bool,
    #[command(flatten)]
    how: How,
    #[command(flatten)]
    daemon: Daemon,
    #[command(flatten)]
    format: Format,
}

pub(super) fn run(args: Replay) -> Outcome {
    if args.unmatched {
        return unmatched(args);
    }
    let how = ReplayOptions::from(args.how);
    let request = ReplayRequest { selection: selection(&args.daemon, &args.ids, args.conditions)?, how };
    let answer: ReplayAnswer = args.daemon.post("/api/events/replay", &request)?.read()?;
    if args.format.json {
        return Ok(say_json(&answer)?);
    }
    if answer.replayed.is_empty() {
        complain("no delivery fits that was not repeated since");
        return Ok(());
    }
    let lines: String = answer.replayed.iter().map(|r| format!("{} again as {}\n", r.of, r.id)).collect();
    Ok(say(&lines)?)
}

/// Page after page, so that progress can be shown and the daemon goes on in between.
fn unmatched(args: Replay) -> Outcome {
    if !ReplayOptions::from(args.how).is_plain() {
        return Err(Failure::wrong(
            "--again and --overwrite do not go with --unmatched: nothing was done for such events before",
        ));
    }
    let mut query = args.conditions.query();
    let (rule, limit) = (query.rule.take(), query.limit.take());
    if !args.ids.is_empty() || query.state.is_some() {
        return Err(Failure::wrong("ids and --state do not go with --unmatched; such events have no deliveries to choose by"));
    }
    let mut report = UnmatchedReplay::default();
    loop {
        let page = limit.map_or(AT_ONCE, |limit| limit.saturating_sub(report.seen).min(AT_ONCE));
        let selection = Selection::Unmatched {
            rule: rule.clone(),
            limit: Some(page),
            after: report.next,
            filter: query.has_conditions().then(|| Box::new(query.clone())),
        };
        let answer: ReplayAnswer = args.daemon.post("/api/events/replay", &selection)?.read()?;
        report.add(answer.unmatched.unwrap_or_default());
        if report.next.is_none() || limit.is_some_and(|limit| report.seen >= limit) {
            break;
        }
        if !args.format.json {
            complain(&format!("{} looked at", report.seen));
        }
    }
    if args.format.json {
        return Ok(say_json(&ReplayAnswer { replayed: Vec::new(), unmatched: Some(report) })?);
    }
    let UnmatchedReplay { seen, events, deliveries, still_unmatched, .. } = report;
    say(&format!("{deliveries} deliveries of {events} events made; {seen} looked at, {still_unmatched} still match no rule"))?;
    if events > 0 {
        say("They stay in `events list --unmatched`, for rules to come; no rule gets one twice.")?;
    }
    Ok(())
}
