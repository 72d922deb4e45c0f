//! What a delivery is to do: the script runs until it needs nothing more, and its plan is made ready for the wire.
//!
//! Invariants: nothing is written here but options that the script wants added; a read is answered with this plan's own writes laid over it; a name that the account
//! does not have is looked for once in fresh metadata before it counts as wrong, and a value before it is dropped or refused.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::attempt::{Attempt, End};
use super::new_options::{self, Aim};
use super::policy::later;
use super::reads;
use super::shadow::{Original, Shadowed};
use super::trouble::{Trouble, Whose};
use crate::crm::{Account, Metadata};
use crate::event::Event;
use crate::failure::FailureClass;
use crate::plan::{self, Plan, PlanProblem, PrepareContext, Step};
use crate::rules::Rule;
use crate::script::{Asked, Came, LogLine, Memo, Outcome, RunRequest};
use crate::store::{DeliveryState, StoredEvent};

/// A memo older than this is not trusted any more.
pub(super) const MEMO_AGE: Duration = Duration::from_secs(60);

/// What the script and validation came to.
pub(super) enum Decided {
    /// Steps to carry out.
    Steps(Vec<Step>),
    /// Nothing to do.
    End(End),
    /// The set was swapped or the memo grew old: begin again.
    Afresh,
}

/// Runs the script and makes its plan ready.
pub(super) async fn decide(
    attempt: &mut Attempt,
    account: &Arc<Account>,
    stored: &StoredEvent,
    event: &Event,
) -> Result<Decided, Trouble> {
    let runtime = attempt.runtime.clone();
    let began = Timestamp::now();
    let script: Arc<str> = Arc::from(attempt.rule()?.config.script.as_str());
    let has_shadow = attempt.rule()?.config.shadow.is_some() && runtime.shadows.is_some();
    let mut asked = Vec::new();
    attempt.shadowed = None;
    let plan = loop {
        let request = RunRequest {
            rule: attempt.pending.id.rule.clone(),
            script: script.clone(),
            payload: stored.payload.clone(),
            message_id: event.message_id.clone(),
            memo: Memo(attempt.reads.clone()),
        };
        let report = runtime.pool.run(attempt.set.program.clone(), request).await;
        let (rule, operations) = (&attempt.pending.id.rule, report.operations);
        runtime.metrics.script_ran(rule, outcome_word(&report.outcome), report.elapsed, report.cpu, operations);
        attempt.logs = report.logs;
        // What is released was compared when it was observed.
        if has_shadow && attempt.pending.released_at.is_none() {
            attempt.shadowed = Came::of(&report.outcome).map(|came| Shadowed {
                id: attempt.pending.id.clone(),
                set: attempt.set.clone(),
                payload: stored.payload.clone(),
                message_id: event.message_id.clone(),
                original: Original { came, asked: std::mem::take(&mut asked), memo: Memo(attempt.reads.clone()) },
            });
        }
        match report.outcome {
            Outcome::Plan(plan) => break plan,
            Outcome::Skip(reason) => return Ok(Decided::End(End::State(DeliveryState::Skipped, Some(reason)))),
            Outcome::Fail(reason) => {
                let brief = format!("the script gave it up{}", place_of(&attempt.logs));
                return Err(Trouble::permanent(format!("the script gave it up: {reason}")).briefly(brief));
            }
            Outcome::Retry(reason, wait) => {
                let trouble =
                    Trouble::new(FailureClass::Transient, Whose::Delivery, format!("the script asks to wait: {reason}"));
                let brief = format!("the script asks to wait{}", place_of(&attempt.logs));
                return Err(Trouble { wait: Some(wait), ..trouble }.briefly(brief));
            }
            Outcome::Error(error) => return Err((*error).into()),
            Outcome::Read { read, at, so_far } => {
                let answer = reads::answer(attempt, account, &read, &at, &so_far, event).await?;
                if has_shadow {
                    asked.push(Asked { read: read.clone(), so_far });
                }
                attempt.reads.push((read, answer));
                let swapped = runtime.live.load().version != attempt.set.version;
                if swapped || Timestamp::now() > later(began, MEMO_AGE) {
                    return Ok(Decided::Afresh);
                }
            }
        }
    };
    if plan.actions.is_empty() {
        let reason = "the script asked for nothing".to_owned();
        return Ok(Decided::End(End::State(DeliveryState::Skipped, Some(reason))));
    }
    prepare(attempt, account, &plan, event, Aim::Write).await.map(Decided::Steps)
}

