//! A decision record for a person.
//!
//! Invariants: records outlive versions of Pipewright, so nothing here insists on a field: what is missing is left out, what has another
//! shape than expected is shown as JSON. What was only observed never reads as done, and ids that were made up for it are not shown.

use serde_json::Value;

use super::super::output::{cut, printable, time};
use crate::diagnostic::Diagnostic;
use crate::pipedrive::{Id, MadeUp, NOT_SENT, is_made_up};
use crate::store::DeliveryState;

/// Longest value on one line.
const LONGEST: usize = 160;

/// One attempt: reads, plan steps with changed fields, requests, log lines.
pub(in crate::cli) fn render(record: &Value) -> String {
    let attempt = record.get("attempt").map_or_else(|| "?".to_owned(), word);
    let mut text = format!("attempt {attempt}");
    if let Some(at) = record.get("started_at").filter(|at| !at.is_null()).map(word) {
        text.push_str(&format!(", {}", at.parse().map_or(at, time)));
    }
    text.push_str(&labelled(record, "outcome", ": "));
    text.push_str(&labelled(record, "class", ", "));
    text.push_str(&labelled(record, "reason", ", "));
    text.push('\n');
    let version = record.get("version").map(word).map(|v| v.chars().take(12).collect::<String>());
    let facts: Vec<String> = [
        version.map(|v| format!("script set {v}")),
        record.get("tokens").map(|n| format!("{} tokens", word(n))),
        record.get("replaced").map(|r| {
            let of = |key: &str| r.get(key).map_or_else(String::new, word);
            format!("before it {} uncharged, {} requests, {} tokens", of("attempts"), of("requests"), of("tokens"))
        }),
        record.get("resumed").and_then(Value::as_bool).filter(|r| *r).map(|_| "went on with a pinned plan".to_owned()),
    ]
    .into_iter()
    .flatten()
    .collect();
    if !facts.is_empty() {
        text.push_str(&format!("  {}\n", facts.join(", ")));
    }
    for diagnostic in list(record, "diagnostics") {
        text.push_str(&indented(&diagnosed(diagnostic), 2));
    }
    let observed = only_observed(record);
    let step = |item: &Value| step(item, observed);
    for (title, key, show) in [
        ("reads", "reads", &read as &dyn Fn(&Value) -> String),
        ("plan", "steps", &step),
        ("requests", "exchanges", &exchange),
        ("log", "logs", &log_line),
    ] {
        let items = record.get(key).and_then(Value::as_array).filter(|items| !items.is_empty());
        if let Some(items) = items {
            text.push_str(&format!("  {title}\n"));
            for item in items {
                text.push_str(&indented(&show(item), 4));
            }
        }
    }
    text
}

/// Whether nothing was sent that writes: also where the attempt failed on the way.
fn only_observed(record: &Value) -> bool {
    record.get("outcome").and_then(Value::as_str) == Some(DeliveryState::Observed.as_str())
        || list(record, "exchanges").iter().any(not_sent)
}

fn not_sent(exchange: &Value) -> bool {
    exchange.get("error").and_then(Value::as_str) == Some(NOT_SENT)
}

fn diagnosed(item: &Value) -> String {
    match serde_json::from_value::<Diagnostic>(item.clone()) {
        // The caret's lines stay lines; what a value within them holds must not move the cursor.
        Ok(diagnostic) => diagnostic.render().lines().map(|line| format!("{}\n", printable(line))).collect(),
        Err(_) => short(item),
    }
}

/// `[question, answer]`.
fn read(item: &Value) -> String {
    match item.as_array().map(Vec::as_slice) {
        Some([question, found]) => format!("{} -> {}", asked(question), answer(found)),
        _ => short(item),
    }
}

/// `{"find": {"kind": "person", ..}}` as `find person ..`.
fn asked(question: &Value) -> String {
    let Some((verb, of)) = question.as_object().filter(|o| o.len() == 1).and_then(|o| o.iter().next()) else {
        return short(question);
    };
    let mut rest = of.as_object().cloned().unwrap_or_default();
    let kind = rest.remove("kind").map(|k| format!(" {}", word(&k))).unwrap_or_default();
    let rest = rest.iter().map(|(key, value)| match (key.as_str(), value) {
        ("criteria", criteria) => sought(criteria).unwrap_or_else(|| short(criteria)),
        (_, Value::String(text)) => cut(&printable(text), LONGEST),
        (_, value) => short(value),
    });
    format!("{}{kind} {}", printable(verb), rest.collect::<Vec<_>>().join(" "))
}

