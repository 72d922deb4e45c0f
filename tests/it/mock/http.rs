//! The mock over real sockets: the token, JSON, the pages for people, and faults as a client meets them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pipewright::mock::{Fault, FaultMatch, Hold, Mock, MockOptions, serve};
use pipewright::pipedrive::{Body, Method, Request, Transport, TransportError};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::{done, plain};
use crate::support::{hardened, request};

struct Server {
    mock: Arc<Mock>,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

async fn start(mock: Arc<Mock>) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (stop, stopped) = watch::channel(false);
    let task = tokio::spawn(serve(listener, Arc::clone(&mock), stopped));
    Server { mock, address, stop, task }
}

/// What came back over the socket until it was closed.
struct Raw {
    status: u16,
    head: String,
    body: String,
}

impl Raw {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }
}

/// Sends bytes; `None` when the connection ends without an answer.
async fn raw(address: SocketAddr, text: &str) -> Option<Raw> {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(text.as_bytes()).await.expect("sent");
    let mut bytes = Vec::new();
    // A reset is an end without an answer as well.
    let _read = stream.read_to_end(&mut bytes).await;
    let text = String::from_utf8(bytes).expect("text");
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Raw { status, head: head.to_lowercase(), body: body.to_owned() })
}

async fn ask(address: SocketAddr, method: &str, path: &str, headers: &str, body: &str) -> Option<Raw> {
    let length = body.len();
    let text = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
    );
    raw(address, &text).await
}

const TOKEN: &str = "x-api-token: mock\r\n";
const JSON: &str = "x-api-token: mock\r\ncontent-type: application/json\r\n";

#[tokio::test]
async fn the_token_goes_in_its_header_only() {
    let server = start(plain()).await;
    for (path, headers) in [
        ("/api/v2/persons", ""),
        ("/api/v2/persons", "x-api-token: wrong\r\n"),
        ("/api/v2/persons?api_token=mock", ""),
        ("/api/v2/persons", "authorization: Bearer mock\r\n"),
    ] {
        let answer = ask(server.address, "GET", path, headers, "").await.expect("an answer");
        assert_eq!(answer.status, 401, "{path}");
        assert_eq!(answer.json(), json!({ "success": false, "error": "unauthorized access", "errorCode": 401 }));
    }
    assert_eq!(server.mock.tokens_spent(), 0);
    let answer = ask(server.address, "GET", "/api/v2/persons/1", TOKEN, "").await.expect("an answer");
    assert_eq!((answer.status, &answer.json()["data"]["name"]), (200, &json!("Hank Scorpio")));
}

#[tokio::test]
async fn bodies_and_queries_arrive_as_they_were_sent() {
    let server = start(Mock::new(MockOptions { search_lag: Duration::ZERO, ..MockOptions::default() })).await;
    let body = json!({ "name": "Zoë & Co", "emails": [{ "value": "zoe+1@x.example" }] }).to_string();
    let made = ask(server.address, "POST", "/api/v2/persons", JSON, &body).await.expect("an answer");
    assert_eq!(made.status, 200);
    assert!(made.head.contains("x-ratelimit-remaining: 99"), "{}", made.head);
    let path = "/api/v2/persons/search?term=zoe%2B1%40x.example&fields=email&exact_match=true";
    let found = ask(server.address, "GET", path, TOKEN, "").await.expect("an answer").json();
    assert_eq!(found["data"]["items"][0]["item"]["name"], "Zoë & Co");
    for (headers, body) in [(JSON, "{\"name\":"), (TOKEN, "{\"name\":\"A\"}"), (JSON, "name=A")] {
        let refused = ask(server.address, "POST", "/api/v2/persons", headers, body).await.expect("an answer");
        assert_eq!(refused.status, 400);
    }
}

#[tokio::test]
async fn one_connection_carries_many_requests() {
    let server = start(plain()).await;
    let mut stream = TcpStream::connect(server.address).await.expect("a connection");
    for id in 1..=3 {
        let text = format!("GET /api/v2/persons/{id} HTTP/1.1\r\nhost: m\r\n{TOKEN}\r\n");
        stream.write_all(text.as_bytes()).await.expect("sent");
        let mut buffer = vec![0; 16 * 1024];
        let n = stream.read(&mut buffer).await.expect("read");
        assert!(buffer[..n].starts_with(b"HTTP/1.1 200"));
    }
}

