//! Recorded events through two script sets: what would another set have done?
//!
//! Invariants: nothing is written and nobody is asked; both sides see the same event and the same answers; an outcome that cannot be known
//! is counted as such, never as the same; the report does not depend on how the events were spread over threads.

mod report;
mod settings;
mod side;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use jiff::Timestamp;
use parking_lot::Mutex;

pub use report::{Count, Difference, Ends, Events, Kind, NotKnown, Report, Setting};
pub use side::Unknown;

pub use crate::script::Came;

use report::{Gathered, Part};
use side::Recorded;

use crate::event::Event;
use crate::plan::{Plan, compare};
use crate::rules::{Rule, ScriptSet};
use crate::script::STACK;
use crate::store::sqlite::History;
use crate::store::{Seq, StoreError, StoredEvent};

/// Numbers that a thread takes at once.
const STEP: u64 = 256;

/// Which events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Range {
    /// The newest so many.
    Last(u64),
    /// Those received at this time or later.
    Since(Timestamp),
}

/// How to run.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Which events.
    pub range: Range,
    /// Of how many differences the details are kept.
    pub details: usize,
}

/// Two script sets.
#[derive(Debug, Clone, Copy)]
pub struct Sides<'a> {
    /// What is compared with.
    pub before: &'a ScriptSet,
    /// The candidate.
    pub after: &'a ScriptSet,
}

/// Runs the recorded events of a data directory through both sides. Blocks; `progress` is told how many numbers of how many are done.
///
/// # Errors
/// When the store cannot be read.
pub fn run(
    data_dir: &Path,
    sides: Sides<'_>,
    options: Options,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<Report, StoreError> {
    let history = History::open(data_dir)?;
    let Chosen { from, to, pruned_before } = chosen(&history, options.range)?;
    let kept = history.count(from, to)?;
    let total = to.0 - from.0;
    let work = Work {
        sides,
        same_script: settings::same_scripts(sides),
        next: AtomicU64::new(0),
        failed: AtomicBool::new(false),
        gathered: Mutex::new((BTreeMap::new(), 0, Gathered::new(options.details))),
        failure: Mutex::new(None),
    };
    let threads = thread::available_parallelism().map_or(1, usize::from).min(usize::try_from(total / STEP + 1).unwrap_or(1));
    thread::scope(|scope| {
        for number in 0..threads {
            let run = || work.run(data_dir, (from, to), progress);
            let builder = thread::Builder::new().name(format!("backtest-{number}")).stack_size(STACK);
            if let Err(error) = builder.spawn_scoped(scope, run) {
                work.fail(StoreError::Failed(format!("no thread to run scripts on: {error}")));
            }
        }
    });
    if let Some(error) = work.failure.into_inner() {
        return Err(error);
    }
    let (_, _, gathered) = work.gathered.into_inner();
    let mut report = gathered.finish();
    report.events.pruned = total - kept;
    report.events.pruned_before = pruned_before;
    report.settings = settings::differences(sides);
    Ok(report)
}

struct Chosen {
    from: Seq,
    to: Seq,
    pruned_before: u64,
}

fn chosen(history: &History, range: Range) -> Result<Chosen, StoreError> {
    let kept = history.kept()?;
    let to = Seq(kept.last.0 + 1);
    Ok(match range {
        Range::Last(count) => Chosen { from: Seq(to.0.saturating_sub(count).max(1)), to, pruned_before: 0 },
        Range::Since(time) => {
            let from = history.since(time)?.unwrap_or(to);
            // What was before the oldest that is kept may have been received in the time as well.
            let before = if kept.first.is_none_or(|first| first == from) { from.0 - 1 } else { 0 };
            Chosen { from, to, pruned_before: before }
        }
    })
}

/// What the threads share.
struct Work<'a> {
    sides: Sides<'a>,
    /// Rules that do the same on both sides, whatever the event.
    same_script: BTreeSet<Arc<str>>,
    next: AtomicU64,
    failed: AtomicBool,
    /// Parts that wait for the ones before them, the next one's number, and the rest put together.
    gathered: Mutex<(BTreeMap<u64, Part>, u64, Gathered)>,
    failure: Mutex<Option<StoreError>>,
}

