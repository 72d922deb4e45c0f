//! Lanes and store together against a simple model of both: whatever happens, what may run next is what the model says, and after a crash
//! both know what they knew.
//!
//! The model keeps a flat list of deliveries and looks through all of it; time is a number.

use proptest::prelude::*;

use super::*;
use crate::store::sqlite::{Fault, OpenOptions, SqliteStore};
use crate::store::{Appended, Dedupe, DeliveryState, Finish, NewDelivery, NewEvent, Seq, Store, StoreError, Write};

/// Rules and the accounts that they write to.
const RULES: [(&str, &str); 3] = [("person", "main"), ("note", "main"), ("deal", "other")];
/// Their priorities.
const PRIORITIES: [u8; 3] = [2, 7, 5];
const KEYS: u8 = 3;

#[derive(Debug, Clone)]
enum Op {
    /// Which messageId, the rules that want it, whose it is.
    Append {
        name: u8,
        rules: u8,
        key: u8,
    },
    Claim,
    /// What becomes of one that is under way.
    Outcome {
        which: usize,
        how: How,
    },
    Hold {
        rule: usize,
        held: bool,
    },
    HoldAccount {
        account: usize,
        held: bool,
    },
    /// An account has no tokens for these.
    Tokens {
        account: usize,
        lacks: Option<(u8, bool)>,
    },
    Discard {
        which: usize,
    },
    Tick {
        by: i64,
    },
    /// The process dies, and another begins with what is in the store.
    Crash,
}

#[derive(Debug, Clone, Copy)]
enum How {
    Done,
    Dead,
    Retry,
    Park,
    GiveWay,
    /// The store cannot take what it came to.
    NotStored,
    /// Its plan is pinned, and has had its tries from the reserve.
    WearOut,
}

fn op() -> impl Strategy<Value = Op> {
    let how = prop_oneof![
        4 => Just(How::Done),
        1 => Just(How::Dead),
        2 => Just(How::Retry),
        1 => Just(How::Park),
        1 => Just(How::GiveWay),
        1 => Just(How::NotStored),
        3 => Just(How::WearOut),
    ];
    prop_oneof![
        4 => (0..24_u8, 1..8_u8, 0..KEYS).prop_map(|(name, rules, key)| Op::Append { name, rules, key }),
        5 => Just(Op::Claim),
        5 => (any::<usize>(), how).prop_map(|(which, how)| Op::Outcome { which, how }),
        1 => (0..3_usize, any::<bool>()).prop_map(|(rule, held)| Op::Hold { rule, held }),
        1 => (0..2_usize, any::<bool>()).prop_map(|(account, held)| Op::HoldAccount { account, held }),
        4 => (0..2_usize, proptest::option::of((0..9_u8, any::<bool>()))).prop_map(|(account, lacks)| Op::Tokens { account, lacks }),
        1 => any::<usize>().prop_map(|which| Op::Discard { which }),
        2 => (0..80_i64).prop_map(|by| Op::Tick { by }),
        1 => Just(Op::Crash),
    ]
}

/// A delivery as the model has it.
#[derive(Debug, Clone)]
struct Known {
    seq: u64,
    rule: usize,
    key: u8,
    attempts: u32,
    /// Not before this. What was not stored is forgotten by a crash.
    run_at: Option<i64>,
    stored_run_at: Option<i64>,
    parked: bool,
    pinned: bool,
    worn: bool,
    running: bool,
    ended: Option<DeliveryState>,
}

impl Known {
    fn id(&self) -> DeliveryId {
        DeliveryId { seq: Seq(self.seq), rule: RULES[self.rule].0.into() }
    }

    fn account(&self) -> &'static str {
        RULES[self.rule].1
    }

    fn due(&self, now: i64) -> bool {
        self.run_at.is_none_or(|at| at <= now)
    }
}

#[derive(Debug, Default)]
struct Model {
    all: Vec<Known>,
    seen: BTreeMap<u8, u64>,
    seq: u64,
    held: [bool; 3],
    held_accounts: [bool; 2],
    lacks: [Option<(u8, bool)>; 2],
    now: i64,
}

const ACCOUNTS: [&str; 2] = ["main", "other"];

