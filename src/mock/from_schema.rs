//! An account as a schema file describes it: its users, fields, options, stages and labels under their own ids, without records.
//!
//! Invariants: ids and keys are those of the file, so what was planned against the mock fits the real account; what the file does
//! not hold (currencies beyond the account's own, colours) is as in the account that every mock starts with.

use serde_json::{Value, json};

use super::definitions::{Field, FieldOption};
use super::entity::Entity;
use super::pipelines;
use super::seed::{self, SET_UP_MS, object};
use super::world::{ME, User, World};

/// The account of a schema file's JSON. What is missing in it is missing in the account.
pub(super) fn account(schema: &Value) -> World {
    let schema = &schema["account"];
    let mut world = seed::bare();
    users(&mut world, schema);
    if let (Some(id), Some(domain)) = (schema["me"]["company_id"].as_i64(), schema["me"]["company_domain"].as_str()) {
        world.company = (id, domain.to_owned());
    }
    if let Some(code) = schema["me"]["default_currency"].as_str().filter(|code| code.len() == 3) {
        code.clone_into(&mut world.default_currency);
        if !world.has_currency(code) {
            world.currencies.push((code.to_owned(), code.to_owned(), code.to_owned()));
        }
    }
    for (entity, word) in [
        (Entity::Person, "person"),
        (Entity::Organization, "organization"),
        (Entity::Deal, "deal"),
        (Entity::Activity, "activity"),
    ] {
        fields(&mut world, entity, list(&schema["fields"][word]));
    }
    for (stages, key) in [(false, "pipelines"), (true, "stages")] {
        for item in list(&schema[key]) {
            let Some(id) = item["id"].as_u64() else { continue };
            let mut body = json!({ "name": item["name"] });
            if stages {
                body["pipeline_id"] = item["pipeline_id"].clone();
            }
            pipelines::insert_as(&mut world, stages, id, &object(body), SET_UP_MS);
        }
    }
    for label in list(&schema["lead_labels"]) {
        world.lead_labels.push(object(json!({
            "id": label["id"], "name": label["name"], "color": "blue",
            "add_time": "2026-01-05T08:00:00.000Z", "update_time": "2026-01-05T08:00:00.000Z",
        })));
    }
    for (i, kind) in list(&schema["activity_types"]).iter().enumerate() {
        world.activity_types.push(seed::activity_type(i, &kind[0], &kind[1]));
    }
    world
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(item: &Value, key: &str) -> String {
    item[key].as_str().unwrap_or_default().to_owned()
}

fn users(world: &mut World, schema: &Value) {
    world.users = list(&schema["users"])
        .iter()
        .filter_map(|user| {
            let id = user["id"].as_u64()?;
            let active = user["active"].as_bool().unwrap_or(true);
            Some(User { id, name: text(user, "name"), email: text(user, "email"), active, admin: false })
        })
        .collect();
    // The mock's token belongs to somebody, and the file does not say to whom the account's does.
    match world.users.iter_mut().find(|user| user.id == ME) {
        Some(user) => (user.active, user.admin) = (true, true),
        None => world.users.push(User {
            id: ME,
            name: "Embedded Pipedrive".to_owned(),
            email: "embedded@pipedrive.example".to_owned(),
            active: true,
            admin: true,
        }),
    }
}

fn fields(world: &mut World, entity: Entity, items: &[Value]) {
    for item in items {
        let code = text(item, "key");
        let options: Vec<FieldOption> = list(&item["options"])
            .iter()
            .filter_map(|option| Some(FieldOption { id: option["id"].as_u64()?, label: text(option, "label"), color: None }))
            .collect();
        let last = options.iter().map(|option| option.id).max().unwrap_or_default();
        world.next_option = world.next_option.max(last + 1);
        if let Some(field) = world.fields_mut(entity).get_mut(&code) {
            field.options = options;
        } else if item["custom"] == json!(true) {
            let number = world.next_field;
            world.next_field += 1;
            world.fields_mut(entity).push(Field {
                number,
                code,
                name: text(item, "name"),
                kind: text(item, "type"),
                options,
                custom: true,
                optional: false,
                required: false,
                description: None,
            });
        }
    }
}
