//! Points in time as Pipedrive writes them: RFC 3339 in v2 and leads, `YYYY-MM-DD HH:MM:SS` (UTC) in notes.

use std::time::Duration;

/// Reads either form.
pub(super) fn read(text: &str) -> Option<jiff::Timestamp> {
    if let Ok(at) = text.parse() {
        return Some(at);
    }
    let civil: jiff::civil::DateTime = text.parse().ok()?;
    jiff::tz::TimeZone::UTC.to_timestamp(civil).ok()
}

/// As `updated_since` wants it: whole seconds, or Pipedrive refuses the request.
pub(super) fn whole_seconds(at: jiff::Timestamp) -> String {
    jiff::Timestamp::from_second(at.as_second()).unwrap_or(at).to_string()
}

/// A moment less a time, at least the beginning of time.
#[must_use]
pub fn earlier(at: jiff::Timestamp, by: Duration) -> jiff::Timestamp {
    at.checked_sub(jiff::SignedDuration::try_from(by).unwrap_or(jiff::SignedDuration::MAX)).unwrap_or(jiff::Timestamp::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_the_same_moment() {
        let v2 = read("2026-11-23T10:20:30Z");
        assert!(v2.is_some());
        assert_eq!(v2, read("2026-11-23 10:20:30"));
        assert_eq!(read("2026-11-23T10:20:30.000Z"), v2);
        assert_eq!(v2.map(whole_seconds).as_deref(), Some("2026-11-23T10:20:30Z"));
    }

    #[test]
    fn fractions_of_seconds_are_cut() {
        let at = read("2026-11-23T10:20:30.987Z").expect("a time");
        assert_eq!(whole_seconds(at), "2026-11-23T10:20:30Z");
    }
}
