//! Starts that fail say why and what to do; stops lose nothing.

use serde_json::{Value, json};

use super::harness::{Account, Daemon, Folder, Process};
use crate::support::{loopback, request, wait_until};

const FREE: [&str; 6] = ["serve", "--mock", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];

fn served<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&FREE[..], &["--mock-listen", "127.0.0.1:0"], more].concat()
}

#[tokio::test]
async fn a_first_start_with_a_typo_in_the_settings_shows_it_and_exits_with_2() {
    let folder = Folder::init().await;
    folder.edit("rules.toml", "write_keys = [", "write_kyes = [");
    let line = 1 + folder.read("rules.toml").lines().position(|l| l.starts_with("write_kyes")).expect("the line");
    let ended = folder.run(&served(&[])).await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    for part in [&format!("rules.toml:{line}:1"), "write_kyes", "^^^^^^^^^^", "did you mean `write_keys`?"] {
        assert!(ended.err.contains(part), "{part:?} is missing in:\n{}", ended.err);
    }
    assert_eq!(ended.out, "");
}

#[tokio::test]
async fn a_first_start_with_a_typo_in_a_script_shows_it_and_exits_with_2() {
    for (from, to, parts) in [
        ("        upsert", "", &[][..]),
        ("person_name(t),\n            }", "person_nam(t),\n            }", &["person_nam", "did you mean `person_name`?"]),
        ("let t = event.traits;", "let t = event.traits", &["scripts/person.rhai:"]),
        ("when = 'type = \"identify\"'", "when = 'typ = \"identify\"'", &["rules.toml:", "expected `type`"]),
    ] {
        let file = if from.starts_with("when") { "rules.toml" } else { "scripts/person.rhai" };
        let folder = Folder::init().await;
        if parts.is_empty() {
            std::fs::remove_file(folder.path().join(file)).expect("a file");
        } else {
            folder.edit(file, from, to);
        }
        let ended = folder.run(&served(&[])).await;
        assert_eq!(ended.code, Some(2), "{to}: {ended:?}");
        assert!(ended.err.contains("person.rhai") || ended.err.contains("rules.toml"), "{}", ended.err);
        for part in parts.iter().chain(if parts.is_empty() { &[][..] } else { &["^"] }) {
            assert!(ended.err.contains(part), "{part:?} is missing in:\n{}", ended.err);
        }
    }
}

