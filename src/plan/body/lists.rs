//! List fields: what to do with the items that are there. Pipedrive replaces a list as a whole, so it is merged here.
//!
//! Items are the same when a match would take one for the other: an e-mail without regard to case, a phone number however it is
//! spelt, an id. What is kept keeps its label and its place as the primary one.

use serde_json::{Map, Value as Json};

use crate::crm::{self, ListOp};
use crate::plan::field::FieldRef;
use crate::plan::shape::Shape;

/// What makes two items the same: what a match compares by ([`crm::normalise`]); people and addresses of an activity by themselves.
pub(in crate::plan) fn key(field: &FieldRef<'_>, item: &Json) -> String {
    let value = match field.shape {
        Shape::Contacts => item.get("value").unwrap_or(item),
        Shape::Participants => return plain(item.get("person_id").unwrap_or(item)),
        Shape::Attendees => return plain(item.get("email").unwrap_or(item)),
        _ => item,
    };
    crm::normalise(field.kind, &field.address, field.field_type, value).unwrap_or_else(|| plain(value))
}

fn plain(value: &Json) -> String {
    match value {
        Json::String(s) => s.trim().to_lowercase(),
        other => other.to_string(),
    }
}

/// The list after the operation.
pub(super) fn merge(field: &FieldRef<'_>, present: &Json, op: ListOp, items: &[Json]) -> Vec<Json> {
    let present: Vec<Json> = present.as_array().into_iter().flatten().map(|item| cleaned(field, item)).collect();
    let same = |a: &Json, b: &Json| key(field, a) == key(field, b);
    let mut list = match op {
        ListOp::Add | ListOp::Primary => {
            let mut list = present;
            for item in items {
                if !list.iter().any(|p| same(p, item)) {
                    list.push(item.clone());
                }
            }
            list
        }
        ListOp::Remove => present.into_iter().filter(|p| !items.iter().any(|item| same(p, item))).collect(),
        ListOp::Replace => {
            let kept = |item: &Json| present.iter().find(|p| same(p, item)).map_or_else(|| item.clone(), |p| overlaid(p, item));
            let mut list: Vec<Json> = Vec::new();
            for item in items {
                if !list.iter().any(|p| same(p, item)) {
                    list.push(kept(item));
                }
            }
            list
        }
    };
    if matches!(field.shape, Shape::Contacts | Shape::Participants) {
        let asked = match op {
            ListOp::Primary => items.first(),
            ListOp::Add | ListOp::Replace => items.iter().find(|i| is_primary(i)),
            ListOp::Remove => None,
        };
        let asked = asked.map(|item| key(field, item));
        one_primary(&mut list, |item| asked.as_ref().is_some_and(|a| *a == key(field, item)));
    }
    list
}

fn is_primary(item: &Json) -> bool {
    item.get("primary") == Some(&Json::Bool(true))
}

/// Exactly one item is primary: the one asked for, else the one that was, else the first.
fn one_primary(list: &mut [Json], asked: impl Fn(&Json) -> bool) {
    let index = list.iter().position(asked).or_else(|| list.iter().position(is_primary)).unwrap_or(0);
    for (i, item) in list.iter_mut().enumerate() {
        if let Json::Object(map) = item {
            map.insert("primary".into(), (i == index).into());
        }
    }
}

/// The keys that a body may carry; answers have more.
fn cleaned(field: &FieldRef<'_>, item: &Json) -> Json {
    let keep: &[&str] = match field.shape {
        Shape::Contacts => &["value", "label", "primary"],
        Shape::Participants => &["person_id", "primary"],
        _ => return item.clone(),
    };
    match item {
        Json::Object(map) => {
            map.iter().filter(|(k, v)| keep.contains(&k.as_str()) && !v.is_null()).map(|(k, v)| (k.clone(), v.clone())).collect()
        }
        other => other.clone(),
    }
}

fn overlaid(present: &Json, item: &Json) -> Json {
    match (present, item) {
        (Json::Object(present), Json::Object(item)) => {
            let mut out: Map<String, Json> = present.clone();
            out.extend(item.iter().map(|(k, v)| (k.clone(), v.clone())));
            Json::Object(out)
        }
        _ => item.clone(),
    }
}
