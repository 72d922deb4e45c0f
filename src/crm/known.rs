//! Known values: what we last sent and last saw in each field of an entity.
//!
//! - `sent` is the value that a rule last gave for the field, as it was sent. `write = "changed"` sends a field only when the rule's value
//!   differs from it, so what people edit in Pipedrive since stands.
//! - `seen` is what Pipedrive last answered. `write = "differs"` compares with it.
//!
//! Invariants: only fields that a rule has sent are kept, so the size stays that of the rules, not of the account; values are in the shape of
//! v2 bodies and answers with custom fields at the root by key.

use serde_json::{Map, Value, json};

use crate::pipedrive::{Entity, Id, Kind};
use crate::store::{Store, StoreError, Write};

/// The known values of one entity: `{field: {"sent": .., "seen": ..}}`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Known(Map<String, Value>);

impl Known {
    /// Those that the store holds; empty when it holds none.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn load(store: &dyn Store, account: &str, kind: Kind, id: &Id) -> Result<Self, StoreError> {
        let bytes = store.known_get(account, kind.as_str(), &id.to_string()).await?;
        // Unreadable known values cost a field sent once too often, nothing else.
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).map(Self).unwrap_or_default())
    }

    /// As a map, for building bodies.
    #[must_use]
    pub const fn as_map(&self) -> &Map<String, Value> {
        &self.0
    }

    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What was last sent.
    #[must_use]
    pub fn sent(&self, field: &str) -> Option<&Value> {
        self.0.get(field)?.get("sent")
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

    /// Notes the fields of an answer, of those that a rule has ever sent.
    pub fn note_seen(&mut self, kind: Kind, entity: &Entity) {
        for (field, known) in &mut self.0 {
            let value = if kind.is_v2() { entity.get("custom_fields").and_then(|custom| custom.get(field)) } else { None };
            let value = value.or_else(|| entity.get(field)).cloned().unwrap_or(Value::Null);
            if let Value::Object(known) = known {
                known.insert("seen".to_owned(), value);
            }
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
