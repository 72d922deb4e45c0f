//! Secrets and personal data through every way that makes a daemon talk, at its most talkative: neither shows in what it says, counts,
//! answers or, for secrets, keeps.

use std::path::Path;

use hmac::Mac as _;
use pipewright::crash;
use pipewright::mock::{Fault, FaultMatch, MockOptions};
use pipewright::pipedrive::Method;
use serde_json::{Value, json};

use super::harness::{Daemon, Folder};
use crate::support::account::Served;
use crate::support::overheard::{PERSONAL, PHONE, SECRET, nothing_told};
use crate::support::{Reply, request, wait_until};

const WRITE_KEY: &str = "s3cret-write-key";
const TOKEN: &str = "s3cret-api-token";
const WEBHOOK_SECRET: &str = "s3cret-webhook-secret";
const WEBHOOK_TOKEN: &str = "s3cret-webhook-token";
const ADMIN_TOKEN: &str = "s3cret-admin-token";

const USER: &str = "pers0nal-user";
const MAIL: &str = "pers0nal.mail@leak.example";

/// What the track event `Note Upserted` makes of its `v`, by its `kind`, and how its delivery ends.
const WAYS: [(&str, &str, &str); 17] = [
    ("written", "person::create(#{ name: v, emails: v, phones: event.properties.phone });", "done"),
    ("deal", "deal::create(#{ title: v, person_id: person::create(#{ name: v }) });", "done"),
    ("note", "note::create(#{ content: v, person_id: person::create(#{ name: v }) });", "done"),
    ("found", "person::find(#{ email: v }); pipedrive::request(\"GET\", `/api/v2/persons/${v}`);", "dead"),
    ("asked", "pipedrive::request(\"POST\", `/api/v2/persons/${v}`, #{ name: v });", "dead"),
    ("queried", "pipedrive::request(\"GET\", `/api/v2/persons?term=${v}`);", "dead"),
    ("logged", "log::info(v); log::warn(v); log::error(v); print(v); debug(v);", "skipped"),
    ("thrown", "throw v;", "dead"),
    ("thrown map", "throw #{ name: v };", "dead"),
    ("failed", "fail(v);", "dead"),
    ("skipped", "skip(v);", "skipped"),
    ("no number", "person::create(#{ name: \"x\", Score: v });", "dead"),
    ("no option", "person::create(#{ name: \"x\", labels: [v] }, #{ on_unknown: \"fail\" });", "dead"),
    ("no option, dropped", "person::create(#{ name: \"x\", labels: [v] });", "done"),
    ("no owner", "person::create(#{ name: \"x\", owner: v }, #{ on_unknown: \"fail\" });", "dead"),
    ("no id", "person::update(v, #{ name: \"x\" });", "dead"),
    ("no field", "let m = #{ name: \"x\" }; m[v] = 1; person::create(m);", "waits"),
];

/// A daemon that logs all there is, in a folder whose secrets are all the test's.
struct Talkative {
    account: Served,
    folder: Folder,
    daemon: Daemon,
    /// Whatever it answered that somebody outside may see.
    answers: String,
}

impl Talkative {
    async fn start(more: &[(&str, &str)]) -> Self {
        let account = Served::start(MockOptions { token: TOKEN.to_owned(), ..MockOptions::unlimited() }).await;
        let folder = Folder::init().await;
        folder.use_address(account.at);
        folder.edit("rules.toml", "writes = \"off\"", "writes = \"on\"");
        folder.edit("rules.toml", "retry_first = \"1s\"", "retry_first = \"10ms\"");
        for key in ["token = \"env:PIPEWRIGHT_ADMIN_TOKEN\"", "webhook_secret = ", "webhook_token = "] {
            folder.edit("rules.toml", &format!("# {key}"), key);
        }
        let ways: String = WAYS.iter().map(|(kind, body, _)| format!("        \"{kind}\" => {{ {body} }},\n")).collect();
        let script = format!(
            "fn handle(event) {{\n    let v = event.properties.v;\n    switch event.properties.kind {{\n{ways}    }}\n}}\n"
        );
        folder.write("scripts/note.rhai", &script);
        let mut variables = vec![
            ("PIPEWRIGHT_WRITE_KEY", WRITE_KEY),
            ("PIPEDRIVE_API_TOKEN", TOKEN),
            ("PIPEWRIGHT_WEBHOOK_SECRET", WEBHOOK_SECRET),
            ("PIPEWRIGHT_WEBHOOK_TOKEN", WEBHOOK_TOKEN),
            ("PIPEWRIGHT_ADMIN_TOKEN", ADMIN_TOKEN),
            ("PIPEWRIGHT_LOG", "trace"),
        ];
        variables.extend(more);
        let daemon = Daemon::try_serve(&folder, &variables).await.expect("it starts");
        Self { account, folder, daemon, answers: String::new() }
    }

