//! What tests and metrics see of the writer: faults put in, reports given out.

use std::sync::Arc;
use std::time::Duration;

/// A fault in place of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// As if the disk were full.
    DiskFull,
    /// As if the fsync had failed.
    Io,
}

/// Asked before each commit, with whether the transaction holds new events; for tests.
pub type FaultHook = Arc<dyn Fn(bool) -> Option<Fault> + Send + Sync>;

/// What has elapsed since some start, by a clock that nobody sets.
pub type Elapsed = Arc<dyn Fn() -> Duration + Send + Sync>;

/// One transaction of the writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitReport {
    /// Calls that shared it.
    pub calls: usize,
    /// New deliveries in it.
    pub deliveries: usize,
    /// From its begin to the end of its fsync.
    pub took: Duration,
}

/// Told of each transaction, on the writer's thread: it must be quick.
pub type Observer = Arc<dyn Fn(&CommitReport) + Send + Sync>;
