//! A batch: which of its events are good.
//!
//! Items are cut out of the body first and parsed one by one, so that each has its size, its own error and its own text.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::accept::Bad;
use super::decode::decode;
use super::json::object;
use super::rejection::Rejection;
use super::timestamps::Origin;
use crate::config::ServerConfig;
use crate::event::Event;

/// The body of `/v1/batch`. Keys that Segment does not know are left alone.
#[derive(Deserialize)]
pub(super) struct Batch<'a> {
    #[serde(borrow)]
    pub(super) batch: Vec<&'a RawValue>,
    #[serde(default)]
    context: Value,
    #[serde(default)]
    integrations: Value,
    #[serde(default, rename = "sentAt")]
    sent_at: Value,
    #[serde(default, rename = "writeKey")]
    write_key: Value,
}

impl Batch<'_> {
    /// The key in the body.
    pub(super) fn write_key(&self) -> Option<&str> {
        self.write_key.as_str()
    }

    /// Gives an event what it does not have itself.
    fn complete(&self, body: &mut Map<String, Value>) {
        if body.get("sentAt").is_none_or(Value::is_null) && !self.sent_at.is_null() {
            body.insert("sentAt".to_owned(), self.sent_at.clone());
        }
        for (key, common) in [("context", &self.context), ("integrations", &self.integrations)] {
            let Value::Object(common) = common else { continue };
            match body.entry(key).or_insert(Value::Null) {
                Value::Object(own) => {
                    for (name, value) in common {
                        own.entry(name.as_str()).or_insert_with(|| value.clone());
                    }
                }
                absent @ Value::Null => *absent = Value::Object(common.clone()),
                // Refused when it is decoded.
                _ => {}
            }
        }
    }
}

/// The events of a batch or of a webhook's array, sorted into good and bad.
#[derive(Debug, Default)]
pub(super) struct Sorted<'a> {
    pub(super) good: Vec<Event>,
    pub(super) bad: Vec<Bad<'a>>,
}

/// Decodes every item. `batch` is what its items share.
pub(super) fn sort<'a>(
    source: &str,
    received_at: Timestamp,
    items: &[&'a RawValue],
    batch: Option<&Batch<'_>>,
    limits: &ServerConfig,
) -> Sorted<'a> {
    let origin = if batch.is_some() { Origin::Client } else { Origin::Segment };
    let mut sorted = Sorted { good: Vec::with_capacity(items.len()), bad: Vec::new() };
    for (index, item) in items.iter().enumerate() {
        let raw = item.get();
        let refuse = |why, body: Option<&Map<String, Value>>| Bad { index, why, raw: raw.as_bytes(), ..Bad::known(body) };
        if index >= limits.max_batch_events {
            sorted.bad.push(refuse(Rejection::TooMany(limits.max_batch_events), None));
            continue;
        }
        if let Err(why) = fits(raw.len(), limits) {
            sorted.bad.push(refuse(why, None));
            continue;
        }
        let mut body = match object(raw.as_bytes()) {
            Ok(body) => body,
            Err(why) => {
                sorted.bad.push(refuse(why, None));
                continue;
            }
        };
        if let Some(batch) = batch {
            batch.complete(&mut body);
        }
        match decode(source, received_at, body, origin) {
            Ok(event) => sorted.good.push(event),
            // A refused event is rare: it is read again for what its row shows.
            Err(why) => sorted.bad.push(refuse(why, object(raw.as_bytes()).ok().as_ref())),
        }
    }
    sorted
}

impl Bad<'_> {
    /// A refused event with its id and type, as far as they can be read. `why`, `index` and `raw` are the caller's to set.
    pub(super) fn known(body: Option<&Map<String, Value>>) -> Self {
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
