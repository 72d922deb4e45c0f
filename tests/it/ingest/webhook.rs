//! Segment's webhook destinations: signatures, arrays, second proofs.

use hmac::Mac as _;
use serde_json::{Value, json};

use super::harness::{Door, WEBHOOK_SECRET, WEBHOOK_TOKEN};
use crate::support::{Logs, Reply};

fn sign(text: &str) -> String {
    let mut mac = hmac::Hmac::<sha1::Sha1>::new_from_slice(WEBHOOK_SECRET.as_bytes()).expect("a key");
    mac.update(text.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

async fn send(door: &Door, source: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    door.connect().await.send("POST", &format!("/webhooks/{source}"), headers, body.to_owned()).await
}

fn code(reply: &Reply) -> String {
    reply.json()["error"]["code"].as_str().unwrap_or("").to_owned()
}

/// A number and an escape that no serialiser writes like this again.
const EVENT: &str = r#"{"type":"identify","userId":"ada","messageId":"m1","traits":{"n":1.50,"t":"\u0041"},
  "timestamp":"2026-01-02T03:04:05.006Z","receivedAt":"2026-01-02T03:04:06.000Z","sentAt":"2026-01-02T03:04:05.500Z","originalTimestamp":"2026-01-02T03:04:04.506Z","integrations":{"All":false,"Webhooks":true}}"#;

#[tokio::test]
async fn a_signed_event_is_taken_by_every_method_as_segment_completed_it() {
    let door = Door::open().await;
    let mut connection = door.connect().await;
    for (n, method) in ["POST", "PUT", "PATCH"].into_iter().enumerate() {
        let body = EVENT.replace("m1", &format!("m{n}"));
        let signature = sign(&body);
        let reply = connection
            .send(method, "/webhooks/segment", &[("x-signature", &signature), ("user-agent", "Segment (Actions)")], body)
            .await;
        assert_eq!((reply.status, reply.text().as_str()), (200, r#"{"success":true}"#));
    }
    let events = door.store.events();
    assert_eq!(events.len(), 3);
    let body: Value = serde_json::from_slice(&events[0].payload).expect("JSON");
    assert_eq!(
        (&body["timestamp"], &body["receivedAt"]),
        (&json!("2026-01-02T03:04:05.006Z"), &json!("2026-01-02T03:04:06.000Z"))
    );
    assert!(events[0].received_at > "2026-01-02T03:04:06Z".parse::<jiff::Timestamp>().expect("a time"), "by our clock");
    assert_eq!(events[0].source, "segment");
}

#[tokio::test]
async fn a_bad_signature_is_401_and_leaves_no_trace() {
    let logs = Logs::capture();
    let door = Door::open().await;
    let good = sign(EVENT);
    let flipped = format!("{}{}", &good[..39], if good.ends_with('0') { '1' } else { '0' });
    for signature in [&flipped, "", "zz", &good[..38], &sign("other"), &format!("sha1={good}")] {
        let reply = send(&door, "segment", &[("x-signature", signature)], EVENT).await;
        assert_eq!((reply.status, code(&reply).as_str()), (401, "invalid_signature"), "{signature}");
    }
    let reply = send(&door, "segment", &[], EVENT).await;
    assert_eq!(reply.status, 401, "unsigned");
    // The second proof does not stand for the first.
    let bearer = format!("Bearer {WEBHOOK_TOKEN}");
    for body in [EVENT, &format!("[{EVENT}]"), "[]", "[{", "["] {
        assert_eq!(send(&door, "segment", &[("authorization", &bearer)], body).await.status, 401, "{body}");
    }
    assert_eq!((door.store.appends(), door.store.rejects().len()), (0, 0));
    let text = logs.text();
    assert!(text.contains("invalid_signature"), "{text}");
    assert!(!text.contains(&good) && !text.contains(WEBHOOK_SECRET) && !text.contains(WEBHOOK_TOKEN) && !text.contains("ada"));
}

#[tokio::test]
async fn an_array_signed_by_its_first_element_needs_the_second_proof() {
    let door = Door::open().await;
    let second = r#"{"type":"delete","userId":"bob","messageId":"m2"}"#;
    let array = format!(" [ {EVENT} ,\n{second}]");
    let first = sign(EVENT);
    let basic = {
        use base64::Engine as _;
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("anyone:{WEBHOOK_TOKEN}")))
    };
    let bearer = format!("Bearer {WEBHOOK_TOKEN}");
    for authorization in [None, Some("Bearer wrong"), Some("Basic d3Jvbmc6d3Jvbmc="), Some("Basic"), Some("Basic d3Jvbmc=")] {
        let mut headers = vec![("x-signature", first.as_str())];
        headers.extend(authorization.map(|a| ("authorization", a)));
        let reply = send(&door, "segment", &headers, &array).await;
        assert_eq!((reply.status, code(&reply).as_str()), (401, "missing_webhook_token"), "{authorization:?}");
    }
    // A source without such a token takes no arrays of this kind.
    let reply = send(&door, "plain", &[("x-signature", &first), ("authorization", "Bearer ")], &array).await;
    assert_eq!((reply.status, code(&reply).as_str()), (401, "missing_webhook_token"));
    assert_eq!(door.store.appends(), 0);

    for authorization in [&basic, &bearer] {
        let reply = send(&door, "segment", &[("x-signature", &first), ("authorization", authorization)], &array).await;
        assert_eq!((reply.status, reply.text().as_str()), (200, r#"{"success":true}"#));
    }
    let events = door.store.events();
    assert_eq!(
        events.iter().map(|e| (e.kind, e.message_id.as_str())).collect::<Vec<_>>(),
        [("identify", "m1"), ("delete", "m2")]
    );
    assert_eq!(events[1].deliveries.len(), 1);
}

/// The erasure is as of the `delete` event and waits for its deliveries: asked for beside it, it could be of another moment.
#[tokio::test]
async fn a_users_erasure_is_asked_for_with_the_delete_event() {
    let door = Door::open().await;
    let event = r#"{"type":"delete","userId":"bob","messageId":"m2"}"#;
    let body = format!(r#"[{event},{{"type":"identify","userId":"bob"}}]"#);
    let signature = sign(&body);
    let headers = [("x-signature", signature.as_str())];
    assert_eq!(send(&door, "segment", &headers, &body).await.status, 200);
    let events = door.store.events();
    assert_eq!(
        events.iter().map(|e| (e.kind, e.user.as_deref().unwrap_or(""), e.forget)).collect::<Vec<_>>(),
        [("delete", "bob", true), ("identify", "bob", false)]
    );
    assert!(door.store.writes().is_empty());
}

#[tokio::test]
async fn an_array_signed_whole_needs_no_second_proof() {
    let door = Door::open().await;
    let array = format!("[{EVENT},{{\"type\":\"track\",\"userId\":\"ada\"}}]");
    let reply = send(&door, "plain", &[("x-signature", &sign(&array).to_uppercase())], &array).await;
    assert_eq!((reply.status, reply.json()["rejected"][0]["code"].as_str()), (200, Some("missing_event_name")));
    assert_eq!((door.store.events().len(), door.store.rejects().len()), (1, 1));
    assert_eq!(send(&door, "plain", &[("x-signature", &sign("[]"))], "[]").await.text(), r#"{"success":true}"#);
}

#[tokio::test]
async fn a_signed_event_that_is_bad_is_refused_with_its_reason_and_kept() {
    let door = Door::with("max_event = \"1 KiB\"").await;
    let large = format!(r#"{{"type":"identify","userId":"u","traits":{{"x":"{}"}}}}"#, "x".repeat(2000));
    for (body, status, expected) in [
        ("{", 400, "malformed_json"),
        ("[{]", 400, "malformed_json"),
        ("7", 400, "not_an_object"),
        (r#"{"userId":"u"}"#, 400, "missing_type"),
        (&large, 413, "event_too_large"),
    ] {
        let reply = send(&door, "segment", &[("x-signature", &sign(body))], body).await;
        assert_eq!((reply.status, code(&reply).as_str()), (status, expected), "{body}");
    }
    assert_eq!((door.store.appends(), door.store.rejects().len()), (0, 5));
}

#[tokio::test]
async fn a_source_without_a_secret_takes_no_webhooks() {
    let door = Door::open().await;
    for source in ["website", "nobody", "segment/x"] {
        let reply = send(&door, source, &[("x-signature", &sign(EVENT))], EVENT).await;
        assert_eq!((reply.status, code(&reply).as_str()), (404, "no_webhook"), "{source}");
    }
}
