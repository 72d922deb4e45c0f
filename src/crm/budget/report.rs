//! What the ledger tells: for the admin API, the command line and `status`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Tokens, and how often.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sum {
    /// Tokens.
    pub tokens: u64,
    /// Requests sent, or times that something was spared.
    pub times: u64,
}

impl Sum {
    pub(super) const fn add(&mut self, tokens: u64, times: u64) {
        self.tokens = self.tokens.saturating_add(tokens);
        self.times = self.times.saturating_add(times);
    }
}

/// How the tokens of an account stand.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BudgetReport {
    /// Account.
    pub account: String,
    /// What may be spent; none: tokens are counted and not limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Limits>,
    /// The day from the last reset to the next.
    pub today: DayReport,
    /// At the present rate.
    pub forecast: Forecast,
    /// Who waits now, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Waits>,
    /// Earlier days, newest first.
    pub days: Vec<DayReport>,
    /// Tokens that are counted and not yet in the store: what a crash would forget now.
    pub unsaved: u64,
}

/// A budget and what is left of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Tokens from reset to reset.
    pub tokens_per_day: u64,
    /// Of these, kept for what must end.
    pub reserve: u64,
    /// Left for ordinary requests.
    pub left: u64,
    /// Left of all, the reserve included.
    pub left_with_reserve: u64,
}

/// What a day came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DayReport {
    /// Its first moment.
    pub start: Timestamp,
    /// The reset that ends it.
    pub ends: Timestamp,
    /// Tokens spent, and requests.
    pub spent: Sum,
    /// The same by purpose.
    pub by_purpose: BTreeMap<String, Sum>,
    /// The same by rule; `housekeeping` is what no rule asked for.
    pub by_rule: BTreeMap<String, Sum>,
    /// Tokens spared, by what spared them.
    pub saved: BTreeMap<String, Sum>,
}

/// What is spent until the reset if it goes on as now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    /// Tokens an hour at present.
    pub per_hour: f64,
    /// The same by rule.
    pub by_rule: BTreeMap<String, f64>,
    /// Tokens still needed until the reset.
    pub needed: u64,
    /// When what is left for ordinary requests would be spent; none: it suffices, or there is no budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spent_at: Option<Timestamp>,
    /// Which rules have to wait before that, and from when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<Waits>,
}

/// Rules that wait for tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waits {
    /// Those of this priority, and of lower ones (higher numbers).
    pub priority: u8,
    /// From when.
    pub from: Timestamp,
    /// Until when at most: the reset.
    pub until: Timestamp,
    /// Why, with the numbers.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// A number as people read it: `27,000`.
#[must_use]
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A time of today or tomorrow.
pub(super) fn clock(at: Timestamp) -> String {
    at.strftime("%H:%M UTC").to_string()
}

/// A time with its day.
pub(super) fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}
