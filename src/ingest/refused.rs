//! Why a whole request is refused, and the answer that says so.
//!
//! Invariants: what may succeed when it is sent again is 408, 429 or 503, the others are not; the text holds neither a key nor
//! anything of the event.

use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;

use super::rejection::Rejection;
use crate::crm::NotANotice;
use crate::failure::FailureClass;
use crate::store::StoreError;

/// An answer; always short, so never streamed.
pub(super) type Answer = Response<Full<Bytes>>;

/// Why a request is refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error(
        "nothing is served here; send events to POST /v1/identify, /v1/track, /v1/group, /v1/page, /v1/screen, /v1/alias, /v1/batch or /v1/import, Segment's webhooks to POST /webhooks/SOURCE, and Pipedrive's to POST /pipedrive/ACCOUNT"
    )]
    NotFound,
    #[error("this path takes {0} only")]
    Method(&'static str),
    #[error("browsers may not send from this origin; add it to server.cors_origins")]
    Origin,
    #[error("the write key is missing or unknown; send it as the user name of Basic authorization or as `writeKey` in the body")]
    WriteKey,
    #[error(
        "X-Signature is missing or does not fit the body; it must be the hex HMAC-SHA1 of the body under the source's webhook_secret"
    )]
    Signature,
    #[error(
        "Segment signs only the first event of an array: send the source's webhook_token, too, as Bearer token or Basic password"
    )]
    SecondProof,
    #[error("no source of this name takes webhooks; set sources.NAME.webhook_secret")]
    NoWebhook,
    #[error("no account of this name takes Pipedrive's webhooks; set pipedrive.NAME.webhooks")]
    NoAccount,
    #[error("user name or password is wrong; run `pipewright webhooks register` after either was changed in rules.toml")]
    Password,
    #[error(transparent)]
    Notice(#[from] NotANotice),
    #[error("it is of Pipedrive company {theirs}, and the account is of company {ours}")]
    Foreign { theirs: i64, ours: i64 },
    #[error("the body is larger than the {limit} bytes that are taken ({key})")]
    TooLarge {
        limit: u64,
        /// The setting.
        key: &'static str,
        /// Whether the rest of the body was read away, so that the connection can go on.
        drained: bool,
    },
    #[error("the body is not valid gzip")]
    Gzip,
    #[error("Content-Encoding may be gzip or absent")]
    Encoding,
    #[error("the body did not arrive in time")]
    Slow,
    #[error("the body ended early")]
    Cut,
    #[error("a batch is an object with an array `batch` of events")]
    NotABatch,
    #[error(transparent)]
    Event(#[from] Rejection),
    #[error("the daemon is stopping; send it again in a moment")]
    Stopping,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refused {
    /// The failure class, from the sender's point of view.
    pub(super) fn class(&self) -> FailureClass {
        match self {
            Self::Slow | Self::Cut | Self::Stopping => FailureClass::Transient,
            Self::Store(StoreError::Overloaded | StoreError::Behind { .. }) => FailureClass::Throttled,
            Self::Store(error) => error.class(),
            Self::WriteKey
            | Self::Signature
            | Self::SecondProof
            | Self::NoWebhook
            | Self::NoAccount
            | Self::Password
            | Self::Notice(_)
            | Self::Foreign { .. }
            | Self::Origin => FailureClass::Misconfigured,
            Self::Event(rejection) => rejection.class(),
            Self::NotFound | Self::Method(_) | Self::TooLarge { .. } | Self::Gzip | Self::Encoding | Self::NotABatch => {
                FailureClass::Permanent
            }
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::NotFound | Self::NoWebhook | Self::NoAccount => StatusCode::NOT_FOUND,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Origin => StatusCode::FORBIDDEN,
            Self::WriteKey | Self::Signature | Self::SecondProof | Self::Password => StatusCode::UNAUTHORIZED,
            Self::TooLarge { .. } | Self::Event(Rejection::TooLarge { .. }) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Encoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::Gzip | Self::Cut | Self::NotABatch | Self::Event(_) | Self::Notice(_) | Self::Foreign { .. } => {
                StatusCode::BAD_REQUEST
            }
            Self::Store(StoreError::Overloaded | StoreError::Behind { .. }) => StatusCode::TOO_MANY_REQUESTS,
            Self::Stopping | Self::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// A stable word for programs and metrics.
    pub(super) const fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::Method(_) => "method_not_allowed",
            Self::Origin => "origin_not_allowed",
            Self::WriteKey => "invalid_write_key",
            Self::Signature => "invalid_signature",
            Self::SecondProof => "missing_webhook_token",
            Self::NoWebhook => "no_webhook",
            Self::NoAccount => "no_account",
            Self::Password => "invalid_password",
            Self::Notice(_) => "not_a_pipedrive_webhook",
            Self::Foreign { .. } => "other_company",
            Self::TooLarge { .. } => "body_too_large",
            Self::Gzip => "invalid_gzip",
            Self::Encoding => "unknown_encoding",
            Self::Slow => "body_timeout",
            Self::Cut => "body_cut",
            Self::NotABatch => "not_a_batch",
            Self::Event(rejection) => rejection.code(),
            Self::Stopping => "stopping",
            Self::Store(StoreError::Overloaded) => "overloaded",
            Self::Store(StoreError::Behind { .. }) => "backlog_full",
            Self::Store(StoreError::Full(_)) => "disk_full",
            Self::Store(_) => "store_failed",
        }
    }

    /// What the sender reads. Of the store's troubles it learns only what it can do about them.
    fn message(&self) -> String {
        match self {
            Self::Store(StoreError::Overloaded) => {
                "more events arrive than can be stored; nothing of this request was taken, send it again after Retry-After seconds".to_owned()
            }
            Self::Store(StoreError::Behind { .. }) => {
                "more events wait to be carried out than may; nothing of this request was taken, send it again after Retry-After seconds".to_owned()
            }
            Self::Store(_) => {
                "events cannot be stored at the moment; nothing of this request was taken, send it again after Retry-After seconds".to_owned()
            }
            other => other.to_string(),
        }
    }

    fn retry_after(&self) -> Option<&'static str> {
        match self {
            Self::Store(StoreError::Overloaded) => Some("1"),
            Self::Store(StoreError::Full(_) | StoreError::Behind { .. }) => Some("30"),
            Self::Store(_) | Self::Stopping => Some("5"),
            _ => None,
        }
    }

    /// Bytes of this request may still be on their way, or the daemon wants the connection gone.
    const fn ends_connection(&self) -> bool {
        matches!(self, Self::TooLarge { drained: false, .. } | Self::Slow | Self::Cut | Self::Stopping)
    }

    /// The answer.
    pub(super) fn answer(&self) -> Answer {
        let body = serde_json::json!({"success": false, "error": {"code": self.code(), "message": self.message()}});
        let mut answer = json(self.status(), Bytes::from(body.to_string()));
        let headers = answer.headers_mut();
        if let Some(seconds) = self.retry_after() {
            headers.insert(RETRY_AFTER, HeaderValue::from_static(seconds));
        }
        if let Self::Method(allowed) = self {
            headers.insert(ALLOW, HeaderValue::from_static(allowed));
        }
        if self.ends_connection() {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    }
}

/// A JSON answer.
pub(super) fn json(status: StatusCode, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// `{"success":true}`.
pub(super) fn success() -> Answer {
    json(StatusCode::OK, Bytes::from_static(br#"{"success":true}"#))
}
