//! Writing persons and organizations.

use serde_json::Value;

use super::common;
use super::entity::Entity;
use super::reply::{Reply, Version, bad_request, schema};
use super::table::{Object, Row};
use super::world::{ME, World};

/// Applies a body to a person.
pub(super) fn write_person(world: &World, row: &mut Row, body: &Object, creating: bool) -> Result<(), Reply> {
    if creating {
        row.set("owner_id", ME);
        row.set("visible_to", 3);
        row.set("label_ids", Vec::<u64>::new());
        for list in ["emails", "phones", "im"] {
            row.set(list, Vec::<Value>::new());
        }
        for key in ["org_id", "picture_id", "notes", "birthday", "job_title", "postal_address", "name", "first_name", "last_name"]
        {
            row.set(key, Value::Null);
        }
        for key in ["marketing_status", "doi_status"] {
            row.optional.insert(key.to_owned(), if key == "doi_status" { 0.into() } else { "no_consent".into() });
        }
        common::add_time(body, row)?;
    }
    names(row, body, creating)?;
    common::owner(world, body, row, "owner_id", Version::V2)?;
    common::link(world, body, row, "org_id", Entity::Organization, Version::V2)?;
    common::addresses(body, row, "emails", "work")?;
    common::addresses(body, row, "phones", "work")?;
    common::addresses(body, row, "im", "skype")?;
    common::visible_to(body, row)?;
    common::labels(world, Entity::Person, body, row)?;
    common::postal(body, row, "postal_address")?;
    common::date(body, row, "birthday")?;
    common::copy(body, row, &["notes", "job_title"]);
    if let Some(status) = body.get("marketing_status") {
        row.optional.insert("marketing_status".to_owned(), status.clone());
    }
    Ok(())
}

/// A person has a name, or a first and last name that make it; the name is split where only it is given.
fn names(row: &mut Row, body: &Object, creating: bool) -> Result<(), Reply> {
    common::not_blank(body, "name", Version::V2)?;
    let given = |key: &str| body.get(key).and_then(Value::as_str);
    let parts = body.contains_key("first_name") || body.contains_key("last_name");
    if creating && given("name").is_none() && given("first_name").is_none() && given("last_name").is_none() {
        return Err(schema(Version::V2, &["name: Required".to_owned()]));
    }
    if let Some(name) = given("name") {
        row.set("name", name);
        let (first, last) = name.trim().split_once(' ').map_or((name.trim(), None), |(f, l)| (f, Some(l.trim())));
        row.set("first_name", first);
        row.set("last_name", last.map_or(Value::Null, Value::from));
    }
    common::copy(body, row, &["first_name", "last_name"]);
    if parts && given("name").is_none() {
        let all: Vec<&str> = ["first_name", "last_name"].iter().filter_map(|k| row.text(k)).collect();
        let name = all.join(" ").trim().to_owned();
        if name.is_empty() {
            return Err(bad_request(Version::V2, "name: must not be empty"));
        }
        row.set("name", name);
    }
    Ok(())
}

/// Applies a body to an organization.
pub(super) fn write_organization(world: &World, row: &mut Row, body: &Object, creating: bool) -> Result<(), Reply> {
    if creating {
        row.set("owner_id", ME);
        row.set("visible_to", 3);
        row.set("label_ids", Vec::<u64>::new());
        for key in ["address", "website", "linkedin", "industry", "annual_revenue", "employee_count"] {
            row.set(key, Value::Null);
        }
        common::add_time(body, row)?;
    }
    common::not_blank(body, "name", Version::V2)?;
    common::owner(world, body, row, "owner_id", Version::V2)?;
    common::visible_to(body, row)?;
    common::labels(world, Entity::Organization, body, row)?;
    common::postal(body, row, "address")?;
    if let Some(industry) = body.get("industry").and_then(common::id_of)
        && !world.fields(Entity::Organization).has_option("industry", industry)
    {
        return Err(bad_request(Version::V2, format!("industry: Option with id {industry} was not found")));
    }
    common::copy(body, row, &["name", "website", "linkedin", "industry", "annual_revenue", "employee_count"]);
    Ok(())
}
