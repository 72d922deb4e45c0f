//! How values are written in the file, and what SQLite's errors mean.
//!
//! Invariants: the numbers and hashes here are on disk; they never change. No message made here holds a stored value.

use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::ErrorCode;
use rusqlite::ffi;

use crate::store::{DeliveryId, DeliveryState, Repeated, Repeats, ReplayOptions, Seq, StoreError};

/// What a damaged file means, and what to do.
pub(super) const DAMAGED: &str = "the file is damaged; restore a backup with `pipewright restore FILE`, which keeps what is there now, or \
     save what can be read with `sqlite3 FILE .recover`, and look at the disk";

/// Why a transaction was rolled back.
#[derive(Debug)]
pub(super) enum Trouble {
    /// No room on the disk.
    Full(String),
    /// Another program holds the file.
    Busy,
    /// Anything else: what is on disk is not known any more.
    Fatal(String),
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        let extended = match &error {
            rusqlite::Error::SqliteFailure(e, _) => e.extended_code,
            _ => 0,
        };
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full(error.to_string()),
            // The shared-memory file could not grow: the same lack of room.
            Some(ErrorCode::SystemIoFailure) if extended == ffi::SQLITE_IOERR_SHMSIZE => Self::Full(error.to_string()),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Fatal(format!("{DAMAGED} ({error})")),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy,
            _ => Self::Fatal(error.to_string()),
        }
    }
}

impl From<Trouble> for StoreError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Full(why) => Self::Full(why),
            Trouble::Busy => Self::Overloaded,
            Trouble::Fatal(why) => Self::Failed(why),
        }
    }
}

/// A time as nanoseconds; times outside 1677 to 2262 are cut to that range.
pub(super) fn from_time(time: Timestamp) -> i64 {
    let nanos = time.as_nanosecond();
    i64::try_from(nanos).unwrap_or(if nanos < 0 { i64::MIN } else { i64::MAX })
}

/// Reads what [`from_time`] wrote.
pub(super) fn to_time(nanos: i64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(nanos)).expect("64 bits of nanoseconds lie within the range of timestamps")
}

/// A span as nanoseconds.
pub(super) fn from_span(span: std::time::Duration) -> i64 {
    i64::try_from(span.as_nanos()).unwrap_or(i64::MAX)
}

/// A sequence number as SQLite's integer. Numbers that no event can have become one that no event has.
pub(super) fn from_seq(seq: Seq) -> i64 {
    i64::try_from(seq.0).unwrap_or(i64::MAX)
}

/// Reads what [`from_seq`] wrote.
pub(super) fn to_seq(seq: i64) -> Seq {
    Seq(u64::try_from(seq).unwrap_or(0))
}

/// Ordering keys as a JSON array; none for none, which is the usual.
pub(super) fn from_keys(keys: &[String]) -> Option<String> {
    (!keys.is_empty()).then(|| serde_json::to_string(keys).expect("texts serialise"))
}

/// Reads what [`from_keys`] wrote.
pub(super) fn to_keys(text: Option<String>) -> Vec<String> {
    // What cannot be read was not written here; order beside another lane is all that it would cost.
    text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
}

const AGAIN: i64 = 1;
const OVERWRITE: i64 = 2;

/// How a replay goes about what was done before, as bits; none for the usual.
pub(super) fn from_options(options: ReplayOptions) -> Option<i64> {
    let bits = i64::from(options.again) * AGAIN + i64::from(options.overwrite) * OVERWRITE;
    (bits != 0).then_some(bits)
}

/// Reads the columns `replay_seq`, `replay_rule` as its name, and `replay_options`.
pub(super) fn to_repeats(seq: Option<i64>, rule: Option<&str>, options: Option<i64>) -> Option<Repeats> {
    let seq = to_seq(seq?);
    let of = rule.map_or(Repeated::Edited(seq), |rule| Repeated::Delivery(DeliveryId { seq, rule: Arc::from(rule) }));
    let bits = options.unwrap_or(0);
    Some(Repeats { of, how: ReplayOptions { again: bits & AGAIN != 0, overwrite: bits & OVERWRITE != 0 } })
}

/// A count as SQLite's integer.
pub(super) fn from_count(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Reads what [`from_count`] wrote.
pub(super) fn to_count(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}

/// A state's number; the partial index of failures names three of them.
pub(super) const fn from_state(state: DeliveryState) -> i64 {
    match state {
        DeliveryState::Pending => 0,
        DeliveryState::Done => 1,
        DeliveryState::Skipped => 2,
        DeliveryState::Dead => 3,
        DeliveryState::Partial => 4,
        DeliveryState::Uncertain => 5,
        DeliveryState::Observed => 6,
        DeliveryState::Discarded => 7,
    }
}

/// Reads what [`from_state`] wrote.
pub(super) fn to_state(number: i64) -> rusqlite::Result<DeliveryState> {
    DeliveryState::ALL.into_iter().find(|s| from_state(*s) == number).ok_or(rusqlite::Error::IntegralValueOutOfRange(0, number))
}

/// FNV-1a with a finaliser; on disk, so it never changes.
pub(super) fn stable_hash(parts: &[&str]) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut step = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    for part in parts {
        part.bytes().for_each(&mut step);
        // No UTF-8 text holds this byte, so ("ab", "c") and ("a", "bc") differ.
        step(0xff);
    }
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ (hash >> 33)
}

/// The part of an ordering key, 0 to 255: the unit of ownership should several daemons share a store.
pub(super) fn part(account: &str, key: &str) -> i64 {
    (stable_hash(&[account, key]) & 255) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_fixed_for_ever() {
        assert_eq!([part("main", "u:1"), part("main", "u:2"), part("other", "u:1")], [208, 120, 218]);
    }

    #[test]
    fn states_survive() {
        for state in DeliveryState::ALL {
            assert_eq!(to_state(from_state(state)).ok(), Some(state));
        }
        assert!(to_state(99).is_err());
    }

    #[test]
    fn times_survive_to_the_nanosecond() {
        let time: Timestamp = "2026-03-01T12:00:00.123456789Z".parse().expect("a time");
        assert_eq!(to_time(from_time(time)), time);
    }
}
