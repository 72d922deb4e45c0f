//! `docs/scripting.md`, made from the documentation that the host functions carry in the engine.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::definitions::fields_of;
use super::metadata::{Function, Listing, Param};
use super::peculiar::PECULIAR;
use super::{engine, harness};
use crate::config::ScriptConfig;
use crate::crm::Finding;
use crate::crm::standard;
use crate::pipedrive::Kind;

/// One entry: its calls and its text.
struct Entry {
    calls: Vec<String>,
    text: String,
}

/// The helper modules, in the order of the page.
const HELPERS: &[&str] = &["email", "phone", "url", "date", "number", "text", "html", "hash", "log"];
/// The global functions, by section.
const VALUES: &[&str] = &["money", "by", "add", "remove", "replace", "primary"];
const DECISIONS: &[&str] = &["skip", "fail", "retry"];
const TABLES: &[&str] = &["table", "get", "find", "rows"];
/// What tests send events with, and their other global functions.
const TEST_SENDS: &[&str] = &["identify", "group", "page", "screen", "alias"];
const TEST_GLOBALS: &[&str] = &[
    "track",
    "deliver",
    "source",
    "enable",
    "fixture",
    "assert",
    "assert_eq",
    "assert_ne",
    "assert_plan",
    "assert_error",
    "assert_snapshot",
];
/// The functions of the kinds, in the order of the page.
const KIND_FUNCTIONS: &[&str] = &["upsert", "create", "update", "delete", "find", "get", "merge", "convert"];

/// The page on scripting: what a script is, and every function that it can call. Each example on it runs in the tests.
#[must_use]
pub fn reference() -> String {
    let limits = ScriptConfig::default();
    let engine = engine::build(&limits, &std::sync::Arc::default());
    let listing = Listing::of(&engine, false);

    let mut page = String::from(INTRODUCTION);
    section(&mut page, "The six kinds", KINDS);
    let kinds: BTreeMap<&str, BTreeMap<String, Entry>> = Kind::ALL
        .iter()
        .filter_map(|kind| Some((kind.as_str(), entries("KIND", &listing.modules.get(kind.as_str())?.functions))))
        .collect();
    for name in KIND_FUNCTIONS {
        let having: Vec<&str> =
            kinds.iter().filter(|(_, functions)| functions.contains_key(*name)).map(|(kind, _)| *kind).collect();
        let Some(entry) = having.first().and_then(|kind| kinds[kind].get(*name)) else { continue };
        let only = if having.len() < kinds.len() { format!("Only {}. ", having.join(", ")) } else { String::new() };
        write_entry(&mut page, name, entry, &only);
    }
    section(&mut page, "What each kind has of its own", "");
    page.push_str(PECULIAR);
    section(&mut page, "Fields of every account", FIELDS);
    for kind in Kind::ALL {
        let _ = write!(page, "\n### `{kind}`: fields\n\n{}\n{}\n", fields_of(kind, &[]).trim_end(), found_by(kind));
    }
    module(&mut page, "Other requests", "", "pipedrive", &listing);
    let global = entries("", &listing.functions);
    section(&mut page, "Values", "");
    some(&mut page, &global, VALUES);
    section(&mut page, "Decisions", "");
    some(&mut page, &global, DECISIONS);
    section(&mut page, "Tables", "");
    some(&mut page, &global, TABLES);
    for name in HELPERS {
        let doc = listing.doc(name);
        module(&mut page, &format!("`{name}`"), &doc, name, &listing);
    }
    section(&mut page, "Limits", &limits_text(&limits));
    tests_section(&mut page, &limits);
    page
}

