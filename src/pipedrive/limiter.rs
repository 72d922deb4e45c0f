//! Keeps Pipedrive's burst limits, whatever the latency, and stops when Pipedrive says stop.
//!
//! Invariants:
//! - A request takes a slot when it is sent and holds it until 2 s after its answer. As the server counts a request somewhere between
//!   the two, no window of 2 s on the server's clock holds more requests than the limit.
//! - Searches take a slot of their own window and one of the general window.
//! - First come, first served; a search that waits for its own window is passed by, and keeps its place.
//! - A long pause (no budget left, shut out by the firewall) fails waiting requests at once instead of holding them; when it is
//!   over, one request goes first as a probe and the others wait for what becomes of it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

/// How long a slot counts after its answer: the server's window, and a little for clocks that run at different speeds.
const COOL: Duration = Duration::from_millis(2_010);
/// A pause up to this long is waited out in the queue; a longer one fails the waiting requests.
const SHORT: Duration = Duration::from_secs(5);
/// Why a waiter's channel cannot be closed: it leaves the queue only to be answered, and the queue outlives those who wait.
const ANSWERED: &str = "a waiter is answered before it is dropped";
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
    /// Held by the one waiter that watches the time for all.
    watch: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct State {
    general: Window,
    search: Window,
    /// Requests that may still be under way beside those that are.
    free: usize,
    /// Waiting requests: general, searches; each in the order of arrival.
    waiting: [VecDeque<Waiter>; 2],
    arrivals: u64,
    /// No request before.
    short_until: Option<Instant>,
    /// No search before.
    search_short_until: Option<Instant>,
    long: Option<Long>,
}

#[derive(Debug)]
struct Waiter {
    arrival: u64,
    turn: oneshot::Sender<Result<Permit, Refused>>,
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
        self.limiter.change(|state| {
            state.free += 1;
            state.general.give_back(cools);
            if self.search {
                state.search.give_back(cools);
            }
            if self.probe
                && let Some(long) = &mut state.long
            {
                // Neither passed nor failed (cancelled, no connection): the next request probes.
                long.probing = false;
            }
        });
    }
}

