//! From JSON to a valid, complete event.
//!
//! Invariants: nothing that Segment would deliver is refused: unknown keys, null and numeric ids, any time format pass; a numeric
//! id loses no digit and has one form, however it was written (`ids`);
//! `writeKey` never gets into an event. A `messageId` of more than Segment's 100 characters is taken as it is.

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::Value;

use super::rejection::Rejection;
use super::timestamps::{self, Origin};
use super::{ids, json};
use crate::event::{Body, Event, EventType, Shape, canonical_id};

/// Reads one event that has been through Segment or comes from a file: validates it and fills in `messageId`, `receivedAt`
/// and `timestamp` where they are missing.
///
/// # Errors
/// When it is not an event that the Tracking API or a webhook would be answered 200 for.
pub fn decode_event(source: &str, received_at: Timestamp, raw: Value) -> Result<Event, Rejection> {
    match raw {
        Value::Object(body) => decode(source, received_at, body.into(), Origin::Segment),
        _ => Err(Rejection::NotAnObject),
    }
}

/// As [`decode_event`], from the event's text.
///
/// # Errors
/// As [`decode_event`], and when the text is no JSON object.
pub fn decode_text(source: &str, received_at: Timestamp, text: &Bytes) -> Result<Event, Rejection> {
    decode(source, received_at, json::object(text)?, Origin::Segment)
}

/// Reads one event of a known origin.
pub(super) fn decode(source: &str, received_at: Timestamp, mut body: Body, origin: Origin) -> Result<Event, Rejection> {
    let kind = match body.get("type") {
        None | Some(Value::Null) => return Err(Rejection::NoType),
        Some(value) => value.as_str().and_then(EventType::parse).ok_or(Rejection::UnknownType)?,
    };
    if kind == EventType::Delete && origin == Origin::Client {
        return Err(Rejection::DeleteNotHere);
    }
    check_shape(&body)?;
    check_ids(kind, &body)?;
    ids::settle(&mut body);
    let message_id = message_id(&mut body)?;
    body.remove("writeKey");
    timestamps::fill(&mut body, received_at, origin);
    Ok(Event { kind, message_id, source: source.to_owned(), received_at, body })
}

/// The parts that scripts take for maps.
fn check_shape(body: &Body) -> Result<(), Rejection> {
    for part in ["context", "traits", "properties"] {
        if !matches!(body.shape(part), None | Some(Shape::Null | Shape::Map)) {
            return Err(Rejection::NotAnObjectAt(part));
        }
    }
    Ok(())
}

fn check_ids(kind: EventType, body: &Body) -> Result<(), Rejection> {
    let has = |key: &str| body.get(key).is_some_and(is_id);
    let somebody = || has("userId") || has("anonymousId");
    match kind {
        EventType::Identify | EventType::Page | EventType::Screen if !somebody() => Err(Rejection::NoIdentity),
        EventType::Track if body.get("event").and_then(Value::as_str).is_none_or(|name| name.trim().is_empty()) => {
            Err(Rejection::NoEventName)
        }
        EventType::Track if !somebody() => Err(Rejection::NoIdentity),
        // Who joined is not needed to know the group.
        EventType::Group if !has("groupId") => Err(Rejection::NoGroupId),
        EventType::Alias | EventType::Delete if !has("userId") => Err(Rejection::NoUserId),
        EventType::Alias if !has("previousId") => Err(Rejection::NoPreviousId),
        _ => Ok(()),
    }
}

/// Whether [`canonical_id`] gives one, without making it.
fn is_id(value: &Value) -> bool {
    match value {
        Value::String(text) => !text.trim().is_empty(),
        Value::Number(_) => true,
        _ => false,
    }
}

