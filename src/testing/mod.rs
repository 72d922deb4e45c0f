//! Script tests, dry runs and backtests: events through the rules to their end, in one process, without a daemon.
//!
//! Invariants: the way of an event is the daemon's own (triggers, script, plan, attempt); nothing of it goes to the daemon's store;
//! what one test did is not seen by another; the order of results does not depend on how the tests were spread over threads.

pub mod backtest;
mod affected;
mod bench;
pub mod coverage;
mod dry;
mod files;
mod folder;
mod room;
mod runner;
mod sandbox;
mod snapshots;
mod view;

pub use affected::{Known, Only};
pub use dry::{Against, DryRun, Tried, Wish, dry_run};
pub use files::TestFiles;
pub use folder::TestFolder;
pub use room::Room;
pub use runner::{Options, Pace, TestResult, TestRun, run, run_with};
pub use sandbox::{Delivered, Door, Sandbox, SandboxError};
pub use snapshots::Updated;
