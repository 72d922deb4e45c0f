//! Token costs, the burst windows, the daily budget, and what hammering leads to.

use std::time::Duration;

use pipewright::mock::{Mock, MockOptions};
use pipewright::pipedrive::{Answer, Body, Method, Request, Transport};
use serde_json::json;

use super::{done, get, manual, plain};

async fn answer(mock: &Mock, path: &str) -> Answer {
    mock.send(&Request::get(path)).await.expect("an answer")
}

fn header(answer: &Answer, name: &str) -> u32 {
    answer.header(name).and_then(|v| v.parse().ok()).unwrap_or_else(|| panic!("no {name}"))
}

#[tokio::test]
async fn every_operation_costs_what_the_api_says() {
    let mock = plain();
    let lead = mock.entities("leads")[0]["id"].as_str().expect("a uuid").to_owned();
    for (method, path, body, tokens) in [
        (Method::Get, "/api/v2/persons/1".to_owned(), None, 1),
        (Method::Get, "/api/v2/persons?limit=500".to_owned(), None, 10),
        (Method::Get, "/api/v2/deals/archived".to_owned(), None, 20),
        (Method::Get, "/api/v2/persons/search?term=xx".to_owned(), None, 20),
        (Method::Get, "/api/v2/itemSearch/field?term=x&entity_type=person&field=name".to_owned(), None, 20),
        (Method::Get, "/api/v2/stages".to_owned(), None, 5),
        (Method::Get, "/api/v2/personFields".to_owned(), None, 10),
        (Method::Post, "/api/v2/persons".to_owned(), Some(json!({ "name": "A" })), 5),
        (Method::Patch, "/api/v2/persons/1".to_owned(), Some(json!({ "name": "B" })), 5),
        (Method::Delete, "/api/v2/persons/2".to_owned(), None, 3),
        (Method::Get, format!("/v1/leads/{lead}"), None, 2),
        (Method::Post, "/v1/leads".to_owned(), Some(json!({ "title": "A", "person_id": 1 })), 10),
        (Method::Get, "/v1/notes".to_owned(), None, 20),
        (Method::Get, "/v1/users/me".to_owned(), None, 2),
        (Method::Get, "/v1/users".to_owned(), None, 20),
        (Method::Put, "/v1/persons/3/merge".to_owned(), Some(json!({ "merge_with_id": 1 })), 40),
        (Method::Post, format!("/api/v2/leads/{lead}/convert/deal"), Some(json!({})), 40),
        // A refused body is charged too; what does not exist is not.
        (Method::Post, "/api/v2/persons".to_owned(), Some(json!({ "name": 1 })), 5),
        (Method::Get, "/v1/persons".to_owned(), None, 0),
    ] {
        let before = mock.tokens_spent();
        let mut request = Request::new(method, path.as_str());
        request.body = body;
        mock.send(&request).await.expect("an answer");
        assert_eq!(mock.tokens_spent() - before, tokens, "{method} {path}");
        assert_eq!(u64::from(mock.log().last().expect("logged").tokens), tokens);
    }
}

#[tokio::test]
async fn the_burst_window_rolls() {
    let mock = manual(MockOptions { burst: 3, ..MockOptions::default() });
    for remaining in [2, 1] {
        let a = answer(&mock, "/api/v2/persons/1").await;
        assert_eq!((header(&a, "x-ratelimit-limit"), header(&a, "x-ratelimit-remaining")), (3, remaining));
    }
    mock.advance(Duration::from_millis(1_500));
    assert_eq!(answer(&mock, "/api/v2/persons/1").await.status, 200);
    let refused = answer(&mock, "/api/v2/persons/1").await;
    assert_eq!((refused.status, header(&refused, "x-ratelimit-remaining")), (429, 0));
    assert_eq!(header(&refused, "x-ratelimit-reset"), 1, "seconds until the first two are two seconds old");
    mock.advance(Duration::from_millis(500));
    assert_eq!(answer(&mock, "/api/v2/persons/1").await.status, 200);
    assert_eq!(answer(&mock, "/api/v2/persons/1").await.status, 200);
    assert_eq!(answer(&mock, "/api/v2/persons/1").await.status, 429, "the third of the window is still in it");
    assert_eq!(mock.throttled(), 2);
}

#[tokio::test]
async fn searches_have_a_window_of_their_own() {
    let mock = manual(MockOptions { burst: 50, search_burst: 2, ..MockOptions::default() });
    for _ in 0..2 {
        assert_eq!(answer(&mock, "/api/v2/persons/search?term=xx").await.status, 200);
    }
    assert_eq!(answer(&mock, "/api/v2/itemSearch?term=xx").await.status, 429, "all searches share it");
    assert_eq!(answer(&mock, "/api/v2/persons/1").await.status, 200);
    mock.advance(Duration::from_secs(2));
    assert_eq!(answer(&mock, "/api/v2/leads/search?term=xx").await.status, 200);
}

#[tokio::test]
async fn the_budget_ends_and_comes_back_with_the_day() {
    let mock = manual(MockOptions { daily_tokens: 12, ..MockOptions::default() });
    done(&mock, Method::Post, "/api/v2/persons", json!({ "name": "A" })).await;
    done(&mock, Method::Post, "/api/v2/persons", json!({ "name": "B" })).await;
    let refused =
        mock.send(&Request::new(Method::Post, "/api/v2/persons").body(json!({ "name": "C" }))).await.expect("an answer");
    assert_eq!(refused.status, 429);
    assert!(header(&refused, "x-ratelimit-remaining") > 0, "which tells it from a burst");
    assert_eq!(get(&mock, "/api/v2/persons/1").await.0, 200, "one token is left for this");
    assert_eq!((mock.tokens_spent(), mock.tokens_spent_today()), (11, 11));
    mock.advance(Duration::from_secs(12 * 3_600));
    done(&mock, Method::Post, "/api/v2/persons", json!({ "name": "C" })).await;
    assert_eq!((mock.tokens_spent(), mock.tokens_spent_today()), (16, 5));
}

#[tokio::test]
async fn who_hammers_is_shut_out_with_a_web_page() {
    let mock = manual(MockOptions { burst: 1, block_after: Some(3), ..MockOptions::default() });
    assert_eq!(answer(&mock, "/api/v2/persons/1").await.status, 200);
    for _ in 0..3 {
        assert_eq!(answer(&mock, "/api/v2/persons/1").await.status, 429);
    }
    let shut = answer(&mock, "/api/v2/persons/1").await;
    assert_eq!(shut.status, 403);
    assert!(matches!(shut.body, Body::Other(page) if page.contains("<html")));
    mock.advance(Duration::from_secs(30));
    assert_eq!(answer(&mock, "/api/v2/persons/1").await.status, 403, "waiting a little does not help");
    mock.advance(Duration::from_secs(31));
    assert_eq!(answer(&mock, "/api/v2/persons/1").await.status, 200);
}
