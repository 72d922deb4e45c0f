//! Putting values back that were written before.
//!
//! Invariants: only a value that is still what was written is put back, and only to a value that is known; what somebody else wrote in
//! between, before or after, stands.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::{Before, Change, entity, is_empty, same, shown, wire};
use crate::crm::{Address, Metadata};
use crate::pipedrive::Kind;
use crate::plan::field::{self, FieldRef};

/// What puts an entity back.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Undo {
    /// Body of the update; empty: there is nothing to put back.
    pub body: Map<String, Json>,
    /// What it changes.
    pub back: Vec<Change>,
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
    /// What it held before is not known.
    NotKnown,
    /// It was empty, and Pipedrive has no way to empty it.
    CannotBeEmptied,
    /// The account does not have the field any more.
    Gone,
}

/// Puts back what was written, oldest change first.
#[must_use]
pub fn undo(kind: Kind, present: &Map<String, Json>, written: &[Change], metadata: &Metadata) -> Undo {
    let mut undo = Undo::default();
    let mut seen: Vec<&Address> = Vec::new();
    for (at, change) in written.iter().enumerate() {
        let Some(address) = &change.address else {
            undo.leave(change, Left::NotKnown);
            continue;
        };
        if seen.contains(&address) {
            continue;
        }
        seen.push(address);
        let all: Vec<&Change> = written[at..].iter().filter(|c| c.address.as_ref() == Some(address)).collect();
        match field::at(kind, address, metadata) {
            Some(field) => undo.field(&field, present, &all, metadata),
            None => undo.leave(change, Left::Gone),
        }
    }
    undo
}

impl Undo {
    fn leave(&mut self, change: &Change, why: Left) {
        self.left.push(LeftAlone { field: change.field.clone(), why });
    }

    /// `written` are the changes of the field, oldest first; there is one at least.
    fn field(&mut self, field: &FieldRef<'_>, present: &Map<String, Json>, written: &[&Change], metadata: &Metadata) {
        let [.., newest] = written else { return };
        let now = entity::value(present, field);
        if !same::same(field, &now, &newest.after) {
            return self.leave(newest, Left::Edited);
        }
        // Back through what follows on each other: between two that do not, somebody else has written, and that stands.
        let follows = |pair: &[&Change]| same::same(field, &pair[0].after, &pair[1].before);
        let unbroken = written.windows(2).rev().take_while(|pair| follows(pair)).count();
        let first = written[written.len() - 1 - unbroken];
        let before = match first.before_is {
            Some(Before::Read) => first.before.clone(),
            // An operation on a list that was sent says nothing of what the list was.
            Some(Before::Sent) if first.before.get("op").is_none() => first.before.clone(),
            _ => return self.leave(first, Left::NotKnown),
        };
        if same::same(field, &now, &before) {
            return self.leave(newest, Left::Back);
        }
        if is_empty(&before) && !field.clears {
            return self.leave(newest, Left::CannotBeEmptied);
        }
        let target = if is_empty(&before) { Json::Null } else { before };
        self.back.push(shown::change(field, newest.field.clone(), (now, Some(Before::Read)), target.clone(), metadata));
        wire::put(&mut self.body, field, target);
    }
}
