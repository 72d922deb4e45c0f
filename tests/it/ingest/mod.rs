//! The event listener at its HTTP contract.

mod aliases;
mod bad_input;
mod batch;
mod connections;
mod cors;
mod durable;
mod harness;
mod overload;
mod tracking;
mod webhook;
