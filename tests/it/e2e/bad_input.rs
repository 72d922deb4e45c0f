//! Hostile scripts and a Pipedrive in trouble, as whoever runs the daemon sees them.

use pipewright::mock::{Fault, FaultMatch, Mock, MockOptions};
use serde_json::{Value, json};

use super::harness::{Daemon, Folder};
use crate::support::account::Served;
use crate::support::{get, wait_until};

#[tokio::test]
async fn a_script_without_end_fails_its_delivery_and_nothing_else_notices() {
    let folder = Folder::init().await;
    folder.edit("rules.toml", "deadline = \"200ms\"", "deadline = \"20s\"");
    let hostile = [
        ("Deal Upserted", "deal", "    let n = 0;\n    loop { n += 1; }", "raise `max_operations` under [scripts]"),
        ("Lead Upserted", "lead", "    handle(event)", "nested deeper than 64"),
        ("Activity Upserted", "activity", "    let s = \"x\";\n    loop { s += s; }", "raise `max_string` under [scripts]"),
        ("Note Upserted", "note", "    Fn(\"sleep\").call(3600);", "sleep"),
    ];
    for (_, script, body, _) in hostile {
        folder.write(&format!("scripts/{script}.rhai"), &format!("fn handle(event) {{\n{body}\n}}\n"));
    }
    let daemon = Daemon::mocked(&folder).await;
    for (name, ..) in hostile {
        daemon.accept("/v1/track", &json!({ "userId": "hostile", "event": name, "properties": {} })).await;
    }
    daemon.accept("/v1/identify", &json!({ "userId": "ada", "traits": { "name": "Ada" } })).await;
    daemon.done("ada", 1).await;

    let ended = daemon.settled("hostile", hostile.len()).await;
    for (_, script, _, limit) in hostile {
        let delivery = ended.iter().find(|d| d["id"].as_str().is_some_and(|id| id.ends_with(script))).expect("one of each");
        let reason = delivery["reason"].as_str().unwrap_or_default();
        assert_eq!(delivery["state"], "dead", "{delivery:#}");
        let shown = folder.run(&["events", "show", delivery["id"].as_str().expect("an id")]).await.ok();
        assert!(shown.contains(limit), "{limit:?} is missing in:\n{shown}");
        assert!(reason.starts_with(&format!("scripts/{script}.rhai:")), "the reason has no place: {reason}");
    }
    // One failure is no reason to pause a rule, nor is the daemon any less ready.
    assert_eq!(get(daemon.admin, "/readyz").await.json()["paused"], json!([]));
}

#[tokio::test]
async fn what_an_event_holds_is_shown_with_its_delivery_and_never_logged() {
    let folder = Folder::init().await;
    let personal = "zoe@secret.example";
    let wrong = [
        (
            "Deal Upserted",
            "deal",
            "person::create(#{ name: \"x\", Score: v });",
            "`Score` takes a number, and this string is none",
        ),
        (
            "Lead Upserted",
            "lead",
            "person::create(#{ name: \"x\", \"Billing address\": [v] });",
            "`Billing address` takes an address",
        ),
        ("Activity Upserted", "activity", "person::create(#{ name: \"x\", \"Lifetime Value\": v });", "takes an amount of money"),
        (
            "Note Upserted",
            "note",
            "person::update(v, #{ name: \"x\" });",
            "a Pipedrive id of a person is a positive whole number",
        ),
    ];
    for (_, script, body, _) in wrong {
        folder.write(
            &format!("scripts/{script}.rhai"),
            &format!("fn handle(event) {{\n    let v = event.properties.v;\n    {body}\n}}\n"),
        );
    }
    let daemon = Daemon::mocked(&folder).await;
    for (name, ..) in wrong {
        daemon.accept("/v1/track", &json!({ "userId": "u1", "event": name, "properties": { "v": personal } })).await;
    }
    for delivery in daemon.settled("u1", wrong.len()).await {
        let id = delivery["id"].as_str().expect("an id");
        let (_, script, body, said) = wrong.into_iter().find(|(_, script, ..)| id.ends_with(script)).expect("one of each");
        assert_eq!(delivery["state"], "dead", "{delivery:#}");
        let shown = folder.run(&["events", "show", id]).await.ok();
        assert!(shown.contains(said) && shown.contains(&format!("scripts/{script}.rhai:3:13")), "{shown}");
        // The line, with a caret under it.
        assert!(shown.contains(&format!("3 |     {body}")) && shown.contains("  |             ^"), "{shown}");
        assert!(shown.contains(personal), "the record is where the event can be seen:\n{shown}");
    }
    let said = daemon.process.said();
    assert!(wrong.iter().all(|(_, script, ..)| said.contains(&format!("/{script}"))), "each is in the log:\n{said}");
    assert!(!said.contains("zoe"), "{said}");
}

