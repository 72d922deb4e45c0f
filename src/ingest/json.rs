//! An event's text as a map.
//!
//! Senders that cut texts between the two halves of an emoji write `\\ud83d` without its other half. Segment takes that, and so do
//! we: such a half becomes U+FFFD.

use bytes::Bytes;

use super::rejection::Rejection;
use crate::event::Body;

/// Parses one event.
pub(super) fn object(raw: &Bytes) -> Result<Body, Rejection> {
    let error = match Body::parse(raw) {
        Ok(body) => return Ok(body),
        Err(error) => error,
    };
    // Only what fails pays for the second look.
    if error.is_syntax()
        && let Some(mended) = mend(raw)
        && let Ok(body) = Body::parse(&mended.into())
    {
        return Ok(body);
    }
    Err(if error.is_data() { Rejection::NotAnObject } else { Rejection::json(&error) })
}

/// The text with every escaped half of a surrogate pair replaced by `\\ufffd`; none when there is no such half.
fn mend(raw: &[u8]) -> Option<Vec<u8>> {
    let mut mended: Option<Vec<u8>> = None;
    let mut at = 0;
    while at < raw.len() {
        if raw[at] != b'\\' {
            at += 1;
            continue;
        }
        match (unit(raw, at), unit(raw, at + 6)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => at += 12,
            (Some(0xd800..=0xdfff), _) => {
                mended.get_or_insert_with(|| raw.to_vec())[at..at + 6].copy_from_slice(br"\ufffd");
                at += 6;
            }
            (Some(_), _) => at += 6,
            // Another escape, whose second byte must not be taken for a new one.
            (None, _) => at += 2,
        }
    }
    mended
}

/// The UTF-16 unit that is escaped at `at`.
fn unit(raw: &[u8], at: usize) -> Option<u16> {
    let digits = raw.get(at..at + 6)?.strip_prefix(br"\u")?;
    let digits = digits.iter().all(u8::is_ascii_hexdigit).then_some(digits)?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn half_an_emoji_becomes_the_replacement_character_and_whole_ones_stand() {
        let parse = |text: &str| object(&Bytes::copy_from_slice(text.as_bytes()));
        let read = |text: &str| parse(text).map(|o| o.get("a").and_then(Value::as_str).expect("text").to_owned());
        assert_eq!(read(r#"{"a":"x\ud83d"}"#).as_deref(), Ok("x\u{fffd}"));
        assert_eq!(read(r#"{"a":"\ude00\ud83d\ude00\ud83dz"}"#).as_deref(), Ok("\u{fffd}\u{1f600}\u{fffd}z"));
        assert_eq!(read(r#"{"a":"\ud83d\u0041 \\ud83d \ud83d"}"#).as_deref(), Ok("\u{fffd}A \\ud83d \u{fffd}"));
        assert!(matches!(read(r#"{"a":"\ud83d" oops}"#), Err(Rejection::Malformed { .. })));
        assert!(matches!(read(r#"{"a":"\ud8"}"#), Err(Rejection::Malformed { .. })));
        assert!(matches!(parse("[1]"), Err(Rejection::NotAnObject)));
    }
}
