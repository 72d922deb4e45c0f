//! List fields: e-mails, phones, labels, set options, participants, attendees.

use serde_json::{Map, Value as Json, json};

use super::composite::{given, is_blank, only_keys};
use super::{options, scalar};
use crate::crm::FieldOption;
use crate::pipedrive::Id;
use crate::plan::refusal::Refusal;

type Result<T> = std::result::Result<T, Refusal>;

/// The items of a value: those of an array, or the value itself. Null and blank items are nothing.
pub(super) fn items(value: &Json) -> Vec<&Json> {
    match value {
        Json::Array(items) => items.iter().filter(|v| !is_blank(v)).collect(),
        other if is_blank(other) => Vec::new(),
        other => vec![other],
    }
}

/// `{value, label?, primary?}` from a string, a number, or a map of those. `None` when the value is blank.
pub(super) fn contact(field: &str, item: &Json) -> Result<Option<Json>> {
    let map = match item {
        Json::String(_) | Json::Number(_) => return Ok(Some(json!({ "value": scalar::text(field, item)?.trim() }))),
        Json::Object(map) => map,
        _ => return Err(Refusal::wrong(field, "text, a map with `value`, or an array of those", item)),
    };
    only_keys(field, map, &["value", "label", "primary"])?;
    let Some(value) = given(map, "value") else { return Ok(None) };
    let mut out = Map::new();
    out.insert("value".into(), scalar::text(field, value)?.trim().into());
    if let Some(label) = given(map, "label") {
        out.insert("label".into(), scalar::text(field, label)?.into());
    }
    if let Some(primary) = given(map, "primary") {
        out.insert("primary".into(), scalar::boolean(field, primary)?.into());
    }
    Ok(Some(Json::Object(out)))
}

/// A set option's id.
pub(super) fn choice(field: &str, item: &Json, known: &[FieldOption]) -> Result<Json> {
    options::option(field, item, known).map(Json::from)
}

/// `{person_id, primary}` from an id or a map.
pub(super) fn participant(field: &str, item: &Json) -> Result<Json> {
    let (id, primary) = match item {
        Json::Object(map) => {
            only_keys(field, map, &["person_id", "primary"])?;
            (map.get("person_id").unwrap_or(&Json::Null), given(map, "primary").map(|p| scalar::boolean(field, p)).transpose()?)
        }
        other => (other, None),
    };
    match Id::from_json(id) {
        Some(Id::Number(id)) => Ok(json!({ "person_id": id, "primary": primary.unwrap_or(false) })),
        _ => Err(Refusal::wrong(field, "person ids, or maps with `person_id`", item)),
    }
}

/// `{email, name?, ..}` from an address or a map.
pub(super) fn attendee(field: &str, item: &Json) -> Result<Json> {
    match item {
        Json::String(email) => Ok(json!({ "email": email.trim() })),
        Json::Object(map) => {
            only_keys(field, map, &["email", "name", "status", "is_organizer", "person_id", "user_id"])?;
            match given(map, "email") {
                Some(Json::String(_)) => {
                    Ok(Json::Object(map.iter().filter(|(_, v)| !is_blank(v)).map(|(k, v)| (k.clone(), v.clone())).collect()))
                }
                _ => Err(Refusal::value(format!("an attendee in `{field}` has no `email`"))),
            }
        }
        _ => Err(Refusal::wrong(field, "e-mail addresses, or maps with `email`", item)),
    }
}
