//! `pipewright shadow`

use clap::Args;

use super::Format;
use super::client::{Daemon, query};
use super::exit::Outcome;
use super::output::{Table, complain, printable, say, say_json, time};
use crate::console::{ShadowList, ShadowListed, ShadowQuery};
use crate::delivery::ShadowEnds;
use crate::pipedrive::Kind;
use crate::plan::{ActionChange, Changed};

/// What the rules' shadow scripts would have done otherwise: counts, and the newest deliveries that differ
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pipewright shadow
  pipewright shadow --rule person --limit 5
  pipewright shadow --json | jq '.rules[] | {rule, same, different}'

A rule has a shadow when rules.toml says `shadow = \"next/person.rhai\"` on it. UNKNOWN counts deliveries on which the shadow reads what the \
rule's own script did not read; DROPPED those on which it was not run, since too many waited. The counts begin anew when one of the scripts \
changes.")]
pub(super) struct Shadow {
    /// Only this rule
    #[arg(long, value_name = "NAME")]
    rule: Option<String>,
    /// Deliveries to list of each rule, newest first
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
    #[command(flatten)]
    daemon: Daemon,
    #[command(flatten)]
    format: Format,
}

pub(super) fn run(args: &Shadow) -> Outcome {
    let asked = ShadowQuery { rule: args.rule.clone(), limit: Some(args.limit) };
    let answer = args.daemon.get(&format!("/api/shadow{}", query(&asked)))?;
    let body = answer.body.clone();
    let list: ShadowList = answer.read()?;
    if args.format.json {
        return Ok(say_json(&body)?);
    }
    if list.rules.is_empty() {
        complain("no rule has a shadow: add `shadow = \"next/NAME.rhai\"` to a rule in rules.toml");
        return Ok(());
    }
    let mut table = Table::new(["RULE", "SHADOW", "SINCE", "SAME", "DIFFERENT", "UNKNOWN", "FAILED", "DROPPED"]);
    for rule in &list.rules {
        let [same, different, unknown, failed, dropped] =
            [rule.same, rule.different, rule.unknown, rule.failed, rule.dropped].map(|n| n.to_string());
        let since = rule.since.map_or_else(|| "no run yet".to_owned(), time);
        table.row([rule.rule.clone(), rule.shadow.clone(), since, same, different, unknown, failed, dropped]);
    }
    let mut text = table.render();
    for listed in list.rules.iter().flat_map(|rule| &rule.newest) {
        text.push_str(&format!("\n{}", told(listed)));
    }
    Ok(say(&text)?)
}

/// A delivery: how both end, and what differs, a line each.
fn told(listed: &ShadowListed) -> String {
    let difference = &listed.difference;
    let shadow = difference.shadow.as_ref().map(ends).or_else(|| difference.why.as_deref().map(printable)).unwrap_or_default();
    let mut text = format!("{}  {}  {}  {} -> {shadow}\n", listed.id, time(listed.at), difference.verdict, ends(&difference.own));
    for action in &difference.actions {
        text.push_str(&changed(action));
    }
    text
}

fn ends(ends: &ShadowEnds) -> String {
    match &ends.reason {
        Some(reason) => printable(&format!("{}: {reason}", ends.outcome)),
        None => ends.outcome.clone(),
    }
}

fn changed(action: &ActionChange) -> String {
    let mark = match action.change {
        Changed::Added => '+',
        Changed::Removed => '-',
        Changed::Changed => '~',
    };
    let kind = action.kind.map_or("", Kind::as_str);
    let mut text = format!("  {mark} {} {kind} ({}:{})\n", action.verb, action.at.file, action.at.line);
    for field in &action.fields {
        let side = |side: &Option<String>| printable(side.as_deref().unwrap_or("(not there)"));
        text.push_str(&format!("      {}: {} -> {}\n", printable(&field.field), side(&field.before), side(&field.after)));
    }
    text
}
