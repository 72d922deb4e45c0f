//! Whether what the account holds and what the records say is what the story asks for.

use std::collections::{BTreeMap, BTreeSet};

use pipewright::mock::{Mock, MockExchange};
use pipewright::pipedrive::Method;
use serde_json::{Value, json};

use super::super::harness::Daemon;
use super::story::{SHARED, Story, User};
use crate::support::get;

pub(super) async fn judge(story: &Story, mock: &Mock, daemon: &Daemon, calm: bool) {
    let said = || format!("the program said:\n{}", daemon.process.said());
    let deliveries = deliveries(daemon).await;
    // Everything ended well, and once: one delivery an event.
    let mut by_event: BTreeMap<&str, usize> = BTreeMap::new();
    for delivery in &deliveries {
        let may_be_uncertain = delivery["id"].as_str().is_some_and(|id| id.ends_with("/raw") || id.ends_with("/lead"));
        let ended = delivery["state"] == "done" || may_be_uncertain && delivery["state"] == "uncertain";
        assert!(ended, "{delivery:#}\n{}", said());
        *by_event.entry(delivery["message_id"].as_str().expect("an id")).or_default() += 1;
    }
    let sent = story.users.iter().flat_map(|user| &user.events).map(|event| event["messageId"].as_str().expect("an id"));
    assert_eq!(by_event, sent.map(|id| (id, 1)).collect(), "deliveries of each event");
    let uncertain: BTreeSet<&str> =
        deliveries.iter().filter(|d| d["state"] == "uncertain").filter_map(|d| d["message_id"].as_str()).collect();
    for user in &story.users {
        once(user, mock);
        perhaps(user, mock, &uncertain);
        in_order(user, mock);
    }
    shared(story, mock);
    explained(mock, daemon, &deliveries, calm).await;
}

/// Whatever users added to the list of the person whom they share is in it.
fn shared(story: &Story, mock: &Mock) {
    let person = mock.entities("persons").into_iter().find(|person| person["name"] == SHARED).expect("it is there");
    let phones = person["phones"].as_array().into_iter().flatten().filter_map(|phone| phone["value"].as_str());
    let mut phones: Vec<String> = phones.map(str::to_owned).collect();
    phones.sort();
    let mut added: Vec<String> = story.users.iter().flat_map(|user| user.phones.iter().cloned()).collect();
    added.sort();
    assert_eq!(phones, added, "phones of the person whom all share");
}

/// Each thing is there, and there once.
fn once(user: &User, mock: &Mock) {
    let name = &user.name;
    let persons = mock.find("persons", "Segment User ID", &json!(name));
    assert_eq!(persons.len(), 1, "persons of {name}: {persons:#?}");
    assert_eq!(persons[0]["job_title"], user.step, "the last step of {name}");
    let companies = mock.find("organizations", "Segment Group ID", &json!(user.company));
    assert_eq!(companies.len(), 1, "organizations {}: {companies:#?}", user.company);
    assert_eq!(persons[0]["org_id"], companies[0]["id"]);
    let deals = mock.find("deals", "Segment Deal ID", &json!(format!("d-{name}")));
    let titles: Vec<&Value> = deals.iter().map(|deal| &deal["title"]).collect();
    assert_eq!(titles, user.deal.iter().collect::<Vec<_>>(), "deals of {name}");
    for (kind, field, wanted) in [("notes", "content", &user.notes), ("activities", "subject", &user.tasks)] {
        assert_eq!(texts(kind, field, name, mock), *wanted, "{kind} of {name}");
    }
    let twins = mock.find("persons", "Segment User ID", &json!(format!("{name}-twin"))).len();
    assert_eq!(twins, usize::from(user.twin == Some(false)), "a twin of {name}");
}

/// What the texts of a user's records are, sorted.
fn texts(kind: &str, field: &str, name: &str, mock: &Mock) -> Vec<String> {
    let of_user = |record: &Value| record[field].as_str().filter(|text| text.starts_with(&format!("{name} "))).map(str::to_owned);
    let mut found: Vec<String> = mock.entities(kind).iter().filter_map(of_user).collect();
    found.sort();
    found
}

/// What is never sent twice by itself is there once; only where its answer was lost may it be missing, and then its delivery says so.
fn perhaps(user: &User, mock: &Mock, uncertain: &BTreeSet<&str>) {
    let name = &user.name;
    let in_doubt = |what: &str| {
        let of = |event: &&Value| {
            event["properties"]["text"] == what && event["event"] == "Raw"
                || event["properties"]["lead"] == what && event["properties"]["won"] == true
        };
        user.events.iter().filter(of).any(|event| uncertain.contains(event["messageId"].as_str().expect("an id")))
    };
    let raw = texts("organizations", "name", name, mock);
    for text in &user.raw {
        let made = raw.iter().filter(|made| *made == text).count();
        assert!(made == 1 || made == 0 && in_doubt(text), "{made} organizations {text}");
    }
    let (leads, deals) = (texts("leads", "title", name, mock), texts("deals", "title", name, mock));
    let expected = |there: &[String], text: &String| there.iter().filter(|title| *title == text).count();
    for text in &user.leads {
        assert_eq!(
            (expected(&leads, text), expected(&deals, text) - usize::from(user.deal.as_ref() == Some(text))),
            (1, 0),
            "the lead {text}"
        );
    }
    for text in &user.won {
        let made = (expected(&leads, text), expected(&deals, text));
        assert!(made == (0, 1) || made == (1, 0) && in_doubt(text), "the lead {text} as lead and deal: {made:?}");
    }
}

