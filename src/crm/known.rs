//! Known values: what we last sent and last saw in each field of an entity.
//!
//! - `sent` is the value that a rule last gave for the field, as it was sent. `write = "changed"` sends a field only when the rule's value
//!   differs from it, so what people edit in Pipedrive since stands. For a field that `if_empty` found full, [`held`] stands there.
//! - `seen` is what Pipedrive last answered, with its time. While it is no older than the rule's `reread_after`, it stands for the present
//!   value: of a list or of a value with parts, which need not be read before it is replaced, and of any value that `write = "differs"`
//!   compares with.
//! - `by` is the event that last said what the field is to hold, whether it had to be sent or not: a replay counts as the event that it
//!   repeats. So what a replay of an older event would write is known to be old.
//! - Beside the fields stands what requests have taken along of later deliveries, until those have run.
//! - What lists and webhooks tell of an entity is kept apart, as [`Sight`]: whoever writes down an outcome meanwhile does not write over
//!   it. It counts when the values are loaded, as far as it is newer than they are.
//!
//! Invariants: only fields that a rule has sent are kept, and match fields that an import of ids found empty, so the size stays that of
//! the rules, not of the account; values are in the shape of v2 bodies and answers with custom fields at the root by key; which of two
//! sights of an entity is newer is told by Pipedrive's own `update_time`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::sight::{Sight, changed_at};
use crate::pipedrive::{Entity, Id, Kind};
use crate::store::{DeliveryId, Seq, Store, StoreError, Write};

/// What stands for a sent value where a rule found that the field held one already, and sent none.
#[must_use]
pub fn held(present: &Value) -> Value {
    json!({ "op": HELD, "value": present })
}

/// The value that [`held`] was told; none of what was sent.
#[must_use]
pub fn held_value(sent: &Value) -> Option<&Value> {
    if sent.get("op").is_some_and(|op| op == HELD) { sent.get("value") } else { None }
}

const HELD: &str = "held";

/// What an entity holds in a field, custom ones by key.
pub(super) fn held_in<'e>(kind: Kind, entity: &'e Entity, field: &str) -> Option<&'e Value> {
    let custom = if kind.is_v2() { entity.get("custom_fields").and_then(|custom| custom.get(field)) } else { None };
    custom.or_else(|| entity.get(field))
}

/// When it was seen, in Unix seconds.
const AT: &str = "at";

/// When Pipedrive last changed what was seen, in Unix seconds; no field has this key.
const VERSION: &str = "#version";

/// What requests have taken along of deliveries that have not run yet; no field has this key.
const CARRIED: &str = "#carried";

/// What a request has taken along of a later delivery.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Carried {
    /// The later delivery.
    pub of: String,
    /// A digest of its step: another one is sent by itself.
    pub step: u64,
    /// The delivery whose request it was.
    #[serde(rename = "in")]
    pub carrier: String,
    /// What changed by it, for its record.
    pub changes: Vec<Value>,
}

/// The number of the event that last said what it is to hold.
const BY: &str = "by";

/// The known values of one entity: `{field: {"sent": .., "seen": .., "at": .., "by": ..}}`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Known(Map<String, Value>);

