//! `rules.toml`, read and validated.
//!
//! Invariants: unknown keys are errors with a suggestion; a `Config` that exists is consistent (every rule's account and
//! sources exist, names are unique, limits are in range); secrets stay references until they are resolved, and a resolved
//! secret never prints itself.

mod account;
mod delivery;
mod rule;
mod secret;
mod server;
mod source;
mod units;

pub use account::{AccountConfig, MatchFields, Plan as PipedrivePlan, Writes};
pub use delivery::{DeliveryConfig, ReloadConfig, RetentionConfig, ScriptConfig};
pub use rule::{RuleConfig, WritePolicy};
pub use secret::{Secret, SecretError, SecretRef};
pub use server::{AdminConfig, ServerConfig};
pub use source::SourceConfig;
pub use units::{Bytes, Span};

use std::collections::BTreeMap;

use serde::Deserialize;

/// The whole of `rules.toml`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
pub struct Config {
    /// `[server]`: the event listener and the data folder.
    pub server: ServerConfig,
    /// `[admin]`: the admin listener.
    pub admin: AdminConfig,
    /// `[retention]`: how long what is kept.
    pub retention: RetentionConfig,
    /// `[delivery]`: concurrency and retry policy.
    pub delivery: DeliveryConfig,
    /// `[scripts]`: limits of a script run.
    pub scripts: ScriptConfig,
    /// `[reload]`: what a changed set must pass.
    pub reload: ReloadConfig,
    /// `[sources.NAME]`: who may send.
    pub sources: BTreeMap<String, SourceConfig>,
    /// `[pipedrive.NAME]`: the accounts.
    pub pipedrive: BTreeMap<String, AccountConfig>,
    /// `[[rules]]`, in order.
    pub rules: Vec<RuleConfig>,
}
