//! `[server]` and `[admin]`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Bytes, SecretRef, Span};

/// Most events that a batch may be allowed to hold. A batch is stored whole or not at all, in one transaction, and nothing else is stored
/// meanwhile; so many may wait for the store at once, too.
pub const MAX_BATCH_EVENTS: usize = 16_384;

/// The event listener, the data folder and the limits at the door. A change of `listen` or `data_dir` needs a restart.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServerConfig {
    /// Where events are received.
    pub listen: SocketAddr,
    /// Store, last good script set and command socket live here; relative to the folder of `rules.toml`.
    pub data_dir: PathBuf,
    /// Origins that browsers may send from; empty: no CORS headers.
    pub cors_origins: Vec<String>,
    /// Largest single event, decoded.
    pub max_event: Bytes,
    /// Largest batch, decoded.
    pub max_batch: Bytes,
    /// Most events in a batch; [`MAX_BATCH_EVENTS`] at most.
    pub max_batch_events: usize,
    /// Deliveries that may wait; while there are more, events that a rule wants are refused with 429.
    pub max_backlog: u64,
    /// Open connections; further ones wait in the accept queue.
    pub max_connections: usize,
    /// How long a client may take for its headers.
    pub header_timeout: Span,
    /// How long a client may take for its body.
    pub body_timeout: Span,
    /// Within it a (source, messageId) is processed once.
    pub dedupe_window: Span,
    /// How long a stop waits for running deliveries.
    pub shutdown_grace: Span,
}

impl ServerConfig {
    /// The folder of the store, within a data directory: what was written to an embedded Pipedrive is not mixed with the rest.
    #[must_use]
    pub fn store_dir(data_dir: &Path, mocked: bool) -> PathBuf {
        if mocked { data_dir.join("mock") } else { data_dir.to_owned() }
    }
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            data_dir: PathBuf::from("data"),
            cors_origins: Vec::new(),
            max_event: Bytes(32 * 1024),
            max_batch: Bytes(500 * 1024),
            max_batch_events: 2500,
            max_backlog: 1_000_000,
            max_connections: 10_000,
            header_timeout: Span::secs(10),
            body_timeout: Span::secs(30),
            dedupe_window: Span::secs(24 * 3600),
            shutdown_grace: Span::secs(20),
        }
    }
}

/// The admin listener: admin API, metrics, health.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdminConfig {
    /// Where; loopback unless a token is set.
    pub listen: SocketAddr,
    /// Bearer token that every admin request must carry (health probes excepted); required off loopback.
    pub token: Option<SecretRef>,
}

impl Default for AdminConfig {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 8081)), token: None }
    }
}
