//! A plan on its way: what is pinned before the first write, and replaced after each step.
//!
//! Invariant: what a later version of the program pins, an earlier one need not read; but every version reads what earlier
//! ones pinned. Fields are only added, with a default.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::locks;
use super::record::{Effect, Resolution, StepRecord, StepState};
use crate::crm::{Found, Lookup};
use crate::pipedrive::{Id, Kind};
use crate::plan::{Change, Operation, Step};
use crate::rules::Version;
use crate::script::{LogLine, Read};

/// The plan with the state of each step.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PinnedPlan {
    /// Script set that made it.
    pub(crate) version: Version,
    /// When it was pinned.
    pub(crate) pinned_at: Timestamp,
    /// Steps in order.
    pub(crate) steps: Vec<PinnedStep>,
    /// The reads it rests on.
    #[serde(default)]
    pub(crate) reads: Vec<(Read, Json)>,
    /// What the script logged.
    #[serde(default)]
    pub(crate) logs: Vec<LogLine>,
    /// Attempts that had it pinned, sent something, and did not end it.
    #[serde(default)]
    pub(crate) tries: u32,
}

/// So many tries of a pinned plan may use the reserve of the budget. One that fails oftener is not about to end: it would use up what others
/// need to end.
pub(super) const RESERVED_TRIES: u32 = 5;

/// A step and how far it has come.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PinnedStep {
    /// The step.
    pub(crate) step: Step,
    /// How far it has come.
    pub(crate) state: StepState,
    /// How its entity was found.
    #[serde(default)]
    pub(crate) resolution: Option<Resolution>,
    /// Fields that it changed.
    #[serde(default)]
    pub(crate) changes: Vec<Change>,
    /// What is worth a look.
    #[serde(default)]
    pub(crate) warnings: Vec<String>,
    /// What the policies decided, a line each.
    #[serde(default)]
    pub(crate) decisions: Vec<String>,
    /// What its match came to before the first write, and not before which it was so. It counts for as long as a memo.
    #[serde(default)]
    pub(crate) found: Option<(Found, Timestamp)>,
    /// What its links came to then.
    #[serde(default)]
    pub(crate) links: Vec<FoundLink>,
}

/// What a `by(..)` link of a step leads to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct FoundLink {
    /// Which of the step's links.
    pub(crate) place: usize,
    /// The entity.
    pub(crate) id: Id,
    /// Not before which it was so.
    pub(crate) at: Timestamp,
}

impl PinnedStep {
    /// It is looked for anew.
    pub(crate) fn forget_found(&mut self) {
        self.found = None;
        self.links.clear();
    }
}

impl PinnedPlan {
    pub(crate) fn new(version: Version, now: Timestamp, steps: Vec<Step>, reads: Vec<(Read, Json)>, logs: Vec<LogLine>) -> Self {
        let steps = steps
            .into_iter()
            .map(|step| PinnedStep {
                warnings: step.warnings.clone(),
                decisions: step.decisions.clone(),
                step,
                state: StepState::Todo,
                resolution: None,
                changes: Vec::new(),
                found: None,
                links: Vec::new(),
            })
            .collect();
        Self { version, pinned_at: now, steps, reads, logs, tries: 0 }
    }

    /// Whether it has had its tries from the reserve.
    pub(crate) const fn is_worn(&self) -> bool {
        self.tries >= RESERVED_TRIES
    }

    /// Forgets what was found before this time, or after `now` by a clock that was wrong. What may have been created since is looked for
    /// whenever it was.
    pub(crate) fn forget_found_before(&mut self, oldest: Timestamp, now: Timestamp) {
        let counts = |at: Timestamp| (oldest..=now).contains(&at);
        for step in &mut self.steps {
            let in_doubt = matches!(step.state, StepState::Sending { target: None, .. });
            step.found.take_if(|(_, at)| in_doubt || !counts(*at));
            step.links.retain(|link| counts(link.at));
        }
    }

    /// The first step that is not done.
    pub(crate) fn unfinished(&self) -> Option<usize> {
        self.steps.iter().position(|s| !matches!(s.state, StepState::Done { .. }))
    }

    /// Whether any step has changed data, or may have.
    pub(crate) fn wrote(&self) -> bool {
        self.steps.iter().any(|s| match &s.state {
            StepState::Done { effect, .. } => effect.wrote(),
            StepState::Sending { .. } => true,
            StepState::Todo => false,
        })
    }

    /// The entity of an earlier step; none when it was skipped or has none.
    pub(crate) fn reference(&self, ordinal: u32) -> Option<Id> {
        self.steps.iter().find(|s| s.step.ordinal == ordinal).and_then(|s| match &s.state {
            StepState::Done { id, .. } => id.clone(),
            _ => None,
        })
    }

    /// The lock names of a create of which it is not known whether it arrived.
    pub(crate) fn suspects(&self, account: &str) -> Option<Vec<String>> {
        let step = &self.steps[self.unfinished()?];
        if !matches!(step.state, StepState::Sending { target: None, .. }) {
            return None;
        }
        let (kind, lookups): (Kind, &[Lookup]) = match &step.step.operation {
            Operation::Upsert { kind, lookups } => (*kind, lookups),
            Operation::Create { kind } => (*kind, &[]),
            _ => return None,
        };
        let key = step.step.key.iter().map(|key| locks::key_name(account, kind, key));
        Some(locks::criteria_names(account, kind, lookups).chain(key).collect())
    }

    /// The step is carried out from its start: what was decided on another try is forgotten.
    pub(crate) fn begin(&mut self, at: usize) {
        let step = &mut self.steps[at];
        if step.state == StepState::Todo {
            step.decisions.clone_from(&step.step.decisions);
        }
    }

    /// Notes what a policy decided: `POLICY: what`. A policy has one line; what it said before is replaced.
    pub(crate) fn decided(&mut self, at: usize, line: String) {
        let policy = |line: &str| line.split(':').next().unwrap_or_default().to_owned();
        let decisions = &mut self.steps[at].decisions;
        match decisions.iter_mut().find(|earlier| policy(earlier) == policy(&line)) {
            Some(earlier) => *earlier = line,
            None => decisions.push(line),
        }
    }

    /// Marks a step as done.
    pub(crate) fn done(&mut self, at: usize, effect: Effect, id: Option<Id>) {
        self.steps[at].state = StepState::Done { effect, id };
        self.steps[at].forget_found();
    }

    /// The steps as the decision record shows them.
    pub(crate) fn step_records(&self) -> Vec<StepRecord> {
        self.steps
            .iter()
            .map(|s| StepRecord {
                ordinal: s.step.ordinal,
                verb: s.step.operation.verb().to_owned(),
                kind: s.step.operation.kind(),
                key: told_apart_by(&s.step),
                at: s.step.at.clone(),
                state: s.state.clone(),
                resolution: s.resolution.clone(),
                changes: s.changes.clone(),
                warnings: s.warnings.clone(),
                decisions: s.decisions.clone(),
            })
            .collect()
    }

    /// The bytes that the store keeps.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a plan serialises: its maps have string keys")
    }
}

/// What tells a step from others of its verb and kind, where it has that: the key of a note or activity, method and path of a raw request.
pub(super) fn told_apart_by(step: &Step) -> Option<String> {
    match &step.operation {
        Operation::Request { method, path, .. } => Some(format!("{method} {path}")),
        _ => step.key.clone(),
    }
}
