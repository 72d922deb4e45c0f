//! Values as a script would write them.
//!
//! Invariant: what is written here, a script may hold as it stands, but for references: they are shown by the name that the caller has for
//! them.

use std::fmt::Write as _;

use serde_json::Value as Json;

use super::prepare::is_blank;
use super::{Criteria, Criterion, FieldEntry, Link, Value};

/// Words that cannot stand behind a dot.
pub const RESERVED: [&str; 66] = [
    "true",
    "false",
    "let",
    "const",
    "if",
    "else",
    "switch",
    "do",
    "while",
    "until",
    "loop",
    "for",
    "in",
    "continue",
    "break",
    "return",
    "throw",
    "try",
    "catch",
    "fn",
    "private",
    "import",
    "export",
    "as",
    "global",
    "Fn",
    "call",
    "curry",
    "is_shared",
    "is_def_fn",
    "is_def_var",
    "this",
    "type_of",
    "print",
    "debug",
    "eval",
    "static",
    "var",
    "new",
    "is",
    "module",
    "package",
    "use",
    "with",
    "each",
    "then",
    "goto",
    "exit",
    "match",
    "case",
    "public",
    "protected",
    "async",
    "await",
    "yield",
    "spawn",
    "go",
    "sync",
    "thread",
    "shared",
    "default",
    "void",
    "null",
    "nil",
    "super",
    "external",
];

/// A key of a map.
#[must_use]
pub fn name(text: &str) -> String {
    if is_word(text) { text.to_owned() } else { quoted(text) }
}

/// Whether it can stand behind a dot.
#[must_use]
pub fn is_word(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
        && text.chars().any(|c| c != '_')
        && !RESERVED.contains(&text)
}

/// A text in double quotes.
#[must_use]
pub fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() => drop(write!(quoted, "\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// A JSON value.
#[must_use]
pub fn literal(json: &Json) -> String {
    match json {
        Json::Null => "()".to_owned(),
        Json::Bool(b) => b.to_string(),
        Json::Number(n) => n.to_string(),
        Json::String(text) => quoted(text),
        Json::Array(items) => format!("[{}]", items.iter().map(literal).collect::<Vec<_>>().join(", ")),
        Json::Object(map) if map.is_empty() => "#{}".to_owned(),
        Json::Object(map) => {
            let entries: Vec<String> = map.iter().map(|(key, value)| format!("{}: {}", name(key), literal(value))).collect();
            format!("#{{ {} }}", entries.join(", "))
        }
    }
}

/// A field's value; none when the field is left alone. `named` is what an action is called by its ordinal.
pub(super) fn value(value: &Value, named: &dyn Fn(u32) -> String) -> Option<String> {
    let items = |items: &[Json]| items.iter().map(literal).collect::<Vec<_>>().join(", ");
    Some(match value {
        Value::Leave => return None,
        Value::Clear => "CLEAR".to_owned(),
        Value::Json(json) if is_blank(json) => return None,
        Value::Json(json) => literal(json),
        Value::Money { amount, currency: None } => format!("money({amount})"),
        Value::Money { amount, currency: Some(currency) } => format!("money({amount}, {})", quoted(currency)),
        Value::List { op, items: list } => format!("{}({})", op.as_str(), items(list)),
        Value::Link(Link::Reference(ordinal)) => named(*ordinal),
        Value::Link(Link::Id(id)) => id.to_string(),
        Value::Link(Link::By { criteria: wanted, wait }) => {
            let wanted = criteria(wanted, named).unwrap_or_else(|| "()".to_owned());
            match wait {
                Some(seconds) => format!("by({wanted}, #{{ wait: {seconds} }})"),
                None => format!("by({wanted})"),
            }
        }
    })
}

/// What finds an entity; none when nothing is left of it. A criterion with an empty value is dropped as a whole.
pub(super) fn criteria(criteria: &Criteria, named: &dyn Fn(u32) -> String) -> Option<String> {
    let all: Vec<String> = criteria.0.iter().filter_map(|one| criterion(one, named)).collect();
    match &all[..] {
        [] => None,
        [one] => Some(one.clone()),
        several => Some(format!("[{}]", several.join(", "))),
    }
}

fn criterion(criterion: &Criterion, named: &dyn Fn(u32) -> String) -> Option<String> {
    if let [entry] = &criterion.0[..]
        && entry.is_match_field()
    {
        return value(&entry.value, named);
    }
    let terms: Vec<String> = criterion
        .0
        .iter()
        .map(|entry| value(&entry.value, named).map(|value| format!("{}: {value}", field(entry))))
        .collect::<Option<_>>()?;
    (!terms.is_empty()).then(|| format!("#{{ {} }}", terms.join(", ")))
}

/// A field's name.
pub(super) fn field(entry: &FieldEntry) -> String {
    if entry.custom { format!("custom.{}", name(&entry.name)) } else { name(&entry.name) }
}
