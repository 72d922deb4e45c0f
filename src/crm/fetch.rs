//! Fetching an account's metadata: ten requests, 102 tokens.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Field, FieldOption, FieldType, LeadLabel, Me, Metadata, Pipeline, Stage, User};
use crate::pipedrive::{ApiError, Entity, ErrorKind, Kind, Purpose, Request, Session};

/// More fields, stages or users than any account has.
const MOST: usize = 10_000;
/// The labels of persons, organizations and deals, as bodies and newer field lists name them.
pub(super) const LABELS: &str = "label_ids";
/// The same field in older field lists, and in the paths that go with them.
pub(super) const FORMER_LABELS: &str = "label";

/// Fetches everything that plans are validated against. All or nothing.
///
/// # Errors
/// The first failure of any of its requests.
pub async fn fetch_metadata(session: &Session) -> Result<Metadata, ApiError> {
    // In turn, not at once: the deliveries that run meanwhile keep their share of the burst window.
    let mut metadata = fetch_custom_fields(session).await?;
    metadata.fields.insert(Kind::Activity, fields(session, Kind::Activity).await?);
    metadata.pipelines = paged(session, "/api/v2/pipelines", pipeline).await?;
    metadata.stages = paged(session, "/api/v2/stages", stage).await?;
    metadata.lead_labels = lead_labels(session).await?;
    metadata.users = whole(session, "/api/v1/users", user).await?;
    metadata.activity_types = whole(session, "/api/v1/activityTypes", activity_type).await?;
    Ok(metadata)
}

/// Fetches whose account it is, and the fields of the kinds that have custom fields: four requests, 32 tokens.
///
/// # Errors
/// The first failure of any of its requests.
pub async fn fetch_custom_fields(session: &Session) -> Result<Metadata, ApiError> {
    let mut metadata = Metadata { me: me(session).await?, ..Metadata::default() };
    for kind in [Kind::Person, Kind::Organization, Kind::Deal] {
        metadata.fields.insert(kind, fields(session, kind).await?);
    }
    Ok(metadata)
}

async fn fields(session: &Session, kind: Kind) -> Result<Vec<Field>, ApiError> {
    let mut fields = paged(session, fields_path(kind), field).await?;
    // An account that lists the labels under both names has them once: bodies know only the newer one.
    if fields.iter().any(|field| field.key == LABELS) {
        fields.retain(|field| field.key != FORMER_LABELS);
    }
    for field in fields.iter_mut().filter(|field| field.key == FORMER_LABELS && !field.custom) {
        LABELS.clone_into(&mut field.key);
    }
    Ok(fields)
}

/// Where a kind's fields are; leads have the deals', and notes have none of their own.
pub(super) const fn fields_path(kind: Kind) -> &'static str {
    match kind {
        Kind::Person => "/api/v2/personFields",
        Kind::Organization => "/api/v2/organizationFields",
        Kind::Deal | Kind::Lead => "/api/v2/dealFields",
        Kind::Activity => "/api/v2/activityFields",
        Kind::Note => "/api/v1/noteFields",
    }
}

/// The labels of leads.
pub(super) async fn lead_labels(session: &Session) -> Result<Vec<LeadLabel>, ApiError> {
    whole(session, "/api/v1/leadLabels", lead_label).await
}

/// The options of one field, by the field's path.
pub(super) async fn options_of(session: &Session, path: &str) -> Result<Vec<FieldOption>, ApiError> {
    let body = session.send(&Request::get(path), Purpose::Metadata).await?;
    Ok(field_of(path, &body)?.options)
}

/// The one field that an answer holds.
pub(super) fn field_of(path: &str, body: &Value) -> Result<Field, ApiError> {
    let data = body.get("data").and_then(Value::as_object).ok_or_else(|| unreadable(path, "`data` is not an object"))?;
    let read = field(data).map_err(|reason| unreadable(path, reason))?;
    read.ok_or_else(|| unreadable(path, "`data` is no field"))
}

/// Reads an item: none leaves it out (deleted, inactive), an error makes the fetch fail.
type Read<T> = fn(&Entity) -> Result<Option<T>, &'static str>;

async fn paged<T>(session: &Session, path: &str, read: Read<T>) -> Result<Vec<T>, ApiError> {
    let items = session.list_path(path, &[], MOST, Purpose::Metadata).await?;
    items.iter().filter_map(|item| read(item).transpose()).collect::<Result<_, _>>().map_err(|reason| unreadable(path, reason))
}

