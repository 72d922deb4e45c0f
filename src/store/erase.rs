//! Erasing what is kept of a user.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Seq;

/// The space of small values that holds the users who are to be erased ([`ToForget`]), each as of an event.
pub const TO_FORGET: &str = "forget";

/// Where what goes ends and what stays begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AsOf {
    /// The last event that goes.
    pub seq: Seq,
    /// For what has no place among the events: refused ones go that came then or before.
    pub at: jiff::Timestamp,
}

/// A user who is to be erased.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToForget {
    /// Canonical `userId`.
    pub user: String,
    /// The ids that aliases had joined with it by then.
    pub ids: Vec<String>,
    /// As of when.
    pub as_of: AsOf,
}

/// One step of an erasure. Each is a call to the writer of its own, so that it delays nobody for long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Erase {
    /// Finished deliveries of these events with their records and plans, of one account only when it is named; then the events that have no
    /// delivery left, with what search columns hold of them. What is not finished stays, with its event.
    Events {
        /// Events, matched or not.
        seqs: Vec<Seq>,
        /// Account.
        account: Option<String>,
    },
    /// What aliases up to an event have joined these ids with. What later ones have joined stays, as if there had been no others.
    Aliases {
        /// Ids.
        ids: Vec<String>,
        /// The last event whose alias goes.
        as_of: Seq,
    },
    /// Refused events, by their numbers from [`Store::rejected_texts`](super::Store::rejected_texts).
    Rejected {
        /// Numbers.
        ids: Vec<i64>,
    },
}

/// What a step erased.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Erased {
    /// Events that had deliveries.
    pub events: u64,
    /// Events that no rule wanted.
    pub unmatched: u64,
    /// Finished deliveries.
    pub deliveries: u64,
    /// Refused events.
    pub rejected: u64,
}

/// A refused event's text, for telling whose it is.
#[derive(Debug, Clone)]
pub struct RejectedText {
    /// Its number.
    pub id: i64,
    /// When it came.
    pub at: jiff::Timestamp,
    /// The event as it came, cut to a bound.
    pub payload: Bytes,
}

/// An entity that index entries lead to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct IndexedEntity {
    /// Account.
    pub account: String,
    /// Pipedrive id.
    pub id: String,
}
