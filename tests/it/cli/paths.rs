//! Paths that lead elsewhere: what a set, a test or a command is told to read or write stays where it belongs, and says so.

use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::binary::{code, err, in_dir, out, parsed, run};
use crate::support::{temp_dir, write};

/// What lies outside and must not be seen.
const OUTSIDE: &str = "fn handle(event) { skip(\"of-the-outside\"); }\n";

const SCRIPT: &str = "fn handle(event) { skip(\"x\"); }\n";

fn rules(script: &str, token: &str) -> String {
    format!(
        "[sources.website]\nwrite_keys = [\"env:PIPEWRIGHT_WRITE_KEY\"]\n\n[pipedrive.main]\ndomain = \"acme\"\napi_token = {}\n\n\
         [[rules]]\nname = \"person\"\nwhen = 'type = \"identify\"'\nscript = {}\n",
        toml(token),
        toml(script)
    )
}

/// A text as TOML has it; its escapes are JSON's.
fn toml(text: &str) -> String {
    json!(text).to_string()
}

/// A folder with a set below, and a script and a table that lie outside of it.
fn folder() -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = temp_dir();
    write(dir.path(), "outside.rhai", OUTSIDE);
    write(dir.path(), "outside.csv", "key,value\na,of-the-outside\n");
    let set = dir.path().join("set");
    write(&set, "outside.rhai", OUTSIDE);
    write(&set, "rules.toml", &rules("person.rhai", "env:PIPEDRIVE_API_TOKEN"));
    write(&set, "scripts/person.rhai", SCRIPT);
    (dir, set)
}

/// The findings of `check`, which must refuse the set and show nothing of what lies outside, nor anything that moves a cursor.
fn refused(set: &Path) -> Vec<Value> {
    let output = in_dir(set, &["check"]);
    assert_ne!(code(&output), 0, "{}{}", out(&output), err(&output));
    let said = format!("{}{}", out(&output), err(&output));
    assert!(!said.contains("of-the-outside"), "{said}");
    assert!(said.chars().all(|c| c == '\n' || !c.is_control()), "{said:?}");
    parsed(&in_dir(set, &["check", "--json"]))["diagnostics"].as_array().expect("a list").clone()
}

/// Names for something outside, or for nothing at all. `{}` is the path of the folder around the set.
fn elsewhere(around: &Path, extension: &str) -> Vec<String> {
    let around = around.display();
    [
        format!("../outside.{extension}"),
        format!("../../outside.{extension}"),
        format!("./../../outside.{extension}"),
        format!("lib/../../../outside.{extension}"),
        format!("{around}/outside.{extension}"),
        format!("//{around}/outside.{extension}"),
        format!("..\\..\\outside.{extension}"),
        format!("%2e%2e/%2e%2e/outside.{extension}"),
        format!("\u{2024}\u{2024}/\u{2024}\u{2024}/outside.{extension}"),
        format!("..\u{2215}..\u{2215}outside.{extension}"),
        format!("person\0.{extension}"),
        format!("person.{extension}\0"),
        format!("\u{202e}rehto.{extension}"),
        format!("\u{1b}[2Jperson.{extension}"),
        format!("{}.{extension}", "../".repeat(2_000)),
    ]
    .to_vec()
}

#[test]
fn a_rule_runs_scripts_of_its_set_only() {
    let (around, set) = folder();
    for script in elsewhere(around.path(), "rhai") {
        write(&set, "rules.toml", &rules(&script, "env:PIPEDRIVE_API_TOKEN"));
        let found = refused(&set);
        assert!(found.iter().any(|d| d["code"] == "PW005" || d["code"] == "PW007"), "{script:?}: {found:#?}");
        assert!(found.iter().all(|d| d["place"]["file"] == "rules.toml"), "{script:?}: {found:#?}");
    }
}

#[test]
fn scripts_import_scripts_of_their_set_and_read_its_tables_only() {
    let (around, set) = folder();
    for path in elsewhere(around.path(), "rhai") {
        for path in [&path, path.trim_end_matches(".rhai")] {
            write(
                &set,
                "scripts/person.rhai",
                &format!(
                    "import {} as o;\nfn handle(event) {{ o::handle(event); }}\n",
                    toml(path).replace("\\u0000", "\\x00").replace("\\u001b", "\\x1b")
                ),
            );
            let found = refused(&set);
            assert!(
                found.iter().any(|d| matches!(d["code"].as_str(), Some("PW205" | "PW201" | "PW211"))),
                "{path:?}: {found:#?}"
            );
        }
    }
    for path in elsewhere(around.path(), "csv") {
        write(
            &set,
            "scripts/person.rhai",
            &format!(
                "fn handle(event) {{ log::info(table({}).rows()); }}\n",
                toml(&path).replace("\\u0000", "\\x00").replace("\\u001b", "\\x1b")
            ),
        );
        let found = refused(&set);
        assert!(found.iter().any(|d| d["place"]["file"] == "scripts/person.rhai"), "{path:?}: {found:#?}");
    }
}

#[test]
fn files_that_never_end_or_are_none_are_refused_by_name() {
    let (_around, set) = folder();
    for name in ["scripts/endless.rhai", "scripts/tables/endless.csv", "schema.json"] {
        write(&set, "scripts/tables/good.csv", "key,value\na,b\n");
        symlink("/dev/zero", set.join(name)).expect("a link");
        let found = refused(&set);
        let said = found[0]["message"].as_str().unwrap_or_default();
        assert!(found[0]["code"] == "PW001" && said.contains(name) && said.contains("not a regular file"), "{found:#?}");
        std::fs::remove_file(set.join(name)).expect("removed");
    }
}

