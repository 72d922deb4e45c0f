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
use crate::event::EventType;

/// One event of the type that the path names.
pub(super) async fn call(mut request: Request<'_>, kind: EventType) -> Result<Answer, Refused> {
    let by_header = request.source_by_header()?;
    let bytes = request.event_body().await?;
    let at = Timestamp::now();
    let mut body = match json::object(&bytes) {
        Ok(body) => body,
        Err(why) => {
            let Some(source) = by_header else { return Err(Refused::Event(why)) };
            let bad = Bad { why, kind: Some(kind.as_str().to_owned()), raw: &bytes, ..Bad::known(None) };
            return Err(request.refuse_event(&source, at, bad).await);
        }
    };
    let source = request.source(by_header, body.get("writeKey").and_then(Value::as_str))?;
    body.insert("type", Value::String(kind.as_str().to_owned()));
    match decode(&source, at, body, Origin::Client) {
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

/// Several events.
pub(super) async fn batch(mut request: Request<'_>) -> Result<Answer, Refused> {
    let by_header = request.source_by_header()?;
    let bytes = request.batch_body().await?;
    let at = Timestamp::now();
    let batch: Batch<'_> = match serde_json::from_slice(&bytes) {
        Ok(batch) => batch,
        Err(error) if error.is_data() => return Err(Refused::NotABatch),
        Err(error) => {
            let why = Rejection::json(&error);
            let Some(source) = by_header else { return Err(Refused::Event(why)) };
            return Err(request.refuse_event(&source, at, Bad { why, raw: &bytes, ..Bad::known(None) }).await);
        }
    };
    let source = request.source(by_header, batch.write_key().as_deref())?;
    let shared = match batch.shared() {
        Ok(shared) => shared,
        Err(why) => return Err(request.refuse_event(&source, at, Bad { why, raw: &bytes, ..Bad::known(None) }).await),
    };
    let mut good = request.intake(&source, Origin::Client, bytes.len());
    let bad = batch::sort(at, &bytes, &batch.batch, Some(&shared), &mut good);
    request.take(at, good, &bad).await
}
