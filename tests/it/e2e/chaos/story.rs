//! The events of a round, what must come of them, and the rules that make it of them.

use std::net::SocketAddr;

use pipewright::mock::Mock;
use pipewright::pipedrive::{Body, Method, Request};
use serde_json::{Value, json};

use super::super::harness::Folder;
use super::dice::Dice;

/// Users, whose events come in order; each belongs to one of the clients.
const USERS: u64 = 8;
pub(super) const CLIENTS: usize = 3;

const RULES: &str = r#"
[sources.website]
write_keys = ["env:PIPEWRIGHT_WRITE_KEY"]

[pipedrive.main]
base_url = "http://ADDRESS"
api_token = "env:PIPEDRIVE_API_TOKEN"
plan = "ultimate"
timeout = "700ms"
WEBHOOKS

[delivery]
retry_first = "50ms"
retry_max = "300ms"
max_attempts = 1000

[reload]
require = ["check"]
poll = "100ms"

[[rules]]
name = "person"
when = 'type = "identify"'
script = "person.rhai"

[[rules]]
name = "deal"
when = 'type = "track" and event = "Deal"'
script = "deal.rhai"

[[rules]]
name = "note"
when = 'type = "track" and event = "Note"'
script = "note.rhai"

[[rules]]
name = "task"
when = 'type = "track" and event = "Task"'
script = "task.rhai"

[[rules]]
name = "lead"
when = 'type = "track" and event = "Lead"'
script = "lead.rhai"

[[rules]]
name = "twin"
when = 'type = "track" and event = "Twin"'
script = "twin.rhai"

[[rules]]
name = "shared"
when = 'type = "track" and event = "Shared"'
script = "shared.rhai"

[[rules]]
name = "raw"
when = 'type = "track" and event = "Raw"'
script = "raw.rhai"
"#;

