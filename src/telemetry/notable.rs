//! What a person should hear of at once: each method counts it and writes its one log line.

use std::time::Duration;

use super::Metrics;
use super::labels::{name, word};
use crate::diagnostic::{Code, Diagnostic};
use crate::failure::FailureClass;

/// How many diagnostics of a refused set are logged one by one; the rest is in `status`.
const LOGGED_DIAGNOSTICS: usize = 10;

fn class_word(class: Option<FailureClass>) -> &'static str {
    class.map_or("person", FailureClass::as_str)
}

// === delivery ===
impl Metrics {
    /// A delivery ended as dead, partial or uncertain. Comes with [`Metrics::delivery_finished`], which counts it. `delivery` is `SEQ/RULE`;
    /// the reason stays in the decision record, for it may hold personal values.
    pub fn delivery_failed(&self, delivery: &dyn std::fmt::Display, message_id: &str, state: &'static str, class: FailureClass) {
        tracing::warn!(%delivery, message_id, state, %class, "delivery failed; see `pipewright events show`");
    }

    /// An account paused: by its failures, or by a person when `class` is none.
    pub fn account_paused(&self, account: &str, class: Option<FailureClass>) {
        self.count_pause("account", account, class);
        tracing::warn!(account, class = class_word(class), "account paused; its deliveries wait");
    }

    /// A rule paused: by its failures, or by a person when `class` is none.
    pub fn rule_paused(&self, rule: &str, class: Option<FailureClass>) {
        self.count_pause("rule", rule, class);
        tracing::warn!(rule, class = class_word(class), "rule paused; its deliveries wait");
    }

    /// An account goes on.
    pub fn account_resumed(&self, account: &str) {
        self.0.on.paused.get_or_create(&[("scope", word("account")), ("name", name(account))]).set(0);
        tracing::info!(account, "account resumed");
    }

    /// A rule goes on.
    pub fn rule_resumed(&self, rule: &str) {
        self.0.on.paused.get_or_create(&[("scope", word("rule")), ("name", name(rule))]).set(0);
        tracing::info!(rule, "rule resumed");
    }

    fn count_pause(&self, scope: &'static str, of: &str, class: Option<FailureClass>) {
        let on = &self.0.on;
        on.paused.get_or_create(&[("scope", word(scope)), ("name", name(of))]).set(1);
        on.pauses.get_or_create(&[("scope", word(scope)), ("name", name(of)), ("class", word(class_word(class)))]).inc();
    }
}

// === accounts ===
impl Metrics {
    /// Whether anything is written to an account: at the start, and when that changes.
    pub fn account_writes(&self, account: &str, on: bool) {
        self.0.on.writes.get_or_create(&[("account", name(account))]).set(i64::from(on));
        if on {
            tracing::info!(account, "writes are on: what rules ask for is carried out in Pipedrive");
        } else {
            tracing::warn!(account, "writes are off: nothing is sent to Pipedrive but reads, and deliveries end as observed");
        }
    }

    /// An account is no longer in rules.toml.
    pub fn account_gone(&self, account: &str) {
        self.0.on.writes.remove(&[("account", name(account))]);
    }

    /// An account's metadata was fetched.
    pub fn metadata_refreshed(&self, account: &str) {
        self.0.on.metadata.get_or_create(&[("account", name(account)), ("result", word("ok"))]).inc();
        tracing::debug!(account, "account metadata fetched");
    }

    /// Pipedrive told of a change; `result` is what became of that.
    pub fn webhook_heard(&self, account: &str, result: &'static str) {
        self.0.on.webhooks.get_or_create(&[("account", name(account)), ("result", word(result))]).inc();
    }

    /// An account's metadata could not be fetched; the last known goes on.
    pub fn metadata_refresh_failed(&self, account: &str, class: FailureClass) {
        self.0.on.metadata.get_or_create(&[("account", name(account)), ("result", word("failed"))]).inc();
        tracing::warn!(account, %class, "account metadata could not be fetched");
    }
}

// === script sets ===
impl Metrics {
    /// Another script set is live (or the first one).
    pub fn set_swapped(&self, version: &dyn std::fmt::Display, rules: usize, elapsed: Duration) {
        let on = &self.0.on;
        self.reload_ended("swapped", elapsed);
        on.refused_set.set(0);
        on.failing_set.set(0);
        on.live_set.clear();
        on.live_set.get_or_create(&[("version", name(&version.to_string()))]).set(1);
        on.swapped_at.set(jiff::Timestamp::now().as_duration().as_secs_f64());
        tracing::info!(%version, rules, elapsed_ms = millis(elapsed), "script set is live");
    }

