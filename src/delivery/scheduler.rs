//! The owner of the lanes: takes in new deliveries, sends them out to run, and acts on how they end.
//!
//! Invariants: the lanes have one owner, this task; what a delivery came to is in the store before the scheduler hears of it;
//! stopping is no failed attempt (a delivery that is cut off is found pending at the next start).

mod status;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::task::{Id as TaskId, JoinError, JoinSet};

use super::attempt::{self, Ended, Hold, Verdict};
use super::budget::Budgets;
use super::clock::WallClock;
use super::handle::Command;
use super::hold::HeldPlans;
use super::lanes::{LaneId, Lanes, Next};
use super::pauses::Pauses;
use super::pinned::PinnedPlan;
use super::policy::later;
use super::runtime::Runtime;
use super::wake::{Wakes, Want};
use super::{PauseInfo, Scope};
use super::{control, edit};
use crate::config::{DeliveryConfig, Writes};
use crate::crm::budget::Ledger;
use crate::failure::FailureClass;
use crate::store::{Cause, DeliveryId, DeliveryState, Feed, Finish, Pending, StoreError, Write};
use crate::telemetry::{Metrics, how_it_ended};

/// Longest time between two probes of a troubled account; at most `delivery.retry_max`.
const LONGEST_PROBE: Duration = Duration::from_secs(300);

/// How long a delivery waits whose outcome could not be stored.
const STORE_RETRY: Duration = Duration::from_secs(2);

/// For each delivery that may be under way so many more may be that wait for others.
const WAITING: usize = 7;

/// So many waiting deliveries of a lane are looked at by the one that goes out.
const AHEAD: usize = 20;

