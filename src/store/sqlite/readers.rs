//! Connections that only read, and the point queries of the delivery path.
//!
//! Invariants: a query runs on a blocking thread, on one of a few connections, and sees everything committed before it
//! began; none keeps a read transaction open for long, for that would keep the WAL from starting over.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension, Row, params};
use tokio::sync::Semaphore;

use super::codes::{Trouble, from_seq, to_count, to_keys, to_repeats, to_seq, to_state, to_time};
use super::names::{self, Labels};
use super::open::Paths;
use crate::store::{DeliveryId, KnownRow, OutcomeCount, Pending, Seq, StoreError, StoredEvent};

#[derive(Debug)]
pub(super) struct Readers {
    paths: Paths,
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
}

impl Readers {
    pub(super) fn new(paths: Paths, count: usize) -> Arc<Self> {
        Arc::new(Self { paths, idle: Mutex::default(), permits: Arc::new(Semaphore::new(count.max(1))) })
    }

    /// Runs a query.
    pub(super) async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| StoreError::Closed)?;
        let this = Arc::clone(self);
        let task = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            // Taken out in a statement of its own, so that the list is not locked while a connection is opened.
            let idle = this.idle.lock().pop();
            let conn = match idle {
                Some(conn) => conn,
                None => this.paths.open_reader()?,
            };
            let answer = query(&conn)?;
            if !this.permits.is_closed() {
                this.idle.lock().push(conn);
            }
            Ok(answer)
        });
        match task.await {
            Ok(answer) => answer.map_err(|e: rusqlite::Error| Trouble::from(e).into()),
            Err(error) => Err(StoreError::Failed(format!("a query stopped unexpectedly: {error}"))),
        }
    }

    /// Lets go of the file; later queries are refused.
    pub(super) fn close(&self) {
        self.permits.close();
        self.idle.lock().clear();
    }
}

/// Unfinished deliveries after `after`, ordered by event and position.
pub(super) fn pending(conn: &Connection, after: Option<&DeliveryId>, limit: i64) -> rusqlite::Result<Vec<Pending>> {
    let labels = Labels::load(conn)?;
    let (seq, position) = match after {
        Some(id) => (from_seq(id.seq), position(conn, id)?),
        None => (0, i64::MAX),
    };
    conn.prepare_cached(
        "SELECT p.seq, p.rule, p.position, p.account, p.key, p.attempts, p.run_at, p.first_failed_at,
           EXISTS (SELECT 1 FROM plans WHERE plans.seq = p.seq AND plans.rule = p.rule), p.after, p.released_at, p.behind,
           p.reason IS NOT NULL
         FROM pending p WHERE p.seq >= ?1 AND (p.seq > ?1 OR p.position > ?2) ORDER BY p.seq, p.position LIMIT ?3",
    )?
    .query_map(params![seq, position, limit], |row| {
        Ok(Pending {
            id: DeliveryId { seq: to_seq(row.get(0)?), rule: labels.get(row.get(1)?)? },
            position: row.get(2)?,
            account: labels.get(row.get(3)?)?,
            key: row.get(4)?,
            attempts: row.get(5)?,
            run_at: row.get::<_, Option<i64>>(6)?.map(to_time),
            first_failed_at: row.get::<_, Option<i64>>(7)?.map(to_time),
            pinned: row.get(8)?,
            tried: row.get(12)?,
            after: to_keys(row.get(9)?),
            behind: to_keys(row.get(11)?),
            released_at: row.get::<_, Option<i64>>(10)?.map(to_time),
        })
    })?
    .collect()
}

/// Where a delivery stands within its event, finished or not; behind all others when it is gone.
fn position(conn: &Connection, id: &DeliveryId) -> rusqlite::Result<i64> {
    let Some(rule) = names::lookup(conn, &id.rule)? else { return Ok(i64::MAX) };
    let found = conn
        .prepare_cached(
            "SELECT position FROM pending WHERE seq = ?1 AND rule = ?2 UNION ALL SELECT position FROM runs WHERE seq = ?1 AND rule = ?2",
        )?
        .query_row(params![from_seq(id.seq), rule], |row| row.get(0))
        .optional()?;
    Ok(found.unwrap_or(i64::MAX))
}

const EVENT_ROWS: &str = "SELECT e.seq, s.name, e.message_id, e.at, e.payload, e.replay_seq, r.name, e.note, e.replay_options";
const NAMED: &str = "JOIN names s ON s.id = e.source LEFT JOIN names r ON r.id = e.replay_rule";

