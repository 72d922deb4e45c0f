//! What is logged of a panic.
//!
//! Invariant: the place and, when it is a text of our own code, the message; never a text that was put together while it ran. That one
//! may show what was being worked on: slicing a text beside a character's border panics with the text itself.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::{self, PanicHookInfo};

use tokio::task::JoinError;

/// What stands for a message that may hold values.
const WITHHELD: &str = "left out, for it may hold values of an event";

/// From now on panics of this process are log lines, in place of Rust's own report.
pub fn log_panics() {
    panic::set_hook(Box::new(log));
}

fn log(info: &PanicHookInfo<'_>) {
    let place = info.location().map(ToString::to_string);
    let thread = std::thread::current();
    // Taken when RUST_BACKTRACE asks for it; it names functions and places, and no values.
    let trace = Backtrace::capture();
    let trace = (trace.status() == BacktraceStatus::Captured).then_some(trace);
    tracing::error!(
        place,
        thread = thread.name(),
        says = message(info.payload()),
        backtrace = trace.as_ref().map(tracing::field::display),
        "panicked; this is a fault of Pipewright: report it with the place"
    );
}

/// The message, when it is a constant.
fn message(payload: &(dyn Any + Send)) -> &'static str {
    payload.downcast_ref::<&'static str>().copied().unwrap_or(WITHHELD)
}

/// How a task ended that should not have: without the message of a panic, which tokio would repeat.
#[must_use]
pub fn how_it_ended(error: &JoinError) -> &'static str {
    if error.is_panic() { "it panicked; the log says where" } else { "it was cancelled" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_constant_messages_are_shown() {
        let payload = |body: fn()| panic::catch_unwind(body).expect_err("it panics");
        assert_eq!(message(&*payload(|| panic!("a constant"))), "a constant");
        assert_eq!(message(&*payload(|| panic!("zoe{}", std::process::id()))), WITHHELD);
    }
}
