//! `docs/errors/`: a page for each code, whose example gives that code with exactly the output that the page shows.
//!
//! `PIPEWRIGHT_WRITE_DOCS=1 cargo test --test it -- errors` writes the outputs and the list anew.

use std::path::{Path, PathBuf};

use pipewright::diagnostic::{Code, Weight};

use crate::support::binary::{code, err, in_dir, out, parsed, run};
use crate::support::{temp_dir, write};

/// What an example leaves out.
const RULES: &str = r#"[sources.website]
write_keys = ["env:PIPEWRIGHT_WRITE_KEY"]

[pipedrive.main]
domain = "acme"
api_token = "env:PIPEDRIVE_API_TOKEN"

[[rules]]
name = "person"
when = 'type = "identify"'
script = "person.rhai"
"#;
const SCRIPT: &str = "fn handle(event) { skip(\"nothing to do\"); }\n";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/errors")
}

fn writes() -> bool {
    std::env::var_os("PIPEWRIGHT_WRITE_DOCS").is_some()
}

/// The fenced blocks of a page: what stands behind the opening fence, and the text.
fn blocks(page: &str) -> Vec<(&str, &str)> {
    let mut parts = page.split("```").skip(1).step_by(2);
    parts.by_ref().filter_map(|block| block.split_once('\n')).collect()
}

/// The page with what its example gives now; none for a page without an example.
fn with_output(of: Code, page: &str) -> Option<String> {
    let blocks = blocks(page);
    let (_, console) = blocks.iter().find(|(kind, _)| *kind == "console")?;
    // What takes an account is held to its page where there is one: e2e::schema.
    let command = console.lines().next()?.strip_prefix("$ pipewright ").filter(|command| !command.contains("--live"))?;
    let dir = temp_dir();
    let files: Vec<(&str, &str)> = blocks.iter().filter_map(|(kind, text)| Some((kind.split_once(' ')?.1, *text))).collect();
    if !files.is_empty() {
        write(dir.path(), "rules.toml", RULES);
        if files.iter().all(|(name, text)| *name != "rules.toml" || text.contains("person.rhai")) {
            write(dir.path(), "scripts/person.rhai", SCRIPT);
        }
    }
    for (name, text) in files {
        write(dir.path(), name, text);
        // As a umask of 022 leaves them, whatever this one is.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        std::fs::set_permissions(dir.path().join(name), mode).expect("its mode");
    }
    let output = in_dir(dir.path(), &command.split(' ').collect::<Vec<_>>());
    let said = err(&output);
    let said = said.lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
    let codes: Vec<&str> = said.split('[').skip(1).filter_map(|rest| rest.split_once("]:")).map(|(code, _)| code).collect();
    assert!(!codes.is_empty() && codes.iter().all(|code| *code == of.id()), "the example of {of} gives {codes:?}:\n{said}");
    let refused = said.starts_with("error");
    assert_eq!(code(&output) != 0, refused, "{of}: {said}");
    assert_eq!(refused, of.weight() != Weight::Warning && !said.starts_with("warning"), "{of}: {said}");
    Some(page.replacen(console, &format!("$ pipewright {command}\n{}\n", said.trim_end()), 1))
}

#[test]
fn each_page_has_an_example_that_gives_its_code_with_the_output_that_it_shows() {
    let mut without = Vec::new();
    let mut old = Vec::new();
    for of in Code::ALL {
        let path = folder().join(format!("{of}.md"));
        let page = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let head = format!("# {of}: {}\n\n", of.title());
        assert!(page.starts_with(&head), "{of}");
        let weight = of.weight().to_string();
        let weight = format!("{}{}. ", weight[..1].to_uppercase(), &weight[1..]);
        assert!(page[head.len()..].starts_with(&weight), "{of} begins with `{weight}`");
        assert!(page.contains("\n## What to do\n"), "{of}");
        match with_output(*of, &page) {
            None => without.push(*of),
            Some(now) if now == page => {}
            Some(now) if writes() => std::fs::write(&path, now).expect("written"),
            Some(now) => old.push(now),
        }
    }
    assert_eq!(without, [Code::Drift]);
    assert!(old.is_empty(), "set PIPEWRIGHT_WRITE_DOCS=1 to write what is given now:\n{}", old.join("\n\n"));
}

