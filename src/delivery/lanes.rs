//! The lanes: which delivery may run next. Pure data; time comes in as an argument.
//!
//! Invariants:
//! - A lane is (account, ordering key). At most one delivery of a lane is under way.
//! - Within a lane, the deliveries of one rule run in the order of their sequence numbers. The next of a lane is the oldest
//!   whose rule is not held; when that one waits for a retry, the lane waits with it.
//! - Deliveries of a held rule stay where they are, so after the hold they run before newer ones of that rule and key.
//! - Of the lanes of an account that may run, those whose next rule has the lower priority number go first; rules of one priority take
//!   turns ([`ready`]).
//! - Deliveries that wait for tokens of the account's budget are held as those of a held rule are ([`tokens`]).
//! - A parked delivery does not block its lane; when it is due it goes to the front.
//! - A delivery may have to come after other lanes' tails ([`tails`]): then the deliveries of its rule in its lane wait with it,
//!   those of other rules go on unless they come after the same tails.
//! - Taking and finishing a delivery costs the same however deep the backlog is; only holding
//!   a rule and discarding look at all lanes.

mod counts;
mod lane;
mod ready;
mod tails;
mod tokens;
mod waits;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;

pub(crate) use self::counts::Counts;
use self::lane::{Entry, Lane, Place, enter, queue_of};
use self::ready::Ready;
use self::tails::{Tails, Whose};
pub(crate) use self::tokens::Tokenless;
use crate::store::{DeliveryId, Pending};

/// Priority of rules that name none.
const DEFAULT_PRIORITY: u8 = 5;

/// Index of a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct LaneId(usize);

#[derive(Debug, Default)]
struct AccountQueue {
    /// Lanes whose next delivery may run.
    ready: Ready,
    pending: u64,
    running: u64,
    held: bool,
    /// Held, but one delivery may go out to see how things stand.
    probe: bool,
}

/// Which delivery of a lane goes next.
#[derive(Debug, Clone, Copy)]
enum Chosen {
    /// By its place among the parked ones.
    Parked(usize),
    /// The oldest of the rule at this place.
    Head(usize),
}

impl Chosen {
    fn rule(self, lane: &Lane) -> &Arc<str> {
        match self {
            Self::Parked(at) => &lane.parked[at].0,
            Self::Head(at) => &lane.rules[at].0,
        }
    }
}

/// All lanes of the daemon.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    lanes: Vec<Option<Lane>>,
    free: Vec<usize>,
    by_key: HashMap<(Arc<str>, Arc<str>), LaneId>,
    accounts: BTreeMap<Arc<str>, AccountQueue>,
    /// Round robin over the accounts.
    turn: usize,
    held_rules: BTreeSet<Arc<str>>,
    /// By account, whose deliveries wait for tokens.
    tokenless: BTreeMap<Arc<str>, Tokenless>,
    priorities: HashMap<Arc<str>, u8>,
    rule_pending: BTreeMap<Arc<str>, u64>,
    timers: BTreeSet<(Timestamp, LaneId)>,
    /// The lanes of parked deliveries.
    parked: HashMap<DeliveryId, LaneId>,
    /// By lane, who waits for its tail.
    tails: Tails,
    waiting: u64,
}

/// What becomes of the delivery that was under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Next {
    /// It has ended.
    Ended,
    /// It stays at the head of its lane, not before `run_at`.
    Again { run_at: Option<Timestamp>, attempts: u32, first_failed_at: Option<Timestamp>, pinned: bool },
    /// It waits outside its lane until then.
    Park { until: Timestamp, attempts: u32, pinned: bool },
}

impl Lanes {
    /// Adds a delivery at its lane's tail; one that was released takes its old place, before newer ones.
    pub(crate) fn push(&mut self, pending: Pending, now: Timestamp) {
        let rule = pending.id.rule.clone();
        let lane_id = self.lane(&pending.account, &pending.key);
        *self.rule_pending.entry(rule.clone()).or_default() += 1;
        self.accounts.entry(pending.account.clone()).or_default().pending += 1;
        let entry = Entry {
            seq: pending.id.seq,
            position: pending.position,
            after: self.tails_before(&pending, &pending.after, Whose::Rule(&pending.id.rule)),
            behind: self.tails_before(&pending, &pending.behind, Whose::Any),
            attempts: pending.attempts,
            run_at: pending.run_at,
            first_failed_at: pending.first_failed_at,
            pinned: pending.pinned,
            tried: pending.tried,
            worn: false,
            released_at: pending.released_at,
        };
        self.waiting += u64::from(entry.run_at.is_some());
        let lane = self.lane_mut(lane_id);
        enter(queue_of(&mut lane.rules, &rule), entry);
        self.place(lane_id, now);
    }

