//! Segment's mappings: JSON in which an object with one `@` key is a directive.
//!
//! Invariant: what is not understood is refused with its place; nothing is left out in silence.

use serde_json::{Map, Value as Json};

/// A mapping as it is meant.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Mapping {
    /// A number, text, boolean or null.
    Literal(Json),
    /// `@path`: keys and indexes below the event or the present item; empty: the whole of it.
    Path(Vec<Key>),
    /// `@template`.
    Template(Vec<Part>),
    /// `@if`: what is looked at, whether `""`, 0 and false count as missing, and both ways.
    If { test: Box<Mapping>, blank: bool, then: Box<Mapping>, otherwise: Option<Box<Mapping>> },
    /// `@case`.
    Case { upper: bool, value: Box<Mapping> },
    /// `@replace`: one or two patterns with what takes their place.
    Replace { pairs: Vec<(String, String)>, ignore_case: bool, all: bool, value: Box<Mapping> },
    /// `@arrayPath`.
    Each { list: Box<Mapping>, shape: Option<Box<Mapping>> },
    /// `@flatten`.
    Flatten { value: Box<Mapping>, separator: String, omit_arrays: bool },
    /// `@json`.
    Json { encode: bool, value: Box<Mapping> },
    /// `@merge`, in the order in which later ones win.
    Merge(Vec<Mapping>),
    /// `@transform`.
    Transform { apply: Box<Mapping>, mapping: Box<Mapping> },
    /// `@excludeWhenNull`.
    WithoutNulls(Box<Mapping>),
    /// A map.
    Object(Vec<(String, Mapping)>),
    /// A list.
    Array(Vec<Mapping>),
}

/// A part of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Key {
    /// Of a map.
    Name(String),
    /// Of a list.
    Index(usize),
}

/// A part of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// As it is.
    Text(String),
    /// `{{path}}`.
    Path(Vec<Key>),
}

/// What cannot be taken over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {reason}")]
pub(super) struct Unfit {
    /// Dotted, from the mapping on.
    pub(super) path: String,
    /// Why, and what to write instead.
    pub(super) reason: String,
}

type Result<T> = std::result::Result<T, Unfit>;

/// Deepest nesting of a mapping.
const MAX_DEPTH: usize = 24;

/// Reads a mapping that stands at `path`.
pub(super) fn read(json: &Json, path: &str) -> Result<Mapping> {
    nested(json, path, 0)
}

fn nested(json: &Json, path: &str, depth: usize) -> Result<Mapping> {
    if depth > MAX_DEPTH {
        return Err(unfit(path, format!("directives are nested deeper than {MAX_DEPTH}; write this field by hand")));
    }
    let below = |json: &Json, key: &str| nested(json, &format!("{path}.{key}"), depth + 1);
    match json {
        Json::Object(map) => {
            let named: Vec<(&String, &Json)> = map.iter().filter(|(key, _)| key.starts_with('@')).collect();
            match named.as_slice() {
                [] => {
                    if map.contains_key("__segment_internal_directive") {
                        return Err(unfit(
                            path,
                            "the whole mapping is wrapped in Segment's internal directive; write the script by hand",
                        ));
                    }
                    let entries = map.iter().filter(|(key, _)| *key != "_metadata");
                    Ok(Mapping::Object(entries.map(|(k, v)| Ok((k.clone(), below(v, k)?))).collect::<Result<_>>()?))
                }
                [(name, argument)] if map.keys().all(|key| key == *name || key == "_metadata") => {
                    directive(name, argument, &format!("{path}.{name}"), depth + 1)
                }
                _ => Err(unfit(path, "a directive stands beside other keys; Segment refuses such a mapping, too")),
            }
        }
        Json::Array(items) => {
            let items = items.iter().enumerate().map(|(i, item)| below(item, &i.to_string()));
            Ok(Mapping::Array(items.collect::<Result<_>>()?))
        }
        scalar => Ok(Mapping::Literal(scalar.clone())),
    }
}

