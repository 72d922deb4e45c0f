//! Browsers on other origins.

use serde_json::json;

use super::harness::{Door, KEY};

const SHOP: &str = "https://shop.example.com";

#[tokio::test]
async fn a_listed_origin_may_preflight_and_read_the_answer() {
    let door = Door::with(&format!("cors_origins = [\"{SHOP}\", \"https://other.example.com\"]")).await;
    let mut connection = door.connect().await;
    let asked = [("origin", SHOP), ("access-control-request-method", "POST"), ("access-control-request-headers", "content-type")];
    let reply = connection.send("OPTIONS", "/v1/t", &asked, "").await;
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (204, SHOP));
    assert_eq!(reply.header("access-control-allow-methods"), "POST");
    assert!(reply.header("access-control-allow-headers").contains("Content-Type"));
    assert_eq!(reply.header("vary"), "Origin");

    // As a beacon sends it: no preflight, plain text.
    let body = json!({"userId": "u", "event": "E", "writeKey": KEY}).to_string();
    let beacon = [("origin", "https://other.example.com"), ("content-type", "text/plain")];
    let reply = connection.send("POST", "/v1/t", &beacon, body).await;
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (200, "https://other.example.com"));
    // Errors can be read, too.
    let reply = connection.send("POST", "/v1/t", &beacon, "{").await;
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (400, "https://other.example.com"));
}

#[tokio::test]
async fn other_origins_get_no_headers_and_no_preflight() {
    let door = Door::with(&format!("cors_origins = [\"{SHOP}\"]")).await;
    let mut connection = door.connect().await;
    for headers in [&[("origin", "https://evil.example.com")][..], &[][..]] {
        let reply = connection.send("OPTIONS", "/v1/t", headers, "").await;
        assert_eq!((reply.status, reply.header("access-control-allow-origin")), (403, ""));
    }
    let body = json!({"userId": "u", "event": "E", "writeKey": KEY}).to_string();
    let reply = connection.send("POST", "/v1/t", &[("origin", "https://evil.example.com")], body).await;
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (200, ""), "the key is what counts");
    let reply = connection.send("OPTIONS", "/webhooks/segment", &[("origin", SHOP)], "").await;
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (405, ""));
}

#[tokio::test]
async fn a_star_lets_everybody() {
    let door = Door::with("cors_origins = [\"*\"]").await;
    let reply = door.connect().await.send("OPTIONS", "/v1/b", &[("origin", "null")], "").await;
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (204, "*"));
}
