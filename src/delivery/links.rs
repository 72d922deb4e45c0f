//! The ids of the entities that a step's fields link to.
//!
//! Invariants: a link that was skipped, had no criterion left, or was not found in time is absent, and the field is left alone. What the
//! index knows is trusted until Pipedrive refuses a write; only an entity that is found anew, or is there still, makes that final.

use super::execute::{Executor, Linked, linked};
use super::trouble::Trouble;
use crate::crm::{Lookup, WireTarget, index};
use crate::pipedrive::{Id, Kind, Purpose};
use crate::plan::{OnMissing, Step};

/// Resolved links of one step.
pub(super) struct Links {
    references: Vec<(u32, Id)>,
    found: Vec<(Kind, Vec<Lookup>, Id)>,
}

impl Links {
    /// Resolves the links of a step; what was looked up before the first write is not looked up again.
    pub(super) async fn resolve(executor: &Executor<'_>, at: usize, step: &Step) -> Result<Self, Trouble> {
        let mut found = Vec::new();
        for (place, Linked { kind, lookups, .. }) in linked(step).enumerate() {
            if lookups.is_empty() || found.iter().any(|(_, l, _): &(Kind, Vec<Lookup>, Id)| l == lookups) {
                continue;
            }
            let id = match executor.made_up(kind, lookups) {
                None => executor.link_now(at, place, kind, lookups).await?,
                made_up => made_up,
            };
            if let Some(id) = id {
                found.push((kind, lookups.to_vec(), id));
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

    /// Whether nothing was found by criteria.
    pub(super) fn none_found(&self) -> bool {
        self.found.is_empty()
    }

    /// The id that a target stands for; none: leave the field alone.
    pub(super) fn id(&self, target: &WireTarget) -> Option<Id> {
        match target {
            WireTarget::Id(id) => Some(id.clone()),
            WireTarget::Reference(ordinal) => self.references.iter().find(|(o, _)| o == ordinal).map(|(_, id)| id.clone()),
            WireTarget::Lookups(lookups) => self.found.iter().find(|(_, l, _)| l == lookups).map(|(.., id)| id.clone()),
        }
    }
}

impl Executor<'_> {
    /// After a refusal: the links anew, when an entity that one of them leads to is gone. The index has forgotten it then.
    pub(super) async fn relink(&mut self, at: usize, step: &Step, links: &Links) -> Result<Option<Links>, Trouble> {
        let mut gone = Vec::new();
        for link @ (kind, _, id) in &links.found {
            if self.session.get(*kind, id, Purpose::Lookup).await?.is_none() {
                gone.push(link);
            }
        }
        if gone.is_empty() {
            return Ok(None);
        }
        let account = self.account.name.clone();
        // True also when only observing; and the index must have forgotten it before it is asked again.
        self.attempt.outbox.extend(gone.iter().map(|(kind, _, id)| index::forget(&account, *kind, id)));
        self.attempt.commit(Vec::new()).await?;
        let fresh = Links::resolve(self, at, step).await?;
        for (kind, lookups, id) in gone {
            let found = fresh.id(&WireTarget::Lookups(lookups.clone()));
            if found.is_none() && step.on_missing == OnMissing::Fail {
                let reason = format!(
                    "the {kind} {id} that action {} links to is not in Pipedrive any more, and no other was found",
                    step.ordinal + 1
                );
                return Err(Trouble::permanent(reason));
            }
            let instead =
                found.map_or_else(|| "no other was found (on_missing: omit)".to_owned(), |id| format!("{id} was found anew"));
            self.plan_mut().steps[at]
                .warnings
                .push(format!("the {kind} {id} it links to is not in Pipedrive any more; {instead}"));
        }
        Ok(Some(fresh))
    }
}
