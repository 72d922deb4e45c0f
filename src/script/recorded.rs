//! What a script makes of an event, and whether an answer that one script was given is the one for another script, too.
//!
//! Invariant: an answer is never guessed. A read sees what its plan wrote before it, so an answer holds only after the same writes.

use serde::{Deserialize, Serialize};

use super::run::{Outcome, Read, ScriptErrorKind};
use crate::pipedrive::Kind;
use crate::plan::{Action, Plan, compare};

/// What a script makes of an event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", content = "detail", rename_all = "lowercase")]
pub enum Came {
    /// It asks for these actions.
    Plan(Plan),
    /// `skip(reason)`.
    Skip(String),
    /// `fail(reason)`.
    Fail(String),
    /// `retry(reason, seconds)`.
    Retry(String),
    /// It fails: `file:line:column: message`.
    Error(String),
}

impl Came {
    /// What a run came to; none for a read that is to be answered first, and for a deadline or a stop, which say nothing of the script.
    #[must_use]
    pub fn of(outcome: &Outcome) -> Option<Self> {
        Some(match outcome {
            Outcome::Plan(plan) => Self::Plan(plan.clone()),
            Outcome::Skip(reason) => Self::Skip(reason.clone()),
            Outcome::Fail(reason) => Self::Fail(reason.clone()),
            Outcome::Retry(reason, _) => Self::Retry(reason.clone()),
            Outcome::Error(error) => match error.kind {
                ScriptErrorKind::Deadline | ScriptErrorKind::Stopped | ScriptErrorKind::Busy => return None,
                _ => Self::Error(error.diagnostic.one_line()),
            },
            Outcome::Read { .. } => return None,
        })
    }

    /// The word for it.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Plan(_) => "plan",
            Self::Skip(_) => "skip",
            Self::Fail(_) => "fail",
            Self::Retry(_) => "retry",
            Self::Error(_) => "error",
        }
    }

    /// Why it asks for nothing.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Plan(_) => None,
            Self::Skip(reason) | Self::Fail(reason) | Self::Retry(reason) | Self::Error(reason) => Some(reason),
        }
    }

    /// Its actions; none for whatever is no plan.
    #[must_use]
    pub fn plan(&self) -> Plan {
        match self {
            Self::Plan(plan) => plan.clone(),
            _ => Plan::default(),
        }
    }
}

/// A read as a script asked for it, with what it had asked of Pipedrive before.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The read.
    pub read: Read,
    /// The actions before it.
    pub so_far: Plan,
}

/// Whether the answer that another script was given is the one for this read as well.
#[must_use]
pub fn answer_holds(earlier: &[Asked], read: &Read, so_far: &Plan) -> bool {
    let (Read::Find { kind, .. } | Read::Get { kind, .. }) = read else { return true };
    let mine = of_kind(so_far, *kind);
    match earlier.iter().find(|asked| asked.read == *read) {
        Some(asked) => compare(&of_kind(&asked.so_far, *kind), &mine).is_empty(),
        None => mine.actions.is_empty(),
    }
}

/// The actions that a read of this kind sees. A raw request may have written anything.
fn of_kind(plan: &Plan, kind: Kind) -> Plan {
    let concerns = |action: &&Action| action.verb.kind().is_none_or(|of| of == kind);
    Plan { actions: plan.actions.iter().filter(concerns).cloned().collect() }
}
