//! From a script's criteria to look-ups: normalised values of fields that Pipedrive can search.
//!
//! A criterion with an empty value is dropped as a whole: of "this e-mail and this name" the name alone would find others. What
//! is left may be nothing; then `on_empty` decides.

use serde_json::Value as Json;

use super::reader::{Hints, Reader};
use crate::config::MatchFields;
use crate::crm::{self, Address, Lookup, Term};
use crate::pipedrive::{Id, Kind};
use crate::plan::field::{self, FieldRef};
use crate::plan::refusal::{Refusal, kind_of};
use crate::plan::shape::Shape;
use crate::plan::{Criteria, Criterion, FieldEntry, Value, WireTarget, WireValue};

type Result<T> = std::result::Result<T, Refusal>;

/// An array in a criterion means any of its values; more of them than this are a mistake.
const MOST_ALTERNATIVES: usize = 10;
/// The last whole number that a float tells from its neighbours; beyond it Pipedrive's number fields round.
const MOST_EXACT: f64 = 9_007_199_254_740_991.0;

/// The field that a bare value is compared with.
#[must_use]
pub fn match_field(kind: Kind, fields: &MatchFields) -> &str {
    match kind {
        Kind::Person => &fields.person,
        Kind::Organization => &fields.organization,
        Kind::Deal => &fields.deal,
        Kind::Lead | Kind::Activity | Kind::Note => "id",
    }
}

impl<'a> Reader<'a> {
    /// The look-ups of the criteria; empty when no criterion is left.
    pub(super) fn lookups(&mut self, kind: Kind, criteria: &Criteria) -> Result<Vec<Lookup>> {
        let mut lookups: Vec<Lookup> = Vec::new();
        for criterion in &criteria.0 {
            for lookup in self.criterion(kind, criterion)? {
                if !lookups.contains(&lookup) {
                    lookups.push(lookup);
                }
            }
        }
        Ok(lookups)
    }

    fn criterion(&mut self, kind: Kind, criterion: &Criterion) -> Result<Vec<Lookup>> {
        let mut alternatives: Vec<Vec<Term>> = vec![Vec::new()];
        let mut unsearchable = None;
        let mut found = false;
        for entry in &criterion.0 {
            let field = self.criterion_field(kind, entry)?;
            if !field.in_matches() {
                return Err(field.unsearchable());
            }
            match field.finds_alone() {
                true => found = true,
                false => unsearchable = unsearchable.or_else(|| Some(field.unsearchable())),
            }
            // Every name is looked at, also after an empty value: a misspelt one shows on the first event.
            let terms = self.terms(&field, &entry.value)?;
            // No terms, no alternatives: the criterion is dropped as a whole.
            if alternatives.len() * terms.len() > MOST_ALTERNATIVES {
                return Err(Refusal::value(format!("the match gives more than {MOST_ALTERNATIVES} alternatives"))
                    .help("give fewer values in its arrays"));
            }
            alternatives = alternatives
                .iter()
                .flat_map(|so_far| terms.iter().map(move |term| [so_far.as_slice(), std::slice::from_ref(term)].concat()))
                .collect();
        }
        if let Some(refusal) = unsearchable.filter(|_| !found) {
            return Err(refusal);
        }
        Ok(alternatives.into_iter().filter(|terms| !terms.is_empty()).map(Lookup).collect())
    }

