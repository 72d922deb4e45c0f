//! The store on one SQLite file.
//!
//! Invariants:
//! - One thread writes ([`writer`]): it takes whatever calls wait, carries them out in one transaction, and answers after
//!   its fsync. Queries have connections of their own and see all that was answered before they began.
//! - What costs an event is sequential: its payload row, its row in the dedupe window, one row a delivery. Search columns go
//!   into sorted blocks ([`segments`]), counts into one row ([`counters`]).
//! - WAL, `synchronous=FULL`; checkpoints run beside the writer ([`checkpoint`]).
//! - Room that is needed to finish what was accepted is set aside ([`reserve`]); new events never get it.
//! - One daemon a data directory, by a lock that dies with the process ([`open`]).

mod aliases;
mod append;
mod causes;
mod backup;
mod checkpoint;
mod codes;
mod counters;
mod erase;
mod faults;
mod history;
mod lists;
mod names;
mod open;
mod outcome;
mod queue;
mod readers;
mod rejects;
mod reserve;
mod restore;
mod retention;
mod schema;
mod segments;
mod shadow;
mod steady;
mod unmatched;
mod window;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use self::aliases::Joins;
use self::checkpoint::Checkpoints;
use self::codes::{from_span, from_time, to_seq, to_time};
use self::counters::Counters;
use self::names::Names;
use self::open::Paths;
use self::queue::{Bounds, Job, Queue, Reply};
use self::readers::Readers;
use self::reserve::{Refusing, Reserve};
use self::retention::{PruneStep, Pruned};
use self::segments::OpenBlock;
use self::steady::SteadyClock;
use self::window::Window;
use self::writer::{Cache, Keep, Writer};
use super::{
    Aliases, Appended, CauseCount, DeliveryFilter, DeliveryId, DeliveryRow, Erase, Erased, EventRow, Feed, IndexedEntity,
    KnownRow, NewEvent, OutcomeCount, Pending, Rejected, RejectedRow, RejectedText, Seq, ShadowCount, ShadowRow, Store,
    StoreError, StoreStats, StoredEvent, UnmatchedCount, UnmatchedFilter, Write,
};
use crate::config::{MAX_BATCH_EVENTS, RetentionConfig};

pub use backup::{Progress as CopyProgress, backup};
pub use faults::{CommitReport, Elapsed, Fault, FaultHook, Observer};
pub use history::{History, Kept};
pub use restore::{Replaced, restore};

/// Rows that one call of a simple list answers at most.
const LIST_LIMIT: usize = 10_000;
/// Deliveries that one call of [`Store::pending`] answers at most.
const PENDING_LIMIT: usize = 50_000;

/// How to open the store.
#[derive(Clone)]
pub struct OpenOptions {
    /// The data directory; made when it is not there.
    pub dir: PathBuf,
    /// How long a (source, messageId) is remembered.
    pub dedupe_window: Duration,
    /// How many events that no rule wants are kept at most.
    pub max_unmatched: u64,
    /// How many ids aliases may join. In memory, an id takes some 150 bytes besides its text.
    pub max_aliases: usize,
    /// How many refused events are kept.
    pub max_rejected: u32,
    /// Room set aside for outcomes on a full disk; at least twice the 16 MiB that the WAL may hold.
    pub reserve_bytes: usize,
    /// Events that may wait for the writer before more are refused as [`StoreError::Overloaded`].
    pub max_waiting_events: usize,
    /// Payload bytes that may wait for the writer.
    pub max_waiting_bytes: usize,
    /// Connections for queries.
    pub readers: usize,
    /// Whether commits survive a power cut. Off for what is thrown away at the end: script tests and dry runs.
    pub durable: bool,
    /// Told of each transaction; for metrics.
    pub observer: Option<Observer>,
    /// Puts faults in place of commits; for tests.
    pub fault: Option<FaultHook>,
    /// Stands in for the machine's clock that nobody sets, by which the dedupe window is paced; for tests.
    pub elapsed: Option<Elapsed>,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            dir: PathBuf::from("data"),
            dedupe_window: Duration::from_secs(24 * 3600),
            max_unmatched: 200_000,
            max_aliases: 200_000,
            max_rejected: 10_000,
            reserve_bytes: 32 * 1024 * 1024,
            max_waiting_events: MAX_BATCH_EVENTS,
            max_waiting_bytes: 64 * 1024 * 1024,
            readers: 4,
            durable: true,
            observer: None,
            fault: None,
            elapsed: None,
        }
    }
}

