//! From valid events to durable ones: triggers, deliveries, one append.

use std::borrow::Cow;

use bytes::Bytes;
use jiff::Timestamp;

use super::Ingest;
use super::batch::Terms;
use super::integrations;
use super::ordering::delivery;
use super::rejection::Rejection;
use super::timestamps::Origin;
use crate::config::AliasPolicy;
use crate::crash;
use crate::event::{Event, EventType};
use crate::rules::ScriptSet;
use crate::store::{Alias, Appended, Dedupe, Joined, NewDelivery, NewEvent, Rejected, StoreError};
use crate::telemetry::EventCounts;

/// A refused event, with what could be read of it.
#[derive(Debug)]
pub(super) struct Bad<'a> {
    pub(super) index: usize,
    pub(super) why: Rejection,
    pub(super) message_id: Option<String>,
    pub(super) kind: Option<String>,
    pub(super) raw: &'a [u8],
}

/// The good events of one request on their way into the store.
///
/// Each becomes a row as soon as it is decoded: its tree is gone before the next one is read, so that a long batch needs the
/// memory of its payloads only.
pub(super) struct Intake<'a> {
    ingest: &'a Ingest,
    set: &'a ScriptSet,
    source: &'a str,
    origin: Origin,
    rows: Vec<NewEvent>,
    /// What each row counts as.
    kinds: Vec<(EventType, bool)>,
    /// Who is who, for the next event of the request.
    joined: Joined<'a>,
    /// By type.
    counts: [EventCounts; EventType::ALL.len()],
    /// The payloads of the rows, one behind the other: one piece of memory for all of them.
    payloads: Vec<u8>,
    /// Where each ends.
    ends: Vec<usize>,
}

/// How much longer than its text a payload may be without a second look for room.
const ADDED: usize = 256;

impl<'a> Intake<'a> {
    /// An empty one, for events of so many bytes together.
    pub(super) fn new(ingest: &'a Ingest, set: &'a ScriptSet, source: &'a str, origin: Origin, bytes: usize) -> Self {
        Self {
            ingest,
            set,
            source,
            origin,
            rows: Vec::new(),
            kinds: Vec::new(),
            joined: Joined::new(ingest.store.aliases()),
            counts: Default::default(),
            payloads: Vec::with_capacity(bytes + ADDED),
            ends: Vec::new(),
        }
    }

    /// Whose events they are.
    pub(super) const fn source(&self) -> &'a str {
        self.source
    }

    /// What is to be known of them before they are read.
    pub(super) fn terms(&self, received_at: Timestamp) -> Terms<'a> {
        Terms { source: self.source, origin: self.origin, received_at, limits: &self.set.config.server }
    }

    /// Takes an event in. One that its sender switched off or that nobody keeps is counted only.
    pub(super) fn add(&mut self, event: Event) {
        let counts = &mut self.counts[event.kind as usize];
        if integrations::switched_off(&event.body, self.origin) {
            counts.switched_off += 1;
            return;
        }
        let forget = event.kind == EventType::Delete && event.user_id().is_some();
        let kept = self.set.config.sources.get(self.source).is_none_or(|s| !s.keep_unmatched.get().is_zero());
        let alias = alias(self.set, self.source, &event);
        if let Some(alias) = &alias {
            self.joined.join(alias);
        }
        let deliveries = deliveries(self.set, &event, &self.joined);
        // An alias that nobody keeps has its ids joined all the same, and the user of a `delete` event is erased.
        if deliveries.is_empty() && !kept && alias.is_none() && !forget {
            counts.accepted += 1;
            counts.unmatched += 1;
            return;
        }
        self.kinds.push((event.kind, deliveries.is_empty()));
        event.body.write(&mut self.payloads);
        self.ends.push(self.payloads.len());
        self.rows.push(NewEvent { kept, alias, forget, ..row(event, Bytes::new(), deliveries, Dedupe::Window) });
    }

    /// Stores what was taken in, and counts it; returns after it is durable.
    pub(super) async fn store(self) -> Result<(), StoreError> {
        let Self { ingest, set, source, mut rows, kinds, mut counts, payloads, ends, .. } = self;
        let limits = &set.config.server;
        if !rows.is_empty() {
            let (waiting, limit) = (ingest.store.backlog(), limits.max_backlog);
            if waiting >= limit && rows.iter().any(|row| !row.deliveries.is_empty()) {
                return Err(StoreError::Behind { waiting, limit });
            }
            let (payloads, mut begin) = (Bytes::from(payloads), 0);
            for (row, end) in rows.iter_mut().zip(ends) {
                row.payload = payloads.slice(begin..end);
                begin = end;
            }
            let appended = ingest.store.append(rows).await?;
            crash::point(crash::BEFORE_ANSWER);
            for ((kind, unmatched), appended) in kinds.into_iter().zip(appended) {
                let counts = &mut counts[kind as usize];
                match appended {
                    Appended::Duplicate(_) => counts.duplicate += 1,
                    Appended::Fresh(_) => {
                        counts.accepted += 1;
                        counts.unmatched += u64::from(unmatched);
                    }
                }
            }
        }
        for (kind, counts) in EventType::ALL.into_iter().zip(counts) {
            ingest.metrics.events_taken(source, kind.as_str(), counts);
        }
        Ok(())
    }
}

