//! The door before the real store.

use std::sync::Arc;

use pipewright::ingest::replay_unmatched;
use pipewright::store::sqlite::{OpenOptions, SqliteStore};
use pipewright::store::{Feed, Store, UnmatchedFilter};
use serde_json::json;

use super::harness::{Door, set_with};
use crate::support::temp_dir;

fn open(dir: &std::path::Path) -> (Arc<SqliteStore>, Feed) {
    let (store, feed) = SqliteStore::open(OpenOptions { dir: dir.to_owned(), ..OpenOptions::default() }).expect("a store");
    (Arc::new(store), feed)
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart_and_known_as_a_duplicate() {
    let dir = temp_dir();
    let (store, mut feed) = open(dir.path());
    let door = Door::before(store, "").await;
    let batch = json!({"batch": [
        {"type": "identify", "userId": "ada", "messageId": "m1"},
        {"type": "identify", "userId": {}, "messageId": "bad"},
        {"type": "page", "userId": "ada", "messageId": "m2"},
        {"type": "identify", "userId": "ada", "messageId": "m1"}]});
    let reply = door.post("/v1/batch", &batch).await;
    assert_eq!((reply.status, reply.json()["rejected"][0]["messageId"].as_str()), (200, Some("bad")));
    // The lanes hear of it before the sender does.
    let fed = feed.try_recv().expect("deliveries");
    assert_eq!(
        fed.iter().map(|d| (d.id.to_string(), d.key.as_str())).collect::<Vec<_>>(),
        [("1/person".to_owned(), "u:ada"), ("1/everyone".to_owned(), "u:ada")]
    );
    assert!(door.metrics.render().contains(r#"events_duplicate_total{source="website",type="identify"} 1"#));
    door.shutdown.send_replace(true);
    door.served.await.expect("served");
    door.store.close().await;
    drop(door.store);

    let (store, _feed) = open(dir.path());
    let door = Door::before(store, "").await;
    assert_eq!(door.post("/v1/batch", &batch).await.status, 200);
    let stats = door.store.stats().await.expect("stats");
    assert_eq!((stats.events, stats.unmatched, stats.pending, stats.rejected), (1, 1, 2, 2));
    let refused = door.store.rejected(1).await.expect("refused");
    assert_eq!((refused[0].message_id.as_deref(), refused[0].source.as_str()), (Some("bad"), "website"));
}

#[tokio::test]
async fn a_rejected_event_may_come_again_once_it_is_right() {
    let dir = temp_dir();
    let (store, _feed) = open(dir.path());
    let door = Door::before(store, "").await;
    assert_eq!(door.post("/v1/track", &json!({"userId": "u", "messageId": "m"})).await.status, 400);
    assert_eq!(door.post("/v1/track", &json!({"userId": "u", "messageId": "m", "event": "Deal Upserted"})).await.status, 200);
    assert_eq!(door.store.stats().await.expect("stats").events, 1);
}

#[tokio::test]
async fn unmatched_events_of_the_store_are_replayed_once() {
    let dir = temp_dir();
    let (store, mut feed) = open(dir.path());
    let door = Door::before(store, "").await;
    for n in 0..3 {
        door.post("/v1/track", &json!({"userId": "u", "event": "Deal Upsertd", "messageId": format!("m{n}")})).await;
    }
    let mended = set_with("", |rules| rules.replace("Deal Upserted", "Deal Upsertd"));
    let all = UnmatchedFilter { limit: 100, ..UnmatchedFilter::default() };
    for deliveries in [3, 0] {
        let report = replay_unmatched(&*door.store, &mended, Some("deal"), &all).await.expect("replayed");
        assert_eq!((report.seen, report.deliveries), (3, deliveries));
    }
    for seq in 4..7 {
        let fed = feed.try_recv().expect("a delivery");
        assert_eq!((fed[0].id.to_string(), fed[0].key.as_str()), (format!("{seq}/deal"), "u:u"));
    }
}
