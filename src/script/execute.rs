//! One run on the present thread.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use rhai::{CallFnOptions, Dynamic, EvalAltResult, Scope};

use super::errors;
use super::program::{ENTRY, Program};
use super::run::{Outcome, RunReport, RunRequest, ScriptError, ScriptErrorKind};
use super::state::{self, Bounds, Ended, Stop};
use crate::diagnostic::Diagnostic;

/// Runs a script on this thread, which needs a stack of 64 MB: deep scripts exhaust smaller ones and abort the process. For
/// benches and tests; the daemon uses a [`Pool`](super::Pool).
#[must_use]
pub fn run_blocking(program: &Program, request: RunRequest) -> RunReport {
    let (started, cpu) = (state::now(), thread_cpu());
    let limits = &program.limits;
    let bounds = Bounds {
        operations: limits.max_operations,
        deadline: limits.deadline.get(),
        actions: limits.max_actions,
        reads: limits.max_reads,
    };
    let known = request.memo.0.len();
    state::begin(request.script.clone(), request.memo, bounds);
    // Whatever the script made is dropped in here.
    let result = catch_unwind(AssertUnwindSafe(|| call(program, &request.script, &request.payload)));
    let about = errors::About { program, script: &request.script, message_id: &request.message_id };
    let Some(ended) = state::end() else {
        let problem = Diagnostic::error("the run's state is gone; this is a defect of Pipewright");
        let outcome = failed(ScriptErrorKind::Panic, about.finish(problem));
        return RunReport {
            outcome,
            logs: Vec::new(),
            operations: 0,
            elapsed: started.elapsed(),
            cpu: thread_cpu().saturating_sub(cpu),
        };
    };
    let Ended { plan, logs, stop, operations, reads } = ended;
    let outcome = match (stop, result) {
        // A run that has been stopped may go on in disorder until it ends: what stopped it counts.
        (None, Err(panic)) if is_of_sort(&*panic) => failed(
            ScriptErrorKind::Runtime,
            about.finish(
                Diagnostic::error("the function given to `sort` puts the values in no order")
                    .help("answer a number below 0, 0, or above 0, and the opposite when the two values change places"),
            ),
        ),
        (None, Err(_)) => failed(
            ScriptErrorKind::Panic,
            about
                .finish(Diagnostic::error("the interpreter failed; the failure was contained").help("report it with the script")),
        ),
        (Some(Stop::Read(read, at)), _) => Outcome::Read { read, at, so_far: plan },
        (Some(Stop::Skip(reason)), _) => Outcome::Skip(reason),
        (Some(Stop::Fail(reason)), _) => Outcome::Fail(reason),
        (Some(Stop::Retry(reason, after)), _) => Outcome::Retry(reason, after),
        (Some(Stop::Error { kind, message, help, at }), result) => {
            failed(kind, about.stopped(message, help, at.as_ref(), result.ok().and_then(Result::err)))
        }
        (None, Ok(Err(problem))) => {
            let (kind, diagnostic) = about.raised(&problem);
            failed(kind, diagnostic)
        }
        (None, Ok(Ok(()))) if reads < known => failed(
            ScriptErrorKind::Divergence,
            about.finish(Diagnostic::error(format!("the script read {reads} times; before, it had read {known} times"))),
        ),
        (None, Ok(Ok(()))) => Outcome::Plan(plan),
    };
    RunReport { outcome, logs, operations, elapsed: started.elapsed(), cpu: thread_cpu().saturating_sub(cpu) }
}

/// Whether a panic is the standard library's about a comparison that contradicts itself.
fn is_of_sort(panic: &(dyn std::any::Any + Send)) -> bool {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.is_some_and(|text| text.contains("does not correctly implement a total order"))
}

/// What this thread has taken of the processor.
#[cfg(unix)]
fn thread_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.try_into().unwrap_or_default()
}

#[cfg(not(unix))]
const fn thread_cpu() -> Duration {
    Duration::ZERO
}

fn failed(kind: ScriptErrorKind, diagnostic: Diagnostic) -> Outcome {
    Outcome::Error(Box::new(ScriptError { kind, diagnostic }))
}

fn call(program: &Program, script: &Arc<str>, payload: &[u8]) -> Result<(), Raised> {
    let Some(script) = program.scripts.get(&**script) else { return Err(Raised::NoScript) };
    let event: Dynamic = serde_json::from_slice(payload).map_err(|e| Raised::Payload(e.to_string()))?;
    let mut scope = Scope::new();
    let options = CallFnOptions::new().rewind_scope(false);
    program
        .engine
        .call_fn_with_options::<Dynamic>(options, &mut scope, &script.ast, ENTRY, (event,))
        .map(drop)
        .map_err(Raised::Script)
}

/// Why a run ended with an error.
#[derive(Debug)]
pub(super) enum Raised {
    /// The program has no such script.
    NoScript,
    /// The event is no JSON.
    Payload(String),
    /// The script.
    Script(Box<EvalAltResult>),
}
