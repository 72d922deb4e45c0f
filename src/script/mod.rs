//! The Rhai engine: limits, host modules, plan recording, suspension, diagnostics.
//!
//! Invariants:
//! - Scripts are pure: a run computes a [`Plan`] from an event and a memo of reads; it sends nothing.
//! - Scripts run on their own threads with 64 MB stacks, under an operation limit, a deadline and `catch_unwind`; values that
//!   scripts made are dropped on those threads.
//! - Suspension and limits are seen through a sticky flag, never through the error that reaches the top: a script can
//!   swallow errors.

mod calls;
mod closures;
mod definitions;
mod coverage;
mod engine;
mod errors;
mod execute;
mod functions;
mod harness;
mod host;
mod imports;
mod known;
mod lint;
mod metadata;
mod names;
mod outline;
mod peculiar;
mod pool;
mod program;
mod recorded;
mod reference;
mod run;
mod sources;
mod state;
mod switches;
mod value;

pub use coverage::{Branch, BranchKind, Decision, FunctionHits, ScriptCoverage, Spot};
pub use definitions::{AccountFields, MARK as DEFINITIONS_MARK, definitions};
pub use execute::run_blocking;
pub use harness::{TestFault, TestHost, TestName, TestReport, TestSuite, Uncompiled, Unlike};
pub use lint::Overwrite;
pub use names::{LiteralValue, NameRole, NameUse};
pub use pool::Pool;
pub use program::{Program, STACK};
pub use recorded::{Asked, Came, answer_holds};
pub use reference::reference;
pub use run::{LogLevel, LogLine, Memo, Outcome, Read, RunReport, RunRequest, ScriptError, ScriptErrorKind};
pub use sources::Sources;

#[doc(no_inline)]
pub use crate::plan::Plan;
