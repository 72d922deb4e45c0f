//! What is wrong with names and texts that scripts write as literals, told before any event comes.

use super::PrepareContext;
use super::fields::{is_hint, writable};
use super::reader::{Hints, Reader, Said};
use crate::config::{MatchFields, WritePolicy};
use crate::crm::Metadata;
use crate::pipedrive::Kind;
use crate::plan::refusal::Refusal;
use crate::plan::shape::Shape;
use crate::plan::{FieldEntry, OnUnknown, Value, field};

/// Something that every event would meet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiteralProblem {
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
    /// Every account refuses it, whatever the call says about what is not known.
    pub always: bool,
}

impl From<Refusal> for LiteralProblem {
    fn from(refusal: Refusal) -> Self {
        Self { message: refusal.message, help: refusal.help, always: true }
    }
}

/// What is wrong with a field's name; `matched` when it stands in a match.
///
/// # Errors
/// When the account has no such field, or when it cannot be used so.
pub fn check_name(kind: Kind, name: &str, custom: bool, matched: bool, metadata: &Metadata) -> Result<(), LiteralProblem> {
    let entry = FieldEntry { name: name.to_owned(), custom, value: Value::Leave };
    if entry.is_match_field() || (!matched && is_hint(kind, &entry)) {
        return Ok(());
    }
    let field = field::resolve(kind, name, custom, metadata)?;
    if matched { if field.in_matches() { Ok(()) } else { Err(field.unsearchable().into()) } } else { Ok(writable(&field, name)?) }
}

/// What is wrong with a text that is given to a field, as far as the account has to know it: options, labels, users, stages.
///
/// # Errors
/// When the account does not know it.
pub fn check_value(kind: Kind, name: &str, custom: bool, text: &str, metadata: &Metadata) -> Result<(), LiteralProblem> {
    let Ok(field) = field::resolve(kind, name, custom, metadata) else { return Ok(()) };
    let match_fields = MatchFields::default();
    let context = PrepareContext { metadata, match_fields: &match_fields, rule: "", message_id: "", write: WritePolicy::Always };
    let mut reader = Reader { context: &context, actions: &[], ordinal: 0, on_unknown: OnUnknown::Fail, said: Said::default() };
    match reader.read(&field, &Value::Json(text.into()), &Hints::default()) {
        // The text itself is the script's, not an event's.
        Err(refusal) if refusal.unknown || matches!(field.shape, Shape::Word(_)) => Err(LiteralProblem {
            message: format!("{}: \"{text}\"", refusal.message),
            help: refusal.help,
            always: !refusal.unknown,
        }),
        _ => Ok(()),
    }
}
