//! One account's part of the ledger: charges, the limit, and who waits for whom. Pure: the time is an argument.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::day::{Day, add};
use super::rates::{Rates, seconds};
use super::report::{BudgetReport, DayReport, Forecast, Limits, Sum, Waits, clock, grouped, moment};
use crate::config::BudgetConfig;
use crate::pipedrive::{Caller, Purpose, Saving, Withheld};

/// Earlier days that are kept. By their number: a clock that is wrong for a while makes no day old.
const KEPT: usize = 35;
/// A day that begins so long after now was begun by a clock that was wrong.
const AHEAD: SignedDuration = SignedDuration::from_hours(24);
/// Rules that wait go on when those before them need less than this part of what is left: so that they do not stop and go with each request.
const ENOUGH: f64 = 0.9;
/// What requests without a rule are called.
const NO_RULE: &str = "housekeeping";

/// Who waits for tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Deliveries of rules of this priority and of lower ones (higher numbers) wait; 0: of all.
    pub from: u8,
    /// What has begun waits as well: nothing is left.
    pub begun_too: bool,
    /// Until then at most.
    pub until: Timestamp,
    /// Why, with the numbers.
    pub reason: String,
}

/// What was asked for in vain since the last reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Refused {
    Nothing,
    Ordinary,
    All,
}

#[derive(Debug)]
pub(super) struct Book {
    account: Arc<str>,
    budget: Option<BudgetConfig>,
    /// The priorities of the account's rules.
    levels: BTreeSet<u8>,
    today: Day,
    /// Sum of today.
    spent: u64,
    past: BTreeMap<Timestamp, Day>,
    refused: Refused,
    /// The priority from which on rules wait by the forecast.
    waiting: Option<u8>,
    /// Days that are not in the store as they are.
    dirty: BTreeSet<Timestamp>,
    unsaved: u64,
}

impl Book {
    /// A book with the days that were stored.
    pub(super) fn new(account: Arc<str>, days: Vec<Day>, now: Timestamp) -> Self {
        let mut past: BTreeMap<Timestamp, Day> = days.into_iter().map(|day| (day.start, day)).collect();
        let today = past.pop_last().map_or_else(|| Day::at(now, 0), |(_, day)| day);
        let spent = today.tokens();
        let mut book = Self {
            account,
            budget: None,
            levels: BTreeSet::new(),
            today,
            spent,
            past,
            refused: Refused::Nothing,
            waiting: None,
            dirty: BTreeSet::new(),
            unsaved: 0,
        };
        book.forget_old();
        book
    }

    /// Takes the settings. With another hour of the reset, the day goes on until the next reset: what was spent stays spent.
    pub(super) fn configure(&mut self, budget: Option<BudgetConfig>, levels: BTreeSet<u8>, now: Timestamp) {
        self.roll(now);
        self.levels = levels;
        if self.budget == budget {
            return;
        }
        self.budget = budget;
        self.refused = Refused::Nothing;
        self.waiting = None;
        let day = Day::at(now, self.reset());
        if self.today.ends == day.ends {
            return;
        }
        self.dirty.insert(self.today.start);
        if self.today.spent.is_empty() && self.today.saved.is_empty() {
            self.today = Day { rates: std::mem::take(&mut self.today.rates), ..day };
        } else {
            self.today.ends = day.ends;
        }
    }

    /// Takes the tokens of a request.
    pub(super) fn take(&mut self, caller: &Caller, purpose: Purpose, tokens: u32, now: Timestamp) -> Result<(), Withheld> {
        self.roll(now);
        // What nobody waits for has the lowest priority.
        if let Some(hold) = if caller.background { self.hold(now) } else { None } {
            return Err(Withheld { reason: hold.reason, wait: hold.until.duration_since(now).unsigned_abs() });
        }
        let must_end = !caller.worn && (caller.must_end || purpose == Purpose::Reconcile);
        if let Some(budget) = self.budget {
            let most = if must_end { budget.tokens_per_day } else { budget.ordinary() };
            if self.spent.saturating_add(u64::from(tokens)) > most {
                self.refused = self.refused.max(if must_end { Refused::All } else { Refused::Ordinary });
                let wait = self.today.ends.duration_since(now).unsigned_abs();
                return Err(Withheld { reason: self.spent_reason(budget, must_end), wait });
            }
        }
        let rule = caller.rule.as_deref().unwrap_or_default();
        add(&mut self.today.spent, rule, purpose.as_str(), tokens.into());
        self.today.rates.spent(rule, caller.priority, tokens, now);
        self.spent += u64::from(tokens);
        self.unsaved += u64::from(tokens);
        self.dirty.insert(self.today.start);
        Ok(())
    }

    /// Notes tokens that were not spent.
    pub(super) fn saved(&mut self, rule: Option<&str>, saving: Saving, tokens: u32, now: Timestamp) {
        self.roll(now);
        add(&mut self.today.saved, rule.unwrap_or_default(), saving.as_str(), tokens.into());
        self.dirty.insert(self.today.start);
    }

