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

/// Each brings a function under the name of a builtin on a way of its own; `m.map(|| m)` would then hand it a closure to keep.
const SHADOWED: &[&str] = &[
    "let name = \"m\" + \"ap\"; m[name] = |f| this.f = f;",
    "m[event.name] = |f| this.f = f;",
    "m.inner[event.name] = |f| this.f = f;",
    "m[event.name.lower] = Fn(\"g\");",
    "let f = |f| this.f = f; m.map = f;",
    "let f = |f| this.f = f; m = #{ map: f };",
    "let f = |f| this.f = f; let h = f; m[event.name] = h;",
    "let h = #{ clean: |f| this.f = f }; m.map = h.clean;",
    "let h = [|f| this.f = f]; for f in h { m[event.name] = f; }",
    "let h = []; h.push(|f| this.f = f); m.map = h[0];",
    "let h = #{ x: [] }; h.x.push(|f| this.f = f); m.map = h.x[0];",
    "let h = []; push(h, |f| this.f = f); m.map = h.pop();",
    "m.set(\"map\", |f| this.f = f);",
    "m.set(event.name, Fn(\"g\"));",
    "set(m, \"map\", Fn(\"g\"));",
    "m.map = made();",
    "m.map = if event.x { Fn(\"g\") } else { () };",
    "m.put(\"map\", Fn(\"g\"));",
    "let h = #{}; h.fill(); m.map = h.clean;",
    "m.map = [1].find_map(|x| Fn(\"g\"));",
];

#[test]
fn no_function_comes_under_the_name_of_a_builtin_on_any_way() {
    for body in SHADOWED {
        let text = compile_error(&format!(
            "fn g(f) {{ this.f = f; }}\nfn made() {{ |f| this.f = f }}\nfn put(k, v) {{ this[k] = v; }}\nfn fill() {{ this.clean = |f| this.f = f; }}
fn handle(event) {{\nlet m = #{{ inner: #{{}} }}; {body}\nm.map(|| m);\n}}"
        ));
        assert!(
            ["cannot be named `map`", "cannot be kept under a computed name", "must be seen to be no function"]
                .iter()
                .any(|said| text.contains(said)),
            "{body}: {text}"
        );
        assert!(text.contains("a.rhai:"), "{text}");
    }
}

#[test]
fn functions_that_come_from_an_import_are_not_put_anywhere_either() {
    let lib = "fn put(m, key, value) { m[key] = value; m }\nfn cleaner() { |f| this.f = f }";
    for body in ["lib::put(#{}, \"map\", |f| this.f = f);", "let m = #{}; m[event.name] = lib::cleaner();"] {
        let script = format!("import \"lib\" as lib;\nfn handle(event) {{ {body} }}");
        let problems = super::support::compile(&[("a.rhai", &script), ("lib.rhai", lib)]).expect_err(body);
        let text = pipewright::diagnostic::render_all(&problems);
        assert!(text.contains("must be seen to be no function"), "{body}: {text}");
    }
}

#[test]
fn values_may_have_any_name_and_functions_may_be_handed_around() {
    let created = actions(
        "let t = event.traits; let fields = #{};
        for key in [\"name\", \"age\"] { fields[key] = t[key]; }
        fields.set(\"zip\", t?.zip ?? \"none\"); fields[`${1}`] = t.name;
        let clean = #{ name: |text| text.to_upper(), \"age\": |n| n + 1 };
        let address = #{ zip: t.company.name, order: fields.age + 1, find: `${t.name}`, sort: [t.age], all: t.age > 3 };
        person::create(#{ name: `${clean.name.call(fields.name)} ${clean[\"age\"].call(t.age)} ${fields} ${address}` });",
    );
    let name = created[0]["create"]["fields"][0]["value"]["json"].as_str().unwrap_or_default();
    assert!(name.starts_with("ADA KING 37 #{") && name.contains("\"zip\": \"Acme\""), "{created:?}");
}

/// A chain of calls holds the variable that it begins with.
#[test]
fn a_closure_that_uses_the_variable_that_its_chain_begins_with_is_refused() {
    for body in [
        "a.filter(|x| x == a[0]);",
        "a.map(|x| x).filter(|x| x == a[0]);",
        "a.filter(|x| x == a[0]).map(|x| x);",
        "a[0].filter(|x| x == a[1]);",
        "a[0][0].map(|x| x).some(|x| x == a[1]);",
        "m.list.filter(|x| x == m.first);",
        "m?.list?.filter(|x| x == m?.first);",
        "(m.list).filter(|x| x == m.first);",
        "m.filter(|k, v| m.first == v);",
        "event.traits.list.some(|x| [x].some(|y| y == event.userId));",
    ] {
        let with = |body: &str| {
            format!(
                "fn handle(event) {{ let a = [[1, 2], [1]]; let m = #{{ list: [1, 2], first: 1 }}; let i = 0;\n{body}\nskip(\"ran\"); }}"
            )
        };
        let text = compile_error(&with(body));
        assert!(text.contains("[PW213]") && text.contains("-> a.rhai:2:"), "{body}: {text}");
        assert!(text.contains("the expression that calls it begins with"), "{body}: {text}");
    }
    // These hold nothing that the closure needs: they run.
    for body in [
        "a[i].filter(|x| x == i);",
        "a[[1].index_of(|x| a.len() == 2)];",
        "(a ?? []).filter(|x| x == a[0]);",
        "filter(a, |x| x == a[0]);",
        "let b = a; b.filter(|x| x == a[0]);",
        "[a].map(|x| a.len());",
        "a.push([1].map(|x| a.len()));",
        "m.list[[0].index_of(|x| m.first == 1)];",
        "a.filter(|x| x == i).map(|x| m);",
        "m.list.map(|m| m + 1);",
    ] {
        let report = run_body(&format!(
            "let a = [[1, 2], [1]]; let m = #{{ list: [1, 2], first: 1 }}; let i = 0;\n{body}\nskip(\"ran\");"
        ));
        assert!(matches!(&report.outcome, Outcome::Skip(reason) if reason == "ran"), "{body}: {:?}", report.outcome);
    }
}
