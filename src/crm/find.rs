//! Finding the entity that look-ups mean: the match index first, else the cheapest request that can tell.
//!
//! | way | when | tokens |
//! |---|---|---|
//! | match index | all terms lead to one id | 0 |
//! | GET by id | a term is the id | 1 (lead 2) |
//! | list by person or organization | a term is such a link; not behind, unlike the search | 10 (leads 20) |
//! | search by e-mail, phone, custom field, title, name, address | | 20 + 1 a candidate |
//! | list by owner, stage, pipeline, status | nothing better | 10 a page |
//!
//! Who asks for the same list at the same time shares it ([`super::lists`]).
//!
//! Invariants:
//! - Look-ups are tried strictly in order; a weaker one is never asked before a stronger one has missed, under the other ids of its user,
//!   too ([`super::aliased`]).
//! - A failure of any request or of the store is an error, never a miss.
//! - What a search or list offers counts only after every term holds on the entity itself, as read by its id (lists give whole
//!   entities). Pipedrive's search still offers deleted entities, old values, and hits in other fields.
//! - Pipedrive's search lags behind by seconds. That does not matter for what we created: its index entries are in the commit of
//!   its outcome, and its criteria are locked until then.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::aliased::{ByAlias, also};
use super::converted::{Kin, LeadFate, find_deal_of_lead};
use super::standard::{StandardType, find as standard_field, finding};
use super::{Account, Address, FieldType, Finding, Lookup, Metadata, OnMany, Term, WireValue, holds};
use super::{index, mirror};
use crate::failure::FailureClass;
use crate::pipedrive::{ApiError, Entity, Id, Kind, Purpose, Request, Saving, SearchField, Session, tokens};
use crate::store::StoreError;

/// One page; a longer list is left for the search where there is one.
const FIRST_PAGE: usize = 500;
/// The longest list that is read to find one entity.
const LONGEST_LIST: usize = 5_000;

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Found {
    /// The entity.
    Hit {
        /// Which.
        id: Id,
        /// As read on the way; none when the index knew. It is not kept: what is there is read again.
        #[serde(skip)]
        entity: Option<Entity>,
        /// Index of the look-up that hit.
        lookup: usize,
        /// Others that the look-up fits as well, in the order of preference.
        #[serde(default)]
        others: Vec<Id>,
        /// Set when not the value of the look-up was found, but another id of the same user.
        #[serde(default)]
        alias: Option<ByAlias>,
    },
    /// Nothing fits any look-up.
    Miss,
}

impl Found {
    /// What was found.
    #[must_use]
    pub const fn id(&self) -> Option<&Id> {
        match self {
            Self::Hit { id, .. } => Some(id),
            Self::Miss => None,
        }
    }

    /// How much a hit says, the least number the most: the look-up, and whether by its own value.
    #[must_use]
    pub const fn strength(&self) -> Option<(usize, bool)> {
        match self {
            Self::Hit { lookup, alias, .. } => Some((*lookup, alias.is_some())),
            Self::Miss => None,
        }
    }
}

/// Why it cannot be said what is there.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FindError {
    /// A request failed.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Several entities fit, and `on_many` is `fail`.
    #[error("{count} {kind}s fit the match ({ids}); make it tell them apart, merge them, or set on_many")]
    Many {
        /// Kind.
        kind: Kind,
        /// How many.
        count: usize,
        /// The first of them.
        ids: String,
    },
    /// The list that would have to be read is too long.
    #[error("more than {LONGEST_LIST} {0}s would have to be read to find one; add a criterion that can be searched")]
    TooLong(Kind),
    /// No term of the look-up can be searched.
    #[error("a {kind} cannot be found by {fields} alone; {}", searchable(*.kind))]
    NotSearchable {
        /// Kind.
        kind: Kind,
        /// The terms' fields.
        fields: String,
    },
}

impl FindError {
    /// The failure class.
    #[must_use]
    pub fn class(&self) -> FailureClass {
        match self {
            Self::Api(error) => error.class(),
            Self::Store(error) => error.class(),
            Self::Many { .. } | Self::TooLong(_) | Self::NotSearchable { .. } => FailureClass::Permanent,
        }
    }
}

