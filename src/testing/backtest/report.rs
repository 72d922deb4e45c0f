//! What a backtest found, counted and event by event.
//!
//! Invariants: every event that differs is named; only of so many the details are kept; the order is that of the events.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::side::Unknown;
use crate::plan::{ActionChange, Changed};
use crate::script::Came;
use crate::store::Seq;

/// How a delivery differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The rule wants the event now.
    Wanted,
    /// The rule does not want it any more.
    Unwanted,
    /// It ends otherwise: a plan becomes a skip, an error a plan.
    Outcome,
    /// It ends alike, for another reason.
    Reason,
    /// It asks something else of Pipedrive.
    Plan,
}

/// What one side makes of a delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ends {
    /// `plan`, `skip`, `fail`, `retry`, `error`.
    pub outcome: &'static str,
    /// Why, where it is no plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Ends {
    pub(super) fn of(came: &Came) -> Self {
        Self { outcome: came.word(), reason: came.reason().map(str::to_owned) }
    }
}

/// A delivery that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Event.
    pub seq: Seq,
    /// Rule.
    pub rule: Arc<str>,
    /// How.
    pub kind: Kind,
    /// Its `messageId`.
    pub message_id: String,
    /// Type of the event, and the name of a track event.
    pub event: String,
    /// Received.
    pub received_at: jiff::Timestamp,
    /// On the side before; none: the rule does not want it there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Ends>,
    /// On the side after; none: the rule does not want it there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Ends>,
    /// The actions that differ. Left out beyond the first so many ([`super::Options::details`]).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<ActionChange>,
}

/// A delivery of which it cannot be known.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NotKnown {
    /// Event.
    pub seq: Seq,
    /// Rule.
    pub rule: Arc<str>,
    /// `before`, `after`.
    pub side: &'static str,
    /// Why.
    #[serde(flatten)]
    pub why: Unknown,
}

/// How many deliveries of a rule differ in one way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Count {
    /// Rule.
    pub rule: Arc<str>,
    /// How.
    pub kind: Kind,
    /// What: `upsert person: name`, `plan becomes skip`.
    pub what: String,
    /// How many deliveries.
    pub deliveries: u64,
    /// The first of their events.
    pub example: Seq,
}

/// A setting of a rule that differs: no event shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// Rule.
    pub rule: Arc<str>,
    /// Name in rules.toml.
    pub setting: &'static str,
    /// Before.
    pub before: String,
    /// After.
    pub after: String,
}

/// What became of the events that were asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Events {
    /// Run through both sides.
    pub run: u64,
    /// Of these, wanted by no rule of either side.
    pub unmatched: u64,
    /// Left out: they repeat others.
    pub replays: u64,
    /// Not there any more: retention took them, or they were erased, or never kept.
    pub pruned: u64,
    /// Older ones that are not there any more, of which it is not known whether they fall into the time.
    pub pruned_before: u64,
}

/// What a backtest found.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Report {
    /// The events.
    pub events: Events,
    /// Deliveries that are the same on both sides.
    pub same: u64,
    /// Settings of rules that differ.
    pub settings: Vec<Setting>,
    /// The differences, counted.
    pub counts: Vec<Count>,
    /// All deliveries that differ, in order.
    pub differences: Vec<Difference>,
    /// What could not be known, in order.
    pub unknown: Vec<NotKnown>,
}

/// What was found in some events.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub(super) events: Events,
    pub(super) same: u64,
    pub(super) differences: Vec<Difference>,
    pub(super) unknown: Vec<NotKnown>,
}

/// Puts parts together.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    report: Report,
    counts: BTreeMap<(Arc<str>, Kind, String), (u64, Seq)>,
    details: usize,
}

impl Gathered {
    pub(super) fn new(details: usize) -> Self {
        Self { details, ..Self::default() }
    }

    /// Adds what was found in the events that follow.
    pub(super) fn add(&mut self, part: Part) {
        let events = &mut self.report.events;
        events.run += part.events.run;
        events.unmatched += part.events.unmatched;
        events.replays += part.events.replays;
        self.report.same += part.same;
        self.report.unknown.extend(part.unknown);
        for mut difference in part.differences {
            for what in difference.what() {
                let count = self.counts.entry((difference.rule.clone(), difference.kind, what)).or_insert((0, difference.seq));
                count.0 += 1;
            }
            if self.report.differences.len() >= self.details {
                difference.actions = Vec::new();
            }
            self.report.differences.push(difference);
        }
    }

    pub(super) fn finish(self) -> Report {
        let count = |((rule, kind, what), (deliveries, example))| Count { rule, kind, what, deliveries, example };
        Report { counts: self.counts.into_iter().map(count).collect(), ..self.report }
    }
}

impl Difference {
    /// What is counted of it, each once.
    fn what(&self) -> Vec<String> {
        match (self.kind, &self.before, &self.after) {
            (Kind::Wanted, _, Some(after)) => vec![format!("trigger is met now, ends as {}", after.outcome)],
            (Kind::Unwanted, Some(before), _) => vec![format!("trigger is not met any more, ended as {}", before.outcome)],
            (Kind::Outcome, Some(before), Some(after)) => vec![format!("{} becomes {}", before.outcome, after.outcome)],
            (Kind::Reason, Some(before), _) => vec![format!("reason of the {}", before.outcome)],
            _ => {
                let mut all: Vec<String> = self.actions.iter().flat_map(what).collect();
                all.sort();
                all.dedup();
                all
            }
        }
    }
}

/// `upsert person: name` for each part of an action that differs; an action on one side counts as one.
fn what(change: &ActionChange) -> Vec<String> {
    let kind = change.kind.map(|kind| format!(" {kind}")).unwrap_or_default();
    let action = format!("{}{kind}", change.verb);
    match change.change {
        Changed::Added => vec![format!("{action}: added")],
        Changed::Removed => vec![format!("{action}: removed")],
        Changed::Changed => change.fields.iter().map(|field| format!("{action}: {}", field.field)).collect(),
    }
}
