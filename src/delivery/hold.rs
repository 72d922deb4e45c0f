//! Plans that wait because somebody rolled back with `--hold-pinned`: those that another set than the pinned one had made.
//!
//! Invariants: nothing more of a held plan is sent, not even its next step; a held delivery keeps its place at the head of its lane, so
//! that order stays what it is; nothing is charged. It goes on when the hold ends, at the step at which it stopped.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use jiff::Timestamp;

use super::attempt::Attempt;
use super::lanes::{LaneId, Lanes};
use super::trouble::Trouble;
use crate::rules::Version;
use crate::store::DeliveryId;

/// Whose plans may go on, when not all may. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct PlanHold(Arc<ArcSwapOption<Version>>);

impl PlanHold {
    /// Plans of all other sets wait; none: all go on. The scheduler looks again when it is told that a set went live.
    pub fn set(&self, version: Option<Version>) {
        self.0.store(version.map(Arc::new));
    }

    /// Whether it still holds plans for this set.
    pub(super) fn is_for(&self, pinned: &Version) -> bool {
        self.0.load().as_deref() == Some(pinned)
    }

    /// The pinned set, when a plan of this one has to wait for it.
    fn holds(&self, plan: &Version) -> Option<Arc<Version>> {
        self.0.load_full().filter(|pinned| **pinned != *plan)
    }
}

impl Attempt {
    /// Asked before anything of a plan is sent.
    pub(super) fn may_go_on(&self) -> Result<(), Trouble> {
        let Some(plan) = &self.plan else { return Ok(()) };
        let Some(pinned) = self.runtime.hold.holds(&plan.version) else { return Ok(()) };
        if !self.pinned {
            return Err(Trouble::gives_way_for("the script set was rolled back before anything was sent; it is planned anew"));
        }
        let reason = format!(
            "held: script set {} made its plan, and {pinned} was rolled back to with --hold-pinned; `pipewright unpin` lets it go on, \
             `pipewright events discard` drops it",
            plan.version
        );
        Err(Trouble::held(pinned, reason))
    }
}

/// The deliveries that wait so, with their lanes.
#[derive(Debug, Default)]
pub(super) struct HeldPlans(HashMap<DeliveryId, LaneId>);

impl HeldPlans {
    pub(super) fn add(&mut self, id: DeliveryId, lane: LaneId) {
        self.0.insert(id, lane);
    }

    pub(super) fn forget(&mut self, id: &DeliveryId) {
        if !self.0.is_empty() {
            self.0.remove(id);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// All of them may look again whether they have to wait.
    pub(super) fn release(&mut self, lanes: &mut Lanes, now: Timestamp) {
        for (id, lane) in self.0.drain() {
            lanes.hurry(lane, &id, now);
        }
    }
}
