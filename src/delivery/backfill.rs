//! What a hit by a weaker criterion means for the stronger ones.
//!
//! Invariant: a stronger criterion's field is written only when it is empty, or when the policy says to take the entity. Another id of the
//! same user, as aliases have said, is as good as the one that the criterion names.

use super::execute::{Executor, Via, described};
use super::trouble::Trouble;
use crate::crm::{Account, Known, Lookup, Metadata, field_value, holds, holds_alias};
use crate::pipedrive::{Entity, Id, Kind, Purpose};
use crate::plan::{OnConflict, Step, WireField};

/// What was done about the stronger criteria.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stronger {
    /// The entity holds them all.
    Held,
    /// They are among the step's fields now.
    Filled,
    /// Another entity is to be created for them.
    Conflict,
    /// The entity is not there any more.
    Gone,
}

impl Executor<'_> {
    /// Compares an entity with the criteria that are stronger than the one that found it, and adds to the step what it lacks. The entity is
    /// read where it is not at hand.
    pub(super) async fn back_fill(
        &mut self,
        at: usize,
        step: &mut Step,
        kind: Kind,
        id: &Id,
        via: &Via<'_>,
        present: &mut Option<Entity>,
    ) -> Result<Stronger, Trouble> {
        if present.is_none() {
            *present = self.account.read(&self.session, kind, id, Purpose::ReadBeforeWrite).await?;
        }
        let Some(entity) = present else { return Ok(Stronger::Gone) };
        let by = described(&via.lookups[via.hit], kind, &self.metadata);
        let Lacking { conflict, fields } = lacking(self.account, &via.lookups[..via.hit], entity, kind, &self.metadata);
        let Some(field) = conflict else {
            if fields.is_empty() {
                return Ok(Stronger::Held);
            }
            let names = fields.iter().map(|f| format!("`{}`", f.name)).collect::<Vec<_>>().join(", ");
            self.plan_mut().decided(at, format!("back-fill: found by {by}; the stronger criterion is written, too: {names}"));
            step.fields.extend(fields);
            return Ok(Stronger::Filled);
        };
        match step.on_conflict {
            OnConflict::Take => {
                let line = format!("on_conflict: take: found by {by}; `{field}` holds another value, which is overwritten");
                self.plan_mut().decided(at, line);
                step.fields.extend(fields);
                Ok(Stronger::Filled)
            }
            OnConflict::Create => {
                let line = format!(
                    "on_conflict: create: the {kind} {id}, found by {by}, is left alone, since its `{field}` holds another value; \
                     another {kind} is created"
                );
                self.plan_mut().decided(at, line);
                Ok(Stronger::Conflict)
            }
            OnConflict::Fail => Err(Trouble::permanent(format!(
                "the {kind} {id} was found by a weaker criterion, and its `{field}` holds another value (on_conflict: fail); correct one of \
                 the two and replay, or set on_conflict to take or create"
            ))),
        }
    }
}

/// What an entity lacks of the stronger criteria.
struct Lacking {
    /// The first field that holds another value.
    conflict: Option<String>,
    /// What would make it hold them.
    fields: Vec<WireField>,
}

fn lacking(account: &Account, stronger: &[Lookup], entity: &Entity, kind: Kind, metadata: &Metadata) -> Lacking {
    let mut lacking = Lacking { conflict: None, fields: Vec::new() };
    for term in stronger.iter().flat_map(|lookup| &lookup.0) {
        let Some(wire) = &term.wire else { continue };
        let field_type = metadata.type_of(kind, &term.address);
        if holds(kind, &term.address, field_type, entity, &term.value) || holds_alias(account, kind, term, entity, metadata) {
            continue;
        }
        let name = metadata.name_of(kind, &term.address).to_owned();
        let list = matches!(term.address.key(), "emails" | "phones");
        let blank = field_value(kind, &term.address, entity)
            .is_none_or(|v| v.as_str() == Some("") || v.as_array().is_some_and(Vec::is_empty));
        // Another address does not contradict: people have several.
        if !blank && !list {
            lacking.conflict.get_or_insert_with(|| name.clone());
        }
        lacking.fields.push(WireField { address: term.address.clone(), name, value: wire.clone() });
    }
    lacking
}

/// The criterion's fields that an import of ids found empty: the index knows the entity by them, and it does not say so itself yet.
pub(super) fn vacant(lookup: &Lookup, known: &Known, kind: Kind, metadata: &Metadata) -> Vec<WireField> {
    let terms = lookup.0.iter().filter(|term| known.is_vacant(term.address.key()));
    let field = |term: &crate::crm::Term| {
        let name = metadata.name_of(kind, &term.address).to_owned();
        Some(WireField { address: term.address.clone(), name, value: term.wire.clone()? })
    };
    terms.filter_map(field).collect()
}
