//! What a notice tells, written down.

use jiff::Timestamp;

use super::notice::{Happened, Notice};
use super::shape;
use crate::crm::mirror::News;
use crate::crm::{Account, Known, Sight, index};
use crate::pipedrive::{Id, Kind, is_deleted};
use crate::store::{StoreError, Write};

/// What became of a notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// It was learned.
    Learned,
    /// It is our own change, which is known already.
    Own,
    /// Something newer is known of the entity.
    Old,
    /// Rules do not write such things.
    Other,
    /// It is of another company than the account.
    Foreign {
        /// The notice's.
        theirs: i64,
        /// The account's.
        ours: i64,
    },
}

impl Heard {
    /// As it stands in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Learned => "learned",
            Self::Own => "own",
            Self::Old => "old",
            Self::Other => "other",
            Self::Foreign { .. } => "foreign",
        }
    }
}

pub(super) async fn hear(account: &Account, notice: &Notice) -> Result<Heard, StoreError> {
    let metadata = account.metadata();
    let (me, ours) = (metadata.me.user_id, metadata.me.company_id);
    if let Some(theirs) = notice.company.filter(|theirs| ours != 0 && *theirs != ours) {
        return Ok(Heard::Foreign { theirs, ours });
    }
    let Some((kind, id)) = &notice.entity else { return Ok(Heard::Other) };
    let is_own = notice.by_api && notice.user == Some(me);
    // Told of as a change, too, as lists have it.
    let is_gone = notice.happened == Happened::Deleted || notice.data.as_ref().is_some_and(|data| is_deleted(*kind, data));
    let known = Known::load(&*account.store, &account.name, *kind, id).await?;
    let writes = match (notice.happened, &notice.data) {
        (Happened::Deleted, _) if is_own => return Ok(Heard::Own),
        _ if is_gone => match gone(account, &known, *kind, id, notice) {
            Some(writes) => writes,
            None => return Ok(Heard::Old),
        },
        (_, Some(data)) => {
            let mut entity = shape::entity(*kind, data, &metadata);
            entity.entry("id").or_insert_with(|| id.to_json());
            let sight = Sight::part(entity, notice.at, is_own);
            if known.version().is_some_and(|version| version > sight.version) {
                return Ok(Heard::Old);
            }
            let known_already = is_own && known.version() == Some(sight.version);
            let mut writes: Vec<Write> = (!known_already).then(|| sight.write(&account.name, *kind, id)).into_iter().collect();
            let before = notice.previous.as_ref().map(|before| shape::entity(*kind, before, &metadata)).unwrap_or_default();
            let news = match notice.attempt {
                0 | 1 => account.mirror.told(account, *kind, id, (&before, &sight), &metadata),
                // It comes minutes late, and what was told meanwhile a restart may have forgotten.
                _ => News::Late,
            };
            match news {
                News::New(index) => writes.extend(index),
                News::Old => return Ok(Heard::Old),
                News::Late => {
                    account.mirror.look_again(*kind, id);
                    account.webhooks.missed_since(Timestamp::from_second(sight.version).unwrap_or(notice.at));
                }
            }
            if known_already {
                // What it holds in match fields that the request did not name, somebody else may have changed shortly before.
                commit(account, writes).await?;
                return Ok(Heard::Own);
            }
            writes
        }
        // Only what is gone has no values.
        (_, None) => return Ok(Heard::Other),
    };
    commit(account, writes).await?;
    Ok(Heard::Learned)
}

async fn commit(account: &Account, writes: Vec<Write>) -> Result<(), StoreError> {
    if !writes.is_empty() {
        account.store.commit(writes.clone()).await?;
        account.learned(&writes);
    }
    Ok(())
}

/// What is forgotten of one that is gone; none when it may be there again. A deletion that comes late tells nothing that a refused write will
/// not: it may have been taken back; that a merge was made stays true. A lead that is gone may have become a deal, which is found by what is known of the lead: that is
/// forgotten once it was looked for.
fn gone(account: &Account, known: &Known, kind: Kind, id: &Id, notice: &Notice) -> Option<Vec<Write>> {
    let at = notice.at.as_second();
    let may_be_back = notice.attempt > 1 || known.version().is_some_and(|version| version > at);
    // Nobody takes a merge back.
    if notice.merged_into.is_none() && (may_be_back || !account.mirror.told_gone(kind, id, at)) {
        return None;
    }
    let into = notice.merged_into.as_ref().map(|into| account.webhooks.merged(kind, id, into));
    Some(match (kind, into) {
        (Kind::Lead, _) => Vec::new(),
        (_, Some(into)) if into == *id => Vec::new(),
        (_, Some(into)) => vec![index::remap(&account.name, kind, id, &into)],
        (_, None) => vec![index::forget(&account.name, kind, id)],
    })
}
