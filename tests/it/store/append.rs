//! Appending: order, durability, duplicates, the feed.

use std::sync::Arc;

use pipewright::store::{Appended, Dedupe, NewEvent, Seq, Store, UnmatchedFilter};

use super::support::{Opened, WEEK, add, all_pending, at, delivery, event, open, open_with, repeats, timed};

fn received(message_id: &str, seconds: i64) -> NewEvent {
    NewEvent { received_at: at(seconds), ..event(message_id, &["person"]) }
}

#[tokio::test]
async fn what_was_appended_is_there_after_a_drop_without_close() {
    let opened = open();
    let mut new = event("m1", &["person", "note"]);
    new.name = Some("Signed Up".to_owned());
    new.repeats = Some(repeats(Seq(77), "old"));
    let seq = add(&opened.store, new.clone()).await;
    let before = all_pending(&opened.store, 10).await;

    let opened = opened.reopen();
    let stored = opened.store.event(seq).await.expect("reads").expect("is there");
    assert_eq!(stored.payload, new.payload);
    assert_eq!((stored.source.as_str(), stored.message_id.as_str()), ("website", "m1"));
    assert_eq!((stored.received_at, stored.repeats), (new.received_at, new.repeats));
    let after = all_pending(&opened.store, 10).await;
    assert_eq!(before, after);
    assert_eq!(after.iter().map(|p| p.id.to_string()).collect::<Vec<_>>(), ["1/person", "1/note"]);
    assert_eq!(add(&opened.store, event("m2", &["person"])).await, Seq(2), "numbers go on");
}

