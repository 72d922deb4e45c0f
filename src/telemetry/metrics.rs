//! What is counted. Methods are named after what happened; those that a person must hear of at once are in `notable`, and log too.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::registry::Registry;

use super::instruments::Instruments;
use super::labels::{event_type, name, status_class, word};

/// The content type of [`Metrics::render`].
pub const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Every counter of a daemon. Clones share them; a `default()` has its own registry, so that tests do not see each other.
#[derive(Clone)]
pub struct Metrics(pub(super) Arc<Inner>);

pub(super) struct Inner {
    registry: Registry,
    pub(super) on: Instruments,
    // Kept beside the scraped series for `status`, which wants totals.
    accepted: AtomicU64,
    finished: AtomicU64,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("pipewright");
        let on = Instruments::register(&mut registry);
        Self(Arc::new(Inner { registry, on, accepted: AtomicU64::new(0), finished: AtomicU64::new(0) }))
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

/// What became of events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EventCounts {
    /// Durable, or kept by nobody.
    pub accepted: u64,
    /// Were there already.
    pub duplicate: u64,
    /// No rule wanted them; they count as accepted, too.
    pub unmatched: u64,
    /// Their `integrations` switched Pipedrive off: they were acknowledged and are not kept.
    pub switched_off: u64,
}

/// Counts a connection as open until it is dropped.
#[derive(Debug)]
pub struct ConnectionGuard(Metrics);

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.0.0.on.connections.dec();
    }
}

// === at the door ===
impl Metrics {
    /// So many connections may be open on the event listener.
    pub fn connections_limited(&self, most: usize) {
        self.0.on.connections_limit.set(i64::try_from(most).unwrap_or(i64::MAX));
    }

    /// A connection to the event listener was opened; it counts until the guard is dropped.
    #[must_use]
    pub fn connection_opened(&self) -> ConnectionGuard {
        self.0.on.connections.inc();
        ConnectionGuard(self.clone())
    }

    /// A request on the event listener was answered. `route` is a fixed word (`track`, `batch`, `webhook`), not the path.
    pub fn request_answered(&self, route: &'static str, status: u16, elapsed: Duration) {
        let on = &self.0.on;
        on.requests_in.get_or_create(&[("route", word(route)), ("status", status_class(Some(status)))]).inc();
        on.request_in_seconds.get_or_create(&[("route", word(route))]).observe(elapsed.as_secs_f64());
    }

    /// The good events of one type in one request were dealt with.
    pub fn events_taken(&self, source: &str, kind: &str, counts: EventCounts) {
        let (inner, on) = (&self.0, &self.0.on);
        inner.accepted.fetch_add(counts.accepted, Ordering::Relaxed);
        for (family, count) in [
            (&on.accepted, counts.accepted),
            (&on.duplicate, counts.duplicate),
            (&on.unmatched, counts.unmatched),
            (&on.switched_off, counts.switched_off),
        ] {
            if count > 0 {
                family.get_or_create(&[("source", name(source)), ("type", event_type(kind))]).inc_by(count);
            }
        }
    }

    /// An event, or a request before its events could be read, was refused. `source` is `""` when it is not known who sent it; `kind`
    /// is what the sender wrote, or `""`; `reason` is a fixed word (`auth`, `json`, `too_large`).
    pub fn event_rejected(&self, source: &str, kind: &str, reason: &'static str, events: usize) {
        let source = if source.is_empty() { word("unknown") } else { name(source) };
        self.0
            .on
            .rejected
            .get_or_create(&[("source", source), ("type", event_type(kind)), ("reason", word(reason))])
            .inc_by(events as u64);
    }

    /// A sender was told to slow down (429, 503). `reason` is a fixed word (`store_full`, `queue`).
    pub fn ingest_overloaded(&self, reason: &'static str) {
        self.0.on.overloaded.get_or_create(&[("reason", word(reason))]).inc();
    }

    /// Events accepted since the start.
    #[must_use]
    pub fn accepted_total(&self) -> u64 {
        self.0.accepted.load(Ordering::Relaxed)
    }
}

// === delivery ===
impl Metrics {
    /// An attempt began.
    pub fn delivery_attempted(&self, rule: &str, account: &str) {
        self.0.on.attempts.get_or_create(&[("rule", name(rule)), ("account", name(account))]).inc();
    }

