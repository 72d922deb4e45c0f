//! Ids that came as numbers, without loss.
//!
//! An id is compared as text, so `42` and `"42"` are one id, and so are `1e3`, `1000.0` and `1000`. JSON numbers become floats beyond 64
//! bits or with a point or an exponent, and floats have 15 safe digits; so such an id is read from the event's text. It stands in
//! the event as a whole number where 64 bits hold it, else as text with all its digits. Texts are left as they are: `"007"` and
//! `"1e3"` are not `7` and `1000`.

use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::value::RawValue;

use crate::event::{Body, Shape, canonical_id};

/// What holds ids, at the top of an event.
const IDS: [&str; 5] = ["userId", "anonymousId", "groupId", "previousId", "messageId"];
/// What holds ids in `context`.
const CONTEXT_IDS: [&str; 2] = ["groupId", "anonymousId"];
/// Beyond this many digits before or behind the point a number is no id.
const MOST_DIGITS: i64 = 400;

/// Writes the ids of an event in their one form.
pub(super) fn settle(body: &mut Body) {
    for key in IDS {
        if body.shape(key) == Some(Shape::Number)
            && let Some(id) = body.get(key).and_then(|value| settled(value, body.text(key)))
        {
            body.insert(key, id);
        }
    }
    if body.shape("context") != Some(Shape::Map) || !mentions_ids(body.text("context")) {
        return;
    }
    let texts = body.text("context").and_then(|text| serde_json::from_str::<BTreeMap<String, &RawValue>>(text).ok());
    let text = |key: &str| texts.as_ref()?.get(key).map(|raw| raw.get());
    let context = body.get("context");
    let settle = |key| Some((key, settled(context?.get(key)?, text(key))?));
    let changed: Vec<_> = CONTEXT_IDS.into_iter().filter_map(settle).collect();
    if !changed.is_empty()
        && let Some(Value::Object(context)) = body.get_mut("context")
    {
        changed.into_iter().for_each(|(key, id)| drop(context.insert(key.to_owned(), id)));
    }
}

/// Whether a context that is not read yet may have ids: most have none, and reading them would cost more than all ids together.
fn mentions_ids(text: Option<&str>) -> bool {
    // A key can be written with escapes, too.
    text.is_none_or(|text| text.contains("\\u") || CONTEXT_IDS.iter().any(|id| text.contains(id)))
}

/// The one form of an id that is a number; none when it has it already. The digits of one that became a float are taken from the
/// text that it was read from.
fn settled(value: &Value, text: Option<&str>) -> Option<Value> {
    if !value.is_number() || value.is_i64() {
        return None;
    }
    let exact = || plain(text.filter(|_| value.is_f64())?);
    exact().or_else(|| canonical_id(value)).map(shortest)
}

/// A whole number that scripts can hold as one, else text.
fn shortest(digits: String) -> Value {
    digits.parse::<i64>().map_or(Value::String(digits), Value::from)
}

/// A JSON number in plain digits: no exponent, no needless zeros. `None` when it is unreasonably long.
fn plain(number: &str) -> Option<String> {
    let (sign, number) = number.strip_prefix('-').map_or(("", number), |rest| ("-", rest));
    let (mantissa, exponent) = number.split_once(['e', 'E']).map_or((number, Some(0)), |(m, e)| (m, e.parse::<i64>().ok()));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let point = i64::try_from(whole.len()).ok()?.checked_add(exponent?)?;
    let mut digits = format!("{whole}{fraction}");
    let count = i64::try_from(digits.len()).ok()?;
    if count > MOST_DIGITS || !(-MOST_DIGITS..=MOST_DIGITS).contains(&point) {
        return None;
    }
    if point <= 0 {
        digits.insert_str(0, &"0".repeat(usize::try_from(1 - point).ok()?));
    } else if point > count {
        digits.push_str(&"0".repeat(usize::try_from(point - count).ok()?));
    }
    let (whole, fraction) = digits.split_at(usize::try_from(point.max(1)).ok()?);
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    let whole = if whole.is_empty() { "0" } else { whole };
    Some(match (whole, fraction) {
        ("0", "") => "0".to_owned(),
        (whole, "") => format!("{sign}{whole}"),
        (whole, fraction) => format!("{sign}{whole}.{fraction}"),
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_number_is_written_in_plain_digits() {
        for (number, digits) in [
            ("42", "42"),
            ("1e3", "1000"),
            ("1.0", "1"),
            ("1.50", "1.5"),
            ("-0.0", "0"),
            ("-7.0E0", "-7"),
            ("12e-1", "1.2"),
            ("5e-3", "0.005"),
            ("0.5e1", "5"),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
            ("12345678901234567890.0", "12345678901234567890"),
            ("1.2345678901234567890123e22", "12345678901234567890123"),
        ] {
            assert_eq!(plain(number).as_deref(), Some(digits), "{number}");
        }
        assert_eq!(plain("1e-99999999999999999999"), None);
        assert_eq!(plain("1e-500"), None);
    }

    #[test]
    fn ids_keep_their_digits_wherever_they_stand() {
        let raw = br#"{"userId": 123456789012345678901, "messageId": 1e3, "previousId": 18446744073709551615,
            "context": {"groupId": 98765432109876543210, "n": 1.0}, "properties": {"n": 1.0}}"#;
        let mut body = Body::parse(&Bytes::from_static(raw)).expect("an object");
        settle(&mut body);
        let body = body.to_map();
        assert_eq!(body["userId"], "123456789012345678901");
        assert_eq!(body["messageId"], 1000);
        assert_eq!(body["previousId"], "18446744073709551615");
        assert_eq!(body["context"]["groupId"], "98765432109876543210");
        assert!(body["context"]["n"].is_f64() && body["properties"]["n"].is_f64(), "only ids are touched");
    }

    #[test]
    fn a_context_is_read_only_when_it_may_have_ids() {
        let text = |raw: &'static str| {
            let mut body = Body::parse(&Bytes::from_static(raw.as_bytes())).expect("an object");
            settle(&mut body);
            body.get("context").expect("a context").to_string()
        };
        assert_eq!(text(r#"{"context": {"\u0067roupId": 1e3}}"#), r#"{"groupId":1000}"#);
        assert_eq!(text(r#"{"context": {"anonymousId": 7.0, "groupId": "1e3"}}"#), r#"{"anonymousId":7,"groupId":"1e3"}"#);
        assert!(!mentions_ids(Some(r#"{"library":{"name":"x"}}"#)));
    }
}
