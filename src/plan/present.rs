//! An entity as scripts see it from `find` and `get`: API names for standard fields, names for custom ones, labels for option ids.
//!
//! A custom field whose name is an API name, or is shared by several, stands under `custom` only; there every custom field stands, by
//! name where that is unique, else by key.

use serde_json::{Map, Value as Json};

use super::body::entity_value;
use super::field::{self, FieldRef, has_custom_fields};
use super::shape::Shape;
use crate::crm::{Address, Field, FieldOption, Metadata, standard};
use crate::pipedrive::Kind;

/// The entity as scripts see it.
#[must_use]
pub fn present(entity: &Map<String, Json>, kind: Kind, metadata: &Metadata) -> Json {
    let custom: Vec<&Field> = metadata.fields_of(kind).iter().filter(|f| f.custom && has_custom_fields(kind)).collect();
    let mut out: Map<String, Json> =
        entity.iter().filter(|(key, _)| !is_custom_key(key, &custom)).map(|(k, v)| (k.clone(), v.clone())).collect();
    standard_words(&mut out, entity, kind, metadata);
    let mut by_name = Map::new();
    for field in &custom {
        let Some(found) = field::at(kind, &Address::Custom(field.key.clone()), metadata) else { continue };
        let value = readable(&found, entity_value(entity, &found), metadata);
        let unique = custom.iter().filter(|f| f.name == field.name).count() == 1;
        if unique && standard::find(kind, &field.name).is_none() && !out.contains_key(&field.name) {
            out.insert(field.name.clone(), value.clone());
        }
        by_name.insert(if unique { field.name.clone() } else { field.key.clone() }, value);
    }
    if has_custom_fields(kind) {
        out.insert("custom".into(), Json::Object(by_name));
    }
    Json::Object(out)
}

/// `custom_fields` of v2, and the 40-character keys (with their `_currency`, `_until` ...) at the root of v1.
fn is_custom_key(key: &str, custom: &[&Field]) -> bool {
    key == "custom_fields"
        || custom.iter().any(|f| key.strip_prefix(f.key.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('_')))
}

/// The words beside the ids: `owner`, `labels`, `stage`, `pipeline`, and one name for the organization of every kind.
fn standard_words(out: &mut Map<String, Json>, entity: &Map<String, Json>, kind: Kind, metadata: &Metadata) {
    let words = [("owner_id", "owner"), ("label_ids", "labels"), ("stage_id", "stage"), ("pipeline_id", "pipeline")];
    for (key, word) in words {
        let Some(found) = field::at(kind, &Address::Standard(key.to_owned()), metadata).filter(|_| entity.contains_key(key))
        else {
            continue;
        };
        out.insert(word.into(), readable(&found, entity_value(entity, &found), metadata));
    }
    if let Some(organization) = entity.get("organization_id").filter(|_| kind == Kind::Lead) {
        out.insert("org_id".into(), organization.clone());
    }
    // The primary address and number, which is what most scripts want of the lists.
    for (list, one) in [("emails", "email"), ("phones", "phone")] {
        let Some(items) = entity.get(list).and_then(Json::as_array).filter(|_| kind == Kind::Person) else { continue };
        let primary = items.iter().find(|i| i.get("primary") == Some(&Json::Bool(true))).or_else(|| items.first());
        out.insert(one.into(), primary.and_then(|i| i.get("value")).cloned().unwrap_or(Json::Null));
    }
}

/// Labels and names for ids; what the account does not know stays an id.
fn readable(field: &FieldRef<'_>, value: Json, metadata: &Metadata) -> Json {
    let named = |found: Option<&str>, id: &Json| found.map_or_else(|| id.clone(), Json::from);
    match field.shape {
        Shape::Choice => named(label(field.options, &value), &value),
        Shape::Choices | Shape::Labels => match &value {
            Json::Array(ids) => ids.iter().map(|id| named(label(field.options, id), id)).collect(),
            _ => value,
        },
        Shape::LeadLabels => match &value {
            Json::Array(ids) => ids
                .iter()
                .map(|id| {
                    named(metadata.lead_labels.iter().find(|l| Some(l.id.as_str()) == id.as_str()).map(|l| l.name.as_str()), id)
                })
                .collect(),
            _ => value,
        },
        Shape::User => named(metadata.users.iter().find(|u| Some(u.id) == value.as_i64()).map(|u| u.email.as_str()), &value),
        Shape::Stage => named(metadata.stages.iter().find(|s| Some(s.id) == value.as_i64()).map(|s| s.name.as_str()), &value),
        Shape::Pipeline => {
            named(metadata.pipelines.iter().find(|p| Some(p.id) == value.as_i64()).map(|p| p.name.as_str()), &value)
        }
        _ => value,
    }
}

fn label<'a>(options: &'a [FieldOption], id: &Json) -> Option<&'a str> {
    options.iter().find(|o| Some(o.id) == id.as_i64()).map(|o| o.label.as_str())
}