/// What was carried out for one record never goes back to an earlier event.
fn in_order(user: &User, mock: &Mock) {
    for field in ["job_title", "title"] {
        let of_user = |exchange: &MockExchange| {
            let text = exchange.body.as_ref()?.get(field)?.as_str()?.to_owned();
            let lead = exchange.path.contains("/leads");
            (text.starts_with(&format!("{} ", user.name)) && !lead).then_some(text)
        };
        let steps: Vec<String> = mock.writes().iter().filter_map(of_user).collect();
        assert!(steps.is_sorted(), "{field} of {} went back: {steps:?}", user.name);
    }
}

async fn deliveries(daemon: &Daemon) -> Vec<Value> {
    let list = get(daemon.admin, "/api/events?limit=1000").await.json();
    list["deliveries"].as_array().unwrap_or_else(|| panic!("{list:#}")).clone()
}

/// Requests and tokens.
#[derive(Debug, Default, PartialEq, Eq)]
struct Spent(u64, u64);

/// Kinds of records as paths have them; what else is asked for is about the account.
const RECORDS: [&str; 7] = ["persons", "organizations", "deals", "leads", "activities", "notes", "itemSearch"];

/// What one request costs at most.
const DEAREST: u64 = 40;

/// What the account has seen, and how many requests of it it did not carry out.
fn spent_on_records(mock: &Mock) -> (Spent, u64) {
    let log = mock.log();
    let on_records = || log.iter().filter(|e| e.path.split('/').nth(3).is_some_and(|of| RECORDS.contains(&of)));
    let refused = on_records().filter(|e| !e.carried_out).count() as u64;
    (on_records().fold(Spent::default(), |sum, e| Spent(sum.0 + 1, sum.1 + u64::from(e.tokens))), refused)
}

/// What a decision record tells of.
fn told(record: &Value) -> Spent {
    let of = |of: &Value, key: &str| of[key].as_u64().unwrap_or_default();
    let replaced = Spent(of(&record["replaced"], "requests"), of(&record["replaced"], "tokens"));
    let exchanges = record["exchanges"].as_array().into_iter().flatten().filter(|e| e["purpose"] != "metadata");
    exchanges.fold(replaced, |sum, e| Spent(sum.0 + 1, sum.1 + of(e, "tokens")))
}

/// Every record in the account is the work of a delivery that says so, and every write that was carried out is about one of them. Where
/// nothing died, every request and every token is told of.
async fn explained(mock: &Mock, daemon: &Daemon, deliveries: &[Value], calm: bool) {
    let mut touched: BTreeSet<(String, String)> = BTreeSet::new();
    let (mut in_records, mut unanswered) = (Spent::default(), 0);
    for delivery in deliveries {
        let path = format!("/api/events/{}", delivery["id"].as_str().expect("seq/rule"));
        let shown = get(daemon.admin, &path).await.json();
        let records = shown["events"][0]["deliveries"][0]["records"].as_array().unwrap_or_else(|| panic!("{shown:#}"));
        for record in records {
            let exchanges = record["exchanges"].as_array().into_iter().flatten();
            unanswered += exchanges.filter(|exchange| exchange["status"].is_null()).count() as u64;
            // Of these the answers are not told any more.
            unanswered += record["replaced"]["requests"].as_u64().unwrap_or_default();
            let told = told(record);
            in_records = Spent(in_records.0 + told.0, in_records.1 + told.1);
        }
        for step in records.iter().flat_map(|record| record["steps"].as_array().into_iter().flatten()) {
            let id = &step["state"]["id"];
            if let (Some(kind), false) = (step["kind"].as_str(), id.is_null()) {
                // A lead that became a deal has the deal's id, a number.
                let kind = if kind == "lead" && id.is_number() { "deal" } else { kind };
                touched.insert((kind.to_owned(), id.as_str().map_or_else(|| id.to_string(), str::to_owned)));
            }
        }
    }
    if calm {
        let (at_account, refused) = spent_on_records(mock);
        // Where nobody answered, it may not have arrived.
        let never_arrived = in_records.0.checked_sub(at_account.0);
        assert!(
            never_arrived.is_some_and(|count| count <= unanswered),
            "{in_records:?}, at the account {at_account:?}, {unanswered} without an answer"
        );
        let refused = refused + never_arrived.unwrap_or_default();
        // What was not carried out is counted as if it had been: nobody says whether it is charged.
        let excess = in_records.1.checked_sub(at_account.1);
        assert!(
            excess.is_some_and(|excess| excess <= refused * DEAREST),
            "{in_records:?}, at the account {at_account:?}, {refused} refused"
        );
    }
    for (kind, path) in [
        ("person", "persons"),
        ("organization", "organizations"),
        ("deal", "deals"),
        ("lead", "leads"),
        ("activity", "activities"),
        ("note", "notes"),
    ] {
        let known = |id: &str| touched.contains(&(kind.to_owned(), id.to_owned()));
        for record in mock.entities(path) {
            let id = record["id"].as_str().map_or_else(|| record["id"].to_string(), str::to_owned);
            // A raw request's answer is not looked into.
            let raw = kind == "person" && record["name"] == SHARED
                || kind == "organization" && record["name"].as_str().is_some_and(|name| name.starts_with('u'));
            assert!(raw || known(&id), "no record tells of {kind} {id}: {touched:?}");
        }
        for write in mock.writes().iter().filter(|write| write.method != Method::Post) {
            let mut parts = write.path.rsplit('/');
            if let (Some(id), Some(of)) = (parts.next(), parts.next())
                && of == path
            {
                assert!(known(id), "no record tells of {}: {touched:?}", write.call());
            }
        }
    }
}