pub(super) fn event(conn: &Connection, seq: Seq) -> rusqlite::Result<Option<StoredEvent>> {
    for table in ["events", "unmatched"] {
        let found = conn
            .prepare_cached(&format!("{EVENT_ROWS} FROM {table} e {NAMED} WHERE e.seq = ?1"))?
            .query_row([from_seq(seq)], stored)
            .optional()?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// Events with `from <= seq < to`, matched or not, in order.
pub(super) fn events(conn: &Connection, from: Seq, to: Seq) -> rusqlite::Result<Vec<StoredEvent>> {
    let of = |table: &str| format!("{EVENT_ROWS} FROM {table} e {NAMED} WHERE e.seq >= ?1 AND e.seq < ?2");
    conn.prepare_cached(&format!("{} UNION ALL {} ORDER BY 1", of("events"), of("unmatched")))?
        .query_map(params![from_seq(from), from_seq(to)], stored)?
        .collect()
}

fn stored(row: &Row<'_>) -> rusqlite::Result<StoredEvent> {
    Ok(StoredEvent {
        seq: to_seq(row.get(0)?),
        source: row.get(1)?,
        message_id: row.get(2)?,
        received_at: to_time(row.get(3)?),
        payload: Bytes::from(row.get::<_, Vec<u8>>(4)?),
        repeats: to_repeats(row.get(5)?, row.get::<_, Option<String>>(6)?.as_deref(), row.get(8)?),
        note: row.get(7)?,
    })
}

/// The events that repeat one another, in order: up to the first of them, and from there to all that came of it.
pub(super) fn relatives(conn: &Connection, seq: Seq) -> rusqlite::Result<Vec<Seq>> {
    conn.prepare_cached(
        "WITH RECURSIVE
           up (seq) AS (SELECT ?1 UNION SELECT e.replay_seq FROM events e JOIN up ON e.seq = up.seq WHERE e.replay_seq IS NOT NULL),
           family (seq) AS (
             SELECT seq FROM up
             UNION SELECT e.seq FROM family f JOIN events e ON e.replay_seq = f.seq WHERE e.replay_seq IS NOT NULL)
         SELECT seq FROM family ORDER BY seq",
    )?
    .query_map([from_seq(seq)], |row| row.get(0).map(to_seq))?
    .collect()
}

pub(super) fn plan(conn: &Connection, id: &DeliveryId) -> rusqlite::Result<Option<Vec<u8>>> {
    conn.prepare_cached("SELECT plan FROM plans WHERE seq = ?1 AND rule = (SELECT id FROM names WHERE name = ?2)")?
        .query_row(params![from_seq(id.seq), &*id.rule], |row| row.get(0))
        .optional()
}

pub(super) fn records(conn: &Connection, id: &DeliveryId) -> rusqlite::Result<Vec<Vec<u8>>> {
    conn.prepare_cached(
        "SELECT record FROM records WHERE seq = ?1 AND rule = (SELECT id FROM names WHERE name = ?2) ORDER BY attempt",
    )?
    .query_map(params![from_seq(id.seq), &*id.rule], |row| row.get(0))?
    .collect()
}

pub(super) fn index(conn: &Connection, account: &str, kind: &str, field: &str, value: &str) -> rusqlite::Result<Vec<String>> {
    conn.prepare_cached(
        "SELECT id FROM match_index WHERE account = (SELECT id FROM names WHERE name = ?1)
           AND kind = (SELECT id FROM names WHERE name = ?2) AND field = (SELECT id FROM names WHERE name = ?3) AND value = ?4
         ORDER BY id",
    )?
    .query_map([account, kind, field, value], |row| row.get(0))?
    .collect()
}

pub(super) fn known(conn: &Connection, account: &str, kind: &str, id: &str) -> rusqlite::Result<Option<KnownRow>> {
    conn.prepare_cached(
        "SELECT known, seen FROM known WHERE account = (SELECT id FROM names WHERE name = ?1)
           AND kind = (SELECT id FROM names WHERE name = ?2) AND id = ?3",
    )?
    .query_row([account, kind, id], |row| Ok(KnownRow { values: row.get(0)?, seen: row.get(1)? }))
    .optional()
}

pub(super) fn kv(conn: &Connection, space: &str, key: &str) -> rusqlite::Result<Option<Vec<u8>>> {
    conn.prepare_cached("SELECT value FROM kv WHERE space = ?1 AND key = ?2")?
        .query_row([space, key], |row| row.get(0))
        .optional()
}

pub(super) fn kv_list(conn: &Connection, space: &str) -> rusqlite::Result<Vec<(String, Vec<u8>)>> {
    conn.prepare_cached("SELECT key, value FROM kv WHERE space = ?1 ORDER BY key")?
        .query_map([space], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

/// When the oldest unfinished delivery's event was received.
pub(super) fn oldest_pending(conn: &Connection) -> rusqlite::Result<Option<i64>> {
    conn.prepare_cached("SELECT at FROM pending ORDER BY seq LIMIT 1")?.query_row([], |row| row.get(0)).optional()
}

/// How deliveries ended, by script set, rule and state.
pub(super) fn outcomes(conn: &Connection) -> rusqlite::Result<Vec<OutcomeCount>> {
    let labels = Labels::load(conn)?;
    conn.prepare_cached("SELECT version, rule, state, deliveries FROM outcomes WHERE deliveries > 0")?
        .query_map([], |row| {
            Ok(OutcomeCount {
                version: labels.get(row.get(0)?)?.to_string(),
                rule: labels.get(row.get(1)?)?,
                state: to_state(row.get(2)?)?,
                deliveries: to_count(row.get(3)?),
            })
        })?
        .collect()
}

/// The script sets that made the plans which are pinned, of pending and of half-done deliveries.
pub(super) fn planned_by(conn: &Connection) -> rusqlite::Result<Vec<String>> {
    conn.prepare_cached(
        "SELECT DISTINCT json_extract(CAST(plan AS TEXT), '$.version') AS version FROM plans
         WHERE json_valid(CAST(plan AS TEXT)) AND version IS NOT NULL",
    )?
    .query_map([], |row| row.get(0))?
    .collect()
}
