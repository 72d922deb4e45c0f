//! How many entities each rule has created in the last hour, for `max_creates_per_hour`.
//!
//! Invariants: only what was created counts; creates under way keep their place until they are that or are not, so that never more than
//! the limit are made. Where creates had to wait and there is still no room to spare, a place is to be had before anything is looked up for
//! a create, so that what may not be made costs nothing. Counted in memory only, so a restart begins at zero, and so does a person's `resume`; it is a brake for a rule gone
//! wild, not a budget.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;

use super::policy::later;

const HOUR: Duration = Duration::from_secs(3600);

/// Times of creates by rule. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Creates(Arc<Mutex<HashMap<Arc<str>, Hour>>>);

#[derive(Debug, Default)]
struct Hour {
    made: VecDeque<Timestamp>,
    under_way: usize,
    /// A create found no place, and since then there was none to spare.
    scarce: bool,
}

/// Why nothing more may be created now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Braked {
    /// This many were created, and when there is room again.
    Made { count: usize, until: Timestamp },
    /// Those under way would fill it up.
    UnderWay,
}

/// The place of a create under way.
#[derive(Debug)]
pub(super) struct Place {
    creates: Creates,
    rule: Arc<str>,
}

impl Place {
    /// It was created.
    pub(super) fn made(self, now: Timestamp) {
        self.creates.made(&self.rule, now);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(hour) = self.creates.0.lock().get_mut(&self.rule) {
            hour.under_way = hour.under_way.saturating_sub(1);
        }
    }
}

impl Creates {
    /// A place for one more create, unless the rule has made `limit` in the last hour.
    pub(super) fn begin(&self, rule: &Arc<str>, limit: u32, now: Timestamp) -> Result<Place, Braked> {
        let mut rules = self.0.lock();
        let hour = rules.entry(rule.clone()).or_default();
        while hour.made.front().is_some_and(|at| now.duration_since(*at).unsigned_abs() >= HOUR) {
            hour.made.pop_front();
        }
        let (count, limit) = (hour.made.len(), limit as usize);
        if count >= limit {
            // The limit may have been lowered since: several must have grown old.
            let oldest = hour.made.get(count - limit).copied().unwrap_or(now);
            hour.scarce = true;
            return Err(Braked::Made { count, until: later(oldest, HOUR) });
        }
        if count + hour.under_way >= limit {
            return Err(Braked::UnderWay);
        }
        hour.under_way += 1;
        hour.scarce &= count + hour.under_way >= limit;
        Ok(Place { creates: self.clone(), rule: rule.clone() })
    }

    /// Whether a create has waited for a place, and there has been none to spare since.
    pub(super) fn are_scarce(&self, rule: &str) -> bool {
        self.0.lock().get(rule).is_some_and(|hour| hour.scarce)
    }

    /// Counts one.
    pub(super) fn made(&self, rule: &Arc<str>, now: Timestamp) {
        self.0.lock().entry(rule.clone()).or_default().made.push_back(now);
    }

    /// The hour begins anew.
    pub(super) fn forget(&self, rule: &str) {
        if let Some(hour) = self.0.lock().get_mut(rule) {
            hour.made.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + secs).expect("in range")
    }

    fn make(creates: &Creates, rule: &Arc<str>, limit: u32, now: Timestamp) -> Result<(), Braked> {
        creates.begin(rule, limit, now).map(|place| place.made(now))
    }

    #[test]
    fn the_hour_moves_on_and_begins_anew_when_it_is_forgotten() {
        let (creates, rule): (Creates, Arc<str>) = (Creates::default(), "person".into());
        assert_eq!(make(&creates, &rule, 2, at(0)), Ok(()));
        assert_eq!(make(&creates, &rule, 2, at(600)), Ok(()));
        assert_eq!(make(&creates, &rule, 2, at(1200)), Err(Braked::Made { count: 2, until: at(3600) }));
        assert_eq!(
            make(&creates, &rule, 1, at(1200)),
            Err(Braked::Made { count: 2, until: at(4200) }),
            "a lower limit waits longer"
        );
        assert_eq!(make(&creates, &rule, 2, at(3600)), Ok(()));
        assert!(make(&creates, &rule, 2, at(3601)).is_err());
        creates.forget("person");
        assert_eq!(make(&creates, &rule, 2, at(3601)), Ok(()));
    }

    #[test]
    fn places_are_scarce_from_the_first_that_is_refused_until_there_is_one_to_spare() {
        let (creates, rule): (Creates, Arc<str>) = (Creates::default(), "person".into());
        for n in 0..2 {
            assert_eq!(make(&creates, &rule, 2, at(n * 600)), Ok(()));
        }
        assert!(!creates.are_scarce(&rule), "nobody wanted more");
        assert!(make(&creates, &rule, 2, at(1200)).is_err());
        assert!(creates.are_scarce(&rule));
        assert_eq!(make(&creates, &rule, 2, at(3600)), Ok(()));
        assert!(creates.are_scarce(&rule), "it took the only one");
        assert_eq!(make(&creates, &rule, 3, at(3600)), Ok(()));
        assert!(creates.are_scarce(&rule), "so did this one, of three");
        assert_eq!(make(&creates, &rule, 4, at(7201)), Ok(()));
        assert!(!creates.are_scarce(&rule));
    }

    #[test]
    fn what_was_not_created_gives_its_place_back() {
        let (creates, rule): (Creates, Arc<str>) = (Creates::default(), "person".into());
        let refused = creates.begin(&rule, 1, at(0)).expect("room");
        assert_eq!(make(&creates, &rule, 1, at(0)), Err(Braked::UnderWay));
        drop(refused);
        assert_eq!(make(&creates, &rule, 1, at(0)), Ok(()));
    }
}
