//! A request from its arrival to its answer: faults, token, limits, the account, the log.

use std::borrow::Cow;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::Mock;
use super::call::Call;
use super::fault::{Fault, Faults};
use super::hooks::{self, Author};
use super::limits::{Allowance, Limits, Verdict, Window};
use super::log::{Log, MockExchange};
use super::reply::{Reply, not_found, unauthorized, v1};
use super::spec::{Route, Spec};
use super::world::World;
use crate::pipedrive::{Answer, Body, Method, Request, Transport, TransportError};

/// Characters of a body that is not JSON.
const OTHER_MAX: usize = 2_048;
/// What a hanging answer is said to have waited for, in process.
const HUNG: Duration = Duration::from_secs(30);

/// Everything behind the lock.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) world: World,
    pub(super) allowance: Allowance,
    pub(super) limits: Limits,
    pub(super) faults: Faults,
    pub(super) log: Log,
    pub(super) latency: Duration,
}

impl Inner {
    pub(super) fn new(world: World, allowance: Allowance, latency: Duration) -> Self {
        Self { world, allowance, limits: Limits::default(), faults: Faults::default(), log: Log::default(), latency }
    }
}

/// How an exchange ends.
#[derive(Debug)]
pub(super) enum Ending {
    Answer(Answer),
    /// No answer comes.
    Silence,
    /// The connection is cut.
    Cut,
    /// There was no connection.
    NoConnection,
}

/// Whether a request shows who it is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof<'t> {
    /// In process: the caller holds the mock itself.
    InProcess,
    /// Over HTTP: the token it carried.
    Token(Option<&'t str>),
}

#[async_trait]
impl Transport for Mock {
    async fn send(&self, request: &Request) -> Result<Answer, TransportError> {
        match carry(self, request, Proof::InProcess).await {
            Ending::Answer(answer) => Ok(answer),
            Ending::Silence => Err(TransportError::Timeout(HUNG)),
            Ending::Cut => Err(TransportError::Cut("the mock cut it".to_owned())),
            Ending::NoConnection => {
                Err(TransportError::Connect { host: "mock".to_owned(), reason: "the mock refuses it".to_owned() })
            }
        }
    }
}

/// Takes a request through faults and limits to its ending.
pub(super) async fn carry(mock: &Mock, request: &Request, proof: Proof<'_>) -> Ending {
    let (fault, latency) = {
        let mut inner = mock.inner.lock();
        (inner.faults.take(request), inner.latency)
    };
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
    match fault {
        None => Ending::Answer(exchange(mock, request, proof)),
        Some(fault) => faulty(mock, request, proof, fault).await,
    }
}

async fn faulty(mock: &Mock, request: &Request, proof: Proof<'_>, fault: Fault) -> Ending {
    let not_carried_out = |ending: Ending| {
        let status = if let Ending::Answer(answer) = &ending { Some(answer.status) } else { None };
        refused(mock, request, status, "fault");
        ending
    };
    match fault {
        Fault::Status { status, body } => not_carried_out(Ending::Answer(answer_of(Reply { status, body }))),
        Fault::Firewall => not_carried_out(Ending::Answer(firewall())),
        Fault::TooMany { remaining, reset, retry_after } => {
            // A mock without limits shows none; the fault must.
            let limit = Some(mock.inner.lock().allowance.burst).filter(|b| *b != u32::MAX).unwrap_or(100);
            let window = Window { limit, remaining, reset: i64::from(reset) };
            let mut answer = too_many(window);
            answer.headers.extend(retry_after.map(|s| ("retry-after".to_owned(), s.to_string())));
            not_carried_out(Ending::Answer(answer))
        }
        Fault::Hang { committed: false } => not_carried_out(Ending::Silence),
        Fault::Cut { committed: false } => not_carried_out(Ending::Cut),
        Fault::NoConnection => not_carried_out(Ending::NoConnection),
        Fault::Hang { committed: true } => {
            exchange(mock, request, proof);
            Ending::Silence
        }
        Fault::Cut { committed: true } => {
            exchange(mock, request, proof);
            Ending::Cut
        }
        Fault::FailedAfter { status } => {
            exchange(mock, request, proof);
            let body = json!({ "success": false, "error": "Internal Server Error", "code": "ERR_UNKNOWN" });
            Ending::Answer(answer_of(Reply { status, body }))
        }
        Fault::Truncated => {
            let mut answer = exchange(mock, request, proof);
            if let Body::Json(json) = &answer.body {
                let text = json.to_string();
                let half = text.chars().take((text.chars().count() / 2).min(OTHER_MAX)).collect();
                answer.body = Body::Other(half);
            }
            Ending::Answer(answer)
        }
        Fault::WrongJson(json) => {
            let mut answer = exchange(mock, request, proof);
            answer.body = Body::Json(json);
            Ending::Answer(answer)
        }
        Fault::Late(by) => {
            tokio::time::sleep(by).await;
            Ending::Answer(exchange(mock, request, proof))
        }
        Fault::Hold(hold) => {
            hold.pass().await;
            Ending::Answer(exchange(mock, request, proof))
        }
        Fault::HoldAnswer(hold) => {
            let answer = exchange(mock, request, proof);
            hold.pass().await;
            Ending::Answer(answer)
        }
    }
}

