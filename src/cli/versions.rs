//! `pipewright versions`: list, show, diff

use std::collections::{BTreeMap, BTreeSet};

use clap::{Args, Subcommand};
use serde_json::json;

use super::Format;
use super::client::{Daemon, segment};
use super::exit::{FOUND, Failure, Outcome};
use super::output::{Table, complain, say, say_json, size, time};
use super::unified::unified;
use crate::console::{LIVE_WORD, VersionDetail, VersionFiles, VersionList};
use crate::reload::{LiveBy, set_texts};
use crate::rules::SetFiles;

/// The word for the files in the folder where a version is asked for.
const FILES_WORD: &str = "files";

/// The script sets that were live: when, what they held, what became of their deliveries
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  pipewright versions list
  pipewright versions diff live files   what a save, or `unpin`, would change
  pipewright rollback 3f2a9c

A version is named by the beginning of its hash, as far as it is the only one that begins so. `[retention] versions` in rules.toml says how \
many are kept.")]
pub(super) enum Versions {
    /// List them, those that were live last first
    #[command(after_help = "Example:\n  pipewright versions list --json | jq -r '.versions[0].version'")]
    List(List),
    /// Show one: when it was live, its files, how its deliveries ended
    #[command(after_help = "Examples:\n  pipewright versions show live\n  pipewright versions show 3f2a9c")]
    Show(Show),
    /// Show what differs between two, file by file; `live` is the live one, `files` what lies in the folder
    #[command(after_help = "\
Examples:
  pipewright versions diff live files
  pipewright versions diff 3f2a9c       from then to the live one

Exits with 1 when they differ.")]
    Diff(Diff),
}

#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    daemon: Daemon,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct Show {
    /// The beginning of its hash, or `live`
    #[arg(id = "of", value_name = "VERSION")]
    version: String,
    #[command(flatten)]
    daemon: Daemon,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Args)]
pub(super) struct Diff {
    /// Before: the beginning of a hash, `live` or `files`
    before: String,
    /// After: the same
    #[arg(default_value = LIVE_WORD)]
    after: String,
    #[command(flatten)]
    daemon: Daemon,
    #[command(flatten)]
    format: Format,
}

pub(super) fn run(command: &Versions) -> Outcome {
    match command {
        Versions::List(args) => list(args),
        Versions::Show(args) => show(args),
        Versions::Diff(args) => diff(args),
    }
}

fn list(args: &List) -> Outcome {
    let answer = args.daemon.get("/api/versions")?;
    if args.format.json && answer.status == 200 {
        return Ok(say_json(&answer.body)?);
    }
    let list: VersionList = answer.read()?;
    // Files that cannot be read are no version; `status` and `check` say what is wrong with them.
    let on_disk = SetFiles::read(args.daemon.dir()).ok().map(|files| files.version());
    let mut table = Table::new(["VERSION", "LAST LIVE", "TIMES", "FIRST LIVE", "DELIVERIES", ""]);
    for detail in &list.versions {
        let kept = &detail.kept;
        let notes = [(detail.live, "live"), (detail.pinned, "pinned"), (on_disk.as_ref() == Some(&kept.version), "on disk")];
        let notes: Vec<&str> = notes.into_iter().filter(|(is, _)| *is).map(|(_, note)| note).collect();
        table.row([
            kept.version.to_string(),
            time(kept.last_live_at()),
            kept.went_live.len().to_string(),
            time(kept.first_live_at),
            ended(detail),
            notes.join(", "),
        ]);
    }
    say(&table.render())?;
    if let Some(files) = on_disk.filter(|files| !list.versions.iter().any(|detail| detail.kept.version == *files)) {
        complain(&format!("the files on disk ({files}) were never live"));
    }
    Ok(())
}

/// `12 done, 1 dead`.
fn ended(detail: &VersionDetail) -> String {
    let mut states: BTreeMap<&str, u64> = BTreeMap::new();
    for count in &detail.outcomes {
        *states.entry(count.state.as_str()).or_default() += count.deliveries;
    }
    states.iter().map(|(state, count)| format!("{count} {state}")).collect::<Vec<_>>().join(", ")
}

fn show(args: &Show) -> Outcome {
    let answer = args.daemon.get(&format!("/api/versions/{}", segment(&args.version)))?;
    if args.format.json && answer.status == 200 {
        return Ok(say_json(&answer.body)?);
    }
    let detail: VersionDetail = answer.read()?;
    let kept = &detail.kept;
    let notes = [(detail.live, " (live)"), (detail.pinned, " (pinned)")];
    let notes: String = notes.into_iter().filter(|(is, _)| *is).map(|(_, note)| note).collect();
    let mut text = format!("version      {}{notes}\nfirst live   {}\n", kept.version.0, time(kept.first_live_at));
    for live in kept.went_live.iter().rev() {
        let by = if live.by == LiveBy::Rollback { ", by a rollback" } else { "" };
        text.push_str(&format!("went live    {}{by}\n", time(live.at)));
    }
    let mut outcomes = Table::new(["RULE", "ENDED", "DELIVERIES"]);
    for count in &detail.outcomes {
        outcomes.row([count.rule.to_string(), count.state.to_string(), count.deliveries.to_string()]);
    }
    let mut files = Table::new(["FILE", "SIZE", "HASH"]);
    for (path, file) in &kept.files {
        files.row([path.clone(), size(file.bytes), file.hash.chars().take(12).collect()]);
    }
    for table in [outcomes, files].iter().filter(|table| !table.is_empty()) {
        text.push('\n');
        text.push_str(&table.render());
    }
    Ok(say(&text)?)
}

/// A side of a diff: how it is called, and its texts.
struct Side {
    name: String,
    files: BTreeMap<String, String>,
}

fn side(daemon: &Daemon, asked: &str) -> Result<Side, Failure> {
    if asked == FILES_WORD {
        let files = SetFiles::read(daemon.dir()).map_err(Failure::refused)?;
        return Ok(Side { name: format!("files {}", files.version()), files: set_texts(&files) });
    }
    let found: VersionFiles = daemon.get(&format!("/api/versions/{}/files", segment(asked)))?.read()?;
    Ok(Side { name: found.version.to_string(), files: found.files })
}

fn diff(args: &Diff) -> Outcome {
    let (before, after) = (side(&args.daemon, &args.before)?, side(&args.daemon, &args.after)?);
    let paths: BTreeSet<&String> = before.files.keys().chain(after.files.keys()).collect();
    let text = |side: &Side, path: &str| side.files.get(path).cloned().unwrap_or_default();
    let differs: Vec<(&String, String)> = paths
        .into_iter()
        .filter(|path| before.files.get(*path) != after.files.get(*path))
        .map(|path| {
            let names = [&before, &after].map(|side| format!("{path} ({})", side.name));
            (path, unified((&names[0], &text(&before, path)), (&names[1], &text(&after, path))))
        })
        .collect();
    if args.format.json {
        let one = |(path, diff): &(&String, String)| json!({ "file": path, "before": before.files.get(*path), "after": after.files.get(*path), "diff": diff });
        let files: Vec<_> = differs.iter().map(one).collect();
        say_json(&json!({ "before": before.name, "after": after.name, "files": files }))?;
    } else if differs.is_empty() {
        say(&format!("no difference between {} and {}", before.name, after.name))?;
    } else {
        say(&differs.iter().map(|(_, diff)| diff.as_str()).collect::<String>())?;
    }
    if differs.is_empty() { Ok(()) } else { Err(Failure::Code(FOUND)) }
}
