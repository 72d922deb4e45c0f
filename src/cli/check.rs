//! `pipewright check`

use std::collections::BTreeMap;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::exit::{FOUND, Failure, Outcome};
use super::output::{complain, say, say_json};
use super::{Folder, Format, account, annotations};
use crate::crm::{Became, Metadata, SchemaChange, pin, place_in_schema};
use crate::diagnostic::{Code, Diagnostic, render_all};
use crate::rules::{self, BuildOptions, Built, ScriptSet, SetFiles};
use crate::testing;

/// Check rules.toml and scripts: syntax, triggers, functions, variables, names of the account, and rules without a test
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pipewright check
  pipewright check --mock               field names, options, owners against the embedded Pipedrive
  pipewright fields pull && pipewright check
                                        against the schema file, from then on without the account
  pipewright check --live --json        against the accounts in rules.toml (reads only)
  pipewright check --format github      annotations for a pull request, in a GitHub workflow
  pipewright check --no-tests           without running the tests, which says what rules have none

Every finding has a code; `pipewright explain CODE` says what it means, with an example and how to mend it.

Exits with 2 when rules.toml is wrong, with 1 when a script is. Warnings alone are no failure.")]
pub(super) struct Check {
    #[command(flatten)]
    folder: Folder,
    /// Check names against the embedded Pipedrive
    #[arg(long)]
    mock: bool,
    /// Check names against the accounts in rules.toml; needs their tokens
    #[arg(long, conflicts_with = "mock")]
    live: bool,
    /// Do not run the tests in scripts/tests/: rules that have none are not named
    #[arg(long)]
    no_tests: bool,
    /// How findings are written
    #[arg(long = "format", value_name = "FORM", conflicts_with = "json", default_value = "human")]
    form: Form,
    #[command(flatten)]
    format: Format,
}

/// How findings are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// For people
    Human,
    /// Annotations of a GitHub workflow, on standard output
    Github,
}

pub(super) fn run(args: &Check) -> Outcome {
    let checked = match SetFiles::read(&args.folder.dir) {
        // Without --live nothing is sent anywhere: secrets that are not set here may well be set where the daemon runs.
        Ok(files) => ScriptSet::build(files, &BuildOptions { dir: args.folder.dir.clone(), mock: !args.live, metadata: None }),
        Err(diagnostics) => Err(diagnostics),
    };
    let Built { set, warnings: mut found } = match checked {
        Ok(built) => built,
        Err(diagnostics) => return refuse(args, diagnostics),
    };
    let answers = answers(args, &set)?;
    let mut metadata = set.pinned(&answers);
    if !args.live && !args.mock {
        metadata.extend(set.schemas.clone());
    }
    if !metadata.is_empty() {
        // The build has found what the files alone show; this finds it again, with what the accounts show.
        found = rules::check(&set, &metadata);
    }
    if args.live {
        found.extend(answers.iter().flat_map(|(name, answer)| drifted(&set, name, answer)));
    }
    let by_schema = !args.live && set.files.mock_schema().is_some() || answers.is_empty() && !set.schemas.is_empty();
    if found.iter().any(Diagnostic::is_error) {
        // The set was built, so what is wrong is names.
        let files = set.files.schemas.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let says = format!("names were checked against {files}; `pipewright fields pull` when Pipedrive has more by now");
        let noted = |d: Diagnostic| if by_schema && d.is_error() { d.note(says.as_str()) } else { d };
        return refuse(args, found.into_iter().map(noted).collect());
    }
    let set = Arc::new(set);
    if !args.no_tests {
        found.extend(untested(args, &set));
    }
    tell(args, &found)?;
    let accounts: Vec<&String> = metadata.keys().collect();
    let enabled = set.rules.iter().filter(|r| r.config.enabled).count();
    let scripts = set.files.sources.scripts.len();
    if args.format.json {
        return Ok(say_json(&json!({
            "ok": true, "version": set.version, "rules": set.rules.len(), "enabled": enabled, "scripts": scripts,
            "accounts": accounts, "diagnostics": found,
        }))?);
    }
    let names = match (accounts.as_slice(), args.mock) {
        ([], _) => {
            "names not checked against an account (--mock or --live does, or a schema file: `pipewright fields pull`)".to_owned()
        }
        (_, true) if by_schema => "names checked against the schema file, as the embedded Pipedrive has it".to_owned(),
        (_, true) => "names checked against the embedded Pipedrive".to_owned(),
        (accounts, false) => {
            let names = accounts.iter().map(|a| a.as_str()).collect::<Vec<_>>().join(", ");
            format!("names checked against {names}{}", if by_schema { ", by the schema file" } else { "" })
        }
    };
    let warnings = match found.len() {
        0 => String::new(),
        1 => ", 1 warning".to_owned(),
        n => format!(", {n} warnings"),
    };
    Ok(say(&format!("ok: {} rules ({enabled} on), {scripts} scripts, set {}{warnings}\n{names}", set.rules.len(), set.version))?)
}

