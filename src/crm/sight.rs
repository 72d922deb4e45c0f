//! What a list or a webhook has told of an entity that rules have written to.
//!
//! Invariants: a sight of a list is the whole entity, and what is not in it is empty; a webhook's has only the fields that it tells as the
//! API does, and any other may hold something else than before.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::known::held_in;
use super::time;
use crate::pipedrive::{Entity, Id, Kind};
use crate::store::Write;

/// Seconds that Pipedrive's clock may be ahead of ours.
const AHEAD: i64 = 60;

/// What somebody has told of an entity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sight {
    /// When Pipedrive changed it, in Unix seconds.
    pub version: i64,
    /// When it was seen, in Unix seconds, by our clock.
    pub at: i64,
    /// Fields and values in the API's shape.
    pub entity: Entity,
    /// Whether it is all that the entity holds.
    pub whole: bool,
    /// Told of a change that our token's user made over the API: of two changes within one second, most likely the one that is known.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub own: bool,
}

impl Sight {
    /// An entity of a list; none when nobody can tell when it was changed.
    #[must_use]
    pub fn whole(entity: &Entity, at: Timestamp) -> Option<Self> {
        let version = changed_at(entity)?;
        let held = entity.iter().filter(|(_, value)| !value.is_null());
        let entity = held.map(|(field, value)| (field.clone(), value.clone())).collect();
        Some(Self { version, at: at.as_second(), entity, whole: true, own: false })
    }

    /// What a webhook of this time tells in the API's shape.
    #[must_use]
    pub fn part(entity: Entity, sent: Timestamp, own: bool) -> Self {
        // Whatever a webhook says, nothing is newer than what Pipedrive answers in a minute.
        let soon = Timestamp::now().as_second() + AHEAD;
        let version = changed_at(&entity).unwrap_or_else(|| sent.as_second()).min(soon);
        Self { version, at: sent.as_second().min(soon), entity, whole: false, own }
    }

    /// As the store has it; none of what another version wrote.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// The write that keeps it beside the known values of its entity.
    #[must_use]
    pub fn write(&self, account: &str, kind: Kind, id: &Id) -> Write {
        Write::KnownSee {
            account: account.to_owned(),
            kind: kind.as_str().to_owned(),
            id: id.to_string(),
            version: self.version,
            seen: self.to_bytes(),
            // A list is asked for after what it replaces was told; of two webhooks nobody can tell which was last.
            doubt: (!self.whole).then(|| Self { entity: Entity::new(), own: false, ..self.clone() }.to_bytes()),
        }
    }

    fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("maps of texts serialise")
    }

    /// What the entity holds in a field; none when that is not told.
    pub(super) fn tells(&self, kind: Kind, field: &str) -> Option<Value> {
        let told = held_in(kind, &self.entity, field).cloned();
        if self.whole { Some(told.unwrap_or(Value::Null)) } else { told }
    }
}

/// When Pipedrive last changed an entity, in Unix seconds.
pub(super) fn changed_at(entity: &Entity) -> Option<i64> {
    entity.get("update_time").and_then(Value::as_str).and_then(time::read).map(Timestamp::as_second)
}
