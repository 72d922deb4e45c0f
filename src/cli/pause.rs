//! `pipewright pause` and `pipewright resume`

use clap::{Args, Subcommand};
use serde_json::Value;

use super::Format;
use super::client::Daemon;
use super::exit::Outcome;
use super::output::{say, say_json};
use crate::console::ScopeRequest;
use crate::delivery::Scope;

/// Hold the deliveries of an account or a rule; events are still taken
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Example:
  pipewright pause rule person --reason \"wrong owner, being mended\"
  pipewright resume rule person")]
pub(super) enum Pause {
    /// Hold all deliveries to a Pipedrive account
    #[command(after_help = "Example:\n  pipewright pause account main --reason \"data import until noon\"")]
    Account(PauseNamed),
    /// Hold all deliveries of a rule
    #[command(after_help = "Example:\n  pipewright pause rule person --reason \"wrong owner, being mended\"")]
    Rule(PauseNamed),
}

#[derive(Debug, Args)]
pub(super) struct PauseNamed {
    /// Its name in rules.toml
    name: String,
    /// Why; `status` shows it
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    daemon: Daemon,
    #[command(flatten)]
    format: Format,
}

/// Let an account or a rule go on
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Example:
  pipewright resume account main")]
pub(super) enum Resume {
    /// Let the deliveries to a Pipedrive account go on
    #[command(after_help = "Example:\n  pipewright resume account main")]
    Account(Named),
    /// Let the deliveries of a rule go on
    #[command(after_help = "Example:\n  pipewright resume rule person")]
    Rule(Named),
}

#[derive(Debug, Args)]
pub(super) struct Named {
    /// Its name in rules.toml
    name: String,
    #[command(flatten)]
    daemon: Daemon,
    #[command(flatten)]
    format: Format,
}

pub(super) fn pause(command: &Pause) -> Outcome {
    let (args, scope, word) = match command {
        Pause::Account(args) => (args, Scope::Account(args.name.clone()), "account"),
        Pause::Rule(args) => (args, Scope::Rule(args.name.clone()), "rule"),
    };
    let request = ScopeRequest { scope, reason: args.reason.clone() };
    let done = args.daemon.post("/api/pause", &request)?.read::<Value>()?;
    tell(args.format, &done, &format!("paused: {word} {}", args.name))
}

pub(super) fn resume(command: &Resume) -> Outcome {
    let (args, scope, word) = match command {
        Resume::Account(args) => (args, Scope::Account(args.name.clone()), "account"),
        Resume::Rule(args) => (args, Scope::Rule(args.name.clone()), "rule"),
    };
    let done = args.daemon.post("/api/resume", &ScopeRequest { scope, reason: None })?.read::<Value>()?;
    tell(args.format, &done, &format!("resumed: {word} {}", args.name))
}

fn tell(format: Format, done: &Value, text: &str) -> Outcome {
    if format.json {
        say_json(done)?;
    } else {
        say(text)?;
    }
    Ok(())
}
