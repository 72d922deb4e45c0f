//! Why an event does not meet a trigger.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

use super::ast::Expr;
use super::eval;
use crate::event::Event;

/// What a trigger makes of an event. For people's eyes: it holds values of the event, so it never goes into logs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TriggerExplanation {
    /// Whether the event meets the trigger.
    pub matched: bool,
    /// The conditions that kept it from it; empty when it does.
    pub failed: Vec<FailedCondition>,
}

/// A condition that did not come out as needed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FailedCondition {
    /// The condition, as printed.
    pub text: String,
    /// Where it begins in the trigger, in characters, from 1.
    pub column: usize,
    /// How it had to come out; false under a `not`.
    pub needed: bool,
    /// The field that it reads.
    pub field: String,
    /// What the event has there; none when it is missing.
    pub actual: Option<Value>,
}

impl fmt::Display for FailedCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}: ", self.text, !self.needed)?;
        match &self.actual {
            Some(value) => write!(f, "{} is {value}", self.field),
            None => write!(f, "{} is missing", self.field),
        }
    }
}

pub(super) fn explain(expr: &Expr, event: &Event) -> TriggerExplanation {
    let mut failed = Vec::new();
    blame(expr, event, true, &mut failed);
    TriggerExplanation { matched: failed.is_empty(), failed }
}

/// Collects the conditions that kept `expr` from coming out as `needed`.
fn blame(expr: &Expr, event: &Event, needed: bool, failed: &mut Vec<FailedCondition>) {
    if eval::holds(expr, event) == needed {
        return;
    }
    match expr {
        Expr::All(children) | Expr::Any(children) => {
            for child in children {
                blame(child, event, needed, failed);
            }
        }
        Expr::Not(inner) => blame(inner, event, !needed, failed),
        Expr::Condition(condition) => {
            let path = condition.test.operand().path();
            let actual = if path.is("type") { Some(event.kind.as_str().into()) } else { eval::find(event, path).cloned() };
            failed.push(FailedCondition {
                text: condition.test.to_string(),
                column: condition.column,
                needed,
                field: path.to_string(),
                actual,
            });
        }
    }
}
