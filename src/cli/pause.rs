//! `pipewright pause` and `pipewright resume`

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Format;
use super::client::Daemon;
use super::exit::{Failure, Outcome};
use super::output::{complain, say, say_json};
use crate::console::{ScopeRequest, Status};
use crate::delivery::Scope;

/// How often the daemon is asked whether everything has ended.
const BETWEEN: Duration = Duration::from_millis(200);

/// Hold the deliveries of an account or a rule; events are still taken
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Example:
  pipewright pause rule person --reason \"wrong owner, being mended\"
  pipewright resume rule person

No delivery is begun from then on. The command returns when those that were under way have ended or wait, too.")]
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
    /// Return at once: what is under way goes on to its end by itself
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    daemon: Daemon,
    #[command(flatten)]
    format: Format,
}

/// Let an account or a rule go on
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Example:
  pipewright resume account main

After a pause for a spent budget or Pipedrive's firewall one request goes first; the others wait for what becomes of it.")]
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
    let mut done = args.daemon.post("/api/pause", &request)?.read::<Value>()?;
    let running = if args.no_wait { under_way(args, &request.scope)? } else { wait(args, &request.scope)? };
    done["running"] = json!(running);
    let still = if running == 0 { String::new() } else { format!("; {running} under way go on to their end") };
    tell(args.format, &done, &format!("paused: {word} {}{still}", args.name))
}

/// Waits until nothing of what was paused is under way. Ctrl-C ends the waiting and leaves the pause.
#[expect(clippy::disallowed_methods, reason = "a command has nothing else to do on its only thread")]
fn wait(args: &PauseNamed, scope: &Scope) -> Result<u64, Failure> {
    let mut said = 0;
    loop {
        let running = under_way(args, scope)?;
        if running == 0 {
            return Ok(0);
        }
        if running != said && !args.format.json {
            complain(&format!("paused; waiting for {running} under way to end (Ctrl-C stops waiting, the pause stays)"));
        }
        said = running;
        std::thread::sleep(BETWEEN);
    }
}

/// How much of what was paused is under way.
fn under_way(args: &PauseNamed, scope: &Scope) -> Result<u64, Failure> {
    let status: Status = args.daemon.get("/api/status")?.read()?;
    let delivery = status.delivery;
    let found = match scope {
        Scope::Account(name) => delivery.accounts.into_iter().find(|a| a.name == *name).map(|a| (a.running, a.paused)),
        Scope::Rule(name) => delivery.rules.into_iter().find(|r| r.name == *name).map(|r| (r.running, r.paused)),
    };
    match found {
        Some((running, Some(_))) => Ok(running),
        _ => Err(Failure::found(format!("{} was resumed by somebody else meanwhile, or is gone", args.name))),
    }
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
