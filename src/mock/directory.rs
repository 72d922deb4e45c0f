//! What is read once and kept by clients: users, lead labels and sources, activity types, currencies.

use serde_json::{Value, json};

use super::call::Call;
use super::clock;
use super::common::not_blank;
use super::reply::{Handled, Reply, Version, v1};
use super::table::Object;
use super::world::{ME, User, World};

fn user(world: &World, user: &User) -> Value {
    json!({
        "id": user.id,
        "name": user.name,
        "default_currency": world.default_currency,
        "locale": "en_GB",
        "lang": 1,
        "email": user.email,
        "phone": null,
        "activated": true,
        "last_login": "2026-01-05 08:00:00",
        "created": "2025-01-07 08:00:00",
        "modified": "2026-01-05 08:00:00",
        "has_created_company": user.id == ME,
        "access": [{ "app": "sales", "admin": user.admin }, { "app": "global", "admin": user.admin }],
        "active_flag": user.active,
        "timezone_name": "Europe/Tallinn",
        "timezone_offset": "+02:00",
        "role_id": 1,
        "icon_url": null,
        "is_you": user.id == ME,
        "is_deleted": false,
    })
}

/// A user as webhooks show it.
pub(super) fn plain_user(user: &User) -> Object {
    let mut object = Object::new();
    for (key, value) in [
        ("id", json!(user.id)),
        ("name", json!(user.name)),
        ("email", json!(user.email)),
        ("active_flag", json!(user.active)),
        ("is_admin", json!(user.admin)),
    ] {
        object.insert(key.to_owned(), value);
    }
    object
}

/// Adds a user, or changes one.
pub(super) fn set_user(world: &mut World, id: u64, fields: &Object) {
    let at = world.users.iter().position(|u| u.id == id).unwrap_or_else(|| {
        world.users.push(User { id, name: String::new(), email: String::new(), active: true, admin: false });
        world.users.len() - 1
    });
    let user = &mut world.users[at];
    for (key, value) in fields {
        match (key.as_str(), value) {
            ("name", Value::String(name)) => user.name.clone_from(name),
            ("email", Value::String(email)) => user.email.clone_from(email),
            ("active_flag", Value::Bool(active)) => user.active = *active,
            ("is_admin", Value::Bool(admin)) => user.admin = *admin,
            _ => {}
        }
    }
}

/// GET `/users`.
pub(super) fn users(world: &World) -> Reply {
    Reply::data(world.users.iter().map(|u| user(world, u)).collect())
}

/// GET `/users/find`.
pub(super) fn find_users(world: &World, call: &Call<'_>) -> Reply {
    let term = call.param("term").unwrap_or_default().to_lowercase();
    let by_email = call.param("search_by_email") == Some("1");
    let hit = |u: &&User| if by_email { &u.email } else { &u.name }.to_lowercase().contains(&term);
    Reply::data(world.users.iter().filter(hit).map(|u| user(world, u)).collect())
}

/// GET `/users/me`.
pub(super) fn me(world: &World) -> Reply {
    let Some(found) = world.users.iter().find(|u| u.id == ME) else { return super::reply::unauthorized() };
    let mut me = user(world, found);
    for (key, value) in [
        ("company_id", json!(world.company.0)),
        ("company_name", json!("Acme")),
        ("company_domain", json!(world.company.1)),
        ("company_country", json!("EE")),
        ("company_industry", json!("IT Services")),
        ("language", json!({ "language_code": "en", "country_code": "GB" })),
    ] {
        me[key] = value;
    }
    Reply::data(me)
}

/// GET `/activityTypes`.
pub(super) fn activity_types(world: &World) -> Reply {
    Reply::data(world.activity_types.iter().cloned().map(Value::Object).collect())
}

/// GET `/currencies`.
pub(super) fn currencies(world: &World, call: &Call<'_>) -> Reply {
    let term = call.param("term").unwrap_or_default().to_lowercase();
    let all = world
        .currencies
        .iter()
        .enumerate()
        .filter(|(_, (code, name, _))| code.to_lowercase().contains(&term) || name.to_lowercase().contains(&term));
    Reply::data(
        all.map(|(i, (code, name, symbol))| {
            let decimals = if *code == "JPY" { 0 } else { 2 };
            json!({ "id": i + 1, "code": code, "name": name, "decimal_points": decimals, "symbol": symbol,
                    "active_flag": true, "is_custom_flag": false })
        })
        .collect(),
    )
}

/// GET `/leadSources`.
pub(super) fn lead_sources() -> Reply {
    let names = [
        "Manually created",
        "Deal",
        "Web forms",
        "Prospector",
        "Leadbooster",
        "Live chat",
        "Import",
        "Website visitors",
        "Workflow automation",
        "API",
    ];
    Reply::data(names.iter().map(|n| json!({ "name": n })).collect())
}

/// GET `/leadLabels`.
pub(super) fn lead_labels(world: &World) -> Reply {
    Reply::data(world.lead_labels.iter().cloned().map(Value::Object).collect())
}

/// Adds a lead label.
pub(super) fn add_lead_label(world: &mut World, name: &str, color: &str, now: i64) -> Value {
    let time = clock::lead_time(now);
    let label =
        json!({ "id": world.take_uuid().to_string(), "name": name, "color": color, "add_time": time, "update_time": time });
    if let Value::Object(object) = &label {
        world.lead_labels.push(object.clone());
    }
    label
}

fn label_at(world: &World, call: &Call<'_>) -> Result<usize, Reply> {
    let id = json!(call.id());
    let at = world.lead_labels.iter().position(|l| l.get("id") == Some(&id));
    at.ok_or_else(|| v1(404, "Lead label not found", "Object was not found."))
}

/// POST `/leadLabels`.
pub(super) fn create_lead_label(world: &mut World, call: &Call<'_>) -> Handled {
    let body = call.object();
    not_blank(&body, "name", Version::V1)?;
    let text = |key: &str| body.get(key).and_then(Value::as_str).unwrap_or_default();
    Ok(Reply::data(add_lead_label(world, text("name"), text("color"), call.now)))
}

/// PATCH `/leadLabels/{id}`.
pub(super) fn update_lead_label(world: &mut World, call: &Call<'_>) -> Handled {
    let at = label_at(world, call)?;
    let label = &mut world.lead_labels[at];
    label.extend(call.object());
    label.insert("update_time".to_owned(), clock::lead_time(call.now).into());
    Ok(Reply::data(Value::Object(label.clone())))
}

/// DELETE `/leadLabels/{id}`.
pub(super) fn delete_lead_label(world: &mut World, call: &Call<'_>) -> Handled {
    let at = label_at(world, call)?;
    world.lead_labels.remove(at);
    Ok(Reply::data(json!({ "id": call.id() })))
}
