//! What `assert_eq` calls equal, and how it shows both sides.

use rhai::Dynamic;

use crate::lines::cut;
use crate::script::value::type_word;

/// Longest shown value, in bytes.
const LONGEST: usize = 2_000;
/// Deepest nesting that is looked at.
const MAX_DEPTH: usize = 32;

/// Whether two values are the same. Numbers are the same when they stand for the same number: `2` and `2.0`.
pub(super) fn same(a: &Dynamic, b: &Dynamic) -> bool {
    difference(a, b, 0).is_none()
}

/// Where two values differ first, as a path from them: `.emails[1].value`; empty for the values themselves.
pub(super) fn first_difference(a: &Dynamic, b: &Dynamic) -> Option<String> {
    difference(a, b, 0)
}

fn difference(a: &Dynamic, b: &Dynamic, depth: usize) -> Option<String> {
    if depth > MAX_DEPTH {
        return Some(String::new());
    }
    if let (Ok(a), Ok(b)) = (a.as_map_ref(), b.as_map_ref()) {
        let mut keys: Vec<_> = a.keys().chain(b.keys()).collect();
        keys.sort();
        keys.dedup();
        return keys.into_iter().find_map(|key| {
            let within = match (a.get(key), b.get(key)) {
                (Some(a), Some(b)) => difference(a, b, depth + 1)?,
                _ => String::new(),
            };
            let plain = key.chars().all(|c| c.is_alphanumeric() || c == '_');
            Some(if plain { format!(".{key}{within}") } else { format!("[\"{key}\"]{within}") })
        });
    }
    if let (Ok(a), Ok(b)) = (a.as_array_ref(), b.as_array_ref()) {
        return (0..a.len().max(b.len())).find_map(|at| {
            let within = match (a.get(at), b.get(at)) {
                (Some(a), Some(b)) => difference(a, b, depth + 1)?,
                _ => String::new(),
            };
            Some(format!("[{at}]{within}"))
        });
    }
    (!same_scalar(a, b)).then(String::new)
}

fn same_scalar(a: &Dynamic, b: &Dynamic) -> bool {
    if let (Ok(a), Ok(b)) = (a.as_int(), b.as_int()) {
        return a == b;
    }
    if let (Some(a), Some(b)) = (number(a), number(b)) {
        return a == b;
    }
    if let (Some(a), Some(b)) = (text(a), text(b)) {
        return a == b;
    }
    if let (Ok(a), Ok(b)) = (a.as_bool(), b.as_bool()) {
        return a == b;
    }
    a.is_unit() && b.is_unit()
}

#[expect(clippy::cast_precision_loss, reason = "two whole numbers are compared as such before")]
fn number(value: &Dynamic) -> Option<f64> {
    value.as_int().map(|n| n as f64).or_else(|_| value.as_float()).ok()
}

fn text(value: &Dynamic) -> Option<String> {
    match value.as_immutable_string_ref() {
        Ok(text) => Some(text.to_string()),
        Err(_) => value.as_char().ok().map(String::from),
    }
}

/// A value as a script would write it, on one line.
pub(super) fn show(value: &Dynamic) -> String {
    let mut out = String::new();
    write(&mut out, value, 0);
    cut(&out, LONGEST)
}

/// A value as a script would write it, line by line: of maps and lists each item on a line of its own, where it does not fit on one.
/// A text by itself is its own lines.
pub(super) fn pretty(value: &Dynamic) -> Vec<String> {
    let mut lines = Vec::new();
    match text(value) {
        Some(text) => lines.extend(text.lines().map(str::to_owned)),
        None => pretty_into(&mut lines, "", value, "", 0),
    }
    lines
}

/// Widest item that stays on one line.
const WIDTH: usize = 60;

