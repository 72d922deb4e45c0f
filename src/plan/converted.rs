//! Steps that name a lead which became a deal, as steps of that deal.
//!
//! Invariants: what a script wrote for the lead goes to the field of deals that holds the same; what deals have no field for, or cannot be
//! emptied of, is left out, and said. A deal that the script names itself stands.

use serde_json::Value as Json;

use super::field;
use super::prepare::COMPANION;
use super::{Address, Operation, Step, WireField, WireTarget, WireValue};
use crate::crm::{Metadata, deal_field, same_name};
use crate::pipedrive::{Id, Kind};

/// The update of a lead as an update of the deal that it became, and what of it is left out.
#[must_use]
pub fn lead_as_deal(step: &Step, deal: &Id, metadata: &Metadata) -> (Step, Vec<String>) {
    let mut notes = Vec::new();
    let mut moved = |fields: &[WireField]| -> Vec<WireField> {
        fields.iter().flat_map(|field| of_deal(field, metadata, &mut notes)).collect()
    };
    let (fields, if_empty, unless_edited) = (moved(&step.fields), moved(&step.if_empty), moved(&step.unless_edited));
    let operation = Operation::Update { kind: Kind::Deal, target: WireTarget::Id(deal.clone()) };
    (Step { operation, fields, if_empty, unless_edited, on_create: Vec::new(), ..step.clone() }, notes)
}

/// One field of a lead as those of a deal.
fn of_deal(wire: &WireField, metadata: &Metadata, notes: &mut Vec<String>) -> Vec<WireField> {
    let Address::Standard(key) = &wire.address else { return vec![wire.clone()] };
    let field =
        |key: &str, value: WireValue| WireField { address: Address::Standard(key.to_owned()), name: wire.name.clone(), value };
    let Some(to) = deal_field(key) else {
        notes.push(format!("left out: `{}`, which deals do not have", wire.name));
        return Vec::new();
    };
    match (to, &wire.value) {
        ("value", WireValue::Json(Json::Object(money))) => {
            // Of deals these are two fields: each is named as a script for deals would have it named.
            let part = |to: &str, from: &str| Some(field(to, WireValue::Json(money.get(from)?.clone())));
            let currency = part("currency", "currency").map(|field| WireField { name: COMPANION.to_owned(), ..field });
            part("value", "amount").into_iter().chain(currency).collect()
        }
        ("label_ids", WireValue::List { op, items }) => {
            let items = labels(items, &wire.name, metadata, notes);
            // A list of which nothing is left would empty the deal's.
            let any = !items.is_empty();
            any.then(|| field(to, WireValue::List { op: *op, items })).into_iter().collect()
        }
        (_, WireValue::Clear)
            if !field::at(Kind::Deal, &Address::Standard(to.to_owned()), metadata).is_some_and(|f| f.clears) =>
        {
            notes.push(format!("left out: `{}` of deals cannot be emptied", wire.name));
            Vec::new()
        }
        (to, value) => vec![field(to, value.clone())],
    }
}

/// Labels of leads as the labels of deals that are called the same.
fn labels(ids: &[Json], name: &str, metadata: &Metadata, notes: &mut Vec<String>) -> Vec<Json> {
    let options =
        metadata.fields_of(Kind::Deal).iter().find(|f| !f.custom && f.key == "label_ids").map_or(&[][..], |f| &f.options);
    let mut found = Vec::new();
    for id in ids {
        let label = metadata.lead_labels.iter().find(|label| Some(label.id.as_str()) == id.as_str());
        match label.and_then(|label| options.iter().find(|option| same_name(&option.label, &label.name))) {
            Some(option) => found.push(option.id.into()),
            None => {
                let label = label.map_or_else(|| id.to_string(), |label| format!("`{}`", label.name));
                notes.push(format!("left out: deals have no label {label} for `{name}`"));
            }
        }
    }
    found
}

/// The leads that a note or an activity links to.
pub fn linked_leads(step: &Step) -> impl Iterator<Item = &WireTarget> {
    let applies = matches!(step.operation.kind(), Some(Kind::Note | Kind::Activity));
    step.all_fields().filter(move |_| applies).filter_map(|field| match &field.value {
        WireValue::Link { kind: Kind::Lead, target, .. } => Some(target),
        _ => None,
    })
}

