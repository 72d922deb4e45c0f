//! The burst limits as the server counts them, with latency before and after the moment of counting.

mod background;
mod fair;
mod measured;
mod width;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use pipewright::pipedrive::{
    Answer, Caller, Client, ClientOptions, Id, Kind, Purpose, Request, SearchField, Session, Trace, Transport, TransportError,
    is_search,
};
use proptest::prelude::*;
use serde_json::json;
use tokio::time::Instant;

use super::scripted::{ok, with};

/// Counts a request when it arrives, somewhere between sending and answer.
struct Server {
    latencies: Vec<(u64, u64)>,
    arrivals: Mutex<Vec<(Instant, bool)>>,
    under_way: Mutex<(usize, usize)>,
    limit: Option<&'static str>,
}

impl Server {
    fn new(latencies: Vec<(u64, u64)>) -> Arc<Self> {
        Arc::new(Self { latencies, arrivals: Mutex::default(), under_way: Mutex::default(), limit: None })
    }

    /// The most requests in any 2 s.
    fn fullest_window(&self, searches_only: bool) -> usize {
        let mut at: Vec<Instant> =
            self.arrivals.lock().iter().filter(|(_, search)| *search || !searches_only).map(|(at, _)| *at).collect();
        at.sort();
        (0..at.len())
            .map(|i| at[i..].iter().take_while(|later| **later < at[i] + Duration::from_secs(2)).count())
            .max()
            .unwrap_or(0)
    }
}

#[async_trait]
impl Transport for Server {
    async fn send(&self, request: &Request) -> Result<Answer, TransportError> {
        {
            let mut under_way = self.under_way.lock();
            under_way.0 += 1;
            under_way.1 = under_way.1.max(under_way.0);
        }
        let n = self.arrivals.lock().len();
        let (there, back) = self.latencies[n % self.latencies.len()];
        tokio::time::sleep(Duration::from_millis(there)).await;
        self.arrivals.lock().push((Instant::now(), is_search(request)));
        tokio::time::sleep(Duration::from_millis(back)).await;
        self.under_way.lock().0 -= 1;
        let data = if is_search(request) { json!({"items": []}) } else { json!({"id": 7}) };
        let answer = ok(data);
        Ok(match self.limit {
            Some(limit) if !is_search(request) => with(answer, "x-ratelimit-limit", limit),
            _ => answer,
        })
    }
}

fn client(server: &Arc<Server>, burst: u32, concurrency: usize) -> Client {
    Client::new(Arc::<Server>::clone(server), ClientOptions { burst, concurrency, ..ClientOptions::default() })
}

/// Calls on behalf of a rule.
fn rule(client: &Client, name: &str) -> Session {
    client.session(Trace::default()).on_behalf_of(Caller::rule(name.into(), Caller::ORDINARY))
}

/// Calls that nobody waits for.
fn background(client: &Client) -> Session {
    client.session(Trace::default()).on_behalf_of(Caller::background())
}

/// Everybody who may call.
fn everybody(client: &Client) -> Vec<Session> {
    vec![rule(client, "a"), rule(client, "b"), client.session(Trace::default()), background(client)]
}

async fn run(sessions: &[Session], requests: usize, search_every: usize) {
    futures_util::future::join_all((0..requests).map(|n| {
        let session = sessions[n * 7 / 5 % sessions.len()].clone();
        async move {
            if search_every > 0 && n % search_every == 0 {
                session.search(Kind::Person, SearchField::Email, "a@b.c", &[]).await.map(|_| ()).expect("an answer");
            } else {
                session.get(Kind::Person, &Id::Number(7), Purpose::Lookup).await.map(|_| ()).expect("an answer");
            }
        }
    }))
    .await;
}

fn paused() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_server_never_counts_more_than_the_limits(
        latencies in prop::collection::vec((0u64..900, 0u64..900), 1..40),
        burst in 1u32..40,
        search_every in 0usize..5,
        requests in 1usize..160,
    ) {
        let server = Server::new(latencies);
        paused().block_on(run(&everybody(&client(&server, burst, 8)), requests, search_every));
        prop_assert_eq!(server.arrivals.lock().len(), requests);
        prop_assert!(server.fullest_window(false) <= burst as usize, "{} in 2 s, limit {}", server.fullest_window(false), burst);
        prop_assert!(server.fullest_window(true) <= 10);
        prop_assert!(server.under_way.lock().1 <= 8);
    }
}

