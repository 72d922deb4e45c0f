//! Erasing what is kept of a user.
//!
//! Invariants: an event with an unfinished delivery stays whole; what is deleted is overwritten in its page (`secure_delete`), pages that
//! become free are given back to the file system, and then the WAL is emptied, so that nothing of it can be read from the files. The
//! entry of an erased event in the dedupe window stays until the window has passed it: sent again, it is still a duplicate.

use std::collections::BTreeSet;

use bytes::Bytes;
use rusqlite::{Connection, params};

use super::codes::{from_seq, to_seq, to_time};
use super::counters;
use super::names;
use super::readers;
use super::segments::{self, Column, OpenBlock, Search};
use super::writer::Cache;
use crate::store::{Erase, Erased, IndexedEntity, RejectedText, Seq, StoredEvent};

/// Carries out one step, in the writer's transaction.
pub(super) fn step(conn: &Connection, cache: &mut Cache, step: &Erase) -> rusqlite::Result<Erased> {
    match step {
        Erase::Events { seqs, account } => events(conn, cache, seqs, account.as_deref()),
        Erase::Aliases { ids, as_of } => cache.joins.erase(conn, ids, from_seq(*as_of)).map(|()| Erased::default()),
        Erase::Rejected { ids } => {
            let mut erased = Erased::default();
            for id in ids {
                let gone = conn.prepare_cached("DELETE FROM rejected WHERE id = ?1")?.execute([id])?;
                counters::take(&mut cache.counters.rejected, gone);
                erased.rejected += gone as u64;
            }
            Ok(erased)
        }
    }
}

fn events(conn: &Connection, cache: &mut Cache, seqs: &[Seq], account: Option<&str>) -> rusqlite::Result<Erased> {
    let mut erased = Erased::default();
    let account = match account {
        None => None,
        Some(name) => match names::lookup(conn, name)? {
            Some(id) => Some(id),
            // No delivery was ever made for it.
            None => return Ok(erased),
        },
    };
    let mut gone = BTreeSet::new();
    for seq in seqs.iter().copied().map(from_seq) {
        let runs: Vec<(i64, bool)> = conn
            .prepare_cached("SELECT rule, state IN (3, 4, 5) FROM runs WHERE seq = ?1 AND (?2 IS NULL OR account = ?2)")?
            .query_map(params![seq, account], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<_>>()?;
        for (rule, failed) in &runs {
            for table in ["shadow_differences", "records", "plans", "runs"] {
                conn.prepare_cached(&format!("DELETE FROM {table} WHERE seq = ?1 AND rule = ?2"))?.execute([seq, *rule])?;
            }
            counters::take(&mut cache.counters.failed, usize::from(*failed));
        }
        erased.deliveries += runs.len() as u64;
        let left: bool = conn
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM pending WHERE seq = ?1) OR EXISTS (SELECT 1 FROM runs WHERE seq = ?1)")?
            .query_row([seq], |row| row.get(0))?;
        if left {
            continue;
        }
        let matched = conn.prepare_cached("DELETE FROM events WHERE seq = ?1")?.execute([seq])?;
        let unmatched = conn.prepare_cached("DELETE FROM unmatched WHERE seq = ?1")?.execute([seq])?;
        counters::take(&mut cache.counters.events, matched);
        counters::take(&mut cache.counters.unmatched, unmatched);
        erased.events += matched as u64;
        erased.unmatched += unmatched as u64;
        if matched + unmatched > 0 {
            gone.insert(seq);
        }
    }
    segments::erase(conn, &gone)?;
    cache.block = OpenBlock::load(conn)?;
    Ok(erased)
}

/// Events whose user column holds this text, newest first, below `before`.
pub(super) fn events_of(conn: &Connection, user: &str, before: Option<Seq>, limit: usize) -> rusqlite::Result<Vec<StoredEvent>> {
    let mut found = Vec::new();
    let mut search = Search::new(conn, Column::User, user, before.map_or(i64::MAX, from_seq));
    while let Some(seqs) = search.next()? {
        for seq in seqs {
            if found.len() >= limit {
                return Ok(found);
            }
            let held: bool = conn
                .prepare_cached(
                    "SELECT EXISTS (SELECT 1 FROM events WHERE seq = ?1 AND user = ?2)
                       OR EXISTS (SELECT 1 FROM unmatched WHERE seq = ?1 AND user = ?2)",
                )?
                .query_row(params![seq, user], |row| row.get(0))?;
            if held {
                found.extend(readers::event(conn, to_seq(seq))?);
            }
        }
    }
    Ok(found)
}

/// Refused events after `after`, oldest first.
pub(super) fn rejected_texts(conn: &Connection, after: i64, limit: i64) -> rusqlite::Result<Vec<RejectedText>> {
    conn.prepare_cached("SELECT id, at, payload FROM rejected WHERE id > ?1 ORDER BY id LIMIT ?2")?
        .query_map([after, limit], |row| {
            Ok(RejectedText { id: row.get(0)?, at: to_time(row.get(1)?), payload: Bytes::from(row.get::<_, Vec<u8>>(2)?) })
        })?
        .collect()
}

/// Entities of a kind that this value of a custom field leads to, in all accounts.
pub(super) fn indexed(conn: &Connection, kind: &str, value: &str) -> rusqlite::Result<Vec<IndexedEntity>> {
    // Looks at the kind's whole index: rare, and an index by value alone would cost every outcome.
    conn.prepare_cached(
        "SELECT DISTINCT a.name, m.id FROM match_index m JOIN names a ON a.id = m.account JOIN names f ON f.id = m.field
         WHERE m.kind = (SELECT id FROM names WHERE name = ?1) AND m.value = ?2 AND length(f.name) = 40",
    )?
    .query_map(params![kind, value], |row| Ok(IndexedEntity { account: row.get(0)?, id: row.get(1)? }))?
    .collect()
}
