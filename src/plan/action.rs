//! The plan of one script run, in the script's words.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Criteria, FieldEntry};
use crate::config::WritePolicy;
use crate::crm::OnMany;
use crate::pipedrive::{Id, Kind, Method};

/// The actions of one script run, in order.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Plan {
    /// Actions; an action's ordinal is its index.
    pub actions: Vec<Action>,
}

/// One thing that a script asks of Pipedrive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Action {
    /// Index in the plan; references name it.
    pub ordinal: u32,
    /// Where the script asked for it.
    pub at: At,
    /// What.
    pub verb: Verb,
}

/// A place in a script.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct At {
    /// Script file, relative to `scripts/`.
    pub file: Arc<str>,
    /// Line, from 1; 0 when unknown.
    pub line: u32,
    /// Column, from 1; 0 when unknown.
    pub column: u32,
}

/// What an action does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// Find and update, else create.
    Upsert {
        /// Kind.
        kind: Kind,
        /// What finds it.
        criteria: Criteria,
        /// Fields of both.
        fields: Vec<FieldEntry>,
        /// Options.
        options: Options,
    },
    /// Create.
    Create {
        /// Kind.
        kind: Kind,
        /// Fields.
        fields: Vec<FieldEntry>,
        /// Options.
        options: Options,
    },
    /// Update; a miss is `on_miss`.
    Update {
        /// Kind.
        kind: Kind,
        /// Which.
        target: Target,
        /// Fields.
        fields: Vec<FieldEntry>,
        /// Options.
        options: Options,
    },
    /// Delete.
    Delete {
        /// Kind.
        kind: Kind,
        /// Which.
        target: Target,
        /// Options.
        options: Options,
    },
    /// Merge two entities of a kind (person, organization, deal).
    Merge {
        /// Kind.
        kind: Kind,
        /// What stays.
        keep: Target,
        /// What goes.
        drop: Target,
        /// Options.
        options: Options,
    },
    /// Convert a lead to a deal.
    Convert {
        /// Which lead.
        target: Target,
        /// `stage`, `pipeline` of the deal.
        fields: Vec<FieldEntry>,
        /// Options.
        options: Options,
    },
    /// `pipedrive::request` that is not a GET.
    Request {
        /// Method.
        method: Method,
        /// Path from the root, with query.
        path: String,
        /// JSON body.
        body: Option<serde_json::Value>,
    },
}

impl Verb {
    /// As scripts write it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
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

    /// What it acts on; none for raw requests.
    #[must_use]
    pub const fn kind(&self) -> Option<Kind> {
        match self {
            Self::Upsert { kind, .. }
            | Self::Create { kind, .. }
            | Self::Update { kind, .. }
            | Self::Delete { kind, .. }
            | Self::Merge { kind, .. } => Some(*kind),
            Self::Convert { .. } => Some(Kind::Lead),
            Self::Request { .. } => None,
        }
    }

    /// Its options; none for raw requests.
    #[must_use]
    pub const fn options(&self) -> Option<&Options> {
        match self {
            Self::Upsert { options, .. }
            | Self::Create { options, .. }
            | Self::Update { options, .. }
            | Self::Delete { options, .. }
            | Self::Merge { options, .. }
            | Self::Convert { options, .. } => Some(options),
            Self::Request { .. } => None,
        }
    }
}

/// What an update, delete, merge or convert acts on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// What these criteria find.
    Match(Criteria),
    /// The entity of an earlier action.
    Reference(u32),
    /// An id.
    Id(Id),
}

/// Options of an action. Names and values are those of scripts.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Options {
    /// Fields sent only when it is created.
    pub on_create: Vec<FieldEntry>,
    /// Fields sent only when they are empty.
    pub if_empty: Vec<FieldEntry>,
    /// Fields sent unless a person edited them.
    pub unless_edited: Vec<FieldEntry>,
    /// No criterion is left: `skip` (default), `fail`, `create`.
    pub on_empty: Option<OnEmpty>,
    /// Several hits: `oldest` (default), `newest`, `fail`.
    pub on_many: Option<OnMany>,
    /// A weaker criterion hit and the stronger one holds another value: `fail` (default), `create`, `take`.
    pub on_conflict: Option<OnConflict>,
    /// `update` found nothing: `fail` (default), `skip`.
    pub on_miss: Option<OnMiss>,
    /// A `by(..)` was not found in time: `fail` (default), `omit`.
    pub on_missing: Option<OnMissing>,
    /// An update found a deal or lead that is archived: `fail` (default), `skip`, `unarchive`.
    pub on_archived: Option<OnArchived>,
    /// A value that the account does not know: `drop` (default), `fail`, `create`.
    pub on_unknown: Option<OnUnknown>,
    /// A deal or activity may be without any link.
    pub unlinked: bool,
    /// Which fields are sent; default: the rule's.
    pub write: Option<WritePolicy>,
    /// Name under which a note or activity is created once; default: message, rule, ordinal.
    pub key: Option<String>,
}

macro_rules! policy {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "lowercase")]
        pub enum $name { $($(#[$vdoc])* $variant),+ }
        impl $name {
            /// The words that scripts may use.
            pub const WORDS: &'static [&'static str] = &[$($text),+];
            /// Reads one of [`Self::WORDS`].
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

policy! {
    /// No criterion is left.
    OnEmpty {
        /// The action is skipped; its reference is absent.
        Skip = "skip",
        /// The delivery fails.
        Fail = "fail",
        /// It is created.
        Create = "create",
    }
}
policy! {
    /// A weaker criterion hit an entity whose stronger one holds another value.
    OnConflict {
        /// The delivery fails.
        Fail = "fail",
        /// Another entity is created.
        Create = "create",
        /// The entity is taken and the stronger value overwritten.
        Take = "take",
    }
}
policy! {
    /// An update found nothing.
    OnMiss {
        /// The delivery fails.
        Fail = "fail",
        /// The action is skipped.
        Skip = "skip",
    }
}
policy! {
    /// A linked entity was not found in time.
    OnMissing {
        /// The delivery fails.
        Fail = "fail",
        /// It goes on without the link.
        Omit = "omit",
    }
}
policy! {
    /// A value that the account does not know.
    OnUnknown {
        /// The field is left out, with a warning.
        Drop = "drop",
        /// The delivery fails.
        Fail = "fail",
        /// The option is created.
        Create = "create",
    }
}
policy! {
    /// An update found a deal or lead that is archived, which Pipedrive does not let be changed.
    #[derive(Default)]
    OnArchived {
        /// The delivery fails.
        #[default]
        Fail = "fail",
        /// The action is skipped.
        Skip = "skip",
        /// It is taken out of the archive, and then updated.
        Unarchive = "unarchive",
    }
}
