//! docs/policies.md: every policy and every type of custom field is on it, and every test that it names is there.

use std::path::Path;

const PAGE: &str = include_str!("../../docs/policies.md");

/// What stands between backticks, line by line.
fn quoted() -> impl Iterator<Item = &'static str> {
    PAGE.lines().flat_map(|line| line.split('`').skip(1).step_by(2))
}

#[test]
fn every_test_that_the_page_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut named = 0;
    for path in quoted().filter(|q| q.contains("::")) {
        let (module, test) = path.rsplit_once("::").expect("a path");
        let folders = module.replace("::", "/");
        let files = [
            format!("tests/it/{folders}.rs"),
            format!("src/{folders}.rs"),
            format!("src/{}.rs", folders.trim_end_matches("/tests")),
        ];
        let found = files.iter().filter_map(|file| std::fs::read_to_string(root.join(file)).ok());
        assert!(found.into_iter().any(|text| text.contains(&format!("fn {test}()"))), "{path}: no such test");
        named += 1;
    }
    assert!(named > 25, "{named} tests");
}

#[test]
fn every_policy_and_every_type_is_on_the_page() {
    let words: Vec<&str> = quoted().collect();
    let options = [
        "on_create",
        "if_empty",
        "unless_edited",
        "on_empty",
        "on_many",
        "on_conflict",
        "on_archived",
        "on_miss",
        "on_missing",
        "on_unknown",
        "unlinked",
        "write",
        "key",
        "custom",
        "CLEAR",
        "add",
        "remove",
        "replace",
        "primary",
        "link_wait",
        "reread_after",
    ];
    let types = [
        "varchar",
        "varchar_auto",
        "text",
        "phone",
        "double",
        "monetary",
        "enum",
        "set",
        "user",
        "org",
        "people",
        "date",
        "daterange",
        "time",
        "timerange",
        "address",
    ];
    for name in options.iter().chain(&types) {
        assert!(words.contains(name), "{name} is not on the page");
    }
}
