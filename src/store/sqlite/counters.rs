//! Counts that the file keeps of itself: one row, written in the transaction that changes them.

use rusqlite::{Connection, params};

use super::codes::{from_count, to_count};

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counters {
    /// The newest event, kept or not: numbers are never given twice.
    pub(super) last_seq: i64,
    pub(super) events: u64,
    pub(super) unmatched: u64,
    pub(super) pending: u64,
    pub(super) failed: u64,
    pub(super) rejected: u64,
}

impl Counters {
    pub(super) fn load(conn: &Connection) -> rusqlite::Result<Self> {
        conn.prepare_cached("SELECT last_seq, events, unmatched, pending, failed, rejected FROM counters WHERE id = 1")?
            .query_row([], |row| {
                Ok(Self {
                    last_seq: row.get(0)?,
                    events: to_count(row.get(1)?),
                    unmatched: to_count(row.get(2)?),
                    pending: to_count(row.get(3)?),
                    failed: to_count(row.get(4)?),
                    rejected: to_count(row.get(5)?),
                })
            })
    }

    pub(super) fn save(&self, conn: &Connection) -> rusqlite::Result<()> {
        conn.prepare_cached(
            "UPDATE counters SET last_seq = ?1, events = ?2, unmatched = ?3, pending = ?4, failed = ?5, rejected = ?6 WHERE id = 1",
        )?
        .execute(params![
            self.last_seq,
            from_count(self.events),
            from_count(self.unmatched),
            from_count(self.pending),
            from_count(self.failed),
            from_count(self.rejected)
        ])
        .map(drop)
    }
}

/// `count - less`, of numbers that cannot fall below nothing.
pub(super) fn take(count: &mut u64, less: usize) {
    *count = count.saturating_sub(less as u64);
}
