//! The recipes of docs/cookbook/ and the walk of docs/first-rule.md: each works as it stands, and what is written about it is so.

use std::path::{Path, PathBuf};

use crate::support::binary::{code, err, in_dir, out, parsed};
use crate::support::temp_dir;

fn cookbook() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cookbook")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The recipes: name and folder, in order.
fn recipes() -> Vec<(String, PathBuf)> {
    let entries = std::fs::read_dir(cookbook()).expect("docs/cookbook").map(|entry| entry.expect("an entry").path());
    let mut found: Vec<_> = entries
        .filter(|path| path.is_dir())
        .map(|path| (path.file_name().expect("a name").to_string_lossy().into_owned(), path))
        .collect();
    found.sort();
    found
}

/// Every `.rhai` file below a folder.
fn scripts(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(scripts(&path));
        } else if path.extension().is_some_and(|e| e == "rhai") {
            found.push(path);
        }
    }
    found
}

#[test]
fn there_are_recipes_and_the_index_names_each_once() {
    let recipes = recipes();
    assert!(recipes.len() >= 15, "{}", recipes.len());
    let index = read(&cookbook().join("README.md"));
    for (name, folder) in &recipes {
        assert_eq!(index.matches(&format!("| [{name}]({name}/) | ")).count(), 1, "{name}");
        for file in ["README.md", "rules.toml", &format!("scripts/{name}.rhai"), &format!("scripts/tests/{name}_test.rhai")] {
            assert!(folder.join(file).is_file(), "{name} has no {file}");
        }
    }
    assert_eq!(index.matches("/) | ").count(), recipes.len(), "the index names what is not there");
}

#[test]
fn every_recipe_passes_check_without_a_warning() {
    for (name, folder) in recipes() {
        for args in [&["check", "--json"][..], &["check", "--mock", "--json"]] {
            let output = in_dir(&folder, args);
            let checked = parsed(&output);
            assert_eq!(code(&output), 0, "{name} {args:?}: {checked:#}{}", err(&output));
            assert_eq!(checked["diagnostics"], serde_json::json!([]), "{name} {args:?}");
        }
    }
}

#[test]
fn the_tests_of_every_recipe_pass() {
    for (name, folder) in recipes() {
        let output = in_dir(&folder, &["test", "--json"]);
        let run = parsed(&output);
        assert_eq!(code(&output), 0, "{name}: {run:#}{}", err(&output));
        assert!(
            run["passed"].as_u64() >= Some(4),
            "{name}: a recipe tests the event, its repeat, and where a naive script fails: {run:#}"
        );
    }
}

#[test]
fn what_a_readme_quotes_stands_in_the_recipe() {
    for (name, folder) in recipes() {
        let texts: Vec<String> = scripts(&folder).iter().map(|path| read(path)).collect();
        let page = read(&folder.join("README.md"));
        let quoted: Vec<&str> = page.split("```rhai\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
        assert!(!quoted.is_empty(), "{name} shows nothing of its script");
        for block in quoted {
            assert!(texts.iter().any(|text| text.contains(block)), "{name}: the script has other lines than\n{block}");
        }
        for heading in ["# ", "**Want:** ", "**For yourself:** ", "\n| case | what happens |\n"] {
            assert!(page.contains(heading), "{name} lacks `{}`", heading.trim());
        }
    }
}

/// The blocks of a page in one language.
fn blocks<'p>(page: &'p str, language: &str) -> Vec<&'p str> {
    page.split(&format!("```{language}\n")).skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

#[test]
fn the_first_rule_goes_as_its_page_says() {
    let page = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/first-rule.md"));
    let ([rule, fields], [script, tests, late, mended]) = (&blocks(&page, "toml")[..], &blocks(&page, "rhai")[..]) else {
        panic!("other blocks than the page had");
    };
    let dir = temp_dir();
    let folder = dir.path().join("my-rules");
    let made = in_dir(dir.path(), &["init", "my-rules"]);
    assert_eq!(code(&made), 0, "{}", err(&made));
    let put = |name: &str, text: &str| std::fs::write(folder.join(name), text).expect("written");
    let test = || in_dir(&folder, &["test", "--filter", "webinar"]);

    let rules = read(&folder.join("rules.toml"));
    let declared = rules.replace("\nperson = [{ name = \"Segment User ID\", type = \"varchar\" }]\n", &format!("\n{fields}"));
    assert_ne!(rules, declared);
    put("rules.toml", &format!("{declared}\n{rule}"));
    put("scripts/webinar.rhai", script);
    put("scripts/tests/webinar_test.rhai", tests);
    let checked = in_dir(&folder, &["check", "--mock"]);
    assert!(code(&checked) == 0 && err(&checked).is_empty(), "{}{}", out(&checked), err(&checked));
    let passed = test();
    assert!(code(&passed) == 0 && out(&passed).contains("3 passed, 0 failed"), "{}", out(&passed));

    put("scripts/tests/webinar_test.rhai", &format!("{tests}\n{late}"));
    let failed = test();
    assert_eq!(code(&failed), 1);
    assert!(out(&failed).contains("`to_upper` cannot take nothing `()`"), "{}", out(&failed));

    let repaired = script.replace("            subject: \"Follow up: \" + p.title.to_upper(),\n", mended);
    assert_ne!(*script, repaired);
    put("scripts/webinar.rhai", &repaired);
    put("scripts/tests/webinar_test.rhai", &format!("{tests}\n{late}").replace("\"Follow up: RHAI\"", "\"Follow up: Rhai\""));
    let passed = test();
    assert!(code(&passed) == 0 && out(&passed).contains("4 passed, 0 failed"), "{}{}", out(&passed), err(&passed));
}
