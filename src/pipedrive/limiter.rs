//! Keeps Pipedrive's burst limits, whatever the latency, and stops when Pipedrive says stop.
//!
//! Invariants:
//! - A request takes a slot when it is sent and holds it until 2 s after its answer (`limiter/window.rs`). As the server counts a request
//!   somewhere between the two, no window of 2 s on the server's clock holds more requests than the limit.
//! - Searches take a slot of their own window and one of the general window. They hold up nobody else: half of the general window, or
//!   more where their own limit is lower, and half of what may be under way is others' (`limiter/turns.rs`).
//! - Rules take turns, whatever each of them has waiting; within a rule it is first come, first served, but a search that waits for its
//!   own window is passed by, and keeps its place (`limiter/line.rs`).
//! - Background requests take a turn when nobody else waits; in 10 s one goes all the same (`limiter/turns.rs`).
//! - What may be under way at once is halved by a 429, once for all that were under way together, and grows by one after as many
//!   successes as may be under way (`limiter/width.rs`).
//! - A long pause (no budget left, shut out by the firewall) fails waiting requests at once instead of holding them; when it is
//!   over, one request goes first as a probe and the others wait for what becomes of it (`limiter/pause.rs`).

mod line;
mod pause;
mod turns;
mod width;
mod window;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

pub use pause::PauseReason;
pub(super) use pause::Refused;

use super::Caller;
use line::Waiter;
use pause::Long;
use turns::State;

/// Why a waiter's channel cannot be closed: it leaves the line only to be answered, and the line outlives those who wait.
const ANSWERED: &str = "a waiter is answered before it is dropped";
/// Limits that an answer's header may set.
const SANE_LIMIT: std::ops::RangeInclusive<u32> = 1..=1_000;

/// The limiter of one account.
#[derive(Debug)]
pub(super) struct Limiter {
    state: Mutex<State>,
    changed: Notify,
    /// Held by the one waiter that watches the time for all.
    watch: tokio::sync::Mutex<()>,
}

/// What a request has taken.
#[derive(Debug, Clone, Copy)]
struct Turn {
    search: bool,
    background: bool,
    /// It probes after a long pause.
    probe: bool,
    /// Requests of the same round were under way together.
    round: u64,
}

/// The right to send one request.
#[derive(Debug)]
pub(super) struct Permit {
    limiter: Arc<Limiter>,
    turn: Turn,
    sent: bool,
}

impl Permit {
    /// From here on the slot counts until 2 s after this permit is dropped.
    pub(super) const fn sent(&mut self) {
        self.sent = true;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let cools = self.sent.then(|| Instant::now() + window::COOL);
        self.limiter.change(|state| state.give_back(self.turn, cools));
    }
}

impl Limiter {
    pub(super) fn new(burst: u32, search_burst: u32, concurrency: usize) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State::new(burst, search_burst, concurrency)),
            changed: Notify::new(),
            watch: tokio::sync::Mutex::new(()),
        })
    }

    /// Waits for a turn.
    pub(super) async fn acquire(self: &Arc<Self>, caller: &Caller, search: bool) -> Result<Permit, Refused> {
        let (turn, mut given) = oneshot::channel();
        let waiter = Waiter { since: Instant::now(), turn };
        self.change(|state| state.line(caller.background).join(caller.rule.clone(), search, waiter));
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
    fn change<T>(self: &Arc<Self>, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.state.lock());
        self.give_turns();
        self.changed.notify_waiters();
        result
    }

    /// Gives every turn that can be given now; answers when time alone allows the next.
    fn give_turns(self: &Arc<Self>) -> Option<Instant> {
        loop {
            let now = Instant::now();
            let mut state = self.state.lock();
            if let Some(refused) = state.refused(now) {
                let waiting = state.drain();
                drop(state);
                for waiter in waiting {
                    let _ = waiter.turn.send(Err(refused));
                }
                return None;
            }
            let Some((waiter, turn)) = state.next(now) else { return state.wakes(now) };
            drop(state);
            let permit = Permit { limiter: Arc::clone(self), turn, sent: false };
            // Whoever has given up this very moment gives its permit back here, unlocked.
            drop(waiter.turn.send(Ok(permit)));
        }
    }

    /// An answer that is neither 429 nor a firewall page came: after a probe's, the long pause is over. The header may set the limit.
    pub(super) fn passed(self: &Arc<Self>, permit: &Permit, limit: Option<u32>) {
        let turn = permit.turn;
        self.change(|state| {
            // What was sent before the pause proves nothing.
            if turn.probe {
                state.long = None;
            }
            state.width.succeeded(turn.round);
            if let Some(limit) = limit.filter(|limit| SANE_LIMIT.contains(limit)) {
                state.set_limit(turn.search, limit);
            }
        });
    }

    /// 429: less may be under way from now on. Answers whether this is the first of those that were under way together.
    pub(super) fn back_off(&self, permit: &Permit) -> bool {
        // Gives no turns: a pause is still to come.
        self.state.lock().width.refused(permit.turn.round)
    }

    /// The burst window is full on the server's side: waits it out.
    pub(super) fn pause_short(self: &Arc<Self>, permit: &Permit, wait: Duration) {
        let now = Instant::now();
        self.change(|state| state.short.until(permit.turn.search, now, wait));
    }

    /// Stops all traffic; answers for how long. Pauses in a row double, up to `longest`.
    pub(super) fn pause_long(self: &Arc<Self>, reason: PauseReason, first: Duration, longest: Duration) -> Duration {
        let now = Instant::now();
        self.change(|state| {
            let long = Long::after(state.long, reason, now, first, longest);
            state.long = Some(long);
            long.until - now
        })
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

    /// Requests that may be under way at once.
    pub(super) fn width(&self) -> usize {
        self.state.lock().width.now()
    }
}
