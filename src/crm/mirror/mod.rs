//! The mirror: the match index made complete for kinds of an account, so that what is not in it is not in Pipedrive, without a search.
//!
//! A list of 500 costs 10 tokens and a search 20, so the first look-up that misses reads a page of the list in place of asking the search,
//! and each further miss reads the next page beside its search: what is spent on a mirror is never more than half of what the searches
//! cost that made it worth while. Once the list is read to its end, a miss asks for what has changed since (10 tokens), and all who miss
//! meanwhile wait for that one sweep.
//!
//! Invariants:
//! - [`Mirror::vouches`] says yes only when all entities were listed with every field that is asked for, and a sweep has ended that
//!   began after the caller's work did. A failed request is an error, never a yes.
//! - Pages and sweeps are sent by the attempt that needs them and stand in its record; of a kind there is one at a time.
//! - Where the list stands is committed with the index entries of the page: a crash repeats one page at most, and a restart none.
//! - What we have written since a page was asked for is not overwritten by it: the outcome's own entries are newer.
//! - Sweeps overlap, and their times are Pipedrive's own: [`OVERLAP`] before the newest change that was seen.
//!
//! Persons, organizations and deals are mirrored. A list of leads costs what a search does; activities and notes are not looked for.
//! Archived deals are in a list of their own that costs twice as much: it is read with the first and then at most once in
//! [`ARCHIVED_EVERY`], so a deal that others created and archived within that time is not known.

mod learn;
mod list;
mod state;

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::index::is_indexed;
use super::standard::finding;
use super::{Account, Address, FindError, Finding, Lookup, Metadata, Sight, index};
use crate::config::MirrorMode;
use crate::pipedrive::{Entity, Id, Kind, Session};
use crate::store::{StoreError, Write};

use learn::{Age, Newest};
use state::Kept;
pub use state::{Standing, forget_all, forget_list};

/// How far the times of changes may be behind the order in which they can be seen.
const OVERLAP: Duration = Duration::from_secs(30);
/// How far our clock and Pipedrive's may be apart. Ours counts only when the first list begins.
const SKEW: Duration = Duration::from_secs(60);
/// The list of archived deals is read again at most so often.
const ARCHIVED_EVERY: Duration = Duration::from_secs(3_600);
/// Sweeps of a kind begin at least so far apart while there is something else to do.
const PACE: Duration = Duration::from_secs(10);
/// So many that wait are not made to wait for more.
const ENOUGH: usize = 200;
/// What a search costs that a sweep spares.
const SEARCH: u32 = 20;

/// The kinds that are mirrored.
pub const MIRRORED: [Kind; 3] = [Kind::Person, Kind::Organization, Kind::Deal];

/// The mirrors of one account.
#[derive(Debug, Default)]
pub struct Mirror {
    kinds: [OfKind; MIRRORED.len()],
}

/// What a webhook tells the match index.
#[derive(Debug)]
pub(super) enum News {
    /// This.
    New(Vec<Write>),
    /// Something newer was told before.
    Old,
    /// Something newer may have been told before: a sweep tells what is true now.
    Late,
}

/// The mirror of one kind.
#[derive(Debug, Default)]
struct OfKind {
    /// Held by whoever reads a page.
    turn: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What the store has; none before it was asked.
    kept: Option<Kept>,
    /// When the last sweep began that has ended.
    swept: Option<Instant>,
    /// When the archived list was last read.
    archived: Option<Instant>,
    /// Digests of what the entities of the last sweep held: most of them come again in the next.
    seen: HashMap<Id, u64>,
    /// When we wrote to what since the page under way was asked for.
    wrote: HashMap<Id, Instant>,
    /// The newest changes that were told of.
    newest: Newest,
    /// Tokens that searches have cost since the last sweep, and what the last sweep cost.
    searched: u32,
    last_cost: u32,
}

