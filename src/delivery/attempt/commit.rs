//! What an attempt stores on its way.
//!
//! Invariant: what was learned stays with the attempt until a commit has stored it, and others hear of it only then.

use super::Attempt;
use crate::delivery::pinned::PinnedPlan;
use crate::delivery::wake;
use crate::store::{StoreError, Write};

impl Attempt {
    /// Commits writes together with what was learned, and tells those who wait for it.
    pub(in crate::delivery) async fn commit(&mut self, mut writes: Vec<Write>) -> Result<(), StoreError> {
        let learned = wake::learned(&self.outbox);
        writes.splice(0..0, self.outbox.iter().cloned());
        let tells = writes.iter().any(|w| matches!(w, Write::Pin { .. } | Write::Finish(_)));
        let ends = writes.iter().any(|w| matches!(w, Write::Finish(_)));
        // What was learned stays until it is stored: the next commit takes it along when this one fails.
        self.runtime.store.commit(writes).await?;
        self.outbox.clear();
        if tells {
            self.suspect(ends);
        }
        // Asked after the commit: who began to wait before sees it told, who begins later finds it in the index.
        if self.runtime.wakes.awaited() {
            self.runtime.wakes.tell(learned);
        }
        Ok(())
    }

    /// Nobody else may create by the criteria of a create that the store has as being sent.
    ///
    /// It follows the store, not the plan in memory: an answer whose outcome could not be stored is not known to others, who
    /// would find nothing in the index and nothing in Pipedrive's search yet.
    fn suspect(&self, ended: bool) {
        let names = self.plan.as_ref().filter(|_| !ended).and_then(|plan| plan.suspects(&self.pending.account));
        match names {
            Some(names) => self.runtime.locks.suspect(names, &self.pending.id),
            None => self.runtime.locks.cleared(&self.pending.id),
        }
    }

    /// The pinned plan as it stands, when it is pinned.
    pub(in crate::delivery) fn pin_write(&self) -> Option<Write> {
        self.plan.as_ref().filter(|_| self.pinned).map(|plan| self.pin_of(plan))
    }

    /// Pins the plan as it stands.
    pub(in crate::delivery) async fn pin(&mut self) -> Result<(), StoreError> {
        let writes = self.plan.iter().map(|plan| self.pin_of(plan)).collect();
        self.commit(writes).await?;
        // Not before: an attempt that follows would look for a plan that the store has not got.
        self.pinned = true;
        self.caller = self.caller.clone().ending();
        self.shadow();
        Ok(())
    }

    fn pin_of(&self, plan: &PinnedPlan) -> Write {
        Write::Pin { id: self.pending.id.clone(), plan: plan.to_bytes() }
    }
}
