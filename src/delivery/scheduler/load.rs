//! The start: what the store has as pending.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{Scheduler, hold, priorities};
use crate::crm::budget::Ledger;
use crate::delivery::budget::Budgets;
use crate::delivery::clock::WallClock;
use crate::delivery::handle::Command;
use crate::delivery::hold::HeldPlans;
use crate::delivery::lanes::Lanes;
use crate::delivery::pauses::Pauses;
use crate::delivery::pinned::PinnedPlan;
use crate::delivery::runtime::Runtime;
use crate::delivery::wake::Wakes;
use crate::store::{DeliveryId, Feed, Pending, StoreError};

/// How many pending deliveries are read at once at the start.
const PAGE: usize = 10_000;

impl Scheduler {
    /// Reads what is pending and builds the lanes. Call it before anything can be appended.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn load(
        runtime: Arc<Runtime>,
        feed: Feed,
        commands: mpsc::Receiver<Command>,
        learned: mpsc::UnboundedReceiver<Vec<String>>,
        ledger: Ledger,
    ) -> Result<Self, StoreError> {
        let mut lanes = Lanes::default();
        lanes.set_priorities(priorities(&runtime));
        let mut after: Option<DeliveryId> = None;
        let now = Timestamp::now();
        loop {
            let page = runtime.store.pending(after.take(), PAGE).await?;
            let full = page.len() == PAGE;
            after = page.last().map(|p| p.id.clone());
            for mut pending in page {
                // The clock was set back since it failed: nobody can tell how much of its wait is over.
                if pending.first_failed_at.is_some_and(|at| at > now) {
                    pending.run_at = None;
                }
                if pending.pinned {
                    suspect(&runtime, &pending).await?;
                }
                lanes.push(pending, now);
            }
            if !full {
                break;
            }
        }
        let pauses = Pauses::load(&*runtime.store).await?;
        for scope in pauses.held() {
            hold(&mut lanes, &scope, true, now);
        }
        let pending = lanes.counts().pending;
        if pending > 0 {
            tracing::info!(pending, "going on with what was accepted before");
        }
        let mut scheduler = Self {
            runtime,
            lanes,
            pauses,
            feed,
            commands,
            learned,
            wakes: Wakes::default(),
            held_plans: HeldPlans::default(),
            budgets: Budgets::new(ledger),
            running: JoinSet::new(),
            under_way: HashMap::new(),
            writes: BTreeMap::new(),
            observed: HashMap::new(),
            clock: WallClock::new(now),
        };
        scheduler.look_at_writes();
        scheduler.look_at_budgets(now);
        Ok(scheduler)
    }
}

/// What was being created when the daemon ended is in doubt until its delivery has looked for it.
async fn suspect(runtime: &Runtime, pending: &Pending) -> Result<(), StoreError> {
    let plan = runtime.store.pinned(&pending.id).await?.and_then(|bytes| serde_json::from_slice::<PinnedPlan>(&bytes).ok());
    if let Some(names) = plan.and_then(|plan| plan.suspects(&pending.account)) {
        runtime.locks.suspect(names, &pending.id);
    }
    Ok(())
}
