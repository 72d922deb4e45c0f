//! What is found in scripts before any event comes.

use pipewright::diagnostic::Diagnostic;
use pipewright::pipedrive::Kind;
use pipewright::script::NameRole;

use super::support::compile;

fn lint(scripts: &[(&str, &str)]) -> Vec<String> {
    let program = compile(scripts).unwrap_or_else(|p| panic!("{p:?}"));
    // Which code it is, the pages of the codes show.
    let bare = |d: &Diagnostic| Diagnostic { code: None, ..d.clone() }.one_line();
    program.lint().iter().map(|d| format!("{} | {}", bare(d), d.help.as_deref().unwrap_or(""))).collect()
}

#[test]
fn unknown_functions_are_found_in_every_kind_of_node() {
    let found = lint(&[(
        "a.rhai",
        "fn helper(x) { x }\n\
         fn handle(event) {\n\
           helpr(1);\n\
           let x = [1].map(|v| trimm(v));\n\
           `${event.userId.to_uper()}`;\n\
           helper(1, 2);\n\
           person::upsrt(1, 2);\n\
           person::upsert(1);\n\
           if helpr2() { }\n\
         }",
    )]);
    let text = found.join("\n");
    assert_eq!(found.len(), 7, "{text}");
    for wanted in [
        "a.rhai:3:1: unknown function `helpr` | did you mean `helper`?",
        "a.rhai:4:21: unknown function `trimm` | did you mean `trim`?",
        "unknown function `to_uper` | did you mean `to_upper`?",
        "a.rhai:6:1: `helper` does not take 2 arguments | it takes 1 argument",
        "a.rhai:7:9: unknown function `person::upsrt` | did you mean `person::upsert`?",
        "`person::upsert` does not take 1 argument | it takes 2 or 3 arguments",
        "unknown function `helpr2`",
    ] {
        assert!(text.contains(wanted), "{wanted} in\n{text}");
    }
}

#[test]
fn calls_into_imported_scripts_are_resolved() {
    let found = lint(&[
        ("a.rhai", "import \"lib/b\" as b;\nfn handle(event) { b::full(1); b::ful(1); b::full(1, 2); b::hidden(); }"),
        ("lib/b.rhai", "fn full(x) { hidden() }\nprivate fn hidden() { 1 }"),
    ]);
    let text = found.join("\n");
    assert_eq!(found.len(), 3, "{text}");
    assert!(text.contains("unknown function `b::ful` | did you mean `b::full`?"), "{text}");
    assert!(text.contains("`b::full` does not take 2 arguments"), "{text}");
    assert!(text.contains("unknown function `b::hidden`"), "{text}");
}

#[test]
fn what_a_script_may_do_is_not_complained_about() {
    let found = lint(&[(
        "a.rhai",
        r##"
        fn shout() { this.to_upper() }
        fn handle(event) {
            let m = #{ call_me: |x| x + 1 };
            m.call_me(2);
            let f = Fn("shout"); f.call("x"); let g = |a, b| a + b; g.call(1, 2);
            event.userId.shout();
            for (x, i) in [1, 2].map(|v| v * 2).filter(|v| v > 1) { print(x); debug(i); }
            let s = "abc"; s.pad(5, '.'); s.len(); s.len; s.to_upper(); s.contains("b"); "a" in s; type_of(s);
            event.keys(); event.contains("x"); max(1, 2); parse_int("3"); 3.to_string(); (1.5).round();
            money(1); by(#{ email: "x" }); log::info("x"); skip("x"); table("countries.csv").get("DE");
            switch s { "x" => exit(), _ => () }
        }
        "##,
    )]);
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn options_and_tables_written_as_literals_are_checked() {
    let found = lint(&[(
        "a.rhai",
        r##"fn handle(event) {
            person::upsert(#{}, #{}, #{ on_creat: #{} , on_many: "oldst" });
            table("contries.csv");
        }"##,
    )]);
    let text = found.join("\n");
    assert_eq!(found.len(), 3, "{text}");
    assert!(text.contains("unknown option `on_creat` | did you mean `on_create`?"), "{text}");
    assert!(text.contains("option `on_many` has no value \"oldst\" | did you mean \"oldest\"?"), "{text}");
    assert!(text.contains("there is no table contries.csv | did you mean \"countries.csv\"?"), "{text}");
}

#[test]
fn options_of_by_are_checked_too() {
    let found = lint(&[(
        "a.rhai",
        r##"fn handle(event) {
            deal::create(#{ title: "x", person_id: by(#{ email: "a" }, #{ on_mising: "omit" }), org_id: by(#{ name: "b" }, #{ wiat: 3 }) });
            note::create(#{ content: "x", person_id: by(#{ email: "a" }, #{ on_missing: "omit", wait: 3 }) });
        }"##,
    )]);
    let text = found.join("\n");
    assert_eq!(found.len(), 3, "{text}");
    let other = "unknown option `on_mising` | did you mean `on_missing`? That is an option of other calls; this one takes `wait`";
    assert!(text.contains(other), "{text}");
    assert!(text.contains("unknown option `wiat` | did you mean `wait`?"), "{text}");
    let own =
        "option `on_missing` has no meaning here | `by` takes `wait`; give `on_missing` among the options of the action itself";
    assert!(text.contains(own), "{text}");
}

#[test]
fn names_written_as_literals_are_listed_with_kind_role_and_place() {
    let program = compile(&[(
        "a.rhai",
        r##"fn handle(event) {
    person::upsert([#{ "Segment User ID": event.userId }, #{ email: "x" }],
        #{ name: "Ada", custom: #{ "Plan": "Pro" }, org_id: by(#{ "Domain": "acme.com" }) },
        #{ on_create: #{ labels: ["Customer", event.x] }, if_empty: #{ "Interests": add("Chess") }, on_unknown: "create" });
    lead::convert(#{ title: "x" }, #{ stage: "Won" });
}"##,
    )])
    .expect("compiles");
    let uses = program.names_written();
    let seen: Vec<_> = uses
        .iter()
        .map(|u| (u.kind, u.name.as_str(), u.custom, u.role, u.values.iter().map(|v| v.text.as_str()).collect::<Vec<_>>()))
        .collect();
    use NameRole::{Field, Match};
    assert_eq!(
        seen,
        [
            (Kind::Person, "Segment User ID", false, Match, vec![]),
            (Kind::Person, "email", false, Match, vec!["x"]),
            (Kind::Person, "name", false, Field, vec!["Ada"]),
            (Kind::Person, "Plan", true, Field, vec!["Pro"]),
            (Kind::Person, "org_id", false, Field, vec![]),
            (Kind::Organization, "Domain", false, Match, vec!["acme.com"]),
            (Kind::Person, "labels", false, Field, vec!["Customer"]),
            (Kind::Person, "Interests", false, Field, vec!["Chess"]),
            (Kind::Lead, "title", false, Match, vec!["x"]),
            (Kind::Deal, "stage", false, Field, vec!["Won"]),
        ]
    );
    assert_eq!(uses[0].on_unknown.as_deref(), Some("create"));
    let place = &uses[0].place;
    assert_eq!((place.file.as_str(), place.line, place.column, place.width), ("a.rhai", 2, 24, 17));
}
