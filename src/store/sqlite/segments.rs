//! Search columns, kept off the ingest path.
//!
//! A random index over message ids, users and names would cost more than everything else that an event costs. So the writer
//! collects their hashes in memory and writes a few thousand at a time as sorted blocks, one a column. A search looks into
//! each block by binary search, newest first, which is also the order in which lists are shown; events since the last block
//! are scanned. A hit is confirmed by the event's own text, so a hash may collide.
//!
//! Invariants: every event of either table is in exactly one block or newer than all blocks; blocks are never updated, except that
//! erased events are taken out, and go when all their events are gone.

use std::collections::BTreeSet;
use std::ops::Bound;

use rusqlite::{Connection, OptionalExtension, params};

use super::codes::stable_hash;

/// Events in a block.
const BLOCK: usize = 4_096;
/// Offsets are two bytes.
const REACH: i64 = 60_000;

/// A search column; the number is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    MessageId = 0,
    User = 1,
    Name = 2,
}

impl Column {
    const ALL: [Self; 3] = [Self::MessageId, Self::User, Self::Name];

    const fn sql(self) -> &'static str {
        match self {
            Self::MessageId => "message_id",
            Self::User => "user",
            Self::Name => "name",
        }
    }
}

fn short_hash(text: &str) -> u32 {
    (stable_hash(&[text]) >> 32) as u32
}

/// The block that is being collected.
#[derive(Debug, Default)]
pub(super) struct OpenBlock {
    first: i64,
    last: i64,
    count: usize,
    columns: [Vec<(u32, u16)>; 3],
}

impl OpenBlock {
    /// Reads back what no block holds yet.
    pub(super) fn load(conn: &Connection) -> rusqlite::Result<Self> {
        let mut block = Self::default();
        let mut statement = conn.prepare(
            "SELECT seq, message_id, user, name FROM events WHERE seq > ?1
             UNION ALL SELECT seq, message_id, user, name FROM unmatched WHERE seq > ?1 ORDER BY seq",
        )?;
        let mut rows = statement.query([sealed_to(conn)?])?;
        while let Some(row) = rows.next()? {
            let text = |i| -> rusqlite::Result<Option<&str>> { Ok(row.get_ref(i)?.as_str_or_null()?) };
            block.collect(row.get(0)?, text(1)?.unwrap_or_default(), text(2)?, text(3)?);
        }
        Ok(block)
    }

    /// Takes an event in, writing the block out when it is full.
    pub(super) fn add(
        &mut self,
        conn: &Connection,
        seq: i64,
        message_id: &str,
        user: Option<&str>,
        name: Option<&str>,
    ) -> rusqlite::Result<()> {
        if self.count >= BLOCK || (self.count > 0 && seq - self.first > REACH) {
            self.seal(conn)?;
        }
        self.collect(seq, message_id, user, name);
        Ok(())
    }

    fn collect(&mut self, seq: i64, message_id: &str, user: Option<&str>, name: Option<&str>) {
        if self.count == 0 {
            self.first = seq;
        }
        self.last = seq;
        self.count += 1;
        let offset = (seq - self.first) as u16;
        for (column, text) in self.columns.iter_mut().zip([Some(message_id), user, name]) {
            if let Some(text) = text {
                column.push((short_hash(text), offset));
            }
        }
    }

    fn seal(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        let mut statement = conn.prepare_cached("INSERT INTO segments (col, first, last, data) VALUES (?1, ?2, ?3, ?4)")?;
        for (column, entries) in Column::ALL.into_iter().zip(&mut self.columns) {
            entries.sort_unstable();
            statement.execute(params![column as i64, self.first, self.last, block(entries)])?;
            entries.clear();
        }
        self.count = 0;
        Ok(())
    }
}