    /// Asks the event listener; the answer must not repeat anything either.
    async fn ask(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<String>) -> u16 {
        let reply = request(self.daemon.events, method, path, headers, body.into()).await;
        self.keep(&reply);
        reply.status
    }

    /// Sends an event with the write key in its body.
    async fn send(&mut self, path: &str, mut event: Value) -> u16 {
        event["writeKey"] = json!(WRITE_KEY);
        self.ask("POST", path, &[("content-type", "application/json")], event.to_string()).await
    }

    async fn admin(&self, path: &str) -> Reply {
        let bearer = format!("Bearer {ADMIN_TOKEN}");
        request(self.daemon.admin, "GET", path, &[("authorization", &bearer)], "").await
    }

    fn keep(&mut self, reply: &Reply) {
        self.answers.push_str(&format!("{:?}\n{}\n", reply.headers, reply.text()));
    }

    /// The state in which the only delivery of this message is, once it has one that is not passing.
    async fn state(&self, message: &str) -> String {
        wait_until(&format!("{message} has ended"), || async {
            let list = self.admin(&format!("/api/events?message_id={message}")).await.json();
            let delivery = &list["deliveries"][0];
            let state = delivery["state"].as_str()?.to_owned();
            let paused = || async {
                let status = self.admin("/api/status").await.json();
                let rules = status["delivery"]["rules"].as_array().cloned().unwrap_or_default();
                rules.iter().any(|rule| !rule["paused"].is_null())
            };
            match state.as_str() {
                "pending" => paused().await.then(|| "waits".to_owned()),
                _ => Some(state),
            }
        })
        .await
    }

    /// All that it has said, counts, answers and shows of its state. Nothing of it may tell anything.
    async fn overheard(&self) -> String {
        let mut all = format!("{}\n{}", self.daemon.process.said(), self.answers);
        for path in ["/metrics", "/healthz", "/readyz", "/api/status"] {
            let reply = self.admin(path).await;
            assert_eq!(reply.status, 200, "{path}");
            all.push_str(&reply.text());
        }
        all
    }

    /// The files that it keeps hold no secret, and neither does what it shows of any event.
    async fn keeps_no_secret(&self) {
        let mut shown = String::new();
        for list in ["/api/events?limit=1000", "/api/events?rejected=1", "/api/events?unmatched=1"] {
            shown.push_str(&self.admin(list).await.text());
        }
        let ids = self.admin("/api/events?limit=1000").await.json();
        for delivery in ids["deliveries"].as_array().expect("a list") {
            shown.push_str(&self.folder.run(&["events", "show", delivery["id"].as_str().expect("an id")]).await.ok());
        }
        assert!(shown.contains(PERSONAL), "records are where events can be seen");
        assert_eq!(shown.lines().find(|line| line.contains(SECRET)), None);
        self.keeps_no_secret_in_files();
    }

    fn keeps_no_secret_in_files(&self) {
        for entry in std::fs::read_dir(self.folder.path().join("data")).expect("the store") {
            let path = entry.expect("an entry").path();
            if path.is_file() {
                assert!(!holds(&path, SECRET), "{} holds a secret", path.display());
            }
        }
    }
}

fn holds(file: &Path, text: &str) -> bool {
    std::fs::read(file).expect("its bytes").windows(text.len()).any(|bytes| bytes == text.as_bytes())
}

