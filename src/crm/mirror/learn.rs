//! What a page of a list tells the match index and the known values, and what is news of a webhook.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use jiff::Timestamp;
use tokio::time::Instant;

use super::OfKind;
use crate::crm::{Address, Metadata, Sight, index, values};
use crate::pipedrive::{Entity, Id, Kind, is_deleted};
use crate::store::Write;

/// Seconds after which nothing comes late any more: Pipedrive tries webhooks for three minutes.
const LATE: i64 = 600;

/// What came of a page.
pub(super) struct Learned {
    /// For the index.
    pub(super) writes: Vec<Write>,
    /// The entities with digests of what they hold.
    pub(super) seen: HashMap<Id, u64>,
    /// The newest change.
    pub(super) newest: Option<Timestamp>,
}

impl OfKind {
    /// Reads a page that was asked for at `asked`. Of each entity the index holds afterwards what it has now in the fields in which it has
    /// something, unless we wrote to it since; and its known values have it beside them.
    pub(super) fn learn(
        &self,
        account: &str,
        kind: Kind,
        fields: &BTreeSet<Address>,
        metadata: &Metadata,
        page: &[Entity],
        asked: Instant,
    ) -> Learned {
        let mut state = self.state.lock();
        let now = Timestamp::now();
        let mut learned = Learned { writes: Vec::new(), seen: HashMap::new(), newest: None };
        for entity in page {
            let Some(id) = entity.get("id").and_then(Id::from_json).filter(|id| id.fits(kind)) else { continue };
            let sight = Sight::whole(entity, now);
            let changed = sight.as_ref().and_then(|sight| Timestamp::from_second(sight.version).ok());
            learned.newest = learned.newest.max(changed);
            if is_deleted(kind, entity) {
                if !state.has_written(&id, asked) {
                    learned.writes.push(index::forget(account, kind, &id));
                }
                continue;
            }
            let digest = digest(entity);
            if state.seen.get(&id) != Some(&digest) {
                learned.writes.extend(sight.as_ref().map(|sight| sight.write(account, kind, &id)));
            }
            let sight_version = sight.map(|sight| sight.version);
            if let Some(version) = sight_version {
                state.newest.note(&id, version);
            }
            // A webhook may have told of a change while the page was on its way.
            let is_old = sight_version.is_some_and(|version| state.newest.is_newer(&id, version));
            if state.has_written(&id, asked) || is_old {
                continue;
            }
            if state.seen.get(&id) != Some(&digest) {
                learned.writes.extend(held(account, kind, &id, fields, metadata, entity));
            }
            learned.seen.insert(id, digest);
        }
        learned
    }

    /// Whether what a webhook tells of an entity is the newest that was told; the next sweep looks at it again in any case.
    pub(super) fn age(&self, id: &Id, version: i64) -> Age {
        let mut state = self.state.lock();
        state.seen.remove(id);
        let age = state.newest.age(id, version);
        if age == Age::New {
            state.newest.note(id, version);
        }
        age
    }
}

/// How old news are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Age {
    /// Nothing newer was told.
    New,
    /// Something newer was told.
    Old,
    /// Something newer may have been told, and be forgotten.
    Unknown,
}

/// What it holds in these fields. One in which it holds nothing may be known here before it is there, by an import of ids.
fn held(
    account: &str,
    kind: Kind,
    id: &Id,
    fields: &BTreeSet<Address>,
    metadata: &Metadata,
    entity: &Entity,
) -> impl Iterator<Item = Write> {
    fields.iter().filter_map(move |address| {
        let held = values(kind, address, metadata.type_of(kind, address), entity);
        (!held.is_empty()).then(|| index::replace(account, kind, id, address.key(), held))
    })
}

fn digest(entity: &Entity) -> u64 {
    let mut hasher = DefaultHasher::new();
    serde_json::to_string(entity).unwrap_or_default().hash(&mut hasher);
    hasher.finish()
}

/// The newest changes that were told of late, so that what comes late, out of order, is known to be old.
#[derive(Debug)]
pub(super) struct Newest {
    /// When it began to be noted.
    began: i64,
    of: HashMap<Id, i64>,
    newest: i64,
    /// How many were left when it was last tidied.
    kept: usize,
}

impl Default for Newest {
    fn default() -> Self {
        Self { began: Timestamp::now().as_second(), of: HashMap::new(), newest: 0, kept: 0 }
    }
}

impl Newest {
    fn age(&self, id: &Id, version: i64) -> Age {
        if self.is_newer(id, version) {
            Age::Old
        } else if version < self.began || version + LATE < self.newest {
            Age::Unknown
        } else {
            Age::New
        }
    }

    fn note(&mut self, id: &Id, version: i64) {
        self.newest = self.newest.max(version);
        if version + LATE < self.newest {
            return;
        }
        let at = self.of.entry(id.clone()).or_insert(version);
        *at = version.max(*at);
        // Now and then, so that it stays as small as what changes in that time.
        if self.of.len() > 2 * self.kept {
            let newest = self.newest;
            self.of.retain(|_, version| *version + LATE >= newest);
            self.kept = self.of.len().max(1_000);
        }
    }

    fn is_newer(&self, id: &Id, version: i64) -> bool {
        self.of.get(id).is_some_and(|newest| *newest > version)
    }
}
