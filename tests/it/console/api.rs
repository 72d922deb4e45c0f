//! The admin API over real sockets, on a real store. Delivery and reload are answered by the test.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use pipewright::config::Secret;
use pipewright::console::{self, ConsoleError};
use pipewright::reload::{Refused, ReloadOutcome, ReloadStatus};
use pipewright::store::{DeliveryState, Rejected, Seq};
use pipewright::telemetry::EventCounts;
use serde_json::{Value, json};

use super::harness::{Admin, bad_script, refusal, settled};
use crate::support::{Connection, Raw, Reply, get, hardened, post_json, request, wait_until};

fn ids(reply: &Reply) -> Vec<String> {
    let list = reply.json()["deliveries"].as_array().cloned().unwrap_or_default();
    list.iter().map(|row| row["id"].as_str().unwrap_or("?").to_owned()).collect()
}

const LOCAL: [(&str, &str); 1] = [("host", "localhost")];

#[tokio::test]
async fn probes_tell_state_and_details() {
    let admin = Admin::start().await;
    let addr = admin.listen(None).await;
    assert_eq!(get(addr, "/healthz").await.status, 200);

    let ready = get(addr, "/readyz").await;
    assert_eq!(ready.status, 200, "{}", ready.text());
    let body = ready.json();
    assert_eq!((&body["ready"], &body["store"]["ok"], &body["refused"]), (&json!(true), &json!(true), &Value::Null));
    assert_eq!(body["paused"][0]["account"], "main");
    assert_eq!(body["version"], json!(admin.state.live.load().version));

    admin.reload.send_replace(ReloadStatus {
        refused: Some(Refused { at: jiff::Timestamp::now(), diagnostics: vec![bad_script()] }),
        ..settled()
    });
    let refused = get(addr, "/readyz").await;
    assert_eq!(refused.status, 200, "a refused set is no reason to take the daemon out of service");
    assert_eq!(refused.json()["refused"]["diagnostics"][0]["place"]["file"], "scripts/person.rhai");

    admin.store.close().await;
    let failed = get(addr, "/readyz").await;
    assert_eq!(failed.status, 503);
    assert_eq!(failed.json()["store"]["error"], "the store is closed");
    assert_eq!(get(addr, "/healthz").await.status, 200);
}

fn rejected() -> Rejected {
    Rejected {
        source: "website".to_owned(),
        message_id: Some("bad-1".to_owned()),
        kind: None,
        at: jiff::Timestamp::now(),
        reason: "no type".to_owned(),
        payload: Bytes::from_static(b"{}"),
    }
}

#[tokio::test]
async fn while_a_full_disk_refuses_events_the_daemon_is_not_ready_and_says_what_to_do() {
    let admin = Admin::start().await;
    let addr = admin.listen(None).await;
    admin.full.store(true, Ordering::SeqCst);
    admin.store.reject(vec![rejected()]).await.expect_err("there is no room");
    let ready = get(addr, "/readyz").await;
    assert_eq!(ready.status, 503);
    let error = ready.json()["store"]["error"].as_str().unwrap_or_default().to_owned();
    assert!(error.contains("new events are refused") && error.contains("once 16 MiB are free"), "{error}");
    let status: console::Status = serde_json::from_value(get(addr, "/api/status").await.json()).expect("a status");
    assert!(status.store.refusing.is_some());

    admin.full.store(false, Ordering::SeqCst);
    wait_until("there is room again", || async { (get(addr, "/readyz").await.status == 200).then_some(()) }).await;
}

#[tokio::test]
async fn status_and_metrics_count_what_happened() {
    let admin = Admin::start().await;
    let addr = admin.listen(None).await;
    let counts = EventCounts { accepted: 1, ..EventCounts::default() };
    admin.state.metrics.events_taken("website", "identify", counts);
    admin.event("m1", "u1").await;

    let status: console::Status = serde_json::from_value(get(addr, "/api/status").await.json()).expect("a status");
    assert_eq!((status.set.rules, status.set.enabled), (2, 1));
    assert_eq!((status.accepted, status.store.events, status.store.pending, status.delivery.pending), (1, 1, 1, 3));

    let metrics = get(addr, "/metrics").await;
    assert!(metrics.header("content-type").starts_with("application/openmetrics-text"));
    assert!(metrics.text().contains("pipewright_events_accepted_total{source=\"website\",type=\"identify\"} 1"));
}

