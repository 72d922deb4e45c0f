//! The store at its trait.

mod append;
mod support;
