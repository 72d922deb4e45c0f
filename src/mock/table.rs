//! One kind's records, with the indexes that lists need.
//!
//! Invariants: every row is in `by_update` under its time of change; a row is in `by_link` once for each of its links;
//! ids are never given twice.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Map, Value};

use super::entity::Entity;

/// A JSON object.
pub(super) type Object = Map<String, Value>;

/// A record.
#[derive(Debug, Clone)]
pub(super) struct Row {
    /// The number; leads are numbered too, beside their uuid.
    pub(super) id: u64,
    /// Standard fields as every answer holds them.
    pub(super) object: Object,
    /// Standard fields that are given on request only.
    pub(super) optional: Object,
    /// Custom fields that are set, in the v2 shape.
    pub(super) custom: BTreeMap<String, Value>,
    /// Soft-deleted.
    pub(super) deleted: bool,
    /// Milliseconds since 1970.
    pub(super) added: i64,
    /// Milliseconds since 1970.
    pub(super) updated: i64,
}

impl Row {
    pub(super) fn new(id: u64, now: i64) -> Self {
        Self {
            id,
            object: Object::new(),
            optional: Object::new(),
            custom: BTreeMap::new(),
            deleted: false,
            added: now,
            updated: now,
        }
    }

    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.object.get(key).and_then(Value::as_str)
    }

    pub(super) fn number(&self, key: &str) -> Option<u64> {
        self.object.get(key).and_then(Value::as_u64)
    }

    pub(super) fn is(&self, key: &str) -> bool {
        self.object.get(key) == Some(&Value::Bool(true))
    }

    pub(super) fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.object.insert(key.to_owned(), value.into());
    }
}

/// The records of a kind.
#[derive(Debug)]
pub(super) struct Table {
    links: &'static [&'static str],
    rows: BTreeMap<u64, Row>,
    by_update: BTreeSet<(i64, u64)>,
    by_link: HashMap<(usize, u64), BTreeSet<u64>>,
    next: u64,
}

/// A link's value as a number. Uuids of leads are folded to 64 bits: the index only narrows, the filter decides.
pub(super) fn link_number(value: &Value) -> Option<u64> {
    match value {
        Value::Number(n) => n.as_u64(),
        Value::String(s) => uuid::Uuid::try_parse(s).ok().map(|u| u.as_u64_pair().0 ^ u.as_u64_pair().1),
        _ => None,
    }
}

impl Table {
    pub(super) fn new(entity: Entity) -> Self {
        Self { links: entity.links(), rows: BTreeMap::new(), by_update: BTreeSet::new(), by_link: HashMap::new(), next: 1 }
    }

    /// The next free number.
    pub(super) fn take_id(&mut self) -> u64 {
        let id = self.next;
        self.next += 1;
        id
    }

    pub(super) fn get(&self, id: u64) -> Option<&Row> {
        self.rows.get(&id)
    }

    /// A record that is not deleted.
    pub(super) fn alive(&self, id: u64) -> Option<&Row> {
        self.rows.get(&id).filter(|r| !r.deleted)
    }

    pub(super) fn put(&mut self, row: Row) {
        if let Some(old) = self.rows.get(&row.id) {
            self.by_update.remove(&(old.updated, old.id));
            for (i, key) in self.links.iter().enumerate() {
                if let Some(n) = old.object.get(*key).and_then(link_number)
                    && let Some(set) = self.by_link.get_mut(&(i, n))
                {
                    set.remove(&old.id);
                }
            }
        }
        self.next = self.next.max(row.id + 1);
        self.by_update.insert((row.updated, row.id));
        for (i, key) in self.links.iter().enumerate() {
            if let Some(n) = row.object.get(*key).and_then(link_number) {
                self.by_link.entry((i, n)).or_default().insert(row.id);
            }
        }
        self.rows.insert(row.id, row);
    }

    /// All rows by id, from one after another id on.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Row> {
        self.rows.values()
    }

    /// Rows with ids above `id`.
    pub(super) fn after(&self, id: u64) -> impl Iterator<Item = &Row> {
        self.rows.range(id.saturating_add(1)..).map(|(_, r)| r)
    }

    /// Rows changed at or after a moment, oldest change first.
    pub(super) fn changed_since(&self, ms: i64) -> impl Iterator<Item = &Row> {
        self.by_update.range((ms, 0)..).filter_map(|(_, id)| self.rows.get(id))
    }

    /// Rows with a link, by id. `None` when the key is not indexed.
    pub(super) fn linked(&self, key: &str, value: u64) -> Option<impl Iterator<Item = &Row>> {
        let i = self.links.iter().position(|k| *k == key)?;
        Some(self.by_link.get(&(i, value)).into_iter().flatten().filter_map(|id| self.rows.get(id)))
    }

    /// Drops every value of a custom field.
    pub(super) fn forget_custom(&mut self, key: &str) {
        for row in self.rows.values_mut() {
            row.custom.remove(key);
        }
    }

    /// How many rows are not deleted.
    pub(super) fn count(&self) -> usize {
        self.rows.values().filter(|r| !r.deleted).count()
    }
}
