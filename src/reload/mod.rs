//! Watches the files, builds and gates a changed set, and swaps it in.

mod handle;

pub use handle::{Handle, HandleEnd, Refused, ReloadOutcome, ReloadStatus};
