//! What a commit may hold.

use serde::{Deserialize, Serialize};

use super::{DeliveryId, DeliveryState, NewDelivery, ShadowRun};

/// Bytes of a reason that lists keep; of a longer one its beginning, with an ellipsis. A list is read by the hundred rows, and some texts
/// that end a delivery are as long as whoever wrote them liked.
pub const LISTED_REASON: usize = 1024;

/// One write of a commit. A commit carries out its writes in order, all or nothing.
#[derive(Debug, Clone)]
pub enum Write {
    /// Pins a plan, or replaces the pinned one with its newer state.
    Pin {
        /// Delivery.
        id: DeliveryId,
        /// The plan with the state of each action (JSON).
        plan: Vec<u8>,
    },
    /// Takes a pin back: nothing of the plan was sent and the attempt starts afresh.
    Unpin {
        /// Delivery.
        id: DeliveryId,
    },
    /// The delivery is to be tried again.
    Retry {
        /// Delivery.
        id: DeliveryId,
        /// Not before.
        run_at: jiff::Timestamp,
        /// Charged attempts so far.
        attempts: u32,
        /// When it failed first.
        first_failed_at: jiff::Timestamp,
    },
    /// Why a pending delivery waits, for lists: the newest replaces the one before, and the end of the delivery has a reason of its own.
    Waiting {
        /// Delivery.
        id: DeliveryId,
        /// One line; cut to [`LISTED_REASON`].
        reason: String,
    },
    /// An observed delivery is to be carried out after all: it is pending again, in its old place and with its records.
    Release {
        /// Delivery; its state is [`DeliveryState::Observed`].
        id: DeliveryId,
        /// Account and ordering keys.
        delivery: NewDelivery,
        /// When.
        at: jiff::Timestamp,
    },
    /// Adds or replaces the decision record of one attempt (JSON).
    Record {
        /// Delivery.
        id: DeliveryId,
        /// Number of the attempt, from 1, uncharged ones included.
        attempt: u32,
        /// The record.
        record: Vec<u8>,
    },
    /// The delivery has ended.
    Finish(Finish),
    /// Adds an id to the match index. Putting it twice changes nothing.
    IndexPut {
        /// Account.
        account: String,
        /// Kind.
        kind: String,
        /// Field key.
        field: String,
        /// Normalised value.
        value: String,
        /// Pipedrive id.
        id: String,
    },
    /// Takes one pair out of the match index.
    IndexRemove {
        /// Account.
        account: String,
        /// Kind.
        kind: String,
        /// Field key.
        field: String,
        /// Normalised value.
        value: String,
        /// Pipedrive id.
        id: String,
    },
    /// Makes these the values under which the match index has an entity in one field, and takes its other ones out; those stay that it has
    /// from an entity that went into it.
    IndexReplace {
        /// Account.
        account: String,
        /// Kind.
        kind: String,
        /// Pipedrive id.
        id: String,
        /// Field key.
        field: String,
        /// Normalised values.
        values: Vec<String>,
    },
    /// Forgets an entity: its index entries, by the index's reverse, and its known values.
    Forget {
        /// Account.
        account: String,
        /// Kind.
        kind: String,
        /// Pipedrive id.
        id: String,
    },
    /// An entity went into another one: its index entries now lead there, and its known values are forgotten.
    Remap {
        /// Account.
        account: String,
        /// Kind.
        kind: String,
        /// Pipedrive id of what is gone.
        from: String,
        /// Pipedrive id of what stays.
        to: String,
    },
    /// Forgets all index entries and known values of an account: it is another one now.
    ForgetAccount {
        /// Account.
        account: String,
    },
    /// Replaces the known values of an entity (JSON).
    KnownPut {
        /// Account.
        account: String,
        /// Kind.
        kind: String,
        /// Pipedrive id.
        id: String,
        /// The values.
        values: Vec<u8>,
    },
    /// Keeps beside the known values of an entity what somebody has seen of it since; of one without known values, or of which something
    /// newer was seen, nothing.
    KnownSee {
        /// Account.
        account: String,
        /// Kind.
        kind: String,
        /// Pipedrive id.
        id: String,
        /// Orders what was seen: its time of change, in seconds.
        version: i64,
        /// What was seen (JSON).
        seen: Vec<u8>,
        /// What is kept instead where something else of the same version was seen before; none: this takes its place.
        doubt: Option<Vec<u8>>,
    },
    /// Sets a small named value.
    KvPut {
        /// Space.
        space: String,
        /// Key.
        key: String,
        /// Value.
        value: Vec<u8>,
    },
    /// Counts a run of a shadow script.
    Shadow(ShadowRun),
    /// Forgets how the deliveries of a script set ended.
    ForgetOutcomes {
        /// Its version, as deliveries name it.
        version: String,
    },
    /// Deletes a small named value.
    KvDelete {
        /// Space.
        space: String,
        /// Key.
        key: String,
    },
}

/// The end of a delivery.
#[derive(Debug, Clone)]
pub struct Finish {
    /// Delivery.
    pub id: DeliveryId,
    /// Never [`DeliveryState::Pending`].
    pub state: DeliveryState,
    /// When.
    pub at: jiff::Timestamp,
    /// Script set version that ran.
    pub version: Option<String>,
    /// One line for lists: why it failed or was skipped. Cut to [`LISTED_REASON`]; the whole of it belongs into the decision record.
    pub reason: Option<String>,
    /// What it has in common with others that failed; none: it has not failed, or a person ends it, and it keeps what it had.
    pub cause: Option<Cause>,
}

/// What deliveries that fail for the same reason have in common. It holds no value of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// One short word: `permanent`, `transient` ...
    pub class: String,
    /// What went wrong, and where.
    pub what: String,
}
