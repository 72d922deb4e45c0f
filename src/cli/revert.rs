//! `pipewright revert`

use std::collections::BTreeMap;

use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::Format;
use super::client::Daemon;
use super::events::record::change;
use super::exit::{FOUND, Failure, Outcome};
use super::output::{complain, printable, say, say_json};
use crate::console::{RevertRequest, parse_since};
use crate::crm::is_logged;
use crate::delivery::{RevertPage, Reverted};
use crate::plan::{KnownBy, Left};

/// Records that are shown, unless another number is asked for.
const SHOWN: usize = 50;

/// Put back what a rule has written, where it still stands
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pipewright revert --rule person --since 2h
  pipewright revert --rule person --since 2026-07-01T12:00:00Z --until 2026-07-01T13:00:00Z --apply
  pipewright revert --rule person --since 2h --changelog

Without --apply it reads the records and says what would be put back. A value is put back when it is still the one that the rule wrote and \
when it is known what was there before: read by an attempt, or last sent, or with --changelog told by Pipedrive. What people or other rules \
have written since stays. Records that the rule created are listed, and nothing is deleted. Mend and reload the rule first, or pause it: it \
goes on writing meanwhile. More in docs/undo.md.

Exit code 1: something could not be put back.")]
pub(super) struct Revert {
    /// Rule
    #[arg(long, value_name = "NAME")]
    rule: String,
    /// Of events received since: 2h, 7d, or 2026-07-01T12:00:00Z
    #[arg(long, value_name = "TIME")]
    since: String,
    /// Of events received before, in the same form
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Do put it back
    #[arg(long)]
    apply: bool,
    /// Ask for Pipedrive's changelog of records whose former values are not known here: 20 tokens each
    #[arg(long)]
    changelog: bool,
    /// How many records are shown; 0: all
    #[arg(long, value_name = "N", default_value_t = SHOWN)]
    limit: usize,
    #[command(flatten)]
    daemon: Daemon,
    #[command(flatten)]
    format: Format,
}

pub(super) fn run(args: Revert) -> Outcome {
    let now = Timestamp::now();
    let time = |text: &str| parse_since(text, now).map_err(Failure::wrong);
    let mut request = RevertRequest {
        rule: args.rule.clone(),
        since: time(&args.since)?,
        until: args.until.as_deref().map(time).transpose()?,
        apply: args.apply,
        changelog: args.changelog,
        after: None,
    };
    let mut all: Vec<Reverted> = Vec::new();
    let mut tokens = 0;
    let last = loop {
        let answer = args.daemon.post("/api/revert", &request).and_then(|answer| answer.read::<RevertPage>());
        let mut page = answer.map_err(|failure| match failure {
            Failure::Found(reason) if args.apply && !all.is_empty() => {
                Failure::Found(format!("{} records are done, then: {reason}\nRun it again: what is back stays back.", all.len()))
            }
            failure => failure,
        })?;
        all.append(&mut page.records);
        tokens += page.tokens;
        match page.next.take() {
            Some(next) => request.after = Some(next),
            None => break page,
        }
        if !args.format.json {
            complain(&format!("{} of {} records", all.len(), page.of));
        }
    };
    if args.format.json {
        say_json(&json!({
            "applied": args.apply, "rule": args.rule, "deliveries": last.deliveries, "records": all, "requests": last.requests,
            "unreadable": last.unreadable, "tokens": tokens,
        }))?;
    } else {
        show(&args, &last, &all, tokens)?;
    }
    let open = all.iter().any(|record| {
        record.refused.is_some()
            || !record.other.is_empty()
            || record.left.iter().any(|l| matches!(l.why, Left::NotKnown | Left::NotLogged | Left::CannotBeEmptied))
    });
    if open || !last.requests.is_empty() || !last.unreadable.is_empty() { Err(Failure::Code(FOUND)) } else { Ok(()) }
}

fn show(args: &Revert, last: &RevertPage, all: &[Reverted], tokens: u32) -> std::io::Result<()> {
    let count = |of: &dyn Fn(&Reverted) -> bool| all.iter().filter(|record| of(record)).count();
    let back = count(&|record| !record.back.is_empty());
    let word = if args.apply { "put back" } else { "would be put back" };
    say(&format!(
        "rule {}: {} deliveries changed {} records; {back} of them {word}, {} were created by it; {tokens} tokens\n",
        printable(&args.rule),
        last.deliveries,
        last.of,
        count(&|record| record.created)
    ))?;
    let limit = if args.limit == 0 { usize::MAX } else { args.limit };
    for record in all.iter().take(limit) {
        say(&shown(record, word))?;
    }
    if all.len() > limit {
        say(&format!("and {} more (`--limit 0` shows them)\n", all.len() - limit))?;
    }
    let mut left: BTreeMap<Left, usize> = BTreeMap::new();
    all.iter().flat_map(|record| &record.left).for_each(|field| *left.entry(field.why).or_default() += 1);
    for (why, fields) in left {
        say(&format!("{fields} fields stay: {}", reason(why)))?;
    }
    for (ids, what) in [
        (&last.requests, "sent raw requests: what these changed is not known"),
        (&last.unreadable, "have decision records that cannot be read"),
    ] {
        if !ids.is_empty() {
            let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
            say(&printable(&format!("{} deliveries {what}: {}", ids.len(), ids.join(" "))))?;
        }
    }
    let unknown = |record: &Reverted| is_logged(record.place.kind) && record.left.iter().any(|left| left.why == Left::NotKnown);
    let unknown = count(&unknown);
    if unknown > 0 {
        say(&format!("Pipedrive may know former values of {unknown} records: --changelog asks, for 20 tokens each."))?;
    }
    if !args.apply && back > 0 {
        say("Add --apply to put them back.")?;
    }
    Ok(())
}

fn shown(record: &Reverted, word: &str) -> String {
    let by: Vec<String> = record.deliveries.iter().map(ToString::to_string).collect();
    let mut lines = vec![format!("{} {} of {}, by {}", record.place.kind, record.place.id, record.place.account, by.join(" "))];
    if record.created {
        lines.push("  was created by the rule: delete it in Pipedrive if it should not be there".to_owned());
    }
    if record.gone {
        lines.push("  is not there any more".to_owned());
    }
    for effect in &record.other {
        let effect = json!(effect);
        lines.push(format!("  was {} and cannot be put back", effect.as_str().unwrap_or("changed otherwise")));
    }
    if let Some(refused) = &record.refused {
        lines.push(format!("  Pipedrive refused it: {refused}"));
    }
    for one in &record.back {
        let line: Value = json!(one);
        let by = if one.known_by == KnownBy::Changelog { ", by Pipedrive's changelog" } else { "" };
        lines.push(format!("  {word}: {}{by}", change(&line)));
    }
    for field in &record.left {
        lines.push(format!("  {} stays: {}", field.field, reason(field.why)));
    }
    lines.iter().map(|line| format!("{}\n", printable(line))).collect()
}

const fn reason(why: Left) -> &'static str {
    match why {
        Left::Edited => "it holds another value by now",
        Left::Back => "it has its former value already",
        Left::NotKnown => "what it held before is not known, for it was not read",
        Left::NotLogged => "what it held before is not known, and Pipedrive's changelog does not tell it",
        Left::CannotBeEmptied => "it was empty, and Pipedrive has no way to empty it",
        Left::Gone => "the account does not have the field any more",
    }
}
