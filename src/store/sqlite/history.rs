//! A look at what a store holds of the past, from beside the daemon that may be running on it.
//!
//! Invariants: nothing is written; a read transaction lasts for one call, so that the daemon's log of changes can start over; a file of
//! another version is refused with what to do.

use std::path::Path;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::codes::{Trouble, from_seq, from_time, to_count, to_seq};
use super::open::Paths;
use super::{lists, readers};
use crate::store::{DeliveryId, Seq, StoreError, StoredEvent};

/// A look at the past.
#[derive(Debug)]
pub struct History {
    conn: Connection,
}

/// Which numbers events have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// The oldest event that is kept; none: none is.
    pub first: Option<Seq>,
    /// The newest event that there was, kept or not; 0 when there was none.
    pub last: Seq,
}

/// Both kinds of events.
const BOTH: &str = "(SELECT seq, at FROM events UNION ALL SELECT seq, at FROM unmatched)";

impl History {
    /// Opens the store of a data directory.
    ///
    /// # Errors
    /// When there is none, or it is not of this version.
    pub fn open(data_dir: &Path) -> Result<Self, StoreError> {
        let paths = Paths::new(data_dir, true);
        if !paths.database.exists() {
            return Err(paths.unusable("there is no store: no daemon has run on this data directory yet"));
        }
        let conn = paths.open_reader().map_err(|e| paths.explain(&e))?;
        paths.is_of_this_version(&conn)?;
        Ok(Self { conn })
    }

    /// Which numbers events have.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn kept(&self) -> Result<Kept, StoreError> {
        self.read(|conn| {
            let last: i64 = conn.query_row("SELECT last_seq FROM counters", [], |row| row.get(0))?;
            let first =
                |table: &str| conn.query_row(&format!("SELECT min(seq) FROM {table}"), [], |row| row.get::<_, Option<i64>>(0));
            let first = first("events")?.into_iter().chain(first("unmatched")?).min();
            Ok(Kept { first: first.map(to_seq), last: to_seq(last) })
        })
    }

    /// The first kept event that was received at this time or later. Events are numbered in the order in which they were received, give or
    /// take what a clock that is set makes of it.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn since(&self, time: Timestamp) -> Result<Option<Seq>, StoreError> {
        let kept = self.kept()?;
        let Some(first) = kept.first else { return Ok(None) };
        let at_or_later = from_time(time);
        self.read(|conn| {
            let mut next = conn.prepare_cached(&format!("SELECT seq, at FROM {BOTH} WHERE seq >= ?1 ORDER BY seq LIMIT 1"))?;
            let (mut low, mut high, mut found) = (from_seq(first), from_seq(kept.last) + 1, None);
            // What is before `low` is too early, what is from `high` on is not.
            while low < high {
                let middle = low + (high - low) / 2;
                match next.query_row([middle], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))).optional()? {
                    Some((seq, at)) if at < at_or_later => low = seq + 1,
                    later => {
                        found = later.map(|(seq, _)| seq).or(found);
                        high = middle;
                    }
                }
            }
            Ok(found.map(to_seq))
        })
    }

    /// The events with `from <= seq < to`, matched ones and others, in order.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn events(&self, from: Seq, to: Seq) -> Result<Vec<StoredEvent>, StoreError> {
        self.read(|conn| readers::events(conn, from, to))
    }

    /// An event by its number.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn event(&self, seq: Seq) -> Result<Option<StoredEvent>, StoreError> {
        self.read(|conn| readers::event(conn, seq))
    }

    /// The newest event with this messageId.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn by_message(&self, message_id: &str) -> Result<Option<StoredEvent>, StoreError> {
        self.read(|conn| match lists::events_by_message(conn, message_id)?.first() {
            Some(row) => readers::event(conn, row.seq),
            None => Ok(None),
        })
    }

    /// How many events with `from <= seq < to` are kept.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn count(&self, from: Seq, to: Seq) -> Result<u64, StoreError> {
        self.read(|conn| {
            let count = |table: &str| {
                let sql = format!("SELECT count(*) FROM {table} WHERE seq >= ?1 AND seq < ?2");
                conn.query_row(&sql, params![from_seq(from), from_seq(to)], |row| row.get(0)).map(to_count)
            };
            Ok(count("events")? + count("unmatched")?)
        })
    }

    /// The decision records of a delivery, oldest attempt first.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn records(&self, id: &DeliveryId) -> Result<Vec<Vec<u8>>, StoreError> {
        self.read(|conn| readers::records(conn, id))
    }

    /// A small named value.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn kv(&self, space: &str, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|conn| readers::kv(conn, space, key))
    }

    /// All values of a space by key.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn kv_list(&self, space: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        self.read(|conn| readers::kv_list(conn, space))
    }

    fn read<T>(&self, query: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        query(&self.conn).map_err(|e| Trouble::from(e).into())
    }
}