    /// The next delivery that may run, round robin over the accounts that `may_run` allows and over their lanes.
    pub(crate) fn next(&mut self, now: Timestamp, may_run: impl Fn(&str, u64) -> bool) -> Option<(LaneId, Pending)> {
        self.wake(now);
        let names: Vec<Arc<str>> = self.accounts.keys().cloned().collect();
        for offset in 0..names.len() {
            let at = (self.turn + offset) % names.len();
            let name = &names[at];
            let account = self.accounts.get_mut(name)?;
            let open = !account.held || (account.probe && account.running == 0);
            if !open || !may_run(name, account.running) {
                continue;
            }
            while let Some(lane_id) = self.accounts.get_mut(name).and_then(|account| account.ready.pop()) {
                // A hold since the lane was queued may have left it without a runnable delivery.
                self.lane_mut(lane_id).place = Place::Idle;
                let Some(pending) = self.start(lane_id, now) else {
                    self.place(lane_id, now);
                    continue;
                };
                let account = self.accounts.entry(name.clone()).or_default();
                account.running += 1;
                account.probe = false;
                self.turn = (at + 1) % names.len();
                return Some((lane_id, pending));
            }
        }
        None
    }

    /// The deliveries that would run in this lane after the one under way, in order, at most so many: up to the first that was tried before,
    /// or has to come after another lane's.
    pub(crate) fn following(&self, lane_id: LaneId, most: usize) -> Vec<Pending> {
        let lane = self.lane_ref(lane_id);
        let goes =
            |(rule, queue): &&(Arc<str>, VecDeque<Entry>)| queue.front().is_some_and(|e| !self.is_held(&lane.account, rule, e));
        let mut queues: Vec<_> = lane.rules.iter().filter(goes).collect();
        queues.sort_by_key(|(rule, _)| rule.clone());
        let mut heads: Vec<_> = queues.iter().map(|(rule, queue)| (rule, queue.iter().take(most).peekable())).collect();
        let mut following = Vec::new();
        while following.len() < most {
            let next = heads.iter_mut().filter_map(|(rule, queue)| Some((*rule, queue.peek().copied()?, queue)));
            let Some((rule, entry, queue)) = next.min_by_key(|(_, entry, _)| (entry.seq, entry.position)) else { break };
            if entry.tried || entry.pinned || entry.run_at.is_some() || !entry.after.is_empty() || !entry.behind.is_empty() {
                break;
            }
            queue.next();
            following.push(lane.pending(rule, entry));
        }
        following
    }

    /// Ends the turn of the delivery that is under way in the lane.
    pub(crate) fn finish(&mut self, lane_id: LaneId, next: Next, now: Timestamp) {
        let lane = self.lane_mut(lane_id);
        let account_name = lane.account.clone();
        let Some((rule, mut entry)) = lane.running.take() else { return };
        let mut waits = false;
        match next {
            Next::Ended => {}
            Next::Again { run_at, attempts, first_failed_at, pinned } => {
                entry = Entry { run_at, attempts, first_failed_at, pinned, tried: true, ..entry };
                waits = run_at.is_some();
                enter(queue_of(&mut lane.rules, &rule), entry);
            }
            Next::Park { until, attempts, pinned } => {
                entry = Entry { run_at: Some(until), attempts, pinned, tried: true, ..entry };
                waits = true;
                let id = DeliveryId { seq: entry.seq, rule: rule.clone() };
                lane.parked.push((rule.clone(), entry));
                self.parked.insert(id, lane_id);
            }
        }
        if waits {
            self.waiting += 1;
        }
        if let Some(account) = self.accounts.get_mut(&account_name) {
            account.running = account.running.saturating_sub(1);
        }
        if next == Next::Ended {
            self.forget_one(&account_name, &rule);
        }
        self.moved_on(lane_id, now);
    }

