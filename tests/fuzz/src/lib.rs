//! What must hold for any input, a target each.
//!
//! A function here takes raw bytes and panics when a promise is broken. `cargo fuzz` calls it with what it invents, `tests/it` with
//! the files of `tests/fuzz/corpus/`. So everything that fuzzing ever found is tried in every test run.

pub mod fql;
pub mod plan;
pub mod rules_toml;
pub mod tracking;
pub mod webhook;

use jiff::Timestamp;
use pipewright::event::Event;

/// Tries one input.
pub type Target = fn(&[u8]);

/// The targets by name: the folder of the corpus and the binary are called the same.
pub const TARGETS: [(&str, Target); 5] = [
    ("tracking", tracking::run),
    ("webhook", webhook::run),
    ("fql", fql::run),
    ("rules_toml", rules_toml::run),
    ("plan", plan::run),
];

/// The one moment at which everything arrives.
const NOW: Timestamp = Timestamp::constant(1_772_366_400, 0);

/// What holds for every event that the door lets in.
fn check_event(event: &Event) {
    assert!(!event.message_id.trim().is_empty(), "an event without messageId");
    assert_eq!(event.body.get("messageId").and_then(|id| id.as_str()), Some(&*event.message_id), "two ids");
    assert!(event.body.get("writeKey").is_none(), "a write key was taken along");
    for time in ["timestamp", "receivedAt"] {
        let text = event.body.get(time).and_then(|time| time.as_str()).expect("a time");
        assert!(text.parse::<Timestamp>().is_ok() || text.parse::<jiff::civil::DateTime>().is_ok(), "{time} is {text}");
    }
    // What is stored is what was decided on: a restart decides the same, and scripts can read it.
    let payload = event.payload();
    serde_json::from_slice::<serde_json::Value>(&payload).expect("the stored payload is JSON");
    let again = Event::from_payload(&event.source, event.received_at, &payload.into()).expect("the stored event is an event");
    assert_eq!(&again, event, "the stored event is another");
    assert_eq!(again.user_id(), event.user_id());
}
