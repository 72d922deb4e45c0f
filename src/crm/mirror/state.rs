//! Where the list of a kind stands, as the store keeps it.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::crm::Address;
use crate::pipedrive::Kind;
use crate::store::{Store, StoreError, Write};

/// Where the store keeps it; the key is the account's name and the kind.
const SPACE: &str = "mirror";

/// What the store keeps of a mirror.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    /// The fields whose values are in the index, for all entities that were listed.
    pub(super) fields: BTreeSet<Address>,
    /// How far the list was read.
    pub(super) standing: Standing,
}

/// How far the list of a kind was read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum Standing {
    /// Not at all.
    #[default]
    Empty,
    /// Up to a page.
    Filling {
        /// Where the next page begins.
        next: String,
        /// It is one of the archived list, which is read after the other.
        archived: bool,
        /// Changes since then are to be looked for when the end is reached.
        since: Timestamp,
        /// Entities so far.
        records: u64,
    },
    /// To its end.
    Complete {
        /// Changes since then are not known.
        since: Timestamp,
        /// Entities of the list, as it was read.
        records: u64,
    },
}

impl Kept {
    /// What the store has; nothing for one that it has not, or that another version wrote.
    pub(super) async fn load(store: &dyn Store, account: &str, kind: Kind) -> Result<Self, StoreError> {
        let bytes = store.kv_get(SPACE, &key(account, kind)).await?;
        // Listing anew costs tokens and nothing else.
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default())
    }

    pub(super) fn write(&self, account: &str, kind: Kind) -> Write {
        let value = serde_json::to_vec(self).expect("texts and numbers serialise");
        Write::KvPut { space: SPACE.to_owned(), key: key(account, kind), value }
    }

    pub(super) fn is_complete(&self, fields: &BTreeSet<Address>) -> bool {
        matches!(self.standing, Standing::Complete { .. }) && fields.is_subset(&self.fields)
    }
}

/// Forgets how far the lists of an account were read: it is another one now.
pub fn forget_all(account: &str) -> Vec<Write> {
    super::MIRRORED.into_iter().map(|kind| forget_list(account, kind)).collect()
}

/// Forgets how far a list was read: the index has forgotten what is there still.
#[must_use]
pub fn forget_list(account: &str, kind: Kind) -> Write {
    Write::KvDelete { space: SPACE.to_owned(), key: key(account, kind) }
}

fn key(account: &str, kind: Kind) -> String {
    format!("{account}/{kind}")
}
