//! Finding: the order of ways, what counts as a hit, and that a failure is never a miss.

use std::sync::Arc;

use pipewright::crm::{Account, Address, FindError, Found, Lookup, OnMany, Term, WireValue, find, index};
use pipewright::failure::FailureClass;
use pipewright::pipedrive::{Answer, Id, Kind, Request};
use serde_json::{Value, json};

use super::metadata::{DEAL_ID, PLAN, USER_ID, account, account_answers};
use super::scripted::{Scripted, answer, gone, ok, page};

const LEAD: &str = "adf21080-0e10-11eb-879b-05d71fb426ec";

fn standard(key: &str, value: &str) -> Term {
    Term { address: Address::Standard(key.to_owned()), value: value.to_owned(), wire: None }
}

fn custom(key: &str, value: &str) -> Term {
    Term { address: Address::Custom(key.to_owned()), value: value.to_owned(), wire: None }
}

fn lookups<const N: usize>(lookups: [Vec<Term>; N]) -> Vec<Lookup> {
    lookups.into_iter().map(Lookup).collect()
}

struct World {
    scripted: Arc<Scripted>,
    account: Account,
    fetched: usize,
    _dir: tempfile::TempDir,
}

/// An account whose metadata is there; `answers` are for what follows.
async fn world(answers: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> World {
    let scripted = Scripted::new(move |request| {
        let metadata = request.path.contains("Fields") || request.path.contains("users") || request.path.contains("Types");
        let metadata = metadata || ["pipelines", "stages", "leadLabels"].iter().any(|name| request.path.ends_with(name));
        Ok(if metadata { account_answers(request) } else { answers(request) })
    });
    let (account, dir) = account(&scripted);
    account.ready_metadata(&scripted.session()).await.expect("metadata");
    World { fetched: scripted.asked().len(), scripted, account, _dir: dir }
}

impl World {
    async fn find(&self, kind: Kind, lookups: &[Lookup], on_many: OnMany) -> Result<Found, FindError> {
        find(&self.account, &self.scripted.session(), kind, lookups, on_many).await
    }

    async fn id(&self, kind: Kind, lookups: &[Lookup]) -> Option<Id> {
        match self.find(kind, lookups, OnMany::Oldest).await.expect("an outcome") {
            Found::Hit { id, .. } => Some(id),
            Found::Miss => None,
        }
    }

    /// What was asked after the metadata.
    fn asked(&self) -> Vec<String> {
        self.scripted.asked().split_off(self.fetched)
    }

    async fn index(&self, kind: Kind, field: &str, value: &str, id: u64) {
        let write = index::put("main", kind, &Id::Number(id), field, value);
        self.account.store.commit(vec![write]).await.expect("committed");
    }
}

fn param<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    request.query.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
}

fn person(id: u64, email: &str, user: &str) -> Value {
    json!({"id": id, "name": "Ada", "emails": [{"value": email, "primary": true}], "custom_fields": {USER_ID: user, PLAN: 11},
        "org_id": 3, "add_time": format!("2026-01-{id:02}T00:00:00Z")})
}

/// Persons by id; the search offers all of them, whatever is asked.
fn persons(all: Vec<Value>) -> impl Fn(&Request) -> Answer + Send + Sync {
    move |request| {
        if request.path == "/api/v2/itemSearch/field" {
            return ok(all.iter().map(|p| json!({"id": p["id"], "name": p["name"]})).collect());
        }
        if request.path == "/api/v2/persons/search" {
            let items: Vec<Value> = all
                .iter()
                .map(|p| json!({"result_score": 1, "item": {"id": p["id"], "name": p["name"], "emails": [p["emails"][0]["value"]], "phones": [], "custom_fields": []}}))
                .collect();
            return ok(json!({ "items": items }));
        }
        let id = request.path.rsplit('/').next().and_then(|id| id.parse::<u64>().ok());
        all.iter().find(|p| p["id"].as_u64() == id && p.get("purged").is_none()).map_or_else(gone, |p| ok(p.clone()))
    }
}

#[tokio::test]
async fn what_the_index_knows_costs_nothing() {
    let world = world(|_| page(500)).await;
    world.index(Kind::Person, USER_ID, "u1", 7).await;
    assert_eq!(world.id(Kind::Person, &lookups([vec![custom(USER_ID, "u1")]])).await, Some(Id::Number(7)));
    assert!(world.asked().is_empty());
}

