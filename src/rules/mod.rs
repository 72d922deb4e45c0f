//! The script set: rules, scripts and tables as compiled together.
//!
//! Invariants: a [`ScriptSet`] is immutable and named by the hash of its content; one that exists has compiled and passed
//! [`check()`] without errors; an attempt uses one set from start to end.

mod build;
mod check;
mod compared;
mod covered;
mod files;
mod fql;
mod index;
mod schema;
mod set;

pub use build::{BuildOptions, Built};
pub(crate) use check::below_scripts;
pub use check::{check, untested};
pub use fql::{FailedCondition, Trigger, TriggerError, TriggerExplanation};
pub use schema::{SchemaFile, read_schema_file, schema_file_name};
pub use set::{Live, Rule, ScriptSet, SetFiles, SourceSecrets, Version};