/// `[[{"name": "email", "value": {"json": "a@b.c"}}]]` as `by email = "a@b.c"`; further criteria in order of preference.
fn sought(criteria: &Value) -> Option<String> {
    let term = |term: &Value| {
        let value = term.get("value")?;
        let value = value.get("json").filter(|_| value.as_object().is_some_and(|o| o.len() == 1)).unwrap_or(value);
        Some(format!("{} = {}", word(term.get("name")?), short(value)))
    };
    let criterion = |terms: &Value| Some(terms.as_array()?.iter().map(term).collect::<Option<Vec<_>>>()?.join(" and "));
    let all = criteria.as_array().filter(|all| !all.is_empty())?.iter().map(criterion).collect::<Option<Vec<_>>>()?;
    Some(format!("by {}", all.join(", else ")))
}

fn answer(found: &Value) -> String {
    match found {
        Value::Null => "not there".to_owned(),
        // What is empty would push out what is not.
        Value::Object(map) => {
            let empty = |value: &Value| {
                value.is_null()
                    || value.as_str().is_some_and(str::is_empty)
                    || value.as_array().is_some_and(Vec::is_empty)
                    || value.as_object().is_some_and(serde_json::Map::is_empty)
            };
            short(&Value::Object(map.iter().filter(|(_, value)| !empty(value)).map(|(k, v)| (k.clone(), v.clone())).collect()))
        }
        found => short(found),
    }
}

fn step(item: &Value, observed: bool) -> String {
    // People count actions from one, as every message does.
    let ordinal = item.get("ordinal").and_then(Value::as_u64).map_or_else(|| "?".to_owned(), |n| (n + 1).to_string());
    let said = |key| item.get(key).filter(|v| !v.is_null()).map(word);
    let what = [said("verb"), said("kind")].into_iter().flatten().collect::<Vec<_>>().join(" ");
    let mut text = format!("{ordinal}. {what}");
    if let Some(state) = item.get("state").filter(|s| !s.is_null()) {
        text.push_str(&format!(": {}", came_to(state, observed)));
    }
    if let Some(place) = item.get("at").and_then(at) {
        text.push_str(&format!("  ({place})"));
    }
    text.push('\n');
    if let Some(resolution) = item.get("resolution").filter(|r| !r.is_null()) {
        text.push_str(&indented(&found_how(resolution), 3));
    }
    let created = item.pointer("/state/effect").and_then(Value::as_str) == Some("created");
    for item in list(item, "changes") {
        let line = if created { change(item) } else { change(&marked(item)) };
        text.push_str(&indented(&line, 3));
    }
    for line in list(item, "decisions") {
        text.push_str(&indented(&word(line), 3));
    }
    for warning in list(item, "warnings") {
        text.push_str(&indented(&format!("warning: {}", word(warning)), 3));
    }
    text
}

/// `field: before -> after`.
pub(in crate::cli) fn change(change: &Value) -> String {
    let field = change.get("field").or_else(|| change.get("name")).map_or_else(|| "?".to_owned(), word);
    format!("{field}: {} -> {}", side(change, "before"), side(change, "after"))
}

/// The same, saying so where nobody knows what was there before: it was neither read nor sent by us.
fn marked(change: &Value) -> Value {
    let mut change = change.clone();
    if let Some(map) = change.as_object_mut()
        && map.get("before").is_some_and(Value::is_null)
        && !map.contains_key("before_is")
        && map.contains_key("address")
    {
        map.insert("before_name".to_owned(), "(not known)".into());
    }
    change
}

