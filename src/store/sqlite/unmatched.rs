//! Lists and counts of what no rule wanted.
//!
//! Invariant: the table is bounded (`keep_unmatched`, `max_unmatched`), so one query reads it; a page is bounded as other lists are.

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use super::codes::{from_seq, from_time, to_count, to_time};
use super::lists::{DEFAULT_LIMIT, MAX_LIMIT, event_row, event_rows};
use super::names;
use crate::store::{EventRow, UnmatchedCount, UnmatchedFilter};

/// Types and names that are counted apart.
const MOST_COUNTS: usize = 100;

/// The filter as a condition on `e` with its values; `None` when it names a type that the file has never seen.
fn condition(conn: &Connection, filter: &UnmatchedFilter) -> rusqlite::Result<Option<(String, Vec<Value>)>> {
    let mut conditions = vec![(" WHERE e.seq > ?", Value::Integer(filter.after.map_or(0, from_seq)))];
    if let Some(kind) = &filter.kind {
        let Some(kind) = names::lookup(conn, kind)? else { return Ok(None) };
        conditions.push((" AND e.kind = ?", Value::Integer(kind)));
    }
    let texts =
        [(" AND e.name = ?", &filter.name), (" AND e.user = ?", &filter.user), (" AND e.message_id = ?", &filter.message_id)];
    conditions.extend(texts.into_iter().filter_map(|(sql, text)| Some((sql, Value::Text(text.clone()?)))));
    conditions.extend(filter.since.map(|since| (" AND e.at >= ?", Value::Integer(from_time(since)))));
    conditions.extend(filter.before.map(|before| (" AND e.seq < ?", Value::Integer(from_seq(before)))));
    let (sql, values): (Vec<&str>, Vec<Value>) = conditions.into_iter().unzip();
    Ok(Some((sql.concat(), values)))
}

/// Newest first; oldest first after a place.
pub(super) fn list(conn: &Connection, filter: &UnmatchedFilter) -> rusqlite::Result<Vec<EventRow>> {
    let Some((condition, mut values)) = condition(conn, filter)? else { return Ok(Vec::new()) };
    let limit = if filter.limit == 0 { DEFAULT_LIMIT } else { filter.limit.min(MAX_LIMIT) };
    values.push(Value::Integer(i64::try_from(limit).unwrap_or(i64::MAX)));
    let order = if filter.after.is_some() { "" } else { " DESC" };
    conn.prepare_cached(&format!("{}{condition} ORDER BY e.seq{order} LIMIT ?", event_rows("unmatched")))?
        .query_map(params_from_iter(values), event_row)?
        .collect()
}

/// The most frequent first.
pub(super) fn counts(conn: &Connection, filter: &UnmatchedFilter) -> rusqlite::Result<Vec<UnmatchedCount>> {
    let Some((condition, values)) = condition(conn, filter)? else { return Ok(Vec::new()) };
    conn.prepare_cached(&format!(
        "SELECT k.name, e.name, count(*), max(e.at) FROM unmatched e JOIN names k ON k.id = e.kind{condition}
         GROUP BY e.kind, e.name ORDER BY count(*) DESC, k.name, e.name LIMIT {MOST_COUNTS}"
    ))?
    .query_map(params_from_iter(values), |row| {
        Ok(UnmatchedCount { kind: row.get(0)?, name: row.get(1)?, events: to_count(row.get(2)?), newest: to_time(row.get(3)?) })
    })?
    .collect()
}
