//! `webhooks` of an account: where Pipedrive tells what people change.

use serde::Deserialize;

use super::{SecretRef, Span};

/// How Pipedrive reaches this Pipewright, and proves that it is Pipedrive.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhooksConfig {
    /// What stands before `/pipedrive/NAME`: scheme, host and, behind a proxy, a path.
    pub url: String,
    /// User name of Basic authorization.
    #[serde(default = "user")]
    pub user: String,
    /// Password of Basic authorization.
    pub password: SecretRef,
    /// How often is looked whether Pipedrive has them still.
    #[serde(default = "check_every")]
    pub check_every: Span,
}

fn user() -> String {
    "pipewright".to_owned()
}

const fn check_every() -> Span {
    Span::secs(24 * 3600)
}

impl WebhooksConfig {
    /// Where Pipedrive sends what it has to tell of an account.
    #[must_use]
    pub fn address(&self, account: &str) -> String {
        format!("{}/pipedrive/{account}", self.url.trim_end_matches('/'))
    }
}