#[test]
fn the_list_of_pages_is_that_of_the_codes() {
    let mut list = String::from(
        "# Codes of `pipewright check`\n\n\
         Every finding of `pipewright check`, be it told by the command or by a reload that it refuses, has a code that stays.\n\
         `pipewright explain CODE` prints its page. PW0xx are files and rules.toml, PW1xx triggers, PW2xx scripts, PW3xx names of the account,\n\
         PW4xx advice.\n\n\
         Errors refuse the set. A warning that is meant is silenced by a comment on its line, or on a line of its own before that:\n\
         `// pipewright: allow PW404` in a script, `# pipewright: allow PW103` in rules.toml; several codes are separated by commas, and a\n\
         reason may follow. In a pull request, `pipewright check --format github` gives annotations.\n\n\
         What the examples leave out is a rules.toml with one source, one account and the rule `person`, which runs person.rhai for identify calls.\n\n\
         | code | weight | meaning |\n|---|---|---|\n",
    );
    for code in Code::ALL {
        list.push_str(&format!("| [{code}]({code}.md) | {} | {} |\n", code.weight(), code.title()));
    }
    let path = folder().join("README.md");
    if writes() {
        std::fs::write(&path, &list).expect("written");
    }
    assert_eq!(std::fs::read_to_string(&path).expect("the list"), list, "set PIPEWRIGHT_WRITE_DOCS=1 to write it");
    let mut pages: Vec<String> = std::fs::read_dir(folder())
        .expect("pages")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .filter(|name| name != "README.md")
        .collect();
    pages.sort();
    assert_eq!(pages, Code::ALL.iter().map(|code| format!("{code}.md")).collect::<Vec<_>>(), "no page without a code");
}

#[test]
fn explain_prints_the_page_lists_all_and_suggests() {
    let output = run(&["explain", "pw404"]);
    assert_eq!((code(&output), out(&output)), (0, Code::ReadInLoop.page().to_owned()));
    let output = run(&["explain"]);
    assert_eq!(out(&output).lines().count(), Code::ALL.len() + 1, "{}", out(&output));
    assert!(out(&output).lines().any(|line| line.starts_with("PW404  warning") && line.ends_with(Code::ReadInLoop.title())));
    assert_eq!(out(&run(&["explain", "404"])), Code::ReadInLoop.page());
    let output = run(&["explain", "PW4O4"]);
    assert_eq!(code(&output), 2);
    assert!(err(&output).contains("there is no code `PW4O4`; did you mean PW4"), "{}", err(&output));
    let output = run(&["explain", "--json", "PW101"]);
    let answer = parsed(&output);
    assert_eq!((&answer["code"], &answer["weight"]), (&"PW101".into(), &"error".into()));
    assert_eq!(parsed(&run(&["explain", "--json"]))["codes"].as_array().map(Vec::len), Some(Code::ALL.len()));
}

#[test]
fn annotations_stand_on_standard_output_with_the_path_from_where_the_command_ran() {
    let dir = temp_dir();
    write(dir.path(), "mine/rules.toml", RULES);
    write(dir.path(), "mine/scripts/person.rhai", "fn handle(event) {\n    skip(\"x\");\n    skpi(\"y\");\n}\n");
    let output = in_dir(dir.path(), &["check", "--format", "github", "--dir", "mine"]);
    assert_eq!((code(&output), err(&output)), (1, String::new()));
    assert_eq!(
        out(&output),
        "::error file=mine/scripts/person.rhai,line=3,col=5,endColumn=9,title=PW202::unknown function `skpi`%0Ahelp: did you mean \
         `skip`?\nrefused: 1 error\n"
    );
    write(dir.path(), "mine/scripts/person.rhai", "fn handle(event) {\n    skip(\"x\");\n    skip(\"y\");\n}\n");
    let output = in_dir(dir.path(), &["check", "--format", "github", "--dir", "mine"]);
    assert_eq!(code(&output), 0);
    assert!(
        out(&output).starts_with("::warning file=mine/scripts/person.rhai,line=3,col=5,endColumn=9,title=PW403::"),
        "{}",
        out(&output)
    );
}

