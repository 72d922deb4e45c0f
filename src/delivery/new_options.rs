//! Plans that want options which the account does not have (`on_unknown: "create"`).
//!
//! Invariants: nothing is added for a plan that is refused for another reason, so the plan is first made ready as if the options were
//! there; an option's id is part of the plan, so it is added before the plan is pinned, and a repeated attempt finds it.

use std::sync::Arc;

use super::attempt::Attempt;
use super::decide::prepare_with;
use super::trouble::{Trouble, Whose};
use crate::config::Writes;
use crate::crm::{Account, Metadata, NewOption};
use crate::event::Event;
use crate::failure::FailureClass;
use crate::plan::{Plan, PlanProblem, Step};

/// More new options than this in one delivery are a field that takes free text, not a list.
const MOST: usize = 20;

/// What the options are wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aim {
    /// To be written.
    Write,
    /// To show a script its own plan so far: nothing is added.
    Show,
}

/// Makes a plan ready whose problems are all that options are missing; else answers the problems that are left.
pub(super) async fn make_ready(
    attempt: &Attempt,
    account: &Arc<Account>,
    metadata: &Metadata,
    plan: &Plan,
    event: &Event,
    problems: Vec<PlanProblem>,
    aim: Aim,
) -> Result<Result<Vec<Step>, Vec<PlanProblem>>, Trouble> {
    let mut assumed = metadata.clone();
    let mut wanted: Vec<(u32, NewOption)> = Vec::new();
    let mut problems = problems;
    let mut steps = loop {
        let known = wanted.len();
        for (ordinal, option) in problems.iter().filter_map(|p| Some((p.ordinal, p.adds.clone()?))) {
            if !wanted.iter().any(|(_, w)| *w == option) {
                assumed.assume_option(&option, u32::try_from(wanted.len() + 1).unwrap_or(u32::MAX));
                wanted.push((ordinal, option));
            }
        }
        if wanted.len() == known || problems.iter().any(|p| p.adds.is_none()) {
            // What would have been added is not what is wrong.
            if problems.iter().any(|p| p.adds.is_none()) {
                problems.retain(|p| p.adds.is_none());
            }
            return Ok(Err(problems));
        }
        if wanted.len() > MOST {
            return Err(Trouble::permanent(format!(
                "the plan would add more than {MOST} options to Pipedrive (on_unknown: create); use a text field for free text"
            ))
            .plain());
        }
        match prepare_with(attempt, account, &assumed, plan, event)? {
            Ok(steps) => break steps,
            Err(left) => problems = left,
        }
    };
    let observe = account.config.writes == Writes::Off;
    if aim == Aim::Show || observe {
        note(&mut steps, &wanted, metadata, "would add");
        return Ok(Ok(steps));
    }
    let session = attempt.session(account);
    let mut added = Vec::new();
    for (ordinal, option) in wanted {
        if account.add_option(&session, &option).await.map_err(repeatable)? {
            added.push((ordinal, option));
        }
    }
    let prepared = prepare_with(attempt, account, &account.metadata(), plan, event)?;
    Ok(prepared.map(|mut steps| {
        note(&mut steps, &added, metadata, "added");
        steps
    }))
}

fn note(steps: &mut [Step], options: &[(u32, NewOption)], metadata: &Metadata, did: &str) {
    for (ordinal, option) in options {
        if let Some(step) = steps.iter_mut().find(|s| s.ordinal == *ordinal) {
            let field = option.field_name(metadata);
            step.warnings.push(format!("{did} the option `{}` to `{field}` in Pipedrive (on_unknown: create)", option.label));
        }
    }
}

/// Whether it was added is looked up before it is added, so an unknown outcome is nothing to be careful about.
fn repeatable(error: crate::pipedrive::ApiError) -> Trouble {
    let trouble = Trouble::from(error);
    match trouble.class {
        FailureClass::UnknownOutcome => Trouble { class: FailureClass::Transient, whose: Whose::Account, ..trouble },
        _ => trouble,
    }
}
