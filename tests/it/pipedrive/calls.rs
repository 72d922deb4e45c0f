//! The calls: what is sent for each, paging, and the record of what was sent.

use pipewright::pipedrive::{ConversionState, Id, Kind, Method, Purpose, SearchField, Trace};
use serde_json::{Value, json};

use super::scripted::{Scripted, answer, object, ok};

const LEAD: &str = "adf21080-0e10-11eb-879b-05d71fb426ec";

#[tokio::test]
async fn v2_lists_are_followed_by_cursor() {
    let scripted = Scripted::new(|request| {
        let cursor = request.query.iter().find(|(name, _)| name == "cursor").map(|(_, value)| value.as_str());
        let (data, next) = match cursor {
            None => (json!([{"id": 1}, {"id": 2, "is_deleted": true}]), json!("two")),
            Some("two") => (json!([{"id": 3}]), json!(null)),
            Some(other) => panic!("{other}"),
        };
        Ok(answer(200, json!({"success": true, "data": data, "additional_data": {"next_cursor": next}})))
    });
    let all = scripted.session().list(Kind::Deal, &[("person_id", "7".to_owned())], 5000, Purpose::Lookup).await.expect("a list");
    assert_eq!(all.iter().map(|e| e["id"].clone()).collect::<Vec<_>>(), [json!(1), json!(3)]);
    assert_eq!(
        scripted.asked(),
        ["GET /api/v2/deals?limit=500&person_id=7", "GET /api/v2/deals?limit=500&person_id=7&cursor=two"]
    );
}

#[tokio::test]
async fn v1_lists_are_followed_by_start() {
    let leads = Scripted::new(|request| {
        let first = !request.query.iter().any(|(name, _)| name == "start");
        let id = if first { LEAD } else { "adf21080-0e10-11eb-879b-05d71fb426ed" };
        let more = json!({"start": if first { 0 } else { 100 }, "limit": 100, "more_items_in_collection": first});
        Ok(answer(200, json!({"success": true, "data": [{"id": id}], "additional_data": more})))
    });
    assert_eq!(leads.session().list(Kind::Lead, &[], 5000, Purpose::Lookup).await.expect("a list").len(), 2);
    assert_eq!(leads.asked(), ["GET /api/v1/leads?limit=500", "GET /api/v1/leads?limit=500&start=100"]);

    let notes = Scripted::new(|request| {
        let first = !request.query.iter().any(|(name, _)| name == "start");
        let more = json!({"pagination": {"start": 0, "limit": 500, "more_items_in_collection": first, "next_start": 321}});
        Ok(answer(200, json!({"success": true, "data": [{"id": 1}], "additional_data": more})))
    });
    assert_eq!(notes.session().list(Kind::Note, &[], 5000, Purpose::Lookup).await.expect("a list").len(), 2);
    assert_eq!(notes.asked()[1], "GET /api/v1/notes?limit=500&start=321");
}

#[tokio::test]
async fn a_page_that_leads_back_to_itself_is_a_failure_not_a_loop() {
    let body = json!({"success": true, "data": [{"id": 1}], "additional_data": {"next_cursor": "again"}});
    let scripted = Scripted::always(answer(200, body));
    assert!(scripted.session().list(Kind::Deal, &[], 100_000, Purpose::Lookup).await.is_err());
    assert_eq!(scripted.asked().len(), 2);
}

#[tokio::test]
async fn each_kind_is_written_by_its_own_method_and_version() {
    let scripted = Scripted::new(|request| {
        let id = if request.path.contains("leads") { json!(LEAD) } else { json!(7) };
        Ok(ok(json!({"id": id})))
    });
    let session = scripted.session();
    let lead: Id = LEAD.parse().expect("an id");
    let body = || object(json!({"title": "x"}));
    session.create(Kind::Deal, body()).await.expect("created");
    session.update(Kind::Deal, &Id::Number(7), body()).await.expect("updated");
    session.create(Kind::Lead, body()).await.expect("created");
    session.update(Kind::Lead, &lead, body()).await.expect("updated");
    session.create(Kind::Note, body()).await.expect("created");
    session.update(Kind::Note, &Id::Number(7), body()).await.expect("updated");
    session.delete(Kind::Activity, &Id::Number(7)).await.expect("deleted");
    session.merge(Kind::Person, &Id::Number(1), &Id::Number(2)).await.expect("merged");
    assert_eq!(
        scripted.asked(),
        [
            "POST /api/v2/deals",
            "PATCH /api/v2/deals/7",
            "POST /api/v1/leads",
            &format!("PATCH /api/v1/leads/{LEAD}"),
            "POST /api/v1/notes",
            "PUT /api/v1/notes/7",
            "DELETE /api/v2/activities/7",
            "PUT /api/v1/persons/2/merge",
        ]
    );
    assert_eq!(scripted.bodies().last(), Some(&Some(json!({"merge_with_id": 1}))));
    assert!(session.merge(Kind::Note, &Id::Number(1), &Id::Number(2)).await.is_err());
    assert_eq!(scripted.asked().len(), 8, "what cannot be merged is not asked");
}

#[tokio::test]
async fn an_answer_about_another_entity_is_not_believed() {
    let scripted = Scripted::always(ok(json!({"id": 8})));
    assert!(scripted.session().update(Kind::Deal, &Id::Number(7), object(json!({"title": "x"}))).await.is_err());
}