impl Work<'_> {
    fn run(&self, data_dir: &Path, (from, to): (Seq, Seq), progress: &(dyn Fn(u64, u64) + Sync)) {
        let history = match History::open(data_dir) {
            Ok(history) => history,
            Err(error) => return self.fail(error),
        };
        let total = to.0 - from.0;
        while !self.failed.load(Ordering::Relaxed) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let start = number * STEP;
            if start >= total {
                return;
            }
            let end = (start + STEP).min(total);
            match self.part(&history, Seq(from.0 + start), Seq(from.0 + end)) {
                Ok(part) => self.put(number, part),
                Err(error) => return self.fail(error),
            }
            progress(end, total);
        }
    }

    fn fail(&self, error: StoreError) {
        self.failed.store(true, Ordering::Relaxed);
        self.failure.lock().get_or_insert(error);
    }

    /// In the order of the events, whoever is done first.
    fn put(&self, number: u64, part: Part) {
        let mut shared = self.gathered.lock();
        let (waiting, next, gathered) = &mut *shared;
        waiting.insert(number, part);
        while let Some(part) = waiting.remove(next) {
            gathered.add(part);
            *next += 1;
        }
    }

    fn part(&self, history: &History, from: Seq, to: Seq) -> Result<Part, StoreError> {
        let mut part = Part::default();
        for stored in history.events(from, to)? {
            if stored.repeats.is_some() {
                part.events.replays += 1;
                continue;
            }
            part.events.run += 1;
            self.event(history, &stored, &mut part)?;
        }
        Ok(part)
    }

    fn event(&self, history: &History, stored: &StoredEvent, part: &mut Part) -> Result<(), StoreError> {
        let event = match Event::from_payload(&stored.source, stored.received_at, &stored.payload) {
            Ok(event) => event,
            Err(error) => {
                let why = Unknown::Damaged { reason: error.to_string() };
                part.unknown.push(NotKnown { seq: stored.seq, rule: Arc::from(""), side: "before", why });
                return Ok(());
            }
        };
        let (before, after) = (self.sides.before.wanted(&event), self.sides.after.wanted(&event));
        if before.is_empty() && after.is_empty() {
            part.events.unmatched += 1;
            return Ok(());
        }
        let of = |rules: &[&'_ Rule], name: &str| rules.iter().position(|rule| &*rule.name == name);
        let mut pairs: Vec<(Option<&Rule>, Option<&Rule>)> =
            before.iter().map(|rule| (Some(*rule), of(&after, &rule.name).map(|at| after[at]))).collect();
        pairs.extend(after.iter().filter(|rule| of(&before, &rule.name).is_none()).map(|rule| (None, Some(*rule))));
        for (before, after) in pairs {
            self.delivery(history, (stored, &event), before, after, part)?;
        }
        Ok(())
    }

    fn delivery(
        &self,
        history: &History,
        (stored, event): (&StoredEvent, &Event),
        before: Option<&Rule>,
        after: Option<&Rule>,
        part: &mut Part,
    ) -> Result<(), StoreError> {
        let Some(rule) = before.or(after).map(|rule| rule.name.clone()) else { return Ok(()) };
        if before.is_some() && after.is_some() && self.same_script.contains(&rule) {
            part.same += 1;
            return Ok(());
        }
        let recorded = Recorded::new(history, stored.seq, &rule);
        let mut unknown = |side, why| part.unknown.push(NotKnown { seq: stored.seq, rule: rule.clone(), side, why });
        let mut asked = None;
        let mut came = [None, None];
        for (at, (side, set, one)) in
            [("before", self.sides.before, before), ("after", self.sides.after, after)].into_iter().enumerate()
        {
            let Some(one) = one else { continue };
            match side::run((&set.program, one), event, &stored.payload, &recorded, asked.as_deref())? {
                Ok((outcome, reads)) => {
                    came[at] = Some(outcome);
                    asked = Some(reads);
                }
                Err(why) => {
                    unknown(side, why);
                    return Ok(());
                }
            }
        }
        let [before, after] = came;
        match difference(before, after) {
            None => part.same += 1,
            Some((kind, [before, after], actions)) => part.differences.push(Difference {
                seq: stored.seq,
                rule,
                kind,
                message_id: event.message_id.clone(),
                event: event
                    .name()
                    .map_or_else(|| event.kind.as_str().to_owned(), |name| format!("{} \"{name}\"", event.kind.as_str())),
                received_at: stored.received_at,
                before: before.as_ref().map(Ends::of),
                after: after.as_ref().map(Ends::of),
                actions,
            }),
        }
        Ok(())
    }
}

/// How both ends differ.
fn difference(before: Option<Came>, after: Option<Came>) -> Option<(Kind, [Option<Came>; 2], Vec<crate::plan::ActionChange>)> {
    let plan = |came: &Option<Came>| came.as_ref().map_or_else(Plan::default, Came::plan);
    let actions = compare(&plan(&before), &plan(&after));
    let kind = match (&before, &after) {
        (None, _) => Kind::Wanted,
        (_, None) => Kind::Unwanted,
        (Some(a), Some(b)) if a.word() != b.word() => Kind::Outcome,
        (Some(a), Some(b)) if a.reason() != b.reason() => Kind::Reason,
        _ if actions.is_empty() => return None,
        _ => Kind::Plan,
    };
    Some((kind, [before, after], actions))
}
