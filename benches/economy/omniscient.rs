//! The floor: a writer who knows the account by heart. It sends one write for each entity whose state an event changes, and nothing else.

use std::collections::HashMap;
use std::sync::Arc;

use pipewright::mock::{Mock, MockOptions};
use pipewright::pipedrive::Method;
use serde_json::{Map, Value, json};

use super::account::{self, send};
use super::policy::Policy;
use super::workload::{Edit, Event, Workload, deal_id, email, group_id, group_of, user_id};

/// What it knows of a record.
#[derive(Debug, Default)]
struct Record {
    id: Value,
    /// What it sent last, and what the record holds.
    sent: Map<String, Value>,
    held: Map<String, Value>,
}

/// It.
struct Writer {
    mock: Arc<Mock>,
    policy: Policy,
    records: HashMap<String, Record>,
    groups: usize,
    /// Keys of custom fields.
    user_id: String,
    plan: String,
    group_id: String,
    tier: String,
    deal_id: String,
}

/// Runs the workload; answers the account as it is then.
pub(crate) async fn run(workload: &Workload, policy: Policy) -> Arc<Mock> {
    let mock = account::begin(workload, MockOptions::unlimited());
    let key = |path: &str, field: &str| mock.custom_key(path, field).expect("the account has the field");
    let mut writer = Writer {
        policy,
        records: HashMap::new(),
        groups: Workload::groups(workload.events()),
        user_id: key("persons", "Segment User ID"),
        plan: key("persons", "Plan"),
        group_id: key("organizations", "Segment Group ID"),
        tier: key("organizations", "Tier"),
        deal_id: key("deals", "Segment Deal ID"),
        mock: mock.clone(),
    };
    writer.look_around();
    for part in &workload.parts {
        for event in &part.events {
            writer.event(event).await;
        }
        account::edit(&mock, &part.edits);
        if part.edits.iter().any(|edit| matches!(edit, Edit::NewPerson { .. } | Edit::Plan { .. } | Edit::Name { .. })) {
            writer.look_around();
        }
    }
    mock
}

impl Writer {
    /// Sees what people did.
    fn look_around(&mut self) {
        for person in self.mock.entities("persons") {
            let email = person["emails"][0]["value"].as_str().unwrap_or_default();
            let record = self.records.entry(format!("person {email}")).or_default();
            record.id = person["id"].clone();
            record.held = [
                ("name".to_owned(), person["name"].clone()),
                (self.user_id.clone(), person["custom_fields"][&self.user_id].clone()),
                (self.plan.clone(), person["custom_fields"][&self.plan].clone()),
            ]
            .into_iter()
            .collect();
        }
    }

    fn id(&self, known_by: &str) -> Value {
        self.records[known_by].id.clone()
    }

    async fn event(&mut self, event: &Event) {
        match event {
            Event::Identify { user, name, plan } => {
                let plan = json!(self.mock.option_id("persons", "Plan", plan));
                let wanted =
                    [("name", json!(name)), (&*self.user_id.clone(), user_id(*user).into()), (&*self.plan.clone(), plan)];
                let create = json!([{ "value": email(*user) }]);
                self.write("persons", format!("person {}", email(*user)), &wanted, &[("emails", create)]).await;
            }
            Event::Group { group, name, tier } => {
                let tier = json!(self.mock.option_id("organizations", "Tier", tier));
                let wanted =
                    [("name", json!(name)), (&*self.group_id.clone(), group_id(*group).into()), (&*self.tier.clone(), tier)];
                self.write("organizations", group_id(*group), &wanted, &[]).await;
            }
            Event::Deal { user, deal, title, value } => {
                let (person, org) = self.links(*user);
                let wanted = [
                    ("title", json!(title)),
                    ("value", json!(value)),
                    ("currency", json!("EUR")),
                    (&*self.deal_id.clone(), deal_id(*deal).into()),
                    ("person_id", person),
                    ("org_id", org),
                ];
                self.write("deals", deal_id(*deal), &wanted, &[]).await;
            }
            Event::Activity { user, subject } => {
                let (person, org) = self.links(*user);
                let body = json!({ "subject": subject, "type": "call", "org_id": org,
                    "participants": [{ "person_id": person, "primary": true }] });
                self.create("/api/v2/activities", body).await;
            }
            Event::Note { user, content } => {
                let (person, org) = self.links(*user);
                self.create("/api/v1/notes", json!({ "content": content, "person_id": person, "org_id": org })).await;
            }
            Event::Unmatched { .. } => {}
        }
    }

    fn links(&self, user: usize) -> (Value, Value) {
        (self.id(&format!("person {}", email(user))), self.id(&group_id(group_of(user, self.groups))))
    }

    async fn create(&self, path: &str, body: Value) -> Value {
        let Value::Object(body) = body else { unreachable!("bodies are objects") };
        send(&self.mock, Method::Post, path, Some(body)).await["id"].clone()
    }

    /// One write when the record is not there or must change.
    async fn write(&mut self, path: &str, known_by: String, wanted: &[(&str, Value)], on_create: &[(&str, Value)]) {
        let record = self.records.entry(known_by).or_default();
        let differs = |(field, value): &&(&str, Value)| match self.policy {
            Policy::Changed => record.sent.get(*field) != Some(value),
            Policy::Differs => record.held.get(*field) != Some(value),
            Policy::Always => true,
        };
        let create = record.id.is_null();
        let changed: Vec<_> = wanted.iter().filter(differs).chain(on_create.iter().filter(|_| create)).collect();
        if changed.is_empty() {
            return;
        }
        let (mut body, mut custom) = (Map::new(), Map::new());
        for (field, value) in changed {
            let place = if field.len() == 40 { &mut custom } else { &mut body };
            place.insert((*field).to_owned(), value.clone());
        }
        if !custom.is_empty() {
            body.insert("custom_fields".to_owned(), custom.into());
        }
        let (method, path) = match &record.id {
            Value::Null => (Method::Post, format!("/api/v2/{path}")),
            id => (Method::Patch, format!("/api/v2/{path}/{id}")),
        };
        record.id = send(&self.mock, method, &path, Some(body)).await["id"].clone();
        for (field, value) in wanted {
            record.sent.insert((*field).to_owned(), value.clone());
            record.held.insert((*field).to_owned(), value.clone());
        }
    }
}
