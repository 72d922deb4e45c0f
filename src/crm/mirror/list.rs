//! Reading the lists.

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;
use tokio::time::Instant;

use super::state::{Kept, Standing};
use super::{ARCHIVED_EVERY, OVERLAP, OfKind, SKEW};
use crate::crm::time::{self, earlier};
use crate::crm::{Account, Address, FindError, Metadata};
use crate::pipedrive::{ApiError, Entity, ErrorKind, Kind, NextPage, PAGE, Purpose, Session};

/// The list of archived deals.
const ARCHIVED: &str = "/api/v2/deals/archived";

/// Reads pages of one kind. The kind's turn is held.
pub(super) struct Reader<'a> {
    pub(super) account: &'a Account,
    pub(super) session: &'a Session,
    pub(super) kind: Kind,
    pub(super) mirror: &'a OfKind,
    pub(super) metadata: &'a Metadata,
}

impl Reader<'_> {
    /// Reads the next page of the list; the first of a new one when fields are asked for that the former does not have. A list that ends
    /// with its first page is as fresh as a sweep.
    pub(super) async fn fill(&self, fields: &BTreeSet<Address>) -> Result<(), FindError> {
        let asked = Instant::now();
        let mut kept = self.kept();
        if !fields.is_subset(&kept.fields) {
            kept.fields.extend(fields.iter().cloned());
            kept.standing = Standing::Empty;
        }
        let (next, mut archived, since, records) = match kept.standing.clone() {
            Standing::Filling { next, archived, since, records } => {
                (Some(next).filter(|next| !next.is_empty()), archived, since, records)
            }
            _ => (None, false, earlier(Timestamp::now(), SKEW), 0),
        };
        let begins = next.is_none() && !archived;
        let (page, mut follows) = match self.page(archived, &[("sort_by", "id".to_owned())], next.map(NextPage::cursor)).await {
            Ok(page) => page,
            // Nobody says how long a cursor can be used.
            Err(error) if !begins && is_refused(&error) => {
                kept.standing = Standing::Empty;
                self.mirror.keep(self.account, self.kind, kept, Vec::new()).await?;
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let mut entities = page;
        let ended = follows.is_none();
        if ended && self.kind == Kind::Deal && !archived {
            archived = true;
            let (more, follows_archived) = self.page(true, &[("sort_by", "id".to_owned())], None).await?;
            entities.extend(more);
            follows = follows_archived;
        }
        let learned = self.mirror.learn(&self.account.name, self.kind, &kept.fields, self.metadata, &entities, asked);
        let records = records + entities.len() as u64;
        kept.standing = match follows {
            Some(next) => Standing::Filling { next: next.value().to_owned(), archived, since, records },
            None => Standing::Complete { since, records },
        };
        let complete = matches!(kept.standing, Standing::Complete { .. });
        self.mirror.keep(self.account, self.kind, kept, learned.writes).await?;
        if complete {
            let mut state = self.mirror.state.lock();
            state.archived = Some(asked);
            // What changed on pages that were read before this one is not known yet.
            state.swept = begins.then_some(asked);
            state.seen = HashMap::new();
            state.wrote = HashMap::new();
            (state.searched, state.last_cost) = (0, 0);
        }
        Ok(())
    }

    /// Reads what has changed since the last sweep, or since an earlier moment at which changes were missed.
    pub(super) async fn sweep(&self, missed_since: Option<Timestamp>) -> Result<(), FindError> {
        let asked = Instant::now();
        let spent = self.spent();
        let mut kept = self.kept();
        let Standing::Complete { since, records } = kept.standing else { return Ok(()) };
        let from_when = missed_since.map_or(since, |missed| since.min(earlier(missed, OVERLAP)));
        let with_archived = self.kind == Kind::Deal
            && self.mirror.state.lock().archived.is_none_or(|read| asked.duration_since(read) >= ARCHIVED_EVERY);
        let (mut newest, mut seen) = (since, HashMap::new());
        for archived in [false, true].into_iter().filter(|archived| !archived || with_archived) {
            let filters = [("updated_since", time::whole_seconds(from_when)), ("sort_by", "update_time".to_owned())];
            let mut from = None;
            loop {
                let (page, follows) = self.page(archived, &filters, from).await?;
                let learned = self.mirror.learn(&self.account.name, self.kind, &kept.fields, self.metadata, &page, asked);
                newest = newest.max(learned.newest.unwrap_or(newest));
                if !learned.writes.is_empty() {
                    // Where it stands does not move before the end is reached.
                    self.mirror.keep(self.account, self.kind, kept.clone(), learned.writes).await?;
                }
                seen.extend(learned.seen);
                match follows {
                    Some(follows) => from = Some(follows),
                    None => break,
                }
            }
        }
        let moved = earlier(newest, OVERLAP).max(since);
        if moved > since {
            kept.standing = Standing::Complete { since: moved, records };
            self.mirror.keep(self.account, self.kind, kept, Vec::new()).await?;
        }
        let mut state = self.mirror.state.lock();
        state.swept = Some(asked);
        if with_archived {
            state.archived = Some(asked);
        }
        state.seen = seen;
        state.wrote = HashMap::new();
        (state.searched, state.last_cost) = (0, self.spent() - spent);
        Ok(())
    }

    fn kept(&self) -> Kept {
        self.mirror.state.lock().kept.clone().unwrap_or_default()
    }

    /// Tokens of this session's mirror pages so far.
    fn spent(&self) -> u32 {
        self.session.trace().exchanges().iter().filter(|e| e.purpose == Purpose::Mirror).map(|e| e.tokens).sum()
    }

    async fn page(
        &self,
        archived: bool,
        filters: &[(&str, String)],
        from: Option<NextPage>,
    ) -> Result<(Vec<Entity>, Option<NextPage>), ApiError> {
        let path = if archived { ARCHIVED } else { self.kind.path() };
        self.session.list_page(path, filters, PAGE, from.as_ref(), Purpose::Mirror).await
    }
}

fn is_refused(error: &ApiError) -> bool {
    matches!(error.kind, ErrorKind::Refused { status: 400, .. })
}
