//! Mappings as Rhai expressions, as a person would write them.
//!
//! Invariants: an expression reads nothing but its root variable; what has a plain form uses no helper; names of helpers are those of
//! [`HELPERS`].

use std::fmt::Write as _;

use serde_json::Value as Json;

use super::mapping::{Key, Mapping, Part};
use crate::plan::notation::{is_word, literal, name, quoted};

/// The helpers that generated scripts import, a Rhai file of its own.
pub(super) const HELPERS: &str = include_str!("helpers.rhai");
/// Its path below `scripts/`.
pub(super) const HELPERS_FILE: &str = "segment.rhai";

/// Brackets within brackets from which an expression gets a function of its own. The interpreter bounds how deep expressions are.
const MAX_BRACKETS: usize = 4;

/// Parts of an event that are maps whenever they are there, so that `?.` is enough below them.
const MAPS: [&str; 14] = [
    "traits",
    "properties",
    "context",
    "context.traits",
    "context.page",
    "context.campaign",
    "context.app",
    "context.device",
    "context.library",
    "context.location",
    "context.network",
    "context.os",
    "context.screen",
    "context.referrer",
];

/// Writes expressions, and remembers what they need.
#[derive(Debug, Default)]
pub(super) struct Writer {
    /// Whether a helper was used.
    pub(super) helpers: bool,
    /// Functions of their own, for what would make an expression too deep to read: name, parameter, body.
    pub(super) functions: Vec<(String, &'static str, String)>,
}

impl Writer {
    /// The mapping below the variable `root`.
    pub(super) fn expression(&mut self, mapping: &Mapping, root: &str) -> String {
        match mapping {
            Mapping::Literal(json) => literal(json),
            Mapping::Path(keys) => self.path(keys, root),
            Mapping::Template(parts) => self.template(parts, root),
            Mapping::If { test, blank, then, otherwise } => self.condition(test, *blank, then, otherwise.as_deref(), root),
            Mapping::Case { upper, value } => {
                let value = self.expression(value, root);
                self.helper(if *upper { "upper" } else { "lower" }, &[value])
            }
            Mapping::Replace { pairs, ignore_case, all, value } => {
                let value = self.expression(value, root);
                pairs.iter().fold(value, |value, (pattern, with)| {
                    self.helper("replaced", &[value, quoted(pattern), quoted(with), ignore_case.to_string(), all.to_string()])
                })
            }
            Mapping::Each { list, shape } => {
                let list = self.expression(list, root);
                let list = self.helper("list", &[list]);
                match shape {
                    None => list,
                    Some(shape) => {
                        let plain = matches!(**shape, Mapping::Path(_) | Mapping::Template(_) | Mapping::Literal(_));
                        let shape = self.expression(shape, "item");
                        let shape = if plain { shape } else { self.function("item", "item", shape, "item") };
                        format!("{list}?.map(|item| {shape})")
                    }
                }
            }
            Mapping::Flatten { value, separator, omit_arrays } => {
                let value = self.expression(value, root);
                self.helper("flattened", &[value, quoted(separator), omit_arrays.to_string()])
            }
            Mapping::Json { encode, value } => {
                let value = self.expression(value, root);
                self.helper(if *encode { "to_text" } else { "from_text" }, &[value])
            }
            Mapping::Merge(objects) => {
                let objects: Vec<String> = objects.iter().map(|object| self.expression(object, root)).collect();
                self.helper("merged", &[format!("[{}]", objects.join(", "))])
            }
            Mapping::Transform { apply, mapping } => {
                let apply = self.expression(apply, root);
                let body = self.expression(mapping, "it");
                self.function("transformed", "it", body, &apply)
            }
            Mapping::WithoutNulls(value) => {
                let plain = matches!(**value, Mapping::Path(_) | Mapping::Template(_) | Mapping::Literal(_));
                let value = self.expression(value, root);
                if plain { value } else { self.helper("without_nulls", &[value]) }
            }
            Mapping::Object(entries) => {
                let entries: Vec<String> =
                    entries.iter().map(|(key, value)| format!("{}: {}", name(key), self.expression(value, root))).collect();
                if entries.is_empty() { "#{}".to_owned() } else { format!("#{{ {} }}", entries.join(", ")) }
            }
            Mapping::Array(items) => {
                let items: Vec<String> = items.iter().map(|item| self.expression(item, root)).collect();
                format!("[{}]", items.join(", "))
            }
        }
    }

