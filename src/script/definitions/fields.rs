//! The fields of a kind, as documentation of its module: names as scripts write them, what they take, options by their labels.
//!
//! Without a schema file there are the standard fields, which every account has, and the ones that `rules.toml` declares.

use std::fmt::Write as _;

use crate::config::DeclaredFields;
use crate::crm::standard::fields;
use crate::crm::{Field, FieldOption, FieldType, Metadata, Stage, Standard, StandardType, Writable};
use crate::pipedrive::Kind;
use crate::plan::plural;

/// Most options, stages or users that are named.
const MOST: usize = 50;

/// An account, as far as it is known here.
#[derive(Debug, Clone, Copy)]
pub struct AccountFields<'a> {
    /// Name in `rules.toml`.
    pub name: &'a str,
    /// What its schema file says.
    pub schema: Option<&'a Metadata>,
    /// What `rules.toml` declares.
    pub declared: &'a DeclaredFields,
}

/// A field: its name as a key of a map, and what it takes.
struct Entry {
    name: String,
    takes: String,
}

/// The documentation of a kind's module.
pub(in crate::script) fn page(kind: Kind, accounts: &[AccountFields<'_>]) -> String {
    let mut page = format!("{}. Fields of every account:\n\n", capital(plural(kind)));
    let first = accounts.first().and_then(|account| account.schema).filter(|_| accounts.len() == 1);
    table(&mut page, &standard(kind, first));
    for account in accounts {
        let custom = custom(kind, account);
        let from = match account.schema {
            Some(_) => "by its schema file",
            None => "as rules.toml declares them; `pipewright fields pull` says what the account has",
        };
        if custom.is_empty() {
            let _ = write!(page, "\nThe account `{}` has no custom fields for them, {from}.\n", account.name);
        } else {
            let _ = write!(page, "\nCustom fields in the account `{}`, {from}:\n\n", account.name);
            table(&mut page, &custom);
        }
    }
    page
}

/// The names alone, for the functions that take them.
pub(super) fn names(kind: Kind, accounts: &[AccountFields<'_>]) -> String {
    let mut all: Vec<String> = standard(kind, None).into_iter().map(|entry| entry.name).collect();
    for account in accounts {
        for entry in custom(kind, account) {
            if !all.contains(&entry.name) {
                all.push(entry.name);
            }
        }
    }
    format!("Fields: {}.", all.join(", "))
}

fn table(page: &mut String, entries: &[Entry]) {
    page.push_str("| field | takes |\n|---|---|\n");
    for entry in entries {
        let _ = writeln!(page, "| {} | {} |", entry.name, entry.takes);
    }
}

fn standard(kind: Kind, schema: Option<&Metadata>) -> Vec<Entry> {
    let writable = fields(kind).iter().filter(|field| field.write != Writable::No);
    writable
        .map(|field| {
            let name = [field.key].iter().chain(field.aliases).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or ");
            let when = match field.write {
                Writable::Create => "; for new ones only",
                Writable::Update => "; for those that are there only",
                _ if field.required => "; needed by new ones",
                _ => "",
            };
            Entry { name, takes: format!("{}{when}", takes(kind, field, schema)) }
        })
        .collect()
}

fn takes(kind: Kind, field: &Standard, schema: Option<&Metadata>) -> String {
    let among =
        |words: &str, list: Vec<String>| if list.is_empty() { words.to_owned() } else { format!("{words}: {}", named(list)) };
    match field.ty {
        StandardType::Id => "the id".to_owned(),
        StandardType::Text => "text".to_owned(),
        StandardType::Html => "text, which is escaped; with `html: true` HTML".to_owned(),
        StandardType::Integer => "a whole number".to_owned(),
        StandardType::Number => "a number, or `money(..)`".to_owned(),
        StandardType::Boolean | StandardType::Flag => "true or false".to_owned(),
        StandardType::Date => "a day, `YYYY-MM-DD`".to_owned(),
        StandardType::DateTime => "a time, ISO 8601".to_owned(),
        StandardType::Time => "a time of day, `HH:MM`".to_owned(),
        StandardType::Duration => "a duration, `HH:MM`".to_owned(),
        StandardType::Currency => "a currency's code".to_owned(),
        StandardType::Address => "an address: one line, or a map of parts".to_owned(),
        StandardType::Emails => "e-mail addresses, which are added".to_owned(),
        StandardType::Phones => "phone numbers, which are added".to_owned(),
        StandardType::Ims => "messenger names".to_owned(),
        StandardType::Labels => among("labels, which are added", schema.map(|s| labels(kind, s)).unwrap_or_default()),
        StandardType::User => among("a user's e-mail, name or id", schema.map(users).unwrap_or_default()),
        StandardType::Pipeline => {
            let all = schema.map(|s| s.pipelines.iter().map(|p| p.name.clone()).collect()).unwrap_or_default();
            among("a pipeline's name or id", all)
        }
        StandardType::Stage => among("a stage's name or id", schema.map(stages).unwrap_or_default()),
        StandardType::ActivityType => {
            let all = schema.map(|s| s.activity_types.iter().map(|(key, _)| key.clone()).collect()).unwrap_or_default();
            among("a type's key or name", all)
        }
        StandardType::Words(words) => among("one of", words.iter().map(|w| (*w).to_owned()).collect()),
        StandardType::Visibility => {
            "who sees it: 1, 3, 5 or 7, or `\"owner\"`, `\"group\"`, `\"subgroup\"`, `\"everyone\"`".to_owned()
        }
        StandardType::Option => {
            let all = schema.and_then(|s| s.fields_of(kind).iter().find(|f| f.key == field.key));
            among("an option's label", all.map(|f| labels_of(&f.options)).unwrap_or_default())
        }
        StandardType::Money => "`money(amount, currency)`".to_owned(),
        StandardType::Link(to) => format!("a reference to the {to}, `by(..)`, or its id"),
        StandardType::Project => "a project's id".to_owned(),
        StandardType::Task => "a task's id".to_owned(),
        StandardType::Participants => "ids of persons, which are added".to_owned(),
        StandardType::Attendees => "a list of `#{ email, name }`".to_owned(),
    }
}

fn custom(kind: Kind, account: &AccountFields<'_>) -> Vec<Entry> {
    if let Some(schema) = account.schema {
        let mut all: Vec<&Field> = schema.fields_of(kind).iter().filter(|field| field.custom).collect();
        all.sort_by(|a, b| (&a.name, &a.key).cmp(&(&b.name, &b.key)));
        return all
            .into_iter()
            .map(|field| Entry { name: quoted(&field.name), takes: shape(&field.field_type, labels_of(&field.options)) })
            .collect();
    }
    let word = if kind == Kind::Lead { Kind::Deal.as_str() } else { kind.as_str() };
    let declared = account.declared.by_kind().into_iter().find(|(of, _)| *of == word);
    let mut all: Vec<Entry> = declared
        .map_or(&[][..], |(_, list)| list)
        .iter()
        .map(|field| Entry { name: quoted(&field.name), takes: shape(&field.field_type.into(), field.options.clone()) })
        .collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

/// What a custom field takes, by its type.
fn shape(of: &FieldType, options: Vec<String>) -> String {
    let words = match of {
        FieldType::Double => "a number",
        FieldType::Monetary => "`money(amount, currency)`",
        FieldType::Enum => "one option",
        FieldType::Set => "options, which replace; `add(..)` keeps what is there",
        FieldType::User => "a user's e-mail, name or id",
        FieldType::Org => "an organization: reference, `by(..)`, id or name",
        FieldType::People => "a person: reference, `by(..)`, id, name or e-mail",
        FieldType::Phone => "a phone number",
        FieldType::Date => "a day, `YYYY-MM-DD`",
        FieldType::Daterange => "days: `[from, until]`",
        FieldType::Time => "a time of day, `HH:MM`",
        FieldType::Timerange => "times of day: `[from, until]`",
        FieldType::Address => "an address: one line, or a map of parts",
        _ => "text",
    };
    if options.is_empty() { words.to_owned() } else { format!("{words}: {}", named(options)) }
}

fn labels(kind: Kind, schema: &Metadata) -> Vec<String> {
    if kind == Kind::Lead {
        return schema.lead_labels.iter().map(|label| label.name.clone()).collect();
    }
    let field = schema.fields_of(kind).iter().find(|field| field.key == "label_ids");
    field.map(|field| labels_of(&field.options)).unwrap_or_default()
}

fn labels_of(options: &[FieldOption]) -> Vec<String> {
    options.iter().map(|option| option.label.clone()).collect()
}

fn users(schema: &Metadata) -> Vec<String> {
    schema.users.iter().filter(|user| user.active).map(|user| user.email.clone()).collect()
}

fn stages(schema: &Metadata) -> Vec<String> {
    let pipeline = |id: i64| schema.pipelines.iter().find(|p| p.id == id).map_or("", |p| p.name.as_str());
    let twice = |name: &str| schema.stages.iter().filter(|s| s.name == name).count() > 1;
    let shown = |stage: &Stage| {
        if twice(&stage.name) { format!("{} ({})", stage.name, pipeline(stage.pipeline_id)) } else { stage.name.clone() }
    };
    schema.stages.iter().map(shown).collect()
}

/// Values as texts in quotes, so many of them.
fn named(list: Vec<String>) -> String {
    let more = list.len().saturating_sub(MOST);
    let shown = list.into_iter().take(MOST).map(|value| quoted(&value)).collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

/// A name as it is written in a script, within a line of a table.
fn quoted(name: &str) -> String {
    let name: String = name.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("`\"{}\"`", name.replace('\\', "\\\\").replace('"', "\\\"").replace('|', "\\|"))
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
