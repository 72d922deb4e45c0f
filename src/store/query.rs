//! What lists and searches answer.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Cause, DeliveryId, DeliveryState, ReplayOptions, Seq};

/// Which deliveries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeliveryFilter {
    /// In one of these states; empty: all.
    pub states: Vec<DeliveryState>,
    /// Of this rule.
    pub rule: Option<String>,
    /// Of this event.
    pub seq: Option<Seq>,
    /// Events of this type.
    pub kind: Option<String>,
    /// Track events of this name.
    pub name: Option<String>,
    /// Events of this user.
    pub user: Option<String>,
    /// Events with this messageId.
    pub message_id: Option<String>,
    /// Failed for this cause: its name, or the beginning of it.
    pub cause: Option<String>,
    /// Ended under this script set: its version, or the beginning of it.
    pub version: Option<String>,
    /// Not repeated since.
    pub open: bool,
    /// Received at or after.
    pub since: Option<jiff::Timestamp>,
    /// Only older than this one (paging).
    pub before: Option<Seq>,
    /// At most; 0 means 50. The deliveries of one event come together, so a page may be a few rows longer.
    pub limit: usize,
}

/// Which unmatched events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnmatchedFilter {
    /// Of this type.
    pub kind: Option<String>,
    /// Track events of this name.
    pub name: Option<String>,
    /// Of this user.
    pub user: Option<String>,
    /// With this messageId.
    pub message_id: Option<String>,
    /// Received at or after.
    pub since: Option<jiff::Timestamp>,
    /// Only older than this one.
    pub before: Option<Seq>,
    /// Only newer than this one, and then oldest first.
    pub after: Option<Seq>,
    /// At most; 0 means 50.
    pub limit: usize,
}

/// How many unmatched events there are of one type and name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnmatchedCount {
    /// Event type.
    pub kind: String,
    /// Name of track events.
    pub name: Option<String>,
    /// How many.
    pub events: u64,
    /// When the newest was received.
    pub newest: jiff::Timestamp,
}

/// One delivery in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryRow {
    /// Which.
    pub id: DeliveryId,
    /// State.
    pub state: DeliveryState,
    /// Account.
    pub account: Arc<str>,
    /// `messageId`.
    pub message_id: String,
    /// Event type.
    pub kind: String,
    /// Name of a track event.
    pub name: Option<String>,
    /// Source.
    pub source: String,
    /// Received.
    pub received_at: jiff::Timestamp,
    /// Charged attempts.
    pub attempts: u32,
    /// Next attempt, when it waits.
    pub run_at: Option<jiff::Timestamp>,
    /// Finished.
    pub finished_at: Option<jiff::Timestamp>,
    /// Script set version.
    pub version: Option<String>,
    /// One line: why it ended so; of a pending one, why its last attempt did not end it. At most [`super::LISTED_REASON`] bytes and an
    /// ellipsis.
    pub reason: Option<String>,
    /// The delivery that this one repeats.
    pub replay_of: Option<DeliveryId>,
    /// How it does.
    #[serde(default, skip_serializing_if = "ReplayOptions::is_plain")]
    pub replay: ReplayOptions,
}

/// How many deliveries of a rule ended in a state under one script set. One that was discarded after it had failed counts as discarded; one
/// that was released counts when it ends again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutcomeCount {
    /// Version of the script set, as deliveries name it.
    pub version: String,
    /// Rule.
    pub rule: Arc<str>,
    /// State.
    pub state: DeliveryState,
    /// How many.
    pub deliveries: u64,
}

/// Failed deliveries that have cause, rule, script set and state in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CauseCount {
    /// Name of the cause; none: it failed when causes were not kept yet.
    pub id: Option<String>,
    /// The cause.
    pub cause: Option<Cause>,
    /// Rule.
    pub rule: Arc<str>,
    /// Version of the script set that ran.
    pub version: Option<String>,
    /// State.
    pub state: DeliveryState,
    /// How many.
    pub deliveries: u64,
    /// The oldest of them.
    pub oldest: DeliveryId,
    /// When its event was received.
    pub oldest_at: jiff::Timestamp,
    /// The newest.
    pub newest: DeliveryId,
    /// When its event was received.
    pub newest_at: jiff::Timestamp,
    /// Why the newest failed, with its values.
    pub reason: Option<String>,
}

/// One event in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRow {
    /// Its place.
    pub seq: Seq,
    /// `messageId`.
    pub message_id: String,
    /// Event type.
    pub kind: String,
    /// Name of a track event.
    pub name: Option<String>,
    /// Source.
    pub source: String,
    /// Received.
    pub received_at: jiff::Timestamp,
    /// What the store has to say of it: why an alias joined nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// One refused event in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectedRow {
    /// Source.
    pub source: String,
    /// `messageId`, when it could be read.
    pub message_id: Option<String>,
    /// Event type, when it could be read.
    pub kind: Option<String>,
    /// When.
    pub at: jiff::Timestamp,
    /// Why.
    pub reason: String,
    /// The event as it came, cut to a bound.
    pub payload: String,
}

/// Counts and sizes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreStats {
    /// Events kept, matched ones.
    pub events: u64,
    /// Unmatched events kept.
    pub unmatched: u64,
    /// Unfinished deliveries.
    pub pending: u64,
    /// Dead, partial and uncertain deliveries.
    pub failed: u64,
    /// Refused events kept.
    pub rejected: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// When the oldest unfinished delivery's event was received.
    pub oldest_pending: Option<jiff::Timestamp>,
    /// Why new events are refused, while they are: a full disk.
    pub refusing: Option<String>,
}