impl Model {
    /// What may run now: of each lane of an open account that nothing is under way of, what is parked and due before all others, else the
    /// oldest that is not held, with its rule or for want of tokens, when it is due.
    fn may_run(&self) -> Vec<DeliveryId> {
        let mut may = Vec::new();
        for (account, held) in ACCOUNTS.into_iter().zip(self.held_accounts) {
            for key in 0..KEYS {
                let lane = || self.all.iter().filter(move |d| d.ended.is_none() && d.account() == account && d.key == key);
                if held || lane().any(|d| d.running) {
                    continue;
                }
                let held = |d: &&Known| self.held[d.rule] || self.lacks_tokens(d);
                let parked = lane().filter(|d| !held(d) && d.parked && d.due(self.now)).min_by_key(|d| (d.seq, d.rule));
                // Of each rule the oldest, whether it is held or not.
                let heads = (0..3).filter_map(|rule| lane().filter(|d| !d.parked && d.rule == rule).min_by_key(|d| d.seq));
                let head = heads.filter(|d| !held(d)).min_by_key(|d| (d.seq, d.rule)).filter(|d| d.due(self.now));
                may.extend(parked.or(head).map(Known::id));
            }
        }
        may
    }

    fn lacks_tokens(&self, of: &Known) -> bool {
        let account = ACCOUNTS.iter().position(|account| *account == of.account()).expect("one of them");
        self.lacks[account].is_some_and(|(from, begun_too)| PRIORITIES[of.rule] >= from && (begun_too || !of.pinned || of.worn))
    }

    fn get(&mut self, id: &DeliveryId) -> &mut Known {
        self.all.iter_mut().find(|d| d.id() == *id).expect("the model has it")
    }

    fn pending(&self) -> Vec<(DeliveryId, u32)> {
        self.all.iter().filter(|d| d.ended.is_none()).map(|d| (d.id(), d.attempts)).collect()
    }
}

fn time(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(1_700_000_000_000 + ms).expect("in range")
}

struct Run {
    model: Model,
    lanes: Lanes,
    running: Vec<(LaneId, Pending)>,
    store: SqliteStore,
    full: Arc<std::sync::atomic::AtomicBool>,
    dir: tempfile::TempDir,
}

