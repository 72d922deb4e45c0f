//! Many more events, or clients, than the program can take: it says so in time, goes on by itself, and loses nothing that it took.
//!
//! `PIPEWRIGHT_FLOOD_SECONDS` lets the flood last (docs/reliability.md).

#![expect(clippy::print_stdout, reason = "what was seen is counted when it is asked for")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::harness::{Daemon, Folder, KEY};
use crate::support::{Connection, Raw, get, wait_or, wait_until};

/// Senders at once, and what each sends again and again: together more than may wait for the store.
const SENDERS: usize = 64;
const BATCH: usize = 500;

/// Memory that the program may take at most: what waits has bounds, and what is accepted costs some hundred bytes until it is delivered.
const MOST_MEMORY: u64 = 1 << 30;

#[derive(Default)]
struct Seen {
    taken: AtomicU64,
    refused: AtomicU64,
    enough: AtomicBool,
}

/// A sender without manners: it sends again at once whatever it is told.
async fn flood(to: SocketAddr, sender: usize, seen: Arc<Seen>) {
    let mut connection = Connection::open(to).await;
    for round in 0.. {
        if seen.enough.load(Ordering::Relaxed) {
            return;
        }
        let event = |n: usize| json!({ "type": "track", "userId": format!("u{sender}"), "event": "Flood", "messageId": format!("{sender}-{round}-{n}") });
        let batch = json!({ "writeKey": KEY, "batch": (0..BATCH).map(event).collect::<Vec<_>>() }).to_string();
        loop {
            let reply = connection.send("POST", "/v1/batch", &[], batch.clone()).await;
            if reply.status == 200 {
                seen.taken.fetch_add(BATCH as u64, Ordering::Relaxed);
                break;
            }
            assert!(matches!(reply.status, 429 | 503), "{}: {}", reply.status, reply.text());
            assert!(reply.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds > 0), "{:?}", reply.headers);
            seen.refused.fetch_add(1, Ordering::Relaxed);
            if seen.enough.load(Ordering::Relaxed) {
                return;
            }
        }
    }
}

