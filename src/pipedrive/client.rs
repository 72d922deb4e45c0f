//! One account's way to Pipedrive: limiter, accounting, and what an answer means for those who wait.
//!
//! Invariants: every request that is sent is charged and recorded before its outcome is acted on; nothing is retried here; after a
//! 429 or a firewall page the whole account waits, so nothing hammers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;
use tokio::time::Instant;

use super::classify::{self, Verdict};
use super::limiter::{Limiter, PauseReason, Permit, Refused};
use super::{
    Answer, ApiError, Caller, ErrorKind, Exchange, Method, Purpose, Purse, Request, Saving, Session, Trace, Transport, cost,
};
use crate::crash;
use crate::telemetry::Metrics;

/// 429s in a row from which on it is the daily budget, whatever the headers say.
const DAILY_AFTER: u32 = 4;
/// Pauses for a spent budget: the hour of the reset is not told, so a probe finds it.
const BUDGET_PAUSE: (Duration, Duration) = (Duration::from_secs(10 * 60), Duration::from_secs(40 * 60));
/// Pauses when the firewall has shut us out.
const FIREWALL_PAUSE: (Duration, Duration) = (Duration::from_secs(5 * 60), Duration::from_secs(60 * 60));
/// The server's window.
const WINDOW: Duration = Duration::from_secs(2);

/// How an account may be used.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Requests in any 2 s, until an answer's header says otherwise.
    pub burst: u32,
    /// Searches in any 2 s.
    pub search_burst: u32,
    /// Most requests under way at once.
    pub concurrency: usize,
    /// The account's name, for logs and metrics.
    pub account: String,
    /// Where requests are counted.
    pub metrics: Option<Metrics>,
    /// Where the tokens come from; none: nobody counts them.
    pub purse: Option<Arc<dyn Purse>>,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self { burst: 20, search_burst: 10, concurrency: 8, account: "main".to_owned(), metrics: None, purse: None }
    }
}

/// How a client stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientStatus {
    /// Requests in any 2 s as known now.
    pub burst: u32,
    /// Searches in any 2 s as known now.
    pub search_burst: u32,
    /// Requests that may be under way at once: fewer than the options say after a 429, until as many have passed.
    pub concurrency: usize,
    /// Requests sent since the start.
    pub requests: u64,
    /// Tokens charged since the start.
    pub tokens: u64,
    /// Why nothing is sent, and for how long still.
    pub paused: Option<(PauseReason, Duration)>,
}

/// A client of one account. Clones share limiter and connections.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    transport: Arc<dyn Transport>,
    limiter: Arc<Limiter>,
    account: String,
    metrics: Option<Metrics>,
    purse: Option<Arc<dyn Purse>>,
    /// 429s in a row; those of requests that were under way together are one.
    throttled: Mutex<u32>,
    requests: AtomicU64,
    tokens: AtomicU64,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("account", &self.0.account).finish_non_exhaustive()
    }
}

impl Client {
    /// A client that sends through `transport`.
    #[must_use]
    pub fn new(transport: Arc<dyn Transport>, options: ClientOptions) -> Self {
        Self(Arc::new(Inner {
            transport,
            limiter: Limiter::new(options.burst, options.search_burst, options.concurrency),
            account: options.account,
            metrics: options.metrics,
            purse: options.purse,
            throttled: Mutex::new(0),
            requests: AtomicU64::new(0),
            tokens: AtomicU64::new(0),
        }))
    }

    /// Calls whose exchanges are recorded in `trace`.
    #[must_use]
    pub fn session(&self, trace: Trace) -> Session {
        Session::new(self.clone(), trace)
    }

    /// The account's name.
    #[must_use]
    pub fn account(&self) -> &str {
        &self.0.account
    }

    /// How the client stands.
    #[must_use]
    pub fn status(&self) -> ClientStatus {
        let (burst, search_burst) = self.0.limiter.limits();
        ClientStatus {
            burst,
            search_burst,
            concurrency: self.0.limiter.width(),
            requests: self.0.requests.load(Ordering::Relaxed),
            tokens: self.0.tokens.load(Ordering::Relaxed),
            paused: self.0.limiter.paused().map(|refused| (refused.reason, refused.wait)),
        }
    }

    /// Somebody has looked: a pause for the firewall or the budget ends now, and one request goes first.
    pub fn lift_pause(&self) {
        self.0.limiter.lift_pause();
    }

    /// Notes tokens that need not be spent.
    pub(super) fn saved(&self, caller: &Caller, saving: Saving, tokens: u32) {
        if let Some(purse) = &self.0.purse {
            purse.saved(caller, saving, tokens);
        }
    }

    /// Waits for a turn, takes the tokens, sends, records, judges.
    pub(super) async fn send(
        &self,
        caller: &Caller,
        trace: &Trace,
        request: &Request,
        purpose: Purpose,
    ) -> Result<Value, ApiError> {
        let inner = &*self.0;
        let write = request.method != Method::Get;
        let fail = |kind: ErrorKind| ApiError { call: request.call(), write, kind };
        let search = cost::is_search(request);

        let queued = Instant::now();
        let mut permit = inner.limiter.acquire(caller, search).await.map_err(|refused| fail(paused(refused)))?;
        if let Some(metrics) = &inner.metrics {
            metrics.limiter_waited(&inner.account, queued.elapsed());
        }

        // A turn that is not used goes to the next one.
        if let Some(purse) = &inner.purse {
            let taken = purse.take(caller, purpose, cost::tokens(request));
            taken.map_err(|withheld| fail(ErrorKind::Withheld { reason: withheld.reason, retry_after: withheld.wait }))?;
        }
        let mut recorder = Recorder::start(inner, trace, request, purpose);
        permit.sent();
        crash::point(crash::BEFORE_SEND);
        let answer = inner.transport.send(request).await;
        crash::point(crash::AFTER_SEND);
        let result = match &answer {
            Ok(answer) => inner.settle(request, &permit, write, answer),
            Err(error) => Err(ErrorKind::Transport(error.clone())),
        }
        .map_err(fail);
        // After the answer was judged, so that nobody takes its slot before a pause stands.
        drop(permit);
        recorder.status = answer.ok().map(|answer| answer.status);
        recorder.error = result.as_ref().err().map(|e| e.kind.to_string());
        recorder.finish();
        if let Err(error) = &result {
            tracing::debug!(account = inner.account, purpose = purpose.as_str(), error = error.brief(), "request failed");
        }
        result
    }
}