impl OpenOptions {
    /// For what is thrown away at the end: nothing is fsynced, and no room is set aside.
    #[must_use]
    pub fn volatile(dir: PathBuf) -> Self {
        Self { dir, durable: false, reserve_bytes: 0, readers: 1, ..Self::default() }
    }
}

impl std::fmt::Debug for OpenOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenOptions").field("dir", &self.dir).finish_non_exhaustive()
    }
}

/// The store on one SQLite file. Dropping it finishes what was handed in and waits for that.
#[derive(Debug)]
pub struct SqliteStore {
    /// How many deliveries have not ended.
    backlog: Arc<AtomicU64>,
    queue: Arc<Queue>,
    readers: Arc<Readers>,
    checkpoints: Arc<Checkpoints>,
    paths: Paths,
    threads: Mutex<Vec<JoinHandle<()>>>,
    refusing: Refusing,
    aliases: Arc<Aliases>,
}

impl SqliteStore {
    /// Takes possession of the data directory, brings the file up to date and starts the writer. Blocks; run it at start.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] when the directory or the file cannot be used; the text says why and what to do.
    pub fn open(options: OpenOptions) -> Result<(Self, Feed), StoreError> {
        let paths = Paths::new(&options.dir, options.durable);
        let lock = paths.take()?;
        let reserve = Reserve::open(paths.reserve.clone(), options.reserve_bytes)
            .map_err(|e| paths.unusable(format!("the reserve file cannot be made: {e}; check the directory's permissions")))?;
        let refusing = reserve.refusing();
        let conn = paths.open_writer()?;
        let started = Instant::now();
        let elapsed = options.elapsed.unwrap_or_else(|| Arc::new(move || started.elapsed()));
        let now = from_time(jiff::Timestamp::now());
        let load = || -> rusqlite::Result<Cache> {
            Ok(Cache {
                names: Names::load(&conn)?,
                window: Window::load(&conn, from_span(options.dedupe_window), SteadyClock::new(Arc::clone(&elapsed), now), now)?,
                block: OpenBlock::load(&conn)?,
                counters: Counters::load(&conn)?,
                joins: Joins::load(&conn, options.max_aliases)?,
            })
        };
        let cache = load().map_err(|e| paths.explain(&e))?;
        let aliases = cache.joins.shared();
        let backlog = Arc::new(AtomicU64::new(cache.counters.pending));
        let checkpoint_conn = paths.connect(2_048).map_err(|e| paths.explain(&e))?;
        let queue = Arc::new(Queue::new(Bounds {
            waiting_events: options.max_waiting_events,
            waiting_bytes: options.max_waiting_bytes,
            group_events: 4_096,
            group_bytes: 16 * 1024 * 1024,
        }));
        let checkpoints = Checkpoints::new(open::BUSY_TIMEOUT);
        let (feed, receiver) = mpsc::unbounded_channel();
        let writer = Writer {
            conn,
            queue: Arc::clone(&queue),
            feed,
            cache,
            keep: Keep { unmatched_rows: options.max_unmatched, rejected_rows: i64::from(options.max_rejected) },
            checkpoints: Arc::clone(&checkpoints),
            reserve,
            fault: options.fault,
            observer: options.observer,
            swept: Instant::now(),
            backlog: Arc::clone(&backlog),
            lock,
        };
        let spawned = |e: std::io::Error| paths.unusable(format!("its threads cannot be started: {e}"));
        let checkpoint_thread = checkpoints.start(checkpoint_conn, Arc::clone(&queue)).map_err(spawned)?;
        let writer_thread =
            std::thread::Builder::new().name("store-writer".to_owned()).spawn(move || writer.run()).map_err(|e| {
                checkpoints.stop();
                spawned(e)
            })?;
        let store = Self {
            queue,
            backlog,
            readers: Readers::new(paths.clone(), options.readers),
            checkpoints,
            paths,
            threads: Mutex::new(vec![writer_thread, checkpoint_thread]),
            refusing,
            aliases,
        };
        Ok((store, receiver))
    }

    /// Hands a call to the writer and waits for its answer.
    async fn ask<T>(&self, job: impl FnOnce(Reply<T>) -> Job) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.queue.push(job(reply))?;
        answer.await.unwrap_or_else(|_| Err(self.queue.ended().unwrap_or(StoreError::Closed)))
    }

    async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&rusqlite::Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        match self.queue.ended() {
            Some(error) => Err(error),
            None => self.readers.read(query).await,
        }
    }

    /// Repeats a step until there is nothing more of it to do.
    async fn prune_all(&self, mut step: impl FnMut(i64) -> PruneStep) -> Result<u64, StoreError> {
        let (mut gone, mut at) = (0, 0);
        loop {
            let next = step(at);
            let Pruned { gone: some, next } = self.ask(|reply| Job::Prune(next, reply)).await?;
            gone += some;
            match next {
                Some(next) => at = next,
                None => return Ok(gone),
            }
        }
    }

    /// Waits for the threads, which end by themselves once the queue has ended.
    fn join(threads: Vec<JoinHandle<()>>) {
        for thread in threads {
            // A writer that panicked has said so to everyone who waited.
            drop(thread.join());
        }
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        self.queue.end(StoreError::Closed);
        self.readers.close();
        Self::join(std::mem::take(&mut *self.threads.lock()));
    }
}