impl State {
    /// Whether we have written to an entity since then.
    fn has_written(&self, id: &Id, since: Instant) -> bool {
        self.wrote.get(id).is_some_and(|wrote| *wrote >= since)
    }
}

impl Mirror {
    fn of(&self, kind: Kind) -> Option<&OfKind> {
        MIRRORED.iter().position(|mirrored| *mirrored == kind).map(|at| &self.kinds[at])
    }

    /// Whether the index knows of all entities that hold a value in these fields, as of a moment after the session's work began. It reads
    /// what has to be read for that, as far as that costs less than to search.
    ///
    /// # Errors
    /// When a request or the store fails.
    pub(super) async fn vouches(
        &self,
        account: &Account,
        session: &Session,
        kind: Kind,
        fields: &BTreeSet<Address>,
        metadata: &Metadata,
    ) -> Result<bool, FindError> {
        let mode = mode(account, kind);
        let Some(mirror) = self.of(kind).filter(|_| mode != MirrorMode::Off) else { return Ok(false) };
        let asked = session.caller().began;
        mirror.load(account, kind).await?;
        let reader = list::Reader { account, session, kind, mirror, metadata };
        if mirror.is_fresh(fields, asked) {
            return Ok(true);
        }
        let alone = account.gathering.alone();
        tokio::pin!(alone);
        alone.as_mut().enable();
        let _waiting = account.gathering.wait();
        let _turn = mirror.turn.lock().await;
        if mirror.is_fresh(fields, asked) {
            return Ok(true);
        }
        if !mirror.is_complete(fields) {
            // What others will most likely ask for, too: a field more costs nothing now and the whole list later.
            let fields = fields | &usual(account, kind, metadata);
            reader.fill(&fields).await?;
        }
        if mirror.is_complete(fields) && !mirror.is_fresh(fields, asked) && mirror.is_worth_sweeping(mode) {
            let due = mirror.state.lock().swept.map(|swept| swept + PACE);
            account.gathering.gather(due, ENOUGH, alone).await;
            reader.sweep(None).await?;
        }
        Ok(mirror.is_fresh(fields, asked))
    }

    /// A search was made because the mirror could not vouch.
    pub(super) fn searched(&self, kind: Kind) {
        if let Some(mirror) = self.of(kind) {
            let mut state = mirror.state.lock();
            state.searched = state.searched.saturating_add(SEARCH);
        }
    }

    /// We have written to an entity: lists that were asked for before do not know it.
    pub fn wrote(&self, kind: Kind, id: &Id) {
        if let Some(mirror) = self.of(kind) {
            let reading = mirror.turn.try_lock().is_err();
            let mut state = mirror.state.lock();
            state.seen.remove(id);
            if reading {
                state.wrote.insert(id.clone(), Instant::now());
            }
        }
    }

