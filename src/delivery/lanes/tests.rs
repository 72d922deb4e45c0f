use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::store::Seq;

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(1_700_000_000_000 + ms).expect("in range")
}

fn delivery(seq: u64, rule: &str, account: &str, key: &str) -> Pending {
    Pending {
        id: DeliveryId { seq: Seq(seq), rule: rule.into() },
        position: 0,
        account: account.into(),
        key: key.to_owned(),
        after: Vec::new(),
        behind: Vec::new(),
        attempts: 0,
        run_at: None,
        first_failed_at: None,
        pinned: false,
        tried: false,
        released_at: None,
    }
}

/// One that comes after other lanes' tails.
fn after(seq: u64, rule: &str, key: &str, after: &[&str]) -> Pending {
    Pending { after: after.iter().map(|key| (*key).to_owned()).collect(), ..delivery(seq, rule, "main", key) }
}

/// One that stands behind other lanes, whatever the rule.
fn behind(seq: u64, rule: &str, key: &str, behind: &[&str]) -> Pending {
    Pending { behind: behind.iter().map(|key| (*key).to_owned()).collect(), ..delivery(seq, rule, "main", key) }
}

fn next(lanes: &mut Lanes, now: i64) -> Option<(LaneId, String)> {
    lanes.next(at(now), |_, _| true).map(|(lane, p)| (lane, p.id.to_string()))
}

#[test]
fn a_clock_that_is_set_back_moves_what_waits_and_keeps_the_order() {
    let mut lanes = Lanes::default();
    let waits = |seq, key: &str, until| Pending { run_at: Some(at(until)), attempts: 1, ..delivery(seq, "r", "main", key) };
    lanes.push(waits(1, "u:1", 10_000), at(0));
    lanes.push(delivery(2, "r", "main", "u:1"), at(0));
    lanes.push(waits(3, "u:2", 20_000), at(0));
    assert_eq!(next(&mut lanes, 5_000), None);
    // An hour less than it was.
    let hour = 3_600_000;
    lanes.set_back(Duration::from_millis(3_600_000), at(5_000 - hour));
    assert_eq!(next(&mut lanes, 9_999 - hour), None, "not before its time either");
    let (lane, id) = next(&mut lanes, 10_000 - hour).expect("after the wait that it was given");
    assert_eq!((id.as_str(), next(&mut lanes, 10_000 - hour)), ("1/r", None));
    lanes.finish(lane, Next::Ended, at(10_001 - hour));
    assert_eq!(next(&mut lanes, 10_001 - hour).expect("its successor").1, "2/r");
    assert_eq!(next(&mut lanes, 20_000 - hour).expect("the other one").1, "3/r");
}

#[test]
fn a_lane_runs_one_delivery_at_a_time_in_order_and_others_go_on() {
    let mut lanes = Lanes::default();
    lanes.push(delivery(1, "r", "main", "u:1"), at(0));
    lanes.push(delivery(2, "r", "main", "u:1"), at(0));
    lanes.push(delivery(3, "r", "main", "u:2"), at(0));
    let (first, id) = next(&mut lanes, 0).expect("one is ready");
    assert_eq!(id, "1/r");
    assert_eq!(next(&mut lanes, 0).expect("the other lane").1, "3/r");
    assert_eq!(next(&mut lanes, 0), None);
    lanes.finish(first, Next::Ended, at(1));
    assert_eq!(next(&mut lanes, 1).expect("its successor").1, "2/r");
}

#[test]
fn a_retry_holds_its_lane_until_it_is_due() {
    let mut lanes = Lanes::default();
    lanes.push(delivery(1, "r", "main", "u:1"), at(0));
    lanes.push(delivery(2, "r", "main", "u:1"), at(0));
    let (lane, _) = next(&mut lanes, 0).expect("ready");
    let again = Next::Again { run_at: Some(at(100)), attempts: 1, first_failed_at: Some(at(0)), pinned: false };
    lanes.finish(lane, again, at(0));
    assert_eq!(next(&mut lanes, 99), None);
    assert_eq!(lanes.next_due(), Some(at(100)));
    assert_eq!(lanes.counts().waiting, 1);
    assert_eq!(next(&mut lanes, 100).expect("due").1, "1/r");
    assert_eq!(lanes.counts().waiting, 0);
}

