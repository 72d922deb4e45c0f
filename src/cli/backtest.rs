//! `pipewright backtest`

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::time::Instant;

use clap::Args;
use serde_json::json;

use super::exit::{FOUND, Failure, Outcome};
use super::output::{Table, complain, printable, say, say_json, time};
use super::{Folder, Format, store};
use crate::console::parse_since;
use crate::diagnostic::Diagnostic;
use crate::plan::{ActionChange, Changed};
use crate::reload::{VersionError, kept_version, last_live};
use crate::rules::{BuildOptions, ScriptSet, SetFiles};
use crate::store::sqlite::History;
use crate::testing::backtest::{self, Difference, Ends, NotKnown, Options, Range, Report, Sides, Unknown};

/// Differences that are shown with their fields, unless another number is asked for.
const SHOWN: usize = 20;

/// Run recorded events through the edited rules and the live ones, and say what would differ. Writes nothing
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pipewright backtest                              the files in this folder against the live set
  pipewright backtest --last 100000 --limit 5
  pipewright backtest --since 7d --json
  pipewright backtest --against 3f2a9c             against a version that was live (`pipewright versions list`)
  pipewright backtest --against ../old-rules       against another folder

Reads the store in data_dir, whether a daemon runs on it or not, and asks nobody: what scripts read is answered with what was recorded when \
the event was processed. Exits with 1 when something differs, be it a setting that no run shows, with 2 when the files are wrong.")]
pub(super) struct Backtest {
    #[command(flatten)]
    folder: Folder,
    /// The newest so many events
    #[arg(long, value_name = "N", default_value_t = 10_000, conflicts_with = "since", value_parser = clap::value_parser!(u64).range(1..))]
    last: u64,
    /// Events received since: 2h, 7d, or 2026-07-01T12:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Folder, or version that was live, to compare with in place of the live set
    #[arg(long, value_name = "VERSION|DIR")]
    against: Option<PathBuf>,
    /// Events that `serve --mock` took
    #[arg(long)]
    mock: bool,
    /// How many differing deliveries are shown field by field; 0: all
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    #[command(flatten)]
    format: Format,
}

pub(super) fn run(args: Backtest) -> Outcome {
    let dir = &args.folder.dir;
    let (after, files) = build(dir, args.format)?;
    let history = store::open(dir, &after.config, args.mock)?;
    let (before, against) = match &args.against {
        Some(other) if other.is_dir() => (build(other, args.format)?.0, format!("the files in {}", other.display())),
        Some(asked) => stored(version(&history, asked)?, dir, "version", args.format)?,
        None => stored(live(&history)?, dir, "live set", args.format)?,
    };
    let range = match &args.since {
        Some(when) => Range::Since(parse_since(when, jiff::Timestamp::now()).map_err(Failure::wrong)?),
        None => Range::Last(args.last),
    };
    let limit = match args.limit {
        Some(0) => usize::MAX,
        Some(limit) => limit,
        None if args.format.json => usize::MAX,
        None => SHOWN,
    };
    let began = Instant::now();
    let progress = Progress::new(began);
    let report = backtest::run(
        &store::folder(dir, &after.config, args.mock),
        Sides { before: &before, after: &after },
        Options { range, details: limit },
        &|done, total| progress.say(done, total),
    );
    progress.end();
    let report = report.map_err(Failure::found)?;
    let took = began.elapsed();
    if args.format.json {
        let (before, after) = (&before.version, files.version());
        say_json(
            &json!({ "ok": report.differences.is_empty() && report.settings.is_empty(), "before": before.0, "after": after.0, "took_ms": u64::try_from(took.as_millis()).unwrap_or(u64::MAX), "report": report }),
        )?;
    } else {
        say(&format!("the files in {} ({}) against {against}", dir.display(), after.version))?;
        show(&report, limit, took.as_secs_f64())?;
    }
    if report.differences.is_empty() && report.settings.is_empty() { Ok(()) } else { Err(Failure::Code(FOUND)) }
}

/// Nothing is sent anywhere, so secrets need not be set.
fn offline(dir: &Path) -> BuildOptions {
    BuildOptions { dir: dir.to_owned(), mock: true, metadata: None }
}

fn build(dir: &Path, format: Format) -> Result<(ScriptSet, SetFiles), Failure> {
    let files = SetFiles::read(dir).map_err(|problems| Failure::refused_as(format, problems))?;
    let built =
        ScriptSet::build_as_required(files.clone(), &offline(dir)).map_err(|problems| Failure::refused_as(format, problems))?;
    Ok((built.set, files))
}

/// A set of the store, and how it is called. Nobody asks for it to be built anew as strictly as files are.
fn stored(files: SetFiles, dir: &Path, what: &str, format: Format) -> Result<(ScriptSet, String), Failure> {
    let called = format!("the {what} {}", files.version());
    let built = ScriptSet::build_as_required(files, &offline(dir)).map_err(|problems| {
        let note = |p: Diagnostic| p.note(format!("in {called}, from the store"));
        Failure::refused_as(format, problems.into_iter().map(note).collect())
    })?;
    Ok((built.set, called))
}

fn version(history: &History, asked: &Path) -> Result<SetFiles, Failure> {
    let word = asked.to_string_lossy();
    kept_version(history, &word).map_err(|error| match error {
        VersionError::Unknown { .. } => Failure::wrong(format!("there is no folder {word}, and {error}")),
        error => Failure::found(error.to_string()),
    })
}

fn live(history: &History) -> Result<SetFiles, Failure> {
    match last_live(history) {
        Ok(Some(files)) => Ok(files),
        Ok(None) => Err(Failure::found("no script set was ever live on this store; compare with a folder: --against DIR")),
        Err(error) => Err(Failure::found(format!("{error}; compare with a folder: --against DIR"))),
    }
}

