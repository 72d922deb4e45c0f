//! Custom field values: what v2 and v1 bodies may hold per type, and how v1 shows them.
//!
//! Values are kept in the v2 shape; null clears and is not kept.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::clock;
use super::definitions::Field;
use super::entity::Entity;
use super::table::Object;
use super::validate::{is_integer, type_name};
use super::world::World;

/// The parts of an address, the whole of it first.
pub(super) const ADDRESS_PARTS: [&str; 10] = [
    "value",
    "country",
    "admin_area_level_1",
    "admin_area_level_2",
    "locality",
    "sublocality",
    "route",
    "street_number",
    "subpremise",
    "postal_code",
];

/// What a text field holds at most.
const VARCHAR_MAX: usize = 255;

/// Puts `custom_fields` of a v2 body into `custom`; gives every problem.
pub(super) fn apply_v2(world: &World, entity: Entity, given: &Value, custom: &mut BTreeMap<String, Value>) -> Vec<String> {
    let Value::Object(given) = given else {
        return vec![format!("custom_fields: Expected object, received {}", type_name(given))];
    };
    let fields = world.fields(entity.fields_of());
    let mut problems = Vec::new();
    for (key, value) in given {
        let Some(field) = fields.custom_field(key) else {
            problems.push(format!("custom_fields: Parameter '{key}' is not allowed for this request"));
            continue;
        };
        if value.is_null() {
            custom.remove(key);
            continue;
        }
        match check(world, field, value) {
            Ok(value) => {
                custom.insert(key.clone(), value);
            }
            Err(problem) => problems.push(format!("custom_fields: {problem}")),
        }
    }
    problems
}

fn expected(word: &str, what: &str, field: &Field, value: &Value) -> String {
    format!("Expected '{word}' as value for {what} custom field '{}', received '{}'", field.code, type_name(value))
}

/// Checks a v2 value and gives it as it is kept.
fn check(world: &World, field: &Field, value: &Value) -> Result<Value, String> {
    match field.kind.as_str() {
        "varchar" | "varchar_auto" | "phone" | "text" => {
            let text = value.as_str().ok_or_else(|| expected("string", "text", field, value))?;
            if field.kind != "text" && text.chars().count() > VARCHAR_MAX {
                return Err(format!("Value of custom field '{}' is longer than {VARCHAR_MAX} characters", field.code));
            }
            Ok(value.clone())
        }
        "double" => value.is_number().then(|| value.clone()).ok_or_else(|| expected("number", "numeric", field, value)),
        "monetary" => monetary(world, field, value),
        "enum" => {
            let id = whole(value).ok_or_else(|| expected("number", "single option", field, value))?;
            option(field, id)
        }
        "set" => {
            let list = value.as_array().ok_or_else(|| expected("array", "multiple option", field, value))?;
            if list.is_empty() {
                return Err(format!("Expected at least one option for multiple option custom field '{}'", field.code));
            }
            let mut ids = Vec::new();
            for v in list {
                let id = option(field, whole(v).ok_or_else(|| expected("number", "multiple option", field, v))?)?;
                if !ids.contains(&id) {
                    ids.push(id);
                }
            }
            Ok(Value::Array(ids))
        }
        "user" => reference(field, value, |id| world.users.iter().any(|u| u.id == id)),
        "org" => reference(field, value, |id| world.table(Entity::Organization).alive(id).is_some()),
        "people" => reference(field, value, |id| world.table(Entity::Person).alive(id).is_some()),
        "date" => date(field, value),
        "daterange" => {
            let (value, until) = range(field, value, &["value", "until"])?;
            Ok(json!({ "value": date(field, value)?, "until": date(field, until)? }))
        }
        "time" => {
            let object = value.as_object().ok_or_else(|| expected("object", "time", field, value))?;
            only(field, object, &["value", "timezone_id", "timezone_name"])?;
            let mut kept = json!({ "value": time(field, object.get("value").unwrap_or(&Value::Null))? });
            zone(object, &mut kept);
            Ok(kept)
        }
        "timerange" => {
            let (from, until) = range(field, value, &["value", "until", "timezone_id", "timezone_name"])?;
            let mut kept = json!({ "value": time(field, from)?, "until": time(field, until)? });
            if let Some(object) = value.as_object() {
                zone(object, &mut kept);
            }
            Ok(kept)
        }
        "address" => {
            let object = value.as_object().ok_or_else(|| expected("object", "address", field, value))?;
            address(object, &field.code)
        }
        other => Err(format!("Custom field '{}' of type '{other}' cannot be written", field.code)),
    }
}

