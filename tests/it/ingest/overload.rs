//! Acknowledged is durable; overload and a failing store are never 400 and never 200.

use std::time::Duration;

use pipewright::store::StoreError;
use serde_json::json;

use super::harness::{Door, KEY, basic};
use crate::support::{Logs, Raw, wait_until};

#[tokio::test]
async fn the_answer_leaves_after_the_append_returned() {
    let door = Door::open().await;
    let gate = door.store.hold();
    let mut connection = door.connect().await;
    let sent = tokio::spawn(async move {
        connection.send("POST", "/v1/identify", &[("authorization", &basic(KEY))], r#"{"userId":"u"}"#).await
    });
    wait_until("the event reaches the store", async || (door.store.appends() == 1).then_some(())).await;
    // Were the answer on its way, a request on another connection would not overtake it.
    for _ in 0..3 {
        assert_eq!(door.connect().await.send("GET", "/", &[], "").await.status, 404);
    }
    assert!(!sent.is_finished());
    assert!(door.store.events().is_empty());
    gate.add_permits(1);
    assert_eq!(sent.await.expect("sent").status, 200);
    assert_eq!(door.store.events().len(), 1);
}

#[tokio::test]
async fn the_stores_troubles_are_429_or_503_with_retry_after() {
    let logs = Logs::capture();
    let door = Door::open().await;
    let mut connection = door.connect().await;
    let batch = json!({"batch": [{"type": "identify", "userId": "u"}, {"type": "nonsense"}]});
    for (error, status, code) in [
        (StoreError::Overloaded, 429, "overloaded"),
        (StoreError::Behind { waiting: 7, limit: 7 }, 429, "backlog_full"),
        (StoreError::Full("no space".to_owned()), 503, "disk_full"),
        (StoreError::Failed("fsync".to_owned()), 503, "store_failed"),
        (StoreError::Closed, 503, "store_failed"),
    ] {
        for (path, body) in [("/v1/identify", json!({"userId": "u"})), ("/v1/batch", batch.clone())] {
            door.store.fail(error.clone());
            let reply = connection.send("POST", path, &[("authorization", &basic(KEY))], body.to_string()).await;
            assert_eq!((reply.status, reply.json()["error"]["code"].as_str()), (status, Some(code)), "{error} {path}");
            assert!(reply.header("retry-after").parse::<u32>().is_ok_and(|s| (1..=300).contains(&s)));
            assert!(reply.text().contains("send it again"), "{}", reply.text());
            assert!(!reply.text().contains("fsync") && !reply.text().contains("no space"));
        }
    }
    assert_eq!(
        (door.store.events().len(), door.store.rejects().len()),
        (0, 0),
        "a request to be sent again leaves nothing behind"
    );
    let metrics = door.metrics.render();
    assert!(metrics.contains(r#"ingest_overloaded_total{reason="overloaded"} 2"#), "{metrics}");
    assert!(logs.text().contains("no space"), "the first of its kind is logged");

    let reply = connection.send("POST", "/v1/batch", &[("authorization", &basic(KEY))], batch.to_string()).await;
    assert_eq!((reply.status, door.store.events().len(), door.store.rejects().len()), (200, 1, 1));
}

#[tokio::test]
async fn a_stopping_daemon_says_503_and_takes_nothing() {
    let door = Door::open().await;
    let mut connection = door.connect().await;
    door.stopping.send_replace(true);
    let reply = connection.send("POST", "/v1/identify", &[("authorization", &basic(KEY))], r#"{"userId":"u"}"#).await;
    assert_eq!((reply.status, reply.json()["error"]["code"].as_str()), (503, Some("stopping")));
    assert_eq!((reply.header("retry-after"), reply.header("connection")), ("5", "close"));
    assert_eq!(door.store.appends(), 0);
}

#[tokio::test]
async fn a_stop_answers_what_is_under_way_and_ends_idle_connections() {
    let door = Door::open().await;
    let gate = door.store.hold();
    let mut idle = Raw::open(door.addr).await;
    let mut busy = door.connect().await;
    let sent =
        tokio::spawn(
            async move { busy.send("POST", "/v1/identify", &[("authorization", &basic(KEY))], r#"{"userId":"u"}"#).await },
        );
    wait_until("the event reaches the store", async || (door.store.appends() == 1).then_some(())).await;
    door.shutdown.send_replace(true);
    idle.closed().await;
    assert!(!door.served.is_finished());
    gate.add_permits(1);
    assert_eq!(sent.await.expect("sent").status, 200);
    tokio::time::timeout(Duration::from_secs(20), door.served).await.expect("in time").expect("served");
    assert!(tokio::net::TcpStream::connect(door.addr).await.is_err());
}

#[tokio::test]
async fn a_stop_does_not_wait_longer_than_its_grace() {
    let door = Door::with("shutdown_grace = \"50ms\"").await;
    let _never = door.store.hold();
    let mut busy = Raw::open(door.addr).await;
    let body = r#"{"userId":"u"}"#;
    busy.send(format!(
        "POST /v1/identify HTTP/1.1\r\nhost: x\r\nauthorization: {}\r\ncontent-length: {}\r\n\r\n{body}",
        basic(KEY),
        body.len()
    ))
    .await;
    wait_until("the event reaches the store", async || (door.store.appends() == 1).then_some(())).await;
    door.shutdown.send_replace(true);
    tokio::time::timeout(Duration::from_secs(10), door.served).await.expect("in time").expect("served");
    busy.closed().await;
    assert!(door.metrics.render().contains("pipewright_http_connections 0"));
}
