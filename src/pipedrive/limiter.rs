//! Keeps Pipedrive's burst limits, whatever the latency, and stops when Pipedrive says stop.
//!
//! Invariants:
//! - A request takes a slot when it is sent and holds it until 2 s after its answer. As the server counts a request somewhere between
//!   the two, no window of 2 s on the server's clock holds more requests than the limit.
//! - Searches take a slot of their own window and one of the general window.
//! - Turns are first come, first served within searches and within the rest; a search that waits for its own window holds up
//!   nobody else.
//! - A long pause (no budget left, shut out by the firewall) fails waiting requests at once instead of holding them; when it is
//!   over, one request goes first as a probe and the others wait for what becomes of it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// How long a slot counts after its answer: the server's window, and a little for clocks that run at different speeds.
const COOL: Duration = Duration::from_millis(2_010);
/// A pause up to this long is waited out in the queue; a longer one fails the waiting requests.
const SHORT: Duration = Duration::from_secs(5);
/// Limits that an answer's header may set.
const SANE_LIMIT: std::ops::RangeInclusive<u32> = 1..=1_000;

/// Why nothing may be sent for a longer while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PauseReason {
    /// 429 in a row or with room in the window: the daily budget is spent.
    Budget,
    /// The firewall shut us out.
    Firewall,
}

/// A pause that is longer than the queue waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) reason: PauseReason,
    pub(super) wait: Duration,
}

/// The limiter of one account.
#[derive(Debug)]
pub(super) struct Limiter {
    state: Mutex<State>,
    changed: Notify,
    /// Turnstiles: Tokio's mutex is first come, first served.
    general_turn: tokio::sync::Mutex<()>,
    search_turn: tokio::sync::Mutex<()>,
    under_way: Arc<Semaphore>,
}

#[derive(Debug)]
struct State {
    general: Window,
    search: Window,
    /// No request before.
    short_until: Option<Instant>,
    /// No search before.
    search_short_until: Option<Instant>,
    long: Option<Long>,
}

#[derive(Debug, Clone, Copy)]
struct Long {
    reason: PauseReason,
    until: Instant,
    /// The probe is under way.
    probing: bool,
    /// Pauses in a row.
    times: u32,
}

/// One rolling window.
#[derive(Debug)]
struct Window {
    limit: u32,
    in_flight: u32,
    /// When each answered request stops counting, ascending.
    cooling: VecDeque<Instant>,
}

impl Window {
    fn new(limit: u32) -> Self {
        Self { limit: limit.max(1), in_flight: 0, cooling: VecDeque::new() }
    }

    fn has_room(&mut self, now: Instant) -> bool {
        while self.cooling.front().is_some_and(|at| *at <= now) {
            self.cooling.pop_front();
        }
        self.in_flight as usize + self.cooling.len() < self.limit as usize
    }

    fn take(&mut self, now: Instant) -> bool {
        let room = self.has_room(now);
        self.in_flight += u32::from(room);
        room
    }

    fn give_back(&mut self, cools_until: Option<Instant>) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.cooling.extend(cools_until);
    }
}

/// The right to send one request.
#[derive(Debug)]
pub(super) struct Permit {
    limiter: Arc<Limiter>,
    search: bool,
    sent: bool,
    probe: bool,
    /// None while the search slot is held and the rest is waited for.
    under_way: Option<OwnedSemaphorePermit>,
    general: bool,
}

impl Permit {
    /// From here on the slot counts until 2 s after this permit is dropped.
    pub(super) const fn sent(&mut self) {
        self.sent = true;
    }

    /// Whether this request probes after a long pause.
    pub(super) const fn is_probe(&self) -> bool {
        self.probe
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let cools = self.sent.then(|| Instant::now() + COOL);
        let mut state = self.limiter.state.lock();
        if self.general {
            state.general.give_back(cools);
        }
        if self.search {
            state.search.give_back(cools);
        }
        if self.probe
            && let Some(long) = &mut state.long
        {
            // Neither passed nor failed (cancelled, no connection): the next request probes.
            long.probing = false;
        }
        drop(state);
        self.limiter.changed.notify_waiters();
    }
}

enum Turn {
    Go { probe: bool },
    Wait(Option<Instant>),
    No(Refused),
}

