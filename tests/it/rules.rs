//! Sets as they are read, built, checked and asked.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use pipewright::config::{AccountConfig, Config, SourceConfig};
use pipewright::crm::{Field, FieldOption, FieldType, Metadata, User};
use pipewright::diagnostic::Diagnostic;
use pipewright::event::{Event, EventType};
use pipewright::pipedrive::Kind;
use pipewright::rules::{BuildOptions, Built, ScriptSet, SetFiles};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{temp_dir, write};

pub(crate) const HEAD: &str = "[sources.website]\nwrite_keys = [\"env:PW_TEST_UNSET\"]\n[sources.app]\nwrite_keys = [\"env:PW_TEST_UNSET_2\"]\n\
                    [pipedrive.main]\ndomain = \"acme\"\napi_token = \"env:PW_TEST_UNSET\"\n";

pub(crate) const SCRIPT: &str = "fn handle(event) { skip(\"nothing to do\"); }\n";

fn rule(name: &str, when: &str, more: &str) -> String {
    format!("[[rules]]\nname = \"{name}\"\nwhen = '''{when}'''\nscript = \"a.rhai\"\n{more}\n")
}

fn options(dir: &Path) -> BuildOptions {
    BuildOptions { dir: dir.to_owned(), mock: true, metadata: None }
}

/// Builds what `rules.toml` and some scripts come to.
fn build(rules: &str, scripts: &[(&str, &str)]) -> Result<Built, Vec<Diagnostic>> {
    let dir = temp_dir();
    write(dir.path(), "rules.toml", &format!("{HEAD}{rules}"));
    for (name, text) in scripts {
        write(dir.path(), &format!("scripts/{name}"), text);
    }
    ScriptSet::build(SetFiles::read(dir.path())?, &options(dir.path()))
}

fn event(source: &str, body: Value) -> Event {
    let Value::Object(body) = body else { panic!("an event is a map") };
    let kind = EventType::parse(body["type"].as_str().expect("a type")).expect("a known type");
    Event { kind, message_id: "m".into(), source: source.into(), received_at: jiff::Timestamp::UNIX_EPOCH, body: body.into() }
}

fn wanted(set: &ScriptSet, event: &Event) -> Vec<String> {
    set.wanted(event).iter().map(|r| r.name.to_string()).collect()
}

#[test]
fn an_event_reaches_the_enabled_rules_that_want_it_in_order() {
    let rules = [
        rule("any", "userId != null", ""),
        rule("deal", "type = \"track\" and event = \"Deal Upserted\"", ""),
        rule("off", "type = \"track\"", "enabled = false"),
        rule("app", "type = \"track\" or type = \"identify\"", "sources = [\"app\"]"),
        rule("person", "type = \"identify\"", ""),
        rule("late", "event in [\"Deal Upserted\", \"Signup\"]", ""),
    ];
    let built = build(&rules.concat(), &[("a.rhai", SCRIPT)]).expect("a valid set");
    let set = built.set;
    let deal = json!({"type": "track", "event": "Deal Upserted", "userId": "u"});
    assert_eq!(wanted(&set, &event("website", deal.clone())), ["any", "deal", "late"]);
    assert_eq!(wanted(&set, &event("app", deal)), ["any", "deal", "app", "late"]);
    assert_eq!(wanted(&set, &event("app", json!({"type": "identify", "userId": 7}))), ["any", "app", "person"]);
    assert!(wanted(&set, &event("website", json!({"type": "page"}))).is_empty());
    assert_eq!(set.rules.len(), 6, "disabled rules are kept");
    assert_eq!(&*set.rules[0].account, "main", "the only account");
}

