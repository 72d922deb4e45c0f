//! What a create needs, as far as it can be told before links are resolved; the rest is told when the body is built.

use crate::crm::{Address, Lookup, Metadata};
use crate::pipedrive::Kind;
use crate::plan::field::plural;
use crate::plan::refusal::{Refusal, listed};
use crate::plan::shape;
use crate::plan::{FieldEntry, ListOp, Operation, Step, WireField, WireTarget, WireValue};

/// Adds the match values to what a create writes, so that the next look-up finds it. Fields that the script sets itself stand,
/// except lists, to which the value is added.
pub(super) fn write_match_values(
    kind: Kind,
    lookups: &[Lookup],
    metadata: &Metadata,
    given: &[WireField],
    on_create: &mut Vec<WireField>,
) {
    let explicit: Vec<Address> = given.iter().chain(on_create.iter()).map(|f| f.address.clone()).collect();
    let mut written: Vec<WireField> = Vec::new();
    for term in lookups.iter().flat_map(|lookup| &lookup.0) {
        let Some(wire) = &term.wire else { continue };
        match (written.iter_mut().find(|f| f.address == term.address), wire) {
            (Some(WireField { value: WireValue::List { items, .. }, .. }), WireValue::List { items: more, .. }) => {
                items.extend(more.iter().filter(|i| !items.contains(i)).cloned().collect::<Vec<_>>());
            }
            // The first of several alternatives for one field is the preferred one.
            (Some(_), _) => {}
            (None, WireValue::List { items, .. }) => written.push(WireField {
                address: term.address.clone(),
                name: metadata.name_of(kind, &term.address).to_owned(),
                value: WireValue::List { op: ListOp::Add, items: items.clone() },
            }),
            (None, _) if explicit.contains(&term.address) => {}
            (None, _) => written.push(WireField {
                address: term.address.clone(),
                name: metadata.name_of(kind, &term.address).to_owned(),
                value: wire.clone(),
            }),
        }
    }
    on_create.extend(written);
}

/// Refuses what cannot succeed whatever its links come to.
pub(super) fn check(step: &Step, refusals: &mut Vec<Refusal>) {
    if step.operation.kind() == Some(Kind::Deal) {
        lost_reason(step, refusals);
    }
    let Operation::Create { kind } = step.operation else { return };
    let all = || step.all_fields();
    if let Some(key) = shape::required(kind)
        && !all().any(|f| f.address == Address::Standard(key.to_owned()) && f.value != WireValue::Clear)
    {
        refusals.push(missing_field(kind, key));
    }
    let links = shape::links(kind);
    let linked =
        all().any(|f| matches!(&f.address, Address::Standard(key) if links.contains(&key.as_str())) && may_link(&f.value));
    if !links.is_empty() && !linked && !may_be_unlinked(step, kind) {
        refusals.push(missing_link(kind));
    }
}

/// Pipedrive takes a reason of lost deals only. An update that names no status may go to a deal that is lost already.
fn lost_reason(step: &Step, refusals: &mut Vec<Refusal>) {
    let given = |key: &str| {
        let mut all = step.all_fields();
        all.find(|f| f.address.key() == key).and_then(|f| match &f.value {
            WireValue::Json(json) => json.as_str(),
            _ => None,
        })
    };
    let status = given("status").or(matches!(step.operation, Operation::Create { .. }).then_some("open"));
    if given("lost_reason").is_some() && status.is_some_and(|status| status != "lost") {
        let help = "leave it out for others, as in `lost_reason: if status == \"lost\" { reason }`";
        refusals.push(Refusal::value("`lost_reason` is for deals whose status is `lost`").help(help));
    }
}

fn may_link(value: &WireValue) -> bool {
    match value {
        WireValue::Clear => false,
        WireValue::Link { target: WireTarget::Lookups(lookups), .. } => !lookups.is_empty(),
        WireValue::List { items, .. } => !items.is_empty(),
        WireValue::Link { .. } | WireValue::Json(_) => true,
    }
}

/// Deals and activities may stand alone when the script says so; Pipedrive refuses leads and notes that do.
pub(in crate::plan) fn may_be_unlinked(step: &Step, kind: Kind) -> bool {
    step.unlinked && matches!(kind, Kind::Deal | Kind::Activity)
}

/// A create without the field that its kind needs.
pub(in crate::plan) fn missing_field(kind: Kind, key: &str) -> Refusal {
    Refusal::required(format!("a new {kind} needs `{key}`, and the event gave none"))
        .help(format!("give `{key}` in the fields or under `on_create`, with `??` for a fallback"))
}

/// A create without the link that its kind needs.
pub(in crate::plan) fn missing_link(kind: Kind) -> Refusal {
    let refusal = Refusal::link(format!("a new {kind} needs a link to another entity, and none was found"));
    let fields = listed(shape::links(kind));
    refusal.help(match kind {
        Kind::Deal | Kind::Activity => format!("give one of {fields}, or `unlinked: true`"),
        _ => format!("give one of {fields}; Pipedrive takes no {} without", plural(kind)),
    })
}

/// A conversion takes the deal's place and nothing else.
pub(super) fn only_stage_and_pipeline(fields: &[FieldEntry]) -> Result<(), Refusal> {
    match fields.iter().find(|f| f.custom || !matches!(f.name.as_str(), "stage" | "stage_id" | "pipeline" | "pipeline_id")) {
        None => Ok(()),
        Some(other) => Err(Refusal::name(format!("a conversion takes `stage` and `pipeline`, not `{}`", other.name))
            .help("update the deal that it becomes with a second action: its reference is that deal")),
    }
}
