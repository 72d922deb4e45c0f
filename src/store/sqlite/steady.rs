//! The clock of the dedupe window.
//!
//! The wall clock may be set, by a person or by a time server that was not heard for long; a jump forward must not make everything in the
//! window old, nor a jump back make it live for ever. So the window has a time of its own, which follows the wall clock and runs at most a
//! sixteenth faster or slower than a clock that nobody sets. What counts for a day counts for 22 and a half hours at least, whatever is done
//! to the wall clock.
//!
//! Where the two differ, it takes sixteen times the difference to meet. A machine that slept has such a difference, as the clock that nobody
//! sets stands still meanwhile: ids are remembered for longer then. A restart takes the wall clock as it is, for there is nothing else to go
//! by: what was entered before a jump that the window has not caught up with is as much older or younger after it.

use super::codes::from_span;
use super::faults::Elapsed;

/// The part of its own pace by which the clock may run faster or slower.
const PART: i64 = 16;

pub(super) struct SteadyClock {
    elapsed: Elapsed,
    /// What had elapsed when the time was told last, and that time.
    told: (std::time::Duration, i64),
}

impl std::fmt::Debug for SteadyClock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SteadyClock").field("told", &self.told).finish_non_exhaustive()
    }
}

impl SteadyClock {
    /// Starts at what the wall clock says.
    pub(super) fn new(elapsed: Elapsed, wall: i64) -> Self {
        let told = (elapsed(), wall);
        Self { elapsed, told }
    }

    /// The time, as near to the wall clock as the pace allows. It never goes back.
    pub(super) fn time(&mut self, wall: i64) -> i64 {
        let now = (self.elapsed)();
        let ran = from_span(now.saturating_sub(self.told.0));
        let (even, slack) = (self.told.1.saturating_add(ran), ran / PART);
        let time = wall.clamp(even.saturating_sub(slack), even.saturating_add(slack));
        self.told = (now, time);
        time
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use super::*;

    /// A clock that starts at 0, and what moves it, in nanoseconds.
    pub(in super::super) fn moved() -> (SteadyClock, impl Fn(u64)) {
        let now = Arc::new(AtomicU64::new(0));
        let read = Arc::clone(&now);
        let clock = SteadyClock::new(Arc::new(move || Duration::from_nanos(read.load(Ordering::SeqCst))), 0);
        (clock, move |by| {
            now.fetch_add(by, Ordering::SeqCst);
        })
    }

    #[test]
    fn it_is_the_wall_clock_while_that_is_not_set() {
        let (mut clock, pass) = moved();
        for wall in [100, 205, 299] {
            pass(100);
            assert_eq!(clock.time(wall), wall);
        }
    }

    #[test]
    fn a_jump_in_either_direction_is_followed_at_a_sixteenth_of_the_pace() {
        for (jump, pace) in [(1_000_000, 1_700), (-1_000_000, 1_500)] {
            let (mut clock, pass) = moved();
            assert_eq!(clock.time(jump), 0, "nothing has passed");
            for n in 1..=10 {
                pass(1_600);
                assert_eq!(clock.time(jump + n * 1_600), n * pace);
            }
            // The jump was a slip: the clock is where it should be soon after.
            pass(16_000);
            assert_eq!(clock.time(32_000), 32_000);
        }
    }

    #[test]
    fn after_a_sleep_it_is_behind_and_catches_up() {
        let (mut clock, pass) = moved();
        pass(1_600);
        assert_eq!(clock.time(3_200), 1_700, "the wall clock went on asleep");
        pass(16 * 1_500);
        assert_eq!(clock.time(3_200 + 16 * 1_500), 3_200 + 16 * 1_500);
    }
}
