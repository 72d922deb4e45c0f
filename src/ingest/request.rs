//! What every request that carries events does: tell its source, read its body, store the good and keep the bad.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use hyper::body::Incoming;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::Ingest;
use super::accept::{self, Bad, Intake};
use super::auth::{self, Keys};
use super::body::{self, Limit};
use super::refused::{self, Answer, Refused};
use super::timestamps::Origin;

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
    pub(super) fn source_by_header(&self) -> Result<Option<Arc<str>>, Refused> {
        match auth::basic_user(self.headers) {
            None => Ok(None),
            Some(key) => self.keys.source(&key).map(Some).ok_or(Refused::WriteKey),
        }
    }

    /// The source by the body's key, unless the header has told it.
    pub(super) fn source(&self, by_header: Option<Arc<str>>, key: Option<&str>) -> Result<Arc<str>, Refused> {
        by_header.or_else(|| self.keys.source(key?)).ok_or(Refused::WriteKey)
    }

    /// Keeps one refused event and says why.
    pub(super) async fn refuse_event(&self, source: &str, at: Timestamp, bad: Bad<'_>) -> Refused {
        accept::reject(self.ingest, &self.keys.set, source, at, std::slice::from_ref(&bad)).await;
        Refused::Event(bad.why)
    }

    /// Where its good events go, of so many bytes together.
    pub(super) fn intake<'b>(&'b self, source: &'b str, origin: Origin, bytes: usize) -> Intake<'b> {
        Intake::new(self.ingest, &self.keys.set, source, origin, bytes)
    }

    /// Stores the good ones, keeps the bad ones, and lists these.
    pub(super) async fn take(&self, at: Timestamp, good: Intake<'_>, bad: &[Bad<'_>]) -> Result<Answer, Refused> {
        let source = good.source();
        // First the good ones: a request that must be sent again has left nothing behind.
        good.store().await?;
        if bad.is_empty() {
            return Ok(refused::success());
        }
        accept::reject(self.ingest, &self.keys.set, source, at, bad).await;
        let rejected: Vec<Value> = bad
            .iter()
            .map(|b| {
                let mut said =
                    json!({"index": b.index, "messageId": b.message_id, "code": b.why.code(), "reason": b.why.to_string()});
                // Those that this one stands for, so that a sender knows exactly which ones to send again.
                if let more @ 1.. = b.why.events() - 1 {
                    said["more"] = more.into();
                }
                said
            })
            .collect();
        Ok(refused::json(StatusCode::OK, Bytes::from(json!({"success": true, "rejected": rejected}).to_string())))
    }
}
