//! Field definitions: standard and custom fields of a kind, and their options.

use std::collections::HashMap;

use serde_json::{Value, json};
use sha1::{Digest, Sha1};

use super::entity::Entity;

/// An option of an enum or set field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FieldOption {
    pub(super) id: u64,
    pub(super) label: String,
    pub(super) color: Option<&'static str>,
}

/// A field.
#[derive(Debug, Clone)]
pub(super) struct Field {
    /// Number, as v1 shows it.
    pub(super) number: u64,
    /// API name, or 40 hexadecimal characters.
    pub(super) code: String,
    pub(super) name: String,
    /// Type, by its name in the API.
    pub(super) kind: String,
    pub(super) options: Vec<FieldOption>,
    pub(super) custom: bool,
    /// Given only when `include_fields` asks for it.
    pub(super) optional: bool,
    pub(super) required: bool,
    pub(super) description: Option<String>,
}

/// The fields of a kind.
#[derive(Debug, Default)]
pub(super) struct FieldSet {
    list: Vec<Field>,
    by_code: HashMap<String, usize>,
}

/// Types that search looks into.
pub(super) const SEARCHABLE: [&str; 7] = ["address", "varchar", "text", "varchar_auto", "double", "monetary", "phone"];

/// The key of a custom field: 40 hexadecimal characters that depend on kind and name only, so that they are the same in every run.
pub(super) fn key_of(entity: Entity, name: &str, salt: u64) -> String {
    let mut hash = Sha1::new();
    hash.update(entity.word());
    hash.update([0]);
    hash.update(name);
    if salt > 0 {
        hash.update(salt.to_be_bytes());
    }
    hex::encode(hash.finalize())
}

impl FieldSet {
    pub(super) fn push(&mut self, field: Field) {
        self.by_code.insert(field.code.clone(), self.list.len());
        self.list.push(field);
    }

    pub(super) fn get(&self, code: &str) -> Option<&Field> {
        self.by_code.get(code).map(|i| &self.list[*i])
    }

    pub(super) fn get_mut(&mut self, code: &str) -> Option<&mut Field> {
        self.by_code.get(code).map(|i| &mut self.list[*i])
    }

    /// A custom field by key.
    pub(super) fn custom_field(&self, code: &str) -> Option<&Field> {
        self.get(code).filter(|f| f.custom)
    }

    pub(super) fn remove(&mut self, code: &str) -> Option<Field> {
        let at = self.by_code.remove(code)?;
        let field = self.list.remove(at);
        for i in self.by_code.values_mut().filter(|i| **i > at) {
            *i -= 1;
        }
        Some(field)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Field> {
        self.list.iter()
    }

    pub(super) fn custom(&self) -> impl Iterator<Item = &Field> {
        self.list.iter().filter(|f| f.custom)
    }

    /// A custom field by its name.
    pub(super) fn by_name(&self, name: &str) -> Option<&Field> {
        self.custom().find(|f| f.name == name)
    }

    /// Whether a field has an option.
    pub(super) fn has_option(&self, code: &str, id: u64) -> bool {
        self.get(code).is_some_and(|f| f.has_option(id))
    }
}

impl Field {
    pub(super) fn has_option(&self, id: u64) -> bool {
        self.options.iter().any(|o| o.id == id)
    }

    fn options_json(&self) -> Value {
        if self.options.is_empty() {
            return Value::Null;
        }
        self.options
            .iter()
            .map(|o| match o.color {
                Some(color) => json!({ "id": o.id, "label": o.label, "color": color }),
                None => json!({ "id": o.id, "label": o.label }),
            })
            .collect()
    }

    fn subfields(&self) -> Value {
        let parts: &[&str] = match self.kind.as_str() {
            "address" => &super::custom::ADDRESS_PARTS,
            "monetary" => &["value", "currency"],
            "daterange" => &["value", "until"],
            "time" => &["value", "timezone_name"],
            "timerange" => &["value", "until", "timezone_name"],
            _ => return Value::Null,
        };
        parts
            .iter()
            .map(|p| json!({ "field_code": p, "field_name": format!("{p} of {}", self.name), "field_type": "varchar" }))
            .collect()
    }

    /// As v2 shows it.
    pub(super) fn v2(&self) -> Value {
        json!({
            "field_name": self.name,
            "field_code": self.code,
            "description": self.description,
            "field_type": self.kind,
            "options": self.options_json(),
            "subfields": self.subfields(),
            "is_custom_field": self.custom,
            "is_optional_response_field": self.optional,
        })
    }

    /// As v1 shows it.
    pub(super) fn v1(&self, order: usize) -> Value {
        json!({
            "id": self.number,
            "key": self.code,
            "name": self.name,
            "order_nr": order + 1,
            "field_type": self.kind,
            "add_time": "2026-01-05 08:00:00",
            "update_time": "2026-01-05 08:00:00",
            "last_updated_by_user_id": super::world::ME,
            "created_by_user_id": super::world::ME,
            "active_flag": true,
            "edit_flag": self.custom,
            "index_visible_flag": true,
            "details_visible_flag": true,
            "add_visible_flag": !self.custom,
            "important_flag": false,
            "bulk_edit_allowed": true,
            "searchable_flag": self.custom && SEARCHABLE.contains(&self.kind.as_str()),
            "filtering_allowed": true,
            "sortable_flag": true,
            "options": self.options_json(),
            "mandatory_flag": self.required,
        })
    }
}
