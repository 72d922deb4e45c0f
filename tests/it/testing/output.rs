//! Results for other programs, and while somebody edits.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use super::{code, command, err, folder, out, pipewright, test, write};

#[test]
fn junit_has_a_case_a_test_and_every_text_is_escaped() {
    let tests = "fn test_good() { print(\"<hello> & \\x1b[2J\"); }\nfn test_bad() { assert_eq(\"<a>\", \"b\"); }";
    let dir = folder(super::PERSON, &[("a.rhai", tests), ("b.rhai", "fn test_x( {")]);
    let output = pipewright(&["test", "--junit", "results.xml"], dir.path(), None);
    assert_eq!(code(&output), 1, "{}", err(&output));
    let xml = std::fs::read_to_string(dir.path().join("results.xml")).expect("written");
    for part in [
        "<testsuites name=\"pipewright\" tests=\"3\" failures=\"1\" errors=\"1\" time=\"",
        "<testsuite name=\"scripts/tests/a.rhai\" tests=\"2\" failures=\"1\" errors=\"0\"",
        "name=\"test_good\" file=\"scripts/tests/a.rhai\" line=\"1\"",
        "<system-out>debug &lt;hello&gt; &amp; \u{fffd}[2J",
        "<failure message=\"the values differ\">",
        "actual:   &quot;&lt;a&gt;&quot;",
        "<error message=\"scripts/tests/b.rhai:1:",
    ] {
        assert!(xml.contains(part), "{part:?} is missing in:\n{xml}");
    }
    balanced(&xml);
}

/// That every tag is closed in its order, and no text holds a bare `<` or `&`.
fn balanced(xml: &str) {
    let mut open: Vec<&str> = Vec::new();
    let body = xml.split_once("?>").expect("a declaration").1;
    for part in body.split('<').skip(1) {
        let (tag, text) = part.split_once('>').unwrap_or_else(|| panic!("{part}"));
        let name = tag.trim_start_matches('/').split([' ', '/']).next().expect("a name");
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "{part}");
        } else if !tag.ends_with('/') {
            open.push(name);
        }
        for entity in text.split('&').skip(1) {
            assert!(["lt;", "gt;", "amp;", "quot;"].iter().any(|e| entity.starts_with(e)), "{text}");
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn a_file_that_cannot_be_written_is_told_before_the_tests_run() {
    for option in ["--junit", "--lcov"] {
        let output = test(&[("a.rhai", "fn test_good() { }")], &[option, "no/such/folder/x"]);
        assert_eq!((code(&output), out(&output).as_str()), (2, ""), "{option}");
        assert!(err(&output).contains("no/such/folder/x cannot be written: "), "{}", err(&output));
    }
}

/// A watch, ended with the test.
struct Watching(Child);

impl Drop for Watching {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn a_watch_runs_what_a_saved_file_touches() {
    let first = "fn test_one() { source(\"website\"); identify(#{ userId: \"u1\" }); }";
    let dir = folder(super::PERSON, &[("a.rhai", first), ("b.rhai", "fn test_two() { }\nfn test_three() { }")]);
    let mut child = command(&["test", "--watch"]).current_dir(dir.path()).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let _watching = Watching(child);
    let mut until_watching = || {
        let mut text = String::new();
        for line in lines.by_ref() {
            let line = line.expect("a line");
            if line.starts_with("watching") {
                break;
            }
            text.push_str(&line);
            text.push('\n');
        }
        text
    };
    assert!(until_watching().contains("3 passed, 0 failed ("));
    for (file, text, ran) in [
        ("scripts/tests/b.rhai", "fn test_two() { }", "1 passed, 0 failed, 1 left out ("),
        ("scripts/person.rhai", "fn handle(event) { log::info(\"x\"); }", "1 passed, 0 failed, 1 left out ("),
        ("scripts/other.rhai", "fn other() { 1 }", "no test runs or imports it"),
        ("rules.toml", "", "2 passed, 0 failed ("),
    ] {
        let text = if file == "rules.toml" {
            std::fs::read_to_string(dir.path().join(file)).expect("readable") + "\n"
        } else {
            text.to_owned()
        };
        write(dir.path(), file, &text);
        let said = until_watching();
        assert!(said.contains(&format!("saved: {file}")) && said.contains(ran), "{file}: {said}");
    }
}