fn signature(body: &str) -> String {
    let mut mac = hmac::Hmac::<sha1::Sha1>::new_from_slice(WEBHOOK_SECRET.as_bytes()).expect("a key");
    mac.update(body.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

fn identify(message: &str) -> Value {
    json!({
        "messageId": message, "userId": USER, "anonymousId": "pers0nal-anonymous",
        "traits": { "name": "Pers0nal Name", "email": MAIL, "phone": format!("+1{PHONE}"), "plan": "pers0nal-plan",
                    "company": { "name": "Pers0nal Ltd" } },
        "context": { "ip": "203.0.113.9", "userAgent": "pers0nal-agent", "groupId": "pers0nal-group" },
    })
}

#[tokio::test]
async fn what_events_hold_and_scripts_make_of_it_is_in_records_only() {
    let mut it = Talkative::start(&[]).await;
    for (path, more) in [
        ("/v1/identify", json!({})),
        ("/v1/group", json!({ "groupId": "pers0nal-group", "traits": { "name": "Pers0nal Ltd" } })),
        (
            "/v1/track",
            json!({ "event": "Deal Upserted", "properties": { "deal_id": "pers0nal-deal", "title": "Pers0nal title" } }),
        ),
        ("/v1/track", json!({ "event": "Activity Upserted", "properties": { "subject": "Pers0nal subject" } })),
        ("/v1/track", json!({ "event": "pers0nal event" })),
        ("/v1/page", json!({ "name": "pers0nal page" })),
        ("/v1/alias", json!({ "previousId": "pers0nal-before" })),
    ] {
        let mut event = identify("");
        event.as_object_mut().expect("an object").remove("messageId");
        event.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        assert_eq!(it.send(path, event).await, 200, "{path}");
    }
    let signed = json!({ "type": "identify", "messageId": "w1", "userId": USER, "traits": { "email": MAIL } }).to_string();
    assert_eq!(it.ask("POST", "/webhooks/website", &[("x-signature", &signature(&signed))], signed.as_str()).await, 200);
    let batch = format!("[{signed}]").replace("w1", "w2");
    let bearer = format!("Bearer {WEBHOOK_TOKEN}");
    let headers = [("x-signature", signature(&signed.replace("w1", "w2"))), ("authorization", bearer)];
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(it.ask("POST", "/webhooks/website", &headers, batch).await, 200);
    for (n, (kind, _, ends)) in WAYS.into_iter().enumerate() {
        let message = format!("way-{n}");
        let properties = json!({ "kind": kind, "v": MAIL, "phone": format!("+1{PHONE}") });
        let event = json!({ "messageId": message, "userId": USER, "event": "Note Upserted", "properties": properties });
        assert_eq!(it.send("/v1/track", event).await, 200);
        assert_eq!(it.state(&message).await, ends, "{kind}:\n{}", it.daemon.process.said());
    }
    nothing_told(&it.overheard().await);
    it.keeps_no_secret().await;
}

#[tokio::test]
async fn refusals_repeat_nothing_of_what_they_refuse() {
    let mut it = Talkative::start(&[]).await;
    let json = ("content-type", "application/json");
    let basic = ("authorization", "Basic czNjcmV0LXdyaXRlLWtleTo=");
    let good = identify("m").to_string();
    for (path, headers, body) in [
        ("/v1/identify", vec![json], r#"{"writeKey":"s3cret-other","userId":"pers0nal-user"}"#.to_owned()),
        ("/v1/identify", vec![json, ("authorization", "Basic czNjcmV0")], good.clone()),
        ("/v1/identify", vec![json, ("authorization", "Bearer s3cret-other")], good.clone()),
        ("/v1/identify", vec![json, basic], format!("{{\"userId\": {MAIL}}}")),
        ("/v1/identify", vec![json, basic], "\"pers0nal-user".to_owned()),
        ("/v1/identify", vec![json, basic], r#"{"traits":"pers0nal","userId":"pers0nal-user"}"#.to_owned()),
        ("/v1/identify", vec![json, basic], r#"{"traits":{"email":"pers0nal"}}"#.to_owned()),
        ("/v1/identify", vec![json, basic], r#"{"userId":"pers0nal","messageId":{"pers0nal":1}}"#.to_owned()),
        ("/v1/identify", vec![json, basic], format!("{{\"userId\":\"{}\"}}", PERSONAL.repeat(9_000))),
        ("/v1/identify", vec![json, basic, ("content-encoding", "gzip")], "pers0nal".to_owned()),
        ("/v1/identify", vec![json, basic, ("content-encoding", "pers0nal")], good.clone()),
        ("/v1/pers0nal?email=pers0nal&key=s3cret", vec![json, basic], good.clone()),
        ("/webhooks/pers0nal", vec![("x-signature", "s3cret")], good.clone()),
        ("/webhooks/website", vec![("x-signature", "s3cret")], good.clone()),
        ("/webhooks/website", vec![], good.clone()),
        ("/webhooks/website", vec![("x-signature", "00"), ("authorization", "Bearer s3cret-other")], format!("[{good}]")),
    ] {
        let status = it.ask("POST", path, &headers, body).await;
        assert!((400..500).contains(&status), "{path} {headers:?}: {status}");
    }
    let events = json!({ "writeKey": WRITE_KEY, "batch": [{ "type": "pers0nal", "userId": USER }, { "type": "track", "userId": USER, "event": 7 },
        { "type": "identify", "writeKey": WRITE_KEY, "userId": "", "traits": { "email": MAIL } }] });
    it.ask("POST", "/v1/batch", &[json], events.to_string()).await;
    wait_until("the refused ones are kept", || async {
        it.admin("/api/events?rejected=1").await.text().contains("pers0nal").then_some(())
    })
    .await;
    // Nor does the admin listener to whom it does not know.
    for bearer in ["Bearer s3cret-other", "Basic czNjcmV0LXdyaXRlLWtleTo=", "s3cret"] {
        let reply = request(it.daemon.admin, "GET", "/api/events?user=pers0nal", &[("authorization", bearer)], "").await;
        assert_eq!(reply.status, 401);
        it.keep(&reply);
    }
    // It answers what was asked with the question, and does not log it.
    assert_eq!(it.admin("/api/events?state=pers0nal").await.status, 400);
    assert_eq!(it.admin("/api/events/pers0nal").await.status, 404);
    nothing_told(&it.overheard().await);
    it.keeps_no_secret_in_files();
}

#[tokio::test]
async fn what_pipedrive_repeats_is_in_records_only() {
    let mut it = Talkative::start(&[]).await;
    let echo = json!({ "success": false, "error": format!("{MAIL} of {TOKEN}"), "error_info": MAIL, "code": format!("no {MAIL}"),
        "data": { "name": "Pers0nal Name" } });
    let status = |status| Fault::Status { status, body: echo.clone() };
    let faults = [
        (status(400), "dead"),
        (status(404), "dead"),
        (Fault::WrongJson(json!({ "success": true, "data": { "id": MAIL } })), "done"),
        (Fault::Truncated, "done"),
        (status(503), "done"),
        (Fault::Cut { committed: true }, "done"),
        (Fault::TooMany { remaining: 0, reset: 1, retry_after: None }, "done"),
    ];
    for (n, (fault, ends)) in faults.into_iter().enumerate() {
        let shown = format!("{fault:?}");
        it.account.mock.fail_matching(FaultMatch::next(Method::Post, "persons"), fault);
        let message = format!("fault-{n}");
        let properties = json!({ "kind": "written", "v": format!("{n}{MAIL}"), "phone": PHONE });
        let event = json!({ "messageId": message, "userId": USER, "event": "Note Upserted", "properties": properties });
        assert_eq!(it.send("/v1/track", event).await, 200);
        assert_eq!(it.state(&message).await, ends, "{shown}:\n{}", it.daemon.process.said());
    }
    for code in [401, 402, 403] {
        it.account.mock.fail_matching(FaultMatch::always("persons"), status(code));
        let mut event = identify(&format!("account-{code}"));
        // What is not new is not sent.
        event["traits"]["name"] = json!(format!("Pers0nal {code}"));
        assert_eq!(it.send("/v1/identify", event).await, 200);
        wait_until("the account pauses", || async {
            let shown = it.admin("/api/status").await.json();
            let paused = shown["delivery"]["accounts"][0]["paused"]["reason"].as_str()?.to_owned();
            paused.contains(&code.to_string()).then_some(())
        })
        .await;
        nothing_told(&it.overheard().await);
        it.account.mock.clear_faults();
        it.folder.run(&["resume", "account", "main"]).await.ok();
        assert_eq!(it.state(&format!("account-{code}")).await, "done");
    }
    nothing_told(&it.overheard().await);
}

#[tokio::test]
async fn a_secret_that_was_written_in_is_refused_and_repeated_nowhere() {
    let mut it = Talkative::start(&[]).await;
    let good = it.folder.read("rules.toml");
    for (from, to) in [
        ("api_token = \"env:PIPEDRIVE_API_TOKEN\"", "api_token = \"s3cret-plain\""),
        ("api_token = \"env:PIPEDRIVE_API_TOKEN\"", "api_token = \"s3cret-plain"),
        ("api_token = \"env:PIPEDRIVE_API_TOKEN\"", "api_token = s3cret"),
        ("api_token = \"env:PIPEDRIVE_API_TOKEN\"", "api_token = { value = \"s3cret\" }"),
        ("write_keys = [\"env:PIPEWRIGHT_WRITE_KEY\"]", "write_keys = [\"env:PIPEWRIGHT_WRITE_KEY\", \"s3cret-plain\"]"),
        ("write_keys = [\"env:PIPEWRIGHT_WRITE_KEY\"]", "write_keys = \"s3cret-plain\""),
        ("webhook_secret = \"env:PIPEWRIGHT_WEBHOOK_SECRET\"", "webhook_secret = \"s3cret:plain\""),
        ("token = \"env:PIPEWRIGHT_ADMIN_TOKEN\"", "token = \"s3cret-plain\""),
    ] {
        assert!(good.contains(from), "{from}");
        it.folder.write("rules.toml", &good.replacen(from, to, 1));
        let refused = it.folder.run(&["reload"]).await;
        assert_eq!(refused.code, Some(1), "{to}: {refused:?}");
        let checked = it.folder.run(&["check"]).await;
        assert_eq!(checked.code, Some(2), "{to}: {checked:?}");
        let status = it.folder.run(&["status"]).await;
        for said in [refused, checked, status] {
            it.answers.push_str(&format!("{}{}", said.out, said.err));
        }
        nothing_told(&it.overheard().await);
        it.folder.write("rules.toml", &good);
        it.folder.run(&["reload"]).await.ok();
    }
}

#[tokio::test]
async fn a_panic_is_logged_by_its_place_and_not_by_what_was_being_worked_on() {
    let wish = format!("{}:1:{MAIL}", crash::BEFORE_ANSWER);
    let mut it = Talkative::start(&[(crash::VARIABLE, &wish)]).await;
    let mut connection = crate::support::Connection::open(it.daemon.events).await;
    let event = identify("first").to_string();
    let headers = [("content-type", "application/json"), ("authorization", "Basic czNjcmV0LXdyaXRlLWtleTo=")];
    assert!(connection.try_send("POST", "/v1/identify", &headers, event).await.is_err(), "its connection is gone");
    wait_until("the panic is logged", || async { it.daemon.process.said().contains("panicked; this is a fault").then_some(()) })
        .await;
    let said = it.daemon.process.said();
    assert!(said.lines().any(|l| l.contains("panicked") && l.contains("src/crash.rs:")), "{said}");
    // Nobody else notices.
    assert_eq!(it.send("/v1/identify", identify("second")).await, 200);
    assert_eq!(it.state("second").await, "done");
    nothing_told(&it.overheard().await);
}

#[tokio::test]
async fn a_panic_of_a_worker_fails_its_delivery_without_its_message() {
    let wish = format!("{}:20:{MAIL}", crash::BEFORE_SEND);
    let mut it = Talkative::start(&[(crash::VARIABLE, &wish)]).await;
    let panicked = |it: &Talkative| it.daemon.process.said().contains("a worker failed inside");
    for n in 0.. {
        assert!(n < 40, "some request is the twentieth");
        let properties = json!({ "kind": "written", "v": format!("{n}{MAIL}"), "phone": PHONE });
        let message = format!("m-{n}");
        let event = json!({ "messageId": message, "userId": USER, "event": "Note Upserted", "properties": properties });
        assert_eq!(it.send("/v1/track", event).await, 200);
        let state = it.state(&message).await;
        if state != "done" {
            assert!(matches!(state.as_str(), "uncertain" | "dead"), "{state}");
            break;
        }
    }
    assert!(panicked(&it), "{}", it.daemon.process.said());
    nothing_told(&it.overheard().await);
}
