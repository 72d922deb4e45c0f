//! What a script asks of Pipedrive, as plain data: actions in order, and the same made ready for the wire.
//!
//! Invariants: a [`Plan`] is what the script wrote, in its words; a [`Step`] is the same in Pipedrive's words (keys, ids, wire
//! values), and exists only when the whole plan passed validation against the account's metadata. Nothing here sends.

mod action;
mod body;
mod compare;
mod converted;
mod field;
#[cfg(test)]
mod fixture;
pub mod notation;
mod prepare;
mod present;
mod problem;
mod refusal;
mod shape;
mod step;
#[cfg(test)]
mod tests;
mod value;

pub use action::{Action, At, OnArchived, OnConflict, OnEmpty, OnMiss, OnMissing, OnUnknown, Options, Plan, Target, Verb};
pub use body::{Before, BodyFor, BodyOutcome, Change, KnownBy, Left, LeftAlone, PutBack, Undo, Written, body, standing, undo};
pub use compare::{ActionChange, Changed, FieldChange, all_added, compare};
pub use converted::{lead_as_deal, lead_link_as_deal, linked_leads};
pub use field::{address, article, plural};
pub use prepare::{LiteralProblem, PrepareContext, check_name, check_value, lookups, match_field, prepare};
pub use present::present;
pub use problem::{PlanProblem, ProblemKind};
pub use step::{Operation, Step, WireField};
pub use value::{Criteria, Criterion, FieldEntry, Link, Value};

pub use crate::crm::{Address, ListOp, Lookup, NewOption, OnMany, Term, WireTarget, WireValue};
