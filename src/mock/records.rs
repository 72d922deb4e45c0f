//! Reading, creating, changing and deleting one record of any kind.

use serde_json::{Value, json};

use super::call::Call;
use super::clock;
use super::custom;
use super::entity::Entity;
use super::reply::{Handled, Reply, Version, schema};
use super::table::{Object, Row};
use super::world::World;
use super::{activity, deal, lead, note, person};

/// How long a deleted record can still be read by its id.
const PURGE_AFTER_MS: i64 = 30 * 86_400_000;

fn missing(call: &Call<'_>, entity: Entity) -> Reply {
    if entity == Entity::Lead { lead::missing() } else { call.missing() }
}

/// The record of the path, deleted or not.
fn find<'w>(world: &'w World, call: &Call<'_>, entity: Entity) -> Result<&'w Row, Reply> {
    if entity == Entity::Lead {
        if uuid::Uuid::try_parse(call.id()).is_err() {
            return Err(schema(Version::V1, &["id: Invalid uuid".to_owned()]));
        }
    } else {
        call.number()?;
    }
    world.by_path_id(entity, call.id()).ok_or_else(|| missing(call, entity))
}

/// A record that can be written.
fn find_alive(world: &World, call: &Call<'_>, entity: Entity) -> Result<Row, Reply> {
    let row = find(world, call, entity)?;
    if row.deleted { Err(missing(call, entity)) } else { Ok(row.clone()) }
}

/// GET of one record. A deleted one can be read until it is purged, but for leads.
pub(super) fn get(world: &World, call: &Call<'_>, entity: Entity) -> Handled {
    let row = find(world, call, entity)?;
    let purged = row.deleted && (entity == Entity::Lead || call.now - row.updated >= PURGE_AFTER_MS);
    if purged {
        return Err(missing(call, entity));
    }
    let mut object = world.render(entity, row);
    super::options::apply(world, call, entity, row, &mut object)?;
    Ok(Reply::data(Value::Object(object)))
}

/// Applies a body to a row.
fn write(world: &World, entity: Entity, row: &mut Row, body: &Object, creating: bool, now: i64) -> Result<(), Reply> {
    match entity {
        Entity::Person => person::write_person(world, row, body, creating)?,
        Entity::Organization => person::write_organization(world, row, body, creating)?,
        Entity::Deal => deal::write(world, row, body, creating, now)?,
        Entity::Activity => activity::write(world, row, body, creating, now)?,
        Entity::Lead => lead::write(world, row, body, creating)?,
        Entity::Note => note::write(world, row, body, creating)?,
    }
    if let Some(given) = body.get("custom_fields") {
        let mut values = std::mem::take(&mut row.custom);
        let problems = custom::apply_v2(world, entity, given, &mut values);
        row.custom = values;
        if !problems.is_empty() {
            return Err(schema(Version::V2, &problems));
        }
    }
    Ok(())
}

/// The times and marks that every record carries.
pub(super) fn stamp(entity: Entity, row: &mut Row, creating: bool, now: i64) {
    row.updated = now;
    let time = |ms: i64| match entity {
        Entity::Lead => clock::lead_time(ms),
        Entity::Note => clock::v1_time(ms),
        _ => clock::v2_time(ms),
    };
    if creating {
        row.set("add_time", time(row.added));
        match entity {
            Entity::Lead | Entity::Note => {}
            _ => row.set("is_deleted", false),
        }
    }
    row.set("update_time", time(now));
}

/// Makes a new record from a body, as the API and the seed do.
pub(super) fn insert(world: &mut World, entity: Entity, body: &Object, now: i64) -> Result<u64, Reply> {
    let mut row = Row::new(0, now);
    write(world, entity, &mut row, body, true, now)?;
    stamp(entity, &mut row, true, now);
    // Only now, so that a refused body uses up no id.
    let id = world.table_mut(entity).take_id();
    row.id = id;
    if entity == Entity::Lead {
        let uuid = world.take_uuid();
        row.set("id", uuid.to_string());
        world.lead_numbers.insert(uuid, id);
    } else {
        row.set("id", id);
    }
    world.put(entity, row, now);
    Ok(id)
}

/// POST.
pub(super) fn create(world: &mut World, call: &Call<'_>, entity: Entity) -> Handled {
    let id = insert(world, entity, &call.object(), call.now)?;
    let reply = shown(world, entity, id);
    Ok(if entity == Entity::Lead { reply.created() } else { reply })
}

/// A record as the answer to a write.
pub(super) fn shown(world: &World, entity: Entity, id: u64) -> Reply {
    let object = world.table(entity).get(id).map(|row| world.render(entity, row)).unwrap_or_default();
    Reply::data(Value::Object(object))
}

/// PATCH and PUT: only what is given changes.
pub(super) fn update(world: &mut World, call: &Call<'_>, entity: Entity) -> Handled {
    let mut row = find_alive(world, call, entity)?;
    let body = call.object();
    let before = world.render(entity, &row);
    write(world, entity, &mut row, &body, false, call.now)?;
    stamp(entity, &mut row, false, call.now);
    let id = row.id;
    let after = world.render(entity, &row);
    world.changelog.note(entity, id, &before, &after, call.now);
    world.put(entity, row, call.now);
    Ok(shown(world, entity, id))
}

/// Marks a record as deleted.
pub(super) fn remove(world: &mut World, entity: Entity, mut row: Row, now: i64) {
    row.deleted = true;
    match entity {
        Entity::Note => row.set("active_flag", false),
        Entity::Lead => {}
        _ => row.set("is_deleted", true),
    }
    stamp(entity, &mut row, false, now);
    world.put(entity, row, now);
}

/// DELETE.
pub(super) fn delete(world: &mut World, call: &Call<'_>, entity: Entity) -> Handled {
    let row = find_alive(world, call, entity)?;
    let id = row.object.get("id").cloned().unwrap_or(Value::Null);
    remove(world, entity, row, call.now);
    Ok(Reply::data(if entity == Entity::Note { Value::Bool(true) } else { json!({ "id": id }) }))
}