/// One side of a change: the names of its ids where the account has them, else the value. Beside a name, what is empty is said in words.
fn side(change: &Value, key: &str) -> String {
    let named = |key| change.get(format!("{key}_name")).and_then(Value::as_str);
    match (named(key), change.get(key)) {
        (Some(name), _) => cut(&printable(name), LONGEST),
        (None, None) => "?".to_owned(),
        (None, Some(value)) => {
            let empty = value.is_null() || value.as_array().is_some_and(Vec::is_empty);
            match made_up(value) {
                Some(word) => word.to_owned(),
                None if empty && named("before").or(named("after")).is_some() => "(none)".to_owned(),
                None => short(value),
            }
        }
    }
}

/// How far a step has come: `created 7`, `would update 7`, `sending since ..`.
fn came_to(state: &Value, observed: bool) -> String {
    let effect = || match state.get("effect").map(word)? {
        done if !observed => Some(done),
        done => Some(match done.as_str() {
            "created" => "would create".to_owned(),
            "updated" => "would update".to_owned(),
            "deleted" => "would delete".to_owned(),
            "merged" => "would merge into".to_owned(),
            "converted" => "would convert".to_owned(),
            "requested" => "would send".to_owned(),
            _ => done,
        }),
    };
    let id = || state.get("id").filter(|id| !id.is_null() && made_up(id).is_none()).map(word);
    let said = |key| state.get(key).filter(|v| !v.is_null()).map(word);
    match (said("state").as_deref(), state) {
        (_, Value::String(text)) => printable(text),
        (Some("done"), _) => [effect(), id()].into_iter().flatten().collect::<Vec<_>>().join(" "),
        (Some("todo"), _) => "not done".to_owned(),
        (Some("sending"), _) => {
            format!("sent{}; whether it arrived is not known", said("since").map(|s| format!(" {s}")).unwrap_or_default())
        }
        _ => short(state),
    }
}

fn found_how(resolution: &Value) -> String {
    let said = |key| resolution.get(key).filter(|v| !v.is_null()).map(word);
    let Some(how) = said("how") else { return short(resolution) };
    let mut text = if how == "miss" { "nothing found".to_owned() } else { format!("found by {how}") };
    if let Some(id) = resolution.get("id").filter(|id| !id.is_null()) {
        text.push_str(&format!(": {}", made_up(id).map_or_else(|| word(id), str::to_owned)));
    }
    if let Some(by) = said("by") {
        text.push_str(&format!(", {by}"));
    }
    match list(resolution, "others") {
        [] => {}
        [other] => text.push_str(&format!("; record {} fits as well", word(other))),
        others => text.push_str(&format!("; records {} fit as well", others.iter().map(word).collect::<Vec<_>>().join(", "))),
    }
    text
}

fn at(place: &Value) -> Option<String> {
    match place {
        Value::String(text) => Some(printable(text)),
        Value::Object(_) => {
            let file = place.get("file").map(word).filter(|f| !f.is_empty())?;
            let file = if file.starts_with("scripts/") { file } else { format!("scripts/{file}") };
            Some(match place.get("line").and_then(Value::as_u64) {
                Some(line) if line > 0 => format!("{file}:{line}"),
                _ => file,
            })
        }
        _ => None,
    }
}

fn exchange(item: &Value) -> String {
    let said = |key| item.get(key).filter(|v| !v.is_null()).map(word);
    let path = said("path").unwrap_or_default();
    // Segments of the path may be ids that were made up.
    let path = path.split('/').map(|part| made_up(&Value::from(part)).unwrap_or(part)).collect::<Vec<_>>().join("/");
    let mut text = format!("{} {path}", said("method").unwrap_or_default());
    if not_sent(item) {
        text.push_str("  not sent");
    } else {
        text.push_str(&format!("  {}", said("status").unwrap_or_else(|| "no answer".to_owned())));
        let shared = item.get("shared") == Some(&Value::Bool(true));
        let cost: &[_] = if shared { &[] } else { &[("tokens", " tokens"), ("ms", " ms")] };
        if shared {
            text.push_str("  shared with another delivery");
        }
        for (key, unit) in cost.iter().copied().chain([("purpose", "")]) {
            if let Some(n) = said(key) {
                text.push_str(&format!("  {n}{unit}"));
            }
        }
    }
    text.push('\n');
    if let Some(body) = item.get("body").filter(|b| !b.is_null()) {
        text.push_str(&indented(&short(body), 3));
    }
    if let Some(error) = said("error").filter(|_| !not_sent(item)) {
        text.push_str(&indented(&error, 3));
    }
    text
}

