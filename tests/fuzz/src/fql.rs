//! Triggers. An input is a trigger; a line `---`; perhaps another trigger; a line `---`; perhaps an event as JSON.

use std::sync::LazyLock;

use pipewright::event::Event;
use pipewright::ingest::decode_event;
use pipewright::rules::Trigger;
use serde_json::{Value, json};

use super::NOW;

/// Events of every type, for inputs that bring none.
static EVENTS: LazyLock<Vec<Event>> = LazyLock::new(|| {
    let about = json!({ "email": "ada@acme.com", "plan": "pro", "age": 36, "vip": true, "tags": ["a", 2, null], "none": null });
    let bodies = [
        json!({ "type": "identify", "userId": "u1", "traits": about }),
        json!({ "type": "track", "userId": "u1", "event": "Order Completed", "properties": about }),
        json!({ "type": "track", "anonymousId": "a1", "event": "*", "properties": {} }),
        json!({ "type": "group", "groupId": 42, "traits": about }),
        json!({ "type": "page", "userId": "u1", "name": "Pricing", "context": { "page": { "url": "https://acme.com/?a=b" } } }),
        json!({ "type": "screen", "userId": "", "anonymousId": 7 }),
        json!({ "type": "alias", "userId": "u1", "previousId": "u0" }),
        json!({ "type": "delete", "userId": "u1" }),
    ];
    bodies.into_iter().filter_map(event).collect()
});

fn event(body: Value) -> Option<Event> {
    decode_event("web", NOW, body).ok()
}

/// Tries one trigger, or two.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut parts = text.split("\n---\n");
    let first = parts.next().map(parsed);
    let second = parts.next().map(parsed);
    let own = parts.next().and_then(|json| serde_json::from_str(json).ok()).and_then(event);
    let Some(Some(first)) = first else { return };
    for event in EVENTS.iter().chain(&own) {
        let meets = first.matches(event);
        let why = first.explain(event);
        assert_eq!(why.matched, meets, "the explanation says otherwise: {first}");
        assert!(why.failed.iter().all(|failed| !failed.to_string().is_empty()));
        assert!(!(meets && first.is_impossible()), "an event meets a trigger that none can meet: {first}");
    }
    let Some(Some(second)) = second else { return };
    for (inner, outer) in [(&first, &second), (&second, &first)] {
        if inner.is_part_of(outer) {
            let beyond = EVENTS.iter().chain(&own).find(|event| inner.matches(event) && !outer.matches(event));
            assert!(beyond.is_none(), "{inner} is no part of {outer}: {beyond:?}");
        }
    }
}

/// The trigger; what it prints means the same. An error points into the text.
fn parsed(text: &str) -> Option<Trigger> {
    match Trigger::parse(text) {
        Ok(trigger) => {
            let printed = trigger.to_string();
            assert_eq!(Trigger::parse(&printed).as_ref(), Ok(&trigger), "it prints as another trigger: {printed}");
            Some(trigger)
        }
        Err(error) => {
            let longest = text.chars().count() + 1;
            assert!((1..=longest).contains(&error.column), "an error at column {} of {longest}", error.column);
            None
        }
    }
}
