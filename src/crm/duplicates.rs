//! Which entities of an account hold the same value in a field, told from lists.
//!
//! Invariants: two values are the same when the match index would say so; an entity counts once in a group, whatever it holds
//! twice; groups come by size, then by value; the holders of a group by age.

use std::collections::BTreeMap;

use super::{Address, FieldType, Metadata, values};
use crate::pipedrive::{Entity, Id, Kind};

/// The values of one field, and who holds them.
#[derive(Debug, Clone)]
pub struct Duplicates {
    kind: Kind,
    address: Address,
    field_type: Option<FieldType>,
    holders: BTreeMap<String, Vec<Holder>>,
}

/// An entity that holds a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its id.
    pub id: Id,
    /// Its name or title; empty when it has none.
    pub name: String,
}

/// A value, and those who hold it.
pub type Group = (String, Vec<Holder>);

impl Duplicates {
    /// Nothing counted yet.
    #[must_use]
    pub fn new(kind: Kind, address: Address, metadata: &Metadata) -> Self {
        let field_type = metadata.type_of(kind, &address).cloned();
        Self { kind, address, field_type, holders: BTreeMap::new() }
    }

    /// Counts an entity of a list; each must be given once.
    pub fn add(&mut self, entity: &Entity) {
        let Some(id) = entity.get("id").and_then(Id::from_json) else { return };
        let name = ["name", "title"].iter().find_map(|key| entity.get(*key)?.as_str()).unwrap_or_default();
        let mut held = values(self.kind, &self.address, self.field_type.as_ref(), entity);
        held.sort_unstable();
        held.dedup();
        for value in held {
            self.holders.entry(value).or_default().push(Holder { id: id.clone(), name: name.to_owned() });
        }
    }

    /// The values that more than one entity holds.
    #[must_use]
    pub fn groups(mut self) -> Vec<Group> {
        self.holders.retain(|_, holders| holders.len() > 1);
        let mut groups: Vec<_> = self.holders.into_iter().collect();
        groups.iter_mut().for_each(|(_, holders)| holders.sort_by(|a, b| a.id.cmp(&b.id)));
        groups.sort_by_key(|(_, holders)| std::cmp::Reverse(holders.len()));
        groups
    }
}
