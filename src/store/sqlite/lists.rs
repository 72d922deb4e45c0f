//! Lists and searches for people: newest first, a page at a time.
//!
//! Invariants: an answer is exact, whether or not its events are in a search block yet; a long search is many short
//! queries; the deliveries of one event are on one page.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params_from_iter};

use super::causes::not_repeated;
use super::codes::{from_seq, from_state, from_time, to_repeats, to_seq, to_state, to_time};
use super::names::{self, Labels};
use super::segments::{Column, Search};
use crate::store::{DeliveryFilter, DeliveryId, DeliveryRow, DeliveryState, EventRow};

/// Rows of a list when none were asked for.
pub(super) const DEFAULT_LIMIT: usize = 50;
/// Rows of a list at most.
pub(super) const MAX_LIMIT: usize = 1_000;
/// Events that one query of a scan looks at.
const STRIDE: i64 = 20_000;

/// A filter in terms of the file.
struct Wanted<'a> {
    filter: &'a DeliveryFilter,
    limit: usize,
    pending: bool,
    /// Finished states, as numbers; none: all.
    finished: Option<Vec<i64>>,
    /// Conditions that both tables share, with their parameters.
    condition: String,
    /// Conditions that only finished ones can meet; their parameters are among the values.
    of_finished: String,
    values: Vec<Value>,
}

impl<'a> Wanted<'a> {
    /// `None` when a name in the filter is one that the file has never seen.
    fn new(conn: &Connection, filter: &'a DeliveryFilter) -> rusqlite::Result<Option<Self>> {
        let mut condition = String::new();
        let mut values = Vec::new();
        for (column, name) in [("rule", &filter.rule), ("kind", &filter.kind)] {
            let Some(name) = name else { continue };
            let Some(id) = names::lookup(conn, name)? else { return Ok(None) };
            values.push(Value::Integer(id));
            condition.push_str(&format!(" AND {column} = ?{}", values.len()));
        }
        if let Some(since) = filter.since {
            values.push(Value::Integer(from_time(since)));
            condition.push_str(&format!(" AND at >= ?{}", values.len()));
        }
        let mut of_finished = String::new();
        for (sql, beginning) in [
            ("substr(cause, 1, length(?)) = ?", &filter.cause),
            ("version IN (SELECT id FROM names WHERE substr(name, 1, length(?)) = ?)", &filter.version),
        ] {
            let Some(beginning) = beginning else { continue };
            values.push(Value::Text(beginning.clone()));
            of_finished.push_str(&format!(" AND {}", sql.replace('?', &format!("?{}", values.len()))));
        }
        let states = &filter.states;
        if !of_finished.is_empty() && !states.is_empty() && states.iter().all(|state| *state == DeliveryState::Pending) {
            return Ok(None);
        }
        let finished = states.iter().filter(|s| **s != DeliveryState::Pending).map(|s| from_state(*s)).collect();
        Ok(Some(Self {
            filter,
            limit: match filter.limit {
                0 => DEFAULT_LIMIT,
                limit => limit.min(MAX_LIMIT),
            },
            pending: of_finished.is_empty() && (states.is_empty() || states.contains(&DeliveryState::Pending)),
            finished: (!states.is_empty()).then_some(finished),
            condition,
            of_finished,
            values,
        }))
    }

    /// Only failures are wanted, for which there is an index.
    fn only_failures(&self) -> bool {
        !self.filter.states.is_empty() && self.filter.states.iter().all(|s| s.is_failure())
    }

    /// Only unfinished ones are wanted; they are few.
    fn only_pending(&self) -> bool {
        self.finished.as_ref().is_some_and(Vec::is_empty)
    }

