//! What a v2 read can ask for beside the record: optional fields, few custom fields, labels.

use serde_json::{Value, json};

use super::call::Call;
use super::entity::Entity;
use super::reply::{Reply, Version, schema};
use super::table::{Object, Row};
use super::world::World;

/// Custom fields that a read can be narrowed to.
const CUSTOM_MAX: usize = 15;

/// Applies the query's options to a rendered record.
pub(super) fn apply(world: &World, call: &Call<'_>, entity: Entity, row: &Row, object: &mut Object) -> Result<(), Reply> {
    if let Some(keys) = call.param("custom_fields") {
        let keys: Vec<&str> = keys.split(',').map(str::trim).collect();
        if keys.len() > CUSTOM_MAX {
            return Err(schema(Version::V2, &[format!("custom_fields: at most {CUSTOM_MAX} keys")]));
        }
        if let Some(Value::Object(custom)) = object.get_mut("custom_fields") {
            custom.retain(|k, _| keys.contains(&k.as_str()));
        }
    }
    if call.flag("include_option_labels") {
        option_labels(world, entity, object);
    }
    if call.flag("include_labels") {
        let ids = object.get("label_ids").and_then(Value::as_array).cloned().unwrap_or_default();
        let field = world.fields(entity).get("label_ids");
        let labels: Vec<Value> = ids
            .iter()
            .filter_map(|id| {
                let option = field?.options.iter().find(|o| Some(o.id) == id.as_u64())?;
                Some(json!({ "id": option.id, "label": option.label, "color": option.color }))
            })
            .collect();
        object.insert("labels".to_owned(), labels.into());
    }
    for name in call.param("include_fields").into_iter().flat_map(|f| f.split(',')).map(str::trim) {
        let value = match row.optional.get(name) {
            Some(value) => value.clone(),
            None => derived(world, entity, row, name),
        };
        object.insert(name.to_owned(), value);
    }
    Ok(())
}

fn option_labels(world: &World, entity: Entity, object: &mut Object) {
    let Some(Value::Object(custom)) = object.get_mut("custom_fields") else { return };
    for (key, value) in custom.iter_mut() {
        let Some(field) = world.fields(entity.fields_of()).custom_field(key) else { continue };
        let label = |id: &Value| {
            let option = field.options.iter().find(|o| Some(o.id) == id.as_u64());
            json!({ "id": id, "label": option.map(|o| o.label.as_str()) })
        };
        match (field.kind.as_str(), &*value) {
            ("enum", Value::Number(_)) => *value = label(value),
            ("set", Value::Array(ids)) => *value = ids.iter().map(label).collect(),
            _ => {}
        }
    }
}

/// Counters and neighbours, from what hangs on the record. The mock has no mails, files, products or followers.
fn derived(world: &World, entity: Entity, row: &Row, name: &str) -> Value {
    let link = match entity {
        Entity::Person => "person_id",
        Entity::Organization => "org_id",
        _ => "deal_id",
    };
    let hanging = |kind: Entity| -> Vec<&Row> {
        world.table(kind).linked(link, row.id).map(|rows| rows.filter(|r| !r.deleted).collect()).unwrap_or_default()
    };
    let deals = |wanted: &[&str]| {
        let rows = hanging(Entity::Deal);
        rows.iter().filter(|d| d.text("status").is_some_and(|s| wanted.contains(&s))).count()
    };
    let activities = |done: bool| hanging(Entity::Activity).into_iter().filter(move |a| a.is("done") == done);
    match name {
        "activities_count" => json!(hanging(Entity::Activity).len()),
        "done_activities_count" => json!(activities(true).count()),
        "undone_activities_count" => json!(activities(false).count()),
        "next_activity_id" => json!(activities(false).min_by_key(|a| (a.text("due_date").unwrap_or("9"), a.id)).map(|a| a.id)),
        "last_activity_id" => json!(activities(true).map(|a| a.id).max()),
        "notes_count" => json!(hanging(Entity::Note).len()),
        "people_count" => json!(hanging(Entity::Person).len()),
        "participants_count" => json!(u8::from(row.number("person_id").is_some())),
        "open_deals_count" => json!(deals(&["open"])),
        "closed_deals_count" => json!(deals(&["won", "lost"])),
        "won_deals_count" => json!(deals(&["won"])),
        "lost_deals_count" => json!(deals(&["lost"])),
        "smart_bcc_email" => json!(format!("acme+{}{}@pipedrivemail.example", entity.word(), row.id)),
        name if name.ends_with("_count") => json!(0),
        _ => Value::Null,
    }
}
