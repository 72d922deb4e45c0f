//! Writing and showing notes (v1).

use serde_json::{Value, json};

use super::clock;
use super::common;
use super::entity::Entity;
use super::reply::{Reply, Version, bad_request};
use super::table::{Object, Row};
use super::world::{ME, World};

/// Bytes that a note holds at most.
const CONTENT_MAX: usize = 100 * 1024;

/// What a note can hang on: key, kind, and the flag that pins it there.
const PARENTS: [(&str, Entity, &str); 4] = [
    ("lead_id", Entity::Lead, "pinned_to_lead_flag"),
    ("deal_id", Entity::Deal, "pinned_to_deal_flag"),
    ("person_id", Entity::Person, "pinned_to_person_flag"),
    ("org_id", Entity::Organization, "pinned_to_organization_flag"),
];

/// Applies a body to a note.
pub(super) fn write(world: &World, row: &mut Row, body: &Object, creating: bool) -> Result<(), Reply> {
    let refuse = |message: String| Err(bad_request(Version::V1, message));
    if creating {
        row.set("active_flag", true);
        row.set("user_id", ME);
        row.set("project_id", Value::Null);
        row.set("task_id", Value::Null);
        for (key, _, flag) in PARENTS {
            row.set(key, Value::Null);
            row.set(flag, false);
        }
    }
    row.set("last_update_user_id", if creating { Value::Null } else { ME.into() });
    for key in ["project_id", "task_id"] {
        if let Some(id) = body.get(key) {
            return refuse(format!("{key}: {id} was not found"));
        }
    }
    for (key, target, _) in PARENTS {
        common::link(world, body, row, key, target, Version::V1)?;
    }
    if PARENTS.iter().all(|(key, _, _)| row.object.get(*key).is_none_or(Value::is_null)) {
        return refuse("One of lead_id, deal_id, person_id, org_id, project_id or task_id is required".to_owned());
    }
    for (key, _, flag) in PARENTS {
        let Some(given) = body.get(flag) else { continue };
        let pinned = given.as_u64() == Some(1);
        if pinned && row.object.get(key).is_none_or(Value::is_null) {
            return refuse(format!("{flag}: needs {key}"));
        }
        row.set(flag, pinned);
    }
    for flag in ["pinned_to_project_flag", "pinned_to_task_flag"] {
        if body.get(flag).and_then(Value::as_u64) == Some(1) {
            return refuse(format!("{flag}: the note is not linked to one"));
        }
    }
    common::owner(world, body, row, "user_id", Version::V1)?;
    if let Some(text) = body.get("content").and_then(Value::as_str) {
        if text.trim().is_empty() {
            return refuse("content: must not be empty".to_owned());
        }
        if text.len() > CONTENT_MAX {
            return refuse(format!("content: longer than {CONTENT_MAX} bytes"));
        }
        row.set("content", sanitised(text));
    }
    if let Some(text) = body.get("add_time").and_then(Value::as_str) {
        let Some(ms) = clock::parse_v1_time(text) else {
            return refuse("add_time: expected YYYY-MM-DD HH:MM:SS".to_owned());
        };
        row.added = ms;
        row.set("add_time", text);
    }
    Ok(())
}

/// Without script elements, as far as the mock goes in sanitising.
fn sanitised(html: &str) -> String {
    let mut out = String::with_capacity(html.len());
    let mut rest = html;
    // ASCII lower-casing keeps every byte position.
    while let Some(start) = rest.to_ascii_lowercase().find("<script") {
        out.push_str(&rest[..start]);
        let end = rest[start..].to_ascii_lowercase().find("</script>");
        rest = end.map_or("", |e| &rest[start + e + "</script>".len()..]);
    }
    out + rest
}

/// A note as v1 shows it: with the names of what it hangs on.
pub(super) fn render(world: &World, row: &Row) -> Object {
    let mut object = row.object.clone();
    for (key, target, shown) in [
        ("deal_id", Entity::Deal, "deal"),
        ("person_id", Entity::Person, "person"),
        ("org_id", Entity::Organization, "organization"),
    ] {
        let parent = row.number(key).and_then(|id| world.table(target).get(id));
        let title = target.title_key();
        object.insert(shown.to_owned(), parent.map_or(Value::Null, |p| json!({ title: p.text(title) })));
    }
    let user = row.number("user_id").and_then(|id| world.users.iter().find(|u| u.id == id));
    object.insert(
        "user".to_owned(),
        user.map_or(Value::Null, |u| json!({ "email": u.email, "icon_url": null, "is_you": u.id == ME, "name": u.name })),
    );
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_taken_out() {
        assert_eq!(sanitised("<b>é</b><SCRIPT>x</script>y"), "<b>é</b>y");
        assert_eq!(sanitised("a<script>never closed"), "a");
        assert_eq!(sanitised("plain"), "plain");
    }
}
