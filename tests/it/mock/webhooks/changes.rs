//! What is told: every kind of change, to those who asked for it.

use pipewright::mock::Author;
use pipewright::pipedrive::{Method, Request, Transport};
use serde_json::{Value, json};

use super::{Rig, object};

#[tokio::test]
async fn creations_changes_and_deletions_of_every_kind_are_told() {
    let rig = Rig::start(["*.*"]).await;
    for (kind, path, body, change) in [
        ("person", "/api/v2/persons", json!({ "name": "A" }), json!({ "name": "B" })),
        ("organization", "/api/v2/organizations", json!({ "name": "A" }), json!({ "name": "B" })),
        ("deal", "/api/v2/deals", json!({ "title": "A" }), json!({ "title": "B" })),
        ("lead", "/v1/leads", json!({ "title": "A", "person_id": 1 }), json!({ "title": "B" })),
        ("activity", "/api/v2/activities", json!({ "subject": "A" }), json!({ "subject": "B" })),
        ("note", "/v1/notes", json!({ "content": "A", "person_id": 1 }), json!({ "content": "B" })),
        ("pipeline", "/api/v2/pipelines", json!({ "name": "A" }), json!({ "name": "B" })),
        ("stage", "/api/v2/stages", json!({ "name": "A", "pipeline_id": 1 }), json!({ "name": "B" })),
    ] {
        let made = rig.made(path, body.clone()).await;
        let id = made["id"].as_str().map_or_else(|| made["id"].to_string(), str::to_owned);
        let method = if kind == "note" { Method::Put } else { Method::Patch };
        rig.done(method, &format!("{path}/{id}"), change.clone()).await;
        let answer = rig.mock().send(&Request::new(Method::Delete, format!("{path}/{id}"))).await.expect("an answer");
        assert_eq!(answer.status, 200);

        let all = rig.received().await;
        let told: Vec<String> = all.iter().map(super::Received::told).collect();
        let expected = ["create", "change", "delete"].map(|action| format!("{action} {kind} {id}"));
        assert_eq!(told, expected);
        let (name, changed) = object(&change).into_iter().next().expect("a field");
        let value = body[&name].clone();
        let (created, after, gone) = (&all[0].body, &all[1].body, &all[2].body);
        assert_eq!((&created["data"][&name], &created["previous"]), (&value, &Value::Null));
        let mut previous = json!({ &name: value });
        if kind == "person" {
            previous["first_name"] = value.clone();
        }
        assert_eq!((&after["data"][&name], &after["previous"]), (&changed, &previous));
        assert_eq!((&gone["data"], &gone["previous"][&name]), (&Value::Null, &changed));
    }
}

#[tokio::test]
async fn a_user_that_is_changed_is_told_without_who_may_see_it() {
    let rig = Rig::start(["*.user"]).await;
    rig.mock().set_user(2, &object(&json!({ "name": "Grace Murray" })));
    rig.mock().set_user(9, &object(&json!({ "name": "Edsger", "email": "edsger@acme.example" })));
    let all = rig.received().await;
    assert_eq!(all[0].told(), "change user 2");
    assert_eq!(all[0].body["previous"], json!({ "name": "Grace Hopper" }));
    assert!(all[0].body["meta"].get("permitted_user_ids").is_none());
    assert_eq!(all[1].told(), "create user 9");
    assert_eq!(all[1].body["data"]["active_flag"], true);
}

#[tokio::test]
async fn only_what_was_asked_for_is_sent() {
    let rig = Rig::start(["change.person", "*.deal", "delete.*"]).await;
    let person = rig.made("/api/v2/persons", json!({ "name": "A" })).await;
    rig.done(Method::Patch, &format!("/api/v2/persons/{}", person["id"]), json!({ "name": "B" })).await;
    rig.done(Method::Delete, &format!("/api/v2/persons/{}", person["id"]), json!({})).await;
    let deal = rig.made("/api/v2/deals", json!({ "title": "A" })).await;
    rig.done(Method::Delete, &format!("/api/v2/deals/{}", deal["id"]), json!({})).await;
    let old = json!({ "version": "1.0" });
    rig.subscribe("*.organization", old).await;
    rig.made("/api/v2/organizations", json!({ "name": "A" })).await;

    let mut all: Vec<String> = rig.received().await.iter().map(|r| format!("{} {}", r.path, r.told())).collect();
    all.sort();
    let (person, deal) = (&person["id"], &deal["id"]);
    assert_eq!(
        all,
        [
            format!("/*.deal create deal {deal}"),
            format!("/*.deal delete deal {deal}"),
            format!("/change.person change person {person}"),
            format!("/delete.* delete deal {deal}"),
            format!("/delete.* delete person {person}"),
        ]
    );
}

