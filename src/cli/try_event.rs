//! `pipewright try`

use std::path::PathBuf;

use clap::Args;

use super::exit::{Failure, Outcome};
use super::{Folder, Format};

/// Show what one event would do: triggers met, plan, requests, changed fields. Writes nothing
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pipewright try identify.json --mock
  echo '{\"type\":\"identify\",\"userId\":\"u1\",\"traits\":{\"name\":\"Ada\"}}' | pipewright try - --json")]
pub(super) struct Try {
    /// File with one event as JSON; `-` reads standard input
    #[arg(value_name = "EVENT.json")]
    pub(super) event: PathBuf,
    #[command(flatten)]
    pub(super) folder: Folder,
    /// Plan against the embedded Pipedrive instead of the account
    #[arg(long)]
    pub(super) mock: bool,
    /// Source that the event is from; may be left out when there is one
    #[arg(long, value_name = "NAME")]
    pub(super) source: Option<String>,
    /// Only this rule, whether its trigger is met or not
    #[arg(long, value_name = "NAME")]
    pub(super) rule: Option<String>,
    #[command(flatten)]
    pub(super) format: Format,
}

pub(super) fn run(_args: Try) -> Outcome {
    Err(Failure::found("this build has no dry runs"))
}
