//! Values between the interpreter, JSON and plans.
//!
//! Nothing here names a value that came from an event: what does not fit is described by its type.

use rhai::{Array, Dynamic, Map};
use serde_json::{Map as JsonMap, Number, Value as Json};

use super::host::values::{By, Clear, ListChange, Money, Reference};
use crate::plan::{Criteria, Criterion, FieldEntry, Link, Value};

/// Deepest nesting of a value that a script gives.
const MAX_DEPTH: usize = 32;
/// Key under which fields are custom ones for certain.
pub(super) const CUSTOM: &str = "custom";

/// How the reason begins when a reference stands inside a value.
pub(super) const REFERENCE_INSIDE: &str = "a reference cannot stand inside";

/// Why a value does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unfit {
    /// What is wrong.
    pub reason: String,
    /// What to do.
    pub help: Option<String>,
}

impl Unfit {
    fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), help: None }
    }

    fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    fn within(mut self, field: &str) -> Self {
        self.reason = format!("field `{field}`: {}", self.reason);
        self
    }
}

/// The type of a value in the words of scripts.
pub(super) fn type_word(value: &Dynamic) -> &'static str {
    if value.is_unit() {
        "nothing `()`"
    } else if value.is_string() || value.is_char() {
        "a text"
    } else if value.is_bool() {
        "a boolean"
    } else if value.is_int() || value.is_float() {
        "a number"
    } else if value.is_map() {
        "a map"
    } else if value.is_array() {
        "an array"
    } else if value.is_fnptr() {
        "a function"
    } else if value.is_blob() {
        "a blob"
    } else if value.is::<Reference>() {
        "a reference"
    } else if value.is::<Clear>() {
        "`CLEAR`"
    } else if value.is::<Money>() {
        "money"
    } else if value.is::<By>() {
        "`by(..)`"
    } else if value.is::<ListChange>() {
        "a list change"
    } else {
        "a value of another type"
    }
}

/// JSON of an answer or an event, as the interpreter has it. Null becomes `()`.
pub(super) fn from_json(value: &Json) -> Dynamic {
    match value {
        Json::Null => Dynamic::UNIT,
        Json::Bool(b) => (*b).into(),
        Json::Number(n) => n.as_i64().map_or_else(|| n.as_f64().unwrap_or(f64::NAN).into(), Dynamic::from_int),
        Json::String(s) => s.as_str().into(),
        Json::Array(items) => Dynamic::from_array(items.iter().map(from_json).collect()),
        Json::Object(map) => Dynamic::from_map(map.iter().map(|(k, v)| (k.as_str().into(), from_json(v))).collect()),
    }
}

/// A script's value as JSON.
pub(super) fn to_json(value: &Dynamic) -> Result<Json, Unfit> {
    json_at(value, 0)
}

fn json_at(value: &Dynamic, depth: usize) -> Result<Json, Unfit> {
    if depth > MAX_DEPTH {
        return Err(Unfit::new(format!("the value is nested deeper than {MAX_DEPTH} levels")));
    }
    if let Ok(text) = value.as_immutable_string_ref() {
        return Ok(Json::String(text.as_str().to_owned()));
    }
    if value.is_unit() {
        return Ok(Json::Null);
    }
    if let Ok(number) = value.as_int() {
        return Ok(number.into());
    }
    if let Ok(flag) = value.as_bool() {
        return Ok(flag.into());
    }
    if let Ok(number) = value.as_float() {
        return Number::from_f64(number).map(Json::Number).ok_or_else(|| Unfit::new("the number is not finite"));
    }
    if let Ok(map) = value.as_map_ref() {
        let mut object = JsonMap::new();
        for (key, item) in map.iter() {
            object.insert(key.as_str().to_owned(), json_at(item, depth + 1)?);
        }
        return Ok(Json::Object(object));
    }
    if let Ok(items) = value.as_array_ref() {
        return items.iter().map(|item| json_at(item, depth + 1)).collect::<Result<_, _>>().map(Json::Array);
    }
    if let Ok(letter) = value.as_char() {
        return Ok(Json::String(letter.to_string()));
    }
    let unfit = Unfit::new(format!("{} cannot stand inside a value", type_word(value)));
    Err(if value.is::<Reference>() {
        unfit.help("give a reference as the whole value of a link field: `person_id: person`")
    } else {
        unfit
    })
}

