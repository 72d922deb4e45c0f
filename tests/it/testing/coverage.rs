//! What of the scripts tests run.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{code, err, folder, out, parsed, pipewright, shipped, write};

/// Each kind of branch, one that is taken and one that is not.
const SCRIPT: &str = r#"import "lib/names" as names;

fn handle(event) {
    let name = names::full(event.traits);
    if event.userId == "u9" {
        skip("never");
    }
    if name != () {
        log::info("named");
    }
    let kind = switch event.traits?.kind {
        "a" => 1,
        "b" => 2,
    };
    let some = [1, 2].filter(|n| {
        n > 1
    });
    person::upsert(#{ "Segment User ID": event.userId }, #{ name: name });
}

fn unused() {
    1
}
"#;
const NAMES: &str = "fn full(t) {\n    if t?.name == () { () } else { t.name }\n}\n";

fn covered(tests: &str, args: &[&str]) -> (tempfile::TempDir, std::process::Output) {
    let dir = folder(SCRIPT, &[("a.rhai", tests)]);
    write(dir.path(), "scripts/lib/names.rhai", NAMES);
    write(dir.path(), "scripts/orphan.rhai", "fn never() { 1 }");
    let output = pipewright(&[&["test"], args].concat(), dir.path(), None);
    (dir, output)
}

fn file<'r>(run: &'r Value, name: &str) -> &'r Value {
    let files = run["coverage"]["files"].as_array().expect("files");
    files.iter().find(|f| f["file"] == name).unwrap_or_else(|| panic!("{name} is not among {files:?}"))
}

fn missed(run: &Value, name: &str) -> Vec<(u64, String)> {
    let missed = file(run, name)["missed"].as_array().expect("missed");
    missed.iter().map(|m| (m["line"].as_u64().expect("a line"), m["what"].as_str().expect("what").to_owned())).collect()
}

