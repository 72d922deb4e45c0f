//! The schema file: one account's metadata as a file beside the scripts.
//!
//! Invariants: the same metadata gives the same text, an item a line or more, ordered by keys and ids, which renames do not change; a
//! file of another form is told from a damaged one. No records, no values of records.

use serde::{Deserialize, Serialize};

use super::Metadata;
use crate::diagnostic::Diagnostic;

/// The form of the file. Another number is refused.
const FORM: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SchemaFile<M> {
    schema: u32,
    account: M,
}

/// What every form has.
#[derive(Deserialize)]
struct AnyForm {
    schema: u32,
}

/// Reads a schema file; `file` is its name in messages.
///
/// # Errors
/// One diagnostic with line and column when it is no schema file, or one of another form.
pub fn read_schema(file: &str, text: &str) -> Result<Metadata, Diagnostic> {
    const HELP: &str = "`pipewright fields pull` writes it anew; undo what was edited by hand, or what a merge left behind";
    // Asked first: a file of another form may well have keys that this form does not.
    match serde_json::from_str(text) {
        Ok(AnyForm { schema: FORM }) | Err(_) => {}
        Ok(AnyForm { schema: found }) => return Err(other_form(file, text, found)),
    }
    let read: SchemaFile<Metadata> = serde_json::from_str(text).map_err(|error| {
        let reason = error.to_string();
        let reason = reason.rsplit_once(" at line ").map_or(reason.as_str(), |(reason, _)| reason);
        Diagnostic::error(format!("{file} cannot be read as a schema file: {reason}"))
            .at(file, text, error.line(), error.column(), 1)
            .help(HELP)
    })?;
    Ok(read.account)
}

fn other_form(file: &str, text: &str, found: u32) -> Diagnostic {
    let (whose, help) = if found < FORM {
        ("an earlier version of Pipewright wrote it", "`pipewright fields pull` writes it anew")
    } else {
        ("a later version of Pipewright wrote it", "use that version here too, or write it anew with `pipewright fields pull`")
    };
    let message = format!("{file} has the form {found}, and this version reads {FORM}: {whose}");
    let line = text.lines().position(|line| line.contains("\"schema\"")).unwrap_or_default() + 1;
    let shown = text.lines().nth(line - 1).unwrap_or_default();
    let column = shown.find("\"schema\"").map_or(1, |at| shown[..at].chars().count() + 1);
    Diagnostic::error(message).at(file, text, line, column, "\"schema\"".len()).help(help)
}

/// Places a diagnostic at an item of a schema file: `at` holds lines, without outer blanks and commas, that follow one another on the
/// way to it. At the last of them that is found, else in the file as a whole.
#[must_use]
pub fn place_in_schema(diagnostic: Diagnostic, file: &str, text: &str, at: &[String]) -> Diagnostic {
    let mut lines = text.lines().enumerate();
    let mut found = None;
    for wanted in at {
        match lines.find(|(_, line)| line.trim().trim_end_matches(',') == wanted) {
            Some((number, line)) => found = Some((number + 1, line.len() - line.trim_start().len() + 1, wanted.chars().count())),
            None => break,
        }
    }
    match found {
        Some((line, column, width)) => diagnostic.at(file, text, line, column, width),
        None => diagnostic.in_file(file),
    }
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
