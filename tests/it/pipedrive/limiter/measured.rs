//! A backlog of three rules against the embedded Pipedrive, which counts its own windows and refuses what is too much: nothing is
//! refused, and at least 95 % of the limit is used.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use parking_lot::Mutex;
use pipewright::config::Secret;
use pipewright::mock::{Mock, MockOptions, serve};
use pipewright::pipedrive::{
    Answer, Client, ClientOptions, HttpTransport, Id, Kind, Purpose, Request, SearchField, Session, Transport, TransportError,
};
use serde_json::json;
use tokio::time::{sleep, timeout};

use super::super::scripted::object;
use super::{paused, rule};
use crate::support::loopback;

const BURST: u32 = 40;
const SEARCHES: u32 = 10;
const RULES: [&str; 3] = ["person", "deal", "activity"];

/// The way to a transport and back takes a while, in turn.
struct Far {
    transport: Arc<dyn Transport>,
    /// There and back, in ms.
    ways: Vec<(u64, u64)>,
    sent: AtomicUsize,
}

impl Far {
    fn new(transport: Arc<dyn Transport>, ways: Vec<(u64, u64)>) -> Arc<Self> {
        Arc::new(Self { transport, ways, sent: AtomicUsize::new(0) })
    }
}

#[async_trait]
impl Transport for Far {
    async fn send(&self, request: &Request) -> Result<Answer, TransportError> {
        let (there, back) = self.ways[self.sent.fetch_add(1, Ordering::Relaxed) % self.ways.len()];
        sleep(Duration::from_millis(there)).await;
        let answer = self.transport.send(request).await;
        sleep(Duration::from_millis(back)).await;
        answer
    }
}

fn mock(latency: Duration) -> Arc<Mock> {
    let limits = MockOptions { burst: BURST, search_burst: SEARCHES, ..MockOptions::default() };
    Mock::new(MockOptions { latency, daily_tokens: u64::MAX, ..limits })
}

/// A search, a write, and two reads.
async fn request(session: &Session, n: usize) {
    let id = Id::Number(1 + (n % 3) as u64);
    match n % 4 {
        0 => session.search(Kind::Person, SearchField::Name, "Mona Harper", &[]).await.map(|_| ()),
        1 => session.update(Kind::Person, &id, object(json!({"name": format!("Ada {n}")}))).await.map(|_| ()),
        _ => session.get(Kind::Person, &id, Purpose::Lookup).await.map(|_| ()),
    }
    .expect("an answer");
}

/// What a backlog came to.
#[derive(Debug)]
struct Used {
    /// Of the time that so many windows' requests took, what they must take.
    share: f64,
    searches: usize,
    refused: u64,
    /// Of the last so many, whose they were.
    by_rule: [usize; 3],
}

/// Runs a backlog for somewhat longer than so many windows. The rules have unequal amounts waiting.
async fn backlog(mock: &Arc<Mock>, transport: Arc<dyn Transport>, windows: u32) -> Used {
    let options = ClientOptions { burst: BURST, search_burst: SEARCHES, ..ClientOptions::default() };
    let client = Client::new(transport, options);
    let sessions = RULES.map(|name| rule(&client, name));
    let done = Mutex::new(Vec::new());
    let requests = (BURST * windows) as usize;
    let waiting = [0, 0, 0, 0, 1, 1, 2].into_iter().cycle().take(requests * 7).enumerate();
    let all = join_all(waiting.map(|(n, who)| {
        let (session, done) = (&sessions[who], &done);
        async move {
            request(session, n / 7).await;
            done.lock().push(who);
        }
    }));
    let time = Duration::from_secs(2) * windows;
    // The first window is beside the count, and a tenth may be lost.
    timeout(time.mul_f64(1.1) + Duration::from_secs(2), all).await.expect_err("there is more to do than can be done");
    let (log, done) = (mock.log(), done.into_inner());
    let counted = log.len().checked_sub(requests + 1).map(|from| &log[from..]).expect("as many as can be, but for a tenth");
    let took = (counted[requests].at - counted[0].at).as_secs_f64();
    Used {
        share: time.as_secs_f64() / took,
        searches: counted.iter().filter(|exchange| exchange.path.ends_with("/search")).count(),
        refused: mock.throttled(),
        by_rule: [0, 1, 2].map(|who| done.iter().rev().take(requests).filter(|done| **done == who).count()),
    }
}

/// Round trips of 10 to 50 ms, of which an uneven part comes before the server counts.
fn jitter() -> Vec<(u64, u64)> {
    (0..97u64).map(|n| (10 + n * 31 % 41, n)).map(|(both, n)| (both * (n % 5) / 4, both - both * (n % 5) / 4)).collect()
}

#[test]
fn the_limit_is_used_and_never_exceeded_by_the_servers_own_count() {
    for (name, latency, ways, windows) in [
        ("50 ms", 50, vec![(0, 0)], 40),
        ("50 ms, counted early", 0, vec![(0, 50)], 10),
        ("5 ms", 5, vec![(0, 0)], 10),
        ("10 to 50 ms", 0, jitter(), 10),
    ] {
        let used = paused().block_on(async {
            let mock = mock(Duration::from_millis(latency));
            let far = Far::new(Arc::<Mock>::clone(&mock), ways);
            backlog(&mock, far, windows).await
        });
        assert_eq!(used.refused, 0, "{name}: {used:?}");
        assert!(used.share >= 0.95, "{name}: {used:?}");
        assert!(used.searches as u32 >= SEARCHES * windows * 95 / 100, "{name}: searches have their own window: {used:?}");
        let even = (BURST * windows) as usize / RULES.len();
        assert!(used.by_rule.iter().all(|done| done.abs_diff(even) <= 5), "{name}: rules share alike: {used:?}");
    }
}

#[tokio::test]
async fn over_real_sockets_the_limit_is_kept_and_used() {
    let mock = mock(Duration::from_millis(20));
    let (listener, addr) = loopback().await;
    let (_stop, stopped) = tokio::sync::watch::channel(false);
    tokio::spawn(serve(listener, Arc::clone(&mock), stopped));
    let http = HttpTransport::new(&format!("http://{addr}"), &Secret::new("mock"), Duration::from_secs(20)).expect("a transport");
    let used = backlog(&mock, Far::new(Arc::new(http), vec![(15, 15), (0, 30), (10, 0)]), 3).await;
    assert_eq!(used.refused, 0, "{used:?}");
    // Of real time a busy machine may lose some; what the limiter itself loses is measured above.
    assert!(used.share >= 0.85, "{used:?}");
}
