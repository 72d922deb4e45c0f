//! The Tracking API: single calls and batches.

use jiff::Timestamp;
use serde_json::Value;

use super::accept::Bad;
use super::batch::{self, Batch};
use super::decode::decode;
use super::json;
use super::refused::{Answer, Refused};
use super::rejection::Rejection;
use super::request::Request;
use super::timestamps::Origin;
use crate::event::{Body, Event, EventType};

/// One event of the type that the path names.
pub(super) async fn call(mut request: Request<'_>, kind: EventType) -> Result<Answer, Refused> {
    let by_header = request.source_by_header()?;
    let bytes = request.event_body().await?;
    let at = Timestamp::now();
    let body = match json::object(&bytes) {
        Ok(body) => body,
        Err(why) => {
            let Some(source) = by_header else { return Err(Refused::Event(why)) };
            let bad = Bad { why, kind: Some(kind.as_str().to_owned()), raw: &bytes, ..Bad::known(None) };
            return Err(request.refuse_event(&source, at, bad).await);
        }
    };
    let source = request.source(by_header, body.get("writeKey").and_then(Value::as_str))?;
    match event(&source, at, kind, body) {
        Ok(event) => {
            let mut good = request.intake(&source, Origin::Client, bytes.len());
            good.add(event);
            request.take(at, good, &[]).await
        }
        Err(why) => {
            let known = Bad::known(json::object(&bytes).ok().as_ref());
            let bad = Bad { why, kind: Some(kind.as_str().to_owned()), raw: &bytes, ..known };
            Err(request.refuse_event(&source, at, bad).await)
        }
    }
}

/// The event of a body; its type is the path's, whatever the body says.
pub(super) fn event(source: &str, at: Timestamp, kind: EventType, mut body: Body) -> Result<Event, Rejection> {
    body.insert("type", Value::String(kind.as_str().to_owned()));
    decode(source, at, body, Origin::Client)
}

/// Several events.
pub(super) async fn batch(mut request: Request<'_>) -> Result<Answer, Refused> {
    let by_header = request.source_by_header()?;
    let bytes = request.batch_body().await?;
    let at = Timestamp::now();
    let batch = match Batch::parse(&bytes) {
        Ok(batch) => batch,
        Err(Refused::Event(why)) => {
            let Some(source) = by_header else { return Err(Refused::Event(why)) };
            return Err(request.refuse_event(&source, at, Bad { why, raw: &bytes, ..Bad::known(None) }).await);
        }
        Err(other) => return Err(other),
    };
    let source = request.source(by_header, batch.write_key().as_deref())?;
    let shared = match batch.shared() {
        Ok(shared) => shared,
        Err(why) => return Err(request.refuse_event(&source, at, Bad { why, raw: &bytes, ..Bad::known(None) }).await),
    };
    let mut good = request.intake(&source, Origin::Client, bytes.len());
    let bad = batch::sort(good.terms(at), &bytes, &batch.batch, Some(&shared), |event| good.add(event));
    request.take(at, good, &bad).await
}
