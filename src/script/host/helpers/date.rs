//! `date`. All in UTC: time zones' rules change, and a run must give the same result wherever it is repeated.

use jiff::civil::{Date, DateTime};
use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use rhai::{Dynamic, Engine, Module};

use super::{maybe, text_of, whole};
use crate::script::host::define;
use crate::script::state::{Hosted, refuse};
use crate::script::value::type_word;

/// Numbers from here on are milliseconds since 1970, those below are seconds (the year 5138).
const MILLIS_FROM: f64 = 1e11;

/// Registers the module.
pub(super) fn register(engine: &mut Engine) {
    let mut module = Module::new();
    module.set_doc(
        "/// Dates and times. A value is an ISO 8601 text (`2026-03-04`, `2026-03-04T05:06:07Z`, with or without an offset),\n\
         /// or seconds or milliseconds since 1970 as a number. Everything is in UTC.",
    );
    define(&mut module, "day", &["value", "text"], docs::DAY, |value: Dynamic| -> Hosted<Dynamic> {
        Ok(maybe(read("date::day", &value)?.map(|t| t.date().to_string())))
    });
    define(&mut module, "time", &["value", "text"], docs::TIME, |value: Dynamic| -> Hosted<Dynamic> {
        let time = read("date::time", &value)?.map(|t| t.time());
        Ok(maybe(time.map(|t| format!("{:02}:{:02}:{:02}", t.hour(), t.minute(), t.second()))))
    });
    define(&mut module, "parse", &["text", "format", "text"], docs::PARSE, parse);
    define(&mut module, "format", &["value", "format", "text"], docs::FORMAT, format);
    define(
        &mut module,
        "add_days",
        &["value", "days", "text"],
        docs::ADD_DAYS,
        |value: Dynamic, days: Dynamic| -> Hosted<Dynamic> {
            shift("date::add_days", &value, "days", &days, |n| Span::new().try_days(n).ok())
        },
    );
    define(
        &mut module,
        "add_months",
        &["value", "months", "text"],
        docs::ADD_MONTHS,
        |value: Dynamic, months: Dynamic| -> Hosted<Dynamic> {
            shift("date::add_months", &value, "months", &months, |n| Span::new().try_months(n).ok())
        },
    );
    define(
        &mut module,
        "days_between",
        &["from", "to", "int"],
        docs::DAYS_BETWEEN,
        |from: Dynamic, to: Dynamic| -> Hosted<Dynamic> {
            let (from, to) = (read("date::days_between", &from)?, read("date::days_between", &to)?);
            let days = from.zip(to).and_then(|(a, b)| a.date().until(b.date()).ok()).map(|span| i64::from(span.get_days()));
            Ok(maybe(days))
        },
    );
    define(&mut module, "weekday", &["value", "int"], docs::WEEKDAY, |value: Dynamic| -> Hosted<Dynamic> {
        Ok(maybe(read("date::weekday", &value)?.map(|t| i64::from(t.date().weekday().to_monday_one_offset()))))
    });
    engine.register_static_module("date", module.into());
}

/// The moment in UTC; nothing for what cannot be read.
fn read(function: &str, value: &Dynamic) -> Hosted<Option<DateTime>> {
    if let Ok(text) = value.as_immutable_string_ref() {
        return Ok(read_text(text.trim()));
    }
    #[expect(clippy::cast_precision_loss, reason = "moments of interest are far below 2^53")]
    let number = value.as_int().map(|n| n as f64).or_else(|_| value.as_float());
    match number {
        Ok(number) => Ok(read_number(number)),
        Err(_) if value.is_unit() => Ok(None),
        Err(_) => Err(refuse(format!("`{function}` takes a text or a number, not {}", type_word(value)))),
    }
}

fn read_text(text: &str) -> Option<DateTime> {
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Some(utc(moment));
    }
    text.parse::<DateTime>().ok().or_else(|| text.parse::<Date>().ok().map(|day| day.at(0, 0, 0, 0)))
}

fn read_number(number: f64) -> Option<DateTime> {
    let millis = if number.abs() < MILLIS_FROM { number * 1000.0 } else { number };
    if !millis.is_finite() || millis.abs() > 1e15 {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "bounded above")]
    Timestamp::from_millisecond(millis as i64).ok().map(utc)
}

