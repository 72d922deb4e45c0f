//! Values as scripts give them, before metadata gives them meaning.

use serde::{Deserialize, Serialize};

use crate::crm::ListOp;
use crate::pipedrive::Id;

/// A field's value as the script gave it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    /// `()`, null or `""`: the field is left alone; as a criterion it is dropped.
    Leave,
    /// `CLEAR`: the field is emptied.
    Clear,
    /// Boolean, number, string, array or map.
    Json(serde_json::Value),
    /// `money(amount, currency)`; without a currency the account's default.
    Money {
        /// Amount.
        amount: serde_json::Number,
        /// ISO 4217 code.
        currency: Option<String>,
    },
    /// A link to another entity.
    Link(Link),
    /// `add(..)`, `remove(..)`, `replace(..)`, `primary(..)`.
    List {
        /// What to do with the items.
        op: ListOp,
        /// Items.
        items: Vec<serde_json::Value>,
    },
}

/// A link to another entity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Link {
    /// The entity of an earlier action of this plan, by its ordinal.
    Reference(u32),
    /// An id.
    Id(Id),
    /// `by(match)`: found, not touched.
    By {
        /// What finds it.
        criteria: Criteria,
        /// Seconds to wait for it when it is not there; default: the rule's `link_wait`.
        wait: Option<u32>,
    },
}

/// Criteria in order of preference; the first that hits decides.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Criteria(pub Vec<Criterion>);

/// Fields that must all be equal.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Criterion(pub Vec<FieldEntry>);

/// A field and its value, in the script's words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FieldEntry {
    /// API name, custom field's name or key.
    pub name: String,
    /// Given inside `custom: #{..}`: never an API name.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub custom: bool,
    /// Value.
    pub value: Value,
}

impl FieldEntry {
    /// The name that stands for the account's configured match field of the kind (`match_fields` in rules.toml).
    pub const MATCH_FIELD: &'static str = "";

    /// Whether this is a bare value in place of a map, as in `by("u42")`.
    #[must_use]
    pub fn is_match_field(&self) -> bool {
        !self.custom && self.name.is_empty()
    }
}

impl Criterion {
    /// A bare value in place of a map (`by("u42")`, `person::upsert(event.userId, ..)`): the account's match field equals it.
    #[must_use]
    pub fn bare(value: Value) -> Self {
        Self(vec![FieldEntry { name: FieldEntry::MATCH_FIELD.to_owned(), custom: false, value }])
    }
}
