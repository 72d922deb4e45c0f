//! `pipewright import-segment`

use std::fs;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::exit::{FOUND, Failure, Outcome};
use super::output::{complain, printable, say, say_json};
use super::{Format, account};
use crate::mock::MockOptions;
use crate::pipedrive::Kind;
use crate::segment::{self, Import, Report, Wishes};

/// Turn an exported Segment destination into rules, scripts and tests
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pipewright import-segment subscriptions.json destination.json
  pipewright import-segment subscriptions.json destination.json --out my-rules
  pipewright import-segment segment/*.tf --out my-rules --kind \"Sync users=person\"
  pipewright import-segment subscriptions.json --out my-rules --match person=\"Segment User ID\"

Files are answers of Segment's Public API (a destination, and its subscriptions) or Terraform files of its Git Sync. Without --out \
nothing is written and the report shows what would be. Exits with 1 when a subscription was refused; the others are written.")]
pub(super) struct ImportSegment {
    /// Exported configuration, JSON or Terraform
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Folder to write to: rules.toml and scripts/
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// What a subscription writes, where the export does not tell: person, organization, deal, lead, activity or note
    #[arg(long = "kind", value_name = "NAME=KIND", value_parser = named_kind)]
    kinds: Vec<(String, Kind)>,
    /// The field to look persons, organizations or deals up by, in place of the destination's setting
    #[arg(long = "match", value_name = "KIND=FIELD", value_parser = matched)]
    match_fields: Vec<(Kind, String)>,
    /// Overwrite files that are there
    #[arg(long, requires = "out")]
    force: bool,
    #[command(flatten)]
    format: Format,
}

fn kind(text: &str) -> Result<Kind, String> {
    [Kind::Person, Kind::Organization, Kind::Deal, Kind::Lead, Kind::Activity, Kind::Note]
        .into_iter()
        .find(|kind| kind.as_str() == text)
        .ok_or_else(|| format!("`{text}` is none of person, organization, deal, lead, activity, note"))
}

fn named_kind(text: &str) -> Result<(String, Kind), String> {
    let (name, word) = text.rsplit_once('=').ok_or("write NAME=KIND, such as \"Sync users=person\"")?;
    Ok((name.to_owned(), kind(word)?))
}

fn matched(text: &str) -> Result<(Kind, String), String> {
    let (word, field) = text.split_once('=').ok_or("write KIND=FIELD, such as person=\"Segment User ID\"")?;
    match kind(word)? {
        kind @ (Kind::Person | Kind::Organization | Kind::Deal) if !field.is_empty() => Ok((kind, field.to_owned())),
        _ => Err("the kind is person, organization or deal, and the field is not empty".to_owned()),
    }
}

pub(super) fn run(args: ImportSegment) -> Outcome {
    let mut files = Vec::with_capacity(args.files.len());
    for path in &args.files {
        let text = fs::read_to_string(path).map_err(|e| Failure::wrong(format!("{} cannot be read: {e}", path.display())))?;
        files.push((path.display().to_string(), text));
    }
    let wishes = Wishes { kinds: args.kinds, match_fields: args.match_fields };
    let import = segment::import(&files, &wishes, &account::of_mock(MockOptions::unlimited())?)
        .map_err(|wrong| Failure::wrong(wrong.join("\nerror: ")))?;
    if let Some(unknown) = wishes.kinds.iter().find(|(name, _)| import.subscriptions.iter().all(|s| s.name != *name)) {
        return Err(Failure::wrong(format!("--kind: no subscription is called \"{}\"", unknown.0)));
    }
    if let Some(dir) = &args.out {
        let there: Vec<String> = import
            .files
            .iter()
            .map(|(path, _)| dir.join(path))
            .filter(|path| path.symlink_metadata().is_ok())
            .map(|path| path.display().to_string())
            .collect();
        if !there.is_empty() && !args.force {
            let text = format!("these are there already, and nothing was written: {}; --force overwrites them", there.join(", "));
            return Err(Failure::wrong(text));
        }
        for (path, text) in &import.files {
            let path = dir.join(path);
            let failed = |e: std::io::Error| Failure::found(format!("{} cannot be written: {e}", path.display()));
            path.parent().map_or(Ok(()), fs::create_dir_all).map_err(failed)?;
            fs::write(&path, text).map_err(failed)?;
        }
    }
    let refused = import.subscriptions.iter().filter(|s| s.rule.is_none()).count();
    if args.format.json {
        let files: Vec<_> = import.files.iter().map(|(path, text)| json!({ "path": path, "text": text })).collect();
        say_json(&json!({ "ok": refused == 0, "written": args.out.is_some(), "report": import, "files": files }))?;
    } else {
        show(&import)?;
        match &args.out {
            Some(dir) => {
                let (dir, count) = (dir.display(), import.files.len());
                let mut next = format!(
                    "  pipewright check --dir {dir}\n  pipewright test --dir {dir}\n\nThen, with the account's api_token:\n"
                );
                if !import.create.is_empty() {
                    next.push_str(&format!("  pipewright fields ensure --dir {dir}      # --apply makes what is missing\n"));
                }
                next.push_str(&format!("  pipewright check --live --dir {dir}       # the names that the scripts use\n"));
                say(&format!("\n{count} files written to {dir}\n\nNext:\n{}", next.trim_end()))?;
            }
            None => {
                for (path, text) in &import.files {
                    say(&format!("\n--- {path}\n{text}"))?;
                }
                complain("nothing was written; --out DIR writes these files");
            }
        }
    }
    if refused > 0 { Err(Failure::Code(FOUND)) } else { Ok(()) }
}

fn show(import: &Import) -> std::io::Result<()> {
    for report in &import.subscriptions {
        say(&printable(&headline(report)))?;
        let lines = [("refused", &report.refused), ("look at", &report.warnings), ("mended", &report.mended)];
        for (word, texts) in lines {
            for text in texts {
                say(&format!("  {word}: {}", printable(text)))?;
            }
        }
    }
    for line in &import.create {
        say(&format!(
            "needed in Pipedrive (rules.toml declares it, `pipewright fields ensure --apply` makes it): {}",
            printable(line)
        ))?;
    }
    for line in &import.warnings {
        say(&format!("look at: {}", printable(line)))?;
    }
    Ok(())
}

fn headline(report: &Report) -> String {
    let place = if report.path.is_empty() { report.file.clone() } else { format!("{}, {}", report.file, report.path) };
    match (&report.rule, &report.script) {
        (Some(rule), Some(script)) => {
            let off = if report.enabled { "" } else { " (off)" };
            format!("\"{}\" ({place}): rule {rule}{off}, {script}", report.name)
        }
        _ => format!("\"{}\" ({place}): refused, nothing was made of it", report.name),
    }
}
