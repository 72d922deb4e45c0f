//! A lead becomes a deal, a deal a lead. The work is done at once; its status says so a few questions later.

use serde_json::{Value, json};
use uuid::Uuid;

use super::call::Call;
use super::entity::Entity;
use super::records::{insert, remove};
use super::reply::{Handled, Reply, Version, bad_request};
use super::table::{Object, Row};
use super::world::{Conversion, World};

fn started(world: &mut World, from: String, result: (&'static str, Value)) -> Reply {
    let id = world.take_uuid();
    world.conversions.insert(id, Conversion { from, result, polls: 0 });
    Reply::page(json!({ "conversion_id": id.to_string() }), Value::Null)
}

/// POST `/leads/{id}/convert/deal`.
pub(super) fn lead(world: &mut World, call: &Call<'_>) -> Handled {
    let lead = world.by_path_id(Entity::Lead, call.id()).filter(|r| !r.deleted).cloned().ok_or_else(|| call.missing())?;
    if lead.is("is_archived") {
        return Err(bad_request(Version::V2, "An archived lead cannot be converted"));
    }
    let mut body = Object::new();
    for (to, from) in [
        ("title", "title"),
        ("owner_id", "owner_id"),
        ("person_id", "person_id"),
        ("org_id", "organization_id"),
        ("expected_close_date", "expected_close_date"),
    ] {
        if let Some(value) = lead.object.get(from).filter(|v| !v.is_null()) {
            body.insert(to.to_owned(), value.clone());
        }
    }
    if let Some(Value::Object(value)) = lead.object.get("value") {
        body.insert("value".to_owned(), value.get("amount").cloned().unwrap_or(Value::Null));
        body.insert("currency".to_owned(), value.get("currency").cloned().unwrap_or(Value::Null));
    }
    body.extend(call.object());
    let deal = insert(world, Entity::Deal, &body, call.now)?;
    let uuid = lead.object.get("id").cloned().unwrap_or(Value::Null);
    finish(
        world,
        Entity::Deal,
        deal,
        &lead,
        |row| {
            row.optional.insert("source_lead_id".to_owned(), uuid.clone());
        },
        call.now,
    );
    for target in [Entity::Note, Entity::Activity] {
        world.relink(target, "lead_id", &uuid, "deal_id", &json!(deal), call.now);
    }
    remove(world, Entity::Lead, lead, call.now);
    Ok(started(world, call.id().to_owned(), ("deal_id", json!(deal))))
}

/// POST `/deals/{id}/convert/lead`.
pub(super) fn deal(world: &mut World, call: &Call<'_>) -> Handled {
    let deal = world.table(Entity::Deal).alive(call.number()?).cloned().ok_or_else(|| call.missing())?;
    if deal.is("is_archived") {
        return Err(bad_request(Version::V2, "An archived deal cannot be converted"));
    }
    let mut body = Object::new();
    for (to, from) in [
        ("title", "title"),
        ("owner_id", "owner_id"),
        ("person_id", "person_id"),
        ("organization_id", "org_id"),
        ("expected_close_date", "expected_close_date"),
    ] {
        if let Some(value) = deal.object.get(from).filter(|v| !v.is_null()) {
            body.insert(to.to_owned(), value.clone());
        }
    }
    body.insert("value".to_owned(), json!({ "amount": deal.object.get("value"), "currency": deal.object.get("currency") }));
    // The refusal is a v1 one; the call is v2.
    let lead = insert(world, Entity::Lead, &body, call.now)
        .map_err(|reply| bad_request(Version::V2, reply.body["error"].as_str().unwrap_or("The deal cannot be converted")))?;
    let id = json!(deal.id);
    finish(world, Entity::Lead, lead, &deal, |row| row.set("source_deal_id", id.clone()), call.now);
    let uuid = world.table(Entity::Lead).get(lead).and_then(|r| r.object.get("id").cloned()).unwrap_or(Value::Null);
    for target in [Entity::Note, Entity::Activity] {
        world.relink(target, "deal_id", &id, "lead_id", &uuid, call.now);
    }
    remove(world, Entity::Deal, deal, call.now);
    Ok(started(world, call.id().to_owned(), ("lead_id", uuid)))
}

/// Hands the custom fields on and marks where the record came from.
fn finish(world: &mut World, entity: Entity, id: u64, from: &Row, mark: impl Fn(&mut Row), now: i64) {
    let Some(mut row) = world.table(entity).get(id).cloned() else { return };
    row.custom = from.custom.clone();
    mark(&mut row);
    world.put(entity, row, now);
}

/// GET of the status: `not_started`, `running`, then `completed` with the new id.
pub(super) fn status(world: &mut World, call: &Call<'_>) -> Handled {
    let id = call.values.get(1).copied().unwrap_or_default();
    let Some(conversion) = Uuid::try_parse(id).ok().and_then(|u| world.conversions.get_mut(&u)) else {
        return Err(call.missing());
    };
    if conversion.from != call.id() {
        return Err(call.missing());
    }
    conversion.polls = conversion.polls.saturating_add(1);
    let mut data = json!({ "conversion_id": id });
    if conversion.polls > call.conversion_polls {
        data["status"] = json!("completed");
        data[conversion.result.0] = conversion.result.1.clone();
    } else {
        data["status"] = json!("running");
    }
    Ok(Reply::page(data, Value::Null))
}