#[test]
fn a_released_delivery_takes_its_old_place_also_before_one_that_is_tried_again() {
    let mut lanes = Lanes::default();
    for seq in [5, 7, 9] {
        lanes.push(delivery(seq, "r", "main", "u:1"), at(0));
    }
    let (lane, running) = next(&mut lanes, 0).expect("ready");
    assert_eq!(running, "5/r");
    for seq in [3, 8, 10, 1] {
        lanes.push(delivery(seq, "r", "main", "u:1"), at(0));
    }
    lanes.finish(lane, Next::Again { run_at: Some(at(9)), attempts: 1, first_failed_at: Some(at(0)), pinned: true }, at(0));
    let mut order = Vec::new();
    while let Some((lane, id)) = next(&mut lanes, 9) {
        order.push(id);
        lanes.finish(lane, Next::Ended, at(9));
    }
    assert_eq!(order, ["1/r", "3/r", "5/r", "7/r", "8/r", "9/r", "10/r"]);
    assert_eq!(lanes.counts().waiting, 0);
}

#[test]
fn a_held_rule_is_passed_over_and_runs_first_when_it_goes_on() {
    let mut lanes = Lanes::default();
    let held: Arc<str> = "held".into();
    lanes.hold_rule(&held, true, at(0));
    lanes.push(delivery(1, "held", "main", "u:1"), at(0));
    lanes.push(delivery(2, "other", "main", "u:1"), at(0));
    lanes.push(delivery(3, "held", "main", "u:1"), at(0));
    let (lane, id) = next(&mut lanes, 0).expect("the other rule");
    assert_eq!(id, "2/other");
    lanes.finish(lane, Next::Ended, at(0));
    assert_eq!(next(&mut lanes, 0), None);
    lanes.hold_rule(&held, false, at(1));
    let (lane, id) = next(&mut lanes, 1).expect("goes on");
    assert_eq!(id, "1/held");
    lanes.finish(lane, Next::Ended, at(1));
    assert_eq!(next(&mut lanes, 1).expect("in order").1, "3/held");
}

#[test]
fn without_tokens_low_priorities_wait_and_what_has_begun_goes_on() {
    let mut lanes = Lanes::default();
    let main: Arc<str> = "main".into();
    lanes.set_priorities(HashMap::from([("high".into(), 0), ("low".into(), 7)]));
    lanes.push(delivery(1, "low", "main", "u:1"), at(0));
    lanes.push(Pending { pinned: true, ..delivery(2, "low", "main", "u:2") }, at(0));
    lanes.push(delivery(3, "low", "main", "u:2"), at(0));
    lanes.push(behind(4, "high", "u:3", &["u:1"]), at(0));
    lanes.push(delivery(5, "high", "main", "u:1"), at(0));
    lanes.push(delivery(6, "low", "side", "u:1"), at(0));
    let drain = |lanes: &mut Lanes| {
        let mut ids = Vec::new();
        while let Some((lane, id)) = next(lanes, 0) {
            lanes.finish(lane, Next::Ended, at(0));
            ids.push(id);
        }
        ids.sort();
        ids
    };
    lanes.wait_for_tokens(&main, Some(Tokenless { from: 0, begun_too: true }), at(0));
    assert_eq!(drain(&mut lanes), ["6/low"], "another account");
    lanes.wait_for_tokens(&main, Some(Tokenless { from: 0, begun_too: false }), at(0));
    assert_eq!(drain(&mut lanes), ["2/low"]);
    lanes.wait_for_tokens(&main, Some(Tokenless { from: 5, begun_too: false }), at(0));
    assert_eq!(drain(&mut lanes), ["4/high", "5/high"], "nothing waits behind what waits for tokens");
    lanes.wait_for_tokens(&main, None, at(0));
    assert_eq!(drain(&mut lanes), ["1/low", "3/low"]);
}

#[test]
fn a_plan_that_has_had_its_tries_from_the_reserve_waits_for_tokens_like_others() {
    let mut lanes = Lanes::default();
    let main: Arc<str> = "main".into();
    let begun = |seq, key| Pending { pinned: true, ..delivery(seq, "r", "main", key) };
    lanes.push(begun(1, "u:1"), at(0));
    lanes.push(begun(2, "u:2"), at(0));
    lanes.wait_for_tokens(&main, Some(Tokenless { from: 0, begun_too: false }), at(0));
    let again = Next::Again { run_at: None, attempts: 1, first_failed_at: None, pinned: true };
    let (lane, id) = next(&mut lanes, 0).expect("what has begun");
    lanes.wear(lane);
    lanes.finish(lane, again.clone(), at(0));
    let (other, next_id) = next(&mut lanes, 0).expect("the other one");
    lanes.finish(other, again, at(0));
    assert_eq!((id.as_str(), next_id.as_str()), ("1/r", "2/r"));
    assert_eq!(next(&mut lanes, 0).expect("only that one goes on").1, "2/r");
    assert_eq!(next(&mut lanes, 0), None);
    lanes.wait_for_tokens(&main, None, at(0));
    assert_eq!(next(&mut lanes, 0).expect("there are tokens").1, "1/r");
}

