//! What can go wrong with a call, and its class.

use std::time::Duration;

use serde_json::Value;

use super::TransportError;
use crate::failure::FailureClass;

/// A failed call: what was called and why it failed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{call}: {kind}")]
pub struct ApiError {
    /// `POST /api/v2/persons`.
    pub call: String,
    /// Whether the call changes data.
    pub write: bool,
    /// Why.
    #[source]
    pub kind: ErrorKind,
}

/// Why a call failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ErrorKind {
    /// No answer.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// 400, 405, 415, 422 and other refusals of this one request.
    #[error("Pipedrive refused it ({status}{}): {message}", .code.as_deref().map(|c| format!(" {c}")).unwrap_or_default())]
    Refused {
        /// Status.
        status: u16,
        /// Pipedrive's code, when it gives one.
        code: Option<String>,
        /// Pipedrive's text.
        message: String,
    },
    /// 404 or 410.
    #[error("Pipedrive does not have it ({status})")]
    Gone {
        /// Status.
        status: u16,
    },
    /// 429: too many requests, or no budget left.
    #[error("Pipedrive says there were too many requests (429); going on in {}s", .retry_after.as_secs_f32().ceil())]
    Throttled {
        /// How long to wait.
        retry_after: Duration,
        /// The daily budget rather than the burst window.
        daily: bool,
    },
    /// Our own budget has no tokens for it: it was not sent.
    #[error("{reason}")]
    Withheld {
        /// The numbers, and when it goes on.
        reason: String,
        /// How long to wait.
        retry_after: Duration,
    },
    /// 403 with an HTML page: the firewall in front of Pipedrive has shut us out.
    #[error("Pipedrive's firewall has shut us out (403 with a web page); waiting {}s", .retry_after.as_secs())]
    Blocked {
        /// How long to wait.
        retry_after: Duration,
    },
    /// 401, 402 or 403 in JSON: token, subscription, permission or a limit of the plan. Also a redirect and a 404 that is a web page:
    /// the address is not that of the API. None of them has carried the request out.
    #[error("Pipedrive does not let this account in ({status}): {message}")]
    Account {
        /// Status.
        status: u16,
        /// Pipedrive's text.
        message: String,
    },
    /// 5xx.
    #[error("Pipedrive failed ({status})")]
    Server {
        /// Status.
        status: u16,
        /// A v2 write answered with 500: the body itself may be the cause.
        suspect_body: bool,
    },
    /// An answer that is not what the call gives: no JSON, or JSON of another shape.
    #[error("Pipedrive's answer ({status}) cannot be read: {reason}")]
    Unreadable {
        /// Status.
        status: u16,
        /// Why.
        reason: String,
    },
}

impl ApiError {
    /// The failure class.
    #[must_use]
    pub fn class(&self) -> FailureClass {
        match &self.kind {
            ErrorKind::Transport(e) => e.class(self.write),
            ErrorKind::Refused { .. } | ErrorKind::Gone { .. } => FailureClass::Permanent,
            ErrorKind::Throttled { .. } | ErrorKind::Withheld { .. } | ErrorKind::Blocked { .. } => FailureClass::Throttled,
            ErrorKind::Account { .. } => FailureClass::Misconfigured,
            ErrorKind::Server { .. } | ErrorKind::Unreadable { .. } if self.write => FailureClass::UnknownOutcome,
            ErrorKind::Server { .. } | ErrorKind::Unreadable { .. } => FailureClass::Transient,
        }
    }

    /// How long to wait, when the answer said so.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match &self.kind {
            ErrorKind::Throttled { retry_after, .. }
            | ErrorKind::Withheld { retry_after, .. }
            | ErrorKind::Blocked { retry_after } => Some(*retry_after),
            _ => None,
        }
    }

    /// The failure without anything that Pipedrive wrote, which may repeat personal data, and without what a script put into the path:
    /// for logs.
    #[must_use]
    pub fn brief(&self) -> String {
        let what = match &self.kind {
            ErrorKind::Refused { status, code, .. } => match code {
                Some(code) => format!("refused ({status} {code})"),
                None => format!("refused ({status})"),
            },
            ErrorKind::Account { status: 401, .. } => "Pipedrive does not take the api_token (401)".to_owned(),
            ErrorKind::Account { status: 402, .. } => "the account's subscription does not cover this (402)".to_owned(),
            ErrorKind::Account { status: 403, .. } => {
                "not allowed to the api_token's user, or beyond the plan's limits (403)".to_owned()
            }
            ErrorKind::Account { status, .. } => {
                format!("this is not Pipedrive's API ({status}); look at `domain` or `base_url`")
            }
            ErrorKind::Unreadable { status, .. } => format!("the answer ({status}) cannot be read"),
            other => other.to_string(),
        };
        format!("{}: {what}", without_values(&self.call))
    }

    /// True for 404 and 410.
    #[must_use]
    pub const fn is_gone(&self) -> bool {
        matches!(self.kind, ErrorKind::Gone { .. })
    }
}

/// What stands in the paths of Pipedrive's API between its ids.
const PATH_WORDS: [&str; 40] = [
    "activities",
    "activityFields",
    "activityTypes",
    "api",
    "archived",
    "changelog",
    "convert",
    "currencies",
    "deal",
    "dealFields",
    "deals",
    "field",
    "files",
    "filters",
    "find",
    "followers",
    "itemSearch",
    "lead",
    "leadFields",
    "leadLabels",
    "leads",
    "leadSources",
    "me",
    "merge",
    "noteFields",
    "notes",
    "options",
    "organizationFields",
    "organizations",
    "personFields",
    "persons",
    "pipelines",
    "products",
    "search",
    "stages",
    "status",
    "users",
    "v1",
    "v2",
    "webhooks",
];

/// The call with a dot in place of each part of its path that is no word of the API: a script may have put any value there.
fn without_values(call: &str) -> String {
    let (method, path) = call.split_once(' ').unwrap_or((call, ""));
    let parts = path.split('/').map(|part| if part.is_empty() || PATH_WORDS.contains(&part) { part } else { "." });
    format!("{method} {}", parts.collect::<Vec<_>>().join("/"))
}

/// `{"field": ["what is wrong", ..], ..}`, as webhooks are refused.
fn by_field(errors: &Value) -> String {
    let fields = errors.as_object().into_iter().flatten();
    let texts = |value: &Value| match value {
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
        other => other.as_str().map_or_else(|| other.to_string(), str::to_owned),
    };
    fields.map(|(field, wrong)| format!("{field}: {}", texts(wrong))).collect::<Vec<_>>().join("; ")
}

/// Pipedrive's text of an error body, for a person; personal data may be in it, so it belongs in records, not in logs.
#[must_use]
pub(super) fn message_of(body: &Value) -> String {
    let text = |key: &str| body.get(key).and_then(Value::as_str).filter(|s| !s.is_empty());
    match (text("error"), text("error_info")) {
        (Some(e), Some(info)) => format!("{e} ({info})"),
        (Some(e), None) => e.to_owned(),
        _ if body.get("errors").is_some_and(Value::is_object) => by_field(&body["errors"]),
        _ => body.to_string().chars().take(300).collect(),
    }
}
