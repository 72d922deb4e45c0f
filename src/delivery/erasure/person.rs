//! Whose an event or a refused text is.
//!
//! Invariants: theirs are events with their `userId`, or with one that aliases had joined with it; events without a `userId` under an
//! `anonymousId` that they had. An event with another `userId` is another user's, even in the same browser. What came later than the moment
//! of the erasure is nobody's of these, but for replays of what came before.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{PAGE, next};
use crate::event::{Event, canonical_id};
use crate::store::{AsOf, RejectedText, Store, StoreError, StoredEvent, ToForget};

/// Whose it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Person {
    /// Canonical `userId`s: the one asked for, and the ids that aliases had joined with it.
    pub users: BTreeSet<String>,
    /// `anonymousId`s that their events carry.
    pub anonymous: BTreeSet<String>,
    /// Until when they are this person: what comes later is anybody's.
    pub as_of: AsOf,
}

impl Person {
    /// Everything that one user's events tie together until now.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn now(store: &dyn Store, user: &str) -> Result<Self, StoreError> {
        let class = store.aliases().class_of(user);
        let ids = class.iter().flat_map(|class| class.iter()).map(|id| id.to_string()).collect();
        let as_of = AsOf { seq: store.newest().await?, at: Timestamp::now() };
        Self::trace(store, ToForget { user: user.to_owned(), ids, as_of }).await
    }

    pub(super) async fn trace(store: &dyn Store, wish: ToForget) -> Result<Self, StoreError> {
        let ToForget { user, ids, as_of } = wish;
        let users: BTreeSet<String> = std::iter::once(user).chain(ids).collect();
        let mut anonymous = BTreeSet::new();
        for id in &users {
            let mut before = Some(next(as_of.seq));
            loop {
                let page = store.events_of(id, before, PAGE).await?;
                let Some(last) = page.last() else { break };
                before = Some(last.seq);
                let theirs = page.iter().map(Ids::of).filter(|ids| ids.user.as_ref().is_some_and(|user| users.contains(user)));
                anonymous.extend(theirs.filter_map(|ids| ids.anonymous));
            }
        }
        Ok(Self { users, anonymous, as_of })
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = &String> {
        self.users.iter().chain(&self.anonymous).collect::<BTreeSet<_>>().into_iter()
    }

    pub(super) fn owns(&self, ids: &Ids) -> bool {
        match &ids.user {
            Some(user) => self.users.contains(user),
            // An alias may have named an anonymous id.
            None => ids.anonymous.as_ref().is_some_and(|id| self.anonymous.contains(id) || self.users.contains(id)),
        }
    }

    /// Whether a refused text is theirs: by its ids where it can be read, else when it holds one of them.
    pub(super) fn owns_text(&self, text: &RejectedText) -> bool {
        if text.at > self.as_of.at {
            return false;
        }
        match serde_json::from_slice::<Value>(&text.payload) {
            Ok(body) => self.owns(&Ids::read(|key| body.get(key))),
            Err(_) => {
                let text = String::from_utf8_lossy(&text.payload);
                self.ids().any(|id| text.contains(id.as_str()))
            }
        }
    }

    /// Whether an event came in time to go, or repeats one that did: a replay has the `messageId` of what it repeats.
    pub(super) async fn reaches(&self, store: &dyn Store, stored: &StoredEvent) -> Result<bool, StoreError> {
        if stored.seq <= self.as_of.seq {
            return Ok(true);
        }
        let same = store.events_by_message(&stored.message_id).await?;
        Ok(same.iter().any(|row| row.source == stored.source && row.seq <= self.as_of.seq))
    }
}

/// The ids of one event.
#[derive(Debug, Default)]
pub(super) struct Ids {
    pub(super) user: Option<String>,
    pub(super) anonymous: Option<String>,
}

impl Ids {
    pub(super) fn of(stored: &StoredEvent) -> Self {
        match Event::from_payload(&stored.source, stored.received_at, &stored.payload) {
            Ok(event) => Self::read(|key| event.body.get(key)),
            Err(_) => Self::default(),
        }
    }

    fn read<'a>(value: impl Fn(&str) -> Option<&'a Value>) -> Self {
        let id = |key: &str| value(key).and_then(canonical_id);
        Self { user: id("userId"), anonymous: id("anonymousId") }
    }
}
