//! The whole product from outside: the real binary, real sockets, an account over HTTP.

mod accounts;
mod actions;
mod backtest;
mod backup;
mod bad_input;
mod budget;
mod causes;
mod chaos;
mod commands;
mod crash;
mod editing;
mod edits;
mod ensure;
mod first_run;
#[cfg(target_os = "linux")]
mod flood;
mod gate;
mod harness;
mod hostile;
mod identity;
mod ids;
mod pinned;
#[cfg(target_os = "linux")]
mod power;
mod redaction;
mod revert;
mod schema;
mod shadow;
mod starting;
mod store_faults;
mod under_load;
mod versions;
