//! Lists that are kept: what a miss costs, what others did since, failures, restarts.

use std::time::Duration;

use pipewright::config::MirrorMode;
use pipewright::crm::Standing;
use pipewright::mock::{Fault, FaultMatch, Hold, MockExchange};
use pipewright::pipedrive::Method;
use pipewright::store::DeliveryState;
use serde_json::{Value, json};

use super::harness::{Rig, Setup};

/// A day: search sees nothing of what a test writes.
const BLIND: Duration = Duration::from_secs(86_400);

/// A person by user id, else by e-mail.
const TWO: &str = r#"
fn handle(event) {
    let t = event.traits;
    person::upsert([#{ "Segment User ID": event.userId }, #{ email: t?.email }], #{ name: t?.name, emails: t?.email });
}
"#;

async fn mirrored() -> Rig {
    let rig = Setup::person(TWO).mirrored().start().await;
    rig.mock.set_search_lag(BLIND);
    rig
}

fn person(rig: &Rig, email: &str) -> Value {
    rig.aside("/api/v2/persons", json!({ "name": "By hand", "emails": [{ "value": email }] }))["id"].clone()
}

fn log(rig: &Rig) -> Vec<String> {
    rig.mock.log().iter().map(MockExchange::call).collect()
}

/// The lists of persons that were asked for: `all` or `since`.
fn lists(rig: &Rig) -> Vec<&'static str> {
    let all = rig.queries("/api/v2/persons");
    all.iter().map(|query| if query.contains("updated_since=") { "since" } else { "all" }).collect()
}

#[tokio::test]
async fn a_cold_start_reads_one_page_and_a_miss_asks_for_what_has_changed() {
    let rig = mirrored().await;
    let ada = person(&rig, "Ada@Acme.com");
    rig.mock.clear_log();
    rig.run("u1", json!({ "name": "Ada", "email": "ada@acme.com" })).await;
    assert_eq!(
        log(&rig),
        ["GET /api/v2/persons".to_owned(), format!("GET /api/v2/persons/{ada}"), format!("PATCH /api/v2/persons/{ada}")]
    );
    // Who was entered since is known by the sweep, whatever the search lags behind.
    let bob = person(&rig, "bob@acme.com");
    rig.mock.clear_log();
    rig.run("u2", json!({ "name": "Bob", "email": "bob@acme.com" })).await;
    assert_eq!((lists(&rig)[0], rig.person("u2")["id"].clone()), ("since", bob));
    rig.mock.clear_log();
    let row = rig.run("u3", json!({ "name": "Cy", "email": "cy@acme.com" })).await;
    assert_eq!((lists(&rig), rig.writes().len(), rig.mock.count("persons")), (vec!["since"], 1, 3));
    // The look-up stands in the record of the one that needed it.
    let record = rig.record(&row.id).await;
    assert_eq!((record["exchanges"][0]["purpose"].as_str(), record["tokens"].as_u64()), (Some("mirror"), Some(15)), "{record:#}");
    assert!(rig.calls(Method::Get, "earch").is_empty());
    let status = rig.account_status().await.mirror;
    let persons = &status[0];
    assert!(
        matches!(persons.standing, Standing::Complete { records: 1, .. }) && persons.why.starts_with("complete: "),
        "{status:?}"
    );
    assert!(status[1].why.starts_with("the first look-up that misses reads a page"), "{status:?}");
}

#[tokio::test]
async fn a_kind_that_is_always_mirrored_is_read_at_the_start() {
    let rig = Setup::person(TWO).account("mirror = { person = \"on\", organization = \"off\" }").own_mirror().start().await;
    crate::support::wait_until("the list is read", async || {
        let status = rig.account_status().await.mirror;
        matches!(status[0].standing, Standing::Complete { .. }).then_some(())
    })
    .await;
    let status = rig.account_status().await.mirror;
    assert_eq!((status[1].mode, status[2].mode), (MirrorMode::Off, MirrorMode::Auto));
    rig.mock.clear_log();
    rig.run("u1", json!({ "name": "Ada", "email": "ada@acme.com" })).await;
    assert_eq!(lists(&rig), ["since"]);
}

#[tokio::test]
async fn all_who_miss_while_a_sweep_is_under_way_wait_for_the_next_one() {
    let rig = mirrored().await;
    rig.run("u0", json!({ "name": "U", "email": "u0@acme.com" })).await;
    rig.mock.clear_log();
    let hold = Hold::new();
    rig.mock.fail_matching(FaultMatch::next(Method::Get, "/api/v2/persons"), Fault::Hold(hold.clone()));
    rig.identify("u1", json!({ "name": "U", "email": "u1@acme.com" })).await;
    hold.reached().await;
    let others: Vec<String> = (2..22).map(|n| format!("u{n}")).collect();
    for user in &others {
        rig.identify(user, json!({ "name": "U", "email": format!("{user}@acme.com") })).await;
    }
    // More than `concurrency`: those who wait take nobody's place.
    crate::support::wait_until("all wait", async || (rig.status().await.running == 21).then_some(())).await;
    hold.release();
    rig.settled().await;
    assert_eq!((lists(&rig), rig.mock.count("persons")), (vec!["since", "since"], 22));
}

#[tokio::test]
async fn a_failed_sweep_is_a_failure_and_no_miss() {
    let rig = mirrored().await;
    rig.run("u0", json!({ "name": "U", "email": "u0@acme.com" })).await;
    person(&rig, "ada@acme.com");
    let fault = FaultMatch { times: 2, ..FaultMatch::always("updated_since") };
    rig.mock.fail_matching(FaultMatch { path: Some("/api/v2/persons".to_owned()), ..fault }, Fault::NoConnection);
    let row = rig.run("u1", json!({ "name": "Ada", "email": "ada@acme.com" })).await;
    assert_eq!((row.state, row.attempts, rig.mock.count("persons")), (DeliveryState::Done, 2, 2));
}

#[tokio::test]
async fn a_restart_goes_on_where_the_lists_stood() {
    let mut rig = mirrored().await;
    person(&rig, "ada@acme.com");
    rig.run("u0", json!({ "name": "U", "email": "u0@acme.com" })).await;
    let bob = person(&rig, "bob@acme.com");
    rig.restart().await;
    rig.mock.clear_log();
    rig.run("u1", json!({ "name": "Ada", "email": "ada@acme.com" })).await;
    rig.run("u2", json!({ "name": "Bob", "email": "bob@acme.com" })).await;
    let asked = lists(&rig);
    assert!(asked.contains(&"since") && !asked.contains(&"all"), "{asked:?}");
    assert_eq!((rig.person("u2")["id"].clone(), rig.mock.count("persons")), (bob, 3));
}

#[tokio::test]
async fn a_long_list_is_read_a_page_a_miss_beside_the_search_and_goes_on_after_a_crash() {
    let mut rig = Setup::person(TWO).mirrored().start_apart().await;
    for n in 0..1_050 {
        person(&rig, &format!("p{n}@acme.com"));
    }
    rig.mock.clear_log();
    rig.run("u1", json!({ "name": "A", "email": "p1040@acme.com" })).await;
    // Two criteria, a page and a search each.
    assert_eq!((lists(&rig), rig.calls(Method::Get, "earch").len()), (vec!["all", "all"], 2), "{:?}", log(&rig));
    rig.crash().await;
    rig.mock.clear_log();
    rig.run("u2", json!({ "name": "B", "email": "p1041@acme.com" })).await;
    let pages = rig.queries("/api/v2/persons");
    let swept = pages[1..].iter().all(|query| query.contains("updated_since="));
    assert!(pages[0].contains("sort_by=id&cursor=") && pages.len() > 1 && swept, "{pages:?}");
    assert!(rig.calls(Method::Get, "earch").is_empty(), "the last page made it complete: {:?}", log(&rig));
    assert_eq!(rig.mock.count("persons"), 1_050);
}

#[tokio::test]
async fn another_field_to_match_by_has_the_list_read_again_with_it() {
    let rig = mirrored().await;
    rig.run("u1", json!({ "name": "Ada", "email": "ada@acme.com" })).await;
    rig.edit("person", r#"fn handle(event) { person::upsert(#{ name: event.traits.name }, #{ "Plan": "Pro" }); }"#).await;
    rig.mock.clear_log();
    rig.run("u2", json!({ "name": "ada" })).await;
    assert_eq!((lists(&rig)[0], rig.mock.count("persons")), ("all", 1));
}

#[tokio::test]
async fn who_waits_for_a_link_hears_of_it_when_a_sweep_finds_it() {
    let rig = Setup::person(TWO)
        .rule(
            "deal",
            "type = \"track\"",
            r#"fn handle(event) {
                deal::upsert(#{ "Segment Deal ID": event.properties.id }, #{ title: "Big", person_id: by(#{ email: event.properties.email }) });
            }"#,
        )
        .mirrored()
        .start()
        .await;
    let deal = rig.track("u1", "Deal", json!({ "id": "d1", "email": "ada@acme.com" })).await;
    crate::support::wait_until("it waits", async || (rig.status().await.parked == 1).then_some(())).await;
    let ada = person(&rig, "ada@acme.com");
    rig.identify("u2", json!({ "name": "B", "email": "bob@acme.com" })).await;
    rig.settled().await;
    assert_eq!(rig.row(&deal).await.state, DeliveryState::Done);
    assert_eq!(rig.mock.entities("deals")[0]["person_id"], ada);
}

#[tokio::test]
async fn archived_deals_are_in_the_list() {
    let script = r#"fn handle(event) { deal::upsert(#{ "Segment Deal ID": event.userId }, #{ title: event.traits.title, person_id: 1 }); }"#;
    let rig = Setup::new().rule("deal", "type = \"identify\"", script).mirrored().start().await;
    rig.mock.set_search_lag(BLIND);
    person(&rig, "ada@acme.com");
    let key = rig.key("deals", "Segment Deal ID");
    let deal =
        rig.aside("/api/v2/deals", json!({ "title": "Old", "person_id": 1, "custom_fields": { key: "d1" } }))["id"].clone();
    rig.by_hand("deals", &deal, json!({ "is_archived": true }));
    let row = rig.run("d1", json!({ "title": "New" })).await;
    // Pipedrive changes no archived deal: that is said, and no second one is made.
    assert_eq!((row.state, rig.mock.count("deals")), (DeliveryState::Dead, 1), "{row:?}");
    assert!(row.reason.is_some_and(|reason| reason.contains("archived")));
}

#[tokio::test]
async fn without_a_mirror_the_search_is_asked() {
    let rig = Setup::person(TWO).start().await;
    rig.mock.clear_log();
    rig.run("u1", json!({ "name": "Ada", "email": "ada@acme.com" })).await;
    assert_eq!((lists(&rig).len(), rig.calls(Method::Get, "earch").len()), (0, 2));
}

const DIFFERS: &str = "write = \"differs\"\nreread_after = \"1h\"";

#[tokio::test]
async fn what_people_changed_is_told_by_the_sweep_of_another() {
    let rig = Setup::new().rule_with("person", "type = \"identify\"", TWO, DIFFERS).mirrored().start().await;
    rig.mock.set_search_lag(BLIND);
    let ada = async || {
        rig.mock.clear_log();
        rig.run("u1", json!({ "name": "Ada", "email": "ada@acme.com" })).await;
        log(&rig)
    };
    ada().await;
    let id = rig.person("u1")["id"].clone();
    // A list says which of two changes is newer by whole seconds.
    rig.mock.advance(Duration::from_secs(5));
    rig.by_hand("person", &id, json!({ "name": "Countess" }));
    assert_eq!(ada().await, [""; 0], "nobody has told yet, and what was seen is trusted for an hour");
    rig.run("u2", json!({ "name": "Bob" })).await;
    assert_eq!(ada().await, [format!("PATCH /api/v2/persons/{id}")], "and nothing had to be read");
    assert_eq!(rig.person("u1")["name"], "Ada");
}

#[tokio::test]
async fn what_was_seen_before_a_sweep_is_as_good_as_of_the_sweep() {
    for (mirrored, read) in [(true, 0), (false, 1)] {
        let setup = Setup::new().rule_with("person", "type = \"identify\"", TWO, DIFFERS);
        let rig = if mirrored { setup.mirrored().start().await } else { setup.start().await };
        rig.run("u1", json!({ "name": "Ada", "email": "ada@acme.com" })).await;
        let id = rig.person("u1")["id"].to_string();
        super::writes::age(&rig, 7_200).await;
        rig.mock.clear_log();
        rig.run("u1", json!({ "name": "Ada", "email": "ada@acme.com" })).await;
        assert_eq!(rig.calls(Method::Get, &format!("/persons/{id}")).len(), read, "{:?}", log(&rig));
    }
}
