//! `pipewright fields ensure`
//!
//! Invariants: without `--apply` nothing is sent but reads; nothing is ever renamed, retyped or deleted; what was made before a
//! failure is said, and is in the schema file where there is one; of two commands in one folder the second begins when the first has
//! ended, so that nothing is made twice.

use std::fs::{File, TryLockError};
use std::path::Path;

use clap::Args;
use serde::Serialize;
use serde_json::json;

use super::super::account::{self, Connection};
use super::super::exit::{FOUND, Failure, Outcome};
use super::super::output::{Table, complain, printable, say, say_json};
use super::super::{Folder, Format};
use super::pinned::Pinned;
use crate::config::{AccountConfig, DeclaredField, Places};
use crate::crm::{
    Became, FieldState, Metadata, State, add_to_field, compare, create_field, fetch_custom_fields, pin, place_in_schema,
    unmatched,
};
use crate::diagnostic::{Diagnostic, did_you_mean, render_all};
use crate::failure::FailureClass;
use crate::pipedrive::{ApiError, ErrorKind, Kind};
use crate::plan::plural;
use crate::rules::{SchemaFile, read_schema_file};

const RULES_TOML: &str = "rules.toml";

/// Compare the custom fields that rules.toml declares with the account's; with --apply, make what is missing
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pipewright fields ensure              what is there, what is missing, what it would cost
  pipewright fields ensure --apply      makes missing fields and options, one after the other
  pipewright fields ensure --account eu --json

Fields are declared in rules.toml, under [pipedrive.NAME.fields]. Nothing is ever renamed, deleted or given another type, and \
options that are not declared stay. A field whose name schema.json pins is found under its new name. Reading costs 32 of the \
account's daily tokens; Pipedrive lets only admin users make fields. `writes` in rules.toml is about events and does not matter here: \
what --apply makes was asked for. A second --apply in the same folder waits for the first; two from different folders may make a field twice.

Exit code 1: something is missing, is of another type, or could not be made.")]
pub(in crate::cli) struct Ensure {
    #[command(flatten)]
    folder: Folder,
    /// Account in rules.toml; may be left out when there is one
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// Make what is missing
    #[arg(long)]
    apply: bool,
    #[command(flatten)]
    format: Format,
}

/// One thing that was made.
#[derive(Debug, Serialize)]
struct Made {
    kind: Kind,
    field: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    option: Option<String>,
    key: String,
}

pub(super) fn run(args: &Ensure) -> Outcome {
    let dir = &args.folder.dir;
    let (config, text) = account::config_and_text(dir)?;
    let (name, chosen) = account::choose(&config, args.account.as_deref())?;
    let places = Places::new(RULES_TOML, &text);
    let refused = |problems| Failure::refused_as(args.format, problems);
    let _alone = if args.apply { Some(alone(dir)?) } else { None };
    let schema = read_schema_file(dir, &config, name).map_err(refused)?;
    let connection = Connection::open(dir, Some(name))?;
    let answer = connection.call(async |session| fetch_custom_fields(session).await)?;
    if let Some(SchemaFile { file, text, schema }) = &schema
        && let Some(change) = pin(schema, &answer).1.iter().find(|c| matches!(c.became, Became::Foreign { .. }))
    {
        return Err(refused(vec![place_in_schema(Diagnostic::error(change.to_string()), file, text, &change.at)]));
    }
    let schema = schema.map(|file| Pinned::new(dir, file));
    let mut work = Work { name, config: chosen, places: &places, answer, schema, made: Vec::new() };
    let stopped = if args.apply { work.make_all(&connection).err() } else { None };
    report(args, &work, stopped)
}

/// Held while fields are made: of two commands in one folder the second looks at the account when the first has ended.
fn alone(dir: &Path) -> Result<File, Failure> {
    let path = dir.join(RULES_TOML);
    let failed = |error| Failure::found(format!("{} cannot be locked: {error}", path.display()));
    let file = File::open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            complain("another `fields ensure --apply` is under way in this folder; waiting for its end");
            file.lock().map_err(failed)?;
        }
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    Ok(file)
}

/// One account's fields, while they are compared and made.
struct Work<'a> {
    name: &'a str,
    config: &'a AccountConfig,
    places: &'a Places,
    /// What the account has, with what was made since.
    answer: Metadata,
    schema: Option<Pinned>,
    made: Vec<Made>,
}

