//! The threads that run scripts.
//!
//! Invariants: each thread has a stack of 64 MB; a rule has at most all threads but one running at a time (one when there is
//! only one), and rules take turns, so a slow rule delays itself; a rule's queue is bounded, and who finds it full waits; a
//! run whose caller has gone is not started; after [`Pool::stop`] nothing is started and what waits is answered.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::thread;

use parking_lot::{Condvar, Mutex};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::execute::run_blocking;
use super::program::{Program, STACK};
use super::run::{Outcome, RunReport, RunRequest, ScriptError, ScriptErrorKind};
use crate::diagnostic::Diagnostic;

/// Runs of one rule that may wait.
const QUEUE_PER_RULE: usize = 256;

/// The threads that run scripts. Dropping it stops them.
#[derive(Debug)]
pub struct Pool {
    shared: Arc<Shared>,
    threads: usize,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    per_rule: usize,
}

#[derive(Debug, Default)]
struct State {
    rules: BTreeMap<Arc<str>, Lane>,
    /// Rules that have a run waiting and may start one, in turn.
    turns: VecDeque<Arc<str>>,
    stopped: bool,
}

/// One rule.
#[derive(Debug)]
struct Lane {
    queue: VecDeque<Job>,
    running: usize,
    /// In `turns`.
    queued_up: bool,
    places: Arc<Semaphore>,
}

#[derive(Debug)]
struct Job {
    program: Arc<Program>,
    request: RunRequest,
    answer: oneshot::Sender<RunReport>,
    _place: OwnedSemaphorePermit,
}

impl Pool {
    /// Starts so many threads, at least one. When the system refuses a thread, the pool does with those that it has; without
    /// any, every run ends as [`ScriptErrorKind::Stopped`].
    #[must_use]
    pub fn start(threads: usize) -> Self {
        let wanted = threads.max(1);
        let shared =
            Arc::new(Shared { state: Mutex::default(), wake: Condvar::new(), per_rule: wanted.saturating_sub(1).max(1) });
        let mut started = 0;
        for number in 0..wanted {
            let of_thread = shared.clone();
            let builder = thread::Builder::new().name(format!("script-{number}")).stack_size(STACK);
            match builder.spawn(move || of_thread.work()) {
                Ok(_) => started += 1,
                Err(error) => tracing::error!(%error, "a script thread could not be started"),
            }
        }
        if started == 0 {
            shared.state.lock().stopped = true;
        }
        Self { shared, threads: started }
    }

    /// How many threads run.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Runs a script on one of the threads. Dropping the future abandons a run that has not started.
    pub fn run(&self, program: Arc<Program>, request: RunRequest) -> impl Future<Output = RunReport> + Send + 'static {
        let shared = self.shared.clone();
        async move {
            let script = request.script.clone();
            let Some(places) = shared.places(&request.rule) else { return stopped(&script) };
            let Ok(place) = places.acquire_owned().await else { return stopped(&script) };
            let (answer, report) = oneshot::channel();
            if !shared.submit(Job { program, request, answer, _place: place }) {
                return stopped(&script);
            }
            report.await.unwrap_or_else(|_| stopped(&script))
        }
    }

    /// Starts no further run; those that wait end as [`ScriptErrorKind::Stopped`]. Runs under way finish, bounded by their
    /// deadline. Does not wait for them.
    pub fn stop(&self) {
        let mut state = self.shared.state.lock();
        state.stopped = true;
        state.turns.clear();
        for lane in state.rules.values_mut() {
            lane.places.close();
            // Dropping the jobs answers their callers.
            lane.queue.clear();
        }
        self.shared.wake.notify_all();
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn places(&self, rule: &Arc<str>) -> Option<Arc<Semaphore>> {
        let mut state = self.state.lock();
        if state.stopped {
            return None;
        }
        Some(state.lane(rule).places.clone())
    }

    fn submit(&self, job: Job) -> bool {
        let mut state = self.state.lock();
        if state.stopped {
            return false;
        }
        let rule = job.request.rule.clone();
        state.lane(&rule).queue.push_back(job);
        state.queue_up(&rule, self.per_rule);
        self.wake.notify_one();
        true
    }

    /// A thread's life.
    fn work(&self) {
        while let Some((rule, job)) = self.next() {
            if !job.answer.is_closed() {
                let Job { program, request, answer, _place } = job;
                let report = run_blocking(&program, request);
                // The caller may have gone meanwhile.
                drop(answer.send(report));
            }
            self.finish(&rule);
        }
    }

    fn next(&self) -> Option<(Arc<str>, Job)> {
        let mut state = self.state.lock();
        loop {
            if state.stopped {
                return None;
            }
            if let Some(taken) = state.take(self.per_rule) {
                return Some(taken);
            }
            self.wake.wait(&mut state);
        }
    }

    fn finish(&self, rule: &Arc<str>) {
        let mut state = self.state.lock();
        if let Some(lane) = state.rules.get_mut(rule) {
            lane.running -= 1;
            // Nobody is waiting for a place when only the map holds them.
            if lane.running == 0 && lane.queue.is_empty() && Arc::strong_count(&lane.places) == 1 {
                state.rules.remove(rule);
            } else {
                state.queue_up(rule, self.per_rule);
                self.wake.notify_one();
            }
        }
    }
}

impl State {
    fn lane(&mut self, rule: &Arc<str>) -> &mut Lane {
        self.rules.entry(rule.clone()).or_insert_with(|| Lane {
            queue: VecDeque::new(),
            running: 0,
            queued_up: false,
            places: Arc::new(Semaphore::new(QUEUE_PER_RULE)),
        })
    }

    /// Gives a rule its turn when it has something to run and may.
    fn queue_up(&mut self, rule: &Arc<str>, per_rule: usize) {
        let Some(lane) = self.rules.get_mut(rule) else { return };
        if !lane.queued_up && !lane.queue.is_empty() && lane.running < per_rule {
            lane.queued_up = true;
            self.turns.push_back(rule.clone());
        }
    }

    fn take(&mut self, per_rule: usize) -> Option<(Arc<str>, Job)> {
        while let Some(rule) = self.turns.pop_front() {
            let Some(lane) = self.rules.get_mut(&rule) else { continue };
            lane.queued_up = false;
            let Some(job) = lane.queue.pop_front() else { continue };
            lane.running += 1;
            self.queue_up(&rule, per_rule);
            return Some((rule, job));
        }
        None
    }
}

fn stopped(script: &str) -> RunReport {
    let diagnostic = Diagnostic::error("the script was not run: the daemon is stopping").in_file(script);
    RunReport {
        outcome: Outcome::Error(Box::new(ScriptError { kind: ScriptErrorKind::Stopped, diagnostic })),
        logs: Vec::new(),
        operations: 0,
        elapsed: std::time::Duration::ZERO,
    }
}
