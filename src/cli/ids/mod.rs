//! `pipewright ids`

mod file;
mod import;

use clap::Subcommand;

use super::exit::Outcome;

/// Say which records in Pipedrive your ids stand for
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  pipewright ids import people.csv
  pipewright ids import people.csv --yes")]
pub(super) enum Ids {
    Import(import::Import),
}

pub(super) fn run(command: Ids) -> Outcome {
    match command {
        Ids::Import(args) => import::run(&args),
    }
}
