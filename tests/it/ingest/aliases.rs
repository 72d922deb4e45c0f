//! Alias events at the door, before the real store: which lane later events get, and when.

use std::sync::Arc;

use pipewright::ingest::replay_unmatched;
use pipewright::store::sqlite::{OpenOptions, SqliteStore};
use pipewright::store::{Feed, Pending, Store, UnmatchedFilter};
use serde_json::{Value, json};

use super::harness::{Door, KEY, OTHER_KEY, basic, set_with};
use crate::support::temp_dir;

struct Opened {
    door: Door<SqliteStore>,
    feed: Feed,
}

async fn open(dir: &std::path::Path) -> Opened {
    let (store, feed) = SqliteStore::open(OpenOptions { dir: dir.to_owned(), ..OpenOptions::default() }).expect("a store");
    Opened { door: Door::before(Arc::new(store), "").await, feed }
}

impl Opened {
    /// Hands in a batch with a source's key; it must be taken.
    async fn send(&self, key: &str, events: Value) {
        let batch = json!({ "batch": events }).to_string();
        let reply = self.door.connect().await.send("POST", "/v1/batch", &[("authorization", &basic(key))], batch).await;
        assert_eq!((reply.status, reply.json()), (200, json!({ "success": true })));
    }

    /// The deliveries of the rule `person` that were made since, with what they stand behind.
    fn fed(&mut self) -> Vec<(String, String)> {
        let mut all: Vec<Pending> = Vec::new();
        while let Ok(some) = self.feed.try_recv() {
            all.extend(some);
        }
        all.retain(|pending| &*pending.id.rule == "person");
        all.into_iter().map(|pending| (pending.key, pending.behind.join(" "))).collect()
    }

    fn class(&self, id: &str) -> String {
        self.door.store.aliases().class_of(id).map(|class| class.join(" ")).unwrap_or_default()
    }

    async fn close(self) {
        self.door.shutdown.send_replace(true);
        self.door.served.await.expect("served");
        self.door.store.close().await;
    }
}

fn identify(user: &str) -> Value {
    json!({ "type": "identify", "userId": user })
}

fn alias(user: &str, previous: &str) -> Value {
    json!({ "type": "alias", "userId": user, "previousId": previous })
}

fn at(key: &str, behind: &str) -> (String, String) {
    (key.to_owned(), behind.to_owned())
}

#[tokio::test]
async fn later_items_of_the_same_batch_see_an_alias_that_no_rule_wants_and_so_do_later_requests_and_processes() {
    let dir = temp_dir();
    let mut opened = open(dir.path()).await;
    let visitor = json!({ "type": "identify", "anonymousId": "p" });
    opened.send(KEY, json!([identify("p"), alias("u", "p"), identify("p"), identify("u"), visitor, identify("z")])).await;
    let joined = at("u:u", "a:u u:p a:p");
    let fed = opened.fed();
    assert_eq!(fed, [at("u:p", ""), joined.clone(), joined.clone(), joined.clone(), at("u:z", "")]);
    opened.send(KEY, json!([identify("p"), alias("p", "u"), identify("u")])).await;
    let turned = at("u:p", "a:p u:u a:u");
    assert_eq!(opened.fed(), [joined, turned.clone()]);
    opened.close().await;

    let mut opened = open(dir.path()).await;
    opened.send(KEY, json!([identify("u")])).await;
    assert_eq!(opened.fed(), [turned]);
}

#[tokio::test]
async fn a_replay_of_unmatched_events_stands_where_an_alias_puts_it_now() {
    let dir = temp_dir();
    let mut opened = open(dir.path()).await;
    let page = |user: &str| json!({ "type": "page", "userId": user });
    opened.send(KEY, json!([page("p"), alias("u", "p")])).await;
    let mended = set_with("", |rules| rules.replacen("'type = \"identify\"'", "'type = \"page\"'", 1));
    let all = UnmatchedFilter { limit: 100, ..UnmatchedFilter::default() };
    let report = replay_unmatched(&*opened.door.store, &mended, Some("person"), &all).await.expect("replayed");
    assert_eq!((report.seen, report.deliveries), (2, 1));
    assert_eq!(opened.fed(), [at("u:u", "a:u u:p a:p")]);
}

#[tokio::test]
async fn an_alias_that_its_source_does_not_keep_is_followed_all_the_same() {
    let dir = temp_dir();
    let opened = open(dir.path()).await;
    opened.send(OTHER_KEY, json!([alias("u", "p"), { "type": "page", "userId": "u" }])).await;
    let stats = opened.door.store.stats().await.expect("counts");
    assert_eq!((stats.events, stats.unmatched), (0, 0));
    assert_eq!(opened.class("p"), "u p");
    let counted = r#"events_accepted_total{source="app",type="alias"} 1"#;
    assert!(opened.door.metrics.render().contains(counted), "{}", opened.door.metrics.render());
    opened.close().await;
    assert_eq!(open(dir.path()).await.class("p"), "u p");
}

#[tokio::test]
async fn what_must_not_be_followed_joins_nothing() {
    let dir = temp_dir();
    let mut opened = open(dir.path()).await;
    let mut off = alias("u", "p");
    off["integrations"] = json!({ "All": false });
    opened.send(KEY, json!([off, alias("u", "u"), { "type": "identify", "userId": "u", "previousId": "p" }])).await;
    opened.door.live.store(set_with("", |rules| rules.replacen("[sources.app]", "aliases = \"ignore\"\n[sources.app]", 1)));
    opened.send(KEY, json!([alias("u", "p"), identify("p")])).await;
    assert_eq!(opened.fed(), [at("u:u", ""), at("u:p", "")]);
    assert_eq!(opened.door.store.stats().await.expect("counts").unmatched, 2, "it is an event like any other");
    // Another source's are followed, and hold for all.
    opened.send(OTHER_KEY, json!([alias("u", "p")])).await;
    opened.send(KEY, json!([identify("p")])).await;
    assert_eq!(opened.fed(), [at("u:u", "a:u u:p a:p")]);
}

#[tokio::test]
async fn an_id_is_compared_as_text_in_aliases_too() {
    let dir = temp_dir();
    let opened = open(dir.path()).await;
    let body = r#"{"batch": [{"type": "alias", "userId": 1e3, "previousId": " p "}]}"#;
    opened.door.connect().await.send("POST", "/v1/batch", &[("authorization", &basic(KEY))], body).await;
    assert_eq!(opened.class("p"), "1000 p");
}
