//! The one thread that writes.
//!
//! Invariants:
//! - One transaction takes whatever waits; everyone in it is answered after its fsync, never before. New deliveries go to
//!   the feed between the two.
//! - A call that is refused for its content leaves the others of its transaction alone: it is judged before it writes.
//! - After a rollback, what is cached of the file is read anew before it is used again.
//! - An error whose effect on the disk is not known is final: no second fsync, no checkpoint, no answer but `Failed`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;

use super::aliases::Joins;
use super::checkpoint::Checkpoints;
use super::codes::{Trouble, from_time};
use super::counters::Counters;
use super::faults::{CommitReport, Fault, FaultHook, Observer};
use super::names::Names;
use super::open::DirLock;
use super::queue::{Job, Queue, Taken};
use super::reserve::Reserve;
use super::retention::Pruned;
use super::segments::OpenBlock;
use super::window::Window;
use super::{append, erase, outcome, rejects, retention};
use crate::crash;
use crate::store::{Appended, Erased, Pending, StoreError};

/// How often the dedupe window is swept.
const SWEEP: Duration = Duration::from_millis(200);

/// What the writer keeps of the file in memory.
#[derive(Debug)]
pub(super) struct Cache {
    pub(super) names: Names,
    pub(super) window: Window,
    pub(super) block: OpenBlock,
    pub(super) counters: Counters,
    pub(super) joins: Joins,
}

/// Bounds of what is kept without a promise.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keep {
    /// Unmatched events: how many.
    pub(super) unmatched_rows: u64,
    /// Refused events: how many.
    pub(super) rejected_rows: i64,
}

pub(super) struct Writer {
    pub(super) conn: Connection,
    pub(super) queue: Arc<Queue>,
    pub(super) feed: UnboundedSender<Vec<Pending>>,
    pub(super) cache: Cache,
    pub(super) keep: Keep,
    pub(super) checkpoints: Arc<Checkpoints>,
    /// What others see of the count of pending deliveries.
    pub(super) backlog: Arc<AtomicU64>,
    pub(super) reserve: Reserve,
    pub(super) fault: Option<FaultHook>,
    pub(super) observer: Option<Observer>,
    pub(super) swept: Instant,
    /// Held until the connection is gone.
    pub(super) lock: DirLock,
}

/// What a call gets once its transaction is durable.
enum Answer {
    Appended(Vec<Appended>),
    Done,
    Refused(StoreError),
    Pruned(Pruned),
    Erased(Erased),
}

impl Writer {
    /// Works until the queue ends or the file fails.
    pub(super) fn run(mut self) {
        let guard = PanicGuard(Arc::clone(&self.queue));
        loop {
            let patience = self.reserve.patience();
            match self.queue.take(patience) {
                Taken::Jobs(jobs) => {
                    if let Err(error) = self.group(jobs) {
                        tracing::error!(%error, "the store failed; the process must restart and recover from disk");
                        self.queue.fail(&error);
                        break;
                    }
                    if self.reserve.is_released() {
                        self.checkpoints.make_room(&self.conn, &self.queue);
                    } else {
                        self.checkpoints.committed(&self.conn, &self.queue);
                    }
                }
                Taken::Idle => {}
                Taken::End => {
                    // Nothing is copied out of the WAL once an fsync has failed.
                    if matches!(self.queue.ended(), Some(StoreError::Closed)) {
                        self.checkpoints.finish(&self.conn);
                    }
                    break;
                }
            }
            self.reserve.restore();
        }
        self.checkpoints.stop();
        let Self { conn, lock, .. } = self;
        drop(conn);
        drop(lock);
        std::mem::forget(guard);
    }

    /// Writes and answers one group.
    fn group(&mut self, jobs: Vec<Job>) -> Result<(), StoreError> {
        let jobs = match self.reserve.released_for() {
            Some(why) => refuse_intake(jobs, why),
            None => jobs,
        };
        match self.try_group(jobs) {
            Ok(()) => Ok(()),
            Err((jobs, Trouble::Full(why))) => {
                self.reserve.release(&why);
                self.checkpoints.make_room(&self.conn, &self.queue);
                self.try_group(refuse_intake(jobs, &why)).or_else(|(jobs, trouble)| refuse(jobs, trouble))
            }
            Err((jobs, trouble)) => refuse(jobs, trouble),
        }
    }

    /// Writes and answers, or gives the calls back unanswered, rolled back.
    fn try_group(&mut self, jobs: Vec<Job>) -> Result<(), (Vec<Job>, Trouble)> {
        if jobs.is_empty() {
            return Ok(());
        }
        let started = Instant::now();
        let mut fresh = Vec::new();
        match self.transaction(&jobs, &mut fresh) {
            Ok(answers) => {
                self.cache.window.keep();
                self.cache.joins.keep();
                if let Some(observer) = &self.observer {
                    observer(&CommitReport { calls: jobs.len(), deliveries: fresh.len(), took: started.elapsed() });
                }
                if !fresh.is_empty() {
                    // A feed without a reader belongs to a tool that only looks.
                    drop(self.feed.send(fresh));
                }
                jobs.into_iter().zip(answers).for_each(|(job, answer)| give(job, answer));
                Ok(())
            }
            Err(Trouble::Fatal(why)) => Err((jobs, Trouble::Fatal(why))),
            Err(trouble) => match self.roll_back() {
                Ok(()) => Err((jobs, trouble)),
                Err(error) => Err((jobs, Trouble::Fatal(format!("rolling back: {error}")))),
            },
        }
    }

