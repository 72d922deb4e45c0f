//! What becomes of deliveries, and what is learned on the way.
//!
//! Invariants: a call is judged whole before its first write, against all that its transaction did before it, so that one
//! refused call leaves the others alone. A pending row and a run never stand for the same delivery.

use std::borrow::Cow;
use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, params};

use super::codes::{from_keys, from_seq, from_state, from_time, part, to_state};
use super::names::Names;
use super::shadow;
use super::writer::Cache;
use super::{causes, counters};
use crate::store::{DeliveryId, DeliveryState, Finish, LISTED_REASON, StoreError, Write};

/// How a delivery stands, as far as writes care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Missing,
    Pending,
    Failed,
    Observed,
    Finished,
}

impl Standing {
    const fn of(ended: DeliveryState) -> Self {
        match ended {
            DeliveryState::Observed => Self::Observed,
            state if state.is_failure() => Self::Failed,
            _ => Self::Finished,
        }
    }

    const fn refusal(self) -> &'static str {
        match self {
            Self::Missing => "does not exist",
            Self::Pending => "is not finished yet",
            Self::Failed | Self::Observed | Self::Finished => "is finished already",
        }
    }
}

/// Why the call cannot be carried out, if so. Writes nothing.
pub(super) fn judge(conn: &Connection, names: &Names, writes: &[Write]) -> rusqlite::Result<Option<StoreError>> {
    let mut standings: HashMap<&DeliveryId, Standing> = HashMap::new();
    for write in writes {
        let id = match write {
            Write::Pin { id, .. }
            | Write::Unpin { id }
            | Write::Retry { id, .. }
            | Write::Waiting { id, .. }
            | Write::Record { id, .. }
            | Write::Release { id, .. } => id,
            Write::Finish(finish) => &finish.id,
            _ => continue,
        };
        let standing = match standings.get(id) {
            Some(standing) => *standing,
            None => standing(conn, names, id)?,
        };
        let (allowed, next) = match write {
            Write::Record { .. } => (standing != Standing::Missing, standing),
            Write::Release { .. } => (standing == Standing::Observed, Standing::Pending),
            Write::Finish(finish) => {
                let ends = match standing {
                    Standing::Pending => finish.state != DeliveryState::Pending,
                    Standing::Failed => finish.state == DeliveryState::Discarded,
                    Standing::Missing | Standing::Observed | Standing::Finished => false,
                };
                (ends, Standing::of(finish.state))
            }
            _ => (standing == Standing::Pending, standing),
        };
        if !allowed {
            return Ok(Some(StoreError::Refused { id: id.clone(), reason: standing.refusal() }));
        }
        standings.insert(id, next);
    }
    Ok(None)
}

fn standing(conn: &Connection, names: &Names, id: &DeliveryId) -> rusqlite::Result<Standing> {
    let Some(rule) = names.known(&id.rule) else { return Ok(Standing::Missing) };
    let key = params![from_seq(id.seq), rule];
    if conn.prepare_cached("SELECT 1 FROM pending WHERE seq = ?1 AND rule = ?2")?.exists(key)? {
        return Ok(Standing::Pending);
    }
    let state = conn
        .prepare_cached("SELECT state FROM runs WHERE seq = ?1 AND rule = ?2")?
        .query_row(key, |row| row.get::<_, i64>(0))
        .optional()?;
    Ok(match state.map(to_state).transpose()? {
        None => Standing::Missing,
        Some(state) => Standing::of(state),
    })
}

/// Carries out a call that [`judge`] let pass.
pub(super) fn apply(conn: &Connection, cache: &mut Cache, writes: &[Write]) -> rusqlite::Result<()> {
    writes.iter().try_for_each(|write| one(conn, cache, write))
}

