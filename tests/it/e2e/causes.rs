//! What has failed, counted by cause, and what to do about each cause.

use serde_json::{Value, json};

use super::harness::{Daemon, Folder};

/// Fails in two ways, both with a value of the event in what it says.
const SCRIPT: &str = r#"
fn handle(event) {
    let t = event.traits;
    if t?.plan == "Gold" { fail(`no plan ${t.plan} for ${event.userId}`); }
    if t?.plan == "Odd" { throw `odd: ${event.userId}`; }
    person::upsert(#{ "Segment User ID": event.userId }, #{ name: t.name });
}
"#;

async fn send(daemon: &Daemon, user: &str, plan: &str) {
    daemon.accept("/v1/identify", &json!({ "userId": user, "traits": { "name": user, "plan": plan } })).await;
    assert_eq!(daemon.settled(user, 1).await[0]["state"], "dead");
}

fn find<'c>(causes: &'c Value, what: &str) -> &'c Value {
    let all = causes["causes"].as_array().expect("a list");
    all.iter().find(|cause| cause["cause"]["what"].as_str().is_some_and(|text| text.contains(what))).expect(what)
}

#[tokio::test]
async fn dead_letters_are_counted_by_cause_rule_and_script_set_and_repeated_by_cause() {
    let folder = Folder::init().await;
    folder.write("scripts/person.rhai", SCRIPT);
    let daemon = Daemon::mocked(&folder).await;
    assert_eq!(folder.run(&["events", "causes"]).await.err, "nothing has failed that was not repeated since\n");
    for (user, plan) in [("ada", "Gold"), ("bob", "Gold"), ("cleo", "Odd")] {
        send(&daemon, user, plan).await;
    }
    // Another script set, the same cause.
    folder.write("scripts/person.rhai", &format!("{SCRIPT}\n// touched\n"));
    folder.run(&["reload"]).await.ok();
    send(&daemon, "dora", "Gold").await;

    let causes = folder.json(&["events", "causes"]).await;
    let all = causes["causes"].as_array().expect("a list");
    assert_eq!(all.iter().map(|c| c["deliveries"].as_u64().expect("a count")).collect::<Vec<_>>(), [2, 1, 1], "{causes:#}");
    let (gold, odd) = (find(&causes, "gave it up"), find(&causes, "script error"));
    assert_eq!(gold["cause"]["what"], "the script gave it up at scripts/person.rhai:4");
    assert_eq!(
        (&gold["cause"]["class"], &gold["oldest"], &gold["newest"]),
        (&json!("permanent"), &json!("1/person"), &json!("2/person"))
    );
    assert_eq!(odd["cause"]["what"], "script error at scripts/person.rhai:5");
    let alike = |a: &Value, b: &Value| a["id"] == b["id"];
    assert!(alike(&all[0], gold) && all[1..].iter().any(|c| alike(c, gold)) && !alike(gold, odd), "{causes:#}");
    assert!(!all.iter().any(|c| c["cause"].to_string().contains("ada")), "a cause holds no value: {causes:#}");

    let (id, version) = (gold["id"].as_str().expect("a name"), gold["version"].as_str().expect("a version"));
    let text = folder.run(&["events", "causes"]).await.ok();
    for part in [
        format!("2 dead: rule person, script set {}", &version[..12]),
        format!("cause {id}: permanent, the script gave it up at scripts/person.rhai:4"),
        "from 1/person (".to_owned(),
        "the newest: the script gave it up: no plan Gold for bob".to_owned(),
        format!("pipewright events replay --cause {id} --rule person --state dead --script-set {}", &version[..12]),
    ] {
        assert!(text.contains(&part), "{part}: {text}");
    }
    let status = folder.run(&["status"]).await;
    assert!(status.out.contains(id) && status.out.contains("`pipewright events causes` has all"), "{}", status.out);

    // The commands that it names do what they say.
    let run = async |command: &Value| {
        let words: Vec<&str> = command.as_str().expect("a command").split(' ').skip(1).collect();
        folder.run(&words).await.ok()
    };
    let listed = run(&gold["show"]).await;
    assert!(listed.contains("1/person") && listed.contains("2/person") && !listed.contains("4/person"), "{listed}");
    folder.write("scripts/person.rhai", &SCRIPT.replace("if t?.plan == \"Gold\"", "if false"));
    folder.run(&["reload"]).await.ok();
    assert_eq!(run(&gold["replay"]).await.lines().count(), 2);
    daemon.settled("ada", 2).await;
    daemon.settled("bob", 2).await;
    assert_eq!(daemon.account().person("bob").await["name"], "bob");
    let left = folder.json(&["events", "causes"]).await;
    assert_eq!(left["causes"].as_array().map(Vec::len), Some(2), "what was repeated counts no more: {left:#}");
    let again = folder.run(&["events", "replay", "--cause", id]).await.ok();
    assert_eq!(again.lines().count(), 1, "and is not repeated once more: {again}");
    daemon.settled("dora", 2).await;
    let all_of_it = folder.json(&["events", "list", "--cause", id]).await;
    assert_eq!(all_of_it["deliveries"].as_array().map(Vec::len), Some(3));
    let odd_id = odd["id"].as_str().expect("a name");
    assert_eq!(folder.run(&["events", "discard", "--cause", &odd_id[..6], "--yes"]).await.ok(), "discarded: 1\n");
    assert_eq!(folder.run(&["events", "causes"]).await.err, "nothing has failed that was not repeated since\n");
    let pending = folder.run(&["events", "list", "--cause", id, "--state", "pending"]).await;
    assert_eq!(pending.err, "no delivery fits\n");
    let unmatched = folder.run(&["events", "list", "--unmatched", "--cause", id]).await;
    assert_eq!(unmatched.code, Some(2), "{unmatched:?}");
}