#[test]
fn a_parked_delivery_lets_its_lane_go_on_and_wakes_early() {
    let mut lanes = Lanes::default();
    lanes.push(delivery(1, "r", "main", "u:1"), at(0));
    lanes.push(delivery(2, "r", "main", "u:1"), at(0));
    let (lane, _) = next(&mut lanes, 0).expect("ready");
    lanes.finish(lane, Next::Park { until: at(1000), attempts: 0, pinned: false }, at(0));
    let (lane, id) = next(&mut lanes, 0).expect("not blocked");
    assert_eq!(id, "2/r");
    lanes.finish(lane, Next::Ended, at(0));
    assert_eq!(next(&mut lanes, 10), None);
    lanes.unpark(&DeliveryId { seq: Seq(1), rule: "r".into() }, at(10));
    assert_eq!(next(&mut lanes, 10).expect("woken").1, "1/r");
}

#[test]
fn a_held_account_sends_one_probe_and_others_take_their_turns() {
    let mut lanes = Lanes::default();
    for seq in 1..=3 {
        lanes.push(delivery(seq, "r", "a", &format!("u:{seq}")), at(0));
        lanes.push(delivery(seq + 10, "r", "b", &format!("u:{seq}")), at(0));
    }
    let a: Arc<str> = "a".into();
    lanes.hold_account(&a, true);
    assert_eq!(next(&mut lanes, 0).expect("b").1, "11/r");
    assert_eq!(next(&mut lanes, 0).expect("b").1, "12/r");
    lanes.probe_account(&a);
    assert_eq!(next(&mut lanes, 0).expect("the probe").1, "1/r");
    assert_eq!(next(&mut lanes, 0).expect("b").1, "13/r");
    assert_eq!(next(&mut lanes, 0), None);
    lanes.hold_account(&a, false);
    assert_eq!(next(&mut lanes, 0).expect("a goes on").1, "2/r");
}

#[test]
fn a_tail_is_waited_for_and_nothing_else() {
    let mut lanes = Lanes::default();
    lanes.push(delivery(1, "r", "main", "a:x"), at(0));
    lanes.push(delivery(2, "r", "main", "a:x"), at(0));
    lanes.push(after(3, "r", "u:1", &["a:x"]), at(0));
    lanes.push(delivery(4, "r", "main", "u:1"), at(0));
    lanes.push(delivery(5, "other", "main", "u:1"), at(0));
    // Accepted later, so not waited for.
    lanes.push(delivery(6, "r", "main", "a:x"), at(0));
    let (anonymous, id) = next(&mut lanes, 0).expect("ready");
    assert_eq!(id, "1/r");
    // Other rules of the user's lane go on, the rule's later deliveries do not.
    let (user, id) = next(&mut lanes, 0).expect("another rule");
    assert_eq!(id, "5/other");
    lanes.finish(user, Next::Ended, at(0));
    assert_eq!(next(&mut lanes, 0), None);
    let again = Next::Again { run_at: Some(at(100)), attempts: 1, first_failed_at: Some(at(0)), pinned: false };
    lanes.finish(anonymous, again, at(0));
    assert_eq!(next(&mut lanes, 99), None, "a retry is waited for");
    let (anonymous, id) = next(&mut lanes, 100).expect("due");
    assert_eq!(id, "1/r");
    lanes.finish(anonymous, Next::Ended, at(100));
    let (anonymous, id) = next(&mut lanes, 100).expect("the second one");
    assert_eq!(id, "2/r");
    lanes.finish(anonymous, Next::Ended, at(100));
    let mut both = [next(&mut lanes, 100).expect("one"), next(&mut lanes, 100).expect("other")];
    both.sort_by(|a, b| a.1.cmp(&b.1));
    assert_eq!((both[0].1.as_str(), both[1].1.as_str()), ("3/r", "6/r"));
    lanes.finish(both[0].0, Next::Ended, at(100));
    assert_eq!(next(&mut lanes, 100).expect("its successor").1, "4/r");
}