#[test]
fn a_backlog_uses_the_limit() {
    for burst in [20, 40, 100] {
        // 50 to 100 ms there and back.
        let server = Server::new(vec![(20, 30), (45, 30), (30, 70)]);
        let requests = burst as usize * 20;
        let elapsed = paused().block_on(async {
            let started = Instant::now();
            run(&[rule(&client(&server, burst, 16), "a")], requests, 0).await;
            started.elapsed()
        });
        // The first window is free; the rest cannot be faster than one burst every 2 s.
        let ideal = Duration::from_secs(2) * 19;
        let used = ideal.as_secs_f64() / elapsed.as_secs_f64();
        assert!(used >= 0.9, "burst {burst}: {:.0} % used", used * 100.0);
    }
}

#[test]
fn waiting_searches_hold_up_nobody_else() {
    paused().block_on(async {
        let server = Server::new(vec![(10, 10)]);
        let client = client(&server, 100, 8);
        let session = client.session(Trace::default());
        let searches = futures_util::future::join_all((0..40).map(|_| session.search(Kind::Person, SearchField::Name, "x", &[])));
        let started = Instant::now();
        let reads = async {
            for _ in 0..20 {
                session.get(Kind::Person, &Id::Number(7), Purpose::Lookup).await.expect("an answer");
            }
            started.elapsed()
        };
        let (searches, reads) = tokio::join!(searches, reads);
        assert!(searches.iter().all(Result::is_ok));
        assert!(reads < Duration::from_secs(1), "reads took {reads:?}");
        assert!(started.elapsed() >= Duration::from_secs(6), "40 searches at 10 in 2 s");
    });
}

#[test]
fn the_first_to_wait_is_the_first_to_go() {
    paused().block_on(async {
        let server = Server::new(vec![(5, 5)]);
        let client = client(&server, 2, 1);
        let session = client.session(Trace::default());
        let order = Mutex::new(Vec::new());
        futures_util::future::join_all((0..9).map(|n| {
            let (session, order) = (&session, &order);
            async move {
                session.get(Kind::Person, &Id::Number(7), Purpose::Lookup).await.expect("an answer");
                order.lock().push(n);
            }
        }))
        .await;
        assert_eq!(*order.lock(), (0..9).collect::<Vec<_>>());
    });
}

#[test]
fn the_answers_tell_the_limit() {
    for (told, want) in [("5", 5), ("60", 60), ("0", 20), ("nonsense", 20)] {
        let mut server = Server::new(vec![(1, 1)]);
        Arc::get_mut(&mut server).expect("not shared yet").limit = Some(told);
        let client = client(&server, 20, 8);
        paused().block_on(run(&everybody(&client), 200, 0));
        assert_eq!(client.status().burst, want, "told {told}");
        assert_eq!(client.status().search_burst, 10);
        if want < 20 {
            // What was sent before the first answer went by the old limit.
            let after: Vec<_> = server.arrivals.lock().split_off(20);
            server.arrivals.lock().clear();
            server.arrivals.lock().extend(after);
            assert!(server.fullest_window(false) <= want as usize);
        }
    }
}

#[test]
fn a_request_that_is_given_up_gives_its_slot_back() {
    paused().block_on(async {
        let server = Server::new(vec![(60_000, 1)]);
        let client = client(&server, 2, 2);
        let session = client.session(Trace::default());
        for _ in 0..6 {
            let get = session.get(Kind::Person, &Id::Number(7), Purpose::Lookup);
            assert!(tokio::time::timeout(Duration::from_millis(2_500), get).await.is_err());
        }
        // Each was sent (and is in the trace), none blocked the next for longer than its window.
        assert!(session.trace().exchanges().len() >= 4, "{}", session.trace().exchanges().len());
        assert!(session.trace().exchanges().iter().all(|e| e.status.is_none() && e.error.is_some()));
    });
}
