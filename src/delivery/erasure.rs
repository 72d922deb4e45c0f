//! Erasing a user: what is kept of their events, of what was decided for them, and of what we know of them in Pipedrive.
//!
//! Invariants:
//! - It is as of an event: what was accepted later stays, whoever's it is, and so does what later aliases have joined. A replay of what goes
//!   goes as well.
//! - What waits is dropped; what is under way is waited for. Nothing is sent to Pipedrive here: deleting there is a script's choice.
//! - It can be cut off anywhere and done again: every step erases what it found, and what is not found any more is erased. What tells whose
//!   the rest is goes after it: events with a `userId` after those of their visitors, and last what aliases have joined.
//! - No later delivery writes back what is forgotten: those that may have read it before have ended when it is forgotten once more.
//! - What remains is a count without ids, under a name that says nothing.

mod person;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::watch;

use self::person::Ids;
pub use self::person::Person;
use super::handle::{ControlError, Handle};
use super::policy::later;
use crate::crm::forget_list;
use crate::event::{EventType, canonical_id};
use crate::pipedrive::Kind;
use crate::rules::Live;
use crate::store::{
    DeliveryFilter, DeliveryId, DeliveryRow, DeliveryState, Erase, Seq, Store, StoreError, TO_FORGET, ToForget, Write,
};

/// Where the counts of erasures are kept.
const TOMBSTONES: &str = "erased";
/// Events in one step.
const STEP: usize = 500;
/// Events and refused texts read at once.
const PAGE: usize = 1_000;
/// How often it is looked for users to erase.
const TICK: Duration = Duration::from_secs(1);
/// How often, and how long, what is under way is looked at again.
const LOOKS: u32 = 240;
const LOOK: Duration = Duration::from_millis(250);
/// Tries to empty the store's log of changes.
const SCRUBS: u32 = 5;

const fn next(seq: Seq) -> Seq {
    Seq(seq.0 + 1)
}

/// How much there is, or was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Events that had deliveries.
    pub events: u64,
    /// Events that no rule wanted.
    pub unmatched: u64,
    /// Refused events.
    pub rejected: u64,
    /// Deliveries, with their decision records and plans.
    pub deliveries: u64,
    /// Of those, dropped before they were carried out.
    pub discarded: u64,
    /// Entities of which index entries and known values were forgotten.
    pub entities: u64,
}

/// What remains of an erasure: nothing personal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    /// When it began.
    pub began: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// The only account that it was for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// How much was erased.
    #[serde(flatten)]
    pub counts: Counts,
    /// Whether the bytes are gone from the store's files as well.
    pub scrubbed: bool,
}

/// How far an erasure has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// When it began.
    pub began: Timestamp,
    /// How much is gone.
    pub counts: Counts,
}

impl Progress {
    /// At the start.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self { began: now, counts: Counts::default() }
    }
}

/// An erasure under way.
pub struct Erasure<'a> {
    store: &'a dyn Store,
    delivery: &'a Handle,
    person: &'a Person,
    account: Option<String>,
    progress: Progress,
}

impl std::fmt::Debug for Erasure<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Whose it is stays out.
        f.debug_struct("Erasure").field("progress", &self.progress).finish_non_exhaustive()
    }
}

/// Looks for users whose `delete` event was taken, until `stopping`.
pub async fn follow(store: std::sync::Arc<dyn Store>, delivery: Handle, live: Live, mut stopping: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => return,
            _ = ticks.tick() => {}
        }
        let longest = live.load().config.delivery.max_retry_time.get();
        if let Err(error) = due(&*store, &delivery, longest).await {
            tracing::warn!(%error, "the users whose delete events were taken cannot be looked for; it is tried again");
        }
    }
}

