//! The options map of write functions.

use rhai::{Dynamic, Map};

use crate::config::WritePolicy;
use crate::diagnostic::did_you_mean;
use crate::plan::{OnConflict, OnEmpty, OnMany, OnMiss, OnMissing, OnUnknown, Options};
use crate::script::value::{Unfit, fields, type_word};

/// The options that a function takes.
pub(in crate::script) const UPSERT: &[&str] =
    &["on_create", "if_empty", "on_empty", "on_many", "on_conflict", "on_missing", "on_unknown", "unlinked", "write", "key"];
/// `create`.
pub(in crate::script) const CREATE: &[&str] = &["on_missing", "on_unknown", "unlinked", "key"];
/// `update`.
pub(in crate::script) const UPDATE: &[&str] =
    &["if_empty", "on_empty", "on_many", "on_conflict", "on_miss", "on_missing", "on_unknown", "write"];
/// `delete` and `merge`.
pub(in crate::script) const TARGETED: &[&str] = &["on_empty", "on_many", "on_miss"];
/// `lead::convert`.
pub(in crate::script) const CONVERT: &[&str] = &["on_empty", "on_many", "on_miss", "on_unknown"];

/// The words of [`WritePolicy`].
const WRITE_WORDS: &[&str] = &["changed", "differs", "always"];

/// Reads the options that a function takes; an option that is `()` counts as not given.
pub(super) fn read(value: &Dynamic, takes: &'static [&'static str]) -> Result<Options, Unfit> {
    let mut options = Options::default();
    if value.is_unit() {
        return Ok(options);
    }
    let map =
        value.as_map_ref().map_err(|_| bare(format!("options are a map `#{{ {}: .. }}`, not {}", takes[0], type_word(value))))?;
    check_names(&map, takes)?;
    for (name, value) in map.iter().filter(|(_, v)| !v.is_unit()) {
        match name.as_str() {
            "on_create" => options.on_create = fields(value).map_err(|u| within("on_create", u))?,
            "if_empty" => options.if_empty = fields(value).map_err(|u| within("if_empty", u))?,
            "on_empty" => options.on_empty = Some(word(name, value, OnEmpty::WORDS, OnEmpty::parse)?),
            "on_many" => options.on_many = Some(word(name, value, OnMany::WORDS, OnMany::parse)?),
            "on_conflict" => options.on_conflict = Some(word(name, value, OnConflict::WORDS, OnConflict::parse)?),
            "on_miss" => options.on_miss = Some(word(name, value, OnMiss::WORDS, OnMiss::parse)?),
            "on_missing" => options.on_missing = Some(word(name, value, OnMissing::WORDS, OnMissing::parse)?),
            "on_unknown" => options.on_unknown = Some(word(name, value, OnUnknown::WORDS, OnUnknown::parse)?),
            "write" => options.write = Some(word(name, value, WRITE_WORDS, write_policy)?),
            "unlinked" => {
                options.unlinked =
                    value.as_bool().map_err(|_| bare(format!("option `unlinked` is true or false, not {}", type_word(value))))?;
            }
            "key" => options.key = key(value)?,
            _ => {}
        }
    }
    Ok(options)
}

fn check_names(map: &Map, takes: &'static [&'static str]) -> Result<(), Unfit> {
    let Some(unknown) = map.keys().find(|name| !takes.contains(&name.as_str())) else { return Ok(()) };
    let unknown = unknown.as_str();
    let elsewhere = [UPSERT, CREATE, UPDATE, TARGETED, CONVERT].iter().any(|list| list.contains(&unknown));
    let reason =
        if elsewhere { format!("option `{unknown}` has no meaning here") } else { format!("unknown option `{unknown}`") };
    let help = match did_you_mean(unknown, takes.iter().copied()) {
        Some(near) if !elsewhere => format!("did you mean `{near}`?"),
        _ => format!("it takes {}", list(takes)),
    };
    Err(Unfit { reason, help: Some(help) })
}

fn word<T>(name: &str, value: &Dynamic, words: &'static [&'static str], parse: impl Fn(&str) -> Option<T>) -> Result<T, Unfit> {
    let help = |given: Option<&str>| match given.and_then(|g| did_you_mean(g, words.iter().copied())) {
        Some(near) => Some(format!("did you mean \"{near}\"?")),
        None => Some(format!("write {}", words.iter().map(|w| format!("\"{w}\"")).collect::<Vec<_>>().join(" or "))),
    };
    let Ok(text) = value.as_immutable_string_ref() else {
        return Err(Unfit { reason: format!("option `{name}` is a text, not {}", type_word(value)), help: help(None) });
    };
    parse(&text)
        .ok_or_else(|| Unfit { reason: format!("option `{name}` has no value \"{}\"", text.as_str()), help: help(Some(&text)) })
}

fn write_policy(text: &str) -> Option<WritePolicy> {
    match text {
        "changed" => Some(WritePolicy::Changed),
        "differs" => Some(WritePolicy::Differs),
        "always" => Some(WritePolicy::Always),
        _ => None,
    }
}

fn key(value: &Dynamic) -> Result<Option<String>, Unfit> {
    if let Ok(text) = value.as_immutable_string_ref() {
        return Ok(Some(text.trim().to_owned()).filter(|t| !t.is_empty()));
    }
    match value.as_int() {
        Ok(number) => Ok(Some(number.to_string())),
        Err(_) => Err(bare(format!("option `key` is a text or a whole number, not {}", type_word(value)))),
    }
}

fn bare(reason: String) -> Unfit {
    Unfit { reason, help: None }
}

fn within(option: &str, unfit: Unfit) -> Unfit {
    Unfit { reason: format!("option `{option}`: {}", unfit.reason), help: unfit.help }
}

fn list(names: &[&str]) -> String {
    names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ")
}