    /// The mapping of a field: in a function of its own when it is deeply nested.
    pub(super) fn field(&mut self, mapping: &Mapping) -> String {
        let expression = self.expression(mapping, "event");
        let (mut depth, mut deepest) = (0_usize, 0);
        for c in expression.chars() {
            match c {
                '(' | '[' | '{' => depth += 1,
                ')' | ']' | '}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            deepest = deepest.max(depth);
        }
        if deepest > MAX_BRACKETS { self.function("computed", "event", expression, "event") } else { expression }
    }

    /// Puts a body into a function; gives the call.
    fn function(&mut self, word: &str, parameter: &'static str, body: String, argument: &str) -> String {
        let known = self.functions.iter().find(|(name, p, b)| name.starts_with(word) && *p == parameter && *b == body);
        let name = known.map_or_else(|| format!("{word}_{}", self.functions.len() + 1), |(name, ..)| name.clone());
        let call = format!("{name}({argument})");
        if known.is_none() {
            self.functions.push((name, parameter, body));
        }
        call
    }

    fn helper(&mut self, function: &str, arguments: &[String]) -> String {
        self.helpers = true;
        format!("segment::{function}({})", arguments.join(", "))
    }

    /// `event.traits?.email`; what is deeper than an event's known maps may meet a text on its way, and is looked for by a helper.
    fn path(&mut self, keys: &[Key], root: &str) -> String {
        let names: Option<Vec<&str>> =
            keys.iter().map(|key| if let Key::Name(name) = key { Some(&**name) } else { None }).collect();
        let plain = names.as_ref().is_some_and(|names| match names.as_slice() {
            [] => true,
            [_] => root == "event",
            [above @ .., _] => root == "event" && MAPS.contains(&above.join(".").as_str()),
        });
        if !plain {
            let path: Vec<String> = keys
                .iter()
                .map(|key| match key {
                    Key::Name(name) => quoted(name),
                    Key::Index(index) => index.to_string(),
                })
                .collect();
            return self.helper("at", &[root.to_owned(), format!("[{}]", path.join(", "))]);
        }
        let mut text = root.to_owned();
        for (i, name) in names.iter().flatten().enumerate() {
            match (is_word(name), i) {
                (true, 0) => drop(write!(text, ".{name}")),
                (true, _) => drop(write!(text, "?.{name}")),
                (false, 0) => drop(write!(text, "[{}]", quoted(name))),
                (false, _) => drop(write!(text, "?[{}]", quoted(name))),
            }
        }
        text
    }

    fn template(&mut self, parts: &[Part], root: &str) -> String {
        let literal: String = parts.iter().map(|part| if let Part::Text(text) = part { text.as_str() } else { "" }).collect();
        // Backticks know no escapes.
        let escapes = literal.contains(['`', '\n', '\r']) || literal.contains("${");
        let mut pieces = Vec::with_capacity(parts.len());
        for part in parts {
            pieces.push(match part {
                Part::Text(text) if escapes => quoted(text),
                Part::Text(text) => text.clone(),
                Part::Path(keys) if escapes => format!("`${{{} ?? \"\"}}`", self.path(keys, root)),
                Part::Path(keys) => format!("${{{} ?? \"\"}}", self.path(keys, root)),
            });
        }
        match (escapes, pieces.is_empty()) {
            (_, true) => "\"\"".to_owned(),
            (true, _) => pieces.join(" + "),
            (false, _) if !parts.iter().any(|part| matches!(part, Part::Path(_))) => quoted(&literal),
            (false, _) => format!("`{}`", pieces.concat()),
        }
    }

    fn condition(&mut self, test: &Mapping, blank: bool, then: &Mapping, otherwise: Option<&Mapping>, root: &str) -> String {
        let looked_at = self.expression(test, root);
        let taken = self.expression(then, root);
        let other = otherwise.filter(|m| **m != Mapping::Literal(Json::Null)).map(|m| self.expression(m, root));
        if !blank && looked_at == taken {
            return other.map_or(taken.clone(), |other| format!("{taken} ?? {other}"));
        }
        let test = if blank { self.helper("filled", &[looked_at]) } else { format!("({looked_at}) != ()") };
        let test = match test.strip_prefix('(').and_then(|rest| rest.strip_suffix(") != ()")) {
            Some(path) if path.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '?' | '_')) => format!("{path} != ()"),
            _ => test,
        };
        match other {
            Some(other) => format!("if {test} {{ {taken} }} else {{ {other} }}"),
            None => format!("if {test} {{ {taken} }}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::segment::mapping::read;

    fn written(json: &Json) -> String {
        Writer::default().expression(&read(json, "f").expect("fits"), "event")
    }

    #[test]
    fn what_has_a_plain_form_gets_it() {
        for (json, rhai) in [
            (json!({"@path": "$.traits.email"}), "event.traits?.email"),
            (json!({"@path": "$.properties.new"}), "event.properties?[\"new\"]"),
            (json!({"@path": "$.traits.company.name"}), "segment::at(event, [\"traits\", \"company\", \"name\"])"),
            (json!({"@path": "$.context.page.url"}), "event.context?.page?.url"),
            (
                json!({"@template": "{{traits.first}} {{traits.last}}"}),
                "`${event.traits?.first ?? \"\"} ${event.traits?.last ?? \"\"}`",
            ),
            (json!({"@template": "a`{{userId}}"}), "\"a`\" + `${event.userId ?? \"\"}`"),
            (
                json!({"@if": {"exists": {"@path": "$.traits.a"}, "then": {"@path": "$.traits.a"}, "else": {"@path": "$.userId"}}}),
                "event.traits?.a ?? event.userId",
            ),
            (json!({"@if": {"exists": {"@path": "$.traits.a"}, "then": "yes"}}), "if event.traits?.a != () { \"yes\" }"),
            (json!({"@excludeWhenNull": {"@path": "$.userId"}}), "event.userId"),
            (json!({"@literal": "a\"b"}), "\"a\\\"b\""),
        ] {
            assert_eq!(written(&json), rhai);
        }
    }
}
