//! What becomes of deliveries; match index, known values, small named values.

use pipewright::store::{
    DeliveryFilter, DeliveryId, DeliveryState, Finish, KnownRow, LISTED_REASON, NewDelivery, Seq, Store, StoreError, Write,
};

use super::support::{Opened, add, all_pending, at, event, finish, id, open};

async fn state(opened: &Opened, seq: Seq) -> Vec<(String, DeliveryState)> {
    let rows = opened.store.deliveries(&DeliveryFilter { seq: Some(seq), ..DeliveryFilter::default() }).await.expect("reads");
    rows.into_iter().map(|row| (row.id.rule.to_string(), row.state)).collect()
}

#[tokio::test]
async fn only_what_was_observed_is_released_and_it_keeps_its_place_over_a_reopening() {
    let opened = open();
    let store = &opened.store;
    store.append(vec![event("m1", &["person", "deal"]), event("m2", &["person"])]).await.expect("appends");
    let (first, second) = (id(Seq(1), "deal"), id(Seq(2), "person"));
    let delivery = NewDelivery {
        rule: "deal".into(),
        account: "other".into(),
        key: "u:9".to_owned(),
        after: vec!["a:1".to_owned()],
        behind: vec!["u:8".to_owned()],
    };
    let release = |id: &DeliveryId| Write::Release { id: id.clone(), delivery: delivery.clone(), at: at(7) };
    assert!(store.commit(vec![release(&first)]).await.is_err(), "it is pending");
    store
        .commit(vec![finish(first.clone(), DeliveryState::Observed, at(2)), finish(second.clone(), DeliveryState::Done, at(2))])
        .await
        .expect("commits");
    assert!(store.commit(vec![release(&first), release(&second)]).await.is_err(), "one of them is done");
    assert!(store.commit(vec![release(&first), release(&first)]).await.is_err(), "never twice");
    store.commit(vec![release(&first)]).await.expect("commits");
    assert!(store.commit(vec![release(&first)]).await.is_err(), "never twice");
    let opened = opened.reopen();
    let pending = opened.store.pending(None, 10).await.expect("reads");
    let row = &pending[1];
    assert_eq!(pending.iter().map(|p| p.id.to_string()).collect::<Vec<_>>(), ["1/person", "1/deal"]);
    assert_eq!((row.position, &*row.account, row.key.as_str(), row.released_at), (1, "other", "u:9", Some(at(7))));
    assert_eq!((&row.after[..], &row.behind[..]), (&["a:1".to_owned()][..], &["u:8".to_owned()][..]));
    assert_eq!(opened.store.stats().await.expect("reads").pending, 2);
    opened.store.commit(vec![finish(first, DeliveryState::Done, at(9))]).await.expect("commits");
    assert_eq!(opened.store.stats().await.expect("reads").pending, 1);
}

#[tokio::test]
async fn a_retry_and_a_pin_survive_a_restart() {
    let opened = open();
    let seq = add(&opened.store, event("m1", &["person", "note"])).await;
    let person = id(seq, "person");
    let writes = vec![
        Write::Pin { id: person.clone(), plan: b"one".to_vec() },
        Write::Pin { id: person.clone(), plan: b"two".to_vec() },
        Write::Retry { id: person.clone(), run_at: at(60), attempts: 3, first_failed_at: at(5) },
    ];
    opened.store.commit(writes).await.expect("commits");

    let opened = opened.reopen();
    let pending = all_pending(&opened.store, 10).await;
    assert_eq!((pending[0].run_at, pending[0].attempts, pending[0].first_failed_at), (Some(at(60)), 3, Some(at(5))));
    assert_eq!((pending[0].pinned, pending[1].pinned), (true, false));
    assert_eq!(opened.store.pinned(&person).await.expect("reads").as_deref(), Some(&b"two"[..]));
    assert_eq!(opened.store.pinned(&id(seq, "note")).await.expect("reads"), None);

    opened.store.commit(vec![Write::Unpin { id: person.clone() }]).await.expect("commits");
    assert_eq!(opened.store.pinned(&person).await.expect("reads"), None);
}

#[tokio::test]
async fn a_finished_delivery_is_no_longer_pending() {
    let opened = open();
    let seq = add(&opened.store, event("m1", &["person", "note"])).await;
    let person = id(seq, "person");
    let writes = vec![
        Write::Record { id: person.clone(), attempt: 1, record: b"first".to_vec() },
        Write::Record { id: person.clone(), attempt: 2, record: b"second".to_vec() },
        Write::Record { id: person.clone(), attempt: 1, record: b"mended".to_vec() },
        finish(person.clone(), DeliveryState::Done, at(9)),
    ];
    opened.store.commit(writes).await.expect("commits");
    let pending = all_pending(&opened.store, 10).await;
    assert_eq!(pending.iter().map(|p| p.id.clone()).collect::<Vec<_>>(), [id(seq, "note")]);
    assert_eq!(opened.store.records(&person).await.expect("reads"), [b"mended".to_vec(), b"second".to_vec()]);
    let rows = opened.store.deliveries(&DeliveryFilter::default()).await.expect("reads");
    assert_eq!((rows[0].state, rows[0].finished_at, rows[0].version.as_deref()), (DeliveryState::Done, Some(at(9)), Some("v1")));
    assert_eq!((rows[1].state, rows[1].finished_at), (DeliveryState::Pending, None));
}

