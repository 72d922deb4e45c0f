//! What Segment's own destination does for each event, as its published code has it: it looks for the person, the organization and the deal
//! that the event names, one search each, takes the first hit, and writes whatever it finds and whether or not anything changed.
//!
//! It asks the old version of the API, which costs twice as much; both prices are told of the same requests.

use std::sync::Arc;
use std::time::Duration;

use pipewright::mock::{ClockStart, Mock, MockOptions};
use pipewright::pipedrive::{Method, Request, is_search, tokens};
use serde_json::{Map, Value, json};

use super::account::{self, send};
use super::workload::{Event, Workload, deal_id, email, group_id, group_of, user_id};

/// An event each so often: 20 in a second.
const PACE: Duration = Duration::from_millis(50);
/// How long Pipedrive's search does not see what was written.
pub(crate) const SEARCH_LAG: Duration = Duration::from_secs(3);

/// What it came to.
pub(crate) struct Spent {
    pub(crate) mock: Arc<Mock>,
    pub(crate) requests: u64,
    /// Tokens of searches and of writes, at the costs of v1.
    pub(crate) v1: (u64, u64),
    /// The same at the costs of v2.
    pub(crate) v2: (u64, u64),
}

/// Runs the workload.
pub(crate) async fn run(workload: &Workload) -> Spent {
    let clock = ClockStart::Manual("2026-01-05T00:00:00Z".parse().expect("a time"));
    let mock = account::begin(workload, MockOptions { clock, search_lag: SEARCH_LAG, ..MockOptions::unlimited() });
    let key = |path: &str, field: &str| mock.custom_key(path, field).expect("the account has the field");
    let mut flow = Flow {
        user_id: key("persons", "Segment User ID"),
        plan: key("persons", "Plan"),
        group_id: key("organizations", "Segment Group ID"),
        tier: key("organizations", "Tier"),
        deal_id: key("deals", "Segment Deal ID"),
        groups: Workload::groups(workload.events()),
        spent: Spent { mock: mock.clone(), requests: 0, v1: (0, 0), v2: (0, 0) },
    };
    for part in &workload.parts {
        for event in &part.events {
            mock.advance(PACE);
            flow.event(event).await;
        }
        account::edit(&mock, &part.edits);
    }
    flow.spent
}

struct Flow {
    user_id: String,
    plan: String,
    group_id: String,
    tier: String,
    deal_id: String,
    groups: usize,
    spent: Spent,
}

impl Flow {
    async fn event(&mut self, event: &Event) {
        let option = |path: &str, field: &str, label: &str| json!(self.spent.mock.option_id(path, field, label));
        match event {
            Event::Identify { user, name, plan } => {
                let plan = option("persons", "Plan", plan);
                let person = self.person(*user).await;
                let mut custom = json!({ &self.plan: plan });
                if person.is_null() {
                    custom[&self.user_id] = user_id(*user).into();
                }
                let body = json!({ "name": name, "emails": [{ "value": email(*user) }], "custom_fields": custom });
                self.write("/api/v2/persons", person, body).await;
            }
            Event::Group { group, name, tier } => {
                let tier = option("organizations", "Tier", tier);
                let organization = self.organization(*group).await;
                let mut custom = json!({ &self.tier: tier });
                if organization.is_null() {
                    custom[&self.group_id] = group_id(*group).into();
                }
                self.write("/api/v2/organizations", organization, json!({ "name": name, "custom_fields": custom })).await;
            }
            Event::Deal { user, deal, title, value } => {
                let (person, organization) = self.links(*user).await;
                let found = self.search("deal", &self.deal_id.clone(), &deal_id(*deal)).await;
                let mut body =
                    json!({ "title": title, "value": value, "currency": "EUR", "person_id": person, "org_id": organization });
                if found.is_null() {
                    body["custom_fields"] = json!({ &self.deal_id: deal_id(*deal) });
                }
                self.write("/api/v2/deals", found, body).await;
            }
            Event::Activity { user, subject } => {
                let (person, organization) = self.links(*user).await;
                let participants: Vec<Value> = Some(person)
                    .filter(|id| !id.is_null())
                    .map(|id| json!({ "person_id": id, "primary": true }))
                    .into_iter()
                    .collect();
                let body = json!({ "subject": subject, "type": "call", "participants": participants, "org_id": organization });
                self.write("/api/v2/activities", Value::Null, body).await;
            }
            Event::Note { user, content } => {
                let (person, organization) = self.links(*user).await;
                // Without a link it is refused before it is sent.
                if !person.is_null() || !organization.is_null() {
                    let body = json!({ "content": content, "person_id": person, "org_id": organization });
                    self.write("/api/v1/notes", Value::Null, body).await;
                }
            }
            Event::Unmatched { .. } => {}
        }
    }

    async fn links(&mut self, user: usize) -> (Value, Value) {
        (self.person(user).await, self.organization(group_of(user, self.groups)).await)
    }

    async fn person(&mut self, user: usize) -> Value {
        self.search("person", &self.user_id.clone(), &user_id(user)).await
    }

    async fn organization(&mut self, group: usize) -> Value {
        self.search("organization", &self.group_id.clone(), &group_id(group)).await
    }

    async fn search(&mut self, kind: &str, field: &str, term: &str) -> Value {
        let path = format!("/api/v2/itemSearch/field?entity_type={kind}&field={field}&match=exact&term={term}");
        let found = self.send(Method::Get, &path, None).await;
        found.pointer("/0/id").cloned().unwrap_or_default()
    }

    async fn write(&mut self, path: &str, id: Value, body: Value) {
        let Value::Object(mut body) = body else { unreachable!("bodies are objects") };
        body.retain(|_, value| !value.is_null());
        let (method, path) = if id.is_null() { (Method::Post, path.to_owned()) } else { (Method::Patch, format!("{path}/{id}")) };
        self.send(method, &path, Some(body)).await;
    }

    async fn send(&mut self, method: Method, path: &str, body: Option<Map<String, Value>>) -> Value {
        let request = Request::new(method, path);
        let cost = u64::from(tokens(&request));
        // Notes have one version.
        let doubled = if path.contains("/api/v1/") { cost } else { 2 * cost };
        self.spent.requests += 1;
        let (v1, v2) = (&mut self.spent.v1, &mut self.spent.v2);
        if is_search(&request) {
            v1.0 += doubled;
            v2.0 += cost;
        } else {
            v1.1 += doubled;
            v2.1 += cost;
        }
        send(&self.spent.mock, method, path, body).await
    }
}