#[test]
fn a_wrong_trigger_is_placed_at_its_column_in_the_file() {
    let dir = temp_dir();
    let text = format!("{HEAD}[[rules]]\nname = \"x\"\nwhen = 'type = \"track\" und event = \"a\"'\nscript = \"a.rhai\"\n");
    write(dir.path(), "rules.toml", &text);
    write(dir.path(), "scripts/a.rhai", SCRIPT);
    let found =
        ScriptSet::build(SetFiles::read(dir.path()).expect("readable"), &options(dir.path())).expect_err("a wrong trigger");
    assert_eq!(found.len(), 1);
    let shown = found[0].render();
    assert!(shown.contains("the trigger of rule `x` is wrong: unexpected `und`"), "{shown}");
    assert!(shown.contains("expected `and`, `or` or the end"), "{shown}");
    let place = found[0].place.as_ref().expect("a place");
    assert_eq!((place.file.as_str(), &place.text[place.column - 1..place.column + 2]), ("rules.toml", "und"));
}

#[test]
fn triggers_secrets_and_scripts_are_all_reported() {
    let dir = temp_dir();
    write(dir.path(), "rules.toml", &format!("{HEAD}{}", rule("x", "typ = 1", "")));
    write(dir.path(), "scripts/a.rhai", "fn handle(event) { let x = ; }\n");
    let files = SetFiles::read(dir.path()).expect("readable");
    let found = ScriptSet::build(files, &BuildOptions { dir: dir.path().to_owned(), ..Default::default() }).expect_err("wrong");
    let shown: Vec<String> = found.iter().map(Diagnostic::one_line).collect();
    assert_eq!(found.len(), 5, "{shown:#?}");
    assert!(shown[0].starts_with("rules.toml:2:15: the environment variable PW_TEST_UNSET is not set"), "{shown:#?}");
    assert!(shown[4].starts_with("scripts/a.rhai:1:"), "{shown:#?}");
}

#[test]
fn scripts_must_exist_and_have_an_entry_point() {
    let found = build(&rule("x", "type = \"track\"", ""), &[("aa.rhai", SCRIPT)]).expect_err("no such script");
    assert_eq!(found[0].message, "rule `x` runs scripts/a.rhai, and there is no such file");
    assert_eq!(found[0].help.as_deref(), Some("did you mean `aa.rhai`?"));
    let found = build(&rule("x", "type = \"track\"", ""), &[("a.rhai", "fn handel(event) { }")]).expect_err("no entry point");
    assert_eq!(found[0].place.as_ref().map(|p| p.file.as_str()), Some("scripts/a.rhai"));
}

#[test]
fn unused_scripts_and_triggers_that_cannot_be_met_are_warnings() {
    let rules = rule("never", "type = \"trakc\"", "") + &rule("both", "type = \"page\" and type = \"track\"", "");
    let built = build(&rules, &[("a.rhai", SCRIPT), ("b.rhai", SCRIPT), ("tests/t.rhai", "not even rhai ((")]).expect("valid");
    let warnings: Vec<&str> = built.warnings.iter().map(|w| w.message.as_str()).collect();
    assert_eq!(
        warnings,
        [
            "no event can meet the trigger of rule `never`",
            "no event can meet the trigger of rule `both`",
            "no rule runs scripts/b.rhai and no script imports it",
        ]
    );
}

#[test]
fn the_version_names_the_content() {
    let dir = temp_dir();
    write(dir.path(), "rules.toml", HEAD);
    write(dir.path(), "scripts/a.rhai", "x");
    let read = || SetFiles::read(dir.path()).expect("readable").version();
    let first = read();
    assert_eq!(first, read());
    assert_eq!(first.to_string().len(), 12);
    write(dir.path(), "scripts/a.rhai", "y");
    assert_ne!(first, read());
    write(dir.path(), "scripts/a.rhai", "x");
    write(dir.path(), "scripts/tests/t.rhai", "a test is no part of the set");
    write(dir.path(), "scripts/.a.rhai.swp", "nor is an editor's leftover");
    write(dir.path(), "scripts/README.md", "nor is this");
    assert_eq!(first, read());
    // The border between name and text counts.
    write(dir.path(), "scripts/tables/t.csv", "a\n");
    let with_table = read();
    assert_ne!(first, with_table);
}

