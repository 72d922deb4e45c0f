//! What we know of an account: its metadata, the match index, known values.
//!
//! Invariants: a failed look-up is a failure, never "not found"; every hit of a search is verified locally before it counts;
//! everything here is per account.

mod lookup;
mod metadata;
mod normalise;
pub mod standard;

pub use lookup::{Address, ListOp, Lookup, OnMany, Term, WireTarget, WireValue};
pub use metadata::{Field, FieldOption, FieldType, LeadLabel, Me, Metadata, Pipeline, Stage, User};
pub use normalise::{field_value, holds, normalise, values};
pub use standard::{Finding, Standard, StandardType, Writable};
