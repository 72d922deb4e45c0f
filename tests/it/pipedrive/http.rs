//! The transport over real sockets: where the token goes, and what broken answers become.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use pipewright::config::Secret;
use pipewright::failure::FailureClass;
use pipewright::pipedrive::{
    Body, Client, ClientOptions, HttpTransport, Id, Kind, MAX_BODY, Purpose, Request, Trace, Transport, TransportError,
};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Logs, loopback};

const TOKEN: &str = "0123456789abcdef-token";

/// A server that answers each request on each connection with these bytes, and then closes when told to.
struct Raw {
    base: String,
    requests: Arc<Mutex<Vec<String>>>,
    connections: Arc<Mutex<usize>>,
}

async fn serve(answer: impl Into<Vec<u8>>, close: bool) -> Raw {
    let (listener, addr) = loopback().await;
    let answer = answer.into();
    let requests = Arc::new(Mutex::new(Vec::new()));
    let connections = Arc::new(Mutex::new(0));
    let (seen, count) = (Arc::clone(&requests), Arc::clone(&connections));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            *count.lock() += 1;
            let (answer, seen) = (answer.clone(), Arc::clone(&seen));
            tokio::spawn(async move {
                let mut stream = stream;
                while let Some(request) = read_request(&mut stream).await {
                    seen.lock().push(request);
                    if stream.write_all(&answer).await.is_err() || close {
                        break;
                    }
                }
            });
        }
    });
    Raw { base: format!("http://{addr}"), requests, connections }
}

/// Head and body of one request.
async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let n = stream.read(&mut buffer).await.ok().filter(|n| *n > 0)?;
        bytes.extend_from_slice(&buffer[..n]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
        if body.len() >= length.unwrap_or(0) {
            return Some(text);
        }
    }
}

fn reply(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
}

fn transport(base: &str) -> HttpTransport {
    HttpTransport::new(base, &Secret::new(TOKEN), Duration::from_secs(5)).expect("a transport")
}

#[tokio::test]
async fn the_token_is_in_its_header_and_nowhere_else() {
    let logs = Logs::capture();
    let server = serve(
        reply(
            "200 OK",
            "content-type: application/json\r\nx-ratelimit-limit: 33\r\nset-cookie: a=b\r\n",
            "{\"success\":true,\"data\":{\"id\":7}}",
        ),
        false,
    )
    .await;
    let transport = Arc::new(transport(&server.base));
    let request =
        Request::new(pipewright::pipedrive::Method::Post, "/api/v2/persons").query("x", "a b").body(json!({"name": "Ada"}));
    let answer = transport.send(&request).await.expect("an answer");
    assert_eq!(answer.header("x-ratelimit-limit"), Some("33"));
    assert_eq!(answer.header("set-cookie"), None);
    assert_eq!(answer.body, Body::Json(json!({"success": true, "data": {"id": 7}})));

    let seen = server.requests.lock()[0].clone();
    assert!(seen.starts_with("POST /api/v2/persons?x=a%20b HTTP/1.1\r\n"), "{seen}");
    assert!(seen.ends_with("{\"name\":\"Ada\"}"), "{seen}");
    assert_eq!(seen.matches(TOKEN).count(), 1);
    assert!(seen.lines().any(|line| line == format!("x-api-token: {TOKEN}")), "{seen}");

    let client = Client::new(Arc::<HttpTransport>::clone(&transport), ClientOptions::default());
    let session = client.session(Trace::default());
    session.get(Kind::Person, &Id::Number(7), Purpose::Lookup).await.expect("an answer");
    let printed = format!("{transport:?} {client:?} {session:?} {:?}", session.trace().exchanges());
    assert!(!printed.contains(TOKEN), "{printed}");
    assert!(!logs.text().contains(TOKEN));
}

#[tokio::test]
async fn connections_are_kept() {
    let server = serve(reply("200 OK", "", "{\"success\":true,\"data\":{\"id\":7}}"), false).await;
    let transport = transport(&server.base);
    for _ in 0..5 {
        transport.send(&Request::get("/api/v2/persons/7")).await.expect("an answer");
    }
    assert_eq!(*server.connections.lock(), 1);
}

