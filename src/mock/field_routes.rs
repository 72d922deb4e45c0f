//! Field definitions over HTTP: the v2 field endpoints with their options, and the v1 lists.

use serde_json::{Value, json};

use super::call::Call;
use super::common::id_of;
use super::definitions::{Field, FieldOption, key_of};
use super::entity::Entity;
use super::list::{cursor_text, limit, read_cursor};
use super::reply::{Handled, Reply, Version, bad_request, forbidden};
use super::world::World;

/// GET of all fields.
pub(super) fn list(world: &World, call: &Call<'_>, entity: Entity) -> Handled {
    let limit = limit(call, 500)?;
    let start = read_cursor(call)?.and_then(|c| c["offset"].as_u64()).and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
    let all: Vec<Value> = world.fields(entity).iter().map(Field::v2).collect();
    let next = (all.len() > start + limit).then(|| cursor_text(&json!({ "offset": start + limit })));
    Ok(Reply::cursor_page(all.into_iter().skip(start).take(limit).collect(), next))
}

fn find<'w>(world: &'w World, call: &Call<'_>, entity: Entity) -> Result<&'w Field, Reply> {
    world.fields(entity).get(call.id()).ok_or_else(|| call.missing())
}

/// A field that may be changed.
fn find_custom<'w>(world: &'w mut World, call: &Call<'_>, entity: Entity) -> Result<&'w mut Field, Reply> {
    let field = world.fields_mut(entity).get_mut(call.id()).ok_or_else(|| call.missing())?;
    if field.custom { Ok(field) } else { Err(forbidden("Standard fields cannot be changed")) }
}

/// GET of one field.
pub(super) fn get(world: &World, call: &Call<'_>, entity: Entity) -> Handled {
    Ok(Reply::data(find(world, call, entity)?.v2()))
}

/// Adds a custom field; gives its key.
pub(super) fn add(world: &mut World, entity: Entity, name: &str, kind: &str, options: &[&str]) -> String {
    let mut salt = 0;
    let mut code = key_of(entity, name, salt);
    while world.fields(entity).get(&code).is_some() {
        salt += 1;
        code = key_of(entity, name, salt);
    }
    let options = options.iter().map(|label| new_option(world, label)).collect();
    let number = world.next_field;
    world.next_field += 1;
    world.fields_mut(entity).push(Field {
        number,
        code: code.clone(),
        name: name.to_owned(),
        kind: kind.to_owned(),
        options,
        custom: true,
        optional: false,
        required: false,
        description: None,
    });
    code
}

/// A new option with the account's next id.
pub(super) fn new_option(world: &mut World, label: &str) -> FieldOption {
    let id = world.next_option;
    world.next_option += 1;
    FieldOption { id, label: label.to_owned(), color: None }
}

/// POST of a field.
pub(super) fn create(world: &mut World, call: &Call<'_>, entity: Entity) -> Handled {
    let body = call.object();
    let text = |key: &str| body.get(key).and_then(Value::as_str).unwrap_or_default();
    let kind = text("field_type");
    let list = body.get("options").and_then(Value::as_array).cloned().unwrap_or_default();
    let labels: Vec<&str> = list.iter().filter_map(|o| o.get("label")?.as_str()).collect();
    match (matches!(kind, "enum" | "set"), labels.is_empty()) {
        (true, true) => return Err(bad_request(Version::V2, "options: required for fields of type enum and set")),
        (false, false) => return Err(bad_request(Version::V2, "options: only for fields of type enum and set")),
        _ => {}
    }
    let code = add(world, entity, text("field_name"), kind, &labels);
    let Some(field) = world.fields_mut(entity).get_mut(&code) else { return Err(call.missing()) };
    field.description = body.get("description").and_then(Value::as_str).map(str::to_owned);
    Ok(Reply::data(field.v2()))
}

/// PATCH of a field.
pub(super) fn update(world: &mut World, call: &Call<'_>, entity: Entity) -> Handled {
    let body = call.object();
    let field = find_custom(world, call, entity)?;
    if let Some(name) = body.get("field_name").and_then(Value::as_str) {
        name.clone_into(&mut field.name);
    }
    if let Some(description) = body.get("description") {
        field.description = description.as_str().map(str::to_owned);
    }
    Ok(Reply::data(field.v2()))
}

