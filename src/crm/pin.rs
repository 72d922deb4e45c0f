//! What a schema file pins, and how the account differs from it.
//!
//! Invariants: a name that the file knows goes on meaning the key that it had there, whatever Pipedrive calls it now; what the account
//! answers is never hidden: a new name works beside the pinned one unless another item is pinned to it; the file of one company pins
//! nothing in the account of another, whose ids mean other things.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use super::{Field, FieldOption, LeadLabel, Me, Metadata, Pipeline, Stage, User};
use crate::pipedrive::Kind;

/// How the account differs from its schema file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct SchemaChange {
    /// What it is: `person field`, `option of the person field Plan`.
    pub what: String,
    /// Its name in the schema file; for what is new, its name in the account.
    pub name: String,
    /// What became of it.
    #[serde(flatten)]
    pub became: Became,
    /// Where it stands in the schema file, see [`super::place_in_schema`].
    #[serde(skip)]
    pub at: Vec<String>,
}

/// What users are called in [`SchemaChange::what`], and the end of what their e-mail addresses are called.
const USER: &str = "user";

/// What became of an item of the schema file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "became", rename_all = "lowercase")]
pub enum Became {
    /// It has another name in the account now.
    Renamed {
        /// That name.
        now: String,
    },
    /// It has another type.
    Retyped,
    /// The account has it no more.
    Gone,
    /// The account has it and the file does not.
    New,
    /// The whole file: the account is that of another company.
    Foreign {
        /// That company.
        company: String,
    },
}

impl SchemaChange {
    /// Whether a script that was right by the file may now be wrong, or will be once its author looks into Pipedrive.
    #[must_use]
    pub fn matters(&self) -> bool {
        self.became != Became::New
    }

    /// In a sentence for the log, in which people are not named.
    #[must_use]
    pub fn brief(&self) -> String {
        match &self.became {
            Became::Renamed { .. } | Became::Gone if self.what.ends_with(USER) => format!(
                "the {} that the schema file names has changed or is gone in Pipedrive; `pipewright status` says who",
                self.what
            ),
            _ => self.to_string(),
        }
    }
}

impl fmt::Display for SchemaChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, name, became, .. } = self;
        match became {
            Became::Foreign { company } => write!(
                f,
                "the {what} is of the company {name}, and this account is of {company}: the file is not used; run \
                 `pipewright fields pull`, or give the account its own domain and token"
            ),
            Became::Renamed { now } => write!(
                f,
                "the {what} `{name}` is called `{now}` in Pipedrive now; scripts may go on saying `{name}` until \
                 `pipewright fields pull`"
            ),
            Became::Retyped => {
                write!(f, "the {what} `{name}` has another type in Pipedrive now; run `pipewright fields pull`, then `check`")
            }
            Became::Gone => write!(
                f,
                "the {what} `{name}` is no longer in Pipedrive; make it there again or take it out of the scripts, then run \
                 `pipewright fields pull`"
            ),
            Became::New => {
                write!(f, "the {what} `{name}` is new in Pipedrive; `pipewright fields pull` adds it to the schema file")
            }
        }
    }
}

/// The account's answer with the names of its schema file pinned, and how the two differ, in a stable order.
#[must_use]
pub fn pin(schema: &Metadata, answer: &Metadata) -> (Metadata, Vec<SchemaChange>) {
    let company = |me: &Me| format!("`{}` ({})", me.company_domain, me.company_id);
    // Where either is not known nothing can be said.
    if schema.me.company_id != answer.me.company_id && schema.me.company_id != 0 && answer.me.company_id != 0 {
        let became = Became::Foreign { company: company(&answer.me) };
        let at = vec![format!("\"company_id\": {}", schema.me.company_id)];
        return (answer.clone(), vec![SchemaChange { what: "schema file".to_owned(), name: company(&schema.me), became, at }]);
    }
    let mut changes = Vec::new();
    let mut pinned = answer.clone();
    for kind in Kind::ALL {
        let known = schema.fields.get(&kind).map_or(&[][..], Vec::as_slice);
        let Some(fields) = pinned.fields.get_mut(&kind).filter(|_| schema.fields.contains_key(&kind)) else { continue };
        *fields = pin_fields(kind, known, fields, &mut changes);
    }
    let section = |name: &str| vec![format!("\"{name}\": [")];
    let all = (&schema.pipelines, &answer.pipelines);
    pinned.pipelines = pin_items(all, &section("pipelines"), |_| "pipeline".to_owned(), &mut changes);
    let pipeline = |id| schema.pipelines.iter().find(|p| p.id == id).map_or("?", |p| p.name.as_str());
    let what = |stage: &Stage| format!("stage of the pipeline {}", pipeline(stage.pipeline_id));
    pinned.stages = pin_items((&schema.stages, &answer.stages), &section("stages"), what, &mut changes);
    let all = (&schema.lead_labels, &answer.lead_labels);
    pinned.lead_labels = pin_items(all, &section("lead_labels"), |_| "lead label".to_owned(), &mut changes);
    let all = (&schema.activity_types, &answer.activity_types);
    pinned.activity_types = pin_items(all, &section("activity_types"), |_| "activity type".to_owned(), &mut changes);
    pinned.users = pin_users(&schema.users, &answer.users, &section("users"), &mut changes);
    changes.sort();
    (pinned, changes)
}