fn log_line(item: &Value) -> String {
    match item.get("text") {
        Some(text) => {
            let place = at(item).map(|p| format!("  ({p})")).unwrap_or_default();
            format!("{} {}{place}", item.get("level").map(word).unwrap_or_default(), word(text))
        }
        None => short(item),
    }
}

fn list<'a>(item: &'a Value, key: &str) -> &'a [Value] {
    item.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn labelled(record: &Value, key: &str, before: &str) -> String {
    record.get(key).filter(|v| !v.is_null()).map(|v| format!("{before}{}", word(v))).unwrap_or_default()
}

/// A value as a bare word: strings without quotes.
fn word(value: &Value) -> String {
    match value {
        Value::String(text) => printable(text),
        other => other.to_string(),
    }
}

/// A value as JSON on one line, cut when it is long.
fn short(value: &Value) -> String {
    cut(&printable(&told(value).to_string()), LONGEST)
}

/// The value with words in place of ids that were made up.
fn told(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(told).collect(),
        Value::Object(fields) => fields.iter().map(|(key, value)| (key.clone(), told(value))).collect(),
        other => made_up(other).map_or_else(|| other.clone(), Value::from),
    }
}

/// What an id stands for that an attempt which only observed has made up.
fn made_up(id: &Value) -> Option<&'static str> {
    // Also as text, as in a path.
    Some(match is_made_up(&Id::from_json(id)?)? {
        MadeUp::New => "(new)",
        MadeUp::Awaited => "(not there yet)",
    })
}

/// A value as JSON over several lines.
pub(super) fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string())
}

