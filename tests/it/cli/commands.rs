//! The commands that talk to a daemon: the real binary, over the socket of an admin API that the test serves.

use std::process::Output;

use pipewright::console;
use pipewright::reload::{Refused, ReloadStatus};
use pipewright::store::{DeliveryState, Rejected, Write};
use serde_json::json;

use crate::console::harness::{Admin, bad_script, settled};
use crate::support::binary::{code, command_async, err, out, parsed};

async fn served() -> Admin {
    let admin = Admin::start().await;
    let data = admin.dir.path().join("data");
    tokio::spawn(console::serve_socket(&data, admin.state.clone(), admin.stop.subscribe()).expect("binds"));
    admin
}

async fn run(admin: &Admin, args: &[&str]) -> Output {
    command_async(args).current_dir(admin.dir.path()).output().await.expect("the binary starts")
}

#[tokio::test]
async fn events_are_listed_as_a_table_and_as_json() {
    let admin = served().await;
    let nothing = run(&admin, &["events", "list"]).await;
    assert_eq!((code(&nothing), out(&nothing).as_str(), err(&nothing).as_str()), (0, "", "no delivery fits\n"));

    let id = admin.event("m1", "u1").await;
    admin.finish(&id, DeliveryState::Dead, Some("no field\u{1b}[31m `x`")).await;
    admin.event("m2", "u2").await;
    let listed = run(&admin, &["events", "list", "--state", "failed"]).await;
    let table = out(&listed);
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(lines.len(), 2, "{table}");
    assert!(lines[0].starts_with("DELIVERY  STATE") && lines[1].starts_with("1/person  dead"), "{table}");
    assert!(lines[1].ends_with("no field [31m `x`"), "what is printed cannot steer the terminal: {table}");

    let listed = parsed(&run(&admin, &["events", "list", "--json", "--limit", "1"]).await);
    assert_eq!(listed["deliveries"].as_array().map(Vec::len), Some(1));
    let wrong = run(&admin, &["events", "list", "--state", "ded"]).await;
    assert_eq!(code(&wrong), 2);
    assert!(err(&wrong).contains("did you mean `dead`?"), "{}", err(&wrong));
}

#[tokio::test]
async fn a_table_cuts_long_reasons() {
    let admin = served().await;
    let reason = format!("no {}", "ö".repeat(400));
    let id = admin.event("m1", "u1").await;
    admin.finish(&id, DeliveryState::Dead, Some(&reason)).await;
    let rejected = Rejected {
        source: "website".to_owned(),
        message_id: None,
        kind: None,
        at: jiff::Timestamp::now(),
        reason: reason.clone(),
        payload: "{}".into(),
    };
    admin.store.reject(vec![rejected]).await.expect("stored");
    let cut = format!("  no {}…", "ö".repeat(117));
    for more in [&[][..], &["--rejected"]] {
        let table = out(&run(&admin, &[&["events", "list"], more].concat()).await);
        let row = table.lines().nth(1).expect("a row");
        assert!(row.ends_with(&cut), "{table}");
        let json = out(&run(&admin, &[&["events", "list", "--json"], more].concat()).await);
        assert!(json.contains(&reason), "programs get what the store has: {json}");
    }
}

#[tokio::test]
async fn what_waits_is_listed_with_what_it_waits_for() {
    let admin = served().await;
    let id = admin.event("m1", "u1").await;
    let reason = "no person with Segment User ID = u2 yet".to_owned();
    admin.store.commit(vec![Write::Waiting { id, reason: reason.clone() }]).await.expect("committed");
    let table = out(&run(&admin, &["events", "list"]).await);
    assert!(table.lines().nth(1).is_some_and(|row| row.ends_with(&reason)), "{table}");
    let shown = out(&run(&admin, &["events", "show", "1"]).await);
    assert!(shown.contains(&format!("because {reason}")), "{shown}");
}

#[tokio::test]
async fn an_event_is_shown_with_its_record() {
    let admin = served().await;
    let id = admin.event("m/1", "u1").await;
    admin.finish(&id, DeliveryState::Dead, Some("no such field")).await;
    for name in ["1/person", "1", "m/1"] {
        let shown = run(&admin, &["events", "show", name]).await;
        let text = out(&shown);
        assert_eq!(code(&shown), 0, "{}", err(&shown));
        for part in [
            "event 1  identify  from website",
            "\"userId\": \"u1\"",
            "1/person  dead",
            "because no such field",
            "attempt 1: dead",
        ] {
            assert!(text.contains(part), "{name}: {part:?} is missing in:\n{text}");
        }
    }
    assert_eq!(parsed(&run(&admin, &["events", "show", "1", "--json"]).await)["events"][0]["seq"], 1);
    let missing = run(&admin, &["events", "show", "99"]).await;
    assert_eq!((code(&missing), out(&missing).as_str()), (1, ""));
}

