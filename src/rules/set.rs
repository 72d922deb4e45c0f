//! The compiled set.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};

use super::files::RULES_TOML;
use crate::config::{Config, Places, RuleConfig, Secret};
use crate::crm::Metadata;
use crate::diagnostic::Diagnostic;
use crate::event::Event;
use crate::script::{Program, Sources};

use super::Trigger;
use super::index::Index;

/// The live set; one `load` per attempt.
pub type Live = Arc<ArcSwap<ScriptSet>>;

/// The files of a set as read together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SetFiles {
    /// `rules.toml`.
    pub rules_toml: Arc<str>,
    /// Scripts and tables.
    pub sources: Sources,
    /// Schema files by name: `schema.json`, `schema.NAME.json`.
    pub schemas: BTreeMap<String, Arc<str>>,
}

/// The hash of a set's content, in hexadecimal; its first 12 characters are shown.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(pub Arc<str>);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0[..self.0.len().min(12)])
    }
}

/// One rule of a set.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Name.
    pub name: Arc<str>,
    /// Account it writes to.
    pub account: Arc<str>,
    /// Place in `rules.toml`, from 0.
    pub position: u32,
    /// As configured.
    pub config: RuleConfig,
    /// The trigger, compiled.
    pub trigger: Trigger,
    /// Names its script and its shadow by their content; none without a shadow.
    pub compared: Option<Arc<str>>,
}

impl Rule {
    /// Whether it takes events of a source.
    #[must_use]
    pub fn listens_to(&self, source: &str) -> bool {
        self.config.sources.is_empty() || self.config.sources.iter().any(|s| s == source)
    }
}

/// A source's secrets, resolved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceSecrets {
    /// Write keys.
    pub write_keys: Vec<Secret>,
    /// HMAC secret of webhooks.
    pub webhook_secret: Option<Secret>,
    /// Second proof of webhook arrays.
    pub webhook_token: Option<Secret>,
}

/// Rules, scripts and tables as compiled together.
#[derive(Debug)]
pub struct ScriptSet {
    /// Its name.
    pub version: Version,
    /// `rules.toml`.
    pub config: Arc<Config>,
    /// Rules in order, disabled ones included.
    pub rules: Vec<Rule>,
    /// What is worth a look in `rules.toml` by itself.
    pub(super) remarks: Vec<Diagnostic>,
    /// Secrets by source name.
    pub sources: BTreeMap<String, SourceSecrets>,
    /// API tokens by account name.
    pub tokens: BTreeMap<String, Secret>,
    /// Passwords of Pipedrive's webhooks by account name; accounts without webhooks are left out.
    pub webhooks: BTreeMap<String, Secret>,
    /// Schema files, read, by account name; accounts without one are left out.
    pub schemas: BTreeMap<String, Arc<Metadata>>,
    /// What it was built from.
    pub files: SetFiles,
    /// The scripts, compiled.
    pub program: Arc<Program>,
    pub(super) index: Index,
}

impl ScriptSet {
    /// The enabled rules that want the event, in order.
    #[must_use]
    pub fn wanted(&self, event: &Event) -> Vec<&Rule> {
        let candidates = self.index.candidates(event).map(|place| &self.rules[place]);
        candidates.filter(|rule| rule.listens_to(&event.source) && rule.trigger.matches(event)).collect()
    }

    /// Whether both sets hold the same secrets: files of secrets change without a change of the set's own files.
    #[must_use]
    pub fn same_secrets(&self, other: &Self) -> bool {
        self.sources == other.sources && self.tokens == other.tokens && self.webhooks == other.webhooks
    }

    /// That it has an account of this name.
    ///
    /// # Errors
    /// What accounts there are.
    pub fn has_account(&self, name: &str) -> Result<(), String> {
        among("account", name, self.config.pipedrive.keys().map(String::as_str))
    }

    /// That it has a rule of this name, disabled ones included.
    ///
    /// # Errors
    /// What rules there are.
    pub fn has_rule(&self, name: &str) -> Result<(), String> {
        among("rule", name, self.rules.iter().map(|rule| &*rule.name))
    }

    /// Places a diagnostic at a setting of `rules.toml`.
    pub(crate) fn at_setting(&self, diagnostic: Diagnostic, path: &[&str]) -> Diagnostic {
        Places::new(RULES_TOML, &self.files.rules_toml).at(diagnostic, path)
    }

    /// A rule by name, disabled ones included.
    #[must_use]
    pub fn rule(&self, name: &str) -> Option<&Rule> {
        self.rules.iter().find(|r| &*r.name == name)
    }
}

fn among<'a>(what: &str, name: &str, names: impl Iterator<Item = &'a str>) -> Result<(), String> {
    let names: Vec<&str> = names.collect();
    if names.contains(&name) {
        return Ok(());
    }
    let there = if names.is_empty() { "rules.toml has none".to_owned() } else { format!("there is {}", names.join(", ")) };
    Err(format!("there is no {what} `{name}`; {there}"))
}
