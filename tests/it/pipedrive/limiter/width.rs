//! How many requests are under way at once: less after a 429, and more again.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use parking_lot::Mutex;
use pipewright::pipedrive::{Answer, Client, ClientOptions, Id, Kind, Purpose, Request, Trace, Transport, TransportError};
use serde_json::json;

use super::super::scripted::{answer, ok, with};
use super::paused;

/// Refuses as many as it is told, then lets in; an answer takes 10 ms, and for those that are let in 20 ms more.
#[derive(Default)]
struct Moody {
    refuse: Mutex<usize>,
    /// Now, and at most.
    under_way: Mutex<(usize, usize)>,
}

#[async_trait]
impl Transport for Moody {
    async fn send(&self, _: &Request) -> Result<Answer, TransportError> {
        {
            let mut under_way = self.under_way.lock();
            under_way.0 += 1;
            under_way.1 = under_way.1.max(under_way.0);
        }
        let refused = {
            let mut refuse = self.refuse.lock();
            let refused = *refuse > 0;
            *refuse = refuse.saturating_sub(1);
            refused
        };
        tokio::time::sleep(Duration::from_millis(if refused { 10 } else { 30 })).await;
        self.under_way.lock().0 -= 1;
        Ok(if refused {
            with(answer(429, json!({"success": false})), "x-ratelimit-remaining", "0")
        } else {
            ok(json!({"id": 7}))
        })
    }
}

impl Moody {
    fn client(self: &Arc<Self>) -> Client {
        let options = ClientOptions { burst: 1_000, search_burst: 1_000, concurrency: 8, ..ClientOptions::default() };
        Client::new(Arc::<Self>::clone(self), options)
    }

    /// Sends so many that wait together, of which the first are refused; answers how many were under way at once.
    async fn volley(&self, client: &Client, requests: usize, refused: usize) -> usize {
        *self.refuse.lock() = refused;
        self.under_way.lock().1 = 0;
        let session = client.session(Trace::default());
        let answers = join_all((0..requests).map(|_| session.get(Kind::Person, &Id::Number(7), Purpose::Lookup))).await;
        assert_eq!(answers.iter().filter(|answer| answer.is_err()).count(), refused);
        self.under_way.lock().1
    }
}

#[test]
fn a_429_halves_what_may_be_under_way_and_successes_bring_it_back() {
    let server = Arc::new(Moody::default());
    let client = server.client();
    paused().block_on(async {
        assert_eq!(client.status().concurrency, 8);
        assert_eq!(server.volley(&client, 40, 0).await, 8);
        // All eight are refused together: one refusal.
        server.volley(&client, 8, 8).await;
        assert_eq!(client.status().concurrency, 4);
        assert_eq!(server.volley(&client, 3, 0).await, 3);
        assert_eq!(client.status().concurrency, 4, "three successes are not enough for one more");
        server.volley(&client, 1, 0).await;
        assert_eq!(client.status().concurrency, 5);
        for (successes, width) in [(4, 5), (1, 6), (6, 7), (6, 7), (1, 8), (50, 8)] {
            let under_way = server.volley(&client, successes, 0).await;
            assert_eq!(client.status().concurrency, width);
            assert!(under_way <= width, "{under_way} under way");
        }
    });
}

#[test]
fn refusals_in_a_row_bring_it_down_to_one_and_no_further() {
    let server = Arc::new(Moody::default());
    let client = server.client();
    paused().block_on(async {
        for width in [4, 2, 1] {
            server.volley(&client, 1, 1).await;
            assert_eq!(client.status().concurrency, width);
        }
        assert_eq!(server.volley(&client, 1, 0).await, 1);
        assert_eq!(client.status().concurrency, 2, "one success at a width of one");
        server.volley(&client, 1, 1).await;
        server.volley(&client, 1, 1).await;
        assert_eq!(client.status().concurrency, 1);
        // One, and when it has passed two.
        assert_eq!(server.volley(&client, 3, 0).await, 2);
        assert_eq!(client.status().concurrency, 3);
    });
}

#[test]
fn what_was_sent_before_the_429_brings_nothing_back() {
    let server = Arc::new(Moody::default());
    let client = server.client();
    paused().block_on(async {
        // One is refused while seven are under way, which pass.
        assert_eq!(server.volley(&client, 8, 1).await, 8);
        assert_eq!(client.status().concurrency, 4);
        assert_eq!(server.volley(&client, 4, 0).await, 4);
        assert_eq!(client.status().concurrency, 5);
    });
}
