//! What an ops person reads when a script is wrong.

use pipewright::script::{Outcome, ScriptErrorKind};

use super::support::{compile, compile_error, error_of, run_all, shown};

#[test]
fn an_error_shows_file_line_caret_chain_and_event() {
    let report = run_all(&[
        ("a.rhai", "import \"lib/b\" as b;\nfn handle(event) {\n    b::outer(event.traits);\n}"),
        ("lib/b.rhai", "fn outer(t) {\n    inner(t)\n}\nfn inner(t) {\n    let x = t.emial.len;\n    t.name.truncat(3)\n}"),
    ]);
    let Outcome::Error(error) = report.outcome else { panic!("{:?}", report.outcome) };
    assert_eq!(error.kind, ScriptErrorKind::Runtime);
    let text = error.diagnostic.render();
    assert!(text.contains("--> lib/b.rhai:5"), "{text}");
    assert!(text.contains("let x = t.emial.len;"), "{text}");
    assert!(text.contains("in `inner`, called at lib/b.rhai:2:5"), "{text}");
    assert!(text.contains("in `b::outer`, called at a.rhai:3:") || text.contains("in `outer`, called at a.rhai:3:"), "{text}");
    assert!(text.contains("event m-1"), "{text}");
    assert!(text.contains("write `?.`"), "{text}");
}

#[test]
fn unknown_functions_are_named_with_a_suggestion() {
    let text = shown("event.userId.to_uper()");
    assert!(text.contains("unknown function `to_uper`") && text.contains("did you mean `to_upper`?"), "{text}");
    assert!(text.contains("^^^^^^^"), "the caret is as wide as the name: {text}");
    let text = shown("person::upsrt(#{}, #{})");
    assert!(text.contains("unknown function `person::upsrt`") && text.contains("did you mean `person::upsert`?"), "{text}");
}

#[test]
fn what_is_not_there_is_called_nothing_with_what_to_write() {
    let text = shown("event.traits.nope.to_upper()");
    assert!(text.contains("`to_upper` cannot take nothing `()`") && text.contains("a value is missing"), "{text}");
    let text = shown("let found = event.traits.nope; found[\"Plan\"]");
    assert!(text.contains("there is nothing to look into: the value before `[` is `()`"), "{text}");
    assert!(text.contains("write `?[` for what may be missing"), "{text}");
}

#[test]
fn names_of_other_languages_and_constants_get_help_of_their_own() {
    let of =
        |text: &str| compile_error(&format!("// closes the deal\nconst PIPELINE = \"Sales\";\nfn handle(event) {{ {text} }}"));
    for (body, help) in [
        ("skip(PIPELINE);", "write `global::PIPELINE`"),
        ("if event.price == null { }", "nothing is written `()` here"),
        ("if event.price == undefined { }", "nothing is written `()` here"),
        ("console.log(\"x\");", "write `log::info(..)`"),
        // No word of a comment is suggested.
        ("let clsoe = 1; log::info(close);", "did you mean `clsoe`?"),
    ] {
        let text = of(body);
        assert!(text.contains(help), "{body}: {text}");
    }
}

#[test]
fn a_record_that_was_read_is_no_match() {
    let text = shown("person::update(#{ id: 7, add_time: \"2026-01-01T00:00:00Z\", name: \"Ada\" }, #{ name: \"Eve\" })");
    assert!(text.contains("this map is a record that was read, and no match") && text.contains("`found.id`"), "{text}");
}

#[test]
fn a_find_without_a_value_leaves_a_line_in_the_log() {
    let report =
        run_all(&[("a.rhai", "fn handle(event) {\n    let found = person::find(#{ email: event.nope });\n    skip(\"x\");\n}")]);
    let line = &report.logs[0];
    assert_eq!((&*line.text, line.line), ("person::find: no criterion holds a value; nothing was looked for", 2));
}

#[test]
fn no_value_of_the_event_is_in_the_message() {
    for body in
        ["event.traits.email.nope()", "event.traits.email - 3", "event.traits.age + event.traits", "[1][event.traits.age]"]
    {
        let text = error_of(body).diagnostic.message.clone();
        assert!(!text.contains("ada@acme.com") && !text.contains("36"), "{body}: {text}");
    }
}

