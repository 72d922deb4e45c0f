//! Which entity a step is about, and what its record says of that.
//!
//! Invariant: what was found before the first write counts only after the index was asked again, under the locks of the criteria.

use jiff::Timestamp;

use super::Executor;
use crate::crm::{self, Found, Lookup, Metadata, OnMany, WireTarget};
use crate::delivery::locks;
use crate::delivery::record::{Resolution, StepState};
use crate::delivery::trouble::Trouble;
use crate::pipedrive::{Caller, Id, Kind};
use crate::plan::{OnEmpty, OnMiss, Operation, Step};

impl Executor<'_> {
    /// What the criteria find, under their locks: the index is asked again, since another lane may have created it meanwhile.
    pub(super) async fn found_now(
        &mut self,
        at: usize,
        kind: Kind,
        lookups: &[Lookup],
        on_many: OnMany,
    ) -> Result<(Found, Timestamp), Trouble> {
        let (mut found, mut when) = match self.plan().steps[at].found.clone() {
            None => {
                let step = self.plan().steps[at].step.clone();
                self.place_first(&step, kind, lookups).await?;
                self.find_dated(kind, lookups, on_many).await?
            }
            Some((earlier, when)) => {
                let known = crm::find_known(self.account, &self.session, kind, lookups, on_many).await?;
                let found = match (known, earlier) {
                    // What the index knows now by a criterion at least as strong is newer than what was found before.
                    (known @ Found::Hit { .. }, Found::Miss) => known,
                    (known @ Found::Hit { .. }, earlier)
                        if known.strength() <= earlier.strength() && known.id() != earlier.id() =>
                    {
                        known
                    }
                    (_, earlier) => earlier,
                };
                (found, when)
            }
        };
        if found == Found::Miss && self.made_since(kind, lookups, when) {
            // Nor is a list enough that was asked for before that.
            let began = tokio::time::Instant::now();
            self.session = self.session.clone().on_behalf_of(Caller { began, ..self.session.caller().clone() });
            (found, when) = self.find_dated(kind, lookups, on_many).await?;
        }
        let operation = self.plan().steps[at].step.operation.clone();
        self.note_found(at, &found, &operation);
        Ok((found, when))
    }

    /// What is found, and not before which it was so: a list that is shared may have been asked for a moment ago.
    pub(in crate::delivery) async fn find_dated(
        &self,
        kind: Kind,
        lookups: &[Lookup],
        on_many: OnMany,
    ) -> Result<(Found, Timestamp), Trouble> {
        // Before it is read: a write that another delivery begins meanwhile may not be in the answer.
        let (when, sent) = (Timestamp::now(), self.session.trace().count());
        let found = self.find(kind, lookups, on_many).await?;
        let shared = self.session.trace().shared_after(sent);
        Ok((found, shared.map_or(when, |at| at.min(when))))
    }

    /// Whether something was created since by criteria that the index does not hold, such as links: it has to be looked for anew.
    fn made_since(&self, kind: Kind, lookups: &[Lookup], when: Timestamp) -> bool {
        let locks = &self.attempt.runtime.locks;
        locks::criteria_names(&self.account.name, kind, lookups).any(|name| locks.written_since(&name, when))
    }

    async fn find(&self, kind: Kind, lookups: &[Lookup], on_many: OnMany) -> Result<Found, Trouble> {
        Ok(crm::find(self.account, &self.session, kind, lookups, on_many).await?)
    }

    /// The entity that a target names; none when it is not there.
    pub(in crate::delivery) async fn target<'t>(
        &mut self,
        at: usize,
        step: &Step,
        kind: Kind,
        target: &'t WireTarget,
    ) -> Result<Option<(Id, Option<Via<'t>>)>, Trouble> {
        // What an earlier attempt sent and got no answer to may have made it unfindable.
        if let StepState::Sending { target: Some(id), .. } = &self.plan().steps[at].state
            && !matches!(step.operation, Operation::Update { .. } | Operation::Merge { .. })
        {
            return Ok(Some((id.clone(), None)));
        }
        match target {
            WireTarget::Id(id) => {
                self.note(at, Resolution { how: "id".to_owned(), by: String::new(), id: Some(id.clone()), others: Vec::new() });
                Ok(Some((id.clone(), None)))
            }
            WireTarget::Reference(ordinal) => {
                let id = self.plan().reference(*ordinal);
                let by = format!("action {}", ordinal + 1);
                self.note(at, Resolution { how: "reference".to_owned(), by, id: id.clone(), others: Vec::new() });
                Ok(id.map(|id| (id, None)))
            }
            WireTarget::Lookups(lookups) if lookups.is_empty() => Ok(None),
            WireTarget::Lookups(lookups) => {
                self.lock_criteria(kind, lookups).await?;
                match self.found_now(at, kind, lookups, step.on_many).await? {
                    (Found::Hit { id, lookup, entity, alias, .. }, when) => {
                        Ok(Some((id, Some(Via { lookups, hit: lookup, entity, when, aliased: alias.is_some() }))))
                    }
                    (Found::Miss, _) => Ok(None),
                }
            }
        }
    }

    /// An update, delete or convert found nothing.
    pub(in crate::delivery) fn missed(&mut self, at: usize, step: &Step, kind: Kind, target: &WireTarget) -> Result<(), Trouble> {
        let verb = step.operation.verb();
        match target {
            // What it refers to was skipped: so is this.
            WireTarget::Reference(ordinal) => {
                self.skip(at, format!("reference: action {} was skipped, and so is this {verb}", ordinal + 1));
                Ok(())
            }
            WireTarget::Lookups(lookups) if lookups.is_empty() && step.on_empty == OnEmpty::Skip => {
                self.skip(at, format!("on_empty: skip: no match criterion of the {kind} holds a value"));
                Ok(())
            }
            _ if step.on_miss == OnMiss::Skip => {
                self.skip(at, format!("on_miss: skip: no {kind} was found to {verb}"));
                Ok(())
            }
            _ => Err(Trouble::permanent(format!("no {kind} was found to {verb} (on_miss: fail)"))),
        }
    }

    pub(super) fn note_found(&mut self, at: usize, found: &Found, operation: &Operation) {
        let lookups: &[Lookup] = match operation {
            Operation::Upsert { lookups, .. }
            | Operation::Update { target: WireTarget::Lookups(lookups), .. }
            | Operation::Delete { target: WireTarget::Lookups(lookups), .. } => lookups,
            _ => &[],
        };
        let described = |lookup: &Lookup| match operation.kind() {
            Some(kind) => described(lookup, kind, &self.metadata),
            None => String::new(),
        };
        let resolution = match found {
            Found::Hit { id, entity, lookup, others, alias } => {
                let how = if entity.is_some() { "lookup" } else { "index" };
                let mut by = lookups.get(*lookup).map(&described).unwrap_or_default();
                if let Some(alias) = alias {
                    by = format!("{by}, {alias}");
                }
                if !others.is_empty() {
                    self.note_many(at, operation.kind(), others.len() + 1);
                }
                Resolution { how: how.to_owned(), by, id: Some(id.clone()), others: others.clone() }
            }
            Found::Miss => {
                let by = lookups.iter().map(described).collect::<Vec<_>>().join(", else ");
                Resolution { how: "miss".to_owned(), by, id: None, others: Vec::new() }
            }
        };
        // The look-up before the first write says more than the index that learned from it.
        let earlier = self.plan().steps[at].resolution.as_ref().is_some_and(|r| r.how == "lookup" && r.id == resolution.id);
        if !earlier {
            self.note(at, resolution);
        }
    }

    /// Several fitted, and the policy took one.
    fn note_many(&mut self, at: usize, kind: Option<Kind>, count: usize) {
        let step = &mut self.plan_mut().steps[at];
        let which = if step.step.on_many == OnMany::Newest { "newest" } else { "oldest" };
        let first = match kind {
            Some(Kind::Deal) => ", open deals first and archived ones last",
            Some(Kind::Lead) => ", archived leads last",
            _ => "",
        };
        let warning = format!("{count} fit, and the {which} was taken{first} (on_many)");
        if !step.warnings.contains(&warning) {
            step.warnings.push(warning);
        }
    }
}

/// How an entity was found by criteria.
pub(in crate::delivery) struct Via<'l> {
    /// The criteria, in order of preference.
    pub(in crate::delivery) lookups: &'l [Lookup],
    /// Which of them hit.
    pub(in crate::delivery) hit: usize,
    /// The entity as the look-up gave it.
    pub(in crate::delivery) entity: Option<serde_json::Map<String, serde_json::Value>>,
    /// Not before which it was so.
    pub(in crate::delivery) when: Timestamp,
    /// Whether another id of the same user was found.
    pub(in crate::delivery) aliased: bool,
}

/// A criterion for a person: `field = value and field = value`.
pub(in crate::delivery) fn described(lookup: &Lookup, kind: Kind, metadata: &Metadata) -> String {
    let terms: Vec<String> = lookup.0.iter().map(|t| format!("{} = {}", metadata.name_of(kind, &t.address), t.value)).collect();
    terms.join(" and ")
}
