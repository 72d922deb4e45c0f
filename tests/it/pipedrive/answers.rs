//! Every answer that Pipedrive, a proxy or nobody gives has one class, and 429s and firewall pages stop the whole account.

use std::time::Duration;

use pipewright::failure::FailureClass;
use pipewright::pipedrive::{ApiError, ErrorKind, Id, Kind, PauseReason, Purpose, TransportError};
use serde_json::json;

use super::scripted::{Scripted, answer, gone, object, ok, page, with};

async fn read(scripted: &std::sync::Arc<Scripted>) -> Result<Option<serde_json::Map<String, serde_json::Value>>, ApiError> {
    scripted.session().get(Kind::Person, &Id::Number(7), Purpose::Lookup).await
}

async fn write(scripted: &std::sync::Arc<Scripted>) -> Result<(), ApiError> {
    scripted.session().create(Kind::Person, object(json!({"name": "Ada"}))).await.map(|_| ())
}

#[tokio::test]
async fn every_answer_has_its_class() {
    use FailureClass::{Misconfigured, Permanent, Throttled, Transient, UnknownOutcome};
    let refused = json!({"success": false, "error": "Validation failed", "code": "ERR_SCHEMA_VALIDATION_FAILED"});
    let unauthorised = json!({"success": false, "error": "unauthorized access", "errorCode": 401});
    // Answer, class of a read, class of a write.
    let cases = [
        ("200 that says no", answer(200, refused.clone()), Permanent, Permanent),
        ("200 that is no JSON", page(200), Transient, UnknownOutcome),
        ("200 of another shape", answer(200, json!({"success": true, "data": "hm"})), Transient, UnknownOutcome),
        ("200 without an id", ok(json!({"name": "Ada"})), Transient, UnknownOutcome),
        ("301", page(301), Misconfigured, Misconfigured),
        ("302 in JSON", answer(302, json!({})), Misconfigured, Misconfigured),
        ("400", answer(400, refused.clone()), Permanent, Permanent),
        ("400 page", page(400), Permanent, Permanent),
        ("401", answer(401, unauthorised.clone()), Misconfigured, Misconfigured),
        ("401 page", page(401), Misconfigured, Misconfigured),
        ("402", answer(402, unauthorised.clone()), Misconfigured, Misconfigured),
        ("403", answer(403, unauthorised), Misconfigured, Misconfigured),
        ("403 page", page(403), Throttled, Throttled),
        ("404 page", page(404), Misconfigured, Misconfigured),
        ("405", answer(405, refused.clone()), Permanent, Permanent),
        ("415", answer(415, refused.clone()), Permanent, Permanent),
        ("422", answer(422, refused), Permanent, Permanent),
        ("429", answer(429, json!({"success": false})), Throttled, Throttled),
        ("429 page", page(429), Throttled, Throttled),
        ("500", answer(500, json!({"success": false, "code": "ERR_UNKNOWN"})), Transient, UnknownOutcome),
        ("502 page", page(502), Transient, UnknownOutcome),
        ("503", page(503), Transient, UnknownOutcome),
    ];
    for (name, answer, of_read, of_write) in cases {
        let scripted = Scripted::always(answer);
        let error = read(&scripted).await.expect_err(name);
        assert_eq!(error.class(), of_read, "{name}, read: {error}");
        // Each on its own client: a 429 stops the next request of the same one.
        let error = write(&scripted).await.expect_err(name);
        assert_eq!(error.class(), of_write, "{name}, write: {error}");
    }
}

#[tokio::test]
async fn no_answer_to_a_write_is_an_unknown_outcome_unless_nothing_was_sent() {
    for (error, of_read, of_write) in [
        (
            TransportError::Connect { host: "h".to_owned(), reason: "refused".to_owned() },
            FailureClass::Transient,
            FailureClass::Transient,
        ),
        (TransportError::Timeout(Duration::from_secs(1)), FailureClass::Transient, FailureClass::UnknownOutcome),
        (TransportError::Cut("reset".to_owned()), FailureClass::Transient, FailureClass::UnknownOutcome),
    ] {
        let scripted = Scripted::new(move |_| Err(error.clone()));
        assert_eq!(read(&scripted).await.expect_err("a failure").class(), of_read);
        assert_eq!(write(&scripted).await.expect_err("a failure").class(), of_write);
    }
}

