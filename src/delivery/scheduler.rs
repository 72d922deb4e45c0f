//! The owner of the lanes: takes in new deliveries, sends them out to run, and acts on how they end.
//!
//! Invariants: the lanes have one owner, this task; what a delivery came to is in the store before the scheduler hears of it;
//! stopping is no failed attempt (a delivery that is cut off is found pending at the next start).

mod ended;
mod holds;
mod load;
mod status;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::task::{Id as TaskId, JoinSet};

pub(super) use self::holds::{hold, paused, resumed};
use super::Scope;
use super::attempt::{self, Ended};
use super::budget::Budgets;
use super::clock::WallClock;
use super::handle::Command;
use super::hold::HeldPlans;
use super::lanes::{LaneId, Lanes};
use super::pauses::Pauses;
use super::runtime::Runtime;
use super::wake::Wakes;
use super::{control, edit};
use crate::config::Writes;
use crate::store::{DeliveryId, Feed, Pending};

/// For each delivery that may be under way so many more may be that wait for others.
const WAITING: usize = 7;

/// So many waiting deliveries of a lane are looked at by the one that goes out.
const AHEAD: usize = 20;

/// The scheduler's task.
pub struct Scheduler {
    pub(super) runtime: Arc<Runtime>,
    pub(super) lanes: Lanes,
    pub(super) pauses: Pauses,
    feed: Feed,
    commands: mpsc::Receiver<Command>,
    learned: mpsc::UnboundedReceiver<Vec<String>>,
    wakes: Wakes,
    pub(super) held_plans: HeldPlans,
    pub(super) budgets: Budgets,
    running: JoinSet<Ended>,
    under_way: HashMap<TaskId, (LaneId, Pending)>,
    /// What the accounts' `writes` were when last looked at.
    writes: BTreeMap<Arc<str>, Writes>,
    /// Deliveries that ended as observed since the start, by account.
    observed: HashMap<Arc<str>, u64>,
    clock: WallClock,
}

