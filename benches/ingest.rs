//! How fast events get in: what an event costs that no rule wants, and HTTP to durable against the store alone.
//!
//! Run with `cargo bench --bench ingest`. Floors are measured in the same run: parsing to `serde_json::Value`, and the store fed with
//! the same payloads without HTTP. Every event is durable before it is counted; bodies are made before the clock starts.

#![allow(clippy::print_stdout, reason = "a bench prints what it measured")]

use std::hint::black_box;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use pipewright::ingest::{Ingest, decode_event, serve};
use pipewright::rules::{BuildOptions, Live, ScriptSet, SetFiles};
use pipewright::script::Sources;
use pipewright::store::sqlite::{OpenOptions, SqliteStore};
use pipewright::store::{Dedupe, NewDelivery, NewEvent, Store};
use pipewright::telemetry::Metrics;
use serde_json::{Map, Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

const KEY: &str = "bench-key";
const CONNECTIONS: usize = 64;
const BATCH: usize = 100;
/// How long each throughput is measured.
const TIME: Duration = Duration::from_millis(1500);

fn main() {
    unwanted();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let store = store_alone().await;
        let single = over_http(1).await;
        let batched = over_http(BATCH).await;
        println!("single events over HTTP / store alone: {:.2} (at least 0.50)", single / store);
        println!("batches of {BATCH} / single events:          {:.2} (at least 3)", batched / single);
    });
}

/// About 1.5 KB, as a browser sends it.
fn identify(n: usize) -> Value {
    json!({
        "type": "identify", "messageId": format!("ajs-next-1770091506789-{n:012}"), "userId": format!("user-{}", n % 5000),
        "anonymousId": "5f1c6d0e-3f0b-4f4e-9f0a-2f7f0c6a9d11", "timestamp": "2026-02-03T04:05:06.789Z", "sentAt": "2026-02-03T04:05:07.000Z",
        "traits": {"email": "ada.lovelace@example.com", "firstName": "Ada", "lastName": "Lovelace", "plan": "Pro", "phone": "+44 20 7946 0000",
            "company": {"id": "acme", "name": "Acme Ltd", "employees": 120, "industry": "Software"}, "ltv": 1234.5, "age": 36,
            "createdAt": "2024-11-05T06:07:08.000Z", "interests": ["engines", "mathematics", "poetry"],
            "address": {"street": "12 St James's Square", "city": "London", "postalCode": "SW1Y 4JH", "country": "GB"}},
        "context": {"ip": "192.0.2.17", "locale": "en-GB", "timezone": "Europe/London", "library": {"name": "analytics.js", "version": "next-1.70.0"},
            "userAgent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36",
            "page": {"path": "/pricing", "referrer": "https://www.example.org/", "search": "?utm_source=newsletter&utm_medium=email", "title": "Pricing",
                "url": "https://www.example.com/pricing?utm_source=newsletter&utm_medium=email"},
            "campaign": {"source": "newsletter", "medium": "email", "name": "spring"}, "screen": {"width": 1920, "height": 1080, "density": 2}},
        "integrations": {"All": true}, "version": 2, "channel": "client"
    })
}

/// A set with these triggers.
fn set(triggers: &[String]) -> Arc<ScriptSet> {
    let dir = tempfile::tempdir().expect("a folder");
    for (name, secret) in [("key", KEY), ("token", "token")] {
        std::fs::write(dir.path().join(name), secret).expect("a file");
    }
    let mut rules =
        "[sources.web]\nwrite_keys = [\"file:key\"]\n[pipedrive.main]\ndomain = \"acme\"\napi_token = \"file:token\"\n"
            .to_owned();
    for (n, when) in triggers.iter().enumerate() {
        rules.push_str(&format!("[[rules]]\nname = \"r{n}\"\nscript = \"a.rhai\"\nwhen = '{when}'\n"));
    }
    let scripts = [("a.rhai".to_owned(), Arc::from("fn handle(event) {}"))].into();
    let files = SetFiles { rules_toml: rules.into(), sources: Sources { scripts, ..Sources::default() } };
    let built = ScriptSet::build(files, &BuildOptions { dir: dir.path().to_owned(), ..BuildOptions::default() });
    Arc::new(built.expect("a set").set)
}

/// Nanoseconds of one call; the best of several rounds, so that what else runs here does not count.
fn nanos(mut call: impl FnMut()) -> f64 {
    const CALLS: u32 = 5_000;
    let round = |call: &mut dyn FnMut()| {
        let started = Instant::now();
        (0..CALLS).for_each(|_| call());
        started.elapsed().as_nanos() as f64 / f64::from(CALLS)
    };
    (0..12).map(|_| round(&mut call)).fold(f64::INFINITY, f64::min)
}

/// An event that no rule wants, from bytes to the decision, with 200 rules that want others.
fn unwanted() {
    let triggers: Vec<String> = (0..200).map(|n| format!("type = \"track\" and event = \"Event {n}\"")).collect();
    let set = set(&triggers);
    let body = identify(1).to_string();
    let now = jiff::Timestamp::now();
    let floor = nanos(|| {
        black_box(serde_json::from_slice::<Value>(black_box(body.as_bytes())).expect("JSON"));
    });
    let ours = nanos(|| {
        let raw: Map<String, Value> = serde_json::from_slice(black_box(body.as_bytes())).expect("JSON");
        let event = decode_event("web", now, Value::Object(raw)).expect("an event");
        assert!(black_box(set.wanted(&event)).is_empty());
    });
    println!("{} bytes to serde_json::Value:           {floor:>8.0} ns", body.len());
    println!("the same to \"no rule wants it\":          {ours:>8.0} ns, {:.2} times (at most 1.3)", ours / floor);
}

