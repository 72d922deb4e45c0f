//! `pipewright serve`

use std::net::SocketAddr;

use clap::Args;

use super::Folder;
use super::exit::{Failure, Outcome};
use crate::telemetry::{LogFormat, init_logging};

/// Run the daemon: receive events, run the rules, write to Pipedrive
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pipewright serve --mock               everything runs, against an embedded Pipedrive
  pipewright serve --dir /etc/pipewright --log-format json")]
pub(super) struct Serve {
    #[command(flatten)]
    pub(super) folder: Folder,
    /// Write to an embedded Pipedrive instead of the real one; secrets that are not set are `mock`
    #[arg(long)]
    pub(super) mock: bool,
    /// Where to receive events, instead of server.listen
    #[arg(long, value_name = "ADDRESS")]
    pub(super) listen: Option<SocketAddr>,
    /// Where to serve the admin API, instead of admin.listen
    #[arg(long, value_name = "ADDRESS")]
    pub(super) admin_listen: Option<SocketAddr>,
    /// How log lines are written: `text` or `json`
    #[arg(long, value_name = "FORMAT", default_value = "text", env = "PIPEWRIGHT_LOG_FORMAT")]
    pub(super) log_format: LogFormat,
    /// What is logged: `info`, or finer, such as `info,pipewright::delivery=debug`
    #[arg(long, value_name = "FILTER", default_value = "info", env = "PIPEWRIGHT_LOG")]
    pub(super) log: String,
}

pub(super) fn run(args: Serve) -> Outcome {
    init_logging(args.log_format, &args.log).map_err(Failure::wrong)?;
    Err(Failure::found("this build has no daemon"))
}
