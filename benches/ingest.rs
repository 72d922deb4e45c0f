//! How fast events get in: what an event costs that no rule wants, and HTTP to durable against the store alone.
//!
//! Run with `cargo bench --bench ingest`. Floors are measured in the same run: parsing to `serde_json::Value`, the store fed with
//! the same payloads without HTTP, and a bare hyper server that reads the same requests and answers them without looking. Every event is durable before it is counted; requests are made before the clock starts.

#![allow(clippy::print_stdout, reason = "a bench prints what it measured")]

#[path = "support/cpu.rs"]
mod cpu;
#[path = "support/keepalive.rs"]
mod keepalive;
#[path = "support/load.rs"]
mod load;

use std::hint::black_box;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use pipewright::crm::Accounts;
use pipewright::ingest::{Ingest, decode_text, serve};
use pipewright::rules::{BuildOptions, Live, ScriptSet, SetFiles};
use pipewright::script::Sources;
use pipewright::store::sqlite::{Observer, OpenOptions, SqliteStore};
use pipewright::store::{Dedupe, NewDelivery, NewEvent, Store};
use pipewright::telemetry::Metrics;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

use self::keepalive::{Connection, NUMBER, Template, USER};
use self::load::closed_loop;

const KEY: &str = "bench-key";
const CONNECTIONS: usize = 64;
const BATCH: usize = 100;
/// How long each throughput is measured.
const TIME: Duration = Duration::from_millis(1000);
/// How long each runs before that: a store that was just made still fills its page cache.
const WARM_UP: Duration = Duration::from_millis(500);
/// How often each is measured, by turns.
const ROUNDS: usize = 7;

// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Server and load generator have threads of their own, so that what each spends can be told apart.
fn main() {
    unwanted();
    let server = tokio::runtime::Builder::new_multi_thread().thread_name("server").enable_all().build().expect("a runtime");
    let load = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("load")
        .enable_all()
        .build()
        .expect("a runtime");
    println!("{CONNECTIONS} senders in a closed loop; medians of {ROUNDS} rounds, in each of which all of them run for {TIME:?}");
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let store = server.block_on(store_alone());
        let single = over_http(&server, &load, 1);
        let batched = over_http(&server, &load, BATCH);
        rounds.push([store, hyper_alone(&server, &load), single, batched]);
    }
    println!("{:<24}{:>9}{:>9}{:>9}{:>9}   CPU µs/event: server, store, load", "", "events/s", "p50 ms", "p99 ms", "/commit");
    for (n, name) in
        ["store alone, singles", "hyper alone, singles", "HTTP, singles", "HTTP, batches of 100"].into_iter().enumerate()
    {
        let middle = |figure: fn(&Row) -> f64| median(rounds.iter().map(|round| figure(&round[n])));
        println!(
            "{name:<24}{:>9.0}{:>9.2}{:>9.2}{:>9.0}   {:>6.1}{:>6.1}{:>6.1}",
            middle(|row| row.rate),
            middle(|row| row.p50),
            middle(|row| row.p99),
            middle(|row| row.group),
            middle(|row| row.cpu[0]),
            middle(|row| row.cpu[1]),
            middle(|row| row.cpu[2])
        );
    }
    let ratio = |over: usize, under: usize| rounds.iter().map(move |round| round[over].rate / round[under].rate);
    verdict("HTTP singles / store alone", ratio(2, 0), 0.5);
    verdict("HTTP batches / HTTP singles", ratio(3, 2), 3.0);
}

/// Says whether a ratio of each round reaches its goal in the middle of them.
fn verdict(what: &str, ratios: impl Iterator<Item = f64> + Clone, goal: f64) {
    let middle = median(ratios.clone());
    let (low, high) = ratios.fold((f64::INFINITY, 0.0_f64), |(low, high), r| (low.min(r), high.max(r)));
    let holds = if middle >= goal { "holds" } else { "DOES NOT HOLD" };
    println!("{what:<28} {middle:>5.2} ({low:.2} to {high:.2}), goal at least {goal:.2}: {holds}");
}

fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_unstable_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// About 1.5 KB, as a browser sends it.
fn identify() -> Value {
    json!({
        "type": "identify", "messageId": format!("ajs-next-1770091506789-{NUMBER}"), "userId": format!("user-{USER}"),
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
    let files = SetFiles { rules_toml: rules.into(), sources: Sources { scripts, ..Sources::default() }, ..SetFiles::default() };
    let built = ScriptSet::build(files, &BuildOptions { dir: dir.path().to_owned(), ..BuildOptions::default() });
    Arc::new(built.expect("a set").set)
}

/// Nanoseconds of one call of each; the best of several rounds by turns, so that what else runs here does not count.
fn nanos<const N: usize>(mut calls: [Box<dyn FnMut() + '_>; N]) -> [f64; N] {
    const CALLS: u32 = 3_000;
    let mut best = [f64::INFINITY; N];
    for _ in 0..30 {
        for (best, call) in best.iter_mut().zip(&mut calls) {
            let started = Instant::now();
            (0..CALLS).for_each(|_| call());
            *best = best.min(started.elapsed().as_nanos() as f64 / f64::from(CALLS));
        }
    }
    best
}

/// An event that no rule wants, from bytes to the decision, with few and with many rules that want others.
fn unwanted() {
    let body = identify().to_string();
    let (text, now) = (Bytes::from(body.clone()), jiff::Timestamp::now());
    let with = |rules: usize| {
        let triggers: Vec<String> = (0..rules).map(|n| format!("type = \"track\" and event = \"Event {n}\"")).collect();
        let (set, text) = (set(&triggers), text.clone());
        move || {
            let event = decode_text("web", now, black_box(&text)).expect("an event");
            assert!(black_box(set.wanted(&event)).is_empty());
        }
    };
    let parse = || drop(black_box(serde_json::from_slice::<Value>(black_box(body.as_bytes())).expect("JSON")));
    let [floor, few, many] = nanos([Box::new(parse), Box::new(with(10)), Box::new(with(1_000))]);
    println!("{} bytes to serde_json::Value:              {floor:>8.0} ns", body.len());
    for (rules, ours) in [(10, few), (1_000, many)] {
        println!("to \"none of {rules:>4} rules wants it\":        {ours:>8.0} ns, {:.2} times (at most 1.3)", ours / floor);
    }
}

/// A store, and its commits so far.
fn open(dir: &Path) -> (Arc<SqliteStore>, Arc<AtomicUsize>) {
    let commits = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&commits);
    let observer: Observer = Arc::new(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
    });
    let options = OpenOptions { dir: dir.to_owned(), observer: Some(observer), ..OpenOptions::default() };
    let (store, mut feed) = SqliteStore::open(options).expect("a store");
    // The lanes would read it.
    tokio::spawn(async move { while feed.recv().await.is_some() {} });
    (Arc::new(store), commits)
}

/// What one measurement gave.
struct Row {
    /// Events a second.
    rate: f64,
    /// Milliseconds from a call to its answer.
    p50: f64,
    p99: f64,
    /// Events a commit.
    group: f64,
    /// Microseconds an event: server (with the producers of the store alone), store, load generator.
    cpu: [f64; 3],
}

/// Runs `call` on 64 senders until the time is over.
async fn measure<F, C>(commits: Arc<AtomicUsize>, call: C) -> Row
where
    C: Fn(usize) -> F + Send + Sync + 'static,
    F: Future<Output = u64> + Send,
{
    let call = Arc::new(call);
    let run = |time| {
        let call = Arc::clone(&call);
        closed_loop(CONNECTIONS, time, move |sender, _| call(sender))
    };
    run(WARM_UP).await;
    let (before, committed) = (cpu::by_thread(), commits.load(Ordering::Relaxed));
    let measured = run(TIME).await;
    let (after, committed) = (cpu::by_thread(), commits.load(Ordering::Relaxed) - committed);
    let ms = |q| measured.quantile(q).as_secs_f64() * 1e3;
    let cpu = ["server", "store", "load"].map(|name| cpu::micros(&before, &after, name) / measured.events as f64);
    let group = if committed == 0 { 0.0 } else { measured.events as f64 / committed as f64 };
    Row { rate: measured.rate(), p50: ms(0.5), p99: ms(0.99), group, cpu }
}

/// The floor: as many senders, no HTTP, no parsing.
async fn store_alone() -> Row {
    let dir = tempfile::tempdir().expect("a folder");
    let (store, commits) = open(dir.path());
    let next = Arc::new(AtomicUsize::new(0));
    let template = Template::new(identify().to_string());
    let row = measure(commits, {
        let store = Arc::clone(&store);
        move |_| {
            let n = next.fetch_add(1, Ordering::Relaxed);
            let (store, event) = (Arc::clone(&store), row(Bytes::copy_from_slice(template.clone().fill(n)), n));
            async move { store.append(vec![event]).await.expect("stored").len() as u64 }
        }
    })
    .await;
    store.close().await;
    row
}

/// What the door hands to the store.
fn row(payload: Bytes, n: usize) -> NewEvent {
    let user = format!("user-{:04}", n % 5000);
    NewEvent {
        source: "web".to_owned(),
        message_id: format!("ajs-next-1770091506789-{n:012}"),
        kind: "identify",
        name: None,
        received_at: jiff::Timestamp::now(),
        payload,
        deliveries: vec![NewDelivery {
            rule: "r0".into(),
            account: "main".into(),
            key: format!("u:{user}"),
            after: Vec::new(),
            behind: Vec::new(),
        }],
        user: Some(user),
        dedupe: Dedupe::Window,
        repeats: None,
        kept: true,
        alias: None,
        forget: false,
    }
}

/// The whole way, `batch` events a request.
fn over_http(server: &Runtime, load: &Runtime, batch: usize) -> Row {
    let dir = tempfile::tempdir().expect("a folder");
    let (shutdown, shutting_down) = watch::channel(false);
    let (_stopping, stopping) = watch::channel(false);
    let (store, commits, addr, served) = server.block_on(async {
        let (store, commits) = open(dir.path());
        let live: Live = Arc::new(ArcSwap::new(set(&["type = \"identify\"".to_owned()])));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("an address");
        let ingest =
            Ingest { store: Arc::clone(&store) as _, live, accounts: Accounts::default(), metrics: Metrics::default(), stopping };
        (store, commits, addr, tokio::spawn(serve(listener, ingest, shutting_down)))
    });
    let row = drive(load, addr, batch, commits);
    shutdown.send_replace(true);
    server.block_on(async {
        served.await.expect("served");
        store.close().await;
    });
    row
}

/// The floor: the same requests, read and answered by hyper alone.
fn hyper_alone(server: &Runtime, load: &Runtime) -> Row {
    let (addr, served) = server.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("an address");
        let accept = async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                stream.set_nodelay(true).expect("no delay");
                let answer = |request: http::Request<Incoming>| async {
                    request.into_body().collect().await?;
                    let body = Full::new(Bytes::from_static(br#"{"success":true}"#));
                    Ok::<_, hyper::Error>(http::Response::new(body))
                };
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)));
            }
        };
        (addr, tokio::spawn(accept))
    });
    let row = drive(load, addr, 1, Arc::default());
    served.abort();
    row
}

