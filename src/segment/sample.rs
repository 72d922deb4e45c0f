//! A script test for an imported rule: an event that meets the trigger and has what the mapping reads.

use jiff::Timestamp;
use serde_json::{Map, Value as Json, json};

use super::fields::is_key;
use super::mapping::{Key, Mapping, Part};
use super::script::Source;
use crate::crm::Metadata;
use crate::ingest::decode_event;
use crate::pipedrive::Kind;
use crate::plan::notation::{literal, name, quoted};
use crate::rules::Trigger;

/// What the id of the entity that a test begins with stands for in the event's JSON.
const GIVEN: &str = "\u{1}given";

/// The text of the test file.
///
/// # Errors
/// Why there is none.
pub(super) fn test(rule: &str, source: &Source<'_>, when: &str, mock: &Metadata) -> Result<String, String> {
    let kind = source.kind();
    known(source, mock)?;
    let mut event = json!({});
    let mut given = String::new();
    let field = if kind == Kind::Deal { "deal_match_value" } else { "match_value" };
    let mut effect = "created";
    match kind {
        Kind::Person | Kind::Organization | Kind::Deal => {
            let (by, _) = source.match_field(kind);
            if source.get(field).is_some() {
                let value = if by == "id" { GIVEN } else { example(&by) };
                place(source, field, &json!(value), &mut event);
                if by == "id" && kind != Kind::Deal {
                    effect = "updated";
                    given = format!("    let there = given::{kind}(#{{ name: \"There before\" }});\n");
                } else if by == "id" {
                    return Err("it updates deals that are there, by id; write one with a deal of your own".to_owned());
                }
            }
        }
        _ => {}
    }
    if matches!(kind, Kind::Deal | Kind::Lead | Kind::Note) && source.get("person_match_value").is_some() {
        let (by, _) = source.match_field(Kind::Person);
        let value = if by == "id" { GIVEN } else { example(&by) };
        place(source, "person_match_value", &json!(value), &mut event);
        let own = match by.as_str() {
            "id" | "name" => String::new(),
            by => format!(", {}: {}", name(by), quoted(example(by))),
        };
        given = format!("    let there = given::person(#{{ name: \"Ada King\"{own} }});\n");
    } else if matches!(kind, Kind::Deal | Kind::Lead | Kind::Note) {
        return Err("it links to no person; write one with what it links to".to_owned());
    }
    for (field, value) in [
        ("name", "Ada King"),
        ("email", "ada@example.com"),
        ("phone", "+37255551234"),
        ("title", "20 seats"),
        ("content", "Asked for a demo"),
        ("subject", "Call back"),
    ] {
        place(source, field, &json!(value), &mut event);
    }
    satisfy(when, &mut event);
    if event.get("messageId").is_none() {
        event["messageId"] = json!("m-1");
    }
    let id = ["userId", "anonymousId"].iter().any(|k| event.get(k).is_some());
    if !id {
        event["anonymousId"] = json!("a-1");
    }
    if event["type"] == "group" && event.get("groupId").is_none() {
        event["groupId"] = json!("g-1");
    }
    let plain = serde_json::from_str(&event.to_string().replace("\\u0001given", "7")).unwrap_or_default();
    let wants =
        Trigger::parse(when).is_ok_and(|t| decode_event("segment", Timestamp::UNIX_EPOCH, plain).is_ok_and(|e| t.matches(&e)));
    if !wants {
        return Err("no event could be made up that meets the trigger".to_owned());
    }
    let event = literal(&event).replace(&quoted(GIVEN), "there.id");
    let shown = match (kind, source.get("name").or_else(|| source.get("title"))) {
        (Kind::Person | Kind::Organization, Some(Mapping::Path(_))) => Some(("name", "Ada King")),
        (Kind::Deal | Kind::Lead, Some(Mapping::Path(_))) => Some(("title", "20 seats")),
        _ => None,
    };
    let shown = shown.map_or_else(String::new, |(field, value)| {
        format!("    assert_eq({kind}::get(delivery.plan[0].id).{field}, {});\n", quoted(value))
    });
    Ok(format!(
        "// The event holds what the mapping reads. Add what yours hold, and what you expect of it.\n\n\
         fn test_{}_takes_its_event() {{\n{given}    let run = deliver({event});\n\n    \
         let delivery = run.deliveries.filter(|d| d.rule == {})[0];\n    \
         assert_eq(delivery.state, \"done\");\n    assert_eq(delivery.plan[0].effect, \"{effect}\");\n{shown}}}\n",
        rule.replace('-', "_"),
        quoted(rule),
    ))
}

