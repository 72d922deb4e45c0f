//! The dedupe window: which (source, messageId) were stored lately, and as what.
//!
//! Invariants: an entry is a hash in memory and a row in `seen`; a hit counts only when the row confirms it, so that two ids
//! with one hash are two events. Entries of a transaction that fails are taken back. The hash is seeded per process: it is
//! never stored, and nobody outside can aim at it. The time of the row, not of a sweep, says whether an entry still counts. Times are of the
//! window's own clock ([`SteadyClock`]), so that a jump of the wall clock neither empties nor freezes the window.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use rusqlite::{Connection, OptionalExtension, Statement, params};

use super::steady::SteadyClock;

/// Stores an entry.
pub(super) const ENTER: &str = "INSERT INTO seen (seq, at, source, message_id) VALUES (?1, ?2, ?3, ?4)";

/// How many rows one sweep takes.
const SWEEP: i64 = 4_000;

#[derive(Debug)]
pub(super) struct Window {
    span: i64,
    clock: SteadyClock,
    hasher: RandomState,
    entries: HashMap<u64, i64>,
    /// Further entries under a hash that is taken: expired ones not yet swept, and true collisions.
    more: HashMap<u64, Vec<i64>>,
    /// Entries of the transaction under way.
    fresh: Vec<(u64, i64)>,
}

impl Window {
    pub(super) fn load(conn: &Connection, span: i64, clock: SteadyClock, now: i64) -> rusqlite::Result<Self> {
        let (entries, more, fresh) = (HashMap::new(), HashMap::new(), Vec::new());
        let mut window = Self { span, clock, hasher: RandomState::new(), entries, more, fresh };
        let mut statement = conn.prepare("SELECT seq, source, message_id FROM seen WHERE at > ?1 ORDER BY seq")?;
        let mut rows = statement.query([now.saturating_sub(span)])?;
        while let Some(row) = rows.next()? {
            let hash = window.hash(row.get(1)?, row.get_ref(2)?.as_str()?);
            window.insert(hash, row.get(0)?);
        }
        window.keep();
        Ok(window)
    }

    pub(super) fn hash(&self, source: i64, message_id: &str) -> u64 {
        self.hasher.hash_one((source, message_id))
    }

    /// The time at which something is looked for or entered, given what the wall clock says.
    pub(super) fn time(&mut self, wall: i64) -> i64 {
        self.clock.time(wall)
    }

    /// The event that this one repeats; `at` is of [`Self::time`].
    pub(super) fn find(
        &self,
        conn: &Connection,
        hash: u64,
        source: i64,
        message_id: &str,
        at: i64,
    ) -> rusqlite::Result<Option<i64>> {
        let Some(first) = self.entries.get(&hash) else { return Ok(None) };
        let more = self.more.get(&hash).into_iter().flatten();
        for seq in more.rev().chain(std::iter::once(first)) {
            let stored = conn
                .prepare_cached("SELECT at FROM seen WHERE seq = ?1 AND source = ?2 AND message_id = ?3")?
                .query_row(params![seq, source, message_id], |row| row.get::<_, i64>(0))
                .optional()?;
            if stored.is_some_and(|stored| at.saturating_sub(stored) < self.span) {
                return Ok(Some(*seq));
            }
        }
        Ok(None)
    }

    /// Enters an event, in memory and in the file; `insert` is [`ENTER`], `at` is of [`Self::time`].
    pub(super) fn enter(
        &mut self,
        insert: &mut Statement<'_>,
        hash: u64,
        seq: i64,
        source: i64,
        message_id: &str,
        at: i64,
    ) -> rusqlite::Result<()> {
        insert.execute(params![seq, at, source, message_id])?;
        self.insert(hash, seq);
        Ok(())
    }

