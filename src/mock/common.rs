//! What writes of several kinds share: owners, links, labels, lists of addresses.

use serde_json::{Value, json};

use super::clock;
use super::entity::Entity;
use super::reply::{Reply, Version, bad_request};
use super::table::{Object, Row};
use super::world::World;

/// Values of `visible_to`.
const VISIBLE: [u64; 4] = [1, 3, 5, 7];

/// Copies keys as they are.
pub(super) fn copy(body: &Object, row: &mut Row, keys: &[&str]) {
    for key in keys {
        if let Some(value) = body.get(*key) {
            row.object.insert((*key).to_owned(), value.clone());
        }
    }
}

/// A whole number of a body whose type the schema has checked.
pub(super) fn id_of(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_f64().filter(|f| *f >= 0.0).map(|f| f as u64))
}

/// Takes a user that must be there and active.
pub(super) fn owner(world: &World, body: &Object, row: &mut Row, key: &str, version: Version) -> Result<(), Reply> {
    let Some(value) = body.get(key) else { return Ok(()) };
    let id = id_of(value).unwrap_or(0);
    if !world.is_active_user(id) {
        return Err(bad_request(version, format!("{key}: User with id {id} was not found or is not active")));
    }
    row.set(key, id);
    Ok(())
}

/// Takes a link to a record that must be there; null clears it.
pub(super) fn link(
    world: &World,
    body: &Object,
    row: &mut Row,
    key: &str,
    target: Entity,
    version: Version,
) -> Result<(), Reply> {
    let Some(value) = body.get(key) else { return Ok(()) };
    if value.is_null() {
        row.set(key, Value::Null);
        return Ok(());
    }
    let found = match (target, value) {
        (Entity::Lead, Value::String(text)) => world.lead_number(text).and_then(|n| world.table(Entity::Lead).alive(n)),
        (_, value) => id_of(value).and_then(|id| world.table(target).alive(id)),
    };
    let Some(found) = found else {
        return Err(bad_request(version, format!("{key}: {} was not found", capital(target.word()))));
    };
    let id = found.object.get("id").cloned().unwrap_or(Value::Null);
    row.set(key, id);
    Ok(())
}

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map(|c| c.to_ascii_uppercase().to_string() + chars.as_str()).unwrap_or_default()
}

/// Takes `visible_to` of v2, a number.
pub(super) fn visible_to(body: &Object, row: &mut Row) -> Result<(), Reply> {
    let Some(value) = body.get("visible_to") else { return Ok(()) };
    let id = id_of(value).unwrap_or(0);
    if !VISIBLE.contains(&id) {
        return Err(bad_request(Version::V2, "visible_to: Invalid visibility group"));
    }
    row.set("visible_to", id);
    Ok(())
}

/// Takes `label_ids` of v2, options of the field of that name.
pub(super) fn labels(world: &World, entity: Entity, body: &Object, row: &mut Row) -> Result<(), Reply> {
    let Some(Value::Array(list)) = body.get("label_ids") else { return Ok(()) };
    let mut ids: Vec<u64> = Vec::new();
    for value in list {
        let id = id_of(value).unwrap_or(0);
        if !world.fields(entity).has_option("label_ids", id) {
            return Err(bad_request(Version::V2, format!("label_ids: Label with id {id} was not found")));
        }
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    row.set("label_ids", ids);
    Ok(())
}

/// Takes a list of e-mails, phones or messengers: it replaces the one before; at most one may be primary, else the first is.
pub(super) fn addresses(body: &Object, row: &mut Row, key: &str, default_label: &str) -> Result<(), Reply> {
    let Some(Value::Array(list)) = body.get(key) else { return Ok(()) };
    let primaries = list.iter().filter(|v| v.get("primary") == Some(&Value::Bool(true))).count();
    if primaries > 1 {
        return Err(bad_request(Version::V2, format!("{key}: Only one item can be primary")));
    }
    let mut kept = Vec::with_capacity(list.len());
    for (i, item) in list.iter().enumerate() {
        let Some(value) = item.get("value") else {
            return Err(super::reply::schema(Version::V2, &[format!("{key}.{i}.value: Required")]));
        };
        let primary = if primaries == 0 { i == 0 } else { item.get("primary") == Some(&Value::Bool(true)) };
        let label = item.get("label").cloned().unwrap_or_else(|| default_label.into());
        kept.push(json!({ "value": value, "primary": primary, "label": label }));
    }
    row.set(key, kept);
    Ok(())
}

/// Takes a postal address; the parts that are left out become null.
pub(super) fn postal(body: &Object, row: &mut Row, key: &str) -> Result<(), Reply> {
    let Some(value) = body.get(key) else { return Ok(()) };
    let Value::Object(object) = value else {
        row.set(key, Value::Null);
        return Ok(());
    };
    let kept = super::custom::address(object, key).map_err(|p| super::reply::schema(Version::V2, &[p]))?;
    row.set(key, kept);
    Ok(())
}

/// Takes `add_time` of a creation.
pub(super) fn add_time(body: &Object, row: &mut Row) -> Result<(), Reply> {
    let Some(text) = body.get("add_time").and_then(Value::as_str) else { return Ok(()) };
    let Some(ms) = clock::parse_whole_seconds(text) else {
        return Err(super::reply::schema(Version::V2, &["add_time: Invalid date-time".to_owned()]));
    };
    row.added = ms;
    row.set("add_time", clock::v2_time(ms));
    Ok(())
}

/// A text that may not be blank.
pub(super) fn not_blank(body: &Object, key: &str, version: Version) -> Result<(), Reply> {
    match body.get(key).and_then(Value::as_str) {
        Some(text) if text.trim().is_empty() => Err(bad_request(version, format!("{key}: must not be empty"))),
        _ => Ok(()),
    }
}

/// A date, or null.
pub(super) fn date(body: &Object, row: &mut Row, key: &str) -> Result<(), Reply> {
    match body.get(key) {
        Some(Value::String(text)) if !clock::is_date(text) => {
            Err(super::reply::schema(Version::V2, &[format!("{key}: Invalid date, expected YYYY-MM-DD")]))
        }
        Some(value) => {
            row.object.insert(key.to_owned(), value.clone());
            Ok(())
        }
        None => Ok(()),
    }
}
