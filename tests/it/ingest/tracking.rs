//! Single calls: paths, keys, what is filled in, which deliveries are made.

use pipewright::ingest::replay_unmatched;
use pipewright::store::{Dedupe, UnmatchedFilter};
use serde_json::json;

use super::harness::{Door, KEY, OTHER_KEY, basic, set};
use crate::support::post_json;

#[tokio::test]
async fn every_path_takes_its_type() {
    let door = Door::open().await;
    let body = json!({"userId": "u", "event": "E", "groupId": "g", "previousId": "p", "type": "something else"});
    for (path, kind) in [
        ("/v1/identify", "identify"),
        ("/v1/i", "identify"),
        ("/v1/track", "track"),
        ("/v1/t", "track"),
        ("/v1/group", "group"),
        ("/v1/g", "group"),
        ("/v1/page", "page"),
        ("/v1/p", "page"),
        ("/v1/screen", "screen"),
        ("/v1/s", "screen"),
        ("/v1/alias", "alias"),
        ("/v1/a", "alias"),
    ] {
        let reply = door.post(path, &body).await;
        assert_eq!((reply.status, reply.text().as_str()), (200, r#"{"success":true}"#), "{path}");
        assert_eq!(reply.header("content-type"), "application/json");
        let last = door.store.events().pop().expect("an event");
        assert_eq!(last.kind, kind);
        assert!(String::from_utf8_lossy(&last.payload).contains(&format!(r#""type":"{kind}""#)));
    }
}

#[tokio::test]
async fn the_key_may_come_in_every_way_that_sdks_send_it() {
    let door = Door::open().await;
    let mut connection = door.connect().await;
    let event = |key: Option<&str>| json!({"userId": "u", "writeKey": key}).to_string();
    let bare = |text: &str| format!("Basic {}", base64::Engine::encode(&base64::engine::general_purpose::STANDARD_NO_PAD, text));
    type Way = (Vec<(&'static str, String)>, String, &'static str);
    let ways: [Way; 7] = [
        (vec![("authorization", basic(KEY))], event(None), "website"),
        (vec![("authorization", bare(KEY))], event(None), "website"),
        (vec![("authorization", basic("wk-website-old").replace("Basic", "basic"))], event(None), "website"),
        (vec![], event(Some(OTHER_KEY)), "app"),
        (vec![("authorization", "Bearer an-oauth-token".to_owned())], event(Some(KEY)), "website"),
        (vec![("authorization", basic(KEY))], event(Some(KEY)), "website"),
        (vec![("content-type", "text/plain;charset=UTF-8".to_owned())], event(Some(KEY)), "website"),
    ];
    for (headers, body, source) in ways {
        let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
        let reply = connection.send("POST", "/v1/identify", &headers, body.clone()).await;
        assert_eq!(reply.status, 200, "{headers:?} {body}");
        assert_eq!(door.store.events().pop().expect("an event").source, source);
    }
    assert!(door.store.events().iter().all(|e| !String::from_utf8_lossy(&e.payload).contains("writeKey")));
}

#[tokio::test]
async fn deliveries_are_made_per_rule_with_their_lane() {
    let door = Door::open().await;
    door.post("/v1/identify", &json!({"userId": 42, "anonymousId": "anon", "messageId": "m1"})).await;
    door.post("/v1/track", &json!({"userId": "42", "event": "Deal Upserted", "properties": {"deal_id": 7}, "messageId": "m2"}))
        .await;
    let events = door.store.events();
    let deliveries = |at: usize| -> Vec<(String, String, String)> {
        let event = &events[at];
        event.deliveries.iter().map(|d| (d.rule.to_string(), d.account.to_string(), d.key.clone())).collect()
    };
    let owned = |all: &[(&str, &str)]| -> Vec<(String, String, String)> {
        all.iter().map(|(rule, key)| ((*rule).to_owned(), "main".to_owned(), (*key).to_owned())).collect()
    };
    assert_eq!(deliveries(0), owned(&[("person", "u:42"), ("everyone", "a:anon")]));
    assert_eq!(deliveries(1), owned(&[("deal", "properties.deal_id:7")]));
    assert_eq!(events[0].user.as_deref(), Some("42"));
    assert_eq!(events[1].name.as_deref(), Some("Deal Upserted"));
    assert_eq!((events[0].message_id.as_str(), events[0].dedupe), ("m1", Dedupe::Window));
}

#[tokio::test]
async fn what_is_missing_is_filled_in_and_the_senders_clock_corrected() {
    let door = Door::open().await;
    let before = jiff::Timestamp::now();
    let reply = door
        .post("/v1/track", &json!({"anonymousId": null, "userId": 7, "event": "E", "_metadata": {"x": 1}, "traits": null,
            "timestamp": "2020-01-01T00:00:00+00:00", "sentAt": "2020-01-01T00:00:10+00:00", "receivedAt": "1999-01-01T00:00:00Z"}))
        .await;
    assert_eq!(reply.status, 200);
    let (event, body) = door.store.only();
    assert_eq!(body["messageId"], event.message_id);
    assert_eq!((&body["userId"], &body["anonymousId"], &body["_metadata"]["x"]), (&json!(7), &json!(null), &json!(1)));
    let at = |key: &str| -> jiff::Timestamp { body[key].as_str().expect("text").parse().expect("a time") };
    assert!(at("receivedAt") >= before - jiff::SignedDuration::from_millis(1));
    assert_eq!(at("receivedAt").duration_since(at("timestamp")).as_secs(), 10);
    assert_eq!(body["originalTimestamp"], "2020-01-01T00:00:00+00:00");
}

#[tokio::test]
async fn a_duplicate_is_acknowledged_and_not_stored_again() {
    let door = Door::open().await;
    let body = json!({"userId": "u", "messageId": "same"});
    assert_eq!(door.post("/v1/identify", &body).await.status, 200);
    assert_eq!(door.post("/v1/identify", &body).await.status, 200);
    assert_eq!(door.store.events().len(), 1);
    let metrics = door.metrics.render();
    assert!(metrics.contains(r#"events_accepted_total{source="website",type="identify"} 1"#), "{metrics}");
    assert!(metrics.contains(r#"events_duplicate_total{source="website",type="identify"} 1"#), "{metrics}");
}

#[tokio::test]
async fn pipedrive_switched_off_is_acknowledged_counted_and_not_kept() {
    let door = Door::open().await;
    for integrations in [json!({"All": false}), json!({"All": true, "Actions Pipedrive": false})] {
        assert_eq!(door.post("/v1/identify", &json!({"userId": "u", "integrations": integrations})).await.status, 200);
    }
    assert_eq!(door.store.appends(), 0);
    assert!(door.metrics.render().contains(r#"events_switched_off_total{source="website",type="identify"} 2"#));
    door.post("/v1/identify", &json!({"userId": "u", "integrations": {"All": false, "Pipedrive": true}})).await;
    assert_eq!(door.store.appends(), 1);
}

#[tokio::test]
async fn what_no_rule_wants_is_kept_only_where_the_source_keeps_it() {
    let door = Door::open().await;
    let body = json!({"userId": "u"});
    assert_eq!(door.post("/v1/page", &body).await.status, 200);
    let (event, _) = door.store.only();
    assert!(event.deliveries.is_empty());
    let authorization = basic(OTHER_KEY);
    let reply =
        crate::support::request(door.addr, "POST", "/v1/page", &[("authorization", &authorization)], body.to_string()).await;
    assert_eq!(reply.status, 200);
    assert_eq!(door.store.events().len(), 1);
    let metrics = door.metrics.render();
    for source in ["website", "app"] {
        assert!(metrics.contains(&format!(r#"events_unmatched_total{{source="{source}",type="page"}} 1"#)), "{metrics}");
    }
}

#[tokio::test]
async fn unmatched_events_are_replayed_over_mended_triggers_once() {
    let door = Door::open().await;
    for n in 0..3 {
        door.post("/v1/track", &json!({"userId": "u", "event": "Deal Upsertd", "messageId": format!("m{n}")})).await;
    }
    let page = |limit| UnmatchedFilter { limit, ..UnmatchedFilter::default() };
    let report = replay_unmatched(&*door.store, &door.live.load(), None, &page(100)).await.expect("replayed");
    assert_eq!((report.seen, report.events, report.still_unmatched), (3, 0, 3));

    let mended = super::harness::set_with("", |rules| rules.replace("Deal Upserted", "Deal Upsertd"));
    for (limit, rule, events) in [(2, Some("person"), 0), (2, None, 2), (100, None, 1), (100, None, 0)] {
        let report = replay_unmatched(&*door.store, &mended, rule, &page(limit)).await.expect("replayed");
        assert_eq!((report.events, report.deliveries), (events, events), "{limit} {rule:?}");
    }
    let replayed: Vec<_> = door.store.events().into_iter().filter(|e| !e.deliveries.is_empty()).collect();
    assert_eq!(replayed.iter().map(|e| e.message_id.as_str()).collect::<Vec<_>>(), ["m0", "m1", "m2"]);
    assert!(replayed.iter().all(|e| e.dedupe == Dedupe::Never && &*e.deliveries[0].rule == "deal"));
}

#[tokio::test]
async fn a_reload_changes_keys_and_triggers_of_the_next_request() {
    let door = Door::open().await;
    let body = json!({"userId": "u", "writeKey": "wk-website-old"});
    assert_eq!(post_json(door.addr, "/v1/page", &body).await.status, 200);
    door.live.store(super::harness::set_with("", |rules| rules.replace(r#", "file:website-old.key""#, "")));
    assert_eq!(post_json(door.addr, "/v1/page", &body).await.status, 401);
    door.live.store(set(""));
    assert_eq!(post_json(door.addr, "/v1/page", &body).await.status, 200);
}
