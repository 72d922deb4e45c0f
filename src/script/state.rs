//! What a run knows of itself, per thread.
//!
//! Invariants: once a run is stopped it stays stopped: `on_progress` ends the interpreter at its next operation, every host
//! function with an effect refuses, and the driver looks at [`Run::stop`], never at the error or value that came back. Scripts
//! can catch or swallow errors; they cannot undo a stop. Operations are counted here, over callbacks too, because the
//! interpreter starts a new count in each native callback.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rhai::{Dynamic, EvalAltResult, NativeCallContext, Position};

use super::run::{LogLevel, LogLine, Memo, Read, ScriptErrorKind};
use crate::lines;
use crate::plan::{Action, At, Plan, Verb};

/// Operations between two looks at the clock.
const CLOCK_EVERY: u64 = 128;
/// Most log lines of a run.
const MAX_LOG_LINES: usize = 100;
/// Longest log line, in bytes.
const MAX_LOG_BYTES: usize = 1000;

/// A result of a host function.
pub(super) type Hosted<T> = Result<T, Box<EvalAltResult>>;

/// Why a run ended before its script did.
#[derive(Debug)]
pub(super) enum Stop {
    /// It needs the answer of a read, which stands there.
    Read(Read, At),
    /// `skip(reason)`.
    Skip(String),
    /// `fail(reason)`.
    Fail(String),
    /// `retry(reason, seconds)`.
    Retry(String, Duration),
    /// A limit, a divergence, or a misuse that must not be swallowed.
    Error {
        /// Kind.
        kind: ScriptErrorKind,
        /// What happened.
        message: String,
        /// What to do.
        help: Option<String>,
        /// Where, when a host function knows it.
        at: Option<At>,
    },
}

/// An argument that a host function refused; travels as the value of the script error, so that `catch` can print it.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    /// What happened and why.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

/// One run's state.
#[derive(Debug)]
pub(super) struct Run {
    entry: Arc<str>,
    plan: Plan,
    memo: Memo,
    reads: usize,
    logs: Vec<LogLine>,
    logs_dropped: usize,
    stop: Option<Stop>,
    max_actions: usize,
    max_reads: usize,
    deadline: Duration,
}

/// What is left of a run when it has ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// Actions recorded.
    pub plan: Plan,
    /// Log lines.
    pub logs: Vec<LogLine>,
    /// Why it was stopped.
    pub stop: Option<Stop>,
    /// Operations used.
    pub operations: u64,
    /// Reads answered from the memo.
    pub reads: usize,
}

struct Meter {
    stopped: Cell<bool>,
    operations: Cell<u64>,
    max_operations: Cell<u64>,
    deadline: Cell<Option<Instant>>,
    parse_deadline: Cell<Option<Instant>>,
}

thread_local! {
    static METER: Meter = const { Meter {
        stopped: Cell::new(false),
        operations: Cell::new(0),
        max_operations: Cell::new(0),
        deadline: Cell::new(None),
        parse_deadline: Cell::new(None),
    } };
    static RUN: RefCell<Option<Run>> = const { RefCell::new(None) };
}

/// The wall clock of script threads.
#[expect(clippy::disallowed_methods, reason = "script threads are outside the runtime, whose clock does not reach them")]
pub(super) fn now() -> Instant {
    Instant::now()
}

/// Bounds of a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Operations, callbacks included.
    pub operations: u64,
    /// Wall-clock time.
    pub deadline: Duration,
    /// Actions.
    pub actions: usize,
    /// Reads.
    pub reads: usize,
}

/// Starts a run on this thread. [`end`] must follow.
pub(super) fn begin(entry: Arc<str>, memo: Memo, bounds: Bounds) {
    meter(bounds.operations, bounds.deadline);
    RUN.with_borrow_mut(|run| {
        *run = Some(Run {
            entry,
            plan: Plan::default(),
            memo,
            reads: 0,
            logs: Vec::new(),
            logs_dropped: 0,
            stop: None,
            max_actions: bounds.actions,
            max_reads: bounds.reads,
            deadline: bounds.deadline,
        });
    });
}

/// Starts metering without a run: module bodies are evaluated so, and host functions with effects refuse.
pub(super) fn meter(operations: u64, deadline: Duration) {
    METER.with(|m| {
        m.stopped.set(false);
        m.operations.set(0);
        m.max_operations.set(operations);
        m.deadline.set(Some(now() + deadline));
    });
}

