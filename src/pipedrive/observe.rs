//! Answers to writes that are not sent, for accounts whose writes are off, for `try` and for script tests.
//!
//! Invariant: no request but GETs leaves a session that observes; what would have been sent is recorded in its trace, marked
//! as not sent and charged nothing.

use serde_json::{Map, Value, json};

use super::{Exchange, Kind, Method, Purpose, Request, Trace};

/// What the exchange says in place of a status.
pub const NOT_SENT: &str = "not sent: observing";

/// Ids of entities that would have been created start here, far above Pipedrive's.
const FIRST_ID: u64 = 9_000_000_000_000_000;

/// Records the request and makes up the answer that a success would have had.
pub(super) fn answer(trace: &Trace, request: &Request, purpose: Purpose) -> Value {
    let number = trace.exchanges().iter().filter(|e| e.error.as_deref() == Some(NOT_SENT)).count() as u64;
    trace.push(Exchange {
        at: jiff::Timestamp::now(),
        purpose,
        method: request.method,
        path: request.path.clone(),
        body: request.body.clone(),
        status: None,
        error: Some(NOT_SENT.to_owned()),
        tokens: 0,
        ms: 0,
    });
    let mut data = match &request.body {
        Some(Value::Object(body)) => body.clone(),
        _ => Map::new(),
    };
    let last = request.path.rsplit('/').next().unwrap_or_default();
    let id = match (request.method, last.parse::<u64>()) {
        (Method::Post, _) if request.path == Kind::Lead.path() => json!(uuid::Uuid::from_u64_pair(FIRST_ID, number).to_string()),
        (Method::Post, _) => json!(FIRST_ID + number),
        (_, Ok(id)) => json!(id),
        (_, Err(_)) => json!(last),
    };
    data.insert("id".to_owned(), id);
    json!({ "success": true, "data": data })
}

/// Whether an id was made up here.
#[must_use]
pub fn is_made_up(id: &super::Id) -> bool {
    match id {
        super::Id::Number(n) => *n >= FIRST_ID,
        super::Id::Uuid(uuid) => uuid.as_u64_pair().0 == FIRST_ID,
    }
}
