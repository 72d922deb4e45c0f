//! Triggers, in Segment's filter query language (FQL).
//!
//! Invariants: parsing never panics and bounds its own depth; the printed form of a trigger parses to the same trigger; a
//! trigger that Segment's destination accepts means the same here, except for the defects listed below.
//!
//! # Values
//! Strict types, null as good as missing. `x = "s"` wants a text, `x = 5` a number, `x = true` a boolean, `x = null` a missing
//! value. `!=` against a text, boolean or null is the opposite of `=`, so a missing value meets `x != "s"`; against a number
//! it wants a number, so a missing value does not meet `x != 5`. `in` is `=` over a list, `not in` is `!=` over it. `<` and its
//! kin want numbers. `contains` and `match` want a text, and so do `!contains` and `!match`, which a missing value does not
//! meet; `not (...)` around anything is plain negation. `match` compares the whole text; `*` and `?` are wild, a backslash
//! takes the next character as it is. `lowercase(missing)` is missing, `length(missing)` is 0; `length` counts the bytes
//! of a text and the items of a list. Ids (`userId` and its kin) are texts even when the sender gave a number. A field alone
//! (`properties.vip`) wants `true`. `"a" in properties.list` looks into a list.
//!
//! # Defects of Segment's destination that are mended here
//! - `a and b or c`: there the last conjunction counts for all; here `and` binds before `or`.
//! - Parentheses inside parentheses: there an error that silences the trigger; here any nesting (to a bound).
//! - `!(..)` and `not`: ignored there; they negate here.
//! - `messageId`, `anonymousId`, `groupId` and other top-level fields: skipped there, which widens the trigger; read here.
//! - `x in [..]`: never true there. `type =` without a value: compared with the end there; an error here.
//! - `length()`, `lowercase()`: errors there.
//! - `match(x, "*a*")`, a `?`, a `*` inside, a pattern without a star: misread there.
//! - Single-quoted texts keep their quotes there.
//! - `event = null`, `name = null`, `type = null`: compared with the text "null" there; here they ask whether it is missing.
//! - `x != true`: true for `true` there; here the opposite of `x = true`.
//! - An invalid or empty trigger is ignored there, with its events; here it is an error that names the column.

mod ast;
mod eval;
mod explain;
mod lexer;
mod parser;
mod reach;
mod solve;
#[cfg(test)]
mod tests;

use std::fmt;

pub use explain::{FailedCondition, TriggerExplanation};
pub(crate) use reach::{Names, Reach};
pub(crate) use solve::Conflict;

use crate::event::{Event, EventType};
use ast::Expr;

/// A compiled trigger.
#[derive(Debug, Clone, PartialEq)]
pub struct Trigger {
    expr: Expr,
}

impl Trigger {
    /// Compiles a trigger.
    ///
    /// # Errors
    /// When it is no valid FQL; the error names the column and what was expected.
    pub fn parse(text: &str) -> Result<Self, TriggerError> {
        parser::parse(text).map(|expr| Self { expr })
    }

    /// Whether the event meets it.
    #[must_use]
    pub fn matches(&self, event: &Event) -> bool {
        eval::holds(&self.expr, event)
    }

    /// Which conditions kept the event from meeting it, with the values that it has there.
    #[must_use]
    pub fn explain(&self, event: &Event) -> TriggerExplanation {
        explain::explain(&self.expr, event)
    }

    /// Why no event can meet it, when that is certain.
    pub(crate) fn conflict(&self) -> Option<Conflict> {
        solve::conflict(&self.expr)
    }

    /// Whether it is certain that no event meets it.
    #[must_use]
    pub fn is_impossible(&self) -> bool {
        self.conflict().is_some()
    }

    /// Whether it is certain that every event that meets it meets `other`.
    #[must_use]
    pub fn is_part_of(&self, other: &Self) -> bool {
        solve::is_part_of(&self.expr, &other.expr)
    }

    /// Whether only events of that type can meet it.
    pub(crate) fn wants_only(&self, kind: EventType) -> bool {
        let none = |names: &Names| matches!(names, Names::Only(names) if names.is_empty());
        EventType::ALL.iter().zip(&self.reach().0).all(|(of, names)| *of == kind || none(names))
    }

    /// The events that may meet it.
    pub(crate) fn reach(&self) -> Reach {
        Reach::of(&self.expr)
    }
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.expr.fmt(f)
    }
}

/// A trigger that is no valid FQL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} at column {column}; expected {expected}")]
pub struct TriggerError {
    /// In characters, from 1.
    pub column: usize,
    /// What is wrong there.
    pub message: String,
    /// What would be right.
    pub expected: String,
}

impl TriggerError {
    fn new(column: usize, message: impl Into<String>, expected: impl Into<String>) -> Self {
        Self { column, message: message.into(), expected: expected.into() }
    }

    /// The failure class: the rule is set up wrongly.
    #[must_use]
    pub const fn class(&self) -> crate::failure::FailureClass {
        crate::failure::FailureClass::Misconfigured
    }
}