fn capped(limit: usize, most: usize) -> i64 {
    i64::try_from(limit.min(most)).unwrap_or(i64::MAX)
}

#[async_trait]
impl Store for SqliteStore {
    async fn append(&self, events: Vec<NewEvent>) -> Result<Vec<Appended>, StoreError> {
        self.ask(|reply| Job::Append(events, reply)).await.map(|(appended, _)| appended)
    }

    fn backlog(&self) -> u64 {
        self.backlog.load(Ordering::Relaxed)
    }

    fn aliases(&self) -> &Aliases {
        &self.aliases
    }

    async fn reject(&self, rejected: Vec<Rejected>) -> Result<(), StoreError> {
        self.ask(|reply| Job::Reject(rejected, reply)).await
    }

    async fn commit(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        self.ask(|reply| Job::Commit(writes, reply)).await
    }

    async fn pending(&self, after: Option<DeliveryId>, limit: usize) -> Result<Vec<Pending>, StoreError> {
        self.read(move |conn| readers::pending(conn, after.as_ref(), capped(limit, PENDING_LIMIT))).await
    }

    async fn newest(&self) -> Result<Seq, StoreError> {
        self.read(|conn| Counters::load(conn).map(|counters| to_seq(counters.last_seq))).await
    }

    async fn event(&self, seq: Seq) -> Result<Option<StoredEvent>, StoreError> {
        self.read(move |conn| readers::event(conn, seq)).await
    }

    async fn pinned(&self, id: &DeliveryId) -> Result<Option<Vec<u8>>, StoreError> {
        let id = id.clone();
        self.read(move |conn| readers::plan(conn, &id)).await
    }

    async fn index_get(&self, account: &str, kind: &str, field: &str, value: &str) -> Result<Vec<String>, StoreError> {
        let key = [account, kind, field, value].map(str::to_owned);
        self.read(move |conn| readers::index(conn, &key[0], &key[1], &key[2], &key[3])).await
    }

    async fn known_get(&self, account: &str, kind: &str, id: &str) -> Result<Option<KnownRow>, StoreError> {
        let key = [account, kind, id].map(str::to_owned);
        self.read(move |conn| readers::known(conn, &key[0], &key[1], &key[2])).await
    }

    async fn kv_get(&self, space: &str, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let key = [space, key].map(str::to_owned);
        self.read(move |conn| readers::kv(conn, &key[0], &key[1])).await
    }

    async fn kv_list(&self, space: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let space = space.to_owned();
        self.read(move |conn| readers::kv_list(conn, &space)).await
    }

    async fn deliveries(&self, filter: &DeliveryFilter) -> Result<Vec<DeliveryRow>, StoreError> {
        let filter = filter.clone();
        self.read(move |conn| lists::deliveries(conn, &filter)).await
    }

    async fn relatives(&self, seq: Seq) -> Result<Vec<Seq>, StoreError> {
        self.read(move |conn| readers::relatives(conn, seq)).await
    }

    async fn records(&self, id: &DeliveryId) -> Result<Vec<Vec<u8>>, StoreError> {
        let id = id.clone();
        self.read(move |conn| readers::records(conn, &id)).await
    }

    async fn events_by_message(&self, message_id: &str) -> Result<Vec<EventRow>, StoreError> {
        let message_id = message_id.to_owned();
        self.read(move |conn| lists::events_by_message(conn, &message_id)).await
    }

    async fn unmatched(&self, filter: &UnmatchedFilter) -> Result<Vec<EventRow>, StoreError> {
        let filter = filter.clone();
        self.read(move |conn| unmatched::list(conn, &filter)).await
    }

    async fn unmatched_counts(&self, filter: &UnmatchedFilter) -> Result<Vec<UnmatchedCount>, StoreError> {
        let filter = filter.clone();
        self.read(move |conn| unmatched::counts(conn, &filter)).await
    }

    async fn rejected(&self, limit: usize) -> Result<Vec<RejectedRow>, StoreError> {
        self.read(move |conn| rejects::list(conn, capped(limit, LIST_LIMIT))).await
    }

