//! The options map of write functions.

use rhai::{Dynamic, Map};

use crate::config::WritePolicy;
use crate::diagnostic::did_you_mean;
use crate::plan::{OnArchived, OnConflict, OnEmpty, OnMany, OnMiss, OnMissing, OnUnknown, Options};
use crate::script::value::{Unfit, fields, type_word};

/// The options that a function takes.
pub(in crate::script) const UPSERT: &[&str] = &[
    "on_create",
    "if_empty",
    "unless_edited",
    "on_empty",
    "on_many",
    "on_conflict",
    "on_archived",
    "on_missing",
    "on_unknown",
    "unlinked",
    "write",
    "key",
];
/// `create`.
pub(in crate::script) const CREATE: &[&str] = &["on_missing", "on_unknown", "unlinked", "key"];
/// `update`.
pub(in crate::script) const UPDATE: &[&str] = &[
    "if_empty",
    "unless_edited",
    "on_empty",
    "on_many",
    "on_conflict",
    "on_archived",
    "on_miss",
    "on_missing",
    "on_unknown",
    "write",
];
/// `delete` and `merge`.
pub(in crate::script) const TARGETED: &[&str] = &["on_empty", "on_many", "on_miss"];
/// `lead::convert`.
pub(in crate::script) const CONVERT: &[&str] = &["on_empty", "on_many", "on_miss", "on_unknown"];

/// `by`.
const BY: &[&str] = &["wait"];

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
            "unless_edited" => options.unless_edited = fields(value).map_err(|u| within("unless_edited", u))?,
            "on_empty" => options.on_empty = Some(word(name, value, OnEmpty::parse)?),
            "on_many" => options.on_many = Some(word(name, value, OnMany::parse)?),
            "on_conflict" => options.on_conflict = Some(word(name, value, OnConflict::parse)?),
            "on_miss" => options.on_miss = Some(word(name, value, OnMiss::parse)?),
            "on_archived" => options.on_archived = Some(word(name, value, OnArchived::parse)?),
            "on_missing" => options.on_missing = Some(word(name, value, OnMissing::parse)?),
            "on_unknown" => options.on_unknown = Some(word(name, value, OnUnknown::parse)?),
            "write" => options.write = Some(word(name, value, write_policy)?),
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

/// Reads the options of `by`: how many seconds a link is waited for.
pub(super) fn wait(value: &Dynamic) -> Result<Option<u32>, Unfit> {
    if value.is_unit() {
        return Ok(None);
    }
    let map = value.as_map_ref().map_err(|_| bare(format!("options are a map `#{{ wait: .. }}`, not {}", type_word(value))))?;
    check_names(&map, BY)?;
    let Some(wait) = map.get("wait").filter(|wait| !wait.is_unit()) else { return Ok(None) };
    let seconds = wait.as_int().ok().and_then(|seconds| u32::try_from(seconds).ok());
    seconds.map(Some).ok_or_else(|| Unfit {
        reason: format!("option `wait` is a whole number of seconds from 0 on, not {}", type_word(wait)),
        help: Some("`wait: 30` waits half a minute, `wait: 0` not at all".to_owned()),
    })
}

fn check_names(map: &Map, takes: &'static [&'static str]) -> Result<(), Unfit> {
    map.keys().try_for_each(|name| check_name(name, takes))
}

/// Whether a function takes an option.
pub(in crate::script) fn check_name(name: &str, takes: &'static [&'static str]) -> Result<(), Unfit> {
    if takes.contains(&name) {
        return Ok(());
    }
    let all = || [UPSERT, CREATE, UPDATE, TARGETED, CONVERT, BY].into_iter().flatten().copied();
    let elsewhere = all().any(|option| option == name);
    let reason = if elsewhere { format!("option `{name}` has no meaning here") } else { format!("unknown option `{name}`") };
    let near = did_you_mean(name, takes.iter().copied()).filter(|_| !elsewhere);
    let help = match (near, did_you_mean(name, all())) {
        (Some(near), _) => format!("did you mean `{near}`?"),
        (None, Some(near)) if !elsewhere => {
            format!("did you mean `{near}`? That is an option of other calls; this one takes {}", list(takes))
        }
        // A link's fate is the action's to say.
        _ if takes == BY => format!("`by` takes {}; give `{name}` among the options of the action itself", list(takes)),
        _ => format!("it takes {}", list(takes)),
    };
    Err(Unfit { reason, help: Some(help) })
}

/// The options that a kind's function takes, and which of its arguments they are.
pub(in crate::script) fn of_call(function: &str, arguments: usize) -> Option<(usize, &'static [&'static str])> {
    let (index, takes) = match function {
        "upsert" => (2, UPSERT),
        "create" => (1, CREATE),
        "update" => (2, UPDATE),
        "delete" => (1, TARGETED),
        "merge" => (2, TARGETED),
        "convert" => (2, CONVERT),
        _ => return None,
    };
    (index < arguments).then_some((index, takes))
}

/// The options that a global function takes, likewise.
pub(in crate::script) fn of_global(function: &str, arguments: usize) -> Option<(usize, &'static [&'static str])> {
    (function == "by" && arguments == 2).then_some((1, BY))
}

/// The words that an option takes, when it takes words.
pub(in crate::script) fn words(option: &str) -> Option<&'static [&'static str]> {
    Some(match option {
        "on_empty" => OnEmpty::WORDS,
        "on_many" => OnMany::WORDS,
        "on_conflict" => OnConflict::WORDS,
        "on_miss" => OnMiss::WORDS,
        "on_archived" => OnArchived::WORDS,
        "on_missing" => OnMissing::WORDS,
        "on_unknown" => OnUnknown::WORDS,
        "write" => WRITE_WORDS,
        _ => return None,
    })
}

/// Says that an option does not take a word.
pub(in crate::script) fn bad_word(option: &str, word: &str, words: &'static [&'static str]) -> Unfit {
    let help = match did_you_mean(word, words.iter().copied()) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => choices(words),
    };
    Unfit { reason: format!("option `{option}` has no value \"{word}\""), help: Some(help) }
}

fn choices(words: &[&str]) -> String {
    format!("write {}", words.iter().map(|w| format!("\"{w}\"")).collect::<Vec<_>>().join(" or "))
}

fn word<T>(name: &str, value: &Dynamic, parse: impl Fn(&str) -> Option<T>) -> Result<T, Unfit> {
    let words = words(name).unwrap_or_default();
    let Ok(text) = value.as_immutable_string_ref() else {
        return Err(Unfit { reason: format!("option `{name}` is a text, not {}", type_word(value)), help: Some(choices(words)) });
    };
    parse(&text).ok_or_else(|| bad_word(name, &text, words))
}

/// The policy of that name.
pub(in crate::script) fn write_policy(text: &str) -> Option<WritePolicy> {
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
