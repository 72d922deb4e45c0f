//! One daemon and two Pipedrive accounts: what one is asked, told or denied is no matter of the other.

use pipewright::mock::{Fault, FaultMatch, Hold, Mock, MockExchange, MockOptions};
use pipewright::pipedrive::Method;
use serde_json::{Value, json};

use super::harness::{Daemon, Ended, Folder};
use crate::support::account::Served;
use crate::support::wait_until;

/// The accounts `eu`, empty, and `main`, with the records of a first run; each takes only its own token, and has its own rule
/// `person-eu` or `person-main` for the same events.
struct Two {
    folder: Folder,
    eu: Served,
    main: Served,
}

impl Two {
    async fn new() -> Self {
        let folder = Folder::init().await;
        let account = |token: &str, seed| MockOptions { token: token.to_owned(), seed, ..MockOptions::unlimited() };
        let (eu, main) = (Served::start(account("t0ken-eu", false)).await, Served::start(account("t0ken-main", true)).await);
        let settings = folder.read("rules.toml");
        let (settings, _) = settings.split_once("\n[[rules]]").expect("the shipped rules");
        let (before, rest) = settings.split_once("\n[pipedrive.main]").expect("the shipped account");
        let (_, after) = rest.split_once("\n# --- ").expect("a section after it");
        let mut text = before.to_owned();
        for (name, account) in [("eu", &eu), ("main", &main)] {
            folder.write(&format!("token-{name}"), &format!("t0ken-{name}\n"));
            // A request that is held must not end by itself while a test waits.
            text += &format!(
                "\n[pipedrive.{name}]\nbase_url = \"{}\"\napi_token = \"file:token-{name}\"\nplan = \"ultimate\"\ntimeout = \"5m\"\n",
                account.url()
            );
        }
        text += &format!("\n# --- {after}");
        for name in ["eu", "main"] {
            let when = "when = 'type = \"identify\"'";
            text += &format!("\n[[rules]]\nname = \"person-{name}\"\n{when}\nscript = \"person.rhai\"\naccount = \"{name}\"\n");
        }
        folder.write("rules.toml", &text);
        Self { folder, eu, main }
    }

    async fn serve() -> (Self, Daemon) {
        Self::serve_with(None).await
    }

    /// With a script that makes a person of each event: without a search, of which only few are allowed in a second.
    async fn serve_creating() -> (Self, Daemon) {
        let fields = "#{ name: event.userId, \"Segment User ID\": event.userId }";
        Self::serve_with(Some(format!("fn handle(event) {{\n    person::create({fields});\n}}\n"))).await
    }

    async fn serve_with(script: Option<String>) -> (Self, Daemon) {
        let two = Self::new().await;
        if let Some(script) = script {
            two.folder.write("scripts/person.rhai", &script);
        }
        let daemon = Daemon::serve(&two.folder, &[]).await;
        (two, daemon)
    }

    /// An account as `status` shows it.
    async fn status(&self, name: &str) -> Value {
        let status = self.folder.json(&["status"]).await;
        let accounts = status["delivery"]["accounts"].as_array().expect("a list");
        accounts.iter().find(|a| a["name"] == name).unwrap_or_else(|| panic!("no {name} in {status:#}")).clone()
    }

    /// Waits until the account is paused; the reason.
    async fn paused(&self, name: &str) -> String {
        wait_until(&format!("{name} is paused"), || async {
            self.status(name).await["paused"]["reason"].as_str().map(str::to_owned)
        })
        .await
    }
}

fn identify(user: &str, name: &str) -> Value {
    json!({ "userId": user, "traits": { "name": name, "email": format!("{user}@e2e.example") } })
}

fn persons(mock: &Mock, user: &str) -> Vec<Value> {
    mock.find("persons", "Segment User ID", &json!(user))
}

/// Waits until the only delivery of a user that ends is the one to this account.
async fn done_in(daemon: &Daemon, account: &str, user: &str) {
    let ended = daemon.settled(user, 1).await;
    let said: Vec<_> = ended.iter().map(|d| (d["account"].as_str(), d["state"].as_str())).collect();
    assert_eq!(said, [(Some(account), Some("done"))], "{ended:#?}");
}

