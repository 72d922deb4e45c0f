//! Values that are one JSON scalar on the wire: text, numbers, booleans, dates, times.
//!
//! Conversions happen only where one meaning is possible: a number into a text, a numeric string into a number, the date part of
//! an ISO time into a date. Everything else is refused with what the field takes.

use jiff::civil::{Date, DateTime};
use jiff::{Timestamp, tz::TimeZone};
use serde_json::{Number, Value as Json};

use crate::event::number_text;
use crate::plan::refusal::{Refusal, kind_of};

type Result<T> = std::result::Result<T, Refusal>;

/// Text; numbers are written out.
pub(super) fn text(field: &str, value: &Json) -> Result<String> {
    match value {
        Json::String(s) => Ok(s.clone()),
        Json::Number(n) => Ok(number_text(n)),
        Json::Bool(_) => {
            Err(Refusal::wrong(field, "text", value).help("write it out, as in `if flag { \"yes\" } else { \"no\" }`"))
        }
        _ => Err(Refusal::wrong(field, "text", value)),
    }
}

/// A finite number.
pub(super) fn number(field: &str, value: &Json) -> Result<Number> {
    let refused = || Refusal::wrong(field, "a number", value);
    match value {
        Json::Number(n) => Ok(n.clone()),
        Json::String(s) => parse_number(s).ok_or_else(|| {
            let message = format!("`{field}` takes a number, and this string is none");
            Refusal { message, ..refused() }.help("`number::parse` reads numbers as people write them")
        }),
        _ => Err(refused()),
    }
}

/// A number written in digits: no thousands separators, no units, no infinities.
pub(super) fn parse_number(text: &str) -> Option<Number> {
    let text = text.trim();
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.')) {
        return None;
    }
    if let Ok(whole) = text.parse::<i64>() {
        return Some(whole.into());
    }
    text.parse::<f64>().ok().and_then(Number::from_f64)
}

/// A whole number; `3.0` counts.
pub(super) fn whole(field: &str, value: &Json) -> Result<i64> {
    let number = number(field, value).map_err(|r| Refusal { message: r.message.replace("a number", "a whole number"), ..r })?;
    as_whole(&number)
        .ok_or_else(|| Refusal::value(format!("`{field}` takes a whole number, and this one has a fraction")).showing(value))
}

/// The number as an integer when it is one.
pub(super) fn as_whole(number: &Number) -> Option<i64> {
    number.as_i64().or_else(|| {
        let float = number.as_f64()?;
        // Beyond 2^53 a float no longer names one integer.
        (float.fract() == 0.0 && float.abs() <= 9_007_199_254_740_992.0).then_some(float as i64)
    })
}

/// A boolean; also `0`, `1` and the words true, false, yes, no.
pub(super) fn boolean(field: &str, value: &Json) -> Result<bool> {
    let known = match value {
        Json::Bool(b) => Some(*b),
        Json::Number(n) => match as_whole(n) {
            Some(0) => Some(false),
            Some(1) => Some(true),
            _ => None,
        },
        Json::String(s) => match s.trim().to_ascii_lowercase().as_str() {
            "true" | "yes" | "1" => Some(true),
            "false" | "no" | "0" => Some(false),
            _ => None,
        },
        _ => None,
    };
    known.ok_or_else(|| Refusal::wrong(field, "true or false", value))
}

/// A date: `YYYY-MM-DD`, or an ISO time, of which the date part is taken as it stands.
pub(super) fn date(field: &str, value: &Json) -> Result<String> {
    let wanted = "a date (`YYYY-MM-DD`, or an ISO time)";
    let Json::String(s) = value else { return Err(Refusal::wrong(field, wanted, value)) };
    let s = s.trim();
    let bad = || Refusal::value(format!("`{field}` takes {wanted}, and this string is none")).showing(value);
    let (day, rest) = s.split_at_checked(10).ok_or_else(bad)?;
    if !(rest.is_empty() || rest.starts_with(['T', 't', ' '])) || !date_shaped(day) {
        return Err(bad());
    }
    day.parse::<Date>().map(|d| d.to_string()).map_err(|_| bad())
}

pub(super) fn date_shaped(day: &str) -> bool {
    day.bytes().enumerate().all(|(i, b)| if i == 4 || i == 7 { b == b'-' } else { b.is_ascii_digit() })
}