impl Scheduler {
    /// Runs until `stop` turns true, then waits for what is under way, at most `grace`.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut feed_open = true;
        loop {
            self.dispatch();
            let due = self.next_due();
            tokio::select! {
                biased;
                () = stopped(&mut stop) => break,
                Some(ended) = self.running.join_next_with_id(), if !self.running.is_empty() => self.ended(ended).await,
                Some(command) = self.commands.recv() => self.command(command).await,
                Some(names) = self.learned.recv() => self.wake(&names),
                () = self.runtime.wakes.somebody_waits() => {}
                Ok(()) = self.budgets.changes.changed() => self.look_at_budgets(Timestamp::now()),
                batch = self.feed.recv(), if feed_open => match batch {
                    Some(batch) => self.accept(batch),
                    None => {
                        feed_open = false;
                        self.feed_ended().await;
                    }
                },
                () = sleep_until(due) => self.pauses_due(),
            }
        }
        self.drain().await;
    }

    /// Says of each account whether anything is written to it: at the start, and when that changes.
    fn look_at_writes(&mut self) {
        let accounts = self.runtime.accounts.read();
        let now: BTreeMap<Arc<str>, Writes> = accounts.iter().map(|(name, a)| (name.clone(), a.config.writes)).collect();
        drop(accounts);
        for (name, writes) in now.iter().filter(|(name, writes)| self.writes.get(*name) != Some(*writes)) {
            self.runtime.metrics.account_writes(name, *writes == Writes::On);
        }
        for gone in self.writes.keys().filter(|name| !now.contains_key(*name)) {
            self.runtime.metrics.account_gone(gone);
        }
        self.writes = now;
    }

    /// The store closes the feed when it has failed, too: with nothing to deliver, nothing else would show it.
    async fn feed_ended(&self) {
        if let Err(error) = self.runtime.store.stats().await {
            self.runtime.fail(&error);
        }
    }

    /// Whether a delivery is being processed now.
    pub(super) fn is_under_way(&self, id: &DeliveryId) -> bool {
        self.under_way.values().any(|(_, pending)| pending.id == *id)
    }

    fn accept(&mut self, batch: Vec<Pending>) {
        let now = Timestamp::now();
        for pending in batch {
            self.lanes.push(pending, now);
        }
        // What gathered meanwhile is taken in before anything is sent out: fewer turns of the loop under load.
        self.accept_waiting(now);
    }

    /// Takes in what the store has announced; everything that a query can show is in it.
    fn accept_waiting(&mut self, now: Timestamp) {
        while let Ok(batch) = self.feed.try_recv() {
            for pending in batch {
                self.lanes.push(pending, now);
            }
        }
    }

    fn dispatch(&mut self) {
        let set = self.runtime.live.load();
        let limit = set.config.delivery.concurrency;
        let now = Timestamp::now();
        if let Some(by) = self.clock.set_back(now) {
            tracing::warn!(
                seconds = by.as_secs(),
                "the machine's clock was set back; what waits for a time waits no longer for that"
            );
            self.lanes.set_back(by, now);
            self.pauses.set_back(by);
        }
        let accounts = self.runtime.accounts.read();
        // Those who wait for others to share a request with leave their places to others, up to a number that memory can bear.
        let waiting = |account: &str| accounts.get(account).map_or(0, |account| account.gathering.waiting());
        let beside = |most: usize, waiting: usize| most + waiting.min(most * WAITING);
        while self.running.len() < beside(limit, accounts.keys().map(|name| waiting(name)).sum()) {
            let per_account = |account: &str, running: u64| {
                let most = set.config.pipedrive.get(account).map_or(1, |a| a.concurrency);
                running < beside(most, waiting(account)) as u64
            };
            let Some((lane, pending)) = self.lanes.next(now, per_account) else { break };
            let probing = self.pauses.get(&Scope::Account(pending.account.to_string())).is_some();
            let following = if set.config.delivery.squash { self.lanes.following(lane, AHEAD) } else { Vec::new() };
            let task = self.running.spawn(attempt::run(self.runtime.clone(), pending.clone(), probing, following));
            self.under_way.insert(task.id(), (lane, pending));
        }
        for (name, _, running) in self.lanes.by_account() {
            if let Some(account) = accounts.get(name).filter(|_| running > 0 && waiting(name) as u64 >= running) {
                account.gathering.nobody_else();
            }
        }
        drop(accounts);
        let counts = self.lanes.counts();
        self.runtime.metrics.queue_depth(counts.ready, counts.running, counts.waiting, counts.parked, counts.held, counts.lanes);
    }

    async fn command(&mut self, command: Command) {
        let now = Timestamp::now();
        // A person may mean what was accepted a moment ago.
        self.accept_waiting(now);
        match command {
            Command::Status(reply) => control::answer(reply, Ok(self.status())),
            Command::Pause(scope, reason, reply) => {
                let result = control::pause(self, scope, reason, now).await;
                control::answer(reply, result);
            }
            Command::Resume(scope, reply) => {
                let result = control::resume(self, scope, now).await;
                control::answer(reply, result);
            }
            Command::Replay(ids, how, reply) => {
                let result = control::replay(&self.runtime, ids, how, now).await;
                control::answer(reply, result);
            }
            Command::Edit(seq, event, how, reply) => {
                let result = edit::edit(&self.runtime, seq, *event, how, now).await;
                control::answer(reply, result);
            }
            Command::Release(ids, reply) => {
                let result = control::release(self, ids, now).await;
                control::answer(reply, result);
            }
            Command::Discard(ids, reply) => {
                let result = control::discard(self, ids, now).await;
                control::answer(reply, result);
            }
            Command::DropForErasure(ids, reply) => {
                let result = control::drop_for_erasure(self, ids, now).await;
                control::answer(reply, result);
            }
            Command::UnderWay(mut ids, reply) => {
                ids.retain(|id| self.is_under_way(id));
                control::answer(reply, Ok(ids));
            }
            Command::Reloaded => {
                self.look_at_writes();
                self.lanes.set_priorities(priorities(&self.runtime));
                self.look_at_budgets_anew(now);
                self.held_plans.release(&mut self.lanes, now);
                for scope in self.pauses.reloaded() {
                    resumed(&self.runtime.metrics, &scope);
                    hold(&mut self.lanes, &scope, false, now);
                }
            }
        }
    }

    async fn drain(&mut self) {
        let grace = self.runtime.live.load().config.server.shutdown_grace.get();
        let deadline = tokio::time::Instant::now() + grace;
        if !self.running.is_empty() {
            tracing::info!(running = self.running.len(), "stopping: waiting for what is under way");
        }
        while !self.running.is_empty() {
            match tokio::time::timeout_at(deadline, self.running.join_next_with_id()).await {
                Ok(Some(ended)) => self.ended(ended).await,
                Ok(None) => break,
                Err(_) => {
                    tracing::warn!(running = self.running.len(), "stopping without waiting longer; they go on at the next start");
                    self.running.shutdown().await;
                    break;
                }
            }
        }
    }
}

fn priorities(runtime: &Runtime) -> HashMap<Arc<str>, u8> {
    runtime.live.load().rules.iter().map(|rule| (rule.name.clone(), rule.config.priority)).collect()
}

/// Returns when the stop is asked for, or nobody is left to ask for it.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    drop(stop.wait_for(|stop| *stop).await);
}

async fn sleep_until(due: Option<Timestamp>) {
    match due {
        Some(at) => {
            let wait = at.duration_since(Timestamp::now());
            let wait = if wait.is_negative() { Duration::ZERO } else { wait.unsigned_abs() };
            // The wall clock may be set meanwhile, so no sleep is long; the millisecond keeps a due timer from spinning.
            tokio::time::sleep(wait.min(Duration::from_secs(5)) + Duration::from_millis(1)).await;
        }
        None => std::future::pending().await,
    }
}
