//! Pipewright receives customer events in Segment's format, runs the Rhai scripts whose trigger they meet, and carries out
//! in Pipedrive what the scripts decide.
//!
//! This page is the map. Imports run downwards only, in the order of the modules below; a test holds them to it.

pub mod cli;
pub mod daemon;
pub mod console;
pub mod reload;
pub mod testing;
pub mod segment;
pub mod delivery;
pub mod ingest;
pub mod rules;
pub mod script;
pub mod plan;
pub mod crm;
pub mod mock;
pub mod pipedrive;
pub mod store;
pub mod event;
pub mod config;
pub mod telemetry;
pub mod diagnostic;
pub mod lines;
pub mod headers;
pub mod failure;
pub mod crash;
