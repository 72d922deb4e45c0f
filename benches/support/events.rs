//! The events of the benches: 1.5 KB identify calls, as they come from a browser.

use std::sync::Arc;

use bytes::Bytes;
use pipewright::store::{Dedupe, NewDelivery, NewEvent};

/// The JSON of one event.
pub(crate) fn payload(message_id: &str, user: u64) -> Bytes {
    let filler = "x".repeat(1_000);
    format!(
        r#"{{"type":"identify","messageId":"{message_id}","userId":"{user}","anonymousId":"0d1f7c2e-5a52-4f0e-9d0c-5b7f6a1c9e11","sentAt":"2026-03-01T12:00:00.000Z","timestamp":"2026-03-01T12:00:00.000Z","traits":{{"email":"user{user}@example.com","name":"Ada Lovelace","plan":"Pro","company":{{"name":"Analytical Engines"}}}},"context":{{"ip":"192.0.2.7","locale":"en-GB","page":{{"path":"/pricing","url":"https://example.com/pricing"}},"userAgent":"{filler}"}}}}"#
    )
    .into()
}

/// One event that one rule wants, of one of 100,000 users.
pub(crate) fn new_event(number: u64) -> NewEvent {
    let user = number.wrapping_mul(0x9e37_79b9) % 100_000;
    let message_id = format!("{:08x}-0000-4000-8000-{number:012x}", number.wrapping_mul(0x9e37_79b9) as u32);
    NewEvent {
        payload: payload(&message_id, user),
        source: "website".to_owned(),
        message_id,
        kind: "identify",
        name: None,
        user: Some(user.to_string()),
        received_at: jiff::Timestamp::now(),
        deliveries: vec![NewDelivery {
            rule: Arc::from("person"),
            account: Arc::from("main"),
            key: format!("u:{user}"),
            after: Vec::new(),
            behind: Vec::new(),
        }],
        dedupe: Dedupe::Window,
        repeats: None,
        kept: true,
        alias: None,
        forget: false,
    }
}
