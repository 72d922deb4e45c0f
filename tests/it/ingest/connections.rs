//! Connections: keep-alive, pipelining, slow clients, too many, odd ones.

use serde_json::json;

use super::harness::{Door, KEY, basic};
use crate::support::{Raw, hardened, wait_until};

fn call(body: &str) -> String {
    format!(
        "POST /v1/identify HTTP/1.1\r\nhost: x\r\nauthorization: {}\r\ncontent-length: {}\r\n\r\n{body}",
        basic(KEY),
        body.len()
    )
}

#[tokio::test]
async fn events_of_one_connection_are_accepted_in_the_order_sent() {
    let door = Door::open().await;
    let mut raw = Raw::open(door.addr).await;
    // All at once: a sender need not wait for answers.
    let requests: String = (0..50).map(|n| call(&json!({"userId": "u", "messageId": format!("m{n}")}).to_string())).collect();
    raw.send(requests).await;
    for _ in 0..50 {
        let (head, body) = raw.answer().await.expect("an answer");
        assert!(head.starts_with("http/1.1 200") && body == r#"{"success":true}"#, "{head}");
    }
    let order: Vec<String> = door.store.events().into_iter().map(|e| e.message_id).collect();
    assert_eq!(order, (0..50).map(|n| format!("m{n}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_refused_request_leaves_the_next_one_whole() {
    let door = Door::open().await;
    let mut raw = Raw::open(door.addr).await;
    let wrong = call(r#"{"userId":"u"}"#).replace(&basic(KEY), &basic("wrong"));
    for (bad, status) in [
        (call("{"), 400),
        (wrong, 401),
        (call("{}").replace("/v1/identify", "/nowhere"), 404),
        (call("{}").replace("POST", "PUT"), 405),
    ] {
        raw.send(bad + &call(r#"{"userId":"u"}"#)).await;
        let (head, _) = raw.answer().await.expect("an answer");
        assert!(head.starts_with(&format!("http/1.1 {status}")), "{head}");
        assert!(raw.answer().await.expect("an answer").0.starts_with("http/1.1 200"));
    }
    assert_eq!(door.store.events().len(), 4);
}

#[tokio::test]
async fn an_answer_says_how_long_its_connection_may_be_idle() {
    let door = Door::with("header_timeout = \"7s\"").await;
    assert_eq!(door.post("/v1/identify", &json!({"userId": "u"})).await.header("keep-alive"), "timeout=7");
}

#[tokio::test]
async fn slow_headers_end_the_connection() {
    let door = Door::with("header_timeout = \"50ms\"").await;
    let mut raw = Raw::open(door.addr).await;
    raw.send("POST /v1/identify HTTP/1.1\r\nhost: ").await;
    raw.closed().await;
    let mut idle = Raw::open(door.addr).await;
    idle.closed().await;
}

#[tokio::test]
async fn a_slow_body_is_408_and_stores_nothing() {
    let door = Door::with("body_timeout = \"50ms\"").await;
    let mut raw = Raw::open(door.addr).await;
    let whole = call(r#"{"userId":"u"}"#);
    raw.send(&whole[..whole.len() - 3]).await;
    let (head, body) = raw.answer().await.expect("an answer");
    assert!(
        head.starts_with("http/1.1 408") && head.contains("connection: close") && body.contains("body_timeout"),
        "{head}{body}"
    );
    raw.closed().await;
    assert_eq!(door.store.appends(), 0);
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_stores_nothing() {
    let door = Door::open().await;
    let mut raw = Raw::open(door.addr).await;
    let whole = call(r#"{"userId":"u"}"#);
    raw.send(&whole[..whole.len() - 3]).await;
    drop(raw);
    wait_until("the connection is gone", async || door.metrics.render().contains("pipewright_http_connections 0").then_some(()))
        .await;
    assert_eq!(door.store.appends(), 0);
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_a_free_one() {
    let door = Door::with("max_connections = 1").await;
    let mut first = Raw::open(door.addr).await;
    first.send(call(r#"{"userId":"1"}"#)).await;
    assert!(first.answer().await.is_some());
    let mut second = Raw::open(door.addr).await;
    second.send(call(r#"{"userId":"2"}"#)).await;
    // The first one is served though the second has been waiting.
    first.send(call(r#"{"userId":"3"}"#)).await;
    assert!(first.answer().await.is_some());
    assert_eq!(door.store.events().len(), 2);
    drop(first);
    assert!(second.answer().await.expect("an answer").0.starts_with("http/1.1 200"));
    assert_eq!(door.store.events().len(), 3);
}

#[tokio::test]
async fn oversized_heads_and_other_protocols_end_without_harm() {
    let door = Door::open().await;
    let mut raw = Raw::open(door.addr).await;
    raw.send(format!("POST /v1/identify HTTP/1.1\r\nx: {}\r\n", "x".repeat(70_000))).await;
    assert!(raw.answer().await.is_none_or(|(head, _)| head.starts_with("http/1.1 431")));
    let mut raw = Raw::open(door.addr).await;
    raw.send("\x16\x03\x01 this is not HTTP\r\n\r\n").await;
    assert!(raw.answer().await.is_none_or(|(head, _)| head.starts_with("http/1.1 400")));
    assert_eq!(door.post("/v1/identify", &json!({"userId": "u"})).await.status, 200);
}

#[tokio::test]
async fn a_client_that_asks_before_it_sends_is_told_to_go_on() {
    let door = Door::open().await;
    let body = r#"{"userId":"u"}"#;
    let head = |key: &str| {
        format!(
            "POST /v1/identify HTTP/1.1\r\nhost: x\r\nauthorization: {}\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n",
            basic(key),
            body.len()
        )
    };
    let mut raw = Raw::open(door.addr).await;
    raw.send(head(KEY)).await;
    assert!(raw.answer().await.expect("an answer").0.starts_with("http/1.1 100"));
    raw.send(body).await;
    assert!(raw.answer().await.expect("an answer").0.starts_with("http/1.1 200"));
    let mut refused = Raw::open(door.addr).await;
    refused.send(head("wrong")).await;
    assert!(refused.answer().await.expect("an answer").0.starts_with("http/1.1 401"));
    refused.closed().await;
}

#[tokio::test]
async fn every_answer_carries_the_security_headers() {
    let door = Door::with("cors_origins = [\"*\"]").await;
    let taken = json!({"userId": "u", "event": "E", "writeKey": KEY}).to_string();
    for (method, path, body, status) in [
        ("POST", "/v1/t", &*taken, 200),
        ("POST", "/v1/t", "{", 400),
        ("POST", "/v1/t", "{}", 401),
        ("POST", "/nothing", "", 404),
        ("GET", "/webhooks/segment", "", 405),
        ("OPTIONS", "/v1/t", "", 204),
    ] {
        let reply = door.connect().await.send(method, path, &[("origin", "https://shop.example.com")], body.to_owned()).await;
        assert_eq!(reply.status, status, "{method} {path}: {}", reply.text());
        hardened(&reply.headers, "default-src 'none'; frame-ancestors 'none'");
    }
}
