//! Watches the files, builds and gates a changed set, and swaps it in.
//!
//! Invariants:
//! - The live set changes whole, by one swap, and only to a set that has compiled and passed what its `[reload] require` asks. What is
//!   refused leaves everything as it was, and status, log and metrics say why.
//! - While a set is tried, files that change again take its place: the newest wins. A stop waits for no trial.
//! - The watcher only says *when* to look. Whatever it reports, all files are read again and the hash of their content decides;
//!   what it misses is found by a slow poll.
//! - The last set that went live is in the store. A start whose files are refused goes on with it, loudly: with its scripts and with all
//!   of its settings, those of the store included. A set that was live before is not tried again.
//! - A set that was rolled back to stays live until `unpin`, across restarts: files are looked at, tried and told, and not swapped in.
//! - Nothing is read, compiled or hashed on the runtime's workers.

mod gate;
mod handle;
mod hangup;
mod look;
mod outcome;
mod pin;
mod reloader;
mod rollback;
mod start;
mod stored;
mod versions;
mod watch;

pub use gate::TestCounts;
pub use handle::{Handle, HandleEnd, Refused, ReloadOutcome, ReloadStatus, Request};
pub use pin::Pin;
pub use reloader::Reloader;
pub use rollback::{RollbackRequest, RolledBack, VersionError};
pub use start::{Chosen, MetadataSource, Prepared, Started, prepare};
pub use stored::{StoredError, last_live};
pub use versions::{FileRef, KeptVersion, LiveBy, Versions, WentLive, kept_version, set_texts};
pub(crate) use watch::Watch;
