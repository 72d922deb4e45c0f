//! From a plan to steps: every name looked up, every value converted, everything wrong reported at once.
//!
//! Invariants: pure, and total (any plan gives steps or problems, never a panic); either the whole plan is ready or nothing of
//! it is; the same plan and metadata give the same steps.

mod check;
mod composite;
mod criteria;
mod due;
mod fields;
mod list;
mod options;
mod reader;
mod required;
mod scalar;

pub use check::{LiteralProblem, check_name, check_value};
pub use criteria::match_field;

pub(super) use composite::is_blank;
pub(super) use fields::COMPANION;
pub(super) use required::{may_be_unlinked, missing_field, missing_link};

use reader::{Reader, Said};

use super::refusal::Refusal;
use super::{
    Action, At, Criteria, FieldEntry, OnConflict, OnEmpty, OnMany, OnMiss, OnMissing, OnUnknown, Operation, Options, Plan,
    PlanProblem, Step, Target, Verb, WireTarget,
};
use crate::config::{MatchFields, WritePolicy};
use crate::crm::{Lookup, Metadata};
use crate::pipedrive::Kind;

/// What a plan is validated against.
#[derive(Debug, Clone, Copy)]
pub struct PrepareContext<'a> {
    /// The account.
    pub metadata: &'a Metadata,
    /// Fields that bare values in criteria are compared with.
    pub match_fields: &'a MatchFields,
    /// The rule, for keys.
    pub rule: &'a str,
    /// The event's `messageId`, for keys.
    pub message_id: &'a str,
    /// The rule's write policy.
    pub write: WritePolicy,
}

/// Makes a plan ready for the wire.
///
/// # Errors
/// Everything that is wrong with it, in the order of its actions.
pub fn prepare(plan: &Plan, context: &PrepareContext<'_>) -> Result<Vec<Step>, Vec<PlanProblem>> {
    let mut steps = Vec::with_capacity(plan.actions.len());
    let mut problems = Vec::new();
    for (index, action) in plan.actions.iter().enumerate() {
        // References count actions, and so do steps: the index is the ordinal.
        let ordinal = u32::try_from(index).unwrap_or(u32::MAX);
        let mut refusals = Vec::new();
        if let Some(step) = step(plan, action, ordinal, context, &mut refusals) {
            steps.push(step);
        }
        problems.extend(refusals.into_iter().map(|refusal| problem(&action.at, ordinal, refusal)));
    }
    if problems.is_empty() { Ok(steps) } else { Err(problems) }
}

/// The look-ups of a read (`person::find(..)`), which stands outside any plan. Empty when no criterion is left.
///
/// # Errors
/// The first thing that is wrong with the criteria.
pub fn lookups(kind: Kind, criteria: &Criteria, at: &At, context: &PrepareContext<'_>) -> Result<Vec<Lookup>, PlanProblem> {
    let mut reader = Reader { context, actions: &[], ordinal: 0, on_unknown: OnUnknown::Drop, said: Said::default() };
    reader.lookups(kind, criteria).map_err(|refusal| problem(at, 0, refusal))
}

/// Places a refusal.
pub(super) fn problem(at: &At, ordinal: u32, refusal: Refusal) -> PlanProblem {
    let Refusal { kind, message, help, value, unknown, adds } = refusal;
    PlanProblem { at: at.clone(), ordinal, message, help, value, kind, unknown, adds }
}

static NO_OPTIONS: Options = Options {
    on_create: Vec::new(),
    if_empty: Vec::new(),
    unless_edited: Vec::new(),
    on_empty: None,
    on_many: None,
    on_conflict: None,
    on_miss: None,
    on_missing: None,
    on_archived: None,
    on_unknown: None,
    unlinked: false,
    write: None,
    key: None,
};