#[tokio::test]
async fn a_refused_call_changes_nothing() {
    let opened = open();
    let seq = add(&opened.store, event("m1", &["person"])).await;
    let person = id(seq, "person");
    let put = Write::KvPut { space: "s".to_owned(), key: "k".to_owned(), value: b"v".to_vec() };
    let wrong = [
        Write::Pin { id: id(seq, "other"), plan: Vec::new() },
        Write::Unpin { id: id(Seq(99), "person") },
        Write::Record { id: id(Seq(u64::MAX), "person"), attempt: 1, record: Vec::new() },
        finish(person.clone(), DeliveryState::Pending, at(1)),
    ];
    for wrong in wrong {
        let refused = opened.store.commit(vec![put.clone(), wrong]).await;
        assert!(matches!(refused, Err(StoreError::Refused { .. })), "{refused:?}");
    }
    let twice = vec![
        put.clone(),
        finish(person.clone(), DeliveryState::Done, at(1)),
        Write::Retry { id: person.clone(), run_at: at(2), attempts: 1, first_failed_at: at(2) },
    ];
    let refused = opened.store.commit(twice).await.expect_err("finished within the call");
    assert_eq!(refused.to_string(), "delivery 1/person is finished already");
    assert_eq!(opened.store.kv_get("s", "k").await.expect("reads"), None);
    assert_eq!(all_pending(&opened.store, 10).await.len(), 1);
}

