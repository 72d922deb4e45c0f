//! New events.
//!
//! Invariants: numbers rise by one in the order of the calls; nothing here touches a random page of the file; a duplicate
//! found in the same transaction is answered with it, so never before its first copy is durable.

use std::sync::Arc;

use rusqlite::{CachedStatement, Connection, params};

use super::codes::{from_keys, from_options, from_seq, from_time, part, to_seq};
use super::writer::{Cache, Keep};
use super::{aliases, counters, window};
use crate::store::{Alias, Appended, AsOf, Dedupe, DeliveryId, NewEvent, Pending, Repeated, Repeats, TO_FORGET, ToForget};

/// How many unmatched events go at once when there are too many.
const UNMATCHED_STEP: i64 = 256;

/// The statements of an event, looked up once a transaction.
pub(super) struct Inserts<'conn> {
    events: CachedStatement<'conn>,
    unmatched: CachedStatement<'conn>,
    seen: CachedStatement<'conn>,
    pending: CachedStatement<'conn>,
}

impl<'conn> Inserts<'conn> {
    pub(super) fn of(conn: &'conn Connection) -> rusqlite::Result<Self> {
        const COLUMNS: &str = "(seq, at, source, kind, message_id, user, name, replay_seq, replay_rule, replay_options,
            payload) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
        Ok(Self {
            events: conn.prepare_cached(&format!("INSERT INTO events {COLUMNS}"))?,
            unmatched: conn.prepare_cached(&format!("INSERT INTO unmatched {COLUMNS}"))?,
            seen: conn.prepare_cached(window::ENTER)?,
            pending: conn.prepare_cached(
                "INSERT INTO pending (seq, rule, position, account, part, key, at, kind, after, behind)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            )?,
        })
    }
}

/// Stores one call's events; new deliveries are put on `fresh`.
pub(super) fn append(
    conn: &Connection,
    inserts: &mut Inserts<'_>,
    cache: &mut Cache,
    keep: &Keep,
    events: &[NewEvent],
    fresh: &mut Vec<Pending>,
) -> rusqlite::Result<Vec<Appended>> {
    events.iter().map(|event| one(conn, inserts, cache, keep, event, fresh)).collect()
}

fn one(
    conn: &Connection,
    inserts: &mut Inserts<'_>,
    cache: &mut Cache,
    keep: &Keep,
    event: &NewEvent,
    fresh: &mut Vec<Pending>,
) -> rusqlite::Result<Appended> {
    let at = from_time(event.received_at);
    let source = cache.names.id(conn, &event.source)?;
    let (hash, when) = (cache.window.hash(source, &event.message_id), cache.window.time(at));
    if event.dedupe == Dedupe::Window
        && let Some(first) = cache.window.find(conn, hash, source, &event.message_id, when)?
    {
        return Ok(Appended::Duplicate(to_seq(first)));
    }
    cache.counters.last_seq += 1;
    let seq = cache.counters.last_seq;
    let note = match &event.alias {
        Some(alias) => join(conn, cache, alias, seq, &event.source)?,
        None => None,
    };
    if event.forget {
        forget(conn, event, seq)?;
    }
    if event.deliveries.is_empty() && !event.kept {
        // Not kept, so not in the window either: when a rule wants it after all, a resent one is new.
        return Ok(Appended::Fresh(to_seq(seq)));
    }
    let kind = cache.names.id(conn, event.kind)?;
    let replay = match &event.repeats {
        Some(Repeats { of: Repeated::Delivery(id), how }) => {
            (Some(from_seq(id.seq)), Some(cache.names.id(conn, &id.rule)?), from_options(*how))
        }
        Some(Repeats { of: Repeated::Edited(seq), how }) => (Some(from_seq(*seq)), None, from_options(*how)),
        None => (None, None, None),
    };
    let table = if event.deliveries.is_empty() { &mut inserts.unmatched } else { &mut inserts.events };
    table.execute(params![
        seq,
        at,
        source,
        kind,
        event.message_id,
        event.user,
        event.name,
        replay.0,
        replay.1,
        replay.2,
        event.payload.as_ref()
    ])?;
    if let Some(note) = note {
        // Rare, and part of the transaction that writes the row first.
        let table = if event.deliveries.is_empty() { "unmatched" } else { "events" };
        conn.prepare_cached(&format!("UPDATE {table} SET note = ?2 WHERE seq = ?1"))?.execute(params![seq, note])?;
    }
    if event.dedupe == Dedupe::Window {
        cache.window.enter(&mut inserts.seen, hash, seq, source, &event.message_id, when)?;
    }
    cache.block.add(conn, seq, &event.message_id, event.user.as_deref(), event.name.as_deref())?;
    if event.deliveries.is_empty() {
        cache.counters.unmatched += 1;
        if cache.counters.unmatched > keep.unmatched_rows {
            trim_unmatched(conn, cache)?;
        }
    } else {
        cache.counters.events += 1;
        deliveries(conn, &mut inserts.pending, cache, event, Row { seq, at, kind }, fresh)?;
    }
    Ok(Appended::Fresh(to_seq(seq)))
}

