//! The schema file: one account's metadata as a file beside the scripts, and what it pins.
//!
//! Invariants: the same metadata gives the same text, ordered by keys and ids, which renames do not change;
//! a name that the file knows goes on meaning the key that it had there, whatever Pipedrive calls it now; what the account answers
//! is never hidden: a new name works beside the pinned one unless another item is pinned to it. No records, no values of records.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Field, Metadata, Stage};
use crate::diagnostic::Diagnostic;
use crate::pipedrive::Kind;

/// The form of the file. Another number is refused.
const FORM: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SchemaFile<M> {
    schema: u32,
    account: M,
}

/// Reads a schema file; `file` is its name in messages.
///
/// # Errors
/// One diagnostic with line and column when it is no schema file.
pub fn read_schema(file: &str, text: &str) -> Result<Metadata, Diagnostic> {
    const HELP: &str = "`pipewright fields pull` writes it anew; undo what was edited by hand, or what a merge left behind";
    let read: SchemaFile<Metadata> = serde_json::from_str(text).map_err(|error| {
        let reason = error.to_string();
        let reason = reason.rsplit_once(" at line ").map_or(reason.as_str(), |(reason, _)| reason);
        Diagnostic::error(format!("{file} cannot be read as a schema file: {reason}"))
            .at(file, text, error.line(), error.column(), 1)
            .help(HELP)
    })?;
    if read.schema != FORM {
        let found = read.schema;
        return Err(Diagnostic::error(format!("{file} has the form {found}, and this version reads {FORM}"))
            .in_file(file)
            .help(HELP));
    }
    Ok(read.account)
}

/// The text of the schema file.
///
/// # Errors
/// When it cannot be written as JSON, which no metadata causes.
pub fn write_schema(metadata: &Metadata) -> Result<String, serde_json::Error> {
    let mut account = metadata.clone();
    // Whose token pulled it says nothing of the account, and would differ from colleague to colleague.
    account.me.user_id = 0;
    for fields in account.fields.values_mut() {
        fields.sort_by(|a, b| (a.custom, &a.key).cmp(&(b.custom, &b.key)));
        for field in fields {
            field.options.sort_by_key(|option| option.id);
        }
    }
    account.pipelines.sort_by_key(|pipeline| pipeline.id);
    account.stages.sort_by_key(|stage| (stage.pipeline_id, stage.order, stage.id));
    account.users.sort_by_key(|user| user.id);
    account.lead_labels.sort_by(|a, b| a.id.cmp(&b.id));
    account.activity_types.sort();
    let mut text = serde_json::to_string_pretty(&SchemaFile { schema: FORM, account })?;
    text.push('\n');
    Ok(text)
}

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
}

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
}

impl SchemaChange {
    /// Whether a script that was right by the file may now be wrong, or will be once its author looks into Pipedrive.
    #[must_use]
    pub fn matters(&self) -> bool {
        self.became != Became::New
    }
}

impl fmt::Display for SchemaChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, name, became } = self;
        match became {
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
    let mut changes = Vec::new();
    let mut pinned = answer.clone();
    for kind in Kind::ALL {
        let known = schema.fields.get(&kind).map_or(&[][..], Vec::as_slice);
        let Some(fields) = pinned.fields.get_mut(&kind).filter(|_| schema.fields.contains_key(&kind)) else { continue };
        *fields = pin_fields(kind, known, fields, &mut changes);
    }
    let what = |_: &super::Pipeline| "pipeline".to_owned();
    pinned.pipelines = pin_items(&schema.pipelines, &answer.pipelines, |p| (p.id, 0), |p| &mut p.name, what, &mut changes);
    let pipeline = |id| schema.pipelines.iter().find(|p| p.id == id).map_or("?", |p| p.name.as_str());
    let what = |s: &Stage| format!("stage of the pipeline {}", pipeline(s.pipeline_id));
    pinned.stages = pin_items(&schema.stages, &answer.stages, |s| (s.id, s.pipeline_id), |s| &mut s.name, what, &mut changes);
    let what = |_: &super::LeadLabel| "lead label".to_owned();
    pinned.lead_labels =
        pin_items(&schema.lead_labels, &answer.lead_labels, |l| (l.id.clone(), 0), |l| &mut l.name, what, &mut changes);
    let what = |_: &(String, String)| "activity type".to_owned();
    pinned.activity_types =
        pin_items(&schema.activity_types, &answer.activity_types, |t| (t.0.clone(), 0), |t| &mut t.1, what, &mut changes);
    changes.sort();
    (pinned, changes)
}

fn pin_fields(kind: Kind, known: &[Field], answer: &[Field], changes: &mut Vec<SchemaChange>) -> Vec<Field> {
    let mut answer = answer.to_vec();
    for field in &mut answer {
        let Some(old) = known.iter().find(|f| f.key == field.key) else { continue };
        if old.field_type != field.field_type {
            changes.push(SchemaChange { what: format!("{kind} field"), name: old.name.clone(), became: Became::Retyped });
        }
        let what = |_: &super::FieldOption| format!("option of the {kind} field {}", old.name);
        field.options = pin_items(&old.options, &field.options, |o| (o.id, 0), |o| &mut o.label, what, changes);
    }
    // Scripts name standard fields by their keys, which never change; what Pipedrive calls them is of no account.
    let (custom, mut all): (Vec<Field>, Vec<Field>) = answer.into_iter().partition(|f| f.custom);
    let known: Vec<Field> = known.iter().filter(|f| f.custom).cloned().collect();
    let what = |_: &Field| format!("{kind} field");
    all.extend(pin_items(&known, &custom, |f| (f.key.clone(), 0), |f| &mut f.name, what, changes));
    all
}

/// The items of the answer under the names that they had in the schema, and again under their new names where these are free.
/// `key` is the id that a rename does not change, and the range within which names tell items apart.
fn pin_items<T: Clone, K: Ord + fmt::Display>(
    known: &[T],
    answer: &[T],
    key: impl Fn(&T) -> (K, i64),
    name: impl Fn(&mut T) -> &mut String,
    what: impl Fn(&T) -> String,
    changes: &mut Vec<SchemaChange>,
) -> Vec<T> {
    let name_of = |item: &T| name(&mut item.clone()).clone();
    let there: BTreeSet<K> = answer.iter().map(|item| key(item).0).collect();
    // Names that mean one item by the schema; those of items that are gone are free.
    let taken: BTreeSet<(i64, String)> = known
        .iter()
        .filter(|item| there.contains(&key(item).0))
        .map(|item| (key(item).1, name_of(item).to_lowercase()))
        .collect();
    let mut pinned = Vec::with_capacity(answer.len());
    let mut also = Vec::new();
    for item in answer {
        let (id, range) = key(item);
        let now = name_of(item);
        let free = !taken.contains(&(range, now.to_lowercase()));
        let mut item = item.clone();
        match known.iter().find(|old| key(old).0 == id).map(name_of) {
            Some(old) if old == now => {}
            Some(old) => {
                let became = Became::Renamed { now };
                changes.push(SchemaChange { what: what(&item), name: old.clone(), became });
                if free {
                    also.push(item.clone());
                }
                *name(&mut item) = old;
            }
            None => {
                changes.push(SchemaChange { what: what(&item), name: now, became: Became::New });
                // The name means another item; this one can be had by its key.
                if !free {
                    *name(&mut item) = id.to_string();
                }
            }
        }
        pinned.push(item);
    }
    for item in known.iter().filter(|item| !there.contains(&key(item).0)) {
        changes.push(SchemaChange { what: what(item), name: name_of(item), became: Became::Gone });
    }
    pinned.extend(also);
    pinned
}
