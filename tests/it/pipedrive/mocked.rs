//! The client against the embedded Pipedrive, mostly over HTTP: both sides must mean the same.

use std::sync::Arc;
use std::time::Duration;

use pipewright::config::Secret;
use pipewright::crm::{Account, Address, Found, Lookup, OnMany, Term, find, index, normalise};
use pipewright::failure::FailureClass;
use pipewright::mock::{ClockStart, Fault, FaultMatch, Mock, MockOptions, serve};
use pipewright::pipedrive::{
    Client, ClientOptions, ConversionState, ErrorKind, HttpTransport, Id, Kind, Method, Purpose, SearchField, Session, Trace,
    Transport,
};
use pipewright::store::sqlite::{OpenOptions, SqliteStore};
use pipewright::telemetry::Metrics;
use serde_json::{Value, json};

use super::reconcile::find_lost;
use super::scripted::object;
use crate::support::{loopback, temp_dir};

struct World {
    mock: Arc<Mock>,
    account: Account,
    session: Session,
    _dir: tempfile::TempDir,
    _stop: tokio::sync::watch::Sender<bool>,
}

async fn world(options: MockOptions) -> World {
    let mock = Mock::new(options);
    let (listener, addr) = loopback().await;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    tokio::spawn(serve(listener, Arc::clone(&mock), stopped));
    let transport =
        HttpTransport::new(&format!("http://{addr}"), &Secret::new("mock"), Duration::from_millis(500)).expect("a transport");
    with_transport(mock, Arc::new(transport), stop).await
}

async fn with_transport(mock: Arc<Mock>, transport: Arc<dyn Transport>, stop: tokio::sync::watch::Sender<bool>) -> World {
    let client = Client::new(transport, ClientOptions { burst: 1000, search_burst: 1000, ..ClientOptions::default() });
    let dir = temp_dir();
    let options = OpenOptions { dir: dir.path().to_owned(), ..OpenOptions::default() };
    let (store, _feed) = SqliteStore::open(options).expect("a store");
    let session = client.session(Trace::default());
    let account = Account::new("main", client, Arc::new(store), super::metadata::searching(), Metrics::default());
    account.ready_metadata(&session).await.expect("metadata");
    World { mock, account, session, _dir: dir, _stop: stop }
}

impl World {
    fn term(&self, kind: Kind, name: &str, value: Value) -> Term {
        let metadata = self.account.metadata();
        let field = metadata.fields_of(kind).iter().find(|f| f.custom && f.name == name);
        let address = match field {
            Some(field) => Address::Custom(field.key.clone()),
            None => Address::Standard(name.to_owned()),
        };
        let value_text = normalise(kind, &address, metadata.type_of(kind, &address), &value).expect("a value");
        Term { address, value: value_text, wire: Some(pipewright::crm::WireValue::Json(value)) }
    }

    async fn find(&self, kind: Kind, terms: Vec<Term>) -> Option<Id> {
        match find(&self.account, &self.session, kind, &[Lookup(terms)], OnMany::Oldest).await.expect("an outcome") {
            Found::Hit { id, .. } => Some(id),
            Found::Miss => None,
        }
    }
}

#[tokio::test]
async fn metadata_comes_whole_and_both_sides_count_the_same_tokens() {
    let world = world(MockOptions::unlimited()).await;
    let metadata = world.account.metadata();
    for (kind, name) in [
        (Kind::Person, "Segment User ID"),
        (Kind::Person, "Interests"),
        (Kind::Organization, "Domain"),
        (Kind::Lead, "Segment Deal ID"),
    ] {
        assert!(metadata.fields_of(kind).iter().any(|f| f.custom && f.name == name), "{kind} {name}");
    }
    assert_eq!(metadata.pipelines.len(), 2);
    assert_eq!(metadata.me.default_currency, "EUR");
    assert_eq!(metadata.users.iter().filter(|u| u.active).count(), 2);
    assert!(metadata.fields_of(Kind::Person).iter().any(|f| f.key == "label_ids" && !f.options.is_empty()));
    assert_eq!(world.account.client.status().tokens, world.mock.tokens_spent());
    assert_eq!(world.mock.tokens_spent(), 102);
}