fn utc(moment: Timestamp) -> DateTime {
    moment.to_zoned_datetime(TimeZone::UTC).datetime()
}

fn parse(text: Dynamic, format: Dynamic) -> Hosted<Dynamic> {
    let (Some(text), Some(format)) = (text_of("date::parse", &text)?, text_of("date::parse", &format)?) else {
        return Ok(Dynamic::UNIT);
    };
    let Ok(parsed) = strtime::parse(format, text.trim()) else { return Ok(Dynamic::UNIT) };
    if let Ok(moment) = parsed.to_timestamp() {
        return Ok(maybe(Some(format!("{}Z", utc(moment)))));
    }
    if parsed.hour().is_some() {
        return Ok(maybe(parsed.to_datetime().ok().map(|t| format!("{t}Z"))));
    }
    Ok(maybe(parsed.to_date().ok().map(|d| d.to_string())))
}

fn format(value: Dynamic, format: Dynamic) -> Hosted<Dynamic> {
    let (Some(moment), Some(format)) = (read("date::format", &value)?, text_of("date::format", &format)?) else {
        return Ok(Dynamic::UNIT);
    };
    let zoned = moment.to_zoned_datetime(TimeZone::UTC).map_err(|_| refuse("`date::format`: the date is out of range"))?;
    strtime::format(&format, &zoned)
        .map(Dynamic::from)
        .map_err(|e| refuse(format!("`date::format`: the format cannot be used: {e}")))
}

fn shift(function: &str, value: &Dynamic, unit: &str, count: &Dynamic, span: impl Fn(i64) -> Option<Span>) -> Hosted<Dynamic> {
    let Some(moment) = read(function, value)? else { return Ok(Dynamic::UNIT) };
    let count = whole(function, unit, count)?;
    let shifted = span(count).and_then(|s| moment.date().checked_add(s).ok());
    shifted.map(|d| Dynamic::from(d.to_string())).ok_or_else(|| refuse(format!("`{function}`: the date is out of range")))
}

mod docs {
    pub(super) const DAY: &str = r#"
The day as `YYYY-MM-DD`, as date fields want it; `()` when the value cannot be read.

```rhai
date::day("2026-03-04T23:30:00-02:00");  // => "2026-03-05"
date::day(1772600767);  // => "2026-03-04"
date::day("soon");  // => ()
```
"#;
    pub(super) const TIME: &str = r#"
The time of day as `HH:MM:SS`; `()` when the value cannot be read.

```rhai
date::time("2026-03-04T05:06:07.250Z");  // => "05:06:07"
```
"#;
    pub(super) const PARSE: &str = r#"
Reads a date in another form, given as in C's `strptime`: `YYYY-MM-DD`, or date and time with `Z` when the format has hours; `()`
when the text does not have the form.

```rhai
date::parse("4.3.2026", "%d.%m.%Y");  // => "2026-03-04"
date::parse("03/04/2026 5:06 PM", "%m/%d/%Y %I:%M %p");  // => "2026-03-04T17:06:00Z"
```
"#;
    pub(super) const FORMAT: &str = r#"
Writes a date in another form, given as in C's `strftime`. A format that does not exist is an error.

```rhai
date::format("2026-03-04", "%d %B %Y");  // => "04 March 2026"
```
"#;
    pub(super) const ADD_DAYS: &str = r#"
The day so many days later (earlier, when negative), as `YYYY-MM-DD`; `()` when the value is no day.

```rhai
date::add_days("2026-02-27", 3);  // => "2026-03-02"
```
"#;
    pub(super) const ADD_MONTHS: &str = r#"
The day so many months later (earlier, when negative), as `YYYY-MM-DD`; the last of the month when there is no such day.

```rhai
date::add_months("2026-01-31", 1);  // => "2026-02-28"
```
"#;
    pub(super) const DAYS_BETWEEN: &str = r#"
How many days `to` is after `from` (negative: before); `()` when one of them cannot be read.

```rhai
date::days_between("2026-03-01", "2026-03-04T12:00:00Z");  // => 3
```
"#;
    pub(super) const WEEKDAY: &str = r#"
The day of the week: 1 is Monday, 7 is Sunday; `()` when the value cannot be read.

```rhai
date::weekday("2026-03-04");  // => 3
```
"#;
}
