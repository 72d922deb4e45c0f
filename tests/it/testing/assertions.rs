//! What tests assert with, and how a failure reads.

use super::{code, folder, out, pipewright, test};

/// Runs one test body against the rule `person`; its text when it failed.
fn failing(body: &str) -> String {
    let tests = format!("fn test_it() {{\n    source(\"website\");\n{body}\n}}\n");
    let output = test(&[("a.rhai", &tests)], &[]);
    let text = out(&output);
    assert_eq!(code(&output), 1, "{text}");
    text
}

fn passing(body: &str) {
    let tests = format!("fn test_it() {{\n    source(\"website\");\n{body}\n}}\n");
    let output = test(&[("a.rhai", &tests)], &[]);
    assert_eq!(code(&output), 0, "{body}\n{}", out(&output));
}

const ADA: &str = "let run = identify(#{ userId: \"u1\", traits: #{ name: \"Ada King\", labels: [\"Customer\"] } });\n";

#[test]
fn long_values_differ_line_by_line() {
    let text = failing(
        "    let one = #{ name: \"Ada King, Countess of Lovelace\", phones: [\"+372 5555 1234\", \"+372 5555 1235\"], city: \"London\", zip: 1 };\n    \
         assert_eq(one, one + #{ city: \"Tallinn\" });",
    );
    for part in [
        "- expected, + actual",
        "\n          - city: \"Tallinn\",",
        "\n          + city: \"London\",",
        "they differ first at .city",
        "--> scripts/tests/a.rhai:4:5",
    ] {
        assert!(
            text.replace("   -   city", "   - city").replace("   +   city", "   + city").contains(part),
            "{part:?} is missing in:\n{text}"
        );
    }
}

#[test]
fn a_plan_has_the_named_steps_whatever_else_it_has() {
    for steps in [
        "[#{ verb: \"upsert\", kind: \"person\", effect: \"created\" }]",
        "[#{ name: \"Ada King\" }]",
        "[#{ kind: \"person\", labels: \"Customer\", \"Segment User ID\": \"u1\" }]",
        "[#{ found_by: \"Segment User ID\" }]",
    ] {
        passing(&format!("{ADA}assert_plan(run, {steps}); assert_plan(run.deliveries[0], {steps});"));
    }
    passing("let run = identify(#{ userId: \"nobody\" }); assert_plan(run, []);");
}

#[test]
fn a_plan_without_a_named_step_shows_the_nearest_one() {
    let text = failing(&format!(
        "{ADA}assert_plan(run, [#{{ kind: \"person\", effect: \"updated\", name: \"Ada King\", phone: \"1\" }}]);"
    ));
    for part in [
        "the plan has no step like the 1st one that is expected",
        "the nearest is step 1:",
        "-   effect: \"updated\",",
        "+   effect: \"created\",",
        "    name: \"Ada King\",",
        "step 1 does not change `phone`",
        "1. upsert person: created (",
    ] {
        assert!(text.contains(part), "{part:?} is missing in:\n{text}");
    }
    let twice = failing(&format!("{ADA}assert_plan(run, [#{{ name: \"Ada King\" }}, #{{ name: \"Ada King\" }}]);"));
    assert!(twice.contains("no step after step 1 like the 2nd one that is expected"), "each step counts once: {twice}");
    let none = failing(&format!("{ADA}assert_plan(run, []);"));
    assert!(none.contains("the plan has steps"), "{none}");
    let wrong = failing("assert_plan(#{ a: 1 }, []);");
    assert!(wrong.contains("this map has no `plan`") && wrong.contains("let run = identify(..)"), "{wrong}");
    let wrong = failing(&format!("{ADA}assert_plan(run, [\"person\"]);"));
    assert!(wrong.contains("takes a map `#{ .. }` for each step; item 0 is"), "{wrong}");
}

#[test]
fn a_delivery_that_fails_is_expected_with_a_part_of_its_reason() {
    passing(&format!(
        "{ADA}mock::fail_next(400, \"PATCH\"); assert_error(identify(#{{ userId: \"u1\", traits: #{{ name: \"X\" }} }}), \"asked for this failure\");"
    ));
    let text = failing(&format!("{ADA}assert_error(run, \"\");"));
    assert!(text.contains("no delivery failed") && text.contains("rule person ended done"), "{text}");
    let text = failing(&format!(
        "{ADA}mock::fail_next(400); assert_error(identify(#{{ userId: \"u1\", traits: #{{ name: \"X\" }} }}), \"another\");"
    ));
    assert!(text.contains("it failed for another reason") && text.contains("expected: a reason with \"another\""), "{text}");
    assert!(text.contains("rule person ended dead: "), "{text}");
    let text = failing("assert_error(identify(#{ userId: \"nobody\" }), \"x\");");
    assert!(text.contains("no rule wants the event"), "{text}");
}

#[test]
fn a_scripts_own_function_is_called_and_may_be_expected_to_throw() {
    let names = "fn full(t) { if t?.name == () { throw \"no name at all\"; } t.name.to_upper() }\nfn deep(n) { deep(n + 1) }\nfn sure() { assert(false); }";
    let tests = r#"
import "lib/names" as names;
fn test_it_works() { assert_eq(names::full(#{ name: "ada" }), "ADA"); }
fn test_it_throws() {
    let traits = #{};
    assert_error(|| names::full(traits), "no name");
    assert_error(|| names::full(#{ name: 1 }), "to_upper");
}
fn test_it_does_not_throw() { assert_error(|| names::full(#{ name: "ada" }), "no name"); }
fn test_another_reason() { assert_error(|| names::full(#{}), "no e-mail"); }
fn test_too_deep() { assert_error(|| names::deep(1), "nested deeper"); }
fn test_an_assertion_within() { assert_error(|| { assert(false, "within"); }, "within"); }
"#;
    let dir = folder(super::PERSON, &[("a.rhai", tests)]);
    super::write(dir.path(), "scripts/lib/names.rhai", &names.replace("\nfn sure() { assert(false); }", ""));
    let text = out(&pipewright(&["test"], dir.path(), None));
    for part in [
        "ok      it works",
        "ok      it throws",
        "FAILED  it does not throw",
        "nothing was thrown",
        "it came to \"ADA\"",
        "expected: a reason with \"no e-mail\"",
        "actual:   \"no name at all\"",
        "FAILED  an assertion within",
        "error: within",
    ] {
        assert!(text.contains(part), "{part:?} is missing in:\n{text}");
    }
}