const ONE: &str = r#"
import "lib/names" as names;
fn test_one() { source("website"); identify(#{ userId: "u1", traits: #{ name: "Ada", kind: "a" } }); }
"#;

#[test]
fn lines_and_branches_that_no_test_runs_are_listed() {
    let (_dir, output) = covered(ONE, &["--coverage", "--json"]);
    let run = parsed(&output);
    assert_eq!(code(&output), 0, "{run:#}{}", err(&output));
    let of = |line: u64, what: &str| (line, what.to_owned());
    assert_eq!(
        missed(&run, "scripts/person.rhai"),
        [
            of(6, "never run"),
            of(8, "the condition always holds"),
            of(11, "there is always an arm that fits"),
            of(13, "never run"),
            of(22, "never run"),
        ]
    );
    assert_eq!(missed(&run, "scripts/lib/names.rhai"), [of(2, "never run")], "all that begins on a line counts");
    let files: Vec<&str> =
        run["coverage"]["files"].as_array().expect("files").iter().filter_map(|f| f["file"].as_str()).collect();
    assert_eq!(files, ["scripts/lib/names.rhai", "scripts/person.rhai"], "neither tests nor what no rule names");
    // 14 lines begin something (the closure's among them); 2 ways each of two ifs, 3 of the switch.
    let person = file(&run, "scripts/person.rhai");
    assert_eq!((&person["lines"], &person["branches"]), (&json!({ "all": 12, "hit": 9 }), &json!({ "all": 7, "hit": 3 })));

    let text = out(&covered(ONE, &["--coverage"]).1);
    assert!(text.contains("   6  skip(\"never\");    <- never run"), "{text}");
    assert!(text.contains("   8  if name != () {    <- the condition always holds"), "{text}");
}

#[test]
fn what_tests_call_themselves_counts_and_every_way_taken_is_whole() {
    let more = r#"
fn test_two() {
    source("website");
    for kind in ["b", "c"] { identify(#{ userId: "u1", traits: #{ kind: kind } }); }
    identify(#{ userId: "u9", traits: #{ name: "Ada" } });
}
fn test_names() { assert_eq(names::full(#{}), ()); assert_eq(names::full(#{ name: "A" }), "A"); }
"#;
    let (_dir, output) = covered(&format!("{ONE}{more}"), &["--coverage", "--json"]);
    let run = parsed(&output);
    assert_eq!(missed(&run, "scripts/person.rhai"), [(22, "never run".to_owned())]);
    assert_eq!(missed(&run, "scripts/lib/names.rhai"), []);
    let only = "import \"lib/names\" as names;\nfn test_names() { names::full(#{}); names::full(#{ name: \"A\" }); }";
    let run = parsed(&covered(only, &["--coverage", "--json"]).1);
    assert_eq!(missed(&run, "scripts/lib/names.rhai"), [], "no event was sent");
}

#[test]
fn a_condition_that_fails_or_waits_for_a_read_decides_nothing() {
    // The first run of each ends at the read; one `if` throws into a `catch`.
    let script = r#"fn handle(event) {
    if person::find(#{ "Segment User ID": event.userId }) == () {
        person::create(#{ name: "Ada", "Segment User ID": event.userId });
    }
    try {
        if broken() { log::info("never"); }
    } catch {
        log::info("caught");
    }
}
fn broken() { throw "broken"; }
"#;
    let dir = folder(script, &[("a.rhai", "fn test_one() { source(\"website\"); identify(#{ userId: \"u1\" }); }")]);
    let run = parsed(&pipewright(&["test", "--coverage", "--json"], dir.path(), None));
    let of = |line: u64, what: &str| (line, what.to_owned());
    assert_eq!(missed(&run, "scripts/person.rhai"), [of(2, "the condition always holds"), of(6, "never run")]);
    assert_eq!(file(&run, "scripts/person.rhai")["branches"], json!({ "all": 4, "hit": 1 }));
}

#[test]
fn too_little_is_a_finding_and_enough_is_not() {
    for (args, expected) in [
        (&["--fail-under", "99"][..], 1),
        (&["--fail-under", "30"], 0),
        (&["--coverage"], 0),
        (&["--fail-under", "101"], 2),
        (&["--fail-under", "x"], 2),
    ] {
        let output = covered(ONE, args).1;
        assert_eq!(code(&output), expected, "{args:?}: {}{}", out(&output), err(&output));
    }
    let said = err(&covered(ONE, &["--fail-under", "99"]).1);
    assert!(said.contains("% of lines and branches are covered, less than 99 %"), "{said}");
}

/// What an lcov file says of a source file: lines, branches, functions with their hits.
#[derive(Default, Debug)]
struct Record {
    lines: BTreeMap<u64, u64>,
    branches: Vec<(u64, u64, u64, Option<u64>)>,
    functions: BTreeMap<String, (u64, u64)>,
    sums: BTreeMap<String, u64>,
}

fn lcov(text: &str) -> BTreeMap<String, Record> {
    let mut records = BTreeMap::new();
    let (mut name, mut record) = (String::new(), Record::default());
    for line in text.lines() {
        if line == "end_of_record" {
            records.insert(std::mem::take(&mut name), std::mem::take(&mut record));
            continue;
        }
        let (key, value) = line.split_once(':').expect("KEY:VALUE");
        let parts: Vec<&str> = value.split(',').collect();
        let number = |at: usize| parts[at].parse::<u64>().unwrap_or_else(|_| panic!("{line}"));
        match key {
            "TN" => assert_eq!(value, ""),
            "SF" => value.clone_into(&mut name),
            "FN" => drop(record.functions.insert(parts[1].to_owned(), (number(0), 0))),
            "FNDA" => record.functions.get_mut(parts[1]).expect("FN before FNDA").1 = number(0),
            "BRDA" => record.branches.push((number(0), number(1), number(2), (parts[3] != "-").then(|| number(3)))),
            "DA" => drop(record.lines.insert(number(0), number(1))),
            "FNF" | "FNH" | "BRF" | "BRH" | "LF" | "LH" => drop(record.sums.insert(key.to_owned(), number(0))),
            other => panic!("{other} is no record"),
        }
    }
    records
}

#[test]
fn lcov_has_lines_branches_and_functions_that_add_up() {
    let (dir, output) = covered(ONE, &["--lcov", "coverage.info"]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    let records = lcov(&std::fs::read_to_string(dir.path().join("coverage.info")).expect("written"));
    let person = &records["scripts/person.rhai"];
    assert_eq!(person.lines.get(&4), Some(&1));
    assert_eq!((person.lines.get(&6), person.lines.get(&13), person.lines.get(&1)), (Some(&0), Some(&0), None));
    assert_eq!(person.lines.get(&16), Some(&2), "the closure ran for each item");
    assert_eq!(person.functions, BTreeMap::from([("handle".to_owned(), (3, 1)), ("unused".to_owned(), (21, 0))]));
    let of_line = |line: u64| person.branches.iter().filter(|b| b.0 == line).map(|b| b.3).collect::<Vec<_>>();
    assert_eq!(of_line(5), [Some(0), Some(1)]);
    assert_eq!(of_line(8), [Some(1), Some(0)]);
    assert_eq!(of_line(11), [Some(1), Some(0), Some(0)]);
    for record in records.values() {
        let count = |n: usize| u64::try_from(n).expect("few");
        let sums = [
            ("LF", count(record.lines.len())),
            ("LH", count(record.lines.values().filter(|h| **h > 0).count())),
            ("BRF", count(record.branches.len())),
            ("BRH", count(record.branches.iter().filter(|b| b.3.is_some_and(|h| h > 0)).count())),
            ("FNF", count(record.functions.len())),
            ("FNH", count(record.functions.values().filter(|f| f.1 > 0).count())),
        ];
        assert_eq!(record.sums, sums.map(|(key, sum)| (key.to_owned(), sum)).into());
    }
}

#[test]
fn every_line_and_branch_of_the_shipped_scripts_has_a_test() {
    let output = pipewright(&["test", "--fail-under", "100"], shipped(), None);
    assert_eq!(code(&output), 0, "{}{}", out(&output), err(&output));
}
