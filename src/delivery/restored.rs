//! Going on from a copy of the store: what was done after the copy's moment may have been done without our knowledge.
//!
//! Invariants:
//! - The first daemon on a copy starts with every account paused, and says why. Only a person lets one go on.
//! - What may have been created after that moment is looked for before it is created: of deliveries that were accepted before it, and of
//!   events that happened before the daemon went on, which senders may send again.
//! - Of those accepted before it, a request of a script's own is not sent again: what it did cannot be looked for, so its delivery ends
//!   as uncertain.

use jiff::Timestamp;
use serde_json::Value as Json;

use super::pauses::Pauses;
use super::{PauseInfo, Scope};
use crate::store::{COPIES, COPY_OF, CopyOf, Pending, Store, StoreError, StoredEvent, Write};

/// The copy that the store was, once a daemon has gone on from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestoredFrom(CopyOf);

impl RestoredFrom {
    /// Looks whether the store was a copy. One that no daemon has gone on from yet has these accounts paused from now on.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn look(store: &dyn Store, accounts: impl Iterator<Item = &str>) -> Result<Option<Self>, StoreError> {
        let Some(bytes) = store.kv_get(COPIES, COPY_OF).await? else { return Ok(None) };
        let mut copy: CopyOf = serde_json::from_slice(&bytes)
            .map_err(|e| StoreError::Failed(format!("what the store says of the backup that it was cannot be read: {e}")))?;
        if copy.started.is_some() {
            return Ok(Some(Self(copy)));
        }
        let now = Timestamp::now();
        copy.started = Some(now);
        let pauses = Pauses::load(store).await?;
        let mut writes = Vec::new();
        for account in accounts {
            let scope = Scope::Account(account.to_owned());
            let mut reason = why(&copy, account);
            if let Some(before) = pauses.get(&scope) {
                reason.push_str(&format!(". It was paused in the backup: {}", before.reason));
            }
            writes.push(Pauses::stored(&scope, &PauseInfo { reason, class: None, since: now, until: None }));
        }
        let value = serde_json::to_vec(&copy).expect("a moment serialises");
        writes.push(Write::KvPut { space: COPIES.to_owned(), key: COPY_OF.to_owned(), value });
        store.commit(writes).await?;
        tracing::warn!(
            backup_of = %shown(copy.at),
            "this store was restored from a backup: events are taken, and every account is paused until `pipewright resume account NAME`; \
             docs/backup.md says what to look at before"
        );
        Ok(Some(Self(copy)))
    }

    /// What may have happened to a delivery unknown to us, and since when.
    pub(super) fn unknown(self, pending: &Pending, stored: &StoredEvent) -> Unknown {
        let Self(copy) = self;
        if pending.id.seq <= copy.newest {
            return Unknown::All(copy.at);
        }
        let happened = || {
            let event: Json = serde_json::from_slice(&stored.payload).ok()?;
            event.get("timestamp")?.as_str()?.parse::<Timestamp>().ok()
        };
        let before = copy.started.is_none_or(|started| happened().is_some_and(|at| at <= started));
        if before { Unknown::Creates(copy.at) } else { Unknown::Nothing }
    }
}

/// What may have happened to a delivery unknown to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unknown {
    /// All is known.
    Nothing,
    /// It may have created, since then, in a former life of its event.
    Creates(Timestamp),
    /// It may have done anything, since then.
    All(Timestamp),
}

impl Unknown {
    /// Since when a create may have been carried out.
    pub(super) const fn creates_since(self) -> Option<Timestamp> {
        match self {
            Self::Nothing => None,
            Self::Creates(at) | Self::All(at) => Some(at),
        }
    }

    /// Why a request of a script's own is not sent, when it is not.
    pub(super) fn of_requests(self) -> Option<String> {
        let Self::All(at) = self else { return None };
        Some(format!(
            "the store was restored from a backup of {}, and its request may have been sent after that; look in Pipedrive, and replay \
             the delivery if it was not",
            shown(at)
        ))
    }
}

fn why(copy: &CopyOf, account: &str) -> String {
    format!(
        "restored from a backup of {}: what was delivered after that is delivered again, and what was accepted after that is missing \
         (docs/backup.md). When you have looked, `pipewright resume account {account}`",
        shown(copy.at)
    )
}

fn shown(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}
