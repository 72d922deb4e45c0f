//! What goes into the store and comes out of it, as plain data.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::aliases::Alias;

/// The place of an event in the order of acceptance, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What is kept of an entity, as documents that the store does not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownRow {
    /// Its known values (JSON).
    pub values: Vec<u8>,
    /// What was seen of it beside them (JSON), see [`Write::KnownSee`](super::Write::KnownSee).
    pub seen: Option<Vec<u8>>,
}

/// A delivery: one event processed by one rule. Written `SEQ/RULE`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct DeliveryId {
    /// The event.
    pub seq: Seq,
    /// The rule's name.
    pub rule: Arc<str>,
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.seq, self.rule)
    }
}

impl From<DeliveryId> for String {
    fn from(id: DeliveryId) -> Self {
        id.to_string()
    }
}

/// A text that is no delivery id.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no delivery id; it is written SEQ/RULE, such as 17/person")]
pub struct ParseDeliveryIdError(String);

impl FromStr for DeliveryId {
    type Err = ParseDeliveryIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (seq, rule) = text.split_once('/').ok_or_else(|| ParseDeliveryIdError(text.to_owned()))?;
        match seq.parse() {
            Ok(seq) if !rule.is_empty() => Ok(Self { seq: Seq(seq), rule: Arc::from(rule) }),
            _ => Err(ParseDeliveryIdError(text.to_owned())),
        }
    }
}

impl TryFrom<String> for DeliveryId {
    type Error = ParseDeliveryIdError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// An event to store.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// Source name.
    pub source: String,
    /// `messageId`.
    pub message_id: String,
    /// `type`.
    pub kind: &'static str,
    /// `event` of a track call.
    pub name: Option<String>,
    /// Canonical `userId`, else `anonymousId`; a search column.
    pub user: Option<String>,
    /// When it was received.
    pub received_at: jiff::Timestamp,
    /// The whole event as JSON.
    pub payload: Bytes,
    /// One entry a rule that wants it, in rule order. Empty: unmatched.
    pub deliveries: Vec<NewDelivery>,
    /// Whether (source, messageId) is looked up in the window.
    pub dedupe: Dedupe,
    /// What this one repeats.
    pub repeats: Option<Repeats>,
    /// Whether it is kept when no rule wants it.
    pub kept: bool,
    /// Two ids that are one user from now on; none: the event joins nothing. A duplicate joins nothing either.
    pub alias: Option<Alias>,
    /// Whether its user is to be erased as of it: it is noted with it under [`TO_FORGET`](super::TO_FORGET). A duplicate notes nothing.
    pub forget: bool,
}

/// What an event repeats, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repeats {
    /// What.
    pub of: Repeated,
    /// How it goes about what was done before.
    pub how: ReplayOptions,
}

/// What is repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Repeated {
    /// One delivery, with the event as it is.
    Delivery(DeliveryId),
    /// An event whose payload a person has edited: each delivery repeats that event's delivery of its rule.
    Edited(Seq),
}

/// How a replay goes about what was done before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReplayOptions {
    /// What was created is created again, and what was deleted, merged, converted or requested is asked for again.
    pub again: bool,
    /// Fields that later events have written are written over.
    pub overwrite: bool,
}

impl ReplayOptions {
    /// Nothing but the usual.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }
}

impl Repeats {
    /// The delivery that a rule's delivery of the event repeats.
    #[must_use]
    pub fn by(&self, rule: &Arc<str>) -> DeliveryId {
        match &self.of {
            Repeated::Delivery(id) => id.clone(),
            Repeated::Edited(seq) => DeliveryId { seq: *seq, rule: rule.clone() },
        }
    }

    /// The event that is repeated.
    #[must_use]
    pub const fn seq(&self) -> Seq {
        match &self.of {
            Repeated::Delivery(id) => id.seq,
            Repeated::Edited(seq) => *seq,
        }
    }
}

/// Whether an event may be recognised as a duplicate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dedupe {
    /// Looked up in the window, and entered into it.
    Window,
    /// A replay: always fresh, not entered.
    Never,
}

