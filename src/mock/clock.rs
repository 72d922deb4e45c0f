//! The mock's time: running from a start, or standing still until a test moves it.

use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::time::Instant;

/// Where the mock takes its time from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClockStart {
    /// The machine's clock at start, then tokio's (so that a paused tokio clock pauses the mock's too).
    #[default]
    Now,
    /// Runs like `Now`, from a fixed moment.
    RunningFrom(Timestamp),
    /// Stands still at this moment until [`super::Mock::advance`] moves it.
    Manual(Timestamp),
}

/// A clock that can be moved forward.
#[derive(Debug)]
pub(super) struct Clock {
    base_ms: i64,
    started: Option<Instant>,
    moved_ms: Mutex<i64>,
}

impl Clock {
    pub(super) fn new(start: ClockStart) -> Self {
        let (base, started) = match start {
            ClockStart::Now => (Timestamp::now(), Some(Instant::now())),
            ClockStart::RunningFrom(at) => (at, Some(Instant::now())),
            ClockStart::Manual(at) => (at, None),
        };
        Self { base_ms: base.as_millisecond(), started, moved_ms: Mutex::new(0) }
    }

    /// Milliseconds since 1970.
    pub(super) fn now_ms(&self) -> i64 {
        let run = self.started.map_or(0, |s| i64::try_from(s.elapsed().as_millis()).unwrap_or(i64::MAX));
        self.base_ms + run + *self.moved_ms.lock()
    }

    pub(super) fn advance(&self, by: Duration) {
        *self.moved_ms.lock() += i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
    }

    /// Waits until it has run to a moment. A clock that stands still never does by itself, nor does it to no moment at all.
    pub(super) async fn reach(&self, moment: Option<i64>) {
        match (moment, self.started) {
            (Some(ms), Some(_)) => {
                let left = u64::try_from(ms - self.now_ms()).unwrap_or(0);
                tokio::time::sleep(Duration::from_millis(left)).await;
            }
            _ => std::future::pending().await,
        }
    }
}

/// A moment.
pub(super) fn timestamp(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// `2026-01-02T03:04:05Z`, as v2 writes times.
pub(super) fn v2_time(ms: i64) -> String {
    timestamp(ms.div_euclid(1000) * 1000).to_string()
}

/// `2026-01-02T03:04:05.678Z`, as leads have it.
pub(super) fn lead_time(ms: i64) -> String {
    format!("{:.3}", timestamp(ms))
}

/// `2026-01-02 03:04:05`, as the rest of v1 writes times.
pub(super) fn v1_time(ms: i64) -> String {
    timestamp(ms).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// The UTC day, as a number.
pub(super) const fn day(ms: i64) -> i64 {
    ms.div_euclid(86_400_000)
}

/// Reads an RFC 3339 time of whole seconds; fractions are refused, as Pipedrive's lists do.
pub(super) fn parse_whole_seconds(text: &str) -> Option<i64> {
    if text.contains('.') || !text.contains('T') {
        return None;
    }
    text.parse::<Timestamp>().ok().map(Timestamp::as_millisecond)
}

/// Reads `YYYY-MM-DD HH:MM:SS` as UTC.
pub(super) fn parse_v1_time(text: &str) -> Option<i64> {
    if text.len() != 19 || text.as_bytes().get(10) != Some(&b' ') {
        return None;
    }
    format!("{}T{}Z", &text[..10], &text[11..]).parse::<Timestamp>().ok().map(Timestamp::as_millisecond)
}

/// Whether a text is a date of the calendar, `YYYY-MM-DD`.
pub(super) fn is_date(text: &str) -> bool {
    text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok()
}

/// `HH:MM` or `HH:MM:SS` as `HH:MM:SS`.
pub(super) fn parse_time_of_day(text: &str, max_hours: u32) -> Option<String> {
    let parts: Vec<&str> = text.split(':').collect();
    if !(2..=3).contains(&parts.len()) || parts.iter().any(|p| p.len() != 2) {
        return None;
    }
    let mut numbers = [0u32; 3];
    for (slot, part) in numbers.iter_mut().zip(&parts) {
        *slot = part.parse().ok()?;
    }
    let [h, m, s] = numbers;
    (h <= max_hours && m < 60 && s < 60).then(|| format!("{h:02}:{m:02}:{s:02}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_times_as_the_versions_do() {
        let ms = 1_767_323_045_678;
        assert_eq!(v2_time(ms), "2026-01-02T03:04:05Z");
        assert_eq!(lead_time(ms), "2026-01-02T03:04:05.678Z");
        assert_eq!(lead_time(1_767_323_045_000), "2026-01-02T03:04:05.000Z");
        assert_eq!(v1_time(ms), "2026-01-02 03:04:05");
        assert_eq!(parse_v1_time("2026-01-02 03:04:05"), Some(1_767_323_045_000));
    }

    #[test]
    fn lists_take_whole_seconds_only() {
        assert_eq!(parse_whole_seconds("2026-01-02T03:04:05Z"), Some(1_767_323_045_000));
        assert_eq!(parse_whole_seconds("2026-01-02T03:04:05.5Z"), None);
        assert_eq!(parse_whole_seconds("2026-01-02"), None);
    }

    #[test]
    fn times_of_day_get_their_seconds() {
        assert_eq!(parse_time_of_day("09:30", 23).as_deref(), Some("09:30:00"));
        assert_eq!(parse_time_of_day("24:00", 23), None);
        assert_eq!(parse_time_of_day("9:30", 23), None);
    }
}
