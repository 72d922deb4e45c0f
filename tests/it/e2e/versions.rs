//! Versions, rollback and unpin, by the commands and as every surface tells of them.

use serde_json::{Value, json};

use super::harness::{Daemon, Folder};
use crate::support::get;

const SCRIPT: &str = "scripts/person.rhai";
const NAME: &str = "                name: person_name(t),";
const VIP: &str = "                name: `VIP ${person_name(t)}`,";

async fn name_of(daemon: &Daemon, user: &str) -> Value {
    let event = json!({ "userId": user, "traits": { "name": user, "email": format!("{user}@e2e.example") } });
    daemon.accept("/v1/identify", &event).await;
    daemon.done(user, 1).await;
    daemon.account().person(user).await["name"].take()
}

async fn live(daemon: &Daemon) -> String {
    get(daemon.admin, "/readyz").await.json()["version"].as_str().expect("a version").to_owned()
}

#[tokio::test]
async fn a_wrong_edit_is_found_in_the_versions_and_rolled_back_until_it_is_mended() {
    let folder = Folder::init().await;
    let daemon = Daemon::mocked(&folder).await;
    let good = live(&daemon).await;
    assert_eq!(name_of(&daemon, "ada").await, "ada");
    folder.edit(SCRIPT, NAME, VIP);
    folder.run(&["reload"]).await;
    let bad = live(&daemon).await;
    assert_eq!(name_of(&daemon, "bea").await, "VIP bea");

    let list = folder.json(&["versions", "list"]).await;
    let versions = list["versions"].as_array().expect("a list");
    assert_eq!((&versions[0]["version"], &versions[1]["version"], &list["live"]), (&json!(bad), &json!(good), &json!(bad)));
    let done = |version: &Value| version["outcomes"].as_array().expect("counts").clone();
    let expected = |version: &str| vec![json!({ "version": &version[..12], "rule": "person", "state": "done", "deliveries": 1 })];
    assert_eq!((done(&versions[0]), done(&versions[1])), (expected(&bad), expected(&good)));
    let table = folder.run(&["versions", "list"]).await.ok();
    assert!(table.lines().any(|l| l.starts_with(&bad[..12]) && l.contains("1 done") && l.contains("live, on disk")), "{table}");
    // Every delivery names its version.
    let listed = folder.json(&["events", "list", "--user", "bea"]).await;
    assert_eq!(listed["deliveries"][0]["version"], bad[..12]);
    let shown = folder.run(&["events", "show", "2"]).await.ok();
    assert!(shown.contains(&bad[..12]), "{shown}");

    let diff = folder.run(&["versions", "diff", &good[..8], "live"]).await;
    assert_eq!(diff.code, Some(1), "{diff:?}");
    for line in [
        &format!("--- {SCRIPT} ({})", &good[..12]),
        &format!("+++ {SCRIPT} ({})", &bad[..12]),
        &format!("-{NAME}"),
        &format!("+{VIP}"),
    ] {
        assert!(diff.out.lines().any(|l| l == line), "no {line:?} in:\n{}", diff.out);
    }
    assert_eq!(folder.run(&["versions", "diff", "live", "files"]).await.code, Some(0));

    let back = folder.run(&["rollback", "--reason", "wrong names"]).await.ok();
    assert!(back.contains(&format!("live and pinned: script set {} ({} was)", &good[..12], &bad[..12])), "{back}");
    assert_eq!((live(&daemon).await, name_of(&daemon, "cyd").await), (good.clone(), json!("cyd")));
    let status = folder.run(&["status"]).await;
    assert_eq!(status.code, Some(1), "{status:?}");
    for part in
        ["pinned       since", "wrong names", &format!("the files on disk ({}) would be live but for the pin", &bad[..12])]
    {
        assert!(status.out.contains(part), "no {part:?} in:\n{}", status.out);
    }
    let ready = get(daemon.admin, "/readyz").await.json();
    assert_eq!((&ready["ready"], &ready["pin"]["waiting"]), (&json!(true), &json!(bad)));
    assert!(get(daemon.admin, "/metrics").await.text().contains("pipewright_script_set_pinned 1"));
    assert!(daemon.process.said().contains("rolled back; saved files wait"), "{}", daemon.process.said());
    let show = folder.run(&["versions", "show", "live"]).await.ok();
    assert!(show.contains("(live) (pinned)") && show.contains("by a rollback") && show.contains(SCRIPT), "{show}");

    // A save is told and waits; a restart changes nothing about it.
    folder.edit(SCRIPT, VIP, &format!("                // Their name.\n{NAME}"));
    let reload = folder.run(&["reload"]).await;
    assert!(reload.code == Some(1) && reload.err.contains("would be live but for the pin"), "{reload:?}");
    daemon.process.kill().await;
    let daemon = Daemon::mocked(&folder).await;
    assert_eq!(live(&daemon).await, good);
    assert!(daemon.process.said().contains("the script set is pinned"), "{}", daemon.process.said());

    let unpinned = folder.run(&["unpin"]).await.ok();
    assert!(unpinned.contains("live: script set"), "{unpinned}");
    assert_ne!(live(&daemon).await, good);
    let again = folder.run(&["unpin"]).await;
    assert!(again.code == Some(1) && again.err.contains("nothing is pinned"), "{again:?}");
    assert_eq!(folder.run(&["status"]).await.code, Some(0));
}