/// What entities of a kind can be found by, for messages.
#[must_use]
pub const fn searchable(kind: Kind) -> &'static str {
    match kind {
        Kind::Person => "use id, emails, phones, name, org_id, or a custom field of type text, number, phone or address",
        Kind::Organization => "use id, name, address, or a custom field of type text, number, phone or address",
        Kind::Deal => "use id, title, person_id, org_id, or a custom field of type text, number, phone or address",
        Kind::Lead => "use id, title, person_id, organization_id, or a custom field of type text, number, phone or address",
        Kind::Activity | Kind::Note => "Pipedrive searches neither activities nor notes: use id, or create them with a key",
    }
}

/// Finds the entity by the first look-up that hits.
///
/// # Errors
/// When anything fails that would have to be known, or several fit and none may be chosen.
pub async fn find(
    account: &Account,
    session: &Session,
    kind: Kind,
    lookups: &[Lookup],
    on_many: OnMany,
) -> Result<Found, FindError> {
    let metadata = account.metadata();
    let search = Finder { account, session, kind, metadata: &metadata, lookups };
    for (n, lookup) in lookups.iter().enumerate() {
        for (alias, lookup) in ways(account, kind, lookup, &metadata) {
            if let Some((result, candidates)) = search.by_any_way(&lookup).await? {
                account.metrics.match_looked_up(&account.name, kind.as_str(), result);
                return choose(kind, candidates, on_many, n, alias);
            }
        }
    }
    account.metrics.match_looked_up(&account.name, kind.as_str(), "miss");
    Ok(Found::Miss)
}

/// What the index knows, as [`find`] would take it: a miss means only that the index does not know. Requests are made only to read what it
/// has where that does not settle all terms.
///
/// # Errors
/// When a request or the store fails, or several fit and none may be chosen.
pub async fn find_known(
    account: &Account,
    session: &Session,
    kind: Kind,
    lookups: &[Lookup],
    on_many: OnMany,
) -> Result<Found, FindError> {
    let metadata = account.metadata();
    let search = Finder { account, session, kind, metadata: &metadata, lookups };
    for (n, lookup) in lookups.iter().enumerate() {
        for (alias, lookup) in ways(account, kind, lookup, &metadata) {
            let known = search.by_index(&lookup).await?;
            if !known.is_empty() {
                return choose(kind, known, on_many, n, alias);
            }
        }
    }
    Ok(Found::Miss)
}

/// The look-up itself, then what aliases make it mean besides.
fn ways<'l>(
    account: &Account,
    kind: Kind,
    lookup: &'l Lookup,
    metadata: &Metadata,
) -> impl Iterator<Item = (Option<ByAlias>, Cow<'l, Lookup>)> {
    let others = also(account, kind, lookup, metadata).into_iter().map(|(by, other)| (Some(by), Cow::Owned(other)));
    std::iter::once((None, Cow::Borrowed(lookup))).chain(others)
}

type Candidate = (Id, Option<Entity>);

struct Finder<'a> {
    account: &'a Account,
    session: &'a Session,
    kind: Kind,
    metadata: &'a Metadata,
    /// All of them: what one tells helps with another.
    lookups: &'a [Lookup],
}