#[tokio::test]
async fn deliveries_are_listed_by_filter() {
    let admin = Admin::start().await;
    let addr = admin.listen(None).await;
    let (first, second, third) = (admin.event("m1", "u1").await, admin.event("m2", "u2").await, admin.event("m3", "u1").await);
    admin.finish(&first, DeliveryState::Dead, Some("no such field")).await;
    admin.finish(&second, DeliveryState::Done, None).await;

    let of = |query: &'static str| async move { ids(&get(addr, query).await) };
    assert_eq!(of("/api/events").await, ["3/person", "2/person", "1/person"]);
    assert_eq!(of("/api/events?state=failed").await, ["1/person"]);
    assert_eq!(of("/api/events?state=done,pending&limit=1").await.len(), 1);
    assert_eq!(of("/api/events?user=u1&since=1h").await, [third.to_string(), first.to_string()]);
    assert_eq!(of("/api/events?before=2").await, ["1/person"]);
    assert_eq!(of("/api/events?rule=nobody").await, Vec::<String>::new());

    for wrong in
        ["/api/events?state=ded", "/api/events?since=yesterday", "/api/events?colour=red", "/api/events?rejected=1&unmatched=1"]
    {
        let refused = get(addr, wrong).await;
        assert_eq!(refused.status, 400, "{wrong}");
        assert!(!refused.json()["error"].as_str().unwrap_or("").is_empty(), "{wrong}");
    }
}

#[tokio::test]
async fn refused_and_unmatched_events_have_their_lists() {
    let admin = Admin::start().await;
    let addr = admin.listen(None).await;
    let seq = admin.append("nobody-wants-me", "u9", Vec::new()).await;
    admin.store.reject(vec![rejected()]).await.expect("kept");

    let unmatched = wait_until("the unmatched event is listed", || async {
        let list = get(addr, "/api/events?unmatched=1").await.json();
        list["unmatched"].as_array().filter(|l| !l.is_empty()).cloned()
    })
    .await;
    assert_eq!((&unmatched[0]["message_id"], &unmatched[0]["seq"]), (&json!("nobody-wants-me"), &json!(seq)));

    let rejected = wait_until("the refused event is listed", || async {
        let list = get(addr, "/api/events?rejected=1").await.json();
        list["rejected"].as_array().filter(|l| !l.is_empty()).cloned()
    })
    .await;
    assert_eq!(rejected[0]["reason"], "no type");

    let shown = get(addr, "/api/events/nobody-wants-me").await.json();
    assert_eq!(shown["events"][0]["deliveries"], json!([]));
    assert_eq!(shown["events"][0]["event"]["userId"], "u9");
}

#[tokio::test]
async fn unmatched_events_are_replayed_to_the_rules_that_want_them_now() {
    let admin = Admin::start().await;
    let addr = admin.listen(None).await;
    admin.append("came-early", "u9", Vec::new()).await;
    let replayed = wait_until("the kept event is replayed", || async {
        let reply = post_json(addr, "/api/events/replay", &json!({ "unmatched": {} })).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        Some(reply.json()["unmatched"].clone()).filter(|report| report["seen"] == 1)
    })
    .await;
    assert_eq!((&replayed["events"], &replayed["deliveries"]), (&json!(1), &json!(1)));
    assert_eq!(ids(&get(addr, "/api/events?message_id=came-early").await).len(), 1);
}