#[tokio::test]
async fn only_the_api_itself_can_say_that_an_entity_is_gone() {
    assert!(matches!(read(&Scripted::always(gone())).await, Ok(None)));
    assert!(matches!(read(&Scripted::always(answer(410, json!({"success": false})))).await, Ok(None)));
    assert!(read(&Scripted::always(page(404))).await.is_err());
    let error = write(&Scripted::always(gone())).await.expect_err("a refusal");
    assert!(error.is_gone() && error.class() == FailureClass::Permanent);
}

#[tokio::test]
async fn what_is_marked_deleted_counts_as_gone() {
    let deleted = Scripted::always(ok(json!({"id": 7, "is_deleted": true})));
    assert!(matches!(read(&deleted).await, Ok(None)));
    let note = Scripted::always(ok(json!({"id": 7, "active_flag": false})));
    assert!(matches!(note.session().get(Kind::Note, &Id::Number(7), Purpose::Lookup).await, Ok(None)));
    let there = Scripted::always(ok(json!({"id": 7, "is_deleted": false})));
    assert!(matches!(read(&there).await, Ok(Some(_))));
}

#[tokio::test]
async fn a_500_to_a_write_says_that_the_body_may_be_the_cause() {
    let scripted = Scripted::always(answer(500, json!({"success": false, "code": "ERR_UNKNOWN"})));
    let error = write(&scripted).await.expect_err("a failure");
    assert!(matches!(error.kind, ErrorKind::Server { suspect_body: true, .. }));
    let error = read(&scripted).await.expect_err("a failure");
    assert!(matches!(error.kind, ErrorKind::Server { suspect_body: false, .. }));
}

#[tokio::test]
async fn a_limit_of_the_plan_says_what_to_do() {
    let body = json!({"success": false, "error": "Limit reached", "code": "feature_capping_deals_limit"});
    let error = write(&Scripted::always(answer(403, body))).await.expect_err("a refusal");
    assert_eq!(error.class(), FailureClass::Misconfigured);
    let text = error.to_string();
    assert!(text.contains("limit of the Pipedrive plan") && text.contains("feature_capping_deals_limit"), "{text}");
}

#[tokio::test]
async fn what_pipedrive_wrote_stays_out_of_the_brief_text_and_the_logs() {
    let logs = crate::support::Logs::capture();
    let body = json!({"success": false, "error": "'ada@acme.com' is taken", "code": "ERR_BAD_REQUEST"});
    let error = write(&Scripted::always(answer(400, body))).await.expect_err("a refusal");
    assert!(error.to_string().contains("ada@acme.com"), "the record has it");
    assert!(!error.brief().contains("ada@acme.com") && error.brief().contains("ERR_BAD_REQUEST"), "{}", error.brief());
    assert!(!logs.text().contains("ada@acme.com"), "{}", logs.text());
}

#[tokio::test(start_paused = true)]
async fn a_full_burst_window_is_waited_out() {
    let first = std::sync::atomic::AtomicBool::new(true);
    let scripted = Scripted::new(move |_| {
        if first.swap(false, std::sync::atomic::Ordering::SeqCst) {
            let busy = answer(429, json!({"success": false}));
            return Ok(with(with(busy, "x-ratelimit-remaining", "0"), "x-ratelimit-reset", "2"));
        }
        Ok(ok(json!({"id": 7})))
    });
    let session = scripted.session();
    let started = tokio::time::Instant::now();
    let error = session.get(Kind::Person, &Id::Number(7), Purpose::Lookup).await.expect_err("a 429");
    assert!(matches!(error.kind, ErrorKind::Throttled { daily: false, .. }));
    assert_eq!(error.retry_after(), Some(Duration::from_secs(2)));
    session.get(Kind::Person, &Id::Number(7), Purpose::Lookup).await.expect("passes after the wait");
    assert!(started.elapsed() >= Duration::from_secs(2), "it waited");
    assert!(started.elapsed() < Duration::from_secs(3), "and no longer");
}

