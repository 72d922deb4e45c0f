//! The JSON object of an event, read only as far as somebody asks.
//!
//! At the door hardly more than a few ids and times of an event are looked at; making a tree of all of it, writing the tree out again
//! and dropping it would cost more than everything else there. So each key has its value's text, and the value once it was asked for.
//!
//! Invariants: all of a body is JSON that the parser takes whole (numbers in range, both halves of surrogate pairs, no deeper than
//! the parser goes), so that reading a part later cannot fail; of equal keys the last one counts; keys are in alphabetical order.

use std::borrow::Cow;
use std::fmt;
use std::sync::OnceLock;

use bytes::Bytes;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::entries;

/// A JSON object by its keys.
#[derive(Clone, Default)]
pub struct Body(Vec<(Key, Part)>);

/// More keys than an event has at its top.
const FEW: usize = 32;

/// UTF-8; most are slices of the body's text, or constants.
type Key = Bytes;

/// A value, its text, or both.
#[derive(Clone)]
enum Part {
    Text { text: Bytes, value: OnceLock<Box<Value>> },
    Value(Value),
}

/// What kind of value stands under a key, told without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// `null`
    Null,
    /// `true` or `false`
    Bool,
    /// A number.
    Number,
    /// A string.
    Text,
    /// An array.
    List,
    /// An object.
    Map,
}

impl Body {
    /// Reads an object; the values keep the text's memory.
    ///
    /// # Errors
    /// Those of parsing the text to a map of [`Value`]s.
    pub fn parse(text: &Bytes) -> serde_json::Result<Self> {
        match parts(text) {
            Some(parts) => Ok(Self(parts)),
            // Only what is wrong is parsed whole: for its error's place and words.
            None => serde_json::from_slice::<Map<String, Value>>(text).map(Self::from),
        }
    }

    fn place(&self, key: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(own, _)| own[..].cmp(key.as_bytes()))
    }

    fn find(&self, key: &str) -> Option<usize> {
        // Few keys are as long as the one: looking at all lengths is faster than comparing some texts.
        if self.0.len() <= FEW { self.0.iter().position(|(own, _)| own[..] == *key.as_bytes()) } else { self.place(key).ok() }
    }

    fn part(&self, key: &str) -> Option<&Part> {
        self.find(key).map(|place| &self.0[place].1)
    }

    /// The value under a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.part(key).map(Part::value)
    }

    /// The value under a key, to be changed.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Value> {
        let place = self.find(key)?;
        Some(self.0[place].1.value_mut())
    }

    /// The text of a value that was read from one and not changed since.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.part(key)? {
            Part::Text { text, .. } => std::str::from_utf8(text).ok(),
            Part::Value(_) => None,
        }
    }

    /// What stands under a key.
    #[must_use]
    pub fn shape(&self, key: &str) -> Option<Shape> {
        self.part(key).map(Part::shape)
    }

    /// Puts a value under a key, in the place of any other.
    pub fn insert(&mut self, key: &'static str, value: Value) {
        self.put(key, Part::Value(value));
    }

    fn put(&mut self, key: &'static str, part: Part) {
        match self.find(key).map_or_else(|| self.place(key), Ok) {
            Ok(place) => self.0[place].1 = part,
            Err(place) => self.0.insert(place, (Key::from_static(key.as_bytes()), part)),
        }
    }

    /// Takes a key out.
    pub fn remove(&mut self, key: &str) {
        if let Some(place) = self.find(key) {
            self.0.remove(place);
        }
    }

    /// Puts what stands under one key under another one as well, unless something stands there.
    pub fn keep_as(&mut self, key: &str, other: &'static str) {
        if self.part(other).is_none()
            && let Some(part) = self.part(key).cloned()
        {
            self.put(other, part);
        }
    }

    /// Writes the object behind what `to` holds. What was not changed is written as it came.
    ///
    /// # Panics
    /// Never: JSON always serialises.
    pub fn write(&self, to: &mut Vec<u8>) {
        to.push(b'{');
        for (index, (key, part)) in self.0.iter().enumerate() {
            if index > 0 {
                to.push(b',');
            }
            serde_json::to_writer(&mut *to, name(key)).expect("a text serialises");
            to.push(b':');
            match part {
                Part::Text { text, .. } => to.extend_from_slice(text),
                Part::Value(value) => serde_json::to_writer(&mut *to, value).expect("a JSON value serialises"),
            }
        }
        to.push(b'}');
    }

    /// All of it.
    #[must_use]
    pub fn to_map(&self) -> Map<String, Value> {
        self.0.iter().map(|(key, part)| (name(key).to_owned(), part.value().clone())).collect()
    }
}

