//! `pipewright status`

use clap::Args;

use super::Format;
use super::client::Daemon;
use super::exit::{FOUND, Failure, Outcome};
use super::output::{self, Table, say, say_json, size, time};
use crate::config::Writes;
use crate::console;
use crate::crm::{Standing, WebhooksStatus};
use crate::delivery::{DeliveryStatus, PauseInfo};
use crate::diagnostic::{Severity, render_all};
use crate::store::CauseCount;

/// Causes of failures that are shown.
const MOST_CAUSES: usize = 5;
/// Longest cause in the table.
const LONGEST_CAUSE: usize = 100;

/// How the running daemon stands: script set, queue, accounts, rules, store
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  pipewright status --json | jq .delivery.pending

WRITES says whether anything is written to the account; OBSERVED counts deliveries since the start that were planned and not sent because \
writes were off (`events release` counts those that can be released, older ones too).

Exits with 1 while something needs a person: the files on disk are refused, the live set fails its tests or is \
pinned, something is paused, or Pipedrive's webhooks do not arrive.")]
pub(super) struct Status {
    #[command(flatten)]
    daemon: Daemon,
    #[command(flatten)]
    format: Format,
}

pub(super) fn run(args: &Status) -> Outcome {
    let answer = args.daemon.get("/api/status")?;
    let body = answer.body.clone();
    let status: console::Status = answer.read()?;
    if args.format.json {
        say_json(&body)?;
    } else {
        say(&render(&status, jiff::Timestamp::now()))?;
    }
    let paused =
        status.delivery.accounts.iter().any(|a| a.paused.is_some()) || status.delivery.rules.iter().any(|r| r.paused.is_some());
    let reload = &status.reload;
    let refused = reload.refused.is_some() || reload.failing.is_some() || reload.pin.is_some();
    let unheard = status.delivery.accounts.iter().filter_map(|a| a.webhooks.as_ref()).any(|of| of.problem.is_some());
    if refused || status.store.refusing.is_some() || paused || unheard { Err(Failure::Code(FOUND)) } else { Ok(()) }
}

fn render(status: &console::Status, now: jiff::Timestamp) -> String {
    let up = now.duration_since(status.started_at);
    let up = std::time::Duration::from_secs(up.as_secs().unsigned_abs());
    let (set, reload, delivery, store) = (&status.set, &status.reload, &status.delivery, &status.store);
    let mut text = format!(
        "pipewright   {}, up {} (since {})\n\
         script set   {}, {} of {} rules on, live since {}{}\n\
         events       {} accepted since the start; {} kept, {} unmatched, {} rejected\n\
         deliveries   {} ended since the start; {} unfinished ({}, in {} lanes), {} failed\n\
         store        {}{}\n",
        status.pipewright,
        humantime::format_duration(up),
        time(status.started_at),
        set.version.chars().take(12).collect::<String>(),
        set.enabled,
        set.rules,
        time(reload.live_since),
        if reload.from_store { " (from the store: the files were refused at the start)" } else { "" },
        status.accepted,
        store.events,
        store.unmatched,
        store.rejected,
        status.finished,
        delivery.pending,
        standing(delivery),
        delivery.lanes,
        store.failed,
        size(store.bytes),
        store.oldest_pending.map(|at| format!(", oldest unfinished of {}", time(at))).unwrap_or_default(),
    );
    if let Some(why) = &store.refusing {
        text.push_str(&format!("             new events are refused: {why}\n"));
    }
    for setting in &reload.restart_needed {
        text.push_str(&format!("restart      needed for {setting}\n"));
    }
    if let Some(pin) = &reload.pin {
        text.push_str(&format!("pinned       since {}, until `pipewright unpin`", time(pin.since)));
        text.push_str(&pin.reason.as_ref().map(|why| format!(": {}", output::printable(why))).unwrap_or_default());
        if pin.hold_pinned {
            text.push_str(&format!("; {} deliveries with plans of other sets held", delivery.plans_held));
        }
        text.push('\n');
        if let Some(files) = &pin.waiting {
            text.push_str(&format!("             the files on disk ({files}) would be live but for the pin\n"));
        }
    }
    if let Some(version) = &reload.trying {
        text.push_str(&format!("trying       {version}, from the files on disk\n"));
    }
    text.push_str(&accounts_and_rules(status));
    text.push_str(&failures(&status.causes));
    if let Some(refused) = &reload.refused {
        text.push_str(&format!("\nThe files on disk were refused at {}; the set above goes on.\n\n", time(refused.at)));
        text.push_str(&render_all(&refused.diagnostics));
        text.push('\n');
    }
    if let Some(failing) = &reload.failing {
        text.push_str(&format!("\nThe script set above fails tests that were changed ({}); it goes on.\n\n", time(failing.at)));
        text.push_str(&render_all(&failing.diagnostics));
        text.push('\n');
    }
    let warnings: Vec<_> = reload.warnings.iter().filter(|d| d.severity == Severity::Warning).cloned().collect();
    if !warnings.is_empty() {
        text.push_str(&format!("\n{}\n", render_all(&warnings)));
    }
    text
}

