//! The embedded Pipedrive at its contract: strictness, shapes, limits, lag and faults, over real sockets and in process.

mod declared;
mod http;
mod limits;
mod records;
mod search;
mod strictness;
mod v1;
mod webhooks;

use std::sync::Arc;

use pipewright::mock::{ClockStart, Mock, MockOptions};
use pipewright::pipedrive::{Answer, Body, Method, Request, Transport};
use serde_json::Value;

/// A mock with limits, lag and a clock that stands still.
fn manual(options: MockOptions) -> Arc<Mock> {
    let start = "2026-03-01T12:00:00Z".parse().expect("a time");
    Mock::new(MockOptions { clock: ClockStart::Manual(start), ..options })
}

/// A mock that is about records: no limits, no lag.
fn plain() -> Arc<Mock> {
    manual(MockOptions::unlimited())
}

fn json(answer: Answer) -> (u16, Value) {
    match answer.body {
        Body::Json(value) => (answer.status, value),
        Body::Other(text) => panic!("not JSON: {text}"),
    }
}

async fn send(mock: &Mock, request: Request) -> (u16, Value) {
    json(mock.send(&request).await.expect("an answer"))
}

async fn call(mock: &Mock, method: Method, path: &str, body: Value) -> (u16, Value) {
    send(mock, Request::new(method, path).body(body)).await
}

async fn get(mock: &Mock, path: &str) -> (u16, Value) {
    send(mock, Request::get(path)).await
}

/// A write that must be taken; gives `data`.
async fn done(mock: &Mock, method: Method, path: &str, body: Value) -> Value {
    let (status, answer) = call(mock, method, path, body).await;
    assert!(status == 200 || status == 201, "{path}: {status} {answer}");
    assert_eq!(answer["success"], true);
    answer["data"].clone()
}

/// A request that must be refused with 400; gives the error's text.
async fn refused(mock: &Mock, method: Method, path: &str, body: Value) -> String {
    let (status, answer) = call(mock, method, path, body).await;
    assert_eq!(status, 400, "{path}: {answer}");
    assert_eq!(answer["success"], false);
    answer["error"].as_str().expect("an error text").to_owned()
}

async fn data(mock: &Mock, path: &str) -> Value {
    let (status, answer) = get(mock, path).await;
    assert_eq!(status, 200, "{path}: {answer}");
    answer["data"].clone()
}
