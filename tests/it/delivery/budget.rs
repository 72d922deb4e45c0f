//! Deliveries and the budget of their account: what is counted, who waits when it is spent, and what `budget` says of it.

use pipewright::config::Writes;
use pipewright::crm::budget::{BudgetReport, Sum};
use pipewright::delivery::Scope;
use pipewright::failure::FailureClass;
use pipewright::mock::{Fault, FaultMatch};
use pipewright::pipedrive::Method;
use pipewright::reload::ReloadOutcome;
use pipewright::store::DeliveryState;
use serde_json::{Value, json};

use super::harness::{PERSON, Rig, Setup, pipewright};
use crate::support::{wait_until, write};

/// A person and a deal of hers.
const TWO_STEPS: &str = r#"
fn handle(event) {
    let who = person::upsert(#{ "Segment User ID": event.userId }, #{ name: event.traits?.name });
    deal::create(#{ title: "First", person_id: who });
}
"#;

fn report(rig: &Rig) -> BudgetReport {
    rig.daemon().ledger().report("main", 7)
}

fn tokens(sum: Option<&Sum>) -> (u64, u64) {
    sum.map_or((0, 0), |sum| (sum.tokens, sum.times))
}

/// Hands in an identify call of so many users.
async fn users(rig: &Rig, of: std::ops::Range<usize>) -> Vec<String> {
    let mut ids = Vec::new();
    for n in of {
        ids.push(rig.identify(&format!("u{n}"), json!({ "name": format!("Name {n}") })).await);
    }
    ids
}

/// Attempts begun since the start.
fn attempts(rig: &Rig) -> usize {
    let metrics = rig.daemon().metrics().render();
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix(r#"pipewright_delivery_attempts_total{rule="person",account="main"} "#));
    line.and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("no count in\n{metrics}"))
}

/// Takes another text in rules.toml for one that is there.
async fn change(rig: &Rig, from: &str, to: &str) {
    let rules = std::fs::read_to_string(rig.dir.path().join("rules.toml")).expect("rules.toml");
    assert!(rules.contains(from), "{rules}");
    write(rig.dir.path(), "rules.toml", &rules.replace(from, to));
    let outcome = rig.daemon().reload().reload().await;
    assert!(matches!(outcome, ReloadOutcome::Swapped { .. }), "{outcome:?}");
}

/// Waits until nothing of the account is sent for want of tokens; answers why.
async fn spent(rig: &Rig) -> pipewright::delivery::PauseInfo {
    wait_until("the budget is spent", async || {
        let account = rig.account_status().await;
        account.paused.filter(|_| account.running == 0)
    })
    .await
}

#[tokio::test]
async fn what_is_charged_is_what_pipedrive_counts_and_what_was_spared_is_noted() {
    let mut rig = Setup::person(PERSON).start().await;
    let warm = rig.mock.tokens_spent();
    for name in ["Ada", "Ada", "Ada King"] {
        rig.run("u1", json!({ "name": name })).await;
    }
    let today = report(&rig).today;
    assert_eq!((today.spent.tokens, today.spent.times), (rig.mock.tokens_spent(), rig.mock.requests()));
    assert_eq!(tokens(today.by_rule.get("person")), (30, 3), "a search, a create, and a write");
    assert_eq!(tokens(today.by_rule.get("housekeeping")).0, warm);
    assert_eq!(tokens(today.by_purpose.get("lookup")), (20, 1));
    assert_eq!(tokens(today.by_purpose.get("write")), (10, 2));
    assert_eq!(tokens(today.saved.get("match_index")), (42, 2), "two searches, each with the read of its hit");
    assert_eq!(tokens(today.saved.get("known_values")), (5, 1), "the second event had nothing to send");

    rig.restart().await;
    wait_until("the new daemon's fields are counted, too", async || {
        (report(&rig).today.spent.tokens == rig.mock.tokens_spent()).then_some(())
    })
    .await;
    let after = report(&rig).today;
    assert_eq!((after.saved, after.by_rule.get("person")), (today.saved, today.by_rule.get("person")));
}

#[tokio::test]
async fn what_is_only_observed_spares_no_write() {
    let rig = Setup::person(PERSON).account("writes = \"on\"").start().await;
    rig.run("u1", json!({ "name": "Ada" })).await;
    change(&rig, "writes = \"on\"", "writes = \"off\"").await;
    wait_until("writes are off", async || (rig.account_status().await.writes == Some(Writes::Off)).then_some(())).await;
    assert_eq!(rig.run("u1", json!({ "name": "Ada" })).await.state, DeliveryState::Observed);
    let saved = report(&rig).today.saved;
    assert_eq!((saved.get("known_values"), tokens(saved.get("match_index"))), (None, (21, 1)));
}

#[tokio::test]
async fn a_spent_budget_holds_the_account_uncharged_until_the_reset() {
    let rig = Setup::person(PERSON).account("budget = { tokens_per_day = 500 }").start().await;
    let warm = rig.mock.tokens_spent();
    let ids = users(&rig, 0..30).await;
    let pause = spent(&rig).await;
    assert_eq!(pause.class, Some(FailureClass::Throttled));
    assert_eq!(pause.until.map(|at| at.to_string()).as_deref(), Some("2026-03-03T00:00:00Z"));
    assert!(pause.reason.starts_with("the budget of main is spent: 4"), "{}", pause.reason);
    assert!(pause.reason.contains(" of 500 tokens since 2026-03-02 00:00 UTC"), "{}", pause.reason);
    assert!(pause.reason.contains("; the reserve of 50 is for what must end. "), "{}", pause.reason);
    let sent = rig.mock.tokens_spent();
    assert!((430..=500).contains(&sent), "{sent}");
    let attempts = attempts(&rig);
    assert!(attempts <= rig.mock.count("persons") + 2 * 8, "each that was under way came back once: {attempts}");
    assert_eq!(rig.mock.count("persons"), rig.count(DeliveryState::Done).await, "what had begun has ended");
    let refused = rig.daemon().delivery().resume(Scope::Account("main".to_owned())).await.expect_err("nobody paused it");
    assert!(refused.to_string().contains("the budget of main is spent"), "{refused}");

    rig.days.set("2026-03-03T00:00:00Z");
    rig.settled().await;
    assert_eq!(rig.mock.count("persons"), 30);
    // One that had looked up made its first write from the reserve: nothing was looked up twice.
    assert_eq!(rig.mock.tokens_spent(), warm + 30 * 25);
    for id in ids {
        let row = rig.row(&id).await;
        assert_eq!((row.state, row.attempts), (DeliveryState::Done, 0), "{row:?}");
    }
    assert_eq!(rig.account_status().await.paused, None);
    let report = report(&rig);
    assert_eq!((report.days[0].spent.tokens, report.today.spent.tokens), (sent, rig.mock.tokens_spent() - sent));
}

#[tokio::test]
async fn with_more_tokens_in_rules_toml_it_goes_on_at_once() {
    let rig = Setup::person(PERSON).account("budget = { tokens_per_day = 300, reserve = \"0%\" }").start().await;
    users(&rig, 0..12).await;
    spent(&rig).await;
    assert!(rig.mock.tokens_spent() <= 300);
    change(&rig, "tokens_per_day = 300", "tokens_per_day = 3000").await;
    rig.settled().await;
    assert_eq!(rig.mock.count("persons"), 12);
}

#[tokio::test]
async fn a_persons_command_is_carried_out_from_the_reserve() {
    let rig = Setup::person(PERSON).account("budget = { tokens_per_day = 253, reserve = \"20%\" }").start().await;
    assert_eq!(rig.mock.tokens_spent(), 102, "the account's fields");
    for user in ["u1", "u2", "u3", "u4"] {
        rig.run(user, json!({ "name": user })).await;
    }
    spent(&rig).await;
    let key = rig.mock.custom_key("persons", "Segment User ID").expect("the field");
    let person = &rig.mock.entities("persons")[0];
    let user = person["custom_fields"][&key].as_str().expect("an id");
    write(rig.dir.path(), "people.csv", &format!("segment_id,pipedrive_id\n{user},{}\n", person["id"]));
    let (dir, file) = (rig.dir.path(), rig.dir.path().join("people.csv"));
    let mut import = pipewright(&rig, &["ids", "import", "--yes"]);
    let output = import.arg(file).arg("--dir").arg(dir).output().await.expect("it runs");
    assert!(output.status.success(), "{output:?}");
    let limits = report(&rig).budget.expect("a budget");
    assert_eq!((limits.reserve, limits.left, limits.left_with_reserve), (51, 0, 50), "a read of the record");
}

#[tokio::test]
async fn a_plan_that_has_begun_ends_from_the_reserve_while_others_wait() {
    let patient = "retry_first = \"1h\"\nretry_max = \"1h\"\n";
    let budget = "budget = { tokens_per_day = 380, reserve = \"25%\" }";
    let rig = Setup::person(TWO_STEPS).delivery(patient).account(budget).start().await;
    let first = FaultMatch { method: Some(Method::Post), times: 1, ..FaultMatch::always("/api/v2/deals") };
    rig.mock.fail_matching(first, Fault::NoConnection);
    let begun = rig.identify("begun", json!({ "name": "Ada" })).await;
    rig.outcome(&begun, "retry").await;
    for user in ["u1", "u2", "u3", "u4", "u5"] {
        let id = rig.identify(user, json!({ "name": user })).await;
        wait_until("it ends", async || (rig.row(&id).await.state == DeliveryState::Done).then_some(())).await;
    }
    let waits = rig.identify("u6", json!({ "name": "Bea" })).await;
    spent(&rig).await;
    let left = |rig: &Rig| report(rig).budget.map(|limits| (limits.left, limits.left_with_reserve));
    assert_eq!(left(&rig), Some((3, 98)), "102 for the fields and 30 each, of 285 and 380");
    assert_eq!(rig.row(&begun).await.state, DeliveryState::Pending, "its time has not come");
    let account = || Scope::Account("main".to_owned());
    rig.daemon().delivery().pause(account(), "a look".to_owned()).await.expect("it is paused");
    // Whoever resumes an account has what waits for a retry tried at once.
    rig.daemon().delivery().resume(account()).await.expect("it goes on");
    wait_until("the plan that has begun ends", async || (rig.row(&begun).await.state == DeliveryState::Done).then_some(())).await;
    spent(&rig).await;
    assert_eq!((rig.row(&waits).await.state, left(&rig)), (DeliveryState::Pending, Some((0, 93))), "its deal was made");
}

#[tokio::test]
async fn a_plan_that_keeps_failing_has_few_tries_from_the_reserve_and_then_waits_for_the_reset() {
    let quick = "retry_first = \"10ms\"\nretry_max = \"20ms\"\nmax_attempts = 1000\n";
    // 102 for the fields and 25 for the person leave 8 and a reserve of 135.
    let budget = "budget = { tokens_per_day = 270, reserve = \"50%\" }";
    let rig = Setup::person(TWO_STEPS).delivery(quick).account(budget).start().await;
    let deals = FaultMatch { method: Some(Method::Post), ..FaultMatch::always("/api/v2/deals") };
    rig.mock.fail_matching(deals, Fault::NoConnection);
    let id = rig.identify("u1", json!({ "name": "Ada" })).await;
    let record = rig.outcome(&id, "wait").await;
    assert!(record["reason"].as_str().expect("a reason").contains("the reserve of 135 is for what must end"), "{record:#}");
    spent(&rig).await;
    let limits = report(&rig).budget.expect("a budget");
    assert_eq!((limits.left, limits.left_with_reserve), (0, 270 - 102 - 25 - 5 * 5), "five tries");
    let attempts = attempts(&rig);
    assert_eq!(attempts, 6, "the last one sent nothing");
    // Also after a restart, where only the store knows.
    let mut rig = rig;
    rig.restart().await;
    let record = rig.outcome(&id, "wait").await;
    spent(&rig).await;
    assert_eq!(report(&rig).budget.map(|limits| limits.left_with_reserve), Some(limits.left_with_reserve), "{record:#}");

    rig.days.set("2026-03-03T00:00:00Z");
    let (day, id) = (&rig, &id);
    wait_until("it tries with the new day's tokens", async || (report(day).today.spent.tokens > 0).then_some(())).await;
    rig.mock.clear_faults();
    rig.settled().await;
    assert_eq!((rig.row(id).await.state, rig.mock.count("deals")), (DeliveryState::Done, 1));
}

#[tokio::test]
async fn when_all_is_spent_what_has_begun_waits_as_well() {
    let rig = Setup::person(TWO_STEPS).account("budget = { tokens_per_day = 200, reserve = \"0%\" }").start().await;
    users(&rig, 0..12).await;
    spent(&rig).await;
    let before = (rig.mock.requests(), attempts(&rig));
    assert!(rig.mock.tokens_spent() <= 200);
    rig.days.pass(60);
    // Whatever would hammer has had its time.
    let mut changes = rig.daemon().ledger().changes();
    for _ in 0..2 {
        changes.changed().await.expect("a beat");
    }
    assert_eq!((rig.mock.requests(), attempts(&rig)), before);
    rig.days.set("2026-03-03T00:00:00Z");
    spent(&rig).await;
    rig.days.set("2026-03-04T00:00:00Z");
    rig.settled().await;
    assert_eq!((rig.mock.count("persons"), rig.mock.count("deals")), (12, 12));
}

#[tokio::test]
async fn low_priorities_wait_first_and_go_on_after_the_reset() {
    let deal = "fn handle(event) { deal::create(#{ title: event.properties.title }, #{ unlinked: true }); }";
    let rig = Setup::new()
        .rule_with("person", "type = \"identify\"", PERSON, "priority = 0")
        .rule_with("deal", "type = \"track\"", deal, "priority = 9")
        .account("budget = { tokens_per_day = 4000, reserve = \"0%\", reset = \"00:00 UTC\" }");
    let rig = rig.start().await;
    rig.days.set("2026-03-02T20:00:00Z");
    let early = rig.track("u0", "Bought", json!({ "title": "early" })).await;
    rig.settled().await;
    assert_eq!(rig.row(&early).await.state, DeliveryState::Done, "while the budget suffices nobody waits");
    users(&rig, 0..20).await;
    let pause = wait_until("the deals wait", async || rig.rule_status("deal").await.paused).await;
    assert_eq!(pause.class, Some(FailureClass::Throttled));
    assert!(pause.reason.starts_with("waits for the budget of main: rules of a higher priority need "), "{}", pause.reason);
    let outlook = rig.account_status().await.budget.expect("an outlook");
    assert!(outlook.starts_with("at this rate the budget of main is spent at 2"), "{outlook}");
    assert!(outlook.ends_with("; rules of priority 9 and lower wait already"), "{outlook}");
    assert_eq!((rig.account_status().await.paused, rig.rule_status("person").await.paused), (None, None));

    let waits = rig.track("u0", "Bought", json!({ "title": "late" })).await;
    // The same user's next event is of the other rule, and does not wait behind it.
    let goes = rig.identify("u0", json!({ "name": "Ada" })).await;
    wait_until("the high priority goes on", async || (rig.row(&goes).await.state == DeliveryState::Done).then_some(())).await;
    assert_eq!((rig.row(&waits).await.state, rig.mock.count("deals")), (DeliveryState::Pending, 1));
    assert_eq!(rig.status().await.held, 1);
    let shown = pipewright(&rig, &["status"]).output().await.expect("it runs");
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("\nAt this rate the budget of main is spent at 2"), "{shown}");
    assert!(shown.contains("waits for the budget of main"), "{shown}");

    rig.days.set("2026-03-03T00:00:00Z");
    rig.settled().await;
    assert_eq!(rig.row(&waits).await.state, DeliveryState::Done);
    assert_eq!(rig.rule_status("deal").await.paused, None);
}

#[tokio::test]
async fn a_rule_that_gets_a_higher_priority_goes_on_while_others_wait() {
    let deal = "fn handle(event) { deal::create(#{ title: event.properties.title }, #{ unlinked: true }); }";
    let rig = Setup::new()
        .rule_with("person", "type = \"identify\"", PERSON, "priority = 0")
        .rule_with("deal", "type = \"track\" and event = \"A\"", deal, "priority = 9")
        .rule_with("other", "type = \"track\" and event = \"B\"", deal, "priority = 5")
        .account("budget = { tokens_per_day = 4000, reserve = \"0%\" }");
    let rig = rig.start().await;
    rig.days.set("2026-03-02T20:00:00Z");
    users(&rig, 0..20).await;
    wait_until("low priorities wait", async || rig.rule_status("deal").await.paused).await;
    let raised = rig.track("u0", "A", json!({ "title": "raised" })).await;
    let waits = rig.track("u0", "B", json!({ "title": "waits" })).await;
    change(&rig, "priority = 9", "priority = 0").await;
    wait_until("it goes on", async || (rig.row(&raised).await.state == DeliveryState::Done).then_some(())).await;
    assert_eq!(rig.row(&waits).await.state, DeliveryState::Pending);
    assert!(rig.rule_status("other").await.paused.is_some());
}

#[tokio::test]
async fn the_command_prints_what_was_spent_left_and_spared_by_what() {
    let rig = Setup::person(PERSON).account("budget = { tokens_per_day = 30000, reset = \"06:00 UTC\" }").start().await;
    let run = async |args: &[&str]| {
        let output = pipewright(&rig, args).output().await.expect("it runs");
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    for name in ["Ada", "Ada"] {
        rig.run("u1", json!({ "name": name })).await;
    }
    rig.days.pass(24 * 3600);
    rig.run("u1", json!({ "name": "Ada King" })).await;
    rig.run("u1", json!({ "name": "Ada King" })).await;
    let (code, text, _) = run(&["budget"]).await;
    assert_eq!(code, Some(0));
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let lines: Vec<String> = text.lines().map(words).collect();
    let before = grouped(rig.mock.tokens_spent() - 5);
    for line in [
        "account main".to_owned(),
        "budget 30,000 tokens a day, 3,000 of them in reserve; resets at 06:00 UTC".to_owned(),
        "spent 5 tokens in 1 request since 2026-03-03 06:00 UTC".to_owned(),
        "left 26,995 tokens; 29,995 with what is left of the reserve".to_owned(),
        "spared 47 tokens".to_owned(),
        "PURPOSE TOKENS REQUESTS".to_owned(),
        "write 5 1".to_owned(),
        "RULE TOKENS REQUESTS AN HOUR NOW".to_owned(),
        "person 5 1 10".to_owned(),
        "match_index 42 2 searches that the match index spared".to_owned(),
        "known_values 5 1 writes of what stands there already".to_owned(),
        format!("2026-03-02 06:00 UTC {before} {} 26 housekeeping ({})", rig.mock.requests() - 1, rig.mock.tokens_spent() - 30),
    ] {
        assert!(lines.contains(&line), "{line:?} is missing in:\n{text}");
    }
    let (_, json, _) = run(&["budget", "--json", "--account", "main", "--days", "0"]).await;
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(
        json["accounts"][0]["budget"],
        json!({ "tokens_per_day": 30000, "reserve": 3000, "left": 26995, "left_with_reserve": 29995 })
    );
    assert_eq!(
        (&json["accounts"][0]["today"]["by_rule"]["person"]["tokens"], &json["accounts"][0]["days"]),
        (&json!(5), &json!([]))
    );
    let (code, _, error) = run(&["budget", "--account", "mian"]).await;
    assert_eq!(code, Some(1));
    assert!(error.contains("there is no account `mian`; there is main"), "{error}");
}

fn grouped(n: u64) -> String {
    pipewright::crm::budget::grouped(n)
}
