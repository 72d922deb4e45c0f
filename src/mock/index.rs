//! The search index: what search sees of the records, some time after they were written.
//!
//! Invariants: a document enters and changes `lag` after the write; deals and leads leave `lag` after their deletion,
//! persons stay as ghosts for an hour longer, organizations for good; nothing marks a ghost.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use serde_json::Value;

use super::definitions::SEARCHABLE;
use super::entity::Entity;
use super::table::Row;
use super::world::World;

/// How long a deleted person can still be found.
const PERSON_GHOST_MS: i64 = 3_600_000;
/// From here on the queue is worked off by writers too, so that it cannot grow without searches.
const QUEUE_SOFT_MAX: usize = 1_000;

/// What a search looks into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Within<'k> {
    Title,
    Email,
    Phone,
    Address,
    Notes,
    /// All custom fields.
    Custom,
    /// One custom field.
    Key(&'k str),
}

/// How a single-field search compares; all three mind the case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compare {
    Exact,
    Beginning,
    Middle,
}

/// A record's searchable values as of one write.
#[derive(Debug, Clone, Default)]
pub(super) struct Document {
    pub(super) title: String,
    pub(super) emails: Vec<String>,
    pub(super) phones: Vec<String>,
    pub(super) address: Option<String>,
    pub(super) notes: Vec<String>,
    pub(super) custom: Vec<(String, String)>,
}

impl Document {
    /// The searchable values of a record.
    pub(super) fn of(world: &World, entity: Entity, row: &Row) -> Self {
        let values = |key: &str| -> Vec<String> {
            let list = row.object.get(key).and_then(Value::as_array);
            list.into_iter().flatten().filter_map(|v| v.get("value")?.as_str().map(str::to_owned)).collect()
        };
        let fields = world.fields(entity.fields_of());
        let custom = row.custom.iter().filter_map(|(key, value)| {
            let field = fields.custom_field(key)?;
            if !SEARCHABLE.contains(&field.kind.as_str()) {
                return None;
            }
            let plain = value.get("value").unwrap_or(value);
            let text = plain.as_str().map_or_else(|| plain.to_string(), str::to_owned);
            (!text.is_empty()).then(|| (key.clone(), text))
        });
        let (link, number) = match entity {
            Entity::Person => ("person_id", Some(row.id)),
            Entity::Organization => ("org_id", Some(row.id)),
            Entity::Deal => ("deal_id", Some(row.id)),
            _ => ("lead_id", row.object.get("id").and_then(super::table::link_number)),
        };
        let notes = number.and_then(|n| world.table(Entity::Note).linked(link, n)).into_iter().flatten();
        Self {
            title: row.text(entity.title_key()).unwrap_or_default().to_owned(),
            emails: values("emails"),
            phones: values("phones"),
            address: row.object.get("address").and_then(|a| a.get("value")?.as_str().map(str::to_owned)),
            notes: notes.filter(|n| !n.deleted).filter_map(|n| n.text("content").map(str::to_owned)).collect(),
            custom: custom.collect(),
        }
    }

    fn all(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.title.as_str())
            .chain(self.emails.iter().map(String::as_str))
            .chain(self.phones.iter().map(String::as_str))
            .chain(self.address.as_deref())
            .chain(self.notes.iter().map(String::as_str))
            .chain(self.custom.iter().map(|(_, v)| v.as_str()))
    }

    fn any(&self, within: Within<'_>, test: &dyn Fn(&str) -> bool) -> bool {
        match within {
            Within::Title => test(&self.title),
            Within::Email => self.emails.iter().any(|v| test(v)),
            Within::Phone => self.phones.iter().any(|v| test(v)),
            Within::Address => self.address.as_deref().is_some_and(test),
            Within::Notes => self.notes.iter().any(|v| test(v)),
            Within::Custom => self.custom.iter().any(|(_, v)| test(v)),
            Within::Key(key) => self.custom.iter().any(|(k, v)| k == key && test(v)),
        }
    }
}

#[derive(Debug)]
struct Queued {
    at: i64,
    entity: Entity,
    id: u64,
    /// `None`: the record was deleted.
    document: Option<Document>,
}

/// The index and what has not reached it yet.
#[derive(Debug, Default)]
pub(super) struct SearchIndex {
    documents: BTreeMap<(Entity, u64), Document>,
    by_value: HashMap<(Entity, String), BTreeSet<u64>>,
    queue: VecDeque<Queued>,
    ghosts: VecDeque<(i64, Entity, u64)>,
    pub(super) lag_ms: i64,
}

