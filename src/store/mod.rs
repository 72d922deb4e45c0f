//! The durable store, as a trait that speaks in batches of intents and outcomes.
//!
//! Invariants:
//! - [`Store::append`] and [`Store::commit`] return `Ok` only after everything in them is committed and fsynced, all or
//!   nothing per call. Calls that wait together share one fsync.
//! - New deliveries are announced through the [`Feed`] in the order of their sequence numbers, after they are durable, and
//!   before `append` returns to the caller. This is the order that the lanes promise.
//! - Payload rows are never updated. What is not delivered is never pruned.
//! - A failed fsync is final: every waiter gets [`StoreError::Failed`] and so does every later call.

pub mod aliases;
mod copied;
mod erase;
mod error;
mod query;
mod shadow;
pub mod sqlite;
mod types;
mod write;

pub use aliases::{Alias, Aliases, Class, Joined, NotJoined};
pub use copied::{COPIES, COPY_OF, CopyError, CopyOf, Held};
pub use erase::{AsOf, Erase, Erased, IndexedEntity, RejectedText, TO_FORGET, ToForget};
pub use error::StoreError;
pub use query::{
    CauseCount, DeliveryFilter, DeliveryRow, EventRow, OutcomeCount, RejectedRow, StoreStats, UnmatchedCount, UnmatchedFilter,
};
pub use shadow::{SHADOW_DIFFERENCES, ShadowCount, ShadowRow, ShadowRun, ShadowVerdict};
pub use types::{
    Appended, Dedupe, DeliveryId, DeliveryState, KnownRow, NewDelivery, NewEvent, ParseDeliveryIdError, Pending, Rejected,
    Repeated, Repeats, ReplayOptions, Seq, StoredEvent,
};
pub use write::{Cause, Finish, LISTED_REASON, Write};

use async_trait::async_trait;

/// Newly durable deliveries, in order. Ends when the store has failed or was closed.
pub type Feed = tokio::sync::mpsc::UnboundedReceiver<Vec<Pending>>;

