//! The fields of a mapping on their way into a script: names as Pipewright has them, expressions, and what is said about them.

use std::fmt::Write as _;

use serde_json::Value as Json;

use super::mapping::Mapping;
use super::rhai::Writer;
use crate::pipedrive::Kind;
use crate::plan::notation::name;

/// A map of fields, in the order in which a script lists them.
#[derive(Debug, Default)]
pub(super) struct Fields(pub(super) Vec<(String, String)>);

impl Fields {
    /// Adds one; a field that is there already gets the new value.
    pub(super) fn put(&mut self, key: &str, expression: String) {
        match self.0.iter_mut().find(|(k, _)| k == key) {
            Some((_, present)) => *present = expression,
            None => self.0.push((key.to_owned(), expression)),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As a map, whose lines but the first stand `indent` spaces in.
    pub(super) fn map(&self, indent: usize) -> String {
        let pad = " ".repeat(indent);
        match self.0.as_slice() {
            [] => "#{}".to_owned(),
            [(key, value)] if value.len() < 80 => format!("#{{ {}: {value} }}", name(key)),
            entries => {
                let mut text = String::from("#{\n");
                let mut hinted = false;
                for (key, value) in entries {
                    if is_key(key) && !hinted {
                        hinted = true;
                        let _ = writeln!(
                            text,
                            "{pad}    // A custom field by its key; its name, as `pipewright fields list` shows it, may stand here, too."
                        );
                    }
                    let _ = writeln!(text, "{pad}    {}: {value},", name(key));
                }
                let _ = write!(text, "{pad}}}");
                text
            }
        }
    }
}

/// Whether it is the key of a custom field.
pub(super) fn is_key(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Whether the mapping leaves a field alone whatever comes: null and `""` are dropped by Segment, too.
pub(super) fn is_nothing(mapping: &Mapping) -> bool {
    matches!(mapping, Mapping::Literal(Json::Null)) || matches!(mapping, Mapping::Literal(Json::String(text)) if text.is_empty())
}

/// Adds `custom_fields`. What is no list of names gives the expression of a map that is added to the fields.
pub(super) fn custom(
    mapping: &Mapping,
    kind: Kind,
    fields: &mut Fields,
    writer: &mut Writer,
    warnings: &mut Vec<String>,
) -> Option<String> {
    let Mapping::Object(entries) = mapping else {
        warnings.push(
            "custom_fields: the names of the fields come from the event; each must be a field of the account, or the rule pauses \
             (Pipedrive ignored unknown ones). Better write down those that you want"
                .to_owned(),
        );
        return Some(writer.field(mapping));
    };
    for (key, value) in entries {
        let key = match (key.as_str(), kind) {
            ("id", _) => {
                warnings.push("custom_fields.id: left out; with it Segment wrote into whichever entity had this id".to_owned());
                continue;
            }
            ("user_id", Kind::Deal) => "owner_id",
            (key, _) => key,
        };
        match value {
            // The one way to clear a field in Segment.
            Mapping::Literal(Json::Null) => fields.put(key, "CLEAR".to_owned()),
            value => fields.put(key, writer.field(value)),
        }
    }
    None
}