    async fn outcomes(&self) -> Result<Vec<OutcomeCount>, StoreError> {
        self.read(readers::outcomes).await
    }

    async fn shadow_counts(&self) -> Result<Vec<ShadowCount>, StoreError> {
        self.read(shadow::counts).await
    }

    async fn shadow_differences(&self, rule: &str, limit: usize) -> Result<Vec<ShadowRow>, StoreError> {
        let rule = rule.to_owned();
        self.read(move |conn| shadow::differences(conn, &rule, capped(limit, LIST_LIMIT))).await
    }

    async fn causes(&self) -> Result<Vec<CauseCount>, StoreError> {
        self.read(causes::counts).await
    }

    async fn planned_by(&self) -> Result<Vec<String>, StoreError> {
        self.read(readers::planned_by).await
    }

    async fn stats(&self) -> Result<StoreStats, StoreError> {
        let files = [self.paths.database.clone(), self.paths.wal.clone()];
        let refusing = self.refusing.lock().clone();
        self.read(move |conn| {
            let counters = Counters::load(conn)?;
            Ok(StoreStats {
                events: counters.events,
                unmatched: counters.unmatched,
                pending: counters.pending,
                failed: counters.failed,
                rejected: counters.rejected,
                bytes: files.iter().filter_map(|file| std::fs::metadata(file).ok()).map(|m| m.len()).sum(),
                oldest_pending: readers::oldest_pending(conn)?.map(to_time),
                refusing,
            })
        })
        .await
    }

    async fn prune(&self, policy: &RetentionConfig, keep_unmatched: Duration, now: jiff::Timestamp) -> Result<u64, StoreError> {
        let now = from_time(now);
        let unmatched = now.saturating_sub(from_span(keep_unmatched));
        let finished = now.saturating_sub(from_span(policy.events.0));
        let failed = now.saturating_sub(from_span(policy.dead.0));
        let max_bytes = Some(i64::try_from(policy.max_bytes.0).unwrap_or(i64::MAX));
        self.prune_all(|_| PruneStep::Window { now }).await?;
        let mut gone = self.prune_all(|_| PruneStep::Unmatched { cutoff: unmatched, max_bytes: None }).await?;
        gone += self.prune_all(|after| PruneStep::Events { after, finished, failed, max_bytes: None }).await?;
        gone += self.prune_all(|_| PruneStep::Unmatched { cutoff: unmatched, max_bytes }).await?;
        for (finished, failed) in [(i64::MAX, i64::MIN), (i64::MAX, i64::MAX)] {
            gone += self.prune_all(|after| PruneStep::Events { after, finished, failed, max_bytes }).await?;
        }
        self.prune_all(|_| PruneStep::Segments).await?;
        self.prune_all(|_| PruneStep::Shrink { spare: retention::SPARE }).await?;
        Ok(gone)
    }

    async fn events_of(&self, user: &str, before: Option<Seq>, limit: usize) -> Result<Vec<StoredEvent>, StoreError> {
        let user = user.to_owned();
        self.read(move |conn| erase::events_of(conn, &user, before, limit.min(LIST_LIMIT))).await
    }

    async fn rejected_texts(&self, after: i64, limit: usize) -> Result<Vec<RejectedText>, StoreError> {
        self.read(move |conn| erase::rejected_texts(conn, after, capped(limit, LIST_LIMIT))).await
    }

    async fn indexed(&self, kind: &str, value: &str) -> Result<Vec<IndexedEntity>, StoreError> {
        let key = [kind, value].map(str::to_owned);
        self.read(move |conn| erase::indexed(conn, &key[0], &key[1])).await
    }

    async fn erase(&self, step: Erase) -> Result<Erased, StoreError> {
        self.ask(|reply| Job::Erase(step, reply)).await
    }

    async fn scrub(&self) -> Result<bool, StoreError> {
        self.prune_all(|_| PruneStep::Shrink { spare: 0 }).await?;
        let (checkpoints, paths, queue) = (Arc::clone(&self.checkpoints), self.paths.clone(), Arc::clone(&self.queue));
        let emptied = tokio::task::spawn_blocking(move || checkpoints.empty(&paths, &queue));
        emptied.await.map_err(|error| StoreError::Failed(format!("emptying the WAL stopped unexpectedly: {error}")))?
    }

    async fn close(&self) {
        self.queue.end(StoreError::Closed);
        self.readers.close();
        let threads = std::mem::take(&mut *self.threads.lock());
        // The runtime may be shutting down; then dropping the store waits instead.
        drop(tokio::task::spawn_blocking(move || Self::join(threads)).await);
    }
}
