//! Pure helpers: e-mail, phone, web addresses, dates, numbers, text, HTML, hashes.
//!
//! Invariants: a helper given `()` returns `()`, and one that reads a text returns `()` for what it cannot read, so that a
//! field or criterion made with it is left alone; an argument of a type that it does not take is an error.

mod date;
mod email;
mod hash;
mod html;
mod number;
pub(in crate::script) mod phone;
mod text;
mod url;

use rhai::{Dynamic, Engine};

use crate::script::state::{Hosted, refuse};
use crate::script::value::type_word;

/// Registers them.
pub(super) fn register(engine: &mut Engine) {
    email::register(engine);
    phone::register(engine);
    date::register(engine);
    number::register(engine);
    text::register(engine);
    html::register(engine);
    hash::register(engine);
    url::register(engine);
}

/// A text argument: texts as they are, numbers and booleans as written; nothing for `()`.
fn text_of(function: &str, value: &Dynamic) -> Hosted<Option<String>> {
    if let Ok(text) = value.as_immutable_string_ref() {
        return Ok(Some(text.to_string()));
    }
    if value.is_unit() {
        return Ok(None);
    }
    if value.is_int() || value.is_float() || value.is_bool() || value.is_char() {
        return Ok(Some(value.to_string()));
    }
    Err(refuse(format!("`{function}` takes a text, not {}", type_word(value))))
}

/// A whole number argument.
fn whole(function: &str, what: &str, value: &Dynamic) -> Hosted<i64> {
    value.as_int().map_err(|_| refuse(format!("`{function}`: {what} is a whole number, not {}", type_word(value))))
}

/// A text, or `()`.
fn maybe<T: Into<Dynamic>>(value: Option<T>) -> Dynamic {
    value.map_or(Dynamic::UNIT, Into::into)
}
