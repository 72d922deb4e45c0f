//! Closures that capture: where they may stand, and that nothing they share outlives the call.

use serde_json::json;

use super::support::{actions, compile_error, run_body};
use pipewright::script::Outcome;

/// Each would leave a cycle of shared values behind, or wait for its own lock for ever.
const KEPT: &[&str] = &[
    "let m = #{}; let f = || m; m.f = f; skip(m.to_json());",
    "let m = #{}; m.f = || m;",
    "let m = []; m.push(|| m);",
    "let m = []; m += || m;",
    "let m = #{ f: () }; m = #{ f: || m };",
    "let f = (); f = || f;",
    "let m = #{}; m.set(\"f\", || m);",
    "let m = #{}; keep(m, || m);",
    "let m = #{}; m.x = [|| m];",
    "let m = #{}; m.x = if true { || m } else { 1 };",
    "let m = #{}; return || m;",
    "let p = || 1; loop { let q = p; p = || q; }",
];

#[test]
fn a_capturing_closure_is_not_kept() {
    for body in KEPT {
        let text = compile_error(&format!("fn keep(m, f) {{ m.f = f; }}\nfn handle(event) {{\n{body}\n}}"));
        assert!(text.contains("from around it cannot be kept"), "{body}: {text}");
        assert!(text.contains("--> a.rhai:3:") || text.contains("--> scripts/a.rhai:3:"), "{body}: {text}");
    }
}

#[test]
fn a_function_of_the_script_does_not_pass_for_a_builtin() {
    let text = compile_error("fn map(f) { this.f = f; }\nfn handle(event) { let m = #{}; m.map(|| m); }");
    assert!(text.contains("from around it cannot be kept"), "{text}");
    for body in ["#{ map: |f| { this.f = f } }", "#{ \"map\": |f| 1 }"] {
        let text = compile_error(&format!("fn handle(event) {{ let m = {body}; m.map(|| m); }}"));
        assert!(text.contains("cannot be named `map`"), "{text}");
    }
    for put in ["m.map = |f| this.f = f", "m[\"map\"] = |f| this.f = f", "m.map = Fn(\"g\")"] {
        let text = compile_error(&format!("fn g(f) {{ }} fn handle(event) {{ let m = #{{}}; {put}; }}"));
        assert!(text.contains("cannot be named `map`"), "{put}: {text}");
    }
}

#[test]
fn there_is_no_partial_application() {
    for body in ["let f = |x| x; loop { f = f.curry(f); }", "let f = |x| x; loop { f = curry(f, f); }"] {
        let text = compile_error(&format!("fn handle(event) {{ {body} }}"));
        assert!(text.contains("`curry` does not exist here"), "{text}");
    }
    let report = run_body("let f = |x| x; let g = call(Fn(\"curry\"), f, 1); skip(g.call());");
    assert!(matches!(report.outcome, Outcome::Error(_)), "{:?}", report.outcome);
}

#[test]
fn a_closure_sees_and_changes_what_is_around_it() {
    let created = actions(
        "let least = 2; let sum = 0; let names = [];
        let far = [1, 2, 3].filter(|x| x >= least).map(|x| [10, 20].some(|y| y == x * least * 5));
        [1, 2].for_each(|i| { sum += least; names.push(`n${sum}`); });
        let twice = |x| x * 2;
        person::create(#{ name: `${far} ${sum} ${names} ${twice.call(4)}` });",
    );
    assert_eq!(created[0]["create"]["fields"][0]["value"]["json"], json!("[true, false] 4 [\"n2\", \"n4\"] 8"), "{created:?}");
}

#[test]
fn what_was_captured_is_copied_wherever_it_is_kept() {
    // `m` is a shared cell after this; nothing puts the cell itself into a container.
    let body = "let m = []; [1].map(|x| m); let other = #{};
        m.push(m); m += [m]; let n = m; other.m = m; other[\"k\"] = m; let list = [m]; let map = #{ m: m }; m.insert(0, m);
        list.push(m); push(list, m); let got = give(m); let chosen = switch 1 { 1 => m }; let via = (|x| [x]).call(m);
        let kept = #{ k: () }; kept.keep(m);
        let seen = [];
        for part in [m[0], n, other.m, other.k, list[0], map.m, list[1], list[2], got, chosen, via[0], kept.k] {
            seen.push(part.is_shared());
        }
        seen += [is_shared(n), is_shared(got), is_shared(chosen), is_shared(m[0]), m[1].is_shared(), kept.k.is_shared()];
        if true in seen { fail(`${seen}`) }
        skip(`${is_shared(m)}`);";
    let report = super::support::run_all(&[(
        "a.rhai",
        &format!("fn give(x) {{ x }}\nfn keep(x) {{ this.k = x; }}\nfn handle(event) {{\n{body}\n}}"),
    )]);
    match report.outcome {
        Outcome::Skip(reason) => assert_eq!(reason, "true"),
        other => panic!("{other:?}"),
    }
}