fn directive(name: &str, argument: &Json, path: &str, depth: usize) -> Result<Mapping> {
    let value = |json: &Json| nested(json, path, depth).map(Box::new);
    let options = || argument.as_object().ok_or_else(|| unfit(path, format!("`{name}` takes an object")));
    let part = |key: &str| -> Result<Option<Box<Mapping>>> {
        let found = options()?.get(key);
        found.map(|json| nested(json, &format!("{path}.{key}"), depth).map(Box::new)).transpose()
    };
    let needed = |key: &str| part(key)?.ok_or_else(|| unfit(path, format!("`{name}` lacks `{key}`")));
    match name {
        "@path" => Ok(Mapping::Path(keys(text(argument, path)?, path)?)),
        "@template" => Ok(Mapping::Template(template(text(argument, path)?, path)?)),
        "@literal" => value(argument).map(|v| *v),
        "@if" => {
            let (test, blank) = match (part("exists")?, part("blank")?) {
                (Some(test), None) => (test, false),
                (None, Some(test)) => (test, true),
                _ => return Err(unfit(path, "`@if` takes either `exists` or `blank`")),
            };
            let nothing = || Box::new(Mapping::Literal(Json::Null));
            Ok(Mapping::If { test, blank, then: part("then")?.unwrap_or_else(nothing), otherwise: part("else")? })
        }
        "@case" => {
            let upper = match options()?.get("operator").and_then(Json::as_str) {
                Some("upper") => true,
                Some("lower") => false,
                _ => return Err(unfit(path, "`@case` takes the operator `upper` or `lower`")),
            };
            Ok(Mapping::Case { upper, value: needed("value")? })
        }
        "@replace" => {
            let options = options()?;
            let of = |key: &str| options.get(key).and_then(Json::as_str).map(str::to_owned);
            let first = of("pattern").ok_or_else(|| unfit(path, "`@replace` lacks `pattern`"))?;
            let mut pairs = vec![(first, of("replacement").unwrap_or_default())];
            pairs.extend(of("pattern2").map(|pattern| (pattern, of("replacement2").unwrap_or_default())));
            Ok(Mapping::Replace {
                pairs,
                ignore_case: flag(options, "ignorecase", false),
                all: flag(options, "global", true),
                value: needed("value")?,
            })
        }
        "@arrayPath" => match argument.as_array().map(Vec::as_slice) {
            Some([list]) => Ok(Mapping::Each { list: listed(list, path, depth)?, shape: None }),
            Some([list, shape]) => Ok(Mapping::Each { list: listed(list, path, depth)?, shape: Some(value(shape)?) }),
            _ => Err(unfit(path, "`@arrayPath` takes a path and a shape")),
        },
        "@flatten" => {
            let separator = options()?.get("separator").and_then(Json::as_str).unwrap_or(".").to_owned();
            Ok(Mapping::Flatten { value: needed("value")?, separator, omit_arrays: flag(options()?, "omitArrays", false) })
        }
        "@json" => {
            let encode = match options()?.get("mode").and_then(Json::as_str) {
                Some("encode") => true,
                Some("decode") => false,
                _ => return Err(unfit(path, "`@json` takes the mode `encode` or `decode`")),
            };
            Ok(Mapping::Json { encode, value: needed("value")? })
        }
        "@merge" => {
            let Mapping::Array(mut objects) = *needed("objects")? else {
                return Err(unfit(path, "`@merge` takes a list of objects; a computed list must be written by hand"));
            };
            match options()?.get("direction").and_then(Json::as_str) {
                Some("left") => objects.reverse(),
                Some("right") | None => {}
                Some(_) => return Err(unfit(path, "`@merge` takes the direction `right` or `left`")),
            }
            Ok(Mapping::Merge(objects))
        }
        "@transform" => Ok(Mapping::Transform { apply: needed("apply")?, mapping: needed("mapping")? }),
        "@excludeWhenNull" => Ok(Mapping::WithoutNulls(value(argument)?)),
        "@liquid" => Err(unfit(
            path,
            "`@liquid` is a templating language of its own and is not taken over. Write the field in Rhai: `{{ traits.a }}` is \
             `${event.traits?.a ?? \"\"}` in backticks, `default` is `??`, `upcase` is `to_upper()`, `if` is `if`",
        )),
        _ => Err(unfit(path, format!("the directive `{name}` is not known; write this field by hand"))),
    }
}

