//! The threads that run scripts.
//!
//! Invariants: each thread has a stack of 64 MB; a rule has at most all threads but one running at a time (one when there is
//! only one), and rules take turns, so a slow rule delays itself; a rule's queue is bounded, and who finds it full waits; a
//! run whose caller has gone is not started; after [`Pool::stop`] nothing is started and what waits is answered.
//!
//! Every run is answered in bounded time: one that waited too long for a thread ends as [`ScriptErrorKind::Busy`]; one that goes
//! on long after its deadline is given up as lost with its thread, which another replaces while few are lost.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::execute::run_blocking;
use super::program::{Program, STACK};
use super::run::{Outcome, RunReport, RunRequest, ScriptError, ScriptErrorKind};
use super::state::now;
use crate::diagnostic::Diagnostic;

/// Runs of one rule that may wait.
const QUEUE_PER_RULE: usize = 256;
/// Threads that may be lost and replaced.
const MOST_LOST: usize = 16;
/// A run that takes so many times its deadline is stuck where no deadline reaches.
const STUCK_FACTOR: u32 = 10;

/// How long the pool waits for what does not come.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// Of a run for a thread.
    queued: Duration,
    /// For a run to end, at least; a busy machine is not taken for a stuck script.
    running: Duration,
    /// Between two looks.
    tick: Duration,
}

const PATIENCE: Patience =
    Patience { queued: Duration::from_secs(30), running: Duration::from_secs(5), tick: Duration::from_millis(500) };

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
    /// Wakes the watch: there is something to watch, or the end.
    watch: Condvar,
    per_rule: usize,
    patience: Patience,
}

#[derive(Debug, Default)]
struct State {
    rules: BTreeMap<Arc<str>, Lane>,
    /// Rules that have a run waiting and may start one, in turn.
    turns: VecDeque<Arc<str>>,
    stopped: bool,
    /// Runs under way, by number.
    running: BTreeMap<u64, Running>,
    next_run: u64,
    /// Threads that hang in a run that was given up.
    lost: usize,
    /// Whose runs they were, and of which program.
    losers: BTreeMap<Arc<str>, Weak<Program>>,
    watch_sleeps: bool,
}

/// A run under way.
#[derive(Debug)]
struct Running {
    rule: Arc<str>,
    script: Arc<str>,
    program: Arc<Program>,
    started: Instant,
    answer: oneshot::Sender<RunReport>,
    _place: OwnedSemaphorePermit,
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
    asked: Instant,
    answer: oneshot::Sender<RunReport>,
    _place: OwnedSemaphorePermit,
}

impl Pool {
    /// Starts so many threads, at least one. When the system refuses a thread, the pool does with those that it has; without
    /// any, every run ends as [`ScriptErrorKind::Stopped`].
    #[must_use]
    pub fn start(threads: usize) -> Self {
        Self::start_with(threads, PATIENCE)
    }