/// Erases those whose own `delete` deliveries have ended: a script may still need to know who it is to delete.
async fn due(store: &dyn Store, delivery: &Handle, longest: Duration) -> Result<(), StoreError> {
    for (key, wish) in store.kv_list(TO_FORGET).await? {
        let done = match serde_json::from_slice(&wish) {
            Ok(wish) => erase_when_due(store, delivery, key, wish, longest).await,
            Err(error) => Err(ControlError::Refused(format!("the note of it in the store cannot be read: {error}"))),
        };
        // One that cannot be erased yet does not keep the others.
        if let Err(error) = done {
            tracing::warn!(%error, "a user whose delete event was taken could not be erased yet; it is tried again");
        }
    }
    Ok(())
}

async fn erase_when_due(
    store: &dyn Store,
    delivery: &Handle,
    key: String,
    wish: ToForget,
    longest: Duration,
) -> Result<(), ControlError> {
    let patient = Timestamp::now() < later(wish.as_of.at, longest);
    for user in std::iter::once(&wish.user).chain(&wish.ids).filter(|_| patient) {
        let filter = DeliveryFilter {
            states: vec![DeliveryState::Pending],
            kind: Some(EventType::Delete.as_str().to_owned()),
            user: Some(user.clone()),
            before: Some(next(wish.as_of.seq)),
            limit: 1,
            ..DeliveryFilter::default()
        };
        if !store.deliveries(&filter).await?.is_empty() {
            return Ok(());
        }
    }
    let person = Person::trace(store, wish).await?;
    let mut erasure = Erasure::new(store, delivery, &person, None, Progress::new(Timestamp::now()));
    while erasure.advance(usize::MAX).await?.is_none() {}
    store.commit(vec![Write::KvDelete { space: TO_FORGET.to_owned(), key }]).await?;
    // The wish names the user, too.
    if !scrub(store).await? {
        tracing::warn!("the note of an erasure that is done stays in the store's log of changes until its next checkpoint");
    }
    Ok(())
}

