//! What a page of a list tells the match index.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use tokio::time::Instant;

use super::OfKind;
use crate::crm::{Address, Metadata, index, time, values};
use crate::pipedrive::{Entity, Id, Kind, is_deleted};
use crate::store::Write;

/// What came of a page.
pub(super) struct Learned {
    /// For the index.
    pub(super) writes: Vec<Write>,
    /// The entities with digests of what they hold.
    pub(super) seen: HashMap<Id, u64>,
    /// The newest change.
    pub(super) newest: Option<jiff::Timestamp>,
}

impl OfKind {
    /// Reads a page that was asked for at `asked`. Of each entity the index holds afterwards what it has now in the fields in which it has
    /// something, unless we wrote to it since.
    pub(super) fn learn(
        &self,
        account: &str,
        kind: Kind,
        fields: &BTreeSet<Address>,
        metadata: &Metadata,
        page: &[Entity],
        asked: Instant,
    ) -> Learned {
        let state = self.state.lock();
        let mut learned = Learned { writes: Vec::new(), seen: HashMap::new(), newest: None };
        for entity in page {
            let Some(id) = entity.get("id").and_then(Id::from_json).filter(|id| id.fits(kind)) else { continue };
            let changed = entity.get("update_time").and_then(serde_json::Value::as_str).and_then(time::read);
            learned.newest = learned.newest.max(changed);
            if state.wrote.get(&id).is_some_and(|wrote| *wrote >= asked) {
                continue;
            }
            if is_deleted(kind, entity) {
                learned.writes.push(index::forget(account, kind, &id));
                continue;
            }
            let held = |address| values(kind, address, metadata.type_of(kind, address), entity);
            let mut held: Vec<(&Address, Vec<String>)> = fields.iter().map(|address| (address, held(address))).collect();
            let digest = digest(&held);
            if state.seen.get(&id) != Some(&digest) {
                // What it holds nothing in may be known here before it is there, by an import of ids.
                held.retain(|(_, held)| !held.is_empty());
                let replace = |(address, held): (&Address, _)| index::replace(account, kind, &id, address.key(), held);
                learned.writes.extend(held.into_iter().map(replace));
            }
            learned.seen.insert(id, digest);
        }
        learned
    }
}

fn digest(held: &[(&Address, Vec<String>)]) -> u64 {
    let mut hasher = DefaultHasher::new();
    held.hash(&mut hasher);
    hasher.finish()
}
