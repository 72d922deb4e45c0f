//! A batch: which of its events are good.
//!
//! Items are cut out of the body first and parsed one by one, so that each has its size, its own error and its own text.

use bytes::Bytes;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::accept::Bad;
use super::decode::decode;
use super::json::object;
use super::refused::Refused;
use super::rejection::Rejection;
use super::timestamps::Origin;
use crate::config::ServerConfig;
use crate::event::{Body, Event, Shape};

/// How many times `server.max_batch` the events of one request may be long, with what they share written into each.
const EXPANSION: u64 = 8;

/// The body of `/v1/batch`. Keys that Segment does not know are left alone.
#[derive(Deserialize)]
pub(super) struct Batch<'a> {
    #[serde(borrow)]
    pub(super) batch: Vec<&'a RawValue>,
    #[serde(borrow, default)]
    context: Option<&'a RawValue>,
    #[serde(borrow, default)]
    integrations: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "sentAt")]
    sent_at: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "writeKey")]
    write_key: Option<&'a RawValue>,
}

impl<'a> Batch<'a> {
    /// Cuts the body into its parts.
    pub(super) fn parse(body: &'a [u8]) -> Result<Self, Refused> {
        serde_json::from_slice(body)
            .map_err(|error| if error.is_data() { Refused::NotABatch } else { Refused::Event(Rejection::json(&error)) })
    }

    /// The key in the body.
    pub(super) fn write_key(&self) -> Option<String> {
        serde_json::from_str(self.write_key?.get()).ok()
    }

    /// What the items share, read once.
    pub(super) fn shared(&self) -> Result<Shared, Rejection> {
        let mut parts = Vec::new();
        for (key, raw) in [("context", self.context), ("integrations", self.integrations)] {
            let Some(raw) = raw else { continue };
            match object(&Bytes::copy_from_slice(raw.get().as_bytes())) {
                Ok(body) => parts.push(Part { key, bytes: raw.get().len(), map: body.to_map() }),
                // Segment overlooks it.
                Err(Rejection::NotAnObject) => {}
                Err(why) => return Err(why),
            }
        }
        // Only a text can be a time; what else is there is not worth copying.
        Ok(Shared { parts, sent_at: self.sent_at.and_then(|raw| serde_json::from_str(raw.get()).ok()) })
    }
}

/// What the items of a batch share.
#[derive(Debug)]
pub(super) struct Shared {
    parts: Vec<Part>,
    sent_at: Option<String>,
}

/// A map that goes into each item.
#[derive(Debug)]
struct Part {
    key: &'static str,
    bytes: usize,
    map: Map<String, Value>,
}

impl Shared {
    /// How much longer an event gets by it, at most.
    fn adds(&self, body: &Body) -> usize {
        let taken = |part: &&Part| matches!(body.shape(part.key), None | Some(Shape::Null | Shape::Map));
        let sent_at = if has_sent_at(body) { 0 } else { self.sent_at.as_ref().map_or(0, String::len) };
        self.parts.iter().filter(taken).map(|part| part.bytes).sum::<usize>() + sent_at
    }

    /// Gives an event what it does not have itself.
    fn complete(&self, body: &mut Body) {
        if let Some(sent_at) = &self.sent_at
            && !has_sent_at(body)
        {
            body.insert("sentAt", Value::String(sent_at.clone()));
        }
        for part in &self.parts {
            match body.shape(part.key) {
                Some(Shape::Map) => {
                    if let Some(Value::Object(own)) = body.get_mut(part.key) {
                        for (name, value) in &part.map {
                            own.entry(name.as_str()).or_insert_with(|| value.clone());
                        }
                    }
                }
                None | Some(Shape::Null) => body.insert(part.key, Value::Object(part.map.clone())),
                // Refused when it is decoded.
                Some(_) => {}
            }
        }
    }
}

fn has_sent_at(body: &Body) -> bool {
    !matches!(body.shape("sentAt"), None | Some(Shape::Null))
}

/// Whose events they are, how and when they came, and what they may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms<'a> {
    pub(super) source: &'a str,
    pub(super) origin: Origin,
    pub(super) received_at: Timestamp,
    pub(super) limits: &'a ServerConfig,
}

/// Decodes every item that a batch may hold: the good ones go to `take`, the bad ones come back; of those behind the last that it may
/// hold the first one is bad for all. `text` is what the items are cut out of, `shared` what the items of a batch share.
///
/// A shared part is written into each item, so that a short body can hold long events: each one's length is taken with what it
/// shares, and so is their sum.
pub(super) fn sort<'a>(
    terms: Terms<'_>,
    text: &Bytes,
    items: &[&'a RawValue],
    shared: Option<&Shared>,
    mut take: impl FnMut(Event),
) -> Vec<Bad<'a>> {
    let Terms { source, origin, received_at, limits } = terms;
    let longest = limits.max_batch.get().saturating_mul(EXPANSION);
    let mut total = 0_u64;
    let mut bad = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let raw = item.get();
        let refuse = |why, body: Option<&Body>| Bad { index, why, raw: raw.as_bytes(), ..Bad::known(body) };
        let limit = limits.max_batch_events;
        if index >= limit {
            // The first one stands for the others: a short body can hold hundreds of thousands.
            bad.push(refuse(Rejection::TooMany { limit, more: items.len() - index - 1 }, None));
            break;
        }
        if let Err(why) = fits(raw.len(), limits) {
            bad.push(refuse(why, None));
            continue;
        }
        let own = text.slice_ref(raw.as_bytes());
        let mut body = match object(&own) {
            Ok(body) => body,
            Err(why) => {
                bad.push(refuse(why, None));
                continue;
            }
        };
        let bytes = raw.len() + shared.map_or(0, |shared| shared.adds(&body));
        if let Err(why) = fits(bytes, limits) {
            bad.push(refuse(why, Some(&body)));
            continue;
        }
        if total + bytes as u64 > longest {
            bad.push(refuse(Rejection::TooLong { limit: longest, times: EXPANSION }, Some(&body)));
            continue;
        }
        total += bytes as u64;
        if let Some(shared) = shared {
            shared.complete(&mut body);
        }
        match decode(source, received_at, body, origin) {
            Ok(event) => take(event),
            // A refused event is rare: it is read again for what its row shows.
            Err(why) => bad.push(refuse(why, object(&own).ok().as_ref())),
        }
    }
    bad
}

impl Bad<'_> {
    /// A refused event with its id and type, as far as they can be read. `why`, `index` and `raw` are the caller's to set.
    pub(super) fn known(body: Option<&Body>) -> Self {
        let text = |key: &str| {
            let text: String = body?.get(key)?.as_str()?.chars().take(100).collect();
            Some(text)
        };
        Self { index: 0, why: Rejection::NotAnObject, message_id: text("messageId"), kind: text("type"), raw: &[] }
    }
}

/// Whether an event of this many bytes is taken.
pub(super) fn fits(bytes: usize, limits: &ServerConfig) -> Result<(), Rejection> {
    let limit = limits.max_event.get();
    if bytes as u64 > limit { Err(Rejection::TooLarge { bytes, limit }) } else { Ok(()) }
}
