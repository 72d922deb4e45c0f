//! Every kind of bad request: its status, its reason, that nothing is stored, and that the connection goes on.

use std::io::Write as _;

use serde_json::{Value, json};

use super::harness::{Door, KEY, basic};
use crate::support::{Connection, Logs, Raw, Reply};

/// A good event on the same connection.
async fn still_usable(connection: &mut Connection, door: &Door) {
    let before = door.store.events().len();
    let reply = connection.send("POST", "/v1/identify", &[("authorization", &basic(KEY))], r#"{"userId":"u"}"#).await;
    assert_eq!(reply.status, 200);
    assert_eq!(door.store.events().len(), before + 1);
}

fn code(reply: &Reply) -> String {
    let body = reply.json();
    assert_eq!(body["success"], false);
    assert!(body["error"]["message"].as_str().is_some_and(|m| m.len() > 15), "{body}");
    body["error"]["code"].as_str().expect("a code").to_owned()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).expect("written");
    encoder.finish().expect("finished")
}

#[tokio::test]
async fn a_wrong_key_is_401_stored_nowhere_and_in_no_log() {
    let logs = Logs::capture();
    let door = Door::open().await;
    let mut connection = door.connect().await;
    let wrong = "wk-website-5d1e";
    let bodies = [json!({"userId": "u"}), json!({"userId": "u", "writeKey": wrong}), json!({"userId": "u", "writeKey": 5})];
    for path in ["/v1/identify", "/v1/batch"] {
        for body in &bodies {
            let body = if path == "/v1/batch" { json!({"batch": [], "writeKey": body["writeKey"]}) } else { body.clone() };
            let reply = connection.send("POST", path, &[], body.to_string()).await;
            assert_eq!((reply.status, code(&reply).as_str()), (401, "invalid_write_key"), "{path} {body}");
            assert!(!reply.text().contains(wrong));
        }
        // A wrong one in the header is refused whatever the body says, before it is read.
        for header in [basic(wrong), basic(""), "Basic !!!".to_owned(), basic(&format!("{KEY}x")), basic(&KEY[..5])] {
            let reply = connection.send("POST", path, &[("authorization", &header)], bodies[1].to_string()).await;
            assert_eq!((reply.status, code(&reply).as_str()), (401, "invalid_write_key"), "{header}");
        }
    }
    assert_eq!((door.store.appends(), door.store.rejects().len()), (0, 0));
    still_usable(&mut connection, &door).await;
    let bad = json!({"userId": {}, "writeKey": KEY}).to_string();
    assert_eq!(connection.send("POST", "/v1/identify", &[], bad).await.status, 400);
    let text = logs.text();
    assert!(text.contains("a request was refused") && text.contains("invalid_write_key"), "{text}");
    assert_eq!(text.matches("requests were refused").count(), 1, "one line however many strangers: {text}");
    let encoded = basic(wrong).replace("Basic ", "");
    for secret in [wrong, KEY, encoded.as_str(), "\"u\""] {
        assert!(!text.contains(secret), "{secret}");
    }
    assert!(
        door.metrics.render().contains(r#"events_rejected_total{source="unknown",type="unknown",reason="invalid_write_key"} 16"#)
    );
}

#[tokio::test]
async fn a_bad_single_event_is_400_with_its_reason_and_is_kept() {
    let door = Door::open().await;
    let mut connection = door.connect().await;
    let authorization = basic(KEY);
    let headers = [("authorization", authorization.as_str())];
    for (path, body, expected) in [
        ("/v1/identify", r#"{"userId": "u""#, "malformed_json"),
        ("/v1/identify", "", "malformed_json"),
        ("/v1/identify", "not json", "malformed_json"),
        ("/v1/identify", "\"text\"", "not_an_object"),
        ("/v1/identify", "[]", "not_an_object"),
        ("/v1/identify", "{}", "missing_user"),
        ("/v1/track", r#"{"userId": "u"}"#, "missing_event_name"),
        ("/v1/group", r#"{"userId": "u"}"#, "missing_group"),
        ("/v1/alias", r#"{"userId": "u"}"#, "missing_previous_id"),
        ("/v1/identify", r#"{"userId": "u", "traits": "x"}"#, "wrong_shape"),
        ("/v1/batch", r#"{"batch": [}"#, "malformed_json"),
    ] {
        let reply = connection.send("POST", path, &headers, body).await;
        assert_eq!((reply.status, code(&reply).as_str()), (400, expected), "{path} {body}");
        let kept = door.store.rejects().pop().expect("kept");
        assert_eq!((kept.source.as_str(), kept.payload.as_ref()), ("website", body.as_bytes()));
        assert_eq!(reply.json()["error"]["message"], kept.reason);
    }
    assert_eq!((door.store.appends(), door.store.rejects().len()), (0, 11));
    still_usable(&mut connection, &door).await;
}

#[tokio::test]
async fn a_kept_event_holds_no_write_key() {
    let door = Door::open().await;
    let body = format!(r#"{{"writeKey": "{KEY}", "traits": 7, "userId": "u"}}"#);
    assert_eq!(door.connect().await.send("POST", "/v1/identify", &[], body).await.status, 400);
    let kept = door.store.rejects().pop().expect("kept");
    let payload: Value = serde_json::from_slice(&kept.payload).expect("JSON");
    assert_eq!((&payload["writeKey"], &payload["traits"]), (&json!("[redacted]"), &json!(7)));
}

#[tokio::test]
async fn too_large_is_413_and_the_connection_goes_on() {
    let door = Door::with("max_event = \"1 KiB\"\nmax_batch = \"4 KiB\"").await;
    let mut connection = door.connect().await;
    let authorization = basic(KEY);
    let headers = [("authorization", authorization.as_str())];
    let event = |n: usize| json!({"userId": "u", "traits": {"x": "x".repeat(n)}}).to_string();
    let exact = 1024 - event(0).len();
    assert_eq!(connection.send("POST", "/v1/identify", &headers, event(exact)).await.status, 200);
    for (path, body) in
        [("/v1/identify", event(exact + 1)), ("/v1/identify", event(1_000_000)), ("/v1/batch", format!("[{}]", event(5_000)))]
    {
        let reply = connection.send("POST", path, &headers, body).await;
        assert_eq!((reply.status, code(&reply).as_str()), (413, "body_too_large"), "{path}");
        assert_eq!(reply.header("connection"), "");
    }
    still_usable(&mut connection, &door).await;

    // More than is worth reading away: the answer comes at once, and the connection ends.
    let mut raw = Raw::open(door.addr).await;
    raw.send(format!(
        "POST /v1/identify HTTP/1.1\r\nhost: x\r\nauthorization: {authorization}\r\ncontent-length: 999999999\r\n\r\n{{"
    ))
    .await;
    let (head, body) = raw.answer().await.expect("an answer");
    assert!(head.starts_with("http/1.1 413") && head.contains("connection: close"), "{head}");
    assert!(body.contains("1024 bytes") && body.contains("server.max_event"), "{body}");
    raw.closed().await;
}

#[tokio::test]
async fn a_body_without_a_length_is_bounded_too() {
    let door = Door::with("max_event = \"1 KiB\"").await;
    let mut raw = Raw::open(door.addr).await;
    let head =
        format!("POST /v1/identify HTTP/1.1\r\nhost: x\r\nauthorization: {}\r\ntransfer-encoding: chunked\r\n\r\n", basic(KEY));
    // In pieces, and taken.
    raw.send(format!("{head}5\r\n{{\"use\r\na\r\nrId\": \"u\"}}\r\n0\r\n\r\n")).await;
    assert!(raw.answer().await.expect("an answer").0.starts_with("http/1.1 200"));
    // Too much, read away.
    raw.send(format!("{head}1000\r\n{}\r\n0\r\n\r\n", "x".repeat(0x1000))).await;
    assert!(raw.answer().await.expect("an answer").0.starts_with("http/1.1 413"));
    raw.send(format!("{head}e\r\n{{\"userId\":\"v\"}}\r\n0\r\n\r\n")).await;
    assert!(raw.answer().await.expect("an answer").0.starts_with("http/1.1 200"));
    assert_eq!(door.store.events().len(), 2);
}

#[tokio::test]
async fn bad_gzip_is_400_a_bomb_413_another_coding_415() {
    let door = Door::open().await;
    let mut connection = door.connect().await;
    let authorization = basic(KEY);
    let event = gzip(br#"{"userId":"u","event":"E"}"#);
    let mut cut = event.clone();
    cut.truncate(event.len() - 9);
    let mut flipped = event.clone();
    flipped[14] ^= 0xff;
    let mut trailing = event.clone();
    trailing.extend_from_slice(b"garbage");
    let bomb = gzip(&vec![b' '; 200_000_000]);
    assert!(bomb.len() < 400_000, "{}", bomb.len());
    let cases = [
        ("/v1/track", "gzip", b"not gzip".to_vec(), 400, "invalid_gzip"),
        ("/v1/track", "gzip", Vec::new(), 400, "invalid_gzip"),
        ("/v1/track", "gzip", cut, 400, "invalid_gzip"),
        ("/v1/track", "gzip", flipped, 400, "invalid_gzip"),
        ("/v1/track", "gzip", trailing, 400, "invalid_gzip"),
        ("/v1/batch", "gzip", bomb, 413, "body_too_large"),
        ("/v1/track", "br", event.clone(), 415, "unknown_encoding"),
    ];
    for (path, coding, body, status, expected) in cases {
        let reply = connection.send("POST", path, &[("authorization", &authorization), ("content-encoding", coding)], body).await;
        assert_eq!((reply.status, code(&reply).as_str()), (status, expected));
    }
    assert_eq!(door.store.appends(), 0);
    for coding in ["gzip", "GZIP", "x-gzip"] {
        let headers = [("authorization", authorization.as_str()), ("content-encoding", coding)];
        assert_eq!(connection.send("POST", "/v1/track", &headers, event.clone()).await.status, 200);
    }
    still_usable(&mut connection, &door).await;
}

#[tokio::test]
async fn unknown_paths_name_the_known_ones_and_wrong_methods_the_right_ones() {
    let door = Door::open().await;
    let mut connection = door.connect().await;
    for (method, path) in
        [("GET", "/"), ("POST", "/v1/unknown"), ("POST", "/v2/track"), ("GET", "/metrics"), ("POST", "/webhooks/")]
    {
        let reply = connection.send(method, path, &[], "{\"left\": \"unread\"}").await;
        assert_eq!((reply.status, code(&reply).as_str()), (404, "not_found"), "{path}");
        assert!(reply.text().contains("/v1/identify") && reply.text().contains("/webhooks/SOURCE"));
    }
    for (method, path, allow) in [
        ("GET", "/v1/track", "POST"),
        ("PUT", "/v1/batch", "POST"),
        ("OPTIONS", "/v1/t", "POST"),
        ("GET", "/webhooks/segment", "POST, PUT, PATCH"),
    ] {
        let reply = connection.send(method, path, &[], "").await;
        assert_eq!((reply.status, code(&reply).as_str(), reply.header("allow")), (405, "method_not_allowed", allow));
    }
    still_usable(&mut connection, &door).await;
}
