//! How many entities each rule has created in the last hour, for `max_creates_per_hour`.
//!
//! Invariant: counted in memory only, so a restart begins at zero; it is a brake for a rule gone wild, not a budget.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;

const HOUR: Duration = Duration::from_secs(3600);

/// Times of creates by rule. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Creates(Arc<Mutex<HashMap<Arc<str>, VecDeque<Timestamp>>>>);

impl Creates {
    /// Counts one more create, or says how long to wait when the rule has made `limit` in the last hour.
    pub(super) fn take(&self, rule: &Arc<str>, limit: u32, now: Timestamp) -> Result<(), Duration> {
        let mut rules = self.0.lock();
        let times = rules.entry(rule.clone()).or_default();
        while times.front().is_some_and(|at| now.duration_since(*at).unsigned_abs() >= HOUR) {
            times.pop_front();
        }
        if times.len() < limit as usize {
            times.push_back(now);
            return Ok(());
        }
        let oldest = times.front().copied().unwrap_or(now);
        Err(HOUR.saturating_sub(now.duration_since(oldest).unsigned_abs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hour_moves_on() {
        let creates = Creates::default();
        let rule: Arc<str> = "person".into();
        let at = |secs: i64| Timestamp::from_second(1_700_000_000 + secs).expect("in range");
        assert_eq!(creates.take(&rule, 2, at(0)), Ok(()));
        assert_eq!(creates.take(&rule, 2, at(600)), Ok(()));
        assert_eq!(creates.take(&rule, 2, at(1200)), Err(Duration::from_secs(2400)));
        assert_eq!(creates.take(&rule, 2, at(3600)), Ok(()));
    }
}
