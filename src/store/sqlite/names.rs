//! Names as integers.
//!
//! Invariant: what is in the cache is in the transaction under way or before it; after a rollback it is read anew.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::Connection;

/// The writer's cache of the `names` table.
#[derive(Debug, Default)]
pub(super) struct Names(HashMap<Box<str>, i64>);

impl Names {
    pub(super) fn load(conn: &Connection) -> rusqlite::Result<Self> {
        let mut statement = conn.prepare("SELECT name, id FROM names")?;
        let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?.into_boxed_str(), row.get(1)?)))?;
        Ok(Self(rows.collect::<rusqlite::Result<_>>()?))
    }

    /// The number of a name, given it now if it is new.
    pub(super) fn id(&mut self, conn: &Connection, name: &str) -> rusqlite::Result<i64> {
        if let Some(id) = self.0.get(name) {
            return Ok(*id);
        }
        let id = conn.prepare_cached("INSERT INTO names (name) VALUES (?1) RETURNING id")?.query_row([name], |row| row.get(0))?;
        self.0.insert(name.into(), id);
        Ok(id)
    }

    /// The number of a name, when it has one.
    pub(super) fn known(&self, name: &str) -> Option<i64> {
        self.0.get(name).copied()
    }
}

/// Names by number, for one query: equal names share one allocation.
#[derive(Debug)]
pub(super) struct Labels(HashMap<i64, Arc<str>>);

impl Labels {
    pub(super) fn load(conn: &Connection) -> rusqlite::Result<Self> {
        let mut statement = conn.prepare_cached("SELECT id, name FROM names")?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, Arc::from(row.get_ref(1)?.as_str()?))))?;
        Ok(Self(rows.collect::<rusqlite::Result<_>>()?))
    }

    /// A name that a row refers to. A row without its name is a damaged file.
    pub(super) fn get(&self, id: i64) -> rusqlite::Result<Arc<str>> {
        self.0.get(&id).cloned().ok_or(rusqlite::Error::QueryReturnedNoRows)
    }
}

/// The number of a name, for a reader.
pub(super) fn lookup(conn: &Connection, name: &str) -> rusqlite::Result<Option<i64>> {
    use rusqlite::OptionalExtension;
    conn.prepare_cached("SELECT id FROM names WHERE name = ?1")?.query_row([name], |row| row.get(0)).optional()
}
