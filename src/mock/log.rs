//! The log of every exchange, for tests and for people.

use std::collections::VecDeque;

use serde::Serialize;
use serde_json::Value;

use crate::pipedrive::Method;

/// One request that reached the mock, and what it answered.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MockExchange {
    /// When, by the mock's clock.
    pub at: jiff::Timestamp,
    /// Method.
    pub method: Method,
    /// Path without query.
    pub path: String,
    /// Query parameters.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub query: Vec<(String, String)>,
    /// JSON body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
    /// Status; `None` when no answer was given.
    pub status: Option<u16>,
    /// Whether it was carried out (a refusal was not).
    pub carried_out: bool,
    /// The text of a refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Tokens charged.
    pub tokens: u32,
}

impl MockExchange {
    /// `POST /api/v2/persons`.
    #[must_use]
    pub fn call(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// The exchanges that are kept, and sums over all.
#[derive(Debug, Default)]
pub(super) struct Log {
    kept: VecDeque<MockExchange>,
    pub(super) requests: u64,
    pub(super) tokens: u64,
    pub(super) throttled: u64,
}

impl Log {
    pub(super) fn push(&mut self, exchange: MockExchange, keep: usize) {
        if keep == 0 {
            return;
        }
        while self.kept.len() >= keep {
            self.kept.pop_front();
        }
        self.kept.push_back(exchange);
    }

    pub(super) fn all(&self) -> Vec<MockExchange> {
        self.kept.iter().cloned().collect()
    }

    pub(super) fn clear(&mut self) {
        self.kept.clear();
    }
}
