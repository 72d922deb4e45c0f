//! Undo: the values that a rule has written, put back where they still stand.
//!
//! Invariants:
//! - Only what the rule wrote in the time is touched, and only while it still stands; what people or other rules have written since stays.
//! - Nothing is created or deleted. What the rule created is named, so that people can look at it.
//! - A record is written to under its lock, beside the deliveries; the index and the known values follow in one commit. Afterwards a field
//!   counts as last sent with what was put back, so that the next event that says otherwise writes it again.
//! - It can be cut off anywhere and done again: what is back is found to be back.

mod history;

use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::execute::entity_name;
use super::locks::Locks;
use super::record::Effect;
use crate::config::Writes;
use crate::crm::{Account, Accounts, Known, changelog, index, is_logged};
use crate::failure::FailureClass;
use crate::pipedrive::{ApiError, Caller, Id, Kind, Purpose, Session, Trace};
use crate::plan::{self, Left, LeftAlone, PutBack, Undo};
use crate::store::{DeliveryId, Store, StoreError};

use history::{Target, Touched};

/// How long one call goes on, after it has read what was done, before it answers with where the next begins.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is to be undone.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Rule.
    pub rule: String,
    /// Events received at this time or later.
    pub since: Timestamp,
    /// Events received before.
    pub until: Option<Timestamp>,
    /// Write; else only look.
    pub apply: bool,
    /// Ask for Pipedrive's changelog of a record where the decision records do not say what was there before: 20 tokens a record.
    pub changelog: bool,
    /// Where an earlier call ended.
    pub after: Option<Place>,
}

/// A record in Pipedrive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// Account.
    pub account: Arc<str>,
    /// Kind.
    pub kind: Kind,
    /// Id.
    pub id: Id,
}

/// What became of one record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reverted {
    /// Which.
    #[serde(flatten)]
    pub place: Place,
    /// Put back, or would be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub back: Vec<PutBack>,
    /// Left as it is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<LeftAlone>,
    /// The rule created it: nothing is put back, and whoever does not want it deletes it in Pipedrive.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub created: bool,
    /// It is not there any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gone: bool,
    /// What was done besides and cannot be put back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other: Vec<Effect>,
    /// Why Pipedrive refused to have it put back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// By which deliveries, oldest first.
    pub deliveries: Vec<DeliveryId>,
}

/// What became of so many of them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Page {
    /// In order.
    pub records: Vec<Reverted>,
    /// Where the next call begins; none: this was the last.
    pub next: Option<Place>,
    /// Records in all.
    pub of: u64,
    /// Deliveries in all that changed something.
    pub deliveries: u64,
    /// Deliveries that sent raw requests: what these changed is not known.
    pub requests: Vec<DeliveryId>,
    /// Deliveries whose decision record cannot be read.
    pub unreadable: Vec<DeliveryId>,
    /// Tokens that this call has cost.
    pub tokens: u32,
}

/// Why nothing more can be undone.
#[derive(Debug, thiserror::Error)]
pub enum RevertError {
    /// What was asked for cannot be.
    #[error("{0}")]
    Wrong(String),
    /// Pipedrive could not be reached; what was put back before stays so.
    #[error("{place} of account {account}: {source}")]
    Api {
        /// Kind and id.
        place: String,
        /// Account.
        account: Arc<str>,
        /// Why.
        source: ApiError,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl RevertError {
    /// The failure class.
    #[must_use]
    pub fn class(&self) -> FailureClass {
        match self {
            Self::Wrong(_) => FailureClass::Permanent,
            Self::Api { source, .. } => source.class(),
            Self::Store(error) => error.class(),
        }
    }
}

/// Puts values back while deliveries go on.
#[derive(Clone)]
pub struct Revert {
    store: Arc<dyn Store>,
    accounts: Accounts,
    locks: Locks,
}

impl std::fmt::Debug for Revert {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Revert").finish_non_exhaustive()
    }
}

impl Revert {
    /// Beside the deliveries that work with these.
    #[must_use]
    pub const fn new(store: Arc<dyn Store>, accounts: Accounts, locks: Locks) -> Self {
        Self { store, accounts, locks }
    }

