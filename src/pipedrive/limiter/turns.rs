//! Which waiting request may go now: windows, width, pauses and lines together.
//!
//! Invariants:
//! - Searches leave to others half of the general window, or more where their own limit is lower, and half of the width.
//! - A background request takes a turn when nobody else waits; when one has waited [`PATIENCE`], one goes before the others. They too
//!   leave half of the window and half of the width to others, who may come the moment after.

use std::time::Duration;

use tokio::time::Instant;

use super::line::{Line, Waiter};
use super::pause::{Long, Short};
use super::width::Width;
use super::window::Window;
use super::{Refused, Turn};

/// A background request that has waited so long goes before the others; one in this time.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct State {
    pub(super) general: Window,
    pub(super) search: Window,
    /// What background requests may take of the general window.
    background: Window,
    pub(super) width: Width,
    /// Searches and background requests under way.
    aside: usize,
    /// Those who wait: ordinary requests, background requests.
    lines: [Line; 2],
    /// The last turn was a search's.
    searched: bool,
    /// The last turn of a background request.
    last_background: Option<Instant>,
    pub(super) short: Short,
    pub(super) long: Option<Long>,
}

impl State {
    pub(super) fn new(burst: u32, search_burst: u32, concurrency: usize) -> Self {
        Self {
            general: Window::new(burst),
            search: Window::new(search_burst),
            background: Window::new(burst.div_ceil(2)),
            width: Width::new(concurrency),
            aside: 0,
            lines: Default::default(),
            searched: false,
            last_background: None,
            short: Short::default(),
            long: None,
        }
    }

    pub(super) fn line(&mut self, background: bool) -> &mut Line {
        &mut self.lines[usize::from(background)]
    }

    pub(super) const fn set_limit(&mut self, search: bool, limit: u32) {
        if search {
            self.search.limit = limit;
        } else {
            self.general.limit = limit;
            self.background.limit = limit.div_ceil(2);
        }
    }

    pub(super) fn refused(&self, now: Instant) -> Option<Refused> {
        let long = self.long?;
        (long.until > now).then(|| Refused { reason: long.reason, wait: long.until - now })
    }

    /// Takes everything for the one whose turn it is.
    pub(super) fn next(&mut self, now: Instant) -> Option<(Waiter, Turn)> {
        self.lines.iter_mut().for_each(Line::forget_gone);
        let may_go = self.width.has_room()
            && self.short.passed(false, now)
            && !self.long.is_some_and(|long| long.probing)
            && self.general.has_room(now);
        if !may_go {
            return None;
        }
        let room_aside = self.aside < self.width.half();
        let searches_may = room_aside && self.short.passed(true, now) && self.search.has_room(now);
        let background_may = room_aside && self.background.has_room(now);
        let due = self.due().is_some_and(|at| at <= now);
        let [ordinary, background] = &mut self.lines;
        // Where the searches' own limit leaves others less than half of the window, it is one search, one other.
        let no_search = self.searched && self.search.limit > self.general.limit / 2 && ordinary.others_wait();

        let mut next = None;
        if background_may && (due || ordinary.is_empty()) {
            next = background.next(searches_may).map(|(waiter, search)| (waiter, search, true));
        }
        if next.is_none() {
            next = ordinary.next(searches_may && !no_search).map(|(waiter, search)| (waiter, search, false));
        }
        let (waiter, search, background) = next?;
        Some((waiter, self.take(search, background, now)))
    }

    fn take(&mut self, search: bool, background: bool, now: Instant) -> Turn {
        self.general.take();
        if search {
            self.search.take();
        }
        if background {
            self.background.take();
            self.last_background = Some(now);
        }
        self.aside += usize::from(search || background);
        self.searched = search;
        let probe = self.long.is_some();
        if let Some(long) = &mut self.long {
            long.probing = true;
        }
        Turn { search, background, probe, round: self.width.take() }
    }

    /// A request is over; it was sent when its slots cool.
    pub(super) fn give_back(&mut self, turn: Turn, cools_until: Option<Instant>) {
        self.width.give_back();
        self.general.give_back(cools_until);
        if turn.search {
            self.search.give_back(cools_until);
        }
        if turn.background {
            self.background.give_back(cools_until);
        }
        self.aside -= usize::from(turn.search || turn.background);
        if turn.probe
            && let Some(long) = &mut self.long
        {
            // Neither passed nor failed (cancelled, no connection): the next request probes.
            long.probing = false;
        }
    }

    /// When a background request goes before the others.
    fn due(&self) -> Option<Instant> {
        let oldest = self.lines[1].oldest()?;
        Some(self.last_background.map_or(oldest, |at| at.max(oldest)) + PATIENCE)
    }

    /// All who wait, taken out.
    pub(super) fn drain(&mut self) -> Vec<Waiter> {
        self.lines.iter_mut().flat_map(Line::drain).collect()
    }

    /// The next moment at which time alone may allow more.
    pub(super) fn wakes(&self, now: Instant) -> Option<Instant> {
        // Every slot is one of the general window too, and cools with it.
        let moments = self.short.moments().into_iter().chain([self.general.wakes(), self.due()]);
        moments.flatten().filter(|at| *at > now).min()
    }
}
