//! A transport that answers as a test says, and remembers what it was asked.

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use pipewright::pipedrive::{Answer, Body, Client, ClientOptions, Request, Session, Trace, Transport, TransportError};
use serde_json::{Value, json};

type Handler = dyn Fn(&Request) -> Result<Answer, TransportError> + Send + Sync;

pub(super) struct Scripted {
    handler: Box<Handler>,
    asked: Mutex<Vec<Request>>,
}

impl Scripted {
    pub(super) fn new(handler: impl Fn(&Request) -> Result<Answer, TransportError> + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { handler: Box::new(handler), asked: Mutex::new(Vec::new()) })
    }

    /// Answers every request so.
    pub(super) fn always(answer: Answer) -> Arc<Self> {
        Self::new(move |_| Ok(answer.clone()))
    }

    /// What was asked: `GET /api/v2/persons/7?x=y`.
    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.lock().iter().map(|request| format!("{} {}", request.method, request.target())).collect()
    }

    pub(super) fn bodies(&self) -> Vec<Option<Value>> {
        self.asked.lock().iter().map(|request| request.body.clone()).collect()
    }

    pub(super) fn client(self: &Arc<Self>) -> Client {
        Client::new(Arc::<Self>::clone(self), ClientOptions { burst: 1000, search_burst: 1000, ..ClientOptions::default() })
    }

    pub(super) fn session(self: &Arc<Self>) -> Session {
        self.client().session(Trace::default())
    }
}

#[async_trait]
impl Transport for Scripted {
    async fn send(&self, request: &Request) -> Result<Answer, TransportError> {
        self.asked.lock().push(request.clone());
        // Those who wait together are under way together.
        tokio::task::yield_now().await;
        (self.handler)(request)
    }
}

pub(super) fn answer(status: u16, body: Value) -> Answer {
    Answer { status, headers: Vec::new(), body: Body::Json(body) }
}

pub(super) fn ok(data: Value) -> Answer {
    answer(200, json!({ "success": true, "data": data }))
}

pub(super) fn page(status: u16) -> Answer {
    Answer { status, headers: Vec::new(), body: Body::Other("<html>not today</html>".to_owned()) }
}

pub(super) fn gone() -> Answer {
    answer(404, json!({ "success": false, "error": "Entity was not found" }))
}

pub(super) fn with(mut answer: Answer, name: &str, value: &str) -> Answer {
    answer.headers.push((name.to_owned(), value.to_owned()));
    answer
}

pub(super) fn object(value: Value) -> serde_json::Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("not an object: {other}"),
    }
}
