//! Whether two values of a field are the same to Pipedrive, however they are written.

use serde_json::Value as Json;

use super::lists;
use crate::plan::field::FieldRef;
use crate::plan::shape::Shape;

/// Null, blank, without items, or with empty parts only.
pub(in crate::plan) fn is_empty(value: &Json) -> bool {
    match value {
        Json::Null => true,
        Json::String(s) => s.trim().is_empty(),
        Json::Array(items) => items.iter().all(is_empty),
        // Of composite values and of list items, `value` is what counts where there is one.
        Json::Object(map) => match map.get("value").or_else(|| map.get("amount")) {
            Some(value) => is_empty(value),
            None => map.values().all(is_empty),
        },
        Json::Bool(_) | Json::Number(_) => false,
    }
}

/// Equal in meaning. Both values in the v2 shape.
pub(super) fn same(field: &FieldRef<'_>, a: &Json, b: &Json) -> bool {
    if is_empty(a) || is_empty(b) {
        return is_empty(a) && is_empty(b);
    }
    match field.shape {
        Shape::Contacts | Shape::Participants => {
            let order = |v: &Json| {
                v.as_array().into_iter().flatten().map(|i| (lists::key(field, i), label(i), is_primary(i))).collect::<Vec<_>>()
            };
            order(a) == order(b)
        }
        Shape::Choices | Shape::Labels | Shape::LeadLabels => ids(field, a) == ids(field, b),
        Shape::Address => plain(a) == plain(b),
        Shape::Money | Shape::LeadValue => number_in(a) == number_in(b) && part(a, "currency") == part(b, "currency"),
        Shape::DateRange | Shape::TimeRange => {
            clock(part(a, "value")) == clock(part(b, "value")) && clock(part(a, "until")) == clock(part(b, "until"))
        }
        // A zone that nobody named is the account's choice.
        Shape::ZonedTime => {
            let zones = (part(a, "timezone_name"), part(b, "timezone_name"));
            clock(plain(a)) == clock(plain(b)) && (zones.0.is_null() || zones.1.is_null() || zones.0 == zones.1)
        }
        Shape::Time | Shape::Duration => clock(a) == clock(b),
        Shape::Date => day(a) == day(b),
        Shape::Instant | Shape::SpacedInstant => instant(a) == instant(b),
        _ => match (number(a), number(b)) {
            (Some(a), Some(b)) => a == b,
            _ => a == b,
        },
    }
}

fn plain(value: &Json) -> &Json {
    value.get("value").unwrap_or(value)
}

fn part<'a>(value: &'a Json, name: &str) -> &'a Json {
    value.get(name).unwrap_or(&Json::Null)
}

fn number_in(value: &Json) -> Option<f64> {
    number(value.get("value").or_else(|| value.get("amount")).unwrap_or(value))
}

fn number(value: &Json) -> Option<f64> {
    value.as_f64()
}

fn label(item: &Json) -> Option<String> {
    item.get("label").and_then(Json::as_str).map(str::to_lowercase)
}

fn is_primary(item: &Json) -> bool {
    item.get("primary") == Some(&Json::Bool(true))
}

fn ids(field: &FieldRef<'_>, value: &Json) -> Vec<String> {
    let mut ids: Vec<String> = value.as_array().into_iter().flatten().map(|i| lists::key(field, i)).collect();
    ids.sort();
    ids
}

/// `10:00` and `10:00:00` are one time; dates pass through.
fn clock(value: &Json) -> Option<String> {
    let text = value.as_str()?.trim();
    Some(if text.len() == 5 && text.contains(':') { format!("{text}:00") } else { text.to_owned() })
}

fn day(value: &Json) -> Option<&str> {
    value.as_str().map(|s| s.get(..10).unwrap_or(s))
}

fn instant(value: &Json) -> Option<String> {
    let text = value.as_str()?.replace(' ', "T");
    Some(text.split(['.', 'Z', '+']).next().unwrap_or("").to_owned())
}
