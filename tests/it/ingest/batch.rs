//! Batches: both SDKs' shapes, merging, good and bad ones together.

use std::io::Write as _;

use serde_json::{Value, json};

use super::harness::{Door, KEY, basic};
use crate::support::post_json;

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text.as_bytes()).expect("written");
    encoder.finish().expect("finished")
}

/// As the Node SDK sends it.
fn node() -> Value {
    json!({"batch": [
        {"type": "identify", "userId": "ada", "traits": {"email": "ada@example.com", "plan": "Pro"}, "integrations": {},
         "timestamp": "2026-02-03T04:05:06.789Z", "messageId": "node-next-1770091506789-0a1b", "context": {"library": {"name": "@segment/analytics-node", "version": "3.1.0"}},
         "_metadata": {"nodeVersion": "22.3.0", "jsRuntime": "node"}},
        {"type": "track", "userId": "ada", "event": "Deal Upserted", "properties": {"deal_id": "d1"}, "integrations": {},
         "timestamp": "2026-02-03T04:05:06.790Z", "messageId": "node-next-1770091506790-0a1c", "context": {}, "_metadata": {"jsRuntime": "node"}}],
        "writeKey": KEY, "sentAt": "2026-02-03T04:05:07.000Z"})
}

/// As the Python SDK sends it.
fn python() -> Value {
    json!({"batch": [
        {"integrations": {}, "anonymousId": null, "timestamp": "2026-02-03T04:05:06.789012+00:00", "context": {"library": {"name": "analytics-python", "version": "2.4.0"}},
         "type": "identify", "userId": "grace", "traits": {"name": "Grace"}, "messageId": "7d5b7a3e-52a1-4b1f-9d53-0d1a42b5b0a1"}],
        "sentAt": "2026-02-03T04:05:07.000000+00:00", "writeKey": KEY})
}

