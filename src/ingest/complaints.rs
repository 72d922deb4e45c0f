//! Log lines about refused requests, so few that a stranger cannot fill the disk with them.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Between two lines of one kind.
const PAUSE: Duration = Duration::from_secs(10);

/// Says of one kind of complaint when it is worth a line.
#[derive(Debug, Default)]
pub(super) struct Complaints(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last: Option<Instant>,
    since: u64,
}

impl Complaints {
    /// One more. Gives how many there were since the last line when it is time for another.
    pub(super) fn add(&self) -> Option<u64> {
        let mut state = self.0.lock();
        state.since += 1;
        let now = Instant::now();
        if state.last.is_some_and(|last| now.duration_since(last) < PAUSE) {
            return None;
        }
        state.last = Some(now);
        Some(std::mem::take(&mut state.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_first_is_told_at_once_and_the_others_together() {
        let complaints = Complaints::default();
        assert_eq!(complaints.add(), Some(1));
        assert_eq!((complaints.add(), complaints.add()), (None, None));
        tokio::time::advance(PAUSE).await;
        assert_eq!(complaints.add(), Some(3));
        assert_eq!(complaints.add(), None);
    }
}
