//! Who may ask, and the headers that every answer carries.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};

use super::problem::Failed;
use crate::config::Secret;
use crate::headers;
use crate::rules::Live;

/// Largest body of a request: lists of deliveries.
const MAX_BODY: usize = 2 << 20;

/// Who may ask.
#[derive(Debug, Clone)]
pub enum Access {
    /// Whoever can open the Unix socket.
    Socket,
    /// Whoever is on this machine and names it: the loopback listener without a token.
    Loopback,
    /// Whoever carries the token.
    Token(Secret),
}

/// Whether a request may see details. `/readyz` answers strangers, but with the bare state only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Trusted(pub(super) bool);

pub(super) fn guarded(routes: Router, access: Access, live: Live) -> Router {
    routes
        .layer(middleware::from_fn_with_state(live, whole))
        .layer(middleware::from_fn_with_state(Arc::new(access), check))
        .layer(middleware::map_response(harden))
}

/// Reads the body, which must be small and come in time; what is asked begins only then.
async fn whole(State(live): State<Live>, request: Request, next: Next) -> Response {
    let time = live.load().config.server.body_timeout.get();
    let (head, body) = request.into_parts();
    let failed = match tokio::time::timeout(time, to_bytes(body, MAX_BODY)).await {
        Ok(Ok(body)) => return next.run(Request::from_parts(head, Body::from(body))).await,
        Ok(Err(_)) => Failed::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is cut off, or larger than {MAX_BODY} bytes")),
        Err(_) => Failed::new(StatusCode::REQUEST_TIMEOUT, "the body did not come within server.body_timeout"),
    };
    // What is left of the body would be taken for the next request.
    ([(CONNECTION, "close")], failed).into_response()
}

async fn check(State(access): State<Arc<Access>>, mut request: Request, next: Next) -> Response {
    let trusted = match allowed(&access, request.headers()) {
        Ok(()) => true,
        Err(_) if matches!(request.uri().path(), "/healthz" | "/readyz") => false,
        Err(refusal) => return refused(refusal),
    };
    if request.method() == Method::POST && !is_json(request.headers()) {
        return Failed::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send JSON, with content-type: application/json").into_response();
    }
    request.extensions_mut().insert(Trusted(trusted));
    next.run(request).await
}

fn allowed(access: &Access, headers: &HeaderMap) -> Result<(), Failed> {
    match access {
        Access::Socket => Ok(()),
        Access::Loopback if headers::names_this_machine(headers) => Ok(()),
        Access::Token(token) if carries(token, headers) => Ok(()),
        Access::Loopback => {
            let reason = "the Host header names another machine; ask for localhost or 127.0.0.1, or set admin.token";
            Err(Failed::new(StatusCode::MISDIRECTED_REQUEST, reason))
        }
        Access::Token(_) => {
            Err(Failed::new(StatusCode::UNAUTHORIZED, "send the token of admin.token as `authorization: Bearer TOKEN`"))
        }
    }
}

fn refused(refusal: Failed) -> Response {
    let mut response = refusal.into_response();
    if response.status() == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

fn carries(token: &Secret, headers: &HeaderMap) -> bool {
    let given = headers.get(AUTHORIZATION).and_then(|v| v.to_str().ok()).and_then(|v| {
        let (scheme, token) = v.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    given.is_some_and(|given| token.is(given))
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    kind.split(';').next().unwrap_or("").trim().eq_ignore_ascii_case("application/json")
}

async fn harden(mut response: Response) -> Response {
    headers::harden(response.headers_mut(), headers::NO_PAGE);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_must_be_whole_and_a_bearer_token() {
        let token = Secret::new("s3cret");
        let with = |value: &'static str| HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static(value))]);
        assert!(carries(&token, &with("Bearer s3cret")));
        assert!(carries(&token, &with("bearer s3cret")));
        for wrong in ["Bearer s3cre", "Bearer s3crets", "Basic s3cret", "s3cret", "Bearer", ""] {
            assert!(!carries(&token, &with(wrong)), "{wrong}");
        }
    }
}