/// What script tests can call, in one table.
fn tests_section(page: &mut String, limits: &ScriptConfig) {
    section(page, "Tests", TESTS);
    let engine = harness::engine_for_tests(limits, &std::sync::Arc::default());
    let listing = Listing::of(&engine, false);
    let global = entries("", &listing.functions);
    let _ = write!(page, "\n| call | what it does |\n|---|---|\n");
    let mut row = |calls: &[String], text: &str| {
        let calls = calls.iter().map(|call| format!("`{call}`")).collect::<Vec<_>>().join("<br>");
        let _ = writeln!(page, "| {calls} | {} |", text.replace('\n', " "));
    };
    let sends: Vec<String> = TEST_SENDS.iter().filter_map(|name| global.get(*name)).flat_map(|e| e.calls.clone()).collect();
    row(&sends, global.get(TEST_SENDS[0]).map_or("", |e| &e.text));
    for name in TEST_GLOBALS {
        if let Some(entry) = global.get(*name) {
            row(&entry.calls, &entry.text);
        }
    }
    for (_, entry) in entries("KIND", listing.of_module("person")) {
        row(&entry.calls, &entry.text);
    }
    for module in ["given", "edit"] {
        if let Some(entry) = entries(module, listing.of_module(module)).get("person") {
            let calls: Vec<String> = entry.calls.iter().map(|call| call.replace("::person(", "::KIND(")).collect();
            row(&calls, &entry.text);
        }
    }
    for (_, entry) in entries("mock", listing.of_module("mock")) {
        row(&entry.calls, &entry.text);
    }
}

/// What entities of a kind are found by.
fn found_by(kind: Kind) -> String {
    let named = |wanted: fn(Finding) -> bool| {
        let fields = standard::fields(kind).iter().filter(|field| wanted(field.find));
        fields.map(|field| format!("`{}`", field.key)).collect::<Vec<_>>().join(", ")
    };
    let alone = named(Finding::alone);
    if matches!(kind, Kind::Activity | Kind::Note) {
        return format!("\nFound by {alone} only.");
    }
    let beside = named(|find| find == Finding::Compare);
    let custom = "custom fields of type text, number, money, phone and address";
    format!("\nFound by {alone} and {custom}. Beside one of these, also compared: {beside} and other custom fields.")
}

fn section(page: &mut String, title: &str, text: &str) {
    let _ = write!(page, "\n## {title}\n");
    if !text.is_empty() {
        let _ = write!(page, "\n{}\n", text.trim());
    }
}

fn module(page: &mut String, title: &str, text: &str, name: &str, listing: &Listing) {
    section(page, title, text);
    for (function, entry) in entries(name, listing.of_module(name)) {
        write_entry(page, &format!("{name}::{function}"), &entry, "");
    }
}

fn some(page: &mut String, entries: &BTreeMap<String, Entry>, names: &[&str]) {
    for name in names {
        if let Some(entry) = entries.get(*name) {
            write_entry(page, name, entry, "");
        }
    }
}

fn write_entry(page: &mut String, title: &str, entry: &Entry, before: &str) {
    let calls = entry.calls.iter().map(|call| format!("`{call}`")).collect::<Vec<_>>().join("  \n");
    let _ = write!(page, "\n### {title}\n\n{calls}\n\n{before}{}\n", entry.text);
}

/// The documented functions by name; their calls with the fewest arguments first.
fn entries(module: &str, functions: &[Function]) -> BTreeMap<String, Entry> {
    let mut found: BTreeMap<String, Entry> = BTreeMap::new();
    for function in functions.iter().filter(|f| !f.doc().is_empty()) {
        let entry = found.entry(function.name.clone()).or_insert_with(|| Entry { calls: Vec::new(), text: function.doc() });
        entry.calls.push(call(module, function));
    }
    found
}

fn call(module: &str, function: &Function) -> String {
    let names = |params: &[Param]| params.iter().map(|p| p.name.clone().unwrap_or_default()).collect::<Vec<_>>().join(", ");
    let shown = match function.params.first() {
        // A method: its value stands before the name.
        Some(first) if function.is_method() => {
            format!("{}.{}({})", first.name.as_deref().unwrap_or_default(), function.name, names(&function.params[1..]))
        }
        _ if module.is_empty() => format!("{}({})", function.name, names(&function.params)),
        _ => format!("{module}::{}({})", function.name, names(&function.params)),
    };
    match function.return_type.as_str() {
        "" | "()" | "!" => shown,
        result => format!("{shown} -> {result}"),
    }
}

