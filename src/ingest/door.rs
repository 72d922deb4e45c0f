//! One request, one answer: routes, methods, CORS, stopping, and what is counted and logged of it.

use std::sync::Arc;

use arc_swap::ArcSwap;
use http::header::CONNECTION;
use http::{HeaderValue, Method};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::auth::Keys;
use super::complaints::Complaints;
use super::refused::{Answer, Refused};
use super::request::Request;
use super::route::Route;
use super::{Ingest, body, cors, pipedrive, tracking, webhook};
use crate::failure::FailureClass;
use crate::headers;
use crate::store::StoreError;

/// Answers requests.
pub(super) struct Door {
    pub(super) ingest: Ingest,
    // Of the set that the last request used.
    keys: ArcSwap<Keys>,
    strangers: Complaints,
    unstored: Complaints,
    behind: Complaints,
}

impl Door {
    pub(super) fn new(ingest: Ingest) -> Self {
        let keys = ArcSwap::from_pointee(Keys::of(ingest.live.load_full()));
        Self { ingest, keys, strangers: Complaints::default(), unstored: Complaints::default(), behind: Complaints::default() }
    }

    /// The keys of the live set, prepared anew after a reload.
    fn keys(&self) -> Arc<Keys> {
        let keys = self.keys.load_full();
        let set = self.ingest.live.load_full();
        if Arc::ptr_eq(&keys.set, &set) {
            return keys;
        }
        let keys = Arc::new(Keys::of(set));
        self.keys.store(keys.clone());
        keys
    }

    /// Answers one request.
    pub(super) async fn answer(&self, request: http::Request<Incoming>) -> Answer {
        let started = Instant::now();
        let keys = self.keys();
        let (parts, mut body) = request.into_parts();
        let route = Route::of(parts.uri.path());
        let word = route.as_ref().map_or("unknown", Route::word);
        let server = &keys.set.config.server;
        let origin = match route {
            Some(Route::Call(_) | Route::Batch) => cors::allowed(&parts.headers, &server.cors_origins),
            Some(Route::Webhook(_) | Route::Pipedrive(_)) | None => None,
        };

        let handled = self.handle(&keys, &parts, &mut body, route, origin.as_ref()).await;
        let mut answer = match handled {
            Ok(answer) => answer,
            Err(refused) => {
                self.note(&refused, word);
                let mut answer = refused.answer();
                if !answer.headers().contains_key(CONNECTION)
                    && !body::drain(&parts.headers, &mut body, server.body_timeout.get()).await
                {
                    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                answer
            }
        };
        headers::harden(answer.headers_mut(), headers::NO_PAGE);
        if let Some(origin) = origin {
            cors::allow(&mut answer, origin);
        }
        if !answer.headers().contains_key(CONNECTION) {
            answer.headers_mut().insert("keep-alive", keys.idle.clone());
        }
        self.ingest.metrics.request_answered(word, answer.status().as_u16(), started.elapsed());
        answer
    }

    async fn handle(
        &self,
        keys: &Keys,
        parts: &http::request::Parts,
        body: &mut Incoming,
        route: Option<Route<'_>>,
        origin: Option<&HeaderValue>,
    ) -> Result<Answer, Refused> {
        let route = route.ok_or(Refused::NotFound)?;
        let browser = !matches!(route, Route::Webhook(_) | Route::Pipedrive(_));
        if browser && parts.method == Method::OPTIONS && !keys.set.config.server.cors_origins.is_empty() {
            return cors::preflight(origin);
        }
        if !route.methods().split(", ").any(|method| method == parts.method.as_str()) {
            return Err(Refused::Method(route.methods()));
        }
        if *self.ingest.stopping.borrow() {
            return Err(Refused::Stopping);
        }
        let request = Request { ingest: &self.ingest, keys, headers: &parts.headers, body };
        match route {
            Route::Call(kind) => tracking::call(request, kind).await,
            Route::Batch => tracking::batch(request).await,
            Route::Webhook(source) => webhook::receive(request, &source).await,
            Route::Pipedrive(account) => pipedrive::receive(request, account).await,
        }
    }

    /// Counts and logs a refusal, without anything that the sender wrote.
    fn note(&self, refused: &Refused, route: &'static str) {
        let metrics = &self.ingest.metrics;
        let code = refused.code();
        match refused {
            // Counted with its source where that was known.
            Refused::Event(_) => {}
            Refused::Stopping | Refused::Store(StoreError::Overloaded) => metrics.ingest_overloaded(code),
            Refused::Store(error @ StoreError::Behind { .. }) => {
                metrics.ingest_overloaded(code);
                if let Some(requests) = self.behind.add() {
                    tracing::warn!(route, requests, %error, "events are refused; their senders were told to try again");
                }
            }
            Refused::Store(error) => {
                metrics.ingest_overloaded(code);
                if let Some(requests) = self.unstored.add() {
                    tracing::error!(route, requests, %error, "events could not be stored; their senders were told to try again");
                }
            }
            _ => metrics.event_rejected("", "", code, 1),
        }
        if refused.class() == FailureClass::Misconfigured
            && let Some(requests) = self.strangers.add()
        {
            tracing::warn!(route, requests, code, why = %refused, "requests were refused");
        }
        tracing::debug!(route, code, class = %refused.class(), "a request was refused");
    }
}
