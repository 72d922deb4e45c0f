//! Writing and showing leads (v1): uuid labels, `value` as an object, `visible_to` as text, custom fields at the root.

use serde_json::Value;

use super::common;
use super::custom;
use super::entity::Entity;
use super::reply::{Reply, Version, bad_request, v1};
use super::table::{Object, Row};
use super::world::{ME, World};

/// The 404 of leads.
pub(super) fn missing() -> Reply {
    v1(404, "requested lead not found", "Object was not found.")
}

/// Applies a body to a lead.
pub(super) fn write(world: &World, row: &mut Row, body: &Object, creating: bool) -> Result<(), Reply> {
    let refuse = |message: String| Err(bad_request(Version::V1, message));
    if creating {
        row.set("owner_id", ME);
        row.set("creator_id", ME);
        row.set("label_ids", Vec::<Value>::new());
        row.set("visible_to", "3");
        row.set("source_name", "API");
        row.set("origin", "API");
        row.set("is_archived", false);
        row.set("was_seen", false);
        for key in [
            "person_id",
            "organization_id",
            "value",
            "expected_close_date",
            "origin_id",
            "channel",
            "channel_id",
            "next_activity_id",
            "source_deal_id",
        ] {
            row.set(key, Value::Null);
        }
    } else if row.is("is_archived") && body.get("is_archived") != Some(&Value::Bool(false)) {
        return refuse("An archived lead cannot be updated: unarchive it first".to_owned());
    }
    common::not_blank(body, "title", Version::V1)?;
    if body.get("title").is_some_and(Value::is_null) {
        return refuse("title: must not be empty".to_owned());
    }
    common::owner(world, body, row, "owner_id", Version::V1)?;
    common::link(world, body, row, "person_id", Entity::Person, Version::V1)?;
    common::link(world, body, row, "organization_id", Entity::Organization, Version::V1)?;
    if row.number("person_id").is_none() && row.number("organization_id").is_none() {
        return refuse("A lead must be linked to a person or an organization".to_owned());
    }
    if let Some(Value::Array(labels)) = body.get("label_ids") {
        if let Some(unknown) = labels.iter().find(|l| !world.lead_labels.iter().any(|w| w.get("id") == Some(l))) {
            return refuse(format!("label_ids: label {unknown} was not found"));
        }
        row.set("label_ids", labels.clone());
    }
    if let Some(currency) = body.get("value").and_then(|v| v.get("currency")?.as_str())
        && !world.has_currency(currency)
    {
        return refuse(format!("value.currency: '{currency}' was not found"));
    }
    common::copy(
        body,
        row,
        &["title", "value", "expected_close_date", "visible_to", "was_seen", "origin_id", "channel", "channel_id", "is_archived"],
    );
    let mut values = std::mem::take(&mut row.custom);
    let problems = custom::apply_v1(world, Entity::Lead, body, &mut values);
    row.custom = values;
    if problems.is_empty() { Ok(()) } else { Err(super::reply::schema(Version::V1, &problems)) }
}

/// A lead as v1 shows it: only the custom fields that are set.
pub(super) fn render(world: &World, row: &Row) -> Object {
    let mut object = row.object.clone();
    object.insert("cc_email".to_owned(), format!("acme+lead{}@pipedrivemail.example", row.id).into());
    custom::render_v1(world, Entity::Lead, &row.custom, &mut object);
    object
}