#[tokio::test]
async fn how_a_replay_goes_about_what_was_done_before_is_passed_on() {
    let admin = served().await;
    let id = admin.event("m1", "u1").await;
    admin.finish(&id, DeliveryState::Dead, None).await;
    for flags in [&["--again"][..], &["--overwrite"], &["--again", "--overwrite"]] {
        assert_eq!(code(&run(&admin, &[&["events", "replay", "1"], flags].concat()).await), 0);
    }
    assert_eq!(admin.commands(), ["replay 1/person again", "replay 1/person overwrite", "replay 1/person again overwrite"]);
    let unmatched = run(&admin, &["events", "replay", "--unmatched", "--again"]).await;
    assert!(code(&unmatched) == 2 && err(&unmatched).contains("nothing was done for such events"), "{}", err(&unmatched));
    // A slip is refused, not passed over.
    let read = |request| serde_json::from_value::<console::ReplayRequest>(request);
    assert!(read(json!({ "ids": ["1/person"], "again": true })).is_ok_and(|request| request.how.again));
    assert!(read(json!({ "ids": ["1/person"], "agian": true })).is_err());
}

#[tokio::test]
async fn replay_and_discard_name_what_they_did() {
    let admin = served().await;
    let id = admin.event("m1", "u1").await;
    admin.finish(&id, DeliveryState::Dead, None).await;
    assert_eq!(out(&run(&admin, &["events", "replay", "1"]).await), "1/person again as 101/person\n");
    assert_eq!(out(&run(&admin, &["events", "replay", "--rule", "person"]).await), "1/person again as 101/person\n");
    assert_eq!(out(&run(&admin, &["events", "discard", "1/person"]).await), "discarded: 1\n");
    assert_eq!(
        parsed(&run(&admin, &["events", "discard", "--state", "dead", "--yes", "--json"]).await),
        json!({ "discarded": 1 })
    );
    assert_eq!(
        out(&run(&admin, &["events", "replay", "--unmatched"]).await),
        "0 deliveries of 0 events made; 0 looked at, 0 still match no rule\n"
    );
    let counted = run(&admin, &["events", "discard", "--state", "dead"]).await;
    assert_eq!(
        (code(&counted), out(&counted).as_str()),
        (0, "1 would be discarded (person 1), from 1/person to 1/person; add --yes to discard them\n")
    );
    assert_eq!(admin.commands(), ["replay 1/person", "replay 1/person", "discard 1/person", "discard 1/person"]);
    for command in ["list", "replay", "release", "discard"] {
        let nobody = run(&admin, &["events", command, "--rule", "persn"]).await;
        let said = "error: there is no rule `persn`; there is person, other\n";
        assert_eq!((code(&nobody), err(&nobody).as_str()), (1, said), "{command}");
    }
}

#[tokio::test]
async fn a_release_by_conditions_counts_first() {
    let admin = served().await;
    let nothing = run(&admin, &["events", "release", "--rule", "person"]).await;
    assert_eq!((code(&nothing), err(&nothing).as_str()), (0, "no delivery fits that could be released\n"));
    for message in ["m1", "m2"] {
        let id = admin.event(message, "u1").await;
        admin.finish(&id, DeliveryState::Observed, None).await;
    }
    let counted = run(&admin, &["events", "release", "--rule", "person"]).await;
    assert_eq!(
        out(&counted),
        "2 would be released (person 2), from 1/person to 2/person; add --yes to release them\n",
        "{}",
        err(&counted)
    );
    assert_eq!(admin.commands(), Vec::<String>::new());
    assert_eq!(out(&run(&admin, &["events", "release", "--rule", "person", "--yes"]).await), "released: 2\n");
    assert_eq!(parsed(&run(&admin, &["events", "release", "2", "--json"]).await), json!({ "released": 1 }));
    assert_eq!(admin.commands(), ["release 1/person 2/person", "release 2/person"]);
}

#[tokio::test]
async fn status_shows_what_needs_a_person_and_exits_with_1() {
    let admin = served().await;
    let shown = run(&admin, &["status"]).await;
    assert_eq!(code(&shown), 1, "an account is paused");
    let text = out(&shown);
    assert!(text.contains("1 of 2 rules on") && text.contains("ACCOUNT  UNFINISHED"), "{text}");

    let refused = Some(Refused { at: jiff::Timestamp::now(), diagnostics: vec![bad_script()] });
    admin.reload.send_replace(ReloadStatus { refused, ..settled() });
    let text = out(&run(&admin, &["status"]).await);
    assert!(text.contains("--> scripts/person.rhai:1:1") && text.contains("^^^^^"), "{text}");
    assert_eq!(parsed(&run(&admin, &["status", "--json"]).await)["set"]["rules"], 2);
}

#[tokio::test]
async fn reload_reports_a_refusal_and_pause_what_it_paused() {
    let admin = served().await;
    let reload = run(&admin, &["reload"]).await;
    assert_eq!((code(&reload), out(&reload).as_str()), (1, ""));
    assert!(err(&reload).contains("unknown function `fobar`") && err(&reload).contains("goes on"), "{}", err(&reload));

    let paused = run(&admin, &["pause", "rule", "person", "--reason", "being mended"]).await;
    assert_eq!((code(&paused), out(&paused).as_str()), (0, "paused: rule person\n"));
    let unknown = run(&admin, &["pause", "rule", "nobody"]).await;
    assert_eq!((code(&unknown), err(&unknown).as_str()), (1, "error: there is no rule `nobody`\n"));
    assert_eq!(admin.commands()[0], "pause Rule(\"person\") being mended");
}
