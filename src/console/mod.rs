//! The admin API: health, metrics, events and their decision records, ids of existing records, reload, pause and resume.
//!
//! Invariants:
//! - Off loopback every request carries the token, health probes excepted; on loopback without a token only requests that
//!   name a local host are answered, so that no web page reaches the API by rebinding its name.
//! - Requests that change something carry JSON, so that no web page can send them without being asked first.
//! - The same router serves the Unix socket, where the file's mode is the proof.
//! - Nothing here decides: what changes something goes through the handles of delivery and reload.

mod budget;
mod causes;
mod control;
mod edit;
mod events;
mod forget;
mod guard;
mod health;
mod ids;
mod problem;
mod query;
mod revert;
mod serve;
mod shadow;
mod socket;
mod types;
mod versions;
mod webhooks;

pub use budget::{BudgetList, BudgetQuery};
pub use causes::CauseList;
pub use edit::EditRequest;
pub use forget::{ForgetAnswer, ForgetRequest, SoFar};
pub use guard::Access;
pub use ids::IdsRequest;
pub use query::{EventsQuery, parse_since};
pub use revert::RevertRequest;
pub use serve::{ConsoleError, serve, serve_socket};
pub use shadow::{ShadowList, ShadowListed, ShadowOfRule, ShadowQuery};
pub use socket::{CommandSocket, SOCKET_NAME, SocketError, bind, connect, socket_path};
pub use types::{
    DeliveryDetail, DiscardAnswer, EventDetail, EventDetails, EventList, Paused, Problem, ReleaseAnswer, ReplayAnswer,
    ReplayRequest, ScopeRequest, Selection, SetStatus, Status, UnmatchedReplay,
};
pub use versions::{LIVE_WORD, RollbackRefused, VersionDetail, VersionFiles, VersionList};
pub use webhooks::{Ended, WebhooksAnswer, WebhooksOf, WebhooksRequest};

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

use crate::crm::Accounts;
use crate::crm::budget::Ledger;
use crate::delivery;
use crate::reload;
use crate::rules::Live;
use crate::store::Store;
use crate::telemetry::Metrics;

/// What the admin API shows and commands.
#[derive(Clone)]
pub struct State {
    /// Events, deliveries, records.
    pub store: Arc<dyn Store>,
    /// The live script set.
    pub live: Live,
    /// The scheduler.
    pub delivery: delivery::Handle,
    /// Where ids of existing records go.
    pub ids: delivery::IdImport,
    /// The accounts, for their webhooks.
    pub accounts: Accounts,
    /// Undo.
    pub revert: delivery::Revert,
    /// The reloader.
    pub reload: reload::Handle,
    /// The tokens of the accounts.
    pub ledger: Ledger,
    /// Counters.
    pub metrics: Metrics,
    /// When the daemon started.
    pub started_at: jiff::Timestamp,
    /// Pipewright's version.
    pub version: &'static str,
    /// Replays of unmatched events go one after the other: each sees what the one before has made.
    pub replaying: Arc<tokio::sync::Mutex<()>>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("started_at", &self.started_at).field("version", &self.version).finish_non_exhaustive()
    }
}

/// The admin API, guarded as `access` says.
pub fn router(state: State, access: Access) -> Router {
    let live = state.live.clone();
    let routes = Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        .route("/api/status", get(health::status))
        .route("/api/events", get(events::list))
        .route("/api/events/replay", post(control::replay))
        .route("/api/events/edit", post(edit::edit))
        .route("/api/events/release", post(control::release))
        .route("/api/events/discard", post(control::discard))
        .route("/api/events/{id}", get(events::show))
        .route("/api/events/{seq}/{rule}", get(events::show_delivery))
        .route("/api/budget", get(budget::list))
        .route("/api/causes", get(causes::list))
        .route("/api/ids", post(ids::import))
        .route("/api/forget", post(forget::forget))
        .route("/api/revert", post(revert::revert))
        .route("/api/reload", post(control::reload))
        .route("/api/shadow", get(shadow::list))
        .route("/api/versions", get(versions::list))
        .route("/api/versions/{version}", get(versions::show))
        .route("/api/versions/{version}/files", get(versions::files))
        .route("/api/rollback", post(versions::rollback))
        .route("/api/unpin", post(versions::unpin))
        .route("/api/webhooks/register", post(webhooks::register))
        .route("/api/webhooks/check", post(webhooks::check))
        .route("/api/webhooks/remove", post(webhooks::remove))
        .route("/api/pause", post(control::pause))
        .route("/api/resume", post(control::resume))
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::wrong_method)
        .with_state(state);
    guard::guarded(routes, access, live)
}
