//! One run of a script: what goes in and what comes out.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::diagnostic::Diagnostic;
use crate::failure::FailureClass;
use crate::pipedrive::{Id, Kind};
use crate::plan::{At, Criteria, Plan};

/// What to run.
#[derive(Debug, Clone)]
pub struct RunRequest {
    /// Rule name, for messages.
    pub rule: Arc<str>,
    /// Script file, relative to `scripts/`.
    pub script: Arc<str>,
    /// The event as JSON.
    pub payload: Bytes,
    /// Its `messageId`, for messages.
    pub message_id: String,
    /// Answers of the reads so far.
    pub memo: Memo,
}

/// A read that a script asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Read {
    /// `KIND::find(match)`.
    Find {
        /// Kind.
        kind: Kind,
        /// Criteria.
        criteria: Criteria,
    },
    /// `KIND::get(id)`.
    Get {
        /// Kind.
        kind: Kind,
        /// Id.
        id: Id,
    },
    /// `pipedrive::request("GET", path)`.
    Request {
        /// Path with query.
        path: String,
    },
}

/// Reads and their answers, in the order in which the script asked. Null: not there.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Memo(pub Vec<(Read, Json)>);

/// What a run came to.
#[derive(Debug)]
pub struct RunReport {
    /// The outcome.
    pub outcome: Outcome,
    /// What the script logged, capped.
    pub logs: Vec<LogLine>,
    /// Operations used.
    pub operations: u64,
    /// Time on the script thread.
    pub elapsed: Duration,
    /// Of it, the processor's time; zero where the system does not tell.
    pub cpu: Duration,
}

/// How a run ended.
#[derive(Debug)]
pub enum Outcome {
    /// It decided.
    Plan(Plan),
    /// It needs the answer of a read; run again with it added to the memo.
    Read {
        /// The read.
        read: Read,
        /// Where the script asks.
        at: At,
        /// The actions before it, whose effects the read must show.
        so_far: Plan,
    },
    /// `skip(reason)`.
    Skip(String),
    /// `fail(reason)`.
    Fail(String),
    /// `retry(reason, seconds)`.
    Retry(String, Duration),
    /// It failed.
    Error(Box<ScriptError>),
}

/// One line of `log::info(..)` and friends, or of `print`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// Level.
    pub level: LogLevel,
    /// Text, cut to a bound.
    pub text: String,
    /// Script file.
    pub file: Arc<str>,
    /// Line, from 1; 0 when unknown.
    pub line: u32,
}

/// Level of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// `print`, `debug`. (`log::debug` cannot be: the word is reserved.)
    Debug,
    /// `log::info`.
    Info,
    /// `log::warn`.
    Warn,
    /// `log::error`.
    Error,
}

/// A script that failed.
#[derive(Debug, thiserror::Error)]
#[error("{}", .diagnostic.one_line())]
pub struct ScriptError {
    /// What kind of failure.
    pub kind: ScriptErrorKind,
    /// File, line, source line with caret, call chain, messageId.
    pub diagnostic: Diagnostic,
}

/// Kinds of script failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScriptErrorKind {
    /// An error in the script or an argument that a host function refused.
    Runtime,
    /// A limit was hit (operations, sizes, call depth, actions, reads).
    Limit,
    /// The wall-clock deadline passed.
    Deadline,
    /// The script asked for other reads when it ran again.
    Divergence,
    /// The interpreter panicked; contained.
    Panic,
    /// No threads to run on: the pool is shut down.
    Stopped,
    /// It waited too long for a thread, and did not run.
    Busy,
}

impl ScriptError {
    /// The failure class. A deadline is transient at first: the machine may have been busy.
    #[must_use]
    pub const fn class(&self) -> FailureClass {
        match self.kind {
            ScriptErrorKind::Deadline | ScriptErrorKind::Stopped | ScriptErrorKind::Busy => FailureClass::Transient,
            _ => FailureClass::Permanent,
        }
    }
}