    /// Takes what the store kept of the lists.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn load(&self, account: &Account) -> Result<(), StoreError> {
        for (mirror, kind) in self.kinds.iter().zip(MIRRORED) {
            mirror.load(account, kind).await?;
        }
        Ok(())
    }

    /// Reads the lists of the kinds that are always mirrored to their ends; what was read before is not read again.
    ///
    /// # Errors
    /// When a request or the store fails.
    pub async fn fill(&self, account: &Account, session: &Session) -> Result<(), FindError> {
        let metadata = account.ready_metadata(session).await?;
        for (mirror, kind) in self.kinds.iter().zip(MIRRORED).filter(|(_, kind)| mode(account, *kind) == MirrorMode::On) {
            mirror.load(account, kind).await?;
            let mut fields = usual(account, kind, &metadata);
            fields.extend(mirror.state.lock().kept.iter().flat_map(|kept| kept.fields.clone()));
            let reader = list::Reader { account, session, kind, mirror, metadata: &metadata };
            while !mirror.is_complete(&fields) {
                // One page a turn: deliveries come between.
                let _turn = mirror.turn.lock().await;
                reader.fill(&fields).await?;
            }
        }
        Ok(())
    }

    /// Asks for all that has changed since a moment at which changes were missed, of the kinds whose lists were read.
    ///
    /// # Errors
    /// When a request or the store fails.
    pub async fn catch_up(&self, account: &Account, session: &Session, missed_since: Timestamp) -> Result<(), FindError> {
        let metadata = account.ready_metadata(session).await?;
        for (mirror, kind) in self.kinds.iter().zip(MIRRORED).filter(|(_, kind)| mode(account, *kind) != MirrorMode::Off) {
            mirror.load(account, kind).await?;
            let _turn = mirror.turn.lock().await;
            list::Reader { account, session, kind, mirror, metadata: &metadata }.sweep(Some(missed_since)).await?;
        }
        Ok(())
    }

    /// What a webhook tells of an entity, for the match index: what the fields held that hold something else now, and what it holds. Other
    /// entries stay: we may be writing one just now.
    pub(super) fn told(
        &self,
        account: &Account,
        kind: Kind,
        id: &Id,
        (before, now): (&Entity, &Sight),
        metadata: &Metadata,
    ) -> News {
        let Some(mirror) = self.of(kind) else { return News::New(Vec::new()) };
        match mirror.age(id, now.version) {
            Age::Old => return News::Old,
            Age::Unknown => return News::Late,
            Age::New => {}
        }
        let mut fields = usual(account, kind, metadata);
        fields.extend(mirror.state.lock().kept.iter().flat_map(|kept| kept.fields.clone()));
        let fields: Vec<Address> = fields.into_iter().collect();
        News::New(index::follow(&account.name, kind, id, &fields, Some(before), &now.entity, metadata))
    }

    /// Whether a webhook's deletion of an entity is the newest that was told of it.
    pub(super) fn told_gone(&self, kind: Kind, id: &Id, at: i64) -> bool {
        self.of(kind).is_none_or(|mirror| mirror.age(id, at) != Age::Old)
    }

    /// The next sweep looks at an entity again.
    pub(super) fn look_again(&self, kind: Kind, id: &Id) {
        if let Some(mirror) = self.of(kind) {
            mirror.state.lock().seen.remove(id);
        }
    }

    /// Whether a sweep began within this time that has ended: what was seen of entities of the kind and is still known is what they held
    /// then, since what others changed was told by it.
    #[must_use]
    pub fn swept_within(&self, kind: Kind, time: Duration) -> bool {
        self.of(kind).is_some_and(|mirror| mirror.state.lock().swept.is_some_and(|swept| swept.elapsed() < time))
    }

    /// How the mirrors stand.
    #[must_use]
    pub fn status(&self, account: &Account) -> Vec<MirrorStatus> {
        let status = |(mirror, kind): (&OfKind, Kind)| {
            let mode = mode(account, kind);
            let standing = mirror.state.lock().kept.as_ref().map(|kept| kept.standing.clone()).unwrap_or_default();
            MirrorStatus { kind, mode, why: why(mode, &standing), standing }
        };
        self.kinds.iter().zip(MIRRORED).map(status).collect()
    }
}

/// How the mirror of a kind stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MirrorStatus {
    /// The kind.
    pub kind: Kind,
    /// As `rules.toml` has it.
    pub mode: MirrorMode,
    /// How far its list was read.
    #[serde(flatten)]
    pub standing: Standing,
    /// What that means for a look-up that the match index cannot answer, and why.
    pub why: String,
}

fn why(mode: MirrorMode, standing: &Standing) -> String {
    match (mode, standing) {
        (MirrorMode::Off, _) => "off in rules.toml: what the match index does not have is searched for (20 tokens)".to_owned(),
        (MirrorMode::On, Standing::Empty) => "its list is to be read".to_owned(),
        (MirrorMode::Auto, Standing::Empty) => {
            "the first look-up that misses reads a page of its list (500 for 10 tokens), which costs less than a search (20)"
                .to_owned()
        }
        (_, Standing::Filling { .. }) => {
            "its list is being read: each look-up that misses reads a page (10 tokens) beside its search (20)".to_owned()
        }
        (_, Standing::Complete { since, .. }) => format!(
            "complete: a look-up that misses asks for what has changed since {} (10 tokens), and all who miss meanwhile share that; nothing \
             is searched for",
            since.strftime("%Y-%m-%d %H:%M:%SZ")
        ),
    }
}

