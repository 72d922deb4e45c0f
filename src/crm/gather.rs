//! Who waits for others, so that many share one request and nobody waits for company that does not come.
//!
//! Invariants: whoever waits has been counted, and the scheduler told, before it waits for others; those who wait take no place from
//! those who could go on; where nobody schedules, nobody waits for others.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::Instant;

/// Who waits for others in an account.
#[derive(Debug, Default)]
pub struct Gathering {
    waiting: AtomicUsize,
    /// Told when somebody begins to wait: there is a place beside it.
    scheduler: OnceLock<Arc<Notify>>,
    /// Told when nobody else is under way.
    nobody_else: Notify,
    /// Told when one more waits.
    more: Notify,
}

/// Somebody waits.
#[derive(Debug)]
pub(super) struct Waiting<'g>(&'g Gathering);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Gathering {
    /// Whom to tell that somebody waits; the first who is named.
    pub(super) fn attach(&self, scheduler: Arc<Notify>) {
        drop(self.scheduler.set(scheduler));
    }

    /// Whether somebody schedules: else nobody waits for others.
    pub(super) fn is_scheduled(&self) -> bool {
        self.scheduler.get().is_some()
    }

    /// How many wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }

    /// All deliveries that are under way wait, and there is none to start: nobody waits for others any longer.
    pub fn nobody_else(&self) {
        self.nobody_else.notify_waiters();
    }

    /// Ends when nobody else comes. To be enabled before [`Self::wait`], or that may be missed.
    pub(super) fn alone(&self) -> Notified<'_> {
        self.nobody_else.notified()
    }

    /// Counts one more who waits, until that is dropped.
    pub(super) fn wait(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        self.more.notify_waiters();
        if let Some(scheduler) = self.scheduler.get() {
            scheduler.notify_one();
        }
        Waiting(self)
    }

    /// Lets others come: until `due`, until so many wait, or until nobody comes.
    pub(super) async fn gather(&self, due: Option<Instant>, enough: usize, alone: impl Future<Output = ()>) {
        let Some(due) = due.filter(|_| self.is_scheduled()) else { return };
        let come = async {
            loop {
                let more = self.more.notified();
                tokio::pin!(more);
                more.as_mut().enable();
                if self.waiting() >= enough {
                    break;
                }
                more.await;
            }
        };
        tokio::select! {
            () = tokio::time::sleep_until(due) => {}
            () = alone => {}
            () = come => {}
        }
    }
}