#[tokio::test(start_paused = true)]
async fn a_spent_budget_stops_all_traffic_until_one_probe_passes() {
    let spent = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let now = std::sync::Arc::clone(&spent);
    let scripted = Scripted::new(move |_| {
        if now.load(std::sync::atomic::Ordering::SeqCst) {
            return Ok(with(answer(429, json!({"success": false})), "x-ratelimit-remaining", "19"));
        }
        Ok(ok(json!({"id": 7})))
    });
    let client = scripted.client();
    let session = client.session(pipewright::pipedrive::Trace::default());
    let get = || session.get(Kind::Person, &Id::Number(7), Purpose::Lookup);

    let error = get().await.expect_err("a 429");
    assert!(matches!(error.kind, ErrorKind::Throttled { daily: true, .. }));
    let error = get().await.expect_err("stopped");
    assert!(matches!(error.kind, ErrorKind::Throttled { daily: true, .. }));
    assert_eq!(scripted.asked().len(), 1, "nothing was sent meanwhile");
    assert!(matches!(client.status().paused, Some((PauseReason::Budget, _))));

    // When the pause is over one request probes; the pause after a failed probe is longer.
    let first_wait = error.retry_after().expect("a wait");
    tokio::time::advance(first_wait + Duration::from_secs(1)).await;
    let (a, b, c) = tokio::join!(get(), get(), get());
    assert!([&a, &b, &c].into_iter().all(Result::is_err));
    assert_eq!(scripted.asked().len(), 2, "only the probe was sent");
    let second_wait = get().await.expect_err("stopped").retry_after().expect("a wait");
    assert!(second_wait > first_wait, "{second_wait:?} after {first_wait:?}");

    spent.store(false, std::sync::atomic::Ordering::SeqCst);
    tokio::time::advance(second_wait + Duration::from_secs(1)).await;
    let (a, b, c) = tokio::join!(get(), get(), get());
    assert!([&a, &b, &c].into_iter().all(Result::is_ok));
    assert_eq!(client.status().paused, None);
}

#[tokio::test(start_paused = true)]
async fn a_429_that_comes_again_and_again_is_the_budget_but_one_volley_is_not() {
    let scripted = Scripted::always(with(answer(429, json!({"success": false})), "x-ratelimit-remaining", "0"));
    let session = scripted.session();
    let get = || session.get(Kind::Person, &Id::Number(7), Purpose::Lookup);
    let volley = futures_util::future::join_all((0..8).map(|_| get())).await;
    let daily = |error: &ApiError| matches!(error.kind, ErrorKind::Throttled { daily: true, .. });
    assert!(volley.iter().all(|result| result.as_ref().is_err_and(|e| !daily(e))), "requests refused together are one refusal");
    let mut more = 0;
    while !daily(&get().await.expect_err("a 429")) {
        more += 1;
        assert!(more < 6, "it must become the budget");
    }
    assert!(more >= 1);
}

#[tokio::test(start_paused = true)]
async fn a_firewall_page_stops_all_traffic_for_minutes() {
    let scripted = Scripted::always(page(403));
    let session = scripted.session();
    let error = session.get(Kind::Person, &Id::Number(7), Purpose::Lookup).await.expect_err("shut out");
    assert!(matches!(error.kind, ErrorKind::Blocked { .. }));
    assert!(error.retry_after() >= Some(Duration::from_secs(300)));
    for _ in 0..10 {
        session.get(Kind::Person, &Id::Number(7), Purpose::Lookup).await.expect_err("stopped");
    }
    assert_eq!(scripted.asked().len(), 1);
}