/// Joins the ids of an alias; what is to be said of its event when they are not.
fn join(conn: &Connection, cache: &mut Cache, alias: &Alias, seq: i64, source: &str) -> rusqlite::Result<Option<String>> {
    let why = cache.joins.join(conn, alias, seq)?;
    Ok(why.map(|why| {
        tracing::warn!(seq, source, %why, "an alias joined nothing; see docs/identity.md, \"Alias events\"");
        format!("joined nothing: {why}")
    }))
}

/// Notes that the event's user is to be erased as of it, with the ids that are theirs now: a later alias brings in no others.
fn forget(conn: &Connection, event: &NewEvent, seq: i64) -> rusqlite::Result<()> {
    let Some(user) = event.user.clone() else { return Ok(()) };
    let ids = aliases::class_of(conn, &user)?.iter().flat_map(|class| class.iter()).map(|id| id.to_string()).collect();
    let value = ToForget { user, ids, as_of: AsOf { seq: to_seq(seq), at: event.received_at } };
    let value = serde_json::to_vec(&value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    conn.prepare_cached("INSERT INTO kv (space, key, value) VALUES (?1, ?2, ?3)")?
        .execute(params![TO_FORGET, format!("{seq:020}"), value])
        .map(drop)
}

/// What an event's deliveries repeat of it.
struct Row {
    seq: i64,
    at: i64,
    kind: i64,
}

fn deliveries(
    conn: &Connection,
    insert: &mut CachedStatement<'_>,
    cache: &mut Cache,
    event: &NewEvent,
    Row { seq, at, kind }: Row,
    fresh: &mut Vec<Pending>,
) -> rusqlite::Result<()> {
    for (position, delivery) in (0u32..).zip(&event.deliveries) {
        let rule = cache.names.id(conn, &delivery.rule)?;
        let account = cache.names.id(conn, &delivery.account)?;
        insert.execute(params![
            seq,
            rule,
            position,
            account,
            part(&delivery.account, &delivery.key),
            delivery.key,
            at,
            kind,
            from_keys(&delivery.after),
            from_keys(&delivery.behind)
        ])?;
        cache.counters.pending += 1;
        fresh.push(Pending {
            id: DeliveryId { seq: to_seq(seq), rule: Arc::clone(&delivery.rule) },
            position,
            account: Arc::clone(&delivery.account),
            key: delivery.key.clone(),
            after: delivery.after.clone(),
            behind: delivery.behind.clone(),
            attempts: 0,
            run_at: None,
            first_failed_at: None,
            pinned: false,
            tried: false,
            released_at: None,
        });
    }
    Ok(())
}

fn trim_unmatched(conn: &Connection, cache: &mut Cache) -> rusqlite::Result<()> {
    let gone = conn
        .prepare_cached("DELETE FROM unmatched WHERE seq IN (SELECT seq FROM unmatched ORDER BY seq LIMIT ?1)")?
        .execute([UNMATCHED_STEP])?;
    counters::take(&mut cache.counters.unmatched, gone);
    Ok(())
}