#[test]
fn files_that_cannot_be_taken_are_refused_with_their_names() {
    let dir = temp_dir();
    let problem =
        |dir: &Path| SetFiles::read(dir).expect_err("refused").iter().map(Diagnostic::one_line).collect::<Vec<_>>().join("\n");
    assert!(problem(dir.path()).contains("the file rules.toml cannot be read"), "{}", problem(dir.path()));
    assert!(problem(&dir.path().join("gone")).contains("cannot be read"));
    write(dir.path(), "rules.toml", HEAD);
    write(dir.path(), "scripts/big.rhai", &"x".repeat(300 * 1024));
    std::fs::write(dir.path().join("scripts/latin.rhai"), b"// ok\n// caf\xe9\n").expect("written");
    let shown = problem(dir.path());
    assert!(shown.contains("scripts/big.rhai is larger than 256 KiB"), "{shown}");
    assert!(shown.contains("scripts/latin.rhai:2:1: scripts/latin.rhai is no UTF-8 (line 2)"), "{shown}");
}

#[cfg(unix)]
#[test]
fn links_are_followed_and_circles_end() {
    let dir = temp_dir();
    let other = temp_dir();
    write(dir.path(), "rules.toml", HEAD);
    write(other.path(), "real.rhai", "linked");
    write(dir.path(), "scripts/lib/x.rhai", "x");
    std::os::unix::fs::symlink(other.path().join("real.rhai"), dir.path().join("scripts/a.rhai")).expect("linked");
    let files = SetFiles::read(dir.path()).expect("readable");
    assert_eq!(files.sources.scripts.keys().collect::<Vec<_>>(), ["a.rhai", "lib/x.rhai"]);
    assert_eq!(&*files.sources.scripts["a.rhai"], "linked");
    std::os::unix::fs::symlink(dir.path().join("scripts"), dir.path().join("scripts/again")).expect("linked");
    let shown = SetFiles::read(dir.path()).expect_err("a circle")[0].message.clone();
    assert!(shown.contains("nested too deeply"), "{shown}");
}

/// Triggers and events from few words, so that they meet.
fn trigger_text() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        prop::sample::select(&["track", "identify", "page"][..]).prop_map(|t| format!("type = \"{t}\"")),
        prop::sample::select(&["a", "b", "c"][..]).prop_map(|e| format!("event = \"{e}\"")),
        Just("event in [\"a\", \"c\"]".to_owned()),
        Just("event != \"a\"".to_owned()),
        Just("type not in [\"track\"]".to_owned()),
        Just("contains(type, \"a\")".to_owned()),
        Just("properties.x = 1".to_owned()),
        Just("event = null".to_owned()),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4).prop_map(|c| format!("({})", c.join(" and "))),
            prop::collection::vec(inner.clone(), 2..4).prop_map(|c| format!("({})", c.join(" or "))),
            inner.prop_map(|i| format!("not ({i})")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn the_index_answers_as_asking_every_rule_would(
        triggers in prop::collection::vec(trigger_text(), 1..8),
        events in prop::collection::vec((prop::sample::select(&["track", "identify", "page", "group"][..]),
            prop_oneof![Just(json!("a")), Just(json!("b")), Just(json!("z")), Just(json!(5)), Just(Value::Null)], 0..2), 1..8),
    ) {
        let rules: String = triggers.iter().enumerate().map(|(i, t)| rule(&format!("r{i}"), t, "")).collect();
        let set = build(&rules, &[("a.rhai", SCRIPT)]).expect("valid").set;
        for (kind, name, x) in events {
            let event = event("website", json!({"type": kind, "event": name, "properties": {"x": x}}));
            let brute: Vec<String> = set.rules.iter().filter(|r| r.trigger.matches(&event)).map(|r| r.name.to_string()).collect();
            prop_assert_eq!(wanted(&set, &event), brute);
        }
    }
}

