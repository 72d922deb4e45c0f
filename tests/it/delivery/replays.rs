//! Replays beside what was done before: what is not done again, what later events have said, and what a person may ask for instead.

use pipewright::delivery::Scope;
use pipewright::ingest::decode_text;
use pipewright::mock::{Fault, FaultMatch, Hold};
use pipewright::pipedrive::Method;
use pipewright::store::{DeliveryId, DeliveryRow, DeliveryState, ReplayOptions, Seq};
use serde_json::{Value, json};

use super::harness::{PERSON, Rig, Setup};

const AGAIN: ReplayOptions = ReplayOptions { again: true, overwrite: false };
const OVERWRITE: ReplayOptions = ReplayOptions { again: false, overwrite: true };

/// A person, a deal that refers to it, and a raw request, of which the last can be refused.
const THREE: &str = r#"
fn handle(event) {
    let who = person::create(#{ name: "Ada" });
    deal::create(#{ title: event.traits.title, person_id: who });
    pipedrive::request("POST", "/api/v2/organizations", #{ name: event.traits.title });
}
"#;

/// A person's plan and name.
const PLAN: &str = r#"
fn handle(event) {
    if event.traits?.broken == true { throw "broken"; }
    person::upsert(#{ "Segment User ID": event.userId }, #{ name: event.traits?.name, Plan: event.traits?.plan });
}
"#;

fn refuse(rig: &Rig, method: Method, path: &str) {
    let fault = Fault::Status { status: 400, body: json!({ "success": false, "error": "no" }) };
    rig.mock.fail_matching(FaultMatch::next(method, path), fault);
}

async fn replay(rig: &Rig, id: &DeliveryId, how: ReplayOptions) -> DeliveryRow {
    let replayed = rig.daemon().delivery().replay(vec![id.clone()], how).await.expect("replayed");
    rig.settled().await;
    rig.delivery(&replayed[0].id).await
}

async fn lines(rig: &Rig, id: &DeliveryId) -> String {
    rig.record(id).await["steps"].to_string()
}

fn counts(rig: &Rig) -> [usize; 3] {
    ["persons", "deals", "organizations"].map(|kind| rig.mock.count(kind))
}

#[tokio::test]
async fn what_was_created_or_requested_is_not_again_whoever_repeats_whom_unless_that_is_wanted() {
    let rig = Setup::person(THREE).start().await;
    let first = rig.run("u1", json!({ "title": "Big" })).await;
    assert_eq!((first.state, counts(&rig)), (DeliveryState::Done, [1, 1, 1]), "{:?}", first.reason);
    // A mended script has other lines, and actions of other kinds in between.
    rig.edit("person", &THREE.replace("deal::create", "note::create(#{ content: \"Hi\", person_id: who });\n    deal::create"))
        .await;
    let second = replay(&rig, &first.id, ReplayOptions::default()).await;
    assert_eq!((second.state, counts(&rig)), (DeliveryState::Done, [1, 1, 1]), "{:?}", second.reason);
    assert_eq!(rig.mock.count("notes"), 1, "what is new is done");
    assert_eq!(rig.mock.entities("notes")[0]["person_id"], rig.mock.entities("persons")[0]["id"]);
    let told = lines(&rig, &second.id).await;
    assert!(told.contains("replay: the person 1 was created by delivery 1/person, and not again (--again)"), "{told}");
    assert!(told.contains("replay: the request was sent by delivery 1/person"), "{told}");
    // A replay of the replay, and one beside it.
    for id in [&second.id, &first.id] {
        let row = replay(&rig, id, ReplayOptions::default()).await;
        assert_eq!((row.state, counts(&rig), rig.mock.count("notes")), (DeliveryState::Done, [1, 1, 1], 1));
    }
    let anew = replay(&rig, &first.id, AGAIN).await;
    assert_eq!((anew.state, counts(&rig), rig.mock.count("notes")), (DeliveryState::Done, [2, 2, 2], 2), "{:?}", anew.reason);
    let newest = rig.mock.entities("deals").pop().expect("a deal");
    assert_eq!(newest["person_id"], 2);
}

#[tokio::test]
async fn what_is_half_done_goes_on_where_it_stopped() {
    let rig = Setup::person(THREE).start().await;
    refuse(&rig, Method::Post, "/api/v2/organizations");
    let row = rig.run("u1", json!({ "title": "Big" })).await;
    assert_eq!((row.state, counts(&rig)), (DeliveryState::Partial, [1, 1, 0]));
    rig.mock.clear_log();
    let again = replay(&rig, &row.id, ReplayOptions::default()).await;
    assert_eq!((again.state, counts(&rig)), (DeliveryState::Done, [1, 1, 1]), "{:?}", again.reason);
    assert_eq!(rig.writes(), ["POST /api/v2/organizations"]);
    assert_eq!(again.replay_of, Some(row.id));
}

#[tokio::test]
async fn what_was_deleted_or_merged_is_not_asked_for_again() {
    let script = r#"
        fn handle(event) {
            person::delete(#{ "Segment User ID": event.userId });
            organization::merge(#{ "Segment Group ID": "a" }, #{ "Segment Group ID": "b" });
            pipedrive::request("POST", "/api/v2/organizations", #{ name: "Late" });
        }"#;
    let rig = Setup::person(script).start().await;
    let (user, group) = (rig.key("persons", "Segment User ID"), rig.key("organizations", "Segment Group ID"));
    rig.aside("/api/v2/persons", json!({ "name": "Ada", "custom_fields": { user: "u1" } }));
    for id in ["a", "b"] {
        rig.aside("/api/v2/organizations", json!({ "name": id, "custom_fields": { &group: id } }));
    }
    refuse(&rig, Method::Post, "/api/v2/organizations");
    let row = rig.run("u1", json!({})).await;
    assert_eq!((row.state, rig.persons("u1")), (DeliveryState::Partial, 0), "{:?}", row.reason);
    rig.mock.clear_log();
    let again = replay(&rig, &row.id, ReplayOptions::default()).await;
    assert_eq!(again.state, DeliveryState::Done, "{:?}", again.reason);
    assert_eq!(rig.writes(), ["POST /api/v2/organizations"]);
}

#[tokio::test]
async fn a_record_that_is_gone_is_said_and_not_made_anew_by_itself() {
    let rig = Setup::person(THREE).start().await;
    refuse(&rig, Method::Post, "/api/v2/deals");
    let row = rig.run("u1", json!({ "title": "Big" })).await;
    assert_eq!((row.state, counts(&rig)), (DeliveryState::Partial, [1, 0, 0]));
    rig.delete_aside("/api/v2/persons/1");
    let dead = replay(&rig, &row.id, ReplayOptions::default()).await;
    let why = dead.reason.clone().expect("a reason");
    assert_eq!((dead.state, counts(&rig)), (DeliveryState::Dead, [0, 0, 0]), "{why}");
    assert!(
        why.starts_with("action 2 refers to the person 1, which delivery 1/person created and which is not in Pipedrive"),
        "{why}"
    );
    assert!(why.contains("--again"), "{why}");
    let anew = replay(&rig, &dead.id, AGAIN).await;
    assert_eq!((anew.state, counts(&rig)), (DeliveryState::Done, [1, 1, 1]), "{:?}", anew.reason);
}

#[tokio::test]
async fn an_upsert_takes_the_record_that_it_made_before_whatever_its_match_finds() {
    let script = PERSON.replace("\"Segment User ID\": event.userId", "email: event.traits.email");
    let rig = Setup::person(&script).start().await;
    let row = rig.run("u1", json!({ "name": "Ada", "email": "ada@x.example" })).await;
    let id = rig.mock.entities("persons")[0]["id"].clone();
    rig.by_hand("persons", &id, json!({ "emails": [{ "value": "ada@y.example", "primary": true }] }));
    // Nothing leads to it any more: not the index, and not Pipedrive's search.
    let account = "main".to_owned();
    let forget = pipewright::store::Write::Forget { account, kind: "person".to_owned(), id: id.to_string() };
    rig.store().commit(vec![forget]).await.expect("forgets");
    rig.edit("person", &script.replace("event.traits?.name", "\"Mended\"")).await;
    let again = replay(&rig, &row.id, ReplayOptions::default()).await;
    assert_eq!((again.state, rig.mock.count("persons")), (DeliveryState::Done, 1), "{:?}", again.reason);
    assert_eq!(rig.mock.entities("persons")[0]["name"], "Mended");
    rig.delete_aside(&format!("/api/v2/persons/{id}"));
    let dead = replay(&rig, &row.id, ReplayOptions::default()).await;
    assert_eq!((dead.state, rig.mock.count("persons")), (DeliveryState::Dead, 0), "{:?}", dead.reason);
    assert!(dead.reason.expect("a reason").contains("with --again"));
    let anew = replay(&rig, &row.id, AGAIN).await;
    assert_eq!((anew.state, rig.mock.count("persons")), (DeliveryState::Done, 1), "{:?}", anew.reason);
}

#[tokio::test]
async fn a_create_whose_answer_was_lost_for_good_is_looked_for_before_it_is_sent_again() {
    let rig = Setup::person("fn handle(event) { deal::create(#{ title: \"Big\" }, #{ unlinked: true }); }")
        .delivery("retry_first = \"5ms\"\nretry_max = \"10ms\"\nmax_attempts = 1")
        .start()
        .await;
    rig.mock.fail_matching(FaultMatch::next(Method::Post, "/api/v2/deals"), Fault::Hang { committed: true });
    // The look for it fails as well.
    let which = FaultMatch { method: Some(Method::Get), times: 1, ..FaultMatch::always("/api/v2/deals") };
    rig.mock.fail_matching(which, Fault::NoConnection);
    let row = rig.run("u1", json!({})).await;
    assert!(row.state.is_failure(), "{row:?}");
    assert_eq!(rig.mock.count("deals"), 1);
    let again = replay(&rig, &row.id, ReplayOptions::default()).await;
    assert_eq!((again.state, rig.mock.count("deals")), (DeliveryState::Done, 1), "{:?}", again.reason);
}

#[tokio::test]
async fn what_later_events_have_written_stays_and_the_record_says_which_event() {
    let mut rig = Setup::person(PLAN).start().await;
    rig.run("u1", json!({ "name": "Ada", "plan": "Free" })).await;
    let dead = rig.run("u1", json!({ "name": "Ada L", "plan": "Pro", "broken": true })).await;
    assert_eq!(dead.state, DeliveryState::Dead);
    let later = rig.run("u1", json!({ "plan": "Enterprise" })).await;
    let option = |rig: &Rig, name: &str| json!(rig.mock.option_id("persons", "Plan", name).expect("an option"));
    let held = |rig: &Rig| {
        let person = rig.person("u1");
        (person["name"].clone(), person["custom_fields"][rig.key("persons", "Plan")].clone())
    };
    rig.edit("person", &PLAN.replace("if event.traits?.broken == true { throw \"broken\"; }", "")).await;
    let kept = replay(&rig, &dead.id, ReplayOptions::default()).await;
    assert_eq!(kept.state, DeliveryState::Done, "{:?}", kept.reason);
    // Nobody has said a name since.
    assert_eq!(held(&rig), (json!("Ada L"), option(&rig, "Enterprise")));
    let said = rig.decisions(&kept.id).await;
    let line = format!("replay: written by a later event, left alone (--overwrite): `Plan` (event {})", later.id.seq);
    assert!(said.contains(&line), "{said:?}");

    // It is kept with the new delivery, also over a restart.
    let rule = || Scope::Rule("person".to_owned());
    rig.daemon().delivery().pause(rule(), "wait".to_owned()).await.expect("paused");
    let replayed = rig.daemon().delivery().replay(vec![dead.id.clone()], OVERWRITE).await.expect("replayed");
    rig.restart().await;
    assert_eq!(rig.delivery(&replayed[0].id).await.replay, OVERWRITE);
    rig.daemon().delivery().resume(rule()).await.expect("resumed");
    rig.settled().await;
    assert_eq!(held(&rig), (json!("Ada L"), option(&rig, "Pro")));
}

#[tokio::test]
async fn what_a_later_event_said_counts_also_where_nothing_had_to_be_sent() {
    let rig = Setup::person(PLAN).start().await;
    rig.run("u1", json!({ "name": "Ada" })).await;
    let dead = rig.run("u1", json!({ "name": "Grace", "broken": true })).await;
    rig.mock.clear_log();
    let later = rig.run("u1", json!({ "name": "Ada" })).await;
    assert!(rig.writes().is_empty());
    rig.edit("person", &PLAN.replace("throw \"broken\"", "log::info(\"mended\")")).await;
    let kept = replay(&rig, &dead.id, ReplayOptions::default()).await;
    assert_eq!(rig.person("u1")["name"], "Ada");
    assert!(rig.decisions(&kept.id).await[0].contains(&format!("(event {})", later.id.seq)));
    // The newer event's own replay writes what it says, and so does the next event.
    rig.edit("person", &PERSON.replace("event.traits?.name", "event.traits.name + \" L\"")).await;
    replay(&rig, &later.id, ReplayOptions::default()).await;
    assert_eq!(rig.person("u1")["name"], "Ada L");
    rig.run("u1", json!({ "name": "Hedy" })).await;
    assert_eq!(rig.person("u1")["name"], "Hedy L");
}

#[tokio::test]
async fn a_record_that_a_later_event_wrote_to_is_not_deleted_by_an_older_one() {
    let script = r#"
        fn handle(event) {
            if event.traits?.gone == true { fail("not yet"); }
            person::upsert(#{ "Segment User ID": event.userId }, #{ name: event.traits?.name });
        }"#;
    let rig = Setup::person(script).start().await;
    rig.run("u1", json!({ "name": "Ada" })).await;
    let dead = rig.run("u1", json!({ "gone": true })).await;
    rig.run("u1", json!({ "name": "Ada L" })).await;
    rig.edit("person", &script.replace("fail(\"not yet\")", "person::delete(#{ \"Segment User ID\": event.userId }); return"))
        .await;
    let kept = replay(&rig, &dead.id, ReplayOptions::default()).await;
    assert_eq!((kept.state, rig.persons("u1")), (DeliveryState::Skipped, 1), "{:?}", kept.reason);
    assert!(kept.reason.expect("a reason").contains("a later event (event 3) has written to the person"));
    let deleted = replay(&rig, &dead.id, OVERWRITE).await;
    assert_eq!((deleted.state, rig.persons("u1")), (DeliveryState::Done, 0), "{:?}", deleted.reason);
}

#[tokio::test]
async fn a_script_that_adds_to_what_it_reads_adds_once() {
    let script = r#"
        fn handle(event) {
            let found = person::find(#{ "Segment User ID": event.userId });
            let had = if found == () { 0 } else { found["Score"] ?? 0 };
            let who = person::upsert(#{ "Segment User ID": event.userId }, #{ name: "Ada", "Score": had + event.traits.add });
            deal::create(#{ title: "Big", person_id: who });
        }"#;
    let rig = Setup::person(script).start().await;
    let score = |rig: &Rig| rig.person("u1")["custom_fields"][rig.key("persons", "Score")].as_f64();
    let half = async |add: u32| {
        refuse(&rig, Method::Post, "/api/v2/deals");
        let row = rig.run("u1", json!({ "add": add })).await;
        assert_eq!(row.state, DeliveryState::Partial, "{:?}", row.reason);
        row
    };
    // What it created counts as not there, what it changed as it was, by whoever it was.
    let first = half(1).await;
    assert_eq!(replay(&rig, &first.id, ReplayOptions::default()).await.state, DeliveryState::Done);
    assert_eq!((score(&rig), rig.mock.count("deals")), (Some(1.0), 1));
    let id: Value = rig.person("u1")["id"].clone();
    rig.by_hand("persons", &id, json!({ "custom_fields": { rig.key("persons", "Score"): 10 } }));
    let second = half(5).await;
    assert_eq!(score(&rig), Some(15.0));
    assert_eq!(replay(&rig, &second.id, ReplayOptions::default()).await.state, DeliveryState::Done);
    assert_eq!((score(&rig), rig.mock.count("deals")), (Some(15.0), 2));
    // A mended script adds another amount to what was there.
    rig.edit("person", &script.replace("event.traits.add", "event.traits.add * 2")).await;
    replay(&rig, &second.id, ReplayOptions::default()).await;
    assert_eq!((score(&rig), rig.mock.count("deals")), (Some(20.0), 2));
    // With --again it is done again, all of it.
    replay(&rig, &second.id, AGAIN).await;
    assert_eq!((score(&rig), rig.mock.count("deals")), (Some(30.0), 3));
}

#[tokio::test]
async fn an_edited_event_goes_on_where_the_original_stopped_and_the_original_stays() {
    let rig = Setup::person(THREE).rule("second", "type = \"identify\"", "fn handle(event) { fail(\"never\"); }").start().await;
    refuse(&rig, Method::Post, "/api/v2/deals");
    let message = rig.identify("u1", json!({ "title": "Bgi" })).await;
    rig.settled().await;
    assert_eq!(counts(&rig), [1, 0, 0]);
    let stored = rig.store().event(Seq(1)).await.expect("reads").expect("is kept");
    let text = String::from_utf8(stored.payload.to_vec()).expect("text").replace("Bgi", "Big");
    let event = decode_text("website", jiff::Timestamp::now(), &text.clone().into()).expect("an event");
    let edited = rig.daemon().delivery().edit(Seq(1), event, ReplayOptions::default()).await.expect("edited");
    rig.settled().await;
    assert_eq!(edited.deliveries.iter().map(ToString::to_string).collect::<Vec<_>>(), ["2/person", "2/second"]);
    let row = rig.delivery(&edited.deliveries[0]).await;
    assert_eq!((row.state, row.message_id, counts(&rig)), (DeliveryState::Done, message, [1, 1, 1]), "{:?}", row.reason);
    assert_eq!(row.replay_of.map(|of| of.to_string()).as_deref(), Some("1/person"));
    assert_eq!(rig.mock.entities("deals")[0]["title"], "Big");
    assert!(rig.store().event(Seq(1)).await.expect("reads").expect("is kept").payload.as_ref() == stored.payload.as_ref());
    // The edit itself can be edited, and a replay of it repeats them both.
    let row = replay(&rig, &edited.deliveries[0], ReplayOptions::default()).await;
    assert_eq!((row.state, counts(&rig)), (DeliveryState::Done, [1, 1, 1]), "{:?}", row.reason);
    let other = decode_text("website", jiff::Timestamp::now(), &text.replace("\"userId\":\"u1\"", "\"userId\":\"u2\"").into());
    let other = rig.daemon().delivery().edit(Seq(2), other.expect("an event"), ReplayOptions::default()).await.expect("edited");
    rig.settled().await;
    assert_eq!((rig.delivery(&other.deliveries[0]).await.state, counts(&rig)), (DeliveryState::Done, [1, 1, 1]));
    assert_eq!(rig.store().relatives(Seq(3)).await.expect("reads"), [1, 2, 3, 4].map(Seq));
}

/// The account has carried the create out, nothing tells of the answer, and a person takes the delivery away before it can find out.
#[tokio::test]
async fn what_a_crash_cut_off_and_a_person_discarded_is_looked_for_by_a_replay() {
    let script = r#"fn handle(event) { person::create(#{ name: "Ada" }); }"#;
    let mut rig = Setup::person(script).start_apart().await;
    let hold = Hold::new();
    rig.mock.fail_matching(FaultMatch::next(Method::Post, "/api/v2/persons"), Fault::HoldAnswer(hold.clone()));
    let message = rig.identify("u1", json!({})).await;
    hold.reached().await;
    let account = Scope::Account("main".to_owned());
    rig.daemon().delivery().pause(account.clone(), "a look".to_owned()).await.expect("paused");
    rig.crash().await;
    let row = rig.row(&message).await;
    assert_eq!((row.state, rig.records(&row.id).await.len()), (DeliveryState::Pending, 0));
    rig.daemon().delivery().discard(vec![row.id.clone()]).await.expect("discarded");
    let replayed = rig.daemon().delivery().replay(vec![row.id], ReplayOptions::default()).await.expect("replayed");
    rig.daemon().delivery().resume(account).await.expect("resumed");
    rig.settled().await;
    let again = rig.delivery(&replayed[0].id).await;
    assert_eq!((again.state, rig.mock.count("persons")), (DeliveryState::Done, 1), "{:?}", again.reason);
    assert!(lines(&rig, &again.id).await.contains("it is looked for before it is sent again"));
}
