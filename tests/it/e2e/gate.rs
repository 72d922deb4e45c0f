//! The gate under a running daemon: an edit that breaks what the shipped tests hold.

use serde_json::{Value, json};

use super::harness::{Daemon, Folder};
use crate::support::{get, wait_until};

const SCRIPT: &str = "scripts/person.rhai";
const NAME: &str = "                name: person_name(t),";

#[tokio::test]
async fn an_edit_that_breaks_a_rule_cannot_go_live_and_every_surface_says_why() {
    let folder = Folder::gated().await;
    let daemon = Daemon::mocked(&folder).await;
    let ready = || async { get(daemon.admin, "/readyz").await.json() };
    let live = ready().await["version"].clone();
    let said = daemon.process.said();
    assert!(said.contains("script tests run") && !said.contains("delivery failed"), "tests fail on purpose, and quietly: {said}");
    folder.edit(SCRIPT, NAME, "                name: `VIP ${person_name(t)}`,");
    let state = wait_until("the edit is refused", || async { Some(ready().await).filter(|s| !s["refused"].is_null()) }).await;
    assert_eq!((&state["version"], &state["ready"]), (&live, &json!(true)), "{state:#}");
    let place = &state["refused"]["diagnostics"][0]["place"];
    assert_eq!(place["file"], "scripts/tests/person_test.rhai", "{state:#}");

    let shown = format!("scripts/tests/person_test.rhai:{}:", place["line"]);
    let (reload, status) = (folder.run(&["reload"]).await, folder.run(&["status"]).await);
    assert_eq!((reload.code, status.code), (Some(1), Some(1)), "{reload:?}{status:?}");
    for (name, text) in [("reload", &reload.err), ("status", &status.out), ("log", &daemon.process.said())] {
        assert!(text.contains(&shown) && text.contains("a test failed"), "{name} does not show {shown}:\n{text}");
    }
    assert!(reload.err.contains("tests failed; script set"), "{}", reload.err);
    let metrics = get(daemon.admin, "/metrics").await.text();
    assert!(metrics.contains("pipewright_script_set_refused 1"), "{metrics}");
    let event = json!({ "type": "identify", "userId": "u1", "traits": { "name": "Ada", "email": "ada@e2e.example" } });
    daemon.accept("/v1/identify", &event).await;
    daemon.done("u1", 1).await;
    assert_eq!(daemon.account().person("u1").await["name"], "Ada");

    // A comment changes the set, and no test.
    folder.edit(SCRIPT, "                name: `VIP ${person_name(t)}`,", &format!("                // Their name.\n{NAME}"));
    let reload = folder.json(&["reload"]).await;
    let is = |word: &str| reload["result"] == word;
    assert!(is("unchanged") || is("swapped") && reload["tests"]["passed"].as_u64() > Some(10), "{reload:#}");
    let state = ready().await;
    assert!(state["version"] != live && state["refused"] == Value::Null, "{state:#}");
}

#[tokio::test]
async fn a_first_start_with_failing_tests_ends_with_2_and_says_which() {
    let folder = Folder::gated().await;
    folder.edit(SCRIPT, NAME, "                name: `VIP ${person_name(t)}`,");
    let ended = folder.run(&["serve", "--mock", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]).await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.err.contains("scripts/tests/person_test.rhai:") && ended.err.contains("a test failed"), "{}", ended.err);
}
