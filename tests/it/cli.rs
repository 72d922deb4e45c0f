//! The command line: the real binary, its answers and exit codes.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::support::temp_dir;

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pipewright"));
    command.args(args).stdin(Stdio::null()).env_remove("PIPEWRIGHT_DIR").env_remove("PIPEWRIGHT_LOG");
    command
}

fn run(args: &[&str]) -> Output {
    command(args).output().expect("the binary starts")
}

fn in_dir(dir: &Path, args: &[&str]) -> Output {
    command(args).current_dir(dir).output().expect("the binary starts")
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("an exit code")
}

/// Every command, as its words.
fn every_command() -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut open = vec![Vec::<String>::new()];
    while let Some(words) = open.pop() {
        let mut args: Vec<&str> = words.iter().map(String::as_str).collect();
        args.push("--help");
        let help = out(&run(&args));
        let listed = help.split_once("Commands:\n").map_or("", |(_, rest)| rest.split("\n\n").next().unwrap_or(""));
        let children: Vec<_> = listed
            .lines()
            .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
            .filter_map(|line| line.split_whitespace().next())
            .map(|name| [words.clone(), vec![name.to_owned()]].concat())
            .collect();
        if children.is_empty() {
            found.push(words);
        }
        open.extend(children);
    }
    found
}

#[test]
fn every_command_has_help_with_an_example() {
    let commands = every_command();
    assert!(commands.len() >= 12, "{commands:?}");
    for words in commands {
        let mut args: Vec<&str> = words.iter().map(String::as_str).collect();
        args.push("--help");
        let output = run(&args);
        assert_eq!(code(&output), 0, "{words:?}");
        let help = out(&output);
        assert!(help.contains("Example"), "{words:?} has no example:\n{help}");
        assert!(help.contains(&format!("pipewright {}", words.join(" "))), "{words:?}: the example does not show the command");
    }
}

#[test]
fn wrong_use_is_exit_code_2_with_a_suggestion() {
    let output = run(&["staus"]);
    assert_eq!(code(&output), 2);
    assert!(err(&output).contains("status"), "{}", err(&output));
    assert_eq!(code(&run(&["events", "list", "--nonsense"])), 2);
    assert_eq!(code(&run(&[])), 2);
}

#[test]
fn without_a_daemon_the_socket_is_named_and_what_to_do() {
    let dir = temp_dir();
    crate::support::write(dir.path(), "rules.toml", "[server]\ndata_dir = \"var\"\n");
    for args in [&["status"][..], &["events", "list"], &["reload"], &["pause", "rule", "person"]] {
        let output = in_dir(dir.path(), args);
        assert_eq!(code(&output), 1, "{args:?}");
        let text = err(&output);
        assert!(text.contains("var/pipewright.sock") && text.contains("pipewright serve --dir"), "{text}");
        assert_eq!(out(&output), "");
    }
}

#[test]
fn replay_and_discard_must_know_what() {
    for command in ["replay", "discard"] {
        let output = run(&["events", command]);
        assert_eq!(code(&output), 2, "{command}");
        let output = run(&["events", command, "17/person", "--state", "dead"]);
        assert_eq!(code(&output), 2, "{command}");
    }
    let output = run(&["events", "discard", "--state", "dead"]);
    assert_eq!(code(&output), 2);
    assert!(err(&output).contains("--yes"), "{}", err(&output));
}

#[test]
fn a_closed_pipe_ends_a_command_quietly() {
    let mut child = command(&["--help"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(code(&output), 0);
    assert!(!err(&output).contains("panicked"), "{}", err(&output));
}