fn limits_text(limits: &ScriptConfig) -> String {
    format!(
        "A run that goes over a limit fails, with the limit's name and place. Those of the first table are set under `[scripts]` in\n\
         rules.toml.\n\n\
         | key | default |\n|---|---|\n\
         | `max_operations` | {} steps of the interpreter, those in closures included |\n\
         | `deadline` | {} of wall-clock time |\n\
         | `max_string`, `max_array`, `max_map` | {} bytes, {} items, {} keys |\n\
         | `max_actions`, `max_reads` | {} actions, {} reads |\n\n\
         | fixed | |\n|---|---|\n\
         | size of a script | {} KB |\n\
         | calls within calls | {} |\n\
         | nesting of an expression | {}, {} in functions |\n\
         | variables, functions, imports | {}, {}, {} |",
        limits.max_operations,
        limits.deadline,
        limits.max_string,
        limits.max_array,
        limits.max_map,
        limits.max_actions,
        limits.max_reads,
        engine::MAX_SOURCE / 1024,
        engine::MAX_CALLS,
        engine::MAX_EXPR.0,
        engine::MAX_EXPR.1,
        engine::MAX_VARIABLES,
        engine::MAX_FUNCTIONS,
        engine::MAX_MODULES,
    )
}

const FIELDS: &str = r#"
By API name, with what scripts may call them besides. An account's own fields, with its options, pipelines, stages and users, are in the
files that `pipewright definitions` writes, and in `pipewright fields list`.

A match may hold several fields, which must all be equal: the open deal of a company in one pipeline is found by

```rhai
deal::find(#{ org_id: 7, status: "open", pipeline: "Sales" });
```
"#;

const INTRODUCTION: &str = r##"<!-- Made from the sources: PIPEWRIGHT_WRITE_DOCS=1 cargo test --test it script::docs -->
# Scripting

