//! Whether a condition holds for an event.

use std::borrow::Cow;

use serde_json::Value;

use super::ast::{Expr, Literal, Operand, Order, Path, Test};
use crate::event::{Event, EventType};

/// Ids that senders give as text or number; they are compared as text.
const IDS: [&str; 5] = ["userId", "anonymousId", "groupId", "messageId", "previousId"];

/// A value as triggers see it. Null is as good as missing.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum View<'a> {
    Missing,
    Bool(bool),
    Number(f64),
    Text(Cow<'a, str>),
    List(&'a [Value]),
    Map,
}

impl<'a> View<'a> {
    fn of(value: &'a Value) -> Self {
        match value {
            Value::Null => Self::Missing,
            Value::Bool(b) => Self::Bool(*b),
            // As in JSON's home language: every number is a double.
            Value::Number(n) => n.as_f64().map_or(Self::Missing, Self::Number),
            Value::String(s) => Self::Text(Cow::Borrowed(s)),
            Value::Array(items) => Self::List(items),
            Value::Object(_) => Self::Map,
        }
    }
}

/// The value of a path; keys are taken as they are, and a number picks from a list.
pub(super) fn find<'a>(event: &'a Event, path: &Path) -> Option<&'a Value> {
    // Other calls have no name of an event, whatever stands under that key.
    if path.is("event") && event.kind != EventType::Track {
        return None;
    }
    let (root, rest) = path.0.split_first()?;
    rest.iter().try_fold(event.body.get(root)?, |value, key| match value {
        Value::Array(items) => items.get(key.parse::<usize>().ok()?),
        value => value.get(&**key),
    })
}

/// What a path reads.
pub(super) fn read<'a>(event: &'a Event, path: &Path) -> View<'a> {
    if path.is("type") {
        return View::Text(Cow::Borrowed(event.kind.as_str()));
    }
    match find(event, path) {
        Some(Value::Number(n)) if IDS.iter().any(|id| path.is(id)) => View::Text(Cow::Owned(n.to_string())),
        Some(value) => View::of(value),
        None => View::Missing,
    }
}

/// Whether the tree holds.
pub(super) fn holds(expr: &Expr, event: &Event) -> bool {
    match expr {
        Expr::All(children) => children.iter().all(|c| holds(c, event)),
        Expr::Any(children) => children.iter().any(|c| holds(c, event)),
        Expr::Not(inner) => !holds(inner, event),
        Expr::Condition(condition) => test(&condition.test, &|path| read(event, path)),
    }
}

/// Whether a condition holds for what `read` gives.
pub(super) fn test<'a>(test: &Test, read: &dyn Fn(&Path) -> View<'a>) -> bool {
    let value = view(test.operand(), read);
    match test {
        Test::Equal { right, negated: false, .. } => equal(&value, right),
        Test::Equal { right, negated: true, .. } => not_equal(&value, right),
        Test::In { list, negated: false, .. } => list.iter().any(|l| equal(&value, l)),
        Test::In { list, negated: true, .. } => list.iter().all(|l| not_equal(&value, l)),
        Test::Order { order, right, .. } => matches!(value, View::Number(n) if match order {
            Order::Less => n < *right,
            Order::LessOrEqual => n <= *right,
            Order::Greater => n > *right,
            Order::GreaterOrEqual => n >= *right,
        }),
        Test::Member { item, negated, .. } => {
            let found = matches!(value, View::List(items) if items.iter().any(|i| equal(&View::of(i), item)));
            found != *negated
        }
        Test::Contains { part, negated, .. } => matches!(value, View::Text(text) if text.contains(part.as_str()) != *negated),
        Test::Match { pattern, negated, .. } => matches!(value, View::Text(text) if pattern.fits(&text) != *negated),
        Test::True { .. } => value == View::Bool(true),
    }
}

fn view<'a>(operand: &Operand, read: &dyn Fn(&Path) -> View<'a>) -> View<'a> {
    match operand {
        Operand::Field(path) => read(path),
        Operand::Lowercase(inner) => match view(inner, read) {
            View::Text(text) => View::Text(Cow::Owned(text.to_lowercase())),
            _ => View::Missing,
        },
        Operand::Length(inner) => match view(inner, read) {
            View::Text(text) => View::Number(text.len() as f64),
            View::List(items) => View::Number(items.len() as f64),
            View::Missing => View::Number(0.0),
            View::Bool(_) | View::Number(_) | View::Map => View::Missing,
        },
        Operand::TypeOf(inner) => View::Text(Cow::Borrowed(match view(inner, read) {
            View::Missing => "null",
            View::Bool(_) => "bool",
            View::Number(_) => "number",
            View::Text(_) => "string",
            View::List(_) => "list",
            View::Map => "object",
        })),
    }
}

fn equal(value: &View<'_>, literal: &Literal) -> bool {
    match (literal, value) {
        (Literal::Null, View::Missing) => true,
        (Literal::Bool(wanted), View::Bool(b)) => wanted == b,
        (Literal::Number(wanted), View::Number(n)) => wanted == n,
        (Literal::Text(wanted), View::Text(text)) => wanted == text,
        _ => false,
    }
}

/// Segment's `!=`: against a number it wants a number, against anything else it is the opposite of `=`.
fn not_equal(value: &View<'_>, literal: &Literal) -> bool {
    match literal {
        Literal::Number(wanted) => matches!(value, View::Number(n) if n != wanted),
        _ => !equal(value, literal),
    }
}
