//! Dropping what need not be kept.
//!
//! Invariants: an event with an unfinished delivery is never dropped, however old or however full the disk; every step is
//! small and goes through the writer like any other call, so that it delays nobody for long; the age of a finished delivery
//! counts from its end. When the file is too large the least missed goes first: unmatched events, then what ended well,
//! then failures, each oldest first.

use rusqlite::{Connection, params};

use super::counters;
use super::writer::Cache;

/// Events looked at in one step.
const STEP: i64 = 500;
/// Pages given back to the file system in one step.
const PAGES: i64 = 256;
/// Free pages that stay in the file, to be used again.
pub(super) const SPARE: i64 = 512;

/// One small step.
#[derive(Debug, Clone, Copy)]
pub(super) enum PruneStep {
    /// The dedupe window.
    Window { now: i64 },
    /// Unmatched events received before the cutoff; all that stand in the way, when `max_bytes` is given.
    Unmatched { cutoff: i64, max_bytes: Option<i64> },
    /// Events after `after` whose deliveries all ended before their cutoff.
    Events { after: i64, finished: i64, failed: i64, max_bytes: Option<i64> },
    /// Search blocks without events.
    Segments,
    /// Free pages beyond so many.
    Shrink { spare: i64 },
}

/// What a step did.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pruned {
    /// Events that went.
    pub(super) gone: u64,
    /// Where to go on, when there may be more to do.
    pub(super) next: Option<i64>,
}

/// Carries out one step, in the writer's transaction.
pub(super) fn step(conn: &Connection, cache: &mut Cache, step: PruneStep) -> rusqlite::Result<Pruned> {
    match step {
        PruneStep::Window { now } => {
            let more = cache.window.sweep(conn, now)?;
            Ok(Pruned { gone: 0, next: more.then_some(0) })
        }
        PruneStep::Unmatched { cutoff, max_bytes } => unmatched(conn, cache, cutoff, max_bytes),
        PruneStep::Events { after, finished, failed, max_bytes } => events(conn, cache, after, finished, failed, max_bytes),
        PruneStep::Segments => {
            conn.execute(
                "DELETE FROM segments WHERE last < min(
                   coalesce((SELECT min(seq) FROM events), (SELECT last_seq FROM counters) + 1),
                   coalesce((SELECT min(seq) FROM unmatched), (SELECT last_seq FROM counters) + 1))",
                [],
            )?;
            Ok(Pruned::default())
        }
        PruneStep::Shrink { spare } => shrink(conn, spare),
    }
}

fn number(conn: &Connection, pragma: &str) -> rusqlite::Result<i64> {
    conn.pragma_query_value(None, pragma, |row| row.get(0))
}

/// Bytes of the file that hold something.
fn used(conn: &Connection) -> rusqlite::Result<i64> {
    Ok((number(conn, "page_count")? - number(conn, "freelist_count")?) * number(conn, "page_size")?)
}

fn too_large(conn: &Connection, max_bytes: Option<i64>) -> rusqlite::Result<bool> {
    max_bytes.map_or(Ok(true), |max| Ok(used(conn)? > max))
}

fn unmatched(conn: &Connection, cache: &mut Cache, cutoff: i64, max_bytes: Option<i64>) -> rusqlite::Result<Pruned> {
    if !too_large(conn, max_bytes)? {
        return Ok(Pruned::default());
    }
    let mut statement = conn.prepare_cached("SELECT seq, at FROM unmatched ORDER BY seq LIMIT ?1")?;
    let oldest: Vec<(i64, i64)> =
        statement.query_map([STEP], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<rusqlite::Result<_>>()?;
    let old = oldest.iter().take_while(|(_, at)| max_bytes.is_some() || *at < cutoff).count();
    let Some((last, _)) = oldest[..old].last() else { return Ok(Pruned::default()) };
    let gone = conn.prepare_cached("DELETE FROM unmatched WHERE seq <= ?1")?.execute([last])?;
    counters::take(&mut cache.counters.unmatched, gone);
    Ok(Pruned { gone: gone as u64, next: (old == oldest.len()).then_some(0) })
}

/// What decides whether an event may go.
struct Candidate {
    seq: i64,
    at: i64,
    unfinished: bool,
    /// When the last delivery that ended well did so.
    finished_at: Option<i64>,
    /// When the last failure ended.
    failed_at: Option<i64>,
    failures: usize,
}

fn events(
    conn: &Connection,
    cache: &mut Cache,
    after: i64,
    finished: i64,
    failed: i64,
    max_bytes: Option<i64>,
) -> rusqlite::Result<Pruned> {
    if !too_large(conn, max_bytes)? {
        return Ok(Pruned::default());
    }
    let mut statement = conn.prepare_cached(
        "SELECT e.seq, e.at, EXISTS (SELECT 1 FROM pending p WHERE p.seq = e.seq),
           max(CASE WHEN r.state NOT IN (3, 4, 5) THEN r.finished_at END),
           max(CASE WHEN r.state IN (3, 4, 5) THEN r.finished_at END),
           count(CASE WHEN r.state IN (3, 4, 5) THEN 1 END)
         FROM (SELECT seq, at FROM events WHERE seq > ?1 ORDER BY seq LIMIT ?2) e LEFT JOIN runs r ON r.seq = e.seq
         GROUP BY e.seq ORDER BY e.seq",
    )?;
    let candidates: Vec<Candidate> = statement
        .query_map(params![after, STEP], |row| {
            Ok(Candidate {
                seq: row.get(0)?,
                at: row.get(1)?,
                unfinished: row.get(2)?,
                finished_at: row.get(3)?,
                failed_at: row.get(4)?,
                failures: usize::try_from(row.get::<_, i64>(5)?).unwrap_or(0),
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    let mut gone = 0;
    for event in &candidates {
        let ended_well = event.finished_at.or(event.failed_at.is_none().then_some(event.at));
        let keep =
            event.unfinished || ended_well.is_some_and(|at| at >= finished) || event.failed_at.is_some_and(|at| at >= failed);
        if keep {
            continue;
        }
        for table in ["events", "runs", "plans", "records", "shadow_differences"] {
            conn.prepare_cached(&format!("DELETE FROM {table} WHERE seq = ?1"))?.execute([event.seq])?;
        }
        counters::take(&mut cache.counters.events, 1);
        counters::take(&mut cache.counters.failed, event.failures);
        gone += 1;
    }
    // Received in order, near enough: once an event is younger than both cutoffs, so is all that follows.
    let young = finished.max(failed);
    let more = candidates.len() == usize::try_from(STEP).unwrap_or(usize::MAX) && candidates.last().is_some_and(|e| e.at < young);
    Ok(Pruned { gone, next: if more { candidates.last().map(|e| e.seq) } else { None } })
}

fn shrink(conn: &Connection, keep: i64) -> rusqlite::Result<Pruned> {
    let spare = number(conn, "freelist_count")? - keep;
    if spare <= 0 {
        return Ok(Pruned::default());
    }
    // Each step of the statement gives one page back.
    let mut statement = conn.prepare(&format!("PRAGMA incremental_vacuum({})", spare.min(PAGES)))?;
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    Ok(Pruned { gone: 0, next: (spare > PAGES).then_some(0) })
}
