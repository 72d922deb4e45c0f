//! Answers that are no success.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::State;
use super::types::Problem;
use crate::crm::WebhooksError;
use crate::delivery::{ControlError, ImportError, RevertError};
use crate::reload::VersionError;
use crate::store::StoreError;

/// A status with its reason.
#[derive(Debug)]
pub(super) struct Failed(StatusCode, String);

impl Failed {
    pub(super) fn bad_request(reason: impl Into<String>) -> Self {
        Self(StatusCode::BAD_REQUEST, reason.into())
    }

    pub(super) fn not_found(reason: impl Into<String>) -> Self {
        Self(StatusCode::NOT_FOUND, reason.into())
    }

    pub(super) fn new(status: StatusCode, reason: impl Into<String>) -> Self {
        Self(status, reason.into())
    }

    /// The same, with something said before it.
    pub(super) fn but(self, before: &str) -> Self {
        Self(self.0, format!("{before}{}", self.1))
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        (self.0, Json(Problem { error: self.1 })).into_response()
    }
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
    }
}

impl From<ControlError> for Failed {
    fn from(error: ControlError) -> Self {
        let status = match &error {
            ControlError::Unknown(_) => StatusCode::NOT_FOUND,
            ControlError::Refused(_) => StatusCode::CONFLICT,
            ControlError::Store(_) | ControlError::Stopped => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self(status, error.to_string())
    }
}

impl From<ImportError> for Failed {
    fn from(error: ImportError) -> Self {
        let status = match &error {
            ImportError::Wrong(_) => StatusCode::BAD_REQUEST,
            ImportError::Api(_) => StatusCode::BAD_GATEWAY,
            ImportError::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self(status, error.to_string())
    }
}

impl From<VersionError> for Failed {
    fn from(error: VersionError) -> Self {
        let status = match &error {
            VersionError::Unknown { .. } => StatusCode::NOT_FOUND,
            VersionError::Ambiguous { .. } => StatusCode::BAD_REQUEST,
            VersionError::NoneBefore(_) | VersionError::NotPinned => StatusCode::CONFLICT,
            VersionError::Refused { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            VersionError::Stored(_) | VersionError::Stopped => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self(status, error.to_string())
    }
}

impl From<RevertError> for Failed {
    fn from(error: RevertError) -> Self {
        let status = match &error {
            RevertError::Wrong(_) => StatusCode::BAD_REQUEST,
            RevertError::Api { .. } => StatusCode::BAD_GATEWAY,
            RevertError::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self(status, error.to_string())
    }
}

impl From<WebhooksError> for Failed {
    fn from(error: WebhooksError) -> Self {
        let status = match &error {
            WebhooksError::NotConfigured(_) | WebhooksError::NotRegistered(_) => StatusCode::CONFLICT,
            WebhooksError::NotAdmin(_) | WebhooksError::Api(_) | WebhooksError::Sweep(_) => StatusCode::BAD_GATEWAY,
            WebhooksError::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self(status, error.to_string())
    }
}

impl From<JsonRejection> for Failed {
    fn from(rejection: JsonRejection) -> Self {
        Self(rejection.status(), rejection.body_text())
    }
}

impl State {
    /// Refuses an account that the live set does not have.
    pub(super) fn account(&self, name: &str) -> Result<(), Failed> {
        self.live.load().has_account(name).map_err(Failed::not_found)
    }

    /// Refuses a rule that the live set does not have.
    pub(super) fn rule(&self, name: Option<&str>) -> Result<(), Failed> {
        name.map_or(Ok(()), |name| self.live.load().has_rule(name)).map_err(Failed::not_found)
    }
}

pub(super) async fn not_found() -> Failed {
    Failed::not_found("there is nothing here; the admin API is /api/status, /api/events, /metrics, /healthz and /readyz")
}

pub(super) async fn wrong_method() -> Failed {
    Failed::new(StatusCode::METHOD_NOT_ALLOWED, "this path does not take this method")
}