#[tokio::test]
async fn without_a_folder_or_a_secret_the_start_says_what_to_do() {
    let folder = Folder::init().await;
    std::fs::remove_file(folder.path().join("rules.toml")).expect("a file");
    let ended = folder.run(&served(&[])).await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.err.contains("rules.toml") && ended.err.contains("pipewright init"), "{}", ended.err);

    let folder = Folder::init().await;
    folder.edit("rules.toml", "env:PIPEDRIVE_API_TOKEN", "env:PIPEWRIGHT_TEST_UNSET");
    let ended = folder.run(&["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]).await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.err.contains("PIPEWRIGHT_TEST_UNSET") && ended.err.contains("rules.toml:"), "{}", ended.err);
}

#[tokio::test]
async fn the_admin_listener_is_not_opened_to_others_without_a_token() {
    let folder = Folder::init().await;
    for open in ["0.0.0.0:0", "[::]:0"] {
        let ended = folder
            .run(&["serve", "--mock", "--mock-listen", "127.0.0.1:0", "--listen", "127.0.0.1:0", "--admin-listen", open])
            .await;
        assert_eq!(ended.code, Some(2), "{open}: {ended:?}");
        assert!(ended.err.contains("set admin.token, or listen on 127.0.0.1"), "{}", ended.err);
    }
    folder.edit("rules.toml", "listen = \"127.0.0.1:8081\"", "listen = \"0.0.0.0:8081\"");
    let refused = folder.run(&["check"]).await;
    assert!(refused.code == Some(2) && refused.err.contains("token"), "{refused:?}");
}

#[tokio::test]
async fn a_secret_file_that_others_can_read_is_told_at_the_start() {
    let folder = Folder::init().await;
    folder.write("token", "s3cret-in-a-file");
    let mode = |mode| std::fs::set_permissions(folder.path().join("token"), std::os::unix::fs::PermissionsExt::from_mode(mode));
    mode(0o644).expect("its mode");
    folder.edit("rules.toml", "env:PIPEDRIVE_API_TOKEN", "file:token");
    let warns = |said: String| {
        said.lines().any(|l| l.contains("WARN") && l.contains("PW013") && l.contains("0644") && l.contains("chmod 600"))
    };
    let daemon = Daemon::mocked(&folder).await;
    assert!(warns(daemon.process.said()), "{}", daemon.process.said());
    assert!(folder.run(&["status"]).await.out.contains("PW013"));
    daemon.process.kill().await;
    mode(0o600).expect("its mode");
    let daemon = Daemon::mocked(&folder).await;
    assert!(!daemon.process.said().contains("PW013"), "{}", daemon.process.said());
}

#[tokio::test]
async fn a_second_daemon_on_the_same_data_is_refused() {
    let folder = Folder::init().await;
    let first = Daemon::mocked(&folder).await;
    let second = folder.run(&served(&[])).await;
    assert_eq!(second.code, Some(1), "{second:?}");
    assert!(second.err.contains("another") && second.err.contains("data"), "{}", second.err);
    // The first does not notice.
    first.accept("/v1/identify", &json!({ "userId": "u1", "traits": { "name": "Ada" } })).await;
    first.done("u1", 1).await;
    folder.run(&["status"]).await.ok();
}

#[tokio::test]
async fn an_address_in_use_is_named_with_what_it_is_for() {
    let (_listener, taken) = loopback().await;
    let taken = taken.to_string();
    for (flag, what) in [("--listen", "server.listen"), ("--admin-listen", "admin.listen"), ("--mock-listen", "--mock-listen")] {
        let folder = Folder::init().await;
        let mut args = served(&[]);
        let at = args.iter().position(|a| *a == flag).expect("the flag");
        args[at + 1] = &taken;
        let ended = folder.run(&args).await;
        assert_eq!(ended.code, Some(1), "{ended:?}");
        for part in [taken.as_str(), what, "in use"] {
            assert!(ended.err.contains(part), "{part:?} is missing in:\n{}", ended.err);
        }
    }
    let ended = super::harness::run(&["mock", "--listen", &taken]).await;
    assert!(ended.code == Some(1) && ended.err.contains(&taken), "{ended:?}");
}

#[tokio::test]
async fn a_stop_ends_what_is_under_way_and_leaves_the_rest_for_the_next_start() {
    let account = Process::account(&["--unlimited", "--latency", "50ms"]).await;
    let at = Account(account.address("embedded Pipedrive on "));
    let folder = Folder::init().await;
    folder.use_account(&account);
    let mut daemon = Daemon::serve(&folder, &[]).await;
    let users: Vec<String> = (0..40).map(|n| format!("u{n}")).collect();
    let batch: Vec<Value> =
        users.iter().map(|user| json!({ "type": "identify", "userId": user, "traits": { "name": user } })).collect();
    daemon.accept("/v1/batch", &json!({ "batch": batch })).await;
    let made = async |least: usize| (at.list("/api/v2/persons?limit=500").await.len() >= least).then_some(());
    let seeded = 6;
    wait_until("some are delivered", || made(seeded + 3)).await;
    daemon.process.signal("TERM").await;
    assert_eq!(daemon.process.ended().await, Some(0), "{}", daemon.process.said());
    let said = daemon.process.said();
    assert!(said.contains("stopping") && said.contains("SIGTERM") && !said.contains("ERROR"), "{said}");
    assert!(!folder.path().join("data/pipewright.sock").exists(), "the socket is gone with the daemon");

    let daemon = Daemon::serve(&folder, &[]).await;
    for user in &users {
        daemon.done(user, 1).await;
        at.person(user).await;
    }
    let list = folder.json(&["events", "list", "--limit", "100"]).await;
    let charged: Vec<_> = list["deliveries"].as_array().expect("a list").iter().filter(|d| d["attempts"] != 0).collect();
    assert!(charged.is_empty(), "a stop is no failed attempt: {charged:#?}");
}

#[tokio::test]
async fn the_mock_takes_its_own_token_only() {
    let account = Process::account(&["--token", "other", "--empty"]).await;
    let at = account.address("embedded Pipedrive on ");
    assert_eq!(request(at, "GET", "/api/v2/persons", &[("x-api-token", "mock")], "").await.status, 401);
    let reply = request(at, "GET", "/api/v2/persons", &[("x-api-token", "other")], "").await;
    assert_eq!((reply.status, &reply.json()["data"]), (200, &json!([])));
}
