//! The door's decisions without its sockets and its store: which events a body holds.
//!
//! Invariant: what is decided here is what `tracking` and `webhook` decide; they run the same functions. For tests and fuzzing, which
//! want millions of bodies a minute.

use bytes::Bytes;
use http::HeaderMap;
use jiff::Timestamp;

use super::batch::{self, Batch, Terms};
use super::refused::Refused;
use super::rejection::Rejection;
use super::timestamps::Origin;
use super::{json, tracking, webhook};
use crate::config::ServerConfig;
use crate::event::{Event, EventType};
use crate::rules::SourceSecrets;

/// The events of one body.
#[derive(Debug, Default)]
pub struct Sorted {
    /// The good ones, in order.
    pub taken: Vec<Event>,
    /// The bad ones: index and reason. One reason may stand for all that follow.
    pub refused: Vec<(usize, Rejection)>,
}

/// The event of a single call.
///
/// # Errors
/// When the body is no event of this type.
pub fn call(source: &str, at: Timestamp, kind: EventType, body: &Bytes) -> Result<Event, Rejection> {
    tracking::event(source, at, kind, json::object(body)?)
}

/// The events of a batch.
///
/// # Errors
/// The code of the answer, when the whole request is refused.
pub fn batch(source: &str, at: Timestamp, limits: &ServerConfig, body: &Bytes) -> Result<Sorted, &'static str> {
    let code = |refused: Refused| refused.code();
    let batch = Batch::parse(body).map_err(code)?;
    let shared = batch.shared().map_err(|why| why.code())?;
    let mut taken = Vec::new();
    let terms = Terms { source, origin: Origin::Client, received_at: at, limits };
    let bad = batch::sort(terms, body, &batch.batch, Some(&shared), |event| taken.push(event));
    Ok(Sorted { taken, refused: bad.into_iter().map(|bad| (bad.index, bad.why)).collect() })
}

/// The events of a webhook's request.
///
/// # Errors
/// The code of the answer, when the whole request is refused.
pub fn webhook(
    source: &str,
    at: Timestamp,
    limits: &ServerConfig,
    secrets: &SourceSecrets,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<Sorted, &'static str> {
    let code = |refused: Refused| refused.code();
    let secret = secrets.webhook_secret.as_ref().ok_or(Refused::NoWebhook).map_err(code)?;
    let Some(items) = webhook::proven(headers, secrets, secret, body).map_err(code)? else {
        let event = webhook::single(source, at, limits, body).map_err(|why| why.code())?;
        return Ok(Sorted { taken: vec![event], refused: Vec::new() });
    };
    let mut taken = Vec::new();
    let terms = Terms { source, origin: Origin::Segment, received_at: at, limits };
    let bad = batch::sort(terms, body, &items, None, |event| taken.push(event));
    Ok(Sorted { taken, refused: bad.into_iter().map(|bad| (bad.index, bad.why)).collect() })
}