#[tokio::test]
async fn unmatched_events_are_counted_chosen_and_replayed_page_by_page() {
    let admin = Admin::start().await;
    let addr = admin.listen(None).await;
    for n in 0..7 {
        admin.append(&format!("m{n}"), if n < 5 { "u1" } else { "u2" }, Vec::new()).await;
    }
    let list = get(addr, "/api/events?unmatched=1&limit=2&user=u1").await.json();
    let seqs = |list: &Value| list["unmatched"].as_array().expect("a list").iter().map(|e| e["seq"].clone()).collect::<Vec<_>>();
    assert_eq!(seqs(&list), [5, 4]);
    assert_eq!((&list["counts"][0]["kind"], &list["counts"][0]["events"]), (&json!("identify"), &json!(5)), "{list:#}");
    assert_eq!(seqs(&get(addr, "/api/events?unmatched=1&user=u1&before=3").await.json()), [2, 1]);
    assert_eq!(get(addr, "/api/events?unmatched=1&type=nonsense").await.json()["counts"], json!([]));
    assert_eq!(get(addr, "/api/events?unmatched=1&rule=person").await.status, 400);

    let replay = async |asked: Value| post_json(addr, "/api/events/replay", &json!({ "unmatched": asked })).await.json();
    let page = replay(json!({ "filter": { "user": "u1" }, "limit": 3 })).await;
    assert_eq!(page["unmatched"], json!({ "seen": 3, "events": 3, "deliveries": 3, "still_unmatched": 0, "next": 3 }));
    let page = replay(json!({ "filter": { "user": "u1" }, "limit": 3, "after": 3 })).await;
    assert_eq!(page["unmatched"], json!({ "seen": 2, "events": 2, "deliveries": 2, "still_unmatched": 0 }));
    // What was made stays made: only the other user's are left.
    let rest = replay(json!({})).await;
    assert_eq!((&rest["unmatched"]["seen"], &rest["unmatched"]["deliveries"]), (&json!(7), &json!(2)));
    let listed = get(addr, "/api/events?rule=person").await;
    assert_eq!(ids(&listed), ["14/person", "13/person", "12/person", "11/person", "10/person", "9/person", "8/person"]);
}

#[tokio::test]
async fn an_event_is_shown_by_number_delivery_and_message_id() {
    let admin = Admin::start().await;
    let addr = admin.listen(None).await;
    let id = admin.event("ajs/42 %", "u1").await;
    admin.finish(&id, DeliveryState::Dead, Some("no such field")).await;

    for path in ["/api/events/1", "/api/events/1/person", "/api/events/ajs%2F42%20%25"] {
        let shown = get(addr, path).await;
        assert_eq!(shown.status, 200, "{path}: {}", shown.text());
        let details: console::EventDetails = serde_json::from_value(shown.json()).expect("details");
        let event = &details.events[0];
        assert_eq!((event.row.seq, event.row.kind.as_str(), event.row.message_id.as_str()), (Seq(1), "identify", "ajs/42 %"));
        assert_eq!(event.event.as_ref().expect("kept")["userId"], "u1");
        assert_eq!(
            (event.deliveries[0].row.state, event.deliveries[0].row.reason.as_deref()),
            (DeliveryState::Dead, Some("no such field"))
        );
        assert_eq!(event.deliveries[0].records[0]["tokens"], 5);
    }
    for missing in ["/api/events/2", "/api/events/1/other", "/api/events/nothing"] {
        assert_eq!(get(addr, missing).await.status, 404, "{missing}");
    }
}

#[tokio::test]
async fn replay_and_discard_take_ids_or_a_filter_oldest_first() {
    let admin = Admin::start().await;
    let addr = admin.listen(None).await;
    for n in 1..=3 {
        let id = admin.event(&format!("m{n}"), "u1").await;
        let state = if n == 2 { DeliveryState::Done } else { DeliveryState::Dead };
        admin.finish(&id, state, None).await;
    }

    let by_filter = post_json(addr, "/api/events/replay", &json!({ "filter": { "rule": "person" } })).await;
    assert_eq!(by_filter.status, 200, "{}", by_filter.text());
    assert_eq!(
        by_filter.json()["replayed"],
        json!([{"of": "1/person", "id": "101/person"}, {"of": "3/person", "id": "103/person"}])
    );
    let by_state = post_json(addr, "/api/events/discard", &json!({ "filter": { "state": "dead,done", "limit": 2 } })).await;
    assert_eq!(by_state.json()["discarded"], 2);
    let by_id = post_json(addr, "/api/events/discard", &json!({ "ids": ["3/person", "1/person", "3/person"] })).await;
    assert_eq!(by_id.json()["discarded"], 2);
    assert_eq!(admin.commands(), ["replay 1/person 3/person", "discard 2/person 3/person", "discard 1/person 3/person"]);

    for wrong in [json!({ "filter": {} }), json!({ "ids": ["person"] }), json!({}), json!({ "filter": { "limit": 3 } })] {
        let refused = post_json(addr, "/api/events/discard", &wrong).await;
        assert!(matches!(refused.status, 400 | 422), "{wrong}: {}", refused.status);
    }
    assert_eq!(admin.commands(), Vec::<String>::new());
}