#[test]
fn literals_in_a_match_that_the_account_does_not_have_are_told() {
    let dir = temp_dir();
    write(dir.path(), "rules.toml", RULES);
    let script = |pipeline: &str, status: &str| {
        format!(
            "fn handle(event) {{\n    let deal = deal::find(#{{ org_id: event.traits.org,\n        pipeline: \"{pipeline}\",\n        status: \"{status}\" }});\n    log::info(deal);\n}}\n"
        )
    };
    let found = |script: &str| {
        write(dir.path(), "scripts/person.rhai", script);
        let answer = parsed(&in_dir(dir.path(), &["check", "--mock", "--json"]));
        let found = answer["diagnostics"].as_array().expect("a list").clone();
        found
            .iter()
            .map(|d| format!("{} {} {}", d["place"]["line"], d["code"].as_str().unwrap(), d["severity"].as_str().unwrap()))
            .collect::<Vec<_>>()
    };
    assert_eq!(found(&script("Sales", "open")), Vec::<String>::new());
    // The account may have such a pipeline one day; such a status there never is.
    assert_eq!(found(&script("Sale", "open")), ["3 PW302 warning"]);
    assert_eq!(found(&script("Sales", "opened")), ["4 PW302 error"]);
}

/// `line code` of each warning of a script.
fn warnings(rules: &str, script: &str) -> Vec<String> {
    let dir = temp_dir();
    write(dir.path(), "rules.toml", rules);
    write(dir.path(), "scripts/person.rhai", script);
    let answer = parsed(&in_dir(dir.path(), &["check", "--json"]));
    let found = answer["diagnostics"].as_array().expect("a list");
    found.iter().map(|d| format!("{} {}", d["place"]["line"], d["code"].as_str().unwrap_or_default())).collect()
}

#[test]
fn a_comment_silences_what_it_names_and_nothing_else() {
    let with = |before: &str, behind: &str| {
        warnings(
            RULES,
            &format!(
                "fn handle(event) {{\n    {before}\n    let x = event.userId;{behind}\n    skip(\"y\");\n    skip(\"z\");\n}}\n"
            ),
        )
    };
    assert_eq!(with("", ""), ["3 PW401", "5 PW403"]);
    assert_eq!(with("// pipewright: allow PW401", ""), ["5 PW403"]);
    assert_eq!(with("", " // pipewright: allow pw401 because"), ["5 PW403"]);
    assert_eq!(with("// pipewright: allow PW401: it is there for people to see", ""), ["5 PW403"]);
    assert_eq!(with("// pipewright: allow PW403, PW401", ""), ["2 PW409", "5 PW403"]);
    assert_eq!(with("// pipewright: allow PW202", ""), ["2 PW409", "3 PW401", "5 PW403"]);
    assert_eq!(with("// pipewright: allow", ""), ["2 PW409", "3 PW401", "5 PW403"]);
    assert_eq!(with("// pipewright: allow PW999", ""), ["2 PW409", "3 PW401", "5 PW403"]);
    // What was not looked for is not missed: names of an account, rules without a test.
    assert_eq!(with("// pipewright: allow PW302, PW408", ""), ["3 PW401", "5 PW403"]);
    // What is about a whole file is allowed at its beginning.
    let dir = temp_dir();
    write(dir.path(), "rules.toml", RULES);
    write(dir.path(), "scripts/person.rhai", SCRIPT);
    for start in ["// pipewright: allow PW407\n", "// Kept for later.\n// pipewright: allow PW407: see the plan\n\n"] {
        write(dir.path(), "scripts/old.rhai", &format!("{start}fn handle(event) {{ skip(\"x\"); }}\n"));
        let answer = parsed(&in_dir(dir.path(), &["check", "--json"]));
        assert_eq!(answer["diagnostics"], serde_json::json!([]), "{start}");
    }
    let rules = RULES.replace("when =", "# pipewright: allow PW102\nwhen =").replace("identify", "identfy");
    assert_eq!(warnings(&rules, SCRIPT), Vec::<String>::new());
}

