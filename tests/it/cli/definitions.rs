//! `pipewright definitions`.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::support::binary::{code, err, in_dir, out, parsed};
use crate::support::{temp_dir, write};

fn folder() -> tempfile::TempDir {
    let dir = temp_dir();
    write(
        dir.path(),
        "rules.toml",
        "[sources.web]\nwrite_keys = [\"env:K\"]\n[pipedrive.main]\ndomain = \"acme\"\napi_token = \"env:T\"\n\
         [pipedrive.main.fields]\nperson = [{ name = \"Shoe size\", type = \"double\" }]\n",
    );
    dir
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[test]
fn files_are_written_once_and_a_check_says_when_they_are_out_of_date() {
    let dir = folder();
    let defs = dir.path().join(".rhai/definitions");
    let missing = in_dir(dir.path(), &["definitions", "--check"]);
    assert_eq!(code(&missing), 1);
    assert!(out(&missing).contains("person.d.rhai is missing\n"), "{}", out(&missing));
    assert!(
        out(&missing).ends_with("run `pipewright definitions`\n") && !defs.exists(),
        "a check writes nothing: {}",
        out(&missing)
    );

    let written = in_dir(dir.path(), &["definitions"]);
    assert_eq!(code(&written), 0, "{}", err(&written));
    assert!(text(&defs.join("person.d.rhai")).contains("`\"Shoe size\"`"));
    assert!(text(&defs.join("tests.d.rhai")).contains("fn assert_eq(actual: ?, expected: ?) -> ();"));
    assert_eq!(parsed(&in_dir(dir.path(), &["definitions", "--json"]))["missing"], json!([]));
    let checked = in_dir(dir.path(), &["definitions", "--check"]);
    assert_eq!(code(&checked), 0, "{}", out(&checked));
    assert!(out(&checked).starts_with("ok: ") && out(&checked).ends_with(" are up to date\n"), "{}", out(&checked));

    // Another field, and a file that an earlier version made.
    let rules = text(&dir.path().join("rules.toml")).replace("Shoe size", "Hat size");
    write(dir.path(), "rules.toml", &rules);
    let old = text(&defs.join("email.d.rhai"));
    write(&defs, "mail.d.rhai", &old);
    write(&defs, "mine.d.rhai", "module mine;\n");
    let stale = in_dir(dir.path(), &["definitions", "--check", "--json"]);
    assert_eq!(code(&stale), 1);
    let found = parsed(&stale);
    assert_eq!(
        (&found["changed"], &found["missing"], &found["surplus"]),
        (&json!(["person.d.rhai"]), &json!([]), &json!(["mail.d.rhai"]))
    );
    assert_eq!((&found["ok"], &found["written"]), (&json!(false), &json!(false)));

    let written = in_dir(dir.path(), &["definitions"]);
    assert!(out(&written).contains(": 1 written, "), "{}", out(&written));
    assert!(text(&defs.join("person.d.rhai")).contains("`\"Hat size\"`"));
    assert!(!defs.join("mail.d.rhai").exists() && defs.join("mine.d.rhai").exists(), "what is not ours is left alone");
    assert_eq!(code(&in_dir(dir.path(), &["definitions", "--check"])), 0);
}

#[test]
fn a_file_of_somebody_else_is_never_overwritten() {
    let dir = folder();
    write(dir.path(), "defs/person.d.rhai", "module person;\n");
    let refused = in_dir(dir.path(), &["definitions", "--out", "defs"]);
    assert_eq!(code(&refused), 2);
    assert!(
        err(&refused).contains("were not made by `pipewright definitions`, and nothing was written: defs/person.d.rhai"),
        "{}",
        err(&refused)
    );
    assert_eq!(text(&dir.path().join("defs/person.d.rhai")), "module person;\n");
    assert_eq!(fs::read_dir(dir.path().join("defs")).expect("a folder").count(), 1);
}

#[test]
fn it_says_what_it_cannot_read_or_write() {
    let dir = temp_dir();
    let nowhere = in_dir(dir.path(), &["definitions"]);
    assert_eq!(code(&nowhere), 2);
    assert!(err(&nowhere).contains("rules.toml cannot be read"), "{}", err(&nowhere));

    let dir = folder();
    write(dir.path(), "schema.json", "{ \"schema\": 1 ");
    let broken = in_dir(dir.path(), &["definitions"]);
    assert_eq!(code(&broken), 2);
    assert!(err(&broken).contains("schema.json cannot be read as a schema file"), "{}", err(&broken));

    let dir = folder();
    write(dir.path(), "defs", "a file");
    let blocked = in_dir(dir.path(), &["definitions", "--out", "defs"]);
    assert_eq!(code(&blocked), 1);
    assert!(err(&blocked).contains("defs"), "{}", err(&blocked));
}
