//! After a create whose outcome is unknown: what was created is found, what was not is not, and nothing is taken twice.

use pipewright::crm::{Account, Claims, FindError, Known, find_unclaimed_create};
use pipewright::pipedrive::{Entity, Id, Kind, Request, Session};
use pipewright::store::{DeliveryId, Seq};
use serde_json::{Value, json};

use super::metadata::{USER_ID, account, account_answers};
use super::scripted::{Scripted, object, ok, page};

fn scripted(path: &'static str, list: Value) -> std::sync::Arc<Scripted> {
    Scripted::new(move |request: &Request| Ok(if request.path == path { ok(list.clone()) } else { account_answers(request) }))
}

/// The lost create of a delivery that is alone.
pub(super) async fn find_lost(
    account: &Account,
    session: &Session,
    kind: Kind,
    since: jiff::Timestamp,
    body: &Entity,
) -> Result<Option<(Id, Entity)>, FindError> {
    let delivery = DeliveryId { seq: Seq(1), rule: "rule".into() };
    find_unclaimed_create(account, session, kind, since, body, &Claims::default(), &delivery).await
}

fn at(text: &str) -> jiff::Timestamp {
    text.parse().expect("a time")
}

fn person(id: u64, user: &str, added: &str) -> Value {
    json!({"id": id, "name": "Ada", "owner_id": 5, "add_time": added,
        "emails": [{"value": "ada@acme.com", "primary": true, "label": "work"}], "custom_fields": {USER_ID: user}})
}

#[tokio::test]
async fn a_person_that_was_created_is_found_and_claimed_once() {
    let list = json!([
        person(1, "u1", "2026-11-23T09:00:00Z"),
        person(2, "u2", "2026-11-23T10:00:30Z"),
        person(3, "u1", "2026-11-23T10:00:31Z"),
        person(4, "u1", "2026-11-23T10:00:32Z"),
    ]);
    let scripted = scripted("/api/v2/persons", list);
    let (account, _dir) = account(&scripted);
    let session = scripted.session();
    let body =
        object(json!({"name": "Ada", "emails": [{"value": "ada@acme.com"}], "owner_id": 1, "custom_fields": {USER_ID: "u1"}}));
    let since = at("2026-11-23T10:00:30.400Z");
    let next = async || find_lost(&account, &session, Kind::Person, since, &body).await.expect("an outcome").map(|(id, _)| id);

    assert_eq!(next().await, Some(Id::Number(3)), "not the older one, not the other user's");
    for id in [3, 4] {
        let mut known = Known::default();
        known.note_sent("name", json!("Ada"));
        account.store.commit(vec![known.write("main", Kind::Person, &Id::Number(id))]).await.expect("committed");
        if id == 3 {
            assert_eq!(next().await, Some(Id::Number(4)), "what is ours already is not taken again");
        }
    }
    assert_eq!(next().await, None);
    let asked = scripted.asked();
    assert!(asked.iter().any(|a| a == "GET /api/v2/persons?limit=500&updated_since=2026-11-23T09%3A59%3A30Z"), "{asked:?}");
}

#[tokio::test]
async fn what_another_user_created_is_not_ours() {
    let note = |id: u64, user: u64| json!({"id": id, "content": "<p>Hi</p>", "person_id": 7, "user_id": user, "active_flag": true, "add_time": "2026-11-23 10:00:31"});
    let scripted = scripted("/api/v1/notes", json!([note(1, 2), note(2, 1)]));
    let (account, _dir) = account(&scripted);
    let body = object(json!({"content": "<p>Hi</p>", "person_id": 7}));
    let found = find_lost(&account, &scripted.session(), Kind::Note, at("2026-11-23T10:00:30Z"), &body).await;
    assert_eq!(found.expect("an outcome").map(|(id, _)| id), Some(Id::Number(2)));
}

#[tokio::test]
async fn a_list_that_fails_proves_nothing() {
    let scripted =
        Scripted::new(|request| Ok(if request.path == "/api/v2/deals" { page(502) } else { account_answers(request) }));
    let (account, _dir) = account(&scripted);
    let body = object(json!({"title": "x"}));
    let found = find_lost(&account, &scripted.session(), Kind::Deal, at("2026-11-23T10:00:30Z"), &body).await;
    assert!(found.is_err());
}

#[tokio::test]
async fn known_values_keep_what_was_sent_apart_from_what_is_seen() {
    let scripted = Scripted::new(|request| Ok(account_answers(request)));
    let (account, _dir) = account(&scripted);
    let id = Id::Number(7);
    let mut known = Known::default();
    known.note_sent("name", json!("Ada"));
    known.note_sent(USER_ID, json!("u1"));
    let entity = object(json!({"id": 7, "name": "Countess", "owner_id": 3, "custom_fields": {USER_ID: "u1"}}));
    known.note_seen(Kind::Person, &entity, at("2026-11-23T10:00:30Z"));
    account.store.commit(vec![known.write("main", Kind::Person, &id)]).await.expect("committed");

    let loaded = Known::load(&*account.store, "main", Kind::Person, &id).await.expect("known values");
    assert_eq!((loaded.sent("name"), loaded.seen("name")), (Some(&json!("Ada")), Some(&json!("Countess"))));
    assert_eq!(loaded.seen(USER_ID), Some(&json!("u1")));
    let fresh = |since| loaded.as_map_since(at(since))["name"].get("fresh").is_some();
    assert_eq!((fresh("2026-11-23T10:00:00Z"), fresh("2026-11-23T10:00:30Z")), (true, false));
    assert_eq!(loaded.seen("owner_id"), None, "a field that no rule sends is not kept");
    assert!(Known::load(&*account.store, "main", Kind::Person, &Id::Number(8)).await.expect("none").is_empty());
}

#[tokio::test]
async fn of_two_persons_that_fit_the_one_of_our_owner_is_taken() {
    let mut theirs = person(2, "u1", "2026-11-23T10:00:31Z");
    theirs["owner_id"] = json!(9);
    let mut ours = person(3, "u1", "2026-11-23T10:00:32Z");
    ours["owner_id"] = json!(1);
    let scripted = scripted("/api/v2/persons", json!([theirs, ours]));
    let (account, _dir) = account(&scripted);
    let body = object(json!({"name": "Ada", "custom_fields": {USER_ID: "u1"}}));
    let found = find_lost(&account, &scripted.session(), Kind::Person, at("2026-11-23T10:00:30Z"), &body).await;
    assert_eq!(found.expect("an outcome").map(|(id, _)| id), Some(Id::Number(3)));
}
