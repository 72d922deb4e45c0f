//! Writing a field into a body: v2 nests custom fields, v1 (leads) has them at the root in shapes of its own.

use serde_json::{Map, Value as Json};

use crate::crm::Address;
use crate::pipedrive::Kind;
use crate::plan::field::FieldRef;
use crate::plan::shape::Shape;

/// Puts the value, given in the v2 shape; null empties.
pub(super) fn put(body: &mut Map<String, Json>, field: &FieldRef<'_>, value: Json) {
    match &field.address {
        Address::Standard(key) => {
            body.insert(key.clone(), standard(field, value));
        }
        Address::Custom(key) if field.kind.is_v2() => {
            let nested = body.entry("custom_fields").or_insert_with(|| Json::Object(Map::new()));
            if let Json::Object(nested) = nested {
                nested.insert(key.clone(), value);
            }
        }
        Address::Custom(key) => to_v1(body, key, field.shape, value),
    }
}

fn standard(field: &FieldRef<'_>, value: Json) -> Json {
    match (field.kind, field.shape, value) {
        // v1 wants a string here, v2 a number.
        (Kind::Lead, Shape::VisibleTo, Json::Number(n)) => Json::String(n.to_string()),
        // Standard lists are emptied by the empty list, everything else by null.
        (_, shape, Json::Null) if shape.is_standard_list() => Json::Array(Vec::new()),
        (_, _, value) => value,
    }
}

fn to_v1(body: &mut Map<String, Json>, key: &str, shape: Shape, value: Json) {
    let mut put = |suffix: &str, value: Json| body.insert(format!("{key}{suffix}"), value);
    match (shape, value) {
        (_, Json::Null) => {
            put("", Json::Null);
        }
        (Shape::Money, Json::Object(mut money)) => {
            put("", money.remove("value").unwrap_or(Json::Null));
            put("_currency", money.remove("currency").unwrap_or(Json::Null));
        }
        (Shape::DateRange | Shape::TimeRange, Json::Object(mut range)) => {
            put("", range.remove("value").unwrap_or(Json::Null));
            put("_until", range.remove("until").unwrap_or(Json::Null));
        }
        // Of an address v1 takes the one line; Pipedrive finds the parts itself.
        (Shape::ZonedTime | Shape::Address, Json::Object(mut map)) => {
            put("", map.remove("value").unwrap_or(Json::Null));
        }
        (Shape::Choice, Json::Number(id)) => {
            put("", Json::String(id.to_string()));
        }
        (Shape::Choices, Json::Array(ids)) => {
            put("", Json::String(ids.iter().map(Json::to_string).collect::<Vec<_>>().join(",")));
        }
        (_, value) => {
            put("", value);
        }
    }
}