#[tokio::test]
async fn an_event_reaches_both_accounts_and_each_keeps_its_own_ids() {
    let (two, daemon) = Two::serve().await;
    daemon.accept("/v1/identify", &identify("ada", "Ada")).await;
    daemon.done("ada", 2).await;
    let id = |served: &Served| {
        let found = persons(&served.mock, "ada");
        assert_eq!(found.len(), 1, "{found:#?}");
        found[0]["id"].clone()
    };
    let (in_eu, in_main) = (id(&two.eu), id(&two.main));
    assert_ne!(in_eu, in_main, "a mix-up could not be seen");

    // Each is found by what was learned of it: neither looked for nor taken for the other's.
    two.eu.mock.clear_log();
    two.main.mock.clear_log();
    daemon.accept("/v1/identify", &identify("ada", "Ada Lovelace")).await;
    daemon.done("ada", 4).await;
    for (served, id) in [(&two.eu, in_eu), (&two.main, in_main)] {
        let log = served.mock.log();
        let writes: Vec<_> = log.iter().filter(|e| e.method != Method::Get).map(MockExchange::call).collect();
        assert_eq!(writes, [format!("PATCH /api/v2/persons/{id}")]);
        let only = |e: &MockExchange| e.path == format!("/api/v2/persons/{id}");
        assert!(log.iter().all(only), "{log:#?}");
        assert_eq!(persons(&served.mock, "ada")[0]["name"], "Ada Lovelace");
    }

    let shown = two.folder.json(&["events", "show", "2"]).await;
    let deliveries = shown["events"][0]["deliveries"].as_array().expect("a list");
    assert_eq!(deliveries.len(), 2, "{shown:#}");
    for delivery in deliveries {
        let account = delivery["account"].as_str().expect("a name");
        assert_eq!(delivery["id"], format!("2/person-{account}"), "{delivery:#}");
        assert_eq!(delivery["records"][0]["account"], account, "{delivery:#}");
        let text = two.folder.run(&["events", "show", delivery["id"].as_str().expect("an id")]).await.ok();
        assert!(text.contains(&format!("account {account}")), "{text}");
    }
}

#[tokio::test]
async fn a_refused_token_pauses_its_account_and_the_other_goes_on() {
    let (two, daemon) = Two::serve().await;
    let body = json!({ "success": false, "error": "unauthorized access" });
    two.main.mock.fail_matching(FaultMatch::always("/"), Fault::Status { status: 401, body });
    daemon.accept("/v1/identify", &identify("ada", "Ada")).await;
    let reason = two.paused("main").await;
    assert!(reason.contains("401"), "{reason}");
    for user in ["bob", "cleo"] {
        daemon.accept("/v1/identify", &identify(user, user)).await;
    }
    for user in ["ada", "bob", "cleo"] {
        done_in(&daemon, "eu", user).await;
        assert_eq!((persons(&two.eu.mock, user).len(), persons(&two.main.mock, user).len()), (1, 0), "{user}");
    }
    let (eu, main) = (two.status("eu").await, two.status("main").await);
    assert_eq!((&eu["paused"], &eu["pending"], &main["pending"]), (&Value::Null, &json!(0), &json!(3)), "{eu:#}{main:#}");
    assert!(!daemon.process.said().contains("t0ken"), "no token is logged");

    two.main.mock.clear_faults();
    two.folder.run(&["resume", "account", "main"]).await.ok();
    for user in ["ada", "bob", "cleo"] {
        daemon.done(user, 2).await;
        assert_eq!(persons(&two.main.mock, user).len(), 1, "{user}");
    }
    two.folder.run(&["status"]).await.ok();
}