#[tokio::test]
async fn both_sdks_batches_are_taken_in_order_with_and_without_gzip() {
    let door = Door::open().await;
    let mut connection = door.connect().await;
    let authorization = basic(KEY);
    let headers = [
        ("authorization", authorization.as_str()),
        ("content-type", "application/json"),
        ("x-retry-count", "1"),
        ("user-agent", "analytics-node-next/latest"),
    ];
    let reply = connection.send("POST", "/v1/batch", &headers, node().to_string()).await;
    assert_eq!((reply.status, reply.text().as_str()), (200, r#"{"success":true}"#));
    let zipped = [headers[0], headers[1], ("content-encoding", "gzip")];
    for path in ["/v1/batch", "/v1/import", "/v1/b"] {
        let reply = connection.send("POST", path, &zipped, gzip(&python().to_string())).await;
        assert_eq!((reply.status, reply.text().as_str()), (200, r#"{"success":true}"#), "{path}");
    }
    let events = door.store.events();
    assert_eq!(
        events.iter().map(|e| (e.kind, e.user.as_deref().unwrap_or(""))).collect::<Vec<_>>(),
        [("identify", "ada"), ("track", "ada"), ("identify", "grace")]
    );
    let first: Value = serde_json::from_slice(&events[0].payload).expect("JSON");
    assert_eq!(first["sentAt"], "2026-02-03T04:05:07.000Z");
    assert_eq!(first["originalTimestamp"], "2026-02-03T04:05:06.789Z");
}

#[tokio::test]
async fn what_the_batch_says_goes_into_items_that_do_not_say_it() {
    let door = Door::open().await;
    let batch = json!({"context": {"ip": "192.0.2.1", "app": {"name": "shop"}}, "integrations": {"Slack": false, "Pipedrive": false}, "batch": [
        {"type": "identify", "userId": "1", "context": {"app": {"build": 2}}, "integrations": {"Pipedrive": true}},
        {"type": "identify", "userId": "2", "integrations": null},
        {"type": "identify", "userId": "3", "context": null, "integrations": {"Pipedrive": {"x": 1}}}]});
    assert_eq!(door.post("/v1/batch", &batch).await.text(), r#"{"success":true}"#);
    let events: Vec<Value> = door.store.events().iter().map(|e| serde_json::from_slice(&e.payload).expect("JSON")).collect();
    assert_eq!(events.len(), 2, "the second one was switched off by the batch");
    assert_eq!(events[0]["context"], json!({"ip": "192.0.2.1", "app": {"build": 2}}));
    assert_eq!(events[0]["integrations"], json!({"Slack": false, "Pipedrive": true}));
    assert_eq!(events[1]["context"], json!({"ip": "192.0.2.1", "app": {"name": "shop"}}));
}

#[tokio::test]
async fn bad_ones_are_listed_and_kept_and_good_ones_stored() {
    let door = Door::with("max_event = \"1 KiB\"\nmax_batch_events = 6").await;
    let long = "x".repeat(2000);
    let batch = json!({"batch": [
        {"type": "identify", "userId": "1", "messageId": "good"},
        {"userId": "1", "messageId": "no type"},
        {"type": "track", "userId": "1", "messageId": "no name"},
        "text",
        {"type": "identify", "userId": "1", "traits": {"long": long}},
        {"type": "page", "anonymousId": 9, "messageId": "good, too"},
        {"type": "page", "userId": "1", "messageId": "behind the last"}]});
    let reply = door.post("/v1/batch", &batch).await;
    let answer = reply.json();
    assert_eq!((reply.status, &answer["success"]), (200, &json!(true)));
    let rejected = answer["rejected"].as_array().expect("a list");
    let said: Vec<(u64, &str, &str)> = rejected
        .iter()
        .map(|r| (r["index"].as_u64().expect("n"), r["messageId"].as_str().unwrap_or("-"), r["code"].as_str().expect("a code")))
        .collect();
    assert_eq!(
        said,
        [
            (1, "no type", "missing_type"),
            (2, "no name", "missing_event_name"),
            (3, "-", "not_an_object"),
            (4, "-", "event_too_large"),
            (6, "-", "too_many_events")
        ]
    );
    assert!(rejected.iter().all(|r| r["reason"].as_str().is_some_and(|t| t.len() > 10)));
    assert_eq!(door.store.events().iter().map(|e| e.message_id.as_str()).collect::<Vec<_>>(), ["good", "good, too"]);

    let kept = door.store.rejects();
    assert_eq!(kept.len(), 5);
    assert_eq!(
        (kept[1].message_id.as_deref(), kept[1].kind.as_deref(), kept[1].source.as_str()),
        (Some("no name"), Some("track"), "website")
    );
    assert!(kept[1].reason.contains("`event` is missing"));
    assert_eq!(kept[3].payload.len(), 1024, "cut to a bound");
    assert!(
        door.metrics.render().contains(r#"events_rejected_total{source="website",type="track",reason="missing_event_name"} 1"#)
    );
}

#[tokio::test]
async fn surplus_events_are_counted_and_the_first_one_is_listed_for_all() {
    let door = Door::with("max_batch_events = 2").await;
    let good = |id: &str| json!({"type": "page", "userId": "1", "messageId": id});
    let mut batch = vec![good("a"), good("b"), good("first surplus")];
    batch.extend(std::iter::repeat_n(json!(0), 200_000));
    let reply = door.post("/v1/batch", &json!({"batch": batch})).await;
    let answer = reply.json();
    assert_eq!((reply.status, &answer["success"]), (200, &json!(true)));
    let rejected = answer["rejected"].as_array().expect("a list");
    assert_eq!(rejected.len(), 1, "{} bytes of answer", reply.text().len());
    assert_eq!(
        (&rejected[0]["index"], &rejected[0]["code"], &rejected[0]["more"]),
        (&json!(2), &json!("too_many_events"), &json!(200_000))
    );
    assert!(rejected[0]["reason"].as_str().is_some_and(|r| r.contains("this one and the 200000 after it")), "{answer}");

    assert_eq!(door.store.events().iter().map(|e| e.message_id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    let kept = door.store.rejects();
    assert_eq!(kept.len(), 1);
    assert!(kept[0].reason.contains("200000 after it"), "{}", kept[0].reason);
    assert!(door.metrics.render().contains(r#"reason="too_many_events"} 200001"#), "every one is counted");
}

#[tokio::test]
async fn a_batch_whose_events_are_all_bad_or_none_is_still_a_batch() {
    let door = Door::open().await;
    assert_eq!(door.post("/v1/batch", &json!({"batch": []})).await.text(), r#"{"success":true}"#);
    let reply = door.post("/v1/batch", &json!({"batch": [{"type": "identify"}, {"type": "delete", "userId": "1"}]})).await;
    assert_eq!((reply.status, reply.json()["rejected"].as_array().map(Vec::len)), (200, Some(2)));
    assert_eq!((door.store.appends(), door.store.rejects().len()), (0, 2));
}

#[tokio::test]
async fn one_broken_event_does_not_spoil_its_batch() {
    let door = Door::open().await;
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let body = format!(
        r#"{{"writeKey":"{KEY}","batch":[{{"type":"page","userId":"1","properties":{{"x":{deep}}}}},{{"type":"page","userId":"2","properties":{{"x":"\ud83d"}}}},{{"type":"page","userId":"3"}}]}}"#
    );
    let reply = door.connect().await.send("POST", "/v1/batch", &[], body).await;
    let answer = reply.json();
    assert_eq!((reply.status, answer["rejected"].as_array().map(Vec::len)), (200, Some(1)), "{answer}");
    assert!(answer["rejected"][0]["reason"].as_str().is_some_and(|r| r.contains("nested too deeply")), "{answer}");
    // Half an emoji, as senders that cut texts write it.
    let events = door.store.events();
    assert_eq!(events.iter().map(|e| e.user.as_deref()).collect::<Vec<_>>(), [Some("2"), Some("3")]);
    let stored: Value = serde_json::from_slice(&events[0].payload).expect("JSON");
    assert_eq!(stored["properties"]["x"], "\u{fffd}");
}

#[tokio::test]
async fn what_a_batch_shares_counts_in_each_of_its_events() {
    let door = Door::with("max_event = \"1 KiB\"\nmax_batch = \"2 KiB\"").await;
    let shared = |bytes: usize| json!({"app": "x".repeat(bytes)});
    let own = json!({"type": "page", "userId": "own", "integrations": {"x": "y".repeat(450)}});
    let other = json!({"type": "page", "userId": "other"});

    let batch = json!({"context": shared(420), "batch": [own, other]});
    assert_eq!(door.post("/v1/batch", &batch).await.text(), r#"{"success":true}"#);
    let batch = json!({"context": shared(420), "integrations": shared(100), "batch": [own, other]});
    let answer = door.post("/v1/batch", &batch).await.json();
    assert_eq!(answer["rejected"][0]["code"], "event_too_large", "{answer}");
    assert_eq!(answer["rejected"].as_array().map(Vec::len), Some(1), "{answer}");
    assert_eq!(door.store.events().len(), 3);

    // Each one fits, and so does the body; all of them together do not.
    let events: Vec<Value> = (10..40).map(|n| json!({"type": "page", "userId": n.to_string()})).collect();
    let answer = door.post("/v1/batch", &json!({"context": shared(900), "batch": events})).await.json();
    let codes: Vec<_> = answer["rejected"].as_array().expect("a list").iter().map(|r| r["code"].clone()).collect();
    assert!(!codes.is_empty() && codes.iter().all(|code| code == "batch_too_long"), "{answer}");
    assert_eq!(door.store.events().len(), 3 + 17, "what comes to 16 KiB of them");
}

#[tokio::test]
async fn half_an_emoji_in_what_a_batch_shares_does_not_spoil_it() {
    let door = Door::open().await;
    let body = format!(r#"{{"writeKey":"{KEY}","context":{{"app":"\ud83d"}},"batch":[{{"type":"page","userId":"1"}}]}}"#);
    let reply = door.connect().await.send("POST", "/v1/batch", &[], body).await;
    assert_eq!((reply.status, reply.text().as_str()), (200, r#"{"success":true}"#));
    assert_eq!(door.store.only().1["context"], json!({"app": "\u{fffd}"}));
    // Read on its own, but wrong as part of the whole all the same.
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let body = format!(r#"{{"writeKey":"{KEY}","context":{{"app":{deep}}},"batch":[{{"type":"page","userId":"1"}}]}}"#);
    assert_eq!(door.connect().await.send("POST", "/v1/batch", &[], body).await.status, 400);
}

#[tokio::test]
async fn what_is_no_batch_is_refused_whole() {
    let door = Door::open().await;
    for body in [json!({}), json!({"batch": {}}), json!({"batch": null}), json!([]), json!({"userId": "1"})] {
        let reply = door.post("/v1/batch", &body).await;
        assert_eq!(
            (reply.status, reply.json()["error"]["code"].as_str().expect("a code").to_owned()),
            (400, "not_a_batch".to_owned())
        );
    }
    // Without a key in the header the body cannot show one either.
    assert_eq!(post_json(door.addr, "/v1/batch", &json!({"batch": []})).await.status, 401);
}