#[tokio::test]
async fn every_kind_lives_from_create_to_delete() {
    let world = world(MockOptions::unlimited()).await;
    let session = &world.session;
    let person = session
        .create(Kind::Person, object(json!({"name": "Ada", "emails": [{"value": "ada@x.example"}]})))
        .await
        .expect("created")
        .0;
    for (kind, body, field, changed) in [
        (Kind::Organization, json!({"name": "Acme"}), "name", "Acme Ltd"),
        (Kind::Deal, json!({"title": "Pro", "person_id": person.to_json()}), "title", "Pro 2"),
        (Kind::Lead, json!({"title": "Ask", "person_id": person.to_json()}), "title", "Ask 2"),
        (
            Kind::Activity,
            json!({"subject": "Call", "type": "call", "participants": [{"person_id": person.to_json(), "primary": true}]}),
            "subject",
            "Call 2",
        ),
        (Kind::Note, json!({"content": "Hi", "person_id": person.to_json()}), "content", "Hi 2"),
    ] {
        let (id, _) = session.create(kind, object(body)).await.unwrap_or_else(|e| panic!("{kind}: {e}"));
        assert!(id.fits(kind));
        let entity = session.update(kind, &id, object(json!({ field: changed }))).await.unwrap_or_else(|e| panic!("{kind}: {e}"));
        assert_eq!(entity[field], json!(changed));
        assert!(session.get(kind, &id, Purpose::Lookup).await.expect("read").is_some());
        assert!(
            session.list(kind, &[], 5000, Purpose::Lookup).await.expect("listed").iter().any(|e| e["id"] == id.to_json()),
            "{kind}"
        );
        session.delete(kind, &id).await.unwrap_or_else(|e| panic!("{kind}: {e}"));
        assert_eq!(session.get(kind, &id, Purpose::Lookup).await.expect("read"), None, "{kind}");
        assert!(
            !session.list(kind, &[], 5000, Purpose::Lookup).await.expect("listed").iter().any(|e| e["id"] == id.to_json()),
            "{kind}"
        );
    }
    assert_eq!(world.account.client.status().tokens, world.mock.tokens_spent());
}

#[tokio::test]
async fn lists_longer_than_a_page_come_whole_in_both_versions() {
    let world = world(MockOptions::unlimited()).await;
    for n in 0..510 {
        for (path, body) in [
            ("/api/v2/organizations", json!({"name": format!("Org {n}")})),
            ("/api/v1/leads", json!({"title": format!("Lead {n}"), "person_id": 1})),
            ("/api/v1/notes", json!({"content": format!("Note {n}"), "person_id": 1})),
        ] {
            let request = pipewright::pipedrive::Request::new(Method::Post, path).body(body);
            assert!(world.mock.aside(&request).status < 300);
        }
    }
    for (kind, path) in [(Kind::Organization, "organizations"), (Kind::Lead, "leads"), (Kind::Note, "notes")] {
        let listed = world.session.list(kind, &[], 5000, Purpose::Lookup).await.expect("listed").len();
        assert_eq!(listed, world.mock.count(path), "{kind}");
        assert!(listed > 510);
    }
}

#[tokio::test]
async fn seeded_entities_are_found_in_every_way() {
    let world = world(MockOptions::unlimited()).await;
    let one = |kind, name, value| vec![world.term(kind, name, value)];
    for (terms, want) in [
        (one(Kind::Person, "id", json!(2)), Some(2)),
        (one(Kind::Person, "emails", json!("MONA@globex.example")), Some(2)),
        (one(Kind::Person, "phones", json!("+44 117 496 0102")), Some(2)),
        (one(Kind::Person, "name", json!("mona harper")), Some(2)),
        (one(Kind::Person, "Segment User ID", json!("u-1002")), Some(2)),
        (one(Kind::Person, "Segment User ID", json!("u-100")), None),
        (one(Kind::Person, "emails", json!("mona@globex.exampl")), None),
        ([one(Kind::Person, "org_id", json!(1)), one(Kind::Person, "name", json!("Mona Harper"))].concat(), Some(2)),
        ([one(Kind::Person, "org_id", json!(2)), one(Kind::Person, "name", json!("Mona Harper"))].concat(), None),
    ] {
        assert_eq!(world.find(Kind::Person, terms.clone()).await, want.map(Id::Number), "{terms:?}");
    }
    assert_eq!(
        world.find(Kind::Organization, one(Kind::Organization, "Domain", json!("initech.example"))).await,
        Some(Id::Number(2))
    );
    assert_eq!(world.find(Kind::Organization, one(Kind::Organization, "name", json!("INITECH"))).await, Some(Id::Number(2)));
    assert_eq!(world.find(Kind::Deal, one(Kind::Deal, "Segment Deal ID", json!("d-503"))).await, Some(Id::Number(3)));
    assert_eq!(world.find(Kind::Deal, one(Kind::Deal, "title", json!("umbrella pilot"))).await, Some(Id::Number(3)));
    assert_eq!(world.find(Kind::Deal, one(Kind::Deal, "person_id", json!(3))).await, Some(Id::Number(2)));
    let lead = world.mock.entities("leads")[0]["id"].as_str().and_then(|id| id.parse().ok());
    assert!(lead.is_some());
    assert_eq!(world.find(Kind::Lead, one(Kind::Lead, "title", json!("Noor asks for a demo"))).await, lead);
    assert_eq!(world.find(Kind::Lead, one(Kind::Lead, "person_id", json!(6))).await, lead);
    assert_eq!(world.account.client.status().tokens, world.mock.tokens_spent());
}