#[test]
fn names_are_followed_through_the_interpreters_scopes() {
    for (body, found) in [
        ("let x = 1; log::info(x);", ""),
        ("let x = 1; let f = |y| y + x; log::info([1].map(|z| z + x));", "PW207"),
        ("let x = 1; [1].for_each(|y| log::info(y + x));", ""),
        ("[1].for_each(|y| log::info(1));", "PW401"),
        ("#{ a: 1 }.filter(|k, v| v > 1);", ""),
        ("#{ a: 1 }.filter(|k, v| k > 1);", "PW401"),
        ("let found = (); for x in [1] { found = x; } log::info(found);", ""),
        ("let found = (); for x in [1] { found = x; }", "PW401"),
        ("for (x, i) in [1] { log::info(x); }", "PW401"),
        ("for (x, _i) in [1] { log::info(x); }", ""),
        ("const A = 1; log::info(A);", ""),
        ("try { log::info(1); } catch (e) { log::info(2); }", "PW401"),
        ("try { log::info(1); } catch (e) { log::info(e); }", ""),
        ("let s = event.userId; switch s { \"a\" => log::info(1), _ => () }", ""),
        ("let name = event.name; let name = name.trim(); log::info(name);", ""),
        ("let event = 1; log::info(event);", "PW402"),
        ("if true { let x = 1; log::info(x); } let x = 2; log::info(x);", ""),
        ("let x = 1; [2].for_each(|x| log::info(x)); log::info(x);", "PW402"),
        ("let x = 1; log::info(`a ${x}`);", ""),
        ("let m = #{}; m.a = 1;", ""),
    ] {
        let script = format!("fn handle(event) {{\n{body}\n}}\n");
        let given = warnings(RULES, &script);
        let codes: Vec<&str> = given.iter().filter_map(|d| d.split(' ').nth(1)).collect();
        assert_eq!(codes, found.split(' ').filter(|c| !c.is_empty()).collect::<Vec<_>>(), "{body}");
    }
}

#[test]
fn code_behind_an_end_and_reads_in_loops_are_found_however_they_are_written() {
    for (body, found) in [
        ("if event.userId == () { skip(\"x\") } else { fail(\"y\") } log::info(1);", "PW403"),
        ("if event.userId == () { skip(\"x\") } log::info(1);", ""),
        ("for x in [1] { if x == 1 { continue; log::info(1); } break; }", "PW403"),
        ("switch event.userId { () => skip(\"x\"), _ => fail(\"y\") } log::info(1);", "PW403"),
        ("switch event.userId { () => skip(\"x\") } log::info(1);", ""),
        ("[1].for_each(|x| { return x; log::info(1); });", "PW403"),
        ("throw \"x\"; log::info(1);", "PW403"),
        ("for x in event.list { person::find(#{ email: x }); }", "PW404"),
        ("for x in [event.a, event.b] { person::find(#{ email: x }); }", ""),
        ("for x in person::get(1).emails { log::info(x); }", ""),
        ("while person::get(1) == () { log::info(1); }", "PW404"),
        ("event.list.map(|x| person::get(x));", "PW404"),
        ("[1, 2].map(|x| person::get(x));", ""),
        ("let a = event.a; event.list.filter(|x| person::get(x) == a);", "PW404"),
        ("for x in event.list { look(x); } fn look(x) { deep(x) } fn deep(x) { deal::get(x) }", "PW404"),
        ("for x in event.list { pipedrive::request(\"GET\", `/api/v2/deals/${x}`); }", "PW404"),
        ("for x in event.list { pipedrive::request(\"POST\", `/api/v2/deals/${x}`); }", ""),
    ] {
        let (body, functions) = body.split_once(" fn look").map_or((body, String::new()), |(b, f)| (b, format!("fn look{f}")));
        let functions = functions.replace(" fn deep", "\nfn deep");
        let given = warnings(RULES, &format!("fn handle(event) {{\n{body}\n}}\n{functions}\n"));
        let codes: Vec<&str> = given.iter().filter_map(|d| d.split(' ').nth(1)).collect();
        assert_eq!(codes, found.split(' ').filter(|c| !c.is_empty()).collect::<Vec<_>>(), "{body}: {given:?}");
    }
}

