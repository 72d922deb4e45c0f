//! Merging two records of a kind: the one of `merge_with_id` is kept, and its values win.

use serde_json::{Value, json};

use super::call::Call;
use super::common::id_of;
use super::entity::Entity;
use super::hooks::{self, Subject};
use super::records::{remove, stamp};
use super::reply::{Handled, Reply, Version, bad_request};
use super::table::Row;
use super::world::World;

/// PUT `/{kind}/{id}/merge`.
pub(super) fn merge(world: &mut World, call: &Call<'_>, entity: Entity) -> Handled {
    let from = call.number()?;
    let into = call.object().get("merge_with_id").and_then(id_of).unwrap_or(0);
    if from == into {
        return Err(bad_request(Version::V1, "A record cannot be merged with itself"));
    }
    let table = world.table(entity);
    let (Some(dropped), Some(kept)) = (table.alive(from).cloned(), table.alive(into).cloned()) else {
        return Err(call.missing());
    };
    hooks::merging(world, Subject::Record(entity, from), Subject::Record(entity, into));
    let mut kept = combine(kept, &dropped);
    stamp(entity, &mut kept, false, call.now);
    world.put(entity, kept, call.now);

    let (from, into) = (json!(from), json!(into));
    let key = match entity {
        Entity::Person => "person_id",
        Entity::Organization => "org_id",
        _ => "deal_id",
    };
    for target in [Entity::Person, Entity::Deal, Entity::Activity, Entity::Note] {
        if target.links().contains(&key) {
            world.relink(target, key, &from, key, &into, call.now);
        }
    }
    if entity == Entity::Person {
        participants(world, &from, &into, call.now);
    }
    match entity {
        Entity::Person => world.relink(Entity::Lead, "person_id", &from, "person_id", &into, call.now),
        Entity::Organization => world.relink(Entity::Lead, "organization_id", &from, "organization_id", &into, call.now),
        _ => {}
    }
    remove(world, entity, dropped, call.now);
    let mut shown = world.table(entity).get(into.as_u64().unwrap_or(0)).map(|r| r.object.clone()).unwrap_or_default();
    shown.insert("merge_what_id".to_owned(), from);
    shown.insert("active_flag".to_owned(), true.into());
    Ok(Reply::data(Value::Object(shown)))
}

/// Fills what the kept record lacks from the dropped one; lists of addresses and labels are joined.
fn combine(mut kept: Row, dropped: &Row) -> Row {
    for (key, value) in &dropped.object {
        let mine = kept.object.get(key).cloned().unwrap_or(Value::Null);
        match (mine, value) {
            (Value::Null, value) => kept.set(key, value.clone()),
            (Value::Array(mut mine), Value::Array(theirs)) => {
                for item in theirs {
                    let same = |m: &Value| m.get("value").unwrap_or(m) == item.get("value").unwrap_or(item);
                    if !mine.iter().any(same) {
                        let mut item = item.clone();
                        if item.get("primary").is_some() {
                            item["primary"] = json!(mine.is_empty());
                        }
                        mine.push(item);
                    }
                }
                kept.set(key, mine);
            }
            _ => {}
        }
    }
    for (key, value) in &dropped.custom {
        kept.custom.entry(key.clone()).or_insert_with(|| value.clone());
    }
    kept
}

/// Lets the kept person take part where the dropped one did.
fn participants(world: &mut World, from: &Value, into: &Value, now: i64) {
    let takes_part = |row: &&Row, id: &Value| {
        let list = row.object.get("participants").and_then(Value::as_array);
        list.into_iter().flatten().any(|p| p.get("person_id") == Some(id))
    };
    let rows: Vec<Row> = world.table(Entity::Activity).iter().filter(|r| takes_part(r, from)).cloned().collect();
    for mut row in rows {
        let both = takes_part(&&row, into);
        let mut list = row.object.get("participants").and_then(Value::as_array).cloned().unwrap_or_default();
        if both {
            list.retain(|p| p.get("person_id") != Some(from));
        }
        for item in &mut list {
            if item.get("person_id") == Some(from) {
                item["person_id"] = into.clone();
            }
            if both && row.object.get("person_id") == item.get("person_id") {
                item["primary"] = true.into();
            }
        }
        row.set("participants", list);
        world.put(Entity::Activity, row, now);
    }
}