#[test]
fn syntax_errors_and_undefined_variables_are_refused_when_compiled() {
    let text = compile_error("fn handle(event) {\n  let traits = evnt.traits;\n}");
    assert!(
        text.contains("undefined variable `evnt`") && text.contains("did you mean `event`?") && text.contains("a.rhai:2:16"),
        "{text}"
    );
    let text = compile_error("fn handle(event) { event.properties.new }");
    assert!(text.contains("reserved word") && text.contains("[\"new\"]"), "{text}");
    for script in ["fn handle(event) { #{ from: 1, until: 2 } }", "fn handle(until) { 1 }", "fn handle(event) { let until = 1; }"]
    {
        let text = compile_error(script);
        assert!(text.contains("`until` is a reserved word") && text.contains("a variable needs another name"), "{text}");
    }
    let text = compile_error("fn handle(event) { persn::upsert(#{}, #{}) }");
    assert!(text.contains("undefined module `persn`") && text.contains("did you mean `person`?"), "{text}");
    let text = compile_error("fn handle(event) { let x = ; }");
    assert!(text.contains("a.rhai:1:"), "{text}");
    let text = compile_error("fn handle(event) { eval(\"1\") }");
    assert!(text.contains("eval"), "{text}");
}

#[test]
fn all_wrong_scripts_are_reported_at_once() {
    let problems =
        compile(&[("a.rhai", "fn handle(event) { x }"), ("b.rhai", "fn handle(event) { y }"), ("c.rhai", "fn f() {}")])
            .expect_err("wrong");
    assert_eq!(problems.len(), 2);
}

#[test]
fn imports_must_exist_be_literal_and_acyclic() {
    let problems = compile(&[("a.rhai", "import \"lib/nmes\" as n;"), ("lib/names.rhai", "fn f() {}")]).expect_err("wrong");
    let text = problems[0].render();
    assert!(text.contains("no script lib/nmes.rhai") && text.contains("did you mean \"lib/names\"?"), "{text}");
    let problems =
        compile(&[("a.rhai", "import \"b\" as b;"), ("b.rhai", "import \"c\" as c;"), ("c.rhai", "import \"a\" as a;")])
            .expect_err("cyclic");
    assert!(problems[0].message.contains("cyclic import: a.rhai -> b.rhai -> c.rhai -> a.rhai"), "{}", problems[0].message);
    let problems = compile(&[("a.rhai", "let p = \"x\"; import p as x;")]).expect_err("not literal");
    assert!(problems[0].message.contains("between quotes"), "{}", problems[0].message);
}

#[test]
fn loading_a_script_can_do_nothing_but_define() {
    let problems =
        compile(&[("a.rhai", "import \"b\" as b;"), ("b.rhai", "person::create(#{ name: \"x\" });")]).expect_err("effect");
    assert!(problems[0].message.contains("called while the script was loaded"), "{}", problems[0].message);
    let problems = compile(&[("a.rhai", "import \"b\" as b;"), ("b.rhai", "loop {}")]).expect_err("endless");
    assert!(problems[0].message.contains("does too much"), "{}", problems[0].message);
}

#[test]
fn an_entry_script_must_exist_and_handle_events() {
    let program = compile(&[
        ("person.rhai", "fn handel(event) {}"),
        ("two.rhai", "fn handle(a, b) {}"),
        ("ok.rhai", "fn handle(event) {}"),
    ])
    .expect("compiles");
    assert!(program.entry_errors("ok.rhai").is_empty());
    assert!(program.entry_errors("persn.rhai")[0].render().contains("did you mean \"person.rhai\"?"));
    assert!(program.entry_errors("person.rhai")[0].render().contains("rename `handel` to `handle`"));
    assert!(program.entry_errors("two.rhai")[0].message.contains("this one takes 2"));
}

#[test]
fn a_thrown_text_is_the_message_and_a_caught_refusal_prints() {
    assert_eq!(error_of("throw \"odd customer\";").diagnostic.message, "odd customer");
    let report = super::support::run_body("try { person::create(3) } catch (e) { skip(`${e}`) }");
    assert!(matches!(&report.outcome, Outcome::Skip(r) if r.contains("fields are a map")), "{:?}", report.outcome);
}
