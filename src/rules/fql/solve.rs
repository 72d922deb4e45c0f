//! Triggers that contradict themselves, and triggers that are part of others.
//!
//! Invariant: sound, not complete: what is said to be impossible is impossible for every event that the door takes; the opposite need
//! not hold. Conditions on different fields count as independent, with one exception: only track calls have an `event`.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::ast::{Condition, Expr, Literal, Order, Path, Test};
use super::eval::{self, View};
use crate::event::EventType;

/// More cases than this are not looked at: the trigger counts as one that can be met.
const MAX_CASES: usize = 512;

/// A condition, and what it has to come out as.
type Wanted<'a> = (&'a Condition, bool);

/// Why no event meets a trigger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Conflict {
    /// Where the last of the conditions begins, in characters, from 1.
    pub(crate) column: usize,
    /// The conditions that exclude each other, or the one that is never true.
    pub(crate) conditions: Vec<String>,
    /// They ask for an `event` of calls that have none.
    pub(crate) no_event: bool,
    /// There are other ways to meet the trigger, and they are impossible as well.
    pub(crate) among_others: bool,
}

/// Why the trigger cannot be met; none when it can, or when it is too long to tell.
pub(super) fn conflict(expr: &Expr) -> Option<Conflict> {
    let cases = cases(expr, true)?;
    let mut conflicts = cases.iter().map(|case| impossible(case));
    let first = conflicts.next()??;
    let others = conflicts.collect::<Option<Vec<_>>>()?;
    Some(Conflict { among_others: !others.is_empty(), ..first })
}

/// Whether every event that meets `inner` meets `outer`. False when it is too long to tell.
pub(super) fn is_part_of(inner: &Expr, outer: &Expr) -> bool {
    let (Some(inner), Some(outer)) = (cases(inner, true), cases(outer, false)) else { return false };
    if inner.len() * outer.len() > MAX_CASES {
        return false;
    }
    inner.iter().all(|a| outer.iter().all(|b| impossible(&[a.as_slice(), b.as_slice()].concat()).is_some()))
}

/// The ways in which the tree comes out as `outcome`: in each, all conditions hold together.
fn cases(expr: &Expr, outcome: bool) -> Option<Vec<Vec<Wanted<'_>>>> {
    match (expr, outcome) {
        (Expr::Condition(condition), _) => Some(vec![vec![(condition, outcome)]]),
        (Expr::Not(inner), _) => cases(inner, !outcome),
        (Expr::Any(children), true) | (Expr::All(children), false) => {
            let mut all = Vec::new();
            for child in children {
                all.extend(cases(child, outcome)?);
            }
            (all.len() <= MAX_CASES).then_some(all)
        }
        (Expr::All(children), true) | (Expr::Any(children), false) => {
            let mut all = vec![Vec::new()];
            for child in children {
                let more = cases(child, outcome)?;
                if all.len() * more.len() > MAX_CASES {
                    return None;
                }
                all = all.iter().flat_map(|a| more.iter().map(|b| [a.as_slice(), b.as_slice()].concat())).collect();
            }
            Some(all)
        }
    }
}

/// Why the conditions cannot hold together, when that is certain.
fn impossible(case: &[Wanted<'_>]) -> Option<Conflict> {
    let mut types = None;
    for (place, (condition, _)) in case.iter().enumerate() {
        let path = condition.test.operand().path();
        if case[..place].iter().any(|(c, _)| c.test.operand().path() == path) {
            continue;
        }
        let of_field: Vec<Wanted<'_>> = case.iter().copied().filter(|(c, _)| c.test.operand().path() == path).collect();
        if let Some(values) = candidates(path, &of_field) {
            let left: Vec<&View<'_>> = values.iter().filter(|value| fits(value, &of_field)).collect();
            if left.is_empty() {
                return Some(conflict_of(&of_field, false));
            }
            if path.is("type") {
                types = Some((left.contains(&&type_view(EventType::Track)), of_field.clone()));
            }
        }
        if opposite(&of_field) || no_number(&of_field) {
            return Some(conflict_of(&of_field, false));
        }
    }
    // `event` of calls that are no track calls is missing.
    let Some((false, of_type)) = types else { return None };
    let of_name: Vec<Wanted<'_>> = case.iter().copied().filter(|(c, _)| c.test.operand().path().is("event")).collect();
    (!fits(&View::Missing, &of_name)).then(|| conflict_of(&[of_type, of_name].concat(), true))
}

fn conflict_of(conditions: &[Wanted<'_>], no_event: bool) -> Conflict {
    let mut conditions = conditions.to_vec();
    conditions.sort_by_key(|(condition, _)| condition.column);
    let text = |(condition, outcome): &Wanted<'_>| match outcome {
        true => condition.test.to_string(),
        false => format!("not ({})", condition.test),
    };
    Conflict {
        column: conditions.last().map_or(1, |(condition, _)| condition.column),
        conditions: conditions.iter().map(text).collect(),
        no_event,
        among_others: false,
    }
}

fn type_view<'a>(kind: EventType) -> View<'a> {
    View::Text(Cow::Borrowed(kind.as_str()))
}

/// Whether a field of that value meets all its conditions.
fn fits(value: &View<'_>, conditions: &[Wanted<'_>]) -> bool {
    conditions.iter().all(|(condition, outcome)| eval::test(&condition.test, &|_| value.clone()) == *outcome)
}