    /// Takes a waiting delivery out; false when it is under way or unknown.
    pub(crate) fn remove(&mut self, id: &DeliveryId, now: Timestamp) -> bool {
        // Rare, and by a person: looking through the lanes costs less than an index that every delivery would pay for.
        let holds = |lane: &Lane| {
            lane.rules.iter().any(|(rule, queue)| *rule == id.rule && queue.iter().any(|e| e.seq == id.seq))
                || lane.parked.iter().any(|(rule, entry)| *rule == id.rule && entry.seq == id.seq)
        };
        let Some(lane_id) = self.by_key.values().copied().find(|lane| holds(self.lane_ref(*lane))) else { return false };
        let lane = self.lane_mut(lane_id);
        let account = lane.account.clone();
        let queue = queue_of(&mut lane.rules, &id.rule);
        let taken = match queue.iter().position(|e| e.seq == id.seq) {
            Some(at) => queue.remove(at),
            None => {
                let at = lane.parked.iter().position(|(rule, e)| *rule == id.rule && e.seq == id.seq);
                at.map(|at| lane.parked.swap_remove(at).1)
            }
        };
        let Some(entry) = taken else { return false };
        self.parked.remove(id);
        if entry.run_at.is_some() {
            self.waiting = self.waiting.saturating_sub(1);
        }
        self.forget_one(&account, &id.rule);
        self.moved_on(lane_id, now);
        true
    }

    /// What a parked delivery waits for is there: it may run now.
    pub(crate) fn unpark(&mut self, id: &DeliveryId, now: Timestamp) {
        let found = self.parked.get(id).copied();
        let Some(lane_id) = found else { return };
        let lane = self.lane_mut(lane_id);
        if let Some((_, entry)) = lane.parked.iter_mut().find(|(rule, e)| *rule == id.rule && e.seq == id.seq) {
            entry.run_at = Some(now);
            self.place(lane_id, now);
        }
    }

    /// Holds a rule or lets it go on.
    pub(crate) fn hold_rule(&mut self, rule: &Arc<str>, held: bool, now: Timestamp) {
        let changed = if held { self.held_rules.insert(rule.clone()) } else { self.held_rules.remove(rule) };
        if changed {
            let ids: Vec<LaneId> = self.by_key.values().copied().collect();
            for id in ids {
                if self.lane_mut(id).rules.iter().any(|(name, queue)| name == rule && !queue.is_empty())
                    || self.lane_mut(id).parked.iter().any(|(name, _)| name == rule)
                {
                    // Those that stand behind this lane go on without the held rule, or wait for it again.
                    self.moved_on(id, now);
                }
            }
        }
    }

    /// Sets the rules' priorities; lanes that are queued already keep their place.
    pub(crate) fn set_priorities(&mut self, priorities: HashMap<Arc<str>, u8>) {
        self.priorities = priorities;
    }

    /// Holds an account or lets it go on.
    pub(crate) fn hold_account(&mut self, account: &Arc<str>, held: bool) {
        let queue = self.accounts.entry(account.clone()).or_default();
        queue.held = held;
        queue.probe = false;
    }

    /// Lets one delivery of a held account go out to see how things stand.
    pub(crate) fn probe_account(&mut self, account: &Arc<str>) {
        self.accounts.entry(account.clone()).or_default().probe = true;
    }

    fn lane(&mut self, account: &Arc<str>, key: &str) -> LaneId {
        let key: Arc<str> = Arc::from(key);
        if let Some(id) = self.by_key.get(&(account.clone(), key.clone())) {
            return *id;
        }
        let lane = Lane::new(account.clone(), key.clone());
        let id = match self.free.pop() {
            Some(index) => {
                self.lanes[index] = Some(lane);
                LaneId(index)
            }
            None => {
                self.lanes.push(Some(lane));
                LaneId(self.lanes.len() - 1)
            }
        };
        self.by_key.insert((account.clone(), key), id);
        id
    }

    fn lane_mut(&mut self, id: LaneId) -> &mut Lane {
        self.lanes[id.0].as_mut().expect("a lane id is dropped together with its lane")
    }

    fn lane_ref(&self, id: LaneId) -> &Lane {
        self.lanes[id.0].as_ref().expect("a lane id is dropped together with its lane")
    }

