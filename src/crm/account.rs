//! One account's whole state.
//!
//! Invariants: metadata that is too old is still used when it cannot be fetched anew; however many ask for a refresh at once, one
//! fetch is made, and not more than one in [`REFRESH_AT_MOST`]; the last fetched metadata is kept in the store with its time, so that a
//! restart needs Pipedrive no sooner than it would have been asked anyway, and as Pipedrive gave it; what is answered has the names that the schema file pins.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use jiff::{SignedDuration, Timestamp};
use parking_lot::{Mutex, RwLock};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::lists::Lists;
use super::time::earlier;
use super::together::Together;
use super::{Gathering, Metadata, Mirror, SchemaChange, Webhooks, fetch_metadata, pin};
use crate::config::AccountConfig;
use crate::pipedrive::{ApiError, Client, Kind, Session};
use crate::store::{Store, StoreError, Write};
use crate::telemetry::Metrics;

/// A name that is still unknown after a fetch stays so this long, however many deliveries ask.
pub const REFRESH_AT_MOST: Duration = Duration::from_secs(30);
/// Where the store keeps fetched metadata; the key is the account's name.
const SPACE: &str = "metadata";

/// The accounts by name; replaced whole when the configuration changes.
pub type Accounts = Arc<RwLock<BTreeMap<Arc<str>, Arc<Account>>>>;

/// One account.
pub struct Account {
    /// Its name in `rules.toml`.
    pub name: Arc<str>,
    /// The way to Pipedrive.
    pub client: Client,
    /// Where index and known values are.
    pub store: Arc<dyn Store>,
    /// Its settings.
    pub config: AccountConfig,
    /// Where look-ups are counted.
    pub metrics: Metrics,
    metadata: ArcSwapOption<Snapshot>,
    schema: Mutex<Pinned>,
    fetching: tokio::sync::Mutex<()>,
    /// The last fetch, when it failed.
    failed: Mutex<Option<(Instant, ApiError)>>,
    /// When a value that is not known may be looked for again.
    looks: Mutex<Looks>,
    /// Lists that make the match index complete.
    pub mirror: Mirror,
    /// What Pipedrive tells by itself.
    pub webhooks: Webhooks,
    /// Deliveries that wait for others, to share a request with them.
    pub gathering: Gathering,
    /// Reads that wait.
    pub(super) together: Together,
    pub(super) lists: Lists,
    /// Who schedules its deliveries.
    listener: OnceLock<Listener>,
}

/// Hears of writes that were committed.
pub type Learned = Arc<dyn Fn(&[Write]) + Send + Sync>;

/// What whoever schedules deliveries hears of an account.
#[derive(Clone)]
pub struct Listener {
    /// What was learned beside the outcomes of deliveries: the writes that were committed.
    pub learned: Learned,
    /// A delivery begins to wait for others ([`Gathering::waiting`]).
    pub waits: Arc<Notify>,
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Listener")
    }
}

/// Fetches for values that the metadata does not have.
#[derive(Default)]
struct Looks {
    /// Not before which there is another one; none: at once.
    next: Option<Instant>,
    /// The time from the last one to the next.
    wait: Duration,
}

/// The schema file's part.
#[derive(Default)]
struct Pinned {
    /// What names are pinned to.
    to: Option<Arc<Metadata>>,
    /// How the account differed from it when it last answered; what was in it is not logged again.
    changes: Arc<[SchemaChange]>,
}

/// What the store keeps.
#[derive(Deserialize)]
struct KeptMetadata {
    /// When it was fetched.
    at: Timestamp,
    metadata: Arc<Metadata>,
}

