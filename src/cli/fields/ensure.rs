//! `pipewright fields ensure`
//!
//! Invariants: without `--apply` nothing is sent but reads; nothing is ever renamed, retyped or deleted; what was made before a
//! failure is said, and is in the schema file where there is one.

use std::sync::Arc;

use clap::Args;
use serde::Serialize;
use serde_json::json;

use super::super::account::{self, Connection};
use super::super::exit::{FOUND, Failure, Outcome};
use super::super::output::{Table, complain, printable, say, say_json};
use super::super::{Folder, Format};
use crate::config::{AccountConfig, DeclaredField, Places};
use crate::crm::{
    Became, FieldState, Metadata, State, add_to_field, compare, create_field, fetch_custom_fields, pin, place_in_schema,
    same_name, unmatched, write_schema,
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
what --apply makes was asked for.

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
    let schema = read_schema_file(dir, &config, name).map_err(refused)?;
    let connection = Connection::open(dir, Some(name))?;
    let mut work = Work {
        name,
        config: chosen,
        places: &places,
        answer: connection.call(async |session| fetch_custom_fields(session).await)?,
        schema: schema.as_ref().map(|of_file| Arc::clone(&of_file.schema)),
        made: Vec::new(),
    };
    if let Some(SchemaFile { file, text, schema }) = &schema
        && let Some(change) = pin(schema, &work.answer).1.iter().find(|c| matches!(c.became, Became::Foreign { .. }))
    {
        return Err(refused(vec![place_in_schema(Diagnostic::error(change.to_string()), file, text, &change.at)]));
    }
    let before = work.states();
    let stopped = if args.apply { work.make_all(&connection, &before).err() } else { None };
    let file = match (&schema, &work.schema) {
        (Some(SchemaFile { file, text: before, .. }), Some(after)) if !work.made.is_empty() => {
            // Only what was made: names that the file pins stay pinned.
            let text = write_schema(after).map_err(Failure::found)?;
            if text != **before {
                super::replace(&dir.join(file), &text)?;
            }
            Some(file.as_str())
        }
        _ => None,
    };
    report(args, &work, file, stopped)
}

/// One account's fields, while they are compared and made.
struct Work<'a> {
    name: &'a str,
    config: &'a AccountConfig,
    places: &'a Places,
    /// What the account has, with what was made since.
    answer: Metadata,
    /// The same of the schema file.
    schema: Option<Arc<Metadata>>,
    made: Vec<Made>,
}

impl Work<'_> {
    /// The account's answer with the names that the schema file pins.
    fn known(&self) -> Metadata {
        self.schema.as_ref().map_or_else(|| self.answer.clone(), |schema| pin(schema, &self.answer).0)
    }

    fn states(&self) -> Vec<FieldState> {
        compare(self.config, &self.known(), &self.answer)
    }

    fn declared(&self, state: &FieldState) -> Option<&DeclaredField> {
        let of_kind = self.config.fields.by_kind().into_iter().find(|(word, _)| Kind::parse(word) == Some(state.kind));
        of_kind.and_then(|(_, list)| list.get(state.place))
    }

    /// Makes what is missing, one after the other, up to the first failure.
    fn make_all(&mut self, connection: &Connection, states: &[FieldState]) -> Result<(), Stopped> {
        for state in states {
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

    fn make_field(&mut self, connection: &Connection, state: &FieldState) -> Result<(), Stopped> {
        let Some(declared) = self.declared(state).cloned() else { return Ok(()) };
        let what = format!("the {} field `{}`", state.kind, state.name);
        let made = connection.try_call(async |session| create_field(session, state.kind, &declared).await);
        let field = made.map_err(|error| Stopped { what: what.clone(), error })?;
        complain(&format!("made {}, key {}", printable(&what), field.key));
        self.made.push(Made { kind: state.kind, field: state.name.clone(), option: None, key: field.key.clone() });
        if let Some(schema) = &mut self.schema {
            Arc::make_mut(schema).fields.entry(state.kind).or_default().push(field.clone());
        }
        self.answer.fields.entry(state.kind).or_default().push(field);
        Ok(())
    }

    fn make_option(&mut self, connection: &Connection, state: &FieldState, label: &str) -> Result<(), Stopped> {
        let Some(key) = &state.key else { return Ok(()) };
        let what = format!("the option `{label}` of the {} field `{}`", state.kind, state.name);
        let added = connection.try_call(async |session| add_to_field(session, state.kind, key, label).await);
        let (added, options) = added.map_err(|error| Stopped { what: what.clone(), error })?;
        complain(&format!("{} {}", if added { "made" } else { "there by now:" }, printable(&what)));
        if added {
            self.made.push(Made {
                kind: state.kind,
                field: state.name.clone(),
                option: Some(label.to_owned()),
                key: key.clone(),
            });
        }
        let field = |metadata: &mut Metadata| -> Option<usize> {
            metadata.fields.get(&state.kind)?.iter().position(|field| field.key == *key)
        };
        if let Some(schema) = &mut self.schema {
            let schema = Arc::make_mut(schema);
            let new = options.iter().filter(|option| same_name(&option.label, label)).cloned();
            if let Some(at) = field(schema)
                && let Some(field) = schema.fields.get_mut(&state.kind).and_then(|fields| fields.get_mut(at))
            {
                field.options.extend(new);
            }
        }
        if let Some(at) = field(&mut self.answer)
            && let Some(field) = self.answer.fields.get_mut(&state.kind).and_then(|fields| fields.get_mut(at))
        {
            field.options = options;
        }
        Ok(())
    }
}

/// What could not be made, and why.
struct Stopped {
    what: String,
    error: ApiError,
}

impl Stopped {
    fn say(&self, name: &str, made: &[Made]) -> String {
        let Self { what, error } = self;
        let then = match (error.class(), &error.kind) {
            (FailureClass::UnknownOutcome, _) => {
                "whether it was made is not known; the same command looks before it makes anything"
            }
            (_, ErrorKind::Account { status: 403, .. }) => "fields are made by admin users, and within the limits of the plan",
            _ => "when that is mended, the same command goes on where it stopped",
        };
        let so_far = match made.len() {
            0 => "nothing was made before it".to_owned(),
            _ => format!("made before it: {}", made.iter().map(Made::shown).collect::<Vec<_>>().join(", ")),
        };
        format!("account {name}: {what} could not be made: {}\n{so_far}; {then}", account::reason(error))
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

fn report(args: &Ensure, work: &Work<'_>, file: Option<&str>, stopped: Option<Stopped>) -> Outcome {
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
