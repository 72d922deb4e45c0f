//! Recorded events through edited rules, beside the running daemon: one by one, and all of them against the live rules.

use serde_json::{Value, json};

use super::harness::{Daemon, Folder};

const RULES: &str = r#"
[sources.website]
write_keys = ["env:PIPEWRIGHT_WRITE_KEY"]

[pipedrive.main]
domain = "acme"
api_token = "env:PIPEDRIVE_API_TOKEN"

[reload]
watch = false
require = ["check"]

[[rules]]
name = "person"
when = 'type = "identify"'
script = "person.rhai"

[[rules]]
name = "deal"
when = 'type = "track" and event = "Deal Won"'
script = "deal.rhai"
"#;

const PERSON: &str = r#"
fn handle(event) {
    let t = event.traits;
    if t?.internal == true { skip("internal"); }
    person::upsert(#{ "Segment User ID": event.userId }, #{ name: t?.name, phones: t?.phone });
}
"#;

const DEAL: &str = r#"
fn handle(event) {
    let person = person::find(#{ "Segment User ID": event.userId });
    if person == () { skip("nobody"); }
    deal::upsert(#{ "Segment Deal ID": event.properties.deal }, #{ title: person.name, person_id: person.id });
}
"#;

/// A daemon that has seen: 1 and 2 identifies (the second without a phone), 3 an internal one, 4 a deal, 5 a track event that no rule wants.
async fn recorded() -> (Folder, Daemon) {
    let folder = Folder::init().await;
    folder.write("rules.toml", RULES);
    folder.write("scripts/person.rhai", PERSON);
    folder.write("scripts/deal.rhai", DEAL);
    let daemon = Daemon::mocked(&folder).await;
    let identify = |user: &str, traits: Value| json!({ "type": "identify", "userId": user, "messageId": format!("m-{user}"), "traits": traits });
    daemon.accept("/v1/identify", &identify("u1", json!({ "name": "Ada", "phone": "+4930123456" }))).await;
    daemon.accept("/v1/identify", &identify("u2", json!({ "name": "Bea" }))).await;
    daemon.accept("/v1/identify", &identify("u3", json!({ "name": "Cy", "internal": true }))).await;
    daemon.settled("u1", 1).await;
    let track = |name: &str| json!({ "type": "track", "event": name, "userId": "u1", "messageId": format!("m-{name}"), "properties": { "deal": "d1" } });
    daemon.accept("/v1/track", &track("Deal Won")).await;
    daemon.accept("/v1/track", &track("Deal Lost")).await;
    daemon.all_ended().await;
    (folder, daemon)
}

/// `SEQ/RULE KIND` of each difference.
fn named(report: &Value) -> Vec<String> {
    let all = report["differences"].as_array().expect("differences");
    all.iter().map(|d| format!("{}/{} {}", d["seq"], d["rule"].as_str().unwrap(), d["kind"].as_str().unwrap())).collect()
}

async fn report(folder: &Folder, args: &[&str]) -> Value {
    folder.json(&[&["backtest", "--mock"], args].concat()).await["report"].clone()
}

#[tokio::test]
async fn an_edit_is_told_by_the_events_whose_outcome_it_changes() {
    let (folder, _daemon) = recorded().await;
    let same = folder.run(&["backtest", "--mock"]).await.ok();
    assert!(same.contains("5 events") && same.contains("4 deliveries the same, 0 differ"), "{same}");

    // One field, of those that have it.
    folder.edit("scripts/person.rhai", "phones: t?.phone", "phones: t?.phone, job_title: if t?.phone != () { \"Reachable\" }");
    let differs = folder.run(&["backtest", "--mock"]).await;
    assert_eq!(differs.code, Some(1), "{differs:?}");
    let wanted = "\
RULE    CHANGE                    DELIVERIES  FIRST
person  upsert person: job_title  1           1
";
    assert!(differs.out.contains(wanted), "{}", differs.out);
    assert!(
        differs.out.contains("\n1/person  identify, received ") && differs.out.contains(", messageId m-u1\n"),
        "{}",
        differs.out
    );
    assert!(
        differs.out.contains("  changed  upsert person  (person.rhai:5)\n    job_title: + \"Reachable\"\n"),
        "{}",
        differs.out
    );

    // A skip less, and a trigger that takes in what no rule wanted.
    folder.write("scripts/person.rhai", &PERSON.replace("== true", "== \"yes\""));
    folder.edit("rules.toml", "event = \"Deal Won\"", "event = \"Deal Lost\"");
    let found = report(&folder, &[]).await;
    assert_eq!(named(&found), ["3/person outcome", "4/deal unwanted"]);
    assert_eq!(found["differences"][0]["before"], json!({ "outcome": "skip", "reason": "internal" }));
    assert_eq!(found["differences"][0]["actions"][0]["change"], "added");
    // What the script would read for the event that it never saw is not known, and that is said.
    assert_eq!(found["unknown"].as_array().map(Vec::len), Some(1), "{found:#}");
    assert_eq!((&found["unknown"][0]["seq"], &found["unknown"][0]["why"]), (&json!(5), &json!("unrecorded")));
    let said = folder.run(&["backtest", "--mock"]).await.out;
    assert!(
        said.contains("of 1 deliveries it cannot be known:\n  1, first 5/deal: the edited script reads at deal.rhai:3"),
        "{said}"
    );
    assert!(said.contains("trigger is not met any more, ended as plan"), "{said}");
    folder
        .write("scripts/deal.rhai", "fn handle(event) { note::create(#{ content: event.event, person_id: by(event.userId) }); }");
    let found = report(&folder, &[]).await;
    assert_eq!(named(&found), ["3/person outcome", "4/deal unwanted", "5/deal wanted"]);
}

#[tokio::test]
async fn reads_are_answered_as_recorded_and_other_reads_are_not_guessed() {
    let (folder, _daemon) = recorded().await;
    folder.edit("scripts/deal.rhai", "title: person.name", "title: `Deal of ${person.name}`");
    let found = report(&folder, &[]).await;
    assert_eq!(named(&found), ["4/deal plan"]);
    let field = &found["differences"][0]["actions"][0]["fields"][0];
    assert_eq!(field, &json!({ "field": "title", "before": "\"Ada\"", "after": "\"Deal of Ada\"" }));

    // The same read after another write of the kind: its answer may be another one by now.
    folder.write(
        "scripts/deal.rhai",
        &DEAL.replace(
            "    let person",
            "    person::upsert(#{ \"Segment User ID\": event.userId }, #{ name: \"X\" });\n    let person",
        ),
    );
    let found = report(&folder, &[]).await;
    assert_eq!((named(&found), &found["unknown"][0]["why"]), (vec![], &json!("wrote_before")), "{found:#}");
}

#[tokio::test]
async fn events_that_are_gone_are_counted_and_a_range_is_kept() {
    let (folder, daemon) = recorded().await;
    folder.run(&["forget", "u2", "--yes"]).await.ok();
    drop(daemon);
    folder.edit("scripts/person.rhai", "name: t?.name", "name: t?.name, job_title: \"X\"");
    let found = report(&folder, &[]).await;
    assert_eq!(named(&found), ["1/person plan"]);
    let gone = found["events"]["pruned"].as_u64().expect("a count");
    assert!(gone >= 1, "{found:#}");
    let said = folder.run(&["backtest", "--mock", "--last", "4"]).await;
    assert!(
        said.err.contains("are not in the store any more (retention, keep_unmatched, erasure) and were not run"),
        "{}",
        said.err
    );
    let found = report(&folder, &["--since", "2999-01-01T00:00:00Z"]).await;
    assert_eq!((named(&found), &found["events"]["run"]), (vec![], &json!(0)), "{found:#}");
    let found = report(&folder, &["--since", "1h"]).await;
    assert_eq!(named(&found), ["1/person plan"]);
    let wrong = folder.run(&["backtest", "--mock", "--since", "yesterday"]).await;
    assert_eq!((wrong.code, wrong.err.contains("write it as 2h, 7d or")), (Some(2), true), "{wrong:?}");
}

#[tokio::test]
async fn without_recorded_events_and_with_a_broken_edit_it_says_what_to_do() {
    let folder = Folder::init().await;
    let none = folder.run(&["backtest"]).await;
    assert_eq!(none.code, Some(1), "{none:?}");
    assert!(none.err.contains("no daemon has run on this data directory yet"), "{}", none.err);
    folder.edit("scripts/person.rhai", "fn handle", "fn handel");
    let broken = folder.run(&["backtest", "--mock"]).await;
    assert_eq!(broken.code, Some(1), "{broken:?}");
    assert!(broken.err.contains("rename `handel` to `handle`"), "{}", broken.err);
}

#[tokio::test]
async fn a_recorded_event_is_tried_with_the_rules_as_they_are_in_the_folder() {
    let (folder, _daemon) = recorded().await;
    folder.edit("scripts/person.rhai", "name: t?.name", "name: `Dr. ${t?.name}`");
    let tried = folder.run(&["try", "--event", "1", "--mock"]).await.ok();
    for part in [
        "identify from website",
        "messageId m-u1",
        "rule person: trigger met",
        "\"name\":\"Dr. Ada\"",
        "rule deal: trigger not met",
    ] {
        assert!(tried.contains(part), "{part:?} is missing in:\n{tried}");
    }
    let by_message = folder.json(&["try", "--event", "m-Deal Lost", "--mock"]).await;
    assert_eq!((&by_message["event"]["event"], &by_message["ok"]), (&json!("Deal Lost"), &json!(true)));
    for (args, says) in [
        (&["try", "--event", "99", "--mock"][..], "the store has no event 99"),
        (&["try", "--event", "1"], "add --mock for what `serve --mock` took"),
    ] {
        let ended = folder.run(args).await;
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.err.contains(says), "{}", ended.err);
    }
    assert_eq!(folder.run(&["try"]).await.code, Some(2));
}

#[tokio::test]
async fn a_set_that_is_live_without_the_check_can_be_compared_with() {
    let (folder, daemon) = recorded().await;
    folder.edit("rules.toml", "require = [\"check\"]", "require = []");
    folder.edit("scripts/person.rhai", "let t = event.traits;", "let t = event.traits;\n    if t == 7 { nowhere(t); }");
    folder.run(&["reload"]).await.ok();
    let same = folder.run(&["backtest", "--mock"]).await.ok();
    assert!(same.contains("4 deliveries the same, 0 differ"), "{same}");
    drop(daemon);
}

#[tokio::test]
async fn any_version_that_was_live_and_any_folder_can_be_compared_with() {
    let (folder, _daemon) = recorded().await;
    let first = folder.json(&["versions", "list"]).await["versions"][0]["version"].as_str().expect("a version").to_owned();
    let job = |title: &str| format!("phones: t?.phone, job_title: {title:?}");
    folder.edit("scripts/person.rhai", "phones: t?.phone", &job("Reachable"));
    folder.run(&["reload"]).await.ok();
    assert!(folder.run(&["backtest", "--mock"]).await.ok().contains("0 differ"), "the files are live");

    let version = folder.run(&["backtest", "--mock", "--against", &first[..8]]).await;
    assert_eq!(version.code, Some(1), "{version:?}");
    assert!(version.out.contains(&format!("against the version {}", &first[..12])), "{}", version.out);
    assert!(version.out.contains("person  upsert person: job_title  2           1"), "{}", version.out);

    // A folder need never have been live.
    let other = Folder::init().await;
    other.write("rules.toml", RULES);
    other.write("scripts/deal.rhai", DEAL);
    other.write("scripts/person.rhai", &PERSON.replace("phones: t?.phone", &job("Met")));
    let dir = other.path().display().to_string();
    let report = report(&folder, &["--against", &dir]).await;
    assert_eq!(named(&report), ["1/person plan", "2/person plan"]);

    let unknown = folder.run(&["backtest", "--mock", "--against", "beef"]).await;
    assert_eq!(unknown.code, Some(2), "{unknown:?}");
    for part in ["there is no folder beef", "no version that was live begins with `beef`", &first[..12]] {
        assert!(unknown.err.contains(part), "no {part:?} in {}", unknown.err);
    }
}

#[tokio::test]
async fn settings_that_no_run_shows_are_named_and_count_as_a_difference() {
    let (folder, _daemon) = recorded().await;
    folder.edit("rules.toml", "domain = \"acme\"", "domain = \"acme\"\nmatch_fields = { person = \"email\" }");
    folder.edit("rules.toml", "script = \"deal.rhai\"", "script = \"deal.rhai\"\nlink_wait = \"1m\"");
    let ended = folder.run(&["backtest", "--mock"]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    for part in [
        "0 differ",
        "rule person: the account's match_fields was [(\"person\", \"Segment User ID\"), ",
        "rule deal: link_wait was ",
    ] {
        assert!(ended.out.contains(part), "no {part:?} in:\n{}", ended.out);
    }
    assert_eq!(folder.json(&["backtest", "--mock"]).await["ok"], false);
}