#[tokio::test]
async fn a_weaker_look_up_is_not_asked_before_a_stronger_one_has_missed() {
    let world = world(persons(vec![person(8, "ada@acme.com", "u1")])).await;
    // The index knows the e-mail of another person; the user id, which is stronger, is not indexed yet.
    world.index(Kind::Person, "emails", "ada@acme.com", 9).await;
    let both = lookups([vec![custom(USER_ID, "u1")], vec![standard("emails", "ada@acme.com")]]);
    assert_eq!(world.id(Kind::Person, &both).await, Some(Id::Number(8)));
    assert!(world.asked()[0].contains("itemSearch/field"), "{:?}", world.asked());
}

#[tokio::test]
async fn the_outcome_tells_which_look_up_hit() {
    let world = world(persons(vec![person(8, "ada@acme.com", "u1")])).await;
    let both = lookups([vec![custom(USER_ID, "u2")], vec![standard("emails", "ada@acme.com")]]);
    let found = world.find(Kind::Person, &both, OnMany::Oldest).await.expect("found");
    assert!(matches!(found, Found::Hit { lookup: 1, entity: Some(_), .. }), "{found:?}");
}

#[tokio::test]
async fn an_email_is_searched_once_and_verified_by_id() {
    let world = world(persons(vec![person(8, "Ada@Acme.com", "u1"), person(9, "bob@acme.com", "u2")])).await;
    assert_eq!(world.id(Kind::Person, &lookups([vec![standard("emails", "ada@acme.com")]])).await, Some(Id::Number(8)));
    assert_eq!(
        world.asked(),
        ["GET /api/v2/persons/search?fields=email&exact_match=true&term=ada%40acme.com&limit=500", "GET /api/v2/persons/8",],
        "what the search item disproves is not read"
    );
}

#[tokio::test]
async fn ghosts_and_stale_hits_of_the_search_do_not_count() {
    let mut purged = person(1, "ada@acme.com", "u1");
    purged["purged"] = json!(true);
    let mut deleted = person(2, "ada@acme.com", "u1");
    deleted["is_deleted"] = json!(true);
    // In the index of the search, but not on the person any more.
    let changed = person(3, "ada@new.example", "u9");
    let world = world(persons(vec![purged, deleted, changed])).await;
    assert_eq!(world.id(Kind::Person, &lookups([vec![custom(USER_ID, "u1")]])).await, None);
    assert_eq!(world.id(Kind::Person, &lookups([vec![standard("emails", "ada@acme.com")]])).await, None);
}

#[tokio::test]
async fn all_terms_of_a_look_up_must_hold() {
    let world = world(persons(vec![person(8, "ada@acme.com", "u1")])).await;
    let with_plan = |option: &str| lookups([vec![standard("emails", "ada@acme.com"), custom(PLAN, option)]]);
    assert_eq!(world.id(Kind::Person, &with_plan("11")).await, Some(Id::Number(8)));
    assert_eq!(world.id(Kind::Person, &with_plan("12")).await, None);
    // Also when the index knows the rest.
    world.index(Kind::Person, "emails", "ada@acme.com", 8).await;
    assert_eq!(world.id(Kind::Person, &with_plan("11")).await, Some(Id::Number(8)));
    assert_eq!(world.id(Kind::Person, &with_plan("12")).await, None);
}

#[tokio::test]
async fn a_failed_look_up_is_never_a_miss() {
    for (name, failure) in [
        ("500", page(500)),
        ("400", answer(400, json!({"success": false, "error": "no"}))),
        ("404 of a proxy", page(404)),
        ("no JSON", page(200)),
        ("no list", ok(json!({}))),
        ("429", answer(429, json!({}))),
        ("401", answer(401, json!({"success": false}))),
    ] {
        let answers = failure.clone();
        let world = world(move |_| answers.clone()).await;
        for look_up in [
            vec![standard("emails", "a@b.c")],
            vec![custom(USER_ID, "u1")],
            vec![standard("id", "7")],
            vec![standard("org_id", "3"), standard("name", "ada")],
        ] {
            // The second one would hit, were the first taken for a miss.
            world.index(Kind::Person, "emails", "b@b.c", 7).await;
            let result = world.find(Kind::Person, &lookups([look_up, vec![standard("emails", "b@b.c")]]), OnMany::Oldest).await;
            assert!(result.is_err(), "{name}: {result:?}");
        }
    }
    // The candidates are there, but reading them fails.
    let search = persons(vec![person(8, "ada@acme.com", "u1")]);
    let world = world(move |request| if request.path.ends_with("/8") { page(502) } else { search(request) }).await;
    let result = world.find(Kind::Person, &lookups([vec![standard("emails", "ada@acme.com")]]), OnMany::Oldest).await;
    assert_eq!(result.expect_err("a failure").class(), FailureClass::Transient);
}

