//! Classes of ids that are one user: the rows, and the table in memory that follows them.
//!
//! Invariants: the rows are judged within the transaction, so that aliases that wait together see each other; the table changes after the
//! commit, and not at all after a rollback. Each alias that stands behind a class is noted, so that it can be taken apart as of an event.
//! More ids than the bound are read back all the same: a bound that was lowered joins nothing new.

use std::collections::BTreeSet;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};

use crate::store::aliases::{Alias, Aliases, Change, Class, Joined, NotJoined};

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
            Ok(None) => return note(conn, alias, seq).map(|()| None),
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
        note(conn, alias, seq)?;
        self.ids += added;
        self.changes.push(Change::Class(joined));
        Ok(None)
    }

    /// Takes apart what aliases up to `as_of` have joined these ids with. What is left of their classes is joined anew by the other aliases.
    pub(super) fn erase(&mut self, conn: &Connection, ids: &[String], as_of: i64) -> rusqlite::Result<()> {
        let mut numbers = BTreeSet::new();
        for id in ids {
            conn.prepare_cached("DELETE FROM joined WHERE (user = ?1 OR previous = ?1) AND seq <= ?2")?
                .execute(params![id, as_of])?;
            numbers.extend(number_of(conn, id)?);
        }
        for number in numbers {
            let before = class(conn, number)?;
            conn.prepare_cached("DELETE FROM aliases WHERE class = ?1")?.execute([number])?;
            let left = rejoined(conn, &before)?;
            for (number, class) in &left {
                put(conn, *number, class)?;
            }
            let gone = before.iter().filter(|id| !left.iter().any(|(_, class)| class.contains(id)));
            let gone: Vec<Change> = gone.map(|id| Change::Gone(Arc::clone(id))).collect();
            self.ids -= gone.len();
            self.changes.extend(gone);
            self.changes.extend(left.into_iter().map(|(_, class)| Change::Class(class)));
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

/// The class of an id as the transaction has it.
pub(super) fn class_of(conn: &Connection, id: &str) -> rusqlite::Result<Option<Class>> {
    number_of(conn, id)?.map(|number| class(conn, number)).transpose()
}

/// Notes that an alias stands behind a class, also one that has changed nothing: the older ones may go before it.
fn note(conn: &Connection, alias: &Alias, seq: i64) -> rusqlite::Result<()> {
    if alias.user == alias.previous {
        return Ok(());
    }
    conn.prepare_cached(
        "INSERT INTO joined (user, previous, seq) VALUES (?1, ?2, ?3) ON CONFLICT (user, previous) DO UPDATE SET seq = excluded.seq",
    )?
    .execute(params![alias.user, alias.previous, seq])
    .map(drop)
}

/// The classes that the noted aliases make of what was one class, each with the number of its newest alias.
fn rejoined(conn: &Connection, before: &Class) -> rusqlite::Result<Vec<(i64, Class)>> {
    let mut noted = Vec::new();
    for id in before.iter() {
        let mut statement = conn.prepare_cached("SELECT seq, id, previous FROM joined WHERE user = ?1")?;
        let rows = statement.query_map([&**id], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, Alias { user: id.to_string(), previous: row.get(2)? }))
        })?;
        noted.extend(rows.collect::<rusqlite::Result<Vec<_>>>()?);
    }
    noted.sort_unstable_by_key(|(seq, id, _)| (*seq, *id));
    let nobody = Aliases::default();
    let mut joined = Joined::new(&nobody);
    noted.iter().for_each(|(.., alias)| joined.join(alias));
    // Newest first: whoever comes first in it has the number of its class.
    let mut left: Vec<(i64, Class)> = Vec::new();
    for (seq, _, alias) in noted.iter().rev() {
        let Some(class) = joined.class_of(&alias.user) else { continue };
        if !left.iter().any(|(_, known)| Arc::ptr_eq(known, &class)) {
            left.push((*seq, class));
        }
    }
    Ok(left)
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