#[tokio::test]
async fn people_see_the_account_without_a_token() {
    let server = start(plain()).await;
    let evil = json!({ "name": "<script>alert(1)</script>" });
    done(&server.mock, Method::Post, "/api/v2/persons", evil).await;
    let page = ask(server.address, "GET", "/", "", "").await.expect("a page");
    assert!(page.head.contains("text/html") && page.body.contains("Hank Scorpio") && page.body.contains("Plan: Enterprise"));
    assert!(page.body.contains("&lt;script&gt;") && !page.body.contains("<script>"));
    let persons = ask(server.address, "GET", "/mock/persons", "", "").await.expect("an answer").json();
    assert_eq!(persons.as_array().map(Vec::len), Some(7));
    let log = ask(server.address, "GET", "/mock/log", "", "").await.expect("an answer").json();
    assert_eq!((&log[0]["method"], &log[0]["path"]), (&json!("POST"), &json!("/api/v2/persons")));
    let state = ask(server.address, "GET", "/mock/state", "", "").await.expect("an answer").json();
    assert_eq!((&state["records"]["persons"], &state["tokens"]["spent"]), (&json!(7), &json!(5)));
    assert_eq!(ask(server.address, "POST", "/mock/state", "", "").await.expect("an answer").status, 405);
    assert_eq!(ask(server.address, "GET", "/mock/nothing", "", "").await.expect("an answer").status, 404);
}

#[tokio::test]
async fn web_pages_whose_name_leads_here_see_nothing() {
    let server = start(plain()).await;
    for path in ["/", "/mock/log", "/mock/persons", "/mock/state"] {
        for (host, status) in
            [("evil.example:9090", 421), ("localhost.evil.example", 421), ("localhost:9090", 200), ("127.0.0.1", 200)]
        {
            let reply = request(server.address, "GET", path, &[("host", host)], "").await;
            assert_eq!(reply.status, status, "{path} as {host}");
            assert!(status == 200 || !reply.text().contains("Hank"), "{}", reply.text());
        }
    }
}

#[tokio::test]
async fn every_answer_carries_the_security_headers_and_pages_run_no_script() {
    let server = start(plain()).await;
    for (method, path, status) in
        [("GET", "/", 200), ("GET", "/mock/log", 200), ("GET", "/mock/nothing", 404), ("POST", "/", 405)]
    {
        let reply = request(server.address, method, path, &[], "").await;
        assert_eq!(reply.status, status, "{method} {path}");
        hardened(&reply.headers, "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'");
    }
    for (method, path, token, status) in [
        ("GET", "/api/v2/persons", "mock", 200),
        ("GET", "/api/v2/persons", "wrong", 401),
        ("GET", "/nothing", "mock", 404),
        ("OPTIONS", "/api/v2/persons", "mock", 405),
    ] {
        let reply = request(server.address, method, path, &[("x-api-token", token)], "").await;
        assert_eq!(reply.status, status, "{method} {path}");
        hardened(&reply.headers, "default-src 'none'; frame-ancestors 'none'");
    }
}

#[tokio::test]
async fn faults_are_real_over_http() {
    let server = start(plain()).await;
    let post = || ask(server.address, "POST", "/api/v2/persons", JSON, "{\"name\":\"A\"}");
    let mut expected = server.mock.count("persons");

    server.mock.fail_next(Fault::Cut { committed: false });
    assert!(post().await.is_none(), "no answer");
    assert_eq!(server.mock.count("persons"), expected);

    server.mock.fail_next(Fault::Cut { committed: true });
    assert!(post().await.is_none(), "no answer, but done");
    expected += 1;
    assert_eq!(server.mock.count("persons"), expected);

    server.mock.fail_next(Fault::Truncated);
    let half = post().await.expect("an answer");
    expected += 1;
    assert_eq!((half.status, server.mock.count("persons")), (200, expected));
    assert!(serde_json::from_str::<Value>(&half.body).is_err());

    server.mock.fail_next(Fault::Firewall);
    let page = post().await.expect("an answer");
    assert_eq!(page.status, 403);
    assert!(page.head.contains("text/html"));

    server.mock.fail_next(Fault::TooMany { remaining: 7, reset: 1, retry_after: Some(30) });
    let many = post().await.expect("an answer");
    assert_eq!(many.status, 429);
    assert!(many.head.contains("x-ratelimit-remaining: 7") && many.head.contains("retry-after: 30"), "{}", many.head);
    assert_eq!(server.mock.count("persons"), expected);
    assert_eq!(post().await.expect("an answer").status, 200, "faults are used up");
}