/// Ends the run of this thread.
pub(super) fn end() -> Option<Ended> {
    let run = RUN.with_borrow_mut(Option::take)?;
    let operations = METER.with(|m| m.operations.get());
    let mut logs = run.logs;
    if run.logs_dropped > 0 {
        logs.push(LogLine {
            level: LogLevel::Warn,
            text: format!("{} further log lines were left out", run.logs_dropped),
            file: run.entry,
            line: 0,
        });
    }
    Some(Ended { plan: run.plan, logs, stop: run.stop, operations, reads: run.reads })
}

/// Called by the interpreter at every operation.
pub(super) fn on_progress(_: u64) -> Option<Dynamic> {
    METER.with(|m| {
        let operations = m.operations.get() + 1;
        m.operations.set(operations);
        if m.stopped.get() {
            return Some(Dynamic::UNIT);
        }
        if operations > m.max_operations.get() {
            over(
                ScriptErrorKind::Limit,
                format!("the script used more than {} operations", m.max_operations.get()),
                "look for a loop that does not end, or raise `max_operations` under [scripts] in rules.toml",
            );
            return Some(Dynamic::UNIT);
        }
        if operations % CLOCK_EVERY == 0 && m.deadline.get().is_some_and(|deadline| now() > deadline) {
            let deadline = RUN.with_borrow(|run| run.as_ref().map_or(Duration::ZERO, |r| r.deadline));
            over(
                ScriptErrorKind::Deadline,
                format!("the script ran longer than {}", humantime::format_duration(deadline)),
                "make it do less, or raise `deadline` under [scripts] in rules.toml",
            );
            return Some(Dynamic::UNIT);
        }
        None
    })
}

/// Whether parsing on this thread has taken too long.
pub(super) fn parse_overdue() -> bool {
    METER.with(|m| m.parse_deadline.get().is_some_and(|deadline| now() > deadline))
}

/// Gives parsing on this thread so much time from now.
pub(super) fn set_parse_deadline(allowance: Option<Duration>) {
    METER.with(|m| m.parse_deadline.set(allowance.map(|a| now() + a)));
}

fn over(kind: ScriptErrorKind, message: String, help: &str) {
    set_stop(Stop::Error { kind, message, help: Some(help.to_owned()), at: None });
}

fn set_stop(stop: Stop) {
    METER.with(|m| m.stopped.set(true));
    RUN.with_borrow_mut(|run| {
        if let Some(run) = run {
            run.stop.get_or_insert(stop);
        }
    });
}

/// True once the run is stopped.
pub(super) fn is_stopped() -> bool {
    METER.with(|m| m.stopped.get())
}

/// Stops the run for good; returns the error that unwinds the interpreter.
pub(super) fn stop(stop: Stop) -> Box<EvalAltResult> {
    set_stop(stop);
    terminated()
}

fn terminated() -> Box<EvalAltResult> {
    Box::new(EvalAltResult::ErrorTerminated(Dynamic::UNIT, Position::NONE))
}

/// An error of the script that calls: catchable, as any other.
pub(super) fn refuse(message: impl Into<String>) -> Box<EvalAltResult> {
    refuse_with(message, None)
}

/// The same, with what to do.
pub(super) fn refuse_with(message: impl Into<String>, help: Option<String>) -> Box<EvalAltResult> {
    let refusal = Refusal { message: message.into(), help };
    Box::new(EvalAltResult::ErrorRuntime(Dynamic::from(refusal), Position::NONE))
}

/// Every host function with an effect starts here: refuses when the run is stopped or when there is none.
fn with_run<T>(ctx: &NativeCallContext<'_>, act: impl FnOnce(&mut Run) -> Result<T, Stop>) -> Hosted<T> {
    if is_stopped() {
        return Err(terminated());
    }
    let result = RUN.with_borrow_mut(|run| run.as_mut().map(act));
    match result {
        Some(Ok(value)) => Ok(value),
        Some(Err(reason)) => Err(stop(reason)),
        None => Err(refuse_with(
            format!("`{}` was called while the script was loaded", ctx.fn_name()),
            Some("call it inside `fn handle(event)` or a function that `handle` calls".to_owned()),
        )),
    }
}