    fn insert(&mut self, hash: u64, seq: i64) {
        match self.entries.entry(hash) {
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(seq);
            }
            std::collections::hash_map::Entry::Occupied(_) => self.more.entry(hash).or_default().push(seq),
        }
        self.fresh.push((hash, seq));
    }

    fn remove(&mut self, hash: u64, seq: i64) {
        if let Some(list) = self.more.get_mut(&hash) {
            if let Some(place) = list.iter().position(|s| *s == seq) {
                list.remove(place);
            } else if self.entries.get(&hash) == Some(&seq) {
                self.entries.insert(hash, list.remove(0));
            }
            if list.is_empty() {
                self.more.remove(&hash);
            }
        } else if self.entries.get(&hash) == Some(&seq) {
            self.entries.remove(&hash);
        }
    }

    /// The transaction is durable.
    pub(super) fn keep(&mut self) {
        self.fresh.clear();
    }

    /// The transaction failed.
    pub(super) fn undo(&mut self) {
        for (hash, seq) in std::mem::take(&mut self.fresh) {
            self.remove(hash, seq);
        }
    }

    /// Takes out some of what is too old to count; answers whether there may be more. An entry leaves memory before its row's
    /// deletion is durable, which is harmless: it did not count any more.
    pub(super) fn sweep(&mut self, conn: &Connection, wall: i64) -> rusqlite::Result<bool> {
        let cutoff = self.time(wall).saturating_sub(self.span);
        let mut statement = conn.prepare_cached("SELECT seq, at, source, message_id FROM seen ORDER BY seq LIMIT ?1")?;
        let mut rows = statement.query([SWEEP])?;
        let mut old = Vec::new();
        let mut all_old = true;
        while let Some(row) = rows.next()? {
            if row.get::<_, i64>(1)? > cutoff {
                // Times rise with the order of arrival, near enough: the rest waits for this one.
                all_old = false;
                break;
            }
            old.push((row.get::<_, i64>(0)?, self.hash(row.get(2)?, row.get_ref(3)?.as_str()?)));
        }
        drop(rows);
        let Some((last, _)) = old.last() else { return Ok(false) };
        conn.prepare_cached("DELETE FROM seen WHERE seq <= ?1")?.execute([last])?;
        let full = old.len() == usize::try_from(SWEEP).unwrap_or(usize::MAX);
        for (seq, hash) in old {
            self.remove(hash, seq);
        }
        Ok(all_old && full)
    }
}

#[cfg(test)]
mod tests {
    use super::super::steady::tests::moved;
    use super::*;

    /// A window of 100 ns, and what lets time pass.
    fn window() -> (Connection, Window, impl Fn(u64)) {
        let conn = Connection::open_in_memory().expect("opens");
        for migration in super::super::schema::MIGRATIONS {
            conn.execute_batch(migration).expect("migrates");
        }
        let (clock, pass) = moved();
        let window = Window::load(&conn, 100, clock, 0).expect("loads");
        (conn, window, pass)
    }

    fn enter(conn: &Connection, window: &mut Window, hash: u64, seq: i64, source: i64, id: &str, at: i64) {
        let mut insert = conn.prepare(ENTER).expect("prepares");
        window.enter(&mut insert, hash, seq, source, id, at).expect("enters");
    }

    #[test]
    fn two_ids_with_one_hash_are_two_events() {
        let (conn, mut window, _) = window();
        enter(&conn, &mut window, 7, 1, 1, "a", 0);
        assert_eq!(window.find(&conn, 7, 1, "b", 1).expect("finds"), None, "the stored id decides, not the hash");
        enter(&conn, &mut window, 7, 2, 1, "b", 1);
        assert_eq!(window.find(&conn, 7, 1, "a", 2).expect("finds"), Some(1));
        assert_eq!(window.find(&conn, 7, 1, "b", 2).expect("finds"), Some(2));
        assert_eq!(window.find(&conn, 7, 2, "a", 2).expect("finds"), None, "another source");
    }

    #[test]
    fn what_a_failed_transaction_entered_is_taken_back() {
        let (conn, mut window, _) = window();
        enter(&conn, &mut window, 7, 1, 1, "a", 0);
        window.keep();
        enter(&conn, &mut window, 7, 2, 1, "b", 0);
        enter(&conn, &mut window, 8, 3, 1, "c", 0);
        window.undo();
        assert_eq!((window.entries.len(), window.more.len()), (1, 0));
        assert_eq!(window.entries.get(&7), Some(&1));
    }

    #[test]
    fn a_sweep_takes_the_old_and_leaves_the_rest_whatever_the_wall_clock_says() {
        let (conn, mut window, pass) = window();
        for (seq, id, at) in [(1, "a", 0), (2, "b", 10), (3, "c", 50)] {
            let hash = window.hash(1, id);
            enter(&conn, &mut window, hash, seq, 1, id, at);
        }
        pass(50);
        assert!(!window.sweep(&conn, 1_000_000).expect("sweeps"));
        assert_eq!(window.entries.len(), 3, "a jump makes nothing old");
        pass(60);
        assert!(!window.sweep(&conn, 110).expect("sweeps"));
        assert_eq!(window.entries.len(), 1);
        let left: i64 = conn.query_row("SELECT min(seq) FROM seen", [], |row| row.get(0)).expect("counts");
        assert_eq!(left, 3);
    }

    #[test]
    fn an_entry_too_old_does_not_count_before_it_is_swept() {
        let (conn, mut window, _) = window();
        enter(&conn, &mut window, 7, 1, 1, "a", 0);
        assert_eq!(window.find(&conn, 7, 1, "a", 99).expect("finds"), Some(1));
        assert_eq!(window.find(&conn, 7, 1, "a", 100).expect("finds"), None);
    }
}
