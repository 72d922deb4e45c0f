//! `[sources.NAME]`: who may send events.

use serde::Deserialize;

use super::{SecretRef, Span};

/// One source. It needs write keys (Tracking API), a webhook secret, or both.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SourceConfig {
    /// Segment write keys, any of which is accepted.
    pub write_keys: Vec<SecretRef>,
    /// Shared secret of Segment's webhook destination, for `POST /webhooks/NAME`.
    pub webhook_secret: Option<SecretRef>,
    /// Second proof for arrays: the Basic password or Bearer token that must come with them.
    pub webhook_token: Option<SecretRef>,
    /// How long events that no rule wants are kept; zero: not at all.
    pub keep_unmatched: Span,
    /// What its alias events do besides meeting rules.
    pub aliases: AliasPolicy,
}

/// What an alias event does besides meeting rules.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AliasPolicy {
    /// Its two ids are one user from then on.
    #[default]
    Follow,
    /// Nothing.
    Ignore,
}

impl Default for SourceConfig {
    fn default() -> Self {
        Self {
            write_keys: Vec::new(),
            webhook_secret: None,
            webhook_token: None,
            keep_unmatched: Span::secs(7 * 24 * 3600),
            aliases: AliasPolicy::Follow,
        }
    }
}
