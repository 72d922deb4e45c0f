//! The account that every way begins with, and what people do in it.

use std::collections::HashMap;
use std::sync::Arc;

use pipewright::mock::{Mock, MockOptions};
use pipewright::pipedrive::{Answer, Body, Method, Request, Transport as _};
use serde_json::{Map, Value, json};

use super::workload::{Edit, Workload, email};

/// An account with the fields of the embedded Pipedrive, and with the workload's persons.
pub(crate) fn begin(workload: &Workload, mut options: MockOptions) -> Arc<Mock> {
    let lag = std::mem::take(&mut options.search_lag);
    let mock = Mock::new(MockOptions { seed: false, keep_log: 0, ..options });
    for user in &workload.persons {
        enter(&mock, *user);
    }
    // They have been there for long.
    mock.set_search_lag(lag);
    mock
}

/// People do something. Whom they mean they see.
pub(crate) fn edit(mock: &Mock, edits: &[Edit]) {
    let plan = mock.custom_key("persons", "Plan").expect("the account has the field");
    let mut ids: HashMap<String, Value> = HashMap::new();
    for person in mock.entities("persons") {
        let email = person["emails"][0]["value"].as_str().unwrap_or_default().to_owned();
        ids.entry(email).or_insert_with(|| person["id"].clone());
    }
    for edit in edits {
        let (user, body) = match edit {
            Edit::NewPerson { user } => {
                if !ids.contains_key(&email(*user)) {
                    enter(mock, *user);
                }
                continue;
            }
            Edit::Name { user, name } => (user, json!({ "name": name })),
            Edit::Plan { user, plan: label } => {
                (user, json!({ "custom_fields": { &plan: mock.option_id("persons", "Plan", label) } }))
            }
        };
        if let (Some(id), Value::Object(body)) = (ids.get(&email(*user)), body) {
            assert_eq!(mock.edit("persons", id, body).status, 200, "an edit is taken");
        }
    }
}

fn enter(mock: &Mock, user: usize) {
    let body = json!({ "name": format!("Lead {user}"), "emails": [{ "value": email(user) }] });
    let answer = mock.aside(&Request::new(Method::Post, "/api/v2/persons").body(body));
    assert!(answer.status < 300, "a person is entered");
}

/// Sends a request as a client would that does without a limiter; answers `data`.
pub(crate) async fn send(mock: &Mock, method: Method, path: &str, body: Option<Map<String, Value>>) -> Value {
    let mut request = Request::new(method, path);
    request.body = body.map(Value::Object);
    data(mock.send(&request).await.expect("an answer"), path)
}

fn data(answer: Answer, path: &str) -> Value {
    match answer.body {
        Body::Json(mut body) if answer.status < 300 => body["data"].take(),
        body => panic!("{path}: {} {body:?}", answer.status),
    }
}