/// One exchange without faults.
fn exchange(mock: &Mock, request: &Request, proof: Proof<'_>) -> Answer {
    if let Proof::Token(token) = proof
        && !token.is_some_and(|token| mock.token.is(token))
    {
        let reply = unauthorized();
        refused(mock, request, Some(reply.status), "unauthorized access");
        return answer_of(reply);
    }
    let request = &*split(request);
    let (operation, values) = match routed(request) {
        Ok(found) => found,
        Err(reply) => {
            refused(mock, request, Some(reply.status), &error_text(&reply));
            return answer_of(reply);
        }
    };
    let now = mock.clock.now_ms();
    let mut guard = mock.inner.lock();
    let inner = &mut *guard;
    let verdict = inner.limits.admit(&inner.allowance, operation.is_search(), operation.tokens, now);
    let window = match verdict {
        Verdict::Allowed(window) => window,
        Verdict::Burst(window) | Verdict::Budget(window) => {
            inner.log.throttled += 1;
            let exchange = Exchanged { status: Some(429), error: Some("too many requests"), tokens: 0 };
            record(inner, mock.keep_log, request, now, &exchange);
            return too_many(window);
        }
        Verdict::Blocked => {
            inner.log.throttled += 1;
            record(inner, mock.keep_log, request, now, &Exchanged { status: Some(403), error: Some("shut out"), tokens: 0 });
            return firewall();
        }
    };
    let call = Call {
        operation,
        values,
        query: &request.query,
        body: request.body.as_ref(),
        now,
        conversion_polls: mock.conversion_polls,
    };
    let (reply, error) = match call.run(&mut inner.world) {
        Ok(reply) => (reply, None),
        Err(reply) => {
            let error = error_text(&reply);
            (reply, Some(error))
        }
    };
    let told = hooks::commit(&mut inner.world, Author::token(), now, mock.keep_log);
    // Within the same lock, so that the log has the order in which things happened.
    let exchange = Exchanged { status: Some(reply.status), error: error.as_deref(), tokens: operation.tokens };
    record(inner, mock.keep_log, request, now, &exchange);
    drop(guard);
    if told {
        mock.stir();
    }
    let mut answer = answer_of(reply);
    answer.headers.extend(rate_headers(window));
    answer
}

/// Carries a request out beside limits, faults and log; as somebody else than the token's user when nobody is named.
pub(super) fn aside(mock: &Mock, request: &Request, author: Option<Author>) -> Answer {
    let request = &*split(request);
    let (operation, values) = match routed(request) {
        Ok(found) => found,
        Err(reply) => return answer_of(reply),
    };
    let now = mock.clock.now_ms();
    let call = Call {
        operation,
        values,
        query: &request.query,
        body: request.body.as_ref(),
        now,
        conversion_polls: mock.conversion_polls,
    };
    let mut inner = mock.inner.lock();
    let reply = call.run(&mut inner.world).unwrap_or_else(|refusal| refusal);
    let author = author.unwrap_or_else(|| Author::someone_else(&inner.world));
    let told = hooks::commit(&mut inner.world, author, now, mock.keep_log);
    drop(inner);
    if told {
        mock.stir();
    }
    answer_of(reply)
}