impl Finder<'_> {
    /// At least one verified candidate and where they are from, or none.
    async fn by_any_way(&self, lookup: &Lookup) -> Result<Option<(&'static str, Vec<Candidate>)>, FindError> {
        let known = self.by_index(lookup).await?;
        if !known.is_empty() {
            self.spared(lookup, &known, Saving::MatchIndex);
            return Ok(Some(("index", known)));
        }
        if self.is_mirrored(lookup).await? {
            // Who read the list has spent for all of them.
            self.spared(lookup, &[], Saving::Mirror);
            let known = self.by_index(lookup).await?;
            return Ok((!known.is_empty()).then_some(("mirror", known)));
        }
        let found = self.by_request(lookup).await?;
        let mut found: Vec<Candidate> = found.into_iter().map(|(id, entity)| (id, Some(entity))).collect();
        if found.is_empty()
            && let [term] = lookup.0.as_slice()
            && self.way(term) == Finding::ById
            && let Ok(id) = term.value.parse()
            && self.became_deal(&id).await?
        {
            found.push((id, None));
        }
        Ok((!found.is_empty()).then_some(("search", found)))
    }

    /// Whether what the index does not have for this look-up is not there.
    async fn is_mirrored(&self, lookup: &Lookup) -> Result<bool, FindError> {
        let own = mirror::fields(self.kind, [lookup], self.metadata);
        if own.is_empty() || lookup.0.iter().any(|term| self.way(term) == Finding::ById) {
            return Ok(false);
        }
        // All of them at once: a list that lacks a field would have to be read again for it.
        let all = mirror::fields(self.kind, self.lookups.iter().chain([lookup]), self.metadata);
        self.account.mirror.vouches(self.account, self.session, self.kind, &all, self.metadata).await
    }

    /// It is known what a request would have been sent for: what that costs, less what was read to be sure.
    fn spared(&self, lookup: &Lookup, known: &[Candidate], by: Saving) {
        let read = known.iter().filter(|(_, entity)| entity.is_some()).count();
        let single = tokens(&Request::get(format!("{}/1", self.kind.path())));
        let list = tokens(&Request::get(self.kind.path()));
        let filters = |link: bool| self.first(lookup, |way, of| (of || !link) && matches!(way, Finding::Filter(..))).is_some();
        let asked = if self.first(lookup, |way, _| way == Finding::ById).is_some() {
            single
        } else if filters(true) {
            list
        } else if self.best_search(lookup).is_some() {
            tokens(&Request::get("/api/v2/itemSearch")) + single
        } else if filters(false) {
            list
        } else {
            0
        };
        let read = single.saturating_mul(u32::try_from(read).unwrap_or(u32::MAX)).min(list);
        if asked > read {
            self.session.saved(by, asked - read);
        }
    }

    async fn by_index(&self, lookup: &Lookup) -> Result<Vec<Candidate>, FindError> {
        let store = &*self.account.store;
        let Some(ids) = index::candidates(store, &self.account.name, self.kind, lookup, self.metadata).await? else {
            return Ok(Vec::new());
        };
        let trusted = |term: &&Term| ids.len() == 1 && index::is_indexed(self.kind, &term.address, self.type_of(term));
        let open: Vec<&Term> = lookup.0.iter().filter(|term| !trusted(term)).collect();
        if open.is_empty() {
            return Ok(ids.into_iter().map(|id| (id, None)).collect());
        }
        // Several, or terms that the index does not hold: the entities themselves tell.
        let ids: Vec<Id> = ids.iter().cloned().collect();
        let read = self.session.get_many(self.kind, &ids, Purpose::Lookup).await?;
        let gone = ids.into_iter().filter(|id| !read.iter().any(|(there, _)| there == id));
        let mut converted = Vec::new();
        let mut stale = Vec::new();
        for id in gone {
            if self.became_deal(&id).await? { converted.push((id, None)) } else { stale.push(id) }
        }
        if !stale.is_empty() {
            self.account.metrics.match_looked_up(&self.account.name, self.kind.as_str(), "stale");
            store.commit(stale.iter().map(|id| index::forget(&self.account.name, self.kind, id)).collect()).await?;
        }
        let read = read.into_iter().filter(|(_, entity)| open.iter().all(|term| self.term_holds(term, entity)));
        let read: Vec<Candidate> = read.map(|(id, entity)| (id, Some(entity))).collect();
        // What is there goes before what is a deal by now.
        Ok(if read.is_empty() { converted } else { read })
    }

    /// Whether what is gone is a lead that became a deal: whoever writes to it is led there.
    async fn became_deal(&self, id: &Id) -> Result<bool, FindError> {
        if self.kind != Kind::Lead {
            return Ok(false);
        }
        let mut kin = Kin::default();
        kin.add_lookups(self.lookups);
        Ok(matches!(find_deal_of_lead(self.account, self.session, id, kin).await?, LeadFate::Deal(_)))
    }

    /// Entities on which every term holds, by the cheapest request.
    async fn by_request(&self, lookup: &Lookup) -> Result<Vec<(Id, Entity)>, FindError> {
        if let Some(term) = self.first(lookup, |way, _| way == Finding::ById) {
            let Some(id) = term.value.parse().ok().filter(|id: &Id| id.fits(self.kind)) else { return Ok(Vec::new()) };
            let entity = self.session.get(self.kind, &id, Purpose::Lookup).await?;
            return Ok(entity.filter(|entity| self.all_hold(lookup, entity)).map(|entity| (id, entity)).into_iter().collect());
        }
        let searched = self.best_search(lookup);
        if self.first(lookup, |way, link| link && matches!(way, Finding::Filter(..))).is_some() {
            let page = self.list(lookup, FIRST_PAGE).await?;
            if page.len() < FIRST_PAGE {
                return Ok(self.verified(lookup, &page));
            }
            if searched.is_none() {
                return self.long_list(lookup).await;
            }
        }
        if let Some((term, field)) = searched {
            return self.search(lookup, term, field).await;
        }
        if self.first(lookup, |way, _| matches!(way, Finding::Filter(..))).is_some() {
            return self.long_list(lookup).await;
        }
        let fields = lookup.0.iter().map(|term| format!("`{}`", term.address.key())).collect::<Vec<_>>().join(", ");
        Err(FindError::NotSearchable { kind: self.kind, fields })
    }

    async fn search(&self, lookup: &Lookup, term: &Term, field: SearchField<'_>) -> Result<Vec<(Id, Entity)>, FindError> {
        self.account.mirror.searched(self.kind);
        let mut filters = Vec::new();
        for term in &lookup.0 {
            if let Finding::Filter(_, Some(name)) = self.way(term) {
                filters.push((name, term.value.clone()));
            }
        }
        let hits = self.session.search(self.kind, field, &searched_text(term, field), &filters).await?;
        let mut ids = Vec::new();
        for hit in hits {
            // What the search tells of the field spares reads; it does not prove the hit.
            let told = hit.item.contains_key(term.address.key()) && !matches!(field, SearchField::Custom(_));
            if (!told || self.term_holds(term, &hit.item)) && !ids.contains(&hit.id) {
                ids.push(hit.id);
            }
        }
        let read = self.session.get_many(self.kind, &ids, Purpose::Lookup).await?;
        Ok(read.into_iter().filter(|(_, entity)| self.all_hold(lookup, entity)).collect())
    }

    async fn list(&self, lookup: &Lookup, max: usize) -> Result<Arc<[Entity]>, FindError> {
        let mut filters = Vec::new();
        for term in &lookup.0 {
            if let Finding::Filter(name, _) = self.way(term) {
                filters.push((name, term.value.clone()));
            }
        }
        Ok(self.account.list(self.session, self.kind, &filters, max).await?)
    }

    async fn long_list(&self, lookup: &Lookup) -> Result<Vec<(Id, Entity)>, FindError> {
        let all = self.list(lookup, LONGEST_LIST + 1).await?;
        if all.len() > LONGEST_LIST {
            return Err(FindError::TooLong(self.kind));
        }
        Ok(self.verified(lookup, &all))
    }

    fn verified(&self, lookup: &Lookup, entities: &[Entity]) -> Vec<(Id, Entity)> {
        entities
            .iter()
            .filter(|entity| self.all_hold(lookup, entity))
            .filter_map(|entity| Some((Id::from_json(entity.get("id")?)?, entity.clone())))
            .collect()
    }

    /// The term that a search tells most by, and where to search it.
    fn best_search<'l>(&self, lookup: &'l Lookup) -> Option<(&'l Term, SearchField<'l>)> {
        let searches = lookup.0.iter().filter_map(|term| match (self.way(term), &term.address) {
            (Finding::Search(field), _) => Some((term, field)),
            (Finding::SearchCustom, Address::Custom(key)) => Some((term, SearchField::Custom(key))),
            _ => None,
        });
        searches.min_by_key(|(_, field)| match field {
            SearchField::Email => 0,
            SearchField::Custom(_) => 1,
            SearchField::Phone => 2,
            SearchField::Title | SearchField::Name => 3,
            SearchField::Address => 4,
        })
    }

    fn first<'l>(&self, lookup: &'l Lookup, fits: impl Fn(Finding, bool) -> bool) -> Option<&'l Term> {
        lookup.0.iter().find(|term| fits(self.way(term), self.is_link(term)))
    }

    fn is_link(&self, term: &Term) -> bool {
        matches!(&term.address, Address::Standard(key) if standard_field(self.kind, key).is_some_and(|f| matches!(f.ty, StandardType::Link(_))))
    }

    fn way(&self, term: &Term) -> Finding {
        finding(self.kind, &term.address, self.type_of(term))
    }

    fn type_of(&self, term: &Term) -> Option<&FieldType> {
        self.metadata.type_of(self.kind, &term.address)
    }

    fn term_holds(&self, term: &Term, entity: &Entity) -> bool {
        holds(self.kind, &term.address, self.type_of(term), entity, &term.value)
    }

    fn all_hold(&self, lookup: &Lookup, entity: &Entity) -> bool {
        lookup.0.iter().all(|term| self.term_holds(term, entity))
    }
}

