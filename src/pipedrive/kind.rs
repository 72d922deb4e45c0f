//! The six kinds of entity and their ids.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a script can act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A person (contact).
    Person,
    /// An organization.
    Organization,
    /// A deal.
    Deal,
    /// A lead (v1 API, uuid ids).
    Lead,
    /// An activity.
    Activity,
    /// A note (v1 API).
    Note,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 6] = [Self::Person, Self::Organization, Self::Deal, Self::Lead, Self::Activity, Self::Note];

    /// The module name in scripts and the word in records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Organization => "organization",
            Self::Deal => "deal",
            Self::Lead => "lead",
            Self::Activity => "activity",
            Self::Note => "note",
        }
    }

    /// Reads what [`Kind::as_str`] wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.as_str() == text)
    }

    /// The collection's path.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Person => "/api/v2/persons",
            Self::Organization => "/api/v2/organizations",
            Self::Deal => "/api/v2/deals",
            Self::Lead => "/api/v1/leads",
            Self::Activity => "/api/v2/activities",
            Self::Note => "/api/v1/notes",
        }
    }

    /// Whether the kind is served by the v2 API.
    #[must_use]
    pub const fn is_v2(self) -> bool {
        !matches!(self, Self::Lead | Self::Note)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A Pipedrive id: a positive number, or a uuid for leads.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Id {
    /// Everything but leads.
    Number(u64),
    /// Leads.
    Uuid(uuid::Uuid),
}

/// A text that is no id.
#[derive(Debug, thiserror::Error)]
#[error("not a Pipedrive id: a positive whole number, or a uuid for leads")]
pub struct ParseIdError;

impl FromStr for Id {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse::<u64>() {
            Ok(n) if n > 0 => Ok(Self::Number(n)),
            _ => uuid::Uuid::try_parse(text).map(Self::Uuid).map_err(|_| ParseIdError),
        }
    }
}

impl Id {
    /// Whether an entity of this kind can have this id.
    #[must_use]
    pub const fn fits(&self, kind: Kind) -> bool {
        matches!((self, kind), (Self::Uuid(_), Kind::Lead)) || (matches!(self, Self::Number(_)) && !matches!(kind, Kind::Lead))
    }

    /// The id as it stands in JSON bodies.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Number(n) => (*n).into(),
            Self::Uuid(u) => u.to_string().into(),
        }
    }

    /// Reads the id of an answer.
    #[must_use]
    pub fn from_json(value: &serde_json::Value) -> Option<Self> {
        match value {
            serde_json::Value::Number(n) => n.as_u64().filter(|n| *n > 0).map(Self::Number),
            serde_json::Value::String(s) => s.trim().parse().ok(),
            _ => None,
        }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(n) => write!(f, "{n}"),
            Self::Uuid(u) => write!(f, "{u}"),
        }
    }
}
