//! The search endpoints. Answers come from the index, not from the records: they lag, and hold ghosts.

use serde_json::{Value, json};

use super::call::Call;
use super::definitions::SEARCHABLE;
use super::entity::Entity;
use super::index::{Compare, Document, Within};
use super::list::{cursor_text, limit, read_cursor};
use super::reply::{Handled, Reply, Version, bad_request, schema};
use super::table::Row;
use super::world::World;

/// Longer terms are refused.
const TERM_MAX: usize = 255;

fn within_of(name: &str) -> Option<Within<'static>> {
    Some(match name {
        "name" | "title" => Within::Title,
        "email" => Within::Email,
        "phone" => Within::Phone,
        "address" => Within::Address,
        "notes" => Within::Notes,
        "custom_fields" => Within::Custom,
        _ => return None,
    })
}

fn term<'c>(call: &'c Call<'_>, shortest: usize) -> Result<&'c str, Reply> {
    let term = call.param("term").unwrap_or_default().trim();
    let length = term.chars().count();
    if length < shortest {
        return Err(schema(Version::V2, &[format!("term: must be at least {shortest} characters long")]));
    }
    if length > TERM_MAX {
        return Err(bad_request(Version::V2, "term: too long"));
    }
    Ok(term)
}

/// The fields of the query, or all.
fn fields(call: &Call<'_>) -> Vec<Within<'static>> {
    match call.param("fields") {
        Some(list) => list.split(',').filter_map(|f| within_of(f.trim())).collect(),
        None => vec![Within::Title, Within::Email, Within::Phone, Within::Address, Within::Notes, Within::Custom],
    }
}

/// Search of one kind.
pub(super) fn search(world: &mut World, call: &Call<'_>, entity: Entity) -> Handled {
    world.index.catch_up(call.now);
    let hits = hits(world, call, entity)?;
    page(call, hits, 500, None)
}

type Hit = (f64, Value);

fn hits(world: &World, call: &Call<'_>, entity: Entity) -> Result<Vec<Hit>, Reply> {
    let exact = call.flag("exact_match");
    let term = term(call, if exact { 1 } else { 2 })?;
    let within = fields(call);
    let parent = |row: &Row, name: &str, key: &str| call.int(name).is_none_or(|n| row.number(key) == u64::try_from(n).ok());
    let org_key = if entity == Entity::Lead { "organization_id" } else { "org_id" };
    let status = call.param("status");
    Ok(world
        .index
        .find(entity, term, &within, exact)
        .into_iter()
        .filter_map(|(id, score)| Some((score, world.table(entity).get(id)?, world.index.document(entity, id)?)))
        .filter(|(_, row, _)| parent(row, "person_id", "person_id") && parent(row, "organization_id", org_key))
        .filter(|(_, row, _)| status.is_none_or(|s| row.text("status") == Some(s)))
        .map(|(score, row, document)| (score, item(world, entity, row, document, term)))
        .collect())
}

fn page(call: &Call<'_>, hits: Vec<Hit>, max: usize, related: Option<Value>) -> Handled {
    let limit = limit(call, max)?;
    let start = offset(call)?;
    let more = hits.len() > start + limit;
    let items: Vec<Value> =
        hits.into_iter().skip(start).take(limit).map(|(score, item)| json!({ "result_score": score, "item": item })).collect();
    let next = more.then(|| cursor_text(&json!({ "offset": start + limit })));
    let mut data = json!({ "items": items });
    if let Some(related) = related {
        data["related_items"] = related;
    }
    Ok(Reply::page(data, json!({ "next_cursor": next })))
}

fn offset(call: &Call<'_>) -> Result<usize, Reply> {
    let Some(cursor) = read_cursor(call)? else { return Ok(0) };
    let offset = cursor["offset"].as_u64().and_then(|n| usize::try_from(n).ok());
    offset.ok_or_else(|| bad_request(Version::V2, "cursor: Invalid cursor"))
}

/// A hit as search shows it: e-mails and phones as plain texts, custom fields as the bare values that matched.
fn item(world: &World, entity: Entity, row: &Row, document: &Document, term: &str) -> Value {
    let lower = term.to_lowercase();
    let matched = |values: &mut dyn Iterator<Item = &String>| -> Vec<String> {
        values.filter(|v| v.to_lowercase().contains(&lower)).cloned().collect()
    };
    let organization = |key: &str| {
        row.number(key).and_then(|id| world.table(Entity::Organization).get(id)).map_or(Value::Null, |o| {
            let address = o.object.get("address").and_then(|a| a.get("value")).cloned().unwrap_or(Value::Null);
            json!({ "id": o.id, "name": o.text("name"), "address": address })
        })
    };
    let person = || {
        row.number("person_id")
            .and_then(|id| world.table(Entity::Person).get(id))
            .map_or(Value::Null, |p| json!({ "id": p.id, "name": p.text("name") }))
    };
    let visible = match row.object.get("visible_to") {
        Some(Value::String(text)) => text.parse::<u64>().map_or(Value::Null, Value::from),
        other => other.cloned().unwrap_or(Value::Null),
    };
    let mut item = json!({
        "id": row.object.get("id"),
        "type": entity.word(),
        "visible_to": visible,
        "owner": { "id": row.number("owner_id") },
        "custom_fields": matched(&mut document.custom.iter().map(|(_, v)| v)),
        "notes": matched(&mut document.notes.iter()),
    });
    item[entity.title_key()] = json!(document.title);
    match entity {
        Entity::Person => {
            item["phones"] = json!(document.phones);
            item["emails"] = json!(document.emails);
            item["organization"] = organization("org_id");
        }
        Entity::Organization => item["address"] = json!(document.address),
        Entity::Deal => {
            let stage = row.number("stage_id").and_then(|id| world.stages.get(&id));
            item["stage"] = stage.map_or(Value::Null, |s| json!({ "id": s.get("id"), "name": s.get("name") }));
            for key in ["value", "currency", "status", "is_archived"] {
                item[key] = row.object.get(key).cloned().unwrap_or(Value::Null);
            }
            item["person"] = person();
            item["organization"] = organization("org_id");
        }
        _ => {
            let value = row.object.get("value");
            item["value"] = value.and_then(|v| v.get("amount")).cloned().unwrap_or(Value::Null);
            item["currency"] = value.and_then(|v| v.get("currency")).cloned().unwrap_or(Value::Null);
            item["is_archived"] = json!(row.is("is_archived"));
            item["person"] = person();
            item["organization"] = organization("organization_id");
            let linked = row.number("person_id").and_then(|id| world.table(Entity::Person).get(id));
            for key in ["phones", "emails"] {
                let list = linked.and_then(|p| p.object.get(key)).and_then(Value::as_array);
                item[key] = list.into_iter().flatten().filter_map(|v| v.get("value").cloned()).collect();
            }
        }
    }
    item
}

/// Search over kinds.
pub(super) fn items(world: &mut World, call: &Call<'_>) -> Handled {
    world.index.catch_up(call.now);
    let kinds = [Entity::Deal, Entity::Person, Entity::Organization, Entity::Lead];
    let asked: Option<Vec<&str>> = call.param("item_types").map(|t| t.split(',').map(str::trim).collect());
    let mut all: Vec<(f64, Value)> = Vec::new();
    for entity in kinds.into_iter().filter(|e| asked.as_ref().is_none_or(|a| a.contains(&e.word()))) {
        all.extend(hits(world, call, entity)?);
    }
    all.sort_by(|a, b| b.0.total_cmp(&a.0));
    let related = call.flag("search_for_related_items").then(|| related(world, &all));
    page(call, all, 100, related)
}

/// Deals of the persons and organizations that were found.
fn related(world: &World, hits: &[Hit]) -> Value {
    let mut out = Vec::new();
    for (_, item) in hits {
        let key = match item["type"].as_str() {
            Some("person") => "person_id",
            Some("organization") => "org_id",
            _ => continue,
        };
        let rows = item["id"].as_u64().and_then(|id| world.table(Entity::Deal).linked(key, id));
        for deal in rows.into_iter().flatten().filter(|d| !d.deleted).take(100) {
            let document = Document::of(world, Entity::Deal, deal);
            let mut shown = self::item(world, Entity::Deal, deal, &document, "");
            shown["custom_fields"] = json!([]);
            shown["notes"] = json!([]);
            out.push(json!({ "result_score": 0, "item": shown }));
        }
    }
    Value::Array(out)
}

/// Search of one field of one kind, case minded.
pub(super) fn field(world: &mut World, call: &Call<'_>) -> Handled {
    world.index.catch_up(call.now);
    let compare = match call.param("match") {
        Some("beginning") => Compare::Beginning,
        Some("middle") => Compare::Middle,
        _ => Compare::Exact,
    };
    let term = term(call, if compare == Compare::Exact { 1 } else { 2 })?;
    let key = call.param("field").unwrap_or_default();
    let Some(entity) = Entity::ALL.into_iter().find(|e| Some(e.word()) == call.param("entity_type")) else {
        // Products and projects: the account has none.
        return Ok(Reply::cursor_page(Vec::new(), None));
    };
    let within = if let Some(custom) = world.fields(entity.fields_of()).custom_field(key) {
        if !SEARCHABLE.contains(&custom.kind.as_str()) {
            return Err(bad_request(Version::V2, format!("field: fields of type '{}' cannot be searched", custom.kind)));
        }
        Within::Key(key)
    } else {
        let standard = match (entity, key) {
            (Entity::Person, "name" | "email" | "phone" | "notes")
            | (Entity::Organization, "name" | "address" | "notes")
            | (Entity::Deal | Entity::Lead, "title" | "notes") => within_of(key),
            _ => None,
        };
        standard.ok_or_else(|| bad_request(Version::V2, format!("field: '{key}' was not found")))?
    };
    let ids = world.index.find_in_field(entity, term, within, compare);
    let limit = limit(call, 500)?;
    let start = offset(call)?;
    let next = (ids.len() > start + limit).then(|| cursor_text(&json!({ "offset": start + limit })));
    let data = ids
        .iter()
        .skip(start)
        .take(limit)
        .filter_map(|id| {
            let (row, document) = (world.table(entity).get(*id)?, world.index.document(entity, *id)?);
            let mut shown = json!({ "id": row.object.get("id") });
            shown[entity.title_key()] = json!(document.title);
            Some(shown)
        })
        .collect();
    Ok(Reply::cursor_page(data, next))
}
