//! Results that are kept and compared.

use std::path::Path;

use serde_json::json;

use super::{code, folder, out, parsed, pipewright, write};

const TESTS: &str = r#"
fn test_a_person() {
    source("website");
    assert_snapshot(identify(#{ userId: "u1", traits: #{ name: "Ada" } }));
    assert_snapshot(#{ any: ["value", 1.5, ()] }, "other");
}
"#;
const FIRST: &str = "scripts/tests/snapshots/a/test_a_person.json";
const OTHER: &str = "scripts/tests/snapshots/a/test_a_person.other.json";

fn read(dir: &Path, file: &str) -> String {
    std::fs::read_to_string(dir.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

#[test]
fn a_snapshot_is_written_only_by_an_update_and_is_the_same_every_time() {
    let dir = folder(super::PERSON, &[("a.rhai", TESTS)]);
    let output = pipewright(&["test"], dir.path(), None);
    let text = out(&output);
    assert_eq!(code(&output), 1, "{text}");
    assert!(text.contains(&format!("there is no {FIRST} yet")) && text.contains("`pipewright test --update`"), "{text}");
    assert!(!dir.path().join("scripts/tests/snapshots").exists(), "nothing is written without being asked to");

    let text = out(&pipewright(&["test", "--update"], dir.path(), None));
    assert!(text.contains(&format!("{FIRST}: written")) && text.contains(&format!("{OTHER}: written")), "{text}");
    let kept: serde_json::Value = serde_json::from_str(&read(dir.path(), FIRST)).expect("JSON");
    assert_eq!((&kept["state"], &kept["plan"][0]["effect"]), (&json!("done"), &json!("created")));
    assert_eq!(kept.get("deliveries"), None, "logs are no part of it");
    assert_eq!(read(dir.path(), OTHER), "{\n  \"any\": [\n    \"value\",\n    1.5,\n    null\n  ]\n}\n");

    let before = read(dir.path(), FIRST);
    for args in [&["test"][..], &["test", "--update"]] {
        let output = pipewright(args, dir.path(), None);
        assert_eq!(code(&output), 0, "{}", out(&output));
        assert!(!out(&output).contains("written"), "{}", out(&output));
        assert_eq!(read(dir.path(), FIRST), before);
    }
}

#[test]
fn another_result_fails_with_what_differs() {
    let dir = folder(super::PERSON, &[("a.rhai", TESTS)]);
    pipewright(&["test", "--update"], dir.path(), None);
    write(dir.path(), "scripts/tests/a.rhai", &TESTS.replace("1.5", "2.5"));
    let output = pipewright(&["test"], dir.path(), None);
    let text = out(&output);
    assert_eq!(code(&output), 1);
    for part in
        [&format!("the result differs from {OTHER}"), "-     1.5,", "+     2.5,", "a.rhai:5:5", "`pipewright test --update`"]
    {
        assert!(text.contains(part), "{part:?} is missing in:\n{text}");
    }
}

#[test]
fn an_update_removes_what_no_test_uses_unless_tests_were_left_out_or_failed() {
    let dir = folder(super::PERSON, &[("a.rhai", TESTS)]);
    pipewright(&["test", "--update"], dir.path(), None);
    let less = TESTS.replace("    assert_snapshot(#{ any: [\"value\", 1.5, ()] }, \"other\");\n", "");
    write(dir.path(), "scripts/tests/b.rhai", "fn test_other() { assert(false); }");
    write(dir.path(), "scripts/tests/a.rhai", &less);
    for args in [&["test", "--update"][..], &["test", "--update", "--filter", "a_person"]] {
        pipewright(args, dir.path(), None);
        assert!(dir.path().join(OTHER).exists(), "{args:?}");
    }
    write(dir.path(), "scripts/tests/b.rhai", "fn test_other() { }");
    let run = parsed(&pipewright(&["test", "--update", "--json"], dir.path(), None));
    assert_eq!(run["snapshots"], json!({ "written": [], "removed": [OTHER] }));
    assert!(!dir.path().join(OTHER).exists() && dir.path().join(FIRST).exists());
}

#[test]
fn a_snapshot_that_cannot_be_used_is_named() {
    let dir = folder(super::PERSON, &[("a.rhai", TESTS)]);
    write(dir.path(), FIRST, "{ not json");
    let text = out(&pipewright(&["test"], dir.path(), None));
    assert!(text.contains(&format!("{FIRST} is no JSON: ")) && text.contains("--update"), "{text}");
    let twice = "fn test_twice() { assert_snapshot(1); assert_snapshot(2); }\nfn test_bad() { assert_snapshot(1, \"../x\"); }";
    write(dir.path(), "scripts/tests/a.rhai", twice);
    let text = out(&pipewright(&["test", "--update"], dir.path(), None));
    assert!(text.contains("is used by this test already") && text.contains("give each a name"), "{text}");
    assert!(text.contains("a name is made of letters"), "{text}");
}

#[test]
fn an_update_leaves_alone_what_links_lead_to() {
    let dir = folder(super::PERSON, &[("a.rhai", "fn test_a() { assert_snapshot(1); }")]);
    let outside = crate::support::temp_dir();
    write(outside.path(), "kept.json", "1");
    let snapshots = dir.path().join("scripts/tests/snapshots");
    std::fs::create_dir_all(&snapshots).expect("a folder");
    std::os::unix::fs::symlink(outside.path(), snapshots.join("linked")).expect("a link");
    let updated = pipewright(&["test", "--update"], dir.path(), None);
    assert_eq!(code(&updated), 0, "{}", out(&updated));
    assert!(outside.path().join("kept.json").exists());

    // Nor is anything written through one.
    let linked = folder(super::PERSON, &[("linked.rhai", "fn test_a() { assert_snapshot(2); }")]);
    let snapshots = linked.path().join("scripts/tests/snapshots");
    std::fs::create_dir_all(&snapshots).expect("a folder");
    std::os::unix::fs::symlink(outside.path(), snapshots.join("linked")).expect("a link");
    let refused = pipewright(&["test", "--update"], linked.path(), None);
    assert!(code(&refused) == 1 && out(&refused).contains("the folder is a link"), "{}", out(&refused));
    assert!(!outside.path().join("test_a.json").exists());

    // Nor by the name that it has before it is whole.
    let planted = folder(super::PERSON, &[("a.rhai", "fn test_a() { assert_snapshot(2); }")]);
    let snapshots = planted.path().join("scripts/tests/snapshots/a");
    std::fs::create_dir_all(&snapshots).expect("a folder");
    std::os::unix::fs::symlink(outside.path().join("kept.json"), snapshots.join(".test_a.json.new")).expect("a link");
    let updated = pipewright(&["test", "--update"], planted.path(), None);
    assert_eq!(code(&updated), 0, "{}", out(&updated));
    assert_eq!(std::fs::read_to_string(outside.path().join("kept.json")).expect("it"), "1");
    assert!(!snapshots.join("test_a.json").is_symlink(), "a file of its own");
}

#[test]
fn an_update_without_any_test_removes_nothing() {
    let dir = folder(super::PERSON, &[]);
    write(dir.path(), FIRST, "1");
    pipewright(&["test", "--update"], dir.path(), None);
    assert!(dir.path().join(FIRST).exists());
}