fn field(key: &str, name: &str, field_type: FieldType, options: &[&str]) -> Field {
    let option = |(i, label): (usize, &&str)| FieldOption { id: i as i64 + 1, label: (*label).to_owned() };
    let options = options.iter().enumerate().map(option).collect();
    Field { key: key.repeat(40), name: name.to_owned(), field_type, options, custom: true }
}

/// An account with two custom fields of persons and one user.
fn account() -> Arc<Metadata> {
    let fields = vec![
        field("a", "Segment User ID", FieldType::Varchar, &[]),
        field("b", "Plan", FieldType::Enum, &["Free", "Pro"]),
        field("c", "Signup", FieldType::Date, &[]),
    ];
    let users = vec![User { id: 1, name: "Ada".into(), email: "ada@acme.com".into(), active: true }];
    Arc::new(Metadata { fields: BTreeMap::from([(Kind::Person, fields)]), users, ..Metadata::default() })
}

fn checked(rules: &str, scripts: &[(&str, &str)]) -> Vec<String> {
    let built = build(rules, scripts).unwrap_or_else(|p| panic!("{}", pipewright::diagnostic::render_all(&p)));
    let found = pipewright::rules::check(&built.set, &BTreeMap::from([("main".to_owned(), account())]));
    found.iter().map(|d| format!("{:?} {} | {}", d.severity, d.one_line(), d.help.as_deref().unwrap_or(""))).collect()
}

#[test]
fn names_that_the_account_does_not_have_are_errors_with_a_suggestion() {
    let script = "fn handle(event) {\n    person::upsert(#{ \"Segmnt User ID\": event.userId },\n        #{ name: \"x\", \"Plann\": event.plan, nmae: 1 });\n}\n";
    let found = checked(&rule("x", "type = \"track\"", ""), &[("a.rhai", script)]);
    assert_eq!(
        found,
        [
            "Error scripts/a.rhai:2:23: persons have no field `Segmnt User ID` [PW301] | did you mean `Segment User ID`?",
            "Error scripts/a.rhai:3:23: persons have no field `Plann` [PW301] | did you mean `Plan`?",
            "Error scripts/a.rhai:3:44: persons have no field `nmae` [PW301] | did you mean `name`?",
        ]
    );
}

#[test]
fn texts_that_the_account_does_not_know_are_warnings_unless_the_call_says_more() {
    let script = |options: &str| {
        format!(
            "fn handle(event) {{\n    person::create(#{{ name: \"x\", \"Plan\": \"Proo\", owner: \"ada@acme.com\" }}{options});\n}}\n"
        )
    };
    let found = |options: &str| checked(&rule("x", "type = \"track\"", ""), &[("a.rhai", &script(options))]);
    let plain = found("");
    assert_eq!(plain.len(), 1, "{plain:#?}");
    assert!(
        plain[0].starts_with("Warning scripts/a.rhai:2:")
            && plain[0].contains("\"Proo\"")
            && plain[0].ends_with("did you mean `Pro`?"),
        "{plain:#?}"
    );
    assert!(found(", #{ on_unknown: \"fail\" }")[0].starts_with("Error "), "{:#?}", found(", #{ on_unknown: \"fail\" }"));
    assert!(found(", #{ on_unknown: \"create\" }").is_empty());
}

#[test]
fn names_in_imported_scripts_count_for_the_rules_that_reach_them() {
    let library = "fn put(_event) { person::create(#{ name: \"x\", \"Plann\": 1 }); }\n";
    let script = "import \"lib/put\" as lib;\nfn handle(event) { lib::put(event); }\n";
    let found = checked(&rule("x", "type = \"track\"", ""), &[("a.rhai", script), ("lib/put.rhai", library)]);
    assert!(found.len() == 1 && found[0].starts_with("Error scripts/lib/put.rhai:1:"), "{found:#?}");
    let found = checked(&rule("x", "type = \"track\"", "enabled = false"), &[("a.rhai", script), ("lib/put.rhai", library)]);
    assert!(found.len() == 1 && found[0].starts_with("Warning scripts/lib/put.rhai:1:"), "{found:#?}");
}