/// Whether script tests, which run against the embedded Pipedrive, can know the fields.
fn known(source: &Source<'_>, mock: &Metadata) -> Result<(), String> {
    let kind = source.kind();
    let mut names: Vec<(Kind, String)> = [Kind::Person, Kind::Organization, Kind::Deal]
        .into_iter()
        .filter(|k| *k == kind || source.get(&format!("{k}_match_value")).is_some())
        .map(|k| (k, source.match_field(k).0))
        .collect();
    if let Some(Mapping::Object(entries)) = source.get("custom_fields") {
        names.extend(entries.iter().map(|(key, _)| (kind, key.clone())));
    }
    let standard = |kind, field: &str| crate::crm::standard::find(kind, field).is_some();
    let there = |kind, field: &str| {
        standard(kind, field) || mock.fields_of(kind).iter().any(|f| f.custom && (f.key == field || f.name == field))
    };
    match names.iter().find(|(kind, field)| !there(*kind, field)) {
        None => Ok(()),
        Some((kind, field)) => {
            let what = if is_key(field) { "the custom field" } else { "the field" };
            Err(format!("the embedded Pipedrive, which tests run against, does not have {what} `{field}` of a {kind}"))
        }
    }
}

/// A value to match by.
fn example(field: &str) -> &'static str {
    match field {
        "email" => "ada@example.com",
        "name" => "Ada King",
        "title" => "20 seats",
        "phone" => "+37255551234",
        _ => "u-1",
    }
}

/// Puts a value where the mapping of a field looks for it.
fn place(source: &Source<'_>, field: &str, value: &Json, event: &mut Json) {
    if let Some(mapping) = source.get(field) {
        let mut found = Vec::new();
        paths(mapping, &mut found);
        found.into_iter().for_each(|path| set(event, &path, value, false));
    }
}

fn paths(mapping: &Mapping, found: &mut Vec<Vec<Key>>) {
    match mapping {
        Mapping::Path(keys) => found.push(keys.clone()),
        Mapping::Template(parts) => {
            found.extend(parts.iter().filter_map(|p| if let Part::Path(keys) = p { Some(keys.clone()) } else { None }));
        }
        Mapping::If { test, then, .. } => {
            paths(test, found);
            paths(then, found);
        }
        Mapping::Case { value, .. } | Mapping::Replace { value, .. } | Mapping::WithoutNulls(value) => paths(value, found),
        _ => {}
    }
}

fn set(event: &mut Json, path: &[Key], value: &Json, anew: bool) {
    let mut at = event;
    for key in path {
        let Key::Name(key) = key else { return };
        if !at.is_object() {
            return;
        }
        at = &mut at[key.as_str()];
        if at.is_null() {
            *at = Json::Object(Map::new());
        }
    }
    if at.as_object().is_some_and(Map::is_empty) || anew {
        *at = value.clone();
    }
}

/// Sets what `FIELD = VALUE` of a trigger asks for. Whether it then is met is asked of the trigger itself.
fn satisfy(when: &str, event: &mut Json) {
    for condition in when.split(" and ").flat_map(|c| c.split(" or ")) {
        let Some((field, value)) = condition.trim_matches(['(', ')', ' ']).split_once('=') else { continue };
        let path: Vec<Key> = field.trim().split('.').map(|k| Key::Name(k.to_owned())).collect();
        match (field.trim().strip_suffix('!'), serde_json::from_str::<Json>(value.trim())) {
            (None, Ok(value)) if !value.is_null() => set(event, &path, &value, !matches!(field.trim(), "userId")),
            (Some(field), Ok(Json::Null)) => {
                let path: Vec<Key> = field.trim().split('.').map(|k| Key::Name(k.to_owned())).collect();
                set(event, &path, &json!("something"), false);
            }
            _ => {}
        }
    }
}
