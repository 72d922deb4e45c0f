//! The admin API.

mod api;
pub(crate) mod harness;
