//! From a script's fields to wire fields.

use super::due::{self, TIMEZONE};
use super::reader::{Hints, Reader};
use super::{composite, options, scalar};
use crate::crm::standard::{self, STAGE_AT_LEAST};
use crate::crm::{Address, Writable};
use crate::pipedrive::Kind;
use crate::plan::field::{self, FieldRef, plural};
use crate::plan::refusal::Refusal;
use crate::plan::shape::Shape;
use crate::plan::{FieldEntry, Value, WireField, WireValue};

/// A key beside the fields that says that notes are HTML already. Not a field.
const HTML: &str = "html";

impl Reader<'_> {
    /// The wire fields of a list; what is refused is added to `refusals`, and reading goes on.
    pub(super) fn fields(&mut self, kind: Kind, entries: &[FieldEntry], refusals: &mut Vec<Refusal>) -> Vec<WireField> {
        let hints = match self.hints(kind, entries) {
            Ok(hints) => hints,
            Err(refusal) => {
                refusals.push(refusal);
                Hints::default()
            }
        };
        let entries = match kind {
            Kind::Activity => due::in_utc(entries).unwrap_or_else(|refusal| {
                refusals.push(refusal);
                entries.into()
            }),
            _ => entries.into(),
        };
        let mut fields: Vec<WireField> = Vec::new();
        for entry in entries.iter().filter(|e| !is_hint(kind, e)) {
            match self.entry(kind, entry, &hints) {
                Ok(made) => {
                    for field in made {
                        match fields.iter().find(|f| f.address == field.address) {
                            // The currency inside a deal's money gives way to one that stands by itself.
                            Some(_) if field.name != entry.name => {}
                            Some(first) if is_companion(first, &field) => fields.retain(|f| f.address != field.address),
                            Some(first) => refusals.push(
                                Refusal::name(format!(
                                    "`{}` and `{}` are the same field of {}",
                                    first.name,
                                    field.name,
                                    plural(kind)
                                ))
                                .help("give it once"),
                            ),
                            None => {}
                        }
                        if !fields.iter().any(|f| f.address == field.address) {
                            fields.push(field);
                        }
                    }
                }
                Err(refusal) => refusals.push(refusal),
            }
        }
        if kind == Kind::Deal {
            stages(&mut fields, refusals);
        }
        fields
    }

    fn entry(&mut self, kind: Kind, entry: &FieldEntry, hints: &Hints) -> Result<Vec<WireField>, Refusal> {
        let field = field::resolve(kind, &entry.name, entry.custom, self.context.metadata)?;
        writable(&field, &entry.name)?;
        let Some(value) = self.read(&field, &entry.value, hints)? else { return Ok(Vec::new()) };
        if entry.custom && standard::find(kind, &entry.name).is_some() {
            self.said.custom.push(format!("`{}`", entry.name));
        }
        let mut made = vec![WireField { address: field.address.clone(), name: entry.name.clone(), value }];
        if let Some(currency) = deal_currency(&field, &entry.value)? {
            let address = Address::Standard("currency".to_owned());
            made.push(WireField { address, name: COMPANION.to_owned(), value: WireValue::Json(currency.into()) });
        }
        Ok(made)
    }

    /// What entries say about others of the list.
    fn hints(&mut self, kind: Kind, entries: &[FieldEntry]) -> Result<Hints, Refusal> {
        let mut hints = Hints::default();
        for entry in entries.iter().filter(|e| !e.custom) {
            let Value::Json(json) = &entry.value else { continue };
            if composite::is_blank(json) {
                continue;
            }
            match (kind, entry.name.as_str()) {
                (Kind::Note | Kind::Activity, HTML) => hints.html = scalar::boolean(HTML, json)?,
                (Kind::Lead, "currency") => hints.currency = Some(scalar::currency("currency", json)?),
                // An unknown pipeline is reported, or dropped, where it is read as a field.
                (Kind::Deal, "pipeline" | "pipeline_id") => {
                    hints.pipeline = options::pipeline(&entry.name, json, self.metadata()).ok()
                }
                _ => {}
            }
        }
        let valued = entries.iter().any(|e| !e.custom && matches!(e.name.as_str(), "value" | "amount") && !is_empty(&e.value));
        if kind == Kind::Lead && hints.currency.is_some() && !valued {
            // A lead has no currency of its own; without an amount there is nothing to say.
            self.said.warnings.push("left out: `currency` of a lead without a `value`".to_owned());
        }
        Ok(hints)
    }
}

/// Beside `stage_at_least` a pipeline says which stage is meant, and moves no deal; a stage of its own has no place there.
fn stages(fields: &mut Vec<WireField>, refusals: &mut Vec<Refusal>) {
    if !fields.iter().any(|f| f.address.key() == STAGE_AT_LEAST) {
        return;
    }
    if fields.iter().any(|f| f.address.key() == "stage_id") {
        let refusal = Refusal::value(format!("`stage` and `{STAGE_AT_LEAST}` both say where the deal is to be"));
        refusals.push(refusal.help("give one: `stage` puts it there, `stage_at_least` only moves it forward"));
    }
    fields.retain(|f| f.address.key() != "pipeline_id");
}

/// Refuses what Pipedrive sets itself.
pub(super) fn writable(field: &FieldRef<'_>, name: &str) -> Result<(), Refusal> {
    if field.write != Writable::No {
        return Ok(());
    }
    let refusal = Refusal::name(format!("`{name}` of {} cannot be written: Pipedrive sets it", plural(field.kind)));
    Err(match field.shape {
        Shape::Id => refusal.help("to change an entity of a known id, match by `id` or use `update(id, ..)`"),
        _ => refusal,
    })
}

/// The name of a currency that came inside a deal's money.
pub(in crate::plan) const COMPANION: &str = "currency (of value)";

fn is_companion(first: &WireField, second: &WireField) -> bool {
    first.name == COMPANION && second.name != COMPANION
}

/// Entries that are no fields themselves.
/// Whether the entry is no field but says something about the others.
pub(super) fn is_hint(kind: Kind, entry: &FieldEntry) -> bool {
    !entry.custom
        && matches!(
            (kind, entry.name.as_str()),
            (Kind::Note | Kind::Activity, HTML) | (Kind::Lead, "currency") | (Kind::Activity, TIMEZONE)
        )
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Leave => true,
        Value::Json(json) => composite::is_blank(json),
        _ => false,
    }
}

/// The currency that a deal's value carries.
fn deal_currency(field: &FieldRef<'_>, value: &Value) -> Result<Option<String>, Refusal> {
    if field.shape != Shape::DealValue {
        return Ok(None);
    }
    match value {
        Value::Money { currency, .. } => currency.as_ref().map(|c| scalar::currency(field.label, &c.as_str().into())).transpose(),
        Value::Json(json) => Ok(composite::money(field.label, json)?.currency),
        _ => Ok(None),
    }
}
