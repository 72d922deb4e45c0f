//! What a notice tells, written down.

use jiff::Timestamp;

use super::notice::{Happened, Notice};
use super::shape;
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
    let writes = match (notice.happened, &notice.data) {
        (Happened::Deleted, _) if is_own => return Ok(Heard::Own),
        (Happened::Deleted, _) => gone(account, *kind, id, notice.merged_into.as_ref()),
        // A list would have it as deleted, too.
        (Happened::Created | Happened::Changed, Some(data)) if is_deleted(*kind, data) => gone(account, *kind, id, None),
        (Happened::Created | Happened::Changed, Some(data)) => {
            let mut entity = shape::entity(*kind, data, &metadata);
            entity.entry("id").or_insert_with(|| id.to_json());
            let at = Timestamp::now();
            let sight = Sight::part(entity, notice.at, at, is_own);
            let known = Known::load(&*account.store, &account.name, *kind, id).await?;
            match known.version() {
                Some(version) if version > sight.version => return Ok(Heard::Old),
                Some(version) if version == sight.version && is_own => return Ok(Heard::Own),
                _ => {}
            }
            let mut writes = vec![sight.write(&account.name, *kind, id)];
            if notice.attempt > 1 {
                // It comes minutes late, and what was told meanwhile a restart may have forgotten: a sweep tells what is true now.
                account.webhooks.missed_since(Timestamp::from_second(sight.version).unwrap_or(notice.at));
            } else {
                let before = notice.previous.as_ref().map(|before| shape::entity(*kind, before, &metadata)).unwrap_or_default();
                let told = account.mirror.told(account, *kind, id, (&before, &sight), &metadata);
                let Some(index) = told else { return Ok(Heard::Old) };
                writes.extend(index);
            }
            writes
        }
        // Only what is gone has no values.
        (Happened::Created | Happened::Changed, None) => return Ok(Heard::Other),
    };
    if !writes.is_empty() {
        account.store.commit(writes.clone()).await?;
        account.learned(&writes);
    }
    Ok(Heard::Learned)
}

/// A lead that is gone may have become a deal, which is found by what is known of the lead: that is forgotten once it was looked for.
fn gone(account: &Account, kind: Kind, id: &Id, merged_into: Option<&Id>) -> Vec<Write> {
    match (kind, merged_into) {
        (Kind::Lead, _) => Vec::new(),
        (_, Some(into)) => vec![index::remap(&account.name, kind, id, into)],
        (_, None) => vec![index::forget(&account.name, kind, id)],
    }
}