/// What an alias event asks for, where its source may ask for it.
fn alias(set: &ScriptSet, source: &str, event: &Event) -> Option<Alias> {
    if event.kind != EventType::Alias || set.config.sources.get(source)?.aliases == AliasPolicy::Ignore {
        return None;
    }
    Some(Alias { user: event.user_id()?, previous: event.previous_id()? })
}

/// One delivery a rule that wants the event, in rule order.
pub(super) fn deliveries(set: &ScriptSet, event: &Event, joined: &Joined<'_>) -> Vec<NewDelivery> {
    set.wanted(event).into_iter().map(|rule| delivery(event, rule, joined)).collect()
}

/// The event as the store takes it.
pub(super) fn row(event: Event, payload: Bytes, deliveries: Vec<NewDelivery>, dedupe: Dedupe) -> NewEvent {
    NewEvent {
        kind: event.kind.as_str(),
        name: event.name().map(str::to_owned),
        user: event.user_id().or_else(|| event.anonymous_id()),
        received_at: event.received_at,
        payload,
        deliveries,
        dedupe,
        repeats: None,
        kept: true,
        alias: None,
        forget: false,
        source: event.source,
        message_id: event.message_id,
    }
}

/// Keeps refused events for `events list --rejected`. The sender has its answer either way, so a store that cannot take them
/// does not change it.
pub(super) async fn reject(ingest: &Ingest, set: &ScriptSet, source: &str, at: Timestamp, bad: &[Bad<'_>]) {
    if bad.is_empty() {
        return;
    }
    let longest = usize::try_from(set.config.server.max_event.get()).unwrap_or(usize::MAX);
    let rows = bad
        .iter()
        .map(|bad| {
            ingest.metrics.event_rejected(source, bad.kind.as_deref().unwrap_or(""), bad.why.code(), bad.why.events());
            Rejected {
                source: source.to_owned(),
                message_id: bad.message_id.clone(),
                kind: bad.kind.clone(),
                at,
                reason: bad.why.to_string(),
                payload: Bytes::from(without_keys(set, &bad.raw[..bad.raw.len().min(longest)]).into_owned()),
            }
        })
        .collect();
    if let Err(error) = ingest.store.reject(rows).await {
        tracing::warn!(source, count = bad.len(), %error, "refused events could not be kept");
    }
}

/// The text with every known write key blotted out: a body may carry one.
fn without_keys<'a>(set: &ScriptSet, raw: &'a [u8]) -> Cow<'a, [u8]> {
    let text = String::from_utf8_lossy(raw);
    let keys = set.sources.values().flat_map(|source| &source.write_keys).map(|key| key.expose());
    let blotted = keys
        .filter(|key| !key.is_empty() && text.contains(key))
        .fold(None, |blotted: Option<String>, key| Some(blotted.as_deref().unwrap_or(&text).replace(key, "[redacted]")));
    blotted.map_or(Cow::Borrowed(raw), |text| Cow::Owned(text.into_bytes()))
}
