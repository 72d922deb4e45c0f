//! Bodies of the Tracking API: each input is tried as a call of every type, and as a batch.

use bytes::Bytes;
use pipewright::config::ServerConfig;
use pipewright::event::EventType;
use pipewright::ingest::pure;

use super::{NOW, check_event};

/// Tries one body.
pub fn run(data: &[u8]) {
    let body = Bytes::copy_from_slice(data);
    let limits = ServerConfig::default();
    for kind in EventType::ALL.into_iter().filter(|kind| *kind != EventType::Delete) {
        match pure::call("web", NOW, kind, &body) {
            Ok(event) => {
                assert_eq!(event.kind, kind, "the path says the type");
                check_event(&event);
            }
            Err(why) => assert!(!why.to_string().is_empty()),
        }
    }
    let Ok(sorted) = pure::batch("web", NOW, &limits, &body) else { return };
    assert!(sorted.taken.len() <= limits.max_batch_events, "more events than a batch may hold");
    assert!(sorted.refused.windows(2).all(|two| two[0].0 < two[1].0), "refused twice, or out of order");
    for event in &sorted.taken {
        assert_ne!(event.kind, EventType::Delete, "a client cannot delete");
        check_event(event);
    }
    // None is lost: each item is either taken or refused, up to the one that stands for the rest.
    let whole: Option<serde_json::Value> = serde_json::from_slice(data).ok();
    if let Some(items) = whole.as_ref().and_then(|batch| batch.get("batch")?.as_array())
        && items.len() <= limits.max_batch_events
    {
        assert_eq!(sorted.taken.len() + sorted.refused.len(), items.len(), "an event was lost");
    }
}
