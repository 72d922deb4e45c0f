//! What was changed in persons, organizations and deals, field by field, as v1 tells it.
//!
//! Invariants: newest first; values are texts, as v1 has them; of a record the newest changes are kept. A creation is no change.

use std::collections::{HashMap, VecDeque};

use serde_json::{Value, json};

use super::call::Call;
use super::clock;
use super::entity::Entity;
use super::list::{cursor_text, limit, read_cursor};
use super::reply::{Handled, Reply};
use super::table::Object;
use super::world::{ME, World};

/// Changes that are kept of one record.
const KEPT: usize = 200;
/// `limit` at most.
const LIMIT_MAX: usize = 500;
/// What changes with every write, and what is told field by field.
const NOT_TOLD: [&str; 2] = ["update_time", "custom_fields"];

/// The changes of all records, the oldest of each first.
#[derive(Debug, Default)]
pub(super) struct Changelog(HashMap<(Entity, u64), VecDeque<Value>>);

impl Changelog {
    /// Notes what an update has changed. Both sides as answers show the record.
    pub(super) fn note(&mut self, entity: Entity, id: u64, before: &Object, after: &Object, now: i64) {
        if !is_told(entity) {
            return;
        }
        let (before, after) = (flat(entity, before), flat(entity, after));
        let changed = after.into_iter().filter_map(|(key, new)| {
            let old = before.iter().find(|(k, _)| *k == key).and_then(|(_, value)| value.clone());
            (old != new).then_some((key, old, new))
        });
        let list = self.0.entry((entity, id)).or_default();
        for (key, old, new) in changed {
            list.push_back(json!({
                "field_key": key, "old_value": old, "new_value": new, "actor_user_id": ME, "time": clock::v1_time(now),
                "change_source": "api", "change_source_user_agent": null, "is_bulk_update_flag": false,
            }));
        }
        let many = list.len().saturating_sub(KEPT);
        list.drain(..many);
    }
}

const fn is_told(entity: Entity) -> bool {
    matches!(entity, Entity::Person | Entity::Organization | Entity::Deal)
}

/// The fields of a record under the names of v1, with their values as texts.
fn flat(entity: Entity, record: &Object) -> Vec<(String, Option<String>)> {
    let custom = record.get("custom_fields").and_then(Value::as_object).into_iter().flatten();
    let standard = record.iter().filter(|(key, _)| !NOT_TOLD.contains(&key.as_str()));
    let mut all = Vec::new();
    for (key, value) in standard.chain(custom) {
        let key = match (entity, key.as_str()) {
            (_, "emails") => "email",
            (_, "phones") => "phone",
            (_, "label_ids") => "label",
            (Entity::Deal, "owner_id") => "user_id",
            (_, key) => key,
        };
        if let Some(currency) = value.get("currency") {
            all.push((format!("{key}_currency"), text(currency)));
        }
        all.push((key.to_owned(), text(value)));
    }
    all
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::Bool(flag) => Some(u8::from(*flag).to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) => Some(text.clone()).filter(|text| !text.is_empty()),
        Value::Array(items) if items.is_empty() => None,
        Value::Array(items) => Some(items.iter().filter_map(text).collect::<Vec<_>>().join(",")),
        Value::Object(map) => map.get("value").and_then(text),
    }
}

/// GET of a record's changes.
pub(super) fn list(world: &World, call: &Call<'_>, entity: Entity) -> Handled {
    let id = call.number()?;
    if !is_told(entity) || world.table(entity).get(id).is_none() {
        return Err(call.missing());
    }
    let limit = limit(call, LIMIT_MAX)?;
    let skipped = read_cursor(call)?.and_then(|cursor| usize::try_from(cursor.as_u64()?).ok()).unwrap_or(0);
    let changes = world.changelog.0.get(&(entity, id));
    let count = changes.map_or(0, VecDeque::len);
    let page = changes.into_iter().flat_map(|list| list.iter().rev()).skip(skipped).take(limit).cloned().collect();
    let next = (skipped + limit < count).then(|| cursor_text(&json!(skipped + limit)));
    Ok(Reply::cursor_page(page, next))
}
