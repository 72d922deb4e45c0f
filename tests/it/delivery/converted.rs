//! What is written to a lead that became a deal goes to the deal.

use std::time::Duration;

use pipewright::pipedrive::{Method, Request};
use pipewright::store::DeliveryState;
use serde_json::{Value, json};

use super::harness::{PERSON, Rig, Setup};

/// A lead by id, else by key, with whatever fields the event has; a note and an activity about it.
const LEAD: &str = r#"
fn handle(event) {
    let p = event.properties;
    let lead = lead::upsert(
        [#{ id: p?.lead_id }, #{ "Segment Deal ID": p?.key }],
        p?.fields ?? #{},
        #{ on_create: #{ title: "Chance", person_id: by(event.userId) } });
    if p?.note != () {
        note::create(#{ content: p.note, lead_id: lead, pinned_to_lead_flag: true });
        activity::create(#{ subject: p.note, lead_id: lead });
    }
}
"#;
const CONVERT: &str = "fn handle(event) { lead::convert(#{ \"Segment Deal ID\": event.properties.key }); }";
const UPDATE: &str = "fn handle(event) { lead::update(event.properties.lead_id, event.properties.fields); }";
const NOTE: &str = r#"
fn handle(event) {
    let p = event.properties;
    note::create(#{ content: "By a link", person_id: by(event.userId), lead_id: p?.lead_id ?? by(#{ "Segment Deal ID": p?.key }) });
}
"#;
const DEAL: &str = r#"
fn handle(event) {
    deal::upsert(#{ "Segment Deal ID": event.properties.key }, #{ probability: 40 }, #{ on_create: #{ title: "Another" }, unlinked: true });
}
"#;
const DELETE: &str = "fn handle(event) { lead::delete(#{ \"Segment Deal ID\": event.properties.key }); }";

/// A person `u1` with the lead `k1`, which our rule made.
async fn rig() -> (Rig, Value) {
    let rig = Setup::person(PERSON)
        .rule("lead", "event = \"Lead\"", LEAD)
        .rule("convert", "event = \"Won\"", CONVERT)
        .rule("update", "event = \"Updated\"", UPDATE)
        .rule("note", "event = \"Noted\"", NOTE)
        .rule("deal", "event = \"Deal\"", DEAL)
        .rule("gone", "event = \"Gone\"", DELETE)
        .start()
        .await;
    // Nothing here may hang on the search.
    rig.mock.set_search_lag(Duration::from_secs(3600));
    rig.run("u1", json!({ "name": "Ada" })).await;
    sent(&rig, "Lead", json!({ "key": "k1", "fields": { "title": "Chance", "value": { "amount": 5, "currency": "USD" } } }))
        .await;
    let lead = rig.mock.entities("leads")[0]["id"].clone();
    (rig, lead)
}

/// The delivery's record, whose outcome is among them.
async fn sent(rig: &Rig, name: &str, properties: Value) -> Value {
    let message = rig.track("u1", name, properties).await;
    rig.settled().await;
    let row = rig.row(&message).await;
    rig.record(&row.id).await
}

async fn done(rig: &Rig, name: &str, properties: Value) -> Value {
    let record = sent(rig, name, properties).await;
    assert_eq!(record["outcome"], DeliveryState::Done.as_str(), "{record:#}");
    record
}

fn by_people(rig: &Rig, lead: &Value) {
    rig.aside(&format!("/api/v2/leads/{}/convert/deal", lead.as_str().expect("a uuid")), json!({}));
}

/// The only deal, when no lead is left or was made anew.
fn deal(rig: &Rig) -> Value {
    let mut deals = rig.mock.entities("deals");
    assert_eq!((deals.len(), rig.mock.count("leads")), (1, 0), "{deals:#?}");
    deals.remove(0)
}

fn warnings(record: &Value) -> String {
    record["steps"].as_array().into_iter().flatten().map(|step| step["warnings"].to_string()).collect()
}

/// Everything that an event may say of the lead reaches its deal, whoever converted it.
async fn follows(rig: &Rig, lead: &Value) {
    let organization = rig.aside("/api/v2/organizations", json!({ "name": "Acme" }))["id"].clone();
    let fields = json!({
        "title": "Bigger chance", "value": { "amount": 7, "currency": "EUR" }, "expected_close_date": "2026-12-01", "org_id": organization,
        "labels": ["Hot"], "Description": "From the web", "was_seen": true,
    });
    let record = done(rig, "Lead", json!({ "key": "k1", "fields": fields })).await;
    let held = deal(rig);
    let description = rig.key("deals", "Description");
    let hot = rig.mock.option_id("deals", "label_ids", "Hot").expect("an option");
    assert_eq!((&held["title"], &held["value"], &held["currency"]), (&json!("Bigger chance"), &json!(7), &json!("EUR")));
    assert_eq!((&held["expected_close_date"], &held["org_id"]), (&json!("2026-12-01"), &organization));
    assert_eq!((&held["label_ids"], &held["custom_fields"][&description]), (&json!([hot]), &json!("From the web")));
    let said = warnings(&record);
    let line = format!("lead {} was converted to deal {}", lead.as_str().expect("a uuid"), held["id"]);
    assert_eq!(said.matches(&line).count(), 1, "{said}");
    assert!(said.contains("`was_seen`, which deals do not have"), "{said}");

    // By its id, in an update and in a match.
    done(rig, "Updated", json!({ "lead_id": lead, "fields": { "title": "By id" } })).await;
    assert_eq!(deal(rig)["title"], "By id");
    done(rig, "Lead", json!({ "lead_id": lead, "fields": { "title": "By a match" } })).await;
    assert_eq!(deal(rig)["title"], "By a match");

    // Notes and activities: by reference, by id, by criteria.
    done(rig, "Lead", json!({ "key": "k1", "note": "By reference" })).await;
    done(rig, "Noted", json!({ "lead_id": lead })).await;
    done(rig, "Noted", json!({ "key": "k1" })).await;
    let id = deal(rig)["id"].clone();
    let notes = rig.mock.entities("notes");
    assert_eq!(notes.len(), 3);
    assert!(notes.iter().all(|note| note["deal_id"] == id && note["lead_id"].is_null()), "{notes:#?}");
    assert_eq!(notes[0]["pinned_to_deal_flag"], true);
    assert_eq!(rig.mock.entities("activities")[0]["deal_id"], id);

    // The deal has the lead's key.
    done(rig, "Deal", json!({ "key": "k1" })).await;
    assert_eq!(deal(rig)["probability"], 40);

    // A delete of the lead is no delete of the deal.
    let record = sent(rig, "Gone", json!({ "key": "k1" })).await;
    assert_eq!(record["outcome"], DeliveryState::Skipped.as_str(), "{record:#}");
    deal(rig);
}

#[tokio::test]
async fn updates_notes_and_activities_of_a_lead_that_a_rule_converted_follow_its_deal() {
    let (rig, lead) = rig().await;
    done(&rig, "Won", json!({ "key": "k1" })).await;
    assert_eq!((&deal(&rig)["value"], &deal(&rig)["currency"]), (&json!(5), &json!("USD")));
    rig.mock.clear_log();
    follows(&rig, &lead).await;
    assert!(rig.calls(Method::Get, "/api/v1/leads").is_empty(), "what a rule converted is known");
}

#[tokio::test]
async fn updates_notes_and_activities_of_a_lead_that_people_converted_follow_its_deal() {
    let (rig, lead) = rig().await;
    by_people(&rig, &lead);
    rig.mock.clear_log();
    follows(&rig, &lead).await;
    // It is looked for once; from then on it is known.
    let lists = rig.calls(Method::Get, "/api/v2/deals");
    let looks = lists.iter().filter(|list| list.query.iter().any(|(name, _)| name == "include_fields")).count();
    assert_eq!(looks, 1, "{lists:#?}");
    assert_eq!(rig.calls(Method::Get, "/api/v1/leads").len(), 1);
}

#[tokio::test]
async fn a_note_about_a_lead_that_people_converted_is_made_once_at_the_deal() {
    for by_id in [true, false] {
        let (rig, lead) = rig().await;
        by_people(&rig, &lead);
        let record = done(&rig, "Noted", if by_id { json!({ "lead_id": lead }) } else { json!({ "key": "k1" }) }).await;
        let notes = rig.mock.entities("notes");
        assert_eq!((notes.len(), &notes[0]["deal_id"]), (1, &deal(&rig)["id"]), "{record:#}");
        assert!(warnings(&record).contains("was converted to deal"), "{record:#}");
    }
}

#[tokio::test]
async fn a_deal_that_the_note_names_itself_stands() {
    let note = r#"fn handle(event) {
        note::create(#{ content: "Both", lead_id: event.properties.lead_id, deal_id: event.properties.deal_id });
    }"#;
    let (rig, lead) = rig().await;
    rig.edit("note", note).await;
    done(&rig, "Won", json!({ "key": "k1" })).await;
    let other = rig.aside("/api/v2/deals", json!({ "title": "Another" }))["id"].clone();
    done(&rig, "Noted", json!({ "lead_id": lead, "deal_id": other })).await;
    let notes = rig.mock.entities("notes");
    assert_eq!((&notes[0]["deal_id"], &notes[0]["lead_id"]), (&other, &Value::Null));
}

#[tokio::test]
async fn what_people_edit_at_the_deal_stands_as_it_did_at_the_lead() {
    for people in [true, false] {
        let (rig, lead) = rig().await;
        let fields = json!({ "title": "Chance", "value": { "amount": 5, "currency": "USD" }, "Description": "From the web" });
        done(&rig, "Lead", json!({ "key": "k1", "fields": fields })).await;
        if people {
            by_people(&rig, &lead);
        } else {
            done(&rig, "Won", json!({ "key": "k1" })).await;
        }
        let edited = json!({ "title": "Chance, hot", "value": 9 }).as_object().expect("a map").clone();
        assert_eq!(rig.mock.edit("deals", &deal(&rig)["id"], edited).status, 200);
        if people {
            // A first event that says something new finds the deal.
            done(&rig, "Lead", json!({ "key": "k1", "fields": { "expected_close_date": "2026-12-01" } })).await;
        }
        rig.mock.clear_log();
        done(&rig, "Lead", json!({ "key": "k1", "fields": fields })).await;
        assert_eq!((&deal(&rig)["title"], &deal(&rig)["value"]), (&json!("Chance, hot"), &json!(9)), "by people: {people}");
        assert!(rig.writes().is_empty(), "by people: {people}, {:?}", rig.writes());
    }
}

#[tokio::test]
async fn a_lead_that_is_gone_is_what_it_was_before_when_no_deal_is_found() {
    // Deleted: its person has deals, and none was that lead.
    let (rig, lead) = rig().await;
    let person = rig.person("u1")["id"].clone();
    rig.aside("/api/v2/deals", json!({ "title": "Another", "person_id": person }));
    rig.delete_aside(&format!("/api/v1/leads/{}", lead.as_str().expect("a uuid")));
    let record = sent(&rig, "Updated", json!({ "lead_id": lead, "fields": { "title": "Late" } })).await;
    assert_eq!(record["outcome"], DeliveryState::Dead.as_str());
    assert!(warnings(&record).contains("none of the deals of its person or organization was that lead"), "{record:#}");
    // By its key another one is made, as before.
    done(&rig, "Lead", json!({ "key": "k1", "fields": { "title": "Late" } })).await;
    assert_eq!((rig.mock.count("deals"), rig.mock.count("leads")), (1, 1));

    // Converted, but nobody knows whose it was.
    let stranger = rig.aside("/api/v1/leads", json!({ "title": "Strange", "person_id": person }))["id"].clone();
    by_people(&rig, &stranger);
    let record = sent(&rig, "Updated", json!({ "lead_id": stranger, "fields": { "title": "Late" } })).await;
    assert_eq!(record["outcome"], DeliveryState::Dead.as_str());
    assert!(warnings(&record).contains("neither its person nor its organization is, nor a key"), "{record:#}");
}

#[tokio::test]
async fn a_deal_that_people_moved_to_another_person_or_merged_is_found_by_the_leads_key() {
    for (known, merged) in [(false, false), (false, true), (true, true)] {
        let (rig, lead) = rig().await;
        rig.mock.set_search_lag(Duration::ZERO);
        let other = rig.aside("/api/v2/persons", json!({ "name": "Boss" }))["id"].clone();
        if known {
            done(&rig, "Won", json!({ "key": "k1" })).await;
        } else {
            by_people(&rig, &lead);
        }
        let converted = deal(&rig)["id"].clone();
        if merged {
            let stays = rig.aside("/api/v2/deals", json!({ "title": "Big", "person_id": other }))["id"].clone();
            let body = json!({ "merge_with_id": stays });
            let merge = Request::new(Method::Put, format!("/api/v1/deals/{converted}/merge")).body(body);
            assert_eq!(rig.mock.aside(&merge).status, 200);
        } else {
            let moved = json!({ "person_id": other }).as_object().expect("a map").clone();
            assert_eq!(rig.mock.edit("deals", &converted, moved).status, 200);
        }
        let record = done(&rig, "Lead", json!({ "key": "k1", "fields": { "title": "Bigger" } })).await;
        assert_eq!(deal(&rig)["title"], "Bigger", "known: {known}, merged: {merged}: {record:#}");
        // It is known from then on.
        rig.mock.clear_log();
        done(&rig, "Lead", json!({ "key": "k1", "fields": { "title": "Biggest" } })).await;
        assert_eq!(rig.mock.log().len(), 1, "{:?}", rig.mock.log());
    }
}

#[tokio::test]
async fn a_lead_that_a_weaker_criterion_tells_the_person_of_is_found_as_its_deal_by_its_id() {
    let script = r#"
        fn handle(event) {
            let p = event.properties;
            let who = person::find(#{ "Segment User ID": event.userId });
            lead::upsert([#{ id: p.lead_id }, #{ person_id: who?.id }], #{ title: "Ours" }, #{ on_create: #{ person_id: who?.id } });
        }"#;
    let (rig, _) = rig().await;
    rig.edit("lead", script).await;
    let person = rig.person("u1")["id"].clone();
    // Nobody has told us of this lead before.
    let lead = rig.aside("/api/v1/leads", json!({ "title": "Strange", "person_id": person }))["id"].clone();
    by_people(&rig, &lead);
    done(&rig, "Lead", json!({ "lead_id": lead })).await;
    assert_eq!((rig.mock.count("deals"), &rig.mock.entities("deals")[0]["title"]), (1, &json!("Ours")));
    assert_eq!(rig.mock.entities("leads")[0]["title"], "Chance", "the person's open lead is another one");
}

#[tokio::test]
async fn when_the_deal_becomes_a_lead_again_or_is_deleted_the_lead_is_looked_for_anew() {
    for again in [true, false] {
        let (rig, _) = rig().await;
        rig.mock.set_search_lag(Duration::ZERO);
        done(&rig, "Won", json!({ "key": "k1" })).await;
        let id = deal(&rig)["id"].clone();
        if again {
            rig.aside(&format!("/api/v2/deals/{id}/convert/lead"), json!({}));
        } else {
            rig.delete_aside(&format!("/api/v2/deals/{id}"));
        }
        let record = done(&rig, "Lead", json!({ "key": "k1", "fields": { "title": "Again" } })).await;
        assert!(warnings(&record).contains("is gone, too"), "{record:#}");
        let leads = rig.mock.entities("leads");
        assert_eq!((leads.len(), rig.mock.count("deals")), (1, 0));
        assert_eq!(leads[0]["title"], "Again");
        assert_eq!(leads[0]["source_deal_id"].is_null(), !again, "a lead that was a deal is found by its key");
    }
}