struct Snapshot {
    /// As Pipedrive gave it.
    answer: Arc<Metadata>,
    /// The same with the schema's names.
    metadata: Arc<Metadata>,
    /// None: of unknown age.
    fetched: Option<Instant>,
    /// From the store: what was added to the account since, while nothing ran here, is not in it.
    kept: bool,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Account {
    /// An account without metadata yet.
    #[must_use]
    pub fn new(
        name: impl Into<Arc<str>>,
        client: Client,
        store: Arc<dyn Store>,
        config: AccountConfig,
        metrics: Metrics,
    ) -> Self {
        let metadata = ArcSwapOption::empty();
        let fetching = tokio::sync::Mutex::new(());
        let schema = Mutex::new(Pinned::default());
        let (failed, looks) = (Mutex::new(None), Mutex::new(Looks::default()));
        Self {
            name: name.into(),
            client,
            store,
            config,
            metrics,
            metadata,
            schema,
            fetching,
            failed,
            looks,
            mirror: Mirror::default(),
            webhooks: Webhooks::default(),
            gathering: Gathering::default(),
            together: Together::default(),
            lists: Lists::default(),
            listener: OnceLock::new(),
        }
    }

    /// Who schedules its deliveries; the first who is named.
    pub fn attach(&self, listener: Listener) {
        self.gathering.attach(listener.waits.clone());
        drop(self.listener.set(listener));
    }

    /// Since when what was seen of entities of a kind counts, if it does for this long: what was seen before a sweep of that time does, too,
    /// since the sweep told what others changed.
    #[must_use]
    pub fn seen_counts_since(&self, kind: Kind, trusted: Duration) -> Timestamp {
        if self.mirror.swept_within(kind, trusted) {
            return Timestamp::MIN;
        }
        earlier(Timestamp::now(), trusted)
    }

    pub(super) fn learned(&self, writes: &[Write]) {
        if let Some(listener) = self.listener.get() {
            (listener.learned)(writes);
        }
    }

    /// Pins names to the keys that they have in a schema file, or to none. Holds at once and for whatever is fetched later.
    pub fn pin_to(&self, schema: Option<Arc<Metadata>>) {
        self.schema.lock().to = schema;
        if let Some(now) = self.metadata.load_full() {
            self.metadata.store(Some(Arc::new(self.snapshot(Arc::clone(&now.answer), now.fetched, now.kept))));
        }
    }

    /// How the account differed from its schema file when it last answered; empty without one.
    #[must_use]
    pub fn schema_changes(&self) -> Arc<[SchemaChange]> {
        Arc::clone(&self.schema.lock().changes)
    }

    fn snapshot(&self, answer: Arc<Metadata>, fetched: Option<Instant>, kept: bool) -> Snapshot {
        let mut schema = self.schema.lock();
        let Some(pinned) = &schema.to else {
            schema.changes = Arc::default();
            return Snapshot { metadata: Arc::clone(&answer), answer, fetched, kept };
        };
        let (metadata, changes) = pin(pinned, &answer);
        for change in changes.iter().filter(|change| change.matters() && !schema.changes.contains(change)) {
            tracing::warn!(account = %self.name, "{}", change.brief());
        }
        schema.changes = changes.into();
        Snapshot { answer, metadata: Arc::new(metadata), fetched, kept }
    }

    /// Takes the metadata that the store kept, when there is some; answers whether.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn load_kept_metadata(&self) -> Result<bool, StoreError> {
        let kept = self.store.kv_get(SPACE, &self.name).await?;
        // What another version wrote and this one cannot read is fetched anew.
        let kept: Option<KeptMetadata> = kept.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let Some(KeptMetadata { at, metadata }) = kept else { return Ok(false) };
        // Of a clock that was set back nobody can tell how old it is.
        let age = Duration::try_from(Timestamp::now().duration_since(at)).ok();
        let fetched = age.and_then(|age| Instant::now().checked_sub(age));
        let snapshot = self.snapshot(metadata, fetched, true);
        self.metadata.compare_and_swap(&None::<Arc<Snapshot>>, Some(Arc::new(snapshot)));
        Ok(true)
    }

    /// Sets the metadata, as if fetched now.
    pub fn set_metadata(&self, metadata: Metadata) {
        self.metadata.store(Some(Arc::new(self.snapshot(Arc::new(metadata), Some(Instant::now()), false))));
    }

    /// The metadata as last known; empty before the first fetch, see [`Self::ready_metadata`].
    #[must_use]
    pub fn metadata(&self) -> Arc<Metadata> {
        self.metadata.load().as_ref().map(|snapshot| Arc::clone(&snapshot.metadata)).unwrap_or_default()
    }

    /// What the account last answered, without the names of its schema file; none before the first fetch.
    #[must_use]
    pub fn answer(&self) -> Option<Arc<Metadata>> {
        self.metadata.load().as_ref().map(|snapshot| Arc::clone(&snapshot.answer))
    }

    /// The metadata, fetched when there is none or it is older than `metadata_ttl`. What is too old goes on when fetching fails.
    ///
    /// # Errors
    /// When there is none and it cannot be fetched.
    pub async fn ready_metadata(&self, session: &Session) -> Result<Arc<Metadata>, ApiError> {
        let asked = Instant::now();
        let Some(now) = self.metadata.load_full() else {
            return self.fetch(session, asked).await;
        };
        let fresh = now.fetched.is_some_and(|at| asked - at < self.config.metadata_ttl.get());
        // While Pipedrive is down, deliveries do not each try to fetch before they go on with what is known.
        let fresh = fresh || self.failed.lock().as_ref().is_some_and(|(at, _)| asked - *at < REFRESH_AT_MOST);
        if fresh {
            Ok(Arc::clone(&now.metadata))
        } else {
            Ok(self.fetch(session, asked).await.unwrap_or_else(|_| self.metadata()))
        }
    }

