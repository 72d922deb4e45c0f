//! Pauses that come and go by themselves.
//!
//! Invariant: who is paused in the list of pauses is held in the lanes.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::Scheduler;
use crate::config::DeliveryConfig;
use crate::delivery::lanes::Lanes;
use crate::delivery::{PauseInfo, Scope};
use crate::failure::FailureClass;
use crate::telemetry::Metrics;

/// Longest time between two probes of a troubled account; at most `delivery.retry_max`.
const LONGEST_PROBE: Duration = Duration::from_secs(300);

impl Scheduler {
    pub(super) fn auto_pause(&mut self, scope: Scope, info: PauseInfo, now: Timestamp) {
        // A pause that is renewed by a probe is no news.
        if self.pauses.get(&scope).is_none() {
            paused(&self.runtime.metrics, &scope, info.class);
            tracing::warn!(reason = info.reason, until = info.until.map(tracing::field::display), "the reason of the pause");
        }
        hold(&mut self.lanes, &scope, true, now);
        self.pauses.set(scope, info);
    }

    /// Pauses whose time has come: throttles end, troubled accounts are probed.
    pub(super) fn pauses_due(&mut self) {
        let now = Timestamp::now();
        let probe = probe_times(&self.runtime.live.load().config.delivery);
        for (scope, info) in self.pauses.due(probe.1, now) {
            match (&scope, info.class.map(|c| c == FailureClass::Throttled)) {
                (Scope::Account(name), Some(false)) => {
                    self.lanes.hurry_account(name, now);
                    self.lanes.probe_account(&Arc::from(name.as_str()));
                }
                _ => {
                    self.pauses.clear(&scope);
                    resumed(&self.runtime.metrics, &scope);
                    hold(&mut self.lanes, &scope, false, now);
                }
            }
        }
    }

    pub(super) fn next_due(&self) -> Option<Timestamp> {
        match (self.lanes.next_due(), self.pauses.next_due()) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }
}

/// Counts and logs a pause.
pub(in crate::delivery) fn paused(metrics: &Metrics, scope: &Scope, class: Option<FailureClass>) {
    match scope {
        Scope::Account(name) => metrics.account_paused(name, class),
        Scope::Rule(name) => metrics.rule_paused(name, class),
    }
}

/// Counts and logs that something goes on.
pub(in crate::delivery) fn resumed(metrics: &Metrics, scope: &Scope) {
    match scope {
        Scope::Account(name) => metrics.account_resumed(name),
        Scope::Rule(name) => metrics.rule_resumed(name),
    }
}

/// Shortest and longest time between two probes of a troubled account.
pub(super) fn probe_times(config: &DeliveryConfig) -> (Duration, Duration) {
    let longest = config.retry_max.get().min(LONGEST_PROBE);
    (config.retry_first.get().saturating_mul(2).min(longest), longest)
}

/// Holds a scope or lets it go on.
pub(in crate::delivery) fn hold(lanes: &mut Lanes, scope: &Scope, held: bool, now: Timestamp) {
    match scope {
        Scope::Account(name) => lanes.hold_account(&Arc::from(name.as_str()), held),
        Scope::Rule(name) => lanes.hold_rule(&Arc::from(name.as_str()), held, now),
    }
}
