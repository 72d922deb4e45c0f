//! The door: Segment's Tracking API and webhooks over HTTP.
//!
//! Invariants:
//! - 200 leaves only after [`Store::append`] returned. Overload and a failing store answer 429 or 503 with `Retry-After`, never
//!   400 and never 200.
//! - An [`Event`](crate::event::Event) that leaves this module is valid and complete; what is refused is refused with a reason
//!   and, when its sender is known, kept for `events list --rejected`.
//! - Write keys, webhook secrets and values of events never reach a log or a metric, and secrets never the store.
//! - A request uses one script set from start to end.
//! - Unread bodies are drained up to a bound, so that a refused request leaves its connection usable.
//!
//! The way of a request: `server` (connections) → `door` (routes, answers) → `body` (limits, gzip) → `tracking` or `webhook` (who
//! sends, which events) → `decode` (each event) → `accept` (triggers, store). Pipedrive's own webhooks go from `body` to `pipedrive`, and are no
//! events.

mod accept;
mod auth;
mod batch;
mod body;
mod complaints;
mod cors;
mod decode;
mod door;
mod files;
mod ids;
mod integrations;
mod json;
mod ordering;
mod pipedrive;
#[doc(hidden)]
pub mod pure;
mod refused;
mod rejection;
mod replay;
mod request;
mod route;
mod server;
mod timestamps;
mod tracking;
mod webhook;

use std::sync::Arc;

use tokio::sync::watch;

use crate::crm::Accounts;
use crate::rules::Live;
use crate::store::Store;
use crate::telemetry::Metrics;

pub use decode::{decode_event, decode_text};
pub use files::raise_file_limit;
pub use ordering::delivery;
pub use rejection::Rejection;
pub use replay::{Replayed, replay_unmatched};
pub use server::serve;

/// What the door needs of the daemon.
#[derive(Clone)]
pub struct Ingest {
    /// Where accepted events go.
    pub store: Arc<dyn Store>,
    /// Sources, limits and triggers.
    pub live: Live,
    /// Whom Pipedrive's webhooks are for.
    pub accounts: Accounts,
    /// What is counted.
    pub metrics: Metrics,
    /// True as soon as the daemon stops: new requests are answered 503.
    pub stopping: watch::Receiver<bool>,
}

impl std::fmt::Debug for Ingest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ingest").finish_non_exhaustive()
    }
}