/// A time of day as `HH:MM:SS`: from `HH:MM`, `HH:MM:SS`, or the time part of an ISO time as it stands.
pub(super) fn time(field: &str, value: &Json) -> Result<String> {
    let wanted = "a time (`HH:MM` or `HH:MM:SS`)";
    let Json::String(s) = value else { return Err(Refusal::wrong(field, wanted, value)) };
    let s = s.trim();
    let clock = match s.split_once(['T', 't', ' ']) {
        Some((day, clock)) if date_shaped(day) && day.len() == 10 => {
            clock.split(['Z', 'z', '+', '-', '.']).next().unwrap_or(clock)
        }
        _ => s,
    };
    clock_parts(clock, 23)
        .ok_or_else(|| Refusal::value(format!("`{field}` takes {wanted}, and this string is none")).showing(value))
}

/// A length of time as `HH:MM:SS`, from `HH:MM` or `HH:MM:SS`.
pub(super) fn duration(field: &str, value: &Json) -> Result<String> {
    let wanted = "a length of time (`HH:MM` or `HH:MM:SS`)";
    let Json::String(s) = value else {
        return Err(Refusal::wrong(field, wanted, value)
            .help("a bare number could be seconds, minutes or hours: write `\"00:30\"` for half an hour"));
    };
    clock_parts(s.trim(), 99)
        .ok_or_else(|| Refusal::value(format!("`{field}` takes {wanted}, and this string is none")).showing(value))
}

fn clock_parts(text: &str, most_hours: u8) -> Option<String> {
    let mut parts = text.split(':');
    let mut part = |most: u8| -> Option<u8> {
        let p = parts.next()?;
        ((1..=2).contains(&p.len()) && p.bytes().all(|b| b.is_ascii_digit()))
            .then(|| p.parse().ok())
            .flatten()
            .filter(|n| *n <= most)
    };
    let (hours, minutes) = (part(most_hours)?, part(59)?);
    let seconds = if text.matches(':').count() == 2 { part(59)? } else { 0 };
    parts.next().is_none().then(|| format!("{hours:02}:{minutes:02}:{seconds:02}"))
}

/// An instant, in whole seconds of UTC. A time without a zone is taken as UTC.
pub(super) fn instant(field: &str, value: &Json) -> Result<Timestamp> {
    let wanted = "a point in time (ISO 8601, or Unix seconds)";
    let parsed = match value {
        Json::Number(n) => as_whole(n).and_then(|s| Timestamp::from_second(s).ok()),
        Json::String(s) => parse_instant(s.trim()),
        _ => None,
    };
    let instant = parsed.ok_or_else(|| Refusal::wrong(field, wanted, value))?;
    Timestamp::from_second(instant.as_second()).map_err(|_| Refusal::wrong(field, wanted, value))
}

fn parse_instant(text: &str) -> Option<Timestamp> {
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Some(instant);
    }
    let civil = text.parse::<DateTime>().ok().or_else(|| text.parse::<Date>().ok().map(|d| d.at(0, 0, 0, 0)))?;
    TimeZone::UTC.to_timestamp(civil).ok()
}

/// A time zone by its IANA name.
pub(super) fn zone(field: &str, value: &Json) -> Result<TimeZone> {
    TimeZone::get(text(field, value)?.trim()).map_err(|_| {
        Refusal::value(format!("the time zone for `{field}` is not an IANA name")).help("such as `Europe/Tallinn`").showing(value)
    })
}

/// `2026-01-02T03:04:05Z`, as v2 bodies want it.
pub(super) fn rfc3339(instant: Timestamp) -> String {
    instant.to_string()
}

/// `2026-01-02 03:04:05` in UTC, as v1 bodies and `archive_time` want it.
pub(super) fn spaced(instant: Timestamp) -> String {
    instant.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// An ISO 4217 code, upper-cased.
pub(super) fn currency(field: &str, value: &Json) -> Result<String> {
    let refused = || {
        let given = if value.is_string() { ", and this string is none".to_owned() } else { format!(", not {}", kind_of(value)) };
        Refusal::value(format!("`{field}` takes a currency code of three letters (ISO 4217){given}"))
            .help("such as `EUR` or `USD`")
            .showing(value)
    };
    let Json::String(s) = value else { return Err(refused()) };
    let code = s.trim().to_ascii_uppercase();
    if code.len() == 3 && code.bytes().all(|b| b.is_ascii_uppercase()) { Ok(code) } else { Err(refused()) }
}