fn one(conn: &Connection, cache: &mut Cache, write: &Write) -> rusqlite::Result<()> {
    let Cache { names, .. } = cache;
    let run = |sql: &str, params: &[&dyn rusqlite::ToSql]| conn.prepare_cached(sql)?.execute(params).map(drop);
    match write {
        Write::Pin { id, plan } => run(
            "INSERT INTO plans (seq, rule, plan) VALUES (?1, ?2, ?3) ON CONFLICT (seq, rule) DO UPDATE SET plan = excluded.plan",
            params![from_seq(id.seq), names.id(conn, &id.rule)?, plan],
        ),
        Write::Unpin { id } => {
            run("DELETE FROM plans WHERE seq = ?1 AND rule = ?2", params![from_seq(id.seq), names.id(conn, &id.rule)?])
        }
        Write::Retry { id, run_at, attempts, first_failed_at } => run(
            "UPDATE pending SET run_at = ?3, attempts = ?4, first_failed_at = ?5 WHERE seq = ?1 AND rule = ?2",
            params![from_seq(id.seq), names.id(conn, &id.rule)?, from_time(*run_at), attempts, from_time(*first_failed_at)],
        ),
        Write::Waiting { id, reason } => run(
            "UPDATE pending SET reason = ?3 WHERE seq = ?1 AND rule = ?2",
            params![from_seq(id.seq), names.id(conn, &id.rule)?, listed(reason)],
        ),
        Write::Record { id, attempt, record } => run(
            "INSERT INTO records (seq, rule, attempt, record) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (seq, rule, attempt) DO UPDATE SET record = excluded.record",
            params![from_seq(id.seq), names.id(conn, &id.rule)?, attempt, record],
        ),
        Write::Finish(end) => finish(conn, cache, end),
        Write::Release { id, delivery, at } => {
            let (seq, rule) = (from_seq(id.seq), names.id(conn, &id.rule)?);
            uncount(conn, seq, rule)?;
            run(
                "INSERT INTO pending (seq, rule, position, account, part, key, at, kind, after, behind, released_at)
                 SELECT seq, rule, position, ?3, ?4, ?5, at, kind, ?6, ?7, ?8 FROM runs WHERE seq = ?1 AND rule = ?2",
                params![
                    seq,
                    rule,
                    names.id(conn, &delivery.account)?,
                    part(&delivery.account, &delivery.key),
                    delivery.key,
                    from_keys(&delivery.after),
                    from_keys(&delivery.behind),
                    from_time(*at)
                ],
            )?;
            run("DELETE FROM runs WHERE seq = ?1 AND rule = ?2", params![seq, rule])?;
            cache.counters.pending += 1;
            Ok(())
        }
        Write::IndexPut { account, kind, field, value, id } => run(
            "INSERT INTO match_index (account, kind, field, value, id) VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING",
            params![names.id(conn, account)?, names.id(conn, kind)?, names.id(conn, field)?, value, id],
        ),
        Write::IndexRemove { account, kind, field, value, id } => run(
            "DELETE FROM match_index WHERE account = ?1 AND kind = ?2 AND field = ?3 AND value = ?4 AND id = ?5",
            params![names.id(conn, account)?, names.id(conn, kind)?, names.id(conn, field)?, value, id],
        ),
        Write::IndexReplace { account, kind, id, field, values } => {
            let (account, kind, field) = (names.id(conn, account)?, names.id(conn, kind)?, names.id(conn, field)?);
            let held: Vec<String> = conn
                .prepare_cached("SELECT value FROM match_index WHERE account = ?1 AND kind = ?2 AND id = ?3 AND field = ?4 AND merged IS NULL")?
                .query_map(params![account, kind, id, field], |row| row.get(0))?
                .collect::<rusqlite::Result<_>>()?;
            for gone in held.iter().filter(|value| !values.contains(value)) {
                run(
                    "DELETE FROM match_index WHERE account = ?1 AND kind = ?2 AND field = ?3 AND value = ?4 AND id = ?5",
                    params![account, kind, field, gone, id],
                )?;
            }
            for new in values.iter().filter(|value| !held.contains(value)) {
                run(
                    "INSERT INTO match_index (account, kind, field, value, id) VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING",
                    params![account, kind, field, new, id],
                )?;
            }
            Ok(())
        }
        Write::Forget { account, kind, id } => {
            let (account, kind) = (names.id(conn, account)?, names.id(conn, kind)?);
            run("DELETE FROM match_index WHERE account = ?1 AND kind = ?2 AND id = ?3", params![account, kind, id])?;
            run("DELETE FROM known WHERE account = ?1 AND kind = ?2 AND id = ?3", params![account, kind, id])
        }
        Write::Remap { account, kind, from, to } => {
            let (account, kind) = (names.id(conn, account)?, names.id(conn, kind)?);
            run(
                "INSERT INTO match_index (account, kind, field, value, id, merged)
                 SELECT account, kind, field, value, ?4, 1 FROM match_index WHERE account = ?1 AND kind = ?2 AND id = ?3
                 ON CONFLICT DO NOTHING",
                params![account, kind, from, to],
            )?;
            run("DELETE FROM match_index WHERE account = ?1 AND kind = ?2 AND id = ?3", params![account, kind, from])?;
            run("DELETE FROM known WHERE account = ?1 AND kind = ?2 AND id = ?3", params![account, kind, from])
        }
        Write::ForgetAccount { account } => {
            let account = names.id(conn, account)?;
            run("DELETE FROM match_index WHERE account = ?1", params![account])?;
            run("DELETE FROM known WHERE account = ?1", params![account])
        }
        Write::KnownPut { account, kind, id, values } => run(
            "INSERT INTO known (account, kind, id, known) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (account, kind, id) DO UPDATE SET known = excluded.known",
            params![names.id(conn, account)?, names.id(conn, kind)?, id, values],
        ),
        Write::KnownSee { account, kind, id, version, seen, doubt } => run(
            "UPDATE known SET seen = CASE WHEN ?6 IS NOT NULL AND seen_version = ?4 AND seen != ?5 THEN ?6 ELSE ?5 END, seen_version = ?4
             WHERE account = ?1 AND kind = ?2 AND id = ?3 AND (seen_version IS NULL OR seen_version <= ?4)",
            params![names.id(conn, account)?, names.id(conn, kind)?, id, version, seen, doubt],
        ),
        Write::KvPut { space, key, value } => run(
            "INSERT INTO kv (space, key, value) VALUES (?1, ?2, ?3)
             ON CONFLICT (space, key) DO UPDATE SET value = excluded.value",
            params![space, key, value],
        ),
        Write::Shadow(run) => shadow::count(conn, names, run),
        Write::ForgetOutcomes { version } => match names.known(version) {
            Some(version) => run("DELETE FROM outcomes WHERE version = ?1", params![version]),
            None => Ok(()),
        },
        Write::KvDelete { space, key } => run("DELETE FROM kv WHERE space = ?1 AND key = ?2", params![space, key]),
    }
}

