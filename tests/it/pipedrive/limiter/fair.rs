//! Whose turn it is: between rules, between searches and the others.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use pipewright::pipedrive::{
    Answer, Client, ClientOptions, ErrorKind, Id, Kind, Purpose, Request, SearchField, Session, Trace, Transport, TransportError,
    is_search,
};
use serde_json::json;
use tokio::time::{Instant, timeout};

use super::super::scripted::{Scripted, answer, ok, with};
use super::{background, paused, rule};

/// Answers at once, whatever is asked.
fn prompt() -> Arc<Scripted> {
    Scripted::new(|request| Ok(ok(if is_search(request) { json!({"items": []}) } else { json!({"id": 7}) })))
}

fn client(scripted: &Arc<Scripted>, burst: u32, search_burst: u32) -> Client {
    let options = ClientOptions { burst, search_burst, concurrency: 1, ..ClientOptions::default() };
    Client::new(Arc::<Scripted>::clone(scripted), options)
}

async fn get(session: &Session, id: u64) {
    session.get(Kind::Person, &Id::Number(id), Purpose::Lookup).await.expect("an answer");
}

async fn search(session: &Session, term: &str) {
    session.search(Kind::Person, SearchField::Name, term, &[]).await.expect("an answer");
}

#[test]
fn rules_take_turns_whatever_each_has_waiting() {
    let scripted = prompt();
    let client = client(&scripted, 20, 10);
    let (many, one, two, nobodys) =
        (rule(&client, "many"), rule(&client, "one"), rule(&client, "two"), client.session(Trace::default()));
    let waiting = (0..1_000).map(|_| (&many, 1)).chain([(&one, 2), (&nobodys, 3), (&two, 4), (&two, 4)]);
    paused().block_on(join_all(waiting.map(|(session, id)| get(session, id))));
    let order: Vec<_> = scripted.asked().iter().map(|asked| asked.chars().last().expect("an id")).collect();
    // The first goes before anybody else has come.
    assert_eq!(order[..9], ['1', '1', '2', '3', '4', '1', '4', '1', '1']);
    assert_eq!(order.len(), 1_004);
}

#[test]
fn a_search_that_is_passed_by_keeps_its_place_before_other_rules_searches() {
    let scripted = prompt();
    let client = client(&scripted, 10, 1);
    let (searching, mixed) = (rule(&client, "searching"), rule(&client, "mixed"));
    paused().block_on(async {
        let many = join_all((0..10).map(|_| search(&searching, "many")));
        let one = search(&mixed, "one");
        let gets = join_all((0..60).map(|_| get(&mixed, 7)));
        tokio::join!(many, one, gets);
    });
    let searches: Vec<_> = scripted.asked().into_iter().filter(|asked| asked.contains("term=")).collect();
    let at = searches.iter().position(|asked| asked.contains("term=one")).expect("it was asked");
    assert!(at <= 2, "after {at} of the other rule");
}

#[test]
fn the_turns_of_searches_that_were_passed_by_count_as_well() {
    let scripted = prompt();
    let client = client(&scripted, 10, 1);
    let (mixed, plain) = (rule(&client, "mixed"), rule(&client, "plain"));
    paused().block_on(async {
        let mixed = join_all((0..200).map(|_| async { tokio::join!(search(&mixed, "x"), get(&mixed, 1)) }));
        let waiting = async { tokio::join!(mixed, join_all((0..400).map(|_| get(&plain, 2)))) };
        timeout(Duration::from_secs(60), waiting).await.expect_err("there is more to do than can be done");
    });
    let asked = scripted.asked();
    let plain = asked.iter().filter(|asked| asked.ends_with("/2")).count();
    let mixed = asked.len() - plain;
    assert!(plain.abs_diff(mixed) <= 5, "{mixed} of the one, {plain} of the other");
}

#[test]
fn others_get_their_share_of_the_window_while_searches_wait() {
    // Requests in 2 s, the others' share of them in ten windows.
    for (burst, share) in [(1, 5), (4, 20), (15, 75), (20, 100), (40, 300)] {
        for searching in [&["a"][..], &["b", "c", "d"]] {
            let scripted = prompt();
            let client = client(&scripted, burst, 10);
            paused().block_on(async {
                let searches = searching.iter().map(|name| rule(&client, name));
                let searches: Vec<_> = searches.flat_map(|session| std::iter::repeat_n(session, 200)).collect();
                let session = rule(&client, "a");
                let waiting = async {
                    let searches = join_all(searches.iter().map(|session| search(session, "x")));
                    tokio::join!(searches, join_all((0..500).map(|_| get(&session, 7))));
                };
                timeout(Duration::from_secs(21), waiting).await.expect_err("there is more to do than can be done");
            });
            let asked = scripted.asked();
            let searches = asked.iter().filter(|asked| asked.contains("term=")).count();
            let others = asked.len() - searches;
            assert!(others >= share, "{burst} in 2 s, {} searching rules: {others} others, want {share}", searching.len());
            let least = 10 * (burst as usize).min(20) / 2 - 1;
            assert!(searches >= least, "{burst} in 2 s: {searches} searches, want {least}");
        }
    }
}

/// Searches take half a minute.
struct SlowSearches;

#[async_trait]
impl Transport for SlowSearches {
    async fn send(&self, request: &Request) -> Result<Answer, TransportError> {
        let search = is_search(request);
        tokio::time::sleep(if search { Duration::from_secs(30) } else { Duration::from_millis(50) }).await;
        Ok(ok(if search { json!({"items": []}) } else { json!({"id": 7}) }))
    }
}

#[test]
fn slow_searches_do_not_take_all_that_may_be_under_way() {
    let client = Client::new(Arc::new(SlowSearches), ClientOptions::default());
    paused().block_on(async {
        let session = rule(&client, "a");
        let started = Instant::now();
        let searches = join_all((0..20).map(|_| search(&session, "x")));
        let gets = async {
            join_all((0..10).map(|_| get(&session, 7))).await;
            started.elapsed()
        };
        let (_, took) = tokio::join!(searches, gets);
        assert!(took < Duration::from_secs(1), "reads took {took:?}");
    });
}

#[test]
fn after_a_long_pause_one_goes_first_whoever_waits() {
    let scripted = Scripted::always(with(answer(429, json!({"success": false})), "x-ratelimit-remaining", "19"));
    let client = Client::new(Arc::<Scripted>::clone(&scripted), ClientOptions::default());
    paused().block_on(async {
        let sessions = [rule(&client, "a"), rule(&client, "b"), client.session(Trace::default()), background(&client)];
        let id = Id::Number(7);
        let wait = sessions[0].get(Kind::Person, &id, Purpose::Lookup).await.expect_err("a 429").retry_after().expect("a wait");
        tokio::time::sleep(wait + Duration::from_secs(1)).await;
        let gets = join_all(sessions.iter().map(|session| session.get(Kind::Person, &id, Purpose::Lookup)));
        let search = sessions[1].search(Kind::Person, SearchField::Name, "x", &[]);
        let (gets, search) = tokio::join!(gets, search);
        let errors = gets.into_iter().filter_map(Result::err).chain(search.err());
        assert_eq!(errors.filter(|error| matches!(error.kind, ErrorKind::Throttled { daily: true, .. })).count(), 5);
        assert_eq!(scripted.asked().len(), 2, "the first and the probe");
    });
}
