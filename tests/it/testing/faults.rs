//! What goes wrong between the rules and Pipedrive, as tests wish.

use super::{code, err, out, test};

fn passes(body: &str) {
    let tests = format!("fn test_it() {{\n    source(\"website\");\n{body}\n}}\n");
    let output = test(&[("a.rhai", &tests)], &[]);
    assert_eq!(code(&output), 0, "{body}\n{}{}", out(&output), err(&output));
}

#[test]
fn a_lost_answer_makes_nothing_twice_and_a_lost_request_is_sent_again() {
    for carried_out in [true, false] {
        passes(&format!(
            "mock::cut_next({carried_out}, \"POST\");
             let run = identify(#{{ userId: \"u1\", traits: #{{ name: \"Ada\" }} }});
             assert_eq(run.state, \"done\");
             assert_eq(person::all().map(|p| p.name), [\"Ada\"]);"
        ));
    }
}

#[test]
fn too_many_requests_make_the_delivery_wait_as_long_as_it_is_told() {
    passes(
        "mock::too_many(30);
         let run = identify(#{ userId: \"u1\", traits: #{ name: \"Ada\" } });
         assert_eq(run.state, \"pending\");
         assert_eq(person::all(), []);
         assert_eq(identify(#{ userId: \"u1\", traits: #{ name: \"Ada\" } }).state, \"done\");",
    );
}

#[test]
fn search_sees_a_change_only_after_its_lag() {
    passes(
        "mock::search_lag(10);
         given::person(#{ name: \"Ada\", \"Segment User ID\": \"u1\" });
         assert_eq(person::find(#{ \"Segment User ID\": \"u1\" }), ());
         assert_eq(person::all().len(), 1);
         mock::pass_time(11);
         assert_eq(person::find(#{ \"Segment User ID\": \"u1\" }).name, \"Ada\");",
    );
}

#[test]
fn what_a_fault_cannot_be_is_told_at_the_call() {
    for (call, said) in [
        ("mock::fail_next(200)", "the status is between 400 and 599"),
        ("mock::fail_next(500, \"FETCH\")", "the method is \"GET\""),
        ("mock::cut_next(true, \"FETCH\")", "`mock::cut_next`: the method is \"GET\""),
        ("mock::too_many(-1)", "the seconds are between 0 and 86400"),
        ("enable(\"persn\")", "did you mean \"person\"?"),
    ] {
        let text = out(&test(&[("a.rhai", &format!("fn test_it() {{\n    {call};\n}}"))], &[]));
        assert!(text.contains(said) && text.contains("a.rhai:2:"), "{call}: {text}");
    }
}
