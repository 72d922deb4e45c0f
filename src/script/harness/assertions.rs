//! What a test asserts with.
//!
//! Invariants: a failed assertion stops the run, so that no `catch` swallows it; what it shows has one order of keys, so that the same
//! failure reads the same in every run.

use rhai::{Array, Dynamic, FnPtr, Map, Module};

use super::compare::{first_difference, pretty, same, show};
use super::diff::diff;
use super::host::{Ctx, ask, fail};
use super::plan;
use crate::script::errors;
use crate::script::host::{define, unfit};
use crate::script::state::{self, Hosted, refuse, refuse_with};
use crate::script::value::{self, type_word};

/// Longest value that is shown on one line beside another.
const SHORT: usize = 60;
/// Longest difference of a snapshot that is looked at, in lines.
const MAX_LINES: usize = 20_000;

/// Adds the assertions.
pub(super) fn register(module: &mut Module) {
    define(module, "assert", &["condition", "()"], docs::ASSERT, |ctx: Ctx<'_>, condition: Dynamic| {
        assert(&ctx, &condition, None)
    });
    define(module, "assert", &["condition", "message", "()"], docs::ASSERT, |ctx: Ctx<'_>, condition: Dynamic, message: &str| {
        assert(&ctx, &condition, Some(message))
    });
    for (name, equal, docs) in [("assert_eq", true, docs::ASSERT_EQ), ("assert_ne", false, docs::ASSERT_NE)] {
        define(module, name, &["actual", "expected", "()"], docs, move |ctx: Ctx<'_>, actual: Dynamic, expected: Dynamic| {
            compare(&ctx, equal, &actual, &expected, None)
        });
        define(
            module,
            name,
            &["actual", "expected", "message", "()"],
            docs,
            move |ctx: Ctx<'_>, actual: Dynamic, expected: Dynamic, message: &str| {
                compare(&ctx, equal, &actual, &expected, Some(message))
            },
        );
    }
    define(module, "assert_plan", &["result", "steps", "()"], docs::ASSERT_PLAN, |ctx: Ctx<'_>, result: Map, steps: Array| {
        assert_plan(&ctx, &result, &steps)
    });
    define(module, "assert_error", &["result", "reason", "()"], docs::ASSERT_ERROR, |ctx: Ctx<'_>, result: Map, reason: &str| {
        assert_failed(&ctx, &result, reason)
    });
    define(
        module,
        "assert_error",
        &["function", "reason", "()"],
        docs::ASSERT_ERROR,
        |ctx: Ctx<'_>, function: FnPtr, reason: &str| assert_throws(&ctx, &function, reason),
    );
    define(module, "assert_snapshot", &["result", "()"], docs::ASSERT_SNAPSHOT, |ctx: Ctx<'_>, result: Dynamic| {
        assert_snapshot(&ctx, &result, None)
    });
    define(
        module,
        "assert_snapshot",
        &["result", "name", "()"],
        docs::ASSERT_SNAPSHOT,
        |ctx: Ctx<'_>, result: Dynamic, name: &str| assert_snapshot(&ctx, &result, Some(name)),
    );
}

fn assert(ctx: &Ctx<'_>, condition: &Dynamic, message: Option<&str>) -> Hosted<()> {
    state::check(ctx)?;
    match condition.as_bool() {
        Ok(true) => Ok(()),
        Ok(false) => fail(ctx, message.unwrap_or("the condition does not hold").to_owned(), None, Vec::new()),
        Err(_) => Err(refuse_with(
            format!("`assert` takes a boolean, not {}", type_word(condition)),
            Some("compare it: `assert(x != ())`, or use `assert_eq(actual, expected)`".to_owned()),
        )),
    }
}

fn compare(ctx: &Ctx<'_>, equal: bool, actual: &Dynamic, expected: &Dynamic, message: Option<&str>) -> Hosted<()> {
    state::check(ctx)?;
    if same(actual, expected) == equal {
        return Ok(());
    }
    let said = message.map_or_else(String::new, |m| format!("{m}: "));
    if !equal {
        return fail(ctx, format!("{said}the values are the same"), None, vec![format!("both:     {}", show(actual))]);
    }
    fail(ctx, format!("{said}the values differ"), None, both(actual, expected))
}

/// Two values that differ: on a line each when they are short, else line by line.
fn both(actual: &Dynamic, expected: &Dynamic) -> Vec<String> {
    let (shown, wanted) = (show(actual), show(expected));
    let mut notes = if shown.chars().count() <= SHORT && wanted.chars().count() <= SHORT {
        vec![format!("actual:   {shown}"), format!("expected: {wanted}")]
    } else {
        vec![diff(&pretty(expected), &pretty(actual))]
    };
    if let Some(path) = first_difference(actual, expected).filter(|path| !path.is_empty()) {
        notes.push(format!("they differ first at {path}"));
    }
    notes
}

fn assert_plan(ctx: &Ctx<'_>, result: &Map, expected: &Array) -> Hosted<()> {
    state::check(ctx)?;
    let Some(steps) = result.get("plan").and_then(|plan| plan.as_array_ref().ok()) else {
        return Err(refuse_with(
            "`assert_plan` takes what an event came to, or one of its deliveries: this map has no `plan`",
            Some("write `let run = identify(..);`, then `assert_plan(run, [..])`".to_owned()),
        ));
    };
    for (at, step) in expected.iter().enumerate() {
        if !step.is_map() {
            return Err(refuse(format!("`assert_plan` takes a map `#{{ .. }}` for each step; item {at} is {}", type_word(step))));
        }
    }
    match plan::missing(&steps, expected) {
        None => Ok(()),
        Some(plan::Missing { message, notes }) => fail(ctx, message, None, notes),
    }
}

