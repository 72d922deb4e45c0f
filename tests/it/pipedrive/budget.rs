//! The ledger of tokens: what is charged, the limit, days and resets, and what the store keeps of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use pipewright::config::{BudgetConfig, ResetHour, Share};
use pipewright::crm::budget::Ledger;
use pipewright::failure::FailureClass;
use pipewright::mock::{Mock, MockOptions};
use pipewright::pipedrive::{
    Caller, Client, ClientOptions, ErrorKind, Id, Kind, Purpose, Purse, Request, Saving, Session, Trace,
};
use pipewright::store::sqlite::{Fault, OpenOptions, SqliteStore};
use pipewright::store::{Feed, Store};
use pipewright::telemetry::Metrics;
use serde_json::json;

use crate::support::days::Days;
use crate::support::temp_dir;

struct Desk {
    days: Days,
    ledger: Ledger,
    metrics: Metrics,
    store: Arc<dyn Store>,
    full: Arc<std::sync::atomic::AtomicBool>,
    dir: tempfile::TempDir,
    _feed: Feed,
}

impl Desk {
    async fn open(time: &str) -> Self {
        Self::open_in(temp_dir(), Days::at(time)).await
    }

    async fn open_in(dir: tempfile::TempDir, days: Days) -> Self {
        let full = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let disk = full.clone();
        let fault = move |_| disk.load(std::sync::atomic::Ordering::SeqCst).then_some(Fault::DiskFull);
        let options = OpenOptions { dir: dir.path().to_owned(), fault: Some(Arc::new(fault)), ..OpenOptions::default() };
        let (store, feed) = SqliteStore::open(options).expect("a store");
        let store: Arc<dyn Store> = Arc::new(store);
        let metrics = Metrics::default();
        let ledger = Ledger::open(store.clone(), metrics.clone(), days.clock()).await.expect("a ledger");
        Self { days, ledger, metrics, store, full, dir, _feed: feed }
    }

    /// Closes the store without a word to the ledger, and opens both again.
    async fn crash(self) -> Self {
        let Self { days, dir, store, .. } = self;
        store.close().await;
        drop(store);
        Self::open_in(dir, days).await
    }

    fn limit(&self, tokens_per_day: u64, reserve: u8, reset: u8) {
        let budget = BudgetConfig { tokens_per_day, reserve: Share(reserve), reset: ResetHour(reset) };
        self.ledger.configure("main", Some(budget), BTreeSet::from([0, 5, 9]));
    }

    fn purse(&self) -> Arc<dyn Purse> {
        self.ledger.purse("main")
    }

    fn spent(&self) -> u64 {
        self.ledger.report("main", 0).today.spent.tokens
    }
}

fn rule(name: &str, priority: u8) -> Caller {
    Caller::rule(Arc::from(name), priority)
}

fn session(desk: &Desk, mock: &Arc<Mock>) -> Session {
    let options =
        ClientOptions { burst: u32::MAX, search_burst: u32::MAX, purse: Some(desk.purse()), ..ClientOptions::default() };
    Client::new(Arc::<Mock>::clone(mock), options).session(Trace::default())
}

#[tokio::test]
async fn every_request_is_charged_to_its_rule_and_purpose_whatever_comes_back() {
    let desk = Desk::open("2026-03-02T08:00:00Z").await;
    let mock = Mock::new(MockOptions { seed: false, ..MockOptions::unlimited() });
    let person = session(&desk, &mock).on_behalf_of(rule("person", 5));
    let body = json!({ "name": "Ada" }).as_object().expect("an object").clone();
    let (id, _) = person.create(Kind::Person, body).await.expect("it is created");
    assert_eq!(person.get(Kind::Person, &Id::Number(999), Purpose::Lookup).await.expect("an answer"), None);
    person.get(Kind::Person, &id, Purpose::ReadBeforeWrite).await.expect("an answer");
    assert!(person.update(Kind::Person, &Id::Number(999), serde_json::Map::new()).await.is_err());
    session(&desk, &mock).send(&Request::get("/api/v1/users"), Purpose::Metadata).await.expect("an answer");
    desk.ledger.saved("main", Some("person"), Saving::MatchIndex, 21);
    desk.ledger.saved("main", None, Saving::Mirror, 20);

    let report = desk.ledger.report("main", 5);
    assert_eq!(report.today.spent.tokens, mock.tokens_spent());
    assert_eq!(report.today.spent.times, mock.requests());
    let tokens = |sums: &std::collections::BTreeMap<String, pipewright::crm::budget::Sum>| {
        sums.iter().map(|(name, sum)| format!("{name} {}/{}", sum.tokens, sum.times)).collect::<Vec<_>>()
    };
    assert_eq!(tokens(&report.today.by_rule), ["housekeeping 20/1", "person 12/4"]);
    assert_eq!(tokens(&report.today.by_purpose), ["lookup 1/1", "metadata 20/1", "read_before_write 1/1", "write 10/2"]);
    assert_eq!(tokens(&report.today.saved), ["match_index 21/1", "mirror 20/1"]);
    assert_eq!((report.budget, report.days.len(), report.forecast.spent_at), (None, 0, None), "counted, not limited");
}