    /// Fetches the metadata because something in it is missing or wrong (an unknown name, a refused field). Those who ask together
    /// get the result of one fetch; what was fetched within [`REFRESH_AT_MOST`] is answered as it is, so compare before trying again.
    ///
    /// # Errors
    /// When it cannot be fetched.
    pub async fn refresh_metadata(&self, session: &Session) -> Result<Arc<Metadata>, ApiError> {
        let asked = Instant::now();
        if let Some(now) = self.metadata.load_full()
            && !now.kept
            && now.fetched.is_some_and(|at| asked - at < REFRESH_AT_MOST)
        {
            return Ok(Arc::clone(&now.metadata));
        }
        self.fetch(session, asked).await
    }

    /// Fetches the metadata because a value is not in it (an option, a user, a stage), so that what a person added a moment ago is known.
    /// Many events may hold values that nobody will ever add: there is no fetch for them within [`REFRESH_AT_MOST`] of the last, and after
    /// each that brought nothing new the time to the next doubles, up to `metadata_ttl`. Without a fetch the metadata is answered as it is.
    ///
    /// # Errors
    /// When it cannot be fetched.
    pub async fn refresh_for_value(&self, session: &Session) -> Result<Arc<Metadata>, ApiError> {
        let asked = Instant::now();
        if self.looks.lock().next.is_some_and(|next| asked < next) {
            return Ok(self.metadata());
        }
        let before = self.answer();
        let fetched = self.fetch(session, asked).await?;
        let news = before != self.answer();
        let mut looks = self.looks.lock();
        // Those who asked together have looked once.
        if looks.next.is_none_or(|next| next <= asked) {
            let longest = self.config.metadata_ttl.get().max(REFRESH_AT_MOST);
            looks.wait = if news { REFRESH_AT_MOST } else { (looks.wait * 2).clamp(REFRESH_AT_MOST, longest) };
            looks.next = Some(asked + looks.wait);
        }
        Ok(fetched)
    }

    /// One fetch for all who asked before it ended.
    async fn fetch(&self, session: &Session, asked: Instant) -> Result<Arc<Metadata>, ApiError> {
        let _fetching = self.fetching.lock().await;
        if let Some(now) = self.metadata.load_full()
            && now.fetched.is_some_and(|at| at >= asked)
        {
            return Ok(Arc::clone(&now.metadata));
        }
        if let Some((_, error)) = self.failed.lock().as_ref().filter(|(at, _)| *at >= asked) {
            return Err(error.clone());
        }
        match fetch_metadata(session).await {
            Ok(metadata) => {
                *self.failed.lock() = None;
                self.metrics.metadata_refreshed(&self.name);
                self.keep(&metadata, Timestamp::now()).await;
                self.set_metadata(metadata);
                Ok(self.metadata())
            }
            Err(error) => {
                self.metrics.metadata_refresh_failed(&self.name, error.class());
                *self.failed.lock() = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    /// No fetch begins or ends while this is held.
    pub(super) async fn alone(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.fetching.lock().await
    }

    /// Changes what is known, without making it newer. Only while no fetch is under way ([`Self::alone`]).
    pub(super) async fn amend(&self, change: impl FnOnce(&mut Metadata)) {
        let Some(now) = self.metadata.load_full() else { return };
        let mut answer = Metadata::clone(&now.answer);
        change(&mut answer);
        let age = now.fetched.map(|at| at.elapsed()).and_then(|age| SignedDuration::try_from(age).ok());
        let at = age.and_then(|age| Timestamp::now().checked_sub(age).ok()).unwrap_or(Timestamp::UNIX_EPOCH);
        self.keep(&answer, at).await;
        self.metadata.store(Some(Arc::new(self.snapshot(Arc::new(answer), now.fetched, now.kept))));
    }

    /// Keeps it for the next start. A store that refuses costs nothing now.
    async fn keep(&self, metadata: &Metadata, at: Timestamp) {
        let Ok(value) = serde_json::to_vec(&json!({ "at": at, "metadata": metadata })) else { return };
        let write = Write::KvPut { space: SPACE.to_owned(), key: self.name.to_string(), value };
        if let Err(error) = self.store.commit(vec![write]).await {
            tracing::warn!(account = %self.name, %error, "fetched metadata could not be kept for the next start");
        }
    }
}
