//! What is dropped, and what never is.

use std::time::Duration;

use pipewright::config::{Bytes, RetentionConfig, Span};
use pipewright::store::{Appended, DeliveryFilter, DeliveryState, NewEvent, Seq, Store, UnmatchedFilter, Write};

use super::support::{Opened, WEEK, add, all_pending, at, event, finish, id, open, timed};

const HOUR: i64 = 3_600;

fn policy(events_hours: u64, dead_hours: u64) -> RetentionConfig {
    RetentionConfig {
        events: Span::secs(events_hours * 3_600),
        dead: Span::secs(dead_hours * 3_600),
        ..RetentionConfig::default()
    }
}

async fn left(opened: &Opened) -> Vec<u64> {
    let rows = opened.store.deliveries(&DeliveryFilter { limit: 1_000, ..DeliveryFilter::default() }).await.expect("reads");
    let mut seqs: Vec<_> = rows.iter().map(|row| row.id.seq.0).collect();
    seqs.dedup();
    seqs.reverse();
    seqs
}

#[tokio::test]
async fn age_counts_from_the_end_and_the_undelivered_stay() {
    let opened = open();
    for n in 1..=6 {
        add(&opened.store, event(&format!("m{n}"), &["a", "b"])).await;
    }
    let end = |seq, rule, state, hour| finish(id(Seq(seq), rule), state, at(hour * HOUR));
    let writes = vec![
        // 1: ended long ago. 2: half of it ended. 3: a dead letter. 4: an old dead letter. 5: ended lately. 6: untouched.
        end(1, "a", DeliveryState::Done, 1),
        end(1, "b", DeliveryState::Skipped, 1),
        end(2, "a", DeliveryState::Done, 1),
        end(3, "a", DeliveryState::Dead, 60),
        end(3, "b", DeliveryState::Done, 1),
        end(4, "a", DeliveryState::Partial, 1),
        end(4, "b", DeliveryState::Done, 1),
        end(5, "a", DeliveryState::Done, 1),
        end(5, "b", DeliveryState::Done, 90),
        Write::Record { id: id(Seq(1), "a"), attempt: 1, record: b"r".to_vec() },
    ];
    opened.store.commit(writes).await.expect("commits");
    let gone = opened.store.prune(&policy(24, 72), WEEK, at(100 * HOUR)).await.expect("prunes");
    assert_eq!((gone, left(&opened).await), (2, vec![2, 3, 5, 6]));
    assert!(opened.store.event(Seq(1)).await.expect("reads").is_none());
    assert_eq!(opened.store.records(&id(Seq(1), "a")).await.expect("reads"), Vec::<Vec<u8>>::new());
    let stats = opened.store.stats().await.expect("reads");
    assert_eq!((stats.events, stats.pending, stats.failed), (4, 3, 1));

    let gone = opened.store.prune(&policy(24, 72), WEEK, at(10_000 * HOUR)).await.expect("prunes");
    assert_eq!((gone, left(&opened).await), (2, vec![2, 6]), "however old");
    assert_eq!(all_pending(&opened.store, 10).await.len(), 3);
    let opened = opened.reopen();
    assert_eq!(add(&opened.store, event("m7", &["a"])).await, Seq(7), "numbers are never given twice");
}

#[tokio::test]
async fn numbers_are_not_given_twice_when_everything_is_gone() {
    let opened = open();
    let seq = add(&opened.store, event("m1", &["a"])).await;
    opened.store.commit(vec![finish(id(seq, "a"), DeliveryState::Done, at(0))]).await.expect("commits");
    assert_eq!(opened.store.prune(&policy(1, 1), WEEK, at(100 * HOUR)).await.expect("prunes"), 1);
    let opened = opened.reopen();
    assert_eq!(add(&opened.store, event("m2", &["a"])).await, Seq(2));
}

#[tokio::test]
async fn unmatched_events_and_the_window_age_too() {
    let (opened, pass) = timed(3_600);
    let late = |id: &str, hour| NewEvent { received_at: at(hour * HOUR), ..event(id, &[]) };
    add(&opened.store, late("m1", 0)).await;
    pass(190 * 3_600);
    add(&opened.store, late("m2", 190)).await;
    pass(10 * 3_600);
    assert_eq!(opened.store.prune(&policy(1, 1), WEEK, at(200 * HOUR)).await.expect("prunes"), 1);
    let rows = opened.store.unmatched(&UnmatchedFilter { limit: 10, ..UnmatchedFilter::default() }).await.expect("reads");
    assert_eq!(rows.iter().map(|row| row.seq).collect::<Vec<_>>(), [Seq(2)]);
    assert_eq!(opened.store.prune(&policy(1, 1), 10 * WEEK, at(900 * HOUR)).await.expect("prunes"), 0, "each call says how long");
    assert_eq!(opened.store.prune(&policy(1, 1), Duration::ZERO, at(200 * HOUR)).await.expect("prunes"), 1);
    let again = opened.store.append(vec![late("m2", 190)]).await.expect("appends");
    assert_eq!(again, [Appended::Fresh(Seq(3))], "the window was swept to ten hours later");
}

fn large(n: usize, rules: &[&str]) -> NewEvent {
    NewEvent { payload: vec![b'x'; 20_000].into(), ..event(&format!("m{n}"), rules) }
}

#[tokio::test]
async fn a_file_too_large_loses_the_least_missed_first() {
    let opened = open();
    let rules: [&[&str]; 4] = [&["a"], &["a"], &["a"], &[]];
    let events: Vec<_> = (0..400).map(|n| large(n, rules[n / 100])).collect();
    opened.store.append(events).await.expect("appends");
    // 1 to 100 stay pending, 101 to 200 are dead, 201 to 300 are done, the rest is unmatched; 2 MB each.
    for seq in 101..=300 {
        let ends = if seq <= 200 { DeliveryState::Dead } else { DeliveryState::Done };
        opened.store.commit(vec![finish(id(Seq(seq), "a"), ends, at(0))]).await.expect("commits");
    }
    let full = opened.store.stats().await.expect("reads").bytes;
    let prune = async |mb: u64| {
        let policy = RetentionConfig { max_bytes: Bytes(mb * 1_000_000), ..RetentionConfig::default() };
        opened.store.prune(&policy, WEEK, at(1)).await.expect("prunes");
        let stats = opened.store.stats().await.expect("reads");
        (stats.unmatched, stats.events, stats.failed, stats.pending)
    };
    assert_eq!(prune(100).await, (100, 300, 100, 100), "small enough");
    assert_eq!(prune(7).await, (0, 300, 100, 100), "unmatched ones first");
    assert_eq!(prune(5).await, (0, 200, 100, 100), "then what ended well");
    assert_eq!(prune(3).await, (0, 100, 0, 100), "then failures");
    assert_eq!(prune(0).await, (0, 100, 0, 100), "never the undelivered");
    opened.store.close().await;
    let file = std::fs::metadata(opened.dir.path().join("pipewright.db")).expect("is there").len();
    assert!(file < full / 2, "the room is given back: {file} of {full}");
}
