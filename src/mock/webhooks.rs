//! Subscriptions of Pipedrive's own webhooks over the API; [`super::hooks`] sends what they ask for.

use serde_json::{Value, json};

use super::call::Call;
use super::clock;
use super::reply::{Handled, Reply};
use super::world::{ME, World};

/// Subscriptions that one user may have.
const MAX: usize = 40;

fn refuse(status: u16, errors: &Value) -> Reply {
    Reply { status, body: json!({ "status": "error", "success": false, "errors": errors }) }
}

fn ok(status: u16, data: Option<Value>) -> Reply {
    let mut body = json!({ "status": "ok", "success": true });
    if let Some(data) = data {
        body["data"] = data;
    }
    Reply { status, body }
}

/// GET.
pub(super) fn list(world: &World) -> Reply {
    ok(200, Some(world.hooks.subscriptions.values().map(|s| Value::Object(s.shown.clone())).collect()))
}

/// POST.
pub(super) fn create(world: &mut World, call: &Call<'_>) -> Handled {
    let body = call.object();
    let text = |key: &str| body.get(key).cloned().unwrap_or(Value::Null);
    let url = body.get("subscription_url").and_then(Value::as_str).unwrap_or_default();
    if !url.starts_with("https://") && !url.starts_with("http://") {
        return Err(refuse(400, &json!({ "subscription_url": ["invalid or non-reachable URL"] })));
    }
    if world.hooks.subscriptions.values().filter(|s| s.is_active()).count() >= MAX {
        return Err(refuse(422, &json!({ "limit": [format!("at most {MAX} webhooks per user")] })));
    }
    let user = body.get("user_id").cloned().unwrap_or_else(|| ME.into());
    if !user.as_u64().is_some_and(|id| world.is_active_user(id)) {
        return Err(refuse(400, &json!({ "user_id": ["not found"] })));
    }
    let id = world.hooks.take_id();
    let webhook = json!({
        "id": id,
        "company_id": world.company.0,
        "owner_id": ME,
        "user_id": user,
        "event_action": text("event_action"),
        "event_object": text("event_object"),
        "subscription_url": url,
        "version": body.get("version").cloned().unwrap_or_else(|| "2.0".into()),
        "is_active": 1,
        "add_time": clock::lead_time(call.now),
        "remove_time": null,
        "type": "general",
        "http_auth_user": text("http_auth_user"),
        "http_auth_password": text("http_auth_password"),
        "remove_reason": null,
        "last_delivery_time": null,
        "last_http_status": null,
        "admin_id": ME,
        "name": text("name"),
    });
    if let Value::Object(object) = &webhook {
        world.hooks.subscribe(id, object.clone());
    }
    Ok(ok(201, Some(webhook)))
}

/// DELETE.
pub(super) fn delete(world: &mut World, call: &Call<'_>) -> Handled {
    let found = call.id().parse().is_ok_and(|id: u64| world.hooks.unsubscribe(id));
    found.then(|| ok(200, None)).ok_or_else(|| refuse(404, &json!({ "id": ["not found"] })))
}
