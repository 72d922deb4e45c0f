//! Persons under another id of the same user: what a criterion means besides its own value, once aliases have joined ids.
//!
//! Invariants: only for persons, and only for the field that a bare id stands for (`match_fields.person`): no other field holds ids of users.
//! The value itself goes first, always; what is tried then are the other ids of its class, in the class's order.

use std::fmt;

use serde_json::Value;

use super::standard::find as standard_field;
use super::{Account, Address, Lookup, Metadata, Term, WireValue, holds, normalise, same_name};
use crate::event::canonical_id;
use serde::{Deserialize, Serialize};

use crate::pipedrive::{Entity, Kind};

/// That a criterion was met by another id of the same user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ByAlias {
    /// What was found.
    pub other: String,
    /// What the criterion named.
    pub id: String,
}

impl fmt::Display for ByAlias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "found by {:?}, an alias of {:?}", self.other, self.id)
    }
}

/// What else a look-up means: the same with another id of the user in place of the one that it names. None while there are no aliases.
#[must_use]
pub(super) fn also(account: &Account, kind: Kind, lookup: &Lookup, metadata: &Metadata) -> Vec<(ByAlias, Lookup)> {
    if kind != Kind::Person || account.store.aliases().is_empty() {
        return Vec::new();
    }
    let mut all = Vec::new();
    for (at, term) in lookup.0.iter().enumerate() {
        for (by, other) in others(account, kind, term, metadata) {
            let mut terms = lookup.0.clone();
            terms[at] = other;
            all.push((by, Lookup(terms)));
        }
    }
    all
}

/// Look-ups with all that they mean.
#[must_use]
pub fn with_aliases(account: &Account, kind: Kind, lookups: &[Lookup], metadata: &Metadata) -> Vec<Lookup> {
    let others = lookups.iter().flat_map(|lookup| also(account, kind, lookup, metadata)).map(|(_, other)| other);
    lookups.iter().cloned().chain(others).collect()
}

/// Whether an entity holds another id of the same user where a term names one.
#[must_use]
pub fn holds_alias(account: &Account, kind: Kind, term: &Term, entity: &Entity, metadata: &Metadata) -> bool {
    let field_type = metadata.type_of(kind, &term.address);
    kind == Kind::Person
        && !account.store.aliases().is_empty()
        && others(account, kind, term, metadata)
            .iter()
            .any(|(_, other)| holds(kind, &other.address, field_type, entity, &other.value))
}

/// The terms that name another id of the same user, where the term's field holds ids of users.
fn others(account: &Account, kind: Kind, term: &Term, metadata: &Metadata) -> Vec<(ByAlias, Term)> {
    if !is_match_field(account, kind, &term.address, metadata) {
        return Vec::new();
    }
    let Some(id) = written(term).and_then(canonical_id) else { return Vec::new() };
    let Some(class) = account.store.aliases().class_of(&id) else { return Vec::new() };
    let others = class.iter().filter(|other| ***other != *id);
    others
        .filter_map(|other| {
            let wire = Value::String(other.to_string());
            // An id that the field cannot hold is nobody's there.
            let value = normalise(kind, &term.address, metadata.type_of(kind, &term.address), &wire)?;
            let term = Term { address: term.address.clone(), value, wire: Some(WireValue::Json(wire)) };
            Some((ByAlias { other: other.to_string(), id: id.clone() }, term))
        })
        .collect()
}

/// The value as the script gave it: a normalised one may have lost what ids differ by.
fn written(term: &Term) -> Option<&Value> {
    match term.wire.as_ref()? {
        WireValue::Json(value) => Some(value),
        WireValue::List { items, .. } => items.first()?.get("value"),
        WireValue::Clear | WireValue::Link { .. } => None,
    }
}

/// Whether the field is the one that a bare id stands for, by the rules by which names are read.
fn is_match_field(account: &Account, kind: Kind, address: &Address, metadata: &Metadata) -> bool {
    let name = account.config.match_fields.person.as_str();
    match (address, standard_field(kind, name)) {
        (Address::Standard(key), Some(standard)) => standard.key == key && key != "id",
        (Address::Custom(key), None) => {
            key == name || metadata.custom_field(kind, key).is_some_and(|field| same_name(&field.name, name))
        }
        _ => false,
    }
}