impl SearchIndex {
    pub(super) fn set_lag(&mut self, lag: Duration) {
        self.lag_ms = i64::try_from(lag.as_millis()).unwrap_or(i64::MAX);
    }

    pub(super) fn queue(&mut self, entity: Entity, id: u64, document: Document, now: i64) {
        self.queue.push_back(Queued { at: now, entity, id, document: Some(document) });
        if self.queue.len() > QUEUE_SOFT_MAX {
            self.catch_up(now);
        }
    }

    pub(super) fn queue_removal(&mut self, entity: Entity, id: u64, now: i64) {
        self.queue.push_back(Queued { at: now, entity, id, document: None });
    }

    /// Takes in everything that was written `lag` ago or earlier.
    pub(super) fn catch_up(&mut self, now: i64) {
        let due = now.saturating_sub(self.lag_ms);
        while self.queue.front().is_some_and(|q| q.at <= due) {
            let Some(q) = self.queue.pop_front() else { break };
            match q.document {
                Some(document) => {
                    self.remove(q.entity, q.id);
                    for value in document.all() {
                        self.by_value.entry((q.entity, value.to_lowercase())).or_default().insert(q.id);
                    }
                    self.documents.insert((q.entity, q.id), document);
                }
                None if q.entity == Entity::Organization => {}
                None if q.entity == Entity::Person => self.ghosts.push_back((q.at + PERSON_GHOST_MS, q.entity, q.id)),
                None => self.remove(q.entity, q.id),
            }
        }
        while self.ghosts.front().is_some_and(|g| g.0 <= due) {
            if let Some((_, entity, id)) = self.ghosts.pop_front() {
                self.remove(entity, id);
            }
        }
    }

    fn remove(&mut self, entity: Entity, id: u64) {
        let Some(old) = self.documents.remove(&(entity, id)) else { return };
        for value in old.all() {
            let key = (entity, value.to_lowercase());
            if let Some(ids) = self.by_value.get_mut(&key) {
                ids.remove(&id);
                if ids.is_empty() {
                    self.by_value.remove(&key);
                }
            }
        }
    }

    pub(super) fn document(&self, entity: Entity, id: u64) -> Option<&Document> {
        self.documents.get(&(entity, id))
    }

    fn of_kind(&self, entity: Entity) -> impl Iterator<Item = (u64, &Document)> {
        self.documents.range((entity, 0)..=(entity, u64::MAX)).map(|((_, id), d)| (*id, d))
    }

    /// Records whose values hold (or, `exact`, are) the term, whatever its case; whole values first, then by id.
    pub(super) fn find(&self, entity: Entity, term: &str, within: &[Within<'_>], exact: bool) -> Vec<(u64, f64)> {
        let term = term.to_lowercase();
        let whole = |v: &str| v.to_lowercase() == term;
        let hit = |d: &Document, test: &dyn Fn(&str) -> bool| within.iter().any(|w| d.any(*w, test));
        let ids = self.by_value.get(&(entity, term.clone())).into_iter().flatten();
        let mut hits: Vec<(u64, f64)> =
            ids.filter(|id| self.document(entity, **id).is_some_and(|d| hit(d, &whole))).map(|id| (*id, 1.0)).collect();
        if !exact {
            let part = |v: &str| v.to_lowercase().contains(&term);
            let more: Vec<(u64, f64)> =
                self.of_kind(entity).filter(|(_, d)| !hit(d, &whole) && hit(d, &part)).map(|(id, _)| (id, 0.5)).collect();
            hits.extend(more);
        }
        hits
    }

    /// Records of which one field compares with the term, case minded.
    pub(super) fn find_in_field(&self, entity: Entity, term: &str, within: Within<'_>, compare: Compare) -> Vec<u64> {
        match compare {
            Compare::Exact => {
                let ids = self.by_value.get(&(entity, term.to_lowercase())).into_iter().flatten();
                ids.filter(|id| self.document(entity, **id).is_some_and(|d| d.any(within, &|v| v == term))).copied().collect()
            }
            Compare::Beginning => {
                self.of_kind(entity).filter(|(_, d)| d.any(within, &|v| v.starts_with(term))).map(|(id, _)| id).collect()
            }
            Compare::Middle => {
                self.of_kind(entity).filter(|(_, d)| d.any(within, &|v| v.contains(term))).map(|(id, _)| id).collect()
            }
        }
    }
}