/// Empties the store's log of changes, in spite of readers that come and go.
async fn scrub(store: &dyn Store) -> Result<bool, StoreError> {
    for _ in 0..SCRUBS {
        if store.scrub().await? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// An event of theirs with its deliveries that are to go.
struct Owned {
    seq: Seq,
    rows: Vec<DeliveryRow>,
    matched: bool,
}

/// Those that did not end in the time that is waited for them.
fn stays(under_way: &[DeliveryId]) -> Result<(), ControlError> {
    match under_way.first() {
        None => Ok(()),
        Some(id) => Err(ControlError::Refused(format!("delivery {id} stays under way; ask again when it has ended"))),
    }
}

impl<'a> Erasure<'a> {
    /// Of a person, in one account or everywhere.
    #[must_use]
    pub const fn new(
        store: &'a dyn Store,
        delivery: &'a Handle,
        person: &'a Person,
        account: Option<String>,
        progress: Progress,
    ) -> Self {
        Self { store, delivery, person, account, progress }
    }

    /// How far it has come.
    #[must_use]
    pub const fn progress(&self) -> &Progress {
        &self.progress
    }

    /// What would be erased; nothing is.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn look(&self) -> Result<Counts, ControlError> {
        let mut counts = Counts::default();
        let mut entities = self.indexed().await?;
        for owned in self.owned(usize::MAX).await? {
            counts.events += u64::from(owned.matched);
            counts.unmatched += u64::from(!owned.matched);
            counts.deliveries += owned.rows.len() as u64;
            counts.discarded += owned.rows.iter().filter(|row| row.state == DeliveryState::Pending).count() as u64;
            entities.extend(self.written(&owned.rows).await?);
        }
        counts.entities = entities.len() as u64;
        counts.rejected = self.rejected().await?.len() as u64;
        Ok(counts)
    }

    /// Erases so many parts of a few hundred events; with the last of them the rest, and then it is done. What remains of it is answered.
    ///
    /// # Errors
    /// When the store fails, or a delivery of theirs stays under way. What was erased stays erased; do it again.
    pub async fn advance(&mut self, parts: usize) -> Result<Option<Tombstone>, ControlError> {
        for _ in 0..parts {
            let found = self.owned(STEP).await?;
            if found.is_empty() {
                return self.finish().await.map(Some);
            }
            self.events(found).await?;
        }
        Ok(None)
    }

    async fn finish(&mut self) -> Result<Tombstone, ControlError> {
        let left = self.indexed().await?;
        self.forget(left).await?;
        if self.account.is_none() {
            let erased = self.store.erase(Erase::Rejected { ids: self.rejected().await? }).await?;
            self.progress.counts.rejected += erased.rejected;
            let ids = self.person.ids().cloned().collect();
            self.store.erase(Erase::Aliases { ids, as_of: self.person.as_of.seq }).await?;
        }
        let scrubbed = scrub(self.store).await?;
        let Progress { began, counts } = self.progress.clone();
        let tombstone = Tombstone { began, ended: Timestamp::now(), account: self.account.clone(), counts, scrubbed };
        let value = serde_json::to_vec(&tombstone).expect("plain data serialises");
        let key = format!("{} {}", tombstone.ended, uuid::Uuid::new_v4());
        self.store.commit(vec![Write::KvPut { space: TOMBSTONES.to_owned(), key, value }]).await?;
        tracing::info!(events = counts.events, deliveries = counts.deliveries, scrubbed, "a user was erased");
        Ok(tombstone)
    }

    /// Their events that are to go, at most so many.
    async fn owned(&self, most: usize) -> Result<Vec<Owned>, StoreError> {
        let mut owned: BTreeMap<Seq, Owned> = BTreeMap::new();
        // Who has been a visitor is told by events with a `userId`: those go after what the visitor did.
        let visitors = self.person.ids().map(|id| (id, true));
        for (id, visitor) in visitors.chain(self.person.users.iter().map(|id| (id, false))) {
            let mut before = None;
            loop {
                let page = self.store.events_of(id, before, PAGE).await?;
                let Some(last) = page.last() else { break };
                before = Some(last.seq);
                for stored in &page {
                    let ids = Ids::of(stored);
                    let theirs = self.person.owns(&ids) && (ids.user.is_none() || !visitor);
                    if !theirs || !self.person.reaches(self.store, stored).await? {
                        continue;
                    }
                    let filter = DeliveryFilter { seq: Some(stored.seq), limit: PAGE, ..DeliveryFilter::default() };
                    let mut rows = self.store.deliveries(&filter).await?;
                    let matched = !rows.is_empty();
                    if let Some(account) = &self.account {
                        rows.retain(|row| *row.account == **account);
                        if rows.is_empty() {
                            continue;
                        }
                    }
                    owned.insert(stored.seq, Owned { seq: stored.seq, rows, matched });
                    if owned.len() >= most {
                        return Ok(owned.into_values().collect());
                    }
                }
            }
        }
        Ok(owned.into_values().collect())
    }

    async fn events(&mut self, found: Vec<Owned>) -> Result<(), ControlError> {
        let waiting = found.iter().flat_map(|owned| &owned.rows).filter(|row| row.state == DeliveryState::Pending);
        let waiting: Vec<DeliveryId> = waiting.map(|row| row.id.clone()).collect();
        self.drop_waiting(waiting).await?;
        let mut entities = BTreeSet::new();
        for owned in &found {
            entities.extend(self.written(&owned.rows).await?);
        }
        self.forget(entities).await?;
        let seqs: Vec<Seq> = found.iter().map(|owned| owned.seq).collect();
        let erased = self.store.erase(Erase::Events { seqs, account: self.account.clone() }).await?;
        self.progress.counts.events += erased.events;
        self.progress.counts.unmatched += erased.unmatched;
        self.progress.counts.deliveries += erased.deliveries;
        Ok(())
    }

    /// Drops what waits, and waits for what is under way.
    async fn drop_waiting(&mut self, mut waiting: Vec<DeliveryId>) -> Result<(), ControlError> {
        for _ in 0..LOOKS {
            if waiting.is_empty() {
                return Ok(());
            }
            let dropped = self.delivery.drop_for_erasure(waiting).await?;
            self.progress.counts.discarded += dropped.dropped;
            waiting = dropped.under_way;
            if !waiting.is_empty() {
                tokio::time::sleep(LOOK).await;
            }
        }
        stays(&waiting)
    }

    /// What these deliveries wrote or found, by their records. Organizations are not one user's and stay.
    async fn written(&self, rows: &[DeliveryRow]) -> Result<BTreeSet<(String, Kind, String)>, StoreError> {
        let mut found = BTreeSet::new();
        for row in rows {
            for record in self.store.records(&row.id).await? {
                let Ok(record) = serde_json::from_slice::<Value>(&record) else { continue };
                for step in record["steps"].as_array().into_iter().flatten() {
                    let kind = serde_json::from_value::<Kind>(step["kind"].clone()).ok();
                    let Some(kind) = kind.filter(|kind| *kind != Kind::Organization) else { continue };
                    let ids = [&step["state"]["id"], &step["state"]["target"], &step["resolution"]["id"]];
                    // A step of a lead that is a deal by now has the deal's id.
                    let of = |id: &str| if kind == Kind::Lead && id.parse::<u64>().is_ok() { Kind::Deal } else { kind };
                    found.extend(ids.into_iter().filter_map(canonical_id).map(|id| (row.account.to_string(), of(&id), id)));
                }
            }
        }
        Ok(found)
    }

    /// Persons that their ids lead to in the match index.
    async fn indexed(&self) -> Result<BTreeSet<(String, Kind, String)>, StoreError> {
        let mut found = BTreeSet::new();
        for id in self.person.ids() {
            let entities = self.store.indexed(Kind::Person.as_str(), id).await?;
            found.extend(entities.into_iter().map(|entity| (entity.account, Kind::Person, entity.id)));
        }
        found.retain(|(account, ..)| self.account.as_ref().is_none_or(|only| only == account));
        Ok(found)
    }

    async fn forget(&mut self, entities: BTreeSet<(String, Kind, String)>) -> Result<(), ControlError> {
        if entities.is_empty() {
            return Ok(());
        }
        self.progress.counts.entities += entities.len() as u64;
        // What is in Pipedrive still is to be found anew.
        let forget = |(account, kind, id): (String, Kind, String)| {
            [forget_list(&account, kind), Write::Forget { account, kind: kind.as_str().to_owned(), id }]
        };
        let writes: Vec<Write> = entities.into_iter().flat_map(forget).collect();
        self.store.commit(writes.clone()).await?;
        // A later delivery may have read it before and writes it back when it ends.
        self.later_to_end().await?;
        Ok(self.store.commit(writes).await?)
    }

    /// Waits for their later deliveries that are under way now. What begins from now on reads what the store has now.
    async fn later_to_end(&self) -> Result<(), ControlError> {
        let mut later = Vec::new();
        for user in self.person.ids() {
            let mut filter = DeliveryFilter {
                states: vec![DeliveryState::Pending],
                user: Some(user.clone()),
                limit: PAGE,
                ..DeliveryFilter::default()
            };
            // Newest first, and what is under way is the oldest of its lane: on the last page of many.
            loop {
                let page = self.store.deliveries(&filter).await?;
                let Some(last) = page.last() else { break };
                filter.before = Some(last.id.seq);
                let ids = page.into_iter().map(|row| row.id).collect();
                later.extend(self.delivery.under_way(ids).await?);
            }
        }
        for _ in 0..LOOKS {
            if later.is_empty() {
                return Ok(());
            }
            later = self.delivery.under_way(later).await?;
            if !later.is_empty() {
                tokio::time::sleep(LOOK).await;
            }
        }
        stays(&later)
    }

    /// Refused events that are theirs.
    async fn rejected(&self) -> Result<Vec<i64>, StoreError> {
        let mut ids = Vec::new();
        let mut after = 0;
        if self.account.is_some() {
            return Ok(ids);
        }
        loop {
            let page = self.store.rejected_texts(after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(ids) };
            after = last.id;
            ids.extend(page.iter().filter(|text| self.person.owns_text(text)).map(|text| text.id));
        }
    }
}