    /// Rows with `from <= seq < to`, newest first, at most `limit`.
    fn range(&self, conn: &Connection, from: i64, to: i64, limit: usize) -> rusqlite::Result<Vec<Found>> {
        let condition = &self.condition;
        let open = |table: &str| if self.filter.open { format!(" AND {}", not_repeated(table)) } else { String::new() };
        let (low, high, most) = (self.values.len() + 1, self.values.len() + 2, self.values.len() + 3);
        let mut arms = Vec::new();
        if self.pending {
            arms.push(format!(
                "SELECT seq, rule, position, account, at, kind, attempts, 0 AS state, run_at, NULL AS finished_at,
                   NULL AS version, reason FROM pending WHERE seq >= ?{low} AND seq < ?{high}{condition}{}",
                open("pending")
            ));
        }
        if !self.only_pending() {
            let states = match &self.finished {
                Some(states) => format!(" AND state IN ({})", states.iter().map(i64::to_string).collect::<Vec<_>>().join(", ")),
                None => String::new(),
            };
            // The index holds failures only; the planner takes it when told that nothing else is wanted.
            let index = if self.only_failures() { " INDEXED BY runs_failed" } else { "" };
            let failures = if self.only_failures() { " AND state IN (3, 4, 5)" } else { "" };
            arms.push(format!(
                "SELECT seq, rule, position, account, at, kind, attempts, state, NULL AS run_at, finished_at, version, reason
                 FROM runs{index} WHERE seq >= ?{low} AND seq < ?{high}{condition}{}{states}{failures}{}",
                self.of_finished,
                open("runs")
            ));
        }
        let sql = format!("{} ORDER BY seq DESC, position LIMIT ?{most}", arms.join(" UNION ALL "));
        let bounds = [from, to, i64::try_from(limit).unwrap_or(i64::MAX)];
        let values = self.values.iter().cloned().chain(bounds.map(Value::Integer));
        conn.prepare_cached(&sql)?.query_map(params_from_iter(values), Found::read)?.collect()
    }
}

/// A row of `pending` or `runs`.
struct Found {
    seq: i64,
    rule: i64,
    account: i64,
    kind: i64,
    at: i64,
    attempts: u32,
    state: DeliveryState,
    run_at: Option<i64>,
    finished_at: Option<i64>,
    version: Option<i64>,
    reason: Option<String>,
}

impl Found {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            seq: row.get(0)?,
            rule: row.get(1)?,
            account: row.get(3)?,
            at: row.get(4)?,
            kind: row.get(5)?,
            attempts: row.get(6)?,
            state: to_state(row.get(7)?)?,
            run_at: row.get(8)?,
            finished_at: row.get(9)?,
            version: row.get(10)?,
            reason: row.get(11)?,
        })
    }
}

/// What a delivery's event adds to its row.
struct Event {
    message_id: String,
    user: Option<String>,
    name: Option<String>,
    source: i64,
    replay: (Option<i64>, Option<i64>, Option<i64>),
}

impl Event {
    fn get(conn: &Connection, seq: i64) -> rusqlite::Result<Option<Self>> {
        conn.prepare_cached(
            "SELECT message_id, user, name, source, replay_seq, replay_rule, replay_options FROM events WHERE seq = ?1",
        )?
        .query_row([seq], |row| {
            Ok(Self {
                message_id: row.get(0)?,
                user: row.get(1)?,
                name: row.get(2)?,
                source: row.get(3)?,
                replay: (row.get(4)?, row.get(5)?, row.get(6)?),
            })
        })
        .optional()
    }

    fn fits(&self, filter: &DeliveryFilter) -> bool {
        filter.message_id.as_ref().is_none_or(|id| *id == self.message_id)
            && (filter.user.is_none() || filter.user == self.user)
            && (filter.name.is_none() || filter.name == self.name)
    }
}

/// Deliveries that fit, newest first.
pub(super) fn deliveries(conn: &Connection, filter: &DeliveryFilter) -> rusqlite::Result<Vec<DeliveryRow>> {
    let Some(wanted) = Wanted::new(conn, filter)? else { return Ok(Vec::new()) };
    let before = filter.before.map_or(i64::MAX, from_seq);
    let found = match (filter.seq, search_column(filter)) {
        (Some(seq), _) if from_seq(seq) >= before => Vec::new(),
        (Some(seq), _) => of_events(conn, &wanted, &[from_seq(seq)], Vec::new())?,
        (None, Some((column, text))) => {
            let mut search = Search::new(conn, column, text, before);
            let mut found = Vec::new();
            while found.len() < wanted.limit {
                let Some(seqs) = search.next()? else { break };
                found = of_events(conn, &wanted, &seqs, found)?;
            }
            found
        }
        (None, None) => scan(conn, &wanted, before)?,
    };
    let labels = Labels::load(conn)?;
    found.into_iter().filter_map(|found| row(conn, &labels, found).transpose()).collect()
}

/// The most telling search column of a filter.
fn search_column(filter: &DeliveryFilter) -> Option<(Column, &str)> {
    let columns = [(Column::MessageId, &filter.message_id), (Column::User, &filter.user), (Column::Name, &filter.name)];
    columns.into_iter().find_map(|(column, text)| Some((column, text.as_deref()?)))
}

