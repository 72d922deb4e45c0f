//! When an activity is due: Pipedrive wants day and time in UTC, apart.
//!
//! Invariants: a time that says its zone, by an offset or by `timezone` beside it, is converted together with its day; a time
//! without a zone is UTC and stands as it is, and so does a day without a time.

use std::borrow::Cow;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::Value as Json;

use super::{composite, scalar};
use crate::plan::refusal::Refusal;
use crate::plan::{FieldEntry, Value};

const DATE: &str = "due_date";
const TIME: &str = "due_time";
/// A key beside the fields: the zone that `due_date` and `due_time` are meant in. Not a field.
pub(super) const TIMEZONE: &str = "timezone";

/// The entries with `due_date` and `due_time` in UTC.
pub(super) fn in_utc(entries: &[FieldEntry]) -> Result<Cow<'_, [FieldEntry]>, Refusal> {
    let zone = given(entries, TIMEZONE).map(|zone| scalar::zone(TIMEZONE, zone)).transpose()?;
    let (day, time) = (text(entries, DATE), text(entries, TIME));
    let Some(time) = time else { return Ok(entries.into()) };
    let Some(instant) = instant(day, time, zone.as_ref())? else { return Ok(entries.into()) };
    if let (Some(day), Some(own)) = (day.and_then(day_of), day_of(time)) {
        // The day beside a whole time is the same day, as it is there or in UTC.
        if day != own && day != utc(instant).0 {
            return Err(Refusal::value(format!("`{DATE}` and `{TIME}` name different days"))
                .help(format!("leave `{DATE}` out where `{TIME}` holds the day"))
                .showing(&time.into()));
        }
    }
    let (day, clock) = utc(instant);
    let mut entries: Vec<FieldEntry> = entries.iter().filter(|e| e.custom || e.name != DATE).cloned().collect();
    for entry in entries.iter_mut().filter(|e| !e.custom && e.name == TIME) {
        entry.value = Value::Json(clock.as_str().into());
    }
    entries.push(FieldEntry { name: DATE.to_owned(), custom: false, value: Value::Json(day.into()) });
    Ok(entries.into())
}

/// The instant that is meant; none when the time has no zone.
fn instant(day: Option<&str>, time: &str, zone: Option<&TimeZone>) -> Result<Option<Timestamp>, Refusal> {
    if day_of(time).is_some() {
        let at = time.parse::<Timestamp>().ok();
        return Ok(at.or_else(|| zone?.to_timestamp(time.parse::<DateTime>().ok()?).ok()));
    }
    let (clock, offset) = time.split_at(time.find(['Z', 'z', '+', '-']).unwrap_or(time.len()));
    if offset.is_empty() && zone.is_none() {
        return Ok(None);
    }
    let Some(day) = day else {
        return Err(Refusal::value(format!("`{TIME}` has a zone and needs `{DATE}` beside it: elsewhere it may be another day"))
            .showing(&time.into()));
    };
    // What cannot be read is refused where the field itself is read.
    let Some(day) = day_of(day) else { return Ok(None) };
    let local = format!("{day}T{}", clock.trim());
    Ok(match offset {
        "" => zone.and_then(|zone| zone.to_timestamp(local.parse::<DateTime>().ok()?).ok()),
        offset => format!("{local}{offset}").parse().ok(),
    })
}

fn utc(instant: Timestamp) -> (String, String) {
    (instant.strftime("%Y-%m-%d").to_string(), instant.strftime("%H:%M:%S").to_string())
}

/// The day that a text begins with.
fn day_of(text: &str) -> Option<&str> {
    text.get(..10).filter(|day| scalar::date_shaped(day))
}

fn given<'a>(entries: &'a [FieldEntry], name: &str) -> Option<&'a Json> {
    entries.iter().find(|e| !e.custom && e.name == name).and_then(|e| match &e.value {
        Value::Json(json) if !composite::is_blank(json) => Some(json),
        _ => None,
    })
}

fn text<'a>(entries: &'a [FieldEntry], name: &str) -> Option<&'a str> {
    given(entries, name)?.as_str().map(str::trim)
}