#[test]
fn unknown_functions_refuse_the_set() {
    let found =
        build(&rule("x", "type = \"track\"", ""), &[("a.rhai", "fn handle(event) { skp(\"x\"); }\n")]).expect_err("misspelt");
    assert!(found[0].one_line().starts_with("scripts/a.rhai:1:20: "), "{found:#?}");
    assert!(found[0].message.contains("skp"), "{found:#?}");
}

#[test]
fn the_shipped_file_states_every_default_and_builds() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = SetFiles::read(root).expect("readable");
    let text = files.rules_toml.clone();
    let built = ScriptSet::build(files, &options(root)).unwrap_or_else(|p| panic!("{}", pipewright::diagnostic::render_all(&p)));
    assert_eq!(built.warnings, []);
    let config = &built.set.config;
    let account = &config.pipedrive["main"];
    let defaults = Config {
        sources: config.sources.clone(),
        pipedrive: config.pipedrive.clone(),
        rules: config.rules.clone(),
        ..Config::default()
    };
    assert_eq!(**config, defaults);
    // Nothing is declared by default; the shipped file declares the match fields, for `fields ensure`.
    for ((kind, field), (_, declared)) in account.match_fields.by_kind().into_iter().zip(account.fields.by_kind()) {
        assert_eq!(declared.iter().map(|field| field.name.as_str()).collect::<Vec<_>>(), [field], "{kind}");
    }
    let own = AccountConfig {
        domain: account.domain.clone(),
        api_token: account.api_token.clone(),
        fields: account.fields.clone(),
        ..AccountConfig::default()
    };
    assert_eq!(*account, own);
    let website = &config.sources["website"];
    let defaults = SourceConfig::default();
    assert_eq!((website.keep_unmatched, website.aliases), (defaults.keep_unmatched, defaults.aliases));
    // A key that the file does not name is found by asking for one that does not exist: the message lists them all.
    for (section, header) in [
        ("server", "[server]"),
        ("admin", "[admin]"),
        ("delivery", "[delivery]"),
        ("retention", "[retention]"),
        ("scripts", "[scripts]"),
        ("reload", "[reload]"),
        ("sources.x", "[sources.x]"),
        ("pipedrive.x", "[pipedrive.x]"),
        ("rules", "[[rules]]"),
    ] {
        let wrong =
            Config::parse("rules.toml", &format!("{header}\nqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq = 1\n")).expect_err("unknown key");
        let known = wrong.iter().find_map(|d| d.help.as_deref()?.strip_prefix("known keys: ")).expect("the known keys");
        for key in known.split(", ") {
            let line = |l: &str| {
                let l = l.trim_start_matches(['#', ' ']);
                l.strip_prefix(key).is_some_and(|r| r.trim_start().starts_with('='))
                    || l.starts_with('[') && l.ends_with(&format!(".{key}]"))
            };
            let stated = text.lines().any(line);
            assert!(stated, "rules.toml does not name `{key}` of `{section}`");
        }
    }
}

#[test]
fn the_shipped_rules_want_segments_default_events() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let set = ScriptSet::build(SetFiles::read(root).expect("readable"), &options(root)).expect("valid").set;
    let track = |name: &str| wanted(&set, &event("website", json!({"type": "track", "event": name})));
    assert_eq!(wanted(&set, &event("website", json!({"type": "identify"}))), ["person"]);
    assert_eq!(wanted(&set, &event("website", json!({"type": "group"}))), ["organization"]);
    assert_eq!(track("Deal Upserted"), ["deal"]);
    assert_eq!(track("Lead Upserted"), ["lead"]);
    assert_eq!(track("Activity Upserted"), ["activity"]);
    assert_eq!(track("Note Upserted"), ["note"]);
    assert!(track("Button Clicked").is_empty());
}