/// The text to search: as it would be written, where Pipedrive compares letter by letter; else normalised.
fn searched_text(term: &Term, field: SearchField<'_>) -> String {
    if matches!(field, SearchField::Email) {
        return term.value.clone();
    }
    let value = match &term.wire {
        Some(WireValue::Json(value)) => value,
        Some(WireValue::List { items, .. }) => items.first().unwrap_or(&Value::Null),
        Some(WireValue::Clear | WireValue::Link { .. }) | None => &Value::Null,
    };
    let value = value.get("value").unwrap_or(value);
    value.as_str().map(str::trim).filter(|text| !text.is_empty()).map_or_else(|| term.value.clone(), str::to_owned)
}

/// Open deals before others, what is not archived before what is, then by age.
fn choose(
    kind: Kind,
    mut candidates: Vec<Candidate>,
    on_many: OnMany,
    lookup: usize,
    alias: Option<ByAlias>,
) -> Result<Found, FindError> {
    if candidates.len() > 1 && on_many == OnMany::Fail {
        let ids = candidates.iter().take(5).map(|(id, _)| id.to_string()).collect::<Vec<_>>().join(", ");
        return Err(FindError::Many { kind, count: candidates.len(), ids });
    }
    candidates.sort_by(|a, b| {
        let by_age = age(a).cmp(&age(b));
        second_rate(kind, a).cmp(&second_rate(kind, b)).then(if on_many == OnMany::Newest { by_age.reverse() } else { by_age })
    });
    let mut candidates = candidates.into_iter();
    Ok(candidates.next().map_or(Found::Miss, |(id, entity)| Found::Hit {
        id,
        entity,
        lookup,
        others: candidates.map(|(id, _)| id).collect(),
        alias,
    }))
}

fn second_rate(kind: Kind, (_, entity): &Candidate) -> (bool, bool) {
    let Some(entity) = entity else { return (false, false) };
    let archived = entity.get("is_archived").and_then(Value::as_bool).unwrap_or_default();
    let closed = kind == Kind::Deal && entity.get("status").and_then(Value::as_str) != Some("open");
    (archived, closed)
}

/// Time of creation, then id: ids of leads tell no age.
fn age((id, entity): &Candidate) -> (Option<jiff::Timestamp>, Id) {
    let added = entity.as_ref().and_then(|entity| entity.get("add_time")).and_then(Value::as_str);
    (added.and_then(super::time::read), id.clone())
}
