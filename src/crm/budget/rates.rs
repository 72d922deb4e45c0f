//! How fast tokens are spent, by rule, and what that comes to until the reset.
//!
//! A rate is an exponentially weighted mean: what was spent [`MEMORY`] ago counts a third of what is spent now. So a burst is forgotten
//! within hours, and a rule that has to wait is soon thought to need nothing more.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The weight of what was spent falls to 1/e in this time.
const MEMORY: Duration = Duration::from_secs(30 * 60);
/// Tokens a second that are nothing: one in ten days.
const NOTHING: f64 = 1e-6;

/// Rates by rule; `""` is no rule.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Rates(BTreeMap<String, Rate>);

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Rate {
    per_second: f64,
    at: Timestamp,
    priority: u8,
}

impl Rate {
    fn now(&self, now: Timestamp) -> f64 {
        self.per_second * (-seconds(self.at, now) / MEMORY.as_secs_f64()).exp()
    }
}

impl Rates {
    /// A rule has spent tokens.
    pub(super) fn spent(&mut self, rule: &str, priority: u8, tokens: u32, now: Timestamp) {
        let more = f64::from(tokens) / MEMORY.as_secs_f64();
        match self.0.get_mut(rule) {
            Some(rate) => *rate = Rate { per_second: rate.now(now) + more, at: rate.at.max(now), priority },
            None => drop(self.0.insert(rule.to_owned(), Rate { per_second: more, at: now, priority })),
        }
    }

    /// Tokens a second of all rules whose priority number is below this one.
    pub(super) fn above(&self, priority: u8, now: Timestamp) -> f64 {
        self.0.values().filter(|rate| rate.priority < priority).map(|rate| rate.now(now)).sum()
    }

    /// Tokens a second of all.
    pub(super) fn all(&self, now: Timestamp) -> f64 {
        self.above(u8::MAX, now)
    }

    /// Tokens a second by rule, those that are nothing left out.
    pub(super) fn by_rule(&self, now: Timestamp) -> impl Iterator<Item = (&str, f64)> {
        self.0.iter().map(move |(rule, rate)| (rule.as_str(), rate.now(now))).filter(|(_, rate)| *rate > NOTHING)
    }

    /// Leaves out what is nothing any more.
    pub(super) fn forget_old(&mut self, now: Timestamp) {
        self.0.retain(|_, rate| rate.now(now) > NOTHING);
    }
}

/// Seconds from one moment to the next; 0 when the clock was set back.
pub(super) fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64().max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + seconds).expect("in range")
    }

    #[test]
    fn a_steady_rate_is_found_and_a_burst_forgotten() {
        let mut rates = Rates::default();
        for n in 0..3 * 3600 {
            rates.spent("steady", 3, 2, at(n));
        }
        let now = at(3 * 3600);
        assert!((rates.all(now) - 2.0).abs() < 0.02, "{}", rates.all(now));
        rates.spent("burst", 7, 36_000, now);
        assert!((rates.all(now) - rates.above(7, now) - 20.0).abs() < 0.01);
        assert!(rates.all(at(6 * 3600)) < 0.07, "{}", rates.all(at(6 * 3600)));
        rates.forget_old(at(48 * 3600));
        assert_eq!(rates, Rates::default());
    }

    #[test]
    fn a_clock_that_is_set_back_makes_no_rate_grow() {
        let mut rates = Rates::default();
        rates.spent("r", 5, 1800, at(10_000));
        assert!((rates.all(at(0)) - 1.0).abs() < 1e-9);
    }
}