#[test]
fn what_is_parked_or_taken_out_is_not_waited_for() {
    let mut lanes = Lanes::default();
    lanes.push(delivery(1, "r", "main", "a:x"), at(0));
    lanes.push(delivery(2, "r", "main", "a:x"), at(0));
    lanes.push(after(3, "r", "u:1", &["a:x"]), at(0));
    let (anonymous, _) = next(&mut lanes, 0).expect("ready");
    lanes.finish(anonymous, Next::Park { until: at(1000), attempts: 0, pinned: false }, at(0));
    assert!(lanes.remove(&DeliveryId { seq: Seq(2), rule: "r".into() }, at(0)));
    assert_eq!(next(&mut lanes, 0).expect("not kept").1, "3/r");
    assert!(lanes.tails_are_empty());
}

#[test]
fn a_hold_keeps_both_and_lets_them_go_on_in_order() {
    let mut lanes = Lanes::default();
    let rule: Arc<str> = "r".into();
    lanes.push(delivery(1, "r", "main", "a:x"), at(0));
    lanes.push(after(2, "r", "u:1", &["a:x"]), at(0));
    lanes.hold_rule(&rule, true, at(0));
    // Other accounts' anonymous lanes are others'.
    lanes.push(delivery(3, "r", "side", "a:y"), at(0));
    lanes.push(after(4, "s", "u:2", &["a:y"]), at(0));
    assert_eq!(next(&mut lanes, 0).expect("nothing before it").1, "4/s");
    assert_eq!(next(&mut lanes, 0), None);
    lanes.hold_rule(&rule, false, at(0));
    let mut ids = Vec::new();
    while let Some((lane, id)) = next(&mut lanes, 0) {
        lanes.finish(lane, Next::Ended, at(0));
        ids.push(id);
    }
    ids.retain(|id| id != "3/r");
    assert_eq!(ids, ["1/r", "2/r"]);
}

#[test]
fn what_stands_behind_another_lane_waits_for_all_of_it_as_in_one_lane() {
    let mut lanes = Lanes::default();
    lanes.push(delivery(1, "r", "main", "u:p"), at(0));
    lanes.push(delivery(2, "s", "main", "u:p"), at(0));
    lanes.push(behind(3, "alias", "u:u", &["u:p"]), at(0));
    lanes.push(behind(4, "other", "u:u", &["u:p"]), at(0));
    lanes.push(delivery(5, "r", "main", "u:p"), at(0));
    let mut order = Vec::new();
    while let Some((lane, id)) = next(&mut lanes, 0) {
        assert!(order.len() >= 2 || next(&mut lanes, 0).is_none(), "nothing beside {id}");
        order.push(id);
        lanes.finish(lane, Next::Ended, at(0));
    }
    order.retain(|id| id != "5/r");
    assert_eq!(order, ["1/r", "2/s", "3/alias", "4/other"]);
    assert!(lanes.tails_are_empty());
}

#[test]
fn a_held_rule_of_another_lane_is_passed_over_and_goes_first_again_after_the_hold() {
    let held: Arc<str> = "held".into();
    for hold_first in [true, false] {
        let mut lanes = Lanes::default();
        if hold_first {
            lanes.hold_rule(&held, true, at(0));
        }
        lanes.push(delivery(1, "held", "main", "u:p"), at(0));
        lanes.push(behind(2, "r", "u:u", &["u:p"]), at(0));
        lanes.push(behind(3, "r", "u:u", &["u:p"]), at(0));
        if !hold_first {
            lanes.hold_rule(&held, true, at(0));
        }
        let (lane, id) = next(&mut lanes, 0).expect("a hold of another rule does not keep it");
        assert_eq!(id, "2/r");
        lanes.finish(lane, Next::Ended, at(0));
        lanes.hold_rule(&held, false, at(0));
        let (lane, id) = next(&mut lanes, 0).expect("the oldest");
        assert_eq!((id.as_str(), next(&mut lanes, 0)), ("1/held", None));
        // What is under way is waited for, held or not.
        lanes.hold_rule(&held, true, at(0));
        assert_eq!(next(&mut lanes, 0), None);
        lanes.finish(lane, Next::Ended, at(0));
        assert_eq!(next(&mut lanes, 0).expect("the last").1, "3/r");
    }
}

#[derive(Debug, Clone)]
enum Op {
    Push { key: u8, rule: u8, after: Option<u8>, behind: Option<u8> },
    Start,
    Finish { how: u8 },
    Hold { rule: u8, held: bool },
    Tick,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0..4_u8, 0..3_u8, proptest::option::of(0..4_u8), proptest::option::of(0..4_u8))
            .prop_map(|(key, rule, after, behind)| Op::Push { key, rule, after, behind }),
        4 => Just(Op::Start),
        4 => (0..4_u8).prop_map(|how| Op::Finish { how }),
        1 => (0..3_u8, any::<bool>()).prop_map(|(rule, held)| Op::Hold { rule, held }),
        2 => Just(Op::Tick),
    ]
}

