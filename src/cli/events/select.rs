//! The conditions by which deliveries are listed, repeated or dropped.

use std::collections::BTreeMap;

use clap::Args;
use serde::Serialize;

use super::super::Format;
use super::super::client::{Daemon, segment};
use super::super::exit::{Failure, Outcome};
use super::super::output::{complain, say, say_json};
use crate::console::{EventDetails, EventsQuery, Selection};
use crate::store::{DeliveryId, ReplayOptions};

/// How a repetition goes about what was done before.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct How {
    /// Create again what was created before, and delete, merge, convert and request again
    #[arg(long)]
    again: bool,
    /// Write over fields that later events have written
    #[arg(long)]
    overwrite: bool,
}

impl From<How> for ReplayOptions {
    fn from(How { again, overwrite }: How) -> Self {
        Self { again, overwrite }
    }
}

/// Conditions; all given ones must hold.
#[derive(Debug, Args)]
pub(super) struct Conditions {
    /// In one of these states, with commas between: pending, done, skipped, dead, partial, uncertain, observed, discarded; `failed`
    /// stands for dead, partial and uncertain
    #[arg(long, value_name = "STATES")]
    state: Option<String>,
    /// Of this rule
    #[arg(long, value_name = "NAME")]
    rule: Option<String>,
    /// Failed for this cause, as `events causes` names it
    #[arg(long, value_name = "CAUSE")]
    cause: Option<String>,
    /// Ended under this script set: its version, or the beginning of it
    #[arg(long, value_name = "VERSION")]
    script_set: Option<String>,
    /// Only what was not repeated since; a replay by conditions takes no others
    #[arg(long)]
    open: bool,
    /// Events of this type
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Track events of this name
    #[arg(long, value_name = "EVENT")]
    name: Option<String>,
    /// Events of this user (userId, else anonymousId)
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// Events with this messageId
    #[arg(long, value_name = "ID")]
    message_id: Option<String>,
    /// Received since: 2h, 7d, or 2026-07-01T12:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only events with a lower number than this (the next page)
    #[arg(long, value_name = "SEQ")]
    before: Option<u64>,
    /// At most
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

impl Conditions {
    pub(super) fn query(self) -> EventsQuery {
        let Self { state, rule, cause, script_set: version, open, kind, name, user, message_id, since, before, limit } = self;
        let open = open.then_some(1);
        EventsQuery {
            state,
            rule,
            cause,
            version,
            open,
            kind,
            name,
            user,
            message_id,
            since,
            before,
            limit,
            ..EventsQuery::default()
        }
    }
}

/// Ids, or conditions; not both, not neither.
pub(super) fn selection(daemon: &Daemon, ids: &[String], conditions: Conditions) -> Result<Selection, Failure> {
    let query = conditions.query();
    match (ids.is_empty(), !query.has_conditions()) {
        (true, true) => {
            Err(Failure::wrong("name deliveries (17/person), events (17, or a messageId), or a condition such as --state dead"))
        }
        (true, false) => Ok(Selection::Filter(Box::new(query))),
        (false, false) => Err(Failure::wrong("name ids or conditions, not both")),
        (false, true) if query.limit.is_some() => Err(Failure::wrong("--limit goes with conditions, not with ids")),
        (false, true) => {
            let mut found = Vec::new();
            for id in ids {
                found.extend(deliveries_of(daemon, id)?);
            }
            Ok(Selection::Ids(found))
        }
    }
}

/// `17/person` is that delivery; `17` or a messageId is every delivery of the event.
fn deliveries_of(daemon: &Daemon, id: &str) -> Result<Vec<DeliveryId>, Failure> {
    if let Ok(delivery) = id.parse() {
        return Ok(vec![delivery]);
    }
    let details: EventDetails = daemon.get(&format!("/api/events/{}", segment(id)))?.read()?;
    let found: Vec<_> = details.events.into_iter().flat_map(|e| e.deliveries).map(|d| d.row.id).collect();
    if found.is_empty() { Err(Failure::found(format!("no rule wanted event {id}: it has no deliveries"))) } else { Ok(found) }
}

/// How many fit, by rule; nothing was done to them. `verb` and `done` say what: release, released.
pub(super) fn counted(answer: &impl Serialize, fits: &[DeliveryId], (verb, done): (&str, &str), format: Format) -> Outcome {
    if format.json {
        return Ok(say_json(answer)?);
    }
    let (Some(oldest), Some(newest)) = (fits.first(), fits.last()) else {
        complain(&format!("no delivery fits that could be {done}"));
        return Ok(());
    };
    let mut rules = BTreeMap::<&str, usize>::new();
    for DeliveryId { rule, .. } in fits {
        *rules.entry(rule).or_default() += 1;
    }
    let rules = rules.iter().map(|(rule, n)| format!("{rule} {n}")).collect::<Vec<_>>().join(", ");
    Ok(say(&format!("{} would be {done} ({rules}), from {oldest} to {newest}; add --yes to {verb} them", fits.len()))?)
}