#[tokio::test]
async fn ghosts_of_the_search_are_no_hits() {
    let world = world(MockOptions { search_lag: Duration::from_secs(3600), ..MockOptions::unlimited() }).await;
    world.session.delete(Kind::Person, &Id::Number(2)).await.expect("deleted");
    let hits = world.session.search(Kind::Person, SearchField::Email, "mona@globex.example", &[]).await.expect("searched");
    assert_eq!(hits.len(), 1, "the search still offers it");
    assert_eq!(world.find(Kind::Person, vec![world.term(Kind::Person, "emails", json!("mona@globex.example"))]).await, None);
}

#[tokio::test]
async fn the_searchs_lag_does_not_hide_what_the_index_holds() {
    let start = "2026-11-23T10:00:00Z".parse().expect("a time");
    let options =
        MockOptions { search_lag: Duration::from_secs(3), clock: ClockStart::Manual(start), ..MockOptions::unlimited() };
    let world = world(options).await;
    let term = world.term(Kind::Person, "Segment User ID", json!("u-new"));
    let body = object(json!({"name": "New", "custom_fields": {term.address.key(): "u-new"}}));
    let (id, _) = world.session.create(Kind::Person, body).await.expect("created");
    assert_eq!(world.find(Kind::Person, vec![term.clone()]).await, None, "the search lags");
    let lookup = Lookup(vec![term.clone()]);
    let writes = index::put_lookup("main", Kind::Person, &id, &lookup, &world.account.metadata());
    world.account.store.commit(writes).await.expect("committed");
    assert_eq!(world.find(Kind::Person, vec![term.clone()]).await, Some(id.clone()));
    world.account.store.commit(vec![index::forget("main", Kind::Person, &id)]).await.expect("committed");
    world.mock.advance(Duration::from_secs(4));
    assert_eq!(world.find(Kind::Person, vec![term]).await, Some(id), "the search has caught up");
}

#[tokio::test]
async fn every_fault_has_its_class_over_http() {
    use FailureClass::{Misconfigured, Permanent, Throttled, Transient, UnknownOutcome};
    for (fault, of_read, of_write) in [
        (Fault::Status { status: 400, body: json!({"success": false, "error": "no"}) }, Permanent, Permanent),
        (Fault::Status { status: 401, body: json!({"success": false, "error": "no"}) }, Misconfigured, Misconfigured),
        (Fault::Status { status: 503, body: json!({}) }, Transient, UnknownOutcome),
        (Fault::FailedAfter { status: 502 }, Transient, UnknownOutcome),
        (Fault::Firewall, Throttled, Throttled),
        (Fault::TooMany { remaining: 0, reset: 1, retry_after: None }, Throttled, Throttled),
        (Fault::Hang { committed: false }, Transient, UnknownOutcome),
        (Fault::Cut { committed: false }, Transient, UnknownOutcome),
        (Fault::Truncated, Transient, UnknownOutcome),
        (Fault::WrongJson(json!(["what"])), Transient, UnknownOutcome),
    ] {
        // A world each: some faults stop the whole account.
        for write in [false, true] {
            let world = world(MockOptions::unlimited()).await;
            world.mock.fail_next(fault.clone());
            let result = if write {
                world.session.create(Kind::Organization, object(json!({"name": "Acme"}))).await.map(|_| ())
            } else {
                world.session.get(Kind::Person, &Id::Number(1), Purpose::Lookup).await.map(|_| ())
            };
            let error = result.expect_err("a failure");
            assert_eq!(error.class(), if write { of_write } else { of_read }, "{fault:?}: {error}");
        }
    }
}