#[test]
fn only_fixed_values_under_differs_or_always_undo_edits() {
    let always = format!("{RULES}write = \"always\"\n");
    for (rules, fields, options, found) in [
        (RULES, "name: \"x\"", "", false),
        (RULES, "name: \"x\"", ", #{ write: \"always\" }", true),
        (RULES, "name: event.name", ", #{ write: \"always\" }", false),
        (RULES, "name: ()", ", #{ write: \"always\" }", false),
        (RULES, "custom: #{ Plan: \"x\" }", ", #{ write: \"differs\" }", true),
        (&always, "name: \"x\"", "", true),
        (&always, "name: CLEAR", "", true),
        (&always, "name: \"x\"", ", #{ write: \"changed\" }", false),
        (&always, "", ", #{ if_empty: #{ name: \"x\" } }", false),
    ] {
        let script = format!("fn handle(event) {{\n    person::upsert(#{{ email: event.e }}, #{{ {fields} }}{options});\n}}\n");
        assert_eq!(warnings(rules, &script), if found { vec!["2 PW405"] } else { vec![] }, "{script}");
    }
    for before in
        ["if event.x != true { return; }", "if event.x == true { skip(\"x\"); }", "switch event.x { 1 => (), _ => fail(\"x\") }"]
    {
        let script =
            format!("fn handle(event) {{\n    {before}\n    person::upsert(#{{ email: event.e }}, #{{ name: \"x\" }});\n}}\n");
        assert!(warnings(&always, &script).is_empty(), "not every event gets behind {before}");
    }
    let script = "fn handle(event) {\n    if event.x { person::upsert(#{ email: event.e }, #{ name: \"x\" }); }\n}\n";
    assert!(warnings(&always, script).is_empty(), "not every event comes here");
}