/// Refuses when the run is stopped or when there is none.
pub(super) fn check(ctx: &NativeCallContext<'_>) -> Hosted<()> {
    with_run(ctx, |_| Ok(()))
}

/// Where the script called the host function.
pub(super) fn call_site(ctx: &NativeCallContext<'_>) -> At {
    let entry = RUN.with_borrow(|run| run.as_ref().map(|r| r.entry.clone()));
    site(ctx, entry)
}

fn site(ctx: &NativeCallContext<'_>, entry: Option<Arc<str>>) -> At {
    let position = ctx.call_position();
    let file = match (ctx.call_source(), entry) {
        (Some(source), Some(entry)) if source == &*entry => entry,
        (Some(source), _) => Arc::from(source),
        (None, Some(entry)) => entry,
        (None, None) => Arc::from(""),
    };
    At {
        file,
        line: position.line().and_then(|l| u32::try_from(l).ok()).unwrap_or(0),
        column: position.position().and_then(|c| u32::try_from(c).ok()).unwrap_or(0),
    }
}

/// Adds an action to the plan; returns its ordinal.
pub(super) fn record(ctx: &NativeCallContext<'_>, verb: Verb) -> Hosted<u32> {
    with_run(ctx, |run| {
        let at = site(ctx, Some(run.entry.clone()));
        let ordinal = run.plan.actions.len();
        if ordinal >= run.max_actions {
            return Err(Stop::Error {
                kind: ScriptErrorKind::Limit,
                message: format!("the plan would have more than {} actions", run.max_actions),
                help: Some("raise `max_actions` under [scripts] in rules.toml, or ask for less in one event".to_owned()),
                at: Some(at),
            });
        }
        let ordinal = u32::try_from(ordinal).unwrap_or(u32::MAX);
        run.plan.actions.push(Action { ordinal, at, verb });
        Ok(ordinal)
    })
}

/// Answers a read from the memo, or stops the run to have it fetched.
pub(super) fn read(ctx: &NativeCallContext<'_>, read: Read) -> Hosted<serde_json::Value> {
    with_run(ctx, |run| {
        let sequence = run.reads;
        let at = || Some(site(ctx, Some(run.entry.clone())));
        if sequence >= run.max_reads {
            return Err(Stop::Error {
                kind: ScriptErrorKind::Limit,
                message: format!("the script read more than {} times", run.max_reads),
                help: Some("raise `max_reads` under [scripts] in rules.toml, or read less in one event".to_owned()),
                at: at(),
            });
        }
        match run.memo.0.get(sequence) {
            None => Err(Stop::Read(read, site(ctx, Some(run.entry.clone())))),
            Some((asked, _)) if *asked != read => Err(Stop::Error {
                kind: ScriptErrorKind::Divergence,
                message: format!("read {} is another one than when the script ran before", sequence + 1),
                help: None,
                at: at(),
            }),
            Some((_, answer)) => {
                let answer = answer.clone();
                run.reads += 1;
                Ok(answer)
            }
        }
    })
}

/// Checks that a run is under way, then stops it.
pub(super) fn decide(ctx: &NativeCallContext<'_>, reason: Stop) -> Box<EvalAltResult> {
    match with_run(ctx, |_| Err::<(), _>(reason)) {
        Ok(()) => terminated(),
        Err(error) => error,
    }
}

/// Ends the run because of a misuse whose error the interpreter would swallow (while printing, for one).
pub(super) fn misuse(ctx: &NativeCallContext<'_>, message: String, help: Option<String>) -> Box<EvalAltResult> {
    let at = Some(call_site(ctx)).filter(|at| at.line > 0);
    stop(Stop::Error { kind: ScriptErrorKind::Runtime, message, help, at })
}

/// Adds a log line.
pub(super) fn log(level: LogLevel, text: &str, file: Option<&str>, line: Option<usize>) {
    RUN.with_borrow_mut(|run| {
        let Some(run) = run else { return };
        if run.logs.len() >= MAX_LOG_LINES {
            run.logs_dropped += 1;
            return;
        }
        let file = file.filter(|f| **f != *run.entry).map_or_else(|| run.entry.clone(), Arc::from);
        let line = line.and_then(|l| u32::try_from(l).ok()).unwrap_or(0);
        run.logs.push(LogLine { level, text: lines::cut(text, MAX_LOG_BYTES), file, line });
    });
}