impl Known {
    /// Those that the store holds; empty when it holds none.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn load(store: &dyn Store, account: &str, kind: Kind, id: &Id) -> Result<Self, StoreError> {
        let Some(row) = store.known_get(account, kind.as_str(), &id.to_string()).await? else { return Ok(Self::default()) };
        // Unreadable known values cost a field sent once too often, nothing else.
        let mut known = Self(serde_json::from_slice(&row.values).unwrap_or_default());
        if let Some(sight) = row.seen.and_then(|seen| Sight::read(&seen)) {
            known.update(kind, &sight);
        }
        Ok(known)
    }

    /// Takes over what a list or a webhook has told, as far as it is newer. Of two changes within one second nobody can tell which was
    /// last: what they tell differently is not known.
    fn update(&mut self, kind: Kind, sight: &Sight) {
        let version = self.version();
        if version.is_some_and(|version| version > sight.version) {
            return;
        }
        let is_later = version != Some(sight.version);
        if sight.own && !is_later {
            return;
        }
        for (field, known) in self.0.iter_mut().filter_map(|(field, known)| Some((field, known.as_object_mut()?))) {
            match sight.tells(kind, field) {
                Some(value) if known.get("seen") == Some(&value) => {}
                Some(value) if is_later => {
                    known.insert("seen".to_owned(), value);
                    known.insert(AT.to_owned(), sight.at.into());
                }
                _ => {
                    known.remove("seen");
                    known.remove(AT);
                }
            }
        }
        self.0.insert(VERSION.to_owned(), sight.version.into());
    }

    /// As a map in which what was seen after `since` is marked as `fresh`; for building bodies.
    #[must_use]
    pub fn as_map_since(&self, since: Timestamp) -> Map<String, Value> {
        let mut map = self.0.clone();
        for known in map.values_mut().filter_map(Value::as_object_mut) {
            if known.get(AT).and_then(Value::as_i64).is_some_and(|at| at > since.as_second()) {
                known.insert("fresh".to_owned(), true.into());
            }
        }
        map
    }

    /// As [`Known::as_map_since`], with what events after `origin` have said marked as `later`.
    #[must_use]
    pub fn as_map_of(&self, since: Timestamp, origin: Seq) -> Map<String, Value> {
        let mut map = self.as_map_since(since);
        for known in map.values_mut().filter_map(Value::as_object_mut) {
            if let Some(by) = known.get(BY).and_then(Value::as_u64).filter(|by| *by > origin.0) {
                known.insert("later".to_owned(), by.into());
            }
        }
        map
    }

    /// When Pipedrive last changed what was seen, in Unix seconds, where that is known.
    #[must_use]
    pub fn version(&self) -> Option<i64> {
        self.0.get(VERSION)?.as_i64()
    }

    /// Whether nothing is known of any field.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.keys().all(|key| key == VERSION)
    }

    /// What was last sent.
    #[must_use]
    pub fn sent(&self, field: &str) -> Option<&Value> {
        self.0.get(field)?.get("sent")
    }

    /// What was last sent, of every field.
    pub fn all_sent(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().filter_map(|(field, known)| Some((field.as_str(), known.get("sent")?)))
    }

    /// What was last seen. An absent field is not known; null is known to be empty.
    #[must_use]
    pub fn seen(&self, field: &str) -> Option<&Value> {
        self.0.get(field)?.get("seen")
    }

    /// Notes what a successful write sent. A field whose sent value equals the former one may be noted again.
    pub fn note_sent(&mut self, field: &str, value: Value) {
        match self.0.get_mut(field) {
            Some(Value::Object(known)) => {
                known.insert("sent".to_owned(), value);
            }
            _ => {
                self.0.insert(field.to_owned(), json!({ "sent": value }));
            }
        }
    }

    /// Notes that a request has taken along what a later delivery of the lane says.
    pub fn note_carried(&mut self, carried: &Carried) {
        let Ok(carried) = serde_json::to_value(carried) else { return };
        match self.0.get_mut(CARRIED) {
            Some(Value::Array(all)) => all.push(carried),
            _ => {
                self.0.insert(CARRIED.to_owned(), json!([carried]));
            }
        }
    }

    /// Takes out what a request has taken along of this delivery's step.
    pub fn take_carried(&mut self, of: &DeliveryId, step: u64) -> Option<Carried> {
        let all = self.0.get_mut(CARRIED)?.as_array_mut()?;
        let of = of.to_string();
        let at = all.iter().position(|carried| carried["of"] == of && carried["step"] == step)?;
        let taken = Carried::deserialize(all.remove(at)).ok();
        if all.is_empty() {
            self.forget_carried();
        }
        taken
    }

    /// Something is sent again: nobody's values are taken for sent on the way any longer.
    pub fn forget_carried(&mut self) {
        self.0.remove(CARRIED);
    }

    /// Which event last said what the field is to hold, where that is known.
    #[must_use]
    pub fn by(&self, field: &str) -> Option<Seq> {
        self.0.get(field)?.get(BY)?.as_u64().map(Seq)
    }

    /// The newest event that said what any of the fields is to hold.
    #[must_use]
    pub fn newest(&self) -> Option<Seq> {
        self.0.keys().filter_map(|field| self.by(field)).max()
    }

    /// Notes which event has said what a field is to hold; of one that was never sent nothing is noted.
    pub fn note_by(&mut self, field: &str, by: Seq) {
        if let Some(Value::Object(known)) = self.0.get_mut(field) {
            known.insert(BY.to_owned(), by.0.into());
        }
    }

    /// Notes that a field was found empty for which no rule has sent a value yet.
    pub fn note_empty(&mut self, field: &str, at: Timestamp) {
        self.0.entry(field).or_insert_with(|| json!({ "seen": null, AT: at.as_second() }));
    }

    /// Whether a field was found empty and no rule has sent a value since.
    #[must_use]
    pub fn is_vacant(&self, field: &str) -> bool {
        self.sent(field).is_none() && self.seen(field).is_some_and(Value::is_null)
    }

    /// Notes the fields of an answer, of those that a rule has ever sent.
    pub fn note_seen(&mut self, kind: Kind, entity: &Entity, at: Timestamp) {
        for (field, known) in &mut self.0 {
            if let Value::Object(known) = known {
                let value = held_in(kind, entity, field).cloned().unwrap_or(Value::Null);
                known.insert("seen".to_owned(), value);
                known.insert(AT.to_owned(), at.as_second().into());
            }
        }
        match changed_at(entity) {
            Some(version) => drop(self.0.insert(VERSION.to_owned(), version.into())),
            None => drop(self.0.remove(VERSION)),
        }
    }

    /// The write that keeps them, for the commit of the outcome.
    #[must_use]
    pub fn write(&self, account: &str, kind: Kind, id: &Id) -> Write {
        Write::KnownPut {
            account: account.to_owned(),
            kind: kind.as_str().to_owned(),
            id: id.to_string(),
            values: Value::Object(self.0.clone()).to_string().into_bytes(),
        }
    }
}