    /// Who waits for tokens now.
    pub(super) fn hold(&mut self, now: Timestamp) -> Option<Hold> {
        self.roll(now);
        let budget = self.budget?;
        let until = self.today.ends;
        let everything = self.refused == Refused::All || self.spent >= budget.tokens_per_day;
        if everything || self.refused == Refused::Ordinary || self.spent >= budget.ordinary() {
            let reason = self.spent_reason(budget, everything);
            return Some(Hold { from: 0, begun_too: everything, until, reason });
        }
        let left = self.left(budget);
        self.waiting = self.waits_from(left, now);
        self.waiting.map(|from| {
            let needed = self.needed_above(from, now);
            let reason = format!(
                "waits for the budget of {}: rules of a higher priority need {} tokens until the reset at {} at their present rate, and \
                 {} of {} are left besides the reserve; rules of priority {from} and lower go on then, or when the forecast suffices",
                self.account,
                grouped(whole(needed)),
                moment(until),
                grouped(left),
                grouped(budget.tokens_per_day),
            );
            Hold { from, begun_too: false, until, reason }
        })
    }

    /// How it stands, with so many earlier days.
    pub(super) fn report(&mut self, days: usize, now: Timestamp) -> BudgetReport {
        let hold = self.hold(now);
        let limits = self.budget.map(|budget| Limits {
            tokens_per_day: budget.tokens_per_day,
            reserve: budget.reserved(),
            left: self.left(budget),
            left_with_reserve: budget.tokens_per_day.saturating_sub(self.spent),
        });
        BudgetReport {
            account: self.account.to_string(),
            budget: limits,
            today: told(&self.today),
            forecast: self.forecast(now),
            waiting: hold.map(|hold| Waits { priority: hold.from, from: now, until: hold.until, reason: hold.reason }),
            days: self.past.values().rev().take(days).map(told).collect(),
            unsaved: self.unsaved,
        }
    }

    /// What a person should know beforehand; none while the budget suffices.
    pub(super) fn outlook(&mut self, now: Timestamp) -> Option<String> {
        self.roll(now);
        let Forecast { spent_at: Some(at), waits, .. } = self.forecast(now) else { return None };
        let account = &self.account;
        let then = match waits {
            Some(Waits { priority, from, .. }) if from <= now => format!("rules of priority {priority} and lower wait already"),
            Some(Waits { priority, from, .. }) => format!("rules of priority {priority} and lower wait from {}", clock(from)),
            None => format!("then all its rules wait until {}", moment(self.today.ends)),
        };
        Some(format!("at this rate the budget of {account} is spent at {}; {then}", clock(at)))
    }

    /// Left for ordinary requests and needed until the reset, for metrics; none without a budget.
    pub(super) fn levels_now(&mut self, now: Timestamp) -> (Option<u64>, u64) {
        self.roll(now);
        (self.budget.map(|budget| self.left(budget)), whole(self.today.rates.all(now) * seconds(now, self.today.ends)))
    }

    /// The days that the store does not have as they are: their starts, and what is to be stored, none where they are to be forgotten.
    pub(super) fn take_dirty(&mut self) -> Vec<(Timestamp, Option<Vec<u8>>)> {
        let dirty = std::mem::take(&mut self.dirty);
        let day = |start: &Timestamp| if *start == self.today.start { Some(&self.today) } else { self.past.get(start) };
        dirty.iter().map(|start| (*start, day(start).and_then(|day| serde_json::to_vec(day).ok()))).collect()
    }

    /// They could not be stored.
    pub(super) fn still_dirty(&mut self, starts: impl IntoIterator<Item = Timestamp>) {
        self.dirty.extend(starts);
    }

    /// So many tokens are in the store now.
    pub(super) const fn stored(&mut self, tokens: u64) {
        self.unsaved = self.unsaved.saturating_sub(tokens);
    }

    pub(super) const fn unsaved(&self) -> u64 {
        self.unsaved
    }

    fn reset(&self) -> u8 {
        self.budget.map_or(0, |budget| budget.reset.0)
    }

    fn left(&self, budget: BudgetConfig) -> u64 {
        budget.ordinary().saturating_sub(self.spent)
    }

    /// Begins a new day when the reset is over. A clock that is set back ends no day and begins none.
    fn roll(&mut self, now: Timestamp) {
        if self.today.start.duration_since(now) > AHEAD {
            self.set_back(now);
        }
        if now < self.today.ends {
            return;
        }
        let mut next = Day::at(now, self.reset());
        next.rates = std::mem::take(&mut self.today.rates);
        next.rates.forget_old(now);
        self.dirty.insert(self.today.start);
        let over = std::mem::replace(&mut self.today, next);
        self.past.insert(over.start, over);
        self.spent = 0;
        self.refused = Refused::Nothing;
        self.waiting = None;
        self.forget_old();
    }

    /// The clock had been set far ahead, and is right again: what was spent meanwhile is of the day that it is.
    fn set_back(&mut self, now: Timestamp) {
        let day = Day::at(now, self.reset());
        self.dirty.extend([self.today.start, day.start]);
        let ahead = std::mem::replace(&mut self.today, day);
        self.today.take_over(ahead);
        if let Some(before) = self.past.remove(&self.today.start) {
            self.today.take_over(before);
        }
        self.spent = self.today.tokens();
    }