    /// Looks at the records that a rule wrote to, and puts back what can be when that is wished. Ends after a while, with where to go on.
    ///
    /// # Errors
    /// When an account has gone, does not write or cannot be reached, or the store fails; what was put back before stays so.
    pub async fn run(&self, wish: &Wish) -> Result<Page, RevertError> {
        let done = history::read(&*self.store, &wish.rule, wish.since, wish.until).await?;
        let ends = Instant::now() + PATIENCE;
        let of = u64::try_from(done.touched.len()).unwrap_or(u64::MAX);
        let mut page =
            Page { of, deliveries: done.deliveries, requests: done.requests, unreadable: done.unreadable, ..Page::default() };
        let trace = Trace::default();
        let first =
            wish.after.as_ref().map_or(Bound::Unbounded, |at| Bound::Excluded((at.account.clone(), at.kind, at.id.clone())));
        for (target, touched) in done.touched.range((first, Bound::Unbounded)) {
            if Instant::now() >= ends && !page.records.is_empty() {
                page.next = page.records.last().map(|record| record.place.clone());
                break;
            }
            page.records.push(self.one(wish, target, touched, &trace).await?);
        }
        page.tokens = trace.exchanges().iter().map(|exchange| exchange.tokens).sum();
        Ok(page)
    }

    async fn one(&self, wish: &Wish, target: &Target, touched: &Touched, trace: &Trace) -> Result<Reverted, RevertError> {
        let (account, kind, id) = target;
        let place = Place { account: account.clone(), kind: *kind, id: id.clone() };
        let mut reverted = Reverted {
            place,
            back: Vec::new(),
            left: Vec::new(),
            created: touched.created,
            gone: false,
            other: touched.other.clone(),
            refused: None,
            deliveries: touched.deliveries.clone(),
        };
        if touched.created || touched.changes.is_empty() {
            return Ok(reverted);
        }
        let found = self.accounts.read().get(account).cloned();
        let account = found.ok_or_else(|| {
            RevertError::Wrong(format!("the account {account} that was written to is not in rules.toml any more"))
        })?;
        if wish.apply && account.config.writes == Writes::Off {
            return Err(RevertError::Wrong(format!(
                "nothing is written to the account {}: set `writes = \"on\"` under [pipedrive.{0}] in rules.toml first",
                account.name
            )));
        }
        let session = account.client.session(trace.clone()).on_behalf_of(Caller::person());
        let failed = |source| RevertError::Api { place: format!("{kind} {id}"), account: account.name.clone(), source };
        account.ready_metadata(&session).await.map_err(failed)?;
        let _lock = self.locks.acquire(vec![entity_name(&account.name, *kind, id)]).await;
        let Some(present) = session.get(*kind, id, Purpose::ReadBeforeWrite).await.map_err(failed)? else {
            reverted.gone = true;
            return Ok(reverted);
        };
        let metadata = account.metadata();
        let mut undo = plan::undo(*kind, &present, &touched.changes, None, &metadata);
        if wish.changelog && is_logged(*kind) && undo.left.iter().any(|left| left.why == Left::NotKnown) {
            let log = changelog(&session, *kind, id).await.map_err(failed)?;
            undo = plan::undo(*kind, &present, &touched.changes, Some(&log), &metadata);
        }
        let Undo { body, back, left } = undo;
        reverted.left = left;
        if wish.apply && !body.is_empty() {
            match self.write(&account, &session, (*kind, id), &present, body, &back).await {
                Ok(()) => {}
                Err(RevertError::Api { source, .. }) if source.class() == FailureClass::Permanent => {
                    reverted.refused = Some(source.to_string());
                    return Ok(reverted);
                }
                Err(error) => return Err(error),
            }
        }
        reverted.back = back;
        Ok(reverted)
    }

    async fn write(
        &self,
        account: &Account,
        session: &Session,
        (kind, id): (Kind, &Id),
        present: &crate::pipedrive::Entity,
        body: serde_json::Map<String, serde_json::Value>,
        back: &[PutBack],
    ) -> Result<(), RevertError> {
        let now = session.update(kind, id, body).await.map_err(|source| RevertError::Api {
            place: format!("{kind} {id}"),
            account: account.name.clone(),
            source,
        })?;
        let mut known = Known::load(&*self.store, &account.name, kind, id).await?;
        for PutBack { change, .. } in back {
            if let Some(address) = &change.address {
                known.note_sent(address.key(), change.after.clone());
            }
        }
        known.note_seen(kind, &now, Timestamp::now());
        let addresses: Vec<_> = back.iter().filter_map(|back| back.change.address.clone()).collect();
        let mut writes = index::follow(&account.name, kind, id, &addresses, Some(present), &now, &account.metadata());
        writes.push(known.write(&account.name, kind, id));
        Ok(self.store.commit(writes).await?)
    }
}
