//! Metadata: what is fetched, when, and how often.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pipewright::config::{AccountConfig, MirrorMode};
use pipewright::crm::{Account, FieldType, NewOption, fetch_metadata};
use pipewright::pipedrive::{Answer, Kind, Method, Request};
use pipewright::store::sqlite::{OpenOptions, SqliteStore};
use pipewright::telemetry::Metrics;
use serde_json::{Value, json};

use super::scripted::{Scripted, answer, gone, ok, page};
use crate::support::temp_dir;

/// A small account; person fields come in two pages.
pub(super) fn account_answers(request: &Request) -> Answer {
    let paged =
        |data: Value, next: Value| answer(200, json!({"success": true, "data": data, "additional_data": {"next_cursor": next}}));
    let second = request.query.iter().any(|(name, _)| name == "cursor");
    match request.path.as_str() {
        "/api/v1/users/me" => ok(
            json!({"id": 1, "company_id": 9, "company_domain": "acme", "default_currency": "EUR", "timezone_name": "Europe/Tallinn"}),
        ),
        "/api/v2/personFields" if !second => paged(
            json!([{"field_code": "name", "field_name": "Name", "field_type": "varchar", "options": null, "is_custom_field": false},
                   {"field_code": "label_ids", "field_name": "Labels", "field_type": "set", "options": [{"id": 5, "label": "Customer"}], "is_custom_field": false},
                   {"field_code": "visible_to", "field_name": "Visible to", "field_type": "visible_to", "options": [{"id": "x", "label": "?"}], "is_custom_field": false}]),
            json!("two"),
        ),
        "/api/v2/personFields" => paged(
            json!([{"field_code": USER_ID, "field_name": "Segment User ID", "field_type": "varchar", "is_custom_field": true},
                   {"field_code": PLAN, "field_name": "Plan", "field_type": "enum", "options": [{"id": 11, "label": "Free"}], "is_custom_field": true}]),
            json!(null),
        ),
        "/api/v2/dealFields" => paged(
            json!([{"field_code": DEAL_ID, "field_name": "Segment Deal ID", "field_type": "varchar", "is_custom_field": true}]),
            json!(null),
        ),
        "/api/v2/organizationFields" | "/api/v2/activityFields" => paged(json!([]), json!(null)),
        "/api/v2/pipelines" => {
            paged(json!([{"id": 1, "name": "Sales"}, {"id": 2, "name": "Old", "is_deleted": true}]), json!(null))
        }
        "/api/v2/stages" => paged(json!([{"id": 1, "name": "Lead in", "pipeline_id": 1, "order_nr": 1}]), json!(null)),
        "/api/v1/leadLabels" => ok(json!([{"id": "f08b42a0-4e75-11ea-9643-03698ef1cfd6", "name": "Hot"}])),
        "/api/v1/users" => ok(
            json!([{"id": 1, "name": "Ada", "email": "ada@acme.com", "active_flag": true}, {"id": 2, "name": "Bob", "email": "b@acme.com", "active_flag": false}]),
        ),
        "/api/v1/activityTypes" => ok(json!([{"id": 1, "key_string": "call", "name": "Call", "active_flag": true}])),
        other => panic!("not asked for: {other}"),
    }
}

pub(super) const USER_ID: &str = "1111111111111111111111111111111111111111";
pub(super) const PLAN: &str = "2222222222222222222222222222222222222222";
pub(super) const DEAL_ID: &str = "3333333333333333333333333333333333333333";

/// An account on a store of its own, without a mirror; the folder goes with the tuple.
pub(super) fn account(scripted: &Arc<Scripted>) -> (Account, tempfile::TempDir) {
    let dir = temp_dir();
    let store = store(&dir);
    (Account::new("main", scripted.client(), store, searching(), Metrics::default()), dir)
}

/// Settings of an account that asks the search.
pub(super) fn searching() -> AccountConfig {
    AccountConfig { mirror: MirrorMode::Off.into(), ..AccountConfig::default() }
}

fn store(dir: &tempfile::TempDir) -> Arc<SqliteStore> {
    let (store, _feed) =
        SqliteStore::open(OpenOptions { dir: dir.path().to_owned(), ..OpenOptions::default() }).expect("a store");
    Arc::new(store)
}