#[tokio::test]
async fn a_request_beyond_the_budget_is_not_sent_and_says_the_numbers_and_the_time() {
    let desk = Desk::open("2026-03-02T08:00:00Z").await;
    desk.limit(100, 10, 6);
    let mock = Mock::new(MockOptions { seed: false, ..MockOptions::unlimited() });
    let person = session(&desk, &mock).on_behalf_of(rule("person", 5));
    for _ in 0..9 {
        person.send(&Request::get("/api/v2/persons"), Purpose::Lookup).await.expect("an answer");
    }
    let error = person.get(Kind::Person, &Id::Number(1), Purpose::Lookup).await.expect_err("nothing is left");
    assert!(matches!(error.kind, ErrorKind::Withheld { .. }), "{error}");
    assert_eq!(error.class(), FailureClass::Throttled);
    assert_eq!(error.retry_after(), Some(std::time::Duration::from_secs(22 * 3600)));
    assert_eq!(
        error.to_string(),
        "GET /api/v2/persons/1: the budget of main is spent: 90 of 100 tokens since 2026-03-02 06:00 UTC; the reserve of 10 is for what \
         must end. It goes on at 2026-03-03 06:00 UTC, or with more tokens_per_day in rules.toml"
    );
    assert_eq!((mock.requests(), mock.tokens_spent()), (9, 90), "it was not sent");

    // What must end goes on from the reserve, until that is spent as well.
    let ending = session(&desk, &mock).on_behalf_of(rule("person", 5).ending());
    ending.send(&Request::get("/api/v1/leads/x"), Purpose::Lookup).await.expect_err("404, which costs 2");
    person.get(Kind::Person, &Id::Number(1), Purpose::Reconcile).await.expect("an answer");
    session(&desk, &mock)
        .on_behalf_of(Caller::person())
        .send(&Request::get("/api/v2/stages"), Purpose::Report)
        .await
        .expect("stages");
    assert_eq!(mock.tokens_spent(), 98);
    let error = ending.send(&Request::get("/api/v2/stages"), Purpose::Lookup).await.expect_err("nothing is left");
    assert!(error.to_string().contains("98 of 100 tokens since 2026-03-02 06:00 UTC, the reserve of 10 among them"), "{error}");
    assert!(desk.ledger.hold("main").is_some_and(|hold| hold.from == 0 && hold.begun_too));

    desk.days.set("2026-03-03T05:59:59Z");
    assert!(desk.ledger.hold("main").is_some());
    desk.days.set("2026-03-03T06:00:00Z");
    assert_eq!(desk.ledger.hold("main"), None);
    person.get(Kind::Person, &Id::Number(1), Purpose::Lookup).await.expect("an answer");
    let report = desk.ledger.report("main", 9);
    assert_eq!((report.today.spent.tokens, report.days[0].spent.tokens), (1, 98));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn however_many_ask_at_once_the_limit_is_kept_to_the_token() {
    let desk = Desk::open("2026-03-02T08:00:00Z").await;
    desk.limit(10_000, 7, 0);
    let ask = |caller: Caller, tokens: u32| {
        let purse = desk.purse();
        tokio::spawn(async move {
            let mut taken = 0;
            for turn in 0..400_u32 {
                let tokens = tokens + turn % 2;
                taken += u64::from(tokens) * u64::from(purse.take(&caller, Purpose::Lookup, tokens).is_ok());
                tokio::task::yield_now().await;
            }
            taken
        })
    };
    let mut taken = 0;
    for asking in (0..16).map(|n| ask(rule(&format!("r{n}"), 5), 5)).collect::<Vec<_>>() {
        taken += asking.await.expect("no panic");
    }
    assert_eq!(taken, desk.spent());
    assert!((9_296..=9_300).contains(&taken), "all of it, and not a token more: {taken}");
    for asking in (0..16).map(|_| ask(rule("r", 5).ending(), 3)).collect::<Vec<_>>() {
        taken += asking.await.expect("no panic");
    }
    assert_eq!(taken, desk.spent());
    assert!((9_997..=10_000).contains(&taken), "and the reserve: {taken}");
}

#[tokio::test]
async fn what_was_stored_is_there_after_a_crash_and_the_limit_goes_on_from_it() {
    let desk = Desk::open("2026-03-02T08:00:00Z").await;
    desk.limit(1000, 0, 0);
    desk.purse().take(&rule("person", 3), Purpose::Lookup, 700).expect("tokens");
    desk.purse().saved(&rule("person", 3), Saving::KnownValues, 5);
    assert_eq!(desk.ledger.report("main", 0).unsaved, 700);
    desk.ledger.store().await.expect("it is stored");
    assert_eq!(desk.ledger.report("main", 0).unsaved, 0);
    let before = desk.ledger.report("main", 0);
    desk.purse().take(&rule("person", 3), Purpose::Write, 5).expect("tokens");

    let desk = desk.crash().await;
    desk.limit(1000, 0, 0);
    let after = desk.ledger.report("main", 0);
    assert_eq!((&after.today, &after.forecast), (&before.today, &before.forecast), "but for what came after it was stored last");
    assert!(desk.purse().take(&rule("person", 3), Purpose::Lookup, 301).is_err());
    desk.purse().take(&rule("person", 3), Purpose::Lookup, 300).expect("what is left");
}

#[tokio::test]
async fn what_could_not_be_stored_is_stored_later() {
    let desk = Desk::open("2026-03-02T08:00:00Z").await;
    desk.purse().take(&rule("person", 5), Purpose::Lookup, 20).expect("tokens");
    desk.full.store(true, std::sync::atomic::Ordering::SeqCst);
    desk.ledger.store().await.expect_err("a full disk");
    assert_eq!(desk.ledger.report("main", 0).unsaved, 20);
    desk.full.store(false, std::sync::atomic::Ordering::SeqCst);
    desk.ledger.store().await.expect("it is stored");
    assert_eq!(desk.crash().await.spent(), 20);
}

#[tokio::test]
async fn the_last_35_days_are_kept() {
    let mut desk = Desk::open("2026-03-02T08:00:00Z").await;
    for day in 0..40 {
        desk.purse().take(&rule("person", 5), Purpose::Write, day + 1).expect("tokens");
        desk.ledger.store().await.expect("it is stored");
        desk.days.pass(24 * 3600);
    }
    assert_eq!(desk.spent(), 0);
    desk.ledger.store().await.expect("it is stored");
    for _ in 0..2 {
        let days = desk.ledger.report("main", 99).days;
        assert_eq!((days.len(), days[0].spent.tokens, days[34].spent.tokens), (35, 40, 6));
        desk = desk.crash().await;
    }
    assert_eq!(desk.store.kv_list("budget").await.expect("a list").len(), 35, "the older ones are gone from the store");
}

#[tokio::test]
async fn another_companys_account_of_the_same_name_begins_anew() {
    let desk = Desk::open("2026-03-02T08:00:00Z").await;
    desk.purse().take(&rule("person", 5), Purpose::Write, 90).expect("tokens");
    desk.ledger.purse("main.2").take(&rule("person", 5), Purpose::Write, 7).expect("tokens");
    desk.ledger.store().await.expect("it is stored");
    desk.ledger.forget("main").await.expect("it is forgotten");
    let desk = desk.crash().await;
    assert_eq!((desk.spent(), desk.ledger.report("main.2", 0).today.spent.tokens), (0, 7));
}

#[tokio::test]
async fn another_hour_of_the_reset_forgets_nothing_of_what_was_spent() {
    let desk = Desk::open("2026-03-02T10:00:00Z").await;
    desk.limit(100, 0, 0);
    desk.purse().take(&rule("person", 5), Purpose::Write, 90).expect("tokens");
    // By the new hour, the day began at 06:00, and ends at the next.
    desk.limit(100, 0, 6);
    assert!(desk.purse().take(&rule("person", 5), Purpose::Write, 20).is_err());
    let today = desk.ledger.report("main", 0).today;
    assert_eq!((today.start.to_string(), today.ends.to_string()), ("2026-03-02T00:00:00Z".into(), "2026-03-03T06:00:00Z".into()));
    desk.days.set("2026-03-03T06:00:00Z");
    desk.purse().take(&rule("person", 5), Purpose::Write, 20).expect("a new day");
    // A clock that is set back makes no new day of an old one.
    desk.days.set("2026-03-02T23:00:00Z");
    assert_eq!(desk.spent(), 20);
}

#[tokio::test]
async fn a_clock_that_was_far_ahead_for_a_while_keeps_nobody_waiting_for_its_reset() {
    let desk = Desk::open("2026-03-02T10:00:00Z").await;
    desk.limit(100, 0, 0);
    desk.purse().take(&rule("person", 5), Purpose::Write, 40).expect("tokens");
    desk.days.set("2031-01-01T00:00:00Z");
    desk.purse().take(&rule("person", 5), Purpose::Write, 20).expect("tokens");
    desk.ledger.store().await.expect("it is stored");
    let desk = desk.crash().await;
    desk.days.set("2026-03-02T11:00:00Z");
    desk.limit(100, 0, 0);
    let report = desk.ledger.report("main", 9);
    assert_eq!((report.today.spent.tokens, report.days.len()), (60, 0), "all of it was spent on this day");
    assert_eq!(report.today.ends.to_string(), "2026-03-03T00:00:00Z");
    desk.ledger.store().await.expect("it is stored");
    assert_eq!(desk.store.kv_list("budget").await.expect("a list").len(), 1);
}

#[tokio::test]
async fn more_tokens_a_day_let_go_at_once() {
    let desk = Desk::open("2026-03-02T10:00:00Z").await;
    desk.limit(100, 0, 0);
    let mut changes = desk.ledger.changes();
    assert!(desk.purse().take(&rule("person", 5), Purpose::Write, 101).is_err());
    assert!(changes.has_changed().expect("it is there"), "who waits is told at once");
    changes.mark_unchanged();
    assert!(desk.ledger.hold("main").is_some());
    desk.limit(200, 0, 0);
    assert!(changes.has_changed().expect("it is there"));
    assert_eq!(desk.ledger.hold("main"), None);
}

#[tokio::test]
async fn low_priorities_wait_once_what_is_left_is_what_the_others_need() {
    let desk = Desk::open("2026-03-02T00:00:00Z").await;
    desk.limit(100_000, 0, 0);
    // 0.5, 0.25 and 0.75 tokens a second: 129,600 a day.
    let (high, middle, low) = (rule("high", 0), rule("middle", 5), rule("low", 9));
    let mut waits_since = None;
    for turn in 0..24 * 180 {
        desk.purse().take(&high, Purpose::Write, 10).unwrap_or_else(|e| panic!("turn {turn}: {e:?}"));
        desk.purse().take(&middle, Purpose::Write, 5).unwrap_or_else(|e| panic!("turn {turn}: {e:?}"));
        match desk.ledger.hold("main") {
            Some(hold) => {
                assert!(hold.from == 9 || turn > 23 * 180, "but for the last hour, when a single request counts: {hold:?}");
                waits_since.get_or_insert(turn);
            }
            None => desk.purse().take(&low, Purpose::Write, 15).expect("tokens"),
        }
        if turn == 6 * 180 {
            // Spent after 100,000 / 1.5 s, at 18:31. What the others need is left when 100,000 = 1.5 t + 0.75 (86,400 - t): at 13:02.
            let outlook = desk.ledger.outlook("main").expect("an outlook");
            assert!(outlook.starts_with("at this rate the budget of main is spent at 18:"), "{outlook}");
            assert!(outlook.contains("; rules of priority 9 and lower wait from 1"), "{outlook}");
            let forecast = desk.ledger.report("main", 0).forecast;
            let near =
                |at: jiff::Timestamp, time: &str| at.duration_since(time.parse().expect("a time")).as_secs().abs() < 15 * 60;
            assert!(forecast.spent_at.is_some_and(|at| near(at, "2026-03-02T18:31:00Z")), "{forecast:?}");
            assert!(forecast.waits.as_ref().is_some_and(|waits| near(waits.from, "2026-03-02T13:02:00Z")), "{forecast:?}");
        }
        desk.days.pass(20);
    }
    let since = waits_since.expect("the low ones wait") / 3;
    assert!((12 * 60 + 45..13 * 60 + 15).contains(&since), "{}:{:02}", since / 60, since % 60);
    let spent = desk.ledger.report("main", 1).days[0].spent.tokens;
    assert!((95_000..=100_000).contains(&spent), "and little is left over: {spent}");
}

#[tokio::test]
async fn the_forecast_says_why_rules_wait_and_lets_them_go_when_it_suffices() {
    let desk = Desk::open("2026-03-02T12:00:00Z").await;
    desk.limit(10_000, 10, 0);
    // A burst of the highest priority: 2 tokens a second until midnight would be 86,400.
    desk.purse().take(&rule("high", 0), Purpose::Write, 3600).expect("tokens");
    let hold = desk.ledger.hold("main").expect("a hold");
    assert_eq!((hold.from, hold.begun_too), (5, false), "the next level that there is");
    assert_eq!(
        hold.reason,
        "waits for the budget of main: rules of a higher priority need 86,400 tokens until the reset at 2026-03-03 00:00 UTC at their \
         present rate, and 5,400 of 10,000 are left besides the reserve; rules of priority 5 and lower go on then, or when the forecast \
         suffices"
    );
    assert!(desk.ledger.holds("main", 5) && desk.ledger.holds("main", 9) && !desk.ledger.holds("main", 4));
    let waits = desk.ledger.outlook("main").expect("an outlook");
    assert!(waits.ends_with("rules of priority 5 and lower wait already"), "{waits}");
    assert!(desk.ledger.report("main", 0).waiting.is_some());
    desk.purse().take(&Caller::background(), Purpose::Mirror, 10).expect_err("nobody waits for it");
    desk.purse().take(&Caller::housekeeping(), Purpose::Metadata, 10).expect("tokens");
    // It was a burst: in two hours nothing of it is left.
    desk.days.pass(2 * 3600);
    assert_eq!(desk.ledger.hold("main"), None);
    assert_eq!(desk.ledger.outlook("main"), None);
    desk.purse().take(&Caller::background(), Purpose::Mirror, 10).expect("tokens");
}

#[tokio::test]
async fn rules_of_one_priority_do_not_wait_for_each_other() {
    let desk = Desk::open("2026-03-02T12:00:00Z").await;
    let budget = BudgetConfig { tokens_per_day: 10_000, reserve: Share(10), reset: ResetHour(0) };
    desk.ledger.configure("main", Some(budget), BTreeSet::from([5]));
    desk.purse().take(&rule("person", 5), Purpose::Write, 3600).expect("tokens");
    assert_eq!(desk.ledger.hold("main"), None);
    assert_eq!(
        desk.ledger.outlook("main").expect("an outlook"),
        "at this rate the budget of main is spent at 12:45 UTC; then all its rules wait until 2026-03-03 00:00 UTC"
    );
}

#[tokio::test(start_paused = true)]
async fn the_keeper_stores_and_measures_every_second() {
    let desk = Desk::open("2026-03-02T12:00:00Z").await;
    desk.limit(10_000, 10, 0);
    let (stop, stopping) = tokio::sync::watch::channel(false);
    let keeping = tokio::spawn(desk.ledger.clone().keep(stopping));
    desk.purse().take(&rule("person", 5), Purpose::Write, 1800).expect("tokens");
    let mut changes = desk.ledger.changes();
    changes.changed().await.expect("a beat");
    changes.changed().await.expect("another");
    stop.send_replace(true);
    keeping.await.expect("it ends");
    let metrics = desk.metrics.render();
    for line in [
        r#"pipewright_pipedrive_tokens_left{account="main"} 7200"#,
        r#"pipewright_pipedrive_tokens_needed{account="main"} 43200"#,
    ] {
        assert!(metrics.contains(line), "{line} is missing in:\n{metrics}");
    }
    assert_eq!(desk.crash().await.spent(), 1800);
}
