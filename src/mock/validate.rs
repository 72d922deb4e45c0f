//! The schema check of queries and bodies, as strict as Pipedrive's: nothing undeclared, no type but the declared one.

use serde_json::Value;

use super::clock;
use super::spec::{Operation, Parameter, Schema, Type};

/// Query parameters that hold several values of their enum, parted by commas.
const LISTS: [&str; 3] = ["fields", "item_types", "include_fields"];

/// Every problem of a query.
pub(super) fn query(operation: &Operation, given: &[(String, String)]) -> Vec<String> {
    let mut problems = Vec::new();
    for (i, (name, value)) in given.iter().enumerate() {
        match operation.query.get(name) {
            None => problems.push(not_allowed(name)),
            Some(_) if given[..i].iter().any(|(n, _)| n == name) => problems.push(format!("{name}: given more than once")),
            Some(parameter) => problems.extend(parameter_problem(name, parameter, value)),
        }
    }
    for (name, _) in operation.query.iter().filter(|(_, p)| p.required) {
        if !given.iter().any(|(n, _)| n == name) {
            problems.push(format!("{name}: Required"));
        }
    }
    problems
}

fn not_allowed(name: &str) -> String {
    format!("Parameter '{name}' is not allowed for this request")
}

fn parameter_problem(name: &str, parameter: &Parameter, value: &str) -> Option<String> {
    let typed = match parameter.kind {
        Type::Integer => value.parse::<i64>().is_ok(),
        Type::Number => value.parse::<f64>().is_ok(),
        Type::Boolean => matches!(value, "true" | "false"),
        Type::String | Type::Array | Type::Object => true,
    };
    if !typed {
        return Some(format!("{name}: Expected {}, received string", parameter.kind.as_str()));
    }
    if parameter.format.as_deref() == Some("uuid") && uuid::Uuid::try_parse(value).is_err() {
        return Some(format!("{name}: Invalid uuid"));
    }
    if parameter.allowed.is_empty() {
        return None;
    }
    let known = |v: &str| {
        parameter.allowed.iter().any(|a| match a {
            Value::String(s) => s == v,
            other => {
                let text = other.to_string();
                text == v
            }
        })
    };
    let fine = if LISTS.contains(&name) { value.split(',').all(|v| known(v.trim())) } else { known(value) };
    (!fine).then(|| format!("{name}: Invalid enum value '{value}'"))
}

/// Every problem of a body; `extra` says which undeclared root keys another check takes care of.
pub(super) fn body(schema: &Schema, given: &Value, extra: &dyn Fn(&str) -> bool) -> Vec<String> {
    let mut problems = Vec::new();
    value(schema, given, "", &mut problems, extra);
    problems
}

fn value(schema: &Schema, given: &Value, path: &str, problems: &mut Vec<String>, extra: &dyn Fn(&str) -> bool) {
    let at = if path.is_empty() { "body" } else { path };
    if given.is_null() && schema.nullable {
        return;
    }
    if !has_type(schema.kind, given) {
        problems.push(format!("{at}: Expected {}, received {}", schema.kind.as_str(), type_name(given)));
        return;
    }
    if !schema.allowed.is_empty() && !schema.allowed.contains(given) {
        problems.push(format!("{at}: Invalid enum value"));
        return;
    }
    match given {
        Value::String(text) => {
            let length = text.chars().count();
            if schema.min_length.is_some_and(|min| length < min) || schema.max_length.is_some_and(|max| length > max) {
                problems.push(format!("{at}: Invalid length"));
            }
            match schema.format.as_deref() {
                Some("uuid") if uuid::Uuid::try_parse(text).is_err() => problems.push(format!("{at}: Invalid uuid")),
                Some("date") if !clock::is_date(text) => problems.push(format!("{at}: Invalid date")),
                _ => {}
            }
        }
        Value::Array(items) => {
            if let Some(item) = &schema.items {
                for (i, v) in items.iter().enumerate() {
                    value(item, v, &format!("{at}.{i}"), problems, &|_| false);
                }
            }
        }
        Value::Object(map) if !schema.open => {
            for (key, v) in map {
                let inner = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                match schema.properties.get(key) {
                    Some(s) => value(s, v, &inner, problems, &|_| false),
                    None if extra(key) => {}
                    None => problems.push(not_allowed(&inner)),
                }
            }
            for key in &schema.required {
                if !map.contains_key(key) {
                    problems.push(format!("{}: Required", if path.is_empty() { key.clone() } else { format!("{path}.{key}") }));
                }
            }
        }
        _ => {}
    }
}

fn has_type(kind: Type, given: &Value) -> bool {
    match kind {
        Type::String => given.is_string(),
        Type::Integer => is_integer(given),
        Type::Number => given.is_number(),
        Type::Boolean => given.is_boolean(),
        Type::Array => given.is_array(),
        Type::Object => given.is_object(),
    }
}

/// JSON knows no integers: `3.0` is one, as it is in JavaScript.
pub(super) fn is_integer(given: &Value) -> bool {
    given.is_i64() || given.is_u64() || given.as_f64().is_some_and(|f| f.fract() == 0.0 && f.abs() < 9e15)
}

/// The word for a value's type in messages.
pub(super) const fn type_name(given: &Value) -> &'static str {
    match given {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
