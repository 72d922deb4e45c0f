//! One day of the ledger, from reset to reset.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::rates::Rates;
use super::report::Sum;

const DAY: i64 = 24 * 3600;

/// Tokens by rule and then by what for; `""` is no rule.
pub(super) type Sums = BTreeMap<String, BTreeMap<String, Sum>>;

/// What a day came to, as it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Day {
    /// The first moment.
    pub(super) start: Timestamp,
    /// The reset that ends it.
    pub(super) ends: Timestamp,
    /// Spent, by purpose.
    #[serde(default)]
    pub(super) spent: Sums,
    /// Spared, by what spared it.
    #[serde(default)]
    pub(super) saved: Sums,
    /// How fast it is spent; of the current day only.
    #[serde(default)]
    pub(super) rates: Rates,
}

impl Day {
    /// The day that holds this moment, with its resets at this hour.
    pub(super) fn at(now: Timestamp, reset: u8) -> Self {
        let start = boundary(now, reset, 0);
        Self { start, ends: boundary(now, reset, 1), spent: Sums::new(), saved: Sums::new(), rates: Rates::default() }
    }

    /// Adds what another day came to.
    pub(super) fn take_over(&mut self, other: Self) {
        for (sums, more) in [(&mut self.spent, other.spent), (&mut self.saved, other.saved)] {
            for (rule, by) in more {
                for (what, sum) in by {
                    sums.entry(rule.clone()).or_default().entry(what).or_default().add(sum.tokens, sum.times);
                }
            }
        }
    }

    /// All tokens spent.
    pub(super) fn tokens(&self) -> u64 {
        self.spent.values().flat_map(BTreeMap::values).map(|sum| sum.tokens).sum()
    }
}

/// The last reset up to this moment, or so many days after it.
fn boundary(now: Timestamp, reset: u8, days: i64) -> Timestamp {
    let offset = i64::from(reset) * 3600;
    let since = (now.as_second() - offset).rem_euclid(DAY);
    Timestamp::from_second(now.as_second() - since + days * DAY).unwrap_or(now)
}

/// Adds to a sum.
pub(super) fn add(sums: &mut Sums, rule: &str, what: &str, tokens: u64) {
    // Nearly always both are there.
    if let Some(sum) = sums.get_mut(rule).and_then(|by| by.get_mut(what)) {
        sum.add(tokens, 1);
        return;
    }
    sums.entry(rule.to_owned()).or_default().entry(what.to_owned()).or_default().add(tokens, 1);
}