impl Inner {
    /// What the answer means, for the request and for the limiter.
    fn settle(&self, request: &Request, permit: &Permit, write: bool, answer: &Answer) -> Result<Value, ErrorKind> {
        match classify::judge(request, write, answer) {
            Verdict::TooMany => Err(self.throttled(permit, answer)),
            Verdict::Firewall => {
                let retry_after = self.limiter.pause_long(PauseReason::Firewall, FIREWALL_PAUSE.0, FIREWALL_PAUSE.1);
                tracing::warn!(
                    account = self.account,
                    seconds = retry_after.as_secs(),
                    "shut out by Pipedrive's firewall; waiting"
                );
                Err(ErrorKind::Blocked { retry_after })
            }
            Verdict::Done(body) => {
                self.let_in(permit, answer);
                Ok(body)
            }
            Verdict::Failed(kind) => {
                self.let_in(permit, answer);
                Err(kind)
            }
        }
    }

    fn let_in(&self, permit: &Permit, answer: &Answer) {
        *self.throttled.lock() = 0;
        self.limiter.passed(permit, header(answer, "x-ratelimit-limit"));
    }

    /// 429: the burst window when nothing remains in it, else, or when it goes on, the daily budget.
    fn throttled(&self, permit: &Permit, answer: &Answer) -> ErrorKind {
        let first = self.limiter.back_off(permit);
        let in_a_row = {
            let mut throttled = self.throttled.lock();
            // Requests that were under way together are refused together; that is one time.
            if first || *throttled == 0 {
                *throttled += 1;
            }
            *throttled
        };
        let asked = classify::asked_wait(answer);
        let room_left = header(answer, "x-ratelimit-remaining").is_some_and(|left: u32| left > 0);
        let daily = room_left || in_a_row >= DAILY_AFTER || asked.is_some_and(|wait| wait > Duration::from_secs(60));
        let retry_after = if daily {
            let first = asked.unwrap_or_default().max(BUDGET_PAUSE.0);
            let wait = self.limiter.pause_long(PauseReason::Budget, first, BUDGET_PAUSE.1.max(first));
            tracing::warn!(account = self.account, seconds = wait.as_secs(), "Pipedrive's daily budget seems spent; waiting");
            wait
        } else {
            // The reset is told in whole seconds, rounded down by some; the window is never longer than 2 s.
            let wait = asked.unwrap_or(WINDOW).clamp(Duration::from_secs(1), 2 * WINDOW);
            self.limiter.pause_short(permit, wait);
            wait
        };
        ErrorKind::Throttled { retry_after, daily }
    }
}

fn header<T: std::str::FromStr>(answer: &Answer, name: &str) -> Option<T> {
    answer.header(name)?.trim().parse().ok()
}

fn paused(refused: Refused) -> ErrorKind {
    match refused.reason {
        PauseReason::Budget => ErrorKind::Throttled { retry_after: refused.wait, daily: true },
        PauseReason::Firewall => ErrorKind::Blocked { retry_after: refused.wait },
    }
}

/// Records a request that is being sent, also when its future is dropped half-way.
struct Recorder<'a> {
    inner: &'a Inner,
    trace: &'a Trace,
    request: &'a Request,
    purpose: Purpose,
    at: jiff::Timestamp,
    started: Instant,
    tokens: u32,
    status: Option<u16>,
    error: Option<String>,
    finished: bool,
}

impl<'a> Recorder<'a> {
    fn start(inner: &'a Inner, trace: &'a Trace, request: &'a Request, purpose: Purpose) -> Self {
        let tokens = cost::tokens(request);
        inner.requests.fetch_add(1, Ordering::Relaxed);
        inner.tokens.fetch_add(u64::from(tokens), Ordering::Relaxed);
        Self {
            inner,
            trace,
            request,
            purpose,
            at: jiff::Timestamp::now(),
            started: Instant::now(),
            tokens,
            status: None,
            error: None,
            finished: false,
        }
    }

    fn finish(mut self) {
        self.finished = true;
        self.record();
    }

    fn record(&mut self) {
        let elapsed = self.started.elapsed();
        if let Some(metrics) = &self.inner.metrics {
            metrics.pipedrive_request(&self.inner.account, self.purpose.as_str(), self.status, elapsed, self.tokens);
        }
        self.trace.push(Exchange {
            at: self.at,
            purpose: self.purpose,
            method: self.request.method,
            path: self.request.target(),
            body: self.request.body.clone(),
            status: self.status,
            error: self.error.take(),
            tokens: self.tokens,
            ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
            shared: false,
        });
    }
}

impl Drop for Recorder<'_> {
    fn drop(&mut self) {
        if !self.finished {
            self.error = Some("given up before the answer came".to_owned());
            self.record();
        }
    }
}