impl Limiter {
    pub(super) fn new(burst: u32, search_burst: u32, concurrency: usize) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                general: Window::new(burst),
                search: Window::new(search_burst),
                free: concurrency.max(1),
                waiting: [VecDeque::new(), VecDeque::new()],
                arrivals: 0,
                short_until: None,
                search_short_until: None,
                long: None,
            }),
            changed: Notify::new(),
            watch: tokio::sync::Mutex::new(()),
        })
    }

    /// Waits for a turn.
    pub(super) async fn acquire(self: &Arc<Self>, search: bool) -> Result<Permit, Refused> {
        let (turn, mut given) = oneshot::channel();
        self.change(|state| {
            state.arrivals += 1;
            let arrival = state.arrivals;
            state.waiting[usize::from(search)].push_back(Waiter { arrival, turn });
        });
        // Changes give turns by themselves; one of those who wait gives the turns that come by time alone.
        tokio::select! {
            biased;
            turn = &mut given => turn.expect(ANSWERED),
            _watch = self.watch.lock() => loop {
                let changed = self.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                let next = self.give_turns();
                let time = async {
                    match next {
                        Some(at) => tokio::time::sleep_until(at).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    biased;
                    turn = &mut given => return turn.expect(ANSWERED),
                    () = changed => {}
                    () = time => {}
                }
            },
        }
    }

    /// Makes a change and gives the turns that it makes possible.
    fn change(self: &Arc<Self>, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock());
        self.give_turns();
        self.changed.notify_waiters();
    }

    /// Gives every turn that can be given now; answers when time alone allows the next.
    fn give_turns(self: &Arc<Self>) -> Option<Instant> {
        loop {
            let now = Instant::now();
            let mut state = self.state.lock();
            if let Some(refused) = state.refused(now) {
                let waiting: Vec<Waiter> = state.waiting.iter_mut().flat_map(std::mem::take).collect();
                drop(state);
                for waiter in waiting {
                    let _ = waiter.turn.send(Err(refused));
                }
                return None;
            }
            let Some((waiter, search, probe)) = state.next(now) else { return state.wakes(now) };
            drop(state);
            let permit = Permit { limiter: Arc::clone(self), search, sent: false, probe };
            // Whoever has given up this very moment gives its permit back here, unlocked.
            drop(waiter.turn.send(Ok(permit)));
        }
    }

    /// An answer that is neither 429 nor a firewall page came: after a probe's, the long pause is over. The header may set the limit.
    pub(super) fn passed(self: &Arc<Self>, search: bool, probe: bool, limit: Option<u32>) {
        self.change(|state| {
            // What was sent before the pause proves nothing.
            if probe {
                state.long = None;
            }
            if let Some(limit) = limit.filter(|limit| SANE_LIMIT.contains(limit)) {
                let window = if search { &mut state.search } else { &mut state.general };
                window.limit = limit;
            }
        });
    }

    /// The burst window is full on the server's side: waits it out.
    pub(super) fn pause_short(self: &Arc<Self>, search: bool, wait: Duration) {
        let until = Instant::now() + wait.min(SHORT);
        self.change(|state| {
            let at = if search { &mut state.search_short_until } else { &mut state.short_until };
            *at = Some(at.map_or(until, |at| at.max(until)));
        });
    }

    /// Stops all traffic; answers for how long. Pauses in a row double, up to `longest`.
    pub(super) fn pause_long(self: &Arc<Self>, reason: PauseReason, first: Duration, longest: Duration) -> Duration {
        let now = Instant::now();
        let mut until = now;
        self.change(|state| {
            let (times, running) = match state.long {
                // Several requests that were under way together fail together: one pause.
                Some(long) if long.until > now => (long.times, long.until),
                Some(long) => (long.times + 1, now),
                None => (0, now),
            };
            until = running.max(now + first.saturating_mul(1 << times.min(16)).min(longest));
            state.long = Some(Long { reason, until, probing: false, times });
        });
        until - now
    }

    /// Ends a long pause now: one request goes first, as after its time.
    pub(super) fn lift_pause(self: &Arc<Self>) {
        let now = Instant::now();
        self.change(|state| {
            if let Some(long) = &mut state.long {
                long.until = long.until.min(now);
            }
        });
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

    /// Takes slots for the one that has waited longest of those that may go: who, whether a search, whether a probe.
    fn next(&mut self, now: Instant) -> Option<(Waiter, bool, bool)> {
        for queue in &mut self.waiting {
            while queue.front().is_some_and(|waiter| waiter.turn.is_closed()) {
                queue.pop_front();
            }
        }
        let may_go = self.free > 0
            && self.short_until.is_none_or(|until| until <= now)
            && !self.long.is_some_and(|long| long.probing)
            && self.general.has_room(now);
        let may_search = self.search_short_until.is_none_or(|until| until <= now) && self.search.has_room(now);
        let [general, searches] = self.waiting.each_ref().map(|queue| queue.front().map(|waiter| waiter.arrival));
        let searches = searches.filter(|_| may_search);
        let search = match (general, searches) {
            _ if !may_go => return None,
            (None, None) => return None,
            (Some(general), Some(search)) => search < general,
            (general, _) => general.is_none(),
        };
        let waiter = self.waiting[usize::from(search)].pop_front()?;
        self.free -= 1;
        self.general.in_flight += 1;
        self.search.in_flight += u32::from(search);
        let probe = self.long.is_some();
        if let Some(long) = &mut self.long {
            long.probing = true;
        }
        Some((waiter, search, probe))
    }

    /// The next moment at which time alone may allow more.
    fn wakes(&self, now: Instant) -> Option<Instant> {
        let moments = [
            self.short_until,
            self.search_short_until,
            self.general.cooling.front().copied(),
            self.search.cooling.front().copied(),
        ];
        moments.into_iter().flatten().filter(|at| *at > now).min()
    }
}