/// What rules usually match by: the account's match field, and the e-mail of a person.
fn usual(account: &Account, kind: Kind, metadata: &Metadata) -> BTreeSet<Address> {
    let names = &account.config.match_fields;
    let name = match kind {
        Kind::Person => &names.person,
        Kind::Organization => &names.organization,
        _ => &names.deal,
    };
    let email = (kind == Kind::Person).then(|| Address::Standard("emails".to_owned()));
    let named = metadata.custom_named(kind, name);
    let field = metadata.custom_field(kind, name).or_else(|| named.first().copied());
    let field = field.map(|field| Address::Custom(field.key.clone()));
    [email, field].into_iter().flatten().filter(|address| is_indexed(kind, address, metadata.type_of(kind, address))).collect()
}

fn mode(account: &Account, kind: Kind) -> MirrorMode {
    let modes = account.config.mirror;
    match kind {
        Kind::Person => modes.person,
        Kind::Organization => modes.organization,
        Kind::Deal => modes.deal,
        Kind::Lead | Kind::Activity | Kind::Note => MirrorMode::Off,
    }
}

/// The fields of these look-ups whose values stand in the index.
pub(super) fn fields<'l>(kind: Kind, lookups: impl IntoIterator<Item = &'l Lookup>, metadata: &Metadata) -> BTreeSet<Address> {
    let mut fields = BTreeSet::new();
    for term in lookups.into_iter().flat_map(|lookup| &lookup.0) {
        let ty = metadata.type_of(kind, &term.address);
        if is_indexed(kind, &term.address, ty) && finding(kind, &term.address, ty) != Finding::ById {
            fields.insert(term.address.clone());
        }
    }
    fields
}

impl OfKind {
    /// Takes what the store has: an erasure takes it away there, since the index has forgotten entities that are in Pipedrive still.
    async fn load(&self, account: &Account, kind: Kind) -> Result<(), StoreError> {
        let kept = Kept::load(&*account.store, &account.name, kind).await?;
        self.state.lock().kept = Some(kept);
        Ok(())
    }

    fn is_complete(&self, fields: &BTreeSet<Address>) -> bool {
        self.state.lock().kept.as_ref().is_some_and(|kept| kept.is_complete(fields))
    }

    fn is_fresh(&self, fields: &BTreeSet<Address>, asked: Instant) -> bool {
        self.is_complete(fields) && self.state.lock().swept.is_some_and(|swept| swept >= asked)
    }

    /// Many changes since the last sweep make the next one dear: then it waits until the searches have cost as much.
    fn is_worth_sweeping(&self, mode: MirrorMode) -> bool {
        let state = self.state.lock();
        mode == MirrorMode::On || state.last_cost <= SEARCH.saturating_add(state.searched)
    }

    /// Commits what a page has brought, with where the list stands then.
    async fn keep(&self, account: &Account, kind: Kind, kept: Kept, mut writes: Vec<Write>) -> Result<(), StoreError> {
        let began = self.state.lock().kept.as_ref().is_some_and(|kept| kept.standing != Standing::Empty);
        let stored = Kept::load(&*account.store, &account.name, kind).await?;
        if began && stored.standing == Standing::Empty {
            // It was taken away meanwhile: the list begins anew.
            self.state.lock().kept = Some(stored);
            return Ok(());
        }
        writes.push(kept.write(&account.name, kind));
        account.store.commit(writes.clone()).await?;
        self.state.lock().kept = Some(kept);
        account.learned(&writes);
        Ok(())
    }
}
