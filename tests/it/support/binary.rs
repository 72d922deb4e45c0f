//! The real binary: how it is called, and what it said.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// What a developer's shell may have set.
const VARIABLES: [&str; 6] = [
    "PIPEWRIGHT_DIR",
    "PIPEWRIGHT_LOG",
    "PIPEWRIGHT_LOG_FORMAT",
    "PIPEWRIGHT_WRITE_KEY",
    "PIPEDRIVE_API_TOKEN",
    // Naming the functions of one panic takes longer than a script may.
    "RUST_BACKTRACE",
];

/// Another build to try in place of the one that belongs to these tests.
const BINARY: &str = "PIPEWRIGHT_BINARY";

/// The binary with these arguments; nothing on its input, none of its settings in the environment.
pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os(BINARY).unwrap_or_else(|| env!("CARGO_BIN_EXE_pipewright").into()));
    command.args(args).stdin(Stdio::null());
    for variable in VARIABLES {
        command.env_remove(variable);
    }
    command
}

/// The same for tests that must go on meanwhile: they serve what it asks. It is killed when dropped.
pub(crate) fn command_async(args: &[&str]) -> tokio::process::Command {
    let mut command = tokio::process::Command::from(command(args));
    command.kill_on_drop(true);
    command
}

/// Runs it to its end.
pub(crate) fn run(args: &[&str]) -> Output {
    command(args).output().expect("the binary starts")
}

/// The same in a folder.
pub(crate) fn in_dir(dir: &Path, args: &[&str]) -> Output {
    command(args).current_dir(dir).output().expect("the binary starts")
}

pub(crate) fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub(crate) fn code(output: &Output) -> i32 {
    output.status.code().expect("an exit code")
}

/// Its answer as JSON.
pub(crate) fn parsed(output: &Output) -> Value {
    serde_json::from_str(&out(output)).unwrap_or_else(|e| panic!("{e}: {}{}", out(output), err(output)))
}