#[tokio::test]
async fn a_merge_is_one_deletion_and_one_change_that_name_each_other() {
    let rig = Rig::start(["*.*"]).await;
    let dropped = rig.made("/api/v2/persons", json!({ "name": "A", "phones": [{ "value": "1" }] })).await["id"].clone();
    let kept = rig.made("/api/v2/persons", json!({ "name": "B" })).await["id"].clone();
    let deal = rig.made("/api/v2/deals", json!({ "title": "D", "person_id": dropped })).await["id"].clone();
    rig.received().await;

    rig.done(Method::Put, &format!("/v1/persons/{dropped}/merge"), json!({ "merge_with_id": kept })).await;
    let all = rig.received().await;
    let told: Vec<String> = all.iter().map(super::Received::told).collect();
    assert_eq!(told, [format!("delete person {dropped}"), format!("change person {kept}"), format!("change deal {deal}")]);
    let meta = |i: usize| &all[i].body["meta"];
    assert_eq!(meta(0)["merged_to_id"], kept.to_string());
    assert!(meta(0).get("merged_from_id").is_none());
    assert_eq!(meta(1)["merged_from_id"], dropped.to_string());
    assert!(meta(1).get("merged_to_id").is_none() && meta(2).get("merged_from_id").is_none());
    assert_eq!((&all[0].body["data"], &all[0].body["previous"]["name"]), (&Value::Null, &json!("A")));
    assert_eq!(all[1].body["data"]["phones"][0]["value"], "1");
    assert_eq!(all[2].body["previous"], json!({ "person_id": dropped }));
    let ids: Vec<&Value> = all.iter().map(|r| &r.body["meta"]["correlation_id"]).collect();
    assert!(ids.windows(2).all(|pair| pair[0] == pair[1]), "one request, one correlation id: {ids:?}");
    assert!(meta(0)["id"] != meta(1)["id"]);
}

#[tokio::test]
async fn a_lead_that_becomes_a_deal_is_deleted_and_its_notes_move() {
    let rig = Rig::start(["*.*"]).await;
    let lead = rig.made("/v1/leads", json!({ "title": "L", "person_id": 1 })).await["id"].clone();
    let lead = lead.as_str().expect("a uuid").to_owned();
    let note = rig.made("/v1/notes", json!({ "content": "N", "lead_id": lead })).await["id"].clone();
    rig.received().await;

    let path = format!("/api/v2/leads/{lead}/convert/deal");
    rig.made(&path, json!({})).await;
    let all = rig.received().await;
    let deal = all[0].body["data"]["id"].clone();
    let told: Vec<String> = all.iter().map(super::Received::told).collect();
    assert_eq!(told, [format!("create deal {deal}"), format!("change note {note}"), format!("delete lead {lead}")]);
    assert_eq!(all[0].body["data"]["title"], "L");
    assert_eq!(all[1].body["previous"], json!({ "deal_id": null, "lead_id": lead }));
}

#[tokio::test]
async fn who_changed_it_and_how_is_told() {
    let rig = Rig::start(["change.person"]).await;
    let (person, name) = (json!(1), json!({ "name": "A" }));
    rig.done(Method::Patch, "/api/v2/persons/1", json!({ "name": "B" })).await;
    rig.edit("persons", &person, &name);
    for author in [Author::person(1), Author::program(2)] {
        let body = json!({ "name": format!("{author:?}") });
        let request = Request::new(Method::Patch, "/api/v2/persons/1").body(body);
        assert_eq!(rig.mock().aside_as(author, &request).status, 200);
    }
    let all = rig.received().await;
    let by: Vec<(&str, &str)> = all
        .iter()
        .map(|r| (r.body["meta"]["user_id"].as_str().expect("text"), r.body["meta"]["change_source"].as_str().expect("text")))
        .collect();
    assert_eq!(by, [("1", "api"), ("2", "app"), ("1", "app"), ("2", "api")]);
}

#[tokio::test]
async fn what_is_refused_or_changes_nothing_is_not_told() {
    let rig = Rig::start(["*.*"]).await;
    let refused = Request::new(Method::Post, "/api/v2/persons").body(json!({ "colour": "red" }));
    assert_eq!(rig.mock().send(&refused).await.expect("an answer").status, 400);
    rig.edit("persons", &json!(1), &json!({ "name": "A" }));
    assert_eq!(rig.told().await, ["change person 1"]);
    rig.edit("persons", &json!(1), &json!({ "name": "A" }));
    assert_eq!(rig.told().await, [""; 0]);
}

#[tokio::test]
async fn without_a_subscription_nothing_is_sent_nor_counted() {
    let rig = Rig::silent().await;
    rig.made("/api/v2/persons", json!({ "name": "A" })).await;
    assert_eq!(rig.told().await, [""; 0]);
    let id = rig.subscribe("*.*", json!({})).await["id"].clone();
    rig.edit("persons", &json!(1), &json!({ "name": "B" }));
    assert_eq!(rig.told().await, ["change person 1"], "what was before is not sent later");
    let before = rig.mock().tokens_spent();
    rig.edit("persons", &json!(1), &json!({ "name": "C" }));
    assert_eq!(rig.told().await.len(), 1);
    assert_eq!(rig.mock().tokens_spent(), before, "outgoing webhooks cost no tokens");

    rig.done(Method::Delete, &format!("/v1/webhooks/{id}"), json!({})).await;
    rig.edit("persons", &json!(1), &json!({ "name": "D" }));
    assert_eq!(rig.told().await, [""; 0]);
    assert_eq!(rig.mock().webhook_log().len(), 2);
}
