//! Pipedrive's webhooks: who may send them, what they teach, what is old or our own, how they are looked after.

use std::time::Duration;

use base64::Engine as _;
use jiff::Timestamp;
use pipewright::mock::{Fault, FaultMatch};
use pipewright::pipedrive::{Body, Method, Request};
use pipewright::store::{DeliveryState, Write};
use serde_json::{Value, json};

use super::harness::{Rig, Setup, pipewright};
use crate::support::receiver::{Receiver, Reply as Answer};
use crate::support::{Reply, request, write};

/// A day: search sees nothing of what a test writes.
const BLIND: Duration = Duration::from_secs(86_400);

const HOOKS: &str = "webhooks = { url = \"http://127.0.0.1:9/hooks/\", password = \"env:PIPEWRIGHT_TEST_UNSET\" }";

/// A person by user id, else by e-mail.
const TWO: &str = r#"
fn handle(event) {
    let t = event.traits;
    person::upsert([#{ "Segment User ID": event.userId }, #{ email: t?.email }], #{ name: t?.name, job_title: t?.title });
}
"#;

async fn rig() -> Rig {
    let rig = Setup::person(TWO).account(HOOKS).start().await;
    rig.mock.set_search_lag(BLIND);
    // What is told before it is known whose account this is would be taken unseen.
    rig.run("first", json!({ "name": "First" })).await;
    rig.mock.clear_log();
    rig
}

/// The token's user and company.
fn me(rig: &Rig) -> Value {
    match rig.mock.aside(&Request::get("/api/v1/users/me")).body {
        Body::Json(mut body) => body["data"].take(),
        other => panic!("{other:?}"),
    }
}

/// What Pipedrive sends when another user has changed something.
fn notice(rig: &Rig, action: &str, kind: &str, id: &Value, data: Value) -> Value {
    json!({
        "meta": {
            "action": action, "entity": kind, "entity_id": id.as_str().map_or_else(|| id.to_string(), str::to_owned),
            "id": "5f0e63e6-6b3b-4f0f-8f0c-6d2d3ff43a30", "company_id": me(rig)["company_id"].to_string(), "user_id": "4242", "webhook_id": "1",
            "correlation_id": "x", "timestamp": Timestamp::now().to_string(), "version": "2.0", "change_source": "app", "attempt": 1,
            "is_bulk_edit": false, "host": "acme.pipedrive.com", "permitted_user_ids": ["1"],
        },
        "data": data,
        "previous": null,
    })
}

/// The same in Pipedrive's shape of what a person holds now.
fn told(rig: &Rig, action: &str, id: &Value, data: Value) -> Value {
    let mut data = data;
    if data.get("update_time").is_none() {
        data["update_time"] = json!(later(60));
    }
    data["id"] = id.clone();
    notice(rig, action, "person", id, data)
}

fn later(seconds: i64) -> String {
    Timestamp::from_second(Timestamp::now().as_second() + seconds).expect("a time").to_string()
}

async fn post_as(rig: &Rig, auth: &str, account: &str, body: &str) -> Reply {
    let auth = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(auth));
    let headers = [("content-type", "application/json"), ("authorization", auth.as_str())];
    request(rig.daemon().ingest_addr(), "POST", &format!("/pipedrive/{account}"), &headers, body.to_owned()).await
}

async fn tell(rig: &Rig, notice: &Value) {
    let reply = post_as(rig, "pipewright:mock", "main", &notice.to_string()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}

async fn notices(rig: &Rig) -> Value {
    json!(rig.account_status().await.webhooks.expect("webhooks").notices)
}

fn calls(rig: &Rig) -> Vec<String> {
    rig.mock.log().iter().map(pipewright::mock::MockExchange::call).collect()
}

/// Runs `pipewright webhooks ..`; answers what it prints.
async fn command(rig: &Rig, args: &[&str]) -> String {
    let output = pipewright(rig, &[&["webhooks"], args].concat()).output().await.expect("it runs");
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Makes Pipedrive's last change that is known of a person so old.
async fn age(rig: &Rig, id: &Value, seconds: i64) {
    let row = rig.store().known_get("main", "person", &id.to_string()).await.expect("reads").expect("known values");
    let mut known: Value = serde_json::from_slice(&row.values).expect("JSON");
    known["#version"] = json!(known["#version"].as_i64().expect("a time") - seconds);
    let (account, kind, id) = ("main".to_owned(), "person".to_owned(), id.to_string());
    let put = Write::KnownPut { account, kind, id, values: known.to_string().into_bytes() };
    rig.store().commit(vec![put]).await.expect("writes");
}

#[tokio::test]
async fn only_who_has_the_password_is_heard() {
    let rig = rig().await;
    let good = told(&rig, "change", &json!(1), json!({ "name": "Ada" })).to_string();
    let code = |reply: &Reply| (reply.status, reply.json()["error"]["code"].as_str().unwrap_or_default().to_owned());
    for auth in ["pipewright:wrong", "somebody:mock", "mock:", ":", "pipewright"] {
        let reply = post_as(&rig, auth, "main", &good).await;
        assert_eq!(code(&reply), (401, "invalid_password".to_owned()), "{auth}");
    }
    let bare = request(rig.daemon().ingest_addr(), "POST", "/pipedrive/main", &[], good.clone()).await;
    assert_eq!(bare.status, 401);
    assert_eq!(code(&post_as(&rig, "pipewright:mock", "other", &good).await), (404, "no_account".to_owned()));
    let get = request(rig.daemon().ingest_addr(), "GET", "/pipedrive/main", &[], String::new()).await;
    assert_eq!((get.status, get.header("allow")), (405, "POST"));

    let mut other = told(&rig, "change", &json!(1), json!({}));
    other["meta"]["company_id"] = json!(77);
    let mut first = told(&rig, "change", &json!(1), json!({}));
    first["meta"]["version"] = json!("1.0");
    let mut unknown = told(&rig, "change", &json!(1), json!({}));
    unknown["meta"]["action"] = json!("explode");
    for (body, want, says) in [
        (other.to_string(), "other_company", "it is of Pipedrive company 77"),
        (
            first.to_string(),
            "not_a_pipedrive_webhook",
            "`meta.version` is another one; `pipewright webhooks register` makes one of version 2.0",
        ),
        (unknown.to_string(), "not_a_pipedrive_webhook", "`meta.action` is none of create, change and delete"),
        ("{".to_owned(), "not_a_pipedrive_webhook", "it is not JSON at line 1, column 1"),
        (told(&rig, "change", &json!(0), json!({})).to_string(), "not_a_pipedrive_webhook", "`meta.entity_id` is no id"),
    ] {
        let reply = post_as(&rig, "pipewright:mock", "main", &body).await;
        assert_eq!(code(&reply), (400, want.to_owned()), "{body}");
        assert!(reply.text().contains(says), "{}", reply.text());
    }
    // What rules cannot write is taken and passed over.
    tell(&rig, &notice(&rig, "change", "product", &json!(3), json!({ "id": 3 }))).await;
    assert_eq!(notices(&rig).await, json!({ "foreign": 1, "other": 1 }));
}

#[tokio::test]
async fn what_has_another_shape_than_expected_is_taken_for_not_known() {
    let rig = rig().await;
    let mut bare = told(
        &rig,
        "change",
        &json!(1),
        json!({ "name": ["x"], "emails": "y", "phones": { "a": 1 }, "custom_fields": 5, "update_time": 7 }),
    );
    tell(&rig, &bare).await;
    bare["data"]["custom_fields"] =
        json!({ rig.key("person", "Segment User ID"): { "type": "varchar", "value": { "a": [null] } }, "": null });
    bare["previous"] = json!({ "emails": 7, "custom_fields": [] });
    tell(&rig, &bare).await;
    let meta = bare["meta"].as_object_mut().expect("a map");
    meta.retain(|key, _| matches!(key.as_str(), "action" | "entity" | "entity_id"));
    tell(&rig, &bare).await;
    bare["meta"]["timestamp"] = json!("yesterday");
    bare["meta"]["entity_id"] = json!(1);
    tell(&rig, &bare).await;
    assert_eq!(notices(&rig).await, json!({ "learned": 4 }));
    rig.run("u9", json!({ "name": "Nine", "email": "y" })).await;
    assert_ne!(rig.person("u9")["id"], json!(1));
}

#[tokio::test]
async fn who_was_entered_by_hand_is_found_without_a_search() {
    let rig = rig().await;
    let bob = rig.aside("/api/v2/persons", json!({ "name": "Bob", "emails": [{ "value": "Bob@Acme.com" }] }))["id"].clone();
    let data =
        json!({ "name": "Bob", "emails": [{ "label": "work", "value": "Bob@Acme.com", "primary": true }], "custom_fields": {} });
    tell(&rig, &told(&rig, "create", &bob, data)).await;
    rig.mock.clear_log();
    rig.run("u2", json!({ "name": "Bob B.", "email": "bob@acme.com" })).await;
    assert!(rig.calls(Method::Get, "persons/search").is_empty(), "{:?}", calls(&rig));
    assert_eq!((rig.person("u2")["id"].clone(), rig.mock.count("persons")), (bob, 2));
    assert_eq!(notices(&rig).await, json!({ "learned": 1 }));
}

#[tokio::test]
async fn who_was_deleted_or_merged_by_hand_is_not_written_to_in_vain() {
    let rig = rig().await;
    rig.run("u1", json!({ "name": "Ada" })).await;
    let ada = rig.person("u1")["id"].clone();
    rig.delete_aside(&format!("/api/v2/persons/{ada}"));
    tell(&rig, &notice(&rig, "delete", "person", &ada, Value::Null)).await;
    rig.mock.clear_log();
    rig.run("u1", json!({ "name": "Ada again" })).await;
    assert_eq!(calls(&rig), ["GET /api/v2/itemSearch/field", "POST /api/v2/persons"], "nothing was sent to who is gone");

    let (gone, stays) = (rig.person("u1")["id"].clone(), rig.aside("/api/v2/persons", json!({ "name": "Twin" }))["id"].clone());
    rig.delete_aside(&format!("/api/v2/persons/{gone}"));
    let mut merged = notice(&rig, "delete", "person", &gone, Value::Null);
    merged["meta"]["merged_to_id"] = json!(stays.to_string());
    tell(&rig, &merged).await;
    rig.mock.clear_log();
    rig.run("u1", json!({ "name": "Ada, merged" })).await;
    assert_eq!(calls(&rig), [format!("PATCH /api/v2/persons/{stays}")], "what led to the one leads to the other");

    // Told of as a change, that somebody is deleted is the same.
    rig.delete_aside(&format!("/api/v2/persons/{stays}"));
    tell(&rig, &told(&rig, "change", &stays, json!({ "name": "Twin", "is_deleted": true }))).await;
    rig.mock.clear_log();
    rig.run("u1", json!({ "name": "Ada, anew" })).await;
    assert_eq!(calls(&rig), ["GET /api/v2/itemSearch/field", "POST /api/v2/persons"]);
}

#[tokio::test]
async fn what_people_changed_is_known_without_a_read_and_what_cannot_be_told_is_read() {
    let more = "write = \"differs\"\nreread_after = \"1h\"";
    let script = r#"
fn handle(event) {
    let t = event.traits;
    person::upsert(#{ "Segment User ID": event.userId }, #{ name: t?.name, labels: t?.label, "Plan": t?.plan });
}
"#;
    let rig = Setup::new().rule_with("person", "type = \"identify\"", script, more).account(HOOKS).start().await;
    let send = async || {
        rig.mock.clear_log();
        rig.run("u1", json!({ "name": "Ada", "plan": "Pro" })).await;
        calls(&rig)
    };
    send().await;
    let ada = rig.person("u1")["id"].clone();
    assert_eq!(send().await, [""; 0], "what was seen an instant ago is trusted");

    rig.by_hand("person", &ada, json!({ "name": "Ada L." }));
    let custom = json!({ rig.key("person", "Plan"): { "type": "enum", "id": rig.person("u1")["custom_fields"][rig.key("person", "Plan")] } });
    let hers = json!({ "name": "Ada L.", "custom_fields": custom, "update_time": later(-50) });
    age(&rig, &ada, 100).await;
    tell(&rig, &told(&rig, "change", &ada, hers.clone())).await;
    assert_eq!(send().await, [format!("PATCH /api/v2/persons/{ada}")], "she was renamed, and nothing had to be read");
    assert_eq!(rig.person("u1")["name"], "Ada");

    // What comes late does not bring back what was there before.
    let mut old = told(&rig, "change", &ada, json!({ "name": "Long ago", "update_time": later(-600) }));
    tell(&rig, &old).await;
    assert_eq!(send().await, [""; 0]);
    old["meta"]["user_id"] = me(&rig)["id"].clone();
    old["meta"]["change_source"] = json!("api");
    old["data"]["update_time"] = rig.person("u1")["update_time"].clone();
    tell(&rig, &old).await;
    assert_eq!(send().await, [""; 0], "our own change is known already");
    assert_eq!(notices(&rig).await, json!({ "learned": 1, "old": 1, "own": 1 }));

    // Labels are told in another shape: what they are now is not known.
    rig.run("u1", json!({ "name": "Ada", "plan": "Pro", "label": "Customer" })).await;
    rig.mock.clear_log();
    rig.run("u1", json!({ "name": "Ada", "plan": "Pro", "label": "Customer" })).await;
    assert_eq!(calls(&rig), [""; 0]);
    let labelled = json!({ "name": "Ada", "update_time": later(-50), "label_ids": "whatever" });
    age(&rig, &ada, 100).await;
    tell(&rig, &told(&rig, "change", &ada, labelled)).await;
    rig.mock.clear_log();
    rig.run("u1", json!({ "name": "Ada", "plan": "Pro", "label": "Customer" })).await;
    assert_eq!(rig.calls(Method::Get, &format!("/persons/{ada}")).len(), 1, "{:?}", calls(&rig));
}

#[tokio::test]
async fn what_comes_late_after_a_restart_is_told_from_what_we_know() {
    let mut rig = rig().await;
    rig.run("u1", json!({ "name": "Ada", "email": "ada@acme.com" })).await;
    let ada = rig.person("u1")["id"].clone();
    rig.restart().await;
    rig.mock.set_search_lag(BLIND);
    let before = json!([{ "label": "work", "value": "former@acme.com", "primary": true }]);
    tell(&rig, &told(&rig, "change", &ada, json!({ "name": "Ada", "emails": before, "update_time": later(-600) }))).await;
    assert_eq!(notices(&rig).await, json!({ "old": 1 }));
    rig.run("u2", json!({ "name": "Another", "email": "former@acme.com" })).await;
    assert_ne!(rig.person("u2")["id"], ada);
}

#[tokio::test]
async fn news_of_one_second_are_not_put_in_an_order() {
    let more = "write = \"differs\"\nreread_after = \"1h\"";
    let rig = Setup::new().rule_with("person", "type = \"identify\"", TWO, more).account(HOOKS).start().await;
    rig.run("u1", json!({ "name": "Ada" })).await;
    let ada = rig.person("u1");
    rig.by_hand("person", &ada["id"], json!({ "name": "Ada L." }));
    // Within the second of our own write, by somebody else.
    let same = json!({ "name": "Ada L.", "update_time": ada["update_time"], "custom_fields": {} });
    tell(&rig, &told(&rig, "change", &ada["id"], same)).await;
    rig.mock.clear_log();
    rig.run("u1", json!({ "name": "Ada" })).await;
    let id = &ada["id"];
    assert_eq!(calls(&rig), [format!("GET /api/v2/persons/{id}"), format!("PATCH /api/v2/persons/{id}")]);
}

#[tokio::test]
async fn a_command_registers_checks_and_ends_them() {
    let rig = Setup::person(TWO).account(HOOKS).own_mirror().start().await;
    rig.run("u1", json!({ "name": "Ada", "email": "ada@acme.com" })).await;
    let status = rig.account_status().await.webhooks.expect("webhooks");
    assert_eq!((status.url.as_str(), status.subscription), ("http://127.0.0.1:9/hooks/pipedrive/main", None));
    assert_eq!(
        command(&rig, &["check"]).await,
        "error: account main: no webhooks were registered for account `main`: run `pipewright webhooks register`\n"
    );
    let forbidden = Fault::Status { status: 403, body: json!({ "success": false, "error": "Forbidden" }) };
    rig.mock.fail_matching(FaultMatch::next(Method::Get, "/webhooks"), forbidden);
    let said = command(&rig, &["register"]).await;
    assert!(said.starts_with("error: account main: GET /api/v1/webhooks: "), "{said}");
    assert!(said.contains("webhooks need the token of an admin; give one to `api_token`"), "{said}");
    rig.mock.clear_log();
    assert_eq!(
        command(&rig, &["register"]).await,
        "main: registered: Pipedrive tells http://127.0.0.1:9/hooks/pipedrive/main of all changes (subscription 1)\n20 tokens\n"
    );
    assert_eq!(
        command(&rig, &["register", "--account", "main"]).await,
        "main: was registered already: Pipedrive tells http://127.0.0.1:9/hooks/pipedrive/main of all changes (subscription 1)\n10 tokens\n"
    );
    assert_eq!(command(&rig, &["check"]).await, "main: Pipedrive has them, and what it last sent was taken\n10 tokens\n");
    assert_eq!(calls(&rig), ["GET /api/v1/webhooks", "POST /api/v1/webhooks", "GET /api/v1/webhooks", "GET /api/v1/webhooks"]);
    assert_eq!(rig.account_status().await.webhooks.expect("webhooks").subscription, Some(1));

    // Somebody has deleted it: it is made anew, and what was missed is asked for.
    rig.delete_aside("/api/v1/webhooks/1");
    rig.mock.clear_log();
    let said = command(&rig, &["check"]).await;
    assert!(said.starts_with("main: Pipedrive had ended them; registered: Pipedrive tells "), "{said}");
    assert!(said.ends_with("What was missed was asked for\n30 tokens\n"), "{said}");
    assert!(rig.queries("/api/v2/persons")[0].contains("updated_since="), "{:?}", rig.queries("/api/v2/persons"));
    assert_eq!(command(&rig, &["remove"]).await, "main: ended: 2\n16 tokens\n");
    let json: Value = serde_json::from_str(&command(&rig, &["remove", "--json"]).await).expect("JSON");
    assert_eq!(json, json!({ "accounts": [{ "account": "main", "ended": [] }], "tokens": 10 }));
    assert_eq!(rig.account_status().await.webhooks.expect("webhooks").subscription, None);
    let said = command(&rig, &["register", "--account", "nobody"]).await;
    assert!(said.starts_with("error: there is no account `nobody`"), "{said}");
}

#[tokio::test]
async fn webhooks_that_do_not_arrive_are_seen_by_the_check() {
    let elsewhere = Receiver::start().await;
    elsewhere.always(Answer::Status(404));
    let hooks = format!("webhooks = {{ url = \"{}\", password = \"env:PIPEWRIGHT_TEST_UNSET\" }}", elsewhere.url("/"));
    let rig = Setup::person(TWO).account(&hooks).own_mirror().start().await;
    rig.run("u1", json!({ "name": "Ada", "email": "ada@acme.com" })).await;
    command(&rig, &["register"]).await;
    rig.aside("/api/v2/persons", json!({ "name": "Told in vain" }));
    rig.mock.webhooks_settled().await;
    rig.mock.clear_log();
    let said = command(&rig, &["check"]).await;
    assert!(
        said.starts_with("main: Pipedrive has them, but what it last sent was answered 404: look whether the address"),
        "{said}"
    );
    assert!(rig.queries("/api/v2/persons")[0].contains("updated_since="), "{:?}", rig.queries("/api/v2/persons"));
    let status = pipewright(&rig, &["status"]).output().await.expect("it runs");
    let said = String::from_utf8_lossy(&status.stdout);
    assert_eq!(status.status.code(), Some(1), "{said}");
    assert!(said.contains("what Pipedrive last sent was answered 404: is the address right"), "{said}");
    // One that arrives shows that all is well.
    tell(&rig, &told(&rig, "change", &json!(1), json!({ "name": "Ada" }))).await;
    assert_eq!(rig.account_status().await.webhooks.expect("webhooks").problem, None);
}

#[tokio::test]
async fn a_deletion_that_comes_late_takes_nothing_away() {
    let rig = rig().await;
    rig.run("u1", json!({ "name": "Ada" })).await;
    let ada = rig.person("u1")["id"].clone();
    // It was restored since, and changed.
    let mut late = notice(&rig, "delete", "person", &ada, Value::Null);
    late["meta"]["timestamp"] = json!(later(-600));
    tell(&rig, &late).await;
    late["meta"]["timestamp"] = json!(later(0));
    late["meta"]["attempt"] = json!("2");
    tell(&rig, &late).await;
    assert_eq!(notices(&rig).await, json!({ "old": 2 }));
    rig.mock.clear_log();
    rig.run("u1", json!({ "name": "Ada L." })).await;
    assert_eq!((calls(&rig), rig.persons("u1")), (vec![format!("PATCH /api/v2/persons/{ada}")], 1));
}

#[tokio::test]
async fn two_webhooks_of_one_second_are_not_put_in_an_order() {
    let more = "write = \"differs\"\nreread_after = \"1h\"";
    let rig = Setup::new().rule_with("person", "type = \"identify\"", TWO, more).account(HOOKS).start().await;
    rig.run("u1", json!({ "name": "Ada" })).await;
    let ada = rig.person("u1")["id"].clone();
    age(&rig, &ada, 100).await;
    let at = later(-50);
    for name in ["Second", "Ada"] {
        tell(&rig, &told(&rig, "change", &ada, json!({ "name": name, "update_time": at, "custom_fields": {} }))).await;
    }
    rig.by_hand("person", &ada, json!({ "name": "Second" }));
    rig.mock.clear_log();
    rig.run("u1", json!({ "name": "Ada" })).await;
    assert_eq!(calls(&rig), [format!("GET /api/v2/persons/{ada}"), format!("PATCH /api/v2/persons/{ada}")]);
}

#[tokio::test]
async fn what_was_told_before_the_start_takes_nothing_out_of_the_index() {
    let mut rig = rig().await;
    let mail = |value: &str| json!([{ "label": "work", "value": value, "primary": true }]);
    let bob = rig.aside("/api/v2/persons", json!({ "name": "Bob", "emails": [{ "value": "bob@acme.com" }] }))["id"].clone();
    tell(&rig, &told(&rig, "create", &bob, json!({ "name": "Bob", "emails": mail("bob@acme.com"), "update_time": later(0) })))
        .await;
    // He had another address for a moment, long ago, and nobody remembers what was told since.
    rig.restart().await;
    rig.mock.set_search_lag(BLIND);
    let mut old =
        told(&rig, "change", &bob, json!({ "name": "Bob", "emails": mail("other@acme.com"), "update_time": later(-900) }));
    old["previous"] = json!({ "emails": mail("bob@acme.com") });
    tell(&rig, &old).await;
    rig.run("u1", json!({ "name": "Bob", "email": "bob@acme.com" })).await;
    assert_eq!(rig.person("u1")["id"], bob);
    rig.run("u2", json!({ "name": "Other", "email": "other@acme.com" })).await;
    assert_ne!(rig.person("u2")["id"], bob);
}

#[tokio::test]
async fn merges_lead_to_the_last_in_whatever_order_they_are_told_and_lists_leave_that_alone() {
    let rig = Setup::person(TWO).account(HOOKS).own_mirror().start().await;
    rig.mock.set_search_lag(BLIND);
    let mut ids = Vec::new();
    for user in ["a", "b", "c"] {
        rig.run(user, json!({ "name": user, "email": format!("{user}@acme.com") })).await;
        ids.push(rig.person(user)["id"].clone());
    }
    // As in Pipedrive: b went into c after a had gone into b.
    for (gone, into) in [(1, 2), (0, 1), (2, 2)] {
        let mut merged = notice(&rig, "delete", "person", &ids[gone], Value::Null);
        // Late, too: a merge stays true.
        merged["meta"]["attempt"] = json!(3);
        merged["meta"]["timestamp"] = json!(later(-100));
        merged["meta"]["merged_to_id"] = json!(ids[into].to_string());
        tell(&rig, &merged).await;
    }
    for gone in &ids[..2] {
        rig.delete_aside(&format!("/api/v2/persons/{gone}"));
    }
    rig.by_hand("person", &ids[2], json!({ "job_title": "CEO" }));
    // Somebody new makes for a sweep, which lists the one that stays with what it holds itself.
    rig.run("d", json!({ "name": "D", "email": "d@acme.com" })).await;
    for user in ["a", "b", "c"] {
        rig.mock.clear_log();
        let row = rig.run(user, json!({ "name": format!("{user} again") })).await;
        let last = &ids[2];
        assert_eq!((row.state, calls(&rig)), (DeliveryState::Done, vec![format!("PATCH /api/v2/persons/{last}")]), "{user}");
    }
}

#[tokio::test]
async fn settings_that_were_changed_since_are_told() {
    let rig = Setup::person(TWO).account(HOOKS).start().await;
    rig.run("u1", json!({ "name": "Ada" })).await;
    command(&rig, &["register"]).await;
    let rules = std::fs::read_to_string(rig.dir.path().join("rules.toml")).expect("reads");
    write(rig.dir.path(), "rules.toml", &rules.replace("webhooks = { url", "webhooks = { user = \"other\", url"));
    let outcome = rig.daemon().reload().reload().await;
    assert!(matches!(outcome, pipewright::reload::ReloadOutcome::Swapped { .. }), "{outcome:?}");
    crate::support::wait_until("it is told", async || rig.account_status().await.webhooks.expect("webhooks").problem).await;
    let said = command(&rig, &["check"]).await;
    assert!(said.starts_with("main: they were made with other settings; registered: Pipedrive tells "), "{said}");
    assert!(said.contains("(subscription 2); ended an earlier one: 1."), "{said}");
    assert_eq!(rig.account_status().await.webhooks.expect("webhooks").problem, None);
}

#[tokio::test]
async fn after_a_time_without_the_daemon_what_was_missed_is_asked_for() {
    let mut rig = Setup::person(TWO).account(HOOKS).own_mirror().start().await;
    rig.run("u1", json!({ "name": "Ada", "email": "ada@acme.com" })).await;
    command(&rig, &["register"]).await;
    let kept = rig.store().kv_get("webhooks", "main").await.expect("reads").expect("kept");
    let mut kept: Value = serde_json::from_slice(&kept).expect("JSON");
    let stopped = Timestamp::from_second(Timestamp::now().as_second() - 3_600).expect("a time");
    kept["alive_at"] = json!(stopped);
    // As if it had stopped an hour ago.
    let (space, key) = ("webhooks".to_owned(), "main".to_owned());
    rig.store().commit(vec![Write::KvPut { space, key, value: kept.to_string().into_bytes() }]).await.expect("writes");
    rig.stop().await;
    rig.mock.clear_log();
    rig.start_again().await;
    let since = format!("updated_since={}", Timestamp::from_second(stopped.as_second() - 30).expect("a time"));
    crate::support::wait_until("the sweep", async || {
        let swept = rig.queries("/api/v2/persons").iter().any(|query| query.replace("%3A", ":").contains(&since));
        swept.then_some(())
    })
    .await;
}
