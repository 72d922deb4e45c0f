//! Named points at which a test lets the process die, as by a power cut.
//!
//! Invariants: only in builds with debug assertions; without `PIPEWRIGHT_CRASH_AT` nothing happens. The process ends at once: nothing is
//! flushed, closed or answered. Where a test wants a panic instead, that is contained as any other.

/// Before a transaction of the store is committed.
pub const BEFORE_COMMIT: &str = "before_commit";
/// After it, before anybody is told.
pub const AFTER_COMMIT: &str = "after_commit";
/// Before a request is sent to Pipedrive.
pub const BEFORE_SEND: &str = "before_send";
/// After its answer came, before anything follows from it.
pub const AFTER_SEND: &str = "after_send";
/// Before a sender of events gets its answer.
pub const BEFORE_ANSWER: &str = "before_answer";
/// After a sender has its answers and has gone.
pub const AFTER_ANSWER: &str = "after_answer";

/// A copy of the store is whole, and does not have its name yet.
pub const COPIED: &str = "copied";
/// What a restore replaces is set aside, and what replaces it does not have its name yet.
pub const SET_ASIDE: &str = "set_aside";

/// All that a daemon comes to.
pub const POINTS: [&str; 6] = [BEFORE_COMMIT, AFTER_COMMIT, BEFORE_SEND, AFTER_SEND, BEFORE_ANSWER, AFTER_ANSWER];

/// `NAME:N`: die when this point is reached for the Nth time. `NAME:N:TEXT`: panic with this text instead, as a fault of ours would with
/// a value that it was working on.
pub const VARIABLE: &str = "PIPEWRIGHT_CRASH_AT";

/// Dies here if a test says so.
#[cfg(debug_assertions)]
pub(crate) fn point(name: &'static str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static WISH: OnceLock<Option<(String, AtomicU64, Option<String>)>> = OnceLock::new();
    let wish = WISH.get_or_init(|| {
        let text = std::env::var(VARIABLE).ok()?;
        let mut parts = text.splitn(3, ':');
        let (name, count) = (parts.next()?, parts.next()?);
        Some((name.to_owned(), AtomicU64::new(count.parse().ok()?), parts.next().map(str::to_owned)))
    });
    if let Some((wanted, left, text)) = wish
        && wanted == name
        && left.fetch_sub(1, Ordering::Relaxed) == 1
    {
        if let Some(text) = text {
            panic!("a test wants a panic: {text}");
        }
        tracing::error!(point = name, "the point is reached at which a test wants this process to die");
        std::process::abort();
    }
}

/// Dies here if a test says so.
#[cfg(not(debug_assertions))]
#[expect(clippy::missing_const_for_fn, reason = "the same signature in every build")]
pub(crate) fn point(_name: &'static str) {}
