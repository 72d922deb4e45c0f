//! `[delivery]`, `[retention]`, `[scripts]` and `[reload]`.

use serde::Deserialize;

use super::{Bytes, Requirement, Span};

/// Concurrency and retry policy.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeliveryConfig {
    /// Deliveries under way at once, all accounts together.
    pub concurrency: usize,
    /// Charged attempts before a transient failure becomes a dead letter.
    pub max_attempts: u32,
    /// How long after its first failure a delivery may still be tried.
    pub max_retry_time: Span,
    /// First wait; doubles with each attempt, with jitter.
    pub retry_first: Span,
    /// Longest wait.
    pub retry_max: Span,
    /// Lanes that must fail transiently in a row before the account pauses and probes.
    pub pause_after_lanes: u32,
    /// Failed script runs of one rule in a row before the rule pauses; 0: never.
    pub pause_rule_after: u32,
    /// An update takes along what later deliveries of its lane say of the same record.
    pub squash: bool,
}

impl Default for DeliveryConfig {
    fn default() -> Self {
        Self {
            concurrency: 32,
            max_attempts: 20,
            max_retry_time: Span::secs(24 * 3600),
            retry_first: Span::secs(1),
            retry_max: Span::secs(600),
            pause_after_lanes: 4,
            pause_rule_after: 25,
            squash: true,
        }
    }
}

/// How long what is kept. What is not delivered is never dropped.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetentionConfig {
    /// Finished events and their records.
    pub events: Span,
    /// Dead letters.
    pub dead: Span,
    /// Largest store file before the oldest finished events go early.
    pub max_bytes: Bytes,
    /// Script sets that were live: how many of the newest are kept.
    pub versions: usize,
}

impl Default for RetentionConfig {
    fn default() -> Self {
        Self {
            events: Span::secs(30 * 24 * 3600),
            dead: Span::secs(90 * 24 * 3600),
            max_bytes: Bytes(20 * 1024 * 1024 * 1024),
            versions: 200,
        }
    }
}

/// Limits of one script run.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScriptConfig {
    /// Threads that run scripts.
    pub threads: usize,
    /// Operations (Rhai's count) of one run.
    pub max_operations: u64,
    /// Wall-clock time of one run.
    pub deadline: Span,
    /// Longest string, in bytes.
    pub max_string: usize,
    /// Longest array.
    pub max_array: usize,
    /// Largest map.
    pub max_map: usize,
    /// Most actions in a plan.
    pub max_actions: usize,
    /// Most reads in a run.
    pub max_reads: usize,
}

impl Default for ScriptConfig {
    fn default() -> Self {
        Self {
            threads: 2,
            max_operations: 1_000_000,
            deadline: Span::millis(200),
            max_string: 256 * 1024,
            max_array: 10_000,
            max_map: 5_000,
            max_actions: 100,
            max_reads: 50,
        }
    }
}

/// When changed files are looked at, and what they must pass before they go live.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReloadConfig {
    /// Watch the files; off: only `pipewright reload` and SIGHUP.
    pub watch: bool,
    /// Compare the files' hashes this often in case the watcher missed something.
    pub poll: Span,
    /// What a changed set must pass, besides being compiled.
    pub require: Vec<Requirement>,
}

impl Default for ReloadConfig {
    fn default() -> Self {
        Self { watch: true, poll: Span::secs(3), require: vec![Requirement::Check, Requirement::Tests] }
    }
}

impl ReloadConfig {
    /// Whether a changed set must pass this.
    #[must_use]
    pub fn requires(&self, requirement: Requirement) -> bool {
        self.require.contains(&requirement)
    }

    /// The percentage of the scripts' lines and branches that tests must run; none when it is not asked for.
    #[must_use]
    pub fn least_coverage(&self) -> Option<u8> {
        let least = |requirement: &Requirement| match requirement {
            Requirement::Coverage(percent) => Some(*percent),
            Requirement::Check | Requirement::Tests => None,
        };
        self.require.iter().filter_map(least).max()
    }
}