fn name(key: &Key) -> &str {
    std::str::from_utf8(key).expect("keys are made of text")
}

impl From<Map<String, Value>> for Body {
    fn from(map: Map<String, Value>) -> Self {
        // A map has each key once.
        let mut parts: Vec<_> = map.into_iter().map(|(key, value)| (Key::from(key), Part::Value(value))).collect();
        parts.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        Self(parts)
    }
}

impl PartialEq for Body {
    fn eq(&self, other: &Self) -> bool {
        self.0.len() == other.0.len() && self.0.iter().all(|(key, part)| other.get(name(key)) == Some(part.value()))
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.iter().map(|(key, part)| (name(key), part.value()))).finish()
    }
}

impl Part {
    fn value(&self) -> &Value {
        match self {
            Self::Text { text, value } => value.get_or_init(|| Box::new(read(text))),
            Self::Value(value) => value,
        }
    }

    fn value_mut(&mut self) -> &mut Value {
        if let Self::Text { text, value } = self {
            *self = Self::Value(value.take().map_or_else(|| read(text), |value| *value));
        }
        match self {
            Self::Value(value) => value,
            Self::Text { .. } => unreachable!("made a value above"),
        }
    }

    fn shape(&self) -> Shape {
        match self {
            Self::Text { text, .. } => match text.first() {
                Some(b'{') => Shape::Map,
                Some(b'[') => Shape::List,
                Some(b'"') => Shape::Text,
                Some(b't' | b'f') => Shape::Bool,
                Some(b'n') => Shape::Null,
                _ => Shape::Number,
            },
            Self::Value(value) => match value {
                Value::Null => Shape::Null,
                Value::Bool(_) => Shape::Bool,
                Value::Number(_) => Shape::Number,
                Value::String(_) => Shape::Text,
                Value::Array(_) => Shape::List,
                Value::Object(_) => Shape::Map,
            },
        }
    }
}

fn read(text: &Bytes) -> Value {
    match &text[..] {
        [b'"', plain @ .., b'"'] if !plain.contains(&b'\\') => Value::String(String::from_utf8_lossy(plain).into_owned()),
        text => serde_json::from_slice(text).expect("a part was checked with its body"),
    }
}

