//! Script tests and dry runs, through the command line.

mod assertions;
mod coverage;
mod faults;
mod output;
mod snapshots;

use std::io::Write as _;
use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::Arc;

use pipewright::ingest::decode_event;
use pipewright::mock::{Mock, MockOptions};
use pipewright::rules::{BuildOptions, ScriptSet, SetFiles};
use pipewright::testing::{self, Door, Options, Room, Sandbox, TestFolder};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::account::Served;
use crate::support::binary::{code, command, err, out, parsed};
use crate::support::{temp_dir, write};

/// Runs a command; what it reads on standard input, if anything.
fn pipewright(args: &[&str], dir: &Path, input: Option<&str>) -> Output {
    let mut child = command(args)
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    // A command that does not read it has closed its end.
    drop(child.stdin.take().expect("its input").write_all(input.unwrap_or_default().as_bytes()));
    child.wait_with_output().expect("it ends")
}

/// The repository: the files that ship.
fn shipped() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

const PERSON: &str = r#"
fn handle(event) {
    log::info("looked at");
    person::upsert(#{ "Segment User ID": event.userId }, #{ name: event.traits?.name, labels: event.traits?.labels });
}
"#;

/// A folder with the rule `person` and these files of `scripts/tests/`.
fn folder(script: &str, tests: &[(&str, &str)]) -> TempDir {
    let dir = temp_dir();
    write(
        dir.path(),
        "rules.toml",
        r#"
[sources.shop]
write_keys = ["env:PIPEWRIGHT_TEST_UNSET_2"]
[sources.website]
write_keys = ["env:PIPEWRIGHT_TEST_UNSET"]
[pipedrive.main]
domain = "acme"
api_token = "env:PIPEWRIGHT_TEST_UNSET"
[[rules]]
name = "person"
when = 'type = "identify" and userId != "nobody"'
script = "person.rhai"
sources = ["website"]
"#,
    );
    write(dir.path(), "scripts/person.rhai", script);
    for (name, text) in tests {
        write(dir.path(), &format!("scripts/tests/{name}"), text);
    }
    dir
}

fn test(tests: &[(&str, &str)], args: &[&str]) -> Output {
    let dir = folder(PERSON, tests);
    pipewright(&[&["test"], args].concat(), dir.path(), None)
}

#[test]
fn the_shipped_tests_pass() {
    let output = pipewright(&["test"], shipped(), None);
    let text = out(&output);
    assert_eq!(code(&output), 0, "{text}{}", err(&output));
    assert!(text.contains("ok      an identify makes a person") && text.contains(" passed, 0 failed ("), "{text}");
}

#[test]
fn the_order_of_results_is_that_of_the_files_however_often_they_run() {
    let names = || {
        let run = parsed(&pipewright(&["test", "--json"], shipped(), None));
        run["tests"].as_array().expect("tests").iter().map(|t| format!("{}:{}", t["file"], t["line"])).collect::<Vec<_>>()
    };
    let first = names();
    assert!(first.len() > 20, "{}", first.len());
    let mut by_file = first.clone();
    by_file.sort_by_key(|name| name.rsplit_once(':').map(|(file, line)| (file.to_owned(), line.parse::<u32>().expect("a line"))));
    assert_eq!(first, by_file);
    assert_eq!(first, names());
}

#[test]
fn a_failed_assertion_shows_its_line_a_caret_and_both_sides() {
    let tests = r#"
fn test_it_is_another() {
    source("website");
    identify(#{ userId: "u1", traits: #{ name: "Ada" } });
    try {
        assert_eq(person::all().map(|p| #{ name: p.name }), [#{ name: "Bob" }]);
    } catch { }
}
"#;
    let output = test(&[("a.rhai", tests)], &[]);
    let text = out(&output);
    assert_eq!(code(&output), 1, "{text}");
    for part in [
        "  FAILED  it is another",
        "error: the values differ",
        "--> scripts/tests/a.rhai:6:9",
        "^^^^^^^^^",
        r#"actual:   [#{ name: "Ada" }]"#,
        r#"expected: [#{ name: "Bob" }]"#,
        "they differ first at [0].name",
        "0 passed, 1 failed (",
    ] {
        assert!(text.contains(part), "{part:?} is missing in:\n{text}");
    }
}

#[test]
fn a_failure_names_the_deliveries_that_did_not_end_well() {
    let script = "fn handle(event) { person::create(#{ emails: \"a@b.c\" }); }";
    let tests = r#"
fn test_somebody_is_there() {
    source("website");
    let run = identify(#{ userId: "u1" });
    assert_eq(run.state, "dead");
    identify(#{ userId: "nobody" });
    assert(person::all().len() == 1, "nobody is there");
}
"#;
    let dir = folder(script, &[("a.rhai", tests)]);
    let text = out(&pipewright(&["test"], dir.path(), None));
    assert!(text.contains("error: nobody is there") && text.contains("a.rhai:7:5"), "{text}");
    assert!(text.contains("the event of line 4: rule person ended dead: ") && text.contains("needs `name`"), "{text}");
    assert!(text.contains("the event of line 6: no rule wants it"), "{text}");
}

#[test]
fn a_file_that_does_not_compile_fails_alone() {
    let good = "fn test_good() { assert(true); }";
    let typo = "fn test_typo() {\n    identfy(#{ userId: \"u1\" });\n}";
    let taken = "fn test_takes(x) { }";
    let output = test(
        &[("bad.rhai", "fn test_bad() {\n    let x = ;\n}"), ("good.rhai", good), ("t.rhai", taken), ("typo.rhai", typo)],
        &[],
    );
    let text = out(&output);
    assert_eq!(code(&output), 1);
    for part in [
        "  ok      good",
        "bad.rhai: does not compile",
        "--> scripts/tests/bad.rhai:2:",
        "unknown function `identfy`",
        "did you mean `identify`?",
        "tests take no parameters",
        "1 passed, 3 failed (",
    ] {
        assert!(text.contains(part), "{part:?} is missing in:\n{text}");
    }
}

#[test]
fn an_endless_test_is_stopped_and_the_others_run() {
    let tests = "fn test_endless() {\n    let n = 0;\n    loop { n += 1; }\n}\nfn test_empty() { loop { } }\nfn test_deep() { test_deep(); }\nfn test_fine() { assert_ne(1, 2); }\n";
    let output = test(&[("a.rhai", tests)], &[]);
    let text = out(&output);
    assert_eq!(code(&output), 1);
    assert!(text.contains("more than 1000000 operations") && text.contains("--> scripts/tests/a.rhai:1:"), "{text}");
    assert!(text.contains("--> scripts/tests/a.rhai:5:1"), "an empty loop points at its test: {text}");
    assert!(text.contains("nested deeper than 64"), "{text}");
    assert!(text.contains("  ok      fine") && text.contains("1 passed, 3 failed ("), "{text}");
}

#[test]
fn fixtures_are_read_and_nothing_beside_them() {
    let tests = r#"
fn test_a_fixture_is_an_event() {
    source("website");
    let event = fixture("ada.json");
    event.userId = "u2";
    deliver(event);
    assert_eq(person::find(#{ "Segment User ID": "u2" }).name, "Ada");
}
fn test_out_of_the_folder() { fixture("../a.rhai"); }
fn test_from_the_root() { fixture("/etc/hostname"); }
fn test_through_a_link() { fixture("link.json"); }
fn test_not_there() { fixture("adda.json"); }
"#;
    let ada = r#"{"type": "identify", "userId": "u1", "traits": {"name": "Ada"}}"#;
    let dir = folder(PERSON, &[("a.rhai", tests), ("fixtures/ada.json", ada)]);
    #[cfg(unix)]
    std::os::unix::fs::symlink(dir.path().join("rules.toml"), dir.path().join("scripts/tests/fixtures/link.json"))
        .expect("a link");
    let text = out(&pipewright(&["test"], dir.path(), None));
    assert!(text.contains("1 passed, 4 failed ("), "{text}");
    assert_eq!(text.matches("the name is that of a file in scripts/tests/fixtures/").count(), 2, "{text}");
    assert!(text.contains("link.json cannot be read: it leads out of") && text.contains("did you mean \"ada.json\"?"), "{text}");
}

#[test]
fn a_test_sees_nothing_of_another_and_the_whole_of_its_own() {
    let tests = r#"
fn test_one() {
    source("website");
    let run = identify(#{ userId: "u1", traits: #{ name: "Ada" } });
    assert_eq(run.state, "done");
    assert_eq(run.deliveries.map(|d| d.rule), ["person"]);
    assert_eq(run.plan.map(|s| s.effect), ["created"]);
    assert(run.requests.some(|r| r.method == "POST" && r.path == "/api/v2/persons"));
    assert_eq(run.deliveries[0].logs[0].text, "looked at");
    assert_eq(person::all().len(), 1);
    assert_eq(person::get(run.plan[0].id).name, "Ada");
}
fn test_two() {
    assert_eq(person::all(), []);
    assert_eq(identify(#{ userId: "u1" }).state, "unmatched", "the source is another");
    source("website");
    identify(#{ userId: "u1", traits: #{ name: "Bob" } });
    assert_eq(person::all().map(|p| p.name), ["Bob"]);
}
fn test_failures_are_tried_again_or_not() {
    source("website");
    mock::fail_next(503);
    assert_eq(identify(#{ userId: "u1", traits: #{ name: "Ada" } }).state, "done");
    mock::fail_next(400, "PATCH");
    let run = identify(#{ userId: "u1", traits: #{ name: "Ada King" } });
    assert_eq(run.state, "dead");
    assert_eq(person::all()[0].name, "Ada");
}
fn test_what_is_given_is_checked() {
    given::person(#{ name: "Ada", "Segment Usr ID": "u1" });
}
"#;
    let text = out(&test(&[("a.rhai", tests)], &[]));
    assert!(text.contains("3 passed, 1 failed ("), "{text}");
    assert!(text.contains("`given::person`: ") || text.contains("`person`: "), "{text}");
    assert!(text.contains("Segment User ID"), "the near name is suggested: {text}");
}

#[test]
fn a_filter_leaves_tests_out_and_one_that_fits_nothing_is_told() {
    let tests = "fn test_good() { assert(true); }\nfn test_bad() { assert(false); }";
    let output = test(&[("a.rhai", tests)], &["--filter", "a.rhai::test_good"]);
    assert_eq!(code(&output), 0);
    assert!(out(&output).contains("1 passed, 0 failed, 1 left out ("), "{}", out(&output));
    let spoken = test(&[("a.rhai", "fn test_good_one() {}\nfn test_bad_one() { assert(false); }")], &["--filter", "good one"]);
    assert!(out(&spoken).contains("1 passed, 0 failed, 1 left out"), "as it is told: {}", out(&spoken));
    let output = test(&[("a.rhai", tests)], &["--filter", "goood"]);
    assert_eq!(code(&output), 1);
    assert!(err(&output).contains("contains `goood`"), "{}", err(&output));
}

#[test]
fn results_are_one_json_document() {
    let tests = "fn test_good() { print(\"hello\"); }\nfn test_bad() { assert(false); }";
    let output = test(&[("a.rhai", tests), ("b.rhai", "fn test_x( {")], &["--json"]);
    assert_eq!(code(&output), 1);
    let run = parsed(&output);
    assert_eq!((&run["ok"], &run["passed"], &run["failed"]), (&json!(false), &json!(1), &json!(2)));
    let (good, bad) = (&run["tests"][0], &run["tests"][1]);
    assert_eq!((&good["name"], &good["ok"], &good["logs"][0]["text"]), (&json!("test_good"), &json!(true), &json!("hello")));
    assert_eq!((&bad["failure"]["place"]["line"], &bad["file"]), (&json!(2), &json!("scripts/tests/a.rhai")));
    assert_eq!(run["uncompiled"][0]["diagnostics"][0]["place"]["file"], "scripts/tests/b.rhai");
}

#[test]
fn enabled_rules_that_no_test_runs_are_named() {
    let one = r#"fn test_one() { source("website"); identify(#{ userId: "u1", traits: #{ name: "Ada" } }); }"#;
    let none = "fn test_none() { identify(#{ userId: \"u1\" }); }";
    let more = "[[rules]]\nname = \"late\"\nwhen = 'type = \"track\"'\nscript = \"person.rhai\"\n\
                [[rules]]\nname = \"off\"\nenabled = false\nwhen = 'type = \"page\"'\nscript = \"person.rhai\"\n";
    for (tests, filter, exercised, untested) in [
        (one, None, json!(["person"]), json!(["late"])),
        (none, None, json!([]), json!(["person", "late"])),
        // What is left out may run them.
        (&*format!("{one}\n{none}"), Some("test_one"), json!(["person"]), json!([])),
    ] {
        let dir = folder(PERSON, &[("a.rhai", tests)]);
        let rules = std::fs::read_to_string(dir.path().join("rules.toml")).expect("readable");
        write(dir.path(), "rules.toml", &format!("{rules}{more}"));
        let args: Vec<&str> = ["test"].into_iter().chain(filter.iter().flat_map(|f| ["--filter", f])).collect();
        let run = parsed(&pipewright(&[&args[..], &["--json"]].concat(), dir.path(), None));
        assert_eq!((&run["exercised"], &run["untested"]), (&exercised, &untested), "{run}");
        let text = out(&pipewright(&args, dir.path(), None));
        let names: Vec<&str> = untested.as_array().expect("names").iter().filter_map(Value::as_str).collect();
        let said = format!("no test sends an event to: {}", names.join(", "));
        assert_eq!(text.contains(&said), !names.is_empty(), "{text}");
    }
    let run = parsed(&pipewright(&["test", "--json"], shipped(), None));
    assert_eq!(run["untested"], json!([]), "each shipped rule that is on has a test");
}

#[test]
fn a_folder_that_does_not_build_is_refused_with_its_exit_code() {
    let dir = folder("fn handle(event) {", &[]);
    let output = pipewright(&["test"], dir.path(), None);
    assert_eq!(code(&output), 1, "a script is wrong");
    assert!(err(&output).contains("scripts/person.rhai:1:"), "{}", err(&output));
    std::fs::write(dir.path().join("rules.toml"), "[sevrer]\n").expect("written");
    let output = pipewright(&["test", "--json"], dir.path(), None);
    assert_eq!(code(&output), 2, "rules.toml is wrong");
    assert_eq!(parsed(&output)["ok"], false);
}

const ADA: &str = r#"{"type": "identify", "messageId": "m1", "userId": "u1",
    "traits": {"name": "Ada King", "email": "ada@example.org"}, "context": {"groupId": "g1"}}"#;

#[test]
fn try_shows_triggers_plan_changed_fields_and_requests() {
    let output = pipewright(&["try", "-"], shipped(), Some(ADA));
    let text = out(&output);
    assert_eq!(code(&output), 0, "{text}{}", err(&output));
    for part in [
        "identify from website, against a fresh embedded Pipedrive; messageId m1",
        "rule person: trigger met",
        "upsert organization: created",
        "upsert person: created",
        "nothing found, Segment User ID = u1",
        r#"name: null -> "Ada King""#,
        "POST /api/v2/persons  200",
        "rule deal: trigger not met",
        "event = \"Deal Upserted\" is false: event is missing",
        "rule lead-on-identify: trigger met, rule is off",
    ] {
        assert!(text.contains(part), "{part:?} is missing in:\n{text}");
    }
    assert!(!text.contains("personFields"), "fetching the fields is no part of it:\n{text}");
}

#[test]
fn try_answers_one_json_document() {
    let output = pipewright(&["try", "-", "--json"], shipped(), Some(ADA));
    let run = parsed(&output);
    assert_eq!((&run["ok"], &run["against"], &run["event"]["messageId"]), (&json!(true), &json!("mock"), &json!("m1")));
    let person = &run["rules"][0];
    assert_eq!((&person["rule"], &person["delivery"]["state"]), (&json!("person"), &json!("done")));
    let steps = &person["delivery"]["records"][0]["steps"];
    assert_eq!((&steps[1]["verb"], &steps[1]["state"]["effect"]), (&json!("upsert"), &json!("created")));
    let deal = &run["rules"][2];
    assert_eq!((&deal["trigger"]["matched"], &deal["delivery"]), (&json!(false), &Value::Null));
    assert_eq!(deal["trigger"]["failed"][0]["actual"], "identify");
}

#[test]
fn try_shows_options_by_their_labels_and_their_ids_in_json() {
    let script = r#"fn handle(event) {
        person::upsert(#{ "Segment User ID": event.userId }, #{ name: "Ada", "Plan": "pro", labels: "Customer" });
    }"#;
    let dir = folder(script, &[]);
    let args = ["try", "-", "--source", "website"];
    let text = out(&pipewright(&args, dir.path(), Some(ADA)));
    assert!(text.contains("Plan: (none) -> Pro\n") && text.contains("labels: (none) -> Customer\n"), "{text}");
    let run = parsed(&pipewright(&[&args[..], &["--json"]].concat(), dir.path(), Some(ADA)));
    let changes = run["rules"][0]["delivery"]["records"][0]["steps"][0]["changes"].as_array().cloned().expect("changes");
    let plan = changes.iter().find(|c| c["field"] == "Plan").expect("the plan");
    assert!(plan["after"].is_i64() && plan["after_name"] == "Pro" && plan["before"].is_null(), "{plan}");
}

#[test]
fn try_of_a_rule_that_fails_points_into_the_script() {
    let script = "fn handle(event) {\n    let x = event.traits.name - 1;\n}";
    let dir = folder(script, &[]);
    let args = ["try", "-", "--source", "website"];
    let output = pipewright(&args, dir.path(), Some(ADA));
    let text = out(&output);
    assert_eq!(code(&output), 1, "{text}{}", err(&output));
    assert!(text.contains("person.rhai:2:") && text.contains("^"), "{text}");

    std::fs::write(dir.path().join("scripts/person.rhai"), "fn handle(event) { let x = ; }").expect("written");
    let output = pipewright(&args, dir.path(), Some(ADA));
    assert_eq!(code(&output), 1);
    assert!(err(&output).contains("--> scripts/person.rhai:1:"), "{}", err(&output));
}

#[test]
fn try_runs_a_named_rule_whatever_its_trigger() {
    let output = pipewright(&["try", "-", "--rule", "lead-on-identify"], shipped(), Some(ADA));
    let text = out(&output);
    assert_eq!(code(&output), 0, "{text}");
    assert!(text.contains("skipped") && text.contains("not a lead") && !text.contains("rule person"), "{text}");
}

#[test]
fn try_used_wrongly_says_how() {
    let dir = folder(PERSON, &[]);
    for (args, input, said) in [
        (&["try", "-", "--source", "website"][..], "{", "standard input is no JSON"),
        (&["try", "-", "--source", "website"], r#"{"userId": "u1"}"#, "`type` is missing"),
        (&["try", "-", "--source", "website"], "[1]", "must be a JSON object"),
        (&["try", "-"], ADA, "name one with --source: shop, website"),
        (&["try", "-", "--source", "websit"], ADA, "did you mean `website`?"),
        (&["try", "-", "--source", "shop", "--rule", "persn"], ADA, "did you mean `person`?"),
        (&["try", "-", "--live", "--source", "website"], ADA, "PIPEWRIGHT_TEST_UNSET is not set"),
        (&["try", "nothing.json"], "", "nothing.json cannot be read"),
    ] {
        let output = pipewright(args, dir.path(), Some(input));
        assert_eq!((code(&output), out(&output).as_str()), (2, ""), "{args:?}: {}", err(&output));
        assert!(err(&output).contains(said), "{args:?}: {}", err(&output));
    }
    let output = pipewright(&["try", "-", "--live", "--source", "website"], dir.path(), Some(ADA));
    assert!(err(&output).contains("without --live it is planned"), "what to do without an account: {}", err(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn try_reads_from_the_account_and_sends_nothing_that_writes() {
    let account = Served::start(MockOptions { token: "t0ken".to_owned(), ..MockOptions::unlimited() }).await;

    let dir = folder(PERSON, &[]);
    let rules = std::fs::read_to_string(dir.path().join("rules.toml")).expect("readable");
    let rules = rules
        .replace("domain = \"acme\"", &format!("base_url = \"{}\"", account.url()))
        .replace("api_token = \"env:PIPEWRIGHT_TEST_UNSET\"", "api_token = \"file:token\"");
    write(dir.path(), "rules.toml", &rules);
    write(dir.path(), "token", "t0ken\n");
    // An account whose writes are on, once for a person, and once for a deal of one who is not there yet.
    let deal = "fn handle(event) { deal::create(#{ title: \"Big\", person_id: by(#{ \"Segment User ID\": event.userId }) }); }";
    for (script, parts) in [
        (PERSON, &["1. upsert person: would create", "POST /api/v2/persons  not sent"][..]),
        (deal, &["1. create deal: would create", "link_wait: it would wait for", "\"person_id\":\"(not there yet)\""]),
    ] {
        write(dir.path(), "scripts/person.rhai", script);
        let path = dir.path().to_owned();
        let args = ["try", "-", "--live", "--source", "website"];
        let output = tokio::task::spawn_blocking(move || pipewright(&args, &path, Some(ADA))).await.expect("it ran");

        let text = out(&output);
        assert_eq!(code(&output), 0, "{text}{}", err(&output));
        let always = ["against the account, with reads only", "observed, a dry run: nothing was sent", "nothing was written"];
        for part in always.iter().chain(parts) {
            assert!(text.contains(part), "{part:?} is missing in:\n{text}");
        }
        assert!(!text.contains("writes are off"), "{text}");
    }
    assert!(account.mock.requests() > 0, "it did read");
    assert_eq!(account.mock.writes(), []);
    assert!(!dir.path().join("data").exists(), "the daemon's store is not touched");
    account.stop().await;
}

/// The block of tests on the page on scripting, run against the shipped rules.
#[test]
fn the_tests_on_the_page_on_scripting_pass() {
    let page = pipewright::script::reference();
    let block = page.split("```rhai,test\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a block of tests");
    let dir = temp_dir();
    for name in [
        "rules.toml",
        "scripts/person.rhai",
        "scripts/organization.rhai",
        "scripts/deal.rhai",
        "scripts/lead.rhai",
        "scripts/lib/company.rhai",
        "scripts/activity.rhai",
        "scripts/alias.rhai",
        "scripts/erase.rhai",
        "scripts/note.rhai",
    ] {
        write(dir.path(), name, &std::fs::read_to_string(shipped().join(name)).expect("a shipped file"));
    }
    write(dir.path(), "scripts/tests/page.rhai", block);
    let output = pipewright(&["test"], dir.path(), None);
    assert!(out(&output).contains("2 passed, 0 failed ("), "{}{}", out(&output), err(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_knows_nothing_of_the_one_before_it_in_its_room() {
    let options = BuildOptions { dir: shipped().to_owned(), mock: true, metadata: None };
    let files = SetFiles::read(shipped()).expect("the shipped files");
    let set = Arc::new(ScriptSet::build(files, &options).expect("they build").set);
    let room = Arc::new(Room::open().expect("a room"));
    for _ in 0..2 {
        let door = Door::Mock { mock: Mock::new(MockOptions::unlimited()), metadata: None };
        let sandbox = Sandbox::new(room.clone(), set.clone(), &door).await.expect("a sandbox");
        let raw = serde_json::from_str(ADA).expect("an event");
        let event = decode_event("website", jiff::Timestamp::UNIX_EPOCH, raw).expect("an event");
        let delivered = sandbox.deliver(event).await.expect("delivered");
        let record = delivered[0].record();
        assert_eq!((&delivered[0].rule[..], delivered[0].failed()), ("person", false), "{record}");
        let how: Vec<_> = record["steps"].as_array().expect("steps").iter().map(|s| s["resolution"]["how"].clone()).collect();
        assert_eq!(how, ["miss", "miss"], "nothing is known from before");
    }
}

#[test]
fn a_link_that_is_not_there_counts_as_waited_for() {
    let event = r#"{"type": "track", "event": "Activity Upserted", "userId": "nobody", "properties": {"subject": "Call"}}"#;
    let run = parsed(&pipewright(&["try", "-", "--rule", "activity", "--json"], shipped(), Some(event)));
    let delivery = &run["rules"][0]["delivery"];
    assert_eq!(delivery["state"], "done", "{delivery}");
    assert_eq!(delivery["records"].as_array().map(Vec::len), Some(1));
}

#[test]
fn what_was_read_before_is_what_the_tests_are_and_see_whatever_is_saved_since() {
    let tests = "fn test_a() { assert_eq(fixture(\"word.json\"), \"one\"); }\nfn test_b() { assert_snapshot(1); }\n";
    let dir = folder(PERSON, &[("a.rhai", tests), ("fixtures/word.json", "\"one\""), ("snapshots/a/test_b.json", "1")]);
    let files = SetFiles::read(dir.path()).expect("readable");
    let options = BuildOptions { dir: dir.path().to_owned(), mock: true, metadata: None };
    let set = Arc::new(ScriptSet::build(files, &options).expect("valid").set);
    let read = Arc::new(TestFolder::read(dir.path()));
    for (name, text) in
        [("a.rhai", "fn test_a() { assert(false); }"), ("fixtures/word.json", "2"), ("snapshots/a/test_b.json", "2")]
    {
        write(dir.path(), &format!("scripts/tests/{name}"), text);
    }
    let of = |folder: Option<Arc<TestFolder>>| {
        let options = Options { folder, ..Options::default() };
        let run = testing::run_with(&set, dir.path(), &options, &|_, _| {}).expect("it runs");
        (run.passed(), run.failed())
    };
    assert_eq!(of(Some(read)), (2, 0));
    assert_eq!(of(None), (0, 1), "read anew, they fail");
}
