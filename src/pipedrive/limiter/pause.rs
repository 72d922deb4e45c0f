//! Moments before which nothing goes: short ones are waited out in the line, long ones fail those who wait.

use std::time::Duration;

use tokio::time::Instant;

/// A pause up to this long is waited out in the line; a longer one fails the waiting requests.
const SHORT: Duration = Duration::from_secs(5);

/// Why nothing may be sent for a longer while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PauseReason {
    /// 429 in a row or with room in the window: the daily budget is spent.
    Budget,
    /// The firewall shut us out.
    Firewall,
}

/// A pause that is longer than those who wait are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pipedrive) struct Refused {
    pub(in crate::pipedrive) reason: PauseReason,
    pub(in crate::pipedrive) wait: Duration,
}

/// The server's windows are full.
#[derive(Debug, Default)]
pub(super) struct Short {
    /// No request before.
    general: Option<Instant>,
    /// No search before.
    search: Option<Instant>,
}

impl Short {
    pub(super) fn until(&mut self, search: bool, now: Instant, wait: Duration) {
        let until = now + wait.min(SHORT);
        let at = if search { &mut self.search } else { &mut self.general };
        *at = Some(at.map_or(until, |at| at.max(until)));
    }

    pub(super) fn passed(&self, search: bool, now: Instant) -> bool {
        let at = if search { self.search } else { self.general };
        at.is_none_or(|at| at <= now)
    }

    pub(super) const fn moments(&self) -> [Option<Instant>; 2] {
        [self.general, self.search]
    }
}

/// Nothing goes, and then one request first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Long {
    pub(super) reason: PauseReason,
    pub(super) until: Instant,
    /// The probe is under way.
    pub(super) probing: bool,
    /// Pauses in a row.
    times: u32,
}

impl Long {
    /// The pause that follows `before`. Pauses in a row double, up to `longest`.
    pub(super) fn after(before: Option<Self>, reason: PauseReason, now: Instant, first: Duration, longest: Duration) -> Self {
        let (times, running) = match before {
            // Several requests that were under way together fail together: one pause.
            Some(long) if long.until > now => (long.times, long.until),
            Some(long) => (long.times + 1, now),
            None => (0, now),
        };
        let until = running.max(now + first.saturating_mul(1 << times.min(16)).min(longest));
        Self { reason, until, probing: false, times }
    }
}
