//! Burst limits in rolling windows of two seconds, and the daily token budget.
//!
//! Every request counts in the general window, a search in its own one too; a refused request counts in neither and costs
//! nothing. Who goes on after refusals can be shut out for a while, as Pipedrive's firewall does.

use std::collections::VecDeque;

use super::clock::day;

/// Length of the window.
const WINDOW_MS: i64 = 2_000;
/// Refusals that count towards being shut out are this recent.
const PATIENCE_MS: i64 = 10_000;
/// How long the firewall shuts out.
const BLOCK_MS: i64 = 60_000;

/// The limits of an account.
#[derive(Debug, Clone, Copy)]
pub(super) struct Allowance {
    pub(super) burst: u32,
    pub(super) search_burst: u32,
    pub(super) daily_tokens: u64,
    pub(super) block_after: Option<u32>,
}

/// Whether a request may go on, and what the rate-limit headers say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Allowed(Window),
    /// Too many in the window.
    Burst(Window),
    /// No tokens left today.
    Budget(Window),
    /// Shut out.
    Blocked,
}

/// The state of a window after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) limit: u32,
    pub(super) remaining: u32,
    /// Seconds until a place is free.
    pub(super) reset: i64,
}

/// What was used.
#[derive(Debug, Default)]
pub(super) struct Limits {
    general: VecDeque<i64>,
    search: VecDeque<i64>,
    day: i64,
    spent_today: u64,
    refusals: VecDeque<i64>,
    blocked_until: i64,
}

fn window(times: &mut VecDeque<i64>, limit: u32, now: i64) -> Window {
    while times.front().is_some_and(|t| *t + WINDOW_MS <= now) {
        times.pop_front();
    }
    let used = u32::try_from(times.len()).unwrap_or(u32::MAX);
    let reset = times.front().map_or(0, |t| (*t + WINDOW_MS - now + 999) / 1000);
    Window { limit, remaining: limit.saturating_sub(used), reset }
}

impl Limits {
    /// Judges a request and, when it may go on, counts it.
    pub(super) fn admit(&mut self, allowance: &Allowance, search: bool, tokens: u32, now: i64) -> Verdict {
        if now < self.blocked_until {
            return Verdict::Blocked;
        }
        if day(now) != self.day {
            self.day = day(now);
            self.spent_today = 0;
        }
        let unlimited = allowance.burst == u32::MAX;
        let mut general = if unlimited {
            Window { limit: u32::MAX, remaining: u32::MAX, reset: 0 }
        } else {
            window(&mut self.general, allowance.burst, now)
        };
        if general.remaining == 0 {
            return self.refused(allowance, Verdict::Burst(general), now);
        }
        let count_search = search && allowance.search_burst != u32::MAX;
        if count_search {
            let searches = window(&mut self.search, allowance.search_burst, now);
            if searches.remaining == 0 {
                return self.refused(allowance, Verdict::Burst(searches), now);
            }
        }
        if self.spent_today.saturating_add(u64::from(tokens)) > allowance.daily_tokens {
            return self.refused(allowance, Verdict::Budget(general), now);
        }
        self.spent_today += u64::from(tokens);
        if !unlimited {
            self.general.push_back(now);
            general.remaining -= 1;
        }
        if count_search {
            self.search.push_back(now);
            general = window(&mut self.search, allowance.search_burst, now);
        }
        Verdict::Allowed(general)
    }

    fn refused(&mut self, allowance: &Allowance, verdict: Verdict, now: i64) -> Verdict {
        let Some(after) = allowance.block_after else { return verdict };
        while self.refusals.front().is_some_and(|t| *t + PATIENCE_MS <= now) {
            self.refusals.pop_front();
        }
        self.refusals.push_back(now);
        if self.refusals.len() > after as usize {
            self.blocked_until = now + BLOCK_MS;
            self.refusals.clear();
            return Verdict::Blocked;
        }
        verdict
    }

    pub(super) const fn spent_today(&self) -> u64 {
        self.spent_today
    }
}