A rule's script is a file in `scripts/` that defines `fn handle(event)`. It is called once for each event that the rule wants,
in [Rhai](https://rhai.rs/book/), and says what is to happen in Pipedrive:

```rhai
fn handle(event) {
    let t = event.traits;
    let org = organization::upsert(
        #{ "Segment Group ID": event.context?.groupId },
        #{},
        #{ on_create: #{ name: t?.company?.name ?? event.context?.groupId } });
    person::upsert(
        [#{ "Segment User ID": event.userId }, #{ email: t?.email }],   // keys of one map: and; maps in order: else
        #{ name: t?.name, emails: t?.email, org_id: org },
        #{ on_create: #{ labels: ["Customer"] } });
}
```

**Nothing is sent while a script runs.** Write functions add actions to a plan; the plan is checked whole against the account
and carried out when the script has ended. A script that fails has written nothing. Functions that write return a *reference* to what
will be there, for links of later actions; looking into it (`org.id`, printing, comparing) is an error, because the id is not
known yet. Functions that read end the run, and the script runs again from its start once the answer is there.

**Empty values.** `()`, JSON's null and `""` leave a field alone; in a match they leave out the whole map that they stand in, so that
`#{ phone: (), name: "Ada" }` finds nobody by the name alone. Empty items of a list are left out. `CLEAR` empties a field:

```rhai
person::update(#{ "Segment User ID": event.userId }, #{ name: event.traits?.name, "Plan": CLEAR });
```

**Missing keys** of an event are `()`. Behind something that may be missing write `?.`, and give defaults with `??`:

```rhai
event.traits?.address?.city ?? "unknown";  // => "unknown"
```

**Fields** go by their API name first, then by a custom field's name or 40-character key as seen in Pipedrive. When a name is
both, `custom` says which is meant:

```rhai
deal::create(#{ title: "Renewal", custom: #{ "Status": "New" } }, #{ unlinked: true });
```

**Words that Rhai keeps for itself** (`match`, `default`, `new`, `is`, `in`, `null`, `until` and others) are written in brackets as
keys, `event.properties["new"]`, and in quotes within a map: `#{ "from": "2026-03-01", "until": "2026-03-31" }`.

**Other scripts** are imported by their path within `scripts/`; their functions are called by the alias. Functions see their
parameters and their own variables only; constants of a file are `global::NAME`.

```rhai
import "lib/names" as names;

const UNKNOWN = "Unknown";

fn handle(event) {
    person::upsert(#{ email: event.traits?.email }, #{ name: names::full(event.traits) ?? global::UNKNOWN });
}
```

**The same event gives the same plan.** There is no clock but `event.timestamp` and `event.receivedAt`, no randomness, no file, no
network, no `eval`. Errors of a script can be caught with `try`; what ends a run (`skip`, `fail`, `retry`, limits) cannot.

**A closure that uses variables around it is written where it is called**, as in `list.filter(|x| x > least)`. It cannot be kept in a
variable, a map or an array; one that uses only its own parameters can. There is no `curry`. It may not use the variable that the
expression around it begins with: in place of `event.list.filter(|x| x == event.userId)` write `let user = event.userId;` before.

In the examples `// =>` says what a line comes to.
"##;

const KINDS: &str = "`person`, `organization`, `deal`, `lead`, `activity` and `note` are modules with the same functions; `KIND` stands for one of
them. `criteria` is a map, whose fields must all be equal, or an array of maps, of which the first that finds something decides. A
`target` is such criteria, a reference, or a Pipedrive id.";

const TESTS: &str = r#"
`pipewright test` runs every `fn test_..()` of `scripts/tests/*.rhai`. Each test has an empty embedded Pipedrive of its own, and the
rules of rules.toml. What it sends runs through them to its end before the call returns: retries follow at once, and a link that is
not there counts as waited for.

```rhai,test
fn test_the_name_is_taken_from_the_traits() {
    identify(#{ userId: "u1", traits: #{ name: "Ada King", email: "ada@acme.com" } });

    assert_eq(person::find(#{ "Segment User ID": "u1" }).name, "Ada King");
}

fn test_a_refusal_ends_the_delivery() {
    given::person(#{ name: "Ada", "Segment User ID": "u1" });
    mock::fail_next(400, "PATCH");

    let run = identify(#{ userId: "u1", traits: #{ phone: "+372 5555 1234" } });

    assert_eq(run.state, "dead");
    assert_eq(run.deliveries[0].plan.len(), 2);
    assert_eq(person::all()[0].phone, ());
}
```

What came of an event: `state` (`done`, `skipped`, `dead`, `partial`, `pending` when it would be held and tried again, `unmatched` when no
rule wants it), `reason`, `deliveries` (one a rule: `rule`, `state`, `reason`, `plan`, `requests`, `logs`), and the `plan` and `requests` of all
of them. A step of a plan has `verb`, `kind`, `effect`, `id`, `found_by`, `changes`, `decisions` and `warnings`.

Functions of a script are called after an `import`, as in `import "lib/names" as names;`. Snapshots, faults, coverage and `--watch` are in
docs/testing.md.
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::known::Known;

    #[test]
    fn every_function_of_a_module_is_documented() {
        let page = reference();
        let engine = engine::build(&ScriptConfig::default(), &std::sync::Arc::default());
        let known = Known::of(&engine);
        let mut missing = Vec::new();
        for module in known.modules() {
            let prefix = if Kind::parse(module).is_some() { "KIND" } else { module };
            for function in known.module(module).into_iter().flat_map(|functions| functions.keys()) {
                if !page.contains(&format!("`{prefix}::{function}(")) {
                    missing.push(format!("{module}::{function}"));
                }
            }
        }
        assert!(missing.is_empty(), "{missing:?}");
    }
}