#[tokio::test]
async fn an_id_is_read_and_its_absence_is_a_miss() {
    let world = world(persons(vec![person(8, "ada@acme.com", "u1")])).await;
    assert_eq!(world.id(Kind::Person, &lookups([vec![standard("id", "8")]])).await, Some(Id::Number(8)));
    assert_eq!(world.id(Kind::Person, &lookups([vec![standard("id", "9")]])).await, None);
    assert_eq!(world.id(Kind::Person, &lookups([vec![standard("id", LEAD)]])).await, None, "no person has such an id");
    assert_eq!(world.asked(), ["GET /api/v2/persons/8", "GET /api/v2/persons/9"]);
}

#[tokio::test]
async fn a_persons_deals_are_listed_not_searched_and_open_ones_go_first() {
    let deal = |id: u64, title: &str, status: &str| json!({"id": id, "title": title, "status": status, "person_id": 7, "add_time": format!("2026-01-{id:02}T00:00:00Z"), "custom_fields": {DEAL_ID: null}});
    let all = json!([deal(1, "Pro", "lost"), deal(2, "Pro", "open"), deal(3, "pro", "open"), deal(4, "Free", "open")]);
    let world = world(move |request| {
        assert_eq!(request.path, "/api/v2/deals");
        assert_eq!(param(request, "person_id"), Some("7"));
        ok(all.clone())
    })
    .await;
    let look = lookups([vec![standard("title", "pro"), standard("person_id", "7")]]);
    let hit = |found: Found| match found {
        Found::Hit { id, others, .. } => (id, others),
        Found::Miss => panic!("a miss"),
    };
    let ids = |ids: [u64; 2]| ids.map(Id::Number).to_vec();
    assert_eq!(hit(world.find(Kind::Deal, &look, OnMany::Oldest).await.expect("found")), (Id::Number(2), ids([3, 1])));
    assert_eq!(hit(world.find(Kind::Deal, &look, OnMany::Newest).await.expect("found")), (Id::Number(3), ids([2, 1])));
    let error = world.find(Kind::Deal, &look, OnMany::Fail).await.expect_err("several");
    assert!(matches!(error, FindError::Many { count: 3, .. }) && error.class() == FailureClass::Permanent, "{error}");
    assert_eq!(world.asked().len(), 3, "10 tokens each");
}

#[tokio::test]
async fn a_list_that_is_too_long_gives_way_to_the_search() {
    let world = world(|request| {
        if request.path.ends_with("/search") {
            assert_eq!(param(request, "organization_id"), Some("3"));
            return ok(json!({"items": [{"item": {"id": 9001, "title": "Pro"}}]}));
        }
        if request.path.ends_with("/9001") {
            return ok(json!({"id": 9001, "title": "Pro", "org_id": 3, "status": "open"}));
        }
        let deals: Vec<Value> = (1..=500).map(|id| json!({"id": id, "title": "x", "org_id": 3})).collect();
        answer(200, json!({"success": true, "data": deals, "additional_data": {"next_cursor": "more"}}))
    })
    .await;
    let look = lookups([vec![standard("org_id", "3"), standard("title", "pro")]]);
    assert_eq!(world.id(Kind::Deal, &look).await, Some(Id::Number(9001)));
}

#[tokio::test]
async fn leads_are_found_by_person_by_custom_field_and_by_title() {
    let lead = json!({"id": LEAD, "title": "Pro", "person_id": 7, "organization_id": 3, DEAL_ID: "d1", "add_time": "2026-01-01T00:00:00.000Z"});
    let world = world(move |request| match request.path.as_str() {
        "/api/v1/leads" => ok(json!([lead])),
        "/api/v2/leads/search" => ok(json!({"items": [{"item": {"id": LEAD, "title": "Pro"}}]})),
        "/api/v2/itemSearch/field" => ok(json!([{"id": LEAD, "title": "Pro"}])),
        _ => ok(lead.clone()),
    })
    .await;
    let id = LEAD.parse().ok();
    assert_eq!(world.id(Kind::Lead, &lookups([vec![standard("person_id", "7")]])).await, id);
    assert_eq!(world.id(Kind::Lead, &lookups([vec![standard("organization_id", "3"), standard("title", "pro")]])).await, id);
    assert_eq!(world.id(Kind::Lead, &lookups([vec![custom(DEAL_ID, "d1")]])).await, id);
    assert_eq!(world.id(Kind::Lead, &lookups([vec![standard("title", "pro")]])).await, id);
    assert_eq!(world.id(Kind::Lead, &lookups([vec![custom(DEAL_ID, "d2")]])).await, None);
    assert_eq!(world.asked()[0], "GET /api/v1/leads?limit=500&person_id=7");
}