    fn transaction(&mut self, jobs: &[Job], fresh: &mut Vec<Pending>) -> Result<Vec<Answer>, Trouble> {
        let Self { conn, cache, keep, backlog, .. } = self;
        conn.execute_batch("BEGIN IMMEDIATE")?;
        let before = cache.counters;
        let mut answers = Vec::with_capacity(jobs.len());
        let mut inserts = None;
        for job in jobs {
            answers.push(match job {
                Job::Append(events, _) => {
                    let inserts = match &mut inserts {
                        Some(inserts) => inserts,
                        none => none.insert(append::Inserts::of(conn)?),
                    };
                    Answer::Appended(append::append(conn, inserts, cache, keep, events, fresh)?)
                }
                Job::Reject(rejected, _) => {
                    rejects::insert(conn, &mut cache.counters, keep, rejected)?;
                    Answer::Done
                }
                Job::Commit(writes, _) => match outcome::judge(conn, &cache.names, writes)? {
                    Some(refusal) => Answer::Refused(refusal),
                    None => {
                        outcome::apply(conn, cache, writes)?;
                        Answer::Done
                    }
                },
                Job::Erase(step, _) => Answer::Erased(erase::step(conn, cache, step)?),
                Job::Prune(step, _) => Answer::Pruned(retention::step(conn, cache, *step)?),
            });
        }
        if self.swept.elapsed() >= SWEEP {
            self.swept = Instant::now();
            cache.window.sweep(conn, from_time(jiff::Timestamp::now()))?;
        }
        if cache.counters != before {
            cache.counters.save(conn)?;
        }
        if let Some(fault) = self.fault.as_ref().and_then(|hook| hook(jobs.iter().any(Job::is_intake))) {
            return Err(match fault {
                Fault::DiskFull => Trouble::Full("injected".to_owned()),
                Fault::Io => Trouble::Fatal("injected".to_owned()),
            });
        }
        crash::point(crash::BEFORE_COMMIT);
        conn.execute_batch("COMMIT")?;
        backlog.store(cache.counters.pending, Ordering::Relaxed);
        crash::point(crash::AFTER_COMMIT);
        Ok(answers)
    }

    /// Undoes the transaction and forgets what was cached of it.
    fn roll_back(&mut self) -> rusqlite::Result<()> {
        // SQLite has rolled back by itself after some errors.
        if !self.conn.is_autocommit() {
            self.conn.execute_batch("ROLLBACK")?;
        }
        self.cache.window.undo();
        self.cache.joins.undo();
        self.cache.names = Names::load(&self.conn)?;
        self.cache.block = OpenBlock::load(&self.conn)?;
        self.cache.counters = Counters::load(&self.conn)?;
        Ok(())
    }
}

fn give(job: Job, answer: Answer) {
    // An asker that is gone needs no answer.
    match (job, answer) {
        (Job::Append(events, reply), Answer::Appended(appended)) => drop(reply.send(Ok((appended, events)))),
        (Job::Prune(_, reply), Answer::Pruned(pruned)) => drop(reply.send(Ok(pruned))),
        (Job::Erase(_, reply), Answer::Erased(erased)) => drop(reply.send(Ok(erased))),
        (Job::Reject(_, reply) | Job::Commit(_, reply), Answer::Done) => drop(reply.send(Ok(()))),
        (job, Answer::Refused(error)) => job.refuse(&error),
        (job, _) => job.refuse(&StoreError::Failed("a call got the answer of another".to_owned())),
    }
}

/// Everyone gets the trouble; what is fatal ends the writer.
fn refuse(jobs: Vec<Job>, trouble: Trouble) -> Result<(), StoreError> {
    if matches!(trouble, Trouble::Busy) {
        tracing::warn!("another program holds the store's write lock; calls are refused until it lets go");
    }
    let fatal = matches!(trouble, Trouble::Fatal(_));
    let error = StoreError::from(trouble);
    jobs.into_iter().for_each(|job| job.refuse(&error));
    if fatal { Err(error) } else { Ok(()) }
}

/// Refuses what comes from outside; the rest goes on.
fn refuse_intake(jobs: Vec<Job>, why: &str) -> Vec<Job> {
    let (intake, rest): (Vec<_>, Vec<_>) = jobs.into_iter().partition(Job::is_intake);
    intake.into_iter().for_each(|job| job.refuse(&StoreError::Full(why.to_owned())));
    rest
}

/// Should the writer panic, nobody waits for ever: unwinding ends the queue.
struct PanicGuard(Arc<Queue>);

impl Drop for PanicGuard {
    fn drop(&mut self) {
        self.0.fail(&StoreError::Failed("the writer thread stopped unexpectedly".to_owned()));
    }
}