#[tokio::test]
async fn a_release_takes_what_was_observed_oldest_first_or_only_counts_it() {
    let admin = Admin::start().await;
    let addr = admin.listen(None).await;
    for (message, state) in [("m1", DeliveryState::Observed), ("m2", DeliveryState::Dead), ("m3", DeliveryState::Observed)] {
        let id = admin.event(message, "u1").await;
        admin.finish(&id, state, None).await;
    }
    let filter = json!({ "filter": { "rule": "person" } });
    let counted = post_json(addr, "/api/events/release?dry=1", &filter).await;
    assert_eq!(counted.json(), json!({ "released": 0, "fits": ["1/person", "3/person"] }));
    assert_eq!(admin.commands(), Vec::<String>::new());
    assert_eq!(post_json(addr, "/api/events/release", &filter).await.json(), json!({ "released": 2 }));
    let ids = json!({ "ids": ["3/person", "1/person", "3/person"] });
    assert_eq!(post_json(addr, "/api/events/release", &ids).await.json(), json!({ "released": 2 }));
    assert_eq!(admin.commands(), ["release 1/person 3/person", "release 1/person 3/person"]);
    assert_eq!(post_json(addr, "/api/events/release", &json!({ "filter": {} })).await.status, 400);
    assert_eq!(post_json(addr, "/api/events/release?drry=1", &filter).await.status, 400);
}

#[tokio::test]
async fn a_filter_takes_more_than_one_page() {
    let admin = Admin::start().await;
    let addr = admin.listen(None).await;
    for n in 0..1_050 {
        admin.event(&format!("m{n}"), &format!("u{n}")).await;
    }
    let reply = post_json(addr, "/api/events/discard", &json!({ "filter": { "state": "pending" } })).await;
    assert_eq!(reply.json()["discarded"], 1_050, "{}", reply.text());
    let commands = admin.commands();
    let taken: Vec<_> = commands.iter().flat_map(|c| c.split(' ').skip(1)).collect();
    assert_eq!((taken.first(), taken.last(), taken.len()), (Some(&"1/person"), Some(&"1050/person"), 1_050));
    assert!(commands.len() > 1, "one command holds them all");
}

#[tokio::test]
async fn pause_resume_and_reload_report_what_came_of_them() {
    let admin = Admin::start().await;
    let addr = admin.listen(None).await;
    assert_eq!(post_json(addr, "/api/pause", &json!({ "account": "main", "reason": "import" })).await.status, 200);
    assert_eq!(post_json(addr, "/api/pause", &json!({ "rule": "nobody" })).await.status, 404);
    let resumed = post_json(addr, "/api/resume", &json!({ "rule": "person" })).await;
    assert_eq!((resumed.status, resumed.json()["error"].as_str()), (409, Some("it is not paused")));
    assert_eq!(
        admin.commands(),
        ["pause Account(\"main\") import", "pause Rule(\"nobody\") paused by a person", "resume Rule(\"person\")"]
    );

    let reload = post_json(addr, "/api/reload", &json!({})).await;
    assert_eq!(reload.status, 422);
    let outcome: ReloadOutcome = serde_json::from_value(reload.json()).expect("an outcome");
    assert_eq!(outcome, refusal());
}

#[tokio::test]
async fn a_token_is_asked_of_everybody_but_probes() {
    let admin = Admin::start().await;
    let addr = admin.listen(Some("s3cret")).await;
    for path in ["/api/status", "/metrics", "/api/events", "/nothing"] {
        let refused = get(addr, path).await;
        assert_eq!((refused.status, refused.header("www-authenticate")), (401, "Bearer"), "{path}");
        hardened(&refused.headers, "default-src 'none'; frame-ancestors 'none'");
        for wrong in ["Bearer wrong", "Bearer s3cre", "Bearer s3crett", "Bearer ", "Basic s3cret"] {
            assert_eq!(request(addr, "GET", path, &[("authorization", wrong)], "").await.status, 401, "{path} {wrong}");
        }
    }
    assert_eq!(request(addr, "GET", "/api/status", &[("authorization", "Bearer s3cret")], "").await.status, 200);
    assert_eq!(get(addr, "/healthz").await.status, 200);

    let ready = get(addr, "/readyz").await;
    assert_eq!((ready.status, ready.json()), (200, json!({ "ready": true })), "strangers learn no details");
    let detailed = request(addr, "GET", "/readyz", &[("authorization", "Bearer s3cret")], "").await;
    assert_eq!(detailed.json()["paused"][0]["account"], "main");
}