fn finish(conn: &Connection, cache: &mut Cache, end: &Finish) -> rusqlite::Result<()> {
    let (seq, rule) = (from_seq(end.id.seq), cache.names.id(conn, &end.id.rule)?);
    let version = end.version.as_deref().map(|v| cache.names.id(conn, v)).transpose()?;
    let reason = end.reason.as_deref().map(listed);
    let cause = end.cause.as_ref().map(|cause| causes::note(conn, cause)).transpose()?;
    let moved = conn
        .prepare_cached(
            "INSERT INTO runs (seq, rule, position, account, at, kind, attempts, state, finished_at, version, reason, cause)
             SELECT seq, rule, position, account, at, kind, attempts, ?3, ?4, ?5, ?6, ?7 FROM pending WHERE seq = ?1 AND rule = ?2",
        )?
        .execute(params![seq, rule, from_state(end.state), from_time(end.at), version, reason, cause])?;
    if moved == 0 {
        // A failure that a person discards; it keeps the version that ran.
        let ran = uncount(conn, seq, rule)?;
        count(conn, ran, rule, end.state)?;
        conn.prepare_cached(
            "UPDATE runs SET state = ?3, finished_at = ?4, reason = coalesce(?5, reason) WHERE seq = ?1 AND rule = ?2",
        )?
        .execute(params![seq, rule, from_state(end.state), from_time(end.at), reason])?;
        counters::take(&mut cache.counters.failed, 1);
    } else {
        conn.prepare_cached("DELETE FROM pending WHERE seq = ?1 AND rule = ?2")?.execute([seq, rule])?;
        count(conn, version, rule, end.state)?;
        counters::take(&mut cache.counters.pending, 1);
    }
    if end.state.is_failure() {
        cache.counters.failed += 1;
    }
    // The plan of a half-done delivery is kept with it: it says what was sent, which a replay must not do twice. So is that of one that was
    // discarded while it was pending: no record may tell of its last attempt. One that had ended has such a record.
    let keeps = match end.state {
        DeliveryState::Partial | DeliveryState::Uncertain => true,
        DeliveryState::Discarded => moved > 0,
        _ => false,
    };
    if !keeps {
        conn.prepare_cached("DELETE FROM plans WHERE seq = ?1 AND rule = ?2")?.execute([seq, rule])?;
    }
    Ok(())
}

/// Counts a delivery among those that the script set ended so. Without a set nothing has run.
fn count(conn: &Connection, version: Option<i64>, rule: i64, state: DeliveryState) -> rusqlite::Result<()> {
    let Some(version) = version else { return Ok(()) };
    conn.prepare_cached(
        "INSERT INTO outcomes (version, rule, state, deliveries) VALUES (?1, ?2, ?3, 1)
         ON CONFLICT (version, rule, state) DO UPDATE SET deliveries = deliveries + 1",
    )?
    .execute(params![version, rule, from_state(state)])
    .map(drop)
}

/// Takes a finished delivery out of the count; answers which set ran.
fn uncount(conn: &Connection, seq: i64, rule: i64) -> rusqlite::Result<Option<i64>> {
    let ended = conn
        .prepare_cached("SELECT version, state FROM runs WHERE seq = ?1 AND rule = ?2")?
        .query_row([seq, rule], |row| Ok((row.get::<_, Option<i64>>(0)?, row.get::<_, i64>(1)?)))
        .optional()?;
    let Some((Some(version), state)) = ended else { return Ok(None) };
    conn.prepare_cached(
        "UPDATE outcomes SET deliveries = deliveries - 1 WHERE version = ?1 AND rule = ?2 AND state = ?3 AND deliveries > 0",
    )?
    .execute([version, rule, state])?;
    Ok(Some(version))
}

/// A reason as lists keep it.
fn listed(reason: &str) -> Cow<'_, str> {
    if reason.len() <= LISTED_REASON {
        return Cow::Borrowed(reason);
    }
    Cow::Owned(format!("{}…", &reason[..reason.floor_char_boundary(LISTED_REASON)]))
}
