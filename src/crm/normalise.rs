//! The one place that says when two values of a field are the same: what the match index holds and what hits are compared by.
//!
//! | field | normalised to |
//! |---|---|
//! | e-mails | trimmed, lower case |
//! | phones, custom phone fields | E.164 when it starts with `+` or `00`, else its digits |
//! | names and titles (standard `name`, `title`, `subject`), addresses | trimmed, inner blanks to one, lower case |
//! | other text, standard and custom | trimmed; case counts, as it does in Pipedrive's search of custom fields |
//! | numbers, amounts | shortest decimal: `12`, `12.5`; the currency does not count |
//! | booleans | `true`, `false` (0 and 1 are read) |
//! | option, user, person, organization, stage ... | the id |
//! | sets, label lists | ids, ascending, with commas |
//! | dates, times, ranges | trimmed |
//! | id | as Pipedrive writes it |
//!
//! Both shapes are read: v2's (objects, numbers) and v1's (`"123"`, `"12,34"`). A blank value is no value.

use serde_json::Value;

use super::standard::{self, StandardType};
use super::{Address, FieldType};
use crate::event::number_text;
use crate::pipedrive::{Entity, Id, Kind};

/// A value normalised; none when it is empty or cannot be of the field's type. A list with several values has no single normalised
/// form here (see [`values`]), except sets and labels.
#[must_use]
pub fn normalise(kind: Kind, address: &Address, field_type: Option<&FieldType>, value: &Value) -> Option<String> {
    let rule = rule(kind, address, field_type);
    match value {
        Value::Array(items) if rule != Rule::Ids => match items.as_slice() {
            [one] => apply(rule, one),
            _ => None,
        },
        value => apply(rule, value),
    }
}

/// All normalised values that an entity holds in a field: several for e-mails and phones, at most one otherwise.
#[must_use]
pub fn values(kind: Kind, address: &Address, field_type: Option<&FieldType>, entity: &Entity) -> Vec<String> {
    let rule = rule(kind, address, field_type);
    match field_value(kind, address, entity) {
        Some(Value::Array(items)) if rule != Rule::Ids => items.iter().filter_map(|item| apply(rule, item)).collect(),
        Some(value) => apply(rule, value).into_iter().collect(),
        None => Vec::new(),
    }
}

/// Whether an entity holds a normalised value in a field.
#[must_use]
pub fn holds(kind: Kind, address: &Address, field_type: Option<&FieldType>, entity: &Entity, normalised: &str) -> bool {
    values(kind, address, field_type, entity).iter().any(|value| value == normalised)
}

/// A field's value as the entity has it: custom fields under `custom_fields`, those of leads at the root.
#[must_use]
pub fn field_value<'a>(kind: Kind, address: &Address, entity: &'a Entity) -> Option<&'a Value> {
    match address {
        Address::Custom(key) if kind.is_v2() => entity.get("custom_fields")?.get(key),
        Address::Custom(key) | Address::Standard(key) => entity.get(key),
    }
    .filter(|value| !value.is_null())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    Id,
    Email,
    Phone,
    Name,
    Text,
    Number,
    Boolean,
    Reference,
    Ids,
}

fn rule(kind: Kind, address: &Address, field_type: Option<&FieldType>) -> Rule {
    match address {
        Address::Standard(key) => standard::find(kind, key).map_or(Rule::Text, |field| of_standard(field.key, field.ty)),
        Address::Custom(_) => field_type.map_or(Rule::Text, of_custom),
    }
}

fn of_standard(key: &str, ty: StandardType) -> Rule {
    match ty {
        StandardType::Id => Rule::Id,
        StandardType::Emails => Rule::Email,
        StandardType::Phones => Rule::Phone,
        StandardType::Text if matches!(key, "name" | "title" | "subject") => Rule::Name,
        StandardType::Address => Rule::Name,
        StandardType::Integer | StandardType::Number | StandardType::Money | StandardType::Flag => Rule::Number,
        StandardType::Boolean => Rule::Boolean,
        StandardType::Labels => Rule::Ids,
        StandardType::User
        | StandardType::Pipeline
        | StandardType::Stage
        | StandardType::Visibility
        | StandardType::Option
        | StandardType::Link(_)
        | StandardType::Project
        | StandardType::Task => Rule::Reference,
        StandardType::Text
        | StandardType::Html
        | StandardType::Date
        | StandardType::DateTime
        | StandardType::Time
        | StandardType::Duration
        | StandardType::Currency
        | StandardType::Ims
        | StandardType::ActivityType
        | StandardType::Words(_)
        | StandardType::Participants
        | StandardType::Attendees => Rule::Text,
    }
}