fn pin_fields(kind: Kind, known: &[Field], answer: &[Field], changes: &mut Vec<SchemaChange>) -> Vec<Field> {
    let section = vec![format!("\"{kind}\": [")];
    let mut answer = answer.to_vec();
    for field in &mut answer {
        let Some(old) = known.iter().find(|f| f.key == field.key) else { continue };
        let [key, name] = old.lines();
        if old.field_type != field.field_type {
            let at = [&section[..], &[key.clone(), name]].concat();
            changes.push(SchemaChange { what: format!("{kind} field"), name: old.name.clone(), became: Became::Retyped, at });
        }
        let what = |_: &FieldOption| format!("option of the {kind} field {}", old.name);
        field.options = pin_items((&old.options, &field.options), &[&section[..], &[key]].concat(), what, changes);
    }
    // Scripts name standard fields by their keys, which never change; what Pipedrive calls them is of no account.
    let (custom, mut all): (Vec<Field>, Vec<Field>) = answer.into_iter().partition(|f| f.custom);
    let known: Vec<Field> = known.iter().filter(|f| f.custom).cloned().collect();
    all.extend(pin_items((&known, &custom), &section, |_| format!("{kind} field"), changes));
    all
}

/// Users have two names, and each is pinned by itself. The new ones stand beside the old in entries of their own, whose other name is
/// the id: no two entries have a name in common.
fn pin_users(known: &[User], answer: &[User], section: &[String], changes: &mut Vec<SchemaChange>) -> Vec<User> {
    let names = |users: &[User]| users.iter().cloned().map(ByName).collect::<Vec<_>>();
    let emails = |users: &[User]| users.iter().cloned().map(ByEmail).collect::<Vec<_>>();
    let named = pin_items((&names(known), &names(answer)), section, |_| USER.to_owned(), changes);
    // Who is new or gone has been told by name.
    let mut mailed_changes = Vec::new();
    let what = |_: &ByEmail| format!("e-mail address of the {USER}");
    let mailed = pin_items((&emails(known), &emails(answer)), section, what, &mut mailed_changes);
    changes.extend(mailed_changes.into_iter().filter(|change| matches!(change.became, Became::Renamed { .. })));
    let (named, named_also) = named.split_at(answer.len());
    let (mailed, mailed_also) = mailed.split_at(answer.len());
    let both =
        named.iter().zip(mailed).map(|(ByName(user), ByEmail(mailed))| User { email: mailed.email.clone(), ..user.clone() });
    let named_also = named_also.iter().map(|ByName(user)| User { email: user.id.to_string(), ..user.clone() });
    let mailed_also = mailed_also.iter().map(|ByEmail(user)| User { name: user.id.to_string(), ..user.clone() });
    both.chain(named_also).chain(mailed_also).collect()
}

