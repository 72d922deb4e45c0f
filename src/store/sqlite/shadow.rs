//! Counts and differences of shadow scripts.
//!
//! Invariants: the counts of a rule are of one pair of scripts, the newest; of its differences the newest are kept, and none outlives its
//! event.

use rusqlite::{Connection, params};

use super::codes::{from_seq, from_time, to_count, to_seq, to_time};
use super::names::{self, Labels, Names};
use crate::store::{DeliveryId, SHADOW_DIFFERENCES, ShadowCount, ShadowRow, ShadowRun, ShadowVerdict};

/// Counts a run.
pub(super) fn count(conn: &Connection, names: &mut Names, run: &ShadowRun) -> rusqlite::Result<()> {
    let (seq, rule) = (from_seq(run.id.seq), names.id(conn, &run.id.rule)?);
    let old = conn
        .prepare_cached("DELETE FROM shadow_counts WHERE rule = ?1 AND scripts <> ?2")?
        .execute(params![rule, run.scripts])?;
    if old > 0 {
        conn.prepare_cached("DELETE FROM shadow_differences WHERE rule = ?1")?.execute([rule])?;
    }
    conn.prepare_cached(
        "INSERT INTO shadow_counts (rule, scripts, verdict, runs, since) VALUES (?1, ?2, ?3, 1, ?4)
         ON CONFLICT (rule, scripts, verdict) DO UPDATE SET runs = runs + 1",
    )?
    .execute(params![rule, run.scripts, run.verdict.as_str(), from_time(run.at)])?;
    let Some(difference) = &run.difference else { return Ok(()) };
    // The delivery may have been erased meanwhile, also for one account alone: nothing of it may come back.
    let kept = conn
        .prepare_cached(
            "INSERT INTO shadow_differences (seq, rule, at, difference)
             SELECT ?1, ?2, ?3, ?4 WHERE EXISTS (SELECT 1 FROM runs WHERE seq = ?1 AND rule = ?2)
               OR EXISTS (SELECT 1 FROM pending WHERE seq = ?1 AND rule = ?2)
             ON CONFLICT (seq, rule) DO UPDATE SET at = excluded.at, difference = excluded.difference",
        )?
        .execute(params![seq, rule, from_time(run.at), difference])?;
    if kept == 0 {
        return Ok(());
    }
    conn.prepare_cached(
        "DELETE FROM shadow_differences WHERE rule = ?1 AND seq <=
           (SELECT seq FROM shadow_differences WHERE rule = ?1 ORDER BY seq DESC LIMIT 1 OFFSET ?2)",
    )?
    .execute(params![rule, i64::try_from(SHADOW_DIFFERENCES).unwrap_or(i64::MAX)])
    .map(drop)
}

/// All counts.
pub(super) fn counts(conn: &Connection) -> rusqlite::Result<Vec<ShadowCount>> {
    let labels = Labels::load(conn)?;
    let mut statement = conn.prepare_cached("SELECT rule, scripts, verdict, runs, since FROM shadow_counts")?;
    let mut rows = statement.query([])?;
    let mut counts = Vec::new();
    while let Some(row) = rows.next()? {
        let word: String = row.get(2)?;
        // A word of a later version is none that this one could show.
        let Some(verdict) = ShadowVerdict::ALL.into_iter().find(|verdict| verdict.as_str() == word) else { continue };
        counts.push(ShadowCount {
            rule: labels.get(row.get(0)?)?,
            scripts: row.get(1)?,
            verdict,
            runs: to_count(row.get(3)?),
            since: to_time(row.get(4)?),
        });
    }
    Ok(counts)
}

/// The newest differences of a rule, newest first.
pub(super) fn differences(conn: &Connection, rule: &str, limit: i64) -> rusqlite::Result<Vec<ShadowRow>> {
    let Some(number) = names::lookup(conn, rule)? else { return Ok(Vec::new()) };
    conn.prepare_cached("SELECT seq, at, difference FROM shadow_differences WHERE rule = ?1 ORDER BY seq DESC LIMIT ?2")?
        .query_map([number, limit], |row| {
            let id = DeliveryId { seq: to_seq(row.get(0)?), rule: rule.into() };
            Ok(ShadowRow { id, at: to_time(row.get(1)?), difference: row.get(2)? })
        })?
        .collect()
}