fn routed(request: &Request) -> Result<(&'static super::spec::Operation, Vec<&str>), Reply> {
    match Spec::get().route(request.method, &request.path) {
        Route::Found(operation, values) => Ok((operation, values)),
        Route::WrongMethod => Err(v1(405, "Method not allowed", "The endpoint does not take this method.")),
        Route::Retired => Err(v1(410, "This endpoint has been withdrawn", "Use the v2 API.")),
        Route::Unknown => Err(not_found(super::reply::Version::V1)),
    }
}

/// A request whose path carries a query gets it as parameters.
fn split(request: &Request) -> Cow<'_, Request> {
    let Some((path, query)) = request.path.split_once('?') else { return Cow::Borrowed(request) };
    let mut whole = request.clone();
    whole.path = path.to_owned();
    whole.query.splice(0..0, parse_query(query));
    Cow::Owned(whole)
}

/// Reads a query string.
pub(super) fn parse_query(text: &str) -> Vec<(String, String)> {
    let decode = |part: &str| percent_encoding::percent_decode_str(&part.replace('+', " ")).decode_utf8_lossy().into_owned();
    text.split('&')
        .filter(|p| !p.is_empty())
        .map(|p| p.split_once('=').map_or_else(|| (decode(p), String::new()), |(k, v)| (decode(k), decode(v))))
        .collect()
}

fn error_text(reply: &Reply) -> String {
    let text = reply.body.get("error").and_then(Value::as_str);
    text.map_or_else(|| reply.body.to_string(), str::to_owned)
}

/// What the log wants to know of an exchange's end.
struct Exchanged<'e> {
    status: Option<u16>,
    /// `None`: it was carried out.
    error: Option<&'e str>,
    tokens: u32,
}

/// Logs a request that did not reach the account.
fn refused(mock: &Mock, request: &Request, status: Option<u16>, error: &str) {
    let now = mock.clock.now_ms();
    let exchange = Exchanged { status, error: Some(error), tokens: 0 };
    record(&mut mock.inner.lock(), mock.keep_log, request, now, &exchange);
}

fn record(inner: &mut Inner, keep: usize, request: &Request, now: i64, end: &Exchanged<'_>) {
    inner.log.requests += 1;
    inner.log.tokens += u64::from(end.tokens);
    if keep == 0 {
        return;
    }
    let exchange = MockExchange {
        at: jiff::Timestamp::from_millisecond(now).unwrap_or(jiff::Timestamp::UNIX_EPOCH),
        method: request.method,
        path: request.path.clone(),
        query: request.query.clone(),
        body: request.body.clone(),
        status: end.status,
        carried_out: end.error.is_none(),
        error: end.error.map(str::to_owned),
        tokens: end.tokens,
    };
    inner.log.push(exchange, keep);
}

fn rate_headers(window: Window) -> Vec<(String, String)> {
    if window.limit == u32::MAX {
        return Vec::new();
    }
    vec![
        ("x-ratelimit-limit".to_owned(), window.limit.to_string()),
        ("x-ratelimit-remaining".to_owned(), window.remaining.to_string()),
        ("x-ratelimit-reset".to_owned(), window.reset.to_string()),
    ]
}

/// An answer of a reply.
pub(super) fn answer_of(reply: Reply) -> Answer {
    Answer {
        status: reply.status,
        headers: vec![("content-type".to_owned(), "application/json; charset=utf-8".to_owned())],
        body: Body::Json(reply.body),
    }
}

fn too_many(window: Window) -> Answer {
    let mut answer = answer_of(v1(429, "request over limit", "Too many requests have been made."));
    answer.headers.extend(rate_headers(window));
    answer
}

fn firewall() -> Answer {
    Answer {
        status: 403,
        headers: vec![("content-type".to_owned(), "text/html; charset=UTF-8".to_owned())],
        body: Body::Other(
            "<!DOCTYPE html><html><head><title>Access denied</title></head><body>You have been blocked</body></html>".to_owned(),
        ),
    }
}

/// A method of HTTP that the API has.
pub(super) fn method_of(method: &http::Method) -> Option<Method> {
    Method::parse(method.as_str())
}
