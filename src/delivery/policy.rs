//! When a failed delivery is tried again, and when it is given up.
//!
//! Invariants: the wait doubles from `retry_first` to `retry_max`; its jitter comes from the delivery's name and the attempt,
//! so the same history gives the same waits.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use jiff::Timestamp;

use crate::config::DeliveryConfig;
use crate::store::DeliveryId;

/// Whether to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// At this time.
    Again(Timestamp),
    /// The policy's bounds are reached.
    GiveUp,
}

/// Decides after a charged attempt. `attempts` counts it; `asked` is a wait that the script or the answer asked for.
pub(crate) fn decide(
    config: &DeliveryConfig,
    id: &DeliveryId,
    attempts: u32,
    first_failed_at: Timestamp,
    now: Timestamp,
    asked: Option<Duration>,
) -> Decision {
    // A clock that was set back since makes it no time at all, rather than the length of the jump.
    let failing_for = Duration::try_from(now.duration_since(first_failed_at)).unwrap_or_default();
    if attempts >= config.max_attempts || failing_for >= config.max_retry_time.get() {
        return Decision::GiveUp;
    }
    let wait = asked.unwrap_or_else(|| backoff(config.retry_first.get(), config.retry_max.get(), attempts, id));
    Decision::Again(later(now, wait))
}

/// `now` plus a wait, at most the end of time.
pub(crate) fn later(now: Timestamp, wait: Duration) -> Timestamp {
    now.checked_add(jiff::SignedDuration::try_from(wait).unwrap_or(jiff::SignedDuration::MAX)).unwrap_or(Timestamp::MAX)
}

/// The wait before attempt `attempts + 1`: between half and all of the doubled time.
pub(crate) fn backoff(first: Duration, max: Duration, attempts: u32, salt: &impl Hash) -> Duration {
    let doubled = first.saturating_mul(2_u32.saturating_pow(attempts.saturating_sub(1).min(30))).min(max);
    let mut hasher = DefaultHasher::new();
    (salt, attempts).hash(&mut hasher);
    let share = f64::from(u32::try_from(hasher.finish() >> 40).unwrap_or(0)) / f64::from(1_u32 << 24);
    doubled.mul_f64(0.5 + share / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Seq;

    fn id() -> DeliveryId {
        DeliveryId { seq: Seq(7), rule: "person".into() }
    }

    #[test]
    fn waits_double_up_to_the_longest_and_stay_within_their_jitter() {
        let config = DeliveryConfig::default();
        for attempts in 1..20 {
            let full = Duration::from_secs(1).saturating_mul(2_u32.saturating_pow(attempts - 1)).min(Duration::from_secs(600));
            let wait = backoff(config.retry_first.get(), config.retry_max.get(), attempts, &id());
            assert!(wait >= full / 2 && wait <= full, "attempt {attempts}: {wait:?} of {full:?}");
        }
    }

    #[test]
    fn gives_up_after_the_attempts_or_the_time() {
        let config = DeliveryConfig::default();
        let now = Timestamp::from_second(1_000_000).expect("in range");
        assert!(matches!(decide(&config, &id(), 19, now, now, None), Decision::Again(at) if at > now));
        assert_eq!(decide(&config, &id(), 20, now, now, None), Decision::GiveUp);
        let long_ago = Timestamp::from_second(1_000_000 - 86_400).expect("in range");
        assert_eq!(decide(&config, &id(), 2, long_ago, now, None), Decision::GiveUp);
    }

    #[test]
    fn a_clock_that_was_set_back_gives_nothing_up() {
        let now = Timestamp::from_second(1_000_000).expect("in range");
        let failed_at = Timestamp::from_second(1_000_000 + 10 * 86_400).expect("in range");
        assert!(matches!(decide(&DeliveryConfig::default(), &id(), 2, failed_at, now, None), Decision::Again(_)));
    }
}
