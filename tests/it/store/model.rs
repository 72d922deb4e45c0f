//! The store against a simple model of it: whatever is done, both answer the same, also after a restart.

use std::collections::{BTreeMap, BTreeSet};

use pipewright::store::{Appended, DeliveryFilter, DeliveryId, DeliveryState, Seq, Store, Write};
use proptest::prelude::*;

use super::support::{Opened, all_pending, at, event, finish, id, open};

const RULES: [&str; 3] = ["person", "note", "deal"];
const KEPT: [DeliveryState; 4] = [DeliveryState::Done, DeliveryState::Dead, DeliveryState::Partial, DeliveryState::Discarded];

#[derive(Debug, Clone)]
enum Op {
    /// A batch: which ids, and which rules want each.
    Append(Vec<(u8, u8)>),
    Retry(u64, usize),
    Pin(u64, usize),
    Finish(u64, usize, usize),
    /// Value, id, whether it is put or removed.
    Index(u8, u8, bool),
    Forget(u8),
    Reopen,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => prop::collection::vec((0u8..12, 0u8..8), 1..5).prop_map(Op::Append),
        2 => (1u64..14, 0usize..3).prop_map(|(seq, rule)| Op::Retry(seq, rule)),
        2 => (1u64..14, 0usize..3).prop_map(|(seq, rule)| Op::Pin(seq, rule)),
        4 => (1u64..14, 0usize..3, 0usize..4).prop_map(|(seq, rule, state)| Op::Finish(seq, rule, state)),
        2 => (0u8..3, 0u8..3, any::<bool>()).prop_map(|(value, id, put)| Op::Index(value, id, put)),
        1 => (0u8..3).prop_map(Op::Forget),
        1 => Just(Op::Reopen),
    ]
}

#[derive(Debug, Default)]
struct Model {
    last: u64,
    seen: BTreeMap<u8, u64>,
    /// Position, attempts, pinned; then state.
    deliveries: BTreeMap<(u64, usize), (u32, u32, bool, DeliveryState)>,
    unmatched: BTreeSet<u64>,
    index: BTreeSet<(u8, u8)>,
}

impl Model {
    fn append(&mut self, name: u8, rules: u8) -> Appended {
        if let Some(seq) = self.seen.get(&name) {
            return Appended::Duplicate(Seq(*seq));
        }
        self.last += 1;
        self.seen.insert(name, self.last);
        let wanted = wanted(rules);
        if wanted.is_empty() {
            self.unmatched.insert(self.last);
        }
        for (position, rule) in (0u32..).zip(wanted) {
            self.deliveries.insert((self.last, rule), (position, 0, false, DeliveryState::Pending));
        }
        Appended::Fresh(Seq(self.last))
    }

    /// Whether the write is allowed; carries it out if so.
    fn write(&mut self, op: &Op) -> bool {
        match *op {
            Op::Retry(seq, rule) => self.pending(seq, rule).map(|d| d.1 += 1).is_some(),
            Op::Pin(seq, rule) => self.pending(seq, rule).map(|d| d.2 = true).is_some(),
            Op::Finish(seq, rule, state) => {
                let Some(delivery) = self.deliveries.get_mut(&(seq, rule)) else { return false };
                let ends = KEPT[state];
                let allowed = match delivery.3 {
                    DeliveryState::Pending => true,
                    was => was.is_failure() && ends == DeliveryState::Discarded,
                };
                if allowed {
                    delivery.3 = ends;
                }
                allowed
            }
            Op::Index(value, id, true) => {
                self.index.insert((value, id));
                true
            }
            Op::Index(value, id, false) => {
                self.index.remove(&(value, id));
                true
            }
            Op::Forget(id) => {
                self.index.retain(|entry| entry.1 != id);
                true
            }
            Op::Append(_) | Op::Reopen => true,
        }
    }

    fn pending(&mut self, seq: u64, rule: usize) -> Option<&mut (u32, u32, bool, DeliveryState)> {
        self.deliveries.get_mut(&(seq, rule)).filter(|d| d.3 == DeliveryState::Pending)
    }
}

fn wanted(rules: u8) -> Vec<usize> {
    (0..3).filter(|rule| rules & (1 << rule) != 0).collect()
}

