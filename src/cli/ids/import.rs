//! `pipewright ids import`

use std::collections::HashSet;
use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use serde_json::json;

use super::file::{self, Columns, Rows};
use crate::cli::Format;
use crate::cli::account::{choose, config};
use crate::cli::client::Daemon;
use crate::cli::exit::{FOUND, Failure, Outcome};
use crate::cli::output::{Table, complain, say, say_json};
use crate::console::IdsRequest;
use crate::delivery::{IdPair, Imported};
use crate::pipedrive::{Kind, Request, tokens};
use crate::plan;

/// Rows in one request: as many as Pipedrive reads by their ids at once.
const AT_ONCE: usize = 100;
/// Kinds of records that events stand for.
const KINDS: [&str; 4] = ["person", "organization", "deal", "lead"];

/// Tell which records in Pipedrive your ids stand for, so that the first event of each finds it
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pipewright ids import people.csv
  pipewright ids import people.csv --yes
  pipewright ids import companies.csv --kind organization --segment-column 'Group' --pipedrive-column 'ID' --yes

The file is CSV with a header (comma, semicolon or tab), one row a record:

  segment_id,pipedrive_id
  u-1,4711

Without --yes it is only said which rows cannot be taken, and what looking at the records will cost. The running daemon takes the rows \
into its index; nothing is written to Pipedrive. The match field of a record that has none is filled by the first event that updates it. A row \
whose record is not there or holds another id is refused, and the rest is taken; what only the records show is found with --yes. It can be repeated.

Exit code 1: rows were refused.")]
pub(in crate::cli) struct Import {
    /// CSV file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Kind of the records
    #[arg(long, value_name = "KIND", default_value = "person", value_parser = PossibleValuesParser::new(KINDS).try_map(|word| Kind::parse(&word).ok_or("no kind")))]
    kind: Kind,
    /// Account in rules.toml; may be left out when there is one
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// Field of the records that rules match your ids on [default: that of match_fields in rules.toml]
    #[arg(long, value_name = "FIELD")]
    field: Option<String>,
    /// Column of your ids
    #[arg(long, value_name = "COLUMN", default_value = "segment_id")]
    segment_column: String,
    /// Column of Pipedrive's ids
    #[arg(long, value_name = "COLUMN", default_value = "pipedrive_id")]
    pipedrive_column: String,
    /// Take the rows as they are: whether the records are there shows with their first events
    #[arg(long)]
    no_verify: bool,
    /// Do import
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    daemon: Daemon,
    #[command(flatten)]
    format: Format,
}

pub(super) fn run(args: &Import) -> Outcome {
    let config = config(args.daemon.dir())?;
    let (account, chosen) = choose(&config, args.account.as_deref())?;
    let field = args.field.as_deref().unwrap_or_else(|| plan::match_field(args.kind, &chosen.match_fields));
    let columns = Columns { segment: &args.segment_column, pipedrive: &args.pipedrive_column };
    let mut rows = file::read(&args.file, &columns)?;
    let what = format!("{} of account {account}, by `{field}`", plan::plural(args.kind));
    let mut sum = Imported { unchanged: rows.repeated, ..Imported::default() };
    let good = std::mem::take(&mut rows.good);
    // Asked also without rows: whether the field will do is seen by it.
    let chunks: Vec<&[(u64, IdPair)]> = if good.is_empty() { vec![&[]] } else { good.chunks(AT_ONCE).collect() };
    for (done, chunk) in chunks.into_iter().enumerate() {
        let request = IdsRequest {
            account: account.to_owned(),
            kind: args.kind,
            field: args.field.clone(),
            verify: !args.no_verify,
            dry_run: !args.yes,
            rows: chunk.iter().map(|(_, pair)| pair.clone()).collect::<Vec<IdPair>>(),
        };
        let answer = args.daemon.post("/api/ids", &request).and_then(|answer| answer.read::<Imported>());
        let answer = answer.map_err(|failure| match failure {
            Failure::Found(reason) if done > 0 && args.yes => Failure::Found(format!(
                "the first {} rows are done, then: {reason}\nRun it again: what is imported stays.",
                done * AT_ONCE
            )),
            failure => failure,
        })?;
        sum.imported += answer.imported;
        sum.unchanged += answer.unchanged;
        sum.tokens += answer.tokens;
        rows.bad.extend(answer.refused.into_iter().map(|refused| (chunk[refused.at].0, refused.reason)));
        if args.yes && good.len() > AT_ONCE && !args.format.json {
            complain(&format!("{} of {} rows", (done * AT_ONCE) + chunk.len(), good.len()));
        }
    }
    rows.bad.sort();
    let lines: HashSet<u64> = rows.bad.iter().map(|(line, _)| *line).collect();
    let bad = |line: u64| lines.contains(&line);
    rows.good = good.into_iter().filter(|(line, _)| !bad(*line)).collect();
    let shared = rows.shared.iter().copied().filter(|(line, first)| !bad(*line) && !bad(*first)).collect();
    rows.shared = shared;
    if args.yes { report(args, &rows, &sum, &what) } else { estimate(args, &rows, &what) }
}

