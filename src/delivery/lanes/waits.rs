//! Waiting for a time: when the next is due, and what makes it due earlier.

use std::time::Duration;

use jiff::Timestamp;

use super::{LaneId, Lanes};
use crate::delivery::clock::moved;
use crate::store::DeliveryId;

impl Lanes {
    /// The clock was set back: what waits does so no longer than before.
    pub(crate) fn set_back(&mut self, by: Duration, now: Timestamp) {
        for at in 0..self.lanes.len() {
            let Some(lane) = &mut self.lanes[at] else { continue };
            let queued = lane.rules.iter_mut().flat_map(|(_, queue)| queue);
            queued.chain(lane.parked.iter_mut().map(|(_, entry)| entry)).for_each(|entry| moved(&mut entry.run_at, by));
            self.place(LaneId(at), now);
        }
    }

    /// Makes waiting retries of an account due now: what they waited for is over.
    pub(crate) fn hurry_account(&mut self, account: &str, now: Timestamp) {
        let due: Vec<LaneId> =
            self.timers.iter().map(|(_, id)| *id).filter(|id| &*self.lane_ref(*id).account == account).collect();
        for id in due {
            let mut hurried = 0;
            let lane = self.lane_mut(id);
            for (_, queue) in &mut lane.rules {
                if let Some(head) = queue.front_mut()
                    && head.run_at.take().is_some()
                {
                    hurried += 1;
                }
            }
            self.waiting = self.waiting.saturating_sub(hurried);
            self.place(id, now);
        }
    }

    /// Makes a delivery that waits in this lane due now.
    pub(crate) fn hurry(&mut self, lane_id: LaneId, id: &DeliveryId, now: Timestamp) {
        let Some(lane) = self.lanes.get_mut(lane_id.0).and_then(Option::as_mut) else { return };
        let queue = lane.rules.iter_mut().find(|(rule, _)| *rule == id.rule).map(|(_, queue)| queue);
        let Some(entry) = queue.and_then(|queue| queue.iter_mut().find(|entry| entry.seq == id.seq)) else { return };
        if entry.run_at.take().is_some() {
            self.waiting = self.waiting.saturating_sub(1);
            self.place(lane_id, now);
        }
    }

    /// When the next timer is due.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        self.timers.first().map(|(at, _)| *at)
    }
}
