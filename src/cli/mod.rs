//! The command line: one file a command.
//!
//! Invariants: standard output carries the answer and nothing else, standard error the rest; `--json` answers are one JSON
//! document; the exit code is 0, or 1 when a command found something or could not do it, or 2 when it was used wrongly (arguments,
//! configuration); a closed pipe ends a command quietly.

mod account;
mod annotations;
mod backtest;
mod backup;
mod check;
mod budget;
mod client;
mod definitions;
mod duplicates;
mod events;
mod exit;
mod explain;
mod fields;
mod forget;
mod ids;
mod import_segment;
mod init;
mod mock;
mod output;
mod pause;
mod reload;
mod restore;
mod revert;
mod rollback;
mod serve;
mod shadow;
mod status;
mod store;
mod test;
mod try_event;
mod unified;
mod unpin;
mod versions;
mod webhooks;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use exit::Outcome;

/// Lands Segment customer events in Pipedrive, by rules that you edit while it runs.
#[derive(Debug, Parser)]
#[command(name = "pipewright", version, arg_required_else_help = true, after_help = EXIT_CODES)]
#[command(propagate_version = true, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
First steps:
  pipewright init my-rules              a working folder: rules, scripts, tests
  pipewright serve --mock --dir my-rules
                                        everything runs, against an embedded Pipedrive

Exit codes: 0 all is well; 1 something was found or could not be done; 2 used wrongly (arguments, rules.toml).";

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
    Check(check::Check),
    Explain(explain::Explain),
    Try(try_event::Try),
    Test(test::Test),
    Backtest(backtest::Backtest),
    #[command(subcommand)]
    Events(events::Events),
    #[command(subcommand)]
    Fields(fields::Fields),
    #[command(subcommand)]
    Ids(ids::Ids),
    Definitions(definitions::Definitions),
    Duplicates(duplicates::Find),
    Forget(forget::Forget),
    Backup(backup::Backup),
    Restore(restore::Restore),
    Revert(revert::Revert),
    Status(status::Status),
    Budget(budget::Budget),
    #[command(subcommand)]
    Webhooks(webhooks::Webhooks),
    Reload(reload::Reload),
    #[command(subcommand)]
    Versions(versions::Versions),
    Rollback(rollback::Rollback),
    Shadow(shadow::Shadow),
    Unpin(unpin::Unpin),
    #[command(subcommand)]
    Pause(pause::Pause),
    #[command(subcommand)]
    Resume(pause::Resume),
    Mock(mock::Mock),
    Init(init::Init),
    ImportSegment(import_segment::ImportSegment),
}

/// The folder that a command works on.
#[derive(Debug, Args)]
struct Folder {
    /// Folder with rules.toml and scripts/
    #[arg(long, value_name = "DIR", default_value = ".", env = "PIPEWRIGHT_DIR")]
    dir: PathBuf,
}

/// How a command answers.
#[derive(Debug, Clone, Copy, Args)]
struct Format {
    /// Answer as one JSON document
    #[arg(long)]
    json: bool,
}

/// Runs the command that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    run(std::env::args_os())
}

fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    match Cli::try_parse_from(arguments) {
        Ok(cli) => exit::report(dispatch(cli.command)),
        Err(usage) => {
            // Help goes to standard output; a reader that has gone away is no failure.
            drop(usage.print());
            ExitCode::from(u8::try_from(usage.exit_code()).unwrap_or(exit::USED_WRONGLY))
        }
    }
}

fn dispatch(command: Command) -> Outcome {
    match command {
        Command::Serve(args) => serve::run(args),
        Command::Check(args) => check::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Try(args) => try_event::run(args),
        Command::Test(args) => test::run(args),
        Command::Backtest(args) => backtest::run(args),
        Command::Events(args) => events::run(args),
        Command::Fields(args) => fields::run(args),
        Command::Ids(args) => ids::run(args),
        Command::Definitions(args) => definitions::run(&args),
        Command::Duplicates(args) => duplicates::run(&args),
        Command::Forget(args) => forget::run(args),
        Command::Backup(args) => backup::run(args),
        Command::Restore(args) => restore::run(args),
        Command::Revert(args) => revert::run(args),
        Command::Status(args) => status::run(&args),
        Command::Budget(args) => budget::run(&args),
        Command::Webhooks(args) => webhooks::run(&args),
        Command::Reload(args) => reload::run(&args),
        Command::Versions(args) => versions::run(&args),
        Command::Rollback(args) => rollback::run(&args),
        Command::Shadow(args) => shadow::run(&args),
        Command::Unpin(args) => unpin::run(&args),
        Command::Pause(args) => pause::pause(&args),
        Command::Resume(args) => pause::resume(&args),
        Command::Mock(args) => mock::run(args),
        Command::Init(args) => init::run(&args),
        Command::ImportSegment(args) => import_segment::run(args),
    }
}
