//! What look-ups and fields are made of on the wire. The plan re-exports these: they stand here because finding an entity
//! needs them and imports run downwards.
//!
//! They are part of pinned plans, so they serialise, and fields are only ever added, with a default.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::pipedrive::{Id, Kind};

/// One way to find an entity: all terms must hold. Never empty.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Lookup(pub Vec<Term>);

/// One equality of a look-up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Term {
    /// The field; `Address::Standard("id")` for the id itself.
    pub address: Address,
    /// Normalised value: what the match index holds and what hits are compared with.
    pub value: String,
    /// The value as it is written on create or back-fill; none for `id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wire: Option<WireValue>,
}

/// A field on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Address {
    /// A standard field by its API name; in the index under that name.
    Standard(String),
    /// A custom field by its 40-character key; nested in v2, at the root in v1.
    Custom(String),
}

impl Address {
    /// API name or key.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Standard(key) | Self::Custom(key) => key,
        }
    }
}

/// A value in the shape of v2 bodies. The v1 shapes of leads are made when the body is built.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WireValue {
    /// Set to this.
    Json(Json),
    /// Emptied: null, or the empty list where Pipedrive wants that.
    Clear,
    /// A list field is changed: needs the present value on update.
    List {
        /// What to do with the items.
        op: ListOp,
        /// Items: `{value, label?}` objects for emails and phones, ids for labels and set options.
        items: Vec<Json>,
    },
    /// The id of another entity.
    Link {
        /// Its kind.
        kind: Kind,
        /// Which.
        target: WireTarget,
        /// Seconds to wait for it when it is not there; default: the rule's `link_wait`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        wait: Option<u32>,
    },
}

/// Another entity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WireTarget {
    /// The entity of an earlier step, by ordinal.
    Reference(u32),
    /// An id.
    Id(Id),
    /// What these look-ups find; empty when no criterion was left.
    Lookups(Vec<Lookup>),
}

/// What to do with a list field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ListOp {
    /// Add what is missing.
    Add,
    /// Take out what is there.
    Remove,
    /// Make the list exactly this.
    Replace,
    /// Add what is missing and make the first item the primary one.
    Primary,
}

impl ListOp {
    /// As scripts write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Remove => "remove",
            Self::Replace => "replace",
            Self::Primary => "primary",
        }
    }
}

/// Several entities fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnMany {
    /// The one created first, with a warning; open deals before closed ones.
    Oldest,
    /// The one created last, with a warning.
    Newest,
    /// The delivery fails.
    Fail,
}

impl OnMany {
    /// The words that scripts may use.
    pub const WORDS: &'static [&'static str] = &["oldest", "newest", "fail"];

    /// Reads one of [`Self::WORDS`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "oldest" => Some(Self::Oldest),
            "newest" => Some(Self::Newest),
            "fail" => Some(Self::Fail),
            _ => None,
        }
    }
}