#[tokio::test]
async fn the_feed_has_a_delivery_before_its_append_is_answered() {
    let mut opened = open();
    let seq = add(&opened.store, event("m1", &["b", "a"])).await;
    let fed = opened.feed.try_recv().expect("is in the feed already");
    assert_eq!(fed, all_pending(&opened.store, 10).await);
    assert_eq!(fed.iter().map(|p| (&*p.id.rule, p.position)).collect::<Vec<_>>(), [("b", 0), ("a", 1)]);
    assert_eq!(fed[0].id.seq, seq);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_feed_is_in_order_whoever_appends() {
    let Opened { store, mut feed, dir: _dir } = open();
    let store = Arc::new(store);
    let producers: Vec<_> = (0..16)
        .map(|producer| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let mut seqs = Vec::new();
                for n in 0..20 {
                    seqs.push(add(&store, event(&format!("{producer}-{n}"), &["person"])).await);
                }
                assert!(seqs.is_sorted(), "what one sender sends in order is accepted in order");
            })
        })
        .collect();
    for producer in producers {
        producer.await.expect("no panic");
    }
    let mut seqs = Vec::new();
    while let Ok(fresh) = feed.try_recv() {
        seqs.extend(fresh.iter().map(|p| p.id.seq.0));
    }
    assert_eq!(seqs, (1..=320).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_duplicate_is_answered_with_its_first_copy() {
    let opened = open();
    let seq = add(&opened.store, event("m1", &["person"])).await;
    let again = opened.store.append(vec![event("m1", &["person"])]).await.expect("appends");
    assert_eq!(again, [Appended::Duplicate(seq)]);
    let mut elsewhere = event("m1", &["person"]);
    elsewhere.source = "app".to_owned();
    assert_eq!(add(&opened.store, elsewhere).await, Seq(2), "another source has its own ids");

    let opened = opened.reopen();
    let again = opened.store.append(vec![event("m1", &["person"])]).await.expect("appends");
    assert_eq!(again, [Appended::Duplicate(seq)], "the window survives a restart");
    assert_eq!(all_pending(&opened.store, 1).await.len(), 2);
}

#[tokio::test]
async fn a_duplicate_within_one_batch_is_recognised() {
    let opened = open();
    let batch = vec![event("m1", &["person"]), event("m2", &["person"]), event("m1", &["person"])];
    let answers = opened.store.append(batch).await.expect("appends");
    assert_eq!(answers, [Appended::Fresh(Seq(1)), Appended::Fresh(Seq(2)), Appended::Duplicate(Seq(1))]);
}

#[tokio::test]
async fn an_id_is_new_again_after_the_window() {
    let (opened, pass) = timed(3_600);
    let sent = async |passed, seconds| {
        pass(passed);
        opened.store.append(vec![received("m1", seconds)]).await.expect("appends")
    };
    assert_eq!(sent(0, 0).await, [Appended::Fresh(Seq(1))]);
    assert_eq!(sent(3_500, 3_500).await, [Appended::Duplicate(Seq(1))]);
    assert_eq!(sent(200, 3_700).await, [Appended::Fresh(Seq(2))]);
    assert_eq!(sent(100, 3_800).await, [Appended::Duplicate(Seq(2))]);
}

#[tokio::test]
async fn a_jump_of_the_wall_clock_leaves_the_window_as_it_is() {
    let (opened, pass) = timed(3_600);
    let day = 24 * 3_600;
    let sent = async |id, seconds| opened.store.append(vec![received(id, seconds)]).await.expect("appends");
    assert_eq!(sent("m1", 0).await, [Appended::Fresh(Seq(1))]);
    pass(60);
    assert_eq!(sent("m2", day).await, [Appended::Fresh(Seq(2))]);
    assert_eq!(sent("m1", day).await, [Appended::Duplicate(Seq(1))], "a minute has passed");
    opened.store.prune(&pipewright::config::RetentionConfig::default(), WEEK, at(day)).await.expect("prunes");
    for seconds in [day, 60] {
        assert_eq!(sent("m1", seconds).await, [Appended::Duplicate(Seq(1))], "nothing was swept");
        assert_eq!(sent("m2", seconds).await, [Appended::Duplicate(Seq(2))]);
    }
    // What is truly old goes, though the clock was set to before it came.
    pass(4_000);
    assert_eq!(sent("m1", -day).await, [Appended::Fresh(Seq(3))]);
}

#[tokio::test]
async fn a_replay_is_always_fresh_and_does_not_enter_the_window() {
    let opened = open();
    let replay = |message_id| {
        let mut new = event(message_id, &["person"]);
        new.dedupe = Dedupe::Never;
        new.repeats = Some(repeats(Seq(1), "person"));
        new
    };
    let first = add(&opened.store, event("m1", &["person"])).await;
    let second = add(&opened.store, replay("m1")).await;
    assert_eq!(opened.store.append(vec![event("m1", &["person"])]).await.expect("appends"), [Appended::Duplicate(first)]);
    assert_eq!(opened.store.event(second).await.expect("reads").expect("is there").repeats, Some(repeats(first, "person")));
    add(&opened.store, replay("m2")).await;
    assert_eq!(add(&opened.store, event("m2", &["person"])).await, Seq(4));
}

#[tokio::test]
async fn unmatched_events_are_kept_apart() {
    let mut opened = open();
    let seq = add(&opened.store, event("m1", &[])).await;
    add(&opened.store, event("m2", &["person"])).await;
    assert_eq!(opened.store.append(vec![event("m1", &[])]).await.expect("appends"), [Appended::Duplicate(seq)]);
    let unmatched = opened.store.unmatched(&UnmatchedFilter { limit: 10, ..UnmatchedFilter::default() }).await.expect("reads");
    assert_eq!(unmatched.iter().map(|e| (e.seq, e.message_id.as_str())).collect::<Vec<_>>(), [(seq, "m1")]);
    assert!(opened.store.event(seq).await.expect("reads").is_some(), "can be replayed");
    assert_eq!(opened.feed.try_recv().expect("one").len(), 1);
    assert!(opened.feed.try_recv().is_err(), "unmatched events are not fed");
    let stats = opened.store.stats().await.expect("reads");
    assert_eq!((stats.events, stats.unmatched, stats.pending), (1, 1, 1));
    assert_eq!(stats.oldest_pending, Some(at(0)));
}

#[tokio::test]
async fn unmatched_events_have_a_bound() {
    let opened = open_with(|o| o.max_unmatched = 300);
    for batch in 0..4 {
        let events = (0..100).map(|n| event(&format!("{batch}-{n}"), &[])).collect();
        opened.store.append(events).await.expect("appends");
    }
    let stats = opened.store.stats().await.expect("reads");
    assert!(stats.unmatched <= 300, "{} kept", stats.unmatched);
    assert_eq!(
        opened.store.unmatched(&UnmatchedFilter { limit: 1, ..UnmatchedFilter::default() }).await.expect("reads")[0].seq,
        Seq(400),
        "the newest stay"
    );
}

#[tokio::test]
async fn lanes_are_rebuilt_page_by_page_with_their_keys() {
    let opened = open();
    for n in 0..10 {
        let mut new = event(&format!("m{n}"), &[]);
        new.deliveries = vec![delivery("z", "u:1"), delivery("a", "u:2"), delivery("m", "u:3")];
        add(&opened.store, new).await;
    }
    let whole = all_pending(&opened.store, 1_000).await;
    for page in [1, 2, 4, 7] {
        assert_eq!(all_pending(&opened.store, page).await, whole);
    }
    assert_eq!(whole[..4].iter().map(|p| p.key.as_str()).collect::<Vec<_>>(), ["u:1", "u:2", "u:3", "u:1"]);
}
