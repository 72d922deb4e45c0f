//! Reading a field out of an entity as Pipedrive answers it, always in the v2 shape.

use serde_json::{Map, Value as Json, json};

use crate::crm::Address;
use crate::pipedrive::Kind;
use crate::plan::field::FieldRef;
use crate::plan::shape::Shape;

/// The field's value; null when it is empty or not there.
pub(in crate::plan) fn value(entity: &Map<String, Json>, field: &FieldRef<'_>) -> Json {
    match &field.address {
        Address::Standard(key) => standard(entity, field, key),
        Address::Custom(key) if field.kind.is_v2() => {
            plain(entity.get("custom_fields").and_then(|c| c.get(key)).unwrap_or(&Json::Null), field.shape)
        }
        Address::Custom(key) => from_v1(entity, key, field.shape),
    }
}

fn standard(entity: &Map<String, Json>, field: &FieldRef<'_>, key: &str) -> Json {
    let found = entity.get(key).unwrap_or(&Json::Null);
    match (field.kind, key) {
        // The person of an activity is its primary participant, whatever `person_id` says.
        (Kind::Activity, "person_id") => match primary_participant(entity) {
            Json::Null => plain(found, field.shape),
            person => person,
        },
        (Kind::Activity, "participants") if found.is_null() => match entity.get("person_id") {
            Some(id) if !id.is_null() => json!([{ "person_id": id, "primary": true }]),
            _ => Json::Null,
        },
        // Both names have been seen in answers.
        (Kind::Person, "im") if found.is_null() => entity.get("ims").cloned().unwrap_or(Json::Null),
        _ => plain(found, field.shape),
    }
}

fn primary_participant(entity: &Map<String, Json>) -> Json {
    let participants = entity.get("participants").and_then(Json::as_array);
    let primary = participants.and_then(|all| all.iter().find(|p| p.get("primary") == Some(&Json::Bool(true))));
    primary.and_then(|p| p.get("person_id")).cloned().unwrap_or(Json::Null)
}

/// Undoes the wrappings in which ids and numbers are seen: `{id, label}` of options, `{value, name}` of v1 links, digits in strings.
pub(super) fn plain(value: &Json, shape: Shape) -> Json {
    match shape {
        Shape::Choice | Shape::User | Shape::Link(_) | Shape::Named(_) | Shape::Stage | Shape::Pipeline | Shape::VisibleTo => {
            id_of(value)
        }
        Shape::Choices | Shape::Labels => match value {
            Json::Array(items) => items.iter().map(id_of).collect(),
            Json::String(ids) => ids.split(',').filter_map(|id| id.trim().parse::<i64>().ok()).map(Json::from).collect(),
            other => other.clone(),
        },
        Shape::Flag => match value {
            Json::Bool(flag) => i64::from(*flag).into(),
            other => other.clone(),
        },
        _ => value.clone(),
    }
}

fn id_of(value: &Json) -> Json {
    match value {
        Json::Object(map) => map.get("id").or_else(|| map.get("value")).map_or(Json::Null, id_of),
        Json::String(s) => s.trim().parse::<i64>().map_or_else(|_| value.clone(), Json::from),
        other => other.clone(),
    }
}

/// Leads have their custom fields at the root, in the shapes of the v1 API.
fn from_v1(entity: &Map<String, Json>, key: &str, shape: Shape) -> Json {
    let Some(value) = entity.get(key).filter(|v| !v.is_null()) else { return Json::Null };
    if value.is_object() && shape.is_composite() {
        return value.clone();
    }
    let beside = |suffix: &str| entity.get(&format!("{key}_{suffix}")).cloned().unwrap_or(Json::Null);
    match shape {
        Shape::Money => json!({ "value": value, "currency": beside("currency") }),
        Shape::DateRange | Shape::TimeRange => json!({ "value": value, "until": beside("until") }),
        Shape::ZonedTime | Shape::Address => json!({ "value": value }),
        shape => plain(value, shape),
    }
}
