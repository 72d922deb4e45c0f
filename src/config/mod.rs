//! `rules.toml`, read and validated.
//!
//! Invariants: unknown keys are errors with a suggestion; a `Config` that exists is consistent (every rule's account and
//! sources exist, names are unique, limits are in range); secrets stay references until they are resolved, and a resolved
//! secret never prints itself.

mod account;
mod budget;
mod delivery;
mod fields;
mod mirror;
mod parse;
mod places;
mod requirement;
mod rule;
mod secret;
mod server;
mod source;
#[cfg(test)]
mod tests;
mod units;
mod validate;
mod webhooks;

pub use account::{AccountConfig, MatchFields, Plan as PipedrivePlan, Writes};
pub use budget::{BudgetConfig, ResetHour, Share};
pub use delivery::{DeliveryConfig, ReloadConfig, RetentionConfig, ScriptConfig};
pub use fields::{CustomType, DeclaredField, DeclaredFields};
pub use mirror::{MirrorConfig, MirrorMode};
pub(crate) use places::Places;
pub use requirement::Requirement;
pub use rule::{RuleConfig, WritePolicy};
pub use secret::{Readable, Secret, SecretError, SecretRef};
pub use server::{AdminConfig, MAX_BATCH_EVENTS, ServerConfig};
pub use source::{AliasPolicy, SourceConfig};
pub use units::{Bytes, Span};
pub use webhooks::WebhooksConfig;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::diagnostic::Diagnostic;

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
    /// `[reload]`: when changed files are looked at, and what they must pass.
    pub reload: ReloadConfig,
    /// `[sources.NAME]`: who may send.
    pub sources: BTreeMap<String, SourceConfig>,
    /// `[pipedrive.NAME]`: the accounts.
    pub pipedrive: BTreeMap<String, AccountConfig>,
    /// `[[rules]]`, in order.
    pub rules: Vec<RuleConfig>,
}

impl Config {
    /// Reads and validates the text of `rules.toml`. `file_name` is what messages call it.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its place, in the order of the file.
    pub fn parse(file_name: &str, text: &str) -> Result<(Self, Vec<Diagnostic>), Vec<Diagnostic>> {
        parse::parse(file_name, text)
    }

    /// How long events that no rule wants are kept: one time for all of them, the longest that a source names. Without sources, for which
    /// somebody may have commented them out for a moment, it is the time that a source has by itself.
    #[must_use]
    pub fn keep_unmatched(&self) -> Duration {
        let longest = self.sources.values().map(|source| source.keep_unmatched).max();
        longest.unwrap_or(SourceConfig::default().keep_unmatched).get()
    }

    /// The custom fields that the accounts are to have, an account each.
    #[must_use]
    pub fn declared_fields(&self) -> Vec<DeclaredFields> {
        self.pipedrive.values().map(|account| account.fields.clone()).collect()
    }

    /// The data folder that a text names, even when the rest of it is broken; the default when that cannot be told.
    /// A start whose `rules.toml` is broken finds the last good set there.
    #[must_use]
    pub fn data_dir_hint(text: &str) -> PathBuf {
        parse::data_dir_hint(text).unwrap_or_else(|| ServerConfig::default().data_dir)
    }
}