/// The most frequent causes of failures.
fn failures(causes: &[CauseCount]) -> String {
    let mut table = Table::new(["FAILED", "RULE", "CAUSE", "WHAT"]);
    for count in causes.iter().take(MOST_CAUSES) {
        let what = count.cause.as_ref().map(|cause| output::cut(&output::printable(&cause.what), LONGEST_CAUSE));
        let failed = format!("{} {}", count.deliveries, count.state);
        table.row([failed, count.rule.to_string(), count.id.clone().unwrap_or_default(), what.unwrap_or_default()]);
    }
    if table.is_empty() {
        return String::new();
    }
    format!("\n{}`pipewright events causes` has all of them, with what shows and what repeats them.\n", table.render())
}

/// Where the unfinished deliveries stand; the rest of them is next in its lane, or behind another one.
fn standing(delivery: &DeliveryStatus) -> String {
    let mut text = format!("{} running, {} waiting for a retry", delivery.running, delivery.waiting);
    for (count, what) in [
        (delivery.parked, "for what they link to"),
        (delivery.held, "behind a pause"),
        (delivery.plans_held, "held by the rollback"),
    ] {
        if count > 0 {
            text.push_str(&format!(", {count} {what}"));
        }
    }
    text
}

/// What Pipedrive tells of an account by itself.
fn webhooks(account: &str, of: &WebhooksStatus) -> String {
    let Some(checked) = of.checked_at.filter(|_| of.subscription.is_some()) else {
        let why = of.problem.as_deref().unwrap_or("not registered yet; run `pipewright webhooks register`");
        return format!("Webhooks of {account}: {}\n", output::printable(why));
    };
    let told = match of.heard_at {
        Some(at) => {
            let notices: u64 = of.notices.values().sum();
            let learned = of.notices.get("learned").copied().unwrap_or_default();
            format!("{notices} since the start, {learned} of them news, the last at {}", time(at))
        }
        None => "none came since the start".to_owned(),
    };
    let problem = of.problem.as_ref().map(|problem| format!("; {}", output::printable(problem))).unwrap_or_default();
    format!("Webhooks of {account}: {told}; Pipedrive had them at {}{problem}\n", time(checked))
}

fn accounts_and_rules(status: &console::Status) -> String {
    let mut text = String::new();
    let mut accounts = Table::new(["ACCOUNT", "WRITES", "UNFINISHED", "RUNNING", "OBSERVED", "PAUSED"]);
    for a in &status.delivery.accounts {
        let writes = a.writes.map_or("", |writes| if writes == Writes::On { "on" } else { "off" });
        // Of an account that is written to, none is nothing to say.
        let observed = if a.observed == 0 && a.writes != Some(Writes::Off) { String::new() } else { a.observed.to_string() };
        let [pending, running] = [a.pending, a.running].map(|n| n.to_string());
        accounts.row([a.name.clone(), writes.to_owned(), pending, running, observed, pause(a.paused.as_ref())]);
    }
    let mut rules = Table::new(["RULE", "ENABLED", "UNFINISHED", "PAUSED"]);
    for r in &status.delivery.rules {
        let enabled = if status.set.disabled.contains(&r.name) { "no" } else { "yes" };
        rules.row([r.name.clone(), enabled.to_owned(), r.pending.to_string(), pause(r.paused.as_ref())]);
    }
    let mut mirrors = Table::new(["MIRROR OF", "KIND", "MODE", "LISTED", "STATE"]);
    for (a, m) in status.delivery.accounts.iter().flat_map(|a| a.mirror.iter().map(move |m| (a, m))) {
        let listed = match m.standing {
            Standing::Empty => String::new(),
            Standing::Filling { records, .. } | Standing::Complete { records, .. } => records.to_string(),
        };
        mirrors.row([a.name.clone(), m.kind.to_string(), m.mode.as_str().to_owned(), listed, m.why.clone()]);
    }
    for table in [accounts, rules, mirrors].iter().filter(|t| !t.is_empty()) {
        text.push('\n');
        text.push_str(&table.render());
    }
    for budget in status.delivery.accounts.iter().filter_map(|a| a.budget.as_ref()) {
        text.push_str(&format!("\n{}{} (`pipewright budget`)\n", budget[..1].to_uppercase(), &budget[1..]));
    }
    for a in &status.delivery.accounts {
        text.extend(a.webhooks.as_ref().map(|of| format!("\n{}", webhooks(&a.name, of))));
    }
    for a in status.delivery.accounts.iter().filter(|a| !a.schema.is_empty()) {
        text.push_str(&format!("\nThe account {} is not as its schema file has it:\n", a.name));
        for change in &a.schema {
            text.push_str(&format!("  {}\n", output::printable(change)));
        }
    }
    text
}

fn pause(info: Option<&PauseInfo>) -> String {
    info.map_or_else(String::new, |p| {
        let until = p.until.map(|at| format!(", tried again {}", time(at))).unwrap_or_default();
        output::printable(&format!("since {}: {}{until}", time(p.since), p.reason))
    })
}
