//! The command line: the real binary, its answers and exit codes.

mod commands;
mod definitions;
mod duplicates;
mod paths;

use std::process::Stdio;

use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::support::binary::{code, command, command_async, err, in_dir, out, parsed, run};
use crate::support::{get, request, temp_dir, write};

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
fn paragraphs_of_help_are_wrapped_by_the_terminal_alone() {
    const COLUMNS: usize = 80;
    for words in every_command() {
        let args: Vec<&str> = words.iter().map(String::as_str).chain(["--help"]).collect();
        let help = out(&command(&args).env("COLUMNS", COLUMNS.to_string()).output().expect("the binary starts"));
        let lines: Vec<&str> = help.lines().collect();
        for pair in lines.windows(2).filter(|pair| pair.iter().all(|line| !line.is_empty() && !line.starts_with(' '))) {
            let next = pair[1].split(' ').next().map_or(0, |word| word.chars().count());
            assert!(
                pair[0].chars().count() + 1 + next > COLUMNS,
                "{words:?}: a line break of its own after {:?}:\n{help}",
                pair[0]
            );
        }
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
    write(dir.path(), "rules.toml", "[server]\ndata_dir = \"var\"\n");
    for args in [&["status"][..], &["budget"], &["events", "list"], &["reload"], &["pause", "rule", "person"]] {
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
}

#[test]
fn a_closed_pipe_ends_a_command_quietly() {
    let mut child = command(&["--help"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(code(&output), 0);
    assert!(!err(&output).contains("panicked"), "{}", err(&output));
}

const RULES: &str = r#"
[sources.website]
write_keys = ["env:PIPEWRIGHT_TEST_UNSET"]

[pipedrive.main]
domain = "acme"
api_token = "env:PIPEWRIGHT_TEST_UNSET"

[[rules]]
name = "person"
when = 'type = "identify"'
script = "person.rhai"
"#;

/// A folder with one rule.
fn folder(rules: &str, script: &str) -> tempfile::TempDir {
    let dir = temp_dir();
    write(dir.path(), "rules.toml", rules);
    write(dir.path(), "scripts/person.rhai", script);
    dir
}

#[test]
fn check_passes_a_good_folder_and_says_what_it_holds() {
    let dir = folder(RULES, "fn handle(event) { skip(\"nothing\"); }");
    let output = in_dir(dir.path(), &["check"]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    assert!(out(&output).contains("ok: 1 rules (1 on), 1 scripts"), "{}", out(&output));

    let output = run(&["check", "--json", "--dir", dir.path().to_str().expect("a path")]);
    let answer = parsed(&output);
    assert_eq!((&answer["ok"], &answer["rules"], &answer["diagnostics"]), (&json!(true), &json!(1), &json!([])));
}

#[test]
fn a_typo_in_rules_toml_is_shown_with_line_caret_and_suggestion() {
    let dir = folder(&format!("{RULES}enbled = false\n"), "fn handle(event) { }");
    let output = in_dir(dir.path(), &["check"]);
    assert_eq!(code(&output), 2);
    let text = err(&output);
    assert!(text.contains("--> rules.toml:13:1") && text.contains("^^^^^^") && text.contains("`enabled`"), "{text}");
    assert_eq!(out(&output), "refused: 1 error\n");

    let output = in_dir(dir.path(), &["check", "--json"]);
    assert_eq!(code(&output), 2);
    let answer = parsed(&output);
    assert_eq!((&answer["ok"], &answer["diagnostics"][0]["place"]["line"]), (&json!(false), &json!(13)));
}

#[test]
fn a_script_that_does_not_compile_is_a_finding() {
    let dir = folder(RULES, "fn handle(event) {\n    let x = ;\n}\n");
    let output = in_dir(dir.path(), &["check"]);
    assert_eq!(code(&output), 1, "{}", err(&output));
    assert!(err(&output).contains("scripts/person.rhai:2:"), "{}", err(&output));
}

#[test]
fn check_in_a_folder_without_rules_is_wrong_use() {
    let dir = temp_dir();
    let output = in_dir(dir.path(), &["check"]);
    assert_eq!(code(&output), 2);
    assert!(err(&output).contains("rules.toml"), "{}", err(&output));
}

#[test]
fn the_fields_of_the_embedded_pipedrive_are_listed() {
    let output = run(&["fields", "list", "--mock", "--kind", "person"]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    let plan = out(&output).lines().find(|l| l.contains(" Plan ")).map(str::to_owned).unwrap_or_default();
    assert!(plan.contains("enum, custom") && plan.contains("Free, Pro, Enterprise"), "{}", out(&output));

    let output = run(&["fields", "list", "--mock", "--custom", "--json"]);
    let answer = parsed(&output);
    let person = answer["fields"]["person"].as_array().expect("fields");
    assert!(person.iter().all(|f| f["custom"] == true) && person.iter().any(|f| f["name"] == "Segment User ID"));
}

#[test]
fn fields_of_an_account_name_what_is_missing() {
    let dir = folder(RULES, "");
    let output = in_dir(dir.path(), &["fields", "list"]);
    assert_eq!(code(&output), 2);
    assert!(err(&output).contains("PIPEWRIGHT_TEST_UNSET is not set"), "{}", err(&output));
    let output = in_dir(dir.path(), &["fields", "list", "--account", "mian"]);
    assert_eq!(code(&output), 2);
    assert!(err(&output).contains("did you mean `main`?"), "{}", err(&output));
}

#[tokio::test]
async fn the_mock_serves_its_api_until_it_is_stopped() {
    let mut child = command_async(&["mock", "--listen", "127.0.0.1:0", "--token", "t0ken"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let line = lines.next_line().await.expect("readable").expect("a line");
    let addr = line.rsplit('/').next().expect("an address").parse().expect("an address");

    assert_eq!(get(addr, "/api/v2/persons").await.status, 401);
    let persons = request(addr, "GET", "/api/v2/persons", &[("x-api-token", "t0ken")], "").await;
    assert_eq!(persons.status, 200);
    assert!(!persons.json()["data"].as_array().expect("persons").is_empty());
}

#[test]
fn init_makes_a_folder_that_passes_check_and_overwrites_nothing() {
    let dir = temp_dir();
    let output = in_dir(dir.path(), &["init", "mine"]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    assert!(out(&output).contains("pipewright serve --mock --dir mine"), "{}", out(&output));

    for args in [&["check", "--dir", "mine"][..], &["check", "--mock", "--dir", "mine"]] {
        let output = in_dir(dir.path(), args);
        assert_eq!(code(&output), 0, "{args:?}: {}", err(&output));
        assert!(out(&output).starts_with("ok: "), "{}", out(&output));
    }

    let rules = dir.path().join("mine/rules.toml");
    std::fs::write(&rules, "# mine").expect("written");
    std::fs::remove_file(dir.path().join("mine/scripts/note.rhai")).expect("removed");
    let output = in_dir(dir.path(), &["init", "mine"]);
    assert_eq!(code(&output), 2);
    assert!(err(&output).contains("rules.toml"), "{}", err(&output));
    assert_eq!(std::fs::read_to_string(&rules).expect("there"), "# mine");
    assert!(!dir.path().join("mine/scripts/note.rhai").exists(), "nothing is written when something is in the way");
}
