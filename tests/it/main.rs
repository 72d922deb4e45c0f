//! Everything that is tested at a contract: HTTP, scripts, command line, store trait. Real sockets, loopback only.

mod cli;
mod console;
mod cookbook;
mod delivery;
mod e2e;
mod economy;
mod errors;
mod fuzzing;
mod ingest;
mod layout;
mod mock;
mod pipedrive;
mod plan;
mod policies;
mod reload;
mod rules;
mod script;
mod segment;
mod shipped;
mod store;
mod support;
mod testing;