#[tokio::test]
async fn a_spent_budget_stops_its_account_and_not_the_other() {
    let (two, daemon) = Two::serve_creating().await;
    let spent = Fault::TooMany { remaining: 1, reset: 1, retry_after: Some(3_600) };
    let creates = FaultMatch { method: Some(Method::Post), ..FaultMatch::always("persons") };
    two.main.mock.fail_matching(creates, spent);
    daemon.accept("/v1/identify", &identify("first", "First")).await;
    two.paused("main").await;
    let users: Vec<_> = (0..40).map(|n| format!("u{n}")).collect();
    for user in &users {
        daemon.accept("/v1/identify", &identify(user, user)).await;
    }
    for user in &users {
        done_in(&daemon, "eu", user).await;
    }
    let asked = two.main.mock.log().iter().filter(|e| e.method == Method::Post).count();
    assert_eq!(asked, 1, "after a 429 nothing hammers");
    let (eu, main) = (two.status("eu").await, two.status("main").await);
    assert_eq!((&eu["paused"], &main["pending"]), (&Value::Null, &json!(41)), "{eu:#}{main:#}");
    let ended = two.folder.json(&["events", "list", "--state", "failed"]).await;
    assert_eq!(ended["deliveries"], json!([]), "waiting is no failure");
    let waiting = two.folder.json(&["events", "list", "--user", "first", "--state", "pending"]).await;
    assert_eq!(waiting["deliveries"][0]["attempts"], 0, "a spent budget is no attempt: {waiting:#}");
}

#[tokio::test]
async fn an_account_that_answers_nothing_takes_no_place_of_the_other() {
    let (two, daemon) = Two::serve_creating().await;
    let hold = Hold::new();
    two.main.mock.fail_matching(FaultMatch::always("persons"), Fault::Hold(hold.clone()));
    // More than may be under way at once, in one account and in all.
    let users: Vec<_> = (0..40).map(|n| format!("u{n}")).collect();
    for user in &users {
        daemon.accept("/v1/identify", &identify(user, user)).await;
    }
    hold.reached().await;
    for user in &users {
        done_in(&daemon, "eu", user).await;
    }
    two.main.mock.clear_faults();
    users.iter().for_each(|_| hold.release());
    for user in &users {
        daemon.done(user, 2).await;
        assert_eq!(persons(&two.main.mock, user).len(), 1, "{user}");
    }
}

#[tokio::test]
async fn commands_take_the_account_that_is_named_and_say_which_there_are() {
    let two = Two::new().await;
    let run = |args: &'static [&'static str]| two.folder.run(args);
    let commands: [&[&str]; 3] = [&["duplicates", "--yes"], &["fields", "list"], &["fields", "pull"]];
    for command in commands {
        for (name, asked, other) in [("eu", &two.eu, &two.main), ("main", &two.main, &two.eu)] {
            let before = (asked.mock.requests(), other.mock.requests());
            let answer = two.folder.json(&[command, &["--account", name]].concat()).await;
            assert_eq!(answer["account"], name, "{command:?}");
            assert!(asked.mock.requests() > before.0 && other.mock.requests() == before.1, "{command:?} {name} asked the other");
        }
        let wrong = |ended: &Ended, said: &[&str]| {
            assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""), "{command:?}: {ended:?}");
            assert!(said.iter().all(|part| ended.err.contains(part)), "{command:?}: {}", ended.err);
        };
        wrong(&two.folder.run(command).await, &["--account", "eu, main"]);
        wrong(
            &two.folder.run(&[command, &["--account", "mian"]].concat()).await,
            &["`mian`", "did you mean `main`?", "eu, main"],
        );
        wrong(&two.folder.run(&[command, &["--account", "apac"]].concat()).await, &["`apac`", "eu, main"]);
    }
    // Each has its own file, by which names are checked without it.
    assert!(["schema.eu.json", "schema.main.json"].iter().all(|file| two.folder.path().join(file).exists()));
    let checked = run(&["check"]).await.ok();
    assert!(checked.contains("checked against eu, main, by the schema file"), "{checked}");
    let checked = run(&["check", "--live"]).await.ok();
    assert!(checked.contains("checked against eu, main"), "{checked}");

    let daemon = Daemon::serve(&two.folder, &[]).await;
    run(&["pause", "account", "eu", "--reason", "an import"]).await.ok();
    daemon.accept("/v1/identify", &identify("ada", "Ada")).await;
    done_in(&daemon, "main", "ada").await;
    let (eu, main) = (two.status("eu").await, two.status("main").await);
    assert_eq!((&eu["paused"]["reason"], &main["paused"]), (&json!("an import"), &Value::Null), "{eu:#}{main:#}");
    let shown = run(&["status"]).await.out;
    assert!(shown.lines().any(|line| line.starts_with("eu ") && line.contains("an import")), "{shown}");
    for args in [&["pause", "account", "apac"][..], &["resume", "account", "apac"], &["forget", "ada", "--account", "apac"]] {
        let refused = two.folder.run(args).await;
        assert_eq!(refused.code, Some(1), "{args:?}: {refused:?}");
        assert!(refused.err.contains("`apac`") && refused.err.contains("eu, main"), "{args:?}: {}", refused.err);
    }
    let main_is_not_paused = run(&["resume", "account", "main"]).await;
    assert!(main_is_not_paused.code == Some(1) && main_is_not_paused.err.contains("not paused"), "{main_is_not_paused:?}");
    let found = two.folder.json(&["forget", "ada", "--account", "main"]).await;
    assert_eq!((&found["counts"]["deliveries"], &found["counts"]["entities"]), (&json!(1), &json!(1)), "{found:#}");
    run(&["resume", "account", "eu"]).await.ok();
    daemon.done("ada", 2).await;
}

