//! An action made ready for the wire: keys, ids and wire values instead of names.
//!
//! Steps are what is pinned, so they serialise, and what is pinned stays readable: fields are only ever added, with a default.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::{At, OnArchived, OnConflict, OnEmpty, OnMiss, OnMissing};
use crate::config::WritePolicy;
use crate::crm::{Address, Lookup, OnMany, WireTarget, WireValue};
use crate::pipedrive::{Kind, Method};

/// One action, ready for the wire.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Ordinal of its action.
    pub ordinal: u32,
    /// Where the script asked for it.
    pub at: At,
    /// What to do.
    pub operation: Operation,
    /// Fields of creates and updates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<WireField>,
    /// Fields of creates only; the match values that a create must write are among them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on_create: Vec<WireField>,
    /// Fields of creates, and of updates where the present value is empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub if_empty: Vec<WireField>,
    /// Fields of creates, and of updates where Pipedrive has nothing or what was sent last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unless_edited: Vec<WireField>,
    /// No criterion is left.
    pub on_empty: OnEmpty,
    /// Several hits.
    pub on_many: OnMany,
    /// The stronger criterion holds another value.
    pub on_conflict: OnConflict,
    /// An update found nothing.
    pub on_miss: OnMiss,
    /// A link was not found in time.
    pub on_missing: OnMissing,
    /// An update found an archived deal or lead.
    #[serde(default)]
    pub on_archived: OnArchived,
    /// May be created without any link.
    pub unlinked: bool,
    /// Which fields of an update are sent.
    pub write: WritePolicy,
    /// Notes and activities: created once per this key; filled in for every create of these kinds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What was dropped or changed on the way (unknown option left out, ...), for the decision record.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// What policies decided before it is carried out, a line each, for the decision record.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub decisions: Vec<String>,
    /// A value was dropped because the account does not know it; fresh metadata may.
    #[serde(skip)]
    pub dropped: bool,
}

impl Step {
    /// All of its fields, in the order in which a create takes the first one given.
    pub fn all_fields(&self) -> impl Iterator<Item = &WireField> {
        self.fields.iter().chain(&self.unless_edited).chain(&self.if_empty).chain(&self.on_create)
    }
}

impl Step {
    /// Whether it refers to the entity of the action with this ordinal.
    #[must_use]
    pub fn refers_to(&self, ordinal: u32) -> bool {
        let is = |target: &WireTarget| *target == WireTarget::Reference(ordinal);
        let targeted = match &self.operation {
            Operation::Update { target, .. } | Operation::Delete { target, .. } | Operation::Convert { target } => is(target),
            Operation::Merge { keep, drop, .. } => is(keep) || is(drop),
            Operation::Upsert { .. } | Operation::Create { .. } | Operation::Request { .. } => false,
        };
        targeted || self.all_fields().any(|field| matches!(&field.value, WireValue::Link { target, .. } if is(target)))
    }
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Find and update, else create.
    Upsert {
        /// Kind.
        kind: Kind,
        /// Ways to find it, in order of preference; each a list of terms that must all hold.
        lookups: Vec<Lookup>,
    },
    /// Create.
    Create {
        /// Kind.
        kind: Kind,
    },
    /// Update.
    Update {
        /// Kind.
        kind: Kind,
        /// Which.
        target: WireTarget,
    },
    /// Delete.
    Delete {
        /// Kind.
        kind: Kind,
        /// Which.
        target: WireTarget,
    },
    /// Merge.
    Merge {
        /// Kind.
        kind: Kind,
        /// What stays.
        keep: WireTarget,
        /// What goes.
        drop: WireTarget,
    },
    /// Convert a lead; `fields` holds `stage_id` and `pipeline_id`.
    Convert {
        /// Which lead.
        target: WireTarget,
    },
    /// A raw write.
    Request {
        /// Method.
        method: Method,
        /// Path with query.
        path: String,
        /// Body.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        body: Option<Json>,
    },
}

impl Operation {
    /// The kind that it acts on; none for raw requests.
    #[must_use]
    pub const fn kind(&self) -> Option<Kind> {
        match self {
            Self::Upsert { kind, .. }
            | Self::Create { kind }
            | Self::Update { kind, .. }
            | Self::Delete { kind, .. }
            | Self::Merge { kind, .. } => Some(*kind),
            Self::Convert { .. } => Some(Kind::Lead),
            Self::Request { .. } => None,
        }
    }

    /// The word of scripts and records.
    #[must_use]
    pub const fn verb(&self) -> &'static str {
        match self {
            Self::Upsert { .. } => "upsert",
            Self::Create { .. } => "create",
            Self::Update { .. } => "update",
            Self::Delete { .. } => "delete",
            Self::Merge { .. } => "merge",
            Self::Convert { .. } => "convert",
            Self::Request { .. } => "request",
        }
    }
}

/// A field with its wire value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WireField {
    /// Which.
    pub address: Address,
    /// Its name in the script, for records and messages.
    pub name: String,
    /// Value.
    pub value: WireValue,
}
