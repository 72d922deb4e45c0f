//! Putting values back that were written before.
//!
//! Invariants: only a value that is still what was written is put back, and only to a value that is known: by the records of what was
//! written, or by the changes that Pipedrive remembers, where these tell of the very writes. What somebody else wrote in between, before
//! or after, stands.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::{Before, Change, entity, is_empty, same, shown, wire};
use crate::crm::{Address, Logged, Metadata};
use crate::pipedrive::Kind;
use crate::plan::field::{self, FieldRef};
use crate::plan::shape::Shape;

/// How far apart our clock and Pipedrive's may be.
const CLOCKS: SignedDuration = SignedDuration::from_secs(60);

/// A change that was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// What.
    pub change: Change,
    /// Not before this.
    pub from: Timestamp,
    /// Not after this.
    pub to: Timestamp,
}

/// A field that is put back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PutBack {
    /// From what it is to what it was.
    #[serde(flatten)]
    pub change: Change,
    /// How it is known what it was.
    pub known_by: KnownBy,
}

/// How it is known what a field held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KnownBy {
    /// The decision record says so.
    Record,
    /// Pipedrive's changelog says so.
    Changelog,
}

/// What puts an entity back.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Undo {
    /// Body of the update; empty: there is nothing to put back.
    pub body: Map<String, Json>,
    /// What it changes.
    pub back: Vec<PutBack>,
    /// What stays as it is.
    pub left: Vec<LeftAlone>,
}

/// A field that is not put back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftAlone {
    /// Its name in the script.
    pub field: String,
    /// Why.
    pub why: Left,
}

/// Why a field is not put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Left {
    /// It holds another value by now.
    Edited,
    /// It has the value that it had before.
    Back,
    /// What it held before is not in the records.
    NotKnown,
    /// Nor does Pipedrive's changelog tell it.
    NotLogged,
    /// It was empty, and Pipedrive has no way to empty it.
    CannotBeEmptied,
    /// The account does not have the field any more.
    Gone,
}

/// Puts back what was written, oldest change first. `log` is what Pipedrive remembers of the record, newest first, when it was asked.
#[must_use]
pub fn undo(kind: Kind, present: &Map<String, Json>, written: &[Written], log: Option<&[Logged]>, metadata: &Metadata) -> Undo {
    let mut undo = Undo::default();
    let mut seen: Vec<&Address> = Vec::new();
    for (at, one) in written.iter().enumerate() {
        let change = &one.change;
        let Some(address) = &change.address else {
            undo.leave(change, Left::NotLogged);
            continue;
        };
        if seen.contains(&address) {
            continue;
        }
        seen.push(address);
        let all: Vec<&Written> = written[at..].iter().filter(|w| w.change.address.as_ref() == Some(address)).collect();
        match field::at(kind, address, metadata) {
            Some(field) => undo.field(&field, present, &all, log, metadata),
            None => undo.leave(change, Left::Gone),
        }
    }
    undo
}

/// The body that would empty the fields which still hold what was written, whatever they held before. Changes of a field are given newest
/// last.
#[must_use]
pub fn standing(kind: Kind, present: &Map<String, Json>, changes: &[Change], metadata: &Metadata) -> Map<String, Json> {
    let mut body = Map::new();
    let mut seen: Vec<&Address> = Vec::new();
    for change in changes.iter().rev() {
        let Some(address) = change.address.as_ref().filter(|address| !seen.contains(address)) else { continue };
        seen.push(address);
        if let Some(field) = field::at(kind, address, metadata)
            && same::same(&field, &entity::value(present, &field), &change.after)
        {
            wire::put(&mut body, &field, Json::Null);
        }
    }
    body
}

impl Undo {
    fn leave(&mut self, change: &Change, why: Left) {
        self.left.push(LeftAlone { field: change.field.clone(), why });
    }

    /// `written` are the changes of the field, oldest first; there is one at least.
    fn field(
        &mut self,
        field: &FieldRef<'_>,
        present: &Map<String, Json>,
        written: &[&Written],
        log: Option<&[Logged]>,
        metadata: &Metadata,
    ) {
        let [.., newest] = written else { return };
        let now = entity::value(present, field);
        let stands = same::same(field, &now, &newest.change.after);
        // Back through what follows on each other: between two that do not, somebody else has written, and that stands.
        let follows = |pair: &[&Written]| same::same(field, &pair[0].change.after, &pair[1].change.before);
        let unbroken = written.windows(2).rev().take_while(|pair| follows(pair)).count();
        let chain = &written[written.len() - 1 - unbroken..];
        let first = &chain[0].change;
        let recorded = match first.before_is {
            Some(Before::Read) => Some(first.before.clone()),
            // An operation on a list that was sent says nothing of what the list was.
            Some(Before::Sent) if first.before.get("op").is_none() => Some(first.before.clone()),
            _ => None,
        };
        if recorded.as_ref().is_some_and(|before| same::same(field, &now, before)) {
            return self.leave(&newest.change, Left::Back);
        }
        if !stands {
            return self.leave(&newest.change, Left::Edited);
        }
        let (before, known_by) = match (recorded, log) {
            (Some(before), _) => (before, KnownBy::Record),
            (None, None) => return self.leave(first, Left::NotKnown),
            (None, Some(log)) => match logged(field, chain, log) {
                Some(before) => (before, KnownBy::Changelog),
                None => return self.leave(first, Left::NotLogged),
            },
        };
        if is_empty(&before) && !field.clears {
            return self.leave(&newest.change, Left::CannotBeEmptied);
        }
        let target = if is_empty(&before) { Json::Null } else { before };
        let name = newest.change.field.clone();
        let change = shown::change(field, name, (now, Some(Before::Read)), target.clone(), metadata);
        self.back.push(PutBack { change, known_by });
        wire::put(&mut self.body, field, target);
    }
}

/// What the field held before the first of these writes, by entries that are these writes' own.
fn logged(field: &FieldRef<'_>, chain: &[&Written], log: &[Logged]) -> Option<Json> {
    let key = match (field.kind, field.address.key()) {
        (Kind::Deal, "owner_id") => "user_id",
        (_, key) => key,
    };
    let mut entries = log.iter().filter(|entry| entry.key == key);
    let mut first = None;
    for (at, written) in chain.iter().enumerate().rev() {
        // A write of what was there already changes nothing.
        if at > 0 && same::same(field, &written.change.after, &chain[at - 1].change.after) {
            continue;
        }
        let entry = entries.next()?;
        let in_time = written.from - CLOCKS <= entry.at && entry.at <= written.to + CLOCKS;
        if !in_time || !same::same(field, &of_text(field.shape, entry.new.as_deref())?, &written.change.after) {
            return None;
        }
        first = Some(entry);
    }
    of_text(field.shape, first?.old.as_deref())
}

/// A value of the changelog in the shape of v2. None: how it is written there is not known well enough.
fn of_text(shape: Shape, text: Option<&str>) -> Option<Json> {
    let text = text.unwrap_or_default();
    if text.is_empty() {
        return Some(Json::Null);
    }
    match shape {
        Shape::Text | Shape::Date | Shape::Currency | Shape::Word(_) | Shape::Time | Shape::Duration => Some(text.into()),
        Shape::Number | Shape::Whole | Shape::DealValue => serde_json::from_str::<serde_json::Number>(text).ok().map(Json::from),
        Shape::Choice | Shape::User | Shape::Link(_) | Shape::Named(_) | Shape::Stage | Shape::Pipeline => {
            text.parse::<i64>().ok().map(Json::from)
        }
        _ => None,
    }
}