/// The values that the field can have at all, when they can be told.
fn candidates<'a>(path: &Path, conditions: &[Wanted<'a>]) -> Option<Vec<View<'a>>> {
    if path.is("type") {
        return Some(EventType::ALL.map(type_view).to_vec());
    }
    conditions.iter().find_map(|(condition, outcome)| {
        condition.test.operand().plain()?;
        match (&condition.test, outcome) {
            (Test::Equal { right, negated: false, .. }, true) => Some(vec![literal(right)]),
            // Against a number `!=` is no negation.
            (Test::Equal { right, negated: true, .. }, false) if !matches!(right, Literal::Number(_)) => {
                Some(vec![literal(right)])
            }
            (Test::In { list, negated: false, .. }, true) => Some(list.iter().map(literal).collect()),
            (Test::True { .. }, true) => Some(vec![View::Bool(true)]),
            _ => None,
        }
    })
}

fn literal(literal: &Literal) -> View<'_> {
    match literal {
        Literal::Null => View::Missing,
        Literal::Bool(b) => View::Bool(*b),
        Literal::Number(n) => View::Number(*n),
        Literal::Text(text) => View::Text(Cow::Borrowed(text)),
    }
}

/// The same condition is to hold and not to hold.
fn opposite(conditions: &[Wanted<'_>]) -> bool {
    let clashes = |(a, wanted): &Wanted<'_>| conditions.iter().any(|(b, other)| wanted != other && a.test == b.test);
    conditions.iter().any(clashes)
}

/// The orderings leave no number.
fn no_number(conditions: &[Wanted<'_>]) -> bool {
    let orders = || {
        conditions.iter().filter_map(|(condition, outcome)| match &condition.test {
            Test::Order { left, order, right } if left.plain().is_some() => Some((*order, *right, *outcome)),
            _ => None,
        })
    };
    // Only what is a number for certain is on the other side of an ordering that does not hold.
    if !orders().any(|(.., outcome)| outcome) {
        return false;
    }
    // A bound, and whether it is itself within.
    let (mut least, mut most) = (None::<(f64, bool)>, None::<(f64, bool)>);
    for (order, bound, outcome) in orders() {
        let (below, included) = match (order, outcome) {
            (Order::Less, true) | (Order::GreaterOrEqual, false) => (true, false),
            (Order::LessOrEqual, true) | (Order::Greater, false) => (true, true),
            (Order::Greater, true) | (Order::LessOrEqual, false) => (false, false),
            (Order::GreaterOrEqual, true) | (Order::Less, false) => (false, true),
        };
        let (kept, narrower) = if below { (&mut most, Ordering::Less) } else { (&mut least, Ordering::Greater) };
        let replaces = kept.is_none_or(|(old, old_included)| match bound.partial_cmp(&old) {
            Some(Ordering::Equal) => old_included && !included,
            other => other == Some(narrower),
        });
        if replaces {
            *kept = Some((bound, included));
        }
    }
    let (Some((least, at_least)), Some((most, at_most))) = (least, most) else { return false };
    least > most || least.total_cmp(&most) == Ordering::Equal && !(at_least && at_most)
}