#[test]
fn a_secret_file_may_lie_anywhere_and_must_be_one() {
    let (around, set) = folder();
    write(around.path(), "token", "one\n");
    std::fs::create_dir(set.join("folder")).expect("a folder");
    symlink(around.path().join("token"), set.join("linked")).expect("a link");
    let absolute = around.path().join("token").display().to_string();
    for good in ["../token", &absolute, "linked", "folder/../linked"] {
        write(&set, "rules.toml", &rules("person.rhai", &format!("file:{good}")));
        let output = in_dir(&set, &["check"]);
        assert_eq!(code(&output), 0, "{good}: {}", err(&output));
    }
    write(&set, "longest", &"x".repeat(65_536));
    write(&set, "longer", &"x".repeat(65_537));
    write(&set, "rules.toml", &rules("person.rhai", "file:longest"));
    assert_eq!(code(&in_dir(&set, &["check"])), 0, "65536 bytes are not too many");
    for (bad, said) in [
        ("longer", "larger than 65536 bytes"),
        ("../nothing", "No such file"),
        ("folder", "directory"),
        ("to\0ken", "NUL"),
        ("/dev/zero", "larger than 65536 bytes"),
        ("/dev/null", "is empty"),
    ] {
        write(&set, "rules.toml", &rules("person.rhai", &format!("file:{bad}")));
        let found = refused(&set);
        let message = found[0]["message"].as_str().unwrap_or_default();
        assert!(found[0]["code"] == "PW006" && message.contains(said), "{bad}: {found:#?}");
    }
}

#[test]
fn a_secret_file_that_others_can_read_is_told_with_its_mode_and_what_to_do() {
    let (_around, set) = folder();
    let mode = |mode| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(set.join("token"), mode).expect("its mode");
    };
    let found = || parsed(&in_dir(&set, &["check", "--json"]))["diagnostics"].as_array().expect("a list").clone();
    write(&set, "token", "one\n");
    symlink("token", set.join("linked")).expect("a link");
    for reference in ["file:token", "file:linked"] {
        write(&set, "rules.toml", &rules("person.rhai", reference));
        for (bits, who) in [(0o640, "its group"), (0o604, "every user"), (0o666, "every user")] {
            mode(bits);
            let found = found();
            assert_eq!(
                (found.len(), &found[0]["code"], &found[0]["severity"]),
                (1, &json!("PW013"), &json!("warning")),
                "{found:#?}"
            );
            let message = found[0]["message"].as_str().unwrap_or_default();
            assert!(message.contains(who) && message.contains(&format!("{bits:04o}")), "{message}");
            assert!(found[0]["help"].as_str().is_some_and(|help| help.contains("chmod 600")), "{found:#?}");
            assert_eq!((&found[0]["place"]["file"], &found[0]["place"]["line"]), (&json!("rules.toml"), &json!(6)));
        }
        for bits in [0o600, 0o400] {
            mode(bits);
            assert_eq!(found(), Vec::<Value>::new(), "{bits:o}");
        }
    }
    mode(0o644);
    let allowed = rules("person.rhai", "file:token").replace("api_token", "# pipewright: allow PW013\napi_token");
    write(&set, "rules.toml", &allowed);
    assert_eq!(found(), Vec::<Value>::new());
    // Elsewhere its mode may be another: the comment is not told to be of no use.
    mode(0o600);
    assert_eq!(found(), Vec::<Value>::new());
}

#[test]
fn init_writes_over_nothing_and_through_no_link() {
    let dir = temp_dir();
    let target = dir.path().join("target");
    std::fs::create_dir(dir.path().join("mine")).expect("a folder");
    symlink(&target, dir.path().join("mine/rules.toml")).expect("a link to nothing");
    let output = in_dir(dir.path(), &["init", "mine"]);
    assert_eq!(code(&output), 2);
    assert!(err(&output).contains("rules.toml") && err(&output).contains("nothing was written"), "{}", err(&output));
    assert!(!target.exists() && !dir.path().join("mine/scripts").exists());
}

#[test]
fn a_folder_may_have_any_name_and_must_be_one() {
    let dir = temp_dir();
    for name in ["ünï cödé 🙂", "\u{202e}eman", "-dashed", "a\nb", "..."] {
        let path = dir.path().join(name);
        let path = path.to_str().expect("a path");
        assert_eq!(code(&run(&["init", path])), 0, "{name:?}");
        let output = run(&["check", "--no-tests", "--dir", path]);
        assert_eq!(code(&output), 0, "{name:?}: {}", err(&output));
    }
    write(dir.path(), "file", "");
    for none in ["file", "nothing", "file/..", "nothing/../file"] {
        let output = run(&["check", "--dir", dir.path().join(none).to_str().expect("a path")]);
        assert!(matches!(code(&output), 1 | 2), "{none}: {}", err(&output));
        assert!(err(&output).contains("error[PW001]") && err(&output).contains("cannot be read"), "{none}: {}", err(&output));
    }
}

#[test]
fn ids_are_imported_from_a_file_and_its_name_is_told() {
    let (_around, set) = folder();
    for (file, said) in [(".", "directory"), ("../nothing.csv", "No such file"), ("rules.toml/x.csv", "Not a directory")] {
        let output = in_dir(&set, &["ids", "import", file, "--kind", "person"]);
        assert_eq!(code(&output), 2, "{file}: {}", err(&output));
        assert!(err(&output).contains(file) && err(&output).contains(said), "{file}: {}", err(&output));
    }
}
