//! Failed deliveries by what they have in common.
//!
//! Invariant: what was repeated since counts no more: its repetition speaks for it.

use rusqlite::{Connection, OptionalExtension, params};

use super::codes::{stable_hash, to_count, to_seq, to_state, to_time};
use super::names::Labels;
use crate::store::{Cause, CauseCount, DeliveryId};

/// Groups in an answer at most.
const MOST: i64 = 200;

/// The name of a cause: eight hexadecimal digits.
pub(super) fn name(cause: &Cause) -> String {
    format!("{:08x}", stable_hash(&[&cause.class, &cause.what]) >> 32)
}

/// Notes a cause; answers its name.
pub(super) fn note(conn: &Connection, cause: &Cause) -> rusqlite::Result<String> {
    let name = name(cause);
    conn.prepare_cached("INSERT INTO causes (id, class, what) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING")?.execute(params![
        name,
        cause.class,
        cause.what
    ])?;
    Ok(name)
}

/// That a row of this table was not repeated since, by a replay of its rule or by an edit that the rule wants.
pub(super) fn not_repeated(table: &str) -> String {
    format!(
        "NOT EXISTS (SELECT 1 FROM events e WHERE e.replay_seq = {table}.seq AND (e.replay_rule = {table}.rule
           OR e.replay_rule IS NULL AND (EXISTS (SELECT 1 FROM runs x WHERE x.seq = e.seq AND x.rule = {table}.rule)
             OR EXISTS (SELECT 1 FROM pending x WHERE x.seq = e.seq AND x.rule = {table}.rule))))"
    )
}

/// Failures by cause, rule, script set and state, the most frequent first.
pub(super) fn counts(conn: &Connection) -> rusqlite::Result<Vec<CauseCount>> {
    let labels = Labels::load(conn)?;
    let sql = format!(
        "SELECT cause, rule, version, state, count(*), min(seq), max(seq) FROM runs INDEXED BY runs_failed
         WHERE state IN (3, 4, 5) AND {} GROUP BY cause, rule, version, state ORDER BY 5 DESC, 7 DESC LIMIT ?1",
        not_repeated("runs")
    );
    let mut statement = conn.prepare_cached(&sql)?;
    let mut rows = statement.query([MOST])?;
    let mut counts = Vec::new();
    while let Some(row) = rows.next()? {
        let (id, rule, version): (Option<String>, i64, Option<i64>) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let (oldest, newest): (i64, i64) = (row.get(5)?, row.get(6)?);
        let ran = |seq: i64| {
            conn.prepare_cached("SELECT at, reason FROM runs WHERE seq = ?1 AND rule = ?2")?
                .query_row([seq, rule], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Option<String>>(1)?)))
        };
        let cause = match &id {
            None => None,
            Some(id) => conn
                .prepare_cached("SELECT class, what FROM causes WHERE id = ?1")?
                .query_row([id], |row| Ok(Cause { class: row.get(0)?, what: row.get(1)? }))
                .optional()?,
        };
        let (newest_at, reason) = ran(newest)?;
        let rule_name = labels.get(rule)?;
        let delivery = |seq: i64| DeliveryId { seq: to_seq(seq), rule: rule_name.clone() };
        counts.push(CauseCount {
            id,
            cause,
            version: version.map(|v| labels.get(v)).transpose()?.map(|v| v.as_ref().to_owned()),
            state: to_state(row.get(3)?)?,
            deliveries: to_count(row.get(4)?),
            oldest: delivery(oldest),
            oldest_at: to_time(ran(oldest)?.0),
            newest: delivery(newest),
            newest_at: to_time(newest_at),
            reason,
            rule: rule_name.clone(),
        });
    }
    Ok(counts)
}