/// An address object: `value` is needed, the parts that are left out become null.
pub(super) fn address(object: &Object, at: &str) -> Result<Value, String> {
    if !object.get("value").is_some_and(Value::is_string) {
        return Err(format!("{at}.value: Required"));
    }
    if let Some(key) = object.keys().find(|k| !ADDRESS_PARTS.contains(&k.as_str()) && *k != "formatted_address") {
        return Err(format!("Parameter '{at}.{key}' is not allowed for this request"));
    }
    let mut kept = Map::new();
    for part in ADDRESS_PARTS {
        let value = object.get(part).cloned().unwrap_or(Value::Null);
        if !value.is_null() && !value.is_string() {
            return Err(format!("{at}.{part}: Expected string, received {}", type_name(&value)));
        }
        kept.insert(part.to_owned(), value);
    }
    Ok(Value::Object(kept))
}

fn whole(value: &Value) -> Option<u64> {
    if !is_integer(value) {
        return None;
    }
    value.as_u64().or_else(|| value.as_f64().filter(|f| *f >= 0.0).map(|f| f as u64))
}

fn option(field: &Field, id: u64) -> Result<Value, String> {
    if field.has_option(id) {
        Ok(json!(id))
    } else {
        Err(format!("Option '{id}' does not exist for custom field '{}'", field.code))
    }
}

fn reference(field: &Field, value: &Value, exists: impl Fn(u64) -> bool) -> Result<Value, String> {
    let id = whole(value).ok_or_else(|| expected("number", &field.kind, field, value))?;
    if exists(id) { Ok(json!(id)) } else { Err(format!("'{id}' does not exist for custom field '{}'", field.code)) }
}

fn monetary(world: &World, field: &Field, value: &Value) -> Result<Value, String> {
    let object = value.as_object().ok_or_else(|| expected("object", "monetary", field, value))?;
    only(field, object, &["value", "currency"])?;
    let amount = object.get("value").unwrap_or(&Value::Null);
    if !amount.is_number() {
        return Err(expected("number", "monetary", field, amount));
    }
    match object.get("currency").and_then(Value::as_str) {
        Some(currency) if world.has_currency(currency) => Ok(json!({ "value": amount, "currency": currency })),
        Some(currency) => Err(format!("Currency '{currency}' does not exist for custom field '{}'", field.code)),
        None => Err(format!("Currency is required for monetary custom field '{}'", field.code)),
    }
}

/// An empty date is taken and becomes the zero date: Pipedrive's own trap.
fn date(field: &Field, value: &Value) -> Result<Value, String> {
    match value.as_str() {
        Some("") => Ok(json!("0000-00-00")),
        Some(text) if clock::is_date(text) => Ok(value.clone()),
        _ => Err(format!("Expected a date as YYYY-MM-DD for custom field '{}'", field.code)),
    }
}

fn time(field: &Field, value: &Value) -> Result<Value, String> {
    value
        .as_str()
        .and_then(|t| clock::parse_time_of_day(t, 23))
        .map(Value::String)
        .ok_or_else(|| format!("Expected a time as HH:MM:SS for custom field '{}'", field.code))
}

fn range<'v>(field: &Field, value: &'v Value, keys: &[&str]) -> Result<(&'v Value, &'v Value), String> {
    let object = value.as_object().ok_or_else(|| expected("object", "range", field, value))?;
    only(field, object, keys)?;
    match (object.get("value"), object.get("until")) {
        (Some(from), Some(until)) => Ok((from, until)),
        _ => Err(format!("Both 'value' and 'until' are required for custom field '{}'", field.code)),
    }
}

fn only(field: &Field, object: &Object, keys: &[&str]) -> Result<(), String> {
    match object.keys().find(|k| !keys.contains(&k.as_str())) {
        Some(key) => Err(format!("Parameter '{}.{key}' is not allowed for this request", field.code)),
        None => Ok(()),
    }
}

fn zone(from: &Object, kept: &mut Value) {
    for key in ["timezone_id", "timezone_name"] {
        if let Some(v) = from.get(key) {
            kept[key] = v.clone();
        }
    }
}