fn open(dir: &Path) -> Arc<SqliteStore> {
    let (store, mut feed) = SqliteStore::open(OpenOptions { dir: dir.to_owned(), ..OpenOptions::default() }).expect("a store");
    // The lanes would read it.
    tokio::spawn(async move { while feed.recv().await.is_some() {} });
    Arc::new(store)
}

/// Runs `senders` until the time is over; events a second, and the sorted times of calls.
async fn measure<F, Fut>(what: &str, events_a_call: usize, senders: Vec<F>) -> f64
where
    F: FnMut() -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send,
{
    let started = Instant::now();
    let tasks: Vec<_> = senders
        .into_iter()
        .map(|mut send| {
            tokio::spawn(async move {
                let mut times = Vec::new();
                while started.elapsed() < TIME {
                    let sent = Instant::now();
                    send().await;
                    times.push(sent.elapsed());
                }
                times
            })
        })
        .collect();
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await.expect("a sender"));
    }
    let rate = (times.len() * events_a_call) as f64 / started.elapsed().as_secs_f64();
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!("{what:<40} {rate:>8.0} events/s   p50 {:>6.2} ms   p99 {:>6.2} ms", at(0.5), at(0.99));
    rate
}

/// The floor: as many senders, no HTTP, no parsing.
async fn store_alone() -> f64 {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path());
    let next = Arc::new(AtomicUsize::new(0));
    let senders = (0..CONNECTIONS)
        .map(|_| {
            let (store, next, template) = (store.clone(), next.clone(), identify(0).to_string());
            move || {
                let n = next.fetch_add(1, Ordering::Relaxed);
                let (store, event) = (store.clone(), row(text(&template, n), n));
                async move {
                    store.append(vec![event]).await.expect("stored");
                }
            }
        })
        .collect();
    measure("store alone, single events, 64 senders", 1, senders).await
}

/// What the door hands to the store.
fn row(payload: String, n: usize) -> NewEvent {
    let user = format!("user-{}", n % 5000);
    NewEvent {
        source: "web".to_owned(),
        message_id: format!("ajs-next-1770091506789-{n:012}"),
        kind: "identify",
        name: None,
        received_at: jiff::Timestamp::now(),
        payload: Bytes::from(payload),
        deliveries: vec![NewDelivery { rule: "r0".into(), account: "main".into(), key: format!("u:{user}"), after: Vec::new() }],
        user: Some(user),
        dedupe: Dedupe::Window,
        replay_of: None,
    }
}

/// An event's text. Cheaper than making each anew: senders share the machine with what is measured.
fn text(template: &str, n: usize) -> String {
    template.replacen("000000000000", &format!("{n:012}"), 1).replacen("user-0", &format!("user-{}", n % 5000), 1)
}

/// The whole way, `batch` events a request.
async fn over_http(batch: usize) -> f64 {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path());
    let live: Live = Arc::new(ArcSwap::new(set(&["type = \"identify\"".to_owned()])));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addr = listener.local_addr().expect("an address");
    let (_stopping, stopping) = watch::channel(false);
    let (shutdown, shutting_down) = watch::channel(false);
    let served = tokio::spawn(serve(listener, Ingest { store, live, metrics: Metrics::default(), stopping }, shutting_down));
    let next = Arc::new(AtomicUsize::new(0));
    let mut senders = Vec::new();
    for _ in 0..CONNECTIONS {
        senders.push(sender(addr, batch, next.clone()).await);
    }
    let what = if batch == 1 { "HTTP, single events".to_owned() } else { format!("HTTP, batches of {batch}") };
    let rate = measure(&format!("{what}, 64 connections"), batch, senders).await;
    shutdown.send_replace(true);
    served.await.expect("served");
    rate
}

/// One keep-alive connection.
async fn sender(
    addr: SocketAddr,
    batch: usize,
    next: Arc<AtomicUsize>,
) -> impl FnMut() -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> + Send + 'static {
    let stream = tokio::net::TcpStream::connect(addr).await.expect("a connection");
    stream.set_nodelay(true).expect("no delay");
    let (client, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("a handshake");
    tokio::spawn(connection);
    let client = Arc::new(tokio::sync::Mutex::new(client));
    let template = identify(0).to_string();
    move || {
        let first = next.fetch_add(batch, Ordering::Relaxed);
        let event = |n: usize| text(&template, n);
        let (path, body) = match batch {
            1 => ("/v1/identify", event(first)),
            _ => ("/v1/batch", format!("{{\"batch\":[{}]}}", (first..first + batch).map(event).collect::<Vec<_>>().join(","))),
        };
        let client = client.clone();
        Box::pin(async move {
            let request = http::Request::post(path)
                .header("host", "localhost")
                .header("authorization", "Basic YmVuY2gta2V5Og==")
                .body(Full::new(Bytes::from(body)))
                .expect("a request");
            let mut client = client.lock().await;
            client.ready().await.expect("ready");
            let answer = client.send_request(request).await.expect("an answer");
            assert_eq!(answer.status(), 200);
            answer.into_body().collect().await.expect("a body");
        })
    }
}
