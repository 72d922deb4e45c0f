//! `number`.

use rhai::{Dynamic, Engine, Module};

use super::whole;
use crate::script::host::define;
use crate::script::state::{Hosted, refuse};
use crate::script::value::type_word;

/// Registers the module.
pub(super) fn register(engine: &mut Engine) {
    let mut module = Module::new();
    module.set_doc("/// Numbers as people and shops write them.");
    define(&mut module, "parse", &["value", "number"], docs::PARSE, |value: Dynamic| -> Hosted<Dynamic> {
        if let Ok(text) = value.as_immutable_string_ref() {
            return Ok(read(&text).unwrap_or(Dynamic::UNIT));
        }
        if value.is_unit() || value.is_int() || value.is_float() {
            return Ok(value);
        }
        Err(refuse(format!("`number::parse` takes a text or a number, not {}", type_word(&value))))
    });
    define(
        &mut module,
        "round",
        &["value", "places", "number"],
        docs::ROUND,
        |value: Dynamic, places: Dynamic| -> Hosted<Dynamic> {
            let places = whole("number::round", "the number of places", &places)?;
            if value.is_unit() || value.is_int() {
                return Ok(value);
            }
            let Ok(number) = value.as_float() else {
                return Err(refuse(format!("`number::round` takes a number, not {}", type_word(&value))));
            };
            let places =
                usize::try_from(places).ok().filter(|p| *p <= 15).ok_or_else(|| refuse("`number::round`: 0 to 15 places"))?;
            Ok(rounded(number, places).into())
        },
    );
    engine.register_static_module("number", module.into());
}

/// As it is written in decimal, half away from zero: 1.005 at two places is 1.01, though the nearest binary number is below.
fn rounded(number: f64, places: usize) -> f64 {
    let shifted = format!("{number}e{places}").parse::<f64>().map_or(number, f64::round);
    if shifted.is_finite() { format!("{shifted}e-{places}").parse().unwrap_or(number) } else { number }
}

/// Digits with separators, a sign, and a currency's sign or code around them.
fn read(text: &str) -> Option<Dynamic> {
    let text = text.trim();
    let bracketed = text.starts_with('(') && text.ends_with(')');
    let kept: String = text.chars().filter(|c| c.is_ascii_digit() || matches!(c, '.' | ',' | '-' | '\'' | '\u{2212}')).collect();
    let first = text.find(|c: char| c.is_ascii_digit())?;
    let last = text.rfind(|c: char| c.is_ascii_digit())?;
    // Letters between digits: a code, not a number.
    if text[first..=last].chars().any(|c| !(c.is_ascii_digit() || matches!(c, '.' | ',' | '\'') || c.is_whitespace())) {
        return None;
    }
    let negative = bracketed || text[..first].contains(['-', '\u{2212}']);
    let digits = kept.trim_matches(|c: char| !c.is_ascii_digit() && c != '.' && c != ',');
    let digits = digits.trim_end_matches(['.', ',']);
    let decimal = decimal_mark(digits)?;
    let mut plain: String = digits
        .char_indices()
        .filter_map(|(at, c)| match c {
            _ if Some(at) == decimal => Some('.'),
            c if c.is_ascii_digit() => Some(c),
            _ => None,
        })
        .collect();
    if negative {
        plain.insert(0, '-');
    }
    plain
        .parse::<i64>()
        .map(Dynamic::from_int)
        .ok()
        .or_else(|| plain.parse::<f64>().ok().filter(|n| n.is_finite()).map(Dynamic::from_float))
}

/// Where the decimal mark stands; nothing at all when the marks make no number.
#[expect(clippy::option_option, reason = "no mark, and no number, are different answers")]
fn decimal_mark(digits: &str) -> Option<Option<usize>> {
    let marks: Vec<(usize, char)> = digits.char_indices().filter(|(_, c)| matches!(c, '.' | ',' | '\'')).collect();
    let Some(&(last, mark)) = marks.last() else { return Some(None) };
    let count = marks.iter().filter(|(_, c)| *c == mark).count();
    let others = marks.iter().any(|(_, c)| *c != mark);
    let behind = digits.len() - last - 1;
    match (count, others) {
        // 1.234,56 and 1'234.56: the last mark is the decimal one.
        (1, true) if mark != '\'' => Some(Some(last)),
        // 1,234: three digits behind a single comma are a group; behind a point they are decimals.
        (1, false) if mark == '.' || (mark == ',' && behind != 3) => Some(Some(last)),
        (1, false) => Some(None),
        // 1,234,567
        (_, false) => Some(None),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_as_people_write_them() {
        for (text, number) in [
            ("12.50", 12.5),
            ("1,234.56", 1234.56),
            ("1.234,56 €", 1234.56),
            ("1'234.50", 1234.5),
            ("$ -3.5", -3.5),
            ("(12.5)", -12.5),
            ("12,5", 12.5),
            ("EUR 0,99", 0.99),
            (".5", 0.5),
        ] {
            let read = read(text).and_then(|d| d.as_float().ok());
            assert_eq!(read, Some(number), "{text}");
        }
        for (text, number) in [("1,234", 1234), ("1,234,567", 1_234_567), ("42", 42), ("1 234", 1234), ("7.", 7)] {
            let read = read(text).and_then(|d| d.as_int().ok());
            assert_eq!(read, Some(number), "{text}");
        }
        for text in ["", "abc", "1a2", "1.2.3,4,5", "--", "€"] {
            assert!(read(text).is_none(), "{text}");
        }
    }

    #[test]
    fn rounding_is_that_of_the_decimal_digits() {
        assert!((rounded(1.005, 2) - 1.01).abs() < 1e-12);
        assert!((rounded(-2.5, 0) - -3.0).abs() < 1e-12);
        assert!((rounded(1e300, 15) - 1e300).abs() < 1e285);
    }
}

mod docs {
    pub(super) const PARSE: &str = r#"
Reads a number with separators, sign and currency: the last of two kinds of mark is the decimal one; a single comma before
exactly three digits groups them. `()` when it is no number; numbers are returned as they are.

```rhai
number::parse("1.234,56 €");  // => 1234.56
number::parse("$1,234");  // => 1234
number::parse("n/a");  // => ()
```
"#;
    pub(super) const ROUND: &str = r#"
Rounds to so many decimal places, halves away from zero.

```rhai
number::round(1.005, 2);  // => 1.01
```
"#;
}