    /// Puts a lane where it belongs: its account's queue, the timers, or nowhere. Empty lanes go.
    fn place(&mut self, id: LaneId, now: Timestamp) {
        if let Place::Timer(at) = self.lane_ref(id).place {
            self.timers.remove(&(at, id));
            self.lane_mut(id).place = Place::Idle;
        }
        let lane = self.lane_ref(id);
        if lane.running.is_some() || lane.place == Place::Ready {
            return;
        }
        if lane.is_empty() {
            let key = (lane.account.clone(), lane.key.clone());
            self.by_key.remove(&key);
            self.lanes[id.0] = None;
            self.free.push(id.0);
            return;
        }
        self.wait_for_tails(id);
        let lane = self.lane_ref(id);
        match self.runnable_at(id) {
            None => {}
            Some(at) if at > now => {
                self.timers.insert((at, id));
                self.lane_mut(id).place = Place::Timer(at);
            }
            Some(_) => {
                let account = lane.account.clone();
                // Some(_) above says that there is one.
                let rule = self.chosen(lane, now).map(|next| next.rule(lane).clone());
                let Some(rule) = rule else { return };
                let priority = self.priorities.get(&rule).copied().unwrap_or(DEFAULT_PRIORITY);
                self.lane_mut(id).place = Place::Ready;
                self.accounts.entry(account).or_default().ready.push(priority, &rule, id);
            }
        }
    }

    /// When the lane's next delivery may run; none when all of its rules are held.
    fn runnable_at(&self, id: LaneId) -> Option<Timestamp> {
        let lane = self.lane_ref(id);
        let head = self.head(lane).map(|(_, entry)| entry.run_at.unwrap_or(Timestamp::MIN));
        let parked = lane.parked.iter().filter(|(rule, entry)| !self.is_held(&lane.account, rule, entry));
        let parked = parked.filter_map(|(_, entry)| entry.run_at).min();
        match (head, parked) {
            (Some(head), Some(parked)) => Some(head.min(parked)),
            (head, parked) => head.or(parked),
        }
    }

    fn head<'a>(&self, lane: &'a Lane) -> Option<(usize, &'a Entry)> {
        lane.rules
            .iter()
            .enumerate()
            .filter_map(|(at, (rule, queue))| {
                let goes = |entry: &&Entry| !self.is_held(&lane.account, rule, entry) && !self.has_before(lane, rule, entry);
                Some((at, queue.front().filter(goes)?))
            })
            .min_by_key(|(_, entry)| (entry.seq, entry.position))
    }

    /// What of the lane goes next, when it may run now: what was parked goes before all others.
    fn chosen(&self, lane: &Lane, now: Timestamp) -> Option<Chosen> {
        let due = |entry: &Entry| entry.run_at.is_none_or(|at| at <= now);
        let goes = |rule: &Arc<str>, entry: &Entry| due(entry) && !self.is_held(&lane.account, rule, entry);
        let parked = lane.parked.iter().enumerate().filter(|(_, (rule, entry))| goes(rule, entry));
        let parked = parked.min_by_key(|(_, (_, entry))| (entry.seq, entry.position)).map(|(at, _)| Chosen::Parked(at));
        parked.or_else(|| self.head(lane).filter(|(_, entry)| due(entry)).map(|(at, _)| Chosen::Head(at)))
    }

    /// Takes the lane's next delivery, when it may run now.
    fn start(&mut self, id: LaneId, now: Timestamp) -> Option<Pending> {
        let next = self.chosen(self.lane_ref(id), now)?;
        let lane = self.lane_mut(id);
        let (rule, entry) = match next {
            Chosen::Parked(at) => lane.parked.swap_remove(at),
            Chosen::Head(at) => {
                let (rule, queue) = &mut lane.rules[at];
                let entry = queue.pop_front()?;
                let rule = rule.clone();
                if queue.is_empty() {
                    lane.rules.swap_remove(at);
                }
                (rule, entry)
            }
        };
        let pending = lane.pending(&rule, &entry);
        let waited = entry.run_at.is_some();
        lane.running = Some((rule, entry));
        self.parked.remove(&pending.id);
        if waited {
            self.waiting = self.waiting.saturating_sub(1);
        }
        Some(pending)
    }

    /// Moves lanes whose timer is due into their accounts' queues.
    fn wake(&mut self, now: Timestamp) {
        while let Some(&(at, id)) = self.timers.first() {
            if at > now {
                break;
            }
            self.place(id, now);
        }
    }

    fn forget_one(&mut self, account: &Arc<str>, rule: &Arc<str>) {
        if let Some(queue) = self.accounts.get_mut(account) {
            queue.pending = queue.pending.saturating_sub(1);
        }
        if let Some(count) = self.rule_pending.get_mut(rule) {
            *count = count.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