#[tokio::test]
async fn what_cannot_be_searched_is_said_and_not_missed() {
    let world = world(|_| page(500)).await;
    for (kind, term) in [
        (Kind::Person, custom(PLAN, "11")),
        (Kind::Note, standard("content", "x")),
        (Kind::Activity, standard("subject", "x")),
        (Kind::Person, custom("4444444444444444444444444444444444444444", "no such field")),
    ] {
        let error = world.find(kind, &lookups([vec![term]]), OnMany::Oldest).await.expect_err("not searchable");
        assert!(matches!(error, FindError::NotSearchable { .. }) && error.class() == FailureClass::Permanent, "{error}");
    }
    assert!(world.asked().is_empty());
}

#[tokio::test]
async fn several_in_the_index_are_read_and_the_dead_forgotten() {
    let world = world(persons(vec![person(8, "ada@acme.com", "u1"), person(9, "ada@acme.com", "u2")])).await;
    for id in [7, 8, 9] {
        world.index(Kind::Person, "emails", "ada@acme.com", id).await;
    }
    let look = lookups([vec![standard("emails", "ada@acme.com")]]);
    let found = world.find(Kind::Person, &look, OnMany::Newest).await.expect("found");
    assert!(matches!(&found, Found::Hit { id: Id::Number(9), others, .. } if *others == [Id::Number(8)]), "{found:?}");
    let left = world.account.store.index_get("main", "person", "emails", "ada@acme.com").await.expect("an answer");
    assert_eq!(left.len(), 2, "{left:?}");
}

#[tokio::test]
async fn what_we_created_is_found_while_the_search_lags() {
    // The search knows nothing yet.
    let world = world(|request| if request.path.contains("earch") { ok(json!([])) } else { gone() }).await;
    let look = Lookup(vec![custom(USER_ID, "u1")]);
    assert_eq!(world.id(Kind::Person, std::slice::from_ref(&look)).await, None);
    let writes = index::put_lookup("main", Kind::Person, &Id::Number(42), &look, &world.account.metadata());
    world.account.store.commit(writes).await.expect("committed");
    assert_eq!(world.id(Kind::Person, &[look]).await, Some(Id::Number(42)));
}

#[tokio::test]
async fn text_is_searched_as_it_is_written() {
    let world = world(|request| {
        assert_eq!(param(request, "term"), Some("Ada LOVELACE"));
        ok(json!({"items": []}))
    })
    .await;
    let term = Term {
        address: Address::Standard("name".to_owned()),
        value: "ada lovelace".to_owned(),
        wire: Some(WireValue::Json(json!(" Ada LOVELACE "))),
    };
    assert_eq!(world.id(Kind::Person, &[Lookup(vec![term])]).await, None);
}

#[tokio::test]
async fn the_index_follows_what_an_entity_holds() {
    let world = world(|_| page(500)).await;
    let metadata = world.account.metadata();
    let addresses =
        [Address::Standard("emails".to_owned()), Address::Custom(USER_ID.to_owned()), Address::Custom(PLAN.to_owned())];
    let entity = |value: Value| super::scripted::object(value);
    let (before, now) = (entity(person(8, "old@acme.com", "u1")), entity(person(8, "New@acme.com", "u1")));
    let id = Id::Number(8);
    let store = &world.account.store;
    store.commit(index::follow("main", Kind::Person, &id, &addresses, None, &before, &metadata)).await.expect("committed");
    store.commit(index::follow("main", Kind::Person, &id, &addresses, Some(&before), &now, &metadata)).await.expect("committed");
    let held = async |field: &str, value: &str| store.index_get("main", "person", field, value).await.expect("an answer");
    assert_eq!(held("emails", "new@acme.com").await, ["8"]);
    assert!(held("emails", "old@acme.com").await.is_empty());
    assert_eq!(held(USER_ID, "u1").await, ["8"]);
    assert!(held(PLAN, "11").await.is_empty(), "an option tells nobody apart");
}
