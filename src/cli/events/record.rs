//! A decision record for a person.
//!
//! Records outlive versions of Pipewright, so nothing here insists on a field: what is missing is left out, what has another shape than
//! expected is shown as JSON.

use serde_json::Value;

use super::super::output::printable;

/// Longest value on one line.
const LONGEST: usize = 160;

/// One attempt: reads, plan steps with changed fields, requests, log lines.
pub(super) fn render(record: &Value) -> String {
    let attempt = record.get("attempt").map_or_else(|| "?".to_owned(), word);
    let mut text = format!("attempt {attempt}{}", labelled(record, "started_at", ", "));
    text.push_str(&labelled(record, "outcome", ": "));
    text.push_str(&labelled(record, "reason", ", "));
    text.push('\n');
    let version = record.get("version").map(word).map(|v| v.chars().take(12).collect::<String>());
    let facts: Vec<String> = [
        version.map(|v| format!("script set {v}")),
        record.get("operations").map(|n| format!("{} operations", word(n))),
        record.get("tokens").map(|n| format!("{} tokens", word(n))),
    ]
    .into_iter()
    .flatten()
    .collect();
    if !facts.is_empty() {
        text.push_str(&format!("  {}\n", facts.join(", ")));
    }
    for (title, key, show) in [
        ("reads", "reads", read as fn(&Value) -> String),
        ("plan", "steps", step),
        ("requests", "exchanges", exchange),
        ("log", "logs", log_line),
    ] {
        let items = record.get(key).and_then(Value::as_array).filter(|items| !items.is_empty());
        if let Some(items) = items {
            text.push_str(&format!("  {title}\n"));
            for item in items {
                text.push_str(&indented(&show(item), 4));
            }
        }
    }
    if let Some(error) = record.get("error").filter(|e| !e.is_null()) {
        text.push_str(&indented(&multi_line(error), 2));
    }
    text
}

/// `[question, answer]`, or an object that says it in its own words.
fn read(item: &Value) -> String {
    match item {
        Value::Array(pair) if pair.len() == 2 => format!("{} -> {}", short(&pair[0]), answer(&pair[1])),
        Value::Object(fields) if fields.contains_key("answer") => {
            let mut question = fields.clone();
            let found = question.remove("answer").unwrap_or(Value::Null);
            format!("{} -> {}", short(&Value::Object(question)), answer(&found))
        }
        other => short(other),
    }
}

fn answer(found: &Value) -> String {
    if found.is_null() { "not there".to_owned() } else { short(found) }
}

fn step(item: &Value) -> String {
    let ordinal = item.get("ordinal").map_or_else(|| "?".to_owned(), word);
    let said = |key| item.get(key).filter(|v| !v.is_null()).map(word);
    let mut text = [said("verb"), said("kind"), said("id")].into_iter().flatten().collect::<Vec<_>>().join(" ");
    text = format!("{ordinal}. {text}");
    if let Some(state) = said("state") {
        text.push_str(&format!("  {state}"));
    }
    if let Some(place) = item.get("at").and_then(at) {
        text.push_str(&format!("  ({place})"));
    }
    text.push('\n');
    if let Some(resolution) = item.get("resolution").filter(|r| !r.is_null()) {
        text.push_str(&indented(&short(resolution), 3));
    }
    for change in list(item, "changes") {
        let field = change.get("field").or_else(|| change.get("name")).map_or_else(|| "?".to_owned(), word);
        let value = |key| change.get(key).map_or_else(|| "?".to_owned(), short);
        text.push_str(&indented(&format!("{field}: {} -> {}", value("before"), value("after")), 3));
    }
    for warning in list(item, "warnings") {
        text.push_str(&indented(&format!("warning: {}", word(warning)), 3));
    }
    text
}

fn at(place: &Value) -> Option<String> {
    match place {
        Value::String(text) => Some(printable(text)),
        Value::Object(_) => {
            let file = place.get("file").map(word).filter(|f| !f.is_empty())?;
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
    let mut text = format!("{} {}", said("method").unwrap_or_default(), said("path").unwrap_or_default());
    text.push_str(&format!("  {}", said("status").unwrap_or_else(|| "no answer".to_owned())));
    for (key, unit) in [("tokens", " tokens"), ("ms", " ms"), ("purpose", "")] {
        if let Some(n) = said(key) {
            text.push_str(&format!("  {n}{unit}"));
        }
    }
    text.push('\n');
    if let Some(body) = item.get("body").filter(|b| !b.is_null()) {
        text.push_str(&indented(&short(body), 3));
    }
    if let Some(error) = said("error") {
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
    record.get(key).filter(|v| !v.is_null()).map(|v| format!("{before}{}", short(v).trim_matches('"'))).unwrap_or_default()
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
    let text = printable(&value.to_string());
    if text.chars().count() <= LONGEST { text } else { format!("{}…", text.chars().take(LONGEST).collect::<String>()) }
}

/// A text whose line breaks are kept, as diagnostics have them.
fn multi_line(value: &Value) -> String {
    match value {
        Value::String(text) => text.lines().map(|line| format!("{}\n", printable(line))).collect(),
        other => short(other),
    }
}

/// A value as JSON over several lines.
pub(super) fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string())
}

/// Every line moved to the right; ends with a line break.
pub(super) fn indented(text: &str, by: usize) -> String {
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
            "reads": [[{"find": {"kind": "person"}}, null]],
            "steps": [{"ordinal": 0, "verb": "upsert", "kind": "person", "id": 7, "state": "done",
                "at": {"file": "person.rhai", "line": 3, "column": 5}, "resolution": "found by email",
                "changes": [{"field": "name", "before": "Ada", "after": "Ada L"}], "warnings": ["unknown option"]}],
            "exchanges": [{"method": "PATCH", "path": "/api/v2/persons/7", "status": 200, "tokens": 5, "ms": 12, "purpose": "write",
                "body": {"name": "Ada L"}}],
            "logs": [{"level": "info", "text": "hello", "file": "person.rhai", "line": 4}],
        });
        let text = render(&record);
        for line in [
            "attempt 2, 2026-07-01T12:00:00Z: done",
            "script set 0123456789ab, 35 tokens",
            "-> not there",
            "0. upsert person 7  done  (person.rhai:3)",
            "\"found by email\"",
            "name: \"Ada\" -> \"Ada L\"",
            "warning: unknown option",
            "PATCH /api/v2/persons/7  200  5 tokens  12 ms  write",
            "info hello  (person.rhai:4)",
        ] {
            assert!(text.contains(line), "{line:?} is missing in:\n{text}");
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
