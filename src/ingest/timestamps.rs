//! When an event happened, as Segment computes it: the sender's clock is corrected by the difference between when it says it
//! sent the event and when it arrived.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::fmt::temporal::DateTimePrinter;
use jiff::tz::TimeZone;
use serde_json::Value;

use crate::event::{Body, Shape};

/// Milliseconds, as Segment writes them.
const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(3));
/// Of a time in this calendar.
const LENGTH: usize = "2026-01-02T03:04:05.678Z".len();

/// Whose `receivedAt` and `timestamp` an event carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// A sender of the Tracking API: its `receivedAt` counts for nothing.
    Client,
    /// Segment itself (webhooks, exported files): what it filled in stands.
    Segment,
}

/// Fills in `receivedAt` and `timestamp`. A sender's own `timestamp` moves to `originalTimestamp`, as with Segment; one that
/// cannot be read counts as absent.
pub(super) fn fill(body: &mut Body, received_at: Timestamp, origin: Origin) {
    let theirs = origin == Origin::Segment && read(body.get("receivedAt")).is_some();
    if theirs && read(body.get("timestamp")).is_some() {
        return;
    }
    if !theirs {
        body.insert("receivedAt", text(received_at));
    }
    let happened = read(body.get("originalTimestamp")).or_else(|| read(body.get("timestamp")));
    let timestamp = match (happened, read(body.get("sentAt"))) {
        // A clock so wrong that the sum leaves the calendar is not corrected.
        (Some(happened), Some(sent)) => received_at.checked_sub(sent.duration_since(happened)).unwrap_or(happened),
        (Some(happened), None) => happened,
        (None, _) => received_at,
    };
    if body.shape("timestamp") == Some(Shape::Text) {
        body.keep_as("timestamp", "originalTimestamp");
    }
    body.insert("timestamp", text(timestamp));
}

/// ISO 8601; without an offset it is UTC, as SDKs of some languages mean it.
fn read(value: Option<&Value>) -> Option<Timestamp> {
    let text = value?.as_str()?;
    text.parse().ok().or_else(|| {
        let local: DateTime = text.parse().ok()?;
        TimeZone::UTC.to_timestamp(local).ok()
    })
}

fn text(at: Timestamp) -> Value {
    let mut text = String::with_capacity(LENGTH);
    PRINTER.print_timestamp(&at, &mut text).expect("a string takes all that is written");
    Value::String(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn filled(body: Value, origin: Origin) -> serde_json::Map<String, Value> {
        let Value::Object(body) = body else { panic!("no object") };
        let mut body = Body::from(body);
        fill(&mut body, "2026-03-01T12:00:10Z".parse().expect("a time"), origin);
        body.to_map()
    }

    #[test]
    fn a_wrong_clock_is_corrected_by_when_the_sender_says_it_sent() {
        let body =
            filled(json!({"timestamp": "2026-03-01T11:00:00.500+00:00", "sentAt": "2026-03-01T11:00:02.500Z"}), Origin::Client);
        assert_eq!(body["timestamp"], "2026-03-01T12:00:08.000Z");
        assert_eq!(body["originalTimestamp"], "2026-03-01T11:00:00.500+00:00");
        assert_eq!(body["receivedAt"], "2026-03-01T12:00:10.000Z");
    }

    #[test]
    fn without_sent_at_the_senders_time_stands_and_without_any_it_is_now() {
        assert_eq!(filled(json!({"timestamp": "2025-01-01"}), Origin::Client)["timestamp"], "2025-01-01T00:00:00.000Z");
        assert_eq!(filled(json!({}), Origin::Client)["timestamp"], "2026-03-01T12:00:10.000Z");
        let unreadable = filled(json!({"timestamp": "yesterday"}), Origin::Client);
        assert_eq!(unreadable["timestamp"], "2026-03-01T12:00:10.000Z");
        assert_eq!(unreadable["originalTimestamp"], "yesterday");
    }

    #[test]
    fn original_timestamp_goes_before_timestamp() {
        let body = filled(
            json!({"timestamp": "2020-01-01T00:00:00Z", "originalTimestamp": "2026-03-01T12:00:00Z", "sentAt": "2026-03-01T12:00:01Z"}),
            Origin::Client,
        );
        assert_eq!(body["timestamp"], "2026-03-01T12:00:09.000Z");
        assert_eq!(body["originalTimestamp"], "2026-03-01T12:00:00Z");
    }

    #[test]
    fn what_segment_filled_in_stands_and_what_a_client_claims_does_not() {
        let claimed = json!({"timestamp": "2026-01-01T00:00:00.123Z", "receivedAt": "2026-01-01T00:00:01Z", "sentAt": "2026-01-01T00:00:01Z"});
        let body = filled(claimed.clone(), Origin::Segment);
        assert_eq!((&body["timestamp"], &body["receivedAt"]), (&claimed["timestamp"], &claimed["receivedAt"]));
        let body = filled(claimed, Origin::Client);
        assert_eq!(body["receivedAt"], "2026-03-01T12:00:10.000Z");
        assert_eq!(body["timestamp"], "2026-03-01T12:00:09.123Z");
    }

    #[test]
    fn a_clock_beyond_the_calendar_is_left_alone() {
        let body = filled(json!({"timestamp": "-009000-01-02T00:00:00Z", "sentAt": "9999-12-30T00:00:00Z"}), Origin::Client);
        assert_eq!(body["timestamp"], "-009000-01-02T00:00:00.000Z");
    }
}
