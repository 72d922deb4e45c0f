//! Watches the files, builds and gates a changed set, and swaps it in.
//!
//! Invariants:
//! - The live set changes whole, by one swap, and only to a set that has compiled and passed `check`. What is refused leaves
//!   everything as it was, and status, log and metrics say why.
//! - The watcher only says *when* to look. Whatever it reports, all files are read again and the hash of their content decides;
//!   what it misses is found by a slow poll.
//! - The last set that went live is in the store. A start whose files are refused goes on with it, loudly: with its scripts and with all
//!   of its settings, those of the store included.
//! - Nothing is read, compiled or hashed on the runtime's workers.

mod handle;
mod reloader;
mod start;
mod stored;
mod watch;

pub use handle::{Handle, HandleEnd, Refused, ReloadOutcome, ReloadStatus};
pub use reloader::Reloader;
pub use start::{Chosen, MetadataSource, Prepared, RefusedFiles, Started, prepare};
pub use stored::{StoredError, last_live};