#[tokio::test]
async fn an_unknown_outcome_is_cleared_up_for_every_kind() {
    let bodies = |world: &World| {
        let metadata = world.account.metadata();
        let key = |kind, name: &str| metadata.fields_of(kind).iter().find(|f| f.name == name).expect("a field").key.clone();
        [
            (
                Kind::Person,
                json!({"name": "Ada", "emails": [{"value": "Ada@x.example"}], "phones": [{"value": "+372 5555"}],
                    "custom_fields": {key(Kind::Person, "Segment User ID"): "u-77", key(Kind::Person, "Lifetime Value"): {"value": 12.5, "currency": "EUR"},
                        key(Kind::Person, "Signup Date"): "2026-01-02", key(Kind::Person, "Billing address"): {"value": "Lai 7, Tallinn"}}}),
            ),
            (Kind::Organization, json!({"name": "Acme", "address": {"value": "Lai 7"}})),
            (
                Kind::Deal,
                json!({"title": "Pro", "person_id": 1, "value": 10, "currency": "EUR", "stage_id": 1, "status": "open"}),
            ),
            (
                Kind::Lead,
                json!({"title": "Ask", "person_id": 1, "value": {"amount": 5, "currency": "EUR"}, key(Kind::Lead, "Segment Deal ID"): "d-9"}),
            ),
            (
                Kind::Activity,
                json!({"subject": "Call", "type": "call", "due_date": "2026-01-02", "due_time": "10:00", "participants": [{"person_id": 1, "primary": true}], "note": "<b>Hi</b> & bye"}),
            ),
            (Kind::Note, json!({"content": "<p>Hi &amp; bye</p>", "person_id": 1})),
        ]
    };
    for n in 0..6 {
        for committed in [true, false] {
            let world = world(MockOptions::unlimited()).await;
            let (kind, body) = bodies(&world)[n].clone();
            let body = object(body);
            world.mock.fail_matching(FaultMatch::next(Method::Post, kind.path()), Fault::Cut { committed });
            let since = jiff::Timestamp::now();
            let error = world.session.create(kind, body.clone()).await.expect_err("cut");
            assert_eq!(error.class(), FailureClass::UnknownOutcome, "{kind}: {error}");
            let found = find_lost(&world.account, &world.session, kind, since, &body).await.expect("an outcome");
            assert_eq!(found.is_some(), committed, "{kind}: {found:?}");
        }
    }
}

#[tokio::test]
async fn a_merge_keeps_the_one_that_it_is_to_keep() {
    let world = world(MockOptions::unlimited()).await;
    world.session.merge(Kind::Person, &Id::Number(1), &Id::Number(2)).await.expect("merged");
    let read = async |id| world.session.get(Kind::Person, &Id::Number(id), Purpose::Lookup).await.expect("read");
    assert_eq!(read(1).await.map(|e| e["name"].clone()), Some(json!("Hank Scorpio")));
    assert_eq!(read(2).await, None);
}

#[tokio::test]
async fn a_lead_becomes_a_deal() {
    let world = world(MockOptions::unlimited()).await;
    let lead: Id = world.mock.entities("leads")[0]["id"].as_str().and_then(|id| id.parse().ok()).expect("a lead");
    let conversion = world.session.convert_lead(&lead, object(json!({"stage_id": 2}))).await.expect("started");
    let mut asked = 0;
    let deal = loop {
        let status = world.session.conversion_status(&lead, &conversion).await.expect("a state");
        asked += 1;
        match status.state {
            ConversionState::Completed => break status.deal.expect("a deal"),
            ConversionState::Running => assert!(asked < 10),
            ConversionState::Failed => panic!("it failed"),
        }
    };
    assert_eq!(world.session.get(Kind::Deal, &deal, Purpose::Lookup).await.expect("read").expect("there")["stage_id"], json!(2));
    assert_eq!(world.session.get(Kind::Lead, &lead, Purpose::Lookup).await.expect("read"), None);
}

#[tokio::test(start_paused = true)]
async fn the_limits_are_kept_and_used() {
    let mock = Mock::new(MockOptions {
        burst: 20,
        latency: Duration::from_millis(60),
        daily_tokens: u64::MAX,
        ..MockOptions::default()
    });
    let client = Client::new(Arc::<Mock>::clone(&mock), ClientOptions { burst: 20, ..ClientOptions::default() });
    let session = client.session(Trace::default());
    let started = tokio::time::Instant::now();
    let mixed = (0..300).map(|n| {
        let session = &session;
        async move {
            if n % 6 == 0 {
                session.search(Kind::Person, SearchField::Name, "Mona Harper", &[]).await.map(|_| ())
            } else {
                session.get(Kind::Person, &Id::Number(1), Purpose::Lookup).await.map(|_| ())
            }
        }
    });
    let all = futures_util::future::join_all(mixed).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(mock.throttled(), 0);
    let ideal = 2.0 * (300.0 / 20.0 - 1.0);
    let used = ideal / started.elapsed().as_secs_f64();
    assert!(used >= 0.9, "{:.0} % used", used * 100.0);
}

#[tokio::test]
async fn a_spent_budget_is_told_from_a_full_window() {
    let world = world(MockOptions { daily_tokens: 110, burst: 100, ..MockOptions::unlimited() }).await;
    let mut last = None;
    for _ in 0..20 {
        if let Err(error) = world.session.get(Kind::Person, &Id::Number(1), Purpose::Lookup).await {
            last = Some(error);
            break;
        }
    }
    assert!(matches!(last.map(|e| e.kind), Some(ErrorKind::Throttled { daily: true, .. })));
    assert_eq!(world.mock.throttled(), 1);
    assert!(world.session.get(Kind::Person, &Id::Number(1), Purpose::Lookup).await.is_err());
    assert_eq!(world.mock.throttled(), 1, "nothing hammers");
}
