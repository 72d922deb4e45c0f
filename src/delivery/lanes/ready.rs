//! The lanes of one account that may run, in the order in which they go.
//!
//! Invariants: a lower priority number goes first. Rules of one priority take turns, one lane a turn, so that what a rule has waiting
//! keeps no other rule's delivery for longer than a round; within a rule first come, first served. A rule that comes in takes the last
//! turn of the round. Both ends cost the same however many lanes wait.

use std::collections::hash_map::Entry as Slot;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use super::LaneId;

/// The lanes that may run.
#[derive(Debug, Default)]
pub(super) struct Ready {
    by_priority: BTreeMap<u8, Turns>,
    len: usize,
}

/// Those of one priority.
#[derive(Debug, Default)]
struct Turns {
    /// Rules in the order of their turns; each has a lane.
    order: VecDeque<Arc<str>>,
    lanes: HashMap<Arc<str>, VecDeque<LaneId>>,
}

impl Ready {
    /// A lane whose next delivery is of this rule may run.
    pub(super) fn push(&mut self, priority: u8, rule: &Arc<str>, lane: LaneId) {
        let turns = self.by_priority.entry(priority).or_default();
        match turns.lanes.entry(rule.clone()) {
            Slot::Occupied(mut lanes) => lanes.get_mut().push_back(lane),
            Slot::Vacant(none) => {
                none.insert(VecDeque::from([lane]));
                turns.order.push_back(rule.clone());
            }
        }
        self.len += 1;
    }

    /// Takes the lane that goes next.
    pub(super) fn pop(&mut self) -> Option<LaneId> {
        let mut first = self.by_priority.first_entry()?;
        let lane = first.get_mut().pop();
        if first.get().order.is_empty() {
            first.remove();
        }
        self.len -= usize::from(lane.is_some());
        lane
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }
}

impl Turns {
    fn pop(&mut self) -> Option<LaneId> {
        let rule = self.order.pop_front()?;
        let Slot::Occupied(mut lanes) = self.lanes.entry(rule.clone()) else { return None };
        let lane = lanes.get_mut().pop_front();
        if lanes.get().is_empty() {
            lanes.remove();
        } else {
            self.order.push_back(rule);
        }
        lane
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(lanes: &[(u8, &str, usize)]) -> Ready {
        let mut ready = Ready::default();
        for (priority, rule, lane) in lanes {
            ready.push(*priority, &Arc::from(*rule), LaneId(*lane));
        }
        ready
    }

    fn drain(ready: &mut Ready) -> Vec<usize> {
        std::iter::from_fn(|| ready.pop()).map(|LaneId(lane)| lane).collect()
    }

    #[test]
    fn rules_of_one_priority_take_turns_and_each_goes_in_order() {
        let mut ready = ready(&[(5, "a", 1), (5, "a", 2), (5, "a", 3), (5, "b", 11), (5, "c", 21), (5, "c", 22)]);
        assert_eq!(ready.len(), 6);
        assert_eq!(drain(&mut ready), [1, 11, 21, 2, 22, 3]);
        assert_eq!((ready.len(), ready.by_priority.len()), (0, 0), "nothing of what has gone is kept");
    }

    #[test]
    fn a_lower_priority_number_goes_first_whoever_has_the_turn() {
        let mut ready = ready(&[(5, "a", 1), (7, "low", 31), (5, "a", 2), (0, "high", 41), (0, "high", 42)]);
        assert_eq!(drain(&mut ready), [41, 42, 1, 2, 31]);
    }

    #[test]
    fn a_rule_that_comes_to_a_backlog_waits_for_one_round_and_cannot_take_more_than_its_turns() {
        let mut ready = Ready::default();
        for lane in 0..1000 {
            ready.push(5, &Arc::from(if lane % 2 == 0 { "a" } else { "b" }), LaneId(lane));
        }
        assert_eq!(ready.pop(), Some(LaneId(0)));
        for lane in 2000..2003 {
            ready.push(5, &Arc::from("late"), LaneId(lane));
        }
        let next: Vec<usize> = (0..9).filter_map(|_| ready.pop()).map(|LaneId(lane)| lane).collect();
        assert_eq!(next, [1, 2, 2000, 3, 4, 2001, 5, 6, 2002]);
        // Its turns end with its lanes; who comes back queues up at the end of the round.
        assert_eq!((ready.pop(), ready.len()), (Some(LaneId(7)), 992));
        ready.push(5, &Arc::from("late"), LaneId(2003));
        assert_eq!([ready.pop(), ready.pop(), ready.pop()], [Some(LaneId(8)), Some(LaneId(9)), Some(LaneId(2003))]);
    }
}
