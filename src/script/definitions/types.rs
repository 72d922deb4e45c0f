//! The types of parameters and results, in the words of definition files.
//!
//! Our functions take any value and look at it themselves, for better messages; what they take is said here, by the parameter's name.

use crate::script::metadata::Function;

/// Whose functions are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Words {
    /// Ours, for rules: what is looked for may not be there.
    Rules,
    /// Ours, for tests: what was made is there.
    Tests,
    /// The interpreter's own, under its names of types.
    Rhai,
}

/// A match, a reference, or an id.
const TARGET: &str = "Map | Array | Reference | int | String";

/// What parameters of our functions take. `?` is any value.
const TAKES: &[(&str, &str)] = &[
    ("actual", "?"),
    ("amount", "int | float | String | ()"),
    ("body", "?"),
    ("carried_out", "bool"),
    ("column", "String"),
    ("condition", "bool"),
    ("criteria", "Map | Array"),
    ("currency", "String | ()"),
    ("days", "int"),
    ("drop", TARGET),
    ("event", "Map"),
    ("expected", "?"),
    ("fields", "Map"),
    ("format", "String"),
    ("from", "?"),
    ("function", "?"),
    ("id", "int | String"),
    ("items", "?"),
    ("keep", TARGET),
    ("key", "?"),
    ("length", "int"),
    ("message", "String"),
    ("method", "String"),
    ("months", "int"),
    ("name", "String"),
    ("options", "Map"),
    ("path", "String"),
    ("places", "int"),
    ("properties", "Map | ()"),
    ("reason", "?"),
    ("region", "String | ()"),
    ("result", "?"),
    ("rule", "String"),
    ("seconds", "int | float"),
    ("separator", "String"),
    ("status", "int"),
    ("steps", "Array"),
    ("target", TARGET),
    ("text", "String | ()"),
    ("to", "?"),
    ("value", "?"),
    ("values", "?"),
];

/// What a parameter of that name takes.
pub(super) fn takes(name: &str) -> Option<&'static str> {
    TAKES.iter().find(|(known, _)| *known == name).map(|(_, takes)| *takes)
}

/// Whether a function can be called by its name: operators and getters cannot.
pub(super) fn is_name(name: &str) -> bool {
    name.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Whether scripts can make use of a function. Ours that have no documentation stand in for the interpreter's own, or say that it does not
/// exist here; of the interpreter's, scripts have two types of numbers.
pub(super) fn is_for_scripts(function: &Function, words: Words) -> bool {
    let of_others = |kind: &str| {
        let short = kind.rsplit("::").next().unwrap_or(kind).trim();
        matches!(short, "i8" | "i16" | "i32" | "i128" | "isize" | "u8" | "u16" | "u32" | "u64" | "u128" | "usize" | "f32")
    };
    let fits = match words {
        Words::Rhai => !function.params.iter().filter_map(|p| p.kind.as_deref()).any(of_others),
        _ => !function.doc().is_empty(),
    };
    fits && is_name(&function.name)
}

/// `fn name(parameter: type, ..) -> type;`
pub(super) fn declaration(function: &Function, words: Words) -> String {
    let params: Vec<String> = (0..function.num_params).map(|at| param(function, at, words)).collect();
    let result = match words {
        Words::Rhai => of_rhai(&function.return_type),
        _ => result(&function.return_type, words),
    };
    format!("fn {}({}) -> {result};", function.name, params.join(", "))
}

fn param(function: &Function, at: usize, words: Words) -> String {
    let param = function.params.get(at);
    let name = param.and_then(|p| p.name.as_deref()).filter(|name| is_name(name) && *name != "_");
    let kind = param.and_then(|p| p.kind.as_deref());
    let takes = match (words, kind) {
        (Words::Rhai, Some(kind)) => of_rhai(kind),
        (Words::Rhai, None) => "?".to_owned(),
        (_, Some(kind)) => kind.to_owned(),
        (_, None) => name.and_then(takes).unwrap_or("?").to_owned(),
    };
    match name {
        Some(name) => format!("{name}: {takes}"),
        None => format!("arg{}: {takes}", at + 1),
    }
}

/// The word that our functions give for what they return, as a type.
fn result(word: &str, words: Words) -> String {
    let found = match (word, words) {
        ("" | "!" | "()", _) => "()",
        ("text", _) => "String | ()",
        ("map", Words::Tests) => "Map",
        ("map", _) => "Map | ()",
        ("int", _) => "int | ()",
        ("number", _) => "int | float | ()",
        ("array", _) => "Array",
        ("bool", _) => "bool",
        ("value", _) => "?",
        (own, _) => own,
    };
    found.to_owned()
}

/// A type of the interpreter, without references, paths and the error that it may end with.
fn of_rhai(name: &str) -> String {
    let name = name.trim().trim_start_matches('&').trim();
    let name = name.strip_prefix("mut ").unwrap_or(name).trim();
    for (before, after) in [("Result<", ">"), ("RhaiResultOf<", ">")] {
        if let Some(inner) = name.strip_prefix(before).and_then(|rest| rest.strip_suffix(after)) {
            return of_rhai(inner.rsplit_once(", Box<").map_or(inner, |(ok, _)| ok));
        }
    }
    let short = name.rsplit("::").next().unwrap_or(name);
    let found = match short {
        "" | "()" => "()",
        "i64" | "INT" | "int" => "int",
        "f64" | "FLOAT" | "float" => "float",
        "str" | "String" | "ImmutableString" | "string" => "String",
        "bool" => "bool",
        "char" => "char",
        "Array" | "array" => "Array",
        "Map" | "map" => "Map",
        "Blob" | "blob" => "Blob",
        "FnPtr" | "Fn" => "FnPtr",
        _ => "?",
    };
    found.to_owned()
}

#[cfg(test)]
mod tests {
    use super::of_rhai;

    #[test]
    fn types_of_the_interpreter_lose_references_paths_and_errors() {
        for (given, found) in [
            ("&mut Array", "Array"),
            ("&str", "String"),
            ("Result<Dynamic, Box<EvalAltResult>>", "?"),
            ("Result<INT, Box<EvalAltResult>>", "int"),
            ("RhaiResultOf<Map>", "Map"),
            ("core::ops::Range<i64>", "?"),
            ("", "()"),
        ] {
            assert_eq!(of_rhai(given), found, "{given}");
        }
    }
}