#[tokio::test]
async fn what_one_account_has_of_a_user_is_erased_and_the_other_goes_on_as_it_was() {
    let (two, daemon) = Two::serve().await;
    daemon.accept("/v1/identify", &identify("before", "Before")).await;
    daemon.done("before", 2).await;
    daemon.accept("/v1/alias", &json!({ "userId": "ada", "previousId": "before" })).await;
    daemon.accept("/v1/identify", &identify("ada", "Ada")).await;
    daemon.done("ada", 2).await;
    // Something that waits in one of them.
    two.folder.run(&["pause", "account", "eu"]).await.ok();
    daemon.accept("/v1/identify", &identify("ada", "Ada L")).await;
    let rows = daemon.settled("ada", 3).await;
    assert_eq!(rows.len(), 3, "{rows:#?}");

    let wrong = two.folder.run(&["forget", "ada", "--account", "us", "--yes"]).await;
    assert!(wrong.code != Some(0) && wrong.err.contains("there is no account `us`; there is eu, main"), "{wrong:?}");
    let counted = two.folder.json(&["forget", "ada", "--account", "eu"]).await;
    let gone = two.folder.json(&["forget", "ada", "--account", "eu", "--yes"]).await;
    assert_eq!(gone["users"], json!(["ada", "before"]));
    // No event goes: all of them are the other account's, too. Aliases, unmatched and refused events are no account's.
    let expected = json!({ "events": 0, "unmatched": 0, "rejected": 0, "deliveries": 3, "discarded": 1, "entities": 1 });
    assert_eq!((&gone["counts"], &gone["tombstone"]["account"]), (&expected, &json!("eu")));
    assert_eq!(counted["counts"]["deliveries"], 3);
    let left = two.folder.json(&["events", "list", "--user", "ada"]).await;
    let left: Vec<_> = left["deliveries"].as_array().expect("a list").iter().map(|d| d["account"].clone()).collect();
    assert_eq!(left, ["main", "main"]);
    let again = two.folder.run(&["forget", "ada", "--account", "eu", "--yes"]).await.ok();
    assert!(again.contains("erased: 0 events with 0 deliveries"), "{again}");

    // What is known there is found anew, under either id, and the other account knows still.
    two.folder.run(&["resume", "account", "eu"]).await.ok();
    two.eu.mock.clear_log();
    two.main.mock.clear_log();
    daemon.accept("/v1/identify", &identify("ada", "Ada Lovelace")).await;
    daemon.done("ada", 4).await;
    let looked =
        |served: &Served| served.mock.log().iter().filter(|e| e.method == Method::Get && e.path == "/api/v2/persons").count();
    assert_eq!((looked(&two.eu), looked(&two.main)), (1, 0));
    // Where it is not known any more what was sent, a name may be somebody's own, and stands.
    for (served, name) in [(&two.eu, "Ada"), (&two.main, "Ada Lovelace")] {
        assert_eq!((persons(&served.mock, "before")[0]["name"].clone(), persons(&served.mock, "ada").len()), (json!(name), 0));
    }

    // Without an account all of it goes.
    let all = two.folder.json(&["forget", "before", "--yes"]).await;
    assert_eq!(
        (&all["counts"]["events"], &all["counts"]["deliveries"], &all["counts"]["unmatched"]),
        (&json!(4), &json!(5), &json!(1))
    );
}