/// DELETE of a field: its key is unknown from then on, and values of it are gone.
pub(super) fn delete(world: &mut World, call: &Call<'_>, entity: Entity) -> Handled {
    find_custom(world, call, entity)?;
    let field = remove(world, entity, call.id()).ok_or_else(|| call.missing())?;
    Ok(Reply::data(field.v2()))
}

/// Takes a custom field away, with the values that records have of it.
pub(super) fn remove(world: &mut World, entity: Entity, code: &str) -> Option<Field> {
    let field = world.fields_mut(entity).remove(code)?;
    world.table_mut(entity).forget_custom(code);
    if entity == Entity::Deal {
        world.table_mut(Entity::Lead).forget_custom(code);
    }
    Some(field)
}

fn optioned<'w>(world: &'w mut World, call: &Call<'_>, entity: Entity) -> Result<&'w mut Field, Reply> {
    let field = world.fields_mut(entity).get_mut(call.id()).ok_or_else(|| call.missing())?;
    if matches!(field.kind.as_str(), "enum" | "set") && (field.custom || field.code == "label_ids") {
        Ok(field)
    } else {
        Err(bad_request(Version::V2, "options can be changed for custom fields of type enum and set only"))
    }
}

fn given<'c>(call: &'c Call<'_>) -> Result<&'c [Value], Reply> {
    let list = call.body.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if list.is_empty() { Err(bad_request(Version::V2, "at least one option is required")) } else { Ok(list) }
}

fn shown(options: &[FieldOption]) -> Reply {
    Reply::page(options.iter().map(|o| json!({ "id": o.id, "label": o.label })).collect(), Value::Null)
}

/// POST of options.
pub(super) fn add_options(world: &mut World, call: &Call<'_>, entity: Entity) -> Handled {
    let known: Vec<String> = optioned(world, call, entity)?.options.iter().map(|o| o.label.clone()).collect();
    let mut added = Vec::new();
    for item in given(call)? {
        let label = item.get("label").and_then(Value::as_str).unwrap_or_default();
        if known.iter().any(|k| k == label) {
            return Err(bad_request(Version::V2, format!("option '{label}' exists already")));
        }
        added.push(new_option(world, label));
    }
    optioned(world, call, entity)?.options.extend(added.iter().cloned());
    Ok(shown(&added))
}

/// PATCH of options.
pub(super) fn update_options(world: &mut World, call: &Call<'_>, entity: Entity) -> Handled {
    let field = optioned(world, call, entity)?;
    let mut changed = Vec::new();
    for item in given(call)? {
        let id = item.get("id").and_then(id_of).unwrap_or(0);
        let Some(option) = field.options.iter_mut().find(|o| o.id == id) else {
            return Err(bad_request(Version::V2, format!("option {id} was not found")));
        };
        item.get("label").and_then(Value::as_str).unwrap_or_default().clone_into(&mut option.label);
        changed.push(option.clone());
    }
    Ok(shown(&changed))
}

/// DELETE of options.
pub(super) fn delete_options(world: &mut World, call: &Call<'_>, entity: Entity) -> Handled {
    let field = optioned(world, call, entity)?;
    let mut gone = Vec::new();
    for item in given(call)? {
        let id = item.get("id").and_then(id_of).unwrap_or(0);
        let Some(at) = field.options.iter().position(|o| o.id == id) else {
            return Err(bad_request(Version::V2, format!("option {id} was not found")));
        };
        gone.push(field.options.remove(at));
    }
    Ok(shown(&gone))
}

/// The v1 lists of fields; a lead's hold the deals' custom fields too.
pub(super) fn v1(world: &World, call: &Call<'_>, entity: Entity) -> Handled {
    let mut all: Vec<&Field> = world.fields(entity).iter().collect();
    if entity == Entity::Lead {
        all.extend(world.fields(Entity::Deal).custom());
    }
    let shown: Vec<Value> = all.iter().enumerate().map(|(i, f)| f.v1(i)).collect();
    if entity != Entity::Lead {
        let limit = shown.len().max(100);
        let place = json!({ "start": 0, "limit": limit, "more_items_in_collection": false });
        return Ok(Reply::page(shown.into(), json!({ "pagination": place })));
    }
    let limit = limit(call, 500)?;
    let start = usize::try_from(call.int("start").unwrap_or(0)).unwrap_or(0);
    let more = shown.len() > start + limit;
    let data: Vec<Value> = shown.into_iter().skip(start).take(limit).collect();
    Ok(Reply::page(data.into(), json!({ "start": start, "limit": limit, "more_items_in_collection": more })))
}
