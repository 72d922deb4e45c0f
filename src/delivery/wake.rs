//! Parked deliveries and what would wake them: the index learning a key that they wait for.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Notify, mpsc};

use crate::crm::Listener;
use crate::store::{DeliveryId, Write};

/// An index entry that a parked delivery waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Want {
    pub(super) account: String,
    pub(super) kind: String,
    pub(super) field: String,
    pub(super) value: String,
}

impl Want {
    /// As [`name`] has it.
    pub(super) fn name(&self) -> String {
        name(&self.account, &self.kind, &self.field, &self.value)
    }
}

/// The name of an index entry.
pub(super) fn name(account: &str, kind: &str, field: &str, value: &str) -> String {
    format!("{account}/{kind}?{field}={value}")
}

/// The names of the index entries that a commit adds.
pub(super) fn learned(writes: &[Write]) -> Vec<String> {
    writes
        .iter()
        .flat_map(|write| match write {
            Write::IndexPut { account, kind, field, value, .. } => vec![name(account, kind, field, value)],
            Write::IndexReplace { account, kind, field, values, .. } => {
                values.iter().map(|value| name(account, kind, field, value)).collect()
            }
            _ => Vec::new(),
        })
        .collect()
}

/// Who waits for what.
#[derive(Debug, Default)]
pub(super) struct Wakes {
    by_name: HashMap<String, HashSet<DeliveryId>>,
    /// The reverse: a delivery that waits no longer is forgotten without looking at the others.
    by_delivery: HashMap<DeliveryId, Vec<String>>,
}

impl Wakes {
    /// A delivery waits for any of these.
    pub(super) fn wait(&mut self, id: &DeliveryId, names: impl IntoIterator<Item = String>) {
        for name in names {
            self.by_name.entry(name.clone()).or_default().insert(id.clone());
            self.by_delivery.entry(id.clone()).or_default().push(name);
        }
    }

    /// An entry was learned: who need not wait any longer.
    pub(super) fn learned(&mut self, name: &str) -> Vec<DeliveryId> {
        let ids: Vec<DeliveryId> = self.by_name.get(name).into_iter().flatten().cloned().collect();
        for id in &ids {
            self.forget(id);
        }
        ids
    }

    /// A delivery waits no longer.
    pub(super) fn forget(&mut self, id: &DeliveryId) {
        for name in self.by_delivery.remove(id).unwrap_or_default() {
            if let Some(ids) = self.by_name.get_mut(&name) {
                ids.remove(id);
                if ids.is_empty() {
                    self.by_name.remove(&name);
                }
            }
        }
    }

    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// How many entries are waited for.
    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }
}

/// How attempts tell the scheduler what the index learned, while anybody waits for it.
#[derive(Debug, Clone)]
pub struct Wakeup {
    waiting: Arc<AtomicUsize>,
    waits: Arc<Notify>,
    sender: mpsc::UnboundedSender<Vec<String>>,
}

impl Wakeup {
    /// A sender and the scheduler's end of it.
    #[must_use]
    pub fn channel() -> (Self, mpsc::UnboundedReceiver<Vec<String>>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self { waiting: Arc::default(), waits: Arc::default(), sender }, receiver)
    }

    /// Whether anybody waits.
    pub(super) fn awaited(&self) -> bool {
        self.waiting.load(Ordering::Acquire) > 0
    }

    /// What the accounts are to tell.
    #[must_use]
    pub fn listener(&self) -> Listener {
        let wakeup = self.clone();
        let learned = Arc::new(move |writes: &[Write]| {
            if wakeup.awaited() {
                wakeup.tell(learned(writes));
            }
        });
        Listener { learned, waits: self.waits.clone() }
    }

    /// Ends when a delivery has begun to wait for others.
    pub(super) async fn somebody_waits(&self) {
        self.waits.notified().await;
    }

    /// Says how many wait.
    pub(super) fn set_waiting(&self, waiting: usize) {
        self.waiting.store(waiting, Ordering::Release);
    }

    /// Tells what was learned; a stopped scheduler needs no telling.
    pub(super) fn tell(&self, names: Vec<String>) {
        if !names.is_empty() {
            drop(self.sender.send(names));
        }
    }
}