/// The event's own id; a random one when it has none, so that it is always fresh.
fn message_id(body: &mut Body) -> Result<String, Rejection> {
    let id = match body.get("messageId") {
        Some(Value::String(text)) if !text.trim().is_empty() => return Ok(text.clone()),
        Some(value @ Value::Number(_)) => canonical_id(value),
        None | Some(Value::Null | Value::String(_)) => None,
        Some(_) => return Err(Rejection::BadMessageId),
    };
    let id = id.unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
    body.insert("messageId", Value::String(id.clone()));
    Ok(id)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at() -> Timestamp {
        "2026-03-01T12:00:00Z".parse().expect("a time")
    }

    fn client(body: Value) -> Result<Event, Rejection> {
        let Value::Object(body) = body else { panic!("no object") };
        decode("web", at(), body.into(), Origin::Client)
    }

    #[test]
    fn every_type_needs_what_names_its_subject() {
        let refused = [
            (json!({"userId": "1"}), Rejection::NoType),
            (json!({"type": null, "userId": "1"}), Rejection::NoType),
            (json!({"type": "trak", "userId": "1"}), Rejection::UnknownType),
            (json!({"type": 7, "userId": "1"}), Rejection::UnknownType),
            (json!({"type": "identify"}), Rejection::NoIdentity),
            (json!({"type": "identify", "userId": " ", "anonymousId": null}), Rejection::NoIdentity),
            (json!({"type": "page", "userId": true}), Rejection::NoIdentity),
            (json!({"type": "screen", "userId": {}}), Rejection::NoIdentity),
            (json!({"type": "track", "userId": "1"}), Rejection::NoEventName),
            (json!({"type": "track", "userId": "1", "event": ""}), Rejection::NoEventName),
            (json!({"type": "track", "event": "A"}), Rejection::NoIdentity),
            (json!({"type": "group", "userId": "1"}), Rejection::NoGroupId),
            (json!({"type": "alias", "previousId": "1"}), Rejection::NoUserId),
            (json!({"type": "alias", "userId": "1"}), Rejection::NoPreviousId),
            (json!({"type": "delete", "userId": "1"}), Rejection::DeleteNotHere),
            (json!({"type": "identify", "userId": "1", "traits": []}), Rejection::NotAnObjectAt("traits")),
            (json!({"type": "identify", "userId": "1", "context": "x"}), Rejection::NotAnObjectAt("context")),
            (json!({"type": "track", "event": "A", "userId": "1", "properties": 1}), Rejection::NotAnObjectAt("properties")),
            (json!({"type": "page", "userId": "1", "messageId": ["a"]}), Rejection::BadMessageId),
        ];
        for (body, why) in refused {
            assert_eq!(client(body.clone()), Err(why), "{body}");
        }
        let taken = [
            json!({"type": "identify", "userId": 42, "anonymousId": null, "traits": null, "extra": [1]}),
            json!({"type": "identify", "anonymousId": "a"}),
            json!({"type": "track", "event": "A", "anonymousId": 7}),
            json!({"type": "group", "groupId": "g"}),
            json!({"type": "page", "userId": "1"}),
            json!({"type": "screen", "userId": "1", "name": null}),
            json!({"type": "alias", "userId": "1", "previousId": 0}),
        ];
        for body in taken {
            assert!(client(body.clone()).is_ok(), "{body}");
        }
        assert_eq!(decode_event("web", at(), json!({"type": "delete", "userId": "1"})).map(|e| e.kind), Ok(EventType::Delete));
        assert_eq!(decode_event("web", at(), json!([])), Err(Rejection::NotAnObject));
    }

    #[test]
    fn a_missing_message_id_is_made_and_a_given_one_is_kept_whatever_its_length() {
        let body = |id: Value| json!({"type": "page", "userId": "1", "messageId": id});
        let long = "m".repeat(300);
        assert_eq!(client(body(json!(long))).expect("taken").message_id, long);
        assert_eq!(client(body(json!(17))).expect("taken").body.get("messageId"), Some(&json!("17")));
        for none in [Value::Null, json!(""), json!("  ")] {
            let (a, b) = (client(body(none.clone())).expect("taken"), client(body(none)).expect("taken"));
            assert_ne!(a.message_id, b.message_id);
            assert_eq!(a.body.get("messageId"), Some(&Value::String(a.message_id.clone())));
        }
    }

    #[test]
    fn a_decoded_event_survives_the_store_and_holds_no_write_key() {
        let event = client(json!({"type": "identify", "userId": "1", "writeKey": "secret"})).expect("taken");
        let payload = event.payload();
        assert!(!String::from_utf8_lossy(&payload).contains("secret"));
        assert_eq!(Event::from_payload("web", at(), &payload.into()).expect("read back"), event);
    }
}