    /// An attempt failed and will be repeated. `class` is `FailureClass::as_str`.
    pub fn delivery_retried(&self, rule: &str, class: &'static str) {
        self.0.on.retries.get_or_create(&[("rule", name(rule)), ("class", word(class))]).inc();
    }

    /// A delivery ended. `state` is `DeliveryState::as_str`; `since_accepted` runs from the event's acceptance.
    pub fn delivery_finished(&self, rule: &str, state: &'static str, since_accepted: Duration) {
        self.0.finished.fetch_add(1, Ordering::Relaxed);
        self.0.on.finished.get_or_create(&[("rule", name(rule)), ("state", word(state))]).inc();
        self.0.on.delivery_seconds.get_or_create(&[("rule", name(rule))]).observe(since_accepted.as_secs_f64());
    }

    /// An action was carried out. `verb` and `kind` are the words of scripts (`kind` is `""` for raw requests), `result` a fixed word
    /// (`created`, `updated`, `unchanged`, `skipped`, `deleted`).
    pub fn action_done(&self, rule: &str, verb: &'static str, kind: &'static str, result: &'static str) {
        let labels = [("rule", name(rule)), ("verb", word(verb)), ("kind", word(kind)), ("result", word(result))];
        self.0.on.actions.get_or_create(&labels).inc();
    }

    /// How the queue stands now: ready to run, running, waiting for a retry, parked for a link, held by a pause, and the lanes in use.
    pub fn queue_depth(&self, ready: u64, running: u64, waiting: u64, parked: u64, paused: u64, lanes: u64) {
        let levels = [("ready", ready), ("running", running), ("waiting", waiting), ("parked", parked), ("paused", paused)];
        for (state, n) in levels {
            self.0.on.queue.get_or_create(&[("state", word(state))]).set(level(n));
        }
        self.0.on.lanes.set(level(lanes));
    }

    /// Deliveries ended since the start.
    #[must_use]
    pub fn finished_total(&self) -> u64 {
        self.0.finished.load(Ordering::Relaxed)
    }
}

// === scripts ===
impl Metrics {
    /// A script ran. `outcome` is a fixed word (`plan`, `read`, `skip`, `fail`, `retry`, `error`, `limit`, `deadline`).
    pub fn script_ran(&self, rule: &str, outcome: &'static str, elapsed: Duration, cpu: Duration, operations: u64) {
        let on = &self.0.on;
        on.script_runs.get_or_create(&[("rule", name(rule)), ("outcome", word(outcome))]).inc();
        on.script_seconds.get_or_create(&[("rule", name(rule))]).observe(elapsed.as_secs_f64());
        on.script_cpu.get_or_create(&[("rule", name(rule))]).inc_by(cpu.as_secs_f64());
        on.script_operations.get_or_create(&[("rule", name(rule))]).inc_by(operations);
    }
}

// === shadow scripts ===
impl Metrics {
    /// A shadow script ran, or was not run. `verdict` is a fixed word (`same`, `different`, `unknown`, `failed`, `dropped`).
    pub fn shadow_ran(&self, rule: &str, verdict: &'static str) {
        self.0.on.shadow_runs.get_or_create(&[("rule", name(rule)), ("verdict", word(verdict))]).inc();
    }
}

// === Pipedrive ===
impl Metrics {
    /// A request was sent and answered, or not (`status` is none). `purpose` is `Purpose::as_str`.
    pub fn pipedrive_request(&self, account: &str, purpose: &'static str, status: Option<u16>, elapsed: Duration, tokens: u32) {
        let on = &self.0.on;
        let by_purpose = [("account", name(account)), ("purpose", word(purpose))];
        on.requests_out
            .get_or_create(&[("account", name(account)), ("purpose", word(purpose)), ("status", status_class(status))])
            .inc();
        on.request_out_seconds.get_or_create(&by_purpose).observe(elapsed.as_secs_f64());
        on.tokens.get_or_create(&by_purpose).inc_by(u64::from(tokens));
    }

    /// A request waited for its turn at the limiter.
    pub fn limiter_waited(&self, account: &str, waited: Duration) {
        self.0.on.limiter_seconds.get_or_create(&[("account", name(account))]).observe(waited.as_secs_f64());
    }