async fn whole<T>(session: &Session, path: &str, read: Read<T>) -> Result<Vec<T>, ApiError> {
    let body = session.send(&Request::get(path), Purpose::Metadata).await?;
    let items = match body.get("data") {
        Some(Value::Array(items)) => items.as_slice(),
        Some(Value::Null) => &[],
        _ => return Err(unreadable(path, "`data` is not a list")),
    };
    items
        .iter()
        .map(|item| item.as_object().ok_or("an item of `data` is not an object"))
        .filter_map(|item| item.and_then(read).transpose())
        .collect::<Result<_, _>>()
        .map_err(|reason| unreadable(path, reason))
}

pub(super) fn unreadable(path: &str, reason: &str) -> ApiError {
    let kind = ErrorKind::Unreadable { status: 200, reason: reason.to_owned() };
    ApiError { call: Request::get(path).call(), write: false, kind }
}

async fn me(session: &Session) -> Result<Me, ApiError> {
    const PATH: &str = "/api/v1/users/me";
    let body = session.send(&Request::get(PATH), Purpose::Metadata).await?;
    let data = body.get("data").and_then(Value::as_object).ok_or_else(|| unreadable(PATH, "`data` is not an object"))?;
    Ok(Me {
        user_id: integer(data, "id").ok_or_else(|| unreadable(PATH, "`data.id` is missing"))?,
        company_id: integer(data, "company_id").unwrap_or_default(),
        company_domain: text(data, "company_domain"),
        default_currency: text(data, "default_currency"),
        timezone: text(data, "timezone_name"),
    })
}

fn field(item: &Entity) -> Result<Option<Field>, &'static str> {
    let key = text(item, "field_code");
    let named = item.get("field_type").filter(|v| v.is_string()).ok_or("a field has no `field_type`")?;
    if key.is_empty() {
        return Err("a field has no `field_code`");
    }
    let options = item.get("options").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    Ok(Some(Field {
        key,
        name: text(item, "field_name"),
        field_type: FieldType::deserialize(named).map_err(|_| "a field's type cannot be read")?,
        // Some standard fields have words as option ids; their values are words of the table of standard fields.
        options: options.iter().filter_map(Value::as_object).filter_map(option).collect(),
        custom: flag(item, "is_custom_field"),
    }))
}

fn option(item: &Entity) -> Option<FieldOption> {
    Some(FieldOption { id: integer(item, "id")?, label: text(item, "label") })
}

fn pipeline(item: &Entity) -> Result<Option<Pipeline>, &'static str> {
    let id = integer(item, "id").ok_or("a pipeline has no id")?;
    Ok((!flag(item, "is_deleted")).then(|| Pipeline { id, name: text(item, "name") }))
}

fn stage(item: &Entity) -> Result<Option<Stage>, &'static str> {
    let id = integer(item, "id").ok_or("a stage has no id")?;
    let pipeline_id = integer(item, "pipeline_id").ok_or("a stage has no pipeline")?;
    let order = integer(item, "order_nr").unwrap_or_default();
    Ok((!flag(item, "is_deleted")).then(|| Stage { id, name: text(item, "name"), pipeline_id, order }))
}

fn lead_label(item: &Entity) -> Result<Option<LeadLabel>, &'static str> {
    Ok(Some(LeadLabel { id: text(item, "id"), name: text(item, "name") }))
}

fn user(item: &Entity) -> Result<Option<User>, &'static str> {
    let id = integer(item, "id").ok_or("a user has no id")?;
    let active = item.get("active_flag") != Some(&json!(false)) && !flag(item, "is_deleted");
    Ok(Some(User { id, name: text(item, "name"), email: text(item, "email"), active }))
}

fn activity_type(item: &Entity) -> Result<Option<(String, String)>, &'static str> {
    let active = item.get("active_flag") != Some(&json!(false));
    Ok(active.then(|| (text(item, "key_string"), text(item, "name"))))
}

fn text(item: &Entity, key: &str) -> String {
    item.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn flag(item: &Entity, key: &str) -> bool {
    item.get(key).and_then(Value::as_bool).unwrap_or_default()
}

fn integer(item: &Entity, key: &str) -> Option<i64> {
    let value = item.get(key)?;
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}
