//! Writing activities. The person comes in through `participants` only.

use serde_json::{Value, json};

use super::clock;
use super::common;
use super::entity::Entity;
use super::reply::{Reply, Version, bad_request, schema};
use super::table::{Object, Row};
use super::world::{ME, World};

/// Bytes that a note of an activity holds at most.
const NOTE_MAX: usize = 100 * 1024;

/// Applies a body to an activity.
pub(super) fn write(world: &World, row: &mut Row, body: &Object, creating: bool, now: i64) -> Result<(), Reply> {
    let refuse = |message: String| Err(bad_request(Version::V2, message));
    if body.contains_key("person_id") {
        return refuse("person_id is read-only: use participants with primary set to true".to_owned());
    }
    if creating {
        defaults(row);
    }
    common::owner(world, body, row, "owner_id", Version::V2)?;
    common::link(world, body, row, "deal_id", Entity::Deal, Version::V2)?;
    common::link(world, body, row, "lead_id", Entity::Lead, Version::V2)?;
    common::link(world, body, row, "org_id", Entity::Organization, Version::V2)?;
    if let Some(project) = body.get("project_id") {
        return refuse(format!("project_id: Project with id {project} was not found"));
    }
    activity_type(world, row, body, creating)?;
    common::date(body, row, "due_date")?;
    for (key, hours) in [("due_time", 23), ("duration", 999)] {
        if let Some(text) = body.get(key).and_then(Value::as_str) {
            let Some(time) = clock::parse_time_of_day(text, hours) else {
                return Err(schema(Version::V2, &[format!("{key}: Invalid time, expected HH:MM or HH:MM:SS")]));
            };
            row.set(key, time);
        }
    }
    if body.get("note").and_then(Value::as_str).is_some_and(|n| n.len() > NOTE_MAX) {
        return refuse(format!("note: longer than {NOTE_MAX} bytes"));
    }
    if let Some(priority) = body.get("priority").and_then(common::id_of)
        && !world.fields(Entity::Activity).has_option("priority", priority)
    {
        return refuse(format!("priority: Option with id {priority} was not found"));
    }
    common::postal(body, row, "location")?;
    participants(world, row, body)?;
    if let Some(done) = body.get("done").and_then(Value::as_bool)
        && row.is("done") != done
    {
        row.set("done", done);
        row.set("marked_as_done_time", if done { clock::v2_time(now).into() } else { Value::Null });
    }
    if let Some(attendees) = body.get("attendees") {
        row.optional.insert("attendees".to_owned(), attendees.clone());
    }
    common::copy(body, row, &["busy", "public_description", "priority", "note", "outcome"]);
    Ok(())
}

fn defaults(row: &mut Row) {
    row.set("owner_id", ME);
    row.set("creator_user_id", ME);
    row.set("busy", false);
    row.set("done", false);
    row.set("participants", Vec::<Value>::new());
    for key in [
        "deal_id",
        "lead_id",
        "person_id",
        "org_id",
        "project_id",
        "due_date",
        "due_time",
        "duration",
        "marked_as_done_time",
        "location",
        "conference_meeting_client",
        "conference_meeting_url",
        "conference_meeting_id",
        "public_description",
        "priority",
        "note",
        "outcome",
    ] {
        row.set(key, Value::Null);
    }
    row.optional.insert("attendees".to_owned(), json!([]));
}

fn activity_type(world: &World, row: &mut Row, body: &Object, creating: bool) -> Result<(), Reply> {
    let named = |key: &str| world.activity_types.iter().find(|t| t.get("key_string").and_then(Value::as_str) == Some(key));
    if let Some(key) = body.get("type").and_then(Value::as_str) {
        if !named(key).is_some_and(|t| t.get("active_flag") == Some(&Value::Bool(true))) {
            return Err(bad_request(Version::V2, format!("type: Activity type '{key}' was not found")));
        }
        row.set("type", key);
    } else if creating {
        let first = world.activity_types.first().and_then(|t| t.get("key_string").cloned()).unwrap_or(Value::Null);
        row.set("type", first);
    }
    if let Some(subject) = body.get("subject") {
        row.set("subject", subject.clone());
    } else if creating {
        let name = row.text("type").and_then(named).and_then(|t| t.get("name").cloned()).unwrap_or(Value::Null);
        row.set("subject", name);
    }
    Ok(())
}

fn participants(world: &World, row: &mut Row, body: &Object) -> Result<(), Reply> {
    let Some(Value::Array(list)) = body.get("participants") else { return Ok(()) };
    let primaries = list.iter().filter(|p| p.get("primary") == Some(&Value::Bool(true))).count();
    if primaries > 1 {
        return Err(bad_request(Version::V2, "participants: Only one participant can be primary"));
    }
    let mut kept: Vec<Value> = Vec::with_capacity(list.len());
    let mut person = Value::Null;
    for (i, item) in list.iter().enumerate() {
        let Some(id) = item.get("person_id").and_then(common::id_of) else {
            return Err(schema(Version::V2, &[format!("participants.{i}.person_id: Required")]));
        };
        if world.table(Entity::Person).alive(id).is_none() {
            return Err(bad_request(Version::V2, format!("participants: Person with id {id} was not found")));
        }
        if kept.iter().any(|k| k["person_id"] == id) {
            return Err(bad_request(Version::V2, format!("participants: Person with id {id} is given twice")));
        }
        let primary = if primaries == 0 { i == 0 } else { item.get("primary") == Some(&Value::Bool(true)) };
        if primary {
            person = id.into();
        }
        kept.push(json!({ "person_id": id, "primary": primary }));
    }
    row.set("participants", kept);
    row.set("person_id", person);
    Ok(())
}
