//! From an identify call's bytes to a validated plan on one core: with a script, and the same in plain Rust.
//!
//! `cargo bench --bench script`. The last line is the ratio of the two, both measured in this run; it should be 6 at most.

#![allow(clippy::print_stdout, reason = "a bench prints what it measured")]
#![allow(clippy::disallowed_methods, reason = "a bench measures real time")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use pipewright::config::{MatchFields, ScriptConfig, WritePolicy};
use pipewright::crm::{Field, FieldOption, FieldType, Metadata, User};
use pipewright::pipedrive::Kind;
use pipewright::plan::{self, Action, At, Criteria, Criterion, FieldEntry, Link, Options, Plan, PrepareContext, Value, Verb};
use pipewright::script::{Memo, Outcome, Program, RunRequest, Sources, run_blocking};
use serde_json::{Value as Json, json};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SCRIPT: &str = r##"
fn handle(event) {
    let t = event.traits;
    let group = event.context?.groupId;
    let org = organization::upsert(
        #{ "Segment Group ID": group },
        #{ website: t?.company?.website },
        #{ on_create: #{ name: t?.company?.name ?? group } });
    let name = t?.name ?? text::join([t?.firstName, t?.lastName], " ");
    person::upsert(
        [#{ "Segment User ID": event.userId }, #{ email: t?.email }],
        #{
            name: name,
            emails: t?.email,
            org_id: org,
            "Plan": t?.plan,
            "Lifetime Value": money(t?.ltv, "EUR"),
            "Interests": t?.interests,
            "Signup Date": date::day(t?.createdAt),
        },
        #{ on_create: #{ owner: "ada@acme.com" }, if_empty: #{ phones: t?.phone } });
}
"##;

/// 1.3 KB, as a browser sends it.
fn event() -> Bytes {
    let event = json!({
        "type": "identify", "messageId": "ajs-next-1770091506789-000000000001", "userId": "user-4711",
        "anonymousId": "5f1c6d0e-3f0b-4f4e-9f0a-2f7f0c6a9d11", "timestamp": "2026-02-03T04:05:06.789Z",
        "sentAt": "2026-02-03T04:05:07.000Z", "receivedAt": "2026-02-03T04:05:07.123Z",
        "traits": { "email": "ada.lovelace@example.com", "firstName": "Ada", "lastName": "Lovelace", "plan": "Pro",
            "phone": "+44 20 7946 0000", "ltv": 1234.5, "age": 36, "createdAt": "2024-11-05T06:07:08.000Z",
            "company": { "id": "acme", "name": "Acme Ltd", "employees": 120, "industry": "Software" },
            "interests": ["Chess", "Poetry"],
            "address": { "street": "12 St James's Square", "city": "London", "postalCode": "SW1Y 4JH", "country": "GB" } },
        "context": { "groupId": "acme", "ip": "192.0.2.17", "locale": "en-GB", "timezone": "Europe/London",
            "library": { "name": "analytics.js", "version": "next-1.70.0" },
            "userAgent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36",
            "page": { "path": "/pricing", "referrer": "https://www.example.org/", "search": "?utm_source=newsletter&utm_medium=email",
                "title": "Pricing", "url": "https://www.example.com/pricing?utm_source=newsletter&utm_medium=email" },
            "campaign": { "source": "newsletter", "medium": "email", "name": "spring" },
            "screen": { "width": 1920, "height": 1080, "density": 2 } },
        "integrations": { "All": true }
    });
    Bytes::from(event.to_string())
}

fn metadata() -> Metadata {
    let field = |number: u8, name: &str, field_type: FieldType, options: &[&str]| Field {
        key: format!("{number:040x}"),
        name: name.to_owned(),
        field_type,
        options: options.iter().zip(1..).map(|(label, id)| FieldOption { id, label: (*label).to_owned() }).collect(),
        custom: true,
    };
    let person = vec![
        field(1, "Segment User ID", FieldType::Varchar, &[]),
        field(2, "Plan", FieldType::Enum, &["Free", "Pro", "Enterprise"]),
        field(3, "Lifetime Value", FieldType::Monetary, &[]),
        field(4, "Interests", FieldType::Set, &["Chess", "Poetry"]),
        field(5, "Signup Date", FieldType::Date, &[]),
    ];
    let organization = vec![field(6, "Segment Group ID", FieldType::Varchar, &[])];
    Metadata {
        fields: BTreeMap::from([(Kind::Person, person), (Kind::Organization, organization)]),
        users: vec![User { id: 7, name: "Ada".into(), email: "ada@acme.com".into(), active: true }],
        ..Metadata::default()
    }
}

fn context(metadata: &Metadata) -> PrepareContext<'_> {
    static MATCH_FIELDS: std::sync::LazyLock<MatchFields> = std::sync::LazyLock::new(MatchFields::default);
    PrepareContext { metadata, match_fields: &MATCH_FIELDS, rule: "person", message_id: "m-1", write: WritePolicy::Changed }
}

fn scripted(program: &Program, request: &RunRequest, metadata: &Metadata) -> usize {
    match run_blocking(program, request.clone()).outcome {
        Outcome::Plan(plan) => plan::prepare(&plan, &context(metadata)).expect("valid").len(),
        other => panic!("{other:?}"),
    }
}

fn native(payload: &[u8], metadata: &Metadata) -> usize {
    let event: Json = serde_json::from_slice(payload).expect("JSON");
    plan::prepare(&native_plan(&event), &context(metadata)).expect("valid").len()
}

/// What the script does.
fn native_plan(event: &Json) -> Plan {
    let traits = &event["traits"];
    let group = &event["context"]["groupId"];
    let value = |json: &Json| match json {
        Json::Null => Value::Leave,
        Json::String(text) if text.is_empty() => Value::Leave,
        other => Value::Json(other.clone()),
    };
    let entry = |name: &str, value: Value| FieldEntry { name: name.to_owned(), custom: false, value };
    let file: Arc<str> = Arc::from("person.rhai");
    let action = |ordinal, verb| Action { ordinal, at: At { file: file.clone(), line: 1, column: 1 }, verb };
    let company = &traits["company"]["name"];
    let name = match &traits["name"] {
        Json::Null => {
            let parts: Vec<&str> = ["firstName", "lastName"].iter().filter_map(|k| traits[k].as_str()).collect();
            Value::Json(parts.join(" ").into())
        }
        name => value(name),
    };
    let day = traits["createdAt"].as_str().and_then(|t| t.parse::<jiff::Timestamp>().ok());
    let day = day.map_or(Value::Leave, |t| Value::Json(t.to_zoned_datetime(jiff::tz::TimeZone::UTC).date().to_string().into()));
    let amount = match &traits["ltv"] {
        Json::Number(n) => Value::Money { amount: n.clone(), currency: Some("EUR".to_owned()) },
        _ => Value::Leave,
    };
    Plan {
        actions: vec![
            action(
                0,
                Verb::Upsert {
                    kind: Kind::Organization,
                    criteria: Criteria(vec![Criterion(vec![entry("Segment Group ID", value(group))])]),
                    fields: vec![entry("website", value(&traits["company"]["website"]))],
                    options: Options {
                        on_create: vec![entry("name", value(if company.is_null() { group } else { company }))],
                        ..Options::default()
                    },
                },
            ),
            action(
                1,
                Verb::Upsert {
                    kind: Kind::Person,
                    criteria: Criteria(vec![
                        Criterion(vec![entry("Segment User ID", value(&event["userId"]))]),
                        Criterion(vec![entry("email", value(&traits["email"]))]),
                    ]),
                    fields: vec![
                        entry("Interests", value(&traits["interests"])),
                        entry("Lifetime Value", amount),
                        entry("Plan", value(&traits["plan"])),
                        entry("Signup Date", day),
                        entry("emails", value(&traits["email"])),
                        entry("name", name),
                        entry("org_id", Value::Link(Link::Reference(0))),
                    ],
                    options: Options {
                        on_create: vec![entry("owner", Value::Json("ada@acme.com".into()))],
                        if_empty: vec![entry("phones", value(&traits["phone"]))],
                        ..Options::default()
                    },
                },
            ),
        ],
    }
}

/// Nanoseconds of one call: the best of several rounds, which is what the machine can do when it is left alone.
fn measure(mut work: impl FnMut() -> usize) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..15 {
        let mut calls = 0_u32;
        let started = Instant::now();
        while started.elapsed() < Duration::from_millis(150) {
            for _ in 0..100 {
                black_box(work());
            }
            calls += 100;
        }
        best = best.min(started.elapsed().as_secs_f64() * 1e9 / f64::from(calls));
    }
    best
}

