//! How many requests may be under way at once: one more after as many successes as are allowed now, half as many after a 429.
//!
//! Invariants: from 1 to the account's `concurrency`; requests that were under way together are refused together, which is one
//! refusal; a success that was sent before the last refusal proves nothing.

#[derive(Debug)]
pub(super) struct Width {
    most: usize,
    now: usize,
    under_way: usize,
    /// Goes up with every decrease: what was sent before belongs to an earlier round.
    round: u64,
    /// Successes of this round since the last change.
    successes: usize,
}

impl Width {
    pub(super) fn new(most: usize) -> Self {
        let most = most.max(1);
        Self { most, now: most, under_way: 0, round: 0, successes: 0 }
    }

    pub(super) const fn now(&self) -> usize {
        self.now
    }

    pub(super) const fn has_room(&self) -> bool {
        self.under_way < self.now
    }

    /// Half of it, rounded up.
    pub(super) const fn half(&self) -> usize {
        self.now.div_ceil(2)
    }

    /// One more is under way: in this round.
    pub(super) const fn take(&mut self) -> u64 {
        self.under_way += 1;
        self.round
    }

    pub(super) const fn give_back(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }

    pub(super) const fn succeeded(&mut self, round: u64) {
        if round != self.round || self.now == self.most {
            return;
        }
        self.successes += 1;
        if self.successes >= self.now {
            self.now += 1;
            self.successes = 0;
        }
    }

    /// A 429 came: whether it is the first of its round.
    pub(super) fn refused(&mut self, round: u64) -> bool {
        if round != self.round {
            return false;
        }
        self.round += 1;
        self.successes = 0;
        self.now = (self.now / 2).max(1);
        true
    }
}