fn skipping(folder: &Folder) {
    folder.write("scripts/flood.rhai", "fn handle(event) { skip(\"counted\"); }\n");
    let rule = "\n[[rules]]\nname = \"flood\"\nwhen = 'event = \"Flood\"'\nscript = \"flood.rhai\"\n";
    folder.write("rules.toml", &(folder.read("rules.toml") + rule));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_is_refused_in_time_and_what_was_taken_is_kept() {
    let seconds = std::env::var("PIPEWRIGHT_FLOOD_SECONDS").ok().map(|text| text.parse::<u64>().expect("a number"));
    let folder = Folder::init().await;
    skipping(&folder);
    let mut daemon = Daemon::mocked(&folder).await;
    let seen = Arc::new(Seen::default());
    let senders: Vec<_> = (0..SENDERS).map(|n| tokio::spawn(flood(daemon.events, n, seen.clone()))).collect();
    match seconds {
        Some(seconds) => {
            let lives = daemon.process.lives_for(Duration::from_secs(seconds)).await;
            assert!(lives, "it ended\n{}", daemon.process.said());
        }
        None => {
            wait_until("the flood is more than it takes", async || {
                (seen.refused.load(Ordering::Relaxed) > 20 && seen.taken.load(Ordering::Relaxed) > 0).then_some(())
            })
            .await;
        }
    }
    seen.enough.store(true, Ordering::Relaxed);
    for sender in senders {
        sender.await.expect("whatever it was told, it was told in time");
    }
    // By itself, as soon as there is room.
    wait_until("events are taken again", async || {
        let reply = daemon.send("/v1/track", &json!({ "userId": "after", "event": "Flood" })).await;
        assert!(matches!(reply.status, 200 | 429), "{}: {}", reply.status, reply.text());
        (reply.status == 200).then_some(())
    })
    .await;
    let taken = seen.taken.load(Ordering::Relaxed) + 1;
    let status = get(daemon.admin, "/api/status").await.json();
    assert_eq!(status["store"]["events"], taken, "{status:#}");
    let (_, most) = daemon.process.memory();
    println!("{taken} taken, {} refused, at most {} MiB", seen.refused.load(Ordering::Relaxed), most >> 20);
    assert!(most < MOST_MEMORY, "{} MiB", most >> 20);
    wait_until("deliveries go on", async || {
        let status = get(daemon.admin, "/api/status").await.json();
        status["store"]["pending"].as_u64().filter(|pending| *pending < taken)
    })
    .await;
    daemon.process.kill().await;
}

/// Clients that send a byte now and then, heads and bodies, and some that send nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_clients_are_cut_and_others_are_served_meanwhile() {
    let folder = Folder::init().await;
    skipping(&folder);
    folder.edit(
        "rules.toml",
        "header_timeout = \"10s\"\nbody_timeout = \"30s\"",
        "header_timeout = \"1s\"\nbody_timeout = \"1s\"",
    );
    let daemon = Daemon::mocked(&folder).await;
    let head = "POST /v1/track HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";
    let whole = format!("{head}authorization: Basic bW9jazo=\r\ncontent-length: 30000\r\n\r\n{{\"userId\":\"");
    // A byte comes whenever another client was served.
    let (served, _) = watch::channel(());
    let mut clients = JoinSet::new();
    for n in 0..300 {
        let (to, text, mut served) = (daemon.events, [head, &whole, ""][n % 3].to_owned(), served.subscribe());
        clients.spawn(async move {
            let mut stream = TcpStream::connect(to).await.expect("a connection");
            stream.write_all(text.as_bytes()).await.expect("it is there");
            let (mut from, mut into) = stream.into_split();
            let dribble = async {
                // Until it is cut: writing fails then.
                while served.changed().await.is_ok() && (text.is_empty() || into.write_all(b"x").await.is_ok()) {}
            };
            let mut rest = Vec::new();
            tokio::select! {
                () = dribble => {}
                ended = from.read_to_end(&mut rest) => drop(ended),
            }
            ["a head", "a body", "nothing"][n % 3]
        });
    }
    let mut cut = BTreeMap::<&str, u32>::new();
    wait_or(
        || {
            while let Some(kind) = clients.try_join_next() {
                *cut.entry(kind.expect("no panic")).or_default() += 1;
            }
            let (all, served, daemon) = (clients.is_empty(), &served, &daemon);
            async move {
                daemon.accept("/v1/track", &json!({ "userId": "u", "event": "Flood" })).await;
                served.send_replace(());
                all.then_some(())
            }
        },
        || async { format!("some are not cut\n{}", daemon.process.said()) },
    )
    .await;
    assert_eq!(cut, BTreeMap::from([("a head", 100), ("a body", 100), ("nothing", 100)]));
    wait_until("none is left open", async || {
        // The test's own request is on the admin listener.
        get(daemon.admin, "/metrics").await.text().contains("pipewright_http_connections 0\n").then_some(())
    })
    .await;
    daemon.process.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_idle_connections_do_not_keep_others_out() {
    pipewright::ingest::raise_file_limit();
    let folder = Folder::init().await;
    skipping(&folder);
    folder.edit("rules.toml", "header_timeout = \"10s\"", "header_timeout = \"5m\"");
    folder.edit("rules.toml", "max_connections = 10000", "max_connections = 10100");
    let daemon = Daemon::mocked(&folder).await;
    let metrics = get(daemon.admin, "/metrics").await.text();
    let limit = metrics.lines().find_map(|line| line.strip_prefix("pipewright_http_connections_limit ")).expect("the limit");
    // Where the system allows fewer files there are fewer.
    let many = limit.parse::<usize>().expect("a number").min(10_100) - 100;
    let mut idle = Vec::with_capacity(many);
    while idle.len() < many {
        idle.push(Raw::open(daemon.events).await);
    }
    wait_until("all of them are open", async || {
        get(daemon.admin, "/metrics").await.text().contains(&format!("pipewright_http_connections {many}\n")).then_some(())
    })
    .await;
    for n in 0..50 {
        daemon.accept("/v1/track", &json!({ "userId": format!("u{n}"), "event": "Flood" })).await;
    }
    let (now, _) = daemon.process.memory();
    println!("{many} idle connections, {} MiB", now >> 20);
    assert!(now < MOST_MEMORY, "{} MiB", now >> 20);
    // One of them wakes up.
    let mut one = idle.pop().expect("one");
    one.send("GET /nowhere HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(one.answer().await.expect("an answer").0.starts_with("http/1.1 404"));
    daemon.process.kill().await;
}

/// With few open files: fewer connections, said at the start, and the store and Pipedrive have theirs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_few_open_files_fewer_connections_are_taken_and_deliveries_go_on() {
    let folder = Folder::init().await;
    let daemon = Daemon::limited(&folder, 260).await;
    wait_until("it says so", async || daemon.process.said().contains("raise the limit").then_some(())).await;
    let mut idle = Vec::new();
    for _ in 0..300 {
        idle.push(Raw::open(daemon.events).await);
    }
    wait_until("it holds what it can", async || {
        get(daemon.admin, "/metrics").await.text().contains("pipewright_http_connections 60\n").then_some(())
    })
    .await;
    idle.drain(..250);
    daemon.accept("/v1/identify", &json!({ "userId": "u1", "traits": { "name": "Ada", "email": "ada@e2e.example" } })).await;
    daemon.done("u1", 1).await;
    assert!(!daemon.process.said().contains("could not be accepted"), "{}", daemon.process.said());
    daemon.process.kill().await;
}