/// Makes a plan ready, with one look at fresh metadata when a name or a value is not known, and with the options that it adds to the account.
pub(super) async fn prepare(
    attempt: &Attempt,
    account: &Arc<Account>,
    plan: &Plan,
    event: &Event,
    aim: Aim,
) -> Result<Vec<Step>, Trouble> {
    let session = attempt.session(account);
    let mut metadata = account.ready_metadata(&session).await?;
    let mut prepared = prepare_with(attempt, account, &metadata, plan, event)?;
    let fresh = match missing(&prepared) {
        Some(Missing::Name) => Some(account.refresh_metadata(&session).await?),
        Some(Missing::Value) => Some(account.refresh_for_value(&session).await?),
        None => None,
    };
    if let Some(fresh) = fresh.filter(|fresh| !Arc::ptr_eq(&metadata, fresh)) {
        prepared = prepare_with(attempt, account, &fresh, plan, event)?;
        metadata = fresh;
    }
    let mut problems = match prepared {
        Ok(steps) => return Ok(steps),
        Err(problems) => problems,
    };
    if problems.iter().any(|p| p.adds.is_some()) {
        match new_options::make_ready(attempt, account, &metadata, plan, event, problems, aim).await? {
            Ok(steps) => return Ok(steps),
            Err(left) => problems = left,
        }
    }
    Err(Trouble::plan(&attempt.set, &problems))
}

/// What fresh metadata may have and this has not.
enum Missing {
    /// A name in the script.
    Name,
    /// A value in the event, which is dropped or refused.
    Value,
}

fn missing(prepared: &Result<Vec<Step>, Vec<PlanProblem>>) -> Option<Missing> {
    match prepared {
        Ok(steps) => steps.iter().any(|step| step.dropped).then_some(Missing::Value),
        Err(problems) if problems.iter().any(|p| p.class() == FailureClass::Misconfigured) => Some(Missing::Name),
        // What would be added is looked for by itself before.
        Err(problems) => problems.iter().any(|p| p.unknown && p.adds.is_none()).then_some(Missing::Value),
    }
}

pub(super) fn prepare_with(
    attempt: &Attempt,
    account: &Account,
    metadata: &Metadata,
    plan: &Plan,
    event: &Event,
) -> Result<Result<Vec<Step>, Vec<PlanProblem>>, Trouble> {
    Ok(plan::prepare(plan, &context(attempt, account, metadata, event)?))
}

/// What the attempt's plans are made ready against.
pub(super) fn context<'a>(
    attempt: &'a Attempt,
    account: &'a Account,
    metadata: &'a Metadata,
    event: &'a Event,
) -> Result<PrepareContext<'a>, Trouble> {
    Ok(context_of(attempt.rule()?, account, metadata, event))
}

/// What a rule's plans are made ready against.
pub(super) fn context_of<'a>(
    rule: &'a Rule,
    account: &'a Account,
    metadata: &'a Metadata,
    event: &'a Event,
) -> PrepareContext<'a> {
    PrepareContext {
        metadata,
        match_fields: &account.config.match_fields,
        rule: &rule.name,
        message_id: &event.message_id,
        write: rule.config.write,
    }
}

/// Where the script ended its run: it is the last that it logged.
fn place_of(logs: &[LogLine]) -> String {
    logs.last().map(|line| format!(" at scripts/{}:{}", line.file, line.line)).unwrap_or_default()
}

const fn outcome_word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Plan(_) => "plan",
        Outcome::Read { .. } => "read",
        Outcome::Skip(_) => "skip",
        Outcome::Fail(_) => "fail",
        Outcome::Retry(..) => "retry",
        Outcome::Error(_) => "error",
    }
}