/// The values by their keys, sorted; none when the text is no object that can be parsed whole.
fn parts(text: &Bytes) -> Option<Vec<(Key, Part)>> {
    let part = |(key, raw): (Cow<'_, str>, &RawValue)| {
        let key = match key {
            Cow::Borrowed(key) => text.slice_ref(key.as_bytes()),
            Cow::Owned(key) => Key::from(key),
        };
        (key, Part::Text { text: text.slice_ref(raw.get().as_bytes()), value: OnceLock::new() })
    };
    // Of equal keys the last one is to stay, so it has to come first.
    let mut parts: Vec<_> = entries::of(text)?.into_iter().rev().map(part).collect();
    parts.sort_by(|a, b| a.0.cmp(&b.0));
    parts.dedup_by(|later, kept| later.0 == kept.0);
    Some(parts)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn body(text: &str) -> Body {
        Body::parse(&Bytes::copy_from_slice(text.as_bytes())).expect("an object")
    }

    fn written(body: &Body) -> String {
        let mut text = Vec::new();
        body.write(&mut text);
        String::from_utf8(text).expect("JSON is text")
    }

    #[test]
    fn what_was_not_changed_is_written_as_it_came() {
        let mut body = body(r#" {"b": {"x" :1.50, "a":"\u0041"} , "a":[ 1 ],"b\n":null, "a": 2e3} "#);
        assert_eq!(written(&body), r#"{"a":2e3,"b":{"x" :1.50, "a":"\u0041"},"b\n":null}"#);
        assert_eq!(body.get("b"), Some(&json!({"x": 1.5, "a": "A"})));
        assert_eq!(body.text("b"), Some(r#"{"x" :1.50, "a":"\u0041"}"#), "reading is no change");
        body.get_mut("b").expect("there")["x"] = json!(2);
        body.insert("a", json!("z"));
        body.insert("c", json!(true));
        body.keep_as("c", "d");
        body.keep_as("c", "a");
        body.remove("b\n");
        assert_eq!(written(&body), r#"{"a":"z","b":{"a":"A","x":2},"c":true,"d":true}"#);
        assert_eq!((body.text("b"), body.get("b\n")), (None, None));
    }

    #[test]
    fn one_of_many_keys_is_found_as_well() {
        let text: String = (0..200).map(|n| format!(r#","k{n}":{n}"#)).collect();
        let mut body = body(&format!(r#"{{"z":0{text}}}"#));
        assert_eq!((body.get("k7"), body.get("z"), body.get("k200")), (Some(&json!(7)), Some(&json!(0)), None));
        body.insert("k199", json!("x"));
        body.insert("a", json!("y"));
        body.remove("k8");
        assert_eq!((body.get("k199"), body.get("a"), body.get("k8")), (Some(&json!("x")), Some(&json!("y")), None));
        assert!(written(&body).starts_with(r#"{"a":"y","k0":0,"k1":1,"k10":10,"#));
    }

    #[test]
    fn a_shape_is_told_of_text_and_of_values_alike() {
        let text = r#"{"n":null,"b":true,"f":false,"i":-1,"d":1e2,"s":"","l":[],"m":{}}"#;
        let (read, made) = (body(text), Body::from(body(text).to_map()));
        let shapes = [Shape::Bool, Shape::Number, Shape::Bool, Shape::Number, Shape::List, Shape::Map, Shape::Null, Shape::Text];
        for (key, shape) in ["b", "d", "f", "i", "l", "m", "n", "s"].into_iter().zip(shapes) {
            assert_eq!((read.shape(key), made.shape(key)), (Some(shape), Some(shape)), "{key}");
        }
        assert_eq!(read.shape("x"), None);
        assert_eq!(read, made);
        assert_ne!(read, Body::default());
    }

    #[test]
    fn what_a_whole_parse_refuses_is_refused_at_once_with_its_words() {
        let deep = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
        let texts = [
            "",
            "[1]",
            "[1",
            "7",
            "{\"a\":1",
            "{\"a\":1}x",
            "{\"a\":1e999}",
            "{\"a\":{\"b\":1e999}}",
            "{\"a\":\"\\ud83d\"}",
            "{\"a\":[\"\\ud83d\"]}",
            "{\"a\":{\"\\ud83d\":1}}",
            "{\"a\":\"\u{1}\"}",
            "{\"a\":tru}",
            "{\"a\":01}",
            &format!("{{\"a\":1{}}}", "0".repeat(400)),
            &format!("{{\"a\":{}1.5}}", "9".repeat(308)),
            &format!("{{\"a\":{}e99}}", "9".repeat(250)),
            &format!("{{\"a\":{}e-99}}", "9".repeat(350)),
            "{\"a\":1E+999,\"b\":\"5f1c6d0e-3f0b-4f4e\"}",
            "{\"a\":-0.1e-999}",
            &deep(126),
            &deep(127),
            &deep(128),
        ];
        for text in texts {
            let whole = serde_json::from_str::<Map<String, Value>>(text).map_err(|e| e.to_string());
            let parts = Body::parse(&Bytes::copy_from_slice(text.as_bytes())).map(|b| b.to_map()).map_err(|e| e.to_string());
            assert_eq!(parts, whole, "{text}");
        }
        assert!(Body::parse(&Bytes::from_static(b"{\"a\":\"\xff\"}")).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read_as_by_a_whole_parse(text in r#"(\{"[a-c]":|[\[\]{},:"\\u1e.-]|null|true|"[a-c]"|\\ud83d|[0-9]{1,3}|\}){0,14}"#) {
            let whole = serde_json::from_str::<Map<String, Value>>(&text).map_err(|e| e.to_string());
            let parts = Body::parse(&Bytes::from(text)).map(|b| b.to_map()).map_err(|e| e.to_string());
            prop_assert_eq!(parts, whole);
        }
    }
}
