//! `data` of a webhook: the record itself without what is derived from others, its custom fields as objects with a type.
//!
//! It is neither the shape of v1 nor that of v2: `visible_to` is a text everywhere, times are RFC 3339.

use serde_json::{Value, json};

use super::Subject;
use crate::mock::clock;
use crate::mock::definitions::Field;
use crate::mock::directory;
use crate::mock::entity::Entity;
use crate::mock::table::{Object, Row};
use crate::mock::world::World;

/// What answers of the API hold and webhooks do not.
const LEFT_OUT: [&str; 9] = [
    "is_deleted",
    "local_won_date",
    "local_lost_date",
    "local_close_date",
    "acv",
    "arr",
    "mrr",
    "source_deal_id",
    "last_update_user_id",
];

/// A record as webhooks show it; `None` when it is not there or deleted.
pub(super) fn of(world: &World, subject: Subject) -> Option<Object> {
    let listed = |found: Option<&Object>| {
        let alive = found.filter(|o| o.get("is_deleted") != Some(&Value::Bool(true)))?;
        Some(without_extras(alive))
    };
    match subject {
        Subject::Record(entity, id) => world.table(entity).alive(id).map(|row| record(world, entity, row)),
        Subject::Pipeline(id) => listed(world.pipelines.get(&id)),
        Subject::Stage(id) => listed(world.stages.get(&id)),
        Subject::User(id) => world.users.iter().find(|u| u.id == id).map(directory::plain_user),
    }
}

fn without_extras(object: &Object) -> Object {
    object.iter().filter(|(key, _)| !LEFT_OUT.contains(&key.as_str())).map(|(k, v)| (k.clone(), v.clone())).collect()
}

fn record(world: &World, entity: Entity, row: &Row) -> Object {
    let mut data = without_extras(&row.object);
    match entity {
        // A lead's visibility is not told.
        Entity::Lead => drop(data.remove("visible_to")),
        Entity::Note => {
            data.insert("add_time".to_owned(), clock::v2_time(row.added).into());
            data.insert("update_time".to_owned(), clock::v2_time(row.updated).into());
        }
        _ => {}
    }
    if let Some(visible) = data.get_mut("visible_to")
        && visible.is_number()
    {
        *visible = visible.to_string().into();
    }
    if !matches!(entity, Entity::Activity | Entity::Note) {
        let fields = world.fields(entity.fields_of()).custom();
        let all = fields.map(|f| (f.code.clone(), row.custom.get(&f.code).map_or(Value::Null, |v| custom(f, v))));
        data.insert("custom_fields".to_owned(), Value::Object(all.collect()));
    }
    data
}

/// A custom field's value as an object that names its type.
fn custom(field: &Field, value: &Value) -> Value {
    let kind = field.kind.as_str();
    let part = |key: &str| value.get(key).cloned().unwrap_or(Value::Null);
    match kind {
        "enum" | "user" | "org" | "people" => json!({ "type": kind, "id": value }),
        "set" => {
            let values: Vec<Value> = value.as_array().into_iter().flatten().map(|id| json!({ "id": id })).collect();
            json!({ "type": kind, "values": values })
        }
        "monetary" => json!({ "type": kind, "value": part("value"), "currency": part("currency") }),
        "daterange" => json!({ "type": kind, "from": part("value"), "until": part("until") }),
        "time" => json!({ "type": kind, "value": part("value"), "timezone_id": part("timezone_id") }),
        "timerange" => {
            json!({ "type": kind, "from": part("value"), "until": part("until"), "timezone_id": part("timezone_id") })
        }
        "address" => {
            let mut all = value.as_object().cloned().unwrap_or_default();
            all.insert("type".to_owned(), kind.into());
            Value::Object(all)
        }
        _ => json!({ "type": kind, "value": value }),
    }
}
