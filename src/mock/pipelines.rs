//! Pipelines and stages.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::call::Call;
use super::clock;
use super::common::{id_of, not_blank};
use super::hooks::{self, Subject};
use super::list::{cursor_text, limit, read_cursor};
use super::reply::{Handled, Reply, Version, bad_request};
use super::table::Object;
use super::world::World;

const fn map(world: &World, stages: bool) -> &BTreeMap<u64, Object> {
    if stages { &world.stages } else { &world.pipelines }
}

const fn map_mut(world: &mut World, stages: bool) -> &mut BTreeMap<u64, Object> {
    if stages { &mut world.stages } else { &mut world.pipelines }
}

const fn subject(stages: bool, id: u64) -> Subject {
    if stages { Subject::Stage(id) } else { Subject::Pipeline(id) }
}

fn alive(object: &Object) -> bool {
    object.get("is_deleted") != Some(&Value::Bool(true))
}

/// The list. An unknown pipeline has no stages, which is no error.
pub(super) fn list(world: &World, call: &Call<'_>, stages: bool) -> Handled {
    let limit = limit(call, 500)?;
    let start = read_cursor(call)?.and_then(|c| c["offset"].as_u64()).and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
    let pipeline = call.int("pipeline_id").map(|n| json!(n));
    let mut all: Vec<&Object> = map(world, stages)
        .values()
        .filter(|o| alive(o) && pipeline.as_ref().is_none_or(|p| o.get("pipeline_id") == Some(p)))
        .collect();
    let sort = call.param("sort_by").unwrap_or("id");
    all.sort_by_key(|o| match o.get(sort) {
        Some(Value::Number(n)) => (n.as_u64().unwrap_or(0), String::new()),
        other => (0, other.map(Value::to_string).unwrap_or_default()),
    });
    if call.param("sort_direction") == Some("desc") {
        all.reverse();
    }
    let next = (all.len() > start + limit).then(|| cursor_text(&json!({ "offset": start + limit })));
    Ok(Reply::cursor_page(all.into_iter().skip(start).take(limit).cloned().map(Value::Object).collect(), next))
}

/// One of them.
pub(super) fn get(world: &World, call: &Call<'_>, stages: bool) -> Handled {
    let found = map(world, stages).get(&call.number()?).filter(|o| alive(o));
    found.map(|o| Reply::data(Value::Object(o.clone()))).ok_or_else(|| call.missing())
}

fn check(world: &World, body: &Object) -> Result<(), Reply> {
    not_blank(body, "name", Version::V2)?;
    if let Some(id) = body.get("pipeline_id").and_then(id_of)
        && !world.pipelines.get(&id).is_some_and(alive)
    {
        return Err(bad_request(Version::V2, format!("pipeline_id: Pipeline with id {id} was not found")));
    }
    Ok(())
}

/// Adds one, as the API and the seed do.
pub(super) fn insert(world: &mut World, stages: bool, body: &Object, now: i64) -> u64 {
    let id = map(world, stages).keys().last().map_or(1, |last| last + 1);
    insert_as(world, stages, id, body, now);
    id
}

/// Adds one with an id of its own, behind the others of its pipeline.
pub(super) fn insert_as(world: &mut World, stages: bool, id: u64, body: &Object, now: i64) {
    hooks::touch(world, subject(stages, id));
    let mine = |o: &&Object| !stages || o.get("pipeline_id") == body.get("pipeline_id");
    let order = map(world, stages).values().filter(mine).count() + 1;
    let mut object = if stages {
        json!({ "deal_probability": 100, "is_deal_rot_enabled": false, "days_to_rotten": null })
    } else {
        json!({ "is_deal_probability_enabled": false })
    };
    for (key, value) in body {
        object[key] = value.clone();
    }
    let time = clock::v2_time(now);
    for (key, value) in [
        ("id", json!(id)),
        ("order_nr", json!(order)),
        ("is_deleted", json!(false)),
        ("add_time", json!(time)),
        ("update_time", json!(time)),
    ] {
        object[key] = value;
    }
    if let Value::Object(object) = object {
        map_mut(world, stages).insert(id, object);
    }
}

/// POST.
pub(super) fn create(world: &mut World, call: &Call<'_>, stages: bool) -> Handled {
    let body = call.object();
    check(world, &body)?;
    let id = insert(world, stages, &body, call.now);
    Ok(Reply::data(map(world, stages).get(&id).cloned().map_or(Value::Null, Value::Object)))
}

/// PATCH.
pub(super) fn update(world: &mut World, call: &Call<'_>, stages: bool) -> Handled {
    let body = call.object();
    check(world, &body)?;
    let id = call.number()?;
    hooks::touch(world, subject(stages, id));
    let Some(object) = map_mut(world, stages).get_mut(&id).filter(|o| alive(o)) else { return Err(call.missing()) };
    object.extend(body);
    object.insert("update_time".to_owned(), clock::v2_time(call.now).into());
    Ok(Reply::data(Value::Object(object.clone())))
}

/// DELETE.
pub(super) fn delete(world: &mut World, call: &Call<'_>, stages: bool) -> Handled {
    let id = call.number()?;
    hooks::touch(world, subject(stages, id));
    let Some(object) = map_mut(world, stages).get_mut(&id).filter(|o| alive(o)) else { return Err(call.missing()) };
    object.insert("is_deleted".to_owned(), true.into());
    Ok(Reply::data(json!({ "id": id })))
}