/// Every line moved to the right; ends with a line break.
pub(in crate::cli) fn indented(text: &str, by: usize) -> String {
    text.lines().map(|line| format!("{:by$}{line}\n", "")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_record_shows_reads_steps_requests_and_log_lines() {
        let record = json!({
            "version": "0123456789abcdef", "attempt": 2, "started_at": "2026-07-01T12:00:00Z", "outcome": "done", "tokens": 35,
            "replaced": {"attempts": 2, "requests": 3, "tokens": 60},
            "reads": [
                [{"find": {"kind": "person", "criteria": [[{"name": "email", "value": {"json": "a@b.c"}}, {"name": "org_id", "value": {"json": 3}}],
                    [{"name": "name", "value": {"json": "Ada"}}]]}}, null],
                [{"find": {"kind": "person", "criteria": [["email", "a@b.c"]]}}, null],
                [{"get": {"kind": "lead", "id": 7}}, {"id": 7, "note": null, "label_ids": [], "value": 5}], [{"request": {"path": "/v1/x"}}, null]],
            "steps": [{"ordinal": 0, "verb": "upsert", "kind": "person", "state": {"state": "done", "effect": "updated", "id": 7},
                "at": {"file": "person.rhai", "line": 3, "column": 5}, "resolution": {"how": "lookup", "by": "email = a@b.c", "id": 7, "others": [9]},
                "changes": [{"field": "name", "before": "Ada", "after": "Ada L"},
                    {"field": "Plan", "before": null, "after": 18, "after_name": "Pro"},
                    {"field": "Interests", "before": [21], "before_name": "Sales", "after": [21, 99], "after_name": "Sales, 99"},
                    {"field": "Tier", "before": null, "after": 3},
                    {"field": "value", "before": null, "after": 9, "address": {"standard": "value"}},
                    {"field": "title", "before": null, "before_is": "read", "after": "x", "address": {"standard": "title"}}],
                "decisions": ["if_empty: holds a value, left alone: `phones`"], "warnings": ["unknown option"]}],
            "exchanges": [{"method": "PATCH", "path": "/api/v2/persons/7", "status": 200, "tokens": 5, "ms": 12, "purpose": "write",
                "body": {"name": "Ada L"}}],
            "logs": [{"level": "info", "text": "hello", "file": "person.rhai", "line": 4}],
        });
        let text = render(&record);
        for line in [
            "attempt 2, 2026-07-01 12:00:00Z: done",
            "script set 0123456789ab, 35 tokens, before it 2 uncharged, 3 requests, 60 tokens",
            "find person by email = \"a@b.c\" and org_id = 3, else name = \"Ada\" -> not there",
            "find person [[\"email\",\"a@b.c\"]] -> not there",
            "get lead 7 -> {\"id\":7,\"value\":5}",
            "request /v1/x -> not there",
            "1. upsert person: updated 7  (scripts/person.rhai:3)",
            "found by lookup: 7, email = a@b.c; record 9 fits as well",
            "name: \"Ada\" -> \"Ada L\"",
            "Plan: (none) -> Pro",
            "Interests: Sales -> Sales, 99",
            "Tier: null -> 3",
            "value: (not known) -> 9",
            "title: null -> \"x\"",
            "\n       if_empty: holds a value, left alone: `phones`\n",
            "warning: unknown option",
            "PATCH /api/v2/persons/7  200  5 tokens  12 ms  write",
            "info hello  (scripts/person.rhai:4)",
        ] {
            assert!(text.contains(line), "{line:?} is missing in:\n{text}");
        }
    }

    #[test]
    fn what_was_only_observed_never_reads_as_done_and_shows_no_made_up_id() {
        let not_sent = |method: &str, path: &str, body: Value| json!({"method": method, "path": path, "tokens": 0, "ms": 0, "purpose": "write", "error": NOT_SENT, "body": body});
        let done = |effect: &str, id: Value| json!({"state": "done", "effect": effect, "id": id});
        let (new, awaited) = (9_000_000_000_000_000_u64, 9_000_001_000_000_000_u64);
        let step = |n: u32, state: Value, changes: Value| json!({"ordinal": n, "verb": "upsert", "kind": "deal", "state": state, "changes": changes});
        let mut record = json!({
            "attempt": 1, "outcome": "observed",
            "steps": [
                step(0, done("created", json!(new)), json!([{"field": "org_id", "before": null, "after": new + 1}])),
                step(1, done("updated", json!(2)), json!([{"field": "person_id", "before": null, "after": awaited}])),
                step(2, done("unchanged", json!(3)), json!([])),
            ],
            "exchanges": [
                not_sent("POST", "/api/v2/deals", json!({"title": "Big", "participants": [{"person_id": awaited}]})),
                not_sent("PATCH", &format!("/api/v2/deals/{new}"), json!({"org_id": new + 1})),
                {"method": "GET", "path": "/api/v2/deals/5", "status": 200, "tokens": 1, "ms": 3, "purpose": "lookup"},
                {"method": "GET", "path": "/api/v2/deals?person_id=5", "status": 200, "tokens": 0, "ms": 0, "purpose": "lookup", "shared": true},
            ],
        });
        for outcome in ["observed", "dead"] {
            record["outcome"] = json!(outcome);
            let text = render(&record);
            for line in [
                "1. upsert deal: would create\n",
                "org_id: null -> (new)\n",
                "2. upsert deal: would update 2\n",
                "person_id: null -> (not there yet)\n",
                "3. upsert deal: unchanged 3\n",
                "POST /api/v2/deals  not sent\n       {\"participants\":[{\"person_id\":\"(not there yet)\"}],\"title\":\"Big\"}\n",
                "PATCH /api/v2/deals/(new)  not sent\n       {\"org_id\":\"(new)\"}\n",
                "GET /api/v2/deals/5  200  1 tokens  3 ms  lookup\n",
                "GET /api/v2/deals?person_id=5  200  shared with another delivery  lookup\n",
            ] {
                assert!(text.contains(line), "{line:?} is missing in:\n{text}");
            }
            for word in ["9000", "observing", "no answer", "created", "updated"] {
                assert!(!text.contains(word), "{word:?} is in:\n{text}");
            }
        }
    }

    #[test]
    fn a_record_of_another_version_is_shown_all_the_same() {
        for record in
            [json!({}), json!("text"), json!({"steps": [1, "x", {"changes": 3}], "reads": 7, "exchanges": [{}], "logs": [null]})]
        {
            assert!(render(&record).starts_with("attempt ?"), "{record}");
        }
    }
}