impl Work<'_> {
    /// The account's answer with the names that the schema file pins.
    fn known(&self) -> Metadata {
        self.schema.as_ref().map_or_else(|| self.answer.clone(), |file| pin(file.schema(), &self.answer).0)
    }

    fn states(&self) -> Vec<FieldState> {
        compare(self.config, &self.known(), &self.answer)
    }

    fn declared(&self, state: &FieldState) -> Option<&DeclaredField> {
        let of_kind = self.config.fields.by_kind().into_iter().find(|(word, _)| Kind::parse(word) == Some(state.kind));
        of_kind.and_then(|(_, list)| list.get(state.place))
    }

    /// Makes what is missing, one after the other, up to the first failure.
    fn make_all(&mut self, connection: &Connection) -> Result<(), Stopped> {
        for state in &self.states() {
            // Made by a command that was killed before the file had it, or by somebody else.
            if let Some(key) = &state.key {
                self.keep(state, key)?;
            }
            match &state.state {
                State::Missing => self.make_field(connection, state)?,
                State::LacksOptions { options } => {
                    for label in options {
                        self.make_option(connection, state, label)?;
                    }
                }
                State::There | State::OtherType { .. } | State::Ambiguous { .. } => {}
            }
        }
        Ok(())
    }

    /// Sees to it that the schema file has a field of the account, with the options that are declared.
    fn keep(&mut self, state: &FieldState, key: &str) -> Result<(), Stopped> {
        let labels = self.declared(state).map(|declared| declared.options.clone()).unwrap_or_default();
        let (Some(file), Some(field)) = (&mut self.schema, self.answer.custom_field(state.kind, key)) else { return Ok(()) };
        let what = || format!("the {} field `{}`", state.kind, state.name);
        file.add(&self.answer, state.kind, field, &labels).map_err(|reason| Stopped::NotKept { what: what(), reason })
    }

    fn make_field(&mut self, connection: &Connection, state: &FieldState) -> Result<(), Stopped> {
        let Some(declared) = self.declared(state).cloned() else { return Ok(()) };
        let what = format!("the {} field `{}`", state.kind, state.name);
        let made = connection.try_call(async |session| create_field(session, state.kind, &declared).await);
        let field = made.map_err(|error| Stopped::NotMade { what: what.clone(), error })?;
        complain(&format!("made {}, key {}", printable(&what), field.key));
        let key = field.key.clone();
        self.made.push(Made { kind: state.kind, field: state.name.clone(), option: None, key: key.clone() });
        self.answer.fields.entry(state.kind).or_default().push(field);
        self.keep(state, &key)
    }

    fn make_option(&mut self, connection: &Connection, state: &FieldState, label: &str) -> Result<(), Stopped> {
        let Some(key) = &state.key else { return Ok(()) };
        let what = format!("the option `{label}` of the {} field `{}`", state.kind, state.name);
        let added = connection.try_call(async |session| add_to_field(session, state.kind, key, label).await);
        let (added, options) = added.map_err(|error| Stopped::NotMade { what: what.clone(), error })?;
        complain(&format!("{} {}", if added { "made" } else { "there by now:" }, printable(&what)));
        if added {
            self.made.push(Made {
                kind: state.kind,
                field: state.name.clone(),
                option: Some(label.to_owned()),
                key: key.clone(),
            });
        }
        let fields = self.answer.fields.entry(state.kind).or_default();
        if let Some(field) = fields.iter_mut().find(|field| field.key == *key) {
            field.options = options;
        }
        self.keep(state, key)
    }
}

/// What ended it half way.
enum Stopped {
    /// Something could not be made.
    NotMade { what: String, error: ApiError },
    /// The account has it, and the schema file does not.
    NotKept { what: String, reason: String },
}

impl Stopped {
    fn say(&self, name: &str, made: &[Made]) -> String {
        let (problem, then) = match self {
            Self::NotMade { what, error } => {
                let then = match (error.class(), &error.kind) {
                    (FailureClass::UnknownOutcome, _) => {
                        "whether it was made is not known; the same command looks before it makes anything"
                    }
                    (_, ErrorKind::Account { status: 403, .. }) => {
                        "fields are made by admin users, and within the limits of the plan"
                    }
                    _ => "when that is mended, the same command goes on where it stopped",
                };
                (format!("{what} could not be made: {}", account::reason(error)), then)
            }
            Self::NotKept { what, reason } => {
                (format!("{what} is in the account, and {reason}"), "when that is mended, the same command adds it to the file")
            }
        };
        let so_far = match made.len() {
            0 => "nothing was made".to_owned(),
            _ => format!("made so far: {}", made.iter().map(Made::shown).collect::<Vec<_>>().join(", ")),
        };
        format!("account {name}: {problem}\n{so_far}; {then}")
    }
}

impl Made {
    fn shown(&self) -> String {
        match &self.option {
            Some(option) => format!("option `{option}` of `{}`", self.field),
            None => format!("{} field `{}`", self.kind, self.field),
        }
    }
}

