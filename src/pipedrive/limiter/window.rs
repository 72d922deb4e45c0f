//! One rolling window of 2 s, as full as the server may count it: a request holds a slot from its turn until 2 s after its answer.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// How long a slot counts after its answer: the server's window, and a little for clocks that run at different speeds.
pub(super) const COOL: Duration = Duration::from_millis(2_010);

#[derive(Debug)]
pub(super) struct Window {
    pub(super) limit: u32,
    in_flight: u32,
    /// When each answered request stops counting, ascending.
    cooling: VecDeque<Instant>,
}

impl Window {
    pub(super) fn new(limit: u32) -> Self {
        Self { limit: limit.max(1), in_flight: 0, cooling: VecDeque::new() }
    }

    pub(super) fn has_room(&mut self, now: Instant) -> bool {
        while self.cooling.front().is_some_and(|at| *at <= now) {
            self.cooling.pop_front();
        }
        self.in_flight as usize + self.cooling.len() < self.limit as usize
    }

    pub(super) const fn take(&mut self) {
        self.in_flight += 1;
    }

    /// The request is over; it was sent when its slot cools.
    pub(super) fn give_back(&mut self, cools_until: Option<Instant>) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.cooling.extend(cools_until);
    }

    /// When time alone gives a slot back.
    pub(super) fn wakes(&self) -> Option<Instant> {
        self.cooling.front().copied()
    }
}
