//! The instruments behind [`super::Metrics`], with the names under which they are scraped.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Metric, Registry, Unit};

use super::labels::Labels;

pub(super) type Count<const N: usize> = Family<Labels<N>, Counter>;
pub(super) type Level<const N: usize> = Family<Labels<N>, Gauge>;
/// Seconds that add up.
pub(super) type Spent<const N: usize> = Family<Labels<N>, Counter<f64, AtomicU64>>;
pub(super) type Times<const N: usize> = Family<Labels<N>, Histogram, fn() -> Histogram>;
/// A gauge of seconds.
pub(super) type Seconds = Gauge<f64, AtomicU64>;

/// 1 ms to 65 s.
fn network() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 17))
}

/// 20 µs to 650 ms.
fn local() -> Histogram {
    Histogram::new(exponential_buckets(0.000_02, 2.0, 16))
}

/// 5 ms to 3 days.
fn long() -> Histogram {
    Histogram::new(exponential_buckets(0.005, 4.0, 14))
}

/// 1 to 4096.
fn sizes() -> Histogram {
    Histogram::new(exponential_buckets(1.0, 2.0, 13))
}

pub(super) struct Instruments {
    // At the door.
    pub(super) requests_in: Count<2>,
    pub(super) request_in_seconds: Times<1>,
    pub(super) connections: Gauge,
    pub(super) connections_limit: Gauge,
    pub(super) accepted: Count<2>,
    pub(super) duplicate: Count<2>,
    pub(super) unmatched: Count<2>,
    pub(super) switched_off: Count<2>,
    pub(super) rejected: Count<3>,
    pub(super) overloaded: Count<1>,
    // Delivery.
    pub(super) attempts: Count<2>,
    pub(super) retries: Count<2>,
    pub(super) finished: Count<2>,
    pub(super) delivery_seconds: Times<1>,
    pub(super) actions: Count<4>,
    pub(super) queue: Level<1>,
    pub(super) lanes: Gauge,
    pub(super) paused: Level<2>,
    pub(super) pauses: Count<3>,
    pub(super) writes: Level<1>,
    // Scripts.
    pub(super) script_runs: Count<2>,
    pub(super) script_seconds: Times<1>,
    pub(super) script_cpu: Spent<1>,
    pub(super) script_operations: Count<1>,
    pub(super) shadow_runs: Count<2>,
    // Pipedrive.
    pub(super) requests_out: Count<3>,
    pub(super) request_out_seconds: Times<2>,
    pub(super) tokens: Count<2>,
    pub(super) tokens_left: Level<1>,
    pub(super) tokens_needed: Level<1>,
    pub(super) limiter_seconds: Times<1>,
    pub(super) index: Count<3>,
    pub(super) webhooks: Count<2>,
    pub(super) metadata: Count<2>,
    // Script sets.
    pub(super) reloads: Count<1>,
    pub(super) reload_seconds: Times<1>,
    pub(super) reload_tests_seconds: Times<1>,
    pub(super) live_set: Level<1>,
    pub(super) refused_set: Gauge,
    pub(super) failing_set: Gauge,
    pub(super) pinned_set: Gauge,
    pub(super) swapped_at: Seconds,
    // Store.
    pub(super) commits: Count<1>,
    pub(super) commit_seconds: Histogram,
    pub(super) commit_writes: Histogram,
    pub(super) store_failures: Count<1>,
    pub(super) store_bytes: Gauge,
    pub(super) pruned: Counter,
}

struct Registering<'a>(&'a mut Registry);

impl Registering<'_> {
    fn add<M: Metric + Clone>(&mut self, metric: M, name: &str, help: &str) -> M {
        self.0.register(name, help, metric.clone());
        metric
    }

    fn count<const N: usize>(&mut self, name: &str, help: &str) -> Count<N> {
        self.add(Count::default(), name, help)
    }

    fn level<const N: usize>(&mut self, name: &str, help: &str) -> Level<N> {
        self.add(Level::default(), name, help)
    }

    fn spent<const N: usize>(&mut self, name: &str, help: &str) -> Spent<N> {
        let family = Spent::default();
        self.0.register_with_unit(name, help, Unit::Seconds, family.clone());
        family
    }

    fn time(&mut self, histogram: Histogram, name: &str, help: &str) -> Histogram {
        self.0.register_with_unit(name, help, Unit::Seconds, histogram.clone());
        histogram
    }

    fn times<const N: usize>(&mut self, make: fn() -> Histogram, name: &str, help: &str) -> Times<N> {
        let family = Times::new_with_constructor(make);
        self.0.register_with_unit(name, help, Unit::Seconds, family.clone());
        family
    }
}