/// How many pending deliveries are read at once at the start.
const PAGE: usize = 10_000;

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

    async fn ended(&mut self, ended: Result<(TaskId, Ended), JoinError>) {
        let (task, Ended { verdict, reached }) = match ended {
            Ok((task, verdict)) => (task, verdict),
            Err(error) => {
                let task = error.id();
                let Some((_, pending)) = self.under_way.get(&task) else { return };
                (task, Ended { verdict: self.panicked(&pending.clone(), &error).await, reached: None })
            }
        };
        let Some((lane, pending)) = self.under_way.remove(&task) else { return };
        let now = Timestamp::now();
        let attempts = pending.attempts;
        if !self.wakes.is_empty() {
            self.wakes.forget(&pending.id);
        }
        self.held_plans.forget(&pending.id);
        let troubled = match &verdict {
            Verdict::Retry { account_trouble, .. } => *account_trouble,
            Verdict::Wait { hold, .. } => matches!(hold.scope, Scope::Account(_)),
            Verdict::StoreFailed { .. } => true,
            Verdict::Ended { .. }
            | Verdict::Park { .. }
            | Verdict::Withheld { .. }
            | Verdict::GiveWay { .. }
            | Verdict::Held { .. } => false,
        };
        if let Some(at) = reached.filter(|_| !troubled) {
            self.account_works(&pending.account, at, now);
        }
        let mut parked = None;
        let next = match verdict {
            Verdict::Ended { state, script_failed } => {
                if state == DeliveryState::Observed {
                    *self.observed.entry(pending.account.clone()).or_default() += 1;
                }
                self.rule_ran(&pending, state, script_failed, now);
                Next::Ended
            }
            Verdict::Retry { run_at, attempts, first_failed_at, pinned, account_trouble } => {
                if account_trouble {
                    self.account_trouble(&pending, lane, now);
                }
                Next::Again { run_at: Some(run_at), attempts, first_failed_at: Some(first_failed_at), pinned }
            }
            Verdict::Park { until, wants, pinned } => {
                self.wakes.wait(&pending.id, wants.iter().map(Want::name));
                self.runtime.wakes.set_waiting(self.wakes.len());
                parked = Some(wants);
                Next::Park { until, attempts, pinned }
            }
            Verdict::Wait { hold: Hold { scope, info }, pinned } => {
                self.auto_pause(scope, info, now);
                Next::Again { run_at: None, attempts, first_failed_at: pending.first_failed_at, pinned }
            }
            Verdict::Withheld { pinned } => {
                self.look_at_budgets(now);
                Next::Again { run_at: None, attempts, first_failed_at: pending.first_failed_at, pinned }
            }
            Verdict::GiveWay { run_at, pinned } => {
                Next::Again { run_at: Some(run_at), attempts, first_failed_at: pending.first_failed_at, pinned }
            }
            Verdict::Held { by } => {
                // The hold may have ended, and those that waited been let go, while this one was on its way.
                let holds = self.runtime.hold.is_for(&by);
                if holds {
                    self.held_plans.add(pending.id.clone(), lane);
                }
                let run_at = holds.then_some(Timestamp::MAX);
                Next::Again { run_at, attempts, first_failed_at: pending.first_failed_at, pinned: true }
            }
            // The store does not have it as pending: it has ended otherwise, and trying again would end the same.
            Verdict::StoreFailed { error: error @ StoreError::Refused { .. }, .. } => {
                tracing::error!(delivery = %pending.id, %error, "the store has no such pending delivery; it is left");
                self.runtime.locks.cleared(&pending.id);
                Next::Ended
            }
            Verdict::StoreFailed { error, pinned } => {
                self.runtime.fail(&error);
                let run_at = later(now, STORE_RETRY);
                Next::Again { run_at: Some(run_at), attempts, first_failed_at: pending.first_failed_at, pinned }
            }
        };
        self.lanes.finish(lane, next, now);
        // What it waits for may have come before it was known to wait.
        for want in parked.into_iter().flatten() {
            let known = self.runtime.store.index_get(&want.account, &want.kind, &want.field, &want.value).await;
            if known.is_ok_and(|ids| !ids.is_empty()) {
                self.wake(&[want.name()]);
            }
        }
    }

    /// The index learned something that parked deliveries wait for.
    fn wake(&mut self, names: &[String]) {
        let now = Timestamp::now();
        for name in names {
            for id in self.wakes.learned(name) {
                self.lanes.unpark(&id, now);
            }
        }
        self.runtime.wakes.set_waiting(self.wakes.len());
    }

    /// A worker panicked: a fault of ours. The delivery must not hold its lane for ever, so it becomes a dead letter.
    async fn panicked(&self, pending: &Pending, error: &JoinError) -> Verdict {
        tracing::error!(delivery = %pending.id, error = how_it_ended(error), "a worker failed inside; this is a fault of Pipewright");
        // It waits for no answer any more.
        self.runtime.locks.claims.lost(&pending.id);
        let reason = "internal error while it was processed; see the daemon's log".to_owned();
        let pinned = self.runtime.store.pinned(&pending.id).await.ok().flatten();
        let finish = Finish {
            id: pending.id.clone(),
            // What was pinned may have been sent in part.
            state: if pinned.is_some() { DeliveryState::Uncertain } else { DeliveryState::Dead },
            at: Timestamp::now(),
            version: None,
            cause: Some(Cause { class: "internal".to_owned(), what: reason.clone() }),
            reason: Some(reason),
        };
        match self.runtime.store.commit(vec![Write::Finish(finish.clone())]).await {
            Ok(()) => {
                self.runtime.locks.cleared(&pending.id);
                Verdict::Ended { state: finish.state, script_failed: false }
            }
            Err(error) => Verdict::StoreFailed { error, pinned: pinned.is_some() },
        }
    }

    fn account_works(&mut self, account: &Arc<str>, at: Timestamp, now: Timestamp) {
        if self.pauses.works(account, at) {
            resumed(&self.runtime.metrics, &Scope::Account(account.to_string()));
            hold(&mut self.lanes, &Scope::Account(account.to_string()), false, now);
            self.lanes.hurry_account(account, now);
        }
    }

    fn account_trouble(&mut self, pending: &Pending, lane: LaneId, now: Timestamp) {
        let lanes = self.runtime.live.load().config.delivery.pause_after_lanes;
        let probe = probe_times(&self.runtime.live.load().config.delivery);
        if let Some(info) = self.pauses.trouble(&pending.account, lane, lanes, probe, now) {
            self.auto_pause(Scope::Account(pending.account.to_string()), info, now);
        }
    }

    fn rule_ran(&mut self, pending: &Pending, state: DeliveryState, script_failed: bool, now: Timestamp) {
        let limit = self.runtime.live.load().config.delivery.pause_rule_after;
        if let Some(info) = self.pauses.rule_ran(&pending.id.rule, script_failed, limit, now) {
            tracing::warn!(rule = %pending.id.rule, %state, "the rule keeps failing");
            self.auto_pause(Scope::Rule(pending.id.rule.to_string()), info, now);
        }
    }

    fn auto_pause(&mut self, scope: Scope, info: PauseInfo, now: Timestamp) {
        // A pause that is renewed by a probe is no news.
        if self.pauses.get(&scope).is_none() {
            paused(&self.runtime.metrics, &scope, info.class);
            tracing::warn!(reason = info.reason, until = info.until.map(tracing::field::display), "the reason of the pause");
        }
        hold(&mut self.lanes, &scope, true, now);
        self.pauses.set(scope, info);
    }

    /// Pauses whose time has come: throttles end, troubled accounts are probed.
    fn pauses_due(&mut self) {
        let now = Timestamp::now();
        let probe = probe_times(&self.runtime.live.load().config.delivery);
        for (scope, info) in self.pauses.due(probe.1, now) {
            match (&scope, info.class.map(|c| c == FailureClass::Throttled)) {
                (Scope::Account(name), Some(false)) => {
                    self.lanes.hurry_account(name, now);
                    self.lanes.probe_account(&Arc::from(name.as_str()));
                }
                _ => {
                    self.pauses.clear(&scope);
                    resumed(&self.runtime.metrics, &scope);
                    hold(&mut self.lanes, &scope, false, now);
                }
            }
        }
    }

    fn next_due(&self) -> Option<Timestamp> {
        match (self.lanes.next_due(), self.pauses.next_due()) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
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

/// Counts and logs a pause.
pub(super) fn paused(metrics: &Metrics, scope: &Scope, class: Option<FailureClass>) {
    match scope {
        Scope::Account(name) => metrics.account_paused(name, class),
        Scope::Rule(name) => metrics.rule_paused(name, class),
    }
}

/// Counts and logs that something goes on.
pub(super) fn resumed(metrics: &Metrics, scope: &Scope) {
    match scope {
        Scope::Account(name) => metrics.account_resumed(name),
        Scope::Rule(name) => metrics.rule_resumed(name),
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

/// Shortest and longest time between two probes of a troubled account.
fn probe_times(config: &DeliveryConfig) -> (Duration, Duration) {
    let longest = config.retry_max.get().min(LONGEST_PROBE);
    (config.retry_first.get().saturating_mul(2).min(longest), longest)
}

/// Holds a scope or lets it go on.
pub(super) fn hold(lanes: &mut Lanes, scope: &Scope, held: bool, now: Timestamp) {
    match scope {
        Scope::Account(name) => lanes.hold_account(&Arc::from(name.as_str()), held),
        Scope::Rule(name) => lanes.hold_rule(&Arc::from(name.as_str()), held, now),
    }
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
