//! Checkpoints: moving what is in the WAL into the file.
//!
//! An inline checkpoint would be the p99 of every append. So a thread of its own copies passively, a few times a second
//! while there is something to copy. The WAL can only start over when all of it is copied and nobody reads from it, which
//! under load never happens by chance; beyond a bound the thread copies without a rest, and the writer itself makes that happen as
//! soon as little is left to copy, or else at twice the bound. While somebody reads for long, such as a backup, it cannot happen: then the
//! writer waits for it only now and then, and the WAL grows meanwhile.
//!
//! Invariant: an error here other than lack of room or a lock ends the store, for it may be a failed fsync.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use rusqlite::Connection;
use tokio::time::Instant;

use super::codes::Trouble;
use super::open::Paths;
use super::queue::Queue;
use crate::store::StoreError;

/// Between two passive checkpoints.
const REST: Duration = Duration::from_millis(200);
/// Pages in the WAL beyond which the writer makes it start over: 16 MiB. The reserve has room for all of it twice.
const BOUND: i64 = 2_048;
/// Pages that the writer copies by itself without being felt.
const LITTLE: i64 = 256;
/// How long the writer waits for readers of old pages.
const PATIENCE: Duration = Duration::from_millis(20);
/// How long it does not wait again, when they stayed: else every commit would wait while a backup is read.
const RESIGNED: Duration = Duration::from_millis(500);
/// How long an erasure waits for them.
const EMPTYING: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Checkpoints {
    state: Mutex<State>,
    wake: Condvar,
    /// Held while a checkpoint runs.
    running: Mutex<()>,
    /// When the writer has waited in vain.
    in_vain: Mutex<Option<Instant>>,
    busy_timeout: Duration,
}

#[derive(Debug, Default)]
struct State {
    /// There were commits since the last checkpoint.
    dirty: bool,
    /// The next one is not to wait.
    urgent: bool,
    stopped: bool,
}

impl Checkpoints {
    pub(super) fn new(busy_timeout: Duration) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            wake: Condvar::new(),
            running: Mutex::default(),
            in_vain: Mutex::default(),
            busy_timeout,
        })
    }

    /// Starts the thread, on a connection of its own.
    pub(super) fn start(self: &Arc<Self>, conn: Connection, queue: Arc<Queue>) -> std::io::Result<JoinHandle<()>> {
        let this = Arc::clone(self);
        std::thread::Builder::new().name("store-checkpoint".to_owned()).spawn(move || this.run(&conn, &queue))
    }

    fn run(&self, conn: &Connection, queue: &Queue) {
        loop {
            {
                let mut state = self.state.lock();
                while !state.dirty && !state.stopped {
                    self.wake.wait(&mut state);
                }
                if state.stopped {
                    return;
                }
                state.dirty = false;
                state.urgent = false;
            }
            let result = {
                let _running = self.running.lock();
                checkpoint(conn, "PASSIVE")
            };
            if let Err(trouble) = result {
                report(trouble, queue);
            }
            let mut state = self.state.lock();
            self.wake.wait_while_for(&mut state, |state| !state.stopped && !state.urgent, REST);
        }
    }

    /// The writer has committed.
    pub(super) fn committed(&self, conn: &Connection, queue: &Queue) {
        {
            let mut state = self.state.lock();
            if !state.dirty {
                state.dirty = true;
                self.wake.notify_one();
            }
        }
        // Looks at the WAL's length, takes no lock and copies nothing.
        let result = checkpoint(conn, "NOOP").and_then(|Progress { pages, copied, .. }| {
            let running = match pages {
                ..BOUND => None,
                _ if self.is_resigned() => None,
                // A passive one under way is left alone: this is tried again after the next commit.
                pages if pages < 2 * BOUND && pages - copied <= LITTLE => self.running.try_lock(),
                pages if pages < 2 * BOUND => {
                    self.urge();
                    None
                }
                _ => Some(self.running.lock()),
            };
            running.map_or(Ok(()), |_running| self.impatiently(conn, "RESTART"))
        });
        if let Err(trouble) = result {
            report(trouble, queue);
        }
    }

    /// The thread is to go on without a rest.
    fn urge(&self) {
        let mut state = self.state.lock();
        if !state.urgent {
            state.urgent = true;
            self.wake.notify_one();
        }
    }

    /// Empties the WAL and gives its room back, on a disk that is full.
    pub(super) fn make_room(&self, conn: &Connection, queue: &Queue) {
        let _running = self.running.lock();
        if let Err(trouble) = self.impatiently(conn, "TRUNCATE") {
            report(trouble, queue);
        }
    }

    /// Readers of old pages can keep the WAL from starting over; then it is tried again after the next commit.
    fn impatiently(&self, conn: &Connection, mode: &str) -> Result<(), Trouble> {
        conn.busy_timeout(PATIENCE)?;
        let result = checkpoint(conn, mode);
        conn.busy_timeout(self.busy_timeout)?;
        let Progress { busy, .. } = result?;
        *self.in_vain.lock() = busy.then(Instant::now);
        Ok(())
    }

    fn is_resigned(&self) -> bool {
        self.in_vain.lock().is_some_and(|at| at.elapsed() < RESIGNED)
    }

    /// Empties the WAL on a connection of its own, waiting a while for readers of old pages; false when they stayed.
    pub(super) fn empty(&self, paths: &Paths, queue: &Queue) -> Result<bool, StoreError> {
        let conn = paths.connect(2_048).map_err(|error| StoreError::from(Trouble::from(error)))?;
        conn.busy_timeout(EMPTYING).map_err(|error| StoreError::from(Trouble::from(error)))?;
        let _running = self.running.lock();
        let emptied = conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0)).map_err(Trouble::from);
        match emptied {
            Ok(busy) => Ok(busy == 0),
            Err(Trouble::Busy) => Ok(false),
            Err(trouble) => {
                let error = StoreError::Failed(format!("checkpoint: {trouble:?}"));
                report(trouble, queue);
                Err(error)
            }
        }
    }

    /// The last one, when the store is closed in order: the file is whole without its WAL.
    pub(super) fn finish(&self, conn: &Connection) {
        let _running = self.running.lock();
        if let Err(trouble) = checkpoint(conn, "TRUNCATE") {
            tracing::warn!(reason = ?trouble, "the WAL was not emptied at closing; the next start reads it");
        }
    }

    pub(super) fn stop(&self) {
        self.state.lock().stopped = true;
        self.wake.notify_all();
    }
}

/// How full the WAL is.
struct Progress {
    /// Somebody kept it from going all the way.
    busy: bool,
    pages: i64,
    /// Of these, those that are in the file, too.
    copied: i64,
}

/// Runs one.
fn checkpoint(conn: &Connection, mode: &str) -> Result<Progress, Trouble> {
    let mut statement = conn.prepare_cached(&format!("PRAGMA wal_checkpoint({mode})"))?;
    Ok(statement.query_row([], |row| Ok(Progress { busy: row.get(0)?, pages: row.get(1)?, copied: row.get(2)? }))?)
}

fn report(trouble: Trouble, queue: &Queue) {
    match trouble {
        // The next append meets it too, and knows what to do.
        Trouble::Full(reason) => tracing::warn!(%reason, "no room to move the WAL into the store's file"),
        Trouble::Busy => {}
        Trouble::Fatal(why) => {
            let error = StoreError::Failed(format!("checkpoint: {why}"));
            tracing::error!(%error, "the store failed; the process must restart and recover from disk");
            queue.fail(&error);
        }
    }
}