/// What has a name that people change and an id that they do not.
trait Item: Clone {
    type Id: Ord + fmt::Display;
    fn id(&self) -> Self::Id;
    /// Within which names tell items apart.
    fn range(&self) -> i64 {
        0
    }
    fn name(&mut self) -> &mut String;
    /// The lines of the schema file with its id and its name.
    fn lines(&self) -> [String; 2];
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

impl Item for Field {
    type Id = String;
    fn id(&self) -> String {
        self.key.clone()
    }
    fn name(&mut self) -> &mut String {
        &mut self.name
    }
    fn lines(&self) -> [String; 2] {
        [format!("\"key\": {}", quoted(&self.key)), format!("\"name\": {}", quoted(&self.name))]
    }
}

impl Item for LeadLabel {
    type Id = String;
    fn id(&self) -> String {
        self.id.clone()
    }
    fn name(&mut self) -> &mut String {
        &mut self.name
    }
    fn lines(&self) -> [String; 2] {
        [format!("\"id\": {}", quoted(&self.id)), format!("\"name\": {}", quoted(&self.name))]
    }
}

/// Activity types: key and name.
impl Item for (String, String) {
    type Id = String;
    fn id(&self) -> String {
        self.0.clone()
    }
    fn name(&mut self) -> &mut String {
        &mut self.1
    }
    fn lines(&self) -> [String; 2] {
        [quoted(&self.0), quoted(&self.1)]
    }
}

#[derive(Clone)]
struct ByName(User);

#[derive(Clone)]
struct ByEmail(User);

fn numbered(id: i64, key: &str, name: &str) -> [String; 2] {
    [format!("\"id\": {id}"), format!("\"{key}\": {}", quoted(name))]
}

impl Item for FieldOption {
    type Id = i64;
    fn id(&self) -> i64 {
        self.id
    }
    fn name(&mut self) -> &mut String {
        &mut self.label
    }
    fn lines(&self) -> [String; 2] {
        numbered(self.id, "label", &self.label)
    }
}

impl Item for Pipeline {
    type Id = i64;
    fn id(&self) -> i64 {
        self.id
    }
    fn name(&mut self) -> &mut String {
        &mut self.name
    }
    fn lines(&self) -> [String; 2] {
        numbered(self.id, "name", &self.name)
    }
}

impl Item for Stage {
    type Id = i64;
    fn id(&self) -> i64 {
        self.id
    }
    fn range(&self) -> i64 {
        self.pipeline_id
    }
    fn name(&mut self) -> &mut String {
        &mut self.name
    }
    fn lines(&self) -> [String; 2] {
        numbered(self.id, "name", &self.name)
    }
}

impl Item for ByName {
    type Id = i64;
    fn id(&self) -> i64 {
        self.0.id
    }
    fn name(&mut self) -> &mut String {
        &mut self.0.name
    }
    fn lines(&self) -> [String; 2] {
        numbered(self.0.id, "name", &self.0.name)
    }
}

impl Item for ByEmail {
    type Id = i64;
    fn id(&self) -> i64 {
        self.0.id
    }
    fn name(&mut self) -> &mut String {
        &mut self.0.email
    }
    fn lines(&self) -> [String; 2] {
        numbered(self.0.id, "email", &self.0.email)
    }
}

/// The items of the answer under the names that they had in the schema, and behind them again under their new names where these are
/// free. `all` is what the schema knows and what the account answers; `section` the lines of the file that they stand behind.
fn pin_items<T: Item>(
    (known, answer): (&Vec<T>, &Vec<T>),
    section: &[String],
    what: impl Fn(&T) -> String,
    changes: &mut Vec<SchemaChange>,
) -> Vec<T> {
    let name_of = |item: &T| item.clone().name().clone();
    let there: BTreeSet<T::Id> = answer.iter().map(Item::id).collect();
    // Names that mean one item by the schema; those of items that are gone are free.
    let taken: BTreeSet<(i64, String)> =
        known.iter().filter(|item| there.contains(&item.id())).map(|item| (item.range(), name_of(item).to_lowercase())).collect();
    let at = |item: &T| [section, &item.lines()].concat();
    let mut pinned = Vec::with_capacity(answer.len());
    let mut also = Vec::new();
    for item in answer {
        let now = name_of(item);
        let free = !taken.contains(&(item.range(), now.to_lowercase()));
        let mut item = item.clone();
        match known.iter().find(|old| old.id() == item.id()) {
            Some(old) if name_of(old) == now => {}
            Some(old) => {
                let became = Became::Renamed { now };
                changes.push(SchemaChange { what: what(&item), name: name_of(old), became, at: at(old) });
                if free {
                    also.push(item.clone());
                }
                *item.name() = name_of(old);
            }
            None => {
                changes.push(SchemaChange { what: what(&item), name: now, became: Became::New, at: section.to_vec() });
                // The name means another item; this one can be had by its key.
                if !free {
                    *item.name() = item.id().to_string();
                }
            }
        }
        pinned.push(item);
    }
    for item in known.iter().filter(|item| !there.contains(&item.id())) {
        changes.push(SchemaChange { what: what(item), name: name_of(item), became: Became::Gone, at: at(item) });
    }
    pinned.extend(also);
    pinned
}
