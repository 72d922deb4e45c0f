//! A wall clock that is set back while the daemon runs.
//!
//! Invariant: waits are kept. What waits does so until a time of the wall clock; when that is set back, those times are moved with it, or
//! all that waited would wait for the jump's length besides.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use crate::crm::earlier;

/// Less than this is a clock that is steered, not set.
const SLACK: SignedDuration = SignedDuration::from_secs(5);

/// Compares the wall clock with one that nobody sets.
#[derive(Debug)]
pub(super) struct WallClock {
    seen: Instant,
    was: Timestamp,
}

impl WallClock {
    pub(super) fn new(now: Timestamp) -> Self {
        Self { seen: Instant::now(), was: now }
    }

    /// By how much it was set back since it was asked before, when it was.
    pub(super) fn set_back(&mut self, now: Timestamp) -> Option<Duration> {
        let elapsed = SignedDuration::try_from(self.seen.elapsed()).unwrap_or(SignedDuration::MAX);
        let missing = elapsed.saturating_sub(now.duration_since(self.was));
        *self = Self::new(now);
        (missing > SLACK).then(|| missing.unsigned_abs())
    }
}

/// Moves a time with the clock.
pub(super) fn moved(at: &mut Option<Timestamp>, by: Duration) {
    *at = at.map(|at| earlier(at, by));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_moves_with_the_clock_and_no_time_stays_none() {
        let mut at = Timestamp::from_second(1_700_003_600).ok();
        moved(&mut at, Duration::from_secs(3_600));
        assert_eq!(at, Timestamp::from_second(1_700_000_000).ok());
        moved(&mut at, Duration::MAX);
        assert_eq!(at, Some(Timestamp::MIN), "there is none before the first");
        let mut none = None;
        moved(&mut none, Duration::from_secs(1));
        assert_eq!(none, None);
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_jump_back_is_told_once_and_by_its_length() {
        let at = |seconds: i64| Timestamp::from_second(1_700_000_000 + seconds).expect("in range");
        let mut clock = WallClock::new(at(0));
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(clock.set_back(at(58)), None, "a clock that is steered");
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(clock.set_back(at(68 - 3_600)), Some(Duration::from_secs(3_600)));
        assert_eq!(clock.set_back(at(68 - 3_600)), None, "told once");
        assert_eq!(clock.set_back(at(86_400)), None, "forward: what waits is due sooner");
    }
}