fn main() {
    // Scripts need the stack that the pool gives them.
    let thread = std::thread::Builder::new().stack_size(64 * 1024 * 1024).spawn(bench).expect("a thread");
    thread.join().expect("the bench ends");
}

fn bench() {
    let sources = Sources { scripts: [("person.rhai".to_owned(), Arc::from(SCRIPT))].into(), tables: BTreeMap::new() };
    let program = Program::compile(&sources, &ScriptConfig::default()).unwrap_or_else(|p| panic!("{p:?}"));
    let metadata = metadata();
    let payload = event();
    let request = RunRequest {
        rule: Arc::from("person"),
        script: Arc::from("person.rhai"),
        payload: payload.clone(),
        message_id: "m-1".to_owned(),
        memo: Memo::default(),
    };

    // The two must do the same for the ratio to mean anything.
    let Outcome::Plan(mut by_script) = run_blocking(&program, request.clone()).outcome else { panic!("a plan") };
    let by_hand = native_plan(&serde_json::from_slice(&payload).expect("JSON"));
    by_script.actions.iter_mut().zip(&by_hand.actions).for_each(|(a, b)| a.at = b.at.clone());
    assert_eq!(by_script, by_hand);

    println!("payload: {} bytes", payload.len());
    let parse = measure(|| usize::from(serde_json::from_slice::<Json>(&payload).expect("JSON").is_object()));
    let run = measure(|| usize::from(matches!(run_blocking(&program, request.clone()).outcome, Outcome::Plan(_))));
    let with_script = measure(|| scripted(&program, &request, &metadata));
    let in_rust = measure(|| native(&payload, &metadata));
    println!("parse to serde_json::Value:       {:8.2} us", parse / 1000.0);
    println!("bytes to plan, script:            {:8.2} us", run / 1000.0);
    println!("bytes to validated plan, script:  {:8.2} us", with_script / 1000.0);
    println!("bytes to validated plan, in Rust: {:8.2} us", in_rust / 1000.0);
    println!("ratio: {:.2} (at most 6)", with_script / in_rust);
}