fn name(seq: u64, rule: usize) -> DeliveryId {
    id(Seq(seq), RULES[rule])
}

fn write(op: &Op, attempts: u32) -> Write {
    let text = str::to_owned;
    match *op {
        Op::Retry(seq, rule) => Write::Retry { id: name(seq, rule), run_at: at(5), attempts, first_failed_at: at(1) },
        Op::Pin(seq, rule) => Write::Pin { id: name(seq, rule), plan: b"plan".to_vec() },
        Op::Finish(seq, rule, state) => finish(name(seq, rule), KEPT[state], at(9)),
        Op::Index(value, id, put) => {
            let [account, kind, field] = ["main", "person", "email"].map(text);
            let (value, id) = (value.to_string(), id.to_string());
            if put {
                Write::IndexPut { account, kind, field, value, id }
            } else {
                Write::IndexRemove { account, kind, field, value, id }
            }
        }
        Op::Forget(id) => Write::Forget { account: text("main"), kind: text("person"), id: id.to_string() },
        Op::Append(_) | Op::Reopen => unreachable!("not a write"),
    }
}

async fn compare(opened: &Opened, model: &Model) {
    let store = &opened.store;
    let mut pending: Vec<_> = model.deliveries.iter().filter(|(_, d)| d.3 == DeliveryState::Pending).collect();
    pending.sort_by_key(|((seq, _), d)| (*seq, d.0));
    let expected: Vec<_> = pending.iter().map(|((seq, rule), d)| (name(*seq, *rule), d.0, d.1, d.2)).collect();
    let actual: Vec<_> = all_pending(store, 3).await.into_iter().map(|p| (p.id, p.position, p.attempts, p.pinned)).collect();
    assert_eq!(actual, expected);

    let mut all: Vec<_> = model.deliveries.iter().collect();
    all.sort_by_key(|((seq, _), d)| (std::cmp::Reverse(*seq), d.0));
    let expected: Vec<_> = all.iter().map(|((seq, rule), d)| (name(*seq, *rule), d.3, d.1)).collect();
    let rows = store.deliveries(&DeliveryFilter { limit: 500, ..DeliveryFilter::default() }).await.expect("reads");
    assert_eq!(rows.into_iter().map(|row| (row.id, row.state, row.attempts)).collect::<Vec<_>>(), expected);

    for value in 0..3u8 {
        let expected: Vec<_> = model.index.iter().filter(|entry| entry.0 == value).map(|entry| entry.1.to_string()).collect();
        assert_eq!(store.index_get("main", "person", "email", &value.to_string()).await.expect("reads"), expected);
    }
    let stats = store.stats().await.expect("reads");
    let failed = all.iter().filter(|(_, d)| d.3.is_failure()).count() as u64;
    let matched: BTreeSet<_> = model.deliveries.keys().map(|(seq, _)| seq).collect();
    assert_eq!(
        (stats.events, stats.unmatched, stats.pending, stats.failed),
        (matched.len() as u64, model.unmatched.len() as u64, pending.len() as u64, failed)
    );
}

async fn run(ops: Vec<Op>) {
    let (mut opened, mut model) = (open(), Model::default());
    for op in ops {
        match &op {
            Op::Append(batch) => {
                let expected: Vec<_> = batch.iter().map(|(name, rules)| model.append(*name, *rules)).collect();
                let events = batch.iter().map(|(name, rules)| {
                    event(&format!("m{name}"), &wanted(*rules).into_iter().map(|rule| RULES[rule]).collect::<Vec<_>>())
                });
                assert_eq!(opened.store.append(events.collect()).await.expect("appends"), expected);
            }
            Op::Reopen => opened = opened.reopen(),
            _ => {
                let allowed = model.write(&op);
                let attempts = match op {
                    Op::Retry(seq, rule) => model.deliveries.get(&(seq, rule)).map_or(0, |d| d.1),
                    _ => 0,
                };
                assert_eq!(opened.store.commit(vec![write(&op, attempts)]).await.is_ok(), allowed, "{op:?}");
            }
        }
    }
    compare(&opened, &model).await;
    compare(&opened.reopen(), &model).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_store_does_as_its_model_does(ops in prop::collection::vec(op(), 1..40)) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(run(ops));
    }
}
