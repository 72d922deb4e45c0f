//! Which rules an event has to be shown to.
//!
//! Invariant: a rule that wants an event is among its candidates; how many rules want other events costs nothing.

use std::collections::HashMap;

use super::Rule;
use super::fql::Names;
use crate::event::{Event, EventType};

/// Enabled rules by event type and track name; places in [`super::ScriptSet::rules`].
#[derive(Debug, Clone, Default)]
pub(super) struct Index([OfType; EventType::ALL.len()]);

/// Rules of one event type, each list in order.
#[derive(Debug, Clone, Default)]
struct OfType {
    any_name: Vec<usize>,
    by_name: HashMap<Box<str>, Vec<usize>>,
}

impl Index {
    pub(super) fn new(rules: &[Rule]) -> Self {
        let mut index = Self::default();
        for (place, rule) in rules.iter().enumerate().filter(|(_, rule)| rule.config.enabled) {
            for (of_type, names) in index.0.iter_mut().zip(rule.trigger.reach().0) {
                match names {
                    Names::Any => of_type.any_name.push(place),
                    Names::Only(names) => {
                        for name in names {
                            of_type.by_name.entry(name).or_default().push(place);
                        }
                    }
                }
            }
        }
        index
    }

    /// The rules that may want the event, in order.
    pub(super) fn candidates(&self, event: &Event) -> impl Iterator<Item = usize> {
        let of_type = &self.0[event.kind as usize];
        let named = event.name().and_then(|name| of_type.by_name.get(name)).map_or(&[][..], Vec::as_slice);
        merge(&of_type.any_name, named)
    }
}

/// Both lists, each in ascending order, as one in ascending order. They share no item.
fn merge<'a>(mut a: &'a [usize], mut b: &'a [usize]) -> impl Iterator<Item = usize> + 'a {
    std::iter::from_fn(move || {
        let from = match (a.first(), b.first()) {
            (Some(x), Some(y)) if y < x => &mut b,
            (None, _) => &mut b,
            _ => &mut a,
        };
        let (first, rest) = from.split_first()?;
        *from = rest;
        Some(*first)
    })
}