impl Run {
    fn begin() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let full = Arc::<std::sync::atomic::AtomicBool>::default();
        let store = open(&dir, &full);
        Self { model: Model::default(), lanes: lanes(), running: Vec::new(), store, full, dir }
    }

    async fn op(&mut self, op: Op) -> Result<(), TestCaseError> {
        match op {
            Op::Append { name, rules, key } => self.append(name, rules, key).await?,
            Op::Claim => drop(self.claim()?),
            Op::Outcome { which, how } if !self.running.is_empty() => {
                let at = which % self.running.len();
                self.outcome(at, how).await;
            }
            Op::Outcome { .. } => {}
            Op::Hold { rule, held } => {
                self.model.held[rule] = held;
                self.lanes.hold_rule(&RULES[rule].0.into(), held, time(self.model.now));
            }
            Op::HoldAccount { account, held } => {
                self.model.held_accounts[account] = held;
                self.lanes.hold_account(&ACCOUNTS[account].into(), held);
            }
            Op::Tokens { account, lacks } => {
                self.model.lacks[account] = lacks;
                self.lanes.wait_for_tokens(&ACCOUNTS[account].into(), tokenless(lacks), time(self.model.now));
            }
            Op::Discard { which } => self.discard(which).await?,
            Op::Tick { by } => self.model.now += by,
            Op::Crash => self.crash().await?,
        }
        prop_assert_eq!(self.lanes.counts().pending, self.model.pending().len() as u64);
        prop_assert_eq!(self.lanes.counts().running, self.running.len() as u64);
        Ok(())
    }

    async fn append(&mut self, name: u8, rules: u8, key: u8) -> Result<(), TestCaseError> {
        let wanted: Vec<usize> = (0..3).filter(|rule| rules & (1 << rule) != 0).collect();
        let event = NewEvent {
            source: "website".to_owned(),
            message_id: format!("m{name}"),
            kind: "track",
            name: None,
            user: None,
            received_at: Timestamp::now(),
            payload: "{}".into(),
            deliveries: wanted
                .iter()
                .map(|rule| NewDelivery {
                    rule: RULES[*rule].0.into(),
                    account: RULES[*rule].1.into(),
                    key: format!("u:{key}"),
                    after: Vec::new(),
                    behind: Vec::new(),
                })
                .collect(),
            dedupe: Dedupe::Window,
            repeats: None,
            kept: true,
            alias: None,
            forget: false,
        };
        // After a full disk events are refused until the reserve is whole again.
        let answer = loop {
            match self.store.append(vec![event.clone()]).await {
                Err(StoreError::Full(_)) => tokio::task::yield_now().await,
                answer => break answer.expect("appends"),
            }
        };
        if let Some(first) = self.model.seen.get(&name) {
            prop_assert_eq!(answer, [Appended::Duplicate(Seq(*first))]);
            return Ok(());
        }
        self.model.seq += 1;
        let seq = self.model.seq;
        prop_assert_eq!(answer, [Appended::Fresh(Seq(seq))]);
        self.model.seen.insert(name, seq);
        for rule in wanted {
            let known = Known {
                seq,
                rule,
                key,
                attempts: 0,
                run_at: None,
                stored_run_at: None,
                parked: false,
                pinned: false,
                worn: false,
                running: false,
                ended: None,
            };
            let pending = self.store.pending(None, 1000).await.expect("reads").into_iter().find(|p| p.id == known.id());
            self.lanes.push(pending.expect("it is in the store"), time(self.model.now));
            self.model.all.push(known);
        }
        Ok(())
    }

    /// Takes what may run; the model must allow it, and must have nothing when there is nothing.
    fn claim(&mut self) -> Result<bool, TestCaseError> {
        let may = self.model.may_run();
        match self.lanes.next(time(self.model.now), |_, _| true) {
            Some((lane, pending)) => {
                prop_assert!(may.contains(&pending.id), "{} was given out, and only {may:?} may run", pending.id);
                let known = self.model.get(&pending.id);
                prop_assert_eq!(pending.attempts, known.attempts);
                known.running = true;
                known.parked = false;
                self.running.push((lane, pending));
                Ok(true)
            }
            None => {
                prop_assert!(may.is_empty(), "nothing was given out, and {may:?} may run");
                Ok(false)
            }
        }
    }

    async fn outcome(&mut self, at: usize, how: How) {
        let (lane, pending) = self.running.remove(at);
        let now = self.model.now;
        let known = self.model.get(&pending.id);
        known.running = false;
        let again = |run_at: i64, known: &Known| Next::Again {
            run_at: Some(time(run_at)),
            attempts: known.attempts,
            first_failed_at: None,
            pinned: known.pinned,
        };
        let next = match how {
            How::Done | How::Dead => {
                let state = if matches!(how, How::Done) { DeliveryState::Done } else { DeliveryState::Dead };
                self.store.commit(vec![finish(&pending.id, state)]).await.expect("commits");
                known.ended = Some(state);
                Next::Ended
            }
            How::Retry => {
                known.attempts += 1;
                known.run_at = Some(now + 50);
                known.stored_run_at = known.run_at;
                let (run_at, first_failed_at) = (time(now + 50), time(now));
                let write = Write::Retry { id: pending.id.clone(), run_at, attempts: known.attempts, first_failed_at };
                self.store.commit(vec![write]).await.expect("commits");
                again(now + 50, known)
            }
            How::Park => {
                known.parked = true;
                known.run_at = Some(now + 100);
                Next::Park { until: time(now + 100), attempts: known.attempts, pinned: known.pinned }
            }
            How::GiveWay | How::WearOut => {
                if matches!(how, How::WearOut) {
                    known.worn = true;
                    self.lanes.wear(lane);
                }
                known.pinned = true;
                self.store.commit(vec![Write::Pin { id: pending.id.clone(), plan: b"{}".to_vec() }]).await.expect("commits");
                known.run_at = Some(now + 10);
                again(now + 10, known)
            }
            How::NotStored => {
                self.full.store(true, std::sync::atomic::Ordering::SeqCst);
                let refused = self.store.commit(vec![finish(&pending.id, DeliveryState::Done)]).await;
                assert!(refused.is_err(), "the disk is full");
                self.full.store(false, std::sync::atomic::Ordering::SeqCst);
                known.run_at = Some(now + 20);
                again(now + 20, known)
            }
        };
        self.lanes.finish(lane, next, time(now));
    }

    /// A person takes one out. What is under way is not taken.
    async fn discard(&mut self, which: usize) -> Result<(), TestCaseError> {
        let pending = self.model.pending();
        if pending.is_empty() {
            return Ok(());
        }
        let (id, _) = &pending[which % pending.len()];
        let taken = self.lanes.remove(id, time(self.model.now));
        let known = self.model.get(id);
        prop_assert_eq!(taken, !known.running);
        if taken {
            known.ended = Some(DeliveryState::Discarded);
            self.store.commit(vec![finish(id, DeliveryState::Discarded)]).await.expect("commits");
        }
        Ok(())
    }

    /// What was under way is pending again; when what is not stored was to happen is forgotten.
    async fn crash(&mut self) -> Result<(), TestCaseError> {
        self.running.clear();
        self.lanes = lanes();
        let elsewhere = tempfile::tempdir().expect("a folder");
        // The lock goes with the store that holds it.
        drop(std::mem::replace(&mut self.store, open(&elsewhere, &self.full)));
        self.store = open(&self.dir, &self.full);
        for known in self.model.all.iter_mut().filter(|d| d.ended.is_none()) {
            (known.running, known.parked, known.worn, known.run_at) = (false, false, false, known.stored_run_at);
        }
        let stored = self.store.pending(None, 1000).await.expect("reads");
        let said: Vec<(DeliveryId, u32)> = stored.iter().map(|p| (p.id.clone(), p.attempts)).collect();
        prop_assert_eq!(said, self.model.pending());
        for pending in stored {
            self.lanes.push(pending, time(self.model.now));
        }
        for ((rule, _), held) in RULES.into_iter().zip(self.model.held) {
            self.lanes.hold_rule(&rule.into(), held, time(self.model.now));
        }
        for (account, held) in ACCOUNTS.into_iter().zip(self.model.held_accounts) {
            self.lanes.hold_account(&account.into(), held);
        }
        for (account, lacks) in ACCOUNTS.into_iter().zip(self.model.lacks) {
            self.lanes.wait_for_tokens(&account.into(), tokenless(lacks), time(self.model.now));
        }
        Ok(())
    }

    /// Everything is let go and delivered: nothing may be left.
    async fn finish_all(&mut self) -> Result<(), TestCaseError> {
        for rule in 0..3 {
            self.op(Op::Hold { rule, held: false }).await?;
        }
        for account in 0..2 {
            self.op(Op::HoldAccount { account, held: false }).await?;
            self.op(Op::Tokens { account, lacks: None }).await?;
        }
        self.op(Op::Tick { by: 1000 }).await?;
        loop {
            while !self.running.is_empty() {
                self.outcome(0, How::Done).await;
            }
            if !self.claim()? {
                break;
            }
        }
        prop_assert!(self.model.pending().is_empty(), "left: {:?}", self.model.pending());
        prop_assert!(self.store.pending(None, 1000).await.expect("reads").is_empty());
        prop_assert_eq!(self.lanes.counts(), Counts::default());
        let filter = crate::store::DeliveryFilter { limit: 1000, ..Default::default() };
        let rows = self.store.deliveries(&filter).await.expect("reads");
        let stored: BTreeMap<String, DeliveryState> = rows.into_iter().map(|row| (row.id.to_string(), row.state)).collect();
        let expected = self.model.all.iter().map(|d| (d.id().to_string(), d.ended.expect("nothing is left"))).collect();
        prop_assert_eq!(stored, expected);
        Ok(())
    }
}

