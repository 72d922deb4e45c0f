//! Who waits for a turn, and whose turn it is.
//!
//! Invariants:
//! - Rules take turns: whoever has had one goes to the end, so a rule with a thousand waiting requests keeps nobody longer than a round.
//!   What no rule asks for is a rule of its own.
//! - Within a rule: first come, first served. A search that may not go is passed by and keeps its place among all rules' searches; when
//!   it goes, the turn that its rule has had meanwhile is made up for.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{Permit, Refused};

#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) since: Instant,
    pub(super) turn: oneshot::Sender<Result<Permit, Refused>>,
}

/// The waiting requests of all rules.
#[derive(Debug, Default)]
pub(super) struct Line {
    rules: BTreeMap<Option<Arc<str>>, Rule>,
    /// Counts arrivals and turns: the later, the higher.
    count: u64,
}

/// The waiting requests of one rule: searches and the others.
#[derive(Debug, Default)]
struct Rule {
    searches: Queue,
    others: Queue,
    /// The foremost search was passed by.
    passed_by: bool,
    /// It has had a turn too many: the next one falls away.
    ahead: bool,
}

#[derive(Debug, Default)]
struct Queue {
    /// The rule's place among the rules that wait: the lowest is next.
    place: u64,
    /// In the order of arrival, with its number.
    waiting: VecDeque<(u64, Waiter)>,
}

impl Rule {
    const fn queue(&mut self, search: bool) -> &mut Queue {
        if search { &mut self.searches } else { &mut self.others }
    }

    fn is_empty(&self) -> bool {
        self.searches.waiting.is_empty() && self.others.waiting.is_empty()
    }

    /// Takes the foremost out, and goes to the end.
    fn take(&mut self, search: bool, searches_may: bool, end: u64) -> Option<Waiter> {
        let (arrival, waiter) = self.queue(search).waiting.pop_front()?;
        if search && self.passed_by {
            self.ahead = !self.others.waiting.is_empty();
        } else {
            self.others.place = end;
        }
        self.passed_by = !search && !searches_may && self.searches.next().is_some_and(|(_, earlier)| earlier < arrival);
        if !self.passed_by {
            self.searches.place = end;
        }
        Some(waiter)
    }
}

impl Queue {
    /// Place and arrival of the foremost.
    fn next(&self) -> Option<(u64, u64)> {
        self.waiting.front().map(|(arrival, _)| (self.place, *arrival))
    }

    fn forget_gone(&mut self) {
        while self.waiting.front().is_some_and(|(_, waiter)| waiter.turn.is_closed()) {
            self.waiting.pop_front();
        }
    }
}

impl Line {
    /// Joins at the end.
    pub(super) fn join(&mut self, rule: Option<Arc<str>>, search: bool, waiter: Waiter) {
        self.count += 1;
        let queue = self.rules.entry(rule).or_default().queue(search);
        if queue.waiting.is_empty() {
            queue.place = self.count;
        }
        queue.waiting.push_back((self.count, waiter));
    }

    /// Removes the foremost that have given up.
    pub(super) fn forget_gone(&mut self) {
        self.rules.retain(|_, rule| {
            rule.searches.forget_gone();
            rule.others.forget_gone();
            !rule.is_empty()
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether anything but a search waits.
    pub(super) fn others_wait(&self) -> bool {
        self.rules.values().any(|rule| !rule.others.waiting.is_empty())
    }

    /// Since when the one that has waited longest waits.
    pub(super) fn oldest(&self) -> Option<Instant> {
        let queues = self.rules.values().flat_map(|rule| [&rule.searches, &rule.others]);
        queues.filter_map(|queue| queue.waiting.front()).map(|(_, waiter)| waiter.since).min()
    }

    /// Takes the next out: who, and whether it searches.
    pub(super) fn next(&mut self, searches_may: bool) -> Option<(Waiter, bool)> {
        loop {
            let foremost = self.rules.iter().flat_map(|(name, rule)| {
                let search = rule.searches.next().filter(|_| searches_may).map(|place| (place, true));
                let other = rule.others.next().map(|place| (place, false));
                [search, other].into_iter().flatten().map(move |(place, search)| (place, search, name))
            });
            let (_, search, name) = foremost.min()?;
            let name = name.clone();
            let rule = self.rules.get_mut(&name)?;
            self.count += 1;
            if !search && std::mem::take(&mut rule.ahead) {
                rule.others.place = self.count;
                continue;
            }
            let waiter = rule.take(search, searches_may, self.count)?;
            if rule.is_empty() {
                self.rules.remove(&name);
            }
            return Some((waiter, search));
        }
    }

    /// Takes all out.
    pub(super) fn drain(&mut self) -> Vec<Waiter> {
        let rules = std::mem::take(&mut self.rules).into_values();
        rules.flat_map(|rule| rule.searches.waiting.into_iter().chain(rule.others.waiting)).map(|(_, waiter)| waiter).collect()
    }
}