/// Splits a root key of a v1 body into the custom field and the part: `<key>_currency` gives `currency`.
pub(super) fn v1_key<'k>(world: &World, entity: Entity, key: &'k str) -> Option<(&'k str, &'k str)> {
    let (base, rest) = key.split_at_checked(40)?;
    world.fields(entity.fields_of()).custom_field(base)?;
    if rest.is_empty() { Some((base, "")) } else { rest.strip_prefix('_').map(|part| (base, part)) }
}

/// Puts the custom fields at the root of a v1 body into `custom`; gives every problem.
pub(super) fn apply_v1(world: &World, entity: Entity, body: &Object, custom: &mut BTreeMap<String, Value>) -> Vec<String> {
    let fields = world.fields(entity.fields_of());
    let mut problems = Vec::new();
    for (key, value) in body {
        let Some((base, part)) = v1_key(world, entity, key) else { continue };
        let Some(field) = fields.custom_field(base) else { continue };
        if !part.is_empty() {
            if !v1_part_fits(field, part) {
                problems.push(format!("Parameter '{key}' is not allowed for this request"));
            } else if !body.contains_key(base) {
                problems.push(format!("{key}: needs '{base}' beside it"));
            }
            continue;
        }
        if value.is_null() {
            custom.remove(base);
            continue;
        }
        match v1_to_v2(world, field, base, value, body).and_then(|v| check(world, field, &v)) {
            Ok(v) => {
                custom.insert(base.to_owned(), v);
            }
            Err(problem) => problems.push(problem),
        }
    }
    problems
}

fn v1_part_fits(field: &Field, part: &str) -> bool {
    match field.kind.as_str() {
        "monetary" => part == "currency",
        "daterange" => part == "until",
        "time" => part == "timezone_id",
        "timerange" => matches!(part, "until" | "timezone_id"),
        "address" => part == "formatted_address" || ADDRESS_PARTS[1..].contains(&part),
        _ => false,
    }
}

fn v1_to_v2(world: &World, field: &Field, base: &str, value: &Value, body: &Object) -> Result<Value, String> {
    let part = |name: &str| body.get(&format!("{base}_{name}")).filter(|v| !v.is_null());
    let number = |text: &str| text.trim().parse::<u64>().map(Value::from);
    Ok(match field.kind.as_str() {
        "enum" => match value.as_str() {
            Some(text) => number(text).map_err(|_| expected("option id", "single option", field, value))?,
            None => value.clone(),
        },
        "set" => {
            let text = value.as_str().ok_or_else(|| expected("string", "multiple option", field, value))?;
            let ids: Result<Vec<Value>, _> = text.split(',').map(number).collect();
            Value::Array(ids.map_err(|_| expected("option ids", "multiple option", field, value))?)
        }
        "monetary" => {
            let currency = part("currency").cloned().unwrap_or_else(|| world.default_currency.as_str().into());
            json!({ "value": value, "currency": currency })
        }
        "daterange" => json!({ "value": value, "until": part("until") }),
        "time" | "timerange" => {
            let mut out = json!({ "value": value });
            for name in ["until", "timezone_id"] {
                if let Some(v) = part(name) {
                    out[name] = v.clone();
                }
            }
            out
        }
        "address" => {
            let mut out = json!({ "value": value });
            for name in &ADDRESS_PARTS[1..] {
                if let Some(v) = part(name) {
                    out[*name] = v.clone();
                }
            }
            out
        }
        _ => value.clone(),
    })
}

/// Writes custom values to the root of a v1 object.
pub(super) fn render_v1(world: &World, entity: Entity, custom: &BTreeMap<String, Value>, object: &mut Object) {
    let fields = world.fields(entity.fields_of());
    for (key, value) in custom {
        let Some(field) = fields.custom_field(key) else { continue };
        match field.kind.as_str() {
            "enum" => {
                object.insert(key.clone(), value.to_string().into());
            }
            "set" => {
                let ids: Vec<String> = value.as_array().into_iter().flatten().map(Value::to_string).collect();
                object.insert(key.clone(), ids.join(",").into());
            }
            _ => match value {
                Value::Object(parts) => {
                    for (part, v) in parts {
                        let name = if part == "value" { key.clone() } else { format!("{key}_{part}") };
                        object.insert(name, v.clone());
                    }
                }
                plain => {
                    object.insert(key.clone(), plain.clone());
                }
            },
        }
    }
}