/// The store. One implementation today (SQLite); PostgreSQL is to come.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Stores events with their deliveries, all of them or none; answers in the order given. It is one transaction however many they are,
    /// and others wait for it: the door bounds them (`server.max_batch_events`, `server.max_batch`).
    async fn append(&self, events: Vec<NewEvent>) -> Result<Vec<Appended>, StoreError>;

    /// How many deliveries have not ended. It costs nothing to ask.
    fn backlog(&self) -> u64;

    /// Which ids are one user, as the aliases of appended events have said. What an append joins is there before it is answered.
    fn aliases(&self) -> &Aliases;

    /// Keeps what ingest refused, for `events list --rejected`; bounded, no durability promise.
    async fn reject(&self, rejected: Vec<Rejected>) -> Result<(), StoreError>;

    /// Carries out the writes in order, in one transaction.
    async fn commit(&self, writes: Vec<Write>) -> Result<(), StoreError>;

    /// Pending deliveries after `after`, ordered by (seq, rule position), at most `limit`.
    async fn pending(&self, after: Option<DeliveryId>, limit: usize) -> Result<Vec<Pending>, StoreError>;

    /// The number of the newest event, kept or not; 0 when there was none.
    async fn newest(&self) -> Result<Seq, StoreError>;

    /// One event.
    async fn event(&self, seq: Seq) -> Result<Option<StoredEvent>, StoreError>;

    /// The pinned plan of a pending delivery.
    async fn pinned(&self, id: &DeliveryId) -> Result<Option<Vec<u8>>, StoreError>;

    /// Ids that the match index holds for a value. `kind` is [`crate::store`]-opaque text, as are ids.
    async fn index_get(&self, account: &str, kind: &str, field: &str, value: &str) -> Result<Vec<String>, StoreError>;

    /// Known values of an entity.
    async fn known_get(&self, account: &str, kind: &str, id: &str) -> Result<Option<KnownRow>, StoreError>;

    /// A small named value.
    async fn kv_get(&self, space: &str, key: &str) -> Result<Option<Vec<u8>>, StoreError>;

    /// All of a space, ordered by key.
    async fn kv_list(&self, space: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError>;

    /// Deliveries that fit the filter, newest first. Of long reasons it has the beginning ([`LISTED_REASON`]), so that a page stays small;
    /// [`Store::records`] has the whole of them.
    async fn deliveries(&self, filter: &DeliveryFilter) -> Result<Vec<DeliveryRow>, StoreError>;

    /// Decision records of one delivery, oldest attempt first (JSON documents).
    async fn records(&self, id: &DeliveryId) -> Result<Vec<Vec<u8>>, StoreError>;

    /// The events that repeat one another, by replays and edits: the first of them, all that came of it and this one itself, in order. Those
    /// that are no longer kept are among them where another one names them.
    async fn relatives(&self, seq: Seq) -> Result<Vec<Seq>, StoreError>;

    /// Events by message id (exact), newest first, or all of one seq; for `events show`.
    async fn events_by_message(&self, message_id: &str) -> Result<Vec<EventRow>, StoreError>;

    /// Unmatched events that fit the filter, newest first unless it has `after`.
    async fn unmatched(&self, filter: &UnmatchedFilter) -> Result<Vec<EventRow>, StoreError>;

    /// How many unmatched events fit the filter by type and name, the most frequent first, at most 100; the filter's limit plays no part.
    async fn unmatched_counts(&self, filter: &UnmatchedFilter) -> Result<Vec<UnmatchedCount>, StoreError>;

    /// What ingest refused, newest first.
    async fn rejected(&self, limit: usize) -> Result<Vec<RejectedRow>, StoreError>;

    /// How many deliveries ended how, by the script set that ran, rule and state.
    async fn outcomes(&self) -> Result<Vec<OutcomeCount>, StoreError>;

    /// What has failed and was not repeated since, by cause, rule, script set and state, the most frequent first.
    async fn causes(&self) -> Result<Vec<CauseCount>, StoreError>;

    /// How many runs of shadow scripts came to what.
    async fn shadow_counts(&self) -> Result<Vec<ShadowCount>, StoreError>;

    /// The newest deliveries of a rule of which its shadow makes something else, newest first, at most `limit`.
    async fn shadow_differences(&self, rule: &str, limit: usize) -> Result<Vec<ShadowRow>, StoreError>;

    /// The script sets that made the plans which are pinned.
    async fn planned_by(&self) -> Result<Vec<String>, StoreError>;

    /// Counts and sizes.
    async fn stats(&self) -> Result<StoreStats, StoreError>;

    /// Drops what retention allows, in small steps, and unmatched events older than `keep_unmatched`; answers how many events went.
    async fn prune(
        &self,
        policy: &crate::config::RetentionConfig,
        keep_unmatched: std::time::Duration,
        now: jiff::Timestamp,
    ) -> Result<u64, StoreError>;

    /// Events of either kind whose search column `user` holds this text, newest first, below `before`, at most `limit`.
    async fn events_of(&self, user: &str, before: Option<Seq>, limit: usize) -> Result<Vec<StoredEvent>, StoreError>;

    /// Refused events after the number `after`, oldest first, at most `limit`.
    async fn rejected_texts(&self, after: i64, limit: usize) -> Result<Vec<RejectedText>, StoreError>;

    /// Entities of a kind that this value of a custom field leads to in the match index, in all accounts.
    async fn indexed(&self, kind: &str, value: &str) -> Result<Vec<IndexedEntity>, StoreError>;

    /// Erases; answers how much there was.
    async fn erase(&self, step: Erase) -> Result<Erased, StoreError>;

    /// Gives back the room of what was deleted, so that it is not in the files any more. False when somebody kept reading from the log of
    /// changes, so that it could not be emptied: ask again.
    async fn scrub(&self) -> Result<bool, StoreError>;

    /// Finishes what was handed in and closes; later calls answer [`StoreError::Closed`].
    async fn close(&self);
}
