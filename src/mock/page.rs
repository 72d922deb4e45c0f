//! What the mock shows people: a page at `/` and JSON under `/mock`. No token, so the machine itself only, asked by a name
//! of its own: a web page whose name was made to lead here learns nothing.

use std::fmt::Write as _;
use std::net::SocketAddr;

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Response, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

use super::Mock;
use super::entity::Entity;
use super::server::{plain, typed};
use crate::headers::names_this_machine;

/// Rows of a table on the page: the newest.
const SHOWN: usize = 200;

/// Answers `/`, `/mock`, `/mock/log`, `/mock/webhooks`, `/mock/state` and `/mock/{kind}`.
pub(super) fn answer(mock: &Mock, peer: SocketAddr, asked: &Parts) -> Response<Full<Bytes>> {
    if !peer.ip().is_loopback() {
        return plain(StatusCode::FORBIDDEN, "only from this machine");
    }
    if !names_this_machine(&asked.headers) {
        return plain(StatusCode::MISDIRECTED_REQUEST, "the Host header names another machine; ask for localhost or 127.0.0.1\n");
    }
    if asked.method != Method::GET {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "only GET");
    }
    let json = |value: &Value| typed(StatusCode::OK, "application/json; charset=utf-8", format!("{value:#}\n"));
    match asked.uri.path().trim_end_matches('/').strip_prefix("/mock").map(|rest| rest.trim_start_matches('/')) {
        None => typed(StatusCode::OK, "text/html; charset=utf-8", html(mock)),
        Some("" | "state") => json(&state(mock)),
        Some("log") => json(&json!(mock.log())),
        Some("webhooks") => json(&json!(mock.webhook_log())),
        Some(kind) if Entity::ALL.iter().any(|e| e.path() == kind) => json(&Value::Array(mock.entities(kind))),
        Some(_) => {
            plain(StatusCode::NOT_FOUND, "try /mock/state, /mock/log, /mock/webhooks, /mock/persons and the other kinds\n")
        }
    }
}

fn state(mock: &Mock) -> Value {
    json!({
        "now": mock.now(),
        "records": mock.inner.lock().world.summary(),
        "requests": mock.requests(),
        "throttled": mock.throttled(),
        "tokens": { "spent": mock.tokens_spent(), "today": mock.tokens_spent_today() },
    })
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A value in a table's cell: short, without what is empty.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => escaped(text),
        Value::Array(list) => {
            let parts: Vec<String> =
                list.iter().map(|v| cell(v.get("value").or_else(|| v.get("person_id")).unwrap_or(v))).collect();
            parts.join(", ")
        }
        Value::Object(object) => {
            let parts: Vec<String> = object.values().filter(|v| !v.is_null()).map(cell).collect();
            parts.join(" ")
        }
        other => escaped(&other.to_string()),
    }
}

const STYLE: &str = "body{font:14px/1.45 system-ui,sans-serif;margin:2rem;color:#1c1c1c;background:#fff}\
h1{font-size:1.4rem;margin:0 0 .3rem}h2{font-size:1.05rem;margin:1.8rem 0 .4rem}p{color:#555;margin:.2rem 0}\
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #e4e4e4;vertical-align:top}\
th{font-weight:600;background:#f6f6f6}code{background:#f2f2f2;padding:0 .25rem}\
@media(prefers-color-scheme:dark){body{background:#161616;color:#e6e6e6}p{color:#aaa}th{background:#222}th,td{border-color:#333}code{background:#262626}}";

fn html(mock: &Mock) -> String {
    let mut out = String::new();
    let state = state(mock);
    // Writing to a String cannot fail.
    let _ok = write!(
        out,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>Mock Pipedrive</title><style>{STYLE}</style></head><body><h1>Mock Pipedrive</h1>\
         <p>{} requests, {} tokens. Nothing here leaves this machine; it is gone when the mock stops.</p>\
         <p>As JSON: <code>/mock/persons</code>, <code>/mock/log</code>, <code>/mock/webhooks</code>, <code>/mock/state</code></p>",
        state["requests"], state["tokens"]["spent"]
    );
    for (entity, columns) in [
        (Entity::Person, ["id", "name", "emails", "phones", "org_id"].as_slice()),
        (Entity::Organization, ["id", "name", "address", "website"].as_slice()),
        (Entity::Deal, ["id", "title", "value", "currency", "status", "stage_id", "person_id", "org_id"].as_slice()),
        (Entity::Lead, ["id", "title", "value", "person_id", "organization_id"].as_slice()),
        (Entity::Activity, ["id", "subject", "type", "due_date", "done", "participants", "deal_id"].as_slice()),
        (Entity::Note, ["id", "content", "person_id", "org_id", "deal_id", "lead_id"].as_slice()),
    ] {
        table(&mut out, mock, entity, columns);
    }
    out.push_str("</body></html>\n");
    out
}

fn table(out: &mut String, mock: &Mock, entity: Entity, columns: &[&str]) {
    let rows = mock.entities(entity.path());
    let _ok = write!(out, "<h2>{} ({})</h2><table><tr>", entity.path(), rows.len());
    for column in columns {
        let _ok = write!(out, "<th>{column}</th>");
    }
    out.push_str("<th>custom fields</th><th>changed</th></tr>");
    for row in rows.iter().rev().take(SHOWN) {
        out.push_str("<tr>");
        for column in columns {
            let _ok = write!(out, "<td>{}</td>", cell(&row[*column]));
        }
        let _ok = write!(out, "<td>{}</td><td>{}</td></tr>", custom(mock, entity, row), cell(&row["update_time"]));
    }
    out.push_str("</table>");
}

/// The custom fields that are set, by their names, options by their labels.
fn custom(mock: &Mock, entity: Entity, row: &Value) -> String {
    let inner = mock.inner.lock();
    let mut parts = Vec::new();
    for field in inner.world.fields(entity.fields_of()).custom() {
        let value = row.get("custom_fields").and_then(|c| c.get(&field.code)).or_else(|| row.get(&field.code));
        let Some(value) = value.filter(|v| !v.is_null()) else { continue };
        let label =
            |v: &Value| field.options.iter().find(|o| Some(o.id) == v.as_u64()).map_or_else(|| cell(v), |o| escaped(&o.label));
        let shown = match value {
            Value::Array(list) => list.iter().map(label).collect::<Vec<_>>().join(", "),
            value => label(value),
        };
        parts.push(format!("{}: {shown}", escaped(&field.name)));
    }
    parts.join("<br>")
}