const fn of_custom(ty: &FieldType) -> Rule {
    match ty {
        FieldType::Double | FieldType::Int | FieldType::Monetary => Rule::Number,
        FieldType::Boolean => Rule::Boolean,
        FieldType::Enum | FieldType::User | FieldType::Org | FieldType::People => Rule::Reference,
        FieldType::Set => Rule::Ids,
        FieldType::Phone => Rule::Phone,
        FieldType::Address => Rule::Name,
        FieldType::Varchar
        | FieldType::VarcharAuto
        | FieldType::Text
        | FieldType::Date
        | FieldType::Daterange
        | FieldType::Time
        | FieldType::Timerange
        | FieldType::Other(_) => Rule::Text,
    }
}

fn apply(rule: Rule, value: &Value) -> Option<String> {
    match rule {
        Rule::Id => Id::from_json(value).map(|id| id.to_string()),
        Rule::Email => text(value).map(|s| s.to_lowercase()),
        Rule::Phone => phone(&text(value)?),
        Rule::Name => text(value).map(|s| s.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()),
        Rule::Text => text(value),
        Rule::Number => number(value),
        Rule::Boolean => boolean(value),
        Rule::Reference => reference(value),
        Rule::Ids => ids(value),
    }
}

/// The text of a value, or of its `value` part; trimmed; none when blank.
fn text(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(s) => s.trim().to_owned(),
        Value::Number(n) => number_text(n),
        Value::Bool(b) => b.to_string(),
        Value::Object(parts) => return text(parts.get("value").filter(|v| !v.is_object())?),
        Value::Null | Value::Array(_) => return None,
    };
    Some(text).filter(|s| !s.is_empty())
}

/// E.164 where the country is told, else the digits.
fn phone(text: &str) -> Option<String> {
    let digits: String = text.chars().filter_map(|c| c.to_digit(10).and_then(|d| char::from_digit(d, 10))).collect();
    let international = match text.strip_prefix('+') {
        Some(_) => Some(digits.as_str()),
        None => digits.strip_prefix("00"),
    };
    if let Some(digits) = international.filter(|d| !d.is_empty()) {
        let plus = format!("+{digits}");
        // The given text first: it may hold an extension, whose digits belong to no number.
        let parsed = phonenumber::parse(None, text).or_else(|_| phonenumber::parse(None, &plus));
        return Some(parsed.map_or(plus, |number| number.format().mode(phonenumber::Mode::E164).to_string()));
    }
    Some(digits).filter(|d| !d.is_empty())
}

fn number(value: &Value) -> Option<String> {
    let number: f64 = match value {
        Value::Number(n) => {
            // Beyond 2^53 a float would lose digits.
            if let Some(whole) = n.as_i64() {
                return Some(whole.to_string());
            }
            n.as_f64()?
        }
        Value::String(s) => match s.trim().parse::<i64>() {
            Ok(whole) => return Some(whole.to_string()),
            Err(_) => s.trim().parse().ok()?,
        },
        Value::Object(parts) => return number(parts.get("value").or_else(|| parts.get("amount")).filter(|v| !v.is_object())?),
        Value::Null | Value::Bool(_) | Value::Array(_) => return None,
    };
    // `-0` and `0` are one number.
    number.is_finite().then(|| if number == 0.0 { "0".to_owned() } else { number.to_string() })
}

fn boolean(value: &Value) -> Option<String> {
    match value {
        Value::Bool(b) => Some(b.to_string()),
        Value::Number(n) if n.as_u64() == Some(0) => Some("false".to_owned()),
        Value::Number(n) if n.as_u64() == Some(1) => Some("true".to_owned()),
        Value::String(s) if matches!(s.as_str(), "true" | "false") => Some(s.clone()),
        _ => None,
    }
}