/// What looking at the records costs at most.
fn cost(args: &Import, rows: &Rows) -> u64 {
    let price = |path: &str| u64::from(tokens(&Request::get(path)));
    match args.kind {
        _ if args.no_verify => 0,
        kind if kind.is_v2() => rows.good.len().div_ceil(AT_ONCE) as u64 * price(kind.path()),
        kind => rows.good.len() as u64 * price(&format!("{}/1", kind.path())),
    }
}

fn estimate(args: &Import, rows: &Rows, what: &str) -> Outcome {
    let (good, tokens) = (rows.good.len(), cost(args, rows));
    if args.format.json {
        say_json(
            &json!({ "started": false, "rows": good, "repeated": rows.repeated, "tokens_at_most": tokens, "refused": refused(rows),
                "shared": shared(rows) }),
        )?;
    } else {
        say(&format!(
            "{good} rows for {what}. Looking at the records costs at most {tokens} tokens.\nAdd --yes to import them."
        ))?;
        table(rows)?;
    }
    if rows.bad.is_empty() { Ok(()) } else { Err(Failure::Code(FOUND)) }
}

fn report(args: &Import, rows: &Rows, sum: &Imported, what: &str) -> Outcome {
    let Imported { imported, unchanged, tokens, .. } = sum;
    if args.format.json {
        let refused = refused(rows);
        say_json(
            &json!({ "started": true, "imported": imported, "unchanged": unchanged, "tokens": tokens, "refused": refused, "shared": shared(rows) }),
        )?;
    } else {
        say(&format!("{what}: {imported} imported, {unchanged} known before, {} refused, {tokens} tokens", rows.bad.len()))?;
        table(rows)?;
    }
    if rows.bad.is_empty() { Ok(()) } else { Err(Failure::Code(FOUND)) }
}

fn refused(rows: &Rows) -> Vec<serde_json::Value> {
    rows.bad.iter().map(|(line, reason)| json!({ "line": line, "reason": reason })).collect()
}

fn shared(rows: &Rows) -> Vec<serde_json::Value> {
    rows.shared.iter().map(|(line, first)| json!({ "line": line, "shares_with_line": first })).collect()
}

fn table(rows: &Rows) -> std::io::Result<()> {
    if !rows.shared.is_empty() {
        let mut table = Table::new(["LINE", "LOOK AT"]);
        for (line, first) in &rows.shared {
            table
                .row([line.to_string(), format!("line {first} gives the same record another id: what both do is written to it")]);
        }
        say(&format!("\n{}", table.render()))?;
    }
    if rows.bad.is_empty() {
        return Ok(());
    }
    let mut table = Table::new(["LINE", "REFUSED BECAUSE"]);
    rows.bad.iter().for_each(|(line, reason)| table.row([line.to_string(), reason.clone()]));
    say(&format!("\n{}", table.render()))
}
