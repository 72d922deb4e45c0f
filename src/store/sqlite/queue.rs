//! The queue to the writer.
//!
//! Invariants: bounded by events and bytes for what comes from outside, which is refused beyond (`Overloaded`); an append
//! that fits an empty queue is never refused. Outcomes are never refused: delivery's own concurrency bounds them, and
//! refusing them would only make it repeat work. After the end, every call gets the same answer.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use super::retention::{PruneStep, Pruned};
use crate::store::{Appended, Erase, Erased, NewEvent, Rejected, StoreError, Write};

/// Where an answer goes. The asker may be gone.
pub(super) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// One call.
#[derive(Debug)]
pub(super) enum Job {
    /// The answer brings the events back: the asker's thread has made them, and drops them at less cost than the writer.
    Append(Vec<NewEvent>, Reply<(Vec<Appended>, Vec<NewEvent>)>),
    Reject(Vec<Rejected>, Reply<()>),
    Commit(Vec<Write>, Reply<()>),
    Prune(PruneStep, Reply<Pruned>),
    Erase(Erase, Reply<Erased>),
}

impl Job {
    /// Comes from outside, so that it is refused when there is too much of it or no room.
    pub(super) const fn is_intake(&self) -> bool {
        matches!(self, Self::Append(..) | Self::Reject(..))
    }

    /// Events and bytes.
    fn weight(&self) -> (usize, usize) {
        match self {
            Self::Append(events, _) => (events.len(), events.iter().map(|e| e.payload.len()).sum()),
            Self::Reject(rejected, _) => (rejected.len(), rejected.iter().map(|r| r.payload.len()).sum()),
            Self::Commit(writes, _) => (writes.len(), 0),
            Self::Prune(..) | Self::Erase(..) => (1, 0),
        }
    }

    /// Answers with a refusal.
    pub(super) fn refuse(self, error: &StoreError) {
        // An asker that is gone needs no answer.
        match self {
            Self::Append(_, reply) => drop(reply.send(Err(error.clone()))),
            Self::Reject(_, reply) | Self::Commit(_, reply) => drop(reply.send(Err(error.clone()))),
            Self::Prune(_, reply) => drop(reply.send(Err(error.clone()))),
            Self::Erase(_, reply) => drop(reply.send(Err(error.clone()))),
        }
    }
}

/// How much may wait, and how much one transaction takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) waiting_events: usize,
    pub(super) waiting_bytes: usize,
    pub(super) group_events: usize,
    pub(super) group_bytes: usize,
}

#[derive(Debug)]
pub(super) struct Queue {
    bounds: Bounds,
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct State {
    jobs: VecDeque<Job>,
    intake_events: usize,
    intake_bytes: usize,
    /// What later calls get.
    end: Option<StoreError>,
}

/// What the writer finds.
#[derive(Debug)]
pub(super) enum Taken {
    Jobs(Vec<Job>),
    Idle,
    End,
}

impl Queue {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self { bounds, state: Mutex::default(), wake: Condvar::new() }
    }

    pub(super) fn push(&self, job: Job) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        if let Some(end) = &state.end {
            return Err(end.clone());
        }
        if job.is_intake() {
            let (events, bytes) = job.weight();
            let full = state.intake_events + events > self.bounds.waiting_events
                || state.intake_bytes + bytes > self.bounds.waiting_bytes;
            if full && state.intake_events > 0 {
                return Err(StoreError::Overloaded);
            }
            state.intake_events += events;
            state.intake_bytes += bytes;
        }
        state.jobs.push_back(job);
        drop(state);
        self.wake.notify_one();
        Ok(())
    }

    /// Everything that waits, up to the size of one transaction. While that is written, the next group gathers: this alone
    /// makes the batches, no timer does.
    pub(super) fn take(&self, patience: Option<Duration>) -> Taken {
        let mut state = self.state.lock();
        while state.jobs.is_empty() {
            if state.end.is_some() {
                return Taken::End;
            }
            match patience {
                None => self.wake.wait(&mut state),
                Some(patience) => {
                    if self.wake.wait_for(&mut state, patience).timed_out() {
                        return Taken::Idle;
                    }
                }
            }
        }
        let (mut events, mut bytes, mut jobs) = (0, 0, Vec::new());
        while events < self.bounds.group_events && bytes < self.bounds.group_bytes {
            let Some(job) = state.jobs.pop_front() else { break };
            let weight = job.weight();
            events += weight.0;
            bytes += weight.1;
            if job.is_intake() {
                state.intake_events -= weight.0;
                state.intake_bytes -= weight.1;
            }
            jobs.push(job);
        }
        Taken::Jobs(jobs)
    }

    /// Later calls get `error`; the first end stands. What waits is still done.
    pub(super) fn end(&self, error: StoreError) {
        self.state.lock().end.get_or_insert(error);
        self.wake.notify_all();
    }

    /// Everyone who waits gets `error`, and so does every later call.
    pub(super) fn fail(&self, error: &StoreError) {
        let jobs = {
            let mut state = self.state.lock();
            state.end = Some(error.clone());
            std::mem::take(&mut state.jobs)
        };
        self.wake.notify_all();
        jobs.into_iter().for_each(|job| job.refuse(error));
    }

    /// Why calls are refused, once they are.
    pub(super) fn ended(&self) -> Option<StoreError> {
        self.state.lock().end.clone()
    }
}