/// The id of an option or of another entity; v1 wraps some in objects.
fn reference(value: &Value) -> Option<String> {
    match value {
        Value::Object(parts) => reference(parts.get("id").or_else(|| parts.get("value")).filter(|v| !v.is_object())?),
        value => text(value),
    }
}

fn ids(value: &Value) -> Option<String> {
    let mut ids: Vec<String> = match value {
        Value::Array(items) => items.iter().filter_map(reference).collect(),
        Value::String(s) => s.split(',').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect(),
        value => reference(value).into_iter().collect(),
    };
    ids.sort_by_cached_key(|id| (id.parse::<i64>().unwrap_or(i64::MAX), id.clone()));
    ids.dedup();
    Some(ids.join(",")).filter(|joined| !joined.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn standard(kind: Kind, key: &str, value: Value) -> Option<String> {
        normalise(kind, &Address::Standard(key.to_owned()), None, &value)
    }

    fn custom(ty: FieldType, value: Value) -> Option<String> {
        normalise(Kind::Person, &Address::Custom("k".to_owned()), Some(&ty), &value)
    }

    #[test]
    fn case_and_blanks_count_where_the_table_says_so() {
        assert_eq!(standard(Kind::Person, "emails", json!(" Ada@Acme.COM ")).as_deref(), Some("ada@acme.com"));
        assert_eq!(standard(Kind::Person, "email", json!([{"value": "A@b.c", "primary": true}])).as_deref(), Some("a@b.c"));
        assert_eq!(standard(Kind::Person, "name", json!("  Ada   LOVELACE ")).as_deref(), Some("ada lovelace"));
        assert_eq!(custom(FieldType::Varchar, json!(" User-42 ")).as_deref(), Some("User-42"));
        for number in [json!(42), json!(42.0), json!("42")] {
            assert_eq!(custom(FieldType::Varchar, number.clone()).as_deref(), Some("42"), "{number}");
        }
    }

    #[test]
    fn one_phone_has_one_form() {
        for text in ["+372 5555 1234", "00372 5555-1234", "+372 (5555) 1234"] {
            assert_eq!(standard(Kind::Person, "phones", json!(text)).as_deref(), Some("+37255551234"), "{text}");
        }
        assert_eq!(standard(Kind::Person, "phones", json!("555 12 34")).as_deref(), Some("5551234"));
        assert_eq!(standard(Kind::Person, "phones", json!("n/a")), None);
    }

    #[test]
    fn v1_and_v2_shapes_of_a_value_are_the_same_value() {
        assert_eq!(custom(FieldType::Enum, json!("123")), custom(FieldType::Enum, json!(123)));
        assert_eq!(custom(FieldType::Set, json!("34,12")), custom(FieldType::Set, json!([12, 34])));
        assert_eq!(
            custom(FieldType::Monetary, json!(12.50)),
            custom(FieldType::Monetary, json!({"value": 12.5, "currency": "EUR"}))
        );
        assert_eq!(custom(FieldType::Double, json!("12.0")), custom(FieldType::Double, json!(12)));
        assert_eq!(standard(Kind::Deal, "person_id", json!({"id": 7, "name": "x"})), standard(Kind::Deal, "person_id", json!(7)));
    }

    #[test]
    fn what_is_empty_is_no_value() {
        for empty in [json!(null), json!(""), json!("  "), json!([]), json!({"value": null})] {
            assert_eq!(custom(FieldType::Varchar, empty.clone()), None, "{empty}");
            assert_eq!(custom(FieldType::Set, empty.clone()), None, "{empty}");
            assert_eq!(custom(FieldType::Double, empty.clone()), None, "{empty}");
        }
    }

    #[test]
    fn every_address_of_a_list_is_a_value() {
        let entity = json!({"emails": [{"value": "A@x.y"}, {"value": "b@x.y"}], "custom_fields": {"k": "v"}});
        let Value::Object(entity) = entity else { panic!("an object") };
        let email = Address::Standard("emails".to_owned());
        assert_eq!(values(Kind::Person, &email, None, &entity), ["a@x.y", "b@x.y"]);
        assert!(holds(Kind::Person, &Address::Custom("k".to_owned()), None, &entity, "v"));
    }
}
