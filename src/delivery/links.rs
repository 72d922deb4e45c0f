//! The ids of the entities that a step's fields link to.
//!
//! Invariant: a link that was skipped, had no criterion left, or was not found in time is absent, and the field is left alone.

use super::execute::{Executor, linked_lookups};
use super::trouble::Trouble;
use crate::crm::{Found, Lookup, WireTarget};
use crate::pipedrive::Id;
use crate::plan::Step;

/// Resolved links of one step.
pub(super) struct Links {
    references: Vec<(u32, Id)>,
    found: Vec<(Vec<Lookup>, Id)>,
}

impl Links {
    /// Resolves the links of a step; look-ups that were done before come from the index.
    pub(super) async fn resolve(executor: &Executor<'_>, step: &Step) -> Result<Self, Trouble> {
        let mut found = Vec::new();
        for (kind, lookups) in linked_lookups(step) {
            if lookups.is_empty() || found.iter().any(|(l, _): &(Vec<Lookup>, Id)| l == lookups) {
                continue;
            }
            if let Found::Hit { id, .. } = executor.find_link(kind, lookups).await? {
                found.push((lookups.to_vec(), id));
            }
        }
        let references = executor
            .plan()
            .steps
            .iter()
            .filter_map(|s| executor.plan().reference(s.step.ordinal).map(|id| (s.step.ordinal, id)))
            .collect();
        Ok(Self { references, found })
    }

    /// The id that a target stands for; none: leave the field alone.
    pub(super) fn id(&self, target: &WireTarget) -> Option<Id> {
        match target {
            WireTarget::Id(id) => Some(id.clone()),
            WireTarget::Reference(ordinal) => self.references.iter().find(|(o, _)| o == ordinal).map(|(_, id)| id.clone()),
            WireTarget::Lookups(lookups) => self.found.iter().find(|(l, _)| l == lookups).map(|(_, id)| id.clone()),
        }
    }
}
