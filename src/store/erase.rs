//! Erasing what is kept of a user.

use bytes::Bytes;

use super::Seq;

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
    /// Ids that aliases have joined with others: they are nobody's any more. A class of which one id is left is none.
    Aliases {
        /// Ids.
        ids: Vec<String>,
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