    fn criterion_field<'e>(&self, kind: Kind, entry: &'e FieldEntry) -> Result<FieldRef<'e>>
    where
        'a: 'e,
    {
        if !entry.is_match_field() {
            return field::resolve(kind, &entry.name, entry.custom, self.context.metadata);
        }
        let name = match_field(kind, self.context.match_fields);
        field::resolve(kind, name, false, self.context.metadata).map_err(|r| Refusal {
            message: format!("a bare value stands for the match field `{name}` of rules.toml: {}", r.message),
            help: Some(format!(
                "add the field in Pipedrive, or name another under `match_fields`{}",
                r.help.map(|h| format!(" ({h})")).unwrap_or_default()
            )),
            ..r
        })
    }

    /// The terms that a value gives: none when it is empty, several for an array.
    fn terms(&mut self, field: &FieldRef<'_>, value: &Value) -> Result<Vec<Term>> {
        if matches!((field.shape, value), (Shape::Link(_) | Shape::Named(_), Value::Link(crate::plan::Link::Reference(_)))) {
            return Err(not_known_yet(field));
        }
        if field.shape == Shape::Id {
            return Ok(id_term(field, value)?.into_iter().collect());
        }
        let wires = match value {
            Value::Leave => return Ok(Vec::new()),
            Value::Clear => {
                return Err(Refusal::value(format!("`{}` in a match cannot be `CLEAR`", field.label)).help("match by a value"));
            }
            Value::List { .. } => {
                return Err(Refusal::value(format!(
                    "`{}` in a match takes the value itself, not add, remove, replace or primary",
                    field.label
                )));
            }
            Value::Json(Json::Array(items)) => {
                let mut all = Vec::new();
                for item in items {
                    all.extend(self.read(field, &Value::Json(item.clone()), &Hints::default())?);
                }
                all
            }
            value => self.read(field, value, &Hints::default())?.into_iter().collect(),
        };
        if wires.iter().any(|w| matches!(w, WireValue::Link { target: WireTarget::Reference(_) | WireTarget::Lookups(_), .. })) {
            return Err(not_known_yet(field));
        }
        wires.into_iter().filter_map(|wire| term(field, wire).transpose()).collect()
    }
}

fn not_known_yet(field: &FieldRef<'_>) -> Refusal {
    let message = format!("`{}` in a match takes an id: what a reference or `by(..)` comes to is not known yet", field.label);
    let kind = match field.shape {
        Shape::Link(kind) | Shape::Named(kind) => kind,
        _ => field.kind,
    };
    Refusal::link(message).help(format!("read it first, as in `{kind}::find(#{{ .. }})?.id`"))
}

fn term(field: &FieldRef<'_>, wire: WireValue) -> Result<Option<Term>> {
    let plain = match &wire {
        WireValue::Json(json) => Some(json.clone()),
        WireValue::List { items, .. } => items.first().and_then(|item| item.get("value")).cloned(),
        WireValue::Link { target: WireTarget::Id(id), .. } => Some(id.to_json()),
        WireValue::Clear | WireValue::Link { .. } => None,
    };
    let Some(plain) = plain else { return Ok(None) };
    if let Json::Number(number) = &plain
        && number.as_f64().is_some_and(|float| float.abs() > MOST_EXACT)
    {
        return Err(Refusal::value(format!(
            "`{}` is a number field, which tells whole numbers apart only up to 2^53; two ids beyond that could be taken for one",
            field.label
        ))
        .help("match by a field of type text"));
    }
    let value = crm::normalise(field.kind, &field.address, field.field_type, &plain);
    Ok(value.map(|value| Term { address: field.address.clone(), value, wire: Some(wire) }))
}

fn id_term(field: &FieldRef<'_>, value: &Value) -> Result<Option<Term>> {
    let id = match value {
        Value::Leave => return Ok(None),
        Value::Link(crate::plan::Link::Id(id)) => Some(id.clone()),
        Value::Json(json) if super::composite::is_blank(json) => return Ok(None),
        Value::Json(json) => Id::from_json(json),
        _ => None,
    };
    match id.filter(|id| id.fits(field.kind)) {
        Some(id) => Ok(Some(Term { address: Address::Standard("id".to_owned()), value: id.to_string(), wire: None })),
        None => {
            let wanted = if field.kind == Kind::Lead { "a uuid" } else { "a positive whole number" };
            let refusal = Refusal::link(match value {
                Value::Json(json) => {
                    let given = if json.is_string() {
                        ", and this string is none".to_owned()
                    } else {
                        format!(", not {}", kind_of(json))
                    };
                    format!("`id` in a match takes the {}'s id in Pipedrive, {wanted}{given}", field.kind)
                }
                _ => format!("`id` in a match takes the {}'s id in Pipedrive, {wanted}", field.kind),
            });
            Err(refusal.help("to match by an id of yours, use a custom field"))
        }
    }
}

/// The id, when the criteria are nothing but one.
pub(super) fn by_id(lookups: &[Lookup]) -> Option<WireTarget> {
    let [Lookup(terms)] = lookups else { return None };
    let [Term { address: Address::Standard(key), value, .. }] = terms.as_slice() else { return None };
    (key == "id").then(|| value.parse().ok().map(WireTarget::Id)).flatten()
}
