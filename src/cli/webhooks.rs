//! `pipewright webhooks`

use clap::{Args, Subcommand};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Format;
use super::client::Daemon;
use super::exit::{Failure, Outcome};
use super::output::{printable, say, say_json};
use crate::console::{Ended, WebhooksAnswer, WebhooksRequest};
use crate::crm::{Checked, Registered};

/// Have Pipedrive tell what people change there
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  pipewright webhooks register
  pipewright webhooks check --account main
  pipewright webhooks remove

Accounts that have `webhooks` under [pipedrive.NAME] in rules.toml are meant: the address at which Pipedrive reaches server.listen, and a \
password. The running daemon does it, and looks once in check_every whether Pipedrive has them still. `pipewright status` shows what came; docs/webhooks.md.")]
pub(super) enum Webhooks {
    /// Ask Pipedrive to tell of all changes; once, however often it is run
    #[command(after_help = "\
Example:
  pipewright webhooks register

10 tokens to look for those that are there, 10 to register. After a change of url, user or password in rules.toml run it again.")]
    Register(Which),
    /// Look whether Pipedrive has them still; make them anew and ask for what was missed when it has not
    #[command(after_help = "\
Example:
  pipewright webhooks check --account main

10 tokens; 10 more to make them anew, and 10 for each kind whose changes are asked for.")]
    Check(Which),
    /// End them
    #[command(after_help = "\
Example:
  pipewright webhooks remove

10 tokens to look for them, 6 for each.")]
    Remove(Which),
}

/// Whose, and how to answer.
#[derive(Debug, Args)]
pub(super) struct Which {
    /// Only this account
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    #[command(flatten)]
    daemon: Daemon,
    #[command(flatten)]
    format: Format,
}

pub(super) fn run(command: &Webhooks) -> Outcome {
    match command {
        Webhooks::Register(which) => which.ask("register", registered),
        Webhooks::Check(which) => which.ask("check", checked),
        Webhooks::Remove(which) => which.ask("remove", ended),
    }
}

impl Which {
    fn ask<T: DeserializeOwned + Serialize>(&self, what: &str, line: fn(&T) -> String) -> Outcome {
        let request = WebhooksRequest { account: self.account.clone() };
        let answer = self.daemon.post(&format!("/api/webhooks/{what}"), &request)?;
        let body = answer.body.clone();
        let done: WebhooksAnswer<T> = answer.read()?;
        if self.format.json {
            return Ok(say_json(&body)?);
        }
        let lines = done.accounts.iter().map(|of| format!("{}: {}\n", of.account, line(&of.done))).collect::<String>();
        say(&format!("{lines}{} tokens\n", done.tokens)).map_err(Failure::from)
    }
}

fn registered(done: &Registered) -> String {
    let made = if done.made { "registered" } else { "was registered already" };
    let mut line = format!("{made}: Pipedrive tells {} of all changes (subscription {})", done.url, done.subscription);
    if !done.ended.is_empty() {
        line.push_str(&format!("; ended an earlier one: {}", numbers(&done.ended)));
    }
    line
}

fn checked(done: &Checked) -> String {
    match done {
        Checked::Well => "Pipedrive has them, and what it last sent was taken".to_owned(),
        Checked::Refused { status } => format!(
            "Pipedrive has them, but what it last sent was answered {status}: look whether the address in rules.toml leads here. What was \
             missed was asked for"
        ),
        Checked::Changed { registered: made } => {
            format!("they were made with other settings; {}. What was missed was asked for", registered(made))
        }
        Checked::Renewed { registered: made, reason } => {
            let why = reason.as_ref().map(|reason| format!(" ({})", printable(reason))).unwrap_or_default();
            format!("Pipedrive had ended them{why}; {}. What was missed was asked for", registered(made))
        }
    }
}

fn ended(done: &Ended) -> String {
    if done.ended.is_empty() { "there were none".to_owned() } else { format!("ended: {}", numbers(&done.ended)) }
}

fn numbers(ids: &[u64]) -> String {
    ids.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")
}