#[tokio::test]
async fn a_lead_is_converted_and_its_state_read() {
    let scripted = Scripted::new(|request| {
        Ok(ok(match request.method {
            Method::Post => json!({"conversion_id": "c1"}),
            _ => json!({"conversion_id": "c1", "status": "completed", "deal_id": 33}),
        }))
    });
    let session = scripted.session();
    let lead: Id = LEAD.parse().expect("an id");
    let conversion = session.convert_lead(&lead, object(json!({"stage_id": 1}))).await.expect("started");
    let status = session.conversion_status(&lead, &conversion).await.expect("a state");
    assert_eq!((status.state, status.deal), (ConversionState::Completed, Some(Id::Number(33))));
    assert_eq!(
        scripted.asked(),
        [format!("POST /api/v2/leads/{LEAD}/convert/deal"), format!("GET /api/v2/leads/{LEAD}/convert/status/c1")]
    );
}

#[tokio::test]
async fn searches_are_exact_and_encoded_and_long_terms_are_cut() {
    let scripted = Scripted::new(|request| {
        Ok(ok(if request.path.ends_with("field") {
            json!([{"id": 3, "name": "x"}])
        } else {
            json!({"items": [{"item": {"id": 4}}]})
        }))
    });
    let session = scripted.session();
    let hits = session.search(Kind::Person, SearchField::Email, "a+b&c@x.y", &[]).await.expect("hits");
    assert_eq!(hits[0].id, Id::Number(4));
    let hits = session.search(Kind::Deal, SearchField::Custom("abc"), "u 1", &[]).await.expect("hits");
    assert_eq!(hits[0].id, Id::Number(3));
    session.search(Kind::Person, SearchField::Name, &"x".repeat(300), &[]).await.expect("hits");
    let asked = scripted.asked();
    assert_eq!(asked[0], "GET /api/v2/persons/search?fields=email&exact_match=true&term=a%2Bb%26c%40x.y&limit=500");
    assert_eq!(asked[1], "GET /api/v2/itemSearch/field?entity_type=deal&field=abc&match=exact&term=u%201&limit=500");
    assert!(asked[2].contains("exact_match=false") && asked[2].contains(&format!("term={}&", "x".repeat(100))), "{}", asked[2]);
}

#[tokio::test]
async fn many_ids_are_read_the_cheaper_way() {
    let scripted = Scripted::new(|request| {
        let ids = request.query.iter().find(|(name, _)| name == "ids");
        Ok(match ids {
            // One of them is not there.
            Some((_, ids)) => ok(ids
                .split(',')
                .filter(|id| *id != "3")
                .rev()
                .map(|id| json!({"id": id.parse::<u64>().ok()}))
                .collect::<Value>()),
            None => ok(json!({"id": request.path.rsplit('/').next().and_then(|id| id.parse::<u64>().ok())})),
        })
    });
    let session = scripted.session();
    let few: Vec<Id> = (1..=10).map(Id::Number).collect();
    assert_eq!(session.get_many(Kind::Person, &few, Purpose::Lookup).await.expect("read").len(), 10);
    assert_eq!(scripted.asked().len(), 10);
    let many: Vec<Id> = (1..=150).map(Id::Number).collect();
    let read = session.get_many(Kind::Person, &many, Purpose::Lookup).await.expect("read");
    assert_eq!(read.len(), 149);
    assert!(read.iter().map(|(id, _)| id).is_sorted());
    assert_eq!(scripted.asked().len(), 12);
    let tokens: u32 = session.trace().exchanges().iter().map(|e| e.tokens).sum();
    assert_eq!(tokens, 30);
}

#[tokio::test]
async fn everything_that_is_sent_is_recorded_and_charged() {
    let scripted = Scripted::new(|request| match request.method {
        Method::Post => Ok(answer(400, json!({"success": false, "error": "no"}))),
        _ => Ok(ok(json!({"id": 7}))),
    });
    let client = scripted.client();
    let trace = Trace::default();
    let session = client.session(trace.clone());
    session.get(Kind::Person, &Id::Number(7), Purpose::ReadBeforeWrite).await.expect("an answer");
    session.create(Kind::Lead, object(json!({"title": "x"}))).await.expect_err("a refusal");
    session.raw(Method::Get, "/api/v2/persons?ids=1,2", None, Purpose::Lookup).await.expect("an answer");
    session.raw(Method::Get, "https://elsewhere.example/", None, Purpose::Lookup).await.expect_err("refused by us");

    let exchanges = trace.exchanges();
    assert_eq!(exchanges.len(), 3);
    assert_eq!(exchanges[0].purpose, Purpose::ReadBeforeWrite);
    assert_eq!((exchanges[1].status, exchanges[1].body.clone()), (Some(400), Some(json!({"title": "x"}))));
    assert!(exchanges[1].error.as_deref().is_some_and(|e| e.contains("no")));
    assert_eq!(exchanges[2].path, "/api/v2/persons?ids=1,2");
    assert_eq!(exchanges.iter().map(|e| e.tokens).collect::<Vec<_>>(), [1, 10, 10]);
    assert_eq!((client.status().requests, client.status().tokens), (3, 21));
}