fn listed(json: &Json, path: &str, depth: usize) -> Result<Box<Mapping>> {
    match json {
        Json::String(text) => Ok(Box::new(Mapping::Path(keys(text, path)?))),
        other => nested(other, path, depth).map(Box::new),
    }
}

fn flag(options: &Map<String, Json>, key: &str, default: bool) -> bool {
    options.get(key).and_then(Json::as_bool).unwrap_or(default)
}

fn text<'a>(json: &'a Json, path: &str) -> Result<&'a str> {
    json.as_str().ok_or_else(|| unfit(path, "this directive takes a text"))
}

pub(super) fn unfit(path: &str, reason: impl Into<String>) -> Unfit {
    Unfit { path: path.to_owned(), reason: reason.into() }
}

/// `$.a.b[0]`, where `$.` may be left out and stands for everything when it is alone.
fn keys(text: &str, path: &str) -> Result<Vec<Key>> {
    let rest = text.trim();
    let rest = rest.strip_prefix("$.").or_else(|| rest.strip_prefix('$').filter(|r| r.is_empty())).unwrap_or(rest);
    if text.trim() == "$" {
        return Err(unfit(path, "Segment finds nothing at `$`; the whole event is `$.`"));
    }
    let mut keys = Vec::new();
    for word in rest.split('.').filter(|w| !w.is_empty()) {
        let (name, indexes) = word.split_at(word.find('[').unwrap_or(word.len()));
        if !name.is_empty() {
            keys.push(Key::Name(name.to_owned()));
        }
        for index in indexes.split('[').skip(1) {
            let index = index.strip_suffix(']').unwrap_or("");
            match index.parse() {
                Ok(index) => keys.push(Key::Index(index)),
                Err(_) => {
                    return Err(unfit(path, format!("`{text}`: brackets take a number; Segment finds nothing at a quoted key")));
                }
            }
        }
    }
    Ok(keys)
}

fn template(text: &str, path: &str) -> Result<Vec<Part>> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("{{") {
        if at > 0 {
            parts.push(Part::Text(rest[..at].to_owned()));
        }
        let braces = if rest[at..].starts_with("{{{") { ("{{{", "}}}") } else { ("{{", "}}") };
        let inner = &rest[at + braces.0.len()..];
        let end = inner.find(braces.1).ok_or_else(|| unfit(path, "a `{{` of the template is not closed"))?;
        parts.push(Part::Path(keys(&inner[..end], path)?));
        rest = &inner[end + braces.1.len()..];
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.to_owned()));
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_and_templates_are_read_as_segment_reads_them() {
        let name = |n: &str| Key::Name(n.to_owned());
        assert_eq!(
            read(&json!({"@path": "$.traits.a[1].b"}), "x").expect("fits"),
            Mapping::Path(vec![name("traits"), name("a"), Key::Index(1), name("b")])
        );
        assert_eq!(read(&json!({"@path": "$."}), "x").expect("fits"), Mapping::Path(vec![]));
        let parts = vec![Part::Text("Hi ".into()), Part::Path(vec![name("userId")]), Part::Text("!".into())];
        assert_eq!(read(&json!({"@template": "Hi {{{$.userId}}}!"}), "x").expect("fits"), Mapping::Template(parts));
    }

    #[test]
    fn what_is_not_understood_is_refused_with_its_place() {
        for (json, path, said) in [
            (json!({"a": {"@liquid": "{{ x }}"}}), "f.a.@liquid", "Write the field in Rhai"),
            (json!([{"@later": 1}]), "f.0.@later", "is not known"),
            (json!({"@path": "a", "b": 1}), "f", "beside other keys"),
            (json!({"@path": "$.traits['a.b']"}), "f.@path", "quoted key"),
            (json!({"@case": {"operator": "title", "value": 1}}), "f.@case", "`upper` or `lower`"),
            (json!({"@merge": {"objects": {"@path": "a"}}}), "f.@merge", "computed list"),
        ] {
            let unfit = read(&json, "f").expect_err("refused");
            assert!(unfit.path == path && unfit.reason.contains(said), "{unfit}");
        }
    }
}