fn lanes() -> Lanes {
    let mut lanes = Lanes::default();
    lanes.set_priorities(RULES.into_iter().zip(PRIORITIES).map(|((rule, _), priority)| (rule.into(), priority)).collect());
    lanes
}

fn tokenless(lacks: Option<(u8, bool)>) -> Option<Tokenless> {
    lacks.map(|(from, begun_too)| Tokenless { from, begun_too })
}

fn open(dir: &tempfile::TempDir, full: &Arc<std::sync::atomic::AtomicBool>) -> SqliteStore {
    let full = full.clone();
    let fault = move |_| full.load(std::sync::atomic::Ordering::SeqCst).then_some(Fault::DiskFull);
    let options = OpenOptions {
        dir: dir.path().to_owned(),
        reserve_bytes: 64 * 1024,
        fault: Some(Arc::new(fault)),
        // Processes die here, not machines.
        durable: false,
        ..OpenOptions::default()
    };
    SqliteStore::open(options).expect("opens").0
}

fn finish(id: &DeliveryId, state: DeliveryState) -> Write {
    Write::Finish(Finish { id: id.clone(), state, at: time(0), version: None, reason: None, cause: None })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn lanes_and_store_do_as_their_model_does(ops in proptest::collection::vec(op(), 1..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mut run = Run::begin();
            for op in ops {
                run.op(op).await?;
            }
            run.finish_all().await
        })?;
    }
}
