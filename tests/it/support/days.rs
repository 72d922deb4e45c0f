//! A clock of days that stands still until it is moved.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;
use pipewright::crm::budget::Clock;

/// Clones share the time.
#[derive(Debug, Clone)]
pub(crate) struct Days(Arc<AtomicI64>);

impl Days {
    pub(crate) fn at(time: &str) -> Self {
        let days = Self(Arc::default());
        days.set(time);
        days
    }

    pub(crate) fn set(&self, time: &str) {
        let time: Timestamp = time.parse().expect("a time");
        self.0.store(time.as_second(), Ordering::SeqCst);
    }

    pub(crate) fn pass(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }

    pub(crate) fn clock(&self) -> Clock {
        let now = self.0.clone();
        Arc::new(move || Timestamp::from_second(now.load(Ordering::SeqCst)).expect("in range"))
    }
}