proptest! {
    /// Whatever happens, deliveries of one rule and key end in the order in which they were pushed, none before those of the lane that it
    /// comes after, and none is lost.
    #[test]
    fn order_and_completeness(ops in proptest::collection::vec(op(), 1..200)) {
        let mut lanes = Lanes::default();
        let mut now = 0;
        let mut seq = 0;
        let mut running: Vec<(LaneId, Pending)> = Vec::new();
        let mut pushed: BTreeMap<(String, String), Vec<u64>> = BTreeMap::new();
        let mut ended: BTreeMap<(String, String), Vec<u64>> = BTreeMap::new();
        let mut comes_after: BTreeMap<u64, String> = BTreeMap::new();
        let mut stands_behind: BTreeMap<u64, String> = BTreeMap::new();
        let mut held = [false; 3];
        for op in ops {
            match op {
                Op::Push { key, rule, after, behind } => {
                    seq += 1;
                    let before = after.map(|other| format!("u:{other}"));
                    let lane = behind.map(|other| format!("u:{other}"));
                    let delivery = Pending {
                        after: before.iter().cloned().collect(),
                        behind: lane.iter().cloned().collect(),
                        ..delivery(seq, &format!("r{rule}"), "main", &format!("u:{key}"))
                    };
                    if let Some(before) = before {
                        comes_after.insert(seq, before);
                    }
                    if let Some(lane) = lane {
                        stands_behind.insert(seq, lane);
                    }
                    pushed.entry((delivery.id.rule.to_string(), delivery.key.clone())).or_default().push(seq);
                    lanes.push(delivery, at(now));
                }
                Op::Start => {
                    if let Some((lane, pending)) = lanes.next(at(now), |_, _| true) {
                        prop_assert!(running.iter().all(|(other, _)| *other != lane), "one at a time in a lane");
                        if let Some(before) = comes_after.get(&pending.id.seq.0) {
                            let key = (pending.id.rule.to_string(), before.clone());
                            let ended = ended.get(&key).map_or(0, Vec::len);
                            let first = pushed.get(&key).and_then(|all| all.get(ended));
                            prop_assert!(first.is_none_or(|first| *first >= pending.id.seq.0), "its tails have ended");
                        }
                        if let Some(before) = stands_behind.get(&pending.id.seq.0).filter(|lane| **lane != pending.key) {
                            for rule in (0..3).filter(|rule| !held[*rule]) {
                                let key = (format!("r{rule}"), before.clone());
                                let ended = ended.get(&key).map_or(0, Vec::len);
                                let first = pushed.get(&key).and_then(|all| all.get(ended));
                                prop_assert!(first.is_none_or(|first| *first >= pending.id.seq.0), "the lane before it has ended");
                            }
                        }
                        prop_assert!(!held[usize::from(pending.id.rule.as_bytes()[1] - b'0')], "a held rule does not run");
                        running.push((lane, pending));
                    }
                }
                Op::Finish { how } if !running.is_empty() => {
                    let (lane, pending) = running.remove(usize::from(how) % running.len());
                    if how % 2 == 0 {
                        ended.entry((pending.id.rule.to_string(), pending.key)).or_default().push(pending.id.seq.0);
                        lanes.finish(lane, Next::Ended, at(now));
                    } else {
                        let again = Next::Again { run_at: Some(at(now + 50)), attempts: 1, first_failed_at: None, pinned: false };
                        lanes.finish(lane, again, at(now));
                    }
                }
                Op::Finish { .. } => {}
                Op::Hold { rule, held: hold } => {
                    held[usize::from(rule)] = hold;
                    lanes.hold_rule(&Arc::from(format!("r{rule}")), hold, at(now));
                }
                Op::Tick => now += 40,
            }
        }
        for rule in 0..3 {
            lanes.hold_rule(&Arc::from(format!("r{rule}")), false, at(now));
        }
        now += 1000;
        for (lane, pending) in running.drain(..) {
            ended.entry((pending.id.rule.to_string(), pending.key)).or_default().push(pending.id.seq.0);
            lanes.finish(lane, Next::Ended, at(now));
        }
        while let Some((lane, pending)) = lanes.next(at(now), |_, _| true) {
            ended.entry((pending.id.rule.to_string(), pending.key)).or_default().push(pending.id.seq.0);
            lanes.finish(lane, Next::Ended, at(now));
        }
        prop_assert_eq!(pushed, ended);
        prop_assert_eq!(lanes.counts(), Counts::default());
        prop_assert!(lanes.tails_are_empty());
    }
}