/// How an account differs from its schema file. What is new is counted: nothing can be wrong with it yet.
fn drifted(set: &ScriptSet, account: &str, answer: &Metadata) -> Vec<Diagnostic> {
    let (Some(schema), Some((file, text))) = (set.schemas.get(account), set.schema_file(account)) else { return Vec::new() };
    let (matter, new): (Vec<_>, Vec<_>) = pin(schema, answer).1.into_iter().partition(SchemaChange::matters);
    let severe = |c: &SchemaChange| match c.became {
        Became::Foreign { .. } => Diagnostic::error(c.to_string()).code(Code::Drift),
        _ => Diagnostic::warning(c.to_string()).code(Code::Drift),
    };
    let mut found: Vec<Diagnostic> = matter.iter().map(|c| place_in_schema(severe(c), file, text, &c.at)).collect();
    if let Some(first) = new.first() {
        let what = if new.len() == 1 { "1 thing".to_owned() } else { format!("{} things", new.len()) };
        let d = Diagnostic::warning(format!("{file} is older than the account, which has {what} more")).code(Code::Drift);
        let d = new.iter().fold(d, |d, c| d.note(format!("{} `{}`", c.what, c.name))).help("run `pipewright fields pull`");
        found.push(place_in_schema(d, file, text, &first.at));
    }
    found
}

fn answers(args: &Check, set: &ScriptSet) -> Result<BTreeMap<String, Arc<Metadata>>, Failure> {
    let mut all = BTreeMap::new();
    if args.mock {
        let mock = Arc::new(account::of_mock(set.mock_options())?);
        all.extend(set.config.pipedrive.keys().map(|name| (name.clone(), Arc::clone(&mock))));
    }
    if args.live {
        for (name, config) in &set.config.pipedrive {
            let token = set.tokens.get(name).ok_or_else(|| Failure::wrong(format!("[pipedrive.{name}] has no api_token")))?;
            all.insert(name.clone(), Arc::new(account::of_account(name, config, token)?));
        }
    }
    Ok(all)
}

/// The enabled rules that no test runs. What is wrong with the tests themselves is `pipewright test`'s to say, and so is that
/// there are none at all.
fn untested(args: &Check, set: &Arc<ScriptSet>) -> Vec<Diagnostic> {
    let Ok(run) = testing::run(set, &args.folder.dir, None) else { return Vec::new() };
    let none = run.results.is_empty() && run.uncompiled.is_empty();
    if none {
        return Vec::new();
    }
    rules::untested(set, &run.untested)
}

/// Shows findings that refuse nothing.
fn tell(args: &Check, found: &[Diagnostic]) -> std::io::Result<()> {
    match args.form {
        _ if args.format.json || found.is_empty() => Ok(()),
        Form::Github => say(&annotations::github(&args.folder.dir, found)),
        Form::Human => {
            complain(&render_all(found));
            Ok(())
        }
    }
}

fn refuse(args: &Check, diagnostics: Vec<Diagnostic>) -> Outcome {
    let format = args.format;
    let errors = diagnostics.iter().filter(|d| d.is_error()).count();
    if format.json {
        say_json(&json!({ "ok": false, "diagnostics": diagnostics }))?;
    } else {
        if args.form == Form::Github {
            tell(args, &diagnostics)?;
        }
        say(&format!("refused: {errors} error{}", if errors == 1 { "" } else { "s" }))?;
    }
    match Failure::refused(diagnostics) {
        Failure::Refused(_, code) if format.json || args.form == Form::Github => Err(Failure::Code(code)),
        Failure::Refused(diagnostics, code) => Err(Failure::Refused(diagnostics, code)),
        _ => Err(Failure::Code(FOUND)),
    }
}