/// The note or activity with its link to a lead as a link to the deal that it became. `resolves` says whether a link comes to anything.
#[must_use]
pub fn lead_link_as_deal(step: &Step, deal: &Id, resolves: impl Fn(&WireTarget) -> bool) -> (Step, Option<String>) {
    let names_deal = |field: &&WireField| {
        field.address.key() == "deal_id"
            && match &field.value {
                WireValue::Link { target, .. } => resolves(target),
                WireValue::Json(_) | WireValue::List { .. } | WireValue::Clear => true,
            }
    };
    let own = step.all_fields().any(|field| names_deal(&field));
    let mut moved = step.clone();
    for fields in [&mut moved.fields, &mut moved.unless_edited, &mut moved.if_empty, &mut moved.on_create] {
        // A deal that was not found gives way to the one that is known.
        let replaced = fields.iter().any(|f| matches!(&f.value, WireValue::Link { kind: Kind::Lead, .. }));
        fields.retain(|field| own || !replaced || field.address.key() != "deal_id");
        fields.retain(|field| !own || !is_of_lead(field));
        for field in fields.iter_mut().filter(|field| is_of_lead(field)) {
            if field.address.key() == "lead_id" {
                field.value = WireValue::Link { kind: Kind::Deal, target: WireTarget::Id(deal.clone()), wait: None };
            }
            let key = field.address.key().replace("lead", "deal");
            field.address = Address::Standard(key);
        }
    }
    let note = own.then(|| "the deal that the script names stands".to_owned());
    (moved, note)
}

/// The link to a lead, and the pin that goes with it.
fn is_of_lead(field: &WireField) -> bool {
    matches!(field.address.key(), "lead_id" | "pinned_to_lead_flag")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::fixture::{LABEL, entries, metadata, step};
    use crate::plan::{ListOp, Options, Target, Value, Verb};
    use serde_json::json;

    /// The lead's fields as those of deal 5.
    fn moved_fields(fields: Json, cleared: &[&str]) -> (Vec<WireField>, Vec<String>) {
        let mut fields = entries(fields);
        fields.extend(cleared.iter().map(|name| crate::plan::FieldEntry {
            name: (*name).to_owned(),
            custom: false,
            value: Value::Clear,
        }));
        let target = Target::Id("adf21080-0e10-11eb-879b-05d71fb426ec".parse().expect("a uuid"));
        let lead = step(Verb::Update { kind: Kind::Lead, target, fields, options: Options::default() });
        let (step, notes) = lead_as_deal(&lead, &Id::Number(5), &metadata());
        assert_eq!(step.operation, Operation::Update { kind: Kind::Deal, target: WireTarget::Id(Id::Number(5)) });
        (step.fields, notes)
    }

    /// The same by their keys.
    fn moved(fields: Json, cleared: &[&str]) -> (Vec<(String, WireValue)>, Vec<String>) {
        let (fields, notes) = moved_fields(fields, cleared);
        (fields.into_iter().map(|field| (field.address.key().to_owned(), field.value)).collect(), notes)
    }

    #[test]
    fn a_leads_fields_are_those_of_its_deal_under_the_deals_names() {
        let (mut fields, notes) =
            moved(json!({ "title": "T", "value": { "amount": 5, "currency": "EUR" }, "org_id": 9, "Score": 3 }), &[]);
        fields.sort_by(|a, b| a.0.cmp(&b.0));
        let names: Vec<&str> = fields.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, [&crate::plan::fixture::key(4), "currency", "org_id", "title", "value"]);
        assert_eq!(fields[4].1, WireValue::Json(json!(5)));
        assert_eq!(notes, Vec::<String>::new());
    }

    #[test]
    fn both_parts_of_a_leads_money_have_names_of_their_own() {
        let (fields, _) = moved_fields(json!({ "value": { "amount": 5, "currency": "EUR" } }), &[]);
        let names: Vec<_> = fields.iter().map(|field| (field.address.key(), field.name.as_str())).collect();
        assert_eq!(names, [("value", "value"), ("currency", "currency (of value)")]);
    }

    #[test]
    fn what_deals_have_not_or_cannot_be_emptied_of_is_left_out_and_said() {
        let (fields, notes) = moved(json!({ "labels": ["Warm"], "was_seen": true }), &["value", "expected_close_date"]);
        assert_eq!(fields, []);
        assert_eq!(
            notes,
            [
                "left out: deals have no label `Warm` for `labels`",
                "left out: `was_seen`, which deals do not have",
                "left out: `value` of deals cannot be emptied",
                "left out: `expected_close_date` of deals cannot be emptied",
            ]
        );
    }

    #[test]
    fn a_label_goes_by_its_name() {
        let mut metadata = metadata();
        metadata.lead_labels[0].name = "hot".to_owned();
        let field = WireField {
            address: Address::Standard("label_ids".to_owned()),
            name: "labels".to_owned(),
            value: WireValue::List { op: ListOp::Add, items: vec![LABEL.into()] },
        };
        let mut notes = Vec::new();
        let moved = of_deal(&field, &metadata, &mut notes);
        assert_eq!(moved[0].value, WireValue::List { op: ListOp::Add, items: vec![json!(32)] });
        assert_eq!(notes, Vec::<String>::new());
    }
}
