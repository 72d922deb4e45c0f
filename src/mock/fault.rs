//! Faults that tests and users put in the way of requests.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::Semaphore;

use crate::pipedrive::{Method, Request};

/// What goes wrong with a request.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Answered with this status and JSON, not carried out.
    Status {
        /// HTTP status.
        status: u16,
        /// JSON body.
        body: Value,
    },
    /// Carried out, and answered with this status all the same.
    FailedAfter {
        /// HTTP status, usually 500 or 502.
        status: u16,
    },
    /// 403 with a web page, as the firewall in front of Pipedrive answers; not carried out.
    Firewall,
    /// 429; not carried out.
    TooMany {
        /// `x-ratelimit-remaining`: 0 for the burst limit, more for the daily budget.
        remaining: u32,
        /// `x-ratelimit-reset`, in seconds.
        reset: u32,
        /// `retry-after`, in seconds.
        retry_after: Option<u32>,
    },
    /// No answer comes.
    Hang {
        /// Whether it is carried out.
        committed: bool,
    },
    /// The connection is cut before the answer.
    Cut {
        /// Whether it is carried out.
        committed: bool,
    },
    /// No connection can be made. Over HTTP this is the same as a cut.
    NoConnection,
    /// Carried out; the answer's JSON ends half-way.
    Truncated,
    /// Carried out; the answer is this JSON instead, with the true status.
    WrongJson(Value),
    /// Carried out after a while.
    Late(Duration),
    /// Carried out when the test lets it go.
    Hold(Hold),
    /// Carried out at once, and answered when the test lets it go.
    HoldAnswer(Hold),
}

/// Holds a request until it is released.
#[derive(Debug, Clone)]
pub struct Hold {
    arrived: Arc<Semaphore>,
    release: Arc<Semaphore>,
}

impl Default for Hold {
    fn default() -> Self {
        Self { arrived: Arc::new(Semaphore::new(0)), release: Arc::new(Semaphore::new(0)) }
    }
}

impl Hold {
    /// A hold that nothing has reached.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Waits until one more request has reached the hold.
    pub async fn reached(&self) {
        if let Ok(permit) = self.arrived.acquire().await {
            permit.forget();
        }
    }

    /// Lets one request go on.
    pub fn release(&self) {
        self.release.add_permits(1);
    }

    pub(super) async fn pass(&self) {
        self.arrived.add_permits(1);
        if let Ok(permit) = self.release.acquire().await {
            permit.forget();
        }
    }
}

/// Which requests a fault meets.
#[derive(Debug, Clone, Default)]
pub struct FaultMatch {
    /// Only this method.
    pub method: Option<Method>,
    /// Only paths that hold this text, their query included.
    pub path: Option<String>,
    /// Matching requests that pass before it begins.
    pub skip: u32,
    /// How many requests it meets; 0 means all that come.
    pub times: u32,
    /// Matching requests that pass between two that it meets.
    pub between: u32,
}

impl FaultMatch {
    /// The next request of this method whose path holds this text.
    #[must_use]
    pub fn next(method: Method, path: &str) -> Self {
        Self { method: Some(method), path: Some(path.to_owned()), skip: 0, times: 1, between: 0 }
    }

    /// Every request whose path holds this text, until the faults are cleared.
    #[must_use]
    pub fn always(path: &str) -> Self {
        Self { path: Some(path.to_owned()), ..Self::default() }
    }

    fn meets(&self, request: &Request) -> bool {
        self.method.is_none_or(|m| m == request.method)
            && self.path.as_deref().is_none_or(|p| request.path.contains(p) || request.target().contains(p))
    }
}

/// The faults that are set.
#[derive(Debug, Default)]
pub(super) struct Faults(VecDeque<(FaultMatch, Fault)>);

impl Faults {
    pub(super) fn add(&mut self, which: FaultMatch, fault: Fault) {
        self.0.push_back((which, fault));
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The fault that meets a request; used up when its times are over.
    pub(super) fn take(&mut self, request: &Request) -> Option<Fault> {
        for i in 0..self.0.len() {
            let (which, _) = &mut self.0[i];
            if !which.meets(request) {
                continue;
            }
            if which.skip > 0 {
                which.skip -= 1;
                continue;
            }
            if which.times == 1 {
                return self.0.remove(i).map(|(_, fault)| fault);
            }
            which.times = which.times.saturating_sub(1);
            which.skip = which.between;
            return Some(self.0[i].1.clone());
        }
        None
    }
}
