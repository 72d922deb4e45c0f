//! One writer per entity: named locks that tasks wait for in order.
//!
//! Invariants: a task takes the criteria locks of one action, sorted, then the locks of the entities it found, sorted (a lead's, then that
//! of the deal that it became), and nothing more until it has let go of all of them; so no two tasks can wait for each other. Names nobody holds are forgotten.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;

use crate::crm::{Claims, Lookup};
use crate::pipedrive::Kind;
use crate::store::DeliveryId;

type Names = Arc<Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>>;

/// The index field under which notes and activities are kept by their key.
pub(crate) const KEY_FIELD: &str = "#key";

/// How many writes are remembered before old ones are forgotten.
const REMEMBERED: usize = 10_000;

/// How long a write is remembered at least; no attempt holds on to what it read for longer.
const REMEMBER: std::time::Duration = std::time::Duration::from_secs(120);

/// All locks of the daemon. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Locks {
    names: Names,
    written: Arc<Mutex<HashMap<String, Timestamp>>>,
    /// Names whose create is in doubt, and the delivery that finds out.
    doubtful: Arc<Mutex<HashMap<String, DeliveryId>>>,
    /// Creates that are under way or not stored yet.
    pub(crate) claims: Claims,
}

/// Held locks; dropping it lets go of them.
#[derive(Debug)]
pub(crate) struct Held {
    names: Names,
    guards: Vec<(String, OwnedMutexGuard<()>)>,
}

impl Locks {
    /// Waits for all of the names, in sorted order.
    pub(crate) async fn acquire(&self, mut names: Vec<String>) -> Held {
        names.sort_unstable();
        names.dedup();
        let mut held = Held { names: self.names.clone(), guards: Vec::with_capacity(names.len()) };
        for name in names {
            let lock = self.names.lock().entry(name.clone()).or_default().clone();
            held.guards.push((name, lock.lock_owned().await));
        }
        held
    }

    /// The store has a create by these names as being sent, and not what became of it.
    ///
    /// This is no lock: those that wait for a lock take up places to run, and the delivery that finds out needs one.
    pub(crate) fn suspect(&self, names: Vec<String>, by: &DeliveryId) {
        self.doubtful.lock().extend(names.into_iter().map(|name| (name, by.clone())));
    }

    /// The delivery has stored what became of it, or has ended.
    pub(crate) fn cleared(&self, by: &DeliveryId) {
        self.claims.settled(by);
        let mut doubtful = self.doubtful.lock();
        if !doubtful.is_empty() {
            doubtful.retain(|_, id| id != by);
        }
    }

    /// Whether another delivery is to find out about one of these names first.
    pub(crate) fn is_doubtful(&self, held: &Held, me: &DeliveryId) -> bool {
        self.doubts(held.guards.iter().map(|(name, _)| name), me)
    }

    /// The same for names whose locks are not held: it may be otherwise in a moment.
    pub(crate) fn are_doubtful(&self, names: &[String], me: &DeliveryId) -> bool {
        self.doubts(names.iter(), me)
    }

    fn doubts<'n>(&self, mut names: impl Iterator<Item = &'n String>, me: &DeliveryId) -> bool {
        let doubtful = self.doubtful.lock();
        !doubtful.is_empty() && names.any(|name| doubtful.get(name).is_some_and(|by| by != me))
    }

    /// Whether it is being found out what became of a create by this name.
    pub(crate) fn is_suspect(&self, name: &str) -> bool {
        self.doubtful.lock().contains_key(name)
    }

    /// An entity was written: what others read of it before is old.
    pub(crate) fn written(&self, name: String) {
        let now = Timestamp::now();
        let mut written = self.written.lock();
        if written.len() >= REMEMBERED {
            written.retain(|_, at| now.duration_since(*at).unsigned_abs() < REMEMBER);
        }
        written.insert(name, now);
    }

    /// Whether an entity was written at or after a time.
    pub(crate) fn written_since(&self, name: &str, since: Timestamp) -> bool {
        self.written.lock().get(name).is_some_and(|at| *at >= since)
    }
}

/// The lock names of criteria.
pub(crate) fn criteria_names(account: &str, kind: Kind, lookups: &[Lookup]) -> impl Iterator<Item = String> {
    lookups.iter().flat_map(|l| &l.0).map(move |t| format!("{account}/{kind}?{}={}", t.address.key(), t.value))
}

/// The lock name of a note's or activity's key.
pub(crate) fn key_name(account: &str, kind: Kind, key: &str) -> String {
    format!("{account}/{kind}?{KEY_FIELD}={key}")
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut names = self.names.lock();
        for (name, guard) in self.guards.drain(..) {
            drop(guard);
            // Ours is the map's reference; any other one belongs to a task that waits.
            if names.get(&name).is_some_and(|lock| Arc::strong_count(lock) == 1) {
                names.remove(&name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_has_one_holder_and_is_forgotten_after_the_last() {
        let locks = Locks::default();
        let held = locks.acquire(vec!["b".into(), "a".into(), "b".into()]).await;
        let mut second = Box::pin(locks.acquire(vec!["b".into(), "c".into()]));
        assert!(futures_util::poll!(&mut second).is_pending());
        drop(held);
        let second = second.await;
        assert_eq!(second.guards.len(), 2);
        drop(second);
        assert!(locks.names.lock().is_empty());
    }
}
