//! What ingest refused: the newest few, for people to look at.

use rusqlite::{Connection, params};

use super::codes::{from_time, to_time};
use super::counters::{self, Counters};
use super::writer::Keep;
use crate::store::{Rejected, RejectedRow};

pub(super) fn insert(conn: &Connection, counts: &mut Counters, keep: &Keep, rejected: &[Rejected]) -> rusqlite::Result<()> {
    let mut statement = conn
        .prepare_cached("INSERT INTO rejected (at, source, message_id, kind, reason, payload) VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
    for one in rejected {
        statement.execute(params![from_time(one.at), one.source, one.message_id, one.kind, one.reason, one.payload.as_ref()])?;
        counts.rejected += 1;
    }
    let gone = conn
        .prepare_cached("DELETE FROM rejected WHERE id <= (SELECT max(id) FROM rejected) - ?1")?
        .execute([keep.rejected_rows])?;
    counters::take(&mut counts.rejected, gone);
    Ok(())
}

pub(super) fn list(conn: &Connection, limit: i64) -> rusqlite::Result<Vec<RejectedRow>> {
    conn.prepare_cached("SELECT at, source, message_id, kind, reason, payload FROM rejected ORDER BY id DESC LIMIT ?1")?
        .query_map([limit], |row| {
            Ok(RejectedRow {
                at: to_time(row.get(0)?),
                source: row.get(1)?,
                message_id: row.get(2)?,
                kind: row.get(3)?,
                reason: row.get(4)?,
                payload: String::from_utf8_lossy(row.get_ref(5)?.as_blob()?).into_owned(),
            })
        })?
        .collect()
}
