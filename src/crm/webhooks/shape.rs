//! The values of a webhook in the API's shape.
//!
//! Invariant: a field whose shape in webhooks is not known to be the API's, or to become it, is left out, never guessed.

use serde_json::{Map, Value, json};

use crate::crm::standard::{self, StandardType};
use crate::crm::{Address, FieldType, Metadata};
use crate::pipedrive::{Entity, Kind};

/// What can be told of an entity. Leads and notes are served by another version of the API, whose shapes are others.
pub(super) fn entity(kind: Kind, data: &Map<String, Value>, metadata: &Metadata) -> Entity {
    let mut entity = Entity::new();
    if let Some(time) = data.get("update_time") {
        entity.insert("update_time".to_owned(), time.clone());
    }
    if !kind.is_v2() {
        return entity;
    }
    for field in standard::fields(kind) {
        if let Some(value) = data.get(field.key).filter(|value| is_plain(field.ty, value)) {
            entity.insert(field.key.to_owned(), value.clone());
        }
    }
    let custom = data.get("custom_fields").and_then(Value::as_object).into_iter().flatten();
    let custom: Map<String, Value> = custom
        .filter_map(|(key, value)| {
            let ty = metadata.type_of(kind, &Address::Custom(key.clone()))?;
            Some((key.clone(), self::custom(ty, value)?))
        })
        .collect();
    entity.insert("custom_fields".to_owned(), Value::Object(custom));
    entity
}

/// Whether a value is the same in both.
fn is_plain(ty: StandardType, value: &Value) -> bool {
    let has_shape = match ty {
        StandardType::Text | StandardType::Currency | StandardType::Words(_) => Value::is_string,
        StandardType::Emails | StandardType::Phones => Value::is_array,
        StandardType::Id
        | StandardType::Number
        | StandardType::Integer
        | StandardType::User
        | StandardType::Pipeline
        | StandardType::Stage
        | StandardType::Link(_) => Value::is_number,
        _ => return false,
    };
    value.is_null() || has_shape(value)
}

/// `{"type": .., "value": ..}` and the like.
fn custom(ty: &FieldType, value: &Value) -> Option<Value> {
    if value.is_null() {
        return Some(Value::Null);
    }
    let part = |name: &str, has_shape: fn(&Value) -> bool| value.get(name).filter(|part| has_shape(part)).cloned();
    match ty {
        FieldType::Varchar | FieldType::VarcharAuto | FieldType::Text | FieldType::Phone | FieldType::Date => {
            part("value", Value::is_string)
        }
        FieldType::Double => part("value", Value::is_number),
        FieldType::Monetary => {
            Some(json!({ "value": part("value", Value::is_number)?, "currency": part("currency", Value::is_string)? }))
        }
        FieldType::Enum | FieldType::User | FieldType::Org | FieldType::People => part("id", Value::is_number),
        FieldType::Set => value.get("values")?.as_array()?.iter().map(|option| option.get("id").cloned()).collect(),
        FieldType::Address => {
            let mut parts = value.as_object()?.clone();
            parts.remove("type");
            Some(Value::Object(parts))
        }
        FieldType::Int
        | FieldType::Boolean
        | FieldType::Daterange
        | FieldType::Time
        | FieldType::Timerange
        | FieldType::Other(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_has_the_value_that_the_api_answers() {
        let told = |ty: FieldType, value: Value| custom(&ty, &value);
        assert_eq!(told(FieldType::Varchar, json!({ "type": "varchar", "value": "x" })), Some(json!("x")));
        assert_eq!(told(FieldType::Double, json!({ "type": "double", "value": 1.5 })), Some(json!(1.5)));
        let money = json!({ "type": "monetary", "value": 5, "currency": "EUR" });
        assert_eq!(told(FieldType::Monetary, money), Some(json!({ "value": 5, "currency": "EUR" })));
        assert_eq!(told(FieldType::Enum, json!({ "type": "enum", "id": 7 })), Some(json!(7)));
        assert_eq!(told(FieldType::Set, json!({ "type": "set", "values": [{ "id": 7 }, { "id": 9 }] })), Some(json!([7, 9])));
        let address = json!({ "type": "address", "value": "Main St 1", "country": "Estonia" });
        assert_eq!(told(FieldType::Address, address), Some(json!({ "value": "Main St 1", "country": "Estonia" })));
        assert_eq!(told(FieldType::Text, Value::Null), Some(Value::Null));
        // Its parts have other names in the API: not known is better than wrong.
        assert_eq!(told(FieldType::Time, json!({ "type": "time", "value": "10:00:00", "timezone_id": 1 })), None);
        assert_eq!(told(FieldType::Enum, json!({ "type": "enum", "values": [] })), None);
    }
}
