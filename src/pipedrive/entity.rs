//! Entities as Pipedrive answers them.

use serde_json::{Map, Value};

use super::{ErrorKind, Id, Kind};

/// An entity: field to value, custom fields under `custom_fields` (v2) or at the root (leads).
pub type Entity = Map<String, Value>;

/// Whether the entity is marked as deleted. Such entities still answer for weeks and count as gone.
#[must_use]
pub fn is_deleted(kind: Kind, entity: &Entity) -> bool {
    let is = |key: &str, value: bool| entity.get(key).and_then(Value::as_bool) == Some(value);
    match kind {
        Kind::Note => is("active_flag", false),
        Kind::Deal => is("is_deleted", true) || entity.get("status").and_then(Value::as_str) == Some("deleted"),
        _ => is("is_deleted", true),
    }
}

/// `data` as one entity with an id that the kind can have.
pub(super) fn one(kind: Kind, mut body: Value) -> Result<(Id, Entity), ErrorKind> {
    let wrong = |reason: &str| ErrorKind::Unreadable { status: 200, reason: reason.to_owned() };
    let Value::Object(entity) = body.get_mut("data").map(Value::take).unwrap_or_default() else {
        return Err(wrong("`data` is not an object"));
    };
    match entity.get("id").and_then(Id::from_json).filter(|id| id.fits(kind)) {
        Some(id) => Ok((id, entity)),
        None => Err(wrong("`data.id` is not an id")),
    }
}

/// `data` as a list of objects; null is an empty list.
pub(super) fn many(mut body: Value) -> Result<Vec<Entity>, ErrorKind> {
    let wrong = |reason: &str| ErrorKind::Unreadable { status: 200, reason: reason.to_owned() };
    match body.get_mut("data").map(Value::take) {
        Some(Value::Array(items)) => items
            .into_iter()
            .map(|item| match item {
                Value::Object(entity) => Ok(entity),
                _ => Err(wrong("an item of `data` is not an object")),
            })
            .collect(),
        Some(Value::Null) => Ok(Vec::new()),
        _ => Err(wrong("`data` is not a list")),
    }
}
