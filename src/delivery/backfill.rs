//! What a hit by a weaker criterion means for the stronger ones.
//!
//! Invariant: a stronger criterion's field is written only when it is empty, or when the policy says to take the entity.

use crate::crm::{Known, Lookup, Metadata, field_value, holds};
use crate::pipedrive::{Entity, Kind};
use crate::plan::WireField;

/// What to do about the stronger criteria.
#[derive(Debug, PartialEq)]
pub(super) enum BackFill {
    /// These fields are to be written; none when the entity holds them all.
    Fill(Vec<WireField>),
    /// A field holds another value; these fields would take the entity over.
    Conflict { field: String, fields: Vec<WireField> },
}

/// Compares an entity with the criteria that are stronger than the one that found it.
pub(super) fn back_fill(stronger: &[Lookup], entity: &Entity, kind: Kind, metadata: &Metadata) -> BackFill {
    let mut fields = Vec::new();
    let mut conflict = None;
    for term in stronger.iter().flat_map(|lookup| &lookup.0) {
        let Some(wire) = &term.wire else { continue };
        let field_type = metadata.type_of(kind, &term.address);
        if holds(kind, &term.address, field_type, entity, &term.value) {
            continue;
        }
        let name = metadata.name_of(kind, &term.address).to_owned();
        let list = matches!(term.address.key(), "emails" | "phones");
        let blank = field_value(kind, &term.address, entity)
            .is_none_or(|v| v.as_str() == Some("") || v.as_array().is_some_and(Vec::is_empty));
        // Another address does not contradict: people have several.
        if !blank && !list {
            conflict.get_or_insert_with(|| name.clone());
        }
        fields.push(WireField { address: term.address.clone(), name, value: wire.clone() });
    }
    match conflict {
        Some(field) => BackFill::Conflict { field, fields },
        None => BackFill::Fill(fields),
    }
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