/// How far it is, on a terminal.
struct Progress {
    began: Instant,
    on: bool,
    /// Tenths of a second at which it was said last.
    said: AtomicU64,
}

impl Progress {
    fn new(began: Instant) -> Self {
        Self { began, on: std::io::stderr().is_terminal(), said: AtomicU64::new(0) }
    }

    fn say(&self, done: u64, total: u64) {
        let now = u64::try_from(self.began.elapsed().as_millis() / 100).unwrap_or(u64::MAX);
        if self.on && self.said.fetch_max(now, Ordering::Relaxed) < now {
            let mut err = std::io::stderr().lock();
            // There is nowhere to say that it cannot be written.
            drop(write!(err, "\r{done} of {total} events").and_then(|()| err.flush()));
        }
    }

    fn end(&self) {
        if self.on && self.said.load(Ordering::Relaxed) > 0 {
            drop(write!(std::io::stderr().lock(), "\r{:40}\r", ""));
        }
    }
}

fn show(report: &Report, limit: usize, seconds: f64) -> std::io::Result<()> {
    let events = &report.events;
    let (same, differ) = (report.same, report.differences.len());
    say(&format!(
        "{} events in {seconds:.1} s, {} of them wanted by no rule of either; {} deliveries the same, {differ} differ\n",
        events.run, events.unmatched, same
    ))?;
    for setting in &report.settings {
        let text = format!("rule {}: {} was {} and is {}", setting.rule, setting.setting, setting.before, setting.after);
        say(&printable(&text))?;
    }
    let mut table = Table::new(["RULE", "CHANGE", "DELIVERIES", "FIRST"]);
    for count in &report.counts {
        table.row([count.rule.to_string(), count.what.clone(), count.deliveries.to_string(), count.example.to_string()]);
    }
    if !table.is_empty() {
        say(&table.render())?;
    }
    for difference in report.differences.iter().take(limit) {
        say(&detail(difference))?;
    }
    if differ > limit {
        let rest = report.differences.iter().skip(limit);
        say(&format!("\nand {} more (`--limit 0` shows them whole):", differ - limit))?;
        let ids: Vec<String> = rest.map(|d| format!("{}/{}", d.seq, d.rule)).collect();
        say(&printable(&ids.join(" ")))?;
    }
    unknown(report)?;
    lost(report);
    Ok(())
}

fn detail(difference: &Difference) -> String {
    let head = format!(
        "\n{}/{}  {}, received {}, messageId {}",
        difference.seq,
        difference.rule,
        difference.event,
        time(difference.received_at),
        difference.message_id
    );
    let mut lines = vec![printable(head.trim_start())];
    let ends = |ends: &Option<Ends>| match ends {
        None => "not wanted".to_owned(),
        Some(Ends { outcome, reason: None }) => (*outcome).to_owned(),
        Some(Ends { outcome, reason: Some(reason) }) => format!("{outcome}: {reason}"),
    };
    let (before, after) = (ends(&difference.before), ends(&difference.after));
    if before != after {
        lines.push(printable(&format!("  was   {before}")));
        lines.push(printable(&format!("  is    {after}")));
    }
    lines.extend(difference.actions.iter().flat_map(action));
    format!("\n{}", lines.join("\n"))
}

fn action(change: &ActionChange) -> Vec<String> {
    let kind = change.kind.map(|kind| format!(" {kind}")).unwrap_or_default();
    let word = match change.change {
        Changed::Added => "added",
        Changed::Removed => "removed",
        Changed::Changed => "changed",
    };
    let mut lines = vec![printable(&format!("  {word}  {}{kind}  ({}:{})", change.verb, change.at.file, change.at.line))];
    for field in &change.fields {
        let text = match (&field.before, &field.after) {
            (Some(before), Some(after)) => format!("{before} -> {after}"),
            (None, Some(after)) => format!("+ {after}"),
            (Some(before), None) => format!("- {before}"),
            (None, None) => continue,
        };
        lines.push(printable(&format!("    {}: {text}", field.field)));
    }
    lines
}

/// What could not be known, by reason, with the first event of each.
fn unknown(report: &Report) -> std::io::Result<()> {
    if report.unknown.is_empty() {
        return Ok(());
    }
    let mut reasons: std::collections::BTreeMap<String, (u64, &NotKnown)> = std::collections::BTreeMap::new();
    for one in &report.unknown {
        reasons.entry(why(one)).or_insert((0, one)).0 += 1;
    }
    say(&format!("\nof {} deliveries it cannot be known:", report.unknown.len()))?;
    for (reason, (count, first)) in reasons {
        say(&printable(&format!("  {count}, first {}/{}: {reason}", first.seq, first.rule)))?;
    }
    Ok(())
}

fn why(one: &NotKnown) -> String {
    let side = if one.side == "before" { "the script before the edit" } else { "the edited script" };
    match &one.why {
        Unknown::Unrecorded { at, .. } => format!("{side} reads at {}:{} what was not recorded", at.file, at.line),
        Unknown::WroteBefore { at, .. } => {
            format!("{side} reads at {}:{} after other writes than those that the recorded answer followed", at.file, at.line)
        }
        Unknown::Deadline => format!("{side} ran into its deadline; this machine may be busy"),
        Unknown::Damaged { reason } => reason.clone(),
    }
}

/// What is not there any more.
fn lost(report: &Report) {
    let events = &report.events;
    if events.pruned > 0 {
        complain(&format!(
            "{} events of that time are not in the store any more (retention, keep_unmatched, erasure) and were not run",
            events.pruned
        ));
    }
    if events.pruned_before > 0 {
        complain(&format!(
            "{} older events are not in the store any more; those of them that fall into that time were not run",
            events.pruned_before
        ));
    }
}