/// Sends events to an address, `batch` a request.
fn drive(load: &Runtime, addr: SocketAddr, batch: usize, commits: Arc<AtomicUsize>) -> Row {
    let template = Template::new(request(batch));
    let measured = load.block_on(load.spawn(async move {
        let mut senders = Vec::new();
        for _ in 0..CONNECTIONS {
            senders.push(Mutex::new((Connection::open(addr).await, template.clone())));
        }
        let (senders, next) = (Arc::new(senders), Arc::new(AtomicUsize::new(0)));
        measure(commits, move |sender| {
            let (senders, next) = (Arc::clone(&senders), Arc::clone(&next));
            async move {
                let mut sender = senders[sender].lock().await;
                let (connection, template) = &mut *sender;
                let events = template.events();
                connection.send(template.fill(next.fetch_add(events, Ordering::Relaxed))).await;
                events as u64
            }
        })
        .await
    }));
    measured.expect("the load generator ends well")
}

/// The text of a request with so many events.
fn request(batch: usize) -> String {
    let event = identify().to_string();
    let (path, body) = match batch {
        1 => ("identify", event),
        _ => ("batch", format!("{{\"batch\":[{}]}}", vec![event; batch].join(","))),
    };
    let length = body.len();
    format!(
        "POST /v1/{path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nauthorization: Basic YmVuY2gta2V5Og==\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
}
