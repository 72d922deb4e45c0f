//! What the policies made of the fields, for the decision record.
//!
//! Invariant: one line a policy, `if_empty: holds a value, left alone: `phones``, and none for a policy that decided nothing.

use serde_json::Value as Json;

use super::{Ready, lists, shown};
use crate::crm::{ListOp, Metadata};

/// Lines in the making.
#[derive(Debug, Clone, Default)]
pub(super) struct Decided(Vec<(&'static str, Vec<Outcome>)>);

/// What became of some items, and which.
type Outcome = (&'static str, Vec<String>);

impl Decided {
    /// Notes what a policy made of a field.
    pub(super) fn field(&mut self, policy: &'static str, what: &'static str, name: &str) {
        self.add(policy, what, Some(format!("`{name}`")));
    }

    /// Notes what a policy made of the whole.
    pub(super) fn whole(&mut self, policy: &'static str, what: &'static str) {
        self.add(policy, what, None);
    }

    /// Notes what became of a field, with more to say of it than its name.
    pub(super) fn told(&mut self, policy: &'static str, what: &'static str, item: String) {
        self.add(policy, what, Some(item));
    }

    fn add(&mut self, policy: &'static str, what: &'static str, item: Option<String>) {
        let at = self.0.iter().position(|(p, _)| *p == policy).unwrap_or_else(|| {
            self.0.push((policy, Vec::new()));
            self.0.len() - 1
        });
        let outcomes = &mut self.0[at].1;
        match outcomes.iter_mut().find(|(w, _)| *w == what) {
            Some((_, items)) => items.extend(item),
            None => outcomes.push((what, item.into_iter().collect())),
        }
    }

    /// Notes which items an operation on a list met there.
    pub(super) fn list(&mut self, ready: &Ready<'_>, op: ListOp, items: &[Json], present: &Json, metadata: &Metadata) {
        let present = present.as_array().map_or(&[][..], Vec::as_slice);
        let within =
            |item: &Json, all: &[Json]| all.iter().any(|p| lists::key(&ready.field, p) == lists::key(&ready.field, item));
        let split =
            |of: &[Json], by: &[Json]| -> (Vec<Json>, Vec<Json>) { of.iter().cloned().partition(|item| within(item, by)) };
        let mut note = |policy, what, met: &[Json]| {
            if !met.is_empty() {
                let shown: Vec<String> = met.iter().map(|item| shown::item(&ready.field, item, metadata)).collect();
                self.add(policy, what, Some(format!("`{}` {}", ready.name, shown.join(", "))));
            }
        };
        match op {
            ListOp::Add => note("add", "there already", &split(items, present).0),
            ListOp::Primary => note("primary", "there already", &split(items, present).0),
            ListOp::Remove => note("remove", "not there", &split(items, present).1),
            ListOp::Replace => {
                let (kept, gone) = split(present, items);
                note("replace", "kept", &kept);
                note("replace", "taken out", &gone);
            }
        }
    }

    /// The lines.
    pub(super) fn lines(&self) -> Vec<String> {
        let said =
            |(what, items): &Outcome| if items.is_empty() { (*what).to_owned() } else { format!("{what}: {}", items.join(", ")) };
        let line = |(policy, outcomes): &(&str, Vec<Outcome>)| {
            format!("{policy}: {}", outcomes.iter().map(said).collect::<Vec<_>>().join("; "))
        };
        self.0.iter().map(line).collect()
    }
}
