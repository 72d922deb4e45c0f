//! Requests that nobody waits for: after all others, and not never.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::Mutex;
use pipewright::pipedrive::{Client, Id, Kind, Purpose, SearchField, Session};
use tokio::time::{Instant, sleep, timeout};

use super::{Server, background, client, paused, rule};

async fn get(session: &Session) {
    session.get(Kind::Person, &Id::Number(7), Purpose::Lookup).await.expect("an answer");
}

/// So many background requests; when each was answered, since now.
async fn in_background(client: &Client, requests: usize) -> Vec<Duration> {
    let (session, started) = (background(client), Instant::now());
    let answered = Mutex::new(Vec::new());
    join_all((0..requests).map(|_| async {
        get(&session).await;
        answered.lock().push(started.elapsed());
    }))
    .await;
    answered.into_inner()
}

fn setup(burst: u32) -> (Arc<Server>, Client) {
    let server = Server::new(vec![(5, 5)]);
    let client = client(&server, burst, 8);
    (server, client)
}

#[test]
fn it_goes_when_nobody_else_waits() {
    let (_server, client) = setup(4);
    paused().block_on(async {
        let session = rule(&client, "a");
        let started = Instant::now();
        // 4 s of others' requests; the background's come first.
        let others = async {
            join_all((0..12).map(|_| get(&session))).await;
            started.elapsed()
        };
        let (background, others) = tokio::join!(in_background(&client, 6), others);
        let before = background.iter().filter(|at| **at < others).count();
        assert_eq!(before, 2, "what went before the others came: {background:?}, others' last {others:?}");
    });
}

#[test]
fn it_is_not_kept_for_ever() {
    let (_server, client) = setup(4);
    paused().block_on(async {
        let session = rule(&client, "a");
        let others = join_all((0..200).map(|_| get(&session)));
        let (_, background) = tokio::join!(others, in_background(&client, 5));
        for (n, at) in background.iter().enumerate() {
            let due = Duration::from_secs(10 * (n as u64 + 1));
            assert!((due..due + Duration::from_secs(3)).contains(at), "{background:?}");
        }
    });
}

#[test]
fn searches_that_wait_for_their_own_window_do_not_keep_it_for_ever() {
    let (_server, client) = setup(1_000);
    paused().block_on(async {
        let session = rule(&client, "a");
        let searches = join_all((0..200).map(|_| session.search(Kind::Person, SearchField::Name, "x", &[])));
        let (_, background) = tokio::join!(searches, in_background(&client, 3));
        // Nothing but time lets it go: no answer comes then, and no slot is given back.
        let due = [10, 20, 30].map(Duration::from_secs);
        assert!(
            background.iter().zip(due).all(|(at, due)| *at >= due && *at < due + Duration::from_millis(35)),
            "{background:?}"
        );
    });
}

#[test]
fn it_leaves_half_of_the_window_to_who_comes_next() {
    let (server, client) = setup(20);
    paused().block_on(async {
        let session = rule(&client, "a");
        let comes = async {
            sleep(Duration::from_secs(1)).await;
            let ten = join_all((0..10).map(|_| get(&session)));
            timeout(Duration::from_millis(100), ten).await.expect("at once");
        };
        let (background, ()) = tokio::join!(in_background(&client, 40), comes);
        // Ten in 2 s, and all the same in the end.
        assert!(background[9] < Duration::from_millis(100) && background[10] > Duration::from_secs(2), "{background:?}");
        assert!(background[39] < Duration::from_secs(8), "{background:?}");
        assert_eq!(server.arrivals.lock().len(), 50);
    });
}

#[test]
fn it_leaves_half_of_what_may_be_under_way_to_who_comes_next() {
    let server = Server::new(vec![(30_000, 1), (30_000, 1), (30_000, 1), (30_000, 1), (30_000, 1)]);
    let client = client(&server, 100, 8);
    paused().block_on(async {
        let under_way = async {
            sleep(Duration::from_secs(1)).await;
            server.under_way.lock().0
        };
        let (_, under_way) = tokio::join!(in_background(&client, 8), under_way);
        assert_eq!(under_way, 4);
    });
}
