//! The store at its trait.

mod aliases;
mod append;
mod copies;
mod failure;
mod lists;
mod model;
mod opening;
mod outcome;
mod outcomes;
mod retention;
mod support;
