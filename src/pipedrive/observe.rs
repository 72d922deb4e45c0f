//! Answers to writes that are not sent, for accounts whose writes are off, for `try` and for script tests.
//!
//! Invariants: no request but GETs leaves a session that observes; what would have been sent is recorded in its trace, marked
//! as not sent and charged nothing. Ids of what is not there are made up, so that the plan goes on, and can be told from Pipedrive's.

use serde_json::{Map, Value, json};

use super::{Exchange, Id, Kind, Method, Purpose, Request, Trace};

/// What the exchange says in place of a status.
pub const NOT_SENT: &str = "not sent: observing";

/// Ids of entities that would have been created start here, far above Pipedrive's.
const FIRST_ID: u64 = 9_000_000_000_000_000;

/// How far above them the ids of what would be waited for start.
const AWAITED: u64 = 1_000_000_000;

/// What a made-up id stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MadeUp {
    /// An entity that would have been created.
    New,
    /// An entity that others would create, and that would be waited for.
    Awaited,
}

/// An id for the `n`th entity that would be waited for.
#[must_use]
pub fn awaited_id(kind: Kind, n: usize) -> Id {
    made_up(kind, AWAITED + n as u64)
}

fn made_up(kind: Kind, number: u64) -> Id {
    match kind {
        Kind::Lead => Id::Uuid(uuid::Uuid::from_u64_pair(FIRST_ID, number)),
        _ => Id::Number(FIRST_ID + number),
    }
}

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
        shared: false,
    });
    let mut data = match &request.body {
        Some(Value::Object(body)) => body.clone(),
        _ => Map::new(),
    };
    let last = request.path.rsplit('/').next().unwrap_or_default();
    let id = match (request.method, last.parse::<u64>()) {
        (Method::Post, _) if request.path == Kind::Lead.path() => made_up(Kind::Lead, number).to_json(),
        (Method::Post, _) => made_up(Kind::Person, number).to_json(),
        (_, Ok(id)) => json!(id),
        (_, Err(_)) => json!(last),
    };
    data.insert("id".to_owned(), id);
    json!({ "success": true, "data": data })
}

/// What an id stands for that was made up here; none: it is Pipedrive's.
#[must_use]
pub fn is_made_up(id: &Id) -> Option<MadeUp> {
    let number = match id {
        Id::Number(n) => n.checked_sub(FIRST_ID)?,
        Id::Uuid(uuid) => Some(uuid.as_u64_pair()).filter(|(first, _)| *first == FIRST_ID)?.1,
    };
    Some(if number < AWAITED { MadeUp::New } else { MadeUp::Awaited })
}