#[tokio::test]
async fn everything_is_fetched_for_102_tokens() {
    let scripted = Scripted::new(|request| Ok(account_answers(request)));
    let session = scripted.session();
    let metadata = fetch_metadata(&session).await.expect("metadata");
    assert_eq!(metadata.me.user_id, 1);
    let person = metadata.fields_of(Kind::Person);
    assert_eq!(person.len(), 5, "both pages");
    assert_eq!(metadata.custom_field(Kind::Person, PLAN).map(|f| &f.field_type), Some(&FieldType::Enum));
    assert_eq!(person[1].options[0].label, "Customer");
    assert_eq!(person[2].field_type, FieldType::Other("visible_to".to_owned()));
    assert_eq!(metadata.fields_of(Kind::Lead), metadata.fields_of(Kind::Deal));
    assert_eq!(metadata.pipelines.len(), 1, "deleted ones are left out");
    assert_eq!(metadata.users.iter().map(|u| u.active).collect::<Vec<_>>(), [true, false]);
    assert_eq!(metadata.activity_types, [("call".to_owned(), "Call".to_owned())]);
    let tokens: u32 = session.trace().exchanges().iter().map(|e| e.tokens).sum();
    assert_eq!(tokens, 102 + 10, "and one more page of fields");
}

#[tokio::test]
async fn a_fetch_is_whole_or_failed() {
    let scripted =
        Scripted::new(|request| Ok(if request.path.ends_with("activityTypes") { page(502) } else { account_answers(request) }));
    assert!(fetch_metadata(&scripted.session()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn those_who_ask_together_cause_one_fetch_and_not_again_soon() {
    let scripted = Scripted::new(|request| Ok(account_answers(request)));
    let (account, _dir) = account(&scripted);
    let session = scripted.session();
    let asking = futures_util::future::join_all((0..20).map(|_| account.ready_metadata(&session)));
    assert!(asking.await.iter().all(Result::is_ok));
    let fetch = scripted.asked().len();
    assert_eq!(fetch, 11);

    // An unknown name right after: what is there is what there is.
    account.refresh_metadata(&session).await.expect("metadata");
    assert_eq!(scripted.asked().len(), fetch);
    tokio::time::advance(Duration::from_secs(31)).await;
    let asking = futures_util::future::join_all((0..20).map(|_| account.refresh_metadata(&session)));
    assert!(asking.await.iter().all(Result::is_ok));
    assert_eq!(scripted.asked().len(), 2 * fetch);

    tokio::time::advance(Duration::from_secs(3601)).await;
    account.ready_metadata(&session).await.expect("metadata");
    assert_eq!(scripted.asked().len(), 3 * fetch, "older than metadata_ttl");
}

#[tokio::test(start_paused = true)]
async fn values_that_nobody_adds_are_looked_for_ever_more_rarely() {
    let changes = Arc::new(AtomicBool::new(false));
    let changed = Arc::clone(&changes);
    let scripted = Scripted::new(move |request| {
        let added = changed.load(Ordering::SeqCst) && request.path == "/api/v1/activityTypes";
        Ok(if added { ok(json!([{"id": 2, "key_string": "lunch", "name": "Lunch"}])) } else { account_answers(request) })
    });
    let (account, _dir) = account(&scripted);
    let session = scripted.session();
    account.ready_metadata(&session).await.expect("metadata");
    let fetch = scripted.asked().len();
    // One event a second for two hours, none of whose values is ever added: 30 s, 1 min, 2 min .. up to metadata_ttl. What was fetched in
    // the same moment counts as looked for.
    let mut at = Vec::new();
    for second in 0..7200 {
        let before = scripted.asked().len();
        let asking = futures_util::future::join_all((0..3).map(|_| account.refresh_for_value(&session)));
        assert!(asking.await.iter().all(Result::is_ok));
        match scripted.asked().len() - before {
            0 => {}
            n => {
                assert_eq!(n, fetch, "one fetch for all who ask together");
                at.push(second);
            }
        }
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    assert_eq!(at, [30, 90, 210, 450, 930, 1890, 3810]);
    // A fetch that brings something new begins anew.
    changes.store(true, Ordering::SeqCst);
    tokio::time::advance(Duration::from_secs(3600)).await;
    assert_eq!(account.refresh_for_value(&session).await.expect("metadata").activity_types.len(), 1);
    let before = scripted.asked().len();
    tokio::time::advance(Duration::from_secs(29)).await;
    account.refresh_for_value(&session).await.expect("metadata");
    assert_eq!(scripted.asked().len(), before);
    tokio::time::advance(Duration::from_secs(1)).await;
    account.refresh_for_value(&session).await.expect("metadata");
    assert_eq!(scripted.asked().len(), before + fetch);
}

#[tokio::test(start_paused = true)]
async fn old_metadata_goes_on_when_it_cannot_be_fetched_and_survives_a_restart() {
    let down = Arc::new(AtomicBool::new(false));
    let is_down = Arc::clone(&down);
    let scripted =
        Scripted::new(move |request| Ok(if is_down.load(Ordering::SeqCst) { page(503) } else { account_answers(request) }));
    let (first, dir) = account(&scripted);
    let session = scripted.session();
    let before = first.ready_metadata(&session).await.expect("metadata");
    down.store(true, Ordering::SeqCst);
    tokio::time::advance(Duration::from_secs(4000)).await;
    let asked = scripted.asked().len();
    for _ in 0..5 {
        assert_eq!(first.ready_metadata(&session).await.expect("the old one"), before);
    }
    assert_eq!(scripted.asked().len(), asked + 1, "one try, not one for each who asks");
    assert!(first.refresh_metadata(&session).await.is_err(), "asked for anew it must say that it failed");

    let store = Arc::clone(&first.store);
    let second = Account::new("main", scripted.client(), store, AccountConfig::default(), Metrics::default());
    assert!(second.ready_metadata(&session).await.is_err(), "none at all is a failure");
    assert!(second.load_kept_metadata().await.expect("the store answers"));
    let asked = scripted.asked().len();
    assert_eq!(second.ready_metadata(&session).await.expect("the kept one"), before);
    assert_eq!(scripted.asked().len(), asked, "it is as old as it is, not as the account");
    tokio::time::advance(Duration::from_secs(4000)).await;
    assert_eq!(second.ready_metadata(&session).await.expect("the kept one"), before);
    assert_eq!(scripted.asked().len(), asked + 1, "it is looked for when its time is over");
    drop(dir);
}

/// An account whose list of person fields has the labels under `keys`, and whose paths know them as `path` only.
fn labelled(keys: &'static [&'static str], path: &'static str) -> Arc<Scripted> {
    let added = AtomicBool::new(false);
    Scripted::new(move |request| {
        let label = |key: &str, label: &str| {
            let mut options = vec![json!({ "id": 5, "label": label })];
            if added.load(Ordering::SeqCst) {
                options.push(json!({ "id": 6, "label": "Whale" }));
            }
            json!({ "field_code": key, "field_name": "Labels", "field_type": "set", "options": options, "is_custom_field": false })
        };
        Ok(match (request.method, request.path.strip_prefix("/api/v2/personFields")) {
            (Method::Get, Some("")) => ok(keys.iter().map(|key| label(key, key)).collect()),
            (Method::Get, Some(rest)) if rest == format!("/{path}") => ok(label(path, path)),
            (Method::Post, Some(rest)) if rest == format!("/{path}/options") => {
                added.store(true, Ordering::SeqCst);
                ok(json!([{ "id": 6, "label": "Whale" }]))
            }
            (_, Some(_)) => gone(),
            (_, None) => account_answers(request),
        })
    })
}

#[tokio::test]
async fn labels_are_one_field_under_either_of_pipedrives_names_for_it() {
    for (keys, path) in [(&["label_ids"][..], "label_ids"), (&["label"], "label"), (&["label", "label_ids"], "label_ids")] {
        let scripted = labelled(keys, path);
        let (account, _dir) = account(&scripted);
        let session = scripted.session();
        let metadata = account.ready_metadata(&session).await.expect("metadata");
        let fields: Vec<_> = metadata.fields_of(Kind::Person).iter().map(|f| f.key.as_str()).collect();
        assert_eq!(fields, ["label_ids"], "{keys:?}: as bodies name it, and once");
        let newest = keys[keys.len() - 1];
        assert_eq!(
            metadata.fields_of(Kind::Person)[0].options[0].label,
            newest,
            "{keys:?}: the options are those of the newer one"
        );
        let option = NewOption { kind: Kind::Person, field: Some("label_ids".to_owned()), label: "Whale".to_owned() };
        assert!(account.add_option(&session, &option).await.expect("added"), "{keys:?}");
        let asked = scripted.asked();
        assert!(asked.contains(&format!("POST /api/v2/personFields/{path}/options")), "{keys:?}: {asked:?}");
        let known = account.metadata();
        assert_eq!(known.fields_of(Kind::Person)[0].options.last().map(|o| o.id), Some(6), "{keys:?}: and is known from then on");
    }
}
