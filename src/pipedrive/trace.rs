//! The record of every exchange with Pipedrive that an attempt caused.

use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ApiError, Method, Request};

/// What a request is for, in records, metrics and the budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// A match is resolved or a script reads.
    Lookup,
    /// A write.
    Write,
    /// A present value is read before it is merged or replaced.
    ReadBeforeWrite,
    /// An unknown outcome is reconciled.
    Reconcile,
    /// Fields, stages, users, labels.
    Metadata,
    /// A list is read so that what is not in the match index is known not to be there.
    Mirror,
    /// A person asked for a report.
    Report,
    /// Whether Pipedrive tells what changes is looked after.
    Webhooks,
}

impl Purpose {
    /// As it stands in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lookup => "lookup",
            Self::Write => "write",
            Self::ReadBeforeWrite => "read_before_write",
            Self::Reconcile => "reconcile",
            Self::Metadata => "metadata",
            Self::Mirror => "mirror",
            Self::Report => "report",
            Self::Webhooks => "webhooks",
        }
    }
}

/// One request and what came back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exchange {
    /// When it was sent.
    pub at: jiff::Timestamp,
    /// What for.
    pub purpose: Purpose,
    /// Method.
    pub method: Method,
    /// Path with query.
    pub path: String,
    /// Body sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
    /// Status, when an answer came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// What went wrong, when something did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Tokens charged.
    pub tokens: u32,
    /// Milliseconds from sending to the answer; waiting for the limiter is not in it.
    pub ms: u64,
    /// Another delivery sent it, and its answer was shared: it cost nothing here.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shared: bool,
}

/// Collects the exchanges of one attempt. Clones share the list.
#[derive(Debug, Clone, Default)]
pub struct Trace(Arc<Mutex<Vec<Exchange>>>);

impl Trace {
    /// Adds an exchange.
    pub fn push(&self, exchange: Exchange) {
        self.0.lock().push(exchange);
    }

    /// Notes a GET that another delivery has sent, and whose answer it shares.
    pub fn shared(&self, request: &Request, purpose: Purpose, at: jiff::Timestamp, error: Option<&ApiError>) {
        self.push(Exchange {
            at,
            purpose,
            method: request.method,
            path: request.target(),
            body: None,
            status: error.is_none().then_some(200),
            error: error.map(|error| error.kind.to_string()),
            tokens: 0,
            ms: 0,
            shared: true,
        });
    }

    /// How many there are so far.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.lock().len()
    }

    /// When the oldest was sent whose answer was shared, but for the first so many exchanges.
    #[must_use]
    pub fn shared_after(&self, count: usize) -> Option<jiff::Timestamp> {
        self.0.lock().iter().skip(count).filter(|exchange| exchange.shared).map(|exchange| exchange.at).min()
    }

    /// All so far, in order of sending.
    #[must_use]
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.0.lock().clone()
    }
}
