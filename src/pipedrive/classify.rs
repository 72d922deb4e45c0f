//! An answer judged: the body of a success, or why it is none.
//!
//! Invariants: a 404 counts as "gone" only when it is the API that says so, in JSON; what a proxy or a wrong host answers is never taken
//! for an absent entity. Nothing here reads a message's text: status, shape and code decide.

use std::time::Duration;

use serde_json::Value;

use super::error::message_of;
use super::{Answer, Body, ErrorKind, Request};

/// Characters of an error code; Pipedrive's longest have about 30.
const LONGEST_CODE: usize = 64;

/// Pauses after a 429 or a firewall page are found by the client, which knows what went before.
pub(super) enum Verdict {
    /// The JSON body of a success.
    Done(Value),
    /// 429.
    TooMany,
    /// 403 with a web page.
    Firewall,
    /// Any other failure.
    Failed(ErrorKind),
}

pub(super) fn judge(request: &Request, write: bool, answer: &Answer) -> Verdict {
    let status = answer.status;
    let failed = Verdict::Failed;
    match (status, &answer.body) {
        (429, _) => Verdict::TooMany,
        (204, _) => Verdict::Done(Value::Null),
        (200..=299, Body::Json(body)) if body.get("success") == Some(&Value::Bool(false)) => failed(refused(status, body)),
        (200..=299, Body::Json(body)) => Verdict::Done(body.clone()),
        (200..=299, Body::Other(_)) => failed(ErrorKind::Unreadable { status, reason: "it is not JSON".to_owned() }),
        (300..=399, _) => failed(ErrorKind::Account {
            status,
            message: "it redirects to another address; check `domain` or `base_url`, the token is not sent elsewhere".to_owned(),
        }),
        (404 | 410, Body::Other(_)) => failed(ErrorKind::Account {
            status,
            message: "this is not Pipedrive's API (no JSON came back); check `domain` or `base_url`".to_owned(),
        }),
        (404 | 410, Body::Json(_)) => failed(ErrorKind::Gone { status }),
        (403, Body::Other(_)) => Verdict::Firewall,
        (401..=403, Body::Json(body)) => failed(ErrorKind::Account { status, message: account_message(status, body) }),
        (401 | 402, Body::Other(_)) => failed(ErrorKind::Account { status, message: advice(status).to_owned() }),
        (408 | 425, _) => failed(ErrorKind::Server { status, suspect_body: false }),
        (400..=499, Body::Json(body)) => failed(refused(status, body)),
        (400..=499, Body::Other(_)) => {
            failed(ErrorKind::Refused { status, code: None, message: "no reason given (not JSON)".to_owned() })
        }
        _ => failed(ErrorKind::Server { status, suspect_body: status == 500 && write && request.body.is_some() }),
    }
}

fn refused(status: u16, body: &Value) -> ErrorKind {
    ErrorKind::Refused { status, code: code_of(body), message: message_of(body) }
}

/// Pipedrive's error code, when the body gives one. It is logged, so what is no code but a text is none: it may hold anything.
fn code_of(body: &Value) -> Option<String> {
    let code = body.get("code").and_then(Value::as_str)?;
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    (code.len() <= LONGEST_CODE && code.chars().all(word)).then(|| code.to_owned())
}

fn account_message(status: u16, body: &Value) -> String {
    let said = message_of(body);
    match code_of(body) {
        Some(code) if code.starts_with("feature_capping") => {
            format!(
                "a limit of the Pipedrive plan is reached ({code}): {said}; make room or upgrade, deliveries go on by themselves"
            )
        }
        Some(code) => format!("{said} ({code}); {}", advice(status)),
        None => format!("{said}; {}", advice(status)),
    }
}

const fn advice(status: u16) -> &'static str {
    match status {
        401 => "the API token is not accepted, check `api_token`",
        402 => "the company's Pipedrive subscription is not active",
        _ => "the token's user may not do this, give it the permission or use another user's token",
    }
}

/// How long the answer itself asks to wait: `Retry-After`, else `x-ratelimit-reset`, both in seconds.
pub(super) fn asked_wait(answer: &Answer) -> Option<Duration> {
    seconds(answer, "retry-after").or_else(|| seconds(answer, "x-ratelimit-reset"))
}

fn seconds(answer: &Answer, header: &str) -> Option<Duration> {
    let seconds: f64 = answer.header(header)?.trim().parse().ok()?;
    // An epoch or another misreading is no wait.
    (0.0..=86_400.0).contains(&seconds).then(|| Duration::from_secs_f64(seconds))
}
