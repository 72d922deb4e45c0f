//! The six actions as shipped: the events of Segment's defaults, sent over HTTP, and what stands in the account afterwards.

use serde_json::{Value, json};

use super::harness::{Daemon, Folder};

const USER: &str = "e2e-user";
const GROUP: &str = "e2e-group";

fn track(event: &str, properties: Value) -> Value {
    json!({ "type": "track", "userId": USER, "event": event, "properties": properties })
}

fn of_group(mut event: Value) -> Value {
    event["context"] = json!({ "groupId": GROUP });
    event
}

#[tokio::test]
async fn the_default_events_of_all_six_actions_make_linked_records() {
    let folder = Folder::init().await;
    let daemon = Daemon::mocked(&folder).await;
    let account = daemon.account();

    let events = [
        json!({ "type": "group", "userId": USER, "groupId": GROUP,
                "traits": { "name": "Difference Engines", "website": "https://engines.example" } }),
        json!({ "type": "identify", "userId": USER,
                "traits": { "firstName": "Ada", "lastName": "King", "email": "ada@engines.example", "phone": "+1 415 555 0134" } }),
        track(
            "Deal Upserted",
            json!({ "deal_id": "d1", "title": "Engine", "value": "1250.50", "currency": "EUR", "stage": "Proposal" }),
        ),
        track("Lead Upserted", json!({ "title": "Second engine", "amount": 99, "currency": "EUR" })),
        track("Activity Upserted", json!({ "subject": "Call Ada", "type": "call", "due_date": "2026-12-24", "deal_id": "d1" })),
        track("Note Upserted", json!({ "content": "Wants <two> engines", "deal_id": "d1" })),
    ];
    let reply = daemon.send("/v1/batch", &json!({ "batch": events.map(of_group) })).await;
    assert_eq!((reply.status, reply.json()), (200, json!({ "success": true })));
    daemon.done(USER, 6).await;

    let person = account.person(USER).await;
    let mut organizations = account.with("organizations", "Segment Group ID", GROUP).await;
    assert_eq!(organizations.len(), 1, "group and identify meant the same one");
    let organization = organizations.remove(0);
    assert_eq!(organization["name"], "Difference Engines");
    assert_eq!(organization["website"], "https://engines.example");
    assert_eq!(person["name"], "Ada King");
    assert_eq!(person["emails"][0]["value"], "ada@engines.example");
    assert_eq!(person["phones"][0]["value"], "+1 415 555 0134");
    assert_eq!(person["org_id"], organization["id"]);

    let id = &person["id"];
    let deals = account.list(&format!("/api/v2/deals?person_id={id}")).await;
    assert_eq!(deals.len(), 1, "{deals:#?}");
    let deal = &deals[0];
    assert_eq!((&deal["title"], &deal["value"], &deal["currency"]), (&json!("Engine"), &json!(1250.5), &json!("EUR")));
    assert_eq!(deal["org_id"], organization["id"]);
    let stages = account.list("/api/v2/stages").await;
    assert!(stages.iter().any(|s| s["id"] == deal["stage_id"] && s["name"] == "Proposal"), "{deal:#}");

    let leads = account.list(&format!("/api/v1/leads?person_id={id}")).await;
    assert_eq!(leads.len(), 1, "{leads:#?}");
    assert_eq!((&leads[0]["title"], &leads[0]["value"]), (&json!("Second engine"), &json!({ "amount": 99, "currency": "EUR" })));
    assert_eq!(leads[0]["organization_id"], organization["id"]);

    let activities = account.list(&format!("/api/v2/activities?deal_id={}", deal["id"])).await;
    assert_eq!(activities.len(), 1, "{activities:#?}");
    let activity = &activities[0];
    assert_eq!((&activity["subject"], &activity["type"]), (&json!("Call Ada"), &json!("call")));
    assert_eq!((&activity["due_date"], &activity["person_id"]), (&json!("2026-12-24"), id));
    assert_eq!(activity["org_id"], organization["id"]);

    let notes = account.list(&format!("/api/v1/notes?deal_id={}", deal["id"])).await;
    assert_eq!(notes.len(), 1, "{notes:#?}");
    assert_eq!(notes[0]["content"], "Wants &lt;two&gt; engines", "text is escaped");
    assert_eq!((&notes[0]["person_id"], &notes[0]["org_id"]), (id, &organization["id"]));
}

#[tokio::test]
async fn later_events_update_what_earlier_ones_made() {
    let folder = Folder::init().await;
    let daemon = Daemon::mocked(&folder).await;
    let account = daemon.account();
    let identify = |traits: Value| json!({ "type": "identify", "userId": USER, "traits": traits });
    daemon.accept("/v1/identify", &identify(json!({ "name": "Ada", "email": "ada@one.example" }))).await;
    daemon.accept("/v1/track", &track("Deal Upserted", json!({ "deal_id": "d1", "title": "Engine", "value": 1 }))).await;
    daemon.accept("/v1/identify", &identify(json!({ "name": "Ada King", "email": "ada@two.example" }))).await;
    daemon.accept("/v1/track", &track("Deal Upserted", json!({ "deal_id": "d1", "status": "won" }))).await;
    daemon.done(USER, 4).await;

    let person = account.person(USER).await;
    assert_eq!(person["name"], "Ada King");
    let emails: Vec<_> = person["emails"].as_array().expect("a list").iter().map(|e| e["value"].clone()).collect();
    assert_eq!(emails, ["ada@one.example", "ada@two.example"], "addresses are added");
    let deals = account.with("deals", "Segment Deal ID", "d1").await;
    assert_eq!(deals.len(), 1, "{deals:#?}");
    assert_eq!((&deals[0]["title"], &deals[0]["status"]), (&json!("Engine"), &json!("won")));
}

#[tokio::test]
async fn a_deal_that_comes_before_its_person_waits_and_is_linked() {
    let folder = Folder::init().await;
    let daemon = Daemon::mocked(&folder).await;
    // In one lane: the deal is first and must step aside for the event that makes its person.
    daemon.accept("/v1/track", &track("Deal Upserted", json!({ "deal_id": "d1", "title": "Engine" }))).await;
    let event = json!({ "type": "identify", "userId": USER, "traits": { "name": "Ada" } });
    daemon.accept("/v1/identify", &event).await;
    daemon.done(USER, 2).await;
    let person = daemon.account().person(USER).await;
    let deals = daemon.account().with("deals", "Segment Deal ID", "d1").await;
    assert_eq!(deals.len(), 1, "{deals:#?}");
    assert_eq!(deals[0]["person_id"], person["id"]);
}
