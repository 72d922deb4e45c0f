//! Which events a trigger may want at all: by type, and by the name of a track event.
//!
//! Invariant: an event outside a trigger's reach never meets it. The opposite need not hold: the reach is the dispatch
//! index's first question, the trigger itself the last.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::ast::{Expr, Literal, Test};
use super::eval::{self, View};
use crate::event::EventType;

/// Names (`event`) that may meet a trigger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Names {
    /// Any name, or none.
    Any,
    /// One of these; empty: the trigger cannot be met.
    Only(BTreeSet<Box<str>>),
}

/// Names by event type, in the order of [`EventType::ALL`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reach(pub(crate) [Names; EventType::ALL.len()]);

impl Names {
    const fn nothing() -> Self {
        Self::Only(BTreeSet::new())
    }

    fn and(self, other: &Self) -> Self {
        match (self, other) {
            (Self::Any, other) => other.clone(),
            (own, Self::Any) => own,
            (Self::Only(a), Self::Only(b)) => Self::Only(a.intersection(b).cloned().collect()),
        }
    }

    fn or(self, other: &Self) -> Self {
        match (self, other) {
            (Self::Only(mut a), Self::Only(b)) => {
                a.extend(b.iter().cloned());
                Self::Only(a)
            }
            _ => Self::Any,
        }
    }
}

impl Reach {
    fn all(names: Names) -> Self {
        Self(std::array::from_fn(|_| names.clone()))
    }

    fn types(wanted: impl Fn(EventType) -> bool) -> Self {
        Self(EventType::ALL.map(|t| if wanted(t) { Names::Any } else { Names::nothing() }))
    }

    fn combine(mut self, other: &Self, with: fn(Names, &Names) -> Names) -> Self {
        for (own, other) in self.0.iter_mut().zip(&other.0) {
            *own = with(std::mem::replace(own, Names::Any), other);
        }
        self
    }

    /// The reach of a trigger.
    pub(super) fn of(expr: &Expr) -> Self {
        may_be(expr, true)
    }
}

/// The events for which the tree may come out as `outcome`.
fn may_be(expr: &Expr, outcome: bool) -> Reach {
    let join = |children: &[Expr], with: fn(Names, &Names) -> Names| {
        let mut reaches = children.iter().map(|c| may_be(c, outcome));
        let first = reaches.next().unwrap_or_else(|| Reach::all(Names::Any));
        reaches.fold(first, |sum, next| sum.combine(&next, with))
    };
    match (expr, outcome) {
        (Expr::Not(inner), _) => may_be(inner, !outcome),
        (Expr::All(children), true) | (Expr::Any(children), false) => join(children, Names::and),
        (Expr::Any(children), true) | (Expr::All(children), false) => join(children, Names::or),
        (Expr::Condition(condition), _) => of_test(&condition.test, outcome),
    }
}

fn of_test(test: &Test, outcome: bool) -> Reach {
    if test.operand().path().is("type") {
        // The type has seven values: ask for each.
        return Reach::types(|t| eval::test(test, &|_| View::Text(Cow::Borrowed(t.as_str()))) == outcome);
    }
    let by_name = outcome && test.operand().plain().is_some_and(|path| path.is("event"));
    match test {
        Test::Equal { right, negated: false, .. } if by_name => only(std::slice::from_ref(right)),
        Test::In { list, negated: false, .. } if by_name => only(list),
        _ => Reach::all(Names::Any),
    }
}

fn only(literals: &[Literal]) -> Reach {
    let names: Option<BTreeSet<Box<str>>> = literals
        .iter()
        .map(|literal| match literal {
            Literal::Text(text) => Some(text.as_str().into()),
            _ => None,
        })
        .collect();
    Reach::all(names.map_or(Names::Any, Names::Only))
}
