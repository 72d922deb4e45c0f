//! Ids that came as numbers, without loss.
//!
//! An id is compared as text, so `42` and `"42"` are one id, and so are `1e3`, `1000.0` and `1000`. JSON numbers become floats beyond 64
//! bits or with a point or an exponent, and floats have 15 safe digits; so such an id is read from the event's text. It stands in
//! the event as a whole number where 64 bits hold it, else as text with all its digits. Texts are left as they are: `"007"` and
//! `"1e3"` are not `7` and `1000`.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::event::canonical_id;

/// What holds ids, at the top of an event.
const IDS: [&str; 5] = ["userId", "anonymousId", "groupId", "previousId", "messageId"];
/// What holds ids in `context`.
const CONTEXT_IDS: [&str; 2] = ["groupId", "anonymousId"];
/// Beyond this many digits before or behind the point a number is no id.
const MOST_DIGITS: i64 = 400;

/// Takes the digits of ids that became floats from the text that they were parsed from. `raw` is what `body` was read from.
pub(super) fn exact(raw: &[u8], body: &mut Map<String, Value>) {
    let lossy = |map: &Map<String, Value>, keys: &[&str]| keys.iter().any(|key| map.get(*key).is_some_and(Value::is_f64));
    let context = body.get("context").and_then(Value::as_object);
    let in_context = context.is_some_and(|context| lossy(context, &CONTEXT_IDS));
    if !in_context && !lossy(body, &IDS) {
        return;
    }
    // Rare, so the second parse is not felt; it cannot fail where the first did not.
    let Ok(parts) = serde_json::from_slice::<BTreeMap<String, &RawValue>>(raw) else { return };
    restore(&parts, body, &IDS);
    if in_context
        && let Some(Ok(parts)) = parts.get("context").map(|raw| serde_json::from_str::<BTreeMap<String, &RawValue>>(raw.get()))
        && let Some(Value::Object(context)) = body.get_mut("context")
    {
        restore(&parts, context, &CONTEXT_IDS);
    }
}

fn restore(parts: &BTreeMap<String, &RawValue>, map: &mut Map<String, Value>, keys: &[&str]) {
    for key in keys {
        if let Some(value) = map.get_mut(*key).filter(|value| value.is_f64())
            && let Some(digits) = parts.get(*key).and_then(|raw| plain(raw.get()))
        {
            *value = shortest(digits);
        }
    }
}

/// Writes the ids of a parsed event in their one form.
pub(super) fn settle(body: &mut Map<String, Value>) {
    settle_in(body, &IDS);
    if let Some(Value::Object(context)) = body.get_mut("context") {
        settle_in(context, &CONTEXT_IDS);
    }
}

fn settle_in(map: &mut Map<String, Value>, keys: &[&str]) {
    for key in keys {
        if let Some(value) = map.get_mut(*key)
            && value.is_number()
            && !value.is_i64()
            && let Some(id) = canonical_id(value)
        {
            *value = shortest(id);
        }
    }
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
        let mut body: Map<String, Value> = serde_json::from_slice(raw).expect("an object");
        exact(raw, &mut body);
        settle(&mut body);
        assert_eq!(body["userId"], "123456789012345678901");
        assert_eq!(body["messageId"], 1000);
        assert_eq!(body["previousId"], "18446744073709551615");
        assert_eq!(body["context"]["groupId"], "98765432109876543210");
        assert!(body["context"]["n"].is_f64() && body["properties"]["n"].is_f64(), "only ids are touched");
    }
}
