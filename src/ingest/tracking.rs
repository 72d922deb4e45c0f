//! The Tracking API: single calls and batches.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use hyper::body::Incoming;
use jiff::Timestamp;
use serde_json::Value;

use super::Ingest;
use super::accept::{self, Bad};
use super::auth::{self, Keys};
use super::batch::{self, Batch, Sorted};
use super::body::{self, Limit};
use super::decode::decode;
use super::json;
use super::refused::{self, Answer, Refused};
use super::timestamps::Origin;
use crate::event::EventType;

/// One request that may carry events.
pub(super) struct Request<'a> {
    pub(super) ingest: &'a Ingest,
    pub(super) keys: &'a Keys,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a mut Incoming,
}

impl Request<'_> {
    /// The body of a single event.
    pub(super) async fn event_body(&mut self) -> Result<Bytes, Refused> {
        let server = &self.keys.set.config.server;
        let limit = Limit { bytes: server.max_event.get(), key: "server.max_event", time: server.body_timeout.get() };
        body::read(self.headers, self.body, limit).await
    }

    /// The body of several events.
    pub(super) async fn batch_body(&mut self) -> Result<Bytes, Refused> {
        let server = &self.keys.set.config.server;
        let limit = Limit { bytes: server.max_batch.get(), key: "server.max_batch", time: server.body_timeout.get() };
        body::read(self.headers, self.body, limit).await
    }

    /// The source by the header's key, before the body is read. None: the body must have the key.
    fn source_by_header(&self) -> Result<Option<Arc<str>>, Refused> {
        match auth::basic_user(self.headers) {
            None => Ok(None),
            Some(key) => self.keys.source(&key).map(Some).ok_or(Refused::WriteKey),
        }
    }

    /// The source by the body's key, unless the header has told it.
    fn source(&self, by_header: Option<Arc<str>>, key: Option<&str>) -> Result<Arc<str>, Refused> {
        by_header.or_else(|| self.keys.source(key?)).ok_or(Refused::WriteKey)
    }

    /// Keeps one refused event and says why.
    pub(super) async fn refuse_event(&self, source: &str, at: Timestamp, bad: Bad<'_>) -> Refused {
        accept::reject(self.ingest, &self.keys.set, source, at, std::slice::from_ref(&bad)).await;
        Refused::Event(bad.why)
    }

    /// Stores the good ones, keeps the bad ones, and lists these.
    pub(super) async fn take(&self, source: &str, at: Timestamp, sorted: Sorted<'_>, origin: Origin) -> Result<Answer, Refused> {
        let Sorted { good, bad } = sorted;
        // First the good ones: a request that must be sent again has left nothing behind.
        accept::accept(self.ingest, &self.keys.set, good, origin).await?;
        if bad.is_empty() {
            return Ok(refused::success());
        }
        accept::reject(self.ingest, &self.keys.set, source, at, &bad).await;
        let rejected: Vec<Value> = bad
            .iter()
            .map(|b| serde_json::json!({"index": b.index, "messageId": b.message_id, "code": b.why.code(), "reason": b.why.to_string()}))
            .collect();
        Ok(refused::json(StatusCode::OK, Bytes::from(serde_json::json!({"success": true, "rejected": rejected}).to_string())))
    }
}

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
    body.insert("type".to_owned(), Value::String(kind.as_str().to_owned()));
    match decode(&source, at, body, Origin::Client) {
        Ok(event) => request.take(&source, at, Sorted { good: vec![event], bad: Vec::new() }, Origin::Client).await,
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
            let why = super::Rejection::json(&error);
            let Some(source) = by_header else { return Err(Refused::Event(why)) };
            return Err(request.refuse_event(&source, at, Bad { why, raw: &bytes, ..Bad::known(None) }).await);
        }
    };
    let source = request.source(by_header, batch.write_key())?;
    let sorted = batch::sort(&source, at, &batch.batch, Some(&batch), &request.keys.set.config.server);
    request.take(&source, at, sorted, Origin::Client).await
}
