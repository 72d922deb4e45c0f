//! The match index: from (account, kind, field, normalised value) to ids, kept in the store.
//!
//! Entries are written in the commit that records the outcome they come from: a create, an update that changed a match field, a
//! verified hit of a search. So what we have created ourselves is found at once, whatever Pipedrive's search lags behind. What comes out
//! of the index is trusted until a request says 404 or 410; then the entity is forgotten whole.
//!
//! Only fields by which an entity is told from others are indexed, not what changes by itself (status, stage, owner, links).

use std::collections::BTreeSet;

use super::standard::finding;
use super::{Address, FieldType, Finding, Lookup, Metadata, values};
use crate::pipedrive::{Entity, Id, Kind};
use crate::store::{Store, StoreError, Write};

/// Whether values of a field stand in the index.
#[must_use]
pub fn is_indexed(kind: Kind, address: &Address, field_type: Option<&FieldType>) -> bool {
    matches!(finding(kind, address, field_type), Finding::ById | Finding::Search(_) | Finding::SearchCustom)
}

/// The ids that hold all of the indexed terms; none when no term is indexed.
///
/// # Errors
/// When the store fails.
pub async fn candidates(
    store: &dyn Store,
    account: &str,
    kind: Kind,
    lookup: &Lookup,
    metadata: &Metadata,
) -> Result<Option<BTreeSet<Id>>, StoreError> {
    let mut all: Option<BTreeSet<Id>> = None;
    for term in &lookup.0 {
        if !is_indexed(kind, &term.address, metadata.type_of(kind, &term.address)) {
            continue;
        }
        let ids = store.index_get(account, kind.as_str(), term.address.key(), &term.value).await?;
        let ids = ids.iter().filter_map(|id| id.parse().ok()).filter(|id: &Id| id.fits(kind));
        let ids = match all {
            None => ids.collect::<BTreeSet<_>>(),
            Some(before) => ids.filter(|id| before.contains(id)).collect(),
        };
        if ids.is_empty() {
            return Ok(Some(ids));
        }
        all = Some(ids);
    }
    Ok(all)
}

/// The entries of one entity for the terms that it was found or created by.
#[must_use]
pub fn put_lookup(account: &str, kind: Kind, id: &Id, lookup: &Lookup, metadata: &Metadata) -> Vec<Write> {
    let indexed = lookup.0.iter().filter(|term| is_indexed(kind, &term.address, metadata.type_of(kind, &term.address)));
    indexed.map(|term| put(account, kind, id, term.address.key(), &term.value)).collect()
}

/// The entries for these fields of an entity as Pipedrive answered it: puts what it holds now, and removes `before`'s values that it no
/// longer holds.
#[must_use]
pub fn follow(
    account: &str,
    kind: Kind,
    id: &Id,
    addresses: &[Address],
    before: Option<&Entity>,
    now: &Entity,
    metadata: &Metadata,
) -> Vec<Write> {
    let mut writes = Vec::new();
    for address in addresses {
        let ty = metadata.type_of(kind, address);
        if !is_indexed(kind, address, ty) {
            continue;
        }
        let held = values(kind, address, ty, now);
        let gone = before.map(|before| values(kind, address, ty, before)).unwrap_or_default();
        writes.extend(
            gone.iter().filter(|value| !held.contains(value)).map(|value| remove(account, kind, id, address.key(), value)),
        );
        writes.extend(held.iter().map(|value| put(account, kind, id, address.key(), value)));
    }
    writes
}

/// One entry.
#[must_use]
pub fn put(account: &str, kind: Kind, id: &Id, field: &str, value: &str) -> Write {
    Write::IndexPut {
        account: account.to_owned(),
        kind: kind.as_str().to_owned(),
        field: field.to_owned(),
        value: value.to_owned(),
        id: id.to_string(),
    }
}

/// All entries of an entity in one field: these values and no others.
#[must_use]
pub fn replace(account: &str, kind: Kind, id: &Id, field: &str, values: Vec<String>) -> Write {
    Write::IndexReplace {
        account: account.to_owned(),
        kind: kind.as_str().to_owned(),
        id: id.to_string(),
        field: field.to_owned(),
        values,
    }
}

/// Takes one entry out.
#[must_use]
pub fn remove(account: &str, kind: Kind, id: &Id, field: &str, value: &str) -> Write {
    Write::IndexRemove {
        account: account.to_owned(),
        kind: kind.as_str().to_owned(),
        field: field.to_owned(),
        value: value.to_owned(),
        id: id.to_string(),
    }
}

/// Forgets an entity that is gone: its entries and its known values.
#[must_use]
pub fn forget(account: &str, kind: Kind, id: &Id) -> Write {
    Write::Forget { account: account.to_owned(), kind: kind.as_str().to_owned(), id: id.to_string() }
}

/// An entity was merged into another one: its entries lead there from now on, and its known values are forgotten.
#[must_use]
pub fn remap(account: &str, kind: Kind, from: &Id, to: &Id) -> Write {
    Write::Remap { account: account.to_owned(), kind: kind.as_str().to_owned(), from: from.to_string(), to: to.to_string() }
}
