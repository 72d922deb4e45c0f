//! Somebody on loopback who is sent webhooks, and answers as the test wants.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use parking_lot::Mutex;
use serde_json::Value;

use super::loopback;

/// How a webhook is answered.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    Status(u16),
    /// 302 to this URL.
    Redirect(String),
    /// No answer comes.
    Silence,
}

/// One request that came.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Received {
    /// `change person 7`.
    pub(crate) fn told(&self) -> String {
        let meta = |key: &str| self.body["meta"][key].as_str().unwrap_or("?").to_owned();
        format!("{} {} {}", meta("action"), meta("entity"), meta("entity_id"))
    }
}

#[derive(Debug, Default)]
struct Shared {
    received: Vec<Received>,
    next: VecDeque<Reply>,
    always: Option<Reply>,
}

/// Answers 200 until it is told otherwise; ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Receiver {
    url: String,
    shared: Arc<Mutex<Shared>>,
    task: tokio::task::JoinHandle<()>,
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        let (listener, at) = loopback().await;
        let shared = Arc::new(Mutex::new(Shared::default()));
        let app = Router::new().fallback(take).with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move { axum::serve(listener, app).await.expect("it is served") });
        Self { url: format!("http://{at}"), shared, task }
    }

    /// The URL of a path here.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// Answers the next requests like this, then 200 again.
    pub(crate) fn next(&self, replies: impl IntoIterator<Item = Reply>) {
        self.shared.lock().next.extend(replies);
    }

    /// Answers like this from now on.
    pub(crate) fn always(&self, reply: Reply) {
        self.shared.lock().always = Some(reply);
    }

    /// How many came since they were last taken.
    pub(crate) fn count(&self) -> usize {
        self.shared.lock().received.len()
    }

    /// What came since this was last asked.
    pub(crate) fn take(&self) -> Vec<Received> {
        std::mem::take(&mut self.shared.lock().received)
    }

    /// The same, as short texts.
    pub(crate) fn told(&self) -> Vec<String> {
        self.take().iter().map(Received::told).collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn take(State(shared): State<Arc<Mutex<Shared>>>, uri: http::Uri, headers: HeaderMap, body: Bytes) -> Response {
    // What a redirect leads to has no body.
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let reply = {
        let mut shared = shared.lock();
        shared.received.push(Received { path: uri.path().to_owned(), headers, body });
        shared.next.pop_front().or_else(|| shared.always.clone()).unwrap_or(Reply::Status(200))
    };
    match reply {
        Reply::Status(status) => StatusCode::from_u16(status).expect("a status").into_response(),
        Reply::Redirect(url) => (StatusCode::FOUND, [(header::LOCATION, url)]).into_response(),
        Reply::Silence => std::future::pending().await,
    }
}
