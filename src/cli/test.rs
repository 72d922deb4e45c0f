//! `pipewright test`

use clap::Args;

use super::exit::{Failure, Outcome};
use super::{Folder, Format};

/// Run the script tests in scripts/tests/
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  pipewright test --filter person

Exits with 1 when a test fails.")]
pub(super) struct Test {
    #[command(flatten)]
    pub(super) folder: Folder,
    /// Only tests whose file or name contains this
    #[arg(long, value_name = "TEXT")]
    pub(super) filter: Option<String>,
    #[command(flatten)]
    pub(super) format: Format,
}

pub(super) fn run(_args: Test) -> Outcome {
    Err(Failure::found("this build has no script tests"))
}
