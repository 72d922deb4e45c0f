//! The decision record: how one attempt came to what it did. It is what `events show` prints.
//!
//! Invariants: it holds everything that decided (event, script set, reads, matches, plan, requests, answers, changed fields,
//! tokens), and no secret. It may hold personal data, so it stays in the store and never goes to the log.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::diagnostic::Diagnostic;
use crate::failure::FailureClass;
use crate::pipedrive::{Exchange, Id, Kind, Purpose};
use crate::plan::{At, Change};
use crate::rules::Version;
use crate::script::{LogLine, Read};

/// One attempt.
#[derive(Debug, Clone, Serialize)]
pub struct Record {
    /// Script set that ran.
    pub version: Version,
    /// Account that it was for; a release goes to the rule's account of its time.
    pub account: Arc<str>,
    /// Number of the attempt, from 1; attempts that were not charged repeat their number.
    pub attempt: u32,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
    /// State that the delivery ended in, or `retry`, `wait`, `parked`.
    pub outcome: String,
    /// Why, in one line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Failure class, when it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<FailureClass>,
    /// File, line and caret of what failed in a script.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub diagnostics: Vec<Diagnostic>,
    /// Whether the script ran into its deadline.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub deadline: bool,
    /// Whether it went on with a plan that an earlier attempt pinned.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub resumed: bool,
    /// What the script read and what it was told.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reads: Vec<(Read, Json)>,
    /// The plan, step by step.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepRecord>,
    /// What was sent and what came back.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exchanges: Vec<Exchange>,
    /// What the script logged.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub logs: Vec<LogLine>,
    /// Tokens charged.
    pub tokens: u32,
    /// What attempts came to whose records this one replaces: those that were not charged and wrote nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaced: Option<Replaced>,
}

/// What is left of records that a later one replaced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replaced {
    /// How many there were.
    pub attempts: u32,
    /// Requests that they sent for this delivery; what was read of the account's fields serves all and is not in it.
    pub requests: u32,
    /// Tokens that those were charged.
    pub tokens: u32,
}

impl Replaced {
    /// What is left of the newest stored record when one of this number replaces it.
    pub(super) fn by(number: u32, records: &[Vec<u8>]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Part {
            attempt: u32,
            #[serde(default)]
            exchanges: Vec<Exchange>,
            #[serde(default)]
            replaced: Replaced,
        }
        let last: Part = serde_json::from_slice(records.last()?).ok()?;
        (last.attempt == number).then(|| {
            let asked = last.exchanges.iter().filter(|exchange| exchange.purpose != Purpose::Metadata && !exchange.shared);
            asked.fold(Self { attempts: last.replaced.attempts + 1, ..last.replaced }, |sum, exchange| Self {
                requests: sum.requests + 1,
                tokens: sum.tokens + exchange.tokens,
                ..sum
            })
        })
    }
}

/// Whether a stored record is of an attempt whose script ran into its deadline.
pub(super) fn is_deadline(record: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Part {
        #[serde(default)]
        deadline: bool,
    }
    serde_json::from_slice(record).is_ok_and(|part: Part| part.deadline)
}

/// One step of the plan in a record.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StepRecord {
    /// Ordinal of the action.
    pub ordinal: u32,
    /// `upsert`, `create` ...
    pub verb: String,
    /// Kind; none for raw requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// What tells it from others of its verb and kind: the key of a note or activity, method and path of a raw request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Place in the script.
    pub at: At,
    /// What became of it.
    pub state: StepState,
    /// How the entity was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolution: Option<Resolution>,
    /// Fields that changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
    /// What is worth a look.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// What the policies decided, a line each: `if_empty: holds a value, left alone: `phones``.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub decisions: Vec<String>,
}

/// How an entity was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Resolution {
    /// `index`, `lookup`, `id`, `reference`, `miss`.
    pub how: String,
    /// The criterion that decided: `field = value`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
    /// What was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Id>,
    /// Others that fit as well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<Id>,
}

/// How far a step has come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum StepState {
    /// Nothing was sent.
    Todo,
    /// It was about to be sent; whether it arrived is not known.
    Sending {
        /// When.
        since: Timestamp,
        /// The body.
        body: Json,
        /// How many times it was sent.
        tries: u32,
        /// The entity that is changed or deleted; none: one is created.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        target: Option<Id>,
    },
    /// It is done.
    Done {
        /// What it did.
        effect: Effect,
        /// The entity.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<Id>,
    },
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// An entity was created.
    Created,
    /// Fields were changed.
    Updated,
    /// Nothing was to be changed.
    Unchanged,
    /// The note or activity was created before, under the same key.
    Exists,
    /// It was deleted, or was gone already.
    Deleted,
    /// It was merged.
    Merged,
    /// The lead became a deal.
    Converted,
    /// A raw request was sent.
    Requested,
    /// A policy skipped it; its reference is absent.
    Skipped,
}

impl Effect {
    /// Whether data in Pipedrive was changed.
    #[must_use]
    pub const fn wrote(self) -> bool {
        !matches!(self, Self::Unchanged | Self::Exists | Self::Skipped)
    }
}