impl Limiter {
    pub(super) fn new(burst: u32, search_burst: u32, concurrency: usize) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                general: Window::new(burst),
                search: Window::new(search_burst),
                short_until: None,
                search_short_until: None,
                long: None,
            }),
            changed: Notify::new(),
            general_turn: tokio::sync::Mutex::new(()),
            search_turn: tokio::sync::Mutex::new(()),
            under_way: Arc::new(Semaphore::new(concurrency.max(1))),
        })
    }

    /// Waits for a turn.
    pub(super) async fn acquire(self: &Arc<Self>, search: bool) -> Result<Permit, Refused> {
        let mut permit =
            Permit { limiter: Arc::clone(self), search: false, sent: false, probe: false, under_way: None, general: false };
        if search {
            let _turn = self.search_turn.lock().await;
            self.wait(Self::search_step).await?;
            permit.search = true;
        }
        // Before the general turn, so that the turn's holder never waits for a request to end for want of anything but a slot.
        permit.under_way = Arc::clone(&self.under_way).acquire_owned().await.ok();
        let _turn = self.general_turn.lock().await;
        permit.probe = self.wait(Self::general_step).await?;
        permit.general = true;
        Ok(permit)
    }

    async fn wait(&self, step: fn(&mut State, Instant) -> Turn) -> Result<bool, Refused> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let turn = step(&mut self.state.lock(), Instant::now());
            match turn {
                Turn::Go { probe } => return Ok(probe),
                Turn::No(refused) => return Err(refused),
                Turn::Wait(Some(until)) => {
                    let _ = tokio::time::timeout_at(until, changed).await;
                }
                Turn::Wait(None) => changed.await,
            }
        }
    }

    fn search_step(state: &mut State, now: Instant) -> Turn {
        if let Some(refused) = state.refused(now) {
            return Turn::No(refused);
        }
        if let Some(until) = state.search_short_until.filter(|until| *until > now) {
            return Turn::Wait(Some(until));
        }
        if state.search.take(now) { Turn::Go { probe: false } } else { Turn::Wait(state.search.cooling.front().copied()) }
    }

    fn general_step(state: &mut State, now: Instant) -> Turn {
        if let Some(refused) = state.refused(now) {
            return Turn::No(refused);
        }
        if let Some(until) = state.short_until.filter(|until| *until > now) {
            return Turn::Wait(Some(until));
        }
        if state.long.is_some_and(|long| long.probing) {
            return Turn::Wait(None);
        }
        if !state.general.take(now) {
            return Turn::Wait(state.general.cooling.front().copied());
        }
        match &mut state.long {
            Some(long) => {
                long.probing = true;
                Turn::Go { probe: true }
            }
            None => Turn::Go { probe: false },
        }
    }

    /// An answer that is neither 429 nor a firewall page came: after a probe's, the long pause is over. The header may set the limit.
    pub(super) fn passed(&self, search: bool, probe: bool, limit: Option<u32>) {
        let mut state = self.state.lock();
        // What was sent before the pause proves nothing.
        if probe {
            state.long = None;
        }
        if let Some(limit) = limit.filter(|limit| SANE_LIMIT.contains(limit)) {
            let window = if search { &mut state.search } else { &mut state.general };
            window.limit = limit;
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// The burst window is full on the server's side: waits it out.
    pub(super) fn pause_short(&self, search: bool, wait: Duration) {
        let until = Instant::now() + wait.min(SHORT);
        let mut state = self.state.lock();
        let at = if search { &mut state.search_short_until } else { &mut state.short_until };
        *at = Some(at.map_or(until, |at| at.max(until)));
        drop(state);
        self.changed.notify_waiters();
    }

    /// Stops all traffic; answers for how long. Pauses in a row double, up to `longest`.
    pub(super) fn pause_long(&self, reason: PauseReason, first: Duration, longest: Duration) -> Duration {
        let now = Instant::now();
        let mut state = self.state.lock();
        let (times, running) = match state.long {
            // Several requests that were under way together fail together: one pause.
            Some(long) if long.until > now => (long.times, Some(long.until)),
            Some(long) => (long.times + 1, None),
            None => (0, None),
        };
        let fresh = now + first.saturating_mul(1 << times.min(16)).min(longest);
        let until = running.map_or(fresh, |running| running.max(fresh));
        state.long = Some(Long { reason, until, probing: false, times });
        drop(state);
        self.changed.notify_waiters();
        until - now
    }

    /// The long pause, when there is one.
    pub(super) fn paused(&self) -> Option<Refused> {
        self.state.lock().refused(Instant::now())
    }

    /// Requests per 2 s: general, searches.
    pub(super) fn limits(&self) -> (u32, u32) {
        let state = self.state.lock();
        (state.general.limit, state.search.limit)
    }
}

impl State {
    fn refused(&self, now: Instant) -> Option<Refused> {
        let long = self.long?;
        (long.until > now).then(|| Refused { reason: long.reason, wait: long.until - now })
    }
}
