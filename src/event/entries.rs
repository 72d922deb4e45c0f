//! An object's text cut into its keys and values, none of which is read.
//!
//! Invariant: what is cut here can be parsed whole. What the parser does not look at when it only skips a value is checked
//! besides where a text may have it.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// The keys and values in the order of the text; none when it is no object that can be parsed whole.
pub(super) fn of(text: &[u8]) -> Option<Vec<(Cow<'_, str>, &RawValue)>> {
    // Told once that all of it is text, the parser need not look at each string.
    let json = std::str::from_utf8(text).ok()?;
    if needs_check(text) {
        let Checked = serde_json::from_str(json).ok()?;
    }
    let Entries(entries) = serde_json::from_str(json).ok()?;
    Some(entries)
}

/// Whether a text may have what the parser overlooks when it only skips a value: half of a surrogate pair, a number out of range, or
/// more levels than it goes down. True now and then where nothing is wrong.
fn needs_check(text: &[u8]) -> bool {
    /// Fewer than the parser's levels.
    const LEVELS: usize = 100;
    /// Fewer digits than a number out of range has without an exponent of three.
    const DIGITS: usize = 200;
    let run = |middle: usize| {
        let digit = |byte: &&u8| byte.is_ascii_digit();
        text[middle..].iter().take_while(digit).count() + text[..middle].iter().rev().take_while(digit).count() >= DIGITS
    };
    text.contains(&b'\\') || opened(text) >= LEVELS || has_long_exponent(text) || (0..text.len()).step_by(DIGITS / 2).any(run)
}

/// How many lists and maps begin in a text, those in strings counted as well.
fn opened(text: &[u8]) -> usize {
    // Summed up in single bytes as long as they hold, so that it is done for many at once.
    let few = |bytes: &[u8]| bytes.iter().map(|byte| u8::from((*byte == b'[') | (*byte == b'{'))).sum::<u8>();
    text.chunks(255).map(|bytes| usize::from(few(bytes))).sum()
}

/// Whether a number may have an exponent of three digits or more. Ids in hexadecimal are full of what looks like one.
fn has_long_exponent(text: &[u8]) -> bool {
    let digit = u8::is_ascii_digit;
    let sign = |byte: &u8| matches!(byte, b'+' | b'-');
    let Some(places) = text.len().checked_sub(4) else { return false };
    // Of slices and without a branch, so that it is done for many bytes at once.
    let [before, mark, first, second, third] = [0, 1, 2, 3, 4].map(|from| &text[from..from + places]);
    let looks = |n: usize| {
        (digit(&before[n]) | (before[n] == b'.'))
            & (mark[n] | 0x20 == b'e')
            & (digit(&first[n]) | sign(&first[n]))
            & digit(&second[n])
            & digit(&third[n])
    };
    if (0..places).fold(0, |found, n| found | u8::from(looks(n))) == 0 {
        return false;
    }
    text.iter().enumerate().filter(|(_, byte)| **byte | 0x20 == b'e').any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + 1..]);
        let digits = if after.first().is_some_and(sign) { &after[1..] } else { after };
        let mantissa = before.iter().rev().take_while(|byte| digit(byte) || **byte == b'.').count();
        // What stands before a number, and never before the digits of a hexadecimal id.
        let front = &before[..before.len() - mantissa];
        let front = front.strip_suffix(b"-").unwrap_or(front);
        let starts = front.last().is_some_and(|byte| b":,[ \t\r\n".contains(byte));
        mantissa > 0 && starts && digits.len() >= 3 && digits[..3].iter().all(digit)
    })
}

/// What [`of`] gives.
struct Entries<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Self(Vec::with_capacity(16)))
    }
}

impl<'de> Visitor<'de> for Entries<'de> {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut entries: A) -> Result<Self, A::Error> {
        while let Some((Name(key), value)) = entries.next_entry()? {
            self.0.push((key, value));
        }
        Ok(self)
    }
}

/// A key, borrowed unless it has escapes.
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AsName;
        impl<'de> Visitor<'de> for AsName {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(key)))
            }

            fn visit_str<E>(self, key: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(key.to_owned())))
            }
        }
        deserializer.deserialize_str(AsName)
    }
}

/// Any JSON value that could be parsed to a [`serde_json::Value`], which is not made.
struct Checked;

impl<'de> Deserialize<'de> for Checked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Checked {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self, A::Error> {
        while items.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self, A::Error> {
        while entries.next_entry::<Self, Self>()?.is_some() {}
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_exponent_is_one_of_a_number_only() {
        for number in
            ["{\"a\":1e999}", "{\"a\": -1.5E+308 }", "[1,2e-400]", "[-0.e100]", "{\"a\":\n7e0099}", "{\"a\":\"x, 1e999\"}"]
        {
            assert!(has_long_exponent(number.as_bytes()), "{number}");
        }
        for other in
            ["{\"a\":1e99}", "\"5f1c6d0e123f\"", "\"12e345\"", "{\"a\":\"9e-123\"}", "\"the 123\"", "[1.5, 2]", "e", "1e", ""]
        {
            assert!(!has_long_exponent(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn the_usual_event_needs_no_check() {
        let usual = r#"{"messageId":"5f1c6d0e-3f0b-4f4e-9f0a-2e7012345678","traits":{"n":-1.5e10,"l":[1,[2]]},"t":"Änne"}"#;
        assert!(!needs_check(usual.as_bytes()));
        for text in [r#""\n""#, &"[".repeat(100), &"{[".repeat(400), &"1".repeat(200)] {
            assert!(needs_check(text.as_bytes()), "{text}");
        }
    }
}