    fn start_with(threads: usize, patience: Patience) -> Self {
        let wanted = threads.max(1);
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            wake: Condvar::new(),
            watch: Condvar::new(),
            per_rule: wanted.saturating_sub(1).max(1),
            patience,
        });
        let started = (0..wanted).filter(|number| shared.spawn(&format!("script-{number}"))).count();
        let of_watch = shared.clone();
        if let Err(error) = thread::Builder::new().name("script-watch".to_owned()).spawn(move || of_watch.watch()) {
            tracing::error!(%error, "the thread that watches script threads could not be started");
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
        let asked = now();
        async move {
            let script = request.script.clone();
            let Some(places) = shared.places(&request.rule) else { return stopped(&script) };
            let Ok(place) = places.acquire_owned().await else { return stopped(&script) };
            let (answer, report) = oneshot::channel();
            match shared.submit(Job { program, request, asked, answer, _place: place }) {
                Submitted::Queued => {}
                Submitted::Stopped => return stopped(&script),
                Submitted::Refused(report) => return *report,
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
        self.shared.watch.notify_all();
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

    fn submit(&self, job: Job) -> Submitted {
        let mut state = self.state.lock();
        if state.stopped {
            return Submitted::Stopped;
        }
        let rule = job.request.rule.clone();
        let lost_by = state.losers.get(&rule).map(Weak::as_ptr);
        if state.lost >= MOST_LOST && lost_by == Some(Arc::as_ptr(&job.program)) {
            return Submitted::Refused(Box::new(refused(&rule, &job.request.script, state.lost)));
        }
        state.lane(&rule).queue.push_back(job);
        state.queue_up(&rule, self.per_rule);
        self.wake.notify_one();
        if state.watch_sleeps {
            self.watch.notify_one();
        }
        Submitted::Queued
    }

    fn spawn(self: &Arc<Self>, name: &str) -> bool {
        let of_thread = self.clone();
        let spawned = thread::Builder::new().name(name.to_owned()).stack_size(STACK).spawn(move || of_thread.work());
        spawned.inspect_err(|error| tracing::error!(%error, "a script thread could not be started")).is_ok()
    }

    /// A thread's life.
    fn work(&self) {
        while let Some((rule, job)) = self.next() {
            if job.answer.is_closed() {
                self.finish(&rule);
                continue;
            }
            let Job { program, request, answer, _place, .. } = job;
            let (running_program, script) = (program.clone(), request.script.clone());
            let running = Running { rule: rule.clone(), script, program: running_program, started: now(), answer, _place };
            let number = self.state.lock().begin(running);
            let report = run_blocking(&program, request);
            let mut state = self.state.lock();
            let Some(Running { answer, .. }) = state.running.remove(&number) else {
                // It was given up, and came back after all; another thread may have taken its place.
                state.lost -= 1;
                tracing::warn!(rule = %rule, "a script that was given up as stuck has ended");
                if state.lost < MOST_LOST {
                    return;
                }
                continue;
            };
            drop(state);
            // The caller may have gone meanwhile.
            drop(answer.send(report));
            self.finish(&rule);
        }
    }

    /// The watch's life: it answers who would wait for ever.
    fn watch(self: Arc<Self>) {
        let mut state = self.state.lock();
        while !state.stopped || !state.running.is_empty() {
            if state.running.is_empty() && state.rules.is_empty() {
                state.watch_sleeps = true;
                self.watch.wait(&mut state);
                state.watch_sleeps = false;
                continue;
            }
            let _ = self.watch.wait_for(&mut state, self.patience.tick);
            let now = now();
            for job in state.overdue(now, self.patience.queued) {
                let report = busy(&job.request.script, self.patience.queued);
                drop(job.answer.send(report));
            }
            for run in state.stuck(now, self.patience.running) {
                state.lost += 1;
                let replaced = state.lost <= MOST_LOST;
                state.losers.insert(run.rule.clone(), Arc::downgrade(&run.program));
                let took = now.duration_since(run.started);
                tracing::error!(
                    rule = %run.rule, script = %run.script, ?took, lost = state.lost, replaced,
                    "a script is stuck; its run is given up and its thread is lost"
                );
                let Running { rule, script, answer, .. } = run;
                drop(answer.send(stuck(&rule, &script, took)));
                parking_lot::MutexGuard::unlocked(&mut state, || {
                    if replaced {
                        self.spawn("script-again");
                    }
                    self.finish(&rule);
                });
            }
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
    fn begin(&mut self, running: Running) -> u64 {
        self.next_run += 1;
        self.running.insert(self.next_run, running);
        self.next_run
    }

    /// Takes out what has waited longer than that.
    fn overdue(&mut self, now: Instant, patience: Duration) -> Vec<Job> {
        let mut overdue = Vec::new();
        for lane in self.rules.values_mut() {
            let late = |job: &Job| now.duration_since(job.asked) > patience;
            if lane.queue.iter().any(late) {
                let (gone, kept): (VecDeque<Job>, VecDeque<Job>) = std::mem::take(&mut lane.queue).into_iter().partition(late);
                lane.queue = kept;
                overdue.extend(gone);
            }
        }
        overdue
    }

    /// Takes out the runs that no deadline reaches.
    fn stuck(&mut self, now: Instant, least: Duration) -> Vec<Running> {
        let over = |run: &mut Running| {
            let patience = (run.program.limits.deadline.get() * STUCK_FACTOR).max(least);
            now.duration_since(run.started) > patience
        };
        self.running.extract_if(.., |_, run| over(run)).map(|(_, run)| run).collect()
    }

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

/// What became of a run that was handed in.
enum Submitted {
    Queued,
    Stopped,
    Refused(Box<RunReport>),
}

fn stopped(script: &str) -> RunReport {
    let problem = Diagnostic::error("the script was not run: the daemon is stopping").in_file(script);
    unrun(ScriptErrorKind::Stopped, problem, Duration::ZERO)
}

fn busy(script: &str, waited: Duration) -> RunReport {
    let message = format!("the script was not run: no thread was free for {}", humantime::format_duration(waited));
    let problem = Diagnostic::error(message)
        .in_file(script)
        .help("the rule's runs before it take long, or there is too much to do; see `threads` under [scripts] in rules.toml");
    unrun(ScriptErrorKind::Busy, problem, Duration::ZERO)
}

fn stuck(rule: &str, script: &str, took: Duration) -> RunReport {
    let message = format!(
        "the script of rule `{rule}` is stuck: {} after its start it had not ended, and no limit stops it; its run was given up and its thread is lost",
        humantime::format_duration(Duration::from_millis(u64::try_from(took.as_millis()).unwrap_or(u64::MAX)))
    );
    let problem = Diagnostic::error(message).in_file(script).help("this is a defect of Pipewright; report it with the script");
    unrun(ScriptErrorKind::Limit, problem, took)
}

fn refused(rule: &str, script: &str, lost: usize) -> RunReport {
    let message = format!("the script was not run: {lost} script threads are lost, and rule `{rule}` lost some of them");
    let problem =
        Diagnostic::error(message).in_file(script).help("change the script; start the daemon anew to have the threads back");
    unrun(ScriptErrorKind::Limit, problem, Duration::ZERO)
}

fn unrun(kind: ScriptErrorKind, diagnostic: Diagnostic, elapsed: Duration) -> RunReport {
    let outcome = Outcome::Error(Box::new(ScriptError { kind, diagnostic }));
    RunReport { outcome, logs: Vec::new(), operations: 0, elapsed, cpu: Duration::ZERO }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::{Memo, Sources};
    use super::*;
    use crate::config::{ScriptConfig, Span};

    const SHORT: Patience =
        Patience { queued: Duration::from_secs(60), running: Duration::from_millis(50), tick: Duration::from_millis(5) };

    /// A script that waits in a host function, where no limit reaches it, until the gate opens.
    fn hanging(gate: &Arc<(Mutex<bool>, Condvar)>) -> Arc<Program> {
        let text = "fn handle(event) { hang(); skip(\"late\"); }";
        let sources = Sources { scripts: [("a.rhai".to_owned(), Arc::from(text))].into(), tables: BTreeMap::new() };
        let limits = ScriptConfig { deadline: Span(Duration::from_millis(5)), ..ScriptConfig::default() };
        let mut program = Program::compile(&sources, &limits).expect("compiles");
        let gate = gate.clone();
        program.engine.register_fn("hang", move || {
            let mut open = gate.0.lock();
            while !*open {
                gate.1.wait(&mut open);
            }
        });
        Arc::new(program)
    }

    fn skipping() -> Arc<Program> {
        let sources = Sources {
            scripts: [("a.rhai".to_owned(), Arc::from("fn handle(event) { skip(\"quick\") }"))].into(),
            tables: BTreeMap::new(),
        };
        Arc::new(Program::compile(&sources, &ScriptConfig::default()).expect("compiles"))
    }

    fn request(rule: &str) -> RunRequest {
        RunRequest {
            rule: Arc::from(rule),
            script: Arc::from("a.rhai"),
            payload: Bytes::from_static(b"{}"),
            message_id: "m".to_owned(),
            memo: Memo::default(),
        }
    }

    fn error(report: RunReport) -> ScriptError {
        match report.outcome {
            Outcome::Error(error) => *error,
            other => panic!("{other:?}"),
        }
    }

    fn open(gate: &(Mutex<bool>, Condvar)) {
        *gate.0.lock() = true;
        gate.1.notify_all();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_stuck_run_is_given_up_and_its_thread_replaced_until_too_many_are_lost() {
        let gate = Arc::default();
        let (pool, hang, quick) = (Pool::start_with(1, SHORT), hanging(&gate), skipping());
        for _ in 0..MOST_LOST {
            let given_up = error(pool.run(hang.clone(), request("bad")).await);
            assert_eq!((given_up.kind, given_up.class()), (ScriptErrorKind::Limit, crate::failure::FailureClass::Permanent));
            assert!(given_up.diagnostic.message.contains("rule `bad` is stuck"), "{}", given_up.diagnostic.message);
            assert!(matches!(pool.run(quick.clone(), request("good")).await.outcome, Outcome::Skip(_)));
        }
        let refused = error(pool.run(hang.clone(), request("bad")).await);
        assert!(refused.diagnostic.message.contains("16 script threads are lost"), "{}", refused.diagnostic.message);
        // Once mended it runs.
        assert!(matches!(pool.run(quick.clone(), request("bad")).await.outcome, Outcome::Skip(_)));
        open(&gate);
        while pool.shared.state.lock().lost > 0 {
            tokio::task::yield_now().await;
        }
        assert!(matches!(pool.run(quick, request("good")).await.outcome, Outcome::Skip(_)));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_run_does_not_wait_for_a_thread_for_ever() {
        let gate = Arc::default();
        let patience = Patience { queued: Duration::from_millis(20), running: Duration::from_secs(60), ..SHORT };
        let pool = Pool::start_with(1, patience);
        let first = tokio::spawn(pool.run(hanging(&gate), request("slow")));
        while pool.shared.state.lock().running.is_empty() {
            tokio::task::yield_now().await;
        }
        for rule in ["slow", "other"] {
            let waited = error(pool.run(skipping(), request(rule)).await);
            assert_eq!((waited.kind, waited.class()), (ScriptErrorKind::Busy, crate::failure::FailureClass::Transient));
        }
        open(&gate);
        assert!(matches!(first.await.expect("ends").outcome, Outcome::Skip(_) | Outcome::Error(_)));
        assert!(matches!(pool.run(skipping(), request("slow")).await.outcome, Outcome::Skip(_)));
    }
}