#[test]
fn triggers_that_share_all_events_or_none_are_told_and_no_others() {
    let two = |first: &str, second: &str, more: &str| {
        let rules = format!(
            "{}\n[[rules]]\nname = \"other\"\nwhen = '{second}'\nscript = \"person.rhai\"\n{more}",
            RULES.replace("type = \"identify\"", first)
        );
        warnings(&rules, SCRIPT).iter().filter_map(|d| d.split(' ').nth(1).map(str::to_owned)).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(two("type = \"track\"", "type = \"track\"", ""), "PW103");
    assert_eq!(two("type = \"track\" and event = \"A\"", "type = \"track\"", ""), "PW103");
    assert_eq!(two("type = \"track\"", "event in [\"A\", \"B\"] and type = \"track\"", ""), "PW103");
    assert_eq!(two("type = \"track\"", "event in [\"A\", \"B\"]", ""), "PW103", "only track calls have an event");
    assert_eq!(two("properties.x > 5", "properties.x > 7", ""), "PW103");
    assert_eq!(two("properties.x > 7", "properties.x >= 5 and type = \"track\"", ""), "");
    assert_eq!(two("type = \"track\"", "type = \"track\" or type = \"page\"", ""), "PW103");
    assert_eq!(two("event = \"A\"", "event = \"B\"", ""), "");
    assert_eq!(two("type = \"track\"", "type = \"track\"", "enabled = false\n"), "");
    for (trigger, never) in [
        ("event = \"A\" and event = \"B\"", true),
        ("event = \"A\" or event = \"B\"", false),
        ("type = \"page\" and event != \"B\"", false),
        ("type != \"track\" and event = \"B\"", true),
        ("type = \"page\" and lowercase(event) = \"b\"", true),
        ("properties.x in [1, 2] and properties.x > 2", true),
        ("properties.x in [1, 2] and properties.x > 1", false),
        ("properties.x < 5 and properties.x > 5", true),
        ("properties.x <= 5 and properties.x >= 5", false),
        ("not (properties.x < 5) and not (properties.x > 5)", false),
        ("contains(type, \"zz\")", true),
        ("properties.a = \"x\" and not (match(properties.a, \"x*\"))", true),
        ("(type = \"page\" and type = \"track\") or properties.v", false),
        ("(type = \"page\" and type = \"track\") or type = \"trakc\"", true),
        ("properties.v and properties.v != true", true),
        ("not (properties.x != 5) and properties.x = null", false),
    ] {
        let found = warnings(&RULES.replace("type = \"identify\"", trigger), SCRIPT);
        assert_eq!(found.iter().any(|d| d.ends_with("PW102")), never, "{trigger}: {found:?}");
    }
}

#[test]
fn a_function_that_a_map_holds_may_be_called_however_its_key_is_written() {
    for made in [
        "#{ bump: |x| x + 1 }",
        "#{ \"bump\": |x| x + 1 }",
        "#{ bump : |x| x + 1 }",
        "#{}; m[\"bump\"] = |x| x + 1",
        "#{}; m.bump=|x| x + 1",
    ] {
        let script = format!("fn handle(event) {{\nlet m = {made};\nlog::info(m.bump(3));\n}}\n");
        assert_eq!(warnings(RULES, &script), Vec::<String>::new(), "{made}");
    }
    assert_eq!(warnings(RULES, "fn handle(event) {\nlet m = #{};\nlog::info(m.bump(3));\n}\n"), ["3 PW202"]);
}

#[test]
fn findings_of_an_endless_line_are_bounded() {
    let dir = temp_dir();
    write(dir.path(), "rules.toml", RULES);
    write(dir.path(), "scripts/person.rhai", &format!("fn handle(event) {{ {} }}", "let x = 1; ".repeat(10_000)));
    let output = in_dir(dir.path(), &["check"]);
    let said = err(&output);
    assert!(said.contains("scripts/person.rhai:1:") && said.contains("more like these are not shown"), "{}", &said[..500]);
    assert!(said.len() < 100_000, "{} bytes", said.len());
    // Each finding would hold the whole line.
    let whole = in_dir(dir.path(), &["check", "--json"]).stdout.len();
    assert!(whole < 500_000, "{whole} bytes");
}

/// Folders that users start from are free of findings.
#[test]
fn what_is_shipped_and_shown_has_no_warnings() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dir = temp_dir();
    assert_eq!(code(&in_dir(dir.path(), &["init", "mine"])), 0);
    let mut folders = vec![root.to_owned(), dir.path().join("mine")];
    let cookbook = std::fs::read_dir(root.join("docs/cookbook")).expect("recipes");
    folders.extend(cookbook.map(|entry| entry.expect("an entry").path()).filter(|path| path.join("rules.toml").exists()));
    assert!(folders.len() > 10, "{folders:?}");
    for folder in folders {
        let output = in_dir(&folder, &["check", "--json"]);
        let answer = parsed(&output);
        let lines =
            |d: &serde_json::Value| format!("{} {}:{} {}", d["code"], d["place"]["file"], d["place"]["line"], d["message"]);
        let found: Vec<String> = answer["diagnostics"].as_array().expect("a list").iter().map(lines).collect();
        assert!(found.is_empty(), "{}:\n{}", folder.display(), found.join("\n"));
    }
}
