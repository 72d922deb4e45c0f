//! An event: one call in Segment's format, as plain data.
//!
//! Invariants: `body` is the whole event as scripts see it, with `type`, `messageId`, `receivedAt` and `timestamp` filled in;
//! ids are strings or numbers there as they came, and [`Event::user_id`] and its kin give the one canonical string of each;
//! an `Event` that exists has passed validation.

mod body;
mod entries;

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};

pub use body::{Body, Shape};

/// Segment's call types, and the `delete` notification of its webhooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventType {
    /// Who the user is.
    Identify,
    /// What the user did.
    Track,
    /// Which group the user belongs to.
    Group,
    /// A page was viewed.
    Page,
    /// A screen of an app was viewed.
    Screen,
    /// Two ids are one user.
    Alias,
    /// A user is to be erased (webhooks only).
    Delete,
}

impl EventType {
    /// Every type, in a fixed order; `self as usize` is its index here.
    pub const ALL: [Self; 7] = [Self::Identify, Self::Track, Self::Group, Self::Page, Self::Screen, Self::Alias, Self::Delete];

    /// The value of the event's `type` key.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Identify => "identify",
            Self::Track => "track",
            Self::Group => "group",
            Self::Page => "page",
            Self::Screen => "screen",
            Self::Alias => "alias",
            Self::Delete => "delete",
        }
    }

    /// Reads the value of a `type` key.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|t| t.as_str() == text)
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One accepted event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The call type.
    pub kind: EventType,
    /// Segment's `messageId`; generated when the sender gave none.
    pub message_id: String,
    /// Name of the source that sent it.
    pub source: String,
    /// When we received it.
    pub received_at: jiff::Timestamp,
    /// The whole event, as scripts see it.
    pub body: Body,
}

impl Event {
    /// The `event` name of a track call.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.body.get("event").and_then(Value::as_str)
    }

    /// Canonical `userId`.
    #[must_use]
    pub fn user_id(&self) -> Option<String> {
        self.body.get("userId").and_then(canonical_id)
    }

    /// Canonical `anonymousId`.
    #[must_use]
    pub fn anonymous_id(&self) -> Option<String> {
        self.body.get("anonymousId").and_then(canonical_id)
    }

    /// Canonical `previousId` of an alias call.
    #[must_use]
    pub fn previous_id(&self) -> Option<String> {
        self.body.get("previousId").and_then(canonical_id)
    }

    /// Canonical `groupId` of a group call.
    #[must_use]
    pub fn group_id(&self) -> Option<String> {
        self.body.get("groupId").and_then(canonical_id)
    }

    /// The value at a dotted path (`traits.company.name`), keys taken literally.
    #[must_use]
    pub fn at(&self, path: &str) -> Option<&Value> {
        let mut parts = path.split('.');
        let mut value = self.body.get(parts.next()?)?;
        for part in parts {
            value = value.get(part)?;
        }
        Some(value)
    }

    /// The bytes that the store keeps: the body as JSON, what was not changed of it as it came.
    #[must_use]
    pub fn payload(&self) -> Vec<u8> {
        let mut payload = Vec::new();
        self.body.write(&mut payload);
        payload
    }

    /// Reads back what [`Event::payload`] wrote.
    ///
    /// # Errors
    /// When the bytes are not the JSON of a valid event (a damaged store).
    pub fn from_payload(source: &str, received_at: jiff::Timestamp, payload: &Bytes) -> Result<Self, PayloadError> {
        let body = Body::parse(payload)?;
        let kind = body.get("type").and_then(Value::as_str).and_then(EventType::parse).ok_or(PayloadError::NoType)?;
        let message_id = body.get("messageId").and_then(Value::as_str).ok_or(PayloadError::NoMessageId)?.to_owned();
        Ok(Self { kind, message_id, source: source.to_owned(), received_at, body })
    }
}

/// A stored payload that is not an event: the store was damaged or written by something else.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// Not JSON.
    #[error("the stored event is not JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// No known `type`.
    #[error("the stored event has no known type")]
    NoType,
    /// No `messageId`.
    #[error("the stored event has no messageId")]
    NoMessageId,
}

/// One string for an id, whether it came as string or number. Blank strings, null and other types are no id.
#[must_use]
pub fn canonical_id(value: &Value) -> Option<String> {
    match value {
        Value::String(s) if !s.trim().is_empty() => Some(s.trim().to_owned()),
        Value::Number(n) => Some(number_text(n)),
        _ => None,
    }
}

/// A number as a text that is compared with others: in plain digits, so that `1000`, `1000.0` and `1e3` are one.
#[must_use]
pub fn number_text(number: &Number) -> String {
    match number.as_f64() {
        Some(float) if number.is_f64() => {
            // `-0` and `0` are one number.
            if float == 0.0 { "0".to_owned() } else { float.to_string() }
        }
        _ => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_id_has_one_text() {
        for value in [json!(1000), json!(1000.0), json!(1e3), json!("1000"), json!(" 1000 ")] {
            assert_eq!(canonical_id(&value).as_deref(), Some("1000"), "{value}");
        }
        assert_eq!(canonical_id(&json!(u64::MAX)).as_deref(), Some("18446744073709551615"));
        assert_eq!(canonical_id(&json!(-0.0)).as_deref(), Some("0"));
        assert_eq!(canonical_id(&json!(1.5)).as_deref(), Some("1.5"));
        // A text is what it is.
        assert_eq!(canonical_id(&json!("007")).as_deref(), Some("007"));
        assert_eq!(canonical_id(&json!("1e3")).as_deref(), Some("1e3"));
    }
}