#[tokio::test]
async fn lists_keep_the_beginning_of_a_long_reason_and_the_record_all_of_it() {
    let opened = open();
    let person = id(add(&opened.store, event("m1", &["person"])).await, "person");
    // Two bytes a character, so that the bound falls into one.
    let long = format!("a{}", "ä".repeat(130_000));
    let record = format!(r#"{{"reason":"{long}"}}"#).into_bytes();
    let end = |state, reason: &str| {
        let (id, reason) = (person.clone(), Some(reason.to_owned()));
        Write::Finish(Finish { id, state, at: at(1), version: None, reason, cause: None })
    };
    let listed = async || {
        let rows = opened.store.deliveries(&DeliveryFilter::default()).await.expect("reads");
        rows[0].reason.clone().expect("a reason")
    };
    let writes = vec![Write::Record { id: person.clone(), attempt: 1, record: record.clone() }, end(DeliveryState::Dead, &long)];
    opened.store.commit(writes).await.expect("commits");
    let kept = listed().await;
    let beginning = kept.strip_suffix('…').expect("an ellipsis");
    assert!(long.starts_with(beginning) && beginning.len() == LISTED_REASON - 1, "{}", kept.len());
    assert_eq!(opened.store.records(&person).await.expect("reads"), [record]);

    let fits = "x".repeat(LISTED_REASON);
    opened.store.commit(vec![end(DeliveryState::Discarded, &fits)]).await.expect("commits");
    assert_eq!(listed().await, fits, "what fits is not touched");
}

#[tokio::test]
async fn a_pending_delivery_is_listed_with_its_newest_reason_until_it_ends() {
    let opened = open();
    let person = id(add(&opened.store, event("m1", &["person"])).await, "person");
    let listed = async |opened: &Opened| {
        let rows = opened.store.deliveries(&DeliveryFilter::default()).await.expect("reads");
        (rows[0].state, rows[0].reason.clone())
    };
    let waiting = |reason: &str| Write::Waiting { id: person.clone(), reason: reason.to_owned() };
    assert_eq!(listed(&opened).await, (DeliveryState::Pending, None));
    opened.store.commit(vec![waiting("503 of GET /persons")]).await.expect("commits");
    opened.store.commit(vec![waiting(&"é".repeat(LISTED_REASON))]).await.expect("commits");
    let cut = listed(&opened).await.1.expect("a reason");
    assert!(cut.len() == LISTED_REASON + '…'.len_utf8() && cut.starts_with('é'), "{cut}");

    opened.store.commit(vec![waiting("no such person yet")]).await.expect("commits");
    let opened = opened.reopen();
    assert_eq!(listed(&opened).await, (DeliveryState::Pending, Some("no such person yet".to_owned())));
    opened.store.commit(vec![finish(person.clone(), DeliveryState::Done, at(9))]).await.expect("commits");
    assert_eq!(listed(&opened).await, (DeliveryState::Done, None), "the end has a reason of its own");
    assert!(opened.store.commit(vec![waiting("for nothing")]).await.is_err());
}

#[tokio::test]
async fn discarding_takes_the_pending_and_the_failed_but_not_the_done() {
    let opened = open();
    let seq = add(&opened.store, event("m1", &["a", "b", "c"])).await;
    let discard = |rule| vec![finish(id(seq, rule), DeliveryState::Discarded, at(9))];
    opened.store.commit(vec![finish(id(seq, "a"), DeliveryState::Done, at(1))]).await.expect("commits");
    opened.store.commit(vec![finish(id(seq, "b"), DeliveryState::Dead, at(1))]).await.expect("commits");
    assert_eq!(opened.store.stats().await.expect("reads").failed, 1);

    assert!(opened.store.commit(discard("a")).await.is_err());
    opened.store.commit(discard("b")).await.expect("discards a dead letter");
    opened.store.commit(discard("c")).await.expect("discards a pending one");
    assert!(opened.store.commit(discard("b")).await.is_err(), "twice");
    let expected = [("a", DeliveryState::Done), ("b", DeliveryState::Discarded), ("c", DeliveryState::Discarded)];
    assert_eq!(state(&opened, seq).await, expected.map(|(rule, state)| (rule.to_owned(), state)));
    let stats = opened.store.stats().await.expect("reads");
    assert_eq!((stats.failed, stats.pending), (0, 0));
}

#[tokio::test]
async fn the_plan_of_a_half_done_delivery_stays_with_it() {
    let opened = open();
    let seq = add(&opened.store, event("m1", &["done", "partial", "dead"])).await;
    for (rule, ends) in [("done", DeliveryState::Done), ("partial", DeliveryState::Partial), ("dead", DeliveryState::Dead)] {
        let pin = Write::Pin { id: id(seq, rule), plan: rule.as_bytes().to_vec() };
        opened.store.commit(vec![pin, finish(id(seq, rule), ends, at(1))]).await.expect("commits");
    }
    assert_eq!(opened.store.pinned(&id(seq, "done")).await.expect("reads"), None);
    assert_eq!(opened.store.pinned(&id(seq, "dead")).await.expect("reads"), None);
    assert_eq!(opened.store.pinned(&id(seq, "partial")).await.expect("reads").as_deref(), Some(&b"partial"[..]));
    opened.store.commit(vec![finish(id(seq, "partial"), DeliveryState::Discarded, at(2))]).await.expect("commits");
    assert_eq!(opened.store.pinned(&id(seq, "partial")).await.expect("reads"), None);
    // No record may tell of the last attempt of one that had not ended.
    let seq = add(&opened.store, event("m2", &["cut"])).await;
    let pin = Write::Pin { id: id(seq, "cut"), plan: b"cut".to_vec() };
    opened.store.commit(vec![pin, finish(id(seq, "cut"), DeliveryState::Discarded, at(1))]).await.expect("commits");
    assert_eq!(opened.store.pinned(&id(seq, "cut")).await.expect("reads").as_deref(), Some(&b"cut"[..]));
}

fn put(field: &str, value: &str, id: &str) -> Write {
    let [account, kind, field, value, id] = ["main", "person", field, value, id].map(str::to_owned);
    Write::IndexPut { account, kind, field, value, id }
}

#[tokio::test]
async fn the_match_index_forgets_an_entity_by_its_reverse() {
    let opened = open();
    let known = |id: &str, values: &[u8]| {
        let [account, kind, id] = ["main", "person", id].map(str::to_owned);
        Write::KnownPut { account, kind, id, values: values.to_vec() }
    };
    let writes = vec![
        put("email", "ada@acme.com", "1"),
        put("email", "ada@acme.com", "1"),
        put("email", "ada@acme.com", "2"),
        put("user", "42", "1"),
        known("1", b"old"),
        known("1", b"new"),
        known("2", b"other"),
    ];
    opened.store.commit(writes).await.expect("commits");
    let get = |field: &'static str, value: &'static str| opened.store.index_get("main", "person", field, value);
    assert_eq!(get("email", "ada@acme.com").await.expect("reads"), ["1", "2"]);
    assert_eq!(opened.store.index_get("other", "person", "email", "ada@acme.com").await.expect("reads"), [""; 0]);
    assert_eq!(opened.store.index_get("main", "deal", "email", "ada@acme.com").await.expect("reads"), [""; 0]);
    assert_eq!(
        opened.store.known_get("main", "person", "1").await.expect("reads").map(|row| row.values).as_deref(),
        Some(&b"new"[..])
    );

    let [account, kind, gone] = ["main", "person", "1"].map(str::to_owned);
    opened.store.commit(vec![Write::Forget { account, kind, id: gone }]).await.expect("commits");
    assert_eq!(get("email", "ada@acme.com").await.expect("reads"), ["2"]);
    assert_eq!(get("user", "42").await.expect("reads"), [""; 0]);
    assert_eq!(opened.store.known_get("main", "person", "1").await.expect("reads"), None);
    assert_eq!(
        opened.store.known_get("main", "person", "2").await.expect("reads").map(|row| row.values).as_deref(),
        Some(&b"other"[..])
    );

    let [account, kind, field, value, id] = ["main", "person", "email", "ada@acme.com", "2"].map(str::to_owned);
    opened.store.commit(vec![Write::IndexRemove { account, kind, field, value, id }]).await.expect("commits");
    assert_eq!(get("email", "ada@acme.com").await.expect("reads"), [""; 0]);
}

#[tokio::test]
async fn what_was_seen_stands_beside_known_values_and_the_newer_stays() {
    let opened = open();
    let names = |id: &str| ["main", "person", id].map(str::to_owned);
    let known = |values: &[u8]| {
        let [account, kind, id] = names("1");
        Write::KnownPut { account, kind, id, values: values.to_vec() }
    };
    let see = |id: &str, version: i64, seen: &[u8]| {
        let [account, kind, id] = names(id);
        Write::KnownSee { account, kind, id, version, seen: seen.to_vec(), doubt: None }
    };
    let row = async || opened.store.known_get("main", "person", "1").await.expect("reads").expect("a row");
    opened.store.commit(vec![known(b"a"), see("1", 7, b"seven"), see("2", 7, b"nobody's")]).await.expect("commits");
    assert_eq!(row().await, KnownRow { values: b"a".to_vec(), seen: Some(b"seven".to_vec()) });
    assert_eq!(opened.store.known_get("main", "person", "2").await.expect("reads"), None, "nothing is known of it");
    opened.store.commit(vec![see("1", 6, b"six"), known(b"b")]).await.expect("commits");
    assert_eq!(row().await, KnownRow { values: b"b".to_vec(), seen: Some(b"seven".to_vec()) });
    opened.store.commit(vec![see("1", 7, b"seven again")]).await.expect("commits");
    assert_eq!(row().await.seen.as_deref(), Some(&b"seven again"[..]));
}

#[tokio::test]
async fn the_entries_of_an_entity_that_went_into_another_one_lead_there() {
    let opened = open();
    let known = |id: &str| {
        let [account, kind, id] = ["main", "person", id].map(str::to_owned);
        Write::KnownPut { account, kind, id, values: b"{}".to_vec() }
    };
    let both = [put("email", "ada@acme.com", "1"), put("email", "ada@acme.com", "2")];
    let writes = both.into_iter().chain([put("user", "41", "1"), put("user", "42", "2"), known("1"), known("2")]).collect();
    opened.store.commit(writes).await.expect("commits");
    let [account, kind, from, to] = ["main", "person", "1", "2"].map(str::to_owned);
    opened.store.commit(vec![Write::Remap { account, kind, from, to }]).await.expect("commits");
    for (field, value) in [("email", "ada@acme.com"), ("user", "41"), ("user", "42")] {
        assert_eq!(opened.store.index_get("main", "person", field, value).await.expect("reads"), ["2"], "{field}");
    }
    assert_eq!(opened.store.known_get("main", "person", "1").await.expect("reads"), None);
    assert!(opened.store.known_get("main", "person", "2").await.expect("reads").is_some());
    // Nothing is left that the one that is gone could be found by.
    let [account, kind, id] = ["main", "person", "1"].map(str::to_owned);
    opened.store.commit(vec![Write::Forget { account, kind, id }]).await.expect("commits");
    assert_eq!(opened.store.index_get("main", "person", "user", "41").await.expect("reads"), ["2"]);
}

#[tokio::test]
async fn small_values_are_listed_in_the_order_of_their_keys() {
    let opened = open();
    let put = |space: &str, key: &str, value: &[u8]| Write::KvPut {
        space: space.to_owned(),
        key: key.to_owned(),
        value: value.to_vec(),
    };
    opened
        .store
        .commit(vec![put("s", "b", b"1"), put("s", "a", b"2"), put("t", "c", b"3"), put("s", "b", b"4")])
        .await
        .expect("commits");
    let expected = [("a".to_owned(), b"2".to_vec()), ("b".to_owned(), b"4".to_vec())];
    assert_eq!(opened.store.kv_list("s").await.expect("reads"), expected);
    opened.store.commit(vec![Write::KvDelete { space: "s".to_owned(), key: "b".to_owned() }]).await.expect("commits");
    assert_eq!(opened.store.kv_get("s", "b").await.expect("reads"), None);
    assert_eq!(opened.store.kv_get("t", "c").await.expect("reads").as_deref(), Some(&b"3"[..]));
}
