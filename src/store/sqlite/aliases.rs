//! Classes of ids that are one user: the rows, and the table in memory that follows them.
//!
//! Invariants: the rows are judged within the transaction, so that aliases that wait together see each other; the table changes after the
//! commit, and not at all after a rollback. More ids than the bound are read back all the same: a bound that was lowered joins nothing new.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};

use crate::store::aliases::{Alias, Aliases, Change, Class, NotJoined};

/// The table, and what the transaction under way does to it.
#[derive(Debug)]
pub(super) struct Joins {
    shared: Arc<Aliases>,
    changes: Vec<Change>,
    /// Ids after the transaction.
    ids: usize,
    most: usize,
}

impl Joins {
    pub(super) fn load(conn: &Connection, most: usize) -> rusqlite::Result<Self> {
        let mut statement = conn.prepare("SELECT class, id FROM aliases ORDER BY class, place")?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, Arc::from(row.get_ref(1)?.as_str()?))))?;
        let rows = rows.collect::<rusqlite::Result<Vec<(i64, Arc<str>)>>>()?;
        let shared = Aliases::default();
        let classes = rows.chunk_by(|a, b| a.0 == b.0);
        shared.change(classes.map(|class| Change::Class(class.iter().map(|(_, id)| Arc::clone(id)).collect())));
        Ok(Self { ids: shared.len(), shared: Arc::new(shared), changes: Vec::new(), most })
    }

    pub(super) fn shared(&self) -> Arc<Aliases> {
        Arc::clone(&self.shared)
    }

    /// Makes the two ids of an alias one user; `seq` is its event's. What is told back is why it does not.
    pub(super) fn join(&mut self, conn: &Connection, alias: &Alias, seq: i64) -> rusqlite::Result<Option<NotJoined>> {
        let classes = [number_of(conn, &alias.user)?, number_of(conn, &alias.previous)?];
        let of = |number: Option<i64>| number.map(|number| class(conn, number)).transpose();
        let before = [of(classes[0])?, of(classes[1])?];
        let joined = match alias.joins(before[0].as_ref(), before[1].as_ref()) {
            Err(why) => return Ok(Some(why)),
            Ok(None) => return Ok(None),
            Ok(Some(joined)) => joined,
        };
        let held = if classes[0] == classes[1] { &before[..1] } else { &before[..] };
        let added = joined.len() - held.iter().flatten().map(|class| class.len()).sum::<usize>();
        if added > 0 && self.ids + added > self.most {
            return Ok(Some(NotJoined::Table(self.most)));
        }
        for number in classes.into_iter().flatten() {
            conn.prepare_cached("DELETE FROM aliases WHERE class = ?1")?.execute([number])?;
        }
        put(conn, seq, &joined)?;
        self.ids += added;
        self.changes.push(Change::Class(joined));
        Ok(None)
    }

    /// Takes ids out of their classes; a class of one is none.
    pub(super) fn erase(&mut self, conn: &Connection, ids: &[String]) -> rusqlite::Result<()> {
        for id in ids {
            let Some(number) = number_of(conn, id)? else { continue };
            let (gone, left): (Vec<_>, Vec<_>) = class(conn, number)?.iter().cloned().partition(|held| **held == **id);
            conn.prepare_cached("DELETE FROM aliases WHERE class = ?1")?.execute([number])?;
            let (gone, left) = if left.len() < 2 { ([gone, left].concat(), Vec::new()) } else { (gone, left) };
            self.ids -= gone.len();
            self.changes.extend(gone.into_iter().map(Change::Gone));
            if !left.is_empty() {
                let left: Class = left.into();
                put(conn, number, &left)?;
                self.changes.push(Change::Class(left));
            }
        }
        Ok(())
    }

    /// The transaction is durable: the table follows.
    pub(super) fn keep(&mut self) {
        if !self.changes.is_empty() {
            self.shared.change(self.changes.drain(..));
        }
    }

    /// The transaction was rolled back.
    pub(super) fn undo(&mut self) {
        self.changes.clear();
        self.ids = self.shared.len();
    }
}

fn number_of(conn: &Connection, id: &str) -> rusqlite::Result<Option<i64>> {
    conn.prepare_cached("SELECT class FROM aliases WHERE id = ?1")?.query_row([id], |row| row.get(0)).optional()
}

fn class(conn: &Connection, number: i64) -> rusqlite::Result<Class> {
    conn.prepare_cached("SELECT id FROM aliases WHERE class = ?1 ORDER BY place")?
        .query_map([number], |row| Ok(Arc::from(row.get_ref(0)?.as_str()?)))?
        .collect()
}

fn put(conn: &Connection, number: i64, class: &Class) -> rusqlite::Result<()> {
    for (place, id) in (0i64..).zip(class.iter()) {
        conn.prepare_cached("INSERT INTO aliases (id, class, place) VALUES (?1, ?2, ?3)")?
            .execute(params![&**id, number, place])?;
    }
    Ok(())
}