fn step(plan: &Plan, action: &Action, ordinal: u32, context: &PrepareContext<'_>, refusals: &mut Vec<Refusal>) -> Option<Step> {
    let options = options_of(&action.verb);
    let mut reader = Reader {
        context,
        actions: &plan.actions,
        ordinal,
        on_unknown: options.on_unknown.unwrap_or(OnUnknown::Drop),
        said: Said::default(),
    };
    let operation = match operation(&mut reader, &action.verb) {
        Ok(operation) => Some(operation),
        Err(refusal) => {
            refusals.push(refusal);
            None
        }
    };
    // Fields are read even so: whoever mends the match wants to hear of them too.
    let (kind, fields) = fields_of(&action.verb);
    let mut read = |entries: &[FieldEntry]| reader.fields(kind, entries, refusals);
    let (fields, mut on_create, if_empty) = (read(fields), read(&options.on_create), read(&options.if_empty));
    let unless_edited = read(&options.unless_edited);
    if let Some(Operation::Upsert { kind, lookups, .. }) = &operation {
        let given = [fields.as_slice(), &unless_edited, &if_empty].concat();
        required::write_match_values(*kind, lookups, context.metadata, &given, &mut on_create);
    }
    let operation = operation?;
    let destructive = matches!(operation, Operation::Delete { .. } | Operation::Merge { .. } | Operation::Convert { .. });
    let step = Step {
        ordinal,
        at: action.at.clone(),
        fields,
        on_create,
        if_empty,
        unless_edited,
        on_empty: options.on_empty.unwrap_or(OnEmpty::Skip),
        on_many: options.on_many.unwrap_or(if destructive { OnMany::Fail } else { OnMany::Oldest }),
        on_conflict: options.on_conflict.unwrap_or(OnConflict::Fail),
        on_miss: options.on_miss.unwrap_or(OnMiss::Fail),
        on_missing: options.on_missing.unwrap_or(OnMissing::Fail),
        on_archived: options.on_archived.unwrap_or_default(),
        unlinked: options.unlinked,
        write: options.write.unwrap_or(context.write),
        key: key(&operation, options, ordinal, context),
        decisions: reader.said.decisions(),
        dropped: reader.said.dropped,
        warnings: reader.said.warnings,
        operation,
    };
    // A field whose value was refused is not missing as well.
    if refusals.is_empty() {
        required::check(&step, refusals);
    }
    Some(step)
}

fn options_of(verb: &Verb) -> &Options {
    match verb {
        Verb::Upsert { options, .. }
        | Verb::Create { options, .. }
        | Verb::Update { options, .. }
        | Verb::Delete { options, .. }
        | Verb::Merge { options, .. }
        | Verb::Convert { options, .. } => options,
        Verb::Request { .. } => &NO_OPTIONS,
    }
}

fn fields_of(verb: &Verb) -> (Kind, &[FieldEntry]) {
    match verb {
        Verb::Upsert { kind, fields, .. } | Verb::Create { kind, fields, .. } | Verb::Update { kind, fields, .. } => {
            (*kind, fields)
        }
        // The stage and pipeline are those of the deal that it becomes.
        Verb::Convert { fields, .. } => (Kind::Deal, fields),
        Verb::Delete { kind, .. } | Verb::Merge { kind, .. } => (*kind, &[]),
        Verb::Request { .. } => (Kind::Note, &[]),
    }
}

fn operation(reader: &mut Reader<'_>, verb: &Verb) -> Result<Operation, Refusal> {
    Ok(match verb {
        Verb::Upsert { kind, criteria, .. } => Operation::Upsert { kind: *kind, lookups: reader.lookups(*kind, criteria)? },
        Verb::Create { kind, .. } => Operation::Create { kind: *kind },
        Verb::Update { kind, target, .. } => Operation::Update { kind: *kind, target: reader.target(*kind, target)? },
        Verb::Delete { kind, target, .. } => Operation::Delete { kind: *kind, target: reader.target(*kind, target)? },
        Verb::Merge { kind, keep, drop, .. } => merge(reader, *kind, keep, drop)?,
        Verb::Convert { target, fields, .. } => {
            required::only_stage_and_pipeline(fields)?;
            Operation::Convert { target: reader.target(Kind::Lead, target)? }
        }
        Verb::Request { method, path, body } => {
            if !path.starts_with("/api/") || path.contains(['\n', '\r', ' ']) || path.contains("..") {
                return Err(Refusal::value("the path of a request starts with `/api/v2/` or `/api/v1/` and has no spaces")
                    .showing(&path.as_str().into()));
            }
            Operation::Request { method: *method, path: path.clone(), body: body.clone() }
        }
    })
}

fn merge(reader: &mut Reader<'_>, kind: Kind, keep: &Target, drop: &Target) -> Result<Operation, Refusal> {
    if !matches!(kind, Kind::Person | Kind::Organization | Kind::Deal) {
        return Err(Refusal::name(format!("Pipedrive cannot merge {}", super::field::plural(kind)))
            .help("persons, organizations and deals can be merged"));
    }
    let (keep, drop) = (reader.target(kind, keep)?, reader.target(kind, drop)?);
    if keep == drop && keep != WireTarget::Lookups(Vec::new()) {
        return Err(Refusal::link(format!("{} {kind} cannot be merged with itself", super::field::article(kind)))
            .help("give two that differ; skip the event where they are one"));
    }
    Ok(Operation::Merge { kind, keep, drop })
}

/// Notes and activities are created once per key.
fn key(operation: &Operation, options: &Options, ordinal: u32, context: &PrepareContext<'_>) -> Option<String> {
    let creates = matches!(operation, Operation::Upsert { .. } | Operation::Create { .. });
    let once = matches!(operation.kind(), Some(Kind::Note | Kind::Activity));
    (creates && once).then(|| options.key.clone().unwrap_or_else(|| format!("{}/{}/{ordinal}", context.message_id, context.rule)))
}