/// An account that the test can make fail, behind a daemon that tries again quickly.
async fn troubled() -> (Served, Folder, Daemon) {
    let account = Served::start(MockOptions::unlimited()).await;
    let folder = Folder::init().await;
    folder.use_address(account.at);
    folder.edit("rules.toml", "retry_first = \"1s\"", "retry_first = \"10ms\"");
    folder.edit("rules.toml", "writes = \"off\"", "writes = \"on\"");
    let daemon = Daemon::serve(&folder, &[]).await;
    (account, folder, daemon)
}

fn identify(user: &str) -> Value {
    json!({ "userId": user, "traits": { "name": user, "email": format!("{user}@e2e.example") } })
}

fn persons(mock: &Mock, user: &str) -> usize {
    mock.find("persons", "Segment User ID", &json!(user)).len()
}

#[tokio::test]
async fn trouble_that_passes_is_waited_out_and_nothing_is_made_twice() {
    let (account, folder, daemon) = troubled().await;
    let mock = &account.mock;
    let bodies = [
        Fault::Status { status: 503, body: json!({ "success": false, "error": "maintenance" }) },
        Fault::FailedAfter { status: 502 },
        Fault::Cut { committed: true },
        Fault::Cut { committed: false },
        Fault::Truncated,
        Fault::TooMany { remaining: 0, reset: 1, retry_after: None },
    ];
    for (n, fault) in bodies.into_iter().enumerate() {
        let (user, shown) = (format!("u{n}"), format!("{fault:?}"));
        mock.fail_matching(FaultMatch { times: 1, ..FaultMatch::next(pipewright::pipedrive::Method::Post, "persons") }, fault);
        daemon.accept("/v1/identify", &identify(&user)).await;
        daemon.done(&user, 1).await;
        assert_eq!(persons(mock, &user), 1, "after {shown}");
    }
    folder.run(&["status"]).await.ok();
}

#[tokio::test]
async fn a_refused_token_pauses_the_account_loudly_and_mending_it_is_enough() {
    let (account, folder, daemon) = troubled().await;
    let mock = &account.mock;
    mock.fail_matching(
        FaultMatch::always("/"),
        Fault::Status { status: 401, body: json!({ "success": false, "error": "unauthorized access" }) },
    );
    daemon.accept("/v1/identify", &identify("ada")).await;
    let status = wait_until("the pause shows", || async {
        let status = folder.run(&["status"]).await;
        (status.code == Some(1) && status.out.contains("401")).then_some(status)
    })
    .await;
    assert!(status.out.contains("api_token"), "it says what to look at:\n{}", status.out);
    let said = daemon.process.said();
    assert!(said.lines().any(|l| (l.contains("ERROR") || l.contains("WARN")) && l.contains("paused")), "{said}");
    let list = folder.json(&["events", "list", "--state", "pending"]).await;
    assert_eq!(list["deliveries"][0]["attempts"], 0, "a refused token is no attempt: {list:#}");

    mock.clear_faults();
    folder.run(&["resume", "account", "main"]).await.ok();
    daemon.done("ada", 1).await;
    assert_eq!(persons(mock, "ada"), 1);
}

#[tokio::test]
async fn what_pipedrive_refuses_is_a_dead_letter_that_says_so() {
    let (account, folder, daemon) = troubled().await;
    let mock = &account.mock;
    let body = json!({ "success": false, "error": "Name is too silly", "code": "ERR_SCHEMA_VALIDATION_FAILED" });
    let refused = FaultMatch::next(pipewright::pipedrive::Method::Post, "persons");
    mock.fail_matching(refused, Fault::Status { status: 400, body });
    daemon.accept("/v1/identify", &identify("ada")).await;
    assert_eq!(daemon.settled("ada", 1).await[0]["state"], "dead");
    let shown = folder.run(&["events", "show", "1/person"]).await.ok();
    assert!(shown.contains("Name is too silly") && shown.contains("400"), "{shown}");
    let said = daemon.process.said();
    assert!(said.contains("1/person") && !said.contains("silly"), "what Pipedrive wrote is not logged:\n{said}");
    folder.run(&["events", "replay", "1/person"]).await.ok();
    daemon.settled("ada", 2).await;
    assert_eq!(persons(mock, "ada"), 1);
}