/// A field's value.
pub(super) fn field_value(value: &Dynamic) -> Result<Value, Unfit> {
    if let Ok(text) = value.as_immutable_string_ref() {
        return Ok(if text.is_empty() { Value::Leave } else { Value::Json(Json::String(text.as_str().to_owned())) });
    }
    if value.is_unit() {
        return Ok(Value::Leave);
    }
    if let Ok(items) = value.as_array_ref() {
        return list_items(&items).map(|kept| match kept {
            Some(items) => Value::Json(Json::Array(items)),
            None => Value::Leave,
        });
    }
    if let Some(reference) = value.read_lock::<Reference>() {
        return Ok(Value::Link(Link::Reference(reference.ordinal)));
    }
    if value.is::<Clear>() {
        return Ok(Value::Clear);
    }
    if let Some(money) = value.read_lock::<Money>() {
        return Ok(Value::Money { amount: money.amount.clone(), currency: money.currency.clone() });
    }
    if let Some(by) = value.read_lock::<By>() {
        return Ok(Value::Link(Link::By { criteria: by.criteria.clone(), wait: by.wait }));
    }
    if let Some(change) = value.read_lock::<ListChange>() {
        return Ok(Value::List { op: change.op, items: change.items.clone() });
    }
    to_json(value).map(Value::Json)
}

/// The items of a list, without the empty ones; none when there were only empty ones.
pub(super) fn list_items(items: &Array) -> Result<Option<Vec<Json>>, Unfit> {
    let mut kept = Vec::with_capacity(items.len());
    for item in items {
        let blank = item.is_unit() || item.as_immutable_string_ref().is_ok_and(|s| s.is_empty());
        if !blank {
            kept.push(json_at(item, 1)?);
        }
    }
    Ok((items.is_empty() || !kept.is_empty()).then_some(kept))
}

/// The entries of a map of fields.
pub(super) fn fields(value: &Dynamic) -> Result<Vec<FieldEntry>, Unfit> {
    if value.is_unit() {
        return Ok(Vec::new());
    }
    let map =
        value.as_map_ref().map_err(|_| Unfit::new(format!("fields are a map `#{{ name: .. }}`, not {}", type_word(value))))?;
    entries(&map)
}

fn entries(map: &Map) -> Result<Vec<FieldEntry>, Unfit> {
    let mut entries = Vec::with_capacity(map.len());
    for (name, value) in map {
        if name == CUSTOM && value.is_map() {
            let custom = value.as_map_ref().map_err(|_| Unfit::new("`custom` is a map"))?;
            for (name, value) in custom.iter() {
                entries.push(entry(name, value, true)?);
            }
        } else {
            entries.push(entry(name, value, false)?);
        }
    }
    Ok(entries)
}

fn entry(name: &str, value: &Dynamic, custom: bool) -> Result<FieldEntry, Unfit> {
    let value = field_value(value).map_err(|unfit| unfit.within(name))?;
    Ok(FieldEntry { name: name.to_owned(), custom, value })
}

/// A text or whole number in place of a match: the account's match field equals it.
pub(super) fn bare(value: &Dynamic) -> Option<Criteria> {
    let plain = value.is_string() || value.is_int();
    plain.then(|| field_value(value).ok()).flatten().map(|value| Criteria(vec![Criterion::bare(value)]))
}

/// A match: a map (and), an array of maps (else), or `()` (no criterion).
pub(super) fn criteria(value: &Dynamic) -> Result<Criteria, Unfit> {
    if value.is_unit() {
        return Ok(Criteria::default());
    }
    if let Ok(map) = value.as_map_ref() {
        return Ok(Criteria(criterion(&map)?.into_iter().collect()));
    }
    if let Ok(items) = value.as_array_ref() {
        let mut found = Vec::with_capacity(items.len());
        for item in items.iter().filter(|i| !i.is_unit()) {
            let map = item.as_map_ref().map_err(|_| {
                Unfit::new(format!("a match is a map or an array of maps; the array holds {}", type_word(item)))
                    .help("write `[#{ \"Segment User ID\": .. }, #{ email: .. }]`")
            })?;
            found.extend(criterion(&map)?);
        }
        return Ok(Criteria(found));
    }
    Err(Unfit::new(format!("a match is a map or an array of maps, not {}", type_word(value))).help("write `#{ email: .. }`"))
}

/// A map without keys would find anything, so it is no criterion.
fn criterion(map: &Map) -> Result<Option<Criterion>, Unfit> {
    if map.contains_key("id") && map.contains_key("add_time") {
        return Err(Unfit::new("this map is a record that was read, and no match").help("hand over its id, as in `found.id`"));
    }
    let entries = entries(map)?;
    Ok((!entries.is_empty()).then_some(Criterion(entries)))
}

/// True when every value of every criterion is empty: there is nothing to look for.
pub(super) fn is_void(criteria: &Criteria) -> bool {
    criteria.0.iter().all(|c| c.0.iter().all(|entry| entry.value == Value::Leave))
}