const SCRIPTS: [(&str, &str); 8] = [
    (
        "person",
        r#"
fn handle(event) {
    let t = event.traits;
    let org = organization::upsert(#{ "Segment Group ID": t.company }, #{}, #{ on_create: #{ name: t.company } });
    person::upsert(#{ "Segment User ID": event.userId }, #{ name: event.userId, job_title: t.step, org_id: org });
}
"#,
    ),
    (
        "deal",
        r#"
fn handle(event) {
    let p = event.properties;
    let which = #{ "Segment Deal ID": p.deal };
    if p.gone == true { deal::delete(which); return; }
    deal::upsert(which, #{ title: p.title, person_id: by(#{ "Segment User ID": event.userId }) });
}
"#,
    ),
    (
        "note",
        r#"
fn handle(event) {
    note::create(#{ content: event.properties.text, person_id: by(#{ "Segment User ID": event.userId }) });
}
"#,
    ),
    (
        "task",
        r#"
fn handle(event) {
    activity::create(#{ subject: event.properties.text, person_id: by(#{ "Segment User ID": event.userId }) });
}
"#,
    ),
    (
        "lead",
        r#"
fn handle(event) {
    let p = event.properties;
    let which = #{ "Segment Deal ID": p.lead };
    if p.won == true { lead::convert(which); return; }
    lead::upsert(which, #{ title: p.text, person_id: by(#{ "Segment User ID": event.userId }) });
}
"#,
    ),
    (
        "twin",
        r#"
fn handle(event) {
    let twin = #{ "Segment User ID": event.properties.twin };
    if event.properties.joined == true { person::merge(#{ "Segment User ID": event.userId }, twin); return; }
    person::upsert(twin, #{ name: event.properties.twin });
}
"#,
    ),
    (
        "shared",
        r#"
fn handle(event) {
    person::update(event.properties.person, #{ phones: event.properties.phone });
}
"#,
    ),
    (
        "raw",
        r#"
fn handle(event) {
    pipedrive::request("POST", "/api/v2/organizations", #{ name: event.properties.text });
}
"#,
    ),
];

/// The name of the person whom all users share.
pub(super) const SHARED: &str = "Shared";

/// Makes that person; answers the id.
pub(super) fn share(mock: &Mock) -> Value {
    let create = Request::new(Method::Post, "/api/v2/persons").body(json!({ "name": SHARED }));
    match mock.aside(&create).body {
        Body::Json(body) => body["data"]["id"].clone(),
        other => panic!("{other:?}"),
    }
}

/// Makes a folder of these rules, for an account at this address, which tells of changes by way of the other one.
pub(super) fn furnish(folder: &Folder, account: SocketAddr, told: Option<SocketAddr>) {
    let webhooks = |at| format!("webhooks = {{ url = \"http://{at}\", password = \"env:PIPEWRIGHT_WRITE_KEY\" }}");
    let rules = RULES.replace("WEBHOOKS", &told.map(webhooks).unwrap_or_default());
    folder.write("rules.toml", &rules.replace("ADDRESS", &account.to_string()));
    for (name, text) in SCRIPTS {
        folder.write(&format!("scripts/{name}.rhai"), text);
    }
}

/// Saves a script that differs and does the same.
pub(super) fn edit(folder: &Folder, dice: &mut Dice) {
    let (name, text) = SCRIPTS[usize::try_from(dice.below(SCRIPTS.len() as u64)).expect("an index")];
    folder.write(&format!("scripts/{name}.rhai"), &format!("// {}\n{text}", dice.below(1_000_000)));
}

/// One user's events, and what must come of them.
#[derive(Debug, Default)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) company: String,
    /// In the order in which they are sent.
    pub(super) events: Vec<Value>,
    /// The last step of the person.
    pub(super) step: String,
    /// The deal's last title; none: there is no deal, or not any more.
    pub(super) deal: Option<String>,
    pub(super) notes: Vec<String>,
    pub(super) tasks: Vec<String>,
    pub(super) leads: Vec<String>,
    /// Leads that are to be deals at the end; a conversion whose answer was lost may have to be left.
    pub(super) won: Vec<String>,
    /// Whether another person of theirs was joined to theirs; none: there is no other one.
    pub(super) twin: Option<bool>,
    /// Organizations that were asked for without the program knowing what they are; one whose answer was lost may be missing.
    pub(super) raw: Vec<String>,
    /// Phones that are added to the person whom all users share.
    pub(super) phones: Vec<String>,
}

#[derive(Debug)]
pub(super) struct Story {
    pub(super) users: Vec<User>,
}

impl Story {
    /// A story about this person, among others.
    pub(super) fn write(shared: &Value, dice: &mut Dice) -> Self {
        Self { users: (0..USERS).map(|n| user(n, shared, dice)).collect() }
    }

    pub(super) fn events(&self) -> usize {
        self.users.iter().map(|user| user.events.len()).sum()
    }
}

fn user(number: u64, shared: &Value, dice: &mut Dice) -> User {
    let name = format!("u{number}");
    let mut user = User { company: format!("c{}", dice.below(3)), name: name.clone(), ..User::default() };
    for n in 0..5 + dice.below(6) {
        let text = format!("{name} {n:02}");
        let kind = if n == 0 { 0 } else { dice.below(10) };
        let track = |event: &str, properties: Value| json!({ "type": "track", "event": event, "properties": properties });
        let mut event = match kind {
            0 | 1 => {
                user.step = text.clone();
                json!({ "type": "identify", "traits": { "company": user.company, "step": text } })
            }
            2 => {
                user.deal = Some(text.clone());
                track("Deal", json!({ "deal": format!("d-{name}"), "title": text }))
            }
            3 => {
                user.notes.push(text.clone());
                track("Note", json!({ "text": text }))
            }
            4 => {
                user.tasks.push(text.clone());
                track("Task", json!({ "text": text }))
            }
            5 => {
                user.leads.push(text.clone());
                track("Lead", json!({ "lead": text, "text": text }))
            }
            6 if !user.leads.is_empty() => {
                let lead = user.leads.remove(usize::try_from(dice.below(user.leads.len() as u64)).expect("an index"));
                user.won.push(lead.clone());
                track("Lead", json!({ "lead": lead, "won": true }))
            }
            7 if user.twin != Some(true) => {
                let joined = user.twin.is_some();
                user.twin = Some(joined);
                track("Twin", json!({ "twin": format!("{name}-twin"), "joined": joined }))
            }
            8 => {
                let phone = format!("+324951234{number}{n}");
                user.phones.push(phone.clone());
                track("Shared", json!({ "person": shared, "phone": phone }))
            }
            _ => {
                user.raw.push(text.clone());
                track("Raw", json!({ "text": text }))
            }
        };
        event["userId"] = name.clone().into();
        event["messageId"] = format!("m-{name}-{n}").into();
        user.events.push(event);
    }
    if user.deal.is_some() && dice.below(3) == 0 {
        user.deal = None;
        user.events.push(json!({
            "type": "track", "event": "Deal", "userId": name, "messageId": format!("m-{name}-gone"),
            "properties": { "deal": format!("d-{name}"), "gone": true },
        }));
    }
    user
}