/// How a delivery that failed ends.
const FAILED: [&str; 4] = ["dead", "partial", "uncertain", "pending"];

fn assert_failed(ctx: &Ctx<'_>, result: &Map, reason: &str) -> Hosted<()> {
    state::check(ctx)?;
    let text = |map: &Map, key: &str| map.get(key).map_or_else(String::new, |value| value.to_string());
    if !result.contains_key("state") {
        return Err(refuse_with(
            "`assert_error` takes what an event came to, one of its deliveries, or a closure: this map has no `state`",
            Some("write `assert_error(identify(#{ .. }), \"part of the reason\")`".to_owned()),
        ));
    }
    let deliveries: Vec<Map> = match result.get("deliveries").and_then(|all| all.as_array_ref().ok()) {
        Some(all) => all.iter().filter_map(|delivery| delivery.as_map_ref().ok().map(|map| map.clone())).collect(),
        None => vec![result.clone()],
    };
    let ended = |d: &Map| (text(d, "rule"), text(d, "state"), text(d, "reason"));
    let failed: Vec<_> = deliveries.iter().map(ended).filter(|(_, state, _)| FAILED.contains(&state.as_str())).collect();
    if failed.iter().any(|(_, _, why)| why.contains(reason)) {
        return Ok(());
    }
    if failed.is_empty() {
        let mut notes: Vec<String> =
            deliveries.iter().map(ended).map(|(rule, state, _)| format!("rule {rule} ended {state}")).collect();
        if notes.is_empty() {
            notes.push("no rule wants the event".to_owned());
        }
        return fail(ctx, "no delivery failed".to_owned(), None, notes);
    }
    let mut notes = vec![format!("expected: a reason with {}", shown(reason))];
    notes.extend(failed.iter().map(|(rule, state, why)| format!("rule {rule} ended {state}: {why}")));
    fail(ctx, "it failed for another reason".to_owned(), None, notes)
}

fn assert_throws(ctx: &Ctx<'_>, function: &FnPtr, reason: &str) -> Hosted<()> {
    state::check(ctx)?;
    let error = match function.call_within_context::<Dynamic>(ctx, ()) {
        Ok(value) => return fail(ctx, "nothing was thrown".to_owned(), None, vec![format!("it came to {}", show(&value))]),
        // A limit, or another assertion, within.
        Err(error) if state::is_stopped() => return Err(error),
        Err(error) => errors::said(&error),
    };
    if error.contains(reason) {
        return Ok(());
    }
    let notes = vec![format!("expected: a reason with {}", shown(reason)), format!("actual:   {}", shown(&error))];
    fail(ctx, "it failed for another reason".to_owned(), None, notes)
}

fn shown(text: &str) -> String {
    show(&Dynamic::from(text.to_owned()))
}

/// What of a result is kept in a snapshot: what the rules decided and sent. Logs are for people.
const KEPT: [&str; 4] = ["state", "reason", "plan", "requests"];

fn assert_snapshot(ctx: &Ctx<'_>, result: &Dynamic, name: Option<&str>) -> Hosted<()> {
    state::check(ctx)?;
    let of_event = |map: &Map| KEPT.iter().all(|key| map.contains_key(*key));
    let kept = match result.as_map_ref() {
        Ok(map) if of_event(&map) => Dynamic::from_map(
            map.iter().filter(|(key, _)| KEPT.contains(&key.as_str())).map(|(k, v)| (k.clone(), v.clone())).collect(),
        ),
        _ => result.clone(),
    };
    let json = value::to_json(&kept).map_err(|u| unfit("assert_snapshot", u))?;
    let Err(wrong) = ask(ctx, |host| Ok(host.snapshot(name, &json)))? else { return Ok(()) };
    let lines = |text: &str| text.lines().take(MAX_LINES).map(str::to_owned).collect::<Vec<_>>();
    let notes = wrong.texts.iter().map(|(kept, now)| diff(&lines(kept), &lines(now))).collect();
    fail(ctx, wrong.message, wrong.help, notes)
}

mod docs {
    pub(super) const ASSERT: &str = "
Fails the test unless the condition is true.";
    pub(super) const ASSERT_EQ: &str = "
Fails the test unless both are the same. `2` and `2.0` are. Long values are shown line by line: `-` is expected, `+` is there.";
    pub(super) const ASSERT_NE: &str = "
Fails the test when both are the same.";
    pub(super) const ASSERT_PLAN: &str = "
Fails the test unless the plan has steps like these, in this order; others may stand between them, and `[]` means that there are none. A
step is named by any of `verb`, `kind`, `effect`, `id`, `found_by` and by the fields that it changes, with their values afterwards:
`assert_plan(run, [#{ kind: \"person\", effect: \"created\", name: \"Ada\", emails: [\"ada@acme.com\"] }])`. Options, stages and people go by
their names, `found_by` by a part of it.";
    pub(super) const ASSERT_ERROR: &str = "
Fails the test unless a delivery of the event failed, or the closure throws, with this text in the reason:
`assert_error(track(\"Order\", #{}), \"title\")`, `assert_error(|| names::full(()), \"no name\")`.";
    pub(super) const ASSERT_SNAPSHOT: &str = "
Fails the test unless the result (`state`, `reason`, `plan` and `requests` of an event, or any other value) is the one that is kept in
scripts/tests/snapshots/. `pipewright test --update` keeps the one that is there now. Several in one test need names.";
}
