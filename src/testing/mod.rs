//! Script tests, dry runs and backtests: events through the rules to their end, in one process, without a daemon.
//!
//! Invariants: the way of an event is the daemon's own (triggers, script, plan, attempt); nothing of it goes to the daemon's store;
//! what one test did is not seen by another; the order of results does not depend on how the tests were spread over threads.

pub mod backtest;
mod bench;
mod dry;
mod files;
mod room;
mod runner;
mod sandbox;
mod view;

pub use dry::{Against, DryRun, Tried, Wish, dry_run};
pub use files::TestFiles;
pub use room::Room;
pub use runner::{Pace, TestResult, TestRun, run, run_paced};
pub use sandbox::{Delivered, Door, Sandbox, SandboxError};