fn pretty_into(lines: &mut Vec<String>, before: &str, value: &Dynamic, after: &str, depth: usize) {
    let indent = "  ".repeat(depth);
    let one_line = show(value);
    let nested = value.is_map() || value.is_array();
    if !nested || depth >= MAX_DEPTH || (depth > 0 && one_line.chars().count() <= WIDTH) {
        lines.push(format!("{indent}{before}{one_line}{after}"));
    } else if let Ok(map) = value.as_map_ref() {
        lines.push(format!("{indent}{before}#{{"));
        for (key, item) in map.iter() {
            pretty_into(lines, &format!("{}: ", key_shown(key)), item, ",", depth + 1);
        }
        lines.push(format!("{indent}}}{after}"));
    } else if let Ok(items) = value.as_array_ref() {
        lines.push(format!("{indent}{before}["));
        for item in items.iter() {
            pretty_into(lines, "", item, ",", depth + 1);
        }
        lines.push(format!("{indent}]{after}"));
    }
}

/// A key of a map as a script would write it.
fn key_shown(key: &str) -> String {
    let plain = !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || c == '_');
    if plain { key.to_owned() } else { serde_json::Value::String(key.to_owned()).to_string() }
}

fn write(out: &mut String, value: &Dynamic, depth: usize) {
    if out.len() > LONGEST || depth > MAX_DEPTH {
        out.push('…');
    } else if value.is_unit() {
        out.push_str("()");
    } else if let Some(text) = text(value) {
        // JSON's escapes are those of scripts.
        out.push_str(&serde_json::Value::String(text).to_string());
    } else if let Ok(items) = value.as_array_ref() {
        out.push('[');
        for (at, item) in items.iter().enumerate() {
            out.push_str(if at > 0 { ", " } else { "" });
            write(out, item, depth + 1);
        }
        out.push(']');
    } else if let Ok(map) = value.as_map_ref() {
        out.push_str("#{");
        for (at, (key, item)) in map.iter().enumerate() {
            out.push_str(if at > 0 { ", " } else { " " });
            out.push_str(&key_shown(key));
            out.push_str(": ");
            write(out, item, depth + 1);
        }
        out.push_str(if map.is_empty() { "}" } else { " }" });
    } else if value.is_int() || value.is_float() || value.is_bool() {
        out.push_str(&value.to_string());
    } else {
        out.push_str(type_word(value));
    }
}

#[cfg(test)]
mod tests {
    use rhai::Engine;

    use super::*;

    fn value(text: &str) -> Dynamic {
        Engine::new().eval_expression(text).expect("an expression")
    }

    #[test]
    fn whole_floats_equal_integers_and_texts_do_not_equal_numbers() {
        for (a, b, equal) in [
            ("2", "2.0", true),
            ("[1, #{ a: 2.0 }]", "[1.0, #{ a: 2 }]", true),
            ("2", "2.5", false),
            ("\"2\"", "2", false),
            ("()", "\"\"", false),
            ("'a'", "\"a\"", true),
            ("9007199254740993", "9007199254740992", false),
            ("#{ a: () }", "#{}", false),
        ] {
            assert_eq!(same(&value(a), &value(b)), equal, "{a} and {b}");
        }
    }

    #[test]
    fn the_first_difference_is_named_by_its_path() {
        let path = |a: &str, b: &str| first_difference(&value(a), &value(b));
        assert_eq!(path("#{ a: [1, #{ b: 2 }] }", "#{ a: [1, #{ b: 3 }] }").as_deref(), Some(".a[1].b"));
        assert_eq!(path("#{ \"Plan X\": 1 }", "#{}").as_deref(), Some("[\"Plan X\"]"));
        assert_eq!(path("[1]", "[1, 2]").as_deref(), Some("[1]"));
        assert_eq!(path("1", "1"), None);
    }

    #[test]
    fn long_values_are_written_line_by_line() {
        let long = "a text that is long enough to make its list too wide for a line";
        let shown = pretty(&value(&format!("#{{ short: [1, 2], \"a b\": [\"{long}\", 1] }}")));
        assert_eq!(shown.join("\n"), format!("#{{\n  \"a b\": [\n    \"{long}\",\n    1,\n  ],\n  short: [1, 2],\n}}"));
        assert_eq!(pretty(&value("\"one\\ntwo\"")), ["one", "two"]);
    }

    #[test]
    fn values_show_as_a_script_writes_them() {
        assert_eq!(show(&value("#{ a: [1, 2.5, ()], \"b c\": \"x\\\"y\" }")), r#"#{ a: [1, 2.5, ()], "b c": "x\"y" }"#);
    }
}