/// Takes events out of the blocks that hold them.
pub(super) fn erase(conn: &Connection, seqs: &BTreeSet<i64>) -> rusqlite::Result<()> {
    let mut next = seqs.first().copied();
    while let Some(seq) = next {
        let blocks: Vec<(i64, i64, i64, Vec<u8>)> = conn
            .prepare_cached("SELECT col, first, last, data FROM segments WHERE first <= ?1 AND last >= ?1")?
            .query_map([seq], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?
            .collect::<rusqlite::Result<_>>()?;
        let last = blocks.iter().map(|(_, _, last, _)| *last).max().unwrap_or(seq);
        for (column, first, _, data) in blocks {
            let left = entries(&data).filter(|(_, offset)| !seqs.contains(&(first + i64::from(*offset))));
            conn.prepare_cached("UPDATE segments SET data = ?3 WHERE col = ?1 AND first = ?2")?.execute(params![
                column,
                first,
                block(&left.collect::<Vec<_>>())
            ])?;
        }
        next = seqs.range((Bound::Excluded(last), Bound::Unbounded)).next().copied();
    }
    Ok(())
}

/// A block's bytes: its hashes, then their offsets.
fn block(entries: &[(u32, u16)]) -> Vec<u8> {
    let hashes = entries.iter().flat_map(|(hash, _)| hash.to_le_bytes());
    hashes.chain(entries.iter().flat_map(|(_, offset)| offset.to_le_bytes())).collect()
}

/// Reads what [`block`] wrote.
fn entries(data: &[u8]) -> impl Iterator<Item = (u32, u16)> {
    let (hashes, offsets) = data.split_at(data.len() / 6 * 4);
    let hashes = hashes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    hashes.zip(offsets.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]])))
}

/// The newest event that a block holds.
fn sealed_to(conn: &Connection) -> rusqlite::Result<i64> {
    let last = conn
        .prepare_cached("SELECT last FROM segments WHERE col = 0 ORDER BY first DESC LIMIT 1")?
        .query_row([], |row| row.get(0))
        .optional()?;
    Ok(last.unwrap_or(0))
}

/// Events that may hold `text` in `column`, newest first, block by block.
#[derive(Debug)]
pub(super) struct Search<'a> {
    conn: &'a Connection,
    column: Column,
    text: &'a str,
    /// Only events before this one.
    before: i64,
    /// Blocks from here on are searched; none: the newest events have not been scanned yet.
    below: Option<i64>,
}

impl<'a> Search<'a> {
    pub(super) const fn new(conn: &'a Connection, column: Column, text: &'a str, before: i64) -> Self {
        Self { conn, column, text, before, below: None }
    }

    /// The next candidates, newest first; `None` at the end. May be empty before that.
    pub(super) fn next(&mut self) -> rusqlite::Result<Option<Vec<i64>>> {
        let Some(below) = self.below else {
            // Blocks written from now on hold only what is scanned here.
            let sealed = sealed_to(self.conn)?;
            self.below = Some(sealed.saturating_add(1));
            return self.scan(sealed).map(Some);
        };
        let block = self
            .conn
            .prepare_cached("SELECT first, data FROM segments WHERE col = ?1 AND first < ?2 ORDER BY first DESC LIMIT 1")?
            .query_row(params![self.column as i64, below.min(self.before)], |row| {
                let first: i64 = row.get(0)?;
                Ok((first, offsets(row.get_ref(1)?.as_blob()?, short_hash(self.text))))
            })
            .optional()?;
        let Some((first, offsets)) = block else { return Ok(None) };
        self.below = Some(first);
        Ok(Some(offsets.into_iter().rev().map(|offset| first + i64::from(offset)).filter(|seq| *seq < self.before).collect()))
    }

    fn scan(&self, after: i64) -> rusqlite::Result<Vec<i64>> {
        let column = self.column.sql();
        self.conn
            .prepare_cached(&format!(
                "SELECT seq FROM events WHERE seq > ?1 AND seq < ?2 AND {column} = ?3
                 UNION ALL SELECT seq FROM unmatched WHERE seq > ?1 AND seq < ?2 AND {column} = ?3 ORDER BY seq DESC"
            ))?
            .query_map(params![after, self.before, self.text], |row| row.get(0))?
            .collect()
    }
}

/// The offsets under a hash, rising.
fn offsets(data: &[u8], hash: u32) -> Vec<u16> {
    let count = data.len() / 6;
    let (hashes, offsets) = data.split_at(count * 4);
    let hash_at = |i: usize| u32::from_le_bytes([hashes[i * 4], hashes[i * 4 + 1], hashes[i * 4 + 2], hashes[i * 4 + 3]]);
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low + (high - low) / 2;
        if hash_at(middle) < hash { low = middle + 1 } else { high = middle }
    }
    (low..count).take_while(|i| hash_at(*i) == hash).map(|i| u16::from_le_bytes([offsets[i * 2], offsets[i * 2 + 1]])).collect()
}
