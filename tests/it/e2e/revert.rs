//! Undo: what a bad edit has written is put back where it still stands.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::harness::{Account, Daemon, Folder, Process};
use crate::support::{request, wait_until};

const RULES: &str = r#"
[sources.website]
write_keys = ["env:PIPEWRIGHT_WRITE_KEY"]

[pipedrive.main]
domain = "acme"
api_token = "env:PIPEDRIVE_API_TOKEN"

[reload]
require = ["check"]

[[rules]]
name = "person"
when = 'type = "identify"'
script = "person.rhai"

[[rules]]
name = "plan"
when = 'type = "track"'
script = "plan.rhai"
"#;

const PERSON: &str = r#"
fn handle(event) {
    let t = event.traits;
    person::upsert(#{ "Segment User ID": event.userId }, #{ name: t?.name, job_title: t?.title, emails: t?.email });
}
"#;

const PLAN: &str = r#"
fn handle(event) {
    person::update(#{ "Segment User ID": event.userId }, #{ "Plan": event.properties.plan, job_title: event.properties?.title });
}
"#;

struct Rig {
    folder: Folder,
    daemon: Daemon,
}

impl Rig {
    async fn start() -> Self {
        let folder = Folder::init().await;
        folder.write("rules.toml", RULES);
        folder.write("scripts/person.rhai", PERSON);
        folder.write("scripts/plan.rhai", PLAN);
        let daemon = Daemon::mocked(&folder).await;
        Self { folder, daemon }
    }

    async fn identify(&self, user: &str, traits: Value) {
        self.daemon.accept("/v1/identify", &json!({ "type": "identify", "userId": user, "traits": traits })).await;
        self.daemon.all_ended().await;
    }

    async fn track(&self, user: &str, properties: Value) {
        self.daemon
            .accept("/v1/track", &json!({ "type": "track", "event": "Plan Chosen", "userId": user, "properties": properties }))
            .await;
        self.daemon.all_ended().await;
    }

    /// The script as it is saved is live when this returns.
    async fn edit(&self, from: &str, to: &str) {
        self.folder.edit("scripts/person.rhai", from, to);
        self.folder.run(&["reload"]).await.ok();
    }

    async fn title(&self, user: &str) -> Value {
        self.daemon.account().person(user).await["job_title"].clone()
    }

    /// A person in Pipedrive writes another title.
    async fn by_hand(&self, user: &str, title: &str) {
        let Account(at) = self.daemon.account();
        let id = self.daemon.account().person(user).await["id"].clone();
        let headers = [("x-api-token", "mock"), ("content-type", "application/json")];
        let reply =
            request(at, "PATCH", &format!("/api/v2/persons/{id}"), &headers, json!({ "job_title": title }).to_string()).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }

    /// `FIELD before -> after` of what is or would be put back, and the other news, a line a record.
    async fn revert(&self, args: &[&str]) -> Vec<String> {
        let answer = self.folder.json(&[&["revert"], args].concat()).await;
        let records = answer["records"].as_array().unwrap_or_else(|| panic!("{answer:#}"));
        let line = |record: &Value| {
            let list = |key: &str| record[key].as_array().cloned().unwrap_or_default();
            let back = list("back").into_iter().map(|c| {
                let by = if c["known_by"] == "changelog" { " by changelog" } else { "" };
                format!("{} {} -> {}{by}", c["field"].as_str().unwrap(), c["before"], c["after"])
            });
            let left =
                list("left").into_iter().map(|l| format!("{} {}", l["field"].as_str().unwrap(), l["why"].as_str().unwrap()));
            let created = (record["created"] == true).then(|| "created".to_owned());
            back.chain(left).chain(created).collect::<Vec<_>>().join(", ")
        };
        records.iter().map(line).collect()
    }
}

#[tokio::test]
async fn what_a_bad_edit_wrote_is_put_back_and_what_people_wrote_since_stays() {
    let rig = Rig::start().await;
    for user in ["u1", "u2"] {
        rig.identify(user, json!({ "name": user, "title": "CTO", "email": format!("{user}@example.com") })).await;
    }
    let since = Timestamp::now().to_string();
    rig.edit("job_title: t?.title", "job_title: \"Broken\"").await;
    for user in ["u1", "u2", "u3"] {
        rig.identify(user, json!({ "name": user, "email": format!("{user}@example.com") })).await;
    }
    rig.by_hand("u2", "Boss").await;

    let args = ["--rule", "person", "--since", &since];
    let dry = rig.revert(&args).await;
    assert_eq!(dry, ["job_title \"Broken\" -> \"CTO\"", "job_title edited", "created"]);
    assert_eq!(rig.title("u1").await, "Broken", "a dry run writes nothing");
    let said = rig.folder.run(&[&["revert"][..], &args].concat()).await.ok();
    for part in [
        "rule person: 3 deliveries changed 3 records; 1 of them would be put back, 1 were created by it",
        "  would be put back: job_title: \"Broken\" -> \"CTO\"\n",
        "  job_title stays: it holds another value by now\n",
        "  was created by the rule: delete it in Pipedrive if it should not be there\n",
        "Add --apply to put them back.",
    ] {
        assert!(said.contains(part), "{part:?} is missing in:\n{said}");
    }

    let applied = [&args[..], &["--apply"]].concat();
    assert_eq!(rig.revert(&applied).await, dry);
    assert_eq!(
        (rig.title("u1").await, rig.title("u2").await, rig.title("u3").await),
        (json!("CTO"), json!("Boss"), json!("Broken"))
    );
    assert_eq!(rig.revert(&applied).await[0], "job_title back", "it is done once");

    // What was put back counts as last sent: the same value from the source is written again.
    rig.identify("u1", json!({ "name": "u1" })).await;
    assert_eq!(rig.title("u1").await, "Broken");
}

#[tokio::test]
async fn another_rules_write_in_between_stands_and_what_was_never_read_is_not_guessed() {
    let rig = Rig::start().await;
    rig.identify("u1", json!({ "name": "Ada", "title": "CTO" })).await;
    let since = Timestamp::now().to_string();
    rig.identify("u1", json!({ "title": "First" })).await;
    rig.track("u1", json!({ "title": "Theirs", "plan": "Pro" })).await;
    rig.identify("u1", json!({ "title": "Second" })).await;
    // Not further back than to what the other rule wrote.
    let found = rig.revert(&["--rule", "person", "--since", &since]).await;
    assert_eq!(found, ["job_title \"Second\" -> \"Theirs\""]);

    // The plan was never there and never read: found by the index, one field sent.
    let ended = rig.folder.run(&["revert", "--rule", "plan", "--since", &since]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.out.contains("Plan stays: what it held before is not known, for it was not read"), "{}", ended.out);
    assert!(ended.out.contains("fields stay: "), "{}", ended.out);
}

#[tokio::test]
async fn what_was_written_over_without_a_read_is_put_back_by_pipedrives_changelog() {
    let rig = Rig::start().await;
    for user in ["u1", "u2"] {
        rig.identify(user, json!({ "name": user })).await;
    }
    rig.by_hand("u1", "CTO").await;
    let since = Timestamp::now().to_string();
    for user in ["u1", "u2"] {
        rig.identify(user, json!({ "title": "Broken" })).await;
    }
    let args = ["--rule", "person", "--since", &since];
    let asked = rig.folder.run(&[&["revert"][..], &args].concat()).await;
    assert_eq!(asked.code, Some(1), "{asked:?}");
    assert!(
        asked.out.contains("Pipedrive may know former values of 2 records: --changelog asks, for 20 tokens each.\n"),
        "{}",
        asked.out
    );
    let log = [&args[..], &["--changelog"]].concat();
    let dry = ["job_title \"Broken\" -> \"CTO\" by changelog", "job_title cannot_be_emptied"];
    assert_eq!(rig.revert(&log).await, dry);
    assert_eq!(rig.title("u1").await, "Broken");
    let applied = rig.folder.run(&[&["revert", "--apply"], &log[..]].concat()).await;
    assert_eq!(applied.code, Some(1), "one stays: {applied:?}");
    for part in [
        "  put back: job_title: \"Broken\" -> \"CTO\", by Pipedrive's changelog\n",
        "  job_title stays: it was empty, and Pipedrive has no way to empty it\n",
        // A read and a changelog for each, and one update.
        "; 47 tokens\n",
    ] {
        assert!(applied.out.contains(part), "{part:?} is missing in:\n{}", applied.out);
    }
    assert_eq!((rig.title("u1").await, rig.title("u2").await), (json!("CTO"), json!("Broken")));
}

#[tokio::test]
async fn an_undo_that_a_kill_cut_off_is_run_again() {
    let account = Process::account(&["--unlimited", "--latency", "20ms"]).await;
    let at = Account(account.address("embedded Pipedrive on "));
    let folder = Folder::init().await;
    folder.write(
        "rules.toml",
        &RULES.replace("domain = \"acme\"", &format!("base_url = \"http://{}\"\nplan = \"ultimate\"", at.0)),
    );
    folder.write("scripts/person.rhai", PERSON);
    folder.write("scripts/plan.rhai", PLAN);
    let daemon = Daemon::serve(&folder, &[]).await;
    let users: Vec<String> = (0..20).map(|n| format!("u{n}")).collect();
    let mut since = String::new();
    for title in ["CTO", "Broken"] {
        since = Timestamp::now().to_string();
        for user in &users {
            let traits = json!({ "name": user, "title": title });
            daemon.accept("/v1/identify", &json!({ "type": "identify", "userId": user, "traits": traits })).await;
        }
        daemon.all_ended().await;
    }
    let titled = || async {
        let persons = at.list("/api/v2/persons?limit=500").await;
        persons.iter().filter(|person| person["job_title"] == "CTO").count()
    };
    let undo = ["revert", "--rule", "person", "--since", &since, "--apply"];
    let killed = async {
        wait_until("some to be back", || async { (titled().await >= 5).then_some(()) }).await;
        daemon.process.kill().await;
    };
    let (cut_off, ()) = tokio::join!(folder.run(&undo), killed);
    assert_eq!(cut_off.code, Some(1), "{cut_off:?}");
    assert!(titled().await < users.len(), "it was cut off");

    let _daemon = Daemon::serve(&folder, &[]).await;
    folder.run(&undo).await.ok();
    assert_eq!(titled().await, users.len());
}

#[tokio::test]
async fn an_undo_used_wrongly_says_how() {
    let rig = Rig::start().await;
    for (args, code, says) in [
        (&["revert", "--rule", "persn", "--since", "1h"][..], 1, "there is no rule `persn`; there is person, plan"),
        (&["revert", "--rule", "person", "--since", "yesterday"], 2, "write it as 2h, 7d or"),
        (&["revert", "--since", "1h"], 2, "--rule"),
    ] {
        let ended = rig.folder.run(args).await;
        assert_eq!(ended.code, Some(code), "{ended:?}");
        assert!(ended.err.contains(says), "{}", ended.err);
    }
    assert_eq!(rig.revert(&["--rule", "person", "--since", "1h"]).await, Vec::<String>::new());
}