    /// What a set that goes live leaves open: secrets that others can read. The other warnings are in `status`.
    pub fn set_leaves_open(&self, warnings: &[Diagnostic]) {
        let open = warnings.iter().filter(|d| d.is(Code::PlainHttp) || d.is(Code::SecretMode));
        for diagnostic in open.take(LOGGED_DIAGNOSTICS) {
            tracing::warn!(warning = %first_line(diagnostic), help = diagnostic.help.as_deref(), "a secret lies open");
        }
    }

    /// The files were read and are the live set already.
    pub fn set_unchanged(&self, elapsed: Duration) {
        self.reload_ended("unchanged", elapsed);
        self.0.on.refused_set.set(0);
        tracing::info!(elapsed_ms = millis(elapsed), "the files on disk are the live script set again");
    }

    /// The files on disk were refused; the live set goes on.
    pub fn set_refused(&self, diagnostics: &[Diagnostic], elapsed: Duration) {
        self.reload_ended("refused", elapsed);
        self.0.on.refused_set.set(1);
        let errors = diagnostics.iter().filter(|d| d.is_error());
        tracing::error!(errors = errors.clone().count(), "script set refused; the last good one goes on");
        for diagnostic in errors.take(LOGGED_DIAGNOSTICS) {
            tracing::error!(error = %first_line(diagnostic), help = diagnostic.help.as_deref(), "refused because");
        }
    }

    /// The live set stays until `unpin`, or does no longer.
    pub fn set_pinned(&self, pinned: bool) {
        self.0.on.pinned_set.set(i64::from(pinned));
    }

    /// The files on disk would be live but for the pin.
    pub fn set_held_back(&self, files: &dyn std::fmt::Display, elapsed: Duration) {
        self.reload_ended("held", elapsed);
        self.0.on.refused_set.set(0);
        tracing::warn!(%files, elapsed_ms = millis(elapsed), "the files on disk would be live but for the pin; `pipewright unpin` takes them");
    }

    /// The tests of a changed set, or of the live one, were run.
    pub fn set_tested(&self, passed: usize, failed: usize, elapsed: Duration) {
        let result = word(if failed == 0 { "passed" } else { "failed" });
        self.0.on.reload_tests_seconds.get_or_create(&[("result", result)]).observe(elapsed.as_secs_f64());
        tracing::info!(passed, failed, elapsed_ms = millis(elapsed), "script tests run before going live");
    }

    /// The tests of the live set were changed: it does not pass them, or it does again. It goes on in either case.
    pub fn live_set_judged(&self, diagnostics: &[Diagnostic]) {
        self.0.on.failing_set.set(i64::from(!diagnostics.is_empty()));
        if diagnostics.is_empty() {
            tracing::info!("the live script set passes its tests again");
            return;
        }
        tracing::warn!(failures = diagnostics.len(), "the live script set fails its changed tests; it goes on");
        for diagnostic in diagnostics.iter().take(LOGGED_DIAGNOSTICS) {
            tracing::warn!(error = %first_line(diagnostic), "the live set fails");
        }
    }

    fn reload_ended(&self, result: &'static str, elapsed: Duration) {
        self.0.on.reloads.get_or_create(&[("result", word(result))]).inc();
        self.0.on.reload_seconds.get_or_create(&[("result", word(result))]).observe(elapsed.as_secs_f64());
    }
}

// === store ===
impl Metrics {
    /// The store refused a call. `reason` is a fixed word (`overloaded`, `full`, `failed`, `closed`).
    pub fn store_refused(&self, reason: &'static str, error: &dyn std::fmt::Display) {
        self.0.on.store_failures.get_or_create(&[("reason", word(reason))]).inc();
        match reason {
            "failed" => tracing::error!(%error, "store failed; the daemon must stop and recover from disk"),
            _ => tracing::warn!(reason, %error, "store refused a call"),
        }
    }
}

/// What a log line has room for.
fn first_line(diagnostic: &Diagnostic) -> String {
    diagnostic.one_line().lines().next().unwrap_or_default().to_owned()
}

fn millis(elapsed: Duration) -> u64 {
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}
