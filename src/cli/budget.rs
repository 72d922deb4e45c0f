//! `pipewright budget`

use std::collections::BTreeMap;

use clap::Args;
use jiff::Timestamp;

use super::Format;
use super::client::{Daemon, query};
use super::exit::Outcome;
use super::output::{Table, printable, say, say_json};
use crate::console::{BudgetList, BudgetQuery};
use crate::crm::budget::{BudgetReport, DayReport, Sum, grouped};
use crate::pipedrive::Saving;

/// Tokens of each account: spent today and for what, left, forecast, spared, and the last days
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pipewright budget
  pipewright budget --account main --days 30
  pipewright budget --json | jq '.accounts[] | {account, spent: .today.spent.tokens, left: .budget.left}'

The running daemon is asked: it counts what it sends, by account, rule and purpose. What other programs spend of the company's budget it \
does not see, nor what commands spend that go to Pipedrive themselves (`fields`, `duplicates`, `try`, `check --live`). A limit is set with `budget` under \
[pipedrive.NAME] in rules.toml; docs/budget.md.")]
pub(super) struct Budget {
    /// Only this account
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// Earlier days to list; the last 35 are kept
    #[arg(long, value_name = "N", default_value_t = 7)]
    days: usize,
    #[command(flatten)]
    daemon: Daemon,
    #[command(flatten)]
    format: Format,
}

pub(super) fn run(args: &Budget) -> Outcome {
    let asked = BudgetQuery { account: args.account.clone(), days: Some(args.days) };
    let answer = args.daemon.get(&format!("/api/budget{}", query(&asked)))?;
    let body = answer.body.clone();
    let list: BudgetList = answer.read()?;
    if args.format.json {
        return Ok(say_json(&body)?);
    }
    let texts: Vec<String> = list.accounts.iter().map(|report| render(report, Timestamp::now())).collect();
    Ok(say(&texts.join("\n"))?)
}

fn render(report: &BudgetReport, now: Timestamp) -> String {
    let (today, forecast) = (&report.today, &report.forecast);
    let mut text = format!("account      {}\n", report.account);
    let mut line = |name: &str, what: String| text.push_str(&format!("{name:<11}  {what}\n"));
    match &report.budget {
        Some(limits) => line(
            "budget",
            format!(
                "{} tokens a day, {} of them in reserve; resets at {}",
                grouped(limits.tokens_per_day),
                grouped(limits.reserve),
                today.ends.strftime("%H:%M UTC")
            ),
        ),
        None => line("budget", "none set: tokens are counted, not limited".to_owned()),
    }
    let since = today.start.strftime("%Y-%m-%d %H:%M UTC");
    let requests = if today.spent.times == 1 { "request" } else { "requests" };
    let (tokens, times) = (grouped(today.spent.tokens), grouped(today.spent.times));
    line("spent", format!("{tokens} tokens in {times} {requests} since {since}"));
    if let Some(limits) = &report.budget {
        let all = grouped(limits.left_with_reserve);
        line("left", format!("{} tokens; {all} with what is left of the reserve", grouped(limits.left)));
    }
    line("forecast", outlook(report, now));
    if let Some(waits) = &report.waiting {
        line("waiting", printable(&waits.reason));
    }
    let spared: u64 = today.saved.values().map(|sum| sum.tokens).sum();
    line("spared", format!("{} tokens", grouped(spared)));

    let per_hour = |rule: &str| forecast.by_rule.get(rule).map(|rate| format!("{rate:.0}")).unwrap_or_default();
    for (name, sums) in [("PURPOSE", &today.by_purpose), ("RULE", &today.by_rule)] {
        let mut table = Table::new([name, "TOKENS", "REQUESTS", "AN HOUR NOW"]);
        for (what, sum) in most_first(sums) {
            let rate = if name == "RULE" { per_hour(what) } else { String::new() };
            table.row([what.to_owned(), grouped(sum.tokens), grouped(sum.times), rate]);
        }
        append(&mut text, &table);
    }
    let mut table = Table::new(["SPARED BY", "TOKENS", "TIMES", "WHAT"]);
    for saving in Saving::ALL {
        if let Some(sum) = today.saved.get(saving.as_str()) {
            table.row([saving.as_str().to_owned(), grouped(sum.tokens), grouped(sum.times), saving.what().to_owned()]);
        }
    }
    append(&mut text, &table);
    let mut table = Table::new(["DAY FROM", "TOKENS", "REQUESTS", "SPARED", "MOST FOR"]);
    for day in &report.days {
        table.row(earlier(day));
    }
    append(&mut text, &table);
    text
}

fn outlook(report: &BudgetReport, now: Timestamp) -> String {
    let forecast = &report.forecast;
    let mut text = format!("{:.0} tokens an hour at present, {} until the reset", forecast.per_hour, grouped(forecast.needed));
    if let Some(at) = forecast.spent_at {
        text.push_str(&format!("; at this rate the budget is spent at {}", at.strftime("%H:%M UTC")));
    } else if report.budget.is_some() {
        text.push_str("; the budget suffices");
    }
    match &forecast.waits {
        Some(waits) if waits.from > now => {
            let from = waits.from.strftime("%H:%M UTC");
            text.push_str(&format!("; rules of priority {} and lower wait from {from}", waits.priority));
        }
        _ => {}
    }
    text
}

fn earlier(day: &DayReport) -> [String; 5] {
    let most = most_first(&day.by_rule).into_iter().next().map(|(rule, sum)| format!("{rule} ({})", grouped(sum.tokens)));
    [
        day.start.strftime("%Y-%m-%d %H:%M UTC").to_string(),
        grouped(day.spent.tokens),
        grouped(day.spent.times),
        grouped(day.saved.values().map(|sum| sum.tokens).sum()),
        most.unwrap_or_default(),
    ]
}

fn most_first(sums: &BTreeMap<String, Sum>) -> Vec<(&str, Sum)> {
    let mut all: Vec<(&str, Sum)> = sums.iter().map(|(name, sum)| (name.as_str(), *sum)).collect();
    all.sort_by_key(|(_, sum)| std::cmp::Reverse(sum.tokens));
    all
}

fn append(text: &mut String, table: &Table) {
    if !table.is_empty() {
        text.push('\n');
        text.push_str(&table.render());
    }
}