/// The deliveries of these events, until the page is full.
fn of_events(conn: &Connection, wanted: &Wanted<'_>, seqs: &[i64], mut found: Vec<Found>) -> rusqlite::Result<Vec<Found>> {
    for seq in seqs {
        if found.len() >= wanted.limit {
            break;
        }
        if Event::get(conn, *seq)?.is_some_and(|event| event.fits(wanted.filter)) {
            found.extend(wanted.range(conn, *seq, seq.saturating_add(1), MAX_LIMIT)?);
        }
    }
    Ok(found)
}

/// All deliveries below `before`, until the page is full.
fn scan(conn: &Connection, wanted: &Wanted<'_>, before: i64) -> rusqlite::Result<Vec<Found>> {
    let bound = |what: &str| -> rusqlite::Result<i64> {
        let sql = format!("SELECT coalesce({what}(seq), 0) FROM events");
        conn.prepare_cached(&sql)?.query_row([], |row| row.get(0))
    };
    let sparse = wanted.only_failures() || wanted.only_pending();
    let lowest = bound("min")?;
    let mut high = before.min(bound("max")?.saturating_add(1));
    let mut found: Vec<Found> = Vec::new();
    while high > lowest && found.len() < wanted.limit {
        let low = if sparse { lowest } else { lowest.max(high - STRIDE) };
        let room = wanted.limit - found.len();
        let page = wanted.range(conn, low, high, room)?;
        high = low;
        let last = page.last().map(|last| last.seq);
        let full = page.len() == room;
        found.extend(page);
        if let Some(last) = last.filter(|_| full) {
            // The page may end within an event: the rest of it comes along.
            found.retain(|row| row.seq != last);
            found.extend(wanted.range(conn, last, last.saturating_add(1), MAX_LIMIT)?);
        }
    }
    Ok(found)
}

/// `None` when the event went meanwhile.
fn row(conn: &Connection, labels: &Labels, found: Found) -> rusqlite::Result<Option<DeliveryRow>> {
    let Some(event) = Event::get(conn, found.seq)? else { return Ok(None) };
    let replay_rule = event.replay.1.map(|rule| labels.get(rule)).transpose()?;
    let repeats = to_repeats(event.replay.0, replay_rule.as_deref(), event.replay.2);
    let rule = labels.get(found.rule)?;
    Ok(Some(DeliveryRow {
        replay_of: repeats.as_ref().map(|repeats| repeats.by(&rule)),
        replay: repeats.map(|repeats| repeats.how).unwrap_or_default(),
        id: DeliveryId { seq: to_seq(found.seq), rule },
        state: found.state,
        account: labels.get(found.account)?,
        message_id: event.message_id,
        kind: labels.get(found.kind)?.as_ref().to_owned(),
        name: event.name,
        source: labels.get(event.source)?.as_ref().to_owned(),
        received_at: to_time(found.at),
        attempts: found.attempts,
        run_at: found.run_at.map(to_time),
        finished_at: found.finished_at.map(to_time),
        version: found.version.map(|v| labels.get(v)).transpose()?.map(|v| v.as_ref().to_owned()),
        reason: found.reason,
    }))
}

/// Events with this message id, matched or not, newest first.
pub(super) fn events_by_message(conn: &Connection, message_id: &str) -> rusqlite::Result<Vec<EventRow>> {
    let mut search = Search::new(conn, Column::MessageId, message_id, i64::MAX);
    let mut rows = Vec::new();
    while let Some(seqs) = search.next()? {
        for seq in seqs {
            for table in ["events", "unmatched"] {
                let found = conn
                    .prepare_cached(&format!("{} WHERE e.seq = ?1 AND e.message_id = ?2", event_rows(table)))?
                    .query_row(rusqlite::params![seq, message_id], event_row)
                    .optional()?;
                rows.extend(found);
            }
        }
        if rows.len() >= MAX_LIMIT {
            break;
        }
    }
    Ok(rows)
}

pub(super) fn event_rows(table: &str) -> String {
    format!(
        "SELECT e.seq, e.message_id, k.name, e.name, s.name, e.at, e.note FROM {table} e
         JOIN names k ON k.id = e.kind JOIN names s ON s.id = e.source"
    )
}

pub(super) fn event_row(row: &Row<'_>) -> rusqlite::Result<EventRow> {
    Ok(EventRow {
        seq: to_seq(row.get(0)?),
        message_id: row.get(1)?,
        kind: row.get(2)?,
        name: row.get(3)?,
        source: row.get(4)?,
        received_at: to_time(row.get(5)?),
        note: row.get(6)?,
    })
}
