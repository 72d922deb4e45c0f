//! What a new user does first.

use serde_json::json;

use super::harness::{Daemon, Folder, run};
use crate::support::{get, wait_until};

#[tokio::test]
async fn two_commands_and_a_post_make_a_person_appear() {
    let folder = Folder::init().await;
    let daemon = Daemon::mocked(&folder).await;
    let said = daemon.process.said();
    for part in ["receiving events", "admin API, /metrics, /readyz", "embedded Pipedrive", "write_key=\"mock\"", "rules=6"] {
        assert!(said.contains(part), "{part:?} is missing in:\n{said}");
    }

    let event = json!({ "type": "identify", "userId": "u1", "traits": { "name": "Ada King", "email": "ada@king.example" } });
    daemon.accept("/v1/identify", &event).await;
    let account = daemon.account();
    let page = wait_until("the person is on the account's page", || async {
        let page = get(account.0, "/").await;
        (page.status == 200 && page.text().contains("Ada King")).then_some(page)
    })
    .await;
    assert!(page.header("content-type").starts_with("text/html"), "a page for a browser");
    let person = account.person("u1").await;
    assert_eq!((&person["name"], &person["emails"][0]["value"]), (&json!("Ada King"), &json!("ada@king.example")));

    let metrics = get(daemon.admin, "/metrics").await.text();
    assert!(metrics.contains("pipewright_"), "{metrics}");
    assert_eq!(get(daemon.admin, "/healthz").await.status, 200);
    assert_eq!(get(daemon.admin, "/readyz").await.json()["ready"], true);
    let shown = folder.run(&["events", "show", "1/person"]).await.ok();
    for part in [
        "1/person  done",
        "created",
        "Segment User ID: null -> \"u1\"",
        "name: null -> \"Ada King\"",
        "POST /api/v2/persons  200",
        "tokens",
    ] {
        assert!(shown.contains(part), "{part:?} is missing in:\n{shown}");
    }
    for secret in ["Ada King", "ada@king.example", "u1"] {
        assert!(!daemon.process.said().contains(secret), "{secret:?} is in the log:\n{}", daemon.process.said());
    }
}

#[tokio::test]
async fn what_init_wrote_passes_check() {
    let folder = Folder::init().await;
    let checked = folder.run(&["check", "--mock"]).await.ok();
    assert!(checked.contains("ok: 9 rules (6 on), 9 scripts"), "{checked}");
    let again = run(&["init", folder.path().to_str().expect("a path")]).await;
    assert_eq!(again.code, Some(2), "{again:?}");
}
