//! `pipewright fields pull`
//!
//! Invariants: the file is whole or as it was; it holds no records.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::super::exit::{Failure, Outcome};
use super::super::output::{printable, say, say_json};
use super::super::{Folder, Format, account};
use crate::crm::{Metadata, SchemaChange, pin, read_schema, write_schema};
use crate::rules::schema_file_name;

/// Write what an account has (fields, options, stages, users, labels; no records) to its schema file
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pipewright fields pull
  pipewright fields pull --account eu --json

The file is schema.json beside rules.toml, or schema.NAME.json when rules.toml has several accounts. Commit it with the scripts: \
check, test, try and serve --mock work from it without the account, and names in scripts go on meaning the fields that \
they meant when it was written, whatever they are called in Pipedrive later.

It holds names and e-mail addresses of the account's users, by which scripts name owners, and no other personal data. \
Reads only: 102 of the account's daily tokens.")]
pub(in crate::cli) struct Pull {
    #[command(flatten)]
    folder: Folder,
    /// Account in rules.toml; may be left out when there is one
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// Where to write, instead of the file that the other commands read
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    format: Format,
}

pub(super) fn run(args: &Pull) -> Outcome {
    let connection = account::Connection::open(&args.folder.dir, args.account.as_deref())?;
    let metadata = connection.metadata()?;
    let name = &connection.name;
    let file = schema_file_name(&account::config(&args.folder.dir)?, name);
    let path = args.out.clone().unwrap_or_else(|| args.folder.dir.join(&file));
    let shown = path.display().to_string();
    let text = write_schema(&metadata).map_err(Failure::found)?;
    let before = fs::read_to_string(&path).ok();
    let unchanged = before.as_deref() == Some(text.as_str());
    // What cannot be read is written anew: that is what its message advises.
    let former = before.as_deref().and_then(|text| read_schema(&shown, text).ok());
    let changes = former.map(|former| pin(&former, &metadata).1).unwrap_or_default();
    if !unchanged {
        super::replace(&path, &text).map_err(|e| Failure::found(format!("{} cannot be written: {e}", path.display())))?;
    }
    if args.format.json {
        return Ok(say_json(&json!({
            "account": name, "file": shown, "written": !unchanged, "counts": counts(&metadata).into_iter().collect::<BTreeMap<_, _>>(), "changes": changes,
        }))?);
    }
    for change in &changes {
        say(&printable(&line(change)))?;
    }
    let counts = counts(&metadata).into_iter().map(|(what, count)| format!("{count} {what}")).collect::<Vec<_>>().join(", ");
    let said = if unchanged { "is up to date" } else { "written" };
    Ok(say(&format!("{shown} {said}: {counts}; no records"))?)
}

/// What the file and the account's answer differed in, now that the file has it.
fn line(change: &SchemaChange) -> String {
    use crate::crm::Became::{Foreign, Gone, New, Renamed, Retyped};
    let SchemaChange { what, name, became, .. } = change;
    match became {
        Foreign { company } => format!("another account: the file was of the company {name}, and is of {company} now"),
        New => format!("new: {what} `{name}`"),
        Renamed { now } => format!("renamed: {what} `{name}` to `{now}`; change scripts that say `{name}`"),
        Retyped => format!("other type: {what} `{name}`"),
        Gone => format!("gone: {what} `{name}`"),
    }
}

fn counts(metadata: &Metadata) -> Vec<(&'static str, usize)> {
    let custom = metadata.fields.values().flatten().filter(|field| field.custom).count();
    let all: usize = metadata.fields.values().map(Vec::len).sum();
    vec![
        ("custom fields", custom),
        ("standard fields", all - custom),
        ("pipelines", metadata.pipelines.len()),
        ("stages", metadata.stages.len()),
        ("users", metadata.users.len()),
        ("lead labels", metadata.lead_labels.len()),
        ("activity types", metadata.activity_types.len()),
    ]
}
