//! One event, and the body that a subscription gets of it.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{Author, Subject, Subscription};
use crate::mock::clock;
use crate::mock::entity::Entity;
use crate::mock::table::Object;
use crate::mock::world::World;

/// A change that is told.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) action: &'static str,
    pub(super) entity: &'static str,
    pub(super) entity_id: String,
    pub(super) id: Uuid,
    /// What every subscription's `meta` has in common.
    meta: Object,
    pub(super) data: Value,
    pub(super) previous: Value,
}

/// The id that webhooks name a record by.
fn told_id(world: &World, subject: Subject) -> String {
    match subject {
        Subject::Record(Entity::Lead, number) => {
            let lead = world.table(Entity::Lead).get(number);
            lead.and_then(|row| row.text("id")).unwrap_or_default().to_owned()
        }
        Subject::Record(_, id) | Subject::Pipeline(id) | Subject::Stage(id) | Subject::User(id) => id.to_string(),
    }
}

/// An id of events: apart from those of records, which must not hang on whether somebody listens.
fn uuid(number: u64) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_URL, &number.to_be_bytes())
}

impl Event {
    /// An event with the numbers of itself and of the request that caused it, still without `data` and `previous`.
    pub(super) fn new(
        world: &World,
        subject: Subject,
        action: &'static str,
        (number, request): (u64, u64),
        author: Author,
        now: i64,
    ) -> Self {
        let entity = subject.word();
        let entity_id = told_id(world, subject);
        let id = uuid(number);
        let mut meta = Object::new();
        for (key, value) in [
            ("action", json!(action)),
            ("entity", json!(entity)),
            ("entity_id", json!(entity_id)),
            ("id", json!(id)),
            ("company_id", json!(world.company.0.to_string())),
            ("correlation_id", json!(uuid(request))),
            ("user_id", json!(author.user.to_string())),
            ("timestamp", json!(clock::lead_time(now))),
            ("type", json!("general")),
            ("version", json!("2.0")),
            ("change_source", json!(author.source.word())),
            ("is_bulk_edit", json!(false)),
            ("host", json!(format!("{}.pipedrive.com", world.company.1))),
        ] {
            meta.insert(key.to_owned(), value);
        }
        if !matches!(subject, Subject::User(_)) {
            let all: Vec<String> = world.users.iter().filter(|u| u.active).map(|u| u.id.to_string()).collect();
            meta.insert("permitted_user_ids".to_owned(), json!(all));
        }
        Self { action, entity, entity_id, id, meta, data: Value::Null, previous: Value::Null }
    }

    /// Says of the two that a merge was about where they went.
    pub(super) fn merge(&mut self, subject: Subject, dropped: Subject, kept: Subject) {
        let number = |subject| if let Subject::Record(_, id) = subject { json!(id.to_string()) } else { Value::Null };
        if subject == dropped {
            self.meta.insert("merged_to_id".to_owned(), number(kept));
        } else if subject == kept {
            self.meta.insert("merged_from_id".to_owned(), number(dropped));
        }
    }

    /// What a subscription is sent.
    pub(super) fn body(&self, subscription: u64, to: &Subscription, attempt: u32) -> Value {
        let mut meta = self.meta.clone();
        meta.insert("webhook_id".to_owned(), json!(subscription.to_string()));
        meta.insert("webhook_owner_id".to_owned(), json!(to.shown.get("owner_id").map(Value::to_string)));
        meta.insert("attempt".to_owned(), json!(attempt));
        json!({ "meta": meta, "data": self.data, "previous": self.previous })
    }
}
