//! Logs and metrics.
//!
//! Invariants:
//! - Labels are bounded: names from `rules.toml` and words from fixed lists; never an id, a path, or anything that a sender of
//!   events chooses.
//! - Log messages are constant; what varies stands in fields. Neither a secret nor a personal value is in either.
//! - What is both logged and counted is one method of [`Metrics`], so that log line and metric cannot drift apart.

mod instruments;
mod labels;
mod logging;
mod metrics;
mod notable;
mod panics;

pub use logging::{LogFormat, LoggingError, init_logging};
pub use metrics::{ConnectionGuard, EventCounts, Metrics, OPENMETRICS};
pub use panics::{how_it_ended, log_panics};