impl Instruments {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let mut r = Registering(registry);
        Self {
            requests_in: r.count("http_requests", "Requests answered on the event listener, by route and status class"),
            request_in_seconds: r.times(network, "http_request_duration", "From a request's headers to its answer, by route"),
            connections: r.add(Gauge::default(), "http_connections", "Open connections on the event listener"),
            connections_limit: r.add(
                Gauge::default(),
                "http_connections_limit",
                "Connections that the event listener holds at most; more wait",
            ),
            accepted: r.count("events_accepted", "Events stored, by source and type"),
            duplicate: r.count("events_duplicate", "Events recognised as duplicates, by source and type"),
            unmatched: r.count("events_unmatched", "Events that no rule wanted, by source and type"),
            switched_off: r.count("events_switched_off", "Events whose sender switched Pipedrive off, by source and type"),
            rejected: r.count("events_rejected", "Events or requests refused, by source, type and reason"),
            overloaded: r.count("ingest_overloaded", "Requests answered 429 or 503 to slow a sender down, by reason"),
            attempts: r.count("delivery_attempts", "Attempts begun, by rule and account"),
            retries: r.count("delivery_retries", "Attempts to be repeated, by rule and failure class"),
            finished: r.count("deliveries_finished", "Deliveries that ended, by rule and state"),
            delivery_seconds: r.times(long, "delivery_duration", "From acceptance to the end of a delivery, by rule"),
            actions: r.count("actions", "Actions carried out, by rule, verb, kind and result"),
            queue: r.level("queue_deliveries", "Unfinished deliveries, by where they stand"),
            lanes: r.add(Gauge::default(), "queue_lanes", "Lanes with something in them"),
            paused: r.level("paused", "1 while an account or a rule is paused"),
            pauses: r.count("pauses", "Times that an account or a rule was paused, by scope, name and failure class"),
            writes: r
                .level("account_writes", "1 while what rules ask for is carried out in the account, 0 while it is only observed"),
            script_runs: r.count("script_runs", "Script runs, by rule and outcome"),
            script_seconds: r.times(local, "script_run_duration", "Time of a run on its script thread, by rule"),
            script_cpu: r.spent("script_cpu", "Processor time of script runs, by rule; Unix only"),
            script_operations: r.count("script_operations", "Operations used by script runs, by rule"),
            shadow_runs: r.count("shadow_runs", "Runs of shadow scripts, by rule and what they came to"),
            requests_out: r.count("pipedrive_requests", "Requests sent to Pipedrive, by account, purpose and status class"),
            request_out_seconds: r.times(
                network,
                "pipedrive_request_duration",
                "From sending to the answer, by account and purpose",
            ),
            tokens: r.count("pipedrive_tokens", "Tokens charged, by account and purpose"),
            tokens_left: r.level(
                "pipedrive_tokens_left",
                "Tokens left of the account's budget until its reset, without the reserve; only with a budget",
            ),
            tokens_needed: r
                .level("pipedrive_tokens_needed", "Tokens that the account will still spend until the reset at the present rate"),
            limiter_seconds: r.times(network, "pipedrive_limiter_wait", "Time that a request waited for its turn, by account"),
            index: r.count("match_lookups", "Look-ups in the match index, by account, kind and result"),
            webhooks: r.count("pipedrive_webhooks", "Webhooks of Pipedrive, by account and what became of them"),
            metadata: r.count("metadata_refreshes", "Fetches of an account's metadata, by account and result"),
            reloads: r.count("reloads", "Script sets read, by result"),
            reload_seconds: r.times(network, "reload_duration", "From reading the files to the swap or the refusal, by result"),
            reload_tests_seconds: r.times(
                network,
                "reload_tests_duration",
                "Time of the script tests that a changed set must pass, by result",
            ),
            live_set: r.level("script_set_info", "1 for the version of the live script set"),
            refused_set: r.add(
                Gauge::default(),
                "script_set_refused",
                "1 while the files on disk are refused and an older set is live",
            ),
            failing_set: r.add(
                Gauge::default(),
                "script_set_failing",
                "1 while the live set fails tests that were changed since it went live",
            ),
            pinned_set: r.add(
                Gauge::default(),
                "script_set_pinned",
                "1 while the live set was rolled back to and saved files wait for `unpin`",
            ),
            swapped_at: r.add(Seconds::default(), "script_set_swapped_timestamp_seconds", "When the live script set went live"),
            commits: r.count("store_commits", "Commits of the store, by result"),
            commit_seconds: r.time(network(), "store_commit_duration", "Time of a commit with its fsync"),
            commit_writes: r.add(sizes(), "store_commit_writes", "Writes that shared one commit"),
            store_failures: r.count("store_failures", "Calls that the store refused, by reason"),
            store_bytes: r.add(Gauge::default(), "store_bytes", "Bytes of the store on disk"),
            pruned: r.add(Counter::default(), "events_pruned", "Events dropped by retention"),
        }
    }
}