    fn forget_old(&mut self) {
        while self.past.len() > KEPT {
            self.dirty.extend(self.past.pop_first().map(|(start, _)| start));
        }
    }

    /// Tokens that rules above a priority need until the reset.
    fn needed_above(&self, priority: u8, now: Timestamp) -> f64 {
        self.today.rates.above(priority, now) * seconds(now, self.today.ends)
    }

    /// The priority from which on rules wait, so that those above it have what they need.
    fn waits_from(&self, left: u64, now: Timestamp) -> Option<u8> {
        let lower = self.levels.iter().skip(1).copied();
        lower.into_iter().find(|priority| {
            let waits = self.waiting.is_some_and(|waiting| waiting <= *priority);
            let enough = float(left) * if waits { ENOUGH } else { 1.0 };
            self.needed_above(*priority, now) > enough
        })
    }

    fn forecast(&self, now: Timestamp) -> Forecast {
        let rates: &Rates = &self.today.rates;
        let (rate, time) = (rates.all(now), seconds(now, self.today.ends));
        let needed = rate * time;
        let by_rule = rates.by_rule(now).map(|(rule, rate)| (shown(rule).to_owned(), rate * 3600.0)).collect();
        let left = self.budget.map(|budget| float(self.left(budget)));
        let spent_at = left.filter(|left| needed > *left && rate > 0.0).and_then(|left| after(now, left / rate));
        let waits = left.filter(|_| spent_at.is_some()).and_then(|left| self.first_to_wait(left, rate, time, now));
        Forecast { per_hour: rate * 3600.0, by_rule, needed: whole(needed), spent_at, waits }
    }

    /// Which rules wait first at the present rates, and from when: once only as much is left as those above them need until the reset.
    fn first_to_wait(&self, left: f64, rate: f64, time: f64, now: Timestamp) -> Option<Waits> {
        let waits = |priority, from| Some(Waits { priority, from, until: self.today.ends, reason: String::new() });
        if let Some(priority) = self.waiting {
            return waits(priority, now);
        }
        let above = |priority: &u8| self.today.rates.above(*priority, now);
        let (mut lower, lowest) = (self.levels.iter().skip(1), self.levels.iter().skip(1).next_back()?);
        // Those of a level that spends nothing wait with the next one.
        let priority = lower.find(|priority| above(priority) >= above(lowest))?;
        let above = above(priority);
        // Where those above spend nothing, there is nobody to wait for.
        if above <= 0.0 || rate <= above {
            return None;
        }
        waits(*priority, after(now, ((left - above * time) / (rate - above)).max(0.0))?)
    }

    fn spent_reason(&self, budget: BudgetConfig, everything: bool) -> String {
        let (account, spent) = (&self.account, grouped(self.spent));
        let (all, reserve) = (grouped(budget.tokens_per_day), grouped(budget.reserved()));
        let since = moment(self.today.start);
        let left = self.left(budget);
        let few = if everything || left == 0 { String::new() } else { format!("; {left} are too few for what comes next") };
        let kept = match (everything, budget.reserved()) {
            (true, 0) | (false, 0) => String::new(),
            (true, _) => format!(", the reserve of {reserve} among them"),
            (false, _) => format!("; the reserve of {reserve} is for what must end"),
        };
        format!(
            "the budget of {account} is spent: {spent} of {all} tokens since {since}{few}{kept}. It goes on at {}, or with more \
             tokens_per_day in rules.toml",
            moment(self.today.ends)
        )
    }
}

fn shown(rule: &str) -> &str {
    if rule.is_empty() { NO_RULE } else { rule }
}

fn told(day: &Day) -> DayReport {
    let mut report = DayReport {
        start: day.start,
        ends: day.ends,
        spent: Sum::default(),
        by_purpose: BTreeMap::new(),
        by_rule: BTreeMap::new(),
        saved: BTreeMap::new(),
    };
    for (rule, purpose, sum) in each(&day.spent) {
        report.spent.add(sum.tokens, sum.times);
        report.by_rule.entry(shown(rule).to_owned()).or_default().add(sum.tokens, sum.times);
        report.by_purpose.entry(purpose.to_owned()).or_default().add(sum.tokens, sum.times);
    }
    for (_, saving, sum) in each(&day.saved) {
        report.saved.entry(saving.to_owned()).or_default().add(sum.tokens, sum.times);
    }
    report
}

fn each(sums: &BTreeMap<String, BTreeMap<String, Sum>>) -> impl Iterator<Item = (&str, &str, Sum)> {
    sums.iter().flat_map(|(rule, by)| by.iter().map(move |(what, sum)| (rule.as_str(), what.as_str(), *sum)))
}

fn after(now: Timestamp, seconds: f64) -> Option<Timestamp> {
    now.checked_add(SignedDuration::try_from_secs_f64(seconds).ok()?).ok()
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52 tokens")]
const fn float(tokens: u64) -> f64 {
    tokens as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, and no rate is negative")]
const fn whole(tokens: f64) -> u64 {
    tokens.ceil() as u64
}
