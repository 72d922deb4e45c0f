//! Erasing a user while the daemon works, and one who takes more than one step.

use bytes::Bytes;
use pipewright::delivery::Scope;
use pipewright::mock::{Fault, FaultMatch, Hold};
use pipewright::pipedrive::Method;
use pipewright::store::{Dedupe, DeliveryState, NewEvent, ReplayOptions, TO_FORGET};
use serde_json::{Value, json};

use super::harness::{PERSON, Rig, Setup};
use crate::support::{post_json, request, wait_until};

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
    pages_by(rig, user, &json!({ "userId": user }), many).await;
}

/// The same, with these ids.
async fn pages_by(rig: &Rig, user: &str, ids: &Value, many: usize) {
    let event = |n: usize| {
        let id = format!("{user}-{n}");
        let mut body = ids.clone();
        body["type"] = json!("page");
        body["messageId"] = json!(id);
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
            repeats: None,
            kept: true,
            alias: None,
            forget: false,
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

/// Takes `delete` events.
const WEBHOOK: &str = "webhook_secret = \"env:PIPEWRIGHT_TEST_UNSET\"";
/// Longer than any test takes.
const HOUR: &str = "retry_first = \"1h\"\nretry_max = \"1h\"";
/// A note on the person that the event names.
const NOTE: &str =
    "fn handle(event) { note::create(#{ content: \"hi\", person_id: by(#{ \"Segment User ID\": event.properties.of }) }); }";

/// Hands events in as Segment's webhook does, in one request.
async fn webhook(rig: &Rig, events: &Value) {
    use hmac::Mac as _;
    let body = events.to_string();
    let mut mac = hmac::Hmac::<sha1::Sha1>::new_from_slice(b"mock").expect("a key");
    mac.update(body.as_bytes());
    let signature = hex::encode(mac.finalize().into_bytes());
    let headers = [("content-type", "application/json"), ("x-signature", signature.as_str())];
    let reply = request(rig.daemon().ingest_addr(), "POST", "/webhooks/website", &headers, body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}

async fn delete(rig: &Rig, user: &str) {
    webhook(rig, &json!([{ "type": "delete", "userId": user, "messageId": format!("delete-{user}") }])).await;
}

async fn erased(rig: &Rig) {
    wait_until("nobody is to be erased any more", async || {
        rig.store().kv_list(TO_FORGET).await.expect("reads").is_empty().then_some(())
    })
    .await;
}

async fn alias(rig: &Rig, user: &str, previous: &str) -> String {
    rig.send(json!({ "type": "alias", "userId": user, "previousId": previous })).await
}

fn rule(name: &str) -> Scope {
    Scope::Rule(name.to_owned())
}

#[tokio::test]
async fn what_comes_after_a_delete_event_stays_in_the_same_request_too_and_so_does_what_a_later_alias_joins() {
    let rig = Setup::person(PERSON).source(WEBHOOK).start().await;
    for user in ["u", "x"] {
        rig.run(user, json!({ "name": user })).await;
    }
    alias(&rig, "u", "former").await;
    rig.daemon().delivery().pause(rule("person"), "a test".to_owned()).await.expect("paused");
    let waits = rig.identify("u", json!({ "name": "waits" })).await;
    webhook(
        &rig,
        &json!([
            { "type": "identify", "userId": "former", "messageId": "before", "traits": { "name": "before" } },
            { "type": "delete", "userId": "u", "messageId": "delete" },
            { "type": "identify", "userId": "u", "messageId": "batch", "traits": { "name": "in the same request" } },
        ]),
    )
    .await;
    alias(&rig, "u", "x").await;
    let later = rig.identify("u", json!({ "name": "later" })).await;
    erased(&rig).await;
    for gone in [&waits, "before"] {
        assert!(rig.rows(gone).await.is_empty(), "{gone}");
    }
    assert!(rig.store().events_by_message("delete").await.expect("reads").is_empty());
    for stays in ["batch", &later] {
        assert_eq!(rig.row(stays).await.state, DeliveryState::Pending, "{stays}");
    }
    assert_eq!(rig.store().events_of("x", None, 10).await.expect("reads").len(), 1, "another user's until the alias");
    let class = |id: &str| rig.store().aliases().class_of(id).map(|class| class.join(" "));
    assert_eq!((class("x").as_deref(), class("former")), (Some("u x"), None));
    rig.daemon().delivery().resume(rule("person")).await.expect("resumed");
    rig.settled().await;
    assert_eq!((rig.row("batch").await.state, rig.row(&later).await.state), (DeliveryState::Done, DeliveryState::Done));
    assert_eq!(rig.person("u")["name"], "later");
}

#[tokio::test]
async fn what_waits_for_a_retry_or_a_link_goes_or_stays_by_its_place() {
    let rig = Setup::person(PERSON).rule("note", "type = \"track\"", NOTE).source(WEBHOOK).delivery(HOUR).start().await;
    rig.mock.fail_matching(FaultMatch::next(Method::Post, "/api/v2/persons"), Fault::NoConnection);
    let parked = rig.track("u", "Noted", json!({ "of": "z" })).await;
    rig.outcome(&parked, "parked").await;
    let failing = rig.identify("u", json!({ "name": "failing" })).await;
    rig.outcome(&failing, "retry").await;
    delete(&rig, "u").await;
    let later = rig.track("u", "Noted", json!({ "of": "z" })).await;
    let named = rig.identify("u", json!({ "name": "later" })).await;
    erased(&rig).await;
    // What stood in its way is gone.
    rig.outcome(&named, "done").await;
    rig.outcome(&later, "parked").await;
    for gone in [&parked, &failing] {
        assert!(rig.rows(gone).await.is_empty());
    }
    rig.identify("z", json!({ "name": "Z" })).await;
    rig.settled().await;
    assert_eq!(rig.row(&later).await.state, DeliveryState::Done);
    assert_eq!((rig.person("u")["name"].clone(), rig.calls(Method::Post, "notes").len()), (json!("later"), 1));
}

#[tokio::test]
async fn an_erasure_that_waits_for_its_rule_is_as_of_its_event_over_a_crash_and_takes_replays_of_what_goes() {
    let erase = "fn handle(event) { person::delete(#{ \"Segment User ID\": event.userId }, #{ on_miss: \"skip\" }); }";
    let mut rig = Setup::person(PERSON).rule("erase", "type = \"delete\"", erase).source(WEBHOOK).start_apart().await;
    let before = rig.identify("u", json!({ "name": "before" })).await;
    rig.settled().await;
    rig.daemon().delivery().pause(rule("erase"), "a test".to_owned()).await.expect("paused");
    delete(&rig, "u").await;
    let replayed =
        rig.daemon().delivery().replay(vec![rig.row(&before).await.id], ReplayOptions::default()).await.expect("replayed");
    let later = rig.identify("u", json!({ "name": "later" })).await;
    alias(&rig, "u", "x").await;
    rig.crash().await;
    let others = rig.identify("x", json!({ "name": "x" })).await;
    wait_until("all but the held one has ended", async || (rig.status().await.pending == 1).then_some(())).await;
    assert_eq!(rig.store().kv_list(TO_FORGET).await.expect("reads").len(), 1);
    rig.daemon().delivery().resume(rule("erase")).await.expect("resumed");
    erased(&rig).await;
    for gone in [&before, "delete-u"] {
        assert!(rig.rows(gone).await.is_empty(), "{gone}");
    }
    assert!(rig.store().event(replayed[0].id.seq).await.expect("reads").is_none());
    for stays in [&later, &others] {
        assert_eq!(rig.row(stays).await.state, DeliveryState::Done);
    }
    assert_eq!(rig.store().aliases().class_of("x").expect("a class").join(" "), "u x");
}

#[tokio::test]
async fn who_was_a_visitor_is_still_told_when_an_erasure_is_begun_anew() {
    let rig = Setup::person(PERSON).start().await;
    // In the order of their ids the visitor's come last.
    pages_by(&rig, "a-user", &json!({ "userId": "a-user", "anonymousId": "visitor" }), 100).await;
    pages_by(&rig, "visitor", &json!({ "anonymousId": "visitor" }), 5100).await;
    let first = forget(&rig, "a-user", &Value::Null).await;
    assert_eq!((&first["counts"]["unmatched"], &first["tombstone"]), (&json!(5000), &Value::Null));
    let again = forget(&rig, "a-user", &Value::Null).await;
    assert_eq!(again["tombstone"]["unmatched"], 200);
    assert_eq!(rig.store().stats().await.expect("counts").unmatched, 0);
}

#[tokio::test]
async fn what_comes_in_while_a_user_is_forgotten_stays_and_brings_nothing_back() {
    let rig = Setup::person(PERSON)
        .rule_with("note", "type = \"track\"", NOTE, "order_by = \"messageId\"")
        .rule_with("crowd", "type = \"page\"", NOTE, "")
        .start()
        .await;
    let before = rig.run("u", json!({ "name": "before" })).await.id.seq;
    let id = rig.person("u")["id"].to_string();
    assert!(rig.store().known_get("main", "person", &id).await.expect("reads").is_some());
    let (note, rename) = (Hold::new(), Hold::new());
    rig.mock.fail_matching(FaultMatch::next(Method::Post, "notes"), Fault::Hold(note.clone()));
    rig.mock.fail_matching(FaultMatch::next(Method::Patch, "/api/v2/persons"), Fault::Hold(rename.clone()));
    rig.track("u", "Noted", json!({ "of": "u" })).await;
    note.reached().await;
    let waits = rig.send(json!({ "type": "track", "userId": "u", "event": "Noted", "properties": { "of": "nobody" } })).await;
    rig.outcome(&waits, "parked").await;
    let erasing = forget(&rig, "u", &Value::Null);
    let meanwhile = async {
        wait_until("it has begun", async || {
            let row = rig.rows(&waits).await.into_iter().next()?;
            (row.state == DeliveryState::Discarded).then_some(())
        })
        .await;
        let later = rig.identify("u", json!({ "name": "later" })).await;
        // It has read what is known of the person.
        rename.reached().await;
        // More of them wait than are looked at at once.
        rig.daemon().delivery().pause(Scope::Rule("crowd".into()), "held".to_owned()).await.expect("paused");
        for _ in 0..3 {
            let batch = json!({ "batch": vec![json!({ "type": "page", "userId": "u" }); 400] });
            assert_eq!(rig.post("/v1/batch", &batch).await.status, 200);
        }
        note.release();
        wait_until("what is known is forgotten", async || {
            rig.store().known_get("main", "person", &id).await.expect("reads").is_none().then_some(())
        })
        .await;
        for _ in 0..2_000 {
            let kept = rig.store().event(before).await.expect("reads");
            assert!(kept.is_some(), "it waits for the later one, which may write back what it has read");
        }
        rename.release();
        later
    };
    let (gone, later) = tokio::join!(erasing, meanwhile);
    assert_eq!((&gone["counts"]["events"], &gone["counts"]["discarded"]), (&json!(3), &json!(1)), "{gone:#}");
    wait_until("the later one is carried out", async || (rig.row(&later).await.state == DeliveryState::Done).then_some(())).await;
    assert_eq!((rig.person("u")["name"].clone(), rig.status().await.held), (json!("later"), 1_200));
    assert_eq!(rig.store().known_get("main", "person", &id).await.expect("reads"), None);
}