#[tokio::test]
async fn without_a_token_web_pages_get_nowhere() {
    let admin = Admin::start().await;
    let addr = admin.listen(None).await;
    let rebound = request(addr, "GET", "/api/status", &[("host", "evil.example:8081")], "").await;
    assert_eq!(rebound.status, 421);
    assert_eq!(request(addr, "GET", "/api/status", &[("host", "[::1].evil.example")], "").await.status, 421);
    assert_eq!(request(addr, "GET", "/api/status", &LOCAL, "").await.status, 200);

    // What a form or a simple cross-origin fetch can send.
    let simple = request(addr, "POST", "/api/reload", &[("content-type", "text/plain")], "{}").await;
    assert_eq!(simple.status, 415);
    assert_eq!(request(addr, "POST", "/api/pause", &[], r#"{"rule":"person"}"#).await.status, 415);
    assert_eq!(admin.commands(), Vec::<String>::new());
    for reply in [simple, rebound, get(addr, "/metrics").await, get(addr, "/nothing").await] {
        hardened(&reply.headers, "default-src 'none'; frame-ancestors 'none'");
    }
}

#[tokio::test]
async fn slow_clients_are_cut() {
    let admin = Admin::with("[server]\nheader_timeout = \"50ms\"\nbody_timeout = \"50ms\"").await;
    let addr = admin.listen(None).await;
    let mut slow = Raw::open(addr).await;
    slow.send("GET /api/status HTTP/1.1\r\nhost: ").await;
    slow.closed().await;
    Raw::open(addr).await.closed().await;

    let mut slow = Raw::open(addr).await;
    slow.send("POST /api/reload HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{")
        .await;
    let (head, body) = slow.answer().await.expect("an answer");
    assert!(
        head.starts_with("http/1.1 408") && head.contains("connection: close") && body.contains("body_timeout"),
        "{head}{body}"
    );
    slow.closed().await;
}

#[tokio::test]
async fn off_loopback_a_token_is_needed_to_start() {
    let admin = Admin::start().await;
    let open = || async { tokio::net::TcpListener::bind("0.0.0.0:0").await.expect("a port") };
    let refused = console::serve(open().await, admin.state.clone(), None, admin.stop.subscribe()).map(|_| ());
    assert!(matches!(refused, Err(ConsoleError::Open(_))), "{refused:?}");
    let token = Some(Secret::new("s3cret"));
    assert!(console::serve(open().await, admin.state.clone(), token, admin.stop.subscribe()).is_ok());
}

#[tokio::test]
async fn the_socket_needs_no_token_and_goes_with_the_daemon() {
    let admin = Admin::start().await;
    let data = admin.dir.path().join("data");
    let serving = console::serve_socket(&data, admin.state.clone(), admin.stop.subscribe()).expect("binds");
    let served = tokio::spawn(serving);
    let path = console::socket_path(&data);
    let mut connection = Connection::over(console::connect(&path).await.expect("connects"), "localhost".to_owned()).await;
    assert_eq!(connection.send("GET", "/api/status", &[], "").await.status, 200);

    assert!(console::serve_socket(&data, admin.state.clone(), admin.stop.subscribe()).is_err(), "a live socket is not replaced");
    admin.stop.send_replace(true);
    served.await.expect("it ends by itself");
    assert!(!path.exists());
}

#[tokio::test]
async fn unknown_paths_and_methods_are_told() {
    let admin = Admin::start().await;
    let addr = admin.listen(None).await;
    let mut connection = Connection::open(addr).await;
    assert_eq!(connection.send("GET", "/api/evnts", &[], "").await.status, 404);
    assert_eq!(connection.send("DELETE", "/api/status", &[], "").await.status, 405);
    assert_eq!(connection.send("GET", "/api/status", &[], "").await.status, 200, "the connection stays usable");
}
