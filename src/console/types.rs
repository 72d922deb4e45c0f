//! What the admin API answers and takes, shared with the command line. Fields are only ever added.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::query::EventsQuery;
use crate::delivery::{DeliveryStatus, PauseInfo, Replayed, Scope};
use crate::reload::ReloadStatus;
use crate::store::{CauseCount, DeliveryId, DeliveryRow, EventRow, RejectedRow, ReplayOptions, Seq, StoreStats, UnmatchedCount};

/// An answer that is no success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What is wrong and what to do, for a person.
    pub error: String,
}

/// `GET /api/status`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Status {
    /// Pipewright's version.
    pub pipewright: String,
    /// When the daemon started.
    pub started_at: jiff::Timestamp,
    /// The live script set.
    pub set: SetStatus,
    /// How the last reload went.
    pub reload: ReloadStatus,
    /// Lanes, accounts and rules.
    pub delivery: DeliveryStatus,
    /// Counts and sizes.
    pub store: StoreStats,
    /// What has failed and was not repeated since, the most frequent first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<CauseCount>,
    /// Events accepted since the start.
    pub accepted: u64,
    /// Deliveries ended since the start.
    pub finished: u64,
}

/// The live script set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetStatus {
    /// Its version, whole.
    pub version: String,
    /// Rules, disabled ones included.
    pub rules: usize,
    /// Enabled rules.
    pub enabled: usize,
    /// Names of the others.
    #[serde(default)]
    pub disabled: Vec<String>,
}

/// `GET /api/events`: one of the lists, by what was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EventList {
    /// Deliveries, newest first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deliveries: Option<Vec<DeliveryRow>>,
    /// `?rejected=1`: what was refused at the door.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rejected: Option<Vec<RejectedRow>>,
    /// `?unmatched=1`: what no rule wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unmatched: Option<Vec<EventRow>>,
    /// With `unmatched`: how many fit, by type and name, those on other pages included; the most frequent first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counts: Option<Vec<UnmatchedCount>>,
}

/// `GET /api/events/ID`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventDetails {
    /// The events that the id names, newest first; several when a messageId was replayed or came from several sources.
    pub events: Vec<EventDetail>,
}

/// One event with what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventDetail {
    /// Its row.
    #[serde(flatten)]
    pub row: EventRow,
    /// The delivery that it repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay_of: Option<DeliveryId>,
    /// The event that a person edited into this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edited_from: Option<Seq>,
    /// What it was edited into.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub edited_as: Vec<Seq>,
    /// Deliveries that repeat one of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replayed_as: Vec<DeliveryId>,
    /// The whole event, while it is kept.
    pub event: Option<Value>,
    /// Its deliveries, in rule order; empty when no rule wanted it.
    pub deliveries: Vec<DeliveryDetail>,
}

/// One delivery with its decision records.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeliveryDetail {
    /// Its row.
    #[serde(flatten)]
    pub row: DeliveryRow,
    /// Decision records, oldest attempt first.
    pub records: Vec<Value>,
}

/// `POST /api/events/replay` and `/discard`: ids, or what a filter finds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Selection {
    /// These.
    Ids(Vec<DeliveryId>),
    /// What this finds, in the words of `GET /api/events`. It must name at least one condition; without states, what has failed;
    /// without a limit, all.
    Filter(Box<EventsQuery>),
    /// Replay only: events that no rule wanted when they came, to the rules that want them now and have not had them.
    Unmatched {
        /// Only to this rule.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rule: Option<String>,
        /// Look at so many at most, oldest first; all unless told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<usize>,
        /// Only newer ones than this: `next` of the answer before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<Seq>,
        /// Only those that this finds; without state, rule and limit.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        filter: Option<Box<EventsQuery>>,
    },
}

/// `POST /api/events/replay`: a selection, and beside it `"again": true` or `"overwrite": true`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Map<String, Value>")]
pub struct ReplayRequest {
    /// Which.
    #[serde(flatten)]
    pub selection: Selection,
    /// How they go about what was done before.
    #[serde(flatten)]
    pub how: ReplayOptions,
}

impl TryFrom<Map<String, Value>> for ReplayRequest {
    type Error = serde_json::Error;

    fn try_from(mut request: Map<String, Value>) -> Result<Self, Self::Error> {
        // What neither knows is refused by the selection.
        let options = ["again", "overwrite"].into_iter().filter_map(|key| request.remove_entry(key)).collect();
        Ok(Self {
            how: serde_json::from_value(Value::Object(options))?,
            selection: serde_json::from_value(Value::Object(request))?,
        })
    }
}

impl From<Selection> for ReplayRequest {
    fn from(selection: Selection) -> Self {
        Self { selection, how: ReplayOptions::default() }
    }
}

/// `POST /api/events/replay`: what was made anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayAnswer {
    /// Old and new deliveries.
    pub replayed: Vec<Replayed>,
    /// What became of unmatched events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unmatched: Option<UnmatchedReplay>,
}

/// What a replay of unmatched events did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnmatchedReplay {
    /// Events looked at.
    pub seen: usize,
    /// Events that a rule wants now.
    pub events: usize,
    /// Deliveries made.
    pub deliveries: usize,
    /// Events that no rule wants now either.
    #[serde(default)]
    pub still_unmatched: usize,
    /// Where to go on, as `after`; none: these were all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Seq>,
}

impl UnmatchedReplay {
    /// Adds what the next page came to.
    pub fn add(&mut self, page: Self) {
        self.seen += page.seen;
        self.events += page.events;
        self.deliveries += page.deliveries;
        self.still_unmatched += page.still_unmatched;
        self.next = page.next;
    }
}

impl From<crate::ingest::Replayed> for UnmatchedReplay {
    fn from(report: crate::ingest::Replayed) -> Self {
        let crate::ingest::Replayed { seen, events, deliveries, still_unmatched, next } = report;
        Self { seen, events, deliveries, still_unmatched, next }
    }
}

/// `POST /api/events/release`: what was released, or would be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseAnswer {
    /// Released deliveries.
    pub released: u64,
    /// `?dry=1`: the deliveries that fit, oldest first; nothing was released.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fits: Vec<DeliveryId>,
}

/// `POST /api/events/discard`: how many were dropped.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiscardAnswer {
    /// Dropped deliveries.
    pub discarded: u64,
    /// `?dry=1`: what would be dropped, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fits: Vec<DeliveryId>,
}

/// `POST /api/pause` and `/api/resume`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScopeRequest {
    /// `{"account": NAME}` or `{"rule": NAME}`.
    #[serde(flatten)]
    pub scope: Scope,
    /// Why, for `status`; only `pause` looks at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What is paused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paused {
    /// Account or rule.
    #[serde(flatten)]
    pub scope: Scope,
    /// Why.
    #[serde(flatten)]
    pub pause: PauseInfo,
}
