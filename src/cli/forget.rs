//! `pipewright forget`

use clap::Args;

use super::Format;
use super::client::Daemon;
use super::exit::{Failure, Outcome};
use super::output::{complain, printable, say, say_json};
use crate::console::{ForgetAnswer, ForgetRequest};
use crate::delivery::Counts;

/// Said after each erasure: what it does not reach. In lines for a terminal of 80 columns.
const REMAINS: &str = "\
What remains, for you to see to:
  Pipedrive   what was written there; delete the person there, or let a rule do
              it (docs/identity.md)
  backups     those from before; restored, they hold the user again
  senders     what Segment and your own systems keep
Logs and metrics hold no ids of users. The messageIds stay until
server.dedupe_window is over, so that resent events are not taken again.";

/// Erase what is kept of a user: events, decisions, index entries, known values
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pipewright forget u-1
  pipewright forget u-1 --yes

Without --yes it is only counted. What waits to be delivered is dropped; what is under way is waited for. Events of the user's \
anonymousIds and of ids that an alias made theirs go as well, and so do refused and unmatched events. Nothing is sent to Pipedrive.")]
pub(super) struct Forget {
    /// A userId
    #[arg(value_name = "USER")]
    user: String,
    /// Only deliveries and knowledge of this Pipedrive account; events that others had a part in stay
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// Do erase it
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    daemon: Daemon,
    #[command(flatten)]
    format: Format,
}

pub(super) fn run(args: Forget) -> Outcome {
    let mut request = ForgetRequest { user: args.user, account: args.account, erase: args.yes, so_far: None };
    let answer = loop {
        let mut answer: ForgetAnswer = args.daemon.post("/api/forget", &request)?.read()?;
        request.so_far = answer.so_far.take();
        if request.so_far.is_none() {
            break answer;
        }
        complain(&format!("erased so far: {}", counts(&answer.counts)));
    };
    let scrubbed = answer.tombstone.as_ref().is_none_or(|tombstone| tombstone.scrubbed);
    if args.format.json {
        say_json(&answer)?;
    } else if answer.tombstone.is_some() {
        say(&format!("erased: {}\n{}\n{REMAINS}", counts(&answer.counts), joined(&answer)))?;
    } else {
        say(&format!("found: {}\n{}Add --yes to erase it.", counts(&answer.counts), joined(&answer)))?;
    }
    if scrubbed {
        return Ok(());
    }
    Err(Failure::found(
        "the rows are gone, but long queries kept the store's log of changes (pipewright.db-wal) from being emptied: run this again",
    ))
}

/// The ids that go together, when aliases have joined several.
fn joined(answer: &ForgetAnswer) -> String {
    if answer.users.len() < 2 {
        return String::new();
    }
    let ids = answer.users.iter().map(|id| printable(id)).collect::<Vec<_>>().join(", ");
    format!("under {} ids, which alias events have made one user: {ids}\n", answer.users.len())
}

fn counts(counts: &Counts) -> String {
    let Counts { events, unmatched, rejected, deliveries, discarded, entities } = counts;
    format!(
        "{events} events with {deliveries} deliveries ({discarded} of them not carried out), {unmatched} unmatched and {rejected} \
         refused events, what is known of {entities} entities in Pipedrive"
    )
}