#[tokio::test]
async fn a_hanging_answer_ends_with_the_mock() {
    let server = start(plain()).await;
    let hold = Hold::new();
    server.mock.fail_matching(FaultMatch::next(Method::Get, "/persons"), Fault::Hold(hold.clone()));
    server.mock.fail_matching(FaultMatch::next(Method::Get, "/deals"), Fault::Hang { committed: true });
    let (held, hung) = (
        tokio::spawn(async move { ask(server.address, "GET", "/api/v2/persons/1", TOKEN, "").await.map(|r| r.status) }),
        tokio::spawn(async move { ask(server.address, "GET", "/api/v2/deals/1", TOKEN, "").await.map(|r| r.status) }),
    );
    hold.reached().await;
    assert!(!held.is_finished());
    hold.release();
    assert_eq!(held.await.expect("no panic"), Some(200));
    assert!(!hung.is_finished());
    server.stop.send(true).expect("the mock listens");
    server.task.await.expect("no panic");
    assert_eq!(hung.await.expect("no panic"), None);
}

#[tokio::test]
async fn faults_in_process_are_the_transports_errors() {
    let mock = plain();
    let post = Request::new(Method::Post, "/api/v2/persons").body(json!({ "name": "A" }));
    let before = mock.count("persons");

    mock.fail_next(Fault::NoConnection);
    assert!(matches!(mock.send(&post).await, Err(TransportError::Connect { .. })));
    mock.fail_next(Fault::Hang { committed: false });
    assert!(matches!(mock.send(&post).await, Err(TransportError::Timeout(_))));
    mock.fail_next(Fault::Cut { committed: false });
    assert!(matches!(mock.send(&post).await, Err(TransportError::Cut(_))));
    assert_eq!(mock.count("persons"), before);
    assert!(mock.writes().is_empty(), "none was carried out");

    mock.fail_next(Fault::Hang { committed: true });
    assert!(matches!(mock.send(&post).await, Err(TransportError::Timeout(_))));
    mock.fail_next(Fault::FailedAfter { status: 502 });
    assert_eq!(mock.send(&post).await.expect("an answer").status, 502);
    mock.fail_next(Fault::WrongJson(json!([])));
    assert_eq!(mock.send(&post).await.expect("an answer").body, Body::Json(json!([])));
    mock.fail_next(Fault::Truncated);
    assert!(matches!(mock.send(&post).await.expect("an answer").body, Body::Other(text) if text.starts_with('{')));
    assert_eq!(mock.count("persons"), before + 4);
    assert_eq!(mock.writes().len(), 4);

    let which = FaultMatch { method: Some(Method::Post), path: Some("/persons".to_owned()), skip: 1, times: 2, between: 0 };
    mock.fail_matching(which, Fault::Status { status: 503, body: json!({ "success": false }) });
    let mut statuses = Vec::new();
    for _ in 0..4 {
        assert_eq!(mock.send(&Request::get("/api/v2/deals/1")).await.expect("an answer").status, 200);
        statuses.push(mock.send(&post).await.expect("an answer").status);
    }
    assert_eq!(statuses, [200, 503, 503, 200]);
}

#[tokio::test(start_paused = true)]
async fn latency_and_the_clock_follow_tokios_time() {
    let mock = Mock::new(MockOptions { latency: Duration::from_millis(250), burst: 1, ..MockOptions::default() });
    let start = tokio::time::Instant::now();
    assert_eq!(mock.send(&Request::get("/api/v2/persons/1")).await.expect("an answer").status, 200);
    assert_eq!(start.elapsed(), Duration::from_millis(250));
    assert_eq!(mock.send(&Request::get("/api/v2/persons/1")).await.expect("an answer").status, 429);
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(mock.send(&Request::get("/api/v2/persons/1")).await.expect("an answer").status, 200);
}

#[tokio::test]
async fn a_second_run_gives_the_same_account() {
    let (first, second) = (plain(), plain());
    for kind in ["persons", "organizations", "deals", "leads", "activities", "notes"] {
        assert_eq!(first.entities(kind), second.entities(kind), "{kind}");
        assert!(!first.entities(kind).is_empty());
    }
    let key = first.custom_key("persons", "Segment User ID").expect("the field");
    assert!(key.len() == 40 && key.bytes().all(|b| b.is_ascii_hexdigit()));
    assert_eq!(first.find("persons", "Segment User ID", &json!("u-1001"))[0]["name"], "Hank Scorpio");
    assert_eq!(first.find("persons", "emails", &json!("hank@globex.example"))[0]["id"], 1);
}

#[tokio::test]
async fn another_user_can_edit_beside_the_log() {
    let mock = plain();
    let body = json!({ "name": "Edited" }).as_object().expect("an object").clone();
    assert_eq!(mock.edit("persons", 1, body).status, 200);
    assert_eq!(mock.entity("persons", 1).expect("the person")["name"], "Edited");
    assert_eq!((mock.requests(), mock.tokens_spent(), mock.log().len()), (0, 0, 0));
}
