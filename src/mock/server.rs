//! The mock over HTTP/1.1.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::engine::{self, Ending, Proof};
use super::{Mock, hooks, page};
use crate::headers;
use crate::pipedrive::{Answer, Body, Request};

/// Bytes of a request's body.
const BODY_MAX: usize = 8 * 1024 * 1024;

/// The connection is cut: hyper drops it without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection is cut")]
struct CutConnection;

/// Serves the mock, and sends its webhooks, until `shutdown` turns true or its sender is gone.
pub async fn serve(listener: TcpListener, mock: Arc<Mock>, mut shutdown: watch::Receiver<bool>) {
    let graceful = GracefulShutdown::new();
    // Dropped with this future, which ends it.
    let mut sending = tokio::task::JoinSet::new();
    sending.spawn(hooks::run(Arc::clone(&mock), shutdown.clone()));
    let mut stopped = shutdown.clone();
    let mut stop = std::pin::pin!(async move {
        // An error means that the sender is gone, which ends the mock as well.
        let _ended = stopped.wait_for(|s| *s).await;
    });
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        let Ok((stream, peer)) = accepted else {
            // The peer is gone already, or the process is out of descriptors, which must not become a busy loop.
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let _nodelay = stream.set_nodelay(true);
        let mock = Arc::clone(&mock);
        let ended = shutdown.clone();
        let service = service_fn(move |request| {
            let (mock, ended) = (Arc::clone(&mock), ended.clone());
            async move { answer(&mock, peer, request, ended).await }
        });
        let connection =
            hyper::server::conn::http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            // A connection that ends badly concerns its own peer only.
            let _outcome = connection.await;
        });
    }
    shutdown.mark_unchanged();
    graceful.shutdown().await;
}

async fn answer(
    mock: &Mock,
    peer: SocketAddr,
    request: http::Request<Incoming>,
    ended: watch::Receiver<bool>,
) -> Result<Response<Full<Bytes>>, CutConnection> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path();
    let shown = path == "/" || path.starts_with("/mock");
    let (mut answer, policy) = if shown {
        (page::answer(mock, peer, &parts), headers::STYLED_PAGE)
    } else {
        (api(mock, parts, body, ended).await?, headers::NO_PAGE)
    };
    headers::harden(answer.headers_mut(), policy);
    Ok(answer)
}

/// The account's own API.
async fn api(
    mock: &Mock,
    parts: Parts,
    body: Incoming,
    mut ended: watch::Receiver<bool>,
) -> Result<Response<Full<Bytes>>, CutConnection> {
    let path = parts.uri.path().to_owned();
    let body = match Limited::new(body, BODY_MAX).collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => return Ok(plain(StatusCode::PAYLOAD_TOO_LARGE, "too large")),
    };
    let Some(method) = engine::method_of(&parts.method) else {
        return Ok(plain(StatusCode::METHOD_NOT_ALLOWED, "method not allowed"));
    };
    let mut request = Request::new(method, path);
    request.query = engine::parse_query(parts.uri.query().unwrap_or_default());
    if !body.is_empty() {
        let json = parts.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
        if !json.is_some_and(|t| t.starts_with("application/json")) {
            return Ok(respond(engine::answer_of(super::reply::v1(400, "Bad request", "The body must be JSON."))));
        }
        match serde_json::from_slice(&body) {
            Ok(json) => request.body = Some(json),
            Err(_) => return Ok(respond(engine::answer_of(super::reply::v1(400, "Bad request", "The body is not JSON.")))),
        }
    }
    let token = parts.headers.get("x-api-token").and_then(|v| v.to_str().ok());
    match engine::carry(mock, &request, Proof::Token(token)).await {
        Ending::Answer(answer) => Ok(respond(answer)),
        Ending::Silence => {
            // Until the peer gives up, which drops this future, or the mock ends.
            let _ended = ended.wait_for(|s| *s).await;
            Err(CutConnection)
        }
        Ending::Cut | Ending::NoConnection => Err(CutConnection),
    }
}

fn respond(answer: Answer) -> Response<Full<Bytes>> {
    let body = match answer.body {
        Body::Json(json) => Bytes::from(json.to_string()),
        Body::Other(text) => Bytes::from(text),
    };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in answer.headers {
        if let (Ok(name), Ok(value)) = (name.parse::<header::HeaderName>(), value.parse::<header::HeaderValue>()) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// A short text.
pub(super) fn plain(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    typed(status, "text/plain; charset=utf-8", text.to_owned())
}

/// A body of a type.
pub(super) fn typed(status: StatusCode, content_type: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    response
}
