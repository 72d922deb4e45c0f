//! What is wrong with a plan, for the person who owns the script.
//!
//! Invariant: neither `message` nor `help` holds a value that came from an event, so both may be logged; the value itself is
//! in `value`, which goes into the decision record only.

use serde::{Deserialize, Serialize};

use super::At;
use crate::crm::NewOption;
use crate::failure::FailureClass;

/// One thing that is wrong with one action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("scripts/{}:{}:{}: {message}", .at.file, .at.line, .at.column)]
pub struct PlanProblem {
    /// Where the script asked for the action.
    pub at: At,
    /// The action's index in the plan.
    pub ordinal: u32,
    /// What is wrong and why.
    pub message: String,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// The value in question. From an event: for the decision record, not for logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// What kind of problem.
    pub kind: ProblemKind,
    /// The value is well formed, and the account does not know it; fresh metadata may.
    #[serde(skip)]
    pub unknown: bool,
    /// The option that would end the problem, where the script wants it added (`on_unknown: "create"`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adds: Option<NewOption>,
}

/// Kinds of problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemKind {
    /// A name in the script that the account does not have: every event of the rule will meet it.
    Name,
    /// A value that the field cannot take.
    Value,
    /// A field that a create needs is missing.
    Required,
    /// A link is missing, or leads to the wrong kind of entity.
    Link,
}

impl PlanProblem {
    /// The failure class: a wrong name is the rule's fault and pauses it; the rest is this event's.
    #[must_use]
    pub const fn class(&self) -> FailureClass {
        match self.kind {
            ProblemKind::Name => FailureClass::Misconfigured,
            ProblemKind::Value | ProblemKind::Required | ProblemKind::Link => FailureClass::Permanent,
        }
    }
}