#[tokio::test]
async fn no_redirect_is_followed() {
    let other = serve(reply("200 OK", "", "{\"success\":true,\"data\":{\"id\":7}}"), false).await;
    for status in ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"] {
        let server = serve(reply(status, &format!("location: {}/api/v2/persons/7\r\n", other.base), ""), false).await;
        let client = Client::new(Arc::new(transport(&server.base)), ClientOptions::default());
        let error = client.session(Trace::default()).get(Kind::Person, &Id::Number(7), Purpose::Lookup).await.expect_err(status);
        assert_eq!(error.class(), FailureClass::Misconfigured, "{error}");
        assert_eq!(server.requests.lock().len(), 1);
    }
    assert!(other.requests.lock().is_empty(), "the token went elsewhere");
}

#[tokio::test]
async fn an_answer_that_is_no_json_is_kept_as_text_up_to_a_bound() {
    let page = format!("<html>{}</html>", "x".repeat(10_000));
    let server = serve(reply("403 Forbidden", "content-type: text/html\r\n", &page), false).await;
    let answer = transport(&server.base).send(&Request::get("/api/v2/persons/7")).await.expect("an answer");
    match answer.body {
        Body::Other(text) => assert!(text.starts_with("<html>") && text.len() <= 2048),
        other @ Body::Json(_) => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn json_that_ends_early_is_told_from_a_cut_connection() {
    let ends_early = serve(reply("200 OK", "", "{\"success\":true,\"da"), false).await;
    let answer = transport(&ends_early.base).send(&Request::get("/api/v2/persons/7")).await.expect("an answer");
    assert!(matches!(answer.body, Body::Other(_)));

    let cut = serve("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"success\":true,", true).await;
    let error = transport(&cut.base).send(&Request::get("/api/v2/persons/7")).await.expect_err("a cut");
    assert!(matches!(error, TransportError::Cut(_)), "{error:?}");
    assert_eq!(error.class(true), FailureClass::UnknownOutcome);

    // A refusal is one by its status alone; "not there" must be said in full.
    let refusal = serve("HTTP/1.1 401 Unauthorized\r\ncontent-length: 100\r\n\r\n{\"succ", true).await;
    let answer = transport(&refusal.base).send(&Request::get("/api/v2/persons/7")).await.expect("an answer");
    assert_eq!(answer.status, 401);
    let absent = serve("HTTP/1.1 404 Not Found\r\ncontent-length: 100\r\n\r\n{\"succ", true).await;
    assert!(transport(&absent.base).send(&Request::get("/api/v2/persons/7")).await.is_err());
}

#[tokio::test]
async fn a_connection_that_cannot_be_made_has_sent_nothing() {
    let (listener, addr) = loopback().await;
    drop(listener);
    let error =
        transport(&format!("http://{addr}")).send(&Request::get("/api/v2/persons/search").query("term", "ada@acme.com")).await;
    let error = error.expect_err("nobody listens");
    assert!(matches!(&error, TransportError::Connect { host, .. } if *host == addr.to_string()), "{error:?}");
    assert_eq!(error.class(true), FailureClass::Transient);
    assert!(!error.to_string().contains("ada"), "{error}");
}

#[tokio::test]
async fn a_server_that_says_nothing_times_out() {
    let (listener, addr) = loopback().await;
    let transport =
        HttpTransport::new(&format!("http://{addr}"), &Secret::new(TOKEN), Duration::from_millis(100)).expect("a transport");
    let error = transport.send(&Request::get("/api/v2/persons/7")).await.expect_err("silence");
    assert!(matches!(error, TransportError::Timeout(_)), "{error:?}");
    drop(listener);
}

#[tokio::test]
async fn an_endless_answer_is_not_read_to_its_end() {
    let mut answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    let chunk = vec![b' '; 1024 * 1024];
    for _ in 0..=(MAX_BODY / chunk.len()) {
        answer.extend_from_slice(b"100000\r\n");
        answer.extend_from_slice(&chunk);
        answer.extend_from_slice(b"\r\n");
    }
    let server = serve(answer, false).await;
    let answer = transport(&server.base).send(&Request::get("/api/v2/persons")).await.expect("an answer");
    assert!(matches!(answer.body, Body::Other(text) if text.contains("more than")));
}