    /// How the tokens of an account stand: left of its budget for ordinary requests, where it has one, and needed until the reset.
    pub fn budget_stands(&self, account: &str, left: Option<u64>, needed: u64) {
        let on = &self.0.on;
        match left {
            Some(left) => drop(on.tokens_left.get_or_create(&[("account", name(account))]).set(level(left))),
            None => drop(on.tokens_left.remove(&[("account", name(account))])),
        }
        on.tokens_needed.get_or_create(&[("account", name(account))]).set(level(needed));
    }

    /// A match was looked up. `result` is a fixed word (`index`, `search`, `miss`, `stale`).
    pub fn match_looked_up(&self, account: &str, kind: &'static str, result: &'static str) {
        self.0.on.index.get_or_create(&[("account", name(account)), ("kind", word(kind)), ("result", word(result))]).inc();
    }
}

// === store ===
impl Metrics {
    /// Writes were committed and fsynced together.
    pub fn store_committed(&self, writes: usize, elapsed: Duration) {
        let on = &self.0.on;
        on.commits.get_or_create(&[("result", word("ok"))]).inc();
        on.commit_seconds.observe(elapsed.as_secs_f64());
        on.commit_writes.observe(f64::from(u32::try_from(writes).unwrap_or(u32::MAX)));
    }

    /// Bytes of the store on disk.
    pub fn store_size(&self, bytes: u64) {
        self.0.on.store_bytes.set(level(bytes));
    }

    /// Retention dropped events.
    pub fn events_pruned(&self, events: u64) {
        self.0.on.pruned.inc_by(events);
    }
}

impl Metrics {
    /// All of it, in the OpenMetrics text format.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::with_capacity(16 * 1024);
        // Writing to a string does not fail; an encoder that did would leave a text that ends early, without its `# EOF`.
        if prometheus_client::encoding::text::encode(&mut text, &self.0.registry).is_err() {
            tracing::error!("metrics could not be rendered");
        }
        text
    }
}

fn level(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_is_rendered_with_its_labels_and_the_end_mark() {
        let metrics = Metrics::default();
        metrics.events_taken("website", "identify", EventCounts { accepted: 2, ..EventCounts::default() });
        metrics.delivery_finished("person", "done", Duration::from_millis(80));
        metrics.pipedrive_request("main", "write", None, Duration::from_millis(3), 5);
        let text = metrics.render();
        for line in [
            r#"pipewright_events_accepted_total{source="website",type="identify"} 2"#,
            r#"pipewright_deliveries_finished_total{rule="person",state="done"} 1"#,
            r#"pipewright_pipedrive_requests_total{account="main",purpose="write",status="none"} 1"#,
            r#"pipewright_pipedrive_tokens_total{account="main",purpose="write"} 5"#,
            r#"pipewright_delivery_duration_seconds_count{rule="person"} 1"#,
        ] {
            assert!(text.contains(line), "{line} is missing in:\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
        assert_eq!((metrics.accepted_total(), metrics.finished_total()), (2, 1));
    }

    #[test]
    fn what_a_sender_writes_cannot_make_a_series_or_break_the_format() {
        let metrics = Metrics::default();
        for kind in ["x1", "x2", "Identify"] {
            metrics.event_rejected("", kind, "invalid", 1);
        }
        metrics.delivery_attempted("a \"quoted\"\nrule", "main");
        let text = metrics.render();
        assert!(text.contains(r#"events_rejected_total{source="unknown",type="unknown",reason="invalid"} 3"#), "{text}");
        assert!(text.contains(r#"rule="a \"quoted\"\nrule""#), "{text}");
    }

    #[test]
    fn a_connection_counts_until_its_guard_is_dropped() {
        let metrics = Metrics::default();
        let guard = metrics.connection_opened();
        assert!(metrics.render().contains("pipewright_http_connections 1"));
        drop(guard);
        assert!(metrics.render().contains("pipewright_http_connections 0"));
    }

    #[test]
    fn one_version_is_live_at_a_time() {
        let metrics = Metrics::default();
        metrics.set_refused(&[], Duration::ZERO);
        metrics.set_swapped(&"aaa", 1, Duration::ZERO);
        metrics.set_swapped(&"bbb", 1, Duration::ZERO);
        let text = metrics.render();
        assert!(text.contains(r#"script_set_info{version="bbb"} 1"#) && !text.contains("aaa"), "{text}");
        assert!(text.contains("pipewright_script_set_refused 0"), "{text}");
    }
}
