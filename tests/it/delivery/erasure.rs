//! Erasing a user while the daemon works, and one who takes more than one step.

use bytes::Bytes;
use pipewright::mock::{Fault, FaultMatch, Hold};
use pipewright::pipedrive::Method;
use pipewright::store::{Dedupe, DeliveryState, NewEvent};
use serde_json::{Value, json};

use super::harness::{PERSON, Rig, Setup};
use crate::support::{post_json, wait_until};

/// One request to the admin API; with more to do it answers `so_far`.
async fn forget(rig: &Rig, user: &str, so_far: &Value) -> Value {
    let mut body = json!({ "user": user, "erase": true });
    if !so_far.is_null() {
        body["so_far"] = so_far.clone();
    }
    let reply = post_json(rig.daemon().admin_addr(), "/api/forget", &body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

/// So many events of a user that no rule wants.
async fn pages(rig: &Rig, user: &str, many: usize) {
    let event = |n: usize| {
        let id = format!("{user}-{n}");
        let body = json!({ "type": "page", "userId": user, "messageId": id });
        NewEvent {
            source: "website".to_owned(),
            message_id: id,
            kind: "page",
            name: None,
            user: Some(user.to_owned()),
            received_at: jiff::Timestamp::now(),
            payload: Bytes::from(body.to_string()),
            deliveries: Vec::new(),
            dedupe: Dedupe::Window,
            replay_of: None,
            alias: None,
        }
    };
    rig.store().append((0..many).map(event).collect()).await.expect("stored");
}

/// What the sealed blocks of search columns hold: their number, and the entries in each column.
fn blocks(rig: &Rig) -> (i64, Vec<i64>) {
    let file = rig.daemon().data_dir().join("mock/pipewright.db");
    let file = if file.exists() { file } else { rig.daemon().data_dir().join("pipewright.db") };
    let conn = rusqlite::Connection::open(file).expect("opens");
    let blocks = conn.query_row("SELECT count(*) FROM segments WHERE col = 0", [], |row| row.get(0)).expect("reads");
    let mut entries = conn.prepare("SELECT sum(length(data)) / 6 FROM segments WHERE col < 2 GROUP BY col").expect("prepares");
    let entries = entries.query_map([], |row| row.get(0)).expect("reads").collect::<Result<_, _>>().expect("reads");
    (blocks, entries)
}

#[tokio::test]
async fn a_user_of_many_parts_goes_request_by_request_out_of_sealed_blocks_and_nobody_else_does() {
    let rig = Setup::person(PERSON).start().await;
    pages(&rig, "u", 2600).await;
    pages(&rig, "z", 100).await;
    pages(&rig, "p", 2600).await;
    // The block is sealed by the next event.
    pages(&rig, "y", 50).await;
    rig.send(json!({ "type": "alias", "userId": "u", "previousId": "p" })).await;
    assert_eq!(blocks(&rig), (1, vec![4096, 4096]));

    // Cut off after the first request, whoever asked, and begun anew: what joined the ids is still known.
    let first = forget(&rig, "u", &Value::Null).await;
    assert_eq!((&first["counts"]["unmatched"], &first["tombstone"]), (&json!(5000), &Value::Null));
    let mut answer = forget(&rig, "u", &Value::Null).await;
    assert_eq!(answer["users"], json!(["p", "u"]));
    let mut erased = answer["counts"]["unmatched"].as_u64().expect("a count");
    while !answer["so_far"].is_null() {
        answer = forget(&rig, "u", &answer["so_far"]).await;
        erased = answer["counts"]["unmatched"].as_u64().expect("a count");
    }
    assert_eq!(erased, 201, "the rest, with the alias");
    assert!(answer["tombstone"]["scrubbed"].as_bool().expect("told"));

    assert_eq!(blocks(&rig), (1, vec![100, 100]), "nothing of them in a sealed block");
    let stats = rig.store().stats().await.expect("counts");
    assert_eq!((stats.unmatched, stats.events), (150, 0));
    for (user, many) in [("u", 0), ("p", 0), ("z", 100), ("y", 50)] {
        let found = rig.store().events_of(user, None, 10_000).await.expect("reads");
        assert_eq!(found.len(), many, "{user}");
        let by_message = rig.store().events_by_message(&format!("{user}-7")).await.expect("reads");
        assert_eq!(by_message.len(), usize::from(many > 0), "{user}");
    }
    assert!(rig.store().aliases().is_empty());
    // What comes then is found beside what stayed.
    pages(&rig, "w", 10).await;
    assert_eq!(rig.store().events_of("w", None, 100).await.expect("reads").len(), 10);
}

#[tokio::test]
async fn an_erasure_goes_on_where_its_last_request_ended() {
    let rig = Setup::person(PERSON).start().await;
    pages(&rig, "u", 5200).await;
    let first = forget(&rig, "u", &Value::Null).await;
    assert_eq!(first["counts"]["unmatched"], 5000);
    let last = forget(&rig, "u", &first["so_far"]).await;
    assert_eq!((&last["counts"]["unmatched"], &last["so_far"]), (&json!(5200), &Value::Null));
    assert_eq!(last["tombstone"]["unmatched"], 5200);
    let mixed = json!({ "user": "z", "erase": true, "so_far": first["so_far"] });
    let other = post_json(rig.daemon().admin_addr(), "/api/forget", &mixed);
    assert_eq!(other.await.status, 400, "of another user");
}

#[tokio::test]
async fn what_is_under_way_ends_first_and_then_goes_with_all_that_it_learned() {
    let rig = Setup::person(PERSON).start().await;
    let hold = Hold::new();
    rig.mock.fail_matching(FaultMatch::next(Method::Post, "/api/v2/persons"), Fault::Hold(hold.clone()));
    let under_way = rig.identify("u", json!({ "name": "U" })).await;
    hold.reached().await;
    // Behind it in its lane.
    let waits = rig.identify("u", json!({ "name": "U 2" })).await;
    let erasing = forget(&rig, "u", &Value::Null);
    let meanwhile = async {
        wait_until("what waits was dropped", async || {
            let row = rig.rows(&waits).await.into_iter().next()?;
            (row.state == DeliveryState::Discarded).then_some(())
        })
        .await;
        let row = rig.row(&under_way).await;
        assert_eq!((row.state, rig.mock.count("persons")), (DeliveryState::Pending, 0), "it is waited for");
        // Others are not kept.
        let other = rig.identify("z", json!({ "name": "Z" })).await;
        rig.outcome(&other, "done").await;
        hold.release();
    };
    let (gone, ()) = tokio::join!(erasing, meanwhile);
    assert_eq!(
        gone["counts"],
        json!({ "events": 2, "unmatched": 0, "rejected": 0, "deliveries": 2, "discarded": 1, "entities": 1 }),
        "{gone:#}"
    );
    for event in [&under_way, &waits] {
        assert!(rig.rows(event).await.is_empty());
    }
    assert_eq!(rig.persons("u"), 1, "what was sent stays in Pipedrive");
    let field = rig.key("persons", "Segment User ID");
    assert!(rig.store().index_get("main", "person", &field, "u").await.expect("reads").is_empty());
    let id = rig.person("u")["id"].to_string();
    assert_eq!(rig.store().known_get("main", "person", &id).await.expect("reads"), None);
    // The next event finds the person by a look-up.
    rig.mock.clear_log();
    rig.run("u", json!({ "name": "U 3" })).await;
    assert_eq!((rig.persons("u"), rig.calls(Method::Get, "/api/v2/itemSearch").len()), (1, 1));
}

#[tokio::test]
async fn what_is_under_way_and_fails_meanwhile_is_dropped_before_it_is_tried_again() {
    let rig = Setup::person(PERSON).delivery("retry_first = \"1h\"\nretry_max = \"1h\"").start().await;
    let hold = Hold::new();
    rig.mock.fail_matching(FaultMatch::next(Method::Get, "/api/v2/itemSearch"), Fault::Hold(hold.clone()));
    rig.mock.fail_matching(FaultMatch::next(Method::Post, "/api/v2/persons"), Fault::NoConnection);
    let event = rig.identify("u", json!({ "name": "U" })).await;
    hold.reached().await;
    let meanwhile = async {
        hold.release();
    };
    let (gone, ()) = tokio::join!(forget(&rig, "u", &Value::Null), meanwhile);
    assert_eq!((&gone["counts"]["events"], &gone["counts"]["deliveries"]), (&json!(1), &json!(1)), "{gone:#}");
    assert!(rig.rows(&event).await.is_empty());
    let status = rig.status().await;
    assert_eq!((status.pending, status.waiting, status.lanes), (0, 0, 0), "nor is anything left in its lane");
}
