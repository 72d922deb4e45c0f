//! `pipewright fields`

mod ensure;
mod list;
mod pinned;
mod pull;

use std::path::Path;
use std::{fs, io};

use clap::Subcommand;

use super::exit::Outcome;

/// The fields that an account has, and those that your rules need
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  pipewright fields list --mock --kind person")]
pub(super) enum Fields {
    List(list::List),
    Ensure(ensure::Ensure),
    Pull(pull::Pull),
}

pub(super) fn run(command: Fields) -> Outcome {
    match command {
        Fields::List(args) => list::run(&args),
        Fields::Ensure(args) => ensure::run(&args),
        Fields::Pull(args) => pull::run(&args),
    }
}

/// Puts the text in the file's place at once. The hidden name beside it is one that no reading of the folder takes.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let name = path.file_name().ok_or_else(|| io::Error::other("it names no file"))?.to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let written = fs::write(&beside, text).and_then(|()| fs::rename(&beside, path));
    written.inspect_err(|_| drop(fs::remove_file(&beside)))
}
