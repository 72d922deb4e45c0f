//! Ids by the names that people know them by, for the decision record.

use serde_json::Value as Json;

use super::{Before, Change, is_empty};
use crate::crm::Metadata;
use crate::plan::field::FieldRef;
use crate::plan::shape::Shape;

/// A change, with names beside its ids.
pub(super) fn change(
    field: &FieldRef<'_>,
    name: String,
    (before, before_is): (Json, Option<Before>),
    after: Json,
    metadata: &Metadata,
) -> Change {
    let named = |value: &Json| names(field, value, metadata);
    let (before_name, after_name) = (named(&before), named(&after));
    Change { field: name, before_name, after_name, before, after, address: Some(field.address.clone()), before_is }
}

/// The names of the ids that a value holds; none when it holds no id, or none that the account has a name for.
fn names(field: &FieldRef<'_>, value: &Json, metadata: &Metadata) -> Option<String> {
    let ids = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
    let known: Vec<Option<&str>> = ids.iter().map(|id| name(field, id, metadata)).collect();
    if is_empty(value) || known.iter().all(Option::is_none) {
        return None;
    }
    let words = ids.iter().zip(known).map(|(id, known)| known.map_or_else(|| id.to_string(), str::to_owned));
    Some(words.collect::<Vec<_>>().join(", "))
}

/// An item of a list as people know it.
pub(super) fn item(field: &FieldRef<'_>, item: &Json, metadata: &Metadata) -> String {
    let part = match field.shape {
        Shape::Contacts => item.get("value"),
        Shape::Participants => item.get("person_id"),
        Shape::Attendees => item.get("email"),
        _ => None,
    };
    let value = part.unwrap_or(item);
    let text = || value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    name(field, value, metadata).map_or_else(text, str::to_owned)
}

fn name<'a>(field: &FieldRef<'a>, id: &Json, metadata: &'a Metadata) -> Option<&'a str> {
    let number = id.as_i64();
    match field.shape {
        Shape::Choice | Shape::Choices | Shape::Labels => {
            field.options.iter().find(|o| Some(o.id) == number).map(|o| o.label.as_str())
        }
        Shape::LeadLabels => metadata.lead_labels.iter().find(|l| id == l.id.as_str()).map(|l| l.name.as_str()),
        Shape::Stage => metadata.stages.iter().find(|s| Some(s.id) == number).map(|s| s.name.as_str()),
        Shape::Pipeline => metadata.pipelines.iter().find(|p| Some(p.id) == number).map(|p| p.name.as_str()),
        Shape::User => metadata.users.iter().find(|u| Some(u.id) == number).map(|u| u.name.as_str()),
        _ => None,
    }
}
