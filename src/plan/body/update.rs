//! Which fields an update sends.
//!
//! Invariants: a list or a value with parts is compared with what is there, or was seen not too long ago; so is every value under
//! `write = "differs"`; what is left alone, and why, is noted.

use serde_json::{Map, Value as Json};

use super::decided::Decided;
use super::{Before, BodyOutcome, Ready, Wanted, entity, is_empty, lists, same, shown, stage, wire};
use crate::config::WritePolicy;
use crate::crm::{Address, ListOp, Metadata, Writable, held, held_value};
use crate::plan::Step;
use crate::plan::field::FieldRef;

pub(super) struct Update<'a> {
    policy: WritePolicy,
    metadata: &'a Metadata,
    present: Option<&'a Map<String, Json>>,
    known: Option<&'a Map<String, Json>>,
    decided: Decided,
    outcome: BodyOutcome,
}

impl<'a> Update<'a> {
    pub(super) fn new(
        step: &Step,
        present: Option<&'a Map<String, Json>>,
        known: Option<&'a Map<String, Json>>,
        metadata: &'a Metadata,
    ) -> Self {
        Self { policy: step.write, metadata, present, known, decided: Decided::default(), outcome: BodyOutcome::default() }
    }

    pub(super) fn build(
        mut self,
        fields: &[Ready<'_>],
        unless_edited: &[Ready<'_>],
        if_empty: &[Ready<'_>],
        on_create: &[&str],
    ) -> BodyOutcome {
        for ready in fields {
            if !self.said_later(ready) {
                self.field(ready);
            }
        }
        let given = |before: &[Ready<'_>], ready: &Ready<'_>| before.iter().any(|f| f.field.address == ready.field.address);
        for ready in unless_edited.iter().filter(|ready| !given(fields, ready)) {
            if !self.said_later(ready) {
                self.unless_edited(ready);
            }
        }
        for ready in if_empty.iter().filter(|ready| !given(fields, ready) && !given(unless_edited, ready)) {
            if !self.said_later(ready) {
                self.only_if_empty(ready);
            }
        }
        for name in on_create {
            self.decided.field("on_create", "not new, left out", name);
        }
        self.outcome.decisions = self.decided.lines();
        self.outcome
    }

    /// Of a replay: whether an event after the one that it repeats has said what the field is to hold.
    fn said_later(&mut self, ready: &Ready<'_>) -> bool {
        let later = self.known.and_then(|known| known.get(ready.field.address.key())?.get("later")?.as_u64());
        if let Some(by) = later {
            self.decided.told(
                "replay",
                "written by a later event, left alone (--overwrite)",
                format!("`{}` (event {by})", ready.name),
            );
        }
        later.is_some()
    }

    fn field(&mut self, ready: &Ready<'_>) {
        if ready.field.write == Writable::Create {
            return;
        }
        let source = ready.wanted.source();
        let unchanged = self.last_sent(ready).is_some_and(|sent| same_source(&ready.field, sent, &source));
        if self.policy == WritePolicy::Changed && unchanged {
            // It is said again, by this event.
            self.outcome.sent.insert(ready.field.address.key().to_owned(), source);
            return self.decided.field("write: changed", "the event says what was last sent, left alone", &ready.name);
        }
        if stage::is_at_least(&ready.field) {
            return self.forward(ready, source);
        }
        let compared = ready.field.shape.is_replaced_whole() || self.policy == WritePolicy::Differs;
        let present = self.present(ready);
        if compared && present.is_none() {
            return self.outcome.needs_present = true;
        }
        let target = match &ready.wanted {
            Wanted::List { op, items } => {
                let there = present.as_ref().unwrap_or(&Json::Null);
                self.decided.list(ready, *op, items, there, self.metadata);
                Json::Array(lists::merge(&ready.field, there, *op, items))
            }
            Wanted::Value(value) => value.clone(),
        };
        let has_it = present.as_ref().is_some_and(|present| same::same(&ready.field, present, &target));
        let clears = matches!(ready.wanted, Wanted::Value(Json::Null));
        if has_it && self.policy != WritePolicy::Always {
            match (&ready.wanted, self.policy) {
                _ if clears => self.decided.field("CLEAR", "empty already", &ready.name),
                // Said above, item by item.
                (Wanted::List { .. }, _) => {}
                (_, WritePolicy::Differs) => {
                    self.decided.field("write: differs", "Pipedrive has this value, left alone", &ready.name)
                }
                _ => self.decided.field("write: changed", "Pipedrive has this value, left alone", &ready.name),
            }
            self.outcome.sent.insert(ready.field.address.key().to_owned(), source);
            return;
        }
        match self.policy {
            _ if clears => self.decided.field("CLEAR", "emptied", &ready.name),
            WritePolicy::Always if has_it || unchanged => {
                self.decided.field("write: always", "sent although nothing new", &ready.name);
            }
            WritePolicy::Differs if unchanged => {
                self.decided.field("write: differs", "changed in Pipedrive since it was last sent, set back", &ready.name);
            }
            _ => {}
        }
        self.send(ready, source, present, target);
    }

    /// Moves a deal forward to a stage, whatever the policy says of other fields.
    fn forward(&mut self, ready: &Ready<'_>, source: Json) {
        let Some(deal) = self.present else { return self.outcome.needs_present = true };
        match stage::movement(deal, &source, self.metadata) {
            stage::Move::Forward => {
                let moved = Ready { field: stage::written(&ready.field), name: ready.name.clone(), wanted: ready.wanted.clone() };
                let present = self.present(&moved);
                self.send(&moved, source.clone(), present, source.clone());
            }
            stage::Move::Reached => self.decided.whole("stage_at_least", "the deal is there or further on, left alone"),
            stage::Move::Stays(why) => self.outcome.notes.push(why),
        }
        self.outcome.sent.insert(ready.field.address.key().to_owned(), source);
    }

    /// Follows the event while Pipedrive has what was sent last, or never had anything. What somebody else wrote stands.
    fn unless_edited(&mut self, ready: &Ready<'_>) {
        // What is added to a list or taken out of it overwrites nobody's item; a stage only goes forward.
        if stage::is_at_least(&ready.field) || matches!(ready.wanted, Wanted::List { op, .. } if op != ListOp::Replace) {
            return self.field(ready);
        }
        if ready.field.write == Writable::Create {
            return;
        }
        let source = ready.wanted.source();
        let sent = self.last_sent(ready);
        if sent.is_some_and(|sent| same_source(&ready.field, sent, &source)) {
            self.outcome.sent.insert(ready.field.address.key().to_owned(), source);
            return self.decided.field("unless_edited", "the event says what was last sent, left alone", &ready.name);
        }
        let Some(present) = self.present(ready) else { return self.outcome.needs_present = true };
        let target = match &ready.wanted {
            Wanted::Value(value) => value.clone(),
            Wanted::List { op, items } => Json::Array(lists::merge(&ready.field, &present, *op, items)),
        };
        let ours = match (sent, &ready.wanted) {
            (None, _) => is_empty(&present),
            (Some(sent), _) if held_value(sent).is_some() => false,
            // Pipedrive adds labels and which is the first: it is ours while to write it again would change nothing.
            (Some(Json::Array(sent)), Wanted::List { op, .. }) => {
                same::same(&ready.field, &present, &Json::Array(lists::merge(&ready.field, &present, *op, sent)))
            }
            (Some(sent), _) => same::same(&ready.field, &present, sent),
        };
        if same::same(&ready.field, &present, &target) {
            self.decided.field("unless_edited", "Pipedrive has this value, left alone", &ready.name);
        } else if ours {
            return self.send(ready, source, Some(present), target);
        } else {
            self.decided.field("unless_edited", "written by somebody else, left alone", &ready.name);
        }
        self.outcome.sent.insert(ready.field.address.key().to_owned(), source);
    }

    fn only_if_empty(&mut self, ready: &Ready<'_>) {
        // A deal always has a stage.
        let never = ready.field.write == Writable::Create || stage::is_at_least(&ready.field);
        if never || matches!(ready.wanted, Wanted::List { op: ListOp::Remove, .. }) {
            return;
        }
        // It had a value once, sent or seen. Should a person have emptied it since, that stands.
        if self.policy == WritePolicy::Changed && self.last_sent(ready).is_some_and(|sent| !is_empty(sent)) {
            return self.decided.field("if_empty", "had a value before, left alone", &ready.name);
        }
        let Some(present) = self.present(ready) else { return self.outcome.needs_present = true };
        if !is_empty(&present) {
            self.decided.field("if_empty", "holds a value, left alone", &ready.name);
            // What others wrote counts nowhere as sent.
            self.outcome.sent.insert(ready.field.address.key().to_owned(), held(&present));
            return;
        }
        let target = match &ready.wanted {
            Wanted::Value(value) => value.clone(),
            Wanted::List { op, items } => Json::Array(lists::merge(&ready.field, &Json::Null, *op, items)),
        };
        if !is_empty(&target) {
            self.decided.field("if_empty", "empty, written", &ready.name);
            self.send(ready, ready.wanted.source(), Some(present), target);
        }
    }

    fn send(&mut self, ready: &Ready<'_>, source: Json, present: Option<Json>, target: Json) {
        let sent = self.last_sent(ready).map(|sent| held_value(sent).unwrap_or(sent));
        let before = match (present, sent) {
            (Some(present), _) => (present, Some(Before::Read)),
            (None, Some(sent)) => (sent.clone(), Some(Before::Sent)),
            (None, None) => (Json::Null, None),
        };
        self.outcome.sent.insert(ready.field.address.key().to_owned(), source);
        let change = shown::change(&ready.field, ready.name.clone(), before, target.clone(), self.metadata);
        self.outcome.changes.push(change);
        wire::put(&mut self.outcome.body, &ready.field, target);
    }

    fn last_sent(&self, ready: &Ready<'_>) -> Option<&'a Json> {
        self.known?.get(ready.field.address.key())?.get("sent")
    }

    /// What Pipedrive has, as it was read or as it was seen not too long ago.
    fn present(&mut self, ready: &Ready<'_>) -> Option<Json> {
        if let Some(entity) = self.present {
            return Some(entity::value(entity, &ready.field));
        }
        let seen = self.fresh(ready)?;
        self.decided.field("reread_after", "what was last seen is trusted", &ready.name);
        Some(seen)
    }

    /// What Pipedrive last answered, while it is fresh. Of a lead's composite fields the known values hold only the first part, which
    /// says too little.
    fn fresh(&self, ready: &Ready<'_>) -> Option<Json> {
        let known = self.known?.get(ready.field.address.key())?;
        let seen = known.get("fresh").and(known.get("seen"))?;
        let whole =
            ready.field.kind.is_v2() || matches!(ready.field.address, Address::Standard(_)) || !ready.field.shape.is_composite();
        whole.then(|| entity::plain(seen, ready.field.shape))
    }
}

/// Whether the source says what it said last time: the same operation with the same items, or the same value.
fn same_source(field: &FieldRef<'_>, sent: &Json, source: &Json) -> bool {
    let operation = |v: &Json| v.get("op").cloned();
    if operation(sent) != operation(source) {
        return false;
    }
    match (sent.get("items").and_then(Json::as_array), source.get("items").and_then(Json::as_array)) {
        (Some(sent), Some(source)) => {
            sent.len() == source.len() && sent.iter().zip(source).all(|(a, b)| lists::key(field, a) == lists::key(field, b))
        }
        _ => same::same(field, sent, source),
    }
}