#[tokio::test]
async fn what_is_not_there_is_told_with_what_there_is() {
    let folder = Folder::init().await;
    let daemon = Daemon::mocked(&folder).await;
    let only = live(&daemon).await;
    let none = folder.run(&["rollback"]).await;
    assert!(none.code == Some(1) && none.err.contains("no other version before"), "{none:?}");
    for command in [&["rollback", "beef"][..], &["versions", "show", "beef"], &["versions", "diff", "beef"]] {
        let unknown = folder.run(command).await;
        assert!(unknown.code == Some(1) && unknown.err.contains("`beef`") && unknown.err.contains(&only[..12]), "{unknown:?}");
    }
}

#[tokio::test]
async fn a_pinned_version_that_cannot_be_built_keeps_the_daemon_from_starting_until_it_is_let_go() {
    let folder = Folder::init().await;
    folder.write("key.txt", "secret\n");
    folder.edit("rules.toml", "write_keys = [\"env:PIPEWRIGHT_WRITE_KEY\"]", "write_keys = [\"file:key.txt\"]");
    let daemon = Daemon::mocked(&folder).await;
    folder.edit("rules.toml", "write_keys = [\"file:key.txt\"]", "write_keys = [\"env:PIPEWRIGHT_WRITE_KEY\"]");
    folder.run(&["reload"]).await;
    folder.run(&["rollback"]).await.ok();
    daemon.process.kill().await;
    std::fs::remove_file(folder.path().join("key.txt")).expect("deleted");
    let serve = ["serve", "--mock", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--mock-listen", "127.0.0.1:0"];
    let ended = folder.run(&serve).await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.err.contains("key.txt") && ended.err.contains("serve --unpin"), "{}", ended.err);
    let daemon = Daemon::serve(&folder, &["--mock", "--mock-listen", "127.0.0.1:0", "--unpin"]).await;
    assert_eq!(name_of(&daemon, "ada").await, "ada");
    assert_eq!(get(daemon.admin, "/readyz").await.json()["pin"], Value::Null);
}

/// Names of versions, events and accounts are parts of a request's path on the way to the daemon.
#[tokio::test]
async fn a_name_that_is_a_path_reaches_nothing_else() {
    let folder = Folder::init().await;
    let daemon = Daemon::mocked(&folder).await;
    daemon.accept("/v1/identify", &json!({ "userId": "ada", "traits": { "name": "Ada" } })).await;
    daemon.done("ada", 1).await;
    for name in
        ["../status", "..", ".", "%2e%2e/status", "live/../../status", "a/b?limit=1", "live#x", "\u{202e}evil", "/api/status"]
    {
        for args in [["versions", "show", name], ["events", "show", name]] {
            let ended = folder.run(&args).await;
            assert!(ended.code == Some(1) && ended.out.is_empty(), "{args:?}: {ended:?}");
            assert!(ended.err.starts_with("error: no ") || ended.err.contains("there is no"), "{args:?}: {ended:?}");
        }
        let ended = folder.run(&["rollback", name]).await;
        assert!(ended.code == Some(1) && ended.out.is_empty(), "{name}: {ended:?}");
    }
    let status = folder.json(&["status"]).await;
    assert_eq!(status["reload"]["pin"], Value::Null, "nothing was rolled back: {status:#}");
}