/// A delivery to be made with its event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDelivery {
    /// Rule name.
    pub rule: Arc<str>,
    /// Account name.
    pub account: Arc<str>,
    /// Ordering key.
    pub key: String,
    /// Other ordering keys: what the same rule and account accepted under them before goes first.
    pub after: Vec<String>,
    /// Ordering keys of the same user's other ids: what any rule of the account accepted under them before goes first, as in one lane.
    pub behind: Vec<String>,
}

/// What became of an appended event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// Stored now.
    Fresh(Seq),
    /// Was stored before, as this event; durable when this is returned.
    Duplicate(Seq),
}

/// A delivery that is not finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// Which.
    pub id: DeliveryId,
    /// Position among the event's deliveries, from 0.
    pub position: u32,
    /// Account name.
    pub account: Arc<str>,
    /// Ordering key.
    pub key: String,
    /// Other ordering keys, as in [`NewDelivery::after`].
    pub after: Vec<String>,
    /// Other ordering keys, as in [`NewDelivery::behind`].
    pub behind: Vec<String>,
    /// Charged attempts so far.
    pub attempts: u32,
    /// Not before, when it waits for a retry.
    pub run_at: Option<jiff::Timestamp>,
    /// When it failed first.
    pub first_failed_at: Option<jiff::Timestamp>,
    /// Whether a plan is pinned.
    pub pinned: bool,
    /// Whether there is a record of an attempt already, which did not end it.
    pub tried: bool,
    /// When a person released it, after it had been observed only.
    pub released_at: Option<jiff::Timestamp>,
}

/// A stored event.
#[derive(Debug, Clone)]
pub struct StoredEvent {
    /// Its place.
    pub seq: Seq,
    /// Source name.
    pub source: String,
    /// `messageId`.
    pub message_id: String,
    /// When it was received.
    pub received_at: jiff::Timestamp,
    /// The whole event as JSON.
    pub payload: Bytes,
    /// What it repeats.
    pub repeats: Option<Repeats>,
    /// What the store has to say of it: why an alias joined nothing.
    pub note: Option<String>,
}

/// What ingest refused.
#[derive(Debug, Clone)]
pub struct Rejected {
    /// Source name.
    pub source: String,
    /// `messageId`, when it could be read.
    pub message_id: Option<String>,
    /// `type`, when it could be read.
    pub kind: Option<String>,
    /// When.
    pub at: jiff::Timestamp,
    /// Why, for a person.
    pub reason: String,
    /// The event as it came, cut to a bound.
    pub payload: Bytes,
}

/// How a delivery stands or ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryState {
    /// Waiting or under way.
    Pending,
    /// Its plan was carried out (or held nothing to change).
    Done,
    /// The script or a policy skipped it.
    Skipped,
    /// Failed for good; nothing was written.
    Dead,
    /// Failed for good after some of its actions were done.
    Partial,
    /// A write's outcome could not be proved.
    Uncertain,
    /// `writes = "off"`: planned and resolved, nothing sent.
    Observed,
    /// Dropped by a person.
    Discarded,
}

impl DeliveryState {
    /// Every state, in a fixed order.
    pub const ALL: [Self; 8] =
        [Self::Pending, Self::Done, Self::Skipped, Self::Dead, Self::Partial, Self::Uncertain, Self::Observed, Self::Discarded];

    /// As it is written in records, filters and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Done => "done",
            Self::Skipped => "skipped",
            Self::Dead => "dead",
            Self::Partial => "partial",
            Self::Uncertain => "uncertain",
            Self::Observed => "observed",
            Self::Discarded => "discarded",
        }
    }

    /// Reads what [`DeliveryState::as_str`] wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == text)
    }

    /// Needs a person's attention.
    #[must_use]
    pub const fn is_failure(self) -> bool {
        matches!(self, Self::Dead | Self::Partial | Self::Uncertain)
    }
}

impl fmt::Display for DeliveryState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