fn report(args: &Ensure, work: &Work<'_>, stopped: Option<Stopped>) -> Outcome {
    let file = work.schema.as_ref().and_then(Pinned::written);
    let states = work.states();
    let problems = problems(work, &states);
    let lacks: usize = states.iter().map(FieldState::lacks).sum();
    let cost: u32 = states.iter().map(FieldState::cost).sum();
    let stopped = stopped.map(|stopped| stopped.say(work.name, &work.made));
    let fine = problems.is_empty() && lacks == 0 && stopped.is_none();
    if args.format.json {
        say_json(&json!({
            "ok": fine, "account": work.name, "fields": states, "missing": lacks, "tokens": cost, "made": work.made,
            "schema_file": file, "error": stopped, "diagnostics": problems,
        }))?;
        return if fine { Ok(()) } else { Err(Failure::Code(FOUND)) };
    }
    if states.is_empty() {
        complain(&format!("rules.toml declares no fields under [pipedrive.{}.fields]", work.name));
    } else {
        say(&table(&states).render())?;
    }
    if !problems.is_empty() {
        complain(&render_all(&problems));
    }
    if let (true, Some(file)) = (work.made.is_empty(), file) {
        say(&format!("{file} lacked what the account has of it, and has it now: commit it"))?;
    }
    if !work.made.is_empty() {
        let what =
            if work.made.len() == 1 { "1 thing was made".to_owned() } else { format!("{} things were made", work.made.len()) };
        match file {
            Some(file) => say(&format!("{what}, and {file} has it: commit it"))?,
            None => say(&format!("{what}; `pipewright fields pull` writes a schema file that has it"))?,
        }
    }
    if let Some(stopped) = stopped {
        return Err(Failure::found(stopped));
    }
    if lacks > 0 {
        let them = if lacks == 1 { "it" } else { "them" };
        say(&format!(
            "{lacks} missing: `pipewright fields ensure --apply` makes {them}, for {cost} of the account's daily tokens"
        ))?;
    }
    if fine { Ok(()) } else { Err(Failure::Code(FOUND)) }
}

fn table(states: &[FieldState]) -> Table {
    let mut table = Table::new(["KIND", "FIELD", "TYPE", "STATE"]);
    for state in states {
        let now = state.now.as_ref().map(|now| format!(", called {now} in Pipedrive now")).unwrap_or_default();
        let how = match &state.state {
            State::There => format!("there{now}"),
            State::Missing => "missing".to_owned(),
            State::LacksOptions { options } => format!("there{now}; options missing: {}", options.join(", ")),
            State::OtherType { found } => format!("there{now}, of type {found}"),
            State::Ambiguous { fields } => format!("{} fields have this name", fields.len()),
        };
        table.row([state.kind.to_string(), state.name.clone(), state.field_type.to_string(), how]);
    }
    table
}

/// What no `--apply` mends.
fn problems(work: &Work<'_>, states: &[FieldState]) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for state in states {
        let (kind, name, place) = (state.kind, &state.name, state.place.to_string());
        let at = |d: Diagnostic, key: &str| work.places.at(d, &["pipedrive", work.name, "fields", kind.as_str(), &place, key]);
        match &state.state {
            State::OtherType { found: other } => {
                let key = state.key.as_deref().unwrap_or_default();
                let declared = &state.field_type;
                let d = Diagnostic::error(format!(
                    "the {kind} field `{name}` is declared as {declared}, and is {other} in Pipedrive"
                ))
                .note(format!("its key is {key}"))
                .help("a type is never changed: declare the one that it has, or declare a field of another name");
                found.push(at(d, "type"));
            }
            State::Ambiguous { fields } => {
                let keys = fields.iter().map(|(key, field_type)| format!("{key} ({field_type})")).collect::<Vec<_>>().join(", ");
                let d = Diagnostic::error(format!("{} have {} custom fields named `{name}`", plural(kind), fields.len()))
                    .note(format!("their keys: {keys}"))
                    .help("rename or delete all but one in Pipedrive; scripts can name one by its key meanwhile");
                found.push(at(d, "name"));
            }
            State::There | State::Missing | State::LacksOptions { .. } => {}
        }
    }
    let known = work.known();
    for (kind, field) in unmatched(work.config, &known) {
        let list =
            work.config.fields.by_kind().into_iter().find(|(word, _)| *word == kind.as_str()).map_or(&[][..], |(_, list)| list);
        let custom = known.fields_of(kind).iter().filter(|f| f.custom).map(|f| f.name.as_str());
        let help = match did_you_mean(&field, list.iter().map(|f| f.name.as_str()).chain(custom)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!(
                "declare it under [pipedrive.{}.fields]: {kind} = [{{ name = \"{field}\", type = \"varchar\" }}]; or match by \"id\"",
                work.name
            ),
        };
        let d = Diagnostic::error(format!(
            "`{field}`, by which {} are matched, is neither declared nor in the account",
            plural(kind)
        ));
        found.push(work.places.at(d.help(help), &["pipedrive", work.name, "match_fields", kind.as_str()]));
    }
    found
}
