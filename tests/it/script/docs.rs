//! The page on scripting: up to date, whole, and every example on it runs.

use pipewright::script::{Memo, Outcome};
use serde_json::json;

use super::support::{compile, event, request, run_program};

/// Rewrites the page: `PIPEWRIGHT_WRITE_DOCS=1 cargo test --test it script::docs`.
#[test]
fn the_page_is_what_the_sources_say() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/scripting.md");
    let page = pipewright::script::reference();
    if std::env::var_os("PIPEWRIGHT_WRITE_DOCS").is_some() {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("the folder is made");
        std::fs::write(&path, &page).expect("the page is written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == page, "docs/scripting.md is out of date: PIPEWRIGHT_WRITE_DOCS=1 cargo test --test it script::docs");
}

#[test]
fn every_example_runs_and_comes_to_what_it_says() {
    let page = pipewright::script::reference();
    let examples: Vec<&str> = page.split("```rhai\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(examples.len() > 40, "{} examples", examples.len());
    for example in examples {
        run(example);
    }
}

fn run(example: &str) {
    let mut text = checked(example);
    if !example.contains("fn handle(") {
        text = format!("fn handle(event) {{\n{text}\n}}");
    }
    let names = "fn full(t) { t?.name }";
    let mut memo = Memo::default();
    loop {
        let program = match compile(&[("a.rhai", &text), ("lib/names.rhai", names)]) {
            Ok(program) => program,
            Err(problems) => panic!("{}", pipewright::diagnostic::render_all(&problems)),
        };
        let found = program.lint();
        assert!(found.is_empty(), "{}", pipewright::diagnostic::render_all(&found));
        let mut request = request(&event());
        request.memo = memo.clone();
        match run_program(program, request).outcome {
            Outcome::Read { read, .. } => memo.0.push((read, json!({ "id": 7, "name": "Ada", "owner_id": 1 }))),
            Outcome::Error(error) => panic!("{}\nin\n{text}", error.diagnostic.render()),
            _ => return,
        }
    }
}

/// Turns `EXPRESSION;  // => VALUE` into a check.
fn checked(example: &str) -> String {
    let line = |line: &str| match line.split_once(";  // => ") {
        Some((expression, value)) => {
            format!(
                "{{ let found = {expression}; let said = {value}; if found != said {{ throw `is ${{found}}, not ${{said}}`; }} }}"
            )
        }
        None => line.to_owned(),
    };
    example.lines().map(line).collect::<Vec<_>>().join("\n")
}
